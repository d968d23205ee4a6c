"""Findings about a server before the run: at the alert, and as `rbkernel watch` recorded it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import zip_longest

from rbkernel.errors import EvidenceError, StoredSituationError
from rbkernel.evidence import incident as records
from rbkernel.evidence.incident import ActionHistory, Line, instant
from rbkernel.model import Finding
from rbkernel.sources.postgres import diagnosis, history, stored
from rbkernel.sources.postgres.causes import Cause
from rbkernel.sources.postgres.diagnosis import Diagnosis
from rbkernel.sources.postgres.history import Earlier
from rbkernel.sources.postgres.ring import Ring
from rbkernel.triage.context import Triage

# alerts come late: most rules wait for some minutes before they fire
_BEFORE_THE_ALERT = timedelta(minutes=10)


def findings(run: Triage, db: str, present: Diagnosis) -> Iterator[Finding]:
    """Yield findings on causes: since when present causes exist, and which earlier causes are over.

    Parameters
    ----------
    run
        The present run; the record of its incident holds earlier snapshots.
    db
        The connection.
    present
        The present diagnosis of the server.
    """
    lines = _lines(run)
    alerted = _when_alerted(lines, db)
    ring = Ring(run.settings.watch_root, db)
    watched = ring.glances()
    glances = [*watched, *(history.Glance.of(one.diagnosis) for one in alerted)]
    glances.sort(key=lambda glance: instant(glance.at))
    for finding, cause in zip_longest(diagnosis.findings(present), present.causes):
        since = history.first_seen(cause, glances) if cause else ""
        seen = f"; this cause was first seen at {history.clock(since)}" if since else ""
        yield replace(finding, cause=f"{finding.cause}{seen}")
    began = min((instant(line.at) for line in lines), default=instant(run.run.started_at))
    recent = [one for one in watched if instant(one.at) >= began - _BEFORE_THE_ALERT]
    before = [*alerted, *ring.earlier(recent)]
    solved = partial(_solved, records.actions_of(reversed(lines)))
    found_earlier = list(history.findings(present, before, solved))
    yield from found_earlier
    place = len(found_earlier)
    while (title := history.title(db, place)) in run.findings:
        yield diagnosis.none_found(title)
        place += 1


def _solved(actions: Iterable[ActionHistory], look: Earlier, cause: Cause) -> str:
    """Return the verified actions that ended all culprits of an earlier cause; else an empty text.

    A session is the same if pid and start are. Another session that causes the same is not.
    """
    situation = look.diagnosis.situation
    left, done = {(one.pid, one.backend_start) for one in cause.culprits}, []
    for action in actions:
        later = action.is_verified and instant(action.lines[-1].at) > instant(situation.at)
        ended = _targets(action) & left
        if later and ended and action.facts.get("connection") == situation.connection:
            left -= ended
            done.append(action.done)
    return "" if left else "; ".join(done)


def _targets(action: ActionHistory) -> set[tuple[int, datetime | None]]:
    """Return the sessions that an action terminated: pid, and start of the session.

    A session whose query was cancelled lives, and may send it again.
    """
    ended = action.facts.get("action") == "terminate_sessions"
    targets = action.facts.get("targets") if ended else ()
    return {
        (one["pid"], instant(str(one.get("backend_start"))))
        for one in (targets if isinstance(targets, list) else [])
        if isinstance(one, Mapping) and isinstance(one.get("pid"), int)
    }


def _when_alerted(lines: Iterable[Line], db: str) -> list[Earlier]:
    """Return the snapshots of a server that the gateway took when alerts arrived, in the record's
    order.
    """
    of_it = (one for one in lines if one.kind == "situation" and one.text("connection") == db)
    return [look for line in of_it for look in _look(line)]


def _look(line: Line) -> Iterator[Earlier]:
    try:
        situation = stored.from_json(line.data.get("situation"))
    except StoredSituationError:
        return  # of a later version, or damaged: the record's line still names the causes
    yield Earlier(diagnosis=diagnosis.judged(situation), occasion=_occasion(line, situation.at))


def _occasion(line: Line, at: str) -> str:
    """Return in words when a snapshot of the server was taken, such as when the alert arrived.

    The snapshot may be later than the alert, if the gateway was down.
    """
    late = instant(at) - instant(line.text("received_at"))
    when = "when" if late < timedelta(minutes=1) else f"{late.total_seconds() / 60:.0f} min after"
    return f"{when} the alert {line.text('alert')} arrived"


def _lines(run: Triage) -> list[Line]:
    """Return the lines of the incident's record and of incidents merged into it, newest first."""
    root, incident = run.settings.evidence_root, run.run.incident
    try:
        parts = records.look(root, incident).parts
        lines = [line for part in parts for line in records.look(root, part).lines]
    except EvidenceError:
        return []  # the record cannot be read: the run continues without it
    return sorted(lines, key=lambda line: instant(line.at), reverse=True)
