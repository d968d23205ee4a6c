"""`rb.migration`: judge the statements of a migration before they run.

Nothing of the migration is executed: the server is only asked for the tables' sizes and users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from rbkernel import amounts
from rbkernel.arguments import checked
from rbkernel.checks.assessed import Assessed
from rbkernel.config.quantities import Number, Pause
from rbkernel.model import Finding, Verdict, now
from rbkernel.render import tables
from rbkernel.runbook.digest import Table
from rbkernel.sql import ddl
from rbkernel.sql.ddl import Effect
from rbkernel.sql.ddl_forms import Blocks, Work
from rbkernel.sql.ddl_partitions import on_partitioned
from rbkernel.triage.assess import assess
from rbkernel.triage.check import keep

_HEAVY = "Statements that keep others waiting"
_LOSING = "Statements that lose data"
_UNJUDGED = "Statements that are not known"
_REFUSED = "Statements that PostgreSQL refuses"
_WRITE_IT = "write the SQL of the migration into the parameters, and run all cells again"
_READ_IT = (
    "read it yourself: PostgreSQL's manual says which lock it takes; find out how many rows it"
    " changes, and what it deletes"
)
# what makes the version of the service that runs now fail at once
_BREAKING = (" rename ", " set schema ", " revoke ", " row level ")
_NOTHING_SAFER = "none is known; run it only while nothing uses the table"


@dataclass(frozen=True, kw_only=True)
class Migration:
    """The result of `migration`, which has already been shown.

    ``heavy`` is about statements that keep others waiting for long, ``losing`` about those that
    drop or delete, ``refused`` about those that PostgreSQL does not run, ``unjudged`` about those
    of which the effect is not known, ``targets`` about the tables and their open transactions.
    """

    effects: tuple[Effect, ...]
    heavy: Finding
    losing: Finding
    refused: Finding
    unjudged: Finding
    targets: Assessed

    @property
    def breaking(self) -> bool:
        """Whether a statement renames, moves or revokes something that code in use may need."""
        return any(word in f" {one.statement} " for one in self.effects for word in _BREAKING)

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell: `rb.migration` has shown the findings."""


@checked
def migration(
    statements: str, db: str, *, large_mb: Number = 100.0, wait_s: Pause = 5.0
) -> Migration:
    """Judge the SQL of a migration before it runs: what it locks, and who is in its way.

    Parameters
    ----------
    statements
        The SQL of the migration, as it will run.
    db
        Connection name of the primary.
    large_mb
        MiB from which on it takes noticeably long to read or rewrite a table with its indexes.
    wait_s
        Seconds from which on an open transaction on one of the tables is in the way.

    Raises
    ------
    SqlTextError
        A literal, a quoted identifier or a comment in the statements is not terminated.
    """
    found = ddl.effects(statements)
    blocked = ddl.locked(found)
    targets = assess(
        "migration/targets",
        db,
        tables=", ".join(blocked),
        blocks="; ".join(blocked.values()),
        oldest_s=(wait_s, None),
        patient_s=(wait_s, None),
    )
    sizes = _sizes(targets.frame)
    same = targets.frame.groupby("relation")["partitioned"].all()  # in all schemas that have it
    partitioned = {*same[same].index}
    found = [on_partitioned(one) if one.relation in partitioned else one for one in found]
    rows = tuple(_row(one, sizes) for one in found)
    names_of_columns = ("statement", "keeps waiting", "work", "MB", "safer")
    tables.show(Table(heading="effects of the migration", names=names_of_columns, rows=rows))
    return Migration(
        effects=tuple(found),
        heavy=keep(heavy(found, sizes, large_mb)),
        losing=keep(losing(found)),
        refused=keep(refused(found)),
        unjudged=keep(unjudged(found)),
        targets=targets,
    )


def heavy(effects: Sequence[Effect], sizes: Mapping[str, float], large_mb: float) -> Finding:
    """Return the finding about statements that keep others waiting for as long as they work. Pure.

    ``sizes`` is in MiB; a table that is missing there, or whose size is NaN, is of unknown size. A
    statement of which the lock or the work is not known is never harmless, unless only the work is
    not known and the table is small.

    >>> effects = ddl.effects("ALTER TABLE orders ALTER id TYPE bigint")
    >>> sizes = (5000.0, 3.0, float("nan"))
    >>> [heavy(effects, {"orders": size}, 100).verdict.value for size in sizes]
    ['critical', 'ok', 'unknown']
    """
    slow = [one for one in effects if one.heavy]
    large = [one for one in slow if _size(one, sizes) >= large_mb]
    unclear = [
        one
        for one in effects
        if one.heavy is None and (one.blocks is Blocks.UNKNOWN or not _size(one, sizes) < large_mb)
    ]
    unsized = [one for one in slow if pd.isna(_size(one, sizes))]
    found = partial(
        Finding, title=_HEAVY, expected=f"none on a table of {large_mb:g} MB or more", at=now()
    )
    if not effects:
        return found(verdict=Verdict.UNKNOWN, actual="no statement was given", next_step=_WRITE_IT)
    if large:
        worst = any(one.blocks is Blocks.ALL for one in large)
        return found(
            verdict=Verdict.CRITICAL if worst else Verdict.WARNING,
            actual=amounts.count(len(large), "statement"),
            cause="; ".join(_sentence(one, _size(one, sizes)) for one in large),
            which=", ".join(dict.fromkeys(one.relation for one in large)),
            next_step=f"do not run it as it is. Safer: {large[0].safer or _NOTHING_SAFER}",
            value=float(len(large)),
        )
    if unclear:
        return found(
            verdict=Verdict.UNKNOWN,
            actual=f"not judged: {'; '.join(one.statement for one in unclear)}",
            next_step=_READ_IT,
        )
    if unsized:
        return found(
            verdict=Verdict.UNKNOWN,
            actual=f"the size of the table is not known for: {unsized[0].statement}",
            next_step="name the table with its schema, or run ANALYZE on it, and on its partitions",
        )
    said = amounts.count(len(effects), "statement")
    return found(verdict=Verdict.OK, actual=f"0 of {said}", value=0.0)


