"""The interface of a source: a system other than PostgreSQL that the cells of a runbook can query.

Those of rbkernel are in `monitoring`; extensions add others. `rb.ask` queries a source, and
journals and shows the answer: a frame with its `Provenance`, which `rb.check` can judge. If the
system fails, no error is raised; the answer is an empty frame with the reason, which every rule
judges as ``unknown``.
"""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, final

from rbkernel import amounts
from rbkernel.checks import answer
from rbkernel.checks.answer import Answer, Column, Provenance
from rbkernel.config.sources import Source as Configured
from rbkernel.errors import ConfigError, QueryError, RbkernelError
from rbkernel.extensions import GUIDE, Group, blaming, refuses, unusable
from rbkernel.model import now
from rbkernel.spelling import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

_TYPES: Mapping[type, int] = {
    str: answer.TEXT,
    int: 20,
    float: answer.FLOAT8,
    bool: answer.BOOLEAN,
    datetime: answer.TIMESTAMPTZ,
}


class Source(Protocol):
    """A system that cells can query; it is opened at the first query of a run."""

    def query(
        self, question: str, values: Mapping[str, Any], *, row_cap: int | None = None
    ) -> pd.DataFrame:
        """Return the answer to a question, or an empty frame with the reason why there is none.

        Raises
        ------
        QueryError
            The question or a value is wrong.
        """
        ...

    def parameters(self, question: str) -> Sequence[str] | None:
        """Return the names of the values that a question takes; None if they are not known."""
        ...

    def close(self) -> None:
        """Close the source's connections and files."""
        ...


@dataclass(frozen=True, kw_only=True)
class Table:
    """The answer of a source; ``columns`` maps names to types, and None is a missing value."""

    columns: Mapping[str, type]
    rows: Sequence[Sequence[Any]]


class TableSource(ABC):
    """Base class of sources whose answers are tables; a subclass implements `ask`.

    The row cap, the column policies of ``[redaction]``, the provenance and the handling of failures
    are the work of this class.
    """

    def __init__(self, configured: Configured) -> None:
        self.configured = configured

    @abstractmethod
    def ask(self, question: str, values: Mapping[str, Any]) -> Table:
        """Query the system; the implementation applies its own time-out.

        Raises
        ------
        QueryError
            The question or a value is wrong: the cell fails.
        Exception
            Anything else means that the system did not answer.
        """

    def parameters(self, question: str) -> Sequence[str] | None:  # noqa: ARG002  # a subclass may use it
        """Return the names of the values that a question takes; None if they are not known."""
        return None

    def close(self) -> None:  # noqa: B027  # most have nothing to release
        """Close the source's connections and files."""

    @final
    def query(
        self, question: str, values: Mapping[str, Any], *, row_cap: int | None = None
    ) -> pd.DataFrame:
        """Ask the source a question, and return the answer as a frame with its provenance."""
        from rbkernel.checks import frames

        at, started = now(), time.monotonic()
        try:
            table = self.ask(question, values)
            columns = tuple(Column(name, _TYPES[kind]) for name, kind in table.columns.items())
            rows = [tuple(row) for row in table.rows]
            if wrong := [row for row in rows if len(row) != len(columns)]:
                raise ValueError(
                    f"a row has {amounts.count(len(wrong[0]), 'value')} for"
                    f" {amounts.count(len(columns), 'column')}"
                )
            cap = row_cap or self.configured.row_cap
            provenance = Provenance(
                name=question,
                connection=self.configured.name,
                server=self.configured.kind,
                role="",
                sql=question,
                values=values,
                at=at,
                duration_s=round(time.monotonic() - started, 4),
                rows=min(len(rows), cap),
                cut_by=f"the row cap of {cap}" if len(rows) > cap else "",
                origin=SOURCES.origin(self.configured.kind),
            )
            found = Answer(columns=columns, rows=rows[:cap], provenance=provenance)
            return frames.to_frame(found.protected(self.configured.redaction))
        except (QueryError, ConfigError):
            raise
        except Exception as error:  # noqa: BLE001  # an extension may raise anything; the answer holds the reason
            return self._failed(question, error)

    def _failed(self, question: str, error: Exception) -> pd.DataFrame:
        from rbkernel.checks import frames

        reason = (
            error
            if isinstance(error, RbkernelError)
            else RbkernelError(
                f"{type(error).__name__}: {error}",
                where=self.configured.kind,
                next_step=f"look at the system behind [sources.{self.configured.name}]",
            )
        )
        return frames.failed_frame(
            [], reason, name=question, connection=self.configured.name, sql=question
        )


def _unusable(_name: str, opener: Any) -> str:
    """Return why a class or a function cannot be used as a source; empty if it can."""
    if inspect.isabstract(opener):
        missing = ", ".join(sorted(opener.__abstractmethods__))
        return f"the class {opener.__name__} does not implement {missing}"
    if isinstance(opener, type):
        if why := _no_source(opener, "self"):
            return why
        if issubclass(opener, TableSource) and (
            why := refuses(opener.ask, "self", "question", "values")
        ):
            return f"its method `ask`: {why}"
    return refuses(opener, "configured")


def _no_source(thing: Any, *own: str) -> str:
    """Return why an object or a class lacks the methods of a `Source`; empty if it has them.

    For a class, ``own`` is ``"self"``: its methods take one argument more.
    """
    what = thing if isinstance(thing, type) else type(thing)
    methods = {"query": ("question", "values"), "parameters": ("question",), "close": ()}
    if missing := [name for name in methods if not callable(getattr(thing, name, None))]:
        return (
            f"{what.__name__} is no source: it has no method {', '.join(missing)},"
            " which a subclass of TableSource has"
        )
    for name, given in methods.items():
        named = {"row_cap": None} if name == "query" else {}
        bound = isinstance(inspect.getattr_static(thing, name), staticmethod | classmethod)
        given = given if bound else (*own, *given)
        if why := refuses(getattr(thing, name), *given, **named):
            return f"its method `{name}`: {why}"
    return ""


def _queries(configured: Configured) -> Source:
    from rbkernel.sources.monitoring.queries import Queries

    return Queries(configured)


def _traces(configured: Configured) -> Source:
    from rbkernel.sources.monitoring.traces import Traces

    return Traces(configured)


def _redis(configured: Configured) -> Source:
    from rbkernel.sources.redis import Redis

    return Redis(configured)


SOURCES: Group[Callable[[Configured], Source]] = Group(
    "rbkernel.sources",
    Callable,
    {
        "prometheus": _queries,
        "loki": _queries,
        "jaeger": _traces,
        "tempo": _traces,
        "redis": _redis,
    },
    unusable=_unusable,
)


def open_source(configured: Configured) -> Source:
    """Open the source that a section of the configuration declares.

    Raises
    ------
    ConfigError
        No package adds its kind.
    ExtensionError
        The package is broken.
    """
    if configured.kind not in SOURCES:
        raise ConfigError(
            f"no installed package adds a source of the kind {configured.kind!r}"
            f"{did_you_mean(configured.kind, SOURCES)}",
            where=f"[sources.{configured.name}]",
            next_step="install the package, or correct `kind`; `rbkernel extensions` lists them",
        )
    opener = SOURCES[configured.kind]
    extension = SOURCES.extension(configured.kind)
    if extension is None:
        return opener(configured)
    section = f"[sources.{configured.name}]"
    check = f"check the options of {section}, or repair {extension.package}"
    with blaming(extension, f"{section} could not be opened", check):
        source = opener(configured)
    if why := _no_source(source):
        raise unusable(extension, why, f"correct {extension.package}: {GUIDE}")
    return source
