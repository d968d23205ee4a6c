"""Load the server's values into Python: a value that Python cannot hold becomes text.

psycopg raises an error for the whole answer if one value is ``infinity``, before year 1, ``24:00``,
or not valid in the encoding; and converts a month to 30 days. With these loaders such a value
becomes an `AsText` with the reason. Arrays, ranges and records load their elements with the same
loaders.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import psycopg
from psycopg.abc import AdaptContext, Buffer, Loader
from psycopg.adapt import Loader as BaseLoader
from psycopg.pq import Format
from psycopg.types.datetime import IntervalLoader

from rbkernel.checks.values import (
    NO_INTERVAL,
    NO_JSON,
    NO_LENGTH,
    NO_TIME,
    NO_VALUE,
    UNDECODABLE,
    AsText,
    decoded,
)

_TEXT = ("text", "varchar", "bpchar", "name", '"char"')
_TIMES = ("date", "time", "timetz", "timestamp", "timestamptz")
_JSON = ("json", "jsonb")
_OTHERS = ("numeric", "inet", "cidr", "uuid")
# also for types that psycopg does not know: enums, composites, xml, money, …
_UNKNOWN = 0
# maximum levels of JSON: rbkernel and pandas read values recursively, with a call per level, while
# Python's JSON parser reads 10,000 levels from 3.12 on
_DEEPEST = 200


def register(raw: psycopg.Connection[Any]) -> None:
    """Register this module's loaders with a connection; for the text format only."""
    for name in (*_TEXT, _UNKNOWN):
        raw.adapters.register_loader(name, _TextLoader)
    for names, why in ((_TIMES, NO_TIME), (_JSON, NO_JSON), (_OTHERS, NO_VALUE)):
        for name in names:
            _wrap(raw, name, why)
    _wrap(raw, "interval", NO_INTERVAL, base=_IntervalLoader)


def _wrap(
    raw: psycopg.Connection[Any], name: str, why: str, *, base: type[Loader] | None = None
) -> None:
    oid = psycopg.adapters.types[name].oid
    inner = base or psycopg.adapters.get_loader(oid, Format.TEXT)
    kind = _JsonLoader if name in _JSON else _TolerantLoader
    raw.adapters.register_loader(oid, type(kind.__name__, (kind,), {"inner": inner, "why": why}))


def _encoding(context: AdaptContext | None) -> str:
    connection = context.connection if context else None
    found = connection.info.encoding if connection else "utf-8"
    # the encoding of the server is unknown, but most text is UTF-8
    return "utf-8" if found == "ascii" else found


class _TextLoader(BaseLoader):
    """Loads text; bytes that cannot be decoded are escaped."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._encoding = _encoding(context)

    def load(self, data: Buffer) -> str:
        return decoded(bytes(data), self._encoding)


class _TolerantLoader(BaseLoader):
    """Loads a value with another loader, `inner`; if `inner` fails, the value stays text."""

    inner: ClassVar[type[Loader]]
    why: ClassVar[str]

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._encoding = _encoding(context)
        self._inner = self.inner(oid, context)

    def load(self, data: Buffer) -> Any:
        try:
            return self._inner.load(data)
        # numbers with more digits than Python reads, or nesting that is deeper than Python's stack
        except (psycopg.Error, ValueError, OverflowError, RecursionError, NotImplementedError):
            return self._as_text(bytes(data))

    def _as_text(self, data: bytes) -> AsText:
        text = decoded(data, self._encoding)
        return text if isinstance(text, AsText) else AsText(text, self.why)


class _JsonLoader(_TolerantLoader):
    """Loads JSON; decodes the text first, because the connection's encoding may not be UTF-8."""

    def load(self, data: Buffer) -> Any:
        text = decoded(bytes(data), self._encoding)
        if isinstance(text, AsText):
            return AsText(text, UNDECODABLE)
        value = super().load(text.encode())
        may_be = text.count("[") + text.count("{") > _DEEPEST
        return AsText(text, self.why) if may_be and _too_deep(value) else value


def _too_deep(value: Any) -> bool:
    """Return whether a JSON value has more levels than `_DEEPEST`.

    >>> _too_deep([[], {"a": [1]}])
    False
    """
    level = [value]
    for _ in range(_DEEPEST):
        level = [part for one in level for part in _parts(one)]
        if not level:
            return False
    return True


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


class _IntervalLoader(IntervalLoader):
    """Loads intervals; an interval with months stays text, because psycopg reads a month as 30
    days.
    """

    def load(self, data: Buffer) -> Any:
        text = bytes(data)
        if b"mon" in text or b"year" in text:
            return AsText(text.decode(), NO_LENGTH)
        if text.endswith(b"infinity"):
            raise psycopg.DataError("interval is not finite")
        return super().load(data)
