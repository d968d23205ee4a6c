"""Render findings, decisions and plans as HTML, as plain text and as typed JSON.

Pure. All text is escaped. Styles are inline, with text and background colour, because JupyterLab
removes style sheets from untrusted notebooks, and the notebook of a run that an alert started is
untrusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rbkernel import amounts, strictjson
from rbkernel.displaytext import escape, one_line, visible
from rbkernel.model import (
    ActionPlan,
    Decision,
    DecisionState,
    Finding,
    Run,
    Verdict,
    by_urgency,
    folded,
    leading,
)

# contrast of WCAG AA with white text; colour-blind people distinguish them by lightness
_COLOURS = {"ok": "#1b7f3b", "warning": "#9a5b00", "critical": "#b3261e", "unknown": "#5b5f66"}
_OPEN = "#2458a6"
# JupyterLab's own colours, light or dark; elsewhere, and in exports, those of a white page
_INK, _PAPER = "var(--jp-ui-font-color1, #1f2328)", "var(--jp-layout-color1, #ffffff)"
_FAINT, _EDGE = "var(--jp-ui-font-color2, #57606a)", "var(--jp-border-color1, #d0d7de)"
_SHADE = "var(--jp-layout-color2, #f6f8fa)"
# SQL may contain $1 and $2: JupyterLab would render the text between them as mathematics
_NO_MATH = "class='tex2jax_ignore mathjax_ignore'"
_FONT = "font-family: sans-serif; font-size: 14px; line-height: 1.45"


def bundle(kind: str, data: Mapping[str, Any], html: str, text: str) -> dict[str, Any]:
    """Return a MIME bundle of one output: JSON for programs, HTML for browsers, text for terminals.

    JSON holds every character unchanged; HTML and text show invisible characters as escapes.
    """
    plain = strictjson.normal(data, str)
    return {
        f"application/vnd.rbkernel.{kind}+json": plain,
        "text/html": visible(html),
        "text/plain": visible(text),
    }


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The contents of a run's first screen: the run, its facts, findings and decisions."""

    run: Run
    facts: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    decisions: tuple[Decision, ...]
    finished: bool

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the findings so far."""
        return Verdict.worst(finding.verdict for finding in self.findings)

    @property
    def headline(self) -> str:
        """The verdict on the run and the causes, in one sentence."""
        if not self.findings:
            return f"{self.run.title}: no check has run yet"
        so_far = "" if self.finished else " (so far)"
        if self.verdict is Verdict.OK:
            checks = amounts.all_of(len(self.findings), "check")
            return f"OK{so_far}: {self.run.title}: {checks} passed"
        leaders = leading(self.findings)
        parts = [finding.headline for finding in leaders]
        unseen = sum(finding.verdict is Verdict.UNKNOWN for finding in self.findings)
        if unseen and leaders and leaders[0].wrong:
            parts.append(f"{unseen} of {len(self.findings)} checks are unknown")
        return f"{self.verdict.value.upper()}{so_far}: {'; '.join(dict.fromkeys(parts))}"


def screen_card(screen: Screen) -> str:
    """Return a run's first screen as HTML: the problems, the next step, and the run."""
    run = screen.run
    parts = [
        _band(screen.headline, screen.verdict.value if screen.findings else None),
        *(_finding_line(finding) for finding in _to_look_at(screen.findings)),
        _explained(screen.findings),
        _passed(screen.findings),
        *(_decision_line(decision) for decision in screen.decisions),
        _facts([("Run", f"{run.runbook} {run.id} in {run.incident}"), *screen.facts]),
    ]
    return frame("".join(parts))


def screen_text(screen: Screen) -> str:
    """Return a run's first screen as plain text."""
    lines = [screen.headline]
    lines += findings_text(screen.findings)
    lines += [decision_text(decision) for decision in screen.decisions]
    lines += [f"{key}: {value}" for key, value in screen.facts]
    return "\n".join(lines)


def finding_card(finding: Finding) -> str:
    """Return a finding as HTML, as its cell shows it."""
    return frame(_finding_line(finding, expected=True))


