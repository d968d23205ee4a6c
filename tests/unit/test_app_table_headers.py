"""Diagnostics that read the same table of an application find it and its columns alike."""

from __future__ import annotations

from collections import defaultdict

import pytest

from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.apptable import Table
from rbkernel.sources.postgres.library import Diagnostic

_BY_TABLE: dict[str, list[tuple[Diagnostic, Table]]] = defaultdict(list)
for _one in map(diagnostics.get, diagnostics.names()):
    if _one.requires_table:
        _BY_TABLE[_one.requires_table.name].append((_one, _one.requires_table))


@pytest.mark.parametrize("table", sorted(_BY_TABLE))
def test_a_column_has_the_same_names_for_all(table: str) -> None:
    (first, its), *others = _BY_TABLE[table]
    for other, own in others:
        for meaning in its.columns.keys() & own.columns.keys():
            # one may do without a column that another needs
            assert its.columns[meaning].names == own.columns[meaning].names, (other.name, meaning)
        for name in (first.parameters.keys() & other.parameters.keys()) - its.parameters().keys():
            assert first.parameters[name] == other.parameters[name], (other.name, name)
