"""A situation that was stored is the same value, and is judged as it was."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbkernel import strictjson
from rbkernel.errors import StoredSituationError
from rbkernel.sources.postgres import causes, stored
from rbkernel.sources.postgres.connection.troubles import Trouble
from rbkernel.sources.postgres.situation import Backend, Measured, Prepared, Situation

pytestmark = pytest.mark.slow

SECONDS = st.none() | st.floats(0, allow_nan=False)
TEXT = st.text(max_size=20)
TIMES = st.none() | st.datetimes(timezones=st.just(UTC))
PIDS = st.integers(0, 40)

BACKEND: dict[str, Any] = {
    "pid": PIDS,
    "leader_pid": st.none() | PIDS,
    "backend_type": st.sampled_from(
        ["client backend", "walsender", "startup", "autovacuum worker"]
    ),
    "backend_start": TIMES,
    "application": TEXT,
    "username": st.none() | TEXT,
    "database": st.none() | TEXT,
    "client": st.none() | TEXT,
    "state": st.sampled_from([None, "active", "idle", "idle in transaction", "disabled"]),
    "state_s": SECONDS,
    "transaction_s": SECONDS,
    "query_s": SECONDS,
    "query_start": TIMES,
    "wait_type": st.sampled_from([None, "Lock", "IO", "IPC"]),
    "wait_event": st.sampled_from([None, "SyncRep", "tuple"]),
    "has_xid": st.booleans(),
    "writes": st.booleans(),
    "xmin_age": st.none() | st.integers(0, 2**31),
    "strong_lock": st.none() | TEXT,
    "locktype": st.sampled_from([None, "relation", "tuple", "transactionid"]),
    "mode": st.sampled_from([None, "ShareLock", "AccessExclusiveLock"]),
    "relation": st.none() | TEXT,
    "wait_s": SECONDS,
    "waits_for_xid": st.none() | TEXT,
    "row_relation": st.none() | st.integers(0, 2**32 - 1),
    "row_ctid": st.none() | TEXT,
    "blocked_by": st.lists(PIDS, max_size=4).map(tuple),
    "row_unseen": st.booleans(),
    "query": TEXT,
}
backends = st.builds(Backend, **BACKEND)
SITUATION: dict[str, Any] = {
    "connection": TEXT,
    "at": TEXT,
    "backends": st.lists(backends, max_size=8, unique_by=lambda one: one.pid).map(tuple),
    "prepared": st.lists(
        st.builds(Prepared, name=TEXT, owner=TEXT, prepared_s=st.floats(0, allow_nan=False)),
        max_size=2,
    ).map(tuple),
    "standby": st.booleans(),
    "usable": st.integers(0, 100),
    "used": st.integers(0, 100),
    "limited_roles": st.lists(TEXT, max_size=2).map(tuple),
    "limited_databases": st.lists(TEXT, max_size=2).map(tuple),
    "synchronous_standbys": TEXT,
    "synchronous_connected": st.integers(0, 3),
    "senders": st.lists(TEXT, max_size=2).map(tuple),
    "replay_waits_s": st.none() | st.floats(0, 99),
    "passing": st.integers(0, 9),
    "replication": st.lists(
        st.builds(
            Measured,
            column=st.sampled_from(["paused", "stalled_s", "replay_lag_s", "connected"]),
            title=TEXT,
            verdict=st.sampled_from(["ok", "warning", "critical", "unknown"]),
            actual=TEXT,
            value=SECONDS,
        ),
        max_size=2,
    ).map(tuple),
    "standby_name": TEXT,
    "reason": st.just("") | TEXT,
    "next_step": TEXT,
    "trouble": st.sampled_from(["", *Trouble]),
}
situations = st.builds(Situation, **SITUATION)


def kept(situation: Situation) -> Situation:
    return stored.from_json(strictjson.loads(strictjson.dumps(stored.to_json(situation))))


@given(situations)
def test_what_is_read_is_what_was_stored(situation: Situation) -> None:
    assert kept(situation) == situation


@given(situations)
def test_it_is_judged_as_it_was_also_without_the_statements(situation: Situation) -> None:
    found = causes.find(situation)
    named = {pid for cause in found for pid in cause.named}
    later = causes.find(kept(stored.condensed(situation, named)))
    assert later == found
    assert [cause.headline for cause in later] == [cause.headline for cause in found]


def test_every_field_is_generated() -> None:
    """A field that is added later must come back, too."""
    assert {field.name for field in fields(Backend)} == set(BACKEND)
    assert {field.name for field in fields(Situation)} == set(SITUATION)


def test_condensed_keeps_the_statements_of_those_who_count() -> None:
    waiters = tuple(
        Backend(pid=n, locktype="tuple", wait_s=float(n), blocked_by=(1,), query=f"update {n}")
        for n in range(2, 40)
    )
    root = Backend(pid=1, state="idle in transaction", query="select 1")
    bystander = Backend(pid=99, state="idle", query="select secret")
    seen = Situation(connection="db", at="", backends=(root, *waiters, bystander))
    queries = {one.pid: one.query for one in stored.condensed(seen, {1}).backends if one.query}
    assert queries == {1: "select 1", **{n: f"update {n}" for n in range(35, 40)}}


def test_condensed_keeps_the_statement_that_a_step_would_end() -> None:
    """A table's lock that is only requested holds up all who came later, and is no root."""
    reader = Backend(pid=1, state="active", query="COPY t TO STDOUT", query_s=9.0)
    request: dict[str, Any] = {
        "locktype": "relation",
        "mode": "AccessExclusiveLock",
        "relation": "public.t",
    }
    alter = Backend(pid=2, state="active", wait_s=2.0, blocked_by=(1,), query="ALTER", **request)
    later = tuple(
        Backend(pid=n, locktype="relation", mode="AccessShareLock", wait_s=9.0, blocked_by=(2,))
        for n in range(3, 40)
    )
    seen = Situation(connection="db", at="", backends=(reader, alter, *later))
    [cause] = causes.find(seen)
    queries = {one.pid: one.query for one in stored.condensed(seen, cause.named).backends}
    assert queries[2] == "ALTER"
    assert causes.find(stored.condensed(seen, cause.named)) == [cause]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "not a stored sample"),
        ([], "not a stored sample"),
        ({}, "not a stored sample"),
        ({"version": 3, "connection": "db", "at": ""}, "version 3"),
        ({"version": 1}, "damaged"),
        ({"version": 1, "connection": "db", "at": "", "backends": [7]}, "damaged"),
        ({"version": 1, "connection": "db", "at": "", "backends": [{"pid": "x"}]}, "damaged"),
    ],
)
def test_what_is_no_situation_of_ours_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(StoredSituationError, match=reason):
        stored.from_json(value)


def test_a_field_of_a_later_patch_is_left_out() -> None:
    situation = Situation(connection="db", at="")
    told = {**stored.to_json(situation), "later": 1}
    assert stored.from_json(told) == replace(situation)
