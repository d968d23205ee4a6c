"""The scenarios of the benchmark, and the truth of each: who is to blame, and what helps. Pure.

The truth is what the author of a scenario did, in identities that are the same each time: the
application_name of a session, the name of a slot or table. Nothing here comes from a tool or a
runbook. Left out are states that nobody can tell from outside (a primary that is lost for good
looks like one that is stopped), that may be called wrong or not (an index that is being built),
and faults inside the tables of the example service, which only its own tools are told about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rbkernel.sandbox.faults import (
    audit,
    damage,
    locks,
    pool,
    row_queue,
    schema,
    slots,
    slow,
    unreachable,
    vacuum,
)
from rbkernel.sandbox.faults import catalogue as faults
from rbkernel.sandbox.faults.scenarios import SCENARIOS
from rbkernel.sandbox.grading.answers import Step

HEALTHY = "healthy"
PRIMARY, STANDBY = "server:primary", "server:standby"


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What is right to say of a scenario.

    Parameters
    ----------
    wrong
        Whether something is wrong.
    culprits
        The identities that must be named; empty if nothing is wrong, or if no tool can know.
    also
        Identities that may be named, too: they take part in the harm.
    steps
        The right next steps, each with exactly the objects that it is for; without objects, any.
    may
        Objects on which a disruptive step does no harm, although it does not help.
    """

    wrong: bool = True
    culprits: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()
    steps: tuple[tuple[Step, frozenset[str]], ...] = ()
    may: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Task:
    """A scenario of the benchmark: its name, and its truth for a seed.

    ``after_s`` is how many seconds the fault lasts before a tool is asked.
    """

    name: str
    truth: Callable[[int], Truth]
    after_s: float = 0.0

    @property
    def made(self) -> Literal["fault", "stage", "healthy"]:
        """How the scenario is created."""
        if self.name == HEALTHY:
            return "healthy"
        return "fault" if self.name in faults.FAULTS else "stage"

    @property
    def summary(self) -> str:
        """What happens, in a sentence; a tool is never told."""
        found = faults.FAULTS if self.made == "fault" else SCENARIOS
        return found[self.name].summary


def _sessions(*names: str) -> frozenset[str]:
    return frozenset(f"session:{name}" for name in names)


def _to(step: Step, *objects: str) -> tuple[Step, frozenset[str]]:
    return step, frozenset(objects)


def _terminate(*names: str, also: frozenset[str] = frozenset(), cancel: bool = False) -> Truth:
    """Sessions that are to blame, and that must end; `cancel`: their statement at least."""
    them = _sessions(*names)
    steps = (Step.TERMINATE, Step.CANCEL) if cancel else (Step.TERMINATE,)
    return Truth(culprits=them, also=also, steps=tuple((step, them) for step in steps), may=also)


def _behind_ddl(root: str, ddl: str, *, root_may_end: bool = True) -> Truth:
    """A session holds a table, DDL waits for it, and others behind the DDL."""
    steps = [_to(step, f"session:{ddl}") for step in (Step.CANCEL, Step.TERMINATE)]
    if root_may_end:
        steps.append(_to(Step.TERMINATE, f"session:{root}"))
    return Truth(culprits=_sessions(root), also=_sessions(ddl), steps=tuple(steps))


def _of(culprit: str, *steps: tuple[Step, frozenset[str]], also: tuple[str, ...] = ()) -> Truth:
    return Truth(culprits=frozenset([culprit]), also=frozenset(also), steps=steps)


_WELL = Truth(wrong=False, steps=(_to(Step.WAIT),))
_SLOT = f"slot:{slots.SLOT}"
_EVENTS = f"table:{vacuum.TABLE}"
_CART, _CART_CLIENT = f"table:{slow.TABLE}", f"session:{slow.CLIENT}"
_HALF_BUILT = f"index:{schema.INDEX}"
_COUPONS = f"table:{schema.TABLE}"
_ARCHIVE = "setting:archive_command"
_SYNCHRONOUS = "setting:synchronous_standby_names"
_PREPARED = "transaction:payout-17"

_BY_SEED: dict[str, Callable[[int], Truth]] = {
    "pool-idle-in-transaction": lambda seed: _terminate(pool.IDLE.application_name(seed)),
    "pool-active-queries": lambda seed: _terminate(pool.ACTIVE.application_name(seed), cancel=True),
    row_queue.FAULT: lambda seed: _terminate(row_queue.application_name(seed)),
    locks.FAULT: lambda seed: _behind_ddl(locks.application_name(seed), "shop-migration"),
}

