"""RB4: SQL: its values are bound, it only reads, and the guard accepts it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from rbkernel.errors import QueryError, SqlTextError
from rbkernel.lint.document import Call, Document, statements
from rbkernel.lint.expressions import is_built, literal
from rbkernel.lint.rule import (
    Found,
    Level,
    Surroundings,
    in_cell,
    in_field,
    rule,
    rule_with_surroundings,
)
from rbkernel.queries import catalogue
from rbkernel.sql import lexer

_DRIVERS = frozenset(
    {"psycopg", "psycopg2", "asyncpg", "pg8000", "sqlalchemy", "sqlite3", "pymysql", "MySQLdb"}
    | {"oracledb", "pyodbc", "duckdb", "records", "peewee", "django"}
)
_ASKING = frozenset({"execute", "executemany", "read_sql", "read_sql_query", "text", "fetch"})
_PASTED = re.compile(r"\{\{?\s*\w+[^{}\n]*\}?\}|\$\{\w+\}|%\(\w+\)s")
# in other calls '%s' is a valid value, such as the first argument of format()
_COMPARED = re.compile(r"(?:[=<>]|\bi?like)\s*$", re.IGNORECASE)
_QUOTED_VALUE = re.compile(r"'(?::[A-Za-z_]\w*|%s|\$\{\w+\}|\{\{?\s*\w+\s*\}?\})'")


@rule("RB401", "sql-built", Level.ERROR, "safe")
def built(document: Document) -> Iterator[Found]:
    """SQL, PromQL or LogQL is built from strings: an f-string, `%`, `.format`, `+`.

    Why: a value with a quote breaks the query, and a value from an alert may contain anything.

    Instead: `rb.query("SELECT … WHERE status = :status", db, status=status)`, or `:status` in
    `%%sql`. The name of a table cannot be bound; write it in the SQL. In PromQL and LogQL:
    `rb.promql("up{job={job}}", job=job)`.
    """
    for call, value in _monitoring(document):
        if is_built(value):
            message = f"the query of rb.{call.name} is built from strings"
            step = "write `{name}` in the query, and pass name=…"
            yield in_cell(call.cell, call.line, message, step)
    for statement in statements(document):
        if statement.built:
            yield in_cell(statement.cell, statement.line, "SQL is built from strings", _BIND)
    for cell, node in document.nodes(ast.Call):
        asks = isinstance(node.func, ast.Attribute) and node.func.attr in _ASKING
        if asks and node.args and any(map(is_built, document.values(node.args[0]))):
            yield in_cell(cell, node.lineno, "SQL is built from strings", _BIND)


_BIND = "write `:name` in the SQL, and pass name=… (`%%sql` uses the variable of that name)"


@rule("RB402", "value-not-bound", Level.ERROR, "safe")
def pasted(document: Document) -> Iterator[Found]:
    """SQL contains a value that is not bound: `{name}`, `${NAME}`, `'%s'`, or `':name'`.

    Why: the placeholder is never replaced, so the query finds no rows, and an empty result looks
    ok.

    Instead: write `:name`, without quotes.
    """
    for statement in statements(document):
        if statement.text is None:
            continue
        for offset, said in _unbound(statement.text):
            line = statement.line + statement.text.count("\n", 0, offset)
            message = f"the SQL contains {said}, which Python does not replace by a value"
            yield in_cell(statement.cell, line, message, "write `:name`, without quotes")


def _monitoring(document: Document) -> Iterator[tuple[Call, ast.expr]]:
    """Yield the calls that ask in PromQL or LogQL, each with the possible values of its query."""
    for call in document.called("promql", "logql"):
        what = call.node.args[0] if call.node.args else call.keyword("query")
        for value in document.values(what) if what is not None else ():
            yield call, value


def _unbound(sql: str) -> Iterator[tuple[int, str]]:
    """Yield position and text of placeholders in SQL that no code fills in.

    >>> list(_unbound("SELECT ':a', {b}, :c, '{\\"x\\": 1}', now()::text, '10:30'"))
    [(7, "':a'"), (13, '{b}')]
    """
    try:
        tokens = lexer.tokens(sql)
    except SqlTextError:
        return
    offset, code = 0, ""
    for kind, text in tokens:
        quoted = kind in {"string", "escape_string"}
        if quoted and _QUOTED_VALUE.fullmatch(text) and (text != "'%s'" or _COMPARED.search(code)):
            yield offset, text
        hidden = quoted or "comment" in kind or kind in {"dollar", "identifier"}
        code += re.sub(r"[^\n]", " ", text) if hidden else text
        offset += len(text)
    for found in _PASTED.finditer(code):
        yield found.start(), found[0]


@rule_with_surroundings("RB403", "sql-not-reading", Level.ERROR, "safe")
def mutations(document: Document, around: Surroundings) -> Iterator[Found]:
    """A cell has several SQL statements, or one that may change something, so the guard refuses it.

    Why: a runbook only reads; a change is proposed with its targets and its undo, and a
    human runs it. The cell would stop the run.

    Instead: query with a SELECT, and propose the change with `rb.act`.
    """
    for statement in statements(document):
        if statement.text is None or any(_unbound(statement.text)):
            continue
        if reason := around.refuse_sql(statement.text):
            yield in_cell(statement.cell, statement.line, reason, "propose a change with rb.act")


@rule("RB404", "own-connection", Level.ERROR, "safe")
def own_connection(document: Document) -> Iterator[Found]:
    """A cell opens its own database connection.

    Why: such a connection bypasses the guard, the read-only role, the timeouts and the journal.

    Instead: query with `rb.query(…, db)` or `%%sql db`, where `db` names a connection of
    rbkernel.toml.
    """
    for cell, node in document.nodes(ast.stmt):
        for name in _imported(node):
            if name.partition(".")[0] in _DRIVERS:
                message = f"{name} opens a connection that bypasses the guard"
                yield in_cell(cell, node.lineno, message, "ask with rb.query or %%sql")


def _imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def _takes(query: str) -> list[str]:
    """Return the values that a query takes; none of one whose name is not known (RB406)."""
    try:
        return catalogue.parameters(query)
    except QueryError:
        return []


@rule("RB405", "value-missing", Level.ERROR, "complete")
def missing(document: Document) -> Iterator[Found]:
    """`rb.query`, `rb.promql` or `rb.logql` is not given a value that its query needs.

    Why: the run stops at this call. Unlike `%%sql`, these calls do not read the values from your
    variables.

    Instead: pass the value: `rb.query("SELECT … :status", db, status=status)`, or
    `rb.promql("up{job={job}}", job=job)`. For a metric in PromQL, write it under `values`, or
    declare the parameter.
    """
    for call, value in _monitoring(document):
        given = {word.arg for word in call.node.keywords}
        for name in _takes(literal(value) or "") if None not in given else ():
            if name not in given:
                message = f"the query needs {{{name}}}, which is not given"
                yield in_cell(call.cell, call.line, message, f"pass {name}=…")
    for metric in document.front.metrics if document.front else ():
        for name in _takes(metric.promql):
            if name not in metric.values and name not in document.declared[0]:
                message = f"the metric {metric.name} needs {{{name}}}, which is no parameter"
                step = "write it under `values`, or declare the parameter"
                yield in_field(document, "metrics", message, step)
    for statement in statements(document):
        if statement.text is None or statement.given is None:
            continue
        try:
            wanted = lexer.parameters(statement.text)
        except SqlTextError:
            continue
        for name in wanted:
            if name not in statement.given:
                message = f"the SQL needs :{name}, which is not given"
                yield in_cell(statement.cell, statement.line, message, f"pass {name}=…")


@rule("RB406", "query-unknown", Level.ERROR, "complete")
def unknown(document: Document) -> Iterator[Found]:
    """`rb.promql` or a metric names a query with `@` that the catalogue does not have.

    Why: the run stops at this call, and a metric stays unknown.

    Instead: write a name of the [named queries](../named-queries.md), or the PromQL itself. Lint
    does not read `[queries]` of rbkernel.toml, because that section only replaces texts.
    """
    for call, value in _monitoring(document):
        if problem := _unknown(literal(value) or "", loki=call.name == "logql"):
            yield in_cell(call.cell, call.line, *problem)
    for metric in document.front.metrics if document.front else ():
        if problem := _unknown(metric.promql):
            yield in_field(document, "metrics", *problem)


def _unknown(query: str, *, loki: bool = False) -> tuple[str, str] | None:
    """Return the problem of a query by name, and the next step; None if there is none."""
    if loki and query.strip().startswith(catalogue.MARK):
        return "the named queries are PromQL, which Loki does not know", "write LogQL"
    try:
        catalogue.get("" if loki else query)
    except QueryError as error:
        return error.what, error.next_step
    return None
