"""Check that the columns that a call names exist in the frame."""

from __future__ import annotations

import pandas as pd

from rbkernel.checks.answer import provenance
from rbkernel.errors import ParameterError
from rbkernel.spelling import nearest


def must_have(call: str, frame: pd.DataFrame, **columns: str) -> None:
    """Raise an error if the frame lacks a column that an argument of the call names.

    A frame of a failed query, or without any column, is not checked: the call reports why it is
    empty.

    Raises
    ------
    ParameterError
        A column is missing; the message suggests a similar name, or lists all names.
    """
    source = provenance(frame)
    if (source and source.reason) or frame.columns.empty:
        return
    for argument, column in columns.items():
        if column and column not in frame.columns:
            known = [str(name) for name in frame.columns]
            meant = nearest(column, known)
            raise ParameterError(
                f"{call}: {argument} names {column!r}, but this frame has no such column",
                next_step=f"write {meant!r}" if meant else f"use {', '.join(known)}",
            )
