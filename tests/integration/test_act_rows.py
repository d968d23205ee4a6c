"""Actions on rows of a real server: exactly the previewed rows, once, and undone byte for byte."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any, cast

import pandas as pd
import pytest

from rbkernel import actions
from rbkernel.actions.messages import messages_sql
from rbkernel.actions.rows import rows_sql
from rbkernel.errors import ActionRefused
from rbkernel.evidence import incident
from rbkernel.evidence.incident import ActionHistory, ActionState
from rbkernel.execution import approval, executor, undo
from rbkernel.execution import server as server_of
from rbkernel.execution.ledger import now
from rbkernel.model import ActionPlan
from rbkernel.sources.postgres import diagnostics
from rbkernel.sql import lexer
from tests.integration.test_act_on_page import Phone, secret
from tests.support.approvals import Room, made_room, refusal
from tests.support.authenticators import Authenticator
from tests.support.command import run_command
from tests.support.journal_builder import INCIDENT, other_run
from tests.support.page_server import serving
from tests.support.servers import Servers
from tests.support.waiting import until

__all__ = ["secret"]

TABLE = '"Odd %s"."t "" ‹x›"'
SETUP = f"""
DROP SCHEMA IF EXISTS "Odd %s" CASCADE;
CREATE SCHEMA "Odd %s";
CREATE TYPE "Odd %s".mood AS ENUM ('calm', 'it''s "bad"');
CREATE TYPE "Odd %s".pair AS (a int, b text);
CREATE TABLE {TABLE} (
    tenant text, id int, PRIMARY KEY (tenant, id),
    "on" boolean, "te xt" text, doc jsonb, raw json, at timestamptz, days interval,
    numbers int[], bytes bytea, mood "Odd %s".mood, pair "Odd %s".pair, price numeric(10, 2),
    ratio float8, code char(5), short varchar(3), note text,
    twice int GENERATED ALWAYS AS (id * 2) STORED
);
INSERT INTO {TABLE} VALUES
    ('a''b', 1, true, E'it''s "x"\\n\\\\ %s :v', '{{"b": 1.50, "a": [null]}}', '{{ "x" :1 }}',
     '2026-11-20 03:02:11.123456+01', '1 mon -2 days 00:00:00.000001', '{{1,NULL,3}}', '\\x00ff5c',
     'it''s "bad"', ROW(NULL, 'x,y'), 1.10, 0.1, 'ab', 'abc', 'keep'),
    ('a''b', 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, ROW(NULL, NULL), NULL, NULL,
     NULL, NULL, 'keep'),
    ('c', 1, false, '', '[]', '1', 'infinity', '0', '{{}}', '', 'calm', NULL, 0, 'NaN', '', '',
     'keep');
GRANT USAGE ON SCHEMA "Odd %s" TO rb_diag, rb_action;
GRANT SELECT ON {TABLE} TO rb_diag, rb_action;
GRANT UPDATE ON {TABLE} TO rb_action;
"""
TABLES = json.dumps([TABLE, '"Odd %s".outbox_messages', "public.shop_outbox", "public.shop_flags"])
RULES = tuple(
    f'action = "{one}"\napprovers = 0\nmost_targets = 3\nwatch_s = 0.1\ntables = {TABLES}\n'
    for one in ("set_flag", "set_failed", "requeue")
)
# the second row, as messages name it
B = "id = 2, tenant = a'b"
REUSED = f"""
DELETE FROM {TABLE} WHERE id = 2;
INSERT INTO {TABLE} (tenant, id, note) VALUES ('a''b', 2, 'keep');
"""
TRIGGER = """
CREATE FUNCTION "Odd %s".f() RETURNS trigger LANGUAGE plpgsql AS '{}';
CREATE TRIGGER x BEFORE UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION "Odd %s".f();
"""
WRITES = TRIGGER.format("BEGIN NEW.note := 7; RETURN NEW; END", TABLE)
SKIPS = TRIGGER.format("BEGIN IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW; END", TABLE)
COUNTS = TRIGGER.format("BEGIN NEW.touched := OLD.touched + 1; RETURN NEW; END", TABLE)
# a type whose constraint runs a function that its owner can replace
DOMAIN = """
GRANT ALL ON SCHEMA "Odd %s" TO shop_app; SET ROLE shop_app;
CREATE FUNCTION "Odd %s".is_fine(int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE DOMAIN "Odd %s".owned AS int CHECK ("Odd %s".is_fine(VALUE)); RESET ROLE;
ALTER TABLE {} ADD owned "Odd %s".owned
"""
# a value for each column that differs from those of all rows
OTHER: dict[str, str | bool | None] = {
    "on": None,
    "te xt": "‹other›' \" \\ $$",
    "doc": '{"n": 12345678901234567890.10}',
    "raw": "[ ]",
    "at": "2026-11-20 03:02:11.654321+00",
    "days": "1 day",
    "numbers": "{9}",
    "bytes": "\\x01",
    "mood": "calm",
    "pair": '(7,"a ""b""")',
    "price": "2.50",
    "ratio": "0.30000000000000004",
    "code": "xyz",
    "short": None,
}


