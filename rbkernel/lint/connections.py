"""RB6, connections: each connection is declared, configured, and listed in `connections`."""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterator

from rbkernel.lint.cells import Cell
from rbkernel.lint.document import Document
from rbkernel.lint.expressions import literal
from rbkernel.lint.rule import (
    Found,
    Level,
    Surroundings,
    in_cell,
    in_field,
    rule,
    rule_with_surroundings,
)
from rbkernel.runbook.connections import CALLS
from rbkernel.runbook.placeholders import unfilled


@rule_with_surroundings("RB606", "unknown-connection", Level.WARNING, "complete", forms=False)
def unknown_connections(document: Document, around: Surroundings) -> Iterator[Found]:
    """The runbook names a connection that is not declared in any rbkernel.toml.

    This includes defaults of parameters that contain a connection name, and names in calls.

    Why: `rb.start` does not know the connection, and the run stops at that cell.

    Instead: add the connection with `rbkernel init`, or name a connection that is declared.
    """
    declared, front = document.declared[0], document.front
    cell = document.parameter_cells[0] if document.parameter_cells else None
    for name in front.connections if front and cell else ():
        default = declared[name].default if name in declared else None
        if cell and isinstance(default, str) and default and not unfilled(default):
            yield from _unknown(cell, cell.line_of(rf"^{name}\s*:"), default, around)
    for place, line, node in _connection_arguments(document):
        said = literal(node)
        if said:
            yield from _unknown(place, line, said, around)
    for code in document.codes:
        words = code.arguments.split() if code.magic == "sql" else []
        if words and words[0] not in document.assigned and words[0] not in around.connections:
            yield from _unknown(code.cell, 1, words[0], around)


def _unknown(cell: Cell, line: int, name: str, around: Surroundings) -> Iterator[Found]:
    if name not in around.connections:
        message = f"the connection {name} is not declared in any rbkernel.toml"
        yield in_cell(cell, line, message, f"add [connections.{name}] to rbkernel.toml")


@rule("RB607", "connection-without-parameter", Level.ERROR, "complete")
def connection_parameters(document: Document) -> Iterator[Found]:
    """`connections` lists an undeclared parameter, or does not allow the default of a parameter.

    Why: the restriction in the front matter has no effect, or the runbook cannot run with its
    default.

    Instead: `connections: {db: "orders-*"}` in the front matter, and
    `db: str = "orders-primary"  # …` in the parameters cell.
    """
    declared, front = document.declared[0], document.front
    for name, pattern in front.connections.items() if front and declared else ():
        if name not in declared:
            message = f"`connections` lists {name}, which is not a parameter"
            yield in_field(
                document,
                "connections",
                message,
                "declare this parameter, or remove it from `connections`",
            )
            continue
        default = declared[name].default
        if default and not unfilled(default) and not fnmatch.fnmatchcase(str(default), pattern):
            message = f"the default {default} of {name} does not match {pattern}"
            yield in_field(document, "connections", message, "change the default, or the pattern")


@rule("RB608", "connection-undeclared", Level.WARNING, "complete")
def undeclared_connections(document: Document) -> Iterator[Found]:
    """A parameter contains a connection's name, but `connections` does not list it.

    Why: `rb.start` does not check the connection, and a run may be sent to any database.

    Instead: write `connections: {db: "orders-*"}` in the front matter.
    """
    declared, front = document.declared[0], document.front
    reported: set[str] = set()
    for cell, line, node in _connection_arguments(document) if front else ():
        name = node.id if isinstance(node, ast.Name) else ""
        if front and name in declared and name not in {*front.connections, *reported}:
            reported.add(name)
            message = f"{name} contains a connection's name, but `connections` does not list it"
            yield in_cell(cell, line, message, f'add `connections: {{{name}: "*"}}`')


def _connection_arguments(document: Document) -> Iterator[tuple[Cell, int, ast.expr]]:
    """Yield the arguments that name a connection, in calls and in ``%%sql``."""
    for call in document.called(*CALLS):
        position = CALLS[call.name]
        given = call.node.args[position : position + 1]
        for node in [*given, *filter(None, [call.keyword("db")])]:
            yield call.cell, call.line, node
    for code in document.codes:
        words = code.arguments.split() if code.magic == "sql" else []
        if words:
            yield code.cell, 1, ast.Name(words[0], ast.Load())
