"""`rbkernel init`, `doctor` and `grant`, as a person runs them: causes, next steps, no password."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import rbkernel
from rbkernel.cli import main
from rbkernel.config import Connection
from rbkernel.errors import ConfigError
from rbkernel.model import Verdict
from rbkernel.sandbox.access import HOST, Access, Role, passfile
from rbkernel.sources.postgres import doctor, setup
from rbkernel.sources.postgres.connection.capabilities import Server
from rbkernel.sources.postgres.connection.privileges import Tables
from tests.support.patients import administrate, ask, sandbox
from tests.support.pooler import pgbouncer

SECRET = "gRq7-vW2x_Tz9!kLm4"
STEPS = [
    "configuration",
    "reach",
    "login",
    "server",
    "role",
    "settings",
    "functions",
    "extensions",
    "tables",
    "time-outs",
]


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    with sandbox(tmp_path_factory.mktemp("doctor")) as ways:
        yield ways


class Desk:
    """A working folder with an `rbkernel.toml`, and the command line in it."""

    def __init__(self, folder: Path, access: Access) -> None:
        self.folder = folder
        self.access = access
        package = str(Path(next(iter(rbkernel.__path__))).parent)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("RBKERNEL", "PG"))},
            "PYTHONPATH": package,
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "DB_PASSWORD": SECRET,
        }

    def configure(self, **fields: Any) -> None:
        text = setup.with_connection("", "db", self.fields(**fields))
        (self.folder / "rbkernel.toml").write_text(text, encoding="utf-8")

    def fields(self, role: Role = "rb_diag", **fields: Any) -> dict[str, Any]:
        ways = self.access
        usual: dict[str, Any] = {
            "host": HOST,
            "port": ways.primary_port,
            "dbname": "shop",
            "user": role,
        }
        if "password_env" not in fields and "passfile" not in fields:
            usual["passfile"] = str(passfile(ways.home, role))
        return {**usual, "connect_timeout_s": 2, **fields}

    def run(self, *arguments: str) -> tuple[int, str]:
        """The exit code, and all that was printed."""
        said = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, Path(os.devnull).open() as nobody:
            patch.chdir(self.folder)
            for name in os.environ.keys() - self.environment.keys():
                patch.delenv(name)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["rbkernel", *arguments])
            patch.setattr(sys, "stdin", nobody)
            with redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit) as ended:
                main()
        assert not tells_a_part_of(SECRET, said.getvalue())
        return int(ended.value.code or 0), said.getvalue()

    def diagnosis(self) -> dict[str, dict[str, str]]:
        """The doctor's findings by step, of the connection as it is configured."""
        found: dict[str, list[dict[str, str]]] = json.loads(self.run("doctor", "db", "--json")[1])
        return {step["title"]: step for step in found["db"]}

    def examine(self, **fields: Any) -> tuple[int, dict[str, dict[str, str]]]:
        """The exit code, and the doctor's findings by step."""
        self.configure(**fields)
        code, text = self.run("doctor", "db", "--json")
        found = {step["title"]: step for step in json.loads(text)["db"]}
        assert list(found) == STEPS
        assert all(step["verdict"] == "ok" or step["next_step"] for step in found.values())
        return code, found


def tells_a_part_of(secret: str, text: str, length: int = 5) -> bool:
    return any(secret[i : i + length] in text for i in range(len(secret) - length + 1))


@pytest.fixture
def desk(tmp_path: Path, access: Access) -> Desk:
    return Desk(tmp_path, access)


