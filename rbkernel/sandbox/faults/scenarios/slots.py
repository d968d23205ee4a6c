"""Scenarios of full connection slots, and of limits that are reached while slots are free."""

from __future__ import annotations

from contextlib import suppress

from rbkernel.errors import DatabaseError
from rbkernel.model import Verdict
from rbkernel.sandbox.access import Server
from rbkernel.sandbox.faults import pool
from rbkernel.sandbox.faults.scenario import CRITICAL, Scenario, Truth
from rbkernel.sandbox.faults.stage import Stage
from rbkernel.sandbox.service import FIRST_ID
from rbkernel.sources.postgres.connection import driver

_READ = f"SELECT status FROM orders WHERE id = {FIRST_ID}"


def _fill(
    stage: Stage, name: str, *statements: str, share: float, server: Server = "primary"
) -> None:
    with stage.access.connect("postgres", server) as raw:
        sessions = pool.free_slots(raw, share=share)
    stage.start(name, *statements, server=server, times=sessions)
    stage.lasts(6, name, server=server)


def _idle_in_transaction(stage: Stage) -> None:
    _fill(stage, "shop-batch-invoices", "BEGIN", _READ, share=0.95)


def _running(stage: Stage) -> None:
    with stage.access.connect("postgres") as raw:
        sessions = pool.free_slots(raw, share=0.95)
    stage.send("shop-report-vat", "SELECT pg_sleep(3600), count(*) FROM orders", times=sessions)
    stage.lasts(6, "shop-report-vat")


def _idle(stage: Stage) -> None:
    _fill(stage, "shop-web-pool", _READ, share=0.97)


def _failed_transactions(stage: Stage) -> None:
    with stage.access.connect("postgres") as raw:
        sessions = pool.free_slots(raw, share=0.95)
    for _ in range(sessions):
        stage.start("shop-import", "BEGIN")
        with suppress(driver.RawConnection.Error):
            stage.actors[-1].raw.execute(b"SELECT 1 / 0")
    stage.lasts(6, "shop-import")


def _many_applications(stage: Stage) -> None:
    with stage.access.connect("postgres") as raw:
        sessions = pool.free_slots(raw, share=0.95)
    for number in range(sessions):
        stage.start(f"service-{number % 6}", _READ)
    stage.lasts(6)


def _idle_in_transaction_on_standby(stage: Stage) -> None:
    _fill(stage, "bi-dashboard", "BEGIN", _READ, share=0.95, server="standby")


def _full(stage: Stage) -> None:
    with suppress(DatabaseError):
        while True:
            stage.start("shop-web-pool", _READ)
    stage.lasts(6)


def _role_limit(stage: Stage) -> None:
    stage.on_heal(lambda: stage.administer("ALTER ROLE shop_app CONNECTION LIMIT -1"))
    stage.administer("ALTER ROLE shop_app CONNECTION LIMIT 12")
    with suppress(DatabaseError):
        while True:
            stage.start("shop-web-pool", _READ)


def _database_limit(stage: Stage) -> None:
    stage.on_heal(lambda: stage.administer("ALTER DATABASE shop CONNECTION LIMIT -1"))
    stage.start("shop-web-pool", _READ, times=10)
    # one below the number in use, so that our own connection exceeds the limit
    stage.administer("ALTER DATABASE shop CONNECTION LIMIT 16")
    with suppress(DatabaseError):
        for _ in range(1):
            stage.start("shop-web-pool", _READ)


def _own_role_limit(stage: Stage) -> None:
    stage.on_heal(lambda: stage.administer("ALTER ROLE rb_diag CONNECTION LIMIT 10"))
    stage.start("other-runbooks", role="rb_diag", times=3)
    stage.administer("ALTER ROLE rb_diag CONNECTION LIMIT 3")


SCENARIOS = (
    Scenario(
        name="slots-idle-in-transaction",
        summary="a batch job holds nearly all slots, idle in transaction",
        inject=_idle_in_transaction,
        truth=Truth(
            says="shop-batch-invoices holds",
            opens="RUN-001",
            verdicts=CRITICAL,
            step=("terminate", ("shop-batch-invoices",)),
        ),
    ),
    Scenario(
        name="slots-running",
        summary="long queries of a report hold nearly all slots",
        inject=_running,
        truth=Truth(
            says="shop-report-vat holds",
            opens="RUN-001",
            verdicts=CRITICAL,
            step=("cancel", ("shop-report-vat",)),
        ),
    ),
    Scenario(
        name="slots-idle",
        summary="the idle connections of a pool hold nearly all slots",
        inject=_idle,
        truth=Truth(
            says="shop-web-pool holds",
            opens="RUN-001",
            verdicts=CRITICAL,
            step=("terminate", ("shop-web-pool",)),
        ),
    ),
    Scenario(
        name="slots-failed-transactions",
        summary="transactions that failed and were not rolled back hold nearly all slots",
        inject=_failed_transactions,
        truth=Truth(
            says="shop-import holds",
            opens="RUN-001",
            verdicts=CRITICAL,
            step=("terminate", ("shop-import",)),
        ),
    ),
    Scenario(
        name="slots-many-applications",
        summary="six services together hold nearly all slots",
        inject=_many_applications,
        truth=Truth(says="many applications.*service-", opens="RUN-001", verdicts=CRITICAL),
    ),
    Scenario(
        name="slots-of-standby",
        summary="a dashboard holds nearly all slots of the standby, idle in transaction",
        inject=_idle_in_transaction_on_standby,
        on="standby",
        truth=Truth(
            says="bi-dashboard holds",
            opens="RUN-001",
            verdicts=CRITICAL,
            step=("terminate", ("bi-dashboard",)),
        ),
    ),
    Scenario(
        name="slots-full",
        summary="all slots are taken: before PostgreSQL 16 our own connection is refused (53300)",
        inject=_full,
        # since version 16 the diagnostic role has reserved slots; without them it cannot log in
        truth=Truth(
            says="No connection slot is left on sandbox-primary|shop-web-pool holds",
            opens="RUN-001",
            verdicts=CRITICAL,
            may=("shop-web-pool",),
            # the tables can be compared through the reserved slots
            rows="wait|resolve",
        ),
    ),
    Scenario(
        name="role-limit",
        summary="the CONNECTION LIMIT of the application's role is reached, slots are free",
        inject=_role_limit,
        truth=Truth(says="role shop_app", opens="RUN-001", verdicts=CRITICAL),
    ),
    Scenario(
        name="database-limit",
        summary="the CONNECTION LIMIT of the database is reached, slots are free",
        inject=_database_limit,
        truth=Truth(says="database shop", opens="RUN-001", verdicts=CRITICAL, rows="wait|resolve"),
    ),
    Scenario(
        name="own-role-limit",
        summary="the diagnostic role's own limit is reached; the server is well",
        inject=_own_role_limit,
        truth=Truth(
            says="rb_diag|the role has reached its own connection limit",
            verdicts=frozenset({Verdict.UNKNOWN}),
            unseen=True,
            rows="escalate",
        ),
    ),
)
