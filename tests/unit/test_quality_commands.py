"""`rbkernel lint` and `coverage` as CI runs them: what they print, write and end with."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

import nbformat
import pytest
from nbformat.v4 import new_output

from rbkernel.cli import main
from tests.support.good_runbook import good, without, words

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MIXINS = ROOT / "tests/corpora/alerts/mixins.yml"


class Ended(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


class Command(Protocol):
    """Run the command in a folder, with its configuration."""

    def __call__(self, *arguments: str, folder: Path = ROOT) -> Ended: ...


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, in this process: to start one takes longer than what it does."""

    def run_in(*arguments: str, folder: Path = ROOT) -> Ended:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["rbkernel", *arguments])
        if (folder / "rbkernel.toml").exists():
            monkeypatch.setenv("RBKERNEL_CONFIG", str(folder / "rbkernel.toml"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Ended(int(ended.value.code or 0), said.out, said.err)

    return run_in


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A team's folder: a configuration, and a runbook that holds outputs and a vague word."""
    (tmp_path / "rbkernel.toml").write_text(
        '[connections.orders-primary]\nhost = "db1"\n[catalogue]\npaths = ["runbooks"]\n'
    )
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks/good.md").write_text("# A heading\n")
    notebook = good()
    words("Investigate the issue.")(notebook)
    notebook.cells[6].outputs = [new_output("stream", text="3 rows")]
    nbformat.write(notebook, tmp_path / "runbooks/mine.ipynb")
    return tmp_path


def test_the_catalogue_of_the_checkout_is_clean(run: Command) -> None:
    done = run("lint")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("notebooks: 0 errors, 0 warnings\n")


def test_text_then_fix_then_what_is_left(run: Command, team: Path) -> None:
    done = run("lint", "runbooks", folder=team)
    assert done.returncode == 2
    first, second, total = done.stdout.splitlines()
    assert first.startswith("runbooks/mine.ipynb, cell 6 (added), line 1: warning RB204 ")
    assert second.startswith("runbooks/mine.ipynb, cell 7 (query), line 1: error RB003 ")
    assert second.endswith("Next: run `rbkernel lint --fix`.")
    assert total == "1 notebook: 1 error, 1 warning; --fix corrects up to 1"
    fixed = run("lint", "--fix", "runbooks", folder=team)
    assert fixed.returncode == 1
    assert fixed.stderr == "runbooks/mine.ipynb: removed the outputs of 1 cell\n"
    before = (team / "runbooks/mine.ipynb").read_bytes()
    again = run("lint", "--fix", "runbooks", folder=team)
    assert (again.returncode, again.stderr) == (1, "")
    assert (team / "runbooks/mine.ipynb").read_bytes() == before


def test_json_names_the_place(run: Command, team: Path) -> None:
    done = run("lint", "--format", "json", "runbooks/mine.ipynb", folder=team)
    first, second = json.loads(done.stdout)
    assert (first["code"], first["cell"], first["line"]) == ("RB204", 6, 1)
    assert (second["code"], second["level"], second["cell_id"]) == ("RB003", "error", "query")


def test_github_shows_it_beside_the_line(run: Command, team: Path) -> None:
    done = run("lint", "--format", "github", "runbooks/mine.ipynb", folder=team)
    first, _ = done.stdout.splitlines()
    assert first.startswith("::warning file=runbooks/mine.ipynb,line=")
    line = int(first.partition("line=")[2].partition(",")[0])
    text = (team / "runbooks/mine.ipynb").read_text().splitlines()[line - 1]
    assert "Investigate the issue." in text


def test_levels_of_the_configuration_count(run: Command, team: Path) -> None:
    with (team / "rbkernel.toml").open("a") as file:
        file.write('[lint.severity]\nRB003 = "off"\nRB204 = "off"\n')
    done = run("lint", "runbooks", folder=team)
    assert (done.returncode, done.stdout) == (0, "1 notebook: 0 errors, 0 warnings\n")
    with (team / "rbkernel.toml").open("a") as file:
        file.write('RB999 = "off"\n')
    wrong = run("lint", "runbooks", folder=team)
    assert wrong.returncode == 3
    assert "RB999, which is no rule" in wrong.stderr


def test_what_is_unreadable_ends_with_3(run: Command, team: Path) -> None:
    (team / "runbooks/broken.ipynb").write_text("<<<<<<< HEAD")
    done = run("lint", "runbooks", folder=team)
    assert done.returncode == 3
    assert "runbooks/broken.ipynb: error RB001 the file is not JSON (line 1)" in done.stdout
    assert "cell 7 (query)" in done.stdout  # the others are judged all the same
    gone = run("lint", "gone.ipynb", folder=team)
    assert gone.returncode == 3
    assert "the file or folder does not exist (gone.ipynb). Next: " in gone.stderr


def test_a_rule_explains_itself(run: Command) -> None:
    done = run("lint", "--explain", "rb403")
    assert done.stdout.startswith("# RB403: sql-not-reading\n")
    assert done.returncode == 0
    unknown = run("lint", "--explain", "RB999")
    assert unknown.returncode == 3
    assert "no rule has the code RB999" in unknown.stderr


def test_coverage_as_a_shell_expands_the_glob(run: Command, team: Path) -> None:
    (team / "alerts").mkdir()
    for name in ("a.yml", "b.yml"):
        (team / "alerts" / name).write_bytes(MIXINS.read_bytes())
    run("lint", "--fix", "runbooks", folder=team)  # with outputs it is no entry of the catalogue
    done = run("coverage", "--rules", "alerts/a.yml", "alerts/b.yml", folder=team)
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1].startswith("CRITICAL: 32 of 96 alerts that need a runbook")
    assert done.stdout.count("PostgreSQLTooManyConnections ") == 2
    page = run("coverage", "--rules", "alerts/*.yml", "--figure", "x.html", "--json", folder=team)
    assert page.returncode == 2
    assert len(json.loads(page.stdout)["alerts"]) == 110
    assert (team / "x.html").is_file()


def test_coverage_of_what_cannot_be_read_ends_with_3(run: Command, team: Path) -> None:
    (team / "rules.yml").write_text("groups: [")
    for arguments in (["rules.yml"], ["--rules", "gone.yml"], []):
        done = run("coverage", *arguments, folder=team)
        assert done.returncode == 3
        assert done.stderr.startswith("rbkernel: ")
        assert "Next: " in done.stderr


def test_one_broken_rule_file_does_not_hide_the_others(run: Command, team: Path) -> None:
    (team / "broken.yml").write_text("groups: [")
    done = run("coverage", "broken.yml", str(MIXINS), folder=team)
    assert done.returncode == 3
    assert "broken.yml" in done.stderr
    assert "Next: " in done.stderr
    assert "PostgreSQLTooManyConnections " in done.stdout


def test_our_own_runbooks_wait_for_no_alert_of_a_team(run: Command, team: Path) -> None:
    run("lint", "--fix", "runbooks", folder=team)  # with outputs it is no entry of the catalogue
    done = run("coverage", str(MIXINS), "--json", folder=team)
    assert json.loads(done.stdout)["runbooks_without_alert"] == ["RUN-900"]


def test_a_runbook_that_cannot_be_read_is_no_coverage(run: Command, team: Path) -> None:
    notebook = good()
    without("front-matter")(notebook)
    nbformat.write(notebook, team / "runbooks/broken.ipynb")
    done = run("coverage", "--rules", str(MIXINS), folder=team)
    assert done.returncode == 3
    assert "broken.ipynb" in done.stderr
