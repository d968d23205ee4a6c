"""`rbkernel.toml` and the environment: where they are found, what is refused, where secrets are."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from rbkernel import config
from rbkernel.config.connections import Connection
from rbkernel.config.gateway import Limits
from rbkernel.config.queue import Queue
from rbkernel.errors import ConfigError, UnknownConnection

SECRET = "hunter2-Tr0ub4dor"
ORDERS = '[connections.orders]\nhost = "db1"\ndbname = "shop"\nuser = "rb_diag"\n'

CONNECTION_NUMBERS = (
    *("port", "connect_timeout_s", "statement_timeout_s", "lock_timeout_s"),
    *("row_cap", "size_cap_mb"),
)
LIMITS = (
    *("body_mb", "alerts", "body_timeout_s", "waiting_mb", "commit_timeout_s", "drain_s"),
    *("connections", "header_timeout_s", "idle_timeout_s"),
)
QUEUE = (
    *("kernels", "per_connection", "starts_per_minute", "attempts"),
    *("run_timeout_s", "lease_s", "drain_s", "keep_days"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, and nothing configured but what the test writes."""
    monkeypatch.delenv("RBKERNEL_CONFIG")
    monkeypatch.delenv("RBKERNEL_EVIDENCE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RBKERNEL_SANDBOX", str(tmp_path / "sandbox"))
    work = tmp_path / "team" / "service"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    return work


def load(folder: Path, text: str) -> config.Settings:
    (folder / config.FILE_NAME).write_text(text)
    return config.load()


