"""What the doctor says of a connection that does not work: by cause, whatever the words."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rbkernel.config import Connection
from rbkernel.errors import DatabaseError
from rbkernel.model import Finding, Verdict
from rbkernel.sandbox.access import HOST, Access
from rbkernel.sources.postgres import doctor, setup
from rbkernel.sources.postgres.connection import driver
from rbkernel.sources.postgres.connection.driver import Ask, RawConnection, Result
from rbkernel.sources.postgres.connection.session import Session
from tests.conftest import missing_part
from tests.support.kernels import PATIENCE_S
from tests.support.patients import administrate, ask, connection, sandbox
from tests.support.pooler import pgbouncer

_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
_AS_ANOTHER = "GRANT rb_nobody TO patient; ALTER ROLE patient SET role = rb_nobody"
PASSWORD = "gRq7-vW2x_Tz9!kLm4"  # of roles that live for one test


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    with sandbox(tmp_path_factory.mktemp("causes")) as ways:
        yield ways


@pytest.fixture
def role(access: Access, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A diagnostic role of the test's own, and how it connects."""
    monkeypatch.setenv("PATIENT_PASSWORD", PASSWORD)
    with access.connect("postgres") as admin:
        administrate(admin, f"CREATE ROLE patient LOGIN PASSWORD '{PASSWORD}'")
        administrate(
            admin, "GRANT pg_monitor TO patient; GRANT CONNECT ON DATABASE shop TO patient"
        )
    yield connection(
        access,
        user="patient",
        passfile=None,
        password_env="PATIENT_PASSWORD",
        connect_timeout_s=20,
    )
    with access.connect("postgres") as admin:
        admin.execute(
            b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'patient'"
        )
        administrate(admin, "DROP OWNED BY patient; DROP ROLE patient")


def examine(to: Connection) -> dict[str, Finding]:
    return {finding.title: finding for finding in doctor.examine(to)}


def broken(found: dict[str, Finding]) -> tuple[str, str, str]:
    """The step that failed, its cause and its next step."""
    [step] = [one for one in found.values() if one.verdict is Verdict.CRITICAL]
    return step.title, step.cause, step.next_step


