"""`rb.flags` and `rb.signoff`: the state of feature flags, and how many people sign a change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
from IPython.display import HTML, display

from rbkernel import amounts
from rbkernel.arguments import checked
from rbkernel.checks.answer import provenance
from rbkernel.config.actions import ActionRule
from rbkernel.config.quantities import Count
from rbkernel.errors import ParameterError
from rbkernel.model import ActionPlan, Finding, Verdict, now
from rbkernel.render import tables
from rbkernel.runbook.digest import Table
from rbkernel.sources.monitoring.queries import Asked
from rbkernel.triage.check import keep
from rbkernel.triage.context import triage
from rbkernel.triage.probes import monitoring
from rbkernel.triage.query import traced

_STATE = "@flags/state"
_WORDS = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
_SIGNOFF = "People who sign off"


@dataclass(frozen=True, kw_only=True)
class Flags:
    """The result of `flags`, which has already been shown.

    ``shares`` maps each flag to the share of instances in which it is on (0 to 1), ``findings``
    each expected flag to the finding on it; ``reason`` says why nothing is known.
    """

    shares: Mapping[str, float]
    findings: Mapping[str, Finding]
    reason: str = ""

    def is_on(self, flag: str) -> bool | None:
        """Return whether a flag is on in all instances; None if that is unknown, or if they differ.

        >>> found = Flags(shares={"a": 1.0, "b": 0.5}, findings={})
        >>> found.is_on("a"), found.is_on("b"), found.is_on("c"), found.is_on("")
        (True, None, None, False)
        """
        if not flag:
            return False
        share = self.shares.get(flag)
        return bool(share) if share in {0.0, 1.0} else None

    def is_in(self, flag: str, state: str) -> bool | None:
        """Return whether a flag has a state (``on`` or ``off``) in all instances; None if unknown.

        >>> found = Flags(shares={"a": 1.0}, findings={})
        >>> found.is_in("a", "On"), found.is_in("a", "false"), found.is_in("b", "off")
        (True, False, None)
        """
        on = self.is_on(flag)
        return None if on is None else on is _wanted(flag, state)

    def turns_on(self, flag: str, state: str) -> bool:
        """Return whether a state is the one in which the flag is on; empty is none."""
        return bool(state) and _wanted(flag, state)

    @property
    def as_expected(self) -> bool | None:
        """Whether all flags are as expected; None if one is unknown, or none is expected."""
        if not self.findings or any(one.unknown for one in self.findings.values()):
            return None
        return not self.wrong

    @property
    def wrong(self) -> list[Finding]:
        """The findings on flags that are not as expected."""
        return [one for one in self.findings.values() if one.wrong]

    def out_of_order(self, flag: str, state: str, stages: Sequence[str]) -> Finding:
        """Judge whether a flag is the next stage of a migration, and show the finding.

        Parameters
        ----------
        flag, state
            The flag to set, and ``on`` or ``off``.
        stages
            The flags of the stages in their order: each is on only while those before it are. A
            flag that is not among them is no stage.
        """
        return keep(out_of_order(self, flag, _wanted(flag, state), stages))

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell: `rb.flags` has shown the flags."""


@checked
def flags(service: str, expected: Mapping[str, str] | str = "", *, source: str = "") -> Flags:
    """Compare feature flags of a running service with their expected states.

    Asks the named query ``flags/state``, so it is the state in which the instances are, not the one
    in the flags' user interface.

    Parameters
    ----------
    service
        The value of the label ``service``.
    expected
        Flag → ``on`` or ``off``; or a text such as ``new_checkout=on, old_tax=off``.
    source
        Name of the Prometheus in `rbkernel.toml`, as for `rb.promql`.

    Returns
    -------
    Flags
        With one finding for each expected flag: critical if it has the other state, warning if the
        instances differ, unknown if it is not measured.
    """
    wanted = {flag: _wanted(flag, state) for flag, state in _pairs(expected).items()}
    frame = monitoring.ask("prometheus", _STATE, source, Asked(), {"service": service})
    origin = provenance(frame)
    known = frame.dropna(subset=["value"]) if "flag" in frame else pd.DataFrame()
    shares = {str(row["flag"]): float(row["value"]) for row in known.to_dict("records")}
    reason = origin.reason if origin else ""
    rows = tuple(
        (flag, _said(share), _word(wanted[flag]) if flag in wanted else "")
        for flag, share in sorted(shares.items())
    )
    heading = f"feature flags of {service}"
    tables.show(Table(heading=heading, names=("flag", "now", "expected"), rows=rows), kind="flags")
    display(HTML(traced(frame)))
    found = {flag: keep(judged(flag, on, shares.get(flag), reason)) for flag, on in wanted.items()}
    return Flags(shares=shares, findings=found, reason=reason)


def judged(flag: str, wanted: bool, share: float | None, reason: str = "") -> Finding:
    """Return the finding on a flag, from the share of instances in which it is on. Pure.

    >>> [judged("a", True, share).verdict.value for share in (1.0, 0.0, 0.5, None)]
    ['ok', 'critical', 'warning', 'unknown']
    """
    found = partial(Finding, title=f"Flag {flag}", expected=_word(wanted), at=now())
    if share is None:
        return found(
            verdict=Verdict.UNKNOWN,
            actual=reason or "not measured",
            next_step="see whether the name is right, and whether the service reports it",
        )
    if share == float(wanted):
        return found(verdict=Verdict.OK, actual=_said(share), value=share)
    return found(
        verdict=Verdict.CRITICAL if share in {0.0, 1.0} else Verdict.WARNING,
        actual=_said(share),
        cause=f"the flag {flag} is {_said(share)}, and should be {_word(wanted)}",
        which=flag,
        next_step=f"find out who changed it, then set it {_word(wanted)}",
        opens="RUN-023",
        value=share,
    )


