"""The catalogue of queries with names: what a runbook measures, without the metrics of one company.

A query that begins with ``@`` is one by name: ``@http/error_ratio``. The texts are in
`catalogue.toml`; ``[queries]`` of `rbkernel.toml` replaces them for a team's own metrics. Pure,
except that the file is read once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from rbkernel.errors import QueryError
from rbkernel.queries import values
from rbkernel.spelling import did_you_mean, nearest

MARK = "@"


class NamedQuery(BaseModel):
    """A query of the catalogue.

    ``text`` is PromQL. ``unit`` is the unit of its values: ``ratio`` is 0 to 1, and a count has
    none. ``labels`` are those of the answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    text: str
    unit: str
    measures: str
    labels: tuple[str, ...] = ()

    @property
    def takes(self) -> list[str]:
        """The names of the values that the query takes."""
        return values.parameters(self.text)


@cache
def queries() -> Mapping[str, NamedQuery]:
    """Return the named queries, by name, in the order of the file."""
    text = (files("rbkernel.queries") / "catalogue.toml").read_text(encoding="utf-8")
    return {name: NamedQuery(name=name, **one) for name, one in tomllib.loads(text).items()}


def get(query: str) -> NamedQuery | None:
    """Return the query that a text names with ``@``; None if the text is a query itself.

    Raises
    ------
    QueryError
        The catalogue has no such name.
    """
    name = query.strip()
    if not name.startswith(MARK):
        return None
    name = name.removeprefix(MARK)
    if name not in queries():
        raise QueryError(
            f"no query is called @{name}{did_you_mean(name, queries())}",
            next_step=f"write @{nearest(name, queries()) or '…'}, a name of the reference of"
            " named queries, or the query itself",
        )
    return queries()[name]


def parameters(query: str) -> list[str]:
    """Return the names of the values that a query takes, also of one by name.

    >>> parameters("@http/error_ratio"), parameters("up{job={job}}")
    (['service'], ['job'])

    Raises
    ------
    QueryError
        The catalogue has no such name.
    """
    one = get(query)
    return one.takes if one else values.parameters(query)


def unit(query: str) -> str:
    """Return the unit of a query by name; empty for a count, and for other queries.

    >>> unit("@http/latency_p95"), unit("@http/error_ratio"), unit("@hitl/waiting"), unit("up")
    ('s', 'ratio', '', '')

    Raises
    ------
    QueryError
        The catalogue has no such name.
    """
    one = get(query)
    return one.unit if one else ""


def problem(name: str, own: str) -> str:
    """Return why a text cannot replace the one of this name; empty if it can.

    >>> problem("db/pool_timeouts", "sum(waits{app={service}})")
    ''
    >>> problem("db/pool_timeout", "x")
    'no query is called that; did you mean db/pool_timeouts?'
    >>> problem("db/pool_timeouts", "sum(waits{pool={pool}})")
    'the query takes {service}, not {pool}'
    """
    known = queries().get(name)
    if known is None:
        return f"no query is called that{did_you_mean(name, queries())}"
    if not own.strip() or own.strip().startswith(MARK):
        return "the text of the query should be PromQL"
    takes = ", ".join(f"{{{one}}}" for one in known.takes) or "no value"
    if other := [one for one in values.parameters(own) if one not in known.takes]:
        return f"the query takes {takes}, not {{{other[0]}}}"
    return ""
