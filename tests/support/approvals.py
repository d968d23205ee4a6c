"""A plan that a runbook proposed, on a real server, and people with SSH keys who may approve it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from rbkernel import actions, config, strictjson
from rbkernel.config import Settings
from rbkernel.errors import ActionRefused
from rbkernel.evidence.incident import ActionHistory, append
from rbkernel.execution import approval, executor, passkey_signing
from rbkernel.execution.ledger import Ledger, now
from rbkernel.model import ActionPlan, PlanState, plan_id
from rbkernel.redact import Redactor
from rbkernel.sandbox.access import Role, Server, passfile
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.diagnosis import Diagnosis, diagnose
from tests.support.authenticators import ORIGIN, Authenticator
from tests.support.journal_builder import INCIDENT, Journal, other_run
from tests.support.servers import ROW, Servers
from tests.support.waiting import until

PEOPLE = ("ann", "bob", "eve")
TWO_PEOPLE = """
action = "terminate_sessions"
approvers = 1
watch_s = 1.0
"""
ONE_PERSON = f"{TWO_PEOPLE}proposer_may_approve = true\n"


@dataclass
class Room:
    """An incident on a server: its evidence folder, its configuration, and its people."""

    folder: Path
    server: Servers
    rules: Sequence[str] = (TWO_PEOPLE,)
    database: Server = "primary"
    url: str = ORIGIN
    # kernels run in the same process, or as the same user, and this is accepted
    kernels: int = 0
    one_user: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(0o755, exist_ok=True)
        lines = []
        for name in PEOPLE:
            key = self.key(name)
            if not key.exists():
                command = [
                    "ssh-keygen",
                    "-q",
                    "-t",
                    "ed25519",
                    "-N",
                    "",
                    "-C",
                    name,
                    "-f",
                    str(key),
                ]
                subprocess.run(command, check=True)
            public = key.with_suffix(".pub").read_text().split()
            if name != "eve":
                lines.append(f"{name} {public[0]} {public[1]}\n")
        self.approvers.write_text("".join(lines))
        self.configure(*self.rules)
        append(self.root, INCIDENT, "opened", by="root", title="Locks", severity="P1")

    @property
    def root(self) -> Path:
        return self.folder / "evidence"

    @property
    def approvers(self) -> Path:
        return self.folder / "approvers"

    @property
    def file(self) -> Path:
        return self.folder / "rbkernel.toml"

    def key(self, name: str) -> Path:
        return self.folder / name

    def configure(self, *rules: str, action_role: Role | Literal[""] = "rb_action") -> None:
        access = self.server.access
        found = access.connection("rb_diag", self.database)
        fields = {"host": found.host, "port": found.port, "dbname": found.dbname}
        fields |= {"user": found.user, "passfile": str(found.passfile)}
        text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())
        role = passfile(access.home, action_role or "rb_action")
        self.file.write_text(
            f'[evidence]\nroot = "{self.root}"\n\n[connections.orders]\n{text}\n'
            + (
                f'[connections.orders.action]\nuser = "{action_role}"\npassfile = "{role}"\n'
                if action_role
                else ""
            )
            + f'[gateway]\nurl = "{self.url}"\n[pages]\nlink_secret_env = "LINKS"\n'
            + f"[queue]\nkernels = {self.kernels}\n"
            + f'[actions]\napprovers = "{self.approvers}"\npasskeys = "{self.folder}/passkeys"\n'
            + f"one_user = {str(self.one_user).lower()}\n"
            + "".join(f"[[actions.rules]]\n{rule}\n" for rule in rules)
        )

    @property
    def settings(self) -> Settings:
        return config.load()

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.settings, Redactor())

    def propose(
        self,
        plan: ActionPlan,
        run_id: str,
        *,
        incident: str = INCIDENT,
        host: str = "h",
        **changed: Any,
    ) -> str:
        """Write the plan into the journal of a run, as `rb.act` does; return its id."""
        journal = Journal(self.root, run_id, host)
        journal.run(journal.cell("rb.start('RUN-007')"), incident)
        data = {**dataclasses.asdict(plan), "state": PlanState.PROPOSED, **changed}
        text = data["sql"] or data["command"]
        data["id"] = changed.get("id") or plan_id(data["title"], data["connection"], text)
        journal.event("plan", **strictjson.normal(data, str))
        # after the plan, because the time of a line follows from its number
        if asked := changed.get("answers"):
            journal.event("decision", id="d", **asked)
        return str(data["id"])

    def approve(self, plan: str, *names: str, by: str = "ann") -> ActionHistory:
        """Have one person ask, and the others approve."""
        history = approval.request(self.ledger, plan, self.key(by))
        for name in names:
            history = approval.approve(self.ledger, plan, history.digest, self.key(name))
        return history

    def passkey(self, name: str, device: Authenticator) -> Authenticator:
        """Register the passkey of a person, with an invitation."""
        secret = passkey_signing.invite(self.settings, name, timedelta(minutes=5), now())
        passkey_signing.register(self.settings, secret, device.register(secret), now())
        return device

    def execute(self, plan: str, history: ActionHistory) -> ActionHistory:
        return executor.execute(self.ledger, plan, history.digest)


@dataclass
class Queue:
    """Two sessions that wait for a row, and an idle transaction that holds it."""

    holder: int
    waiters: Sequence[int]
    diagnosis: Diagnosis

    @property
    def plan(self) -> ActionPlan:
        return actions.terminate_sessions("orders", self.diagnosis)


def queue(server: Servers, diag: Session, name: str = "refund-job") -> Queue:
    holder = server.start(name, "BEGIN", ROW)
    waiters = [server.send("web", ROW) for _ in range(2)]
    found: list[Diagnosis] = []

    def seen() -> bool:
        found.append(diagnose(diag))
        first = found[-1].first
        return bool(first and first.remedy and len(first.remedy.freed.all) == 2)

    until(seen)
    return Queue(holder, waiters, found[-1])


def go_on(server: Servers, pid: int) -> None:
    """Have a session run another query, in the same transaction."""
    [raw] = [one for one in server.sessions if one.info.backend_pid == pid]
    raw.execute(b"SELECT 1")


def lives(server: Servers, pid: int) -> bool:
    with server.access.connect("postgres") as raw:
        found = raw.execute(b"SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchall()
    return bool(found)


def terminate(server: Servers, pids: Sequence[int]) -> None:
    """End sessions as somebody else does, beside rbkernel."""
    with server.access.connect("postgres") as raw:
        raw.execute(b"SELECT pg_terminate_backend(p, 5000) FROM unnest(%s::int[]) p", [[*pids]])


def made_room(tmp_path: Path, on: Servers, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Room:
    made = Room(tmp_path / "room", on, **more)
    monkeypatch.setenv("RBKERNEL_CONFIG", str(made.file))
    monkeypatch.delenv("RBKERNEL_EVIDENCE", raising=False)
    return made


class InOneRoom:
    """Tests on one server, in which nothing is executed: each has a room and a plan of its own."""

    @pytest.fixture
    def room(
        self, tmp_path: Path, server: Servers, still: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> Room:
        return made_room(tmp_path, server, monkeypatch)

    @pytest.fixture
    def plan(self, room: Room, still: Queue) -> str:
        return room.propose(still.plan, other_run(1))


def refusal(what: Callable[[], object]) -> str:
    with pytest.raises(ActionRefused) as caught:
        what()
    return caught.value.what