@pytest.fixture
def table(server: Servers) -> Iterator[Servers]:
    """A table with odd names and values, in which each test changes what it likes."""
    run(server, SETUP)
    yield server
    server.end_sessions()
    run(server, 'DROP SCHEMA "Odd %s" CASCADE')


@pytest.fixture
def room(tmp_path: Path, table: Servers, monkeypatch: pytest.MonkeyPatch) -> Room:
    return made_room(tmp_path, table, monkeypatch, rules=RULES)


def run(server: Servers, statement: str) -> None:
    with server.access.connect("postgres") as raw:
        raw.execute(statement.encode())


def changes(server: Servers, statement: str) -> int:
    """How many rows a statement changes."""
    with server.access.connect("postgres") as raw:
        return raw.execute(statement.encode()).rowcount


def rows(server: Servers, table: str = TABLE) -> list[str]:
    """All rows of a table, as the server writes them."""
    with server.access.connect("postgres") as raw:
        said = f"SELECT t::text FROM {table} t ORDER BY 1".encode()
        return [one for (one,) in raw.execute(said).fetchall()]


def moved(action: str, *, status: str) -> ActionPlan:
    """A plan for one row as a message, with any column as its status."""
    names = {"relation": TABLE, "id_column": "id", "status_column": status, "error_column": None}
    message = pd.DataFrame([{"id": "2", "status": "keep", **names}])
    return cast("ActionPlan", getattr(actions, action)("orders", message))


def frame(server: Servers, *names: str, where: str = "true", table: str = TABLE) -> pd.DataFrame:
    """Columns of chosen rows, as text."""
    asked = ", ".join(f'"{name}"::text AS "{name}"' for name in names)
    with server.access.connect("postgres") as raw:
        found = raw.execute(f"SELECT {asked} FROM {table} WHERE {where} ORDER BY 1, 2".encode())
        return pd.DataFrame(found.fetchall(), columns=list(names), dtype=object)


def flagged(server: Servers, where: str = "true", /, **values: Any) -> ActionPlan:
    """The plan that sets columns of chosen rows."""
    wanted = values or {"note": "changed"}
    found = frame(server, "tenant", "id", *wanted, where=where)
    return actions.set_flag("orders", found, wanted, table=TABLE, key=["tenant", "id"])


def executed(room: Room, plan: str) -> ActionHistory:
    done = room.execute(plan, approval.request(room.ledger, plan))
    assert done.recorded is ActionState.VERIFIED, done.result
    return done


def undone(room: Room, plan: str) -> ActionHistory:
    return executed(room, undo.find(room.root, plan).plan)


def state(room: Room, digest: str) -> ActionState:
    [found] = [one for one in incident.look(room.root, INCIDENT).actions if one.digest == digest]
    return found.state(now())


def last(room: Room) -> ActionHistory:
    """The newest action of the incident."""
    return incident.look(room.root, INCIDENT).actions[-1]


