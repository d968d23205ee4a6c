"""Read the runs and incidents of a period from the evidence folder.

Nothing that is damaged ends the reading: it is left out or counted in part, and named.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import incident as incidents
from rbkernel.evidence import reading, runs
from rbkernel.evidence.incident import IncidentRecord, instant
from rbkernel.evidence.runs import RunEntry
from rbkernel.incidents.statistics import of_incident, of_run
from rbkernel.incidents.statistics.of_incident import IncidentFacts
from rbkernel.incidents.statistics.of_run import RunFacts
from rbkernel.model import Verdict


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The runs and incidents of a period.

    ``runs`` began in the period, and so did ``incidents``. ``silenced`` are the ids of those that a
    maintenance window silenced; they are not among ``incidents``. ``needed`` are the ids of all
    incidents that have an alert or that a person opened. ``of_run`` maps the id of each run to
    that of its incident, or of the incident that continues it; without one, to itself. ``skipped``
    says what is damaged. ``drills`` is the number of runs on the sandbox, which are left out.
    """

    since: datetime
    until: datetime
    runs: tuple[RunFacts, ...]
    incidents: tuple[IncidentFacts, ...]
    silenced: frozenset[str]
    needed: frozenset[str]
    of_run: dict[str, str]
    skipped: tuple[str, ...]
    drills: int


def gather(root: Path, since: datetime, until: datetime, sandbox: Collection[str]) -> Gathered:
    """Read what the statistics use of a period.

    Parameters
    ----------
    root
        The evidence folder; a missing folder has no runs.
    since, until
        The period, with time zones.
    sandbox
        The connections of the sandbox. A run that names or queries one of them is a drill, and an
        incident about nothing else, too.
    """
    skipped: list[str] = []
    found, drills = _runs(root, since, until, sandbox, skipped)
    records = {one.id: one for one in incidents.list_incidents(root)}
    for record in records.values():
        skipped += (f"{record.id}: {damage}" for damage in record.damaged)
    merged: dict[str, list[IncidentRecord]] = {}
    for record in records.values():
        into = _last(record, records)
        merged.setdefault(into.id, []).extend(() if record is into else [record])
    facts = [of_incident.facts_of(records[id_], others) for id_, others in merged.items()]
    home = {part: one.id for one in facts for part in one.parts}
    drilled = {home.get(run.incident, run.incident) for run in drills}
    real = {home.get(run.incident, run.incident) for run in found}
    counted = [
        one
        for one in facts
        if since <= instant(one.began_at) <= until
        and (one.id in real or not (one.id in drilled or _is_drill(one, sandbox)))
    ]
    return Gathered(
        since=since,
        until=until,
        runs=tuple(found),
        incidents=tuple(one for one in counted if not one.is_silenced),
        silenced=frozenset(
            one.id for one in facts if one.is_silenced and (one in counted or one.id in real)
        ),
        needed=frozenset(one.id for one in facts if one.alerted_at or one.opened_by_hand),
        of_run={run.run_id: home.get(run.incident, run.incident) or run.run_id for run in found},
        skipped=tuple(skipped),
        drills=len(drills),
    )


def _runs(
    root: Path,
    since: datetime,
    until: datetime,
    sandbox: Collection[str],
    skipped: list[str],
) -> tuple[list[RunFacts], list[RunFacts]]:
    """Return the runs of a period on real servers, and those on the sandbox."""
    # the ids of runs begin with their start, so that older journals are not read
    first, last = (f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}" for at in (since, until))
    real: list[RunFacts] = []
    drills: list[RunFacts] = []
    for entry in _listed(root, skipped):
        if not first <= entry.run_id[:16] <= last:
            continue
        try:
            record = reading.read(entry.folder, outputs=False)
        except (EvidenceError, OSError) as error:
            skipped.append(f"run {entry.run_id} is not counted: {error}")
            continue
        if record.lost:
            skipped.append(f"run {entry.run_id}: {'; '.join(map(str, record.lost))}")
        facts = of_run.facts_of(record, entry.incident)
        (drills if facts.connections & {*sandbox} else real).append(facts)
    return real, drills


def _listed(root: Path, skipped: list[str]) -> Sequence[RunEntry]:
    try:
        return runs.list_runs(root, _unread)
    except EvidenceError as error:
        skipped.append(f"no run is counted: {error}")
        return ()


def _unread(folder: Path) -> RunEntry:
    """Return the entry of an open run without reading its journal, which is read later."""
    return RunEntry(
        run_id=folder.name,
        incident="",
        runbook="",
        title="",
        state=runs.OPEN,
        verdict=Verdict.UNKNOWN,
        started_at="",
        folder=folder,
    )


def _is_drill(one: IncidentFacts, sandbox: Collection[str]) -> bool:
    return bool(one.connections) and one.connections <= {*sandbox}


def _last(record: IncidentRecord, records: Mapping[str, IncidentRecord]) -> IncidentRecord:
    """Return the record of the incident that continues an incident, through all merges.

    An incident whose merges lead in a circle, which only damage causes, stands for itself.
    """
    seen, last = {record.id}, record
    while last.merged_into in records:
        last = records[last.merged_into]
        if last.id in seen:
            return record
        seen.add(last.id)
    return last
