"""The columns that a call names: of an answered query, each must be there."""

from __future__ import annotations

import pandas as pd

from rbkernel.checks.answer import provenance
from rbkernel.errors import ParameterError
from rbkernel.spelling import nearest


def must_have(call: str, frame: pd.DataFrame, **columns: str) -> None:
    """Refuse a column that the frame has not, by the name of the argument that names it.

    Nothing is asked of a frame whose query failed, or that has no column at all: the call says why
    it is empty.

    Raises
    ------
    ParameterError
        A column is missing; the message has the name that was meant, or those there are.
    """
    source = provenance(frame)
    if (source and source.reason) or frame.columns.empty:
        return
    for argument, column in columns.items():
        if column and column not in frame.columns:
            known = [str(name) for name in frame.columns]
            meant = nearest(column, known)
            raise ParameterError(
                f"{call}: {argument} names {column!r}, which is no column of this frame",
                next_step=f"write {meant!r}" if meant else f"use {', '.join(known)}",
            )