class TestFinding:
    def test_nothing_is_needed(self, folder: Path) -> None:
        settings = config.load()
        assert settings.file is None
        assert settings.connections == {}
        assert settings.evidence_root.is_relative_to(folder.parents[1] / "home")

    def test_upwards_from_the_working_folder(self, folder: Path) -> None:
        (folder.parent / config.FILE_NAME).write_text(ORDERS)
        assert config.load().file == folder.parent / config.FILE_NAME
        load(folder, ORDERS)
        assert config.load().file == folder / config.FILE_NAME

    def test_the_environment_wins(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load(folder, ORDERS)
        other = tmp_path / "other.toml"
        other.write_text(ORDERS.replace("orders", "users"))
        monkeypatch.setenv("RBKERNEL_CONFIG", str(other))
        assert list(config.load().connections) == ["users"]

    def test_a_file_that_the_environment_names_must_exist(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RBKERNEL_CONFIG", str(folder / "gone.toml"))
        with pytest.raises(ConfigError, match="does not exist") as caught:
            config.load()
        assert "unset RBKERNEL_CONFIG" in caught.value.next_step

    def test_paths_are_relative_to_the_file(self, folder: Path) -> None:
        settings = load(folder.parent, '[evidence]\nroot = "ev"\n[catalogue]\npaths = ["a", "/b"]')
        assert settings.evidence_root == folder.parent / "ev"
        assert settings.catalogue.paths == (folder.parent / "a", Path("/b"))

    def test_resolving_paths_loses_no_other_field(self, folder: Path) -> None:
        evidence = load(folder, '[evidence]\nroot = "ev"\ngroup_access = true').evidence
        assert (evidence.root, evidence.group_access) == (folder / "ev", True)

    def test_paths_of_a_connection_too(self, folder: Path) -> None:
        found = load(folder, f'{ORDERS}passfile = "pgpass"\nsslrootcert = "~/ca"')
        connection = found.connection("orders")
        assert connection.passfile == folder / "pgpass"
        assert connection.sslrootcert == Path("~/ca").expanduser()

    def test_evidence_of_the_environment_wins(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RBKERNEL_EVIDENCE", "here")
        assert load(folder, '[evidence]\nroot = "ev"').evidence_root == folder / "here"

    def test_the_sandbox_hides_no_name_of_the_team(self, folder: Path) -> None:
        published = config.sandbox_connections_file()
        published.parent.mkdir()
        sandbox = ORDERS + ORDERS.replace("orders", "sandbox-primary")
        published.write_text(sandbox.replace("db1", "127.0.0.1"))
        connections = load(folder, ORDERS).connections
        assert {name: found.host for name, found in connections.items()} == {
            "orders": "db1",
            "sandbox-primary": "127.0.0.1",
        }

    def test_the_sandbox_is_the_default_while_the_team_has_none(self, folder: Path) -> None:
        published = config.sandbox_connections_file()
        published.parent.mkdir()
        assert load(folder, ORDERS).default_connection == ""
        published.write_text(f"{ORDERS.replace('orders', 'sandbox-primary')}default = true\n")
        assert load(folder, ORDERS).default_connection == "sandbox-primary"
        assert load(folder, f"{ORDERS}default = true").default_connection == "orders"

    def test_the_prometheus_of_the_sandbox_is_used_while_the_team_has_none(
        self, folder: Path
    ) -> None:
        published = config.sandbox_connections_file()
        published.parent.mkdir()
        prometheus = '[sources.{}]\nkind = "prometheus"\nurl = "http://127.0.0.1:9090"\n'
        published.write_text(prometheus.format("sandbox-prometheus"))
        loki = '[sources.logs]\nkind = "loki"\nurl = "http://127.0.0.1:3100"\n'
        assert {*load(folder, loki).sources} == {"logs", "sandbox-prometheus"}
        assert {*load(folder, prometheus.format("prod")).sources} == {"prod"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("[connections", "cannot be read"),
            ("colour = 1", "colour"),
            ("[connections.db]\ncolour = 1", "colour"),
            ('[connections.db]\nport = "many"', "port"),
            ("[connections.db]\nport = 70000", "port"),
            ("[connections.db]\nrow_cap = 0", "row_cap"),
            ("[connections.a]\ndefault = true\n[connections.b]\ndefault = true", "a and b both"),
            ('[connections.a]\nstandby = "b"', "the standby of a is 'b'"),
            ('[connections.a]\nstandby = "a"', "the standby of a is 'a'"),
            ("[connections.db]\nstatement_timeout_s = -1", "statement_timeout_s"),
            ("connections = 3", ""),
            ("[connections]\ndb = 3", ""),
            ("[evidence]\nroot = 3", "root"),
            ("evidence = 3", ""),
            ("[catalogue]\npaths = 3", "paths"),
            ("[catalogue]\npaths = [3]", ""),
            (f'[connections.db]\npassword = "{SECRET}"', "password"),
            (f'[connections.db]\ndsn = "postgresql://x:{SECRET}@y"', "dsn"),
            (f'[connections.db]\nurl = "postgresql://x:{SECRET}@y"', "url"),
        ],
    )
    def test_is_one_error_that_names_file_and_field(
        self, folder: Path, text: str, words: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            load(folder, text)
        assert words in str(caught.value)
        assert str(folder / config.FILE_NAME) in str(caught.value)
        assert caught.value.next_step
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize(
        "value", ["inf", "-inf", "nan", "-1", "1e300", "9" * 30, '"5"', "true", "[1]", "2026-01-01"]
    )
    @pytest.mark.parametrize(
        ("section", "field"),
        [
            *(("connections.db", name) for name in CONNECTION_NUMBERS),
            *(("gateway.limits", name) for name in LIMITS),
            *(("queue", name) for name in QUEUE),
            *(("grouping", name) for name in ("window_min", "reopen_min", "storm")),
            *(("notify", name) for name in ("burst", "every_s", "give_up_h")),
            *(("gateway", "port"), ("pages", "link_hours"), ("commands.x", "timeout_s")),
        ],
    )
    def test_a_number_that_is_none_or_out_of_range(
        self, folder: Path, section: str, field: str, value: str
    ) -> None:
        argv = 'argv = ["true"]\n' if section == "commands.x" else ""
        with pytest.raises(ConfigError) as caught:
            load(folder, f"[{section}]\n{argv}{field} = {value}")
        assert f"{section}.{field}: should be " in caught.value.what
        assert caught.value.next_step == "correct that field"

    @pytest.mark.parametrize("text", [f"x = {'9' * 5000}", f"x = {'[' * 10_000}{']' * 10_000}"])
    def test_what_no_reader_can_hold(self, folder: Path, text: str) -> None:
        with pytest.raises(ConfigError, match="cannot be read"):
            load(folder, text)

    def test_the_numbers_of_the_table_are_all_there_are(self) -> None:
        models: dict[type[BaseModel], tuple[str, ...]] = {
            Connection: CONNECTION_NUMBERS,
            Limits: LIMITS,
            Queue: QUEUE,
        }
        for model, names in models.items():
            kinds = {name: field.annotation for name, field in model.model_fields.items()}
            assert {name for name, kind in kinds.items() if kind in {int, float}} == set(names)

    @pytest.mark.parametrize("content", [b'x = "\xff"', "[evidence]".encode("utf-16")])
    def test_not_utf_8(self, folder: Path, content: bytes) -> None:
        (folder / config.FILE_NAME).write_bytes(content)
        with pytest.raises(ConfigError, match="cannot be read") as caught:
            config.load()
        assert "save the file as UTF-8" in caught.value.next_step
        assert "codec" not in str(caught.value)

    def test_the_mark_that_windows_puts_before_utf_8_is_no_error(self, folder: Path) -> None:
        text = '[evidence]\nroot = "/srv/evidence"\n'
        (folder / config.FILE_NAME).write_bytes(text.encode("utf-8-sig"))
        assert config.load().evidence_root == Path("/srv/evidence")

    @pytest.mark.parametrize(
        ("text", "field"),
        [
            ('[evidence]\nroot = "/srv/\\u0000x"', "evidence.root"),
            ('[connections.db]\nhost = "h\\u0000"', "connections.db.host"),
            ('[connections.db]\npassfile = "/a\\u0000"', "connections.db.passfile"),
            ('[connections.db]\npassword_command = ["a", "b\\u0000"]', "password_command.1"),
            ('[commands.x]\nargv = ["\\u0000"]', "commands.x.argv.0"),
        ],
    )
    def test_a_nul_is_named_by_its_field(self, folder: Path, text: str, field: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load(folder, text)
        assert f"{field}: contains the character U+0000" in caught.value.what
        assert "\0" not in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "field"),
        [
            ("[evidence]\nroot = 5", "evidence.root"),
            ("[catalogue]\npaths = [5]", "catalogue.paths.0"),
        ],
    )
    def test_a_path_that_is_none(self, folder: Path, text: str, field: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load(folder, text)
        assert caught.value.what == f"{field}: should be a path, as text in quotes"

    def test_a_folder_in_place_of_the_file(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RBKERNEL_CONFIG", str(folder))
        with pytest.raises(ConfigError):
            config.load()

    def test_an_unknown_connection_lists_those_there_are(self, folder: Path) -> None:
        with pytest.raises(UnknownConnection, match="'order'; known: orders") as caught:
            load(folder, ORDERS).connection("order")
        assert "rbkernel init" in caught.value.next_step

    def test_no_name_and_no_default_says_how_to_give_one(self, folder: Path) -> None:
        with pytest.raises(UnknownConnection, match="none is the default; known: orders") as caught:
            load(folder, ORDERS).connection("")
        assert "default = true" in caught.value.next_step

    @pytest.mark.parametrize(
        "name", [f"postgresql://u:{SECRET}@h/d", f"host=h password={SECRET}", f"u:{SECRET}@h"]
    )
    def test_an_address_in_place_of_a_name_is_not_repeated(self, folder: Path, name: str) -> None:
        with pytest.raises(UnknownConnection, match="looks like an address") as caught:
            load(folder, ORDERS).connection(name)
        assert SECRET not in str(caught.value)


class TestPasswords:
    def test_of_the_environment(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found = load(folder, f'{ORDERS}password_env = "ORDERS_PASSWORD"').connection("orders")
        with pytest.raises(ConfigError, match="ORDERS_PASSWORD is not set"):
            found.password()
        monkeypatch.setenv("ORDERS_PASSWORD", SECRET)
        assert found.password() == SECRET
        assert SECRET not in repr(found)
        assert SECRET not in str(found.libpq_parameters())

    def test_of_a_command(self, folder: Path) -> None:
        text = f"{ORDERS}password_command = ['sh', '-c', 'echo {SECRET}']"
        assert load(folder, text).connection("orders").password() == SECRET

    @pytest.mark.parametrize(
        "command", [f"['sh', '-c', 'echo {SECRET} >&2; exit 1']", "['no-such-command']"]
    )
    def test_a_command_that_fails_tells_no_secret(self, folder: Path, command: str) -> None:
        found = load(folder, f"{ORDERS}password_command = {command}").connection("orders")
        with pytest.raises(ConfigError, match="password_command failed") as caught:
            found.password()
        assert SECRET not in str(caught.value)
        assert SECRET not in caught.value.next_step

    def test_nothing_is_asked_where_libpq_knows(self, folder: Path) -> None:
        assert load(folder, ORDERS).connection("orders").password() is None


def test_a_service_brings_its_own_port(folder: Path) -> None:
    found = load(folder, '[connections.orders]\nservice = "orders"').connection("orders")
    assert found.libpq_parameters() == {"service": "orders", "connect_timeout": 5}
