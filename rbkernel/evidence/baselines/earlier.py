"""Find what earlier runs measured on a server, in their sealed journals.

`HEADS` is the index: it lists each sealed run, whose id begins with its time. So only journals of
runs at this hour are opened, a limited number of each day, and of each only the lines about
measured figures are parsed. Nothing else is stored, and nothing can be stale.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from rbkernel import strictjson
from rbkernel.evidence import manifest, store, suspect
from rbkernel.evidence.baselines.normal import Sample, is_near
from rbkernel.evidence.incident import parse
from rbkernel.evidence.manifest import Head
from rbkernel.evidence.seals import read_heads

MEASURED = "measured"
_BACK = timedelta(days=28)
# a median needs no more; runs of many other servers at this hour must not cost much
_MOST_A_DAY, _MOST_OPENED_A_DAY = 4, 24


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a figure was measured: the connection's name, and the server that it leads to.

    A copy of a server has its system identifier (``cluster``), too, so the name counts as well; a
    standby is another place than its primary.
    """

    connection: str
    cluster: str
    database: str
    standby: bool


def samples(root: Path, name: str, place: Place, now: datetime) -> list[Sample]:
    """Return what sealed runs of the last four weeks measured at this hour.

    Runs of an incident with an alert do not count, because they tell what is not normal; nor do
    runs in which a person executed the cells.

    Parameters
    ----------
    root
        The evidence folder.
    name
        The name of the figure.
    place
        Where it was measured.
    now
        The present time.

    Raises
    ------
    EvidenceError
        `HEADS` is damaged.
    """
    found: list[Sample] = []
    for heads in _of_each_day(root, now):
        of_day = (_measured(root, head, name, place) for head in heads[:_MOST_OPENED_A_DAY])
        found += islice(filter(None, of_day), _MOST_A_DAY)
    return found


def _of_each_day(root: Path, now: datetime) -> Iterable[list[Head]]:
    """Return the seals of runs that began at this hour, in one list a day, the newest first."""
    of_day: dict[date, list[Head]] = defaultdict(list)
    path = root / manifest.HEADS
    size = path.stat().st_size if path.is_file() else 0
    for head in reversed(_heads(root, size)):
        at = _began(head.run_id)
        if at and now - _BACK <= at < now and is_near(at, now):
            of_day[at.date()].append(head)
    return of_day.values()


@lru_cache(maxsize=1)
def _heads(root: Path, _size: int) -> Sequence[Head]:
    """Return all seals; `HEADS` only grows, so its size tells whether it has changed."""
    return read_heads(root)


def _began(run_id: str) -> datetime | None:
    try:
        return datetime.strptime(run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _measured(root: Path, head: Head, name: str, place: Place) -> Sample | None:
    """Return the last value of a figure in a run's journal; None if no value counts."""
    at = _began(head.run_id)
    values = [
        _number(data.get("value"))
        for data in _figures(root / head.incident, head.run_id)
        if _is_of(data, name, place)
    ]
    return Sample(at=at, value=values[-1]) if at and values and math.isfinite(values[-1]) else None


# a sealed journal does not change, and a run compares several figures
@lru_cache(maxsize=8192)
def _figures(incident: Path, run_id: str) -> tuple[Mapping[str, Any], ...]:
    """Return what a sealed run measured; nothing if an alert or a person started it."""
    folder = next(incident.glob(f"*-{run_id}"), None)
    if folder is None or manifest.is_record(folder.name):
        return ()
    journal = suspect.read_bytes(folder / store.JOURNAL) or b""
    found = tuple(data for kind, data in _events(journal, b'"measured"') if kind == MEASURED)
    if not found or _is_alerted(incident):
        return ()
    begun = (data for kind, data in _events(journal, b'"run"') if kind == "run")
    return found if next(begun, {}).get("headless") is True else ()


def _events(journal: bytes, marker: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield kind and data of the journal's lines that contain a marker, without reading others."""
    end = 0
    while (found := journal.find(marker, end)) >= 0:
        begin = journal.rfind(b"\n", 0, found) + 1
        end = journal.find(b"\n", found)
        end = len(journal) if end < 0 else end
        yield _event(journal[begin:end])


def _event(line: bytes) -> tuple[str, Mapping[str, Any]]:
    """Return the kind and the data of a journal's line; empty if it cannot be read."""
    try:
        entry = strictjson.loads(line)
        return str(entry["kind"]), dict(entry.get("data") or {})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "", {}


def _is_of(data: Mapping[str, Any], name: str, place: Place) -> bool:
    return data.get("name") == name and all(
        data.get(field) == value for field, value in asdict(place).items()
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _is_alerted(incident: Path) -> bool:
    lines, _ = parse(suspect.read_bytes(incident / manifest.INCIDENT) or b"")
    return any(line.kind == "alert" for line in lines)
