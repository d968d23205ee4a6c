"""Odd notebooks: lint judges them or refuses them in words, and --fix is idempotent on them too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbkernel.errors import RunbookError
from rbkernel.lint import Document, check, report
from rbkernel.lint.fix import fix
from tests.support.good_runbook import good, surroundings

PATH = Path("odd.ipynb")


def cell(kind: str, source: Any, **fields: Any) -> dict[str, Any]:
    outputs: dict[str, Any] = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "source": source, "metadata": {}, **outputs, **fields}


def notebook(*cells: Any, minor: int = 4, **metadata: Any) -> dict[str, Any]:
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": minor}


TAGGED: dict[str, Any] = {"metadata": {"tags": ["parameters"]}}
DATA = {"application/json": {"a": [1, None, "password=hunter22"]}}
SHOWN = {"output_type": "display_data", "data": DATA, "metadata": {}}
OLD = {"cell_type": "code", "input": "x", "outputs": [], "language": "python", "metadata": {}}
ODD = {
    "empty": notebook(),
    "no language": notebook(kernelspec={"name": "x", "display_name": "x", "language": None}),
    "NUL": notebook(cell("code", "x\0y"), cell("markdown", "\0"), cell("raw", "---\n\0\n---")),
    "deep code": notebook(cell("code", "(" * 5000), cell("code", "-" * 20_000 + "1")),
    "deep text": notebook(cell("markdown", "> " * 1000 + "x"), cell("markdown", "[" * 2000)),
    "YAML bomb": notebook(cell("raw", "---\na: &a [x,x]\nb: &b [*a,*a]\nid: *b\n---")),
    "no mapping": notebook(cell("raw", "---\n- a\n---")),
    "no date": notebook(cell("raw", "---\nid: RUN-001\nlast_tested: 2026-13-45\n---")),
    "magics": notebook(
        *(cell("code", text) for text in ("%%sql", "%%", "%%bash", "%", "!", "%%x\n"))
    ),
    "open quotes": notebook(
        cell("code", "%%sql 'x --into y\nSELECT ':a"), cell("code", "rb.query('a $$', db)")
    ),
    "odd queries": notebook(
        cell(
            "code",
            "rb.query()\nrb.query(*a, **k)\nrb.query(b'x y', db)\nrb.query('a ' + 'b' * 2, db)",
        )
    ),
    "odd starts": notebook(
        cell("code", "rb.start()\nrb.start(*a)\nrb.start(runbook=1)\nrb.start(f'{x}')")
    ),
    "odd parameters": notebook(
        cell("code", "x: int\ny: str = 'ü'\n(z): int = 3\na.b: int = 1", **TAGGED)
    ),
    "tagged text": notebook(
        cell("markdown", "x: int = 1", **TAGGED), cell("code", "rb.start('RUN-1')")
    ),
    "odd links": notebook(cell("markdown", f"[a](%ZZ) [d]({'x' * 5000}) ![e](#) [f](..) [g](?x)")),
    "large number": notebook(cell("markdown", "## Step 99999999999999999999: x\n\nstep 5")),
    "syntax": notebook(
        cell("code", "match x:\n  case {'a': b}: pass\nasync def f(): await g()\ndel q\nglobal r"),
        cell("code", "from x import *\nprint(t)"),
        cell("code", "await foo()\nyield 3\nreturn 5"),
        cell("code", "from __future__ import annotations"),
    ),
    "line ends": notebook(cell("code", "x=1\r\ny=z\r\n"), cell("raw", "---\r\nid: RUN-001\r\n---")),
    "form feed": notebook(cell("code", "x = 1\x0c\ny = undefined\u2028z")),
    "one id": notebook(
        cell("code", "x", id="a"), cell("code", "y", id="a"), cell("code", "z"), minor=5
    ),
    "output": notebook(cell("code", "x", outputs=[SHOWN])),
    "suppressions": notebook(cell("code", "# rbkernel: ignore RB003 because\n# rbkernel: ignore")),
    "lines": notebook(cell("code", ["x\n", "y"])),
}
NONE = {
    "tags": notebook(cell("code", "x", metadata={"tags": "parameters"})),
    "kernelspec": notebook(kernelspec="x"),
    "half a character": notebook(cell("code", "x = '\ud800'")),
    "no cells": {"cells": 3},
    "format 3": {
        "worksheets": [{"cells": [OLD]}],
        "metadata": {"name": "x"},
        "nbformat": 3,
        "nbformat_minor": 0,
    },
}


def judge(raw: bytes) -> None:
    read = Document(PATH, raw)
    found = check(read, surroundings())
    assert report.text(found, [], 1)
    assert len(report.github(found, [], [read])) == len(found)
    mended, _ = fix(read, {})
    again, done = fix(mended, {})
    assert done == []
    assert again.raw == mended.raw


@pytest.mark.parametrize("name", ODD)
def test_odd_notebooks_are_judged(name: str) -> None:
    judge(json.dumps(ODD[name]).encode())


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_notebook_is_refused_in_words(name: str) -> None:
    with pytest.raises(RunbookError) as caught:
        Document(PATH, json.dumps(NONE[name]).encode())
    assert caught.value.where == str(PATH)
    assert caught.value.next_step


KINDS = st.sampled_from(["code", "markdown", "raw"])
TEXTS = st.text(
    alphabet="abc :=()[]{}'\"\n#%!-`*<>|\\$&.,0123456789rbkeslStepRUN\u2028é", max_size=120
)


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(KINDS, TEXTS), max_size=5), st.integers(0, 11))
def test_random_cells_break_nothing(cells: list[tuple[str, str]], place: int) -> None:
    mixed = good()
    made = notebook(*(cell(kind, text, id=f"c{n}") for n, (kind, text) in enumerate(cells)))
    whole = json.loads(json.dumps(mixed))
    whole["cells"][place:place] = made["cells"]
    judge(json.dumps(whole).encode())