def out_of_order(found: Flags, flag: str, wanted: bool, stages: Sequence[str]) -> Finding:
    """Return the finding on the order of the stages of a migration. Pure.

    A stage is turned on after the one before it, and off before the one before it.

    >>> stages = ["double_write", "read_new", "drop_old"]
    >>> now_ = Flags(shares={"double_write": 1.0, "read_new": 0.0, "drop_old": 0.0}, findings={})
    >>> out_of_order(now_, "read_new", True, stages).verdict.value
    'ok'
    >>> out_of_order(now_, "drop_old", True, stages).cause
    'read_new comes before drop_old, and is off'
    >>> out_of_order(now_, "double_write", False, stages).verdict.value
    'ok'
    """
    made = partial(Finding, title="Order of the stages", expected="one stage at a time", at=now())
    if flag not in stages:
        said = f"{flag} is no stage of a migration" if flag else "no flag is given"
        return made(verdict=Verdict.OK, actual=said)
    place = [*stages].index(flag)
    earlier, later = stages[:place], stages[place + 1 :]
    # what must be so before: the earlier stages are on, or the later ones are off
    states = {one: found.is_on(one) for one in (earlier if wanted else later)}
    if unseen := [one for one, on in states.items() if on is None]:
        said = f"the state of {', '.join(unseen)} is not known"
        return made(verdict=Verdict.UNKNOWN, actual=said, next_step="find it out first")
    wrong = [one for one, on in states.items() if on is not wanted]
    if not wrong:
        return made(verdict=Verdict.OK, actual=f"{flag} is next")
    side, first = ("before", wrong[0]) if wanted else ("after", wrong[-1])
    return made(
        verdict=Verdict.CRITICAL,
        actual=f"{', '.join(wrong)} first",
        cause=f"{first} comes {side} {flag}, and is {_word(not wanted)}",
        which=first,
        next_step=f"set {first} {_word(wanted)} first, and see that it is well",
    )


@checked
def signoff(plan: ActionPlan, *, people: Count = 2) -> Finding:
    """Judge whether the policy of actions makes so many people agree to a plan.

    Parameters
    ----------
    plan
        From `rb.actions.request` or `rb.actions.run`.
    people
        How many different people must have signed before it is executed: who asks, and who
        approves.

    Returns
    -------
    Finding
        critical if fewer can have it executed, also by break-glass, or if rbkernel does not execute
        it at all, so that nothing asks a second person.
    """
    policy = triage().settings.actions
    rules = [one for one in policy.rules if one.action == plan.action]
    return keep(signed(plan.action, rules, people, break_glass=policy.break_glass))


def signed(
    action: str, rules: Sequence[ActionRule], people: int, *, break_glass: bool = False
) -> Finding:
    """Return the finding on how many people sign an action, by the rules for it. Pure.

    Of several rules, for other severities, the one with the fewest people counts. Break-glass, if
    the policy and the rule allow it, is one person alone.

    >>> rule = ActionRule(action="cancel_queries", approvers=1)
    >>> alone = ActionRule(action="cancel_queries", approvers=1, proposer_may_approve=True)
    >>> [signed("cancel_queries", [one], 2).verdict.value for one in (rule, alone)]
    ['ok', 'critical']
    """
    made = partial(Finding, title=_SIGNOFF, expected=f"at least {people}", at=now())
    fewest = min(map(_people, rules), default=0)
    alone = break_glass and fewest > 1 and any(one.break_glass for one in rules)
    fewest = 1 if alone else fewest
    if action and rules and fewest >= people:
        return made(verdict=Verdict.OK, actual=f"{fewest}, by the policy", value=float(fewest))
    if not action:
        said = "rbkernel does not execute this, so nothing asks a second person"
        step = "add it to rbkernel.toml, with a rule for its approval"
    elif not rules:
        said, step = f"no rule for {action}", f"add [[actions.rules]] for {action}"
    elif alone:
        said = f"break-glass lets one person alone execute {action}"
        step = "set break_glass = false in its rules"
    else:
        said = f"the policy asks for {amounts.count(fewest, 'signature')} of {action}"
        step = f"set approvers = {people - 1} or more, and proposer_may_approve = false"
    return made(
        verdict=Verdict.CRITICAL,
        actual=said,
        cause=said,
        next_step=f"{step}: [actions] of rbkernel.toml",
        value=float(fewest),
    )


def _people(rule: ActionRule) -> int:
    """Return how many different people sign: who asks signs, too, unless they may approve."""
    if not rule.approvers:
        return 0
    return rule.approvers + (not rule.proposer_may_approve)


def _pairs(expected: Mapping[str, str] | str) -> Mapping[str, str]:
    """Return flags with their states.

    >>> _pairs("new_checkout=on, old_tax = off")
    {'new_checkout': 'on', 'old_tax': 'off'}
    """
    if not isinstance(expected, str):
        return expected
    pairs = [one.partition("=") for one in expected.split(",") if one.strip()]
    return {flag.strip(): state.strip() for flag, _, state in pairs}


def _wanted(flag: str, state: str) -> bool:
    if state.lower() not in _WORDS:
        raise ParameterError(
            f"the state of the flag {flag} is {state!r}, which is neither on nor off",
            where="rb.flags",
            next_step="write it as in new_checkout=on",
        )
    return _WORDS[state.lower()]


def _word(on: bool) -> str:
    return "on" if on else "off"


def _said(share: float) -> str:
    """Return the state of a flag as text.

    >>> _said(1.0), _said(0.25)
    ('on', 'on in 25 % of the instances')
    """
    if share in {0.0, 1.0}:
        return _word(bool(share))
    return f"on in {share * 100:.0f} % of the instances"
