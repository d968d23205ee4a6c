"""Compare alerts with runbooks: find alerts without a runbook and runbooks without an alert. Pure.

The comparison also finds ``runbook_url`` links that lead nowhere, response times that are too slow
for the alert's severity, and missing must-have runbooks. The requirements come from a published
guide to writing runbooks: the list of must-have runbooks, and what an alert needs by its severity.
A critical alert needs its own runbook and a response within 5 min, a warning a response within
30 min, and an info alert documentation and a response on the next business day.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbkernel.model import Verdict
from rbkernel.runbook import triggers
from rbkernel.runbook.alerts import Alert, AlertSeverity
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.frontmatter_sections import Trigger
from rbkernel.runbook.links import Known, Link, follow, known
from rbkernel.runbook.quantities import duration_s
from rbkernel.runbook.registry import Entry

# maximum response time in s; a promise of exactly this time is fast enough
RESPONSE_S: Mapping[AlertSeverity, float] = {
    AlertSeverity.CRITICAL: 5 * 60.0,
    AlertSeverity.WARNING: 30 * 60.0,
    AlertSeverity.INFO: 24 * 3600.0,  # the shortest that `next business day` may mean
}
_RESPONSE_WORDS = {
    AlertSeverity.CRITICAL: "5 min",
    AlertSeverity.WARNING: "30 min",
    AlertSeverity.INFO: "the next business day",
}
# category, name, and a pattern for the title or scope of such a runbook
MUST_HAVE = (
    ("incident", "Service down", r"\bdown\b|outage|unreachable|does not answer"),
    ("incident", "Performance degradation", r"latency|response time|performance|degrad"),
    ("incident", "Security incident", r"security|breach|intrusion"),
    ("deployment", "Standard release", r"(?<!emergency )\b(?:release|deployment)\b(?! rollback)"),
    ("deployment", "Hotfix", r"hot-?fix|emergency (?:release|deployment)"),
    ("deployment", "Rollback", r"roll(?:ing)?[ -]?back"),
    ("maintenance", "Database backup", r"backup"),
    ("maintenance", "Log rotation", r"\blogs?\b.*rotat|rotat.*\blogs?\b"),
    ("maintenance", "Certificate renewal", r"certificate|\btls\b"),
    ("recovery", "Data restore", r"restor"),
    ("recovery", "Failover", r"fail(?:ing)?[ -]?over|switch-?over"),
    ("recovery", "Service restart", r"restart"),
)


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One gap in the coverage; its verdict is warning or critical."""

    verdict: Verdict
    what: str
    next_step: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One alert: its runbooks, the target of its link, and its gaps."""

    alert: Alert
    runbooks: tuple[str, ...]
    how: str
    link: Link
    gaps: tuple[Gap, ...]

    @property
    def covered(self) -> bool:
        """Whether the alert leads to a runbook."""
        return bool(self.runbooks)

    @property
    def needed(self) -> bool:
        """Whether the alert needs a runbook; an alert of severity info does not."""
        return self.alert.severity is not AlertSeverity.INFO


@dataclass(frozen=True, kw_only=True)
class MustHave:
    """A runbook that every team needs; ``waived`` is the reason why this team does not."""

    category: str
    name: str
    runbooks: tuple[str, ...]
    waived: str = ""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The result of comparing alerts with runbooks."""

    rows: tuple[Row, ...]
    without_alert: tuple[Runbook, ...]
    must_have: tuple[MustHave, ...]
    unanswered: Mapping[str, Entry]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all gaps; ok if there is no gap."""
        found = [gap.verdict for row in self.rows for gap in row.gaps]
        missing = any(not (one.runbooks or one.waived) for one in self.must_have)
        if self.without_alert or missing or self.unanswered:
            found.append(Verdict.WARNING)
        return Verdict.worst([Verdict.OK, *found])


def compare(
    alerts: Iterable[Alert],
    runbooks: Sequence[Runbook],
    *,
    folders: Sequence[Path] = (),
    registry: Mapping[str, Entry] | None = None,
    not_needed: Mapping[str, str] | None = None,
    bundled: Path | None = None,
) -> Coverage:
    """Compare alerts with runbooks.

    Parameters
    ----------
    alerts
        The alerting rules.
    runbooks
        The catalogue.
    folders
        The folders of the catalogue; a ``runbook_url`` without a host may lead to a file there.
    registry
        Ids of alerts, deployments and risks; runbooks must link to each of them.
    not_needed
        Must-have runbooks that the team does not need → the reason.
    bundled
        The folder of rbkernel's own runbooks. If the team has its own runbooks, a bundled runbook
        whose alert no rule raises is not reported.
    """
    places = known(runbooks, folders)
    rows = tuple(_row(alert, runbooks, places) for alert in alerts)
    return Coverage(
        rows=rows,
        without_alert=tuple(_without_alert(rows, _own(runbooks, bundled))),
        must_have=tuple(_must_have(runbooks, not_needed or {})),
        unanswered=_unanswered(runbooks, registry or {}),
    )


def _row(alert: Alert, runbooks: Sequence[Runbook], places: Known) -> Row:
    link, named = follow(alert, places)
    sure = [one for one in runbooks if _starts(one, alert, certainly=True)]
    perhaps = [one for one in runbooks if _starts(one, alert, certainly=False)]
    linked = [one for one in runbooks if one.id == named]
    found, how = next(
        (
            (some, how)
            for some, how in ((sure, "trigger"), (perhaps, "labels"), (linked, "url"))
            if some
        ),
        ([], ""),
    )
    return Row(
        alert=alert,
        runbooks=tuple(one.id for one in found),
        how=how,
        link=link,
        gaps=tuple(_gaps(alert, found, link)),
    )


def _starts(runbook: Runbook, alert: Alert, *, certainly: bool) -> bool:
    fits = triggers.matches if certainly else triggers.may_match
    return any(
        fits(trigger, alert.known_labels)
        for trigger in runbook.front_matter.triggers
        if not triggers.is_catch_all(trigger)
    )


def _gaps(alert: Alert, found: Sequence[Runbook], link: Link) -> Iterable[Gap]:
    worst = Verdict.CRITICAL if alert.severity is AlertSeverity.CRITICAL else Verdict.WARNING
    if link is Link.DEAD:
        step = f"correct the runbook_url of {alert.name}, or remove it: a trigger is enough"
        yield Gap(
            verdict=worst,
            what=f"runbook_url does not lead to a runbook: {alert.url}",
            next_step=step,
        )
    if not found and alert.severity is not AlertSeverity.INFO:
        step = f"add `alert: {alert.name}` to the triggers of a runbook, or write one: rbkernel new"
        elsewhere = "; runbook_url leads to another place" if link is Link.ELSEWHERE else ""
        yield Gap(verdict=worst, what=f"no runbook in the catalogue{elsewhere}", next_step=step)
    if found:
        yield from _too_slow(alert, found)
    own = any(one.front_matter.category in {"incident", "recovery"} for one in found)
    if found and not own and alert.severity is AlertSeverity.CRITICAL:
        what = "a critical alert needs its own incident runbook"
        step = f"write an incident runbook for {alert.name}: rbkernel new"
        yield Gap(verdict=Verdict.WARNING, what=what, next_step=step)


def _too_slow(alert: Alert, found: Sequence[Runbook]) -> Iterable[Gap]:
    promised = [
        seconds
        for one in found
        if (seconds := duration_s(one.front_matter.response_time)) is not None
    ]
    names, limit = ", ".join(one.id for one in found), _RESPONSE_WORDS[alert.severity]
    step = f"set `response_time: {limit}` in {names}, or give the alert another severity"
    if not promised:
        what = f"{names} has no response time; {alert.severity} requires {limit}"
        yield Gap(verdict=Verdict.WARNING, what=what, next_step=step)
    elif min(promised) > RESPONSE_S[alert.severity]:
        said = ", ".join(
            f"{one.id} has {one.front_matter.response_time or 'no response time'}" for one in found
        )
        what = f"{said}; {alert.severity} requires {limit}"
        yield Gap(verdict=Verdict.WARNING, what=what, next_step=step)


def _own(runbooks: Sequence[Runbook], bundled: Path | None) -> Sequence[Runbook]:
    """Return the team's own runbooks; all runbooks if the team has none."""
    return [one for one in runbooks if bundled not in one.path.absolute().parents] or runbooks