class TestRestored:
    """Previewed, executed, verified and undone: the rows are then what they were, byte for byte."""

    def test_odd_values(self, room: Room, table: Servers) -> None:
        before = rows(table)
        plan = room.propose(flagged(table, **OTHER), other_run(1))
        asked = approval.request(room.ledger, plan)
        assert len(asked.facts["targets"]) == 3
        assert asked.facts["effect"].startswith(f"3 rows of {TABLE}: ")
        done = executed(room, plan)
        assert done.result == "3 of 3 rows have the new values"
        now_ = frame(table, *OTHER).values.tolist()
        expected = [None, *list(OTHER.values())[1:]]
        assert now_ == [expected] * 3
        back = undone(room, plan)
        assert back.facts["undoes"] == done.digest
        assert rows(table) == before
        assert state(room, done.digest) is ActionState.UNDONE

    @pytest.mark.parametrize("action", ["set_failed", "requeue"])
    def test_messages(self, room: Room, table: Servers, action: str) -> None:
        run(
            table,
            """
            CREATE TABLE "Odd %s".outbox_messages (id uuid PRIMARY KEY, status "Odd %s".mood2,
                attempts int, last_error text, created_at timestamptz);
            GRANT SELECT ON "Odd %s".outbox_messages TO rb_diag, rb_action;
            GRANT UPDATE (status, last_error) ON "Odd %s".outbox_messages TO rb_action;
            INSERT INTO "Odd %s".outbox_messages SELECT gen_random_uuid(), s::"Odd %s".mood2, 9,
                CASE WHEN s <> 'FAILED' THEN E'HTTP 422 "it''s"\n' END, '2026-01-01'
            FROM unnest('{PENDING,SENDING,FAILED}'::text[]) s;
            """.replace(
                "CREATE TABLE",
                "CREATE TYPE \"Odd %s\".mood2 AS ENUM ('PENDING', 'SENDING', 'FAILED');"
                " CREATE TABLE",
                1,
            ),
        )
        name = '"Odd %s".outbox_messages'
        before = rows(table, name)
        given = {"pending": "failed"} if action == "requeue" else {"processing": "sending"}
        with closing(table.diagnostic_session()) as session:
            stuck = diagnostics.run(session, "queue/stuck", table="Odd %s.outbox_messages", **given)
        plan = room.propose(getattr(actions, action)("orders", stuck), other_run(1))
        executed(room, plan)
        said = frame(table, "status", "last_error", table=name).values.tolist()
        if action == "set_failed":
            note = 'HTTP 422 "it\'s"\n [set to failed by rb_action]'
            assert sorted(said, key=str) == [["FAILED", note], ["FAILED", note], ["FAILED", None]]
        else:
            assert ["PENDING", "[requeued by rb_action]"] in said
        undone(room, plan)
        assert rows(table, name) == before

    def test_undone_in_reverse_order(self, room: Room, table: Servers) -> None:
        before = rows(table)
        first = room.propose(flagged(table, note="first"), other_run(1))
        executed(room, first)
        second = room.propose(flagged(table, "id = 2", note="second"), other_run(2))
        executed(room, second)
        why = refusal(lambda: undone(room, first))
        assert "undo first what changed the same later: Set note to second" in why
        undone(room, second)
        undone(room, first)
        assert rows(table) == before
        assert "what it undoes is undone" in refusal(lambda: undone(room, first))
        assert "what it undoes is undone" in refusal(lambda: undone(room, second))


@pytest.mark.slow
def test_from_a_headless_run_to_its_undo_by_commands(room: Room, table: Servers) -> None:
    """RUN-011 finds a message that is rejected; its plan is executed, and undone."""
    message = """
        TRUNCATE shop_outbox;
        INSERT INTO shop_outbox (destination, status, attempts, last_error, payload, created_at,
                                 updated_at)
        VALUES ('mail', 'pending', 9, 'HTTP 422: invalid', '{}', now() - interval '1 h', now());
    """
    run(table, message)
    before = rows(table, "shop_outbox")
    try:
        given = {"db": "orders", "table": "shop_outbox", "every_s": "1"}
        parameters = [part for pair in given.items() for part in ("-p", "=".join(pair))]
        told("run", "RUN-011", *parameters, "--incident", INCIDENT, code=2)
        [plan] = [one for one in told("action", "list", "--json") if one["action"]]
        assert plan["title"] == "Set 1 message to failed"
        for verb, status in (("request", "failed"), ("undo", "pending")):
            asked = told("action", verb, plan["plan"], "--json")
            told("action", "execute", asked["plan"], "--digest", asked["digest"])
            [[is_now, error]] = frame(
                table, "status", "last_error", table="shop_outbox"
            ).values.tolist()
            assert is_now == status
            assert ("[set to failed by rb_action]" in error) == (verb == "request")
        assert rows(table, "shop_outbox") == before
    finally:
        run(table, "TRUNCATE shop_outbox")


