"""`rb.breakdown`: show which rows of two tables stay different, by kind and by column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from rbkernel.arguments import checked
from rbkernel.checks.answer import provenance
from rbkernel.checks.columns import must_have
from rbkernel.checks.frames import Frame
from rbkernel.model import Finding, Verdict
from rbkernel.reconciliation.outcome import OF_COLUMNS, State
from rbkernel.render import tables
from rbkernel.runbook.digest import Table

_NAMED_KEYS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class Breakdown:
    """The result of `breakdown`, which has already been shown.

    Parameters
    ----------
    rows
        The rows of `rb.reconcile` that stay different, for `rb.figure.differences` and `rb.repair`.
    sensitive
        A finding for use as a condition of `rb.decide`: critical if one of the rows differs in a
        sensitive column, else ok; unknown if nothing was compared.
    """

    rows: pd.DataFrame
    sensitive: Finding

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell: `rb.breakdown` has shown it."""


@checked
def breakdown(
    differences: Frame, *, recorded: Frame | None = None, sensitive: Sequence[str] = ()
) -> Breakdown:
    """Show which rows stay different: by kind, by column, and compared with recorded differences.

    Parameters
    ----------
    differences
        The result of `rb.reconcile`, or of `rb.assess` for that result.
    recorded
        Rows of ``reconciliation/recorded``, which are compared with the present differences.
    sensitive
        Columns that hold money or personal data.

    Returns
    -------
    Breakdown
        The rows that stay different, and whether they differ in a sensitive column.
    """
    must_have("rb.breakdown", differences, kind="kind", state="state", columns="columns", key="key")
    of_rows = ~differences["kind"].isin(OF_COLUMNS)
    rows = differences[(differences["state"] == State.PERSISTENT.value) & of_rows]
    changed = rows.loc[rows["kind"] == "changed", "columns"].astype(str).str.split(", ")
    origin = provenance(differences)
    touched = _sensitive(changed, sensitive, origin.reason if origin else "")
    lines = [
        *_by_kind(rows),
        *_by_column(changed),
        *([("in sensitive columns", touched.actual, ", ".join(sensitive))] if sensitive else ()),
        *(_against_record(rows, recorded) if recorded is not None else ()),
    ]
    tables.show(
        Table(heading="Rows that stay different", names=("", "rows", "which"), rows=tuple(lines)),
        kind="breakdown",
    )
    return Breakdown(rows=rows, sensitive=touched)


def _by_kind(rows: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    for kind, some in rows.groupby("kind"):
        yield str(kind), str(len(some)), _listed([str(key) for key in some["key"]])


def _by_column(changed: pd.Series) -> Iterator[tuple[str, ...]]:
    for column, count in changed.explode().value_counts().items():
        yield f"changed in {column}", str(count), ""


def _against_record(rows: pd.DataFrame, recorded: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Compare the keys of present and of recorded differences, and yield the rows of a table to
    show.

    The reconciliation job may have missed differences, and recorded ones may be repaired by now.
    """
    named = recorded["entity_id"].dropna() if "entity_id" in recorded else ()
    on_record, live = ({str(key): None for key in keys} for keys in (named, rows["key"]))
    for words, keys in (
        (
            "rows that are recorded as different, and differ now",
            [key for key in live if key in on_record],
        ),
        (
            "rows that differ now, but are not recorded as different",
            [key for key in live if key not in on_record],
        ),
        (
            "rows that are recorded as different, but are the same now",
            [key for key in on_record if key not in live],
        ),
    ):
        yield words, str(len(keys)), ""


def _sensitive(changed: pd.Series, columns: Sequence[str], reason: str) -> Finding:
    count = sum(any(name in columns for name in names) for names in changed)
    if reason:
        verdict, actual = Verdict.UNKNOWN, reason
    else:
        verdict, actual = (Verdict.CRITICAL if count else Verdict.OK), str(count)
    names = ", ".join(columns)
    return Finding(
        title=f"Rows that differ in {names}",
        verdict=verdict,
        expected="none",
        actual=actual,
        cause=f"{count} changed row{' differs' if count == 1 else 's differ'} in {names}"
        if count
        else "",
        value=None if reason else float(count),
    )


def _listed(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _NAMED_KEYS} more" if len(keys) > _NAMED_KEYS else ""
    return ", ".join(keys[:_NAMED_KEYS]) + more
