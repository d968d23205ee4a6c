"""The catalogue of named queries, its page, and what `[queries]` may replace."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from rbkernel.config import Settings
from rbkernel.errors import QueryError
from rbkernel.queries import catalogue, page, values

PAGE = Path(__file__).parents[2] / "docs/reference/named-queries.md"


def test_the_page_is_up_to_date() -> None:
    committed = PAGE.read_text(encoding="utf-8")
    assert committed == page.page(), (
        "run: python -m rbkernel.queries.page docs/reference/named-queries.md"
    )


def test_each_query_takes_a_service_or_nothing() -> None:
    takes = {name: one.takes for name, one in catalogue.queries().items()}
    assert {tuple(one) for one in takes.values()} == {("service",), ()}
    of_hosts = ["tls/expires_in", "host/cpu_used_ratio", "disk/used_ratio"]
    assert [name for name, one in takes.items() if not one] == of_hosts


@pytest.mark.parametrize("name", catalogue.queries())
def test_a_query_for_any_service_has_no_place_left(name: str) -> None:
    one = catalogue.queries()[name]
    assert values.parameters(values.of_any(one.text)) == []
    assert values.of_any(one.text).count('service=~".+"') == one.text.count("service={service}")


def test_a_misspelled_name_is_suggested() -> None:
    with pytest.raises(QueryError, match=r"@http/eror_ratio; did you mean http/error_ratio\?"):
        catalogue.get("@http/eror_ratio")


@pytest.mark.parametrize(
    ("replaced", "says"),
    [
        ({"http/eror_ratio": "x"}, "did you mean http/error_ratio?"),
        ({"http/error_ratio": "x{job={job}}"}, "http/error_ratio: the query takes {service}, not"),
        ({"tls/expires_in": "x{job={service}}"}, "tls/expires_in: the query takes no value, not"),
        ({"http/error_ratio": " "}, "http/error_ratio: the text of the query should be PromQL"),
        ({"http/error_ratio": "@http/request_rate"}, "the text of the query should be PromQL"),
    ],
)
def test_what_cannot_replace_a_query(replaced: dict[str, str], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(queries=replaced)
    [problem] = caught.value.errors()
    name = "/".join(map(str, problem["ctx"]["error"].at)) if "ctx" in problem else ""
    assert says in f"{name}: {problem['msg']}".replace("Value error, ", "")
    assert Settings(queries={"http/error_ratio": "x{app={service}}"}).queries