def finding_text(finding: Finding) -> str:
    """Return a finding as one line of plain text.

    >>> finding_text(Finding(title="Lag", verdict=Verdict.OK, expected="below 2 s", actual="0 s"))
    'OK       Lag: 0 s (expected below 2 s)'
    """
    cause = f" [{finding.cause}]" if tells_more(finding) else ""
    which = f" Which: {said}." if (said := rows_of(finding)) else ""
    step = f" Next: {step_of(finding)}" if step_of(finding) else ""
    verdict = f"{finding.verdict.value.upper():8}"
    return f"{verdict} {one_line(f'{judged(finding)}{cause}{which}{step}')}"


def judged(finding: Finding) -> str:
    """Return what was found and what was expected; of a cause, its headline."""
    if finding.is_cause:
        return finding.headline
    return f"{finding.title}: {finding.actual}{_expected(finding)}"


def rows_of(finding: Finding) -> str:
    """Return the text that identifies the wrong rows; empty if the finding says it already.

    >>> import dataclasses
    >>> one = Finding(title="", verdict=Verdict.WARNING, expected="", actual="", which="a, b")
    >>> rows_of(one), rows_of(dataclasses.replace(one, cause="left behind: a, b"))
    ('a, b', '')
    >>> rows_of(dataclasses.replace(one, which="pid 12", cause="pid 123 holds it"))
    'pid 12'
    """
    said = f"{finding.actual}\n{finding.cause}"
    told = re.search(rf"(?<!\w){re.escape(finding.which)}(?!\w)", said)
    return "" if told else finding.which


def _expected(finding: Finding) -> str:
    return f" (expected {finding.expected})" if finding.expected else ""


def findings_text(findings: Iterable[Finding]) -> list[str]:
    """Return findings as lines of text, the worst first; symptoms of a cause share one line."""
    unexplained = [finding for finding in findings if not finding.explained_by]
    lines = [finding_text(finding) for finding in folded(by_urgency(unexplained))]
    symptoms = _symptoms(findings)
    return [*lines, f"EXPLAINED (symptoms of the cause above): {symptoms}"] if symptoms else lines


def _symptoms(findings: Iterable[Finding]) -> str:
    explained = (finding for finding in findings if finding.explained_by)
    return "; ".join(f"{finding.title}: {finding.actual}" for finding in explained)


def overview_card(findings: Iterable[Finding], commands: Iterable[str]) -> str:
    """Return the findings of an overview as an HTML table, problems first, with the runbook to
    open, and below it the commands that run these runbooks.
    """
    # each cell sets text and background colour, because a dark JupyterLab colours the rows of
    # tables
    cell = (
        f"padding: 3px 8px; border: 1px solid {_EDGE}; text-align: left; vertical-align: top;"
        f" color: {_INK}; background-color: {_PAPER}"
    )
    rows = "".join(
        f"<tr><td style='{cell}'>{badge(f.verdict.value, f.verdict.value)}</td>"
        f"<td style='{cell}'>{escape(f.title)}</td><td style='{cell}'>{escape(f.actual)}</td>"
        f"<td style='{cell}'>{escape(f.opens or f.next_step)}</td></tr>"
        for f in by_urgency(findings)
    )
    head = "".join(
        f"<th style='{cell}'>{word}</th>" for word in ("", "check", "found", "open next")
    )
    return frame(
        f"<table style='font-size: 13px; color: {_INK}; background-color: {_PAPER};"
        f" margin: 6px 10px'><tr>{head}</tr>{rows}</table>"
        + _facts([("Open next", command) for command in commands])
    )


def overview_text(findings: Iterable[Finding], commands: Iterable[str]) -> str:
    """Return the findings of an overview as plain text, one finding or command per line."""
    opens = (f"Open next: {command}" for command in commands)
    return "\n".join([*findings_text(list(findings)), *opens])


def decision_card(decision: Decision, *, remark: str = "") -> str:
    """Return a decision as HTML: the question, its options, and the answer if it was given."""
    said = f"<div style='margin: 2px 10px 6px 20px'>{escape(remark)}</div>" if remark else ""
    return frame(_decision_line(decision) + said)


