"""Where the decision stands, which database is asked, and what a permission check answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rbkernel.lint import names
from rbkernel.lint.document import Document
from tests.support.markdown_corpus import code_of, imported


def _sources(text: str) -> list[str]:
    [one] = imported(text.encode())
    return ["".join(cell["source"]) for cell in json.loads(one.document)["cells"]]


@pytest.mark.parametrize("between", ["\n", "```\n\nThen:\n\n```sh\n"])
def test_what_a_section_reads_before_its_first_change_is_before_the_decision(between: str) -> None:
    text = f"# T\n\n## Step\n\n```sh\nuptime\n{between}kubectl delete pod a\ndf -h\n```\n"
    code = code_of(imported(text.encode())[0])
    assert code.index("uptime") < code.index("rb.decide(") < code.index("rb.act(")
    assert code.index("rb.act(") < code.index('"df"')


def test_a_section_that_begins_with_a_change_follows_the_decision_as_a_whole() -> None:
    cells = _sources("# T\n\n## Look\n\n```sh\ndf\n```\n\n## Do\n\n```sh\nrm -r /srv/a\n```\n")
    [decision] = [at for at, cell in enumerate(cells) if "rb.decide(" in cell]
    assert cells[decision + 1].startswith("## Do")


@pytest.mark.parametrize(
    ("command", "parameter"),
    [
        ("psql -d shop -c 'SELECT 1'", "db_at_replica7_shop"),
        ("psql -c 'SELECT 1'", "db_at_replica7"),
        ("psql -h other -d shop -c 'SELECT 1'", "db_at_other_shop"),
    ],
)
def test_a_host_that_is_set_before_a_query_is_a_part_of_its_target(
    command: str, parameter: str
) -> None:
    text = f"# T\n\n```sh\nexport PGHOST=replica7\n{command}\n```\n"
    assert f"%%sql {parameter} --untried" in code_of(imported(text.encode())[0])


def test_a_quoted_permission_check_is_the_only_one_and_has_its_answer() -> None:
    check = "kubectl auth can-i delete pods -n billing"
    text = f"# T\n\n## Permissions\n\n- Kubernetes: `{check}` must answer `yes`\n"
    code = code_of(imported(text.encode())[0])
    assert code.count("can-i") == code.count('"can-i", "delete", "pods", "-n", "billing"') == 1
    assert code.count('answers="yes"') == 1


@pytest.mark.parametrize(
    "sql",
    [
        "-- rows that wait, expected: < 5\nSELECT count(*) FROM t;",
        "SELECT count(*) FROM t; -- must be < 5",
    ],
)
def test_an_imported_query_has_no_unknown_names(sql: str, tmp_path: Path) -> None:
    [one] = imported(f"# T\n\n## Look\n\n```sql\n{sql}\n```\n".encode())
    written = tmp_path / "one.ipynb"
    written.write_bytes(one.document)
    assert "--into" in code_of(one)
    assert [*names.unassigned(Document.read(written))] == []
