"""`rbkernel config`: every problem at its line, all at once; origins; the JSON Schema."""

from __future__ import annotations

import datetime
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types of its own
import pytest

from rbkernel import config
from rbkernel.cli import main
from rbkernel.config import files, origins
from rbkernel.config.schema import schema
from rbkernel.errors import ConfigError
from rbkernel.gateway import config_check
from tests.unit.test_config import ORDERS, SECRET, folder

__all__ = ["folder"]  # a fixture

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parents[1] / "corpora/broken_configurations.txt"
BROKEN = dict(re.findall(r"^### (.+)\n((?:(?!### ).*\n)+)", CORPUS.read_text(), re.MULTILINE))


def test_there_are_at_least_thirty() -> None:
    assert len(BROKEN) >= 30


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_every_problem_is_found_at_its_line(folder: Path, text: str) -> None:
    expected = [
        (line, words)
        for line, said in enumerate(text.splitlines(), 1)
        for words in said.partition("  #! ")[2].split(" | ")
        if words
    ]
    (folder / config.FILE_NAME).write_text(text)
    found = files.examine()
    assert found.settings is None
    lines = [(one.place.line, f"{one.what} -> {one.hint}") for one in found.problems]
    assert [line for line, _ in lines] == [line for line, _ in expected], lines
    for line, words in expected:
        assert [said for at, said in lines if at == line and words in said], lines
    assert SECRET not in str(lines)
    with pytest.raises(ConfigError) as caught:  # the same for every command
        config.load()
    assert caught.value.where == str(found.problems[0].place)
    assert caught.value.what == found.problems[0].what


# valid, but at each marked line something would not work, or is not used
SURROUNDED = """
[connections.orders]
host = "127.0.0.1"
port = 1  #! orders
user = "rb_diag"
password_env = "NOT_SET"  #! error | NOT_SET is not set
passfile = "open"  #! error | chmod 600
sslrootcert = "gone"  #! error | does not exist
[connections.orders.action]  #! warning | this role is never used
user = "act"
password_command = ["no-such-program", "hunter2-Tr0ub4dor"]  #! error | no program
[catalogue]
paths = [
  "gone",  #! error | does not exist
]
[[schedules]]  #! error | RUN-999 cannot run
name = "daily"
cron = "0 6 * * *"
runbook = "RUN-999"
[[routes]]  #! error | no parameter 'wich'
alert = "X"
runbooks = "RUN-005"
parameters = {wich = "a"}
[[routes]]  #! warning | never applies
alert = "X"
runbooks = []
[gateway.senders.pidgin]  #! error | no installed package adds a sender
secret_env = ["NOT_SET", "OPS"]
[notify.targets.ops]  #! warning | gets no event
url_env = "OPS"
events = []
channel = "pigeon"  #! error | no channel
[[maintenance]]  #! warning | the window ended
from = 2026-01-01T00:00:00Z
to = 2026-01-02T00:00:00Z
match = {}
reason = "upgrade"
[actions]
approvers = "people"
[[actions.rules]]  #! error | needs 2 approvers
action = "run:restart"
approvers = 2
[actions.commands.restart]
argv = ["true"]
verify = "exit code"
[actions.commands.stop]  #! warning | no rule is for run:stop
argv = ["true"]
verify = "exit code"
"""


