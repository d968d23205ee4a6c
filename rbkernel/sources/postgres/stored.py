"""Convert a situation to strict JSON and back, so that it can be judged again later. Pure.

Fields with their default value are left out, so that most sessions take one short line. The format
has a version. A later version is refused, because rules that do not know a new field might wrongly
return ok.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields, replace
from datetime import datetime
from typing import Any, TypeVar

from rbkernel.errors import StoredSituationError
from rbkernel.sources.postgres.situation import Backend, Measured, Prepared, Situation

VERSION = 2
# the version of the format; version 1 had no replication
_READ = {1, VERSION}
# number of waiting sessions whose statements are kept in a condensed situation
_SHOWN_WAITERS = 5
_Value = TypeVar("_Value", Backend, Prepared, Measured, Situation)


def to_json(situation: Situation) -> dict[str, Any]:
    """Return a snapshot as a value that `strictjson` writes.

    >>> seen = Situation(connection="db", at="2026-11-20T03:02:11+00:00",
    ...                  backends=(Backend(pid=7, state="idle", state_s=2.5),))
    >>> to_json(seen)["backends"]
    [{'pid': 7, 'state': 'idle', 'state_s': 2.5}]
    >>> from rbkernel import strictjson
    >>> from_json(strictjson.loads(strictjson.dumps(to_json(seen)))) == seen
    True
    """
    return {"version": VERSION, **_json(situation)}


def from_json(stored: object) -> Situation:
    """Return the snapshot that `to_json` converted to JSON.

    Raises
    ------
    StoredSituationError
        The value is not a situation, or a later version wrote it.
    """
    if not isinstance(stored, Mapping) or "version" not in stored:
        raise _unusable("the value is not a stored sample")
    if stored["version"] not in _READ:
        raise _unusable(
            f"the sample has version {stored['version']!r}, and this rbkernel reads versions up to"
            f" {VERSION}"
        )
    try:
        return _read(
            Situation,
            {
                **stored,
                "backends": tuple(_read(Backend, one) for one in stored.get("backends", ())),
                "prepared": tuple(_read(Prepared, one) for one in stored.get("prepared", ())),
                "replication": tuple(_read(Measured, one) for one in stored.get("replication", ())),
            },
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise _unusable(f"the sample is damaged: {error}") from error


def condensed(situation: Situation, named: Collection[int]) -> Situation:
    """Return a snapshot with only the statements that matter; its verdict stays the same.

    Parameters
    ----------
    situation
        The situation.
    named
        The pids that causes name. Their statements are kept, and also the statements of the
        sessions that have waited longest.
    """
    waiting = [one for one in situation.backends if one.blocked_by]
    longest = sorted(waiting, key=lambda one: -(one.wait_s or 0.0))[:_SHOWN_WAITERS]
    kept = {*named, *(one.pid for one in longest)}
    backends = (
        one if one.pid in kept else replace(one, query="", query_start=None)
        for one in situation.backends
    )
    return replace(situation, backends=tuple(backends))


def _json(value: Backend | Prepared | Measured | Situation) -> dict[str, Any]:
    return {
        field.name: _plain(getattr(value, field.name))
        for field in fields(value)
        if field.default is MISSING or getattr(value, field.name) != field.default
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        parts = Backend | Prepared | Measured
        return [_json(one) if isinstance(one, parts) else one for one in value]
    return value


def _read(kind: type[_Value], stored: Mapping[str, Any]) -> _Value:
    """Return a value of a class built from its stored fields; unknown fields are ignored."""
    known = {field.name: field for field in fields(kind)}
    return kind(**{name: _field(known[name], one) for name, one in stored.items() if name in known})


def _field(field: Field[Any], value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    # the annotations are text, because of `from __future__ import annotations`
    if isinstance(value, str) and str(field.type).startswith("datetime"):
        return datetime.fromisoformat(value)
    # strict JSON writes infinity and large numbers as text
    if isinstance(value, str) and str(field.type).startswith(("float", "int")):
        return float(value) if "float" in str(field.type) else int(value)
    return value


def _unusable(why: str) -> StoredSituationError:
    return StoredSituationError(
        f"a stored sample cannot be read: {why}",
        next_step="run `rbkernel why` to see the current state of the server",
    )
