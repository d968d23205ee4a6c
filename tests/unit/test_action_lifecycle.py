"""An action is executed once, by what others approved, in time: whatever comes in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rbkernel.config import Settings
from rbkernel.config.actions import ActionRule, Actions
from rbkernel.evidence.incident import ActionHistory, ActionState, Line, actions_of
from rbkernel.evidence.incident.actions import after
from rbkernel.evidence.incident.record import tell
from rbkernel.execution import document, executor, policy, undo
from rbkernel.execution.ledger import Ledger
from rbkernel.execution.proposal import Proposal
from rbkernel.model import Severity
from rbkernel.redact import Redactor

BEGIN = datetime(2026, 11, 20, 3, 2, 11, tzinfo=UTC)
PEOPLE = ("ann", "bob", "cleo")
RULE = ActionRule(action="terminate_sessions", approvers=2, most_targets=3, cool_down_s=60.0)


def rule(**fields: Any) -> ActionRule:
    return ActionRule(**{**RULE.model_dump(), **fields})


def text_of(a_rule: ActionRule = RULE, **more: Any) -> str:
    return document.canonical(
        {
            "action": a_rule.action,
            "connection": "orders",
            "requested_by": "ann",
            "requested_key": "key of ann",
            "previewed_at": BEGIN.isoformat(),
            "approve_by": (BEGIN + timedelta(minutes=a_rule.approve_within_min)).isoformat(),
            **policy.terms(a_rule),
            **more,
        }
    )


def line(state: ActionState, at: datetime, by: str = "root", **data: Any) -> Line:
    said = {"state": state, "plan": "p", "digest": "", **data}
    return Line(number=1, kind="action", at=at.isoformat(), by=by, data=said)


def previewed(text: str, at: datetime = BEGIN) -> Line:
    return line(ActionState.PREVIEWED, at, digest=document.digest(text), document=text)


def approved(history: ActionHistory, by: str, at: datetime, key: str = "") -> ActionHistory:
    said = line(ActionState.APPROVED, at, by, digest=history.digest, key=key or f"key of {by}")
    told = after(history, said)
    assert told is not None
    return told


def new(a_rule: ActionRule = RULE, **more: Any) -> ActionHistory:
    [history] = actions_of([previewed(text_of(a_rule, **more))])
    return history


def whole(a_rule: ActionRule = RULE, at: datetime = BEGIN) -> ActionHistory:
    history = new(a_rule)
    for by in ("bob", "cleo")[: a_rule.approvers]:
        history = approved(history, by, at)
    return history


@dataclass
class World:
    """What a process does with an action, and a log of what really happened."""

    history: ActionHistory
    now: datetime = BEGIN
    approvals: list[tuple[str, str, datetime]] = field(default_factory=list)
    executions: list[datetime] = field(default_factory=list)
    glass: list[datetime] = field(default_factory=list)
    rejected: bool = False
    altered: bool = False
    lines: list[Line] = field(default_factory=list)

    def tell(self, said: Line) -> None:
        told = after(self.history, said)
        assert told is not None
        self.history = told
        self.lines.append(said)

    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    def approve(self, by: str, key: str) -> None:
        if policy.may_approve(self.history, RULE, by, key, self.now):
            return
        self.approvals.append((by, key, self.now))
        self.tell(line(ActionState.APPROVED, self.now, by, digest=self.history.digest, key=key))

    def forge(self, by: str, key: str) -> None:
        """Write a line that no process of rbkernel would write; its signature is another test."""
        before = len(self.history.approvals)
        self.tell(line(ActionState.APPROVED, self.now, by, digest=self.history.digest, key=key))
        if len(self.history.approvals) > before:
            self.approvals.append((by, key, self.now))

    def break_glass(self, by: str, key: str) -> None:
        if policy.may_break_glass(self.history, RULE, by, key, REASON, self.now):
            return
        self.glass.append(self.now)
        self.tell(
            line(
                ActionState.APPROVED,
                self.now,
                by,
                digest=self.history.digest,
                key=key,
                break_glass=REASON,
            )
        )

    def execute(self) -> None:
        if policy.may_execute(self.history, RULE, self.now):
            return
        self.must_be_allowed()
        self.executions.append(self.now)
        until = self.now + timedelta(seconds=30)
        self.tell(
            line(
                ActionState.EXECUTING,
                self.now,
                digest=self.history.digest,
                until=until.isoformat(),
            )
        )

    def end(self, state: ActionState) -> None:
        self.tell(line(state, self.now, digest=self.history.digest, result="x"))

    def reject(self) -> None:
        if self.history.state(self.now) in {ActionState.PREVIEWED, ActionState.APPROVED}:
            self.rejected = True
            self.end(ActionState.REJECTED)

    def replay(self, place: int) -> None:
        if self.lines:
            self.tell(self.lines[place % len(self.lines)])

    def alter(self) -> None:
        self.altered = True
        self.history = replace(self.history, document=self.history.document + " ")

    def must_be_allowed(self) -> None:
        """What the policy says, told from the log and not from the history."""
        assert not self.executions, "executed twice"
        assert not self.altered
        assert not self.rejected
        in_time = BEGIN + timedelta(minutes=RULE.approve_within_min)
        if self.glass:
            assert len(self.glass) == 1
            assert self.glass[0] <= in_time
            assert self.now <= self.glass[0] + timedelta(minutes=RULE.execute_within_min)
            return
        people, keys = {one[0] for one in self.approvals}, {one[1] for one in self.approvals}
        assert len(people) >= 2
        assert len(keys) >= 2
        assert "ann" not in people
        assert "key of ann" not in keys
        assert all(at <= in_time for _, _, at in self.approvals[:2])
        last = self.approvals[1][2]
        assert self.now <= last + timedelta(minutes=RULE.execute_within_min)


@dataclass
class Rows:
    """Some rows that actions change and undo, as rbkernel does it, and a log of their values.

    Each action sets one column of a row; its undo is refused unless the row has what it wrote.
    """

    root: Path
    now: datetime = BEGIN
    rows: dict[str, str] = field(default_factory=lambda: {"1": "a", "2": "b"})
    lines: list[Line] = field(default_factory=list)
    number: int = 0

    @property
    def actions(self) -> tuple[ActionHistory, ...]:
        return actions_of(self.lines)

    def write(self, key: str, outcome: ActionState, *, sent: bool = True) -> None:
        """Execute a new action; after an unknown outcome, nobody knows whether it did."""
        self.number += 1
        self._carry_out(key, self.rows[key], f"{self.number}", outcome, "", sent=sent)

    def undo(self, place: int) -> None:
        done = [one for one in self.actions if not one.facts["undoes"]]
        if not done:
            return
        chosen = done[place % len(done)]
        [target] = chosen.facts["targets"]
        key, was, wrote = target["key"]["id"], target["before"]["v"], target["after"]["v"]
        found = Proposal(
            **{**dict.fromkeys(Proposal.__dataclass_fields__, ""), "undoes": chosen.digest}  # type: ignore[arg-type]  # not looked at
        )
        why = self._refusal(found)
        later = self.actions[self.actions.index(chosen) + 1 :]
        if not chosen.has_changed or chosen.recorded is ActionState.UNDONE:
            assert why
        elif any(self._stands(one, key) for one in later):
            assert "undo first" in why
        else:
            assert not why
        if not why and self.rows[key] == wrote:
            self._carry_out(key, wrote, was, ActionState.VERIFIED, chosen.digest)
            assert self.rows[key] == was
            [told] = [one for one in self.actions if one.digest == chosen.digest]
            assert told.recorded is ActionState.UNDONE

    def by_hand(self, key: str) -> None:
        """Somebody else changes the row."""
        self.number += 1
        self.rows[key] = f"by hand {self.number}"

    def replay(self, place: int) -> None:
        if self.lines:
            self.lines.append(self.lines[place % len(self.lines)])

    def _stands(self, one: ActionHistory, key: str) -> bool:
        can_be_undone = one.has_changed and one.recorded is not ActionState.UNDONE
        [target] = one.facts["targets"]
        return can_be_undone and not one.facts["undoes"] and target["key"]["id"] == key

    def _refusal(self, found: Proposal) -> str:
        known = [(tell([], "INC-20261120-7f3a"), one) for one in self.actions]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(undo, "_actions", lambda _: iter(known))
            return undo.refusal(self.root, found, self.now)

    def _carry_out(
        self,
        key: str,
        was: str,
        new_: str,
        outcome: ActionState,
        undoes: str,
        *,
        sent: bool = True,
    ) -> None:
        text = text_of(
            ActionRule(action="set_flag", approvers=0, tables=("s.t",)),
            foretold={"table": "s.t", "key": [{"name": "id"}], "sets": [{"name": "v"}]},
            targets=[{"key": {"id": key}, "before": {"v": was}, "after": {"v": new_}}],
            server={"system_identifier": "1", "database": "shop"},
            undoes=undoes,
            nonce=len(self.lines),
        )
        digest = document.digest(text)
        if sent:
            self.rows[key] = new_
        self.lines.append(line(ActionState.PREVIEWED, self.now, digest=digest, document=text))
        for state in (ActionState.EXECUTING, outcome):
            self.now += timedelta(seconds=1)
            until = self.now.isoformat()
            self.lines.append(line(state, self.now, digest=digest, until=until, sent=sent))


REASON = "nobody else answers the phone"
KEYS = st.sampled_from([f"key of {one}" for one in PEOPLE])
OUTCOMES = (
    *(ActionState.VERIFIED, ActionState.FAILED, ActionState.INDETERMINATE),
    *(ActionState.EXPIRED, ActionState.PROPOSED),
)
STEPS: st.SearchStrategy[Callable[[World], None]] = st.one_of(
    st.integers(0, 20).map(lambda minutes: lambda world: world.wait(minutes)),
    st.tuples(st.sampled_from(PEOPLE), KEYS).map(lambda who: lambda world: world.approve(*who)),
    st.tuples(st.sampled_from(PEOPLE), KEYS).map(lambda who: lambda world: world.forge(*who)),
    st.tuples(st.sampled_from(PEOPLE), KEYS).map(lambda who: lambda w: w.break_glass(*who)),
    st.just(World.execute),
    st.just(World.execute),
    st.just(World.reject),
    st.just(World.alter),
    st.sampled_from(OUTCOMES).map(lambda state: lambda world: world.end(state)),
    st.integers(0, 9).map(lambda place: lambda world: world.replay(place)),
)
# without these, hardly any sequence would reach an execution
BY_TWO: list[Callable[[World], None]] = [
    lambda world: world.approve("bob", "key of bob"),
    lambda world: world.approve("cleo", "key of cleo"),
    World.execute,
]
SEQUENCES = st.tuples(
    st.lists(STEPS, max_size=3),
    st.sampled_from([BY_TWO[:number] for number in range(4)]),
    st.lists(STEPS, max_size=9),
).map(lambda parts: [*parts[0], *parts[1], *parts[2]])


ROW = st.sampled_from(["1", "2"])
# a failure may have changed something, unless it says that nothing was sent
ENDS = st.sampled_from(
    [
        *((one, True) for one in (ActionState.VERIFIED, ActionState.INDETERMINATE)),
        *((ActionState.FAILED, sent) for sent in (True, False)),
    ]
)
OF_ROWS: st.SearchStrategy[Callable[[Rows], None]] = st.one_of(
    st.tuples(ROW, ENDS).map(
        lambda one: lambda world: world.write(one[0], one[1][0], sent=one[1][1])
    ),
    ROW.map(lambda key: lambda world: world.write(key, ActionState.VERIFIED)),
    st.integers(0, 9).map(lambda place: lambda world: world.undo(place)),
    st.integers(0, 9).map(lambda place: lambda world: world.undo(place)),
    ROW.map(lambda key: lambda world: world.by_hand(key)),
    st.integers(0, 30).map(lambda place: lambda world: world.replay(place)),
)


def _changed(steps: list[Callable[[Rows], None]]) -> Rows:
    world = Rows(Path("/nowhere"))
    for step in steps:
        step(world)
    return world


@settings(max_examples=200)
@given(st.lists(OF_ROWS, max_size=12))
def test_an_undo_restores_what_was_before_and_never_twice(
    steps: list[Callable[[Rows], None]],
) -> None:
    """Each undo finds the row as its action left it; later actions are undone first."""
    world = _changed(steps)
    undone = [str(one.facts["undoes"]) for one in world.actions if one.facts["undoes"]]
    assert len(set(undone)) == len(undone)


@pytest.mark.soak
@settings(max_examples=10_000)
@given(st.lists(OF_ROWS, max_size=16))
def test_undone_ten_thousand_times(steps: list[Callable[[Rows], None]]) -> None:
    _changed(steps)


def test_all_undone_in_reverse_order_is_as_before() -> None:
    world = Rows(Path("/nowhere"))
    for key in ("1", "2", "1"):
        world.write(key, ActionState.VERIFIED)
    for place in (0, 2, 1, 0, 0):
        world.undo(place)
    assert world.rows == {"1": "a", "2": "b"}
    # a line that says so is not enough
    world.write("1", ActionState.VERIFIED)
    last = world.actions[-1]
    world.lines.append(line(ActionState.UNDONE, world.now, digest=last.digest))
    assert world.actions[-1].recorded is ActionState.VERIFIED


def _live(steps: list[Callable[[World], None]]) -> World:
    world = World(new())
    for step in steps:
        step(world)
    return world


@settings(max_examples=300)
@given(SEQUENCES)
def test_whatever_happens_it_is_executed_once_and_as_approved(
    steps: list[Callable[[World], None]],
) -> None:
    assert len(_live(steps).executions) <= 1


@pytest.mark.soak
@settings(max_examples=10_000)
@given(SEQUENCES)
def test_ten_thousand_times(steps: list[Callable[[World], None]]) -> None:
    assert len(_live(steps).executions) <= 1


def test_the_sequences_reach_an_execution() -> None:
    world = World(new())
    world.approve("bob", "key of bob")
    world.approve("cleo", "key of cleo")
    world.execute()
    world.execute()
    assert len(world.executions) == 1
    assert world.history.state(world.now) is ActionState.EXECUTING
    world.wait(1)
    assert world.history.state(world.now) is ActionState.INDETERMINATE
    assert "nothing is tried again" in policy.may_execute(world.history, RULE, world.now)


def test_an_outcome_that_comes_late_counts() -> None:
    history = after(
        whole(),
        line(
            ActionState.EXECUTING,
            BEGIN,
            digest=whole().digest,
            until=(BEGIN + timedelta(seconds=1)).isoformat(),
        ),
    )
    late = line(ActionState.VERIFIED, BEGIN + timedelta(hours=1), result="1 of 1 done")
    told = after(history, late)
    assert told
    assert told.state(BEGIN + timedelta(hours=2)) is ActionState.VERIFIED
    assert told.result == "1 of 1 done"


class TestApprovals:
    def test_the_person_who_asked_may_not(self) -> None:
        why = policy.may_approve(new(), RULE, "ann", "another key", BEGIN)
        assert why == "ann asked for the approval, and the policy wants another person"
        assert "this key asked" in policy.may_approve(new(), RULE, "bob", "key of ann", BEGIN)

    def test_nobody_counts_twice(self) -> None:
        history = approved(new(), "bob", BEGIN)
        assert "already" in policy.may_approve(history, RULE, "bob", "another key", BEGIN)
        assert "already" in policy.may_approve(history, RULE, "cleo", "key of bob", BEGIN)
        assert len(approved(history, "bob", BEGIN).approvals) == 1
        assert len(approved(history, "cleo", BEGIN, "key of bob").approvals) == 1

    def test_approval_and_execution_expire_separately(self) -> None:
        late = BEGIN + timedelta(minutes=RULE.approve_within_min, seconds=1)
        assert new().state(late) is ActionState.EXPIRED
        assert "expired" in policy.may_approve(new(), RULE, "bob", "k", late)
        just = BEGIN + timedelta(minutes=RULE.approve_within_min)
        history = whole(at=just)
        assert history.state(just + timedelta(minutes=9)) is ActionState.APPROVED
        after_that = just + timedelta(minutes=RULE.execute_within_min, seconds=1)
        assert history.state(after_that) is ActionState.EXPIRED
        assert "expired" in policy.may_execute(history, RULE, after_that)

    @pytest.mark.parametrize(
        "text",
        [
            *("nonsense", "[]", "{}", '{"approvers": "0"}', '{"approvers": true}', "[" * 100_000),
            *(text_of(execute_within_s=value) for value in (1e300, 10**400, -1, "1", None)),
            text_of(approvers=-1),
        ],
    )
    def test_a_document_that_is_none_allows_nothing(self, text: str) -> None:
        """And the record can still be read."""
        free = ActionRule(action="terminate_sessions", approvers=0)
        [history] = actions_of([previewed(text)])
        assert policy.may_execute(history, free, BEGIN)
        assert approved(history, "bob", BEGIN).state(BEGIN) is ActionState.EXPIRED


def broken(history: ActionHistory | None = None, by: str = "ann") -> ActionHistory:
    """Return an action that one person approved alone."""
    history = history or new()
    said = line(
        ActionState.APPROVED,
        BEGIN,
        by,
        digest=history.digest,
        key=f"key of {by}",
        break_glass=REASON,
    )
    told = after(history, said)
    assert told
    return told


class TestBreakGlass:
    def test_one_person_is_enough_even_the_one_who_asked(self) -> None:
        history = broken(by="ann")
        assert history.state(BEGIN) is ActionState.APPROVED
        assert not policy.may_execute(history, RULE, BEGIN)
        assert history.broken_glass
        assert history.broken_glass.break_glass == REASON
        late = BEGIN + timedelta(minutes=RULE.execute_within_min, seconds=1)
        assert "expired" in policy.may_execute(history, RULE, late)

    def test_who_approved_already_may(self) -> None:
        history = approved(new(), "bob", BEGIN)
        assert not policy.may_break_glass(history, RULE, "bob", "key of bob", REASON, BEGIN)
        told = broken(history, "bob")
        assert [one.by for one in told.approvals] == ["bob"]
        assert told.broken_glass

    def test_it_needs_a_reason_and_a_need(self) -> None:
        for reason in ("", "too short", "         x"):
            why = policy.may_break_glass(new(), RULE, "bob", "k", reason, BEGIN)
            assert "at least 10 characters" in why
        history = approved(new(), "bob", BEGIN)
        why = policy.may_break_glass(history, RULE, "cleo", "k", REASON, BEGIN)
        assert "without breaking the glass" in why
        # the person who asked cannot approve as usual
        assert not policy.may_break_glass(history, RULE, "ann", "key of ann", REASON, BEGIN)

    def test_everything_else_is_still_checked(self) -> None:
        late = BEGIN + timedelta(minutes=RULE.approve_within_min, seconds=1)
        assert "expired" in policy.may_break_glass(new(), RULE, "bob", "k", REASON, late)
        altered = replace(new(), document="x")
        assert "altered" in policy.may_break_glass(altered, RULE, "bob", "k", REASON, BEGIN)
        assert "policy changed" in policy.may_execute(broken(), rule(watch_s=9.0), BEGIN)
        again = policy.may_break_glass(broken(), RULE, "bob", "k", REASON, BEGIN)
        assert again == "it has all approvals that it needs"

    def test_it_is_off_by_default(self) -> None:
        rules = [{"action": "terminate_sessions", "approvers": 2}]
        for more, allowed in (({}, False), ({"break_glass": True}, True)):
            found = Actions(approvers=Path("x"), rules=rules, **more).rule("terminate_sessions", "")
            assert found
            assert found.break_glass is allowed
        forbidden = [{**rules[0], "break_glass": False}]
        found = Actions(approvers=Path("x"), rules=forbidden, break_glass=True).rule(
            "terminate_sessions", ""
        )
        assert found
        assert not found.break_glass
        alone = [{"action": "terminate_sessions", "proposer_may_approve": True}]
        found = Actions(approvers=Path("x"), rules=alone, break_glass=True).rule(
            "terminate_sessions", ""
        )
        assert found
        assert not found.break_glass  # one person is enough anyway


ALONE_NOT = RULE.model_copy(update={"break_glass": False})
FLAGS = ActionRule(action="set_flag", approvers=0, tables=("s.t",))
ENFORCED: dict[str, Callable[[], bool]] = {
    "action": lambda: not rule().applies("cancel_queries", ""),
    "severities": lambda: (
        not rule(severities=["P1"]).applies(RULE.action, "P3")
        and not rule(severities=["P1"]).applies(RULE.action, "")
        and rule(severities=["P1"]).applies(RULE.action, "high")
    ),
    "approvers": lambda: "0 of 2" in policy.may_execute(new(), RULE, BEGIN),
    "proposer_may_approve": lambda: (
        bool(policy.may_approve(new(), RULE, "ann", "k", BEGIN))
        and not policy.may_approve(
            new(rule(proposer_may_approve=True)),
            rule(proposer_may_approve=True),
            "ann",
            "k",
            BEGIN,
        )
    ),
    "identities": lambda: (
        "not by proxy" in policy.no_identity(RULE, "proxy")
        and not policy.no_identity(RULE, "passkey")
        and not policy.no_identity(rule(identities=["proxy"]), "proxy")
        and "not by ssh" in policy.no_identity(rule(identities=["proxy"]), "ssh")
    ),
    "break_glass": lambda: (
        "allows nobody" in policy.may_break_glass(new(), ALONE_NOT, "bob", "k", REASON, BEGIN)
        and not policy.may_break_glass(new(), RULE, "bob", "k", REASON, BEGIN)
        and "allows nobody" in policy.may_execute(broken(new(ALONE_NOT)), ALONE_NOT, BEGIN)
        and not policy.may_execute(broken(), RULE, BEGIN)
    ),
    "most_targets": lambda: bool(policy.too_many(RULE, 4)) and not policy.too_many(RULE, 3),
    "tables": lambda: (
        "rows of s.t, not of s.u" in policy.too_much(FLAGS, 1, {"table": "s.u"})
        and not policy.too_much(FLAGS, 1, {"table": "s.t"})
    ),
    "cool_down_s": lambda: (
        "wait 30 s" in policy.too_soon(RULE, [BEGIN.isoformat()], BEGIN + timedelta(seconds=30))
        and not policy.too_soon(RULE, [BEGIN.isoformat()], BEGIN + timedelta(seconds=60))
    ),
    "approve_within_min": lambda: bool(
        policy.may_approve(new(), RULE, "bob", "k", BEGIN + timedelta(minutes=31))
    ),
    "execute_within_min": lambda: bool(
        policy.may_execute(whole(), RULE, BEGIN + timedelta(minutes=11))
    ),
    # how long it is watched is tested on a server; here: it is a part of what was approved
    "watch_s": lambda: "policy changed" in policy.may_execute(whole(), rule(watch_s=9.0), BEGIN),
}


class TestPolicy:
    @pytest.mark.parametrize("name", list(ActionRule.model_fields))
    def test_every_field_is_enforced(self, name: str) -> None:
        assert ENFORCED[name]()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("approvers", 1), ("proposer_may_approve", True), ("most_targets", 2)),
            *(("identities", ("ssh",)), ("break_glass", False), ("cool_down_s", 1.0)),
            *(("approve_within_min", 5.0), ("execute_within_min", 5.0)),
        ],
    )
    def test_a_policy_that_changed_makes_the_approval_void(self, name: str, value: Any) -> None:
        assert not policy.may_execute(whole(), RULE, BEGIN)
        assert "the policy changed" in policy.may_execute(whole(), rule(**{name: value}), BEGIN)

    def test_nothing_is_allowed_without_a_rule(self) -> None:
        assert Actions().rule("cancel_queries", "P1") is None

    @pytest.mark.parametrize(
        "fields",
        [
            {"rules": [{"action": "cancel_queries"}]},
            {"approvers": "x", "rules": [{"action": "cancel_queries", "most": 1}]},
            {"approvers": "x", "rules": [{"action": "drop_table"}]},
            {"rules": [{"action": "cancel_queries", "approvers": 0, "proposer_may_approve": True}]},
            {"approvers": "x", "rules": [{"action": "cancel_queries", "severities": ["urgent"]}]},
            {"approvers": "x", "rules": [{"action": "cancel_queries", "watch_s": 0}]},
            {"approvers": "x", "rules": [{"action": "cancel_queries", "watch_s": 301}]},
            {"approvers": "x", "rules": [{"action": "cancel_queries"}] * 2},
            {"approvers": "x", "rules": [{"action": "set_flag"}]},
            {"approvers": "x", "rules": [{"action": "requeue", "tables": []}]},
            {"approvers": "x", "rules": [{"action": "cancel_queries", "tables": ["a.b"]}]},
            {"approvers": "x", "rules": [{"action": "cancel_queries", "break_glass": True}]},
            {"approvers": "x", "rules": [{"action": "cancel_queries", "identities": []}]},
            {
                "break_glass": True,
                "rules": [{"action": "cancel_queries", "approvers": 0, "break_glass": True}],
            },
        ],
    )
    def test_what_cannot_be_enforced_is_refused(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Actions(**fields)

    def test_the_first_rule_that_applies_counts(self) -> None:
        strict = {"action": "cancel_queries", "severities": ["P0"], "approvers": 2}
        wide = {"action": "cancel_queries", "approvers": 0}
        found = Actions(approvers=Path("x"), rules=(strict, wide))
        assert found.rules[0].severities == (Severity.CRITICAL,)
        assert [one and one.approvers for one in (found.rule("cancel_queries", "SEV1"),)] == [2]
        assert [one and one.approvers for one in (found.rule("cancel_queries", "P3"),)] == [0]


class TestExecution:
    """What is checked under the lock, before the intent is written."""

    def _why(self, a_rule: ActionRule, history: ActionHistory, file: Path | None = None) -> str:
        configured = Settings(actions=Actions(approvers=file, break_glass=True, rules=(a_rule,)))
        found = Proposal(**dict.fromkeys(Proposal.__dataclass_fields__, ""))  # type: ignore[arg-type]  # not looked at
        return executor.refusal(Ledger(configured, Redactor()), found, a_rule, history, BEGIN)

    def test_a_rule_without_approvers_needs_no_file_of_them(self) -> None:
        free = ActionRule(action="terminate_sessions", approvers=0)
        assert self._why(free, new(free)) == ""

    def test_lines_without_a_signature_approve_nothing(self, tmp_path: Path) -> None:
        file = tmp_path / "approvers"
        file.write_text("bob ssh-ed25519 AAAA\n")
        one = rule(approvers=1, cool_down_s=0.0)
        assert "the signature of bob is not valid" in self._why(one, whole(one), file)
