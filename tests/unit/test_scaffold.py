"""A new runbook: its own id and title, never over another, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rbkernel.cli import app
from rbkernel.errors import ParameterError, RunbookError, UnknownRunbook
from rbkernel.runbook import catalogue, scaffold

pytestmark = pytest.mark.slow

Run = Callable[..., Result]


@pytest.fixture
def rbkernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    file = tmp_path / "rbkernel.toml"
    file.write_text('[catalogue]\npaths = ["ours"]\n')
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    return lambda *words: CliRunner().invoke(app, list(words))


def test_a_new_runbook_has_its_id_title_and_fields(rbkernel: Run, tmp_path: Path) -> None:
    told = rbkernel("new", "service", 'Outbox: it\'s "slow"', "--owner", "Team: A")
    assert told.exit_code == 0, told.output
    path = tmp_path / "ours" / "outbox_it_s_slow.ipynb"
    made = catalogue.read(path)
    assert (made.id, made.front_matter.title) == ("RUN-100", 'Outbox: it\'s "slow"')
    assert made.front_matter.owner == "Team: A"
    source = "\n".join(text for _, text in made.cells)
    assert "TEMPLATE" not in source
    assert 'rb.start("RUN-100"' in source
    assert '# Outbox: it\'s "slow": runbook' in source
    assert f"{len(made.placeholders)} placeholders to fill in" in told.output
    assert "purpose" not in path.read_text()


def test_ids_count_up_and_are_never_taken_twice(rbkernel: Run, tmp_path: Path) -> None:
    rbkernel("new", "procedure", "one")
    assert "RUN-101" in rbkernel("new", "procedure", "two").output
    for taken in ("RUN-005", "RUN-101"):
        with pytest.raises(RunbookError, match=f"the id {taken} is taken"):
            raise_from(rbkernel("new", "procedure", "three", "--id", taken))
    assert sorted(path.stem for path in (tmp_path / "ours").iterdir()) == ["one", "two"]


def test_nothing_is_overwritten(rbkernel: Run, tmp_path: Path) -> None:
    rbkernel("new", "incident", "A name")
    before = (tmp_path / "ours/a_name.ipynb").read_bytes()
    with pytest.raises(RunbookError, match="is there already"):
        raise_from(rbkernel("new", "incident", "a name"))
    assert (tmp_path / "ours/a_name.ipynb").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("servce", "x"), UnknownRunbook, "use one of ai_system, incident"),
        (("service",), ParameterError, "the title is missing"),
        (("service", "x", "--severity", "SEV9"), RunbookError, "severity: unknown severity"),
        (("service", "x", "--category", "party"), RunbookError, "category: "),
        (("service", "x", "--id", "5"), RunbookError, "id: should be RUN-"),
        (("service", "x", "--id", "TEMPLATE-X"), RunbookError, "the id is a template's"),
    ],
)
def test_what_is_wrong_writes_nothing(
    rbkernel: Run, tmp_path: Path, words: tuple[str, ...], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        raise_from(rbkernel("new", *words))
    assert not (tmp_path / "ours").exists()


def test_it_lists_the_templates(rbkernel: Run) -> None:
    told = rbkernel("new").output
    for name, form in scaffold.templates().items():
        assert name in told
        assert scaffold.purpose(form)


def raise_from(result: Result) -> None:
    assert result.exception is not None
    raise result.exception