_FAULTS = {
    "replay-paused": _of(STANDBY, _to(Step.RESUME_REPLAY, STANDBY)),
    "receiver-down": _of(
        STANDBY,
        _to(Step.REPAIR_REPLICATION, STANDBY),
        _to(Step.REPAIR_LOGIN, "role:replicator"),
        also=("role:replicator",),
    ),
    "slot-unread": _of(_SLOT, _to(Step.RECONNECT_READER, _SLOT), _to(Step.DROP_SLOT, _SLOT)),
    "slot-lost": _of(_SLOT, _to(Step.DROP_SLOT, _SLOT), _to(Step.REBUILD_STANDBY)),
    vacuum.HELD_BACK: Truth(
        culprits=_sessions(vacuum.HOLDER),
        also=frozenset([_EVENTS]),
        steps=((Step.TERMINATE, _sessions(vacuum.HOLDER)), _to(Step.ESCALATE)),
    ),
    vacuum.SWITCHED_OFF: _of(_EVENTS, _to(Step.VACUUM, _EVENTS), _to(Step.CHANGE_SETTING, _EVENTS)),
    unreachable.STOPPED: _of(PRIMARY, _to(Step.START_SERVER, PRIMARY)),
    unreachable.RECOVERING: _of(PRIMARY, _to(Step.WAIT)),
    unreachable.PASSWORD: _of(f"role:{unreachable.ROLE}", _to(Step.REPAIR_LOGIN)),
    # nobody can log in to see whose lock it is
    unreachable.LOCKED: Truth(
        also=frozenset([PRIMARY, *_sessions(unreachable.LOCKER)]),
        steps=(_to(Step.TERMINATE), (Step.TERMINATE, _sessions(unreachable.LOCKER))),
    ),
    "archive-failing": _of(_ARCHIVE, _to(Step.REPAIR_ARCHIVE), _to(Step.CHANGE_SETTING, _ARCHIVE)),
    # a start would make two primaries
    "failed-over": _of(
        PRIMARY, _to(Step.REDIRECT_CLIENTS), _to(Step.FENCE, PRIMARY), also=(STANDBY,)
    ),
    "two-primaries": Truth(
        culprits=frozenset([PRIMARY, STANDBY]),
        steps=(
            *(_to(Step.STOP_WRITES), _to(Step.STOP_WRITES, PRIMARY)),
            *(_to(Step.STOP_WRITES, STANDBY), _to(Step.FENCE, PRIMARY), _to(Step.FENCE, STANDBY)),
        ),
    ),
    slow.DROPPED: _of(_CART, _to(Step.CREATE_INDEX, _CART), also=(_CART_CLIENT,)),
    slow.STALE: _of(_CART, _to(Step.ANALYZE, _CART), also=(_CART_CLIENT,)),
    slow.LARGER: _of(_CART_CLIENT, _to(Step.ESCALATE), also=(_CART,)),
    schema.HALF_WAY: _of(
        _HALF_BUILT,
        *(_to(Step.REBUILD_INDEX, _HALF_BUILT), _to(Step.DROP_INDEX, _HALF_BUILT)),
        also=(_COUPONS, f"constraint:{schema.TABLE}_discount"),
    ),
    schema.ENDING: _of(
        f"sequence:{schema.TABLE}_id_seq", _to(Step.WIDEN_KEY, _COUPONS), also=(_COUPONS,)
    ),
    "page-damaged": _of(
        "database:shop",
        *(_to(Step.STOP_WRITES), _to(Step.RESTORE), _to(Step.ESCALATE)),
        also=(f"table:{damage.TABLE}",),
    ),
    "login-too-powerful": _of(f"role:{audit.LOGIN}", _to(Step.REVOKE, f"role:{audit.LOGIN}")),
}

_STAGED = {
    "hot-rows": _WELL,
    "moving-queue": _WELL,
    "batch": _WELL,
    "long-query": _WELL,
    "pool-at-rest": _WELL,
    "idle-primary": _WELL,
    "tuple-queue": _terminate("price-update"),
    "two-trees": _terminate("refund-job", also=_sessions("console")),
    "healthy-neighbour": _terminate("refund-job"),
    "chain": _terminate("refund-job"),
    "shared-row": _terminate("loyalty-sync", "export"),
    "running-root": _terminate("month-end", cancel=True),
    "other-database": _terminate("cron"),
    "unique-key": _terminate("importer"),
    "ddl-at-the-tail": _terminate("stock-sync"),
    "create-index": _terminate("shop-migration", cancel=True),
    "table-lock": _terminate("maintenance"),
    # the backup must not be ended
    "backup": _behind_ddl("pg_dump", "shop-migration", root_may_end=False),
    "backup-alone": Truth(
        culprits=_sessions("pg_dump"),
        also=_sessions("shop-migration"),
        steps=(_to(Step.WAIT), _to(Step.ESCALATE)),
        may=_sessions("shop-migration"),
    ),
    "vacuum-full": _behind_ddl("analyst", "dba"),
    # its coordinator decides whether it commits
    "prepared": _of(_PREPARED, _to(Step.ESCALATE), _to(Step.END_PREPARED, _PREPARED)),
    "advisory-of-a-session": _terminate("scheduler"),
    "slots-idle": _terminate("shop-web-pool"),
    "slots-of-standby": _terminate("bi-dashboard"),
    "role-limit": _of(
        "role:shop_app",
        _to(Step.CHANGE_SETTING, "role:shop_app"),
        (Step.TERMINATE, _sessions("shop-web-pool")),
        also=("session:shop-web-pool",),
    ),
    "synchronous-standby-missing": _of(
        _SYNCHRONOUS, _to(Step.REPAIR_REPLICATION), _to(Step.CHANGE_SETTING, _SYNCHRONOUS)
    ),
    "standby-lock-conflict": _terminate("analyst"),
    "standby-snapshot-conflict": _terminate("analyst"),
    "standby-down": _of(STANDBY, _to(Step.START_SERVER, STANDBY)),
}

# s that a state lasts before it is more than an ordinary one: a short wait, a short snapshot
_AFTER_S = {locks.FAULT: 6.0, vacuum.HELD_BACK: 61.0}


def _always(truth: Truth) -> Callable[[int], Truth]:
    return lambda _: truth


TASKS: dict[str, Task] = {
    name: Task(name=name, truth=truth, after_s=_AFTER_S.get(name, 0.0))
    for name, truth in (
        (HEALTHY, _always(_WELL)),
        *_BY_SEED.items(),
        *((name, _always(truth)) for name, truth in (_FAULTS | _STAGED).items()),
    )
}
