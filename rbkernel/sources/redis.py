"""Ask Redis how it is and how long its queues are: the kind ``redis``, for `rb.ask`.

============  ==================================  ==================================================
question      values                              rows
============  ==================================  ==================================================
``"info"``    none                                one: version, role, uptime_s, clients,
                                                  blocked_clients, rejected_clients, used_bytes,
                                                  max_bytes, used_pct, evicted_keys, link_up
``"queues"``  ``keys``, ``missing_is_empty``      one for each key: key, kind, length, pending
============  ==================================  ==================================================

Only the commands in `_READS` are sent; none of them returns what is stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self
from urllib.parse import urlsplit

from rbkernel.config.sources import Source
from rbkernel.errors import ConfigError, QueryError, SourceError
from rbkernel.sources.source import Table, TableSource
from rbkernel.spelling import did_you_mean

_READS = frozenset({"INFO", "TYPE", "LLEN", "SCARD", "ZCARD", "XLEN", "XINFO GROUPS"})
_LENGTH = {"list": "LLEN", "set": "SCARD", "zset": "ZCARD", "stream": "XLEN"}
_QUESTIONS = {"info": (), "queues": ("keys", "missing_is_empty")}
_MOST_KEYS = 50
_PORT = 6379
_INFO: Mapping[str, type] = {
    "version": str,
    "role": str,
    "uptime_s": int,
    "clients": int,
    "blocked_clients": int,
    "rejected_clients": int,
    "used_bytes": int,
    "max_bytes": int,
    "used_pct": float,
    "evicted_keys": int,
    "link_up": bool,
}
_QUEUES: Mapping[str, type] = {"key": str, "kind": str, "length": int, "pending": int}


class Redis(TableSource):
    """A Redis server; each question has a connection of its own."""

    def parameters(self, question: str) -> Sequence[str]:
        """Return the names of the values that a question takes."""
        return _QUESTIONS.get(question, ())

    def ask(self, question: str, values: Mapping[str, Any]) -> Table:
        """Ask the server; see the module for the questions.

        Raises
        ------
        QueryError
            There is no such question, or ``keys`` are missing, too many, or no texts.
        SourceError
            The server does not answer, refuses the login, or does not know what is asked.
        """
        if question not in _QUESTIONS:
            raise QueryError(
                f"Redis is not asked {question!r}{did_you_mean(question, [*_QUESTIONS])}",
                next_step=f"ask {' or '.join(map(repr, _QUESTIONS))}",
            )
        if unknown := [one for one in values if one not in _QUESTIONS[question]]:
            raise QueryError(
                f"the question {question!r} takes no value {unknown[0]!r}",
                next_step=f"it takes: {', '.join(_QUESTIONS[question]) or 'none'}",
            )
        keys = _keys(values.get("keys", ())) if question == "queues" else []
        with _Reader(self.configured) as reader:
            if question == "info":
                return Table(columns=_INFO, rows=[_figures(reader("INFO"))])
            missing = 0 if values.get("missing_is_empty") else None
            return Table(columns=_QUEUES, rows=[_queue(reader, key, missing) for key in keys])


def _keys(given: Any) -> list[str]:
    keys = [given] if isinstance(given, str) else [*given]
    if not 0 < len(keys) <= _MOST_KEYS or not all(isinstance(one, str) and one for one in keys):
        raise QueryError(
            f"the question 'queues' needs keys: 1 to {_MOST_KEYS} names, without patterns",
            next_step='pass keys="outbox" or keys=["outbox", "tasks"]',
        )
    return keys


class _Reader:
    """A connection that sends only commands that read, until the time-out of the source is over."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._until = 0.0

    def __enter__(self) -> Self:
        endpoint = self._source.endpoint
        assert endpoint is not None  # this kind has one
        try:
            import redis
        except ImportError as error:
            raise ConfigError(
                "redis-py is not installed, which a source of the kind redis needs",
                where=f"[sources.{self._source.name}]",
                next_step="pip install 'rbkernel[redis]'",
            ) from error
        parts = urlsplit(endpoint.url)
        encrypted = {"ssl": True, "ssl_ca_certs": endpoint.ca and str(endpoint.ca)}
        self._until = time.monotonic() + endpoint.timeout_s
        self._failed: type[Exception] = redis.RedisError
        connect: Any = redis.Redis  # its own types are incomplete
        self._redis = connect(
            host=parts.hostname or "",
            port=parts.port or _PORT,
            db=int(parts.path.strip("/") or 0),
            username=endpoint.user,
            password=self._source.secret(),
            socket_timeout=endpoint.timeout_s,
            socket_connect_timeout=endpoint.timeout_s,
            decode_responses=True,
            protocol=2,
            retry=None,
            **(encrypted if parts.scheme == "rediss" else {}),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._redis.close()

    def __call__(self, command: str, *arguments: str) -> Any:
        assert command in _READS  # nothing else is ever sent
        if time.monotonic() > self._until:
            raise self._error("no answer to all questions within timeout_s")
        try:
            return self._redis.execute_command(command, *arguments)
        except (self._failed, OSError) as error:
            raise self._error(str(error)) from error

    def _error(self, what: str) -> SourceError:
        endpoint = self._source.endpoint
        assert endpoint is not None  # see above
        return SourceError(
            f"Redis: {what}",
            where=f"{endpoint.url}, [sources.{self._source.name}]",
            next_step="check url, user and password, the rights of the user, and whether it runs",
        )


def _figures(info: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the figures of INFO; what a server does not say is None.

    >>> _figures({"used_memory": 50, "maxmemory": 200, "role": "slave",
    ...           "master_link_status": "down"})[-5:]
    (50, 200, 25.0, None, False)
    """
    used, most = info.get("used_memory"), info.get("maxmemory") or None
    link = info.get("master_link_status")
    return (
        info.get("redis_version"),
        info.get("role"),
        info.get("uptime_in_seconds"),
        info.get("connected_clients"),
        info.get("blocked_clients"),
        info.get("rejected_connections"),
        used,
        most,  # without a limit, there is no share of it
        round(100 * used / most, 2) if used is not None and most else None,
        info.get("evicted_keys"),
        None if link is None else link == "up",
    )


def _queue(reader: _Reader, key: str, missing: int | None) -> tuple[Any, ...]:
    """Return the length of a queue, and how many entries of a stream were read, but not confirmed.

    An empty list has no key, nor has a misspelled name: its length is ``missing``.
    """
    kind = str(reader("TYPE", key))
    if kind == "none":
        return (key, kind, missing, None)
    if kind not in _LENGTH:
        return (key, kind, None, None)
    pending = sum(_pending(reader("XINFO GROUPS", key))) if kind == "stream" else None
    return (key, kind, int(reader(_LENGTH[kind], key)), pending)


def _pending(groups: Any) -> Iterator[int]:
    for group in groups:
        pairs = group if isinstance(group, Mapping) else dict(zip(group[::2], group[1::2]))  # noqa: B905
        yield int(pairs["pending"])