def hint(text: str) -> str:
    """Return a hint as HTML, in small type."""
    return f"<div style='{_FONT}; color: {_FAINT}; font-size: 12px'>{escape(text)}</div>"


def decision_text(decision: Decision) -> str:
    """Return a decision as one line of plain text: the question and its state."""
    if decision.state == DecisionState.CHOSEN:
        return f"DECIDED  {decision.question}: {decision.choice} ({decision.by_whom})"
    state = f"{decision.state.upper():8}"
    options = ", ".join(
        f"{option} (recommended)" if option == decision.recommended else option
        for option in decision.options
    )
    reason = f" ({decision.reason})" if decision.reason else ""
    return f"{state} {decision.question} {options}{reason}"


def plan_card(plan: ActionPlan, state: str, colour: str) -> str:
    """Return a proposed action as HTML: state, targets, exact SQL or command, risk and undo."""
    if not plan.text:
        return frame(_line(badge("nothing to do", "ok"), escape(plan.title), ""))
    head = _line(badge(state, colour), f"<b>{escape(plan.title)}</b>", "")
    body = (
        f"<div style='margin: 6px 10px'>Not executed by rbkernel. {_by_whom(plan)}:</div>"
        f"{_to_copy(plan.text)}{_targets(plan)}{_undo(plan)}"
        + _facts([("Effect", plan.effect), ("Risk", plan.risk), ("Plan", plan.id)])
        + _facts([("Or, if your policy allows it", _command(plan))])
    )
    return frame(head + body)


def _command(plan: ActionPlan) -> str:
    """Return the command that leads to the execution of a plan by rbkernel; empty if none does."""
    return f"rbkernel action show {plan.id}" if plan.action else ""


def _undo(plan: ActionPlan) -> str:
    """Return the undo of a plan as HTML; a long script is collapsed, and can be copied."""
    if "\n" not in plan.undo:
        return _facts([("Undo", plan.undo)])
    return (
        "<details style='margin: 6px 10px'><summary>Undo: SQL that reverts it</summary>"
        f"{_to_copy(plan.undo)}</details>"
    )


def plan_text(plan: ActionPlan, state: str) -> str:
    """Return a proposed action as plain text, including the SQL or command."""
    if not plan.text:
        return f"Nothing to do: {plan.title}"
    place = f"on {plan.connection}" if plan.sql else "in a shell"
    facts = [
        *(("Effect", plan.effect), ("Risk", plan.risk), ("Undo", plan.undo)),
        ("Or, if your policy allows it", _command(plan)),
    ]
    details = "".join(f"\n{name}: {words}" for name, words in facts if words)
    return (
        f"{state.upper()}: {plan.title} {place} (plan {plan.id}, not executed by rbkernel)"
        f"\n{plan.text}{details}"
    )


def error_card(what: str, where: str, next_step: str) -> str:
    """Return an error as HTML: what happened, where, and what to do next."""
    title = "<b>This cell could not do its work</b>"
    head = _line(badge("error", "critical"), title, f": {escape(what)}")
    return frame(head + _facts([("Where", where), ("Next", next_step)]))


def bar_card(verdict: str, title: str, facts: Iterable[tuple[str, str]]) -> str:
    """Return the bar at the end of a runbook as HTML: its verdict, and facts by name."""
    return frame(_line(badge(verdict, verdict), f"<b>{escape(title)}</b>", "") + _facts(facts))


def command_card(title: str, command: str, reason: str) -> str:
    """Return HTML with a read-only command to copy, and the reason why rbkernel did not run it."""
    head = _line(badge("not run", "unknown"), f"<b>{escape(title)}</b>", f": {escape(reason)}")
    return frame(head + _to_copy(command))


