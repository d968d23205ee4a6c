"""Find what earlier runs measured on a server, in their sealed journals.

`HEADS` is the index: it lists each sealed run, whose id begins with its time. So of each day, only
the journals of the runs nearest to this time of day are opened, and of each only the lines about
measured figures are parsed. Nothing else is stored, and nothing can be stale.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from rbkernel import strictjson
from rbkernel.evidence import manifest, store, suspect
from rbkernel.evidence.baselines.normal import AROUND, DAY, Sample
from rbkernel.evidence.incident import RBKERNEL, SCHEDULE, parse
from rbkernel.evidence.manifest import Head
from rbkernel.evidence.seals import read_heads
from rbkernel.model import Verdict

MEASURED = "measured"
_DAYS = 28
# runs of many other servers at this hour must not cost much
MOST_OPENED_A_DAY = 24


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What was measured, how and where: only samples that equal it in all of that count.

    ``how`` is a hash of the SQL and its values: a changed query measures another figure. A copy of
    a server has its system identifier (``cluster``), too, so the name of the connection counts as
    well; a standby is another place than its primary.
    """

    name: str
    unit: str
    how: str
    connection: str
    cluster: str
    database: str
    standby: bool


@dataclass(frozen=True, kw_only=True)
class Found:
    """The samples that were found, and on how many days not all runs at this hour were read."""

    samples: tuple[Sample, ...]
    cut_days: int


def samples(root: Path, figure: Figure, now: datetime) -> Found:
    """Return what sealed runs of the last four weeks measured at this hour, one sample a day.

    Only runs that a schedule started count, because people and alerts start runs when something is
    wrong; and none that found something critical.

    Parameters
    ----------
    root
        The evidence folder.
    figure
        What was measured, and where.
    now
        The present time.

    Raises
    ------
    EvidenceError
        `HEADS` is damaged.
    OSError
        The evidence folder cannot be read.
    """
    found: list[Sample] = []
    cut = 0
    for heads in _of_each_day(root, now):
        near = heads[:MOST_OPENED_A_DAY]
        one = next(filter(None, (_measured(root, head, figure) for head in near)), None)
        found += [one] if one else []
        cut += one is None and len(near) < len(heads)
    return Found(samples=tuple(found), cut_days=cut)


def _of_each_day(root: Path, now: datetime) -> Iterator[list[Head]]:
    """Yield the seals of runs at this hour of each earlier day, the nearest to this time first."""
    of_day: dict[int, list[tuple[timedelta, Head]]] = defaultdict(list)
    path = root / manifest.HEADS
    size = path.stat().st_size if path.is_file() else 0
    oldest = f"{now.astimezone(UTC) - (_DAYS + 1) * DAY:%Y%m%d}"
    for head in _heads(root, size):
        # ids are in order of time; reading the times of all would cost more than the rest
        if head.run_id < oldest or (at := _began(head.run_id)) is None:
            continue
        days = round((now - at) / DAY)
        apart = abs(now - days * DAY - at)
        # today is left out: the trouble of now is not what is normal
        if 1 <= days <= _DAYS and apart <= AROUND:
            of_day[days].append((apart, head))
    for of_one in of_day.values():
        yield [head for _, head in sorted(of_one, key=lambda one: one[0])]


@lru_cache(maxsize=1)
def _heads(root: Path, _size: int) -> Sequence[Head]:
    """Return all seals; `HEADS` only grows, so its size tells whether it has changed."""
    return read_heads(root)


def _began(run_id: str) -> datetime | None:
    try:
        return datetime.strptime(run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _measured(root: Path, head: Head, figure: Figure) -> Sample | None:
    """Return the last value of a figure in a run's journal; None if no value counts."""
    at = _began(head.run_id)
    wanted = asdict(figure)
    values = [
        _number(data.get("value"))
        for data in _figures(root / head.incident, head.run_id)
        if all(data.get(name) == value for name, value in wanted.items())
    ]
    return Sample(at=at, value=values[-1]) if at and values and math.isfinite(values[-1]) else None


# a sealed journal does not change, and a run compares several figures
@lru_cache(maxsize=8192)
def _figures(incident: Path, run_id: str) -> tuple[Mapping[str, Any], ...]:
    """Return what a sealed run measured; nothing if the run does not count."""
    folder = next(incident.glob(f"*-{run_id}"), None)
    if folder is None or manifest.is_record(folder.name):
        return ()
    journal = suspect.read_bytes(folder / store.JOURNAL) or b""
    found = tuple(_events(journal, MEASURED))
    return found if found and _counts(journal) and _is_scheduled(incident) else ()


def _counts(journal: bytes) -> bool:
    """Tell whether a run executed its cells itself, and found nothing critical."""
    if next(_events(journal, "run"), {}).get("headless") is not True:
        return False
    found = _events(journal, "finding")
    return not any(data.get("verdict") == Verdict.CRITICAL for data in found)


def _is_scheduled(incident: Path) -> bool:
    """Tell whether a schedule opened an incident, and no alert joined it."""
    lines, _ = parse(suspect.read_bytes(incident / manifest.INCIDENT) or b"")
    opened = any(
        line.kind == "opened" and line.by == RBKERNEL and line.text("source") == SCHEDULE
        for line in lines
    )
    return opened and not any(line.kind == "alert" for line in lines)


def _events(journal: bytes, kind: str) -> Iterator[Mapping[str, Any]]:
    """Yield the data of the journal's lines of a kind, without parsing others."""
    marker, end = f'"{kind}"'.encode(), 0
    while (found := journal.find(marker, end)) >= 0:
        begin = journal.rfind(b"\n", 0, found) + 1
        end = journal.find(b"\n", found)
        end = len(journal) if end < 0 else end
        name, data = _event(journal[begin:end])
        if name == kind:
            yield data


def _event(line: bytes) -> tuple[str, Mapping[str, Any]]:
    """Return the kind and the data of a journal's line; empty if it cannot be read."""
    try:
        entry = strictjson.loads(line)
        return str(entry["kind"]), dict(entry.get("data") or {})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "", {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