class TestRefused:
    """What is different from the preview: nothing is changed, and the reason is told."""

    @pytest.mark.parametrize(
        ("statement", "why"),
        [
            (
                "UPDATE {} SET note = 'x' WHERE id = 2",
                "{B} was changed: note is 'x', not 'keep'",
            ),
            (
                "UPDATE {} SET price = 9 WHERE id = 2",
                "{B} was changed since the preview",
            ),
            (
                "UPDATE {} SET note = note WHERE id = 2",
                "{B} was changed since the preview",
            ),
            ("DELETE FROM {} WHERE id = 2", "{B} is not there"),
            ("UPDATE {} SET id = 5 WHERE id = 2", "{B} is not there"),
            (REUSED, "{B} was changed since the preview"),
            ("ALTER TABLE {} ALTER note TYPE varchar(40)", "the table changed since the preview"),
            ("REVOKE UPDATE ON {} FROM rb_action", "may not set note: GRANT UPDATE (note)"),
        ],
    )
    def test_what_changed_since_the_preview(
        self, room: Room, table: Servers, statement: str, why: str
    ) -> None:
        plan = room.propose(flagged(table), other_run(1))
        ok = approval.request(room.ledger, plan)
        run(table, statement.replace("{}", TABLE))
        there = rows(table)
        assert why.replace("{B}", B) in refusal(lambda: room.execute(plan, ok))
        assert rows(table) == there

    @pytest.fixture
    def late(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
        """Say what happens after the last look before the execution."""

        def given(what: Callable[[], object]) -> None:
            begin = executor._begin
            monkeypatch.setattr(executor, "_begin", lambda *all_: what() or begin(*all_))

        return given

    @pytest.mark.parametrize(
        ("statement", "why"),
        [
            (
                "UPDATE {} SET price = 9 WHERE id = 2",
                "{B} was changed since the preview",
            ),
            ("DELETE FROM {} WHERE id = 2", "{B} is not there any more"),
            ("REVOKE UPDATE ON {} FROM rb_action", "permission denied"),
            (WRITES, "got other values, as by a trigger"),
            (SKIPS, "{B} got other values, as by a trigger"),
        ],
    )
    def test_what_changed_after_the_last_look(
        self, room: Room, table: Servers, late: Any, statement: str, why: str
    ) -> None:
        plan = room.propose(flagged(table), other_run(1))
        ok = approval.request(room.ledger, plan)
        late(lambda: run(table, statement.replace("{}", TABLE)))
        done = room.execute(plan, ok)
        assert (done.recorded, done.approvals) == (ActionState.FAILED, ())
        assert why.replace("{B}", B) in done.result
        assert "nothing was changed" in done.result
        assert not [one for one in rows(table) if "changed" in one]

    def test_a_row_that_another_session_holds(self, room: Room, table: Servers) -> None:
        """Its lock is not waited for; the other rows are not changed, either."""
        plan = room.propose(flagged(table), other_run(1))
        ok = approval.request(room.ledger, plan)
        held = f"SELECT 1 FROM {TABLE} WHERE id = 2 FOR UPDATE"
        table.start("worker", "BEGIN", held, role="postgres")
        done = room.execute(plan, ok)
        assert done.recorded is ActionState.FAILED
        assert done.result == "a row is locked by another session: nothing was changed"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("xmins", ["1"]), ("system_identifier", "1"), ("system_identifier", None)),
            *(("started_at", "2026-11-20T03:02:11+00:00"), ("database", "x"), ("standby", True)),
            ("until", "2026-11-20T03:02:11+00:00"),
        ],
    )
    def test_the_statement_checks_each_value(
        self, room: Room, table: Servers, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
    ) -> None:
        plan = room.propose(flagged(table, "id = 2"), other_run(1))
        ok, send = approval.request(room.ledger, plan), server_of.send

        def other(raw: Any, statement: str, values: Any, *more: Any) -> Any:
            given = {**values, name: value} if statement.startswith("UPDATE") else values
            return send(raw, statement, given, *more)

        monkeypatch.setattr(server_of, "send", other)
        done = room.execute(plan, ok)
        assert done.recorded is ActionState.FAILED
        assert "nothing was changed" in done.result
        assert not [one for one in rows(table) if "changed" in one]

    @pytest.mark.parametrize(
        ("name", "value", "why"),
        [
            ("system_identifier", "1", "leads to another cluster"),
            ("standby", True, "(a failover)"),
            ("started_at", "2026-11-20 03:02:11+00", "the server was restarted"),
        ],
    )
    def test_another_server(
        self,
        room: Room,
        table: Servers,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        value: Any,
        why: str,
    ) -> None:
        plan = room.propose(flagged(table), other_run(1))
        ok, identify = approval.request(room.ledger, plan), server_of.identify
        there = rows(table)
        monkeypatch.setattr(server_of, "identify", lambda one: {**identify(one), name: value})
        assert why.replace("{B}", B) in refusal(lambda: room.execute(plan, ok))
        assert rows(table) == there

    def test_too_late(self, room: Room, table: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = room.propose(flagged(table), other_run(1))
        ok, clock = approval.request(room.ledger, plan), server_of.clock
        with monkeypatch.context() as later:
            later.setattr(executor, "now", lambda: now() + timedelta(hours=1))
            assert "expired" in refusal(lambda: room.execute(plan, ok))
        # a process that was stopped: by the server's clock it is an hour later
        monkeypatch.setattr(server_of, "clock", lambda one: clock(one) - timedelta(hours=1))
        done = room.execute(plan, ok)
        assert done.recorded is ActionState.FAILED
        assert done.result == "it was too late, or the server changed: nothing was changed"

    def test_altered(self, room: Room, table: Servers) -> None:
        """The bytes of the document, or the rows of the plan under the same title and SQL."""
        made = flagged(table)
        plan = room.propose(made, other_run(1))
        ok = approval.request(room.ledger, plan)
        record = room.root / INCIDENT / "incident.jsonl"
        record.write_text(record.read_text().replace("'a''b'", "'c''d'").replace("a'b", "c'd"))
        assert "its document in the record was altered" in refusal(lambda: room.execute(plan, ok))
        first = {**made.arguments["rows"][0], "after": {'"note"': "other"}}
        odd: list[dict[str, Any]] = [{"table": 7}, {"key": [None, "x"]}, {"note": ["x"]}]
        for more in (*odd, {"note": {"column": 1}}):
            room.propose(made, other_run(40 + len(str(more))), arguments={**made.arguments, **more})
            assert "was altered" in refusal(lambda: approval.request(room.ledger, plan))
        for rows_ in ([first], [made.arguments["rows"][0]] * 2, [{"key": [7]}], []):
            arguments = {**made.arguments, "rows": rows_}
            room.propose(made, other_run(2 + len(str(rows_))), arguments=arguments)
            with pytest.raises(ActionRefused):
                approval.request(room.ledger, plan)

    def test_a_line_in_the_record_of_another_incident(self, room: Room, table: Servers) -> None:
        """Also without approvers, the lines of an action count only where its document says."""
        plan = room.propose(flagged(table), other_run(1))
        approval.request(room.ledger, plan)
        other = room.root / (INCIDENT[:-1] + "b")
        other.mkdir()
        record = room.root / INCIDENT / "incident.jsonl"
        (other / record.name).write_bytes(record.read_bytes())
        assert incident.look(room.root, other.name).actions == ()
        approval.reject(room.ledger, plan, "no")
        found = room.ledger.recorded(room.ledger.named(plan))
        assert found
        assert found.recorded is ActionState.REJECTED


class TestAfterTheCommit:
    """The commit is the proof; what others do to the rows afterwards is their work."""

    @pytest.mark.parametrize("relay", ["UPDATE {} SET note = 'sent'", "DELETE FROM {}"])
    def test_a_relay_takes_what_was_requeued(self, room: Room, table: Servers, relay: str) -> None:
        room.configure(*(one.replace("watch_s = 0.1", "watch_s = 30") for one in RULES))
        run(table, f"DELETE FROM {TABLE} WHERE tenant = 'c'; CREATE UNIQUE INDEX ON {TABLE} (id)")
        plan = room.propose(moved("requeue", status="note"), other_run(1))
        taken = f"{relay.format(TABLE)} WHERE note = 'pending'"
        begun = executor.begin(room.ledger, plan, approval.request(room.ledger, plan).digest)
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(executor.carry_out, room.ledger, begun)
            until(lambda: changes(table, taken) == 1)
            told = done.result()
        assert told.recorded is ActionState.VERIFIED
        assert "committed; then changed by others since: 0 of 1 rows" in told.result

    def test_a_trigger_of_the_same_commit(self, room: Room, table: Servers) -> None:
        run(
            table,
            f"""
            CREATE FUNCTION "Odd %s".back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                UPDATE {TABLE} SET note = 'keep' WHERE id = NEW.id AND note = 'new';
                RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER back AFTER UPDATE ON {TABLE}
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION "Odd %s".back();
            """,
        )
        plan = room.propose(flagged(table, "id = 2", note="new"), other_run(1))
        done = room.execute(plan, approval.request(room.ledger, plan))
        assert done.recorded is ActionState.INDETERMINATE
        assert "by others, or by a trigger (back)" in done.result


class TestPreview:
    """What is said, and refused, before anybody approves."""

    @pytest.mark.parametrize(
        ("statement", "values", "why"),
        [
            ("", {"short": "abcd"}, "short cannot hold 'abcd', only 'abc'"),
            ("", {"price": "1.005"}, "price cannot hold '1.005', only '1.01'"),
            ("", {"mood": "wild"}, "invalid input value for enum"),
            ("", {"twice": "3"}, "twice is a generated column"),
            ("ALTER TABLE {} DROP CONSTRAINT {key}", {}, "has no unique index on its key"),
            ("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", {}, "has row-level security or rules"),
            ("REVOKE SELECT ON {} FROM rb_action", {}, "the role rb_action may not read"),
            ("REVOKE UPDATE ON {} FROM rb_action", {}, "the role rb_action may not set note"),
            ("ALTER TABLE {} RENAME note TO n", {}, "has no column"),
            ("UPDATE {} SET note = 'x' WHERE id = 2", {}, "note is 'x', not 'keep'"),
            ("ALTER TABLE {} ADD password text", {"password": "x"}, "password is masked"),
            (DOMAIN, {"owned": "1"}, 'would run code of this database: "Odd %s".is_fine(integer)'),
        ],
    )
    def test_refused(
        self, room: Room, table: Servers, statement: str, values: dict[str, str], why: str
    ) -> None:
        if "ADD" in statement:
            run(table, statement.replace("{}", TABLE))
        plan = room.propose(flagged(table, **values), other_run(1))
        run(table, statement.format(TABLE, key='"t "" ‹x›_pkey"') if "ADD" not in statement else "")
        assert why.replace("{B}", B) in refusal(lambda: approval.request(room.ledger, plan))

    def test_more_rows_than_the_policy_allows(self, room: Room, table: Servers) -> None:
        room.configure(RULES[0].replace("most_targets = 3", "most_targets = 2"))
        plan = room.propose(flagged(table), other_run(1))
        assert "allows 2 targets, and these are 3" in refusal(
            lambda: approval.request(room.ledger, plan)
        )

    @pytest.mark.parametrize("action", ["set_failed", "requeue", "set_flag"])
    def test_a_table_that_the_policy_does_not_name(
        self, room: Room, table: Servers, action: str
    ) -> None:
        tables = json.dumps([TABLE.lower(), "public.t"])
        room.configure(f'action = "{action}"\napprovers = 0\nmost_targets = 3\ntables = {tables}\n')
        made = flagged(table) if action == "set_flag" else moved(action, status="note")
        plan = room.propose(made, other_run(1))
        assert "(tables)" in refusal(lambda: approval.request(room.ledger, plan))

    def test_an_action_on_messages_writes_what_its_name_says(
        self, room: Room, table: Servers
    ) -> None:
        """Whatever a notebook puts into it: the SQL that it shows fits each time."""
        before = rows(table)
        made = moved("set_failed", status="note")
        row = {**made.arguments["rows"][0], "after": {"note": "admin"}}
        noted = {**flagged(table).arguments, "note": {"column": "doc", "text": "x"}}
        for number, (plan, arguments, write) in enumerate(
            [
                (made, {**made.arguments, "rows": [row]}, messages_sql),
                (flagged(table), noted, rows_sql),
            ]
        ):
            forged = dataclasses.replace(plan, arguments=arguments, sql=write(arguments))
            name = room.propose(forged, other_run(number))
            assert "was altered" in refusal(partial(approval.request, room.ledger, name))
        assert rows(table) == before

    def test_a_secret_is_not_recorded(self, room: Room, table: Servers) -> None:
        token = "ghp_" + "a1B2" * 9
        run(table, f"UPDATE {TABLE} SET note = '{token}'")
        plan = room.propose(flagged(table), other_run(1))
        assert "a value looks like a secret" in refusal(lambda: approval.request(room.ledger, plan))
        assert token not in (room.root / INCIDENT / "incident.jsonl").read_text()

    def test_triggers_and_rows_that_follow_are_told(self, room: Room, table: Servers) -> None:
        run(
            table,
            f"""
            ALTER TABLE {TABLE} ADD CONSTRAINT u UNIQUE (code);
            CREATE TABLE "Odd %s".child (code char(5) REFERENCES {TABLE} (code) ON UPDATE CASCADE);
            CREATE FUNCTION "Odd %s".f() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN NEW.price := 7; RETURN NEW; END';
            CREATE TRIGGER touch BEFORE UPDATE ON {TABLE}
                FOR EACH ROW EXECUTE FUNCTION "Odd %s".f();
            """,
        )
        plan = room.propose(flagged(table, "id = 2", code="zz"), other_run(1))
        asked = approval.request(room.ledger, plan)
        assert asked.facts["effect"] == (
            f"1 row of {TABLE}: code is set. Triggers run, and may change more: touch."
            ' Rows that refer to these change, too: "Odd %s".child'
        )
        assert asked.facts["loss"] == 'what these change is not restored: touch, "Odd %s".child'
        executed(room, plan)


class TestUndo:
    @pytest.mark.parametrize(
        ("statement", "why"),
        [
            (
                "UPDATE {} SET note = 'x' WHERE id = 2",
                "{B} was changed: note is 'x'",
            ),
            ("DELETE FROM {} WHERE id = 2", "{B} is not there"),
        ],
    )
    def test_a_row_that_somebody_changed_since_is_refused_as_a_whole(
        self, room: Room, table: Servers, statement: str, why: str
    ) -> None:
        plan = room.propose(flagged(table), other_run(1))
        done = executed(room, plan)
        run(table, statement.replace("{}", TABLE))
        there = rows(table)
        assert why.replace("{B}", B) in refusal(lambda: undone(room, plan))
        assert rows(table) == there
        assert state(room, done.digest) is ActionState.VERIFIED

    def test_what_was_not_verified_cannot_be_undone(self, room: Room, table: Servers) -> None:
        plan = room.propose(flagged(table), other_run(1))
        assert "no action of the plan" in refusal(lambda: undo.find(room.root, plan))
        approval.request(room.ledger, plan)
        assert "and not verified" in refusal(lambda: undo.find(room.root, plan))

    def test_by_commands_with_the_approval_that_the_policy_wants(
        self, room: Room, table: Servers
    ) -> None:
        room.configure(f'action = "set_flag"\nmost_targets = 3\nwatch_s = 0.1\ntables = {TABLES}\n')
        before, keys = rows(table), {name: str(room.key(name)) for name in ("ann", "bob")}
        plan = room.propose(flagged(table), other_run(1))
        for verb in ("request", "undo"):
            asked = told("action", verb, plan, "--key", keys["ann"], "--json")
            seen = (asked["plan"], "--digest", asked["digest"][:16])
            assert "0 of 1 approvals" in told("action", "execute", *seen, code=3)
            told("action", "approve", *seen, "--key", keys["ann"], code=3)
            told("action", "approve", *seen, "--key", keys["bob"])
            shown = told("action", "show", asked["plan"])
            assert "id = 1, tenant = c: note " in shown
            told("action", "execute", *seen)
        assert rows(table) == before
        assert "undone" in told("action", "list")
        assert "undone" in told("incident", "show", INCIDENT)
        assert "what it undoes is undone" in told("action", "undo", plan, code=3)


@pytest.mark.usefixtures("secret")
def test_undo_on_the_page(room: Room, table: Servers) -> None:
    one_person = RULES[0].replace("approvers = 0", "approvers = 1\nproposer_may_approve = true")
    room.configure(one_person)
    bob, before = room.passkey("bob", Authenticator()), rows(table)
    plan = room.propose(flagged(table, "id = 2"), other_run(1))
    with serving(room.settings) as client:
        phone = Phone(client)
        for number in (1, 2):  # the action, and its undo
            assert phone.send("request").status_code == 303
            assert f"{B}: note " in phone.words
            digest = phone.fields("approve")["digest"]
            assert phone.send("approve", answer=bob.approve(digest)).status_code == 303
            assert phone.send("execute").status_code == 303
            until(lambda: last(room).recorded is ActionState.VERIFIED)
            assert last(room).title.startswith("Undo") == (number == 2)
            assert ("Shows what would be restored" in phone.words) == (number == 1)
        assert "undone" in phone.words
        assert "by bob" in phone.words
    assert rows(table) == before
    assert "what it undoes is undone" in refusal(lambda: undone(room, plan))


def told(*arguments: str, code: int = 0) -> Any:
    done = run_command(*arguments)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout + done.stderr


class TestOnce:
    def test_of_two_at_once_one_executes(
        self, room: Room, table: Servers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(table, f"ALTER TABLE {TABLE} ADD touched int DEFAULT 0")
        run(table, COUNTS)
        plan = room.propose(flagged(table), other_run(1))
        ok, ready, begin = approval.request(room.ledger, plan), Barrier(3), executor._begin

        def together(*given: Any) -> Any:
            ready.wait(20)
            return begin(*given)

        monkeypatch.setattr(executor, "_begin", together)

        def one(_: int) -> str:
            try:
                return executor.execute(room.ledger, plan, ok.digest).recorded
            except ActionRefused as error:
                return error.what

        with ThreadPoolExecutor(3) as pool:
            said = list(pool.map(one, range(3)))
        assert said.count(ActionState.VERIFIED) == 1
        assert frame(table, "touched", "note").values.tolist() == [["1", "changed"]] * 3


_KILLED = """
import os, signal, sys
from rbkernel import config
from rbkernel.execution import executor, server
from rbkernel.execution.ledger import Ledger
from rbkernel.redact import Redactor
from rbkernel.sources.postgres.connection import driver

def killed(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def then(module, name, when=lambda *given: True):
    was = getattr(module, name)
    def call(*given, **named):
        done = was(*given, **named)
        if when(*given):
            killed()
        return done
    setattr(module, name, call)

plan, digest, point = sys.argv[1:]
if point == "before the intent":
    executor._begin = killed
elif point == "after the intent":
    then(executor, "_begin")
elif point == "after the lock":
    then(server, "send", lambda raw, statement, *_: "FOR NO KEY UPDATE" in statement)
elif point == "after the statement":
    then(server, "send", lambda raw, statement, *_: statement.startswith("UPDATE"))
elif point == "after the commit":
    then(driver, "commit")
executor.execute(Ledger(config.load(), Redactor()), plan, digest)
"""


def must_be_gone(server: Servers) -> None:
    """Wait until the server has noticed that the process was killed."""
    said = b"SELECT 1 FROM pg_stat_activity WHERE application_name = 'rbkernel/action'"
    with server.access.connect("postgres") as raw:
        until(lambda: not raw.execute(said).fetchall())


class TestKilled:
    @pytest.mark.parametrize(
        ("point", "begun", "ended"),
        [
            pytest.param("before the intent", False, False, marks=pytest.mark.soak),
            pytest.param("after the intent", True, False, marks=pytest.mark.soak),
            pytest.param("after the lock", True, False, marks=pytest.mark.soak),
            ("after the statement", True, False),
            ("after the commit", True, True),
        ],
    )
    def test_it_is_never_executed_again(
        self,
        room: Room,
        table: Servers,
        point: str,
        begun: bool,
        ended: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        before = rows(table)
        plan = room.propose(flagged(table), other_run(1))
        ok = approval.request(room.ledger, plan)
        command = [sys.executable, "-c", _KILLED, plan, ok.digest, point]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert (rows(table) != before) is ended
        if not begun:
            assert room.execute(plan, ok).recorded is ActionState.VERIFIED
            return
        later = now() + timedelta(minutes=5)
        monkeypatch.setattr(executor, "now", lambda: later)
        assert "nothing is tried again" in refusal(lambda: room.execute(plan, ok)) or ended
        [history] = incident.look(room.root, INCIDENT).actions
        assert history.state(later) is ActionState.INDETERMINATE
        assert "and not verified" in refusal(lambda: undo.find(room.root, plan))
        assert (rows(table) != before) is ended


def test_what_is_sent_is_what_was_approved(
    room: Room, table: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement of the document, with its values: anybody can read what was executed."""
    plan = room.propose(flagged(table), other_run(1))
    asked = approval.request(room.ledger, plan)
    sent: list[str] = []
    send = server_of.send

    def seen(raw: Any, statement: str, *more: Any) -> Any:
        sent.append(statement)
        return send(raw, statement, *more)

    monkeypatch.setattr(server_of, "send", seen)
    room.execute(plan, asked)
    lock, update = (f"{one};" for one in sent[-2:])
    assert lexer.to_driver(asked.facts["statement"]) == f"{lock}\n{update}"