def losing(effects: Sequence[Effect]) -> Finding:
    """Return the finding about statements after which rows, columns or old values are gone. Pure.

    >>> losing(ddl.effects("ALTER TABLE t DROP a, DROP CONSTRAINT c")).cause
    'After it, data is gone for good: alter table t drop a'
    """
    gone = [one.statement for one in effects if one.loses]
    unclear = [one.statement for one in effects if one.loses is None]
    if not gone and (unclear or not effects):
        return Finding(
            title=_LOSING,
            verdict=Verdict.UNKNOWN,
            expected="none",
            actual=f"not judged: {'; '.join(unclear)}" if unclear else "no statement was given",
            next_step=_READ_IT if unclear else _WRITE_IT,
            at=now(),
        )
    return Finding(
        title=_LOSING,
        verdict=Verdict.WARNING if gone else Verdict.OK,
        expected="none",
        actual=amounts.count(len(gone), "statement"),
        cause=f"After it, data is gone for good: {'; '.join(gone)}" if gone else "",
        which=", ".join(dict.fromkeys(one.relation for one in effects if one.loses)),
        next_step="see that nothing reads it any more, and save it first" if gone else "",
        value=float(len(gone)),
        at=now(),
    )


def refused(effects: Sequence[Effect]) -> Finding:
    """Return the finding about statements that PostgreSQL does not run. Pure.

    >>> one = on_partitioned(ddl.effects("CREATE INDEX CONCURRENTLY ON t (a)")[0])
    >>> refused([one]).cause
    'PostgreSQL does not do this on a partitioned table: create index concurrently on t (a)'
    """
    wrong = [one for one in effects if one.refused]
    said = "; ".join(one.statement for one in wrong)
    return Finding(
        title=_REFUSED,
        verdict=Verdict.WARNING if wrong else Verdict.OK,
        expected="none",
        actual=amounts.count(len(wrong), "statement"),
        cause=f"PostgreSQL does not do this on a partitioned table: {said}" if wrong else "",
        which=", ".join(dict.fromkeys(one.relation for one in wrong)),
        next_step=f"instead: {wrong[0].safer}" if wrong else "",
        value=float(len(wrong)),
        at=now(),
    )


def unjudged(effects: Sequence[Effect]) -> Finding:
    """Return the finding about statements of which nobody knows what they lock. Pure.

    >>> unjudged(ddl.effects("SELECT 1; FROBNICATE t")).actual
    '1 statement: frobnicate t'
    """
    odd = [one.statement for one in effects if one.blocks is Blocks.UNKNOWN]
    return Finding(
        title=_UNJUDGED,
        verdict=Verdict.UNKNOWN if odd else Verdict.OK,
        expected="none",
        actual=f"{amounts.count(len(odd), 'statement')}{': ' if odd else ''}{'; '.join(odd)}",
        next_step="read in PostgreSQL's manual which lock it takes" if odd else "",
        at=now(),
    )


def _sizes(frame: pd.DataFrame) -> dict[str, float]:
    """Return the MiB of each table: of those of one name, the largest; NaN if one is not known.

    >>> _sizes(pd.DataFrame({"relation": ["a", "a", "b", "b"], "size_mb": [1.0, 2.0, 3.0, None]}))
    {'a': 2.0, 'b': nan}
    """
    return {
        str(name): float(sizes.max(skipna=False))
        for name, sizes in frame.groupby("relation").size_mb
    }


def _sentence(effect: Effect, size_mb: float) -> str:
    """Return what a statement does, in a sentence.

    >>> _sentence(ddl.effects("CREATE INDEX ON a (b)")[0], 20.0)
    'create index on a (b) builds an index on 20 MB and keeps writes waiting meanwhile'
    """
    on = "on" if effect.work is Work.BUILD else "of"
    return (
        f"{effect.statement} {effect.work} {on} {size_mb:,.0f} MB and keeps {effect.blocks}"
        " waiting meanwhile"
    )


def _tables(effect: Effect) -> tuple[str, ...]:
    return tuple(name for name in (effect.relation, *effect.also) if name)


def _size(effect: Effect, sizes: Mapping[str, float]) -> float:
    """Return the MiB of the largest table of a statement; NaN if that of a table is not known.

    >>> [_size(ddl.effects("CREATE INDEX ON a (b)")[0], sizes) for sizes in ({"a": 2.0}, {})]
    [2.0, nan]
    """
    known = [sizes.get(name, float("nan")) for name in _tables(effect)]
    return max(known) if known and not pd.isna(known).any() else float("nan")


def _row(effect: Effect, sizes: Mapping[str, float]) -> tuple[str, ...]:
    size = _size(effect, sizes)
    shown = "" if pd.isna(size) else f"{size:,.0f}"
    return effect.statement, str(effect.blocks), str(effect.work), shown, effect.safer