def verdicts(found: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {title: step["verdict"] for title, step in found.items() if step["verdict"] != "ok"}


def after(step: str) -> dict[str, str]:
    """The steps that a broken one leaves open."""
    broken = STEPS.index(step)
    return {step: "critical", **dict.fromkeys(STEPS[broken + 1 :], "unknown")}


class TestDoctor:
    def test_a_healthy_connection(self, desk: Desk) -> None:
        code, found = desk.examine()
        assert code == 0
        assert verdicts(found) == {}

    def test_superuser(self, desk: Desk) -> None:
        code, found = desk.examine(role="postgres")
        assert code == 2
        assert verdicts(found) == after("role")
        assert "is superuser" in found["role"]["actual"]
        assert "rbkernel grant" in found["role"]["next_step"]

    def test_missing_pg_monitor(self, desk: Desk) -> None:
        code, found = desk.examine(role="rb_nobody")
        assert code == 1
        assert verdicts(found) == {"role": "warning"}
        assert "lacks pg_monitor" in found["role"]["cause"]
        assert 'GRANT pg_monitor TO "rb_nobody"' in found["role"]["next_step"]

    def test_a_function_that_runs_with_its_owners_rights(self, desk: Desk, access: Access) -> None:
        with access.connect("postgres") as admin:
            admin.execute(
                b"CREATE FUNCTION backdoor() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1"
            )
            try:
                code, found = desk.examine()
                admin.execute(b"REVOKE EXECUTE ON FUNCTION backdoor() FROM PUBLIC")
                code_after, found_after = desk.examine()
            finally:
                admin.execute(b"DROP FUNCTION backdoor()")
        assert code == 1
        assert verdicts(found) == {"functions": "warning"}
        assert "backdoor()" in found["functions"]["actual"]
        assert "postgres" in found["functions"]["cause"]
        assert (code_after, verdicts(found_after)) == (0, {})

    def test_in_words(self, desk: Desk) -> None:
        desk.configure(role="rb_nobody")
        code, text = desk.run("doctor")
        assert code == 1
        assert text.startswith("db:\nWARNING  role: rb_nobody, without pg_monitor")
        assert f"\nOK       {len(STEPS) - 1} checks: configuration · " in text
        assert "why: the role rb_nobody lacks pg_monitor" in text
        assert 'next: have an administrator run: GRANT pg_monitor TO "rb_nobody"' in text

    def test_wrong_password(self, desk: Desk) -> None:
        code, found = desk.examine(password_env="DB_PASSWORD")
        assert code == 2
        assert verdicts(found) == after("login")
        assert "does not accept the password" in found["login"]["cause"]
        assert "check the password source" in found["login"]["next_step"]

    @pytest.mark.parametrize(
        ("secret", "fields"),
        [
            (f"{SECRET}\nhost=evil", {"password_env": "DB_PASSWORD"}),
            (f"{SECRET}' host='evil", {"password_env": "DB_PASSWORD"}),
            (f"postgresql://u:{SECRET}@h/d", {"password_env": "DB_PASSWORD"}),
            (SECRET, {"password_env": "DB_PASSWORD", "host": "no-such-host.invalid"}),
            (SECRET, {"password_env": "DB_PASSWORD", "sslmode": "verify-full"}),
            (SECRET, {"password_env": "DB_PASSWORD", "sslmode": "nonsense"}),
            (SECRET, {"password_command": ["sh", "-c", "echo $DB_PASSWORD; exit 1"]}),
            (SECRET, {"password_command": ["sh", "-c", "echo $DB_PASSWORD >&2; echo x"]}),
        ],
    )
    def test_no_part_of_a_password_is_told(
        self, desk: Desk, secret: str, fields: dict[str, Any]
    ) -> None:
        desk.environment["DB_PASSWORD"] = secret  # `run` looks for it in all that is printed
        code, found = desk.examine(**fields)
        assert code == 2
        assert "critical" in verdicts(found).values()

    def test_nor_of_one_in_a_url(self, desk: Desk) -> None:
        desk.configure(host=f"postgresql://u:{SECRET}@h/d")
        code, text = desk.run("doctor")
        assert code == 3
        assert "holds a URL" in text

    def test_variable_that_is_not_set(self, desk: Desk) -> None:
        code, found = desk.examine(password_env="NO_SUCH_VARIABLE")
        assert code == 2
        assert verdicts(found) == after("configuration")
        assert "export NO_SUCH_VARIABLE" in found["configuration"]["next_step"]

    def test_passfile_that_others_may_read(self, desk: Desk) -> None:
        pgpass = desk.folder / "pgpass"
        pgpass.write_text(f"*:*:*:*:{SECRET}\n", encoding="utf-8")
        pgpass.chmod(0o644)
        _, found = desk.examine(passfile=str(pgpass))
        assert verdicts(found) == after("configuration")
        assert f"chmod 600 {pgpass}" in found["configuration"]["next_step"]

    def test_nothing_listens(self, desk: Desk) -> None:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
        code, found = desk.examine(port=port)
        assert code == 2
        assert verdicts(found) == after("reach")
        assert "nothing listens" in found["reach"]["cause"]

    def test_no_such_host(self, desk: Desk) -> None:
        _, found = desk.examine(host="no-such-host.invalid")
        assert verdicts(found) == after("reach")
        assert "check the host name" in found["reach"]["next_step"]

    def test_a_host_that_never_answers(self, desk: Desk) -> None:
        with socket.socket() as silent:
            silent.bind((HOST, 0))
            silent.listen()
            _, found = desk.examine(port=silent.getsockname()[1])
        assert verdicts(found) == after("reach")
        assert "does not answer within 2 s" in found["reach"]["cause"]

    def test_no_such_database(self, desk: Desk) -> None:
        _, found = desk.examine(dbname="nowhere")
        assert verdicts(found) == after("login")
        assert "check dbname" in found["login"]["next_step"]

    def test_pooler(self, desk: Desk, access: Access, tmp_path: Path) -> None:
        line = passfile(access.home, "rb_diag").read_text(encoding="utf-8").strip()
        desk.environment["POOLED"] = line.rpartition(":")[2]
        with pgbouncer(access, tmp_path, pool_size=2) as port:
            code, found = desk.examine(port=port, password_env="POOLED")
        assert code == 1
        assert verdicts(found) == {"server": "warning"}
        assert "pooler" in found["server"]["cause"]

    @pytest.mark.parametrize("fields", [{"lock_timeout_s": 20}, {"statement_timeout_s": 600}])
    def test_time_outs_that_help_nobody(self, desk: Desk, fields: dict[str, Any]) -> None:
        _, found = desk.examine(**fields)
        assert verdicts(found) == {"time-outs": "warning"}

    def test_nothing_to_examine(self, desk: Desk) -> None:
        code, text = desk.run("doctor")
        assert code == 3
        assert "rbkernel init" in text


def server(**facts: Any) -> Server:
    usual: dict[str, Any] = {
        "version": "18.1",
        "version_num": 180001,
        "standby": False,
        "default_read_only": True,
        "role": "diag",
        "database": "shop",
        "address": "10.0.0.1",
        "port": 5432,
        "superuser": False,
        "roles": frozenset({"pg_monitor"}),
        "extensions": frozenset({"pg_stat_statements"}),
        "pooler": False,
        "managed": "",
    }
    return Server(**{**usual, **facts})


class TestJudging:
    def test_old_server(self) -> None:
        found = doctor.judge_server(server(version="13.4", version_num=130004))
        assert found.verdict is Verdict.CRITICAL
        assert "13.4 is not supported" in found.cause
        assert "upgrade it to 15" in found.next_step

    def test_managed_service_is_named(self) -> None:
        found = doctor.judge_server(server(managed="Amazon RDS"))
        assert found.verdict is Verdict.OK
        assert "Amazon RDS" in found.actual

    def test_missing_extension(self) -> None:
        found = doctor.judge_extensions(server(extensions=frozenset()))
        assert found.verdict is Verdict.WARNING
        assert "CREATE EXTENSION pg_stat_statements" in found.cause


def tables(**facts: Any) -> Tables:
    usual: dict[str, Any] = {"schema": "shop", "owner": "app", "tables": 9, "readable": 9}
    return Tables(**{**usual, "later": True, "meant": True, **facts})


class TestTables:
    @pytest.mark.parametrize(
        ("facts", "named", "verdict", "words"),
        [
            ({}, False, Verdict.OK, "all 9 tables in shop"),
            ({"readable": 7}, False, Verdict.WARNING, "2 of 9 cannot be read (schema shop, owner"),
            ({"later": False}, False, Verdict.WARNING, "future tables cannot be read"),
            # single tables were granted: a choice, and no fault
            ({"later": False, "meant": False}, False, Verdict.OK, "future tables cannot be read"),
            ({"later": False, "meant": False}, True, Verdict.WARNING, "future tables"),
            ({"readable": 0}, False, Verdict.OK, "can read no table"),
            ({"readable": 0}, True, Verdict.WARNING, "9 of 9 cannot be read"),
        ],
    )
    def test_what_can_be_read(
        self, facts: dict[str, Any], named: bool, verdict: Verdict, words: str
    ) -> None:
        found = doctor.judge_tables([tables(**facts)], role="diag", named=named)
        assert found.verdict is verdict
        assert words in found.actual
        if verdict is Verdict.WARNING:
            assert 'TO "diag";' in found.next_step

    def test_none_at_all(self) -> None:
        assert doctor.judge_tables([], role="diag", named=True).verdict is Verdict.OK


class TestGrant:
    def test_its_role_is_fit_in_a_fresh_database(self, desk: Desk, access: Access) -> None:
        ask(access, "CREATE DATABASE fresh")
        desk.configure(dbname="fresh", user="fresh_diag", password_env="DB_PASSWORD")
        code, sql = desk.run("grant", "db", "--action", "fresh_action", "--read", "public")
        assert code == 0
        with access.connect("postgres", dbname="fresh") as raw:
            administrate(raw, "CREATE EXTENSION pg_stat_statements; CREATE TABLE seen (a int)")
            administrate(raw, sql)
            administrate(raw, sql)
            administrate(raw, f"ALTER ROLE fresh_diag PASSWORD '{SECRET}'")
            powers = raw.execute("SELECT has_table_privilege('fresh_diag', 'seen', 'SELECT')")
            assert powers.fetchone() == (True,)
        code, text = desk.run("doctor", "db")
        assert code == 0, text

    def test_tables_that_the_application_creates_later(self, desk: Desk, access: Access) -> None:
        ask(access, "CREATE DATABASE growing")
        with access.connect("postgres", dbname="growing") as raw:
            administrate(raw, "CREATE EXTENSION pg_stat_statements; CREATE SCHEMA app;")
            administrate(raw, "CREATE SCHEMA other; GRANT CREATE ON SCHEMA other TO shop_app")
            administrate(raw, "CREATE TABLE app.old (a int); ALTER TABLE app.old OWNER TO shop_app")
            administrate(raw, "GRANT CREATE, USAGE ON SCHEMA app TO shop_app")
            desk.configure(dbname="growing", user="growing_diag", password_env="DB_PASSWORD")
            code, sql = desk.run("grant", "db", "--read", "app", "--read", "other")
            assert code == 0
            assert "rb_action" not in sql
            administrate(raw, sql)
            administrate(raw, sql)
            administrate(raw, f"ALTER ROLE growing_diag PASSWORD '{SECRET}'")
            with access.connect("shop_app", dbname="growing") as app:
                administrate(app, "CREATE TABLE app.new (a int)")
                administrate(app, "CREATE VIEW other.seen AS SELECT 1 AS a")
            assert verdicts(desk.diagnosis()) == {}
            # a role that may create only from now on
            administrate(raw, "CREATE ROLE late; GRANT CREATE, USAGE ON SCHEMA app TO late")
            administrate(raw, "SET ROLE late; CREATE TABLE app.hidden (a int); RESET ROLE")
            found = desk.diagnosis()["tables"]
            assert found["verdict"] == "warning"
            assert "1 of 4 cannot be read (schema app, owner late)" in found["actual"]
            administrate(raw, re.findall("run: (.*;)", found["next_step"])[0])
            administrate(raw, "SET ROLE late; CREATE TABLE app.last (a int); RESET ROLE")
            assert verdicts(desk.diagnosis()) == {}

    def test_all_tables(self, desk: Desk, access: Access) -> None:
        ask(access, "CREATE DATABASE open_to_all")
        desk.configure(dbname="open_to_all", user="all_diag", password_env="DB_PASSWORD")
        _, sql = desk.run("grant", "db", "--read-all")
        with access.connect("postgres", dbname="open_to_all") as raw:
            administrate(raw, f"CREATE EXTENSION pg_stat_statements; {sql}")
            administrate(raw, f"ALTER ROLE all_diag PASSWORD '{SECRET}'; CREATE TABLE a (b int)")
            assert verdicts(desk.diagnosis()) == {}

    def test_names_are_quoted(self) -> None:
        sql = setup.grant_sql('o"dd', action="it's", dbname="a b", read=["s; DROP"])
        assert 'CREATE ROLE "o""dd"' in sql
        assert "rolname = 'it''s'" in sql
        assert 'ON DATABASE "a b"' in sql
        assert 'ON SCHEMA "s; DROP"' in sql

    def test_without_an_action_role(self) -> None:
        sql = setup.grant_sql("diag", dbname="d")
        assert "CREATE ROLE" in sql
        assert "pg_signal_backend" not in sql

    @pytest.mark.parametrize("names", [("a", "a"), ("a$$b", "c"), ("a\nb", "c"), ("", "c")])
    def test_names_that_would_break_it(self, names: tuple[str, str]) -> None:
        with pytest.raises(ConfigError):
            setup.grant_sql(names[0], action=names[1], dbname="d")


class TestInit:
    def flags(self, access: Access) -> list[str]:
        return [
            *("init", "--name", "orders-db", "--host", HOST, "--port", str(access.primary_port)),
            *("--dbname", "shop", "--user", "rb_diag"),
            *("--password", f"file {passfile(access.home, 'rb_diag')}"),
        ]

    def test_flags_alone(self, desk: Desk, access: Access) -> None:
        before = "# ours\n[catalogue]\npaths = ['runbooks'] # here\n"
        file = desk.folder / "rbkernel.toml"
        file.write_text(before, encoding="utf-8")
        file.chmod(0o600)
        code, text = desk.run(*self.flags(access))
        assert code == 0, text
        assert file.read_text(encoding="utf-8").startswith(before)
        assert file.stat().st_mode & 0o777 == 0o600
        assert [path.name for path in desk.folder.iterdir() if "rbkernel" in path.name] == [
            "rbkernel.toml"
        ]
        assert "next: `rbkernel doctor orders-db`" in text
        assert desk.run("doctor", "orders-db")[0] == 0
        code, text = desk.run(*self.flags(access))
        assert code == 3
        assert "the connection orders-db already exists" in text

    def test_what_is_of_no_use_is_not_written(self, desk: Desk, access: Access) -> None:
        wrong = [*self.flags(access)[:-1], "env DB_PASSWORD"]
        code, text = desk.run(*wrong)
        assert code == 2
        assert "password authentication failed" in text
        assert "nothing was written" in text
        assert not (desk.folder / "rbkernel.toml").exists()
        assert desk.run(*wrong, "--no-test")[0] == 0
        written = (desk.folder / "rbkernel.toml").read_text(encoding="utf-8")
        assert SECRET not in written
        assert tomllib.loads(written)["connections"]["orders-db"]["password_env"] == "DB_PASSWORD"

    def test_a_password_is_no_source_of_one(self, desk: Desk, access: Access) -> None:
        code, text = desk.run(*self.flags(access)[:-1], SECRET)
        assert code == 3
        assert "write env NAME" in text

    def test_says_what_is_missing_when_nobody_is_there(self, desk: Desk) -> None:
        code, text = desk.run("init", "--name", "x")
        assert code == 3
        assert "give --host" in text

    def test_asks_at_a_terminal(self, desk: Desk, access: Access) -> None:
        answers = [HOST, str(access.primary_port), "shop", "", "", "answered"]
        answers[4:5] = ["the password", f"file {passfile(access.home, 'rb_diag')}"]
        code, text = at_a_terminal(desk, ["init"], answers)
        assert code == 0, text
        assert "Where does the password come from?" in text
        assert "not a password source" in text
        written = tomllib.loads((desk.folder / "rbkernel.toml").read_text(encoding="utf-8"))
        assert written["connections"]["answered"]["user"] == "rb_diag"

    @pytest.mark.parametrize("text", ["connections = 3\n", "connections = {a = {}}\n", "[broken"])
    def test_a_file_without_room_is_left_alone(self, text: str) -> None:
        with pytest.raises(ConfigError):
            setup.with_connection(text, "db", {"host": "h"})

    def test_odd_values_are_quoted(self) -> None:
        fields: dict[str, setup.Field] = {"host": 'a"\\\n', "password_command": ["a b", "c"]}
        text = setup.with_connection("", "größe", fields)
        assert tomllib.loads(text)["connections"]["größe"] == fields

    def test_a_field_that_is_wrong(self) -> None:
        with pytest.raises(ConfigError, match="port"):
            setup.connection("db", {"port": 70000})
        assert isinstance(setup.connection("db", {"port": 7000}), Connection)


def at_a_terminal(desk: Desk, arguments: list[str], answers: list[str]) -> tuple[int, str]:
    """Run a command at a terminal, and give an answer to each question."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "rbkernel", *arguments],
        cwd=desk.folder,
        env=desk.environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    seen, waiting = "", list(answers)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([controller], [], [], 0.2)[0]:
            try:
                seen += os.read(controller, 4096).decode()
            except OSError:  # the other end is closed
                break
        elif waiting and seen.endswith(": "):
            os.write(controller, f"{waiting.pop(0)}\n".encode())
    os.close(controller)
    assert waiting == [], seen
    return process.wait(10), seen