def test_what_would_not_work_is_found_without_asking_anybody(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPS", f"json://127.0.0.1/{SECRET}")
    (folder / "open").write_text("")
    (folder / "open").chmod(0o644)
    (folder / "people").write_text("# approvers\nann ssh-ed25519 AAAA\n\n")
    text = SURROUNDED.replace("  #! orders", "")
    (folder / config.FILE_NAME).write_text(text)
    remarks = config_check.check(files.examine())
    assert SECRET not in str(remarks)
    expected = [
        (f":{line}", level, words)
        for line, said in enumerate(text.splitlines(), 1)
        for level, _, words in [said.partition("  #! ")[2].partition(" | ")]
        if level
    ]
    in_file = [one for one in remarks if re.search(r":\d+$", one.where)]
    assert len(in_file) == len(expected), in_file
    for one, (line, level, words) in zip(in_file, expected, strict=True):
        assert one.where.endswith(line), (one, words)
        assert (one.level, words in str(one)) == (level, True), one
    # the fallback for alerts without a runbook has no default connection
    assert [one.level for one in remarks if one not in in_file] == ["warning"]


def test_a_file_that_this_user_may_not_read_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests may run as root, whom no file is closed to."""
    (folder / "open").write_text("")
    (folder / config.FILE_NAME).write_text(f'{ORDERS}default = true\npassfile = "open"\n')
    monkeypatch.setattr("rbkernel.gateway.config_check.os.access", lambda *_: False)
    [found] = config_check.check(files.examine())
    assert "this user cannot read" in found.what


def test_a_configuration_that_works_has_no_remark(folder: Path) -> None:
    (folder / config.FILE_NAME).write_text(f"{ORDERS}default = true\n")
    assert config_check.check(files.examine()) == []


def test_online_also_logs_in(folder: Path) -> None:
    (folder / config.FILE_NAME).write_text(
        '[connections.orders]\nhost = "127.0.0.1"\nport = 1\nuser = "a"\ndbname = "b"\n'
        "default = true\n"
    )
    [remark] = config_check.check(files.examine(), online=True)
    assert remark.level == "error"
    assert remark.where.endswith(":1")
    assert "reach" in remark.what


class TestLayers:
    def write(self, folder: Path) -> None:
        (folder / "teams").mkdir()
        (folder / config.FILE_NAME).write_text(
            'include = ["teams/*.toml"]\n[[routes]]\nalert = "A"\nrunbooks = []\n' + ORDERS
        )
        (folder / "teams/a.toml").write_text(
            '[connections.orders]\nhost = "lost"\nport = 6432\n[[routes]]\nalert = "B"\n'
            "runbooks = []\n"
        )
        (folder / "rbkernel.production.toml").write_text('[connections.orders]\nhost = "prod"\n')

    def test_precedence(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.write(folder)
        settings = config.load()
        assert (settings.connections["orders"].host, settings.connections["orders"].port) == (
            "db1",
            6432,
        )
        assert [one.alert for one in settings.routes] == ["A", "B"]
        monkeypatch.setenv("RBKERNEL_ENVIRONMENT", "production")
        assert config.load().connections["orders"].host == "prod"

    def test_an_environment_without_its_file_is_refused(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.write(folder)
        monkeypatch.setenv("RBKERNEL_ENVIRONMENT", "../production")
        with pytest.raises(ConfigError, match="there is no file"):
            config.load()

    def test_each_problem_has_its_own_file(self, folder: Path) -> None:
        self.write(folder)
        (folder / "teams/a.toml").write_text('include = []\n[connections.orders]\nport = "x"\n')
        places = [str(one.place) for one in files.examine().problems]
        assert places == [f"{folder}/teams/a.toml:1", f"{folder}/teams/a.toml:3"]

    def test_origins(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.write(folder)
        monkeypatch.setenv("RBKERNEL_EVIDENCE", "/srv/evidence")
        monkeypatch.setenv("RBKERNEL_STORE_URL", f"postgresql://u:{SECRET}@db/x")
        with (folder / config.FILE_NAME).open("a") as file:
            file.write(f'password_command = ["echo", "{SECRET}"]\n')
        found = files.examine()
        assert found.settings is not None
        values = {one.name: one for one in origins.values(found, found.settings)}
        assert {
            name: (values[f"connections.orders.{name}"].origin.rpartition("/")[2])
            for name in ("host", "port", "row_cap")
        } == {"host": "rbkernel.toml:6", "port": "a.toml:3", "row_cap": "default"}
        assert values["routes.1.alert"].origin == f"{folder}/teams/a.toml:5"
        assert values["evidence.root"].value == "/srv/evidence"
        assert values["evidence.root"].origin == "$RBKERNEL_EVIDENCE"
        assert SECRET not in str(values)


def _of_docs() -> list[str]:
    pages = [page.read_text() for page in sorted((ROOT / "docs").rglob("*.md"))]
    return re.findall(r"```toml\n(.*?)```", "\n".join(pages), re.DOTALL)


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_as_json(one) for one in value]
    return value.isoformat() if isinstance(value, datetime.datetime) else value


class TestSchema:
    """What the models accept, the schema accepts, too; and what it refuses, they refuse."""

    validator = jsonschema.Draft202012Validator(json.loads(json.dumps(schema())))

    def test_it_is_a_schema(self) -> None:
        self.validator.check_schema(self.validator.schema)

    def test_it_accepts_all_examples_of_the_docs(self, folder: Path) -> None:
        valid = 0
        for text in _of_docs():
            (folder / config.FILE_NAME).write_text(text)
            if files.examine().settings is not None:
                self.validator.validate(_as_json(tomllib.loads(text)))
                valid += 1
        assert valid > 10

    def test_it_refuses_unknown_fields_and_wrong_types(self) -> None:
        refused = 0
        for text in BROKEN.values():
            try:
                data = _as_json(tomllib.loads(text))
            except tomllib.TOMLDecodeError:
                continue
            refused += not self.validator.is_valid(data)
        assert refused >= 15


def _ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["rbkernel", "config", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(str(ended.value.code))


def test_the_commands(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / config.FILE_NAME
    file.write_text(f"{ORDERS}default = true\n")
    assert _ended(monkeypatch, "check") == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    assert _ended(monkeypatch, "show", "connections.orders", "--origin") == 0
    assert f"{file}:2" in capsys.readouterr().out
    assert _ended(monkeypatch, "show", "connection") == 3
    assert _ended(monkeypatch, "schema") == 0
    file.write_text("[connections.orders]\nprot = 1\n")
    capsys.readouterr()
    assert _ended(monkeypatch, "check", "--json") == 2
    [remark] = json.loads(capsys.readouterr().out)
    assert (remark["where"], remark["next_step"]) == (f"{file}:2", "write port")
    assert _ended(monkeypatch, "show") == 3
    assert "write port" in capsys.readouterr().err
    file.write_text(ORDERS)
    assert _ended(monkeypatch, "check") == 1  # no default connection