def checklist_card(title: str, items: Iterable[tuple[str, bool]], *, hint: str = "") -> str:
    """Return a checklist as HTML."""
    entries = list(items)
    ticked = sum(done for _, done in entries)
    colour = "ok" if ticked == len(entries) else "open"
    head = _line(badge(f"{ticked} of {len(entries)}", colour), f"<b>{escape(title)}</b>", "")
    lines = "".join(
        f"<div style='margin: 2px 10px'>{'☑' if done else '☐'} {escape(text)}</div>"
        for text, done in entries
    )
    faint = f"<div style='margin: 4px 10px; color: {_FAINT}; font-size: 12px'>{escape(hint)}</div>"
    return frame(head + lines + (faint if hint else ""))


def checklist_text(title: str, items: Iterable[tuple[str, bool]]) -> str:
    """Return a checklist as plain text.

    >>> print(checklist_text("Before", [("VPN is up", True), ("Access", False)]))
    Before: 1 of 2
    [x] VPN is up
    [ ] Access
    """
    entries = list(items)
    lines = [f"[{'x' if done else ' '}] {text}" for text, done in entries]
    return "\n".join([f"{title}: {sum(done for _, done in entries)} of {len(entries)}", *lines])


def message_card(label: str, text: str, colour: str = "unknown") -> str:
    """Return a note, or a remark of rbkernel, as HTML."""
    return frame(_line(badge(label, colour), escape(text), ""))


def provenance_line(facts: Iterable[str], sql: str) -> str:
    """Return the line of HTML under a result: server, role and time, with the SQL collapsed.

    The line has no background colour, so the page's light or dark colours apply.
    """
    summary = " · ".join(escape(fact) for fact in facts if fact)
    return (
        f"<details {_NO_MATH} style='{_FONT}; font-size: 12px'>"
        f"<summary>{summary}</summary><pre>{escape(sql)}</pre></details>"
    )


# up to this number, ok findings are listed one by one; more would hide the problems
_MOST_OK = 6


def _to_look_at(findings: tuple[Finding, ...]) -> list[Finding]:
    ok = [finding for finding in findings if finding.verdict is Verdict.OK]
    unexplained = [f for f in by_urgency(findings) if not f.explained_by]
    return folded(f for f in unexplained if f not in ok or len(ok) <= _MOST_OK)


def _explained(findings: Iterable[Finding]) -> str:
    """Return one line of HTML that lists the symptoms that a cause explains."""
    symptoms = _symptoms(findings)
    if not symptoms:
        return ""
    return _line(
        badge("explained", "open"), "<b>symptoms of the cause above</b>", f": {escape(symptoms)}"
    )


def _passed(findings: tuple[Finding, ...]) -> str:
    ok = [finding.title for finding in findings if finding.verdict is Verdict.OK]
    if len(ok) <= _MOST_OK:
        return ""
    titles = f": <span style='color: {_FAINT}'>{escape(' · '.join(ok))}</span>"
    return _line(badge("ok", "ok"), f"<b>{len(ok)} checks</b>", titles)


def frame(inner: str) -> str:
    """Return a cell's output as HTML with a border and fixed colours."""
    return (
        f"<div {_NO_MATH} style='{_FONT}; color: {_INK}; background-color: {_PAPER};"
        f" border: 1px solid {_EDGE}; border-radius: 6px; margin: 4px 0; padding: 0 0 4px 0;"
        f" overflow: hidden; overflow-wrap: anywhere'>{inner}</div>"
    )


def _band(text: str, verdict: str | None) -> str:
    colour = _COLOURS.get(verdict or "", _OPEN)
    return (
        f"<div style='background-color: {colour}; color: #ffffff; padding: 8px 10px;"
        f" font-size: 16px; font-weight: bold'>{escape(text)}</div>"
    )


def badge(word: str, colour: str) -> str:
    """Return a word as HTML, with the background colour of a verdict."""
    shade = _COLOURS.get(colour, _OPEN)
    return (
        f"<span style='background-color: {shade}; color: #ffffff; border-radius: 4px;"
        f" padding: 1px 6px; font-size: 12px; font-weight: bold; white-space: nowrap;"
        f" display: inline-block'>{escape(word)}</span>"
    )


def _line(badge: str, title: str, detail: str) -> str:
    return f"<div style='margin: 6px 10px'>{badge} {title}{detail}</div>"


