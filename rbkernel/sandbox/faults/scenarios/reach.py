"""Scenarios of servers that no runbook can query.

The server is frozen, its catalogue is locked, its pooler is full, or the address or the password is
wrong.
"""

from __future__ import annotations

import signal
import socket
import tempfile
from pathlib import Path

from rbkernel.model import Verdict
from rbkernel.sandbox import pooler, processes
from rbkernel.sandbox.access import HOST
from rbkernel.sandbox.faults.scenario import CRITICAL, Scenario, Truth
from rbkernel.sandbox.faults.stage import Stage
from rbkernel.sources.postgres.connection import driver

# seconds until a runbook has reported the problem: connect_timeout_s plus 1 s for the cells
_AT_ONCE_S = 6.0
_NOT_SEEN = frozenset({Verdict.UNKNOWN})


def _catalogue_locked(stage: Stage) -> None:
    stage.start(
        "dba", "BEGIN", "LOCK TABLE pg_catalog.pg_class IN ACCESS EXCLUSIVE MODE", role="postgres"
    )


def _pooler_exhausted(stage: Stage) -> None:
    folder = Path(stage.keep(tempfile.TemporaryDirectory(prefix="rbkernel-pooler-")))
    port = stage.keep(pooler.pgbouncer(stage.access, folder, pool_size=2))
    through = stage.connection("through-pooler", port=port)
    for _ in range(2):
        holder = stage.keep(driver.connect(through, application_name="shop-web", autocommit=True))
        holder.execute(b"BEGIN")
        holder.execute(b"SELECT 1")


def _frozen(stage: Stage) -> None:
    [postmaster] = [
        found.process for found in processes.find(stage.access.home) if found.name == "primary"
    ]
    stage.on_heal(lambda: postmaster.send_signal(signal.SIGCONT))
    postmaster.send_signal(signal.SIGSTOP)


def _nothing_listens(stage: Stage) -> None:
    silent = stage.keep(socket.socket())
    silent.bind((HOST, 0))
    stage.connection("closed-port", port=silent.getsockname()[1])


def _black_hole(stage: Stage) -> None:
    silent = stage.keep(socket.socket())
    silent.bind((HOST, 0))
    silent.listen()
    stage.connection("black-hole", port=silent.getsockname()[1])


def _wrong_password(stage: Stage) -> None:
    stage.administer("ALTER ROLE rb_nobody PASSWORD 'rotated'")
    secret = (stage.access.home.passwords / "rb_nobody").read_text(encoding="utf-8")
    password = secret.strip().rpartition(":")[2]
    stage.on_heal(lambda: stage.administer(f"ALTER ROLE rb_nobody PASSWORD '{password}'"))


SCENARIOS = (
    Scenario(
        name="catalogue-locked",
        summary="a lock on pg_class blocks every login",
        inject=_catalogue_locked,
        truth=Truth(says="sandbox-primary.*catalogue", verdicts=CRITICAL, rows="resolve"),
        within_s=_AT_ONCE_S,
    ),
    Scenario(
        name="pooler-exhausted",
        summary="the pooler has no free server connection",
        inject=_pooler_exhausted,
        db="through-pooler",
        standby="",
        standby_name="",
        needs=("pooler",),
        truth=Truth(says="through-pooler.*pooler", verdicts=CRITICAL, rows="resolve"),
        within_s=_AT_ONCE_S,
    ),
    Scenario(
        name="frozen",
        summary="the server is frozen: the port is open, but it does not answer",
        inject=_frozen,
        truth=Truth(says="sandbox-primary does not answer", verdicts=CRITICAL, rows="resolve"),
        within_s=_AT_ONCE_S,
    ),
    Scenario(
        name="nothing-listens",
        summary="nothing listens on the port of the server",
        inject=_nothing_listens,
        db="closed-port",
        standby="",
        standby_name="",
        truth=Truth(says="closed-port does not answer", verdicts=CRITICAL, rows="resolve"),
        within_s=_AT_ONCE_S,
    ),
    Scenario(
        name="target-down",
        summary="nothing listens on the port of the server that has the new table of orders",
        inject=_nothing_listens,
        target_db="closed-port",
        truth=Truth(
            says="closed-port does not answer",
            verdicts=CRITICAL,
            # the other runbooks do not query this server
            seen_by=("RUN-006",),
            rows="resolve",
        ),
        within_s=_AT_ONCE_S,
    ),
    Scenario(
        name="black-hole",
        summary="a program listens on the port of the server, but never answers",
        inject=_black_hole,
        db="black-hole",
        standby="",
        standby_name="",
        truth=Truth(says="black-hole does not answer", verdicts=CRITICAL, rows="resolve"),
        within_s=_AT_ONCE_S,
    ),
    Scenario(
        name="wrong-password",
        summary="rbkernel's own password is wrong, which says nothing about the server",
        inject=_wrong_password,
        db="sandbox-unprivileged",
        standby="",
        standby_name="",
        truth=Truth(says="password", verdicts=_NOT_SEEN, unseen=True, rows="escalate"),
        within_s=_AT_ONCE_S,
    ),
)