def _without_alert(rows: Sequence[Row], runbooks: Sequence[Runbook]) -> Iterable[Runbook]:
    """Yield runbooks whose triggers match no alerting rule."""
    started = {name for row in rows for name in row.runbooks}
    also = {name for row in rows for name in row.alert.also}
    for runbook in runbooks:
        said = runbook.front_matter.triggers
        waits = any(one.alert or one.match for one in said)
        if runbook.id in started or any(map(_takes_all, said)):
            continue
        if any(triggers.may_match(one, {triggers.NAME: name}) for one in said for name in also):
            continue
        if waits or (not said and runbook.front_matter.category == "incident"):
            yield runbook


def _takes_all(trigger: Trigger) -> bool:
    return bool(trigger.alert or trigger.match) and triggers.is_catch_all(trigger)


def _must_have(runbooks: Sequence[Runbook], waived: Mapping[str, str]) -> Iterable[MustHave]:
    for category, name, pattern in MUST_HAVE:
        found = tuple(
            one.id
            for one in runbooks
            if one.front_matter.category == category
            and re.search(pattern, _about(one), re.IGNORECASE | re.MULTILINE)
        )
        yield MustHave(
            category=category, name=name, runbooks=found, waived=waived.get(name, "").strip()
        )


def _about(runbook: Runbook) -> str:
    return "\n".join([runbook.front_matter.title, *runbook.front_matter.scope.handles])


def _unanswered(runbooks: Sequence[Runbook], registry: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return the registered alerts, deployments and risks to which no runbook has a link."""
    linked = {name for one in runbooks for name in one.front_matter.linked_ids}
    return {
        name: entry
        for name, entry in registry.items()
        if name not in linked
        and not name.startswith("RUN-")
        # a low risk needs no plan
        and not (name.startswith("RISK-") and entry.level.lower() not in {"high", "medium"})
    }