def _finding_line(finding: Finding, *, expected: bool = False) -> str:
    detail = f": {escape(finding.actual)}"
    if not finding.is_cause and (expected or finding.verdict is not Verdict.OK):
        detail += f"<span style='color: {_FAINT}'>{escape(_expected(finding))}</span>"
    if tells_more(finding):
        detail += f"<div style='margin: 2px 0 0 10px'>{escape(finding.cause)}</div>"
    if which := rows_of(finding):
        detail += f"<div style='margin: 2px 0 0 10px'>{escape(which)}</div>"
    if step := step_of(finding):
        detail += f"<div style='margin: 2px 0 0 10px'><b>Next:</b> {escape(step)}</div>"
    verdict = badge(finding.verdict.value, finding.verdict.value)
    return _line(verdict, f"<b>{escape(finding.title)}</b>", detail)


def step_of(finding: Finding) -> str:
    """Return the next step of a finding as text, with the runbook to open."""
    if finding.explained_by:
        # the finding's own next step treats a symptom, and may do harm
        return f"see the cause: {finding.explained_by}"
    return "; ".join(filter(None, [finding.next_step, finding.opens and f"open {finding.opens}"]))


def tells_more(finding: Finding) -> bool:
    """Return whether a finding's cause says more than its title and its actual value."""
    return finding.cause not in finding.actual and finding.cause != finding.title


def _decision_line(decision: Decision) -> str:
    question = f"<b>{escape(decision.question)}</b>"
    if decision.state == DecisionState.CHOSEN:
        answer = f" {escape(str(decision.choice))}"
        when = f" <span style='color: {_FAINT}'>{escape(decision.by_whom)}</span>"
        return _line(badge("decided", "ok"), question, answer + when)
    options = ", ".join(
        f"<b>{escape(option)}</b> (recommended)"
        if option == decision.recommended
        else escape(option)
        for option in decision.options
    )
    hint = ""
    if decision.reason:
        hint += f"<div style='margin: 2px 0 0 10px'>{escape(decision.reason)}</div>"
    if decision.state == DecisionState.PARKED:
        hint += (
            "<div style='margin: 2px 0 0 10px'>Nobody has answered yet. Answer on the page of the"
            " incident, with <code>rbkernel decide</code>, or in JupyterLab.</div>"
        )
    return _line(badge(decision.state, "open"), question, f" {options}{hint}")


def _by_whom(plan: ActionPlan) -> str:
    if plan.command:
        return "Run in your own shell"
    return f"Run on <b>{escape(plan.connection)}</b> as a role with the required privileges"


def _to_copy(text: str) -> str:
    return (
        f"<pre style='margin: 6px 10px; padding: 8px; background-color: {_SHADE}; color: {_INK};"
        f" border: 1px solid {_EDGE}; overflow: auto; max-height: 30em; white-space: pre-wrap;"
        f" overflow-wrap: normal'>{escape(text)}</pre>"
    )


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f"<div><span style='color: {_FAINT}'>{escape(key)}:</span> {escape(value)}</div>"
        for key, value in pairs
        if value
    )
    return f"<div style='margin: 8px 10px 4px 10px; font-size: 12px'>{rows}</div>"


def _targets(plan: ActionPlan) -> str:
    if not plan.targets:
        return ""
    names = list(plan.targets[0])
    cell = f"padding: 2px 8px; border: 1px solid {_EDGE}; text-align: left"
    head = "".join(f"<th style='{cell}'>{escape(name)}</th>" for name in names)
    rows = "".join(
        "<tr>" + "".join(f"<td style='{cell}'>{_value(row[n])}</td>" for n in names) + "</tr>"
        for row in plan.targets
    )
    return (
        f"<details style='margin: 6px 10px'><summary>What it touches: {len(plan.targets)}"
        f"</summary><table style='font-size: 12px; color: {_INK};"
        f" background-color: {_PAPER}'><tr>{head}</tr>{rows}</table></details>"
    )


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return escape("" if value is None else str(value))
