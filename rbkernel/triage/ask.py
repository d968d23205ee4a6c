"""`rb.ask`: query a source that another package adds, and show the answer with its provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rbkernel.arguments import checked, unknown_keyword
from rbkernel.checks.frames import failed_frame
from rbkernel.config.quantities import Count
from rbkernel.errors import ParameterError
from rbkernel.extensions import GUIDE, blaming, unusable
from rbkernel.sources.source import SOURCES
from rbkernel.triage.context import triage
from rbkernel.triage.query import show


@checked
def ask(source: str, question: str, *, row_cap: Count | None = None, **values: Any) -> pd.DataFrame:
    """Query a source, such as one that an extension adds, and show the answer.

    Parameters
    ----------
    source
        Name of a section ``[sources.NAME]`` of `rbkernel.toml`.
    question
        The question in the source's query language; see the documentation of its package.
    row_cap
        The maximum number of rows; by default, the source's setting.
    values
        The values that the question takes.

    Returns
    -------
    pandas.DataFrame
        Rows × columns, for `rb.check`. If the source could not answer, or a value is still a
        placeholder, the frame is empty with the reason attached, and `rb.check` returns
        ``unknown``.

    Raises
    ------
    ConfigError
        There is no such source, or no package adds its kind.
    ExtensionError
        The package is broken.
    QueryError
        The question or a value is wrong.
    ParameterError
        A keyword is neither an argument of this function nor a value of the question.
    """
    if holes := triage().unfilled({"source": source, **values}):
        error = ParameterError(
            f"nothing was asked, because these parameters are not filled in: {', '.join(holes)}",
            next_step="write the values into the parameters cell",
        )
        frame = failed_frame([], error, name=question, connection=source, sql=question)
    else:
        frame = _answer(source, question, row_cap, values)
    return show(frame)


def _answer(
    name: str, question: str, row_cap: int | None, values: Mapping[str, Any]
) -> pd.DataFrame:
    asked = triage().source(name)
    extension = SOURCES.extension(triage().settings.source(name).kind)
    if extension is None:  # a source of rbkernel
        return asked.query(question, values, row_cap=row_cap)
    with blaming(extension, f"its parameters({question!r}) failed"):
        known = asked.parameters(question)
        unknown = [one for one in values if known is not None and one not in known]
    if known is not None and unknown:
        raise unknown_keyword("rb.ask", unknown[0], ["row_cap", *known])
    with blaming(extension, f"its query({question!r}) failed"):
        frame = asked.query(question, values, row_cap=row_cap)
    if not isinstance(frame, pd.DataFrame):
        what = f"its query({question!r}) returned a {type(frame).__name__}, not a DataFrame"
        raise unusable(extension, what, f"correct {extension.package}: {GUIDE}")
    return frame
