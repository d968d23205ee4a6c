"""`rb.history`: the state of a server in the last hour, as recorded by `rbkernel watch`."""

from __future__ import annotations

import pandas as pd

from rbkernel.arguments import checked
from rbkernel.checks import frames
from rbkernel.checks.answer import FLOAT8, TEXT, TIMESTAMPTZ, Answer, Column, Provenance, failed
from rbkernel.errors import DatabaseError
from rbkernel.model import now
from rbkernel.sources.postgres.history import Glance
from rbkernel.sources.postgres.ring import Ring
from rbkernel.triage.context import triage
from rbkernel.triage.query import show

_NAME = "history"
_COLUMNS = (
    Column("at", TIMESTAMPTZ),
    Column("verdict", TEXT),
    Column("used_pct", FLOAT8),
    Column("waiting", FLOAT8),
    Column("causes", TEXT),
)


@checked
def history(db: str) -> pd.DataFrame:
    """Show the state of a server in the last hour, as `rbkernel watch` recorded it.

    Parameters
    ----------
    db
        Connection name. `rbkernel watch` must have watched it, on this host and as this user.

    Returns
    -------
    pandas.DataFrame
        One row per snapshot, the oldest first: ``at`` (UTC), ``verdict``, ``used_pct`` (% of the
        slots for ordinary roles), ``waiting`` (sessions that wait for a lock), ``causes`` (a
        sentence each). Figures are NaN if the server did not answer. If nothing was recorded, the
        frame has no rows, and the reason is attached. Draw it with ``rb.figure.timeline(frame,
        "waiting", x="at")``.
    """
    ring = Ring(triage().settings.watch_root, db)
    glances = ring.glances()
    frame = frames.to_frame(_answer(db, ring, glances) if glances else _nothing(db))
    return show(frame)


def _answer(db: str, ring: Ring, glances: list[Glance]) -> Answer:
    origin = Provenance(
        name=_NAME,
        connection=db,
        server="",
        role="",
        sql=f"kept by rbkernel watch in {ring.folder}",
        values={},
        at=now(),
        duration_s=0.0,
        rows=len(glances),
        cut_by="",
    )
    return Answer(columns=_COLUMNS, rows=list(map(_row, glances)), provenance=origin)


def _row(glance: Glance) -> tuple[str, str, float | None, float | None, str]:
    causes = "; ".join(one.headline for one in glance.causes)
    if glance.reason:
        return glance.at, glance.verdict, None, None, causes
    used_pct = 100.0 * glance.used / glance.usable if glance.usable else None
    return glance.at, glance.verdict, used_pct, float(glance.waiting), causes


def _nothing(db: str) -> Answer:
    error = DatabaseError(
        f"no samples of the last hour exist for {db}",
        next_step=f"start `rbkernel watch {db}` on this host, as the user that runs the runbooks",
    )
    names = [column.name for column in _COLUMNS]
    return failed(names, error, name=_NAME, connection=db, sql="")