class TestRoles:
    @pytest.mark.parametrize(
        ("sql", "undo", "cause", "advice"),
        [
            ("ALTER ROLE patient NOLOGIN", "", "may not log in", "LOGIN"),
            ("ALTER ROLE patient PASSWORD 'another'", "", "does not accept", "VALID UNTIL"),
            ("ALTER ROLE patient VALID UNTIL '2001-01-01'", "", "does not accept", "VALID UNTIL"),
            ("ALTER ROLE patient PASSWORD NULL", "", "does not accept", "password source"),
            ("ALTER ROLE patient CONNECTION LIMIT 0", "", "own connection limit", "ALTER ROLE"),
            (
                "REVOKE CONNECT ON DATABASE shop FROM PUBLIC, patient",
                "GRANT CONNECT ON DATABASE shop TO PUBLIC",
                "no CONNECT privilege",
                "GRANT CONNECT",
            ),
            (
                "ALTER DATABASE shop CONNECTION LIMIT 0",
                "ALTER DATABASE shop CONNECTION LIMIT -1",
                "database has reached its own",
                "ALTER DATABASE",
            ),
            (
                "ALTER DATABASE shop ALLOW_CONNECTIONS false",
                "ALTER DATABASE shop ALLOW_CONNECTIONS true",
                "accepts no connections",
                "ALLOW_CONNECTIONS",
            ),
        ],
    )
    def test_refused(
        self, access: Access, role: Connection, sql: str, undo: str, cause: str, advice: str
    ) -> None:
        with access.connect("postgres", dbname="postgres") as admin:
            administrate(admin, sql)
            try:
                title, told, next_step = broken(examine(role))
            finally:
                administrate(admin, undo or "SELECT 1")
        assert title == "login"
        assert cause in told
        assert advice in next_step

    def test_a_role_that_does_not_exist(self, role: Connection) -> None:
        title, told, next_step = broken(examine(role.model_copy(update={"user": "nobody_here"})))
        assert title == "login"
        assert "does not accept" in told
        assert "the role may not exist" in next_step

    def test_no_password_at_all(self, role: Connection) -> None:
        title, told, next_step = broken(examine(role.model_copy(update={"password_env": None})))
        assert title == "login"
        assert "none was found" in told
        assert "password_env" in next_step

    def test_no_rule_of_pg_hba(self, access: Access, role: Connection) -> None:
        file = access.home.data("primary") / "pg_hba.conf"
        before = file.read_text(encoding="utf-8")
        file.write_text(f"host all patient {HOST}/32 reject\n{before}", encoding="utf-8")
        try:
            ask(access, "SELECT pg_reload_conf()")
            title, told, next_step = wait_for(role, "login")
        finally:
            file.write_text(before, encoding="utf-8")
            ask(access, "SELECT pg_reload_conf()")
        assert title == "login"
        assert "pg_hba.conf" in told
        assert "pg_hba.conf" in next_step

    @pytest.mark.parametrize(
        "setting",
        [
            *("statement_timeout = '10ms'", "statement_timeout = '1ms'", "lock_timeout = '1ms'"),
            *("idle_session_timeout = '1ms'", "idle_in_transaction_session_timeout = '1ms'"),
            *("default_transaction_isolation = 'serializable'", "search_path = nowhere"),
            *("default_transaction_read_only = off", "default_transaction_deferrable = on"),
            *("DateStyle = 'German'", "TimeZone = 'Asia/Kathmandu'", "IntervalStyle = 'iso_8601'"),
        ],
    )
    @pytest.mark.parametrize("of", ["ROLE patient", "DATABASE shop"])
    def test_no_setting_reaches_our_sessions(
        self, access: Access, role: Connection, setting: str, of: str
    ) -> None:
        with access.connect("postgres", dbname="postgres") as admin:
            administrate(admin, f"ALTER {of} SET {setting}")
            try:
                found = examine(role)
            finally:
                administrate(admin, f"ALTER {of} RESET {setting.split()[0]}")
        wrong = {one.title: one for one in found.values() if one.verdict is not Verdict.OK}
        assert wrong == {}
        known = setting.split()[0] in doctor._SETTINGS
        assert (setting.split()[0] in found["settings"].actual) is known

    def test_a_role_that_acts_as_another(self, access: Access, role: Connection) -> None:
        with access.connect("postgres") as admin:
            administrate(
                admin, "GRANT rb_nobody TO patient; ALTER ROLE patient SET role = rb_nobody"
            )
            found = examine(role)
        assert found["login"].actual == "as rb_nobody"
        assert found["settings"].verdict is Verdict.WARNING
        assert 'ALTER ROLE "patient" RESET role' in found["settings"].next_step

    @pytest.mark.parametrize("name", ["nosuchrole", "rb_nobody"])
    def test_a_role_that_cannot_be_taken_has_no_effect(
        self, access: Access, role: Connection, name: str
    ) -> None:
        with access.connect("postgres") as admin:
            administrate(admin, f"ALTER ROLE patient SET role = '{name}'")
        found = examine(role)
        assert found["settings"].verdict is Verdict.WARNING
        assert f"role = {name} has no effect" in found["settings"].cause
        assert "acts as another" not in found["settings"].cause
        assert 'ALTER ROLE "patient" RESET role' in found["settings"].next_step
        assert (found["role"].verdict, found["role"].actual[:8]) == (Verdict.OK, "patient,")

    def test_a_member_that_does_not_inherit_is_told_what_helps(
        self, access: Access, role: Connection
    ) -> None:
        with access.connect("postgres") as admin:
            administrate(admin, "REVOKE pg_monitor FROM patient; ALTER ROLE patient NOINHERIT")
            administrate(admin, "GRANT pg_monitor TO patient")
            before = examine(role)["role"]
            assert before.verdict is Verdict.WARNING
            assert "is a member of pg_monitor but does not inherit" in before.cause
            administrate(admin, before.next_step.partition("run: ")[2])
            assert examine(role)["role"].verdict is Verdict.OK
            # and so does the SQL of `rbkernel grant`
            administrate(admin, "REVOKE pg_monitor FROM patient; ALTER ROLE patient NOINHERIT")
            administrate(admin, "GRANT pg_monitor TO patient")
        with access.connect("postgres") as admin:
            administrate(admin, setup.grant_sql("patient", dbname="shop"))
        assert examine(role)["role"].verdict is Verdict.OK

    @pytest.mark.parametrize("setting", ["local_preload_libraries", "session_preload_libraries"])
    def test_a_library_that_is_missing(
        self, access: Access, role: Connection, setting: str
    ) -> None:
        with access.connect("postgres") as admin:
            administrate(admin, f"ALTER ROLE patient SET {setting} = 'no_such_library'")
        title, told, next_step = broken(examine(role))
        assert title == "login"
        assert "library in the settings of the role or the database" in told
        assert setting in next_step
        assert "memory" not in told + next_step

    def test_a_time_out_of_transactions_ends_none_of_ours(
        self, access: Access, role: Connection, caplog: pytest.LogCaptureFixture
    ) -> None:
        with access.connect("postgres") as admin:
            if admin.info.server_version < 170000:
                pytest.skip("transaction_timeout came with PostgreSQL 17")
            administrate(admin, "ALTER ROLE patient SET transaction_timeout = '30ms'")
        session = Session(role, application_name="rbkernel/test")
        with contextlib.closing(session):
            # far longer than the time-out, through the server's cursor, several times in a row
            for _ in range(3):
                found = session.query("SELECT count(*) AS n FROM generate_series(1, 1500000)")
                assert found["n"].tolist() == [1_500_000]
        assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []

    def test_the_cursor_of_a_session_that_was_ended_leaves_no_traceback(
        self, access: Access, role: Connection, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Ended(Session):
            """A session that an administrator ends while its rows are read."""

            pid = 0

            @contextmanager
            def _asking(self, raw: RawConnection, *, team: bool) -> Iterator[Ask]:
                def asked(sql: str, values: Mapping[str, Any]) -> Result:
                    result = send(sql, values)
                    if self.pid:
                        ask(access, f"SELECT pg_terminate_backend({self.pid}, 10000)")
                    return result

                with super()._asking(raw, team=team) as send:
                    yield asked

        session = Ended(role, application_name="rbkernel/test")
        with contextlib.closing(session):
            session.excess()
            session.pid = session.query("SELECT pg_backend_pid() AS pid")["pid"].iloc[0]
            with pytest.raises(DatabaseError):
                session.query("SELECT n FROM generate_series(1, 2000000) n")
        assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []

    def test_a_service_that_nobody_defines(
        self, role: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        file = tmp_path / "services"
        file.write_text("[other]\nhost=127.0.0.1\n", encoding="utf-8")
        monkeypatch.setenv("PGSERVICEFILE", str(file))
        title, told, next_step = broken(examine(role.model_copy(update={"service": "nosuch"})))
        assert title == "login"
        assert "no usable definition of the service" in told
        assert "PGSERVICEFILE" in next_step
        # one that is defined, and whose server does not run, is another matter
        file.write_text("[nosuch]\nhost=127.0.0.1\nport=1\n", encoding="utf-8")
        gone = role.model_copy(update={"service": "nosuch", "host": None})
        _, told, next_step = broken(examine(gone))
        assert "service" not in told + next_step

    def test_the_powers_of_who_logged_in_count(self, access: Access, role: Connection) -> None:
        with access.connect("postgres") as admin:
            administrate(admin, f"{_AS_ANOTHER}; ALTER ROLE patient SUPERUSER")
            title, told, _ = broken(examine(role))
            administrate(admin, "ALTER ROLE patient NOSUPERUSER")
        assert title == "role"
        assert "may do more than read" in told

    @pytest.mark.parametrize("user", ["rb_nobody", "postgres"])
    def test_poor_and_mighty_roles_are_examined_to_the_end(self, access: Access, user: Any) -> None:
        found = examine(connection(access, user))
        assert found["role"].verdict is (
            Verdict.CRITICAL if user == "postgres" else Verdict.WARNING
        )

    def test_all_slots_are_taken(self, access: Access, role: Connection) -> None:
        with ExitStack() as holders:
            with contextlib.suppress(DatabaseError):
                while True:
                    holders.enter_context(access.connect("shop_app"))
            title, told, next_step = broken(examine(role))
        assert title == "login"
        assert "no free connection slot" in told
        assert "RUN-001" in next_step


def wait_for(to: Connection, step: str) -> tuple[str, str, str]:
    """Examine until that step fails: a reload takes effect a moment after its call."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = examine(to)
        if found[step].verdict is Verdict.CRITICAL:
            return broken(found)
    raise AssertionError(f"{step} does not fail")


class TestTls:
    def test_a_server_without_it(self, role: Connection) -> None:
        for mode in ("require", "verify-ca", "verify-full"):
            title, told, next_step = broken(examine(role.model_copy(update={"sslmode": mode})))
            assert title == "reach"
            assert "no TLS" in told
            assert "ssl = on" in next_step

    def test_certificates(self, access: Access, role: Connection, tmp_path: Path) -> None:
        ours, other = authority(tmp_path / "ours"), authority(tmp_path / "other")
        named, here, old = (
            certificate(tmp_path / "ours", name, days=days)
            for name, days in (("db.example", 2), (HOST, 2), (HOST, -1))
        )
        for key, mode, root, cause in (
            (named, "verify-full", ours, "another host"),
            (named, "verify-ca", other, "not trusted"),
            (named, "verify-ca", ours, ""),
            (named, "require", None, ""),
            (named, "prefer", None, ""),
            (here, "verify-full", ours, ""),
            (old, "verify-full", ours, "expired"),
        ):
            with pgbouncer(access, tmp_path, pool_size=2, settings=tls(key)) as port:
                by: dict[str, Any] = {"port": port, "sslmode": mode, "sslrootcert": root}
                found = examine(connection(access, **by))
            assert (found["reach"].verdict is Verdict.OK) is (cause == "")
            assert cause in found["reach"].cause
            # libpq sees it as we do
            assert found["login"].verdict is (Verdict.UNKNOWN if cause else Verdict.OK)


def authority(folder: Path) -> Path:
    """Make an authority that signs certificates."""
    folder.mkdir()
    openssl(folder, f"req -x509 {_KEY} -days 2 -subj /CN=authority -keyout ca.key -out ca.crt")
    return folder / "ca.crt"


def certificate(folder: Path, name: str, *, days: int) -> Path:
    """Have the authority sign a certificate for a name; it has expired for negative days."""
    made = folder / f"{name}{days}"
    kind = "IP" if name == HOST else "DNS"
    made.with_suffix(".san").write_text(f"subjectAltName={kind}:{name}\n", encoding="utf-8")
    openssl(folder, f"req {_KEY} -subj /CN={name} -keyout {made}.key -out {made}.csr")
    openssl(
        folder,
        f"x509 -req -in {made}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days {days}"
        f" -extfile {made.with_suffix('.san')} -out {made}.crt",
    )
    return made


def tls(made: Path) -> str:
    """Return the settings of a pgbouncer that offers TLS."""
    return (
        f"client_tls_sslmode = allow\nclient_tls_key_file = {made}.key\n"
        f"client_tls_cert_file = {made}.crt\n"
    )


def openssl(folder: Path, arguments: str) -> None:
    program = shutil.which("openssl") or missing_part("there is no openssl on PATH")
    subprocess.run([program, *arguments.split()], cwd=folder, check=True, capture_output=True)


class TestTheWay:
    def test_another_program(self, role: Connection) -> None:
        server = http.server.ThreadingHTTPServer((HOST, 0), http.server.SimpleHTTPRequestHandler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            for mode in (None, "disable", "require"):
                elsewhere = {"port": server.server_port, "connect_timeout_s": 2}
                to = role.model_copy(update={**elsewhere, "sslmode": mode})
                title, told, next_step = broken(examine(to))
                assert title == "reach"
                assert "not PostgreSQL" in told
                assert "port" in next_step
        finally:
            server.shutdown()
            server.server_close()

    def test_a_folder_without_a_socket(self, role: Connection, tmp_path: Path) -> None:
        title, told, _ = broken(examine(role.model_copy(update={"host": str(tmp_path)})))
        assert title == "reach"
        assert "no socket" in told

    @pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 300, "ä" * 80])
    def test_a_name_that_is_no_host(self, role: Connection, host: str) -> None:
        title, _, next_step = broken(examine(role.model_copy(update={"host": host})))
        assert title == "reach"
        assert "host name" in next_step or "name server" in next_step


# as servers in other languages, and in states that are hard to hold, answer a login
@pytest.mark.parametrize(
    ("sqlstate", "words", "routine", "advice"),
    [
        (
            "28P01",
            "Passwort-Authentifizierung für Benutzer fehlgeschlagen",
            "auth_failed",
            "source",
        ),
        ("3D000", "база данных не существует", "InitPostgres", "dbname"),
        ("42501", "拒绝连接数据库", "CheckMyDatabase", "GRANT CONNECT"),
        ("57P03", "el sistema de base de datos está iniciándose", "ProcessStartupPacket", "state"),
        ("57P03", "le système s'arrête: timeout", "", "state"),
        ("53300", "trop de clients", "InitProcess", "RUN-001"),
        ("53300", "zu viele Verbindungen für Rolle", "InitializeSessionUserId", "ALTER ROLE"),
        ("28000", "rol bulunamadı", "InitializeSessionUserId", "LOGIN"),
        ("28000", "pg_hba", "ClientAuthentication", "pg_hba.conf"),
        ("58P01", "não foi possível acessar", "", "log"),
        ("08P01", "no such database: shop", "", "pooler"),
        ("XX000", "timeout", "", "log"),
    ],
)
def test_a_refusal_in_any_language(
    role: Connection, sqlstate: str, words: str, routine: str, advice: str
) -> None:
    with refusing(sqlstate, words, routine) as port:
        to = role.model_copy(update={"port": port})
        title, told, next_step = broken(examine(to))
        assert (title, advice in next_step) == ("login", True)
        assert words in told
        with pytest.raises(DatabaseError) as caught:
            Session(to, application_name="test").query("SELECT 1")
    assert caught.value.next_step == next_step
    assert caught.value.sqlstate == sqlstate


@contextmanager
def refusing(sqlstate: str, words: str, routine: str) -> Iterator[int]:
    """Listen as a server that has no TLS, and answers every login with this error."""
    fields = {"S": "SCHWERWIEGEND", "V": "FATAL", "C": sqlstate, "M": words}
    if routine:
        fields |= {"F": "postinit.c", "L": "1", "R": routine}
    body = b"".join(f"{key}{value}".encode() + b"\0" for key, value in fields.items()) + b"\0"
    answer = b"E" + struct.pack("!i", len(body) + 4) + body
    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=_refuse, args=(server, answer), daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _refuse(server: socket.socket, answer: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = server.accept()
            with client, contextlib.suppress(OSError):
                if client.recv(8)[4:] == struct.pack("!i", 80_877_103):
                    client.sendall(b"N")
                    client.recv(4096)
                client.sendall(answer)
                client.shutdown(socket.SHUT_WR)
                while client.recv(4096):
                    pass  # its end: unread bytes would reset the connection


class TestPooler:
    def test_settings_that_it_does_not_take(
        self, access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pgbouncer(access, tmp_path, pool_size=2) as port:
            found = examine(connection(access, port=port))
            monkeypatch.setenv("STRANGER", "wrong")
            stranger: dict[str, Any] = {"user": "stranger", "password_env": "STRANGER"}
            wrong = broken(examine(connection(access, port=port, **stranger)))
            nowhere = broken(examine(connection(access, port=port, dbname="nowhere")))
        assert found["login"].verdict is Verdict.OK
        assert found["server"].verdict is Verdict.WARNING
        assert wrong[0] == nowhere[0] == "login"
        assert "does not accept the password" in wrong[1] or "pooler" in wrong[1]
        assert "pooler" in nowhere[1]

    def test_a_pool_that_is_exhausted(self, access: Access, tmp_path: Path) -> None:
        with pgbouncer(access, tmp_path, pool_size=1) as port, ExitStack() as stack:
            through = connection(access, port=port, connect_timeout_s=2, statement_timeout_s=2)
            holder = driver.connect(through, application_name="holder")
            stack.callback(holder.close)
            holder.execute(b"SELECT 1")  # and stays in its transaction
            title, told, next_step = broken(examine(through))
        assert title == "login"
        assert "no answer within" in told or "no login" in told
        assert "pooler" in next_step
