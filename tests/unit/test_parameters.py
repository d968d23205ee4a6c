"""Declared parameters: what a cell may declare, what a value may be, and no secret ever."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rbkernel.errors import ParameterError, RunbookError
from rbkernel.runbook.parameters import Parameter, declared, refuse_secret, validate

SECRET = "hunter2-Tr0ub4dor"
SOURCE = """
db: str = "orders"  # connection name, with a # in its help
limit: int = 3
share: float = -0.5  # negative
strict: bool = True
since: str | None = None
"""


def notebook(*sources: str) -> Any:
    cells = [new_code_cell(source, metadata={"tags": ["parameters"]}) for source in sources]
    return new_notebook(cells=[new_markdown_cell("x"), *cells, new_code_cell("y = 1")])


DECLARED = declared(notebook(SOURCE), "RUN-900")


class TestDeclaration:
    def test_names_types_defaults_and_help(self) -> None:
        assert DECLARED["db"] == Parameter(
            name="db",
            annotation="str",
            default="orders",
            help="connection name, with a # in its help",
        )
        assert [(p.annotation, p.default) for p in DECLARED.values()] == [
            ("str", "orders"),
            ("int", 3),
            ("float", -0.5),
            ("bool", True),
            ("str | None", None),
        ]

    def test_none_at_all(self) -> None:
        assert declared(notebook(), "RUN-900") == {}
        assert declared(notebook(""), "RUN-900") == {}

    @pytest.mark.parametrize(
        ("source", "words"),
        [
            ("db = 'orders'", "declares no parameter"),
            ("db: str", "declares no parameter"),
            ("db: list = []", "declares no parameter"),
            ("db: str = open('/etc/passwd').read()", "declares no parameter"),
            ("x.y: int = 1", "declares no parameter"),
            ("import os", "declares no parameter"),
            ("db: str = ", "line 1 is not Python"),
        ],
    )
    def test_anything_else_is_refused(self, source: str, words: str) -> None:
        with pytest.raises(RunbookError, match=words) as caught:
            declared(notebook(source), "RUN-900")
        assert "RUN-900" in caught.value.where
        assert caught.value.next_step

    def test_two_cells_are_refused(self) -> None:
        with pytest.raises(RunbookError, match="2 cells are tagged"):
            declared(notebook("a: int = 1", "b: int = 1"), "RUN-900")

    def test_a_default_of_another_type_is_refused(self) -> None:
        with pytest.raises(RunbookError):
            declared(notebook("limit: int = 'many'"), "RUN-900")


class TestValues:
    @pytest.mark.parametrize(
        ("name", "given", "value"),
        [
            ("db", "users", "users"),
            ("limit", "5", 5),
            ("limit", 5, 5),
            ("share", "0.25", 0.25),
            ("share", 1, 1.0),
            ("strict", "false", False),
            ("strict", True, True),
            ("since", None, None),
            ("since", "2026", "2026"),
        ],
    )
    def test_text_is_converted(self, name: str, given: object, value: object) -> None:
        found = validate({name: given}, DECLARED, "RUN-900")
        assert found == {name: value}
        assert type(found[name]) is type(value)

    @pytest.mark.parametrize(
        ("name", "given"),
        [
            ("limit", "many"),
            ("limit", "2.5"),
            ("limit", 2.5),
            ("limit", None),
            ("limit", ""),
            ("limit", [1]),
            ("share", "half"),
            ("strict", "perhaps"),
            ("strict", 7),
            ("db", 5),
            ("db", None),
        ],
    )
    def test_wrong_types_are_refused(self, name: str, given: object) -> None:
        with pytest.raises(ParameterError, match=f"{name} must be") as caught:
            validate({name: given}, DECLARED, "RUN-900")
        assert "such as" in caught.value.what

    @pytest.mark.parametrize("given", [1.2, 1.1, 10, 7, True, None, float("nan")])
    def test_a_text_that_papermill_made_a_number_of_names_its_way_out(self, given: object) -> None:
        with pytest.raises(ParameterError, match="db must be str") as caught:
            validate({"db": given}, DECLARED, "RUN-900")
        assert "-r db VALUE" in caught.value.next_step
        assert "-p converts text that looks like a number" in caught.value.next_step

    def test_a_text_that_is_written_in_a_cell_needs_quotes_and_not_papermill(self) -> None:
        with pytest.raises(ParameterError, match="db must be str") as caught:
            validate({"db": 5}, DECLARED, "RUN-900", written={"db"})
        assert caught.value.next_step == "write the value in quotes: db='…'"

    @pytest.mark.parametrize(
        ("annotation", "given", "item", "example"),
        [
            ("list[int]", "1,x", "item 2 is not a whole number", "such as 1,2; in a cell, [1, 2]"),
            ("list[int]", [1.5], "item 1 is not a whole number", "such as 1,2; in a cell, [1, 2]"),
            ("list[float]", ["nan"], "item 1 is not a number", "such as 0.5,2.0"),
            ("list[float]", [2, True], "item 2 is not a number", "such as 0.5,2.0"),
        ],
    )
    def test_a_wrong_item_of_a_list_is_named(
        self, annotation: str, given: object, item: str, example: str
    ) -> None:
        declared = {"pids": Parameter(name="pids", annotation=annotation, default=[])}
        with pytest.raises(ParameterError) as caught:
            validate({"pids": given}, declared, "RUN-900")
        assert f"the parameter pids must be {annotation} (" in caught.value.what
        assert item in caught.value.what
        assert example in caught.value.next_step

    @pytest.mark.parametrize("text", ["1.2", "1.10", "007", "True", "None", "2026-11-20", "1e5"])
    def test_a_text_that_looks_like_something_else_stays_as_it_is(self, text: str) -> None:
        assert validate({"db": text, "since": text}, DECLARED, "RUN-900") == {
            "db": text,
            "since": text,
        }

    @pytest.mark.parametrize(
        ("name", "given"), [("limit", True), ("share", False), ("limit", 1e300), ("limit", 2.0**53)]
    )
    def test_nothing_is_lost_on_the_way(self, name: str, given: object) -> None:
        with pytest.raises(ParameterError, match=f"{name} must be"):
            validate({name: given}, DECLARED, "RUN-900")

    def test_a_misspelt_name(self) -> None:
        for given, meant in (("limt", "limit"), ("incidnt", "incident")):
            with pytest.raises(ParameterError) as caught:
                validate({given: 1}, DECLARED, "RUN-900")
            assert caught.value.next_step == f"write {meant}"

    def test_the_value_is_never_told(self) -> None:
        with pytest.raises(ParameterError) as caught:
            validate({"limit": SECRET}, DECLARED, "RUN-900")
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_unknown_names_list_the_known(self) -> None:
        with pytest.raises(ParameterError, match="'colour'; it declares db, limit"):
            validate({"colour": "red"}, DECLARED, "RUN-900")


class TestSecrets:
    @pytest.mark.parametrize(
        "name",
        [
            *("password", "db_password", "PASSWORD", "passwd", "pwd", "api_key", "apikey"),
            *("secret", "client_secret", "token", "auth_token", "credentials", "private_key"),
            *("dsn", "db_dsn"),
        ],
    )
    def test_by_name(self, name: str) -> None:
        with pytest.raises(ParameterError, match="looks like a secret"):
            refuse_secret(name, "", "RUN-900")

    @pytest.mark.parametrize(
        "value",
        [
            "postgresql://db1/orders",
            "postgres://app:pw@db1/orders",
            "postgresql+psycopg://app@db1",
            f"host=db1 password={SECRET}",
            f"host=db1 PASSWORD = '{SECRET}'",
            f"redis://:{SECRET}@cache:6379/0",
            f"https://bob:{SECRET}@example.org",
        ],
    )
    def test_by_value(self, value: str) -> None:
        with pytest.raises(ParameterError, match="looks like a secret") as caught:
            refuse_secret("db", value, "RUN-900")
        assert SECRET not in str(caught.value)
        assert "connection" in caught.value.next_step

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("max_tokens", "100"),
            ("passes", "3"),
            ("tokenizer", "x"),
            ("db", "orders-primary"),
            ("url", "https://example.org/a@b"),
            ("query", "SELECT :a"),
            ("note", "the password was rotated"),
            ("limit", 3),
        ],
    )
    def test_plain_words_are_none(self, name: str, value: object) -> None:
        refuse_secret(name, value, "RUN-900")


@pytest.mark.slow
def test_papermill_knows_every_declared_parameter(tmp_path: Path) -> None:
    """Else it warns of an unknown parameter, although the value is passed."""
    source = (
        "from typing import Literal\n"
        'mode: Literal["fast", "slow"] = "fast"  # how\n'
        "standby: str | None = None\n"
        'where: str = "a=b"\n'
        "ignore: list[str] = []  # columns = names\n"
    )
    cell = new_code_cell(source, metadata={"tags": ["parameters"]})
    kernel = {"name": "rbkernel", "language": "python", "display_name": "rbkernel"}
    file = tmp_path / "runbook.ipynb"
    nbformat.write(new_notebook(cells=[cell], metadata={"kernelspec": kernel}), file)
    code = f"import papermill; print(papermill.inspect_notebook({str(file)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    found = ast.literal_eval(done.stdout)
    assert list(found) == ["mode", "standby", "where", "ignore"]
    assert found["mode"]["inferred_type_name"] == "Literal['fast', 'slow']"
    assert found["ignore"]["help"] == "columns = names"
    assert "Unable to parse" not in done.stderr
