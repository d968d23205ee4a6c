"""RB3, the skeleton: parameters, `rb.start`, checks, `rb.summary`, and valid library calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from rbkernel.checks.assessed import unknown_rule
from rbkernel.lint import names
from rbkernel.lint.document import Call, Document
from rbkernel.lint.expressions import dotted, literal
from rbkernel.lint.rule import Found, Level, Surroundings, in_cell, rule, rule_with_surroundings

_CHECKS = (
    *("check", "assess", "overview", "http", "shell", "metrics", "health", "prerequisites"),
    *("releases", "flags", "pressure", "watch_queries"),
    *("dependencies", "severity", "checklist"),
)
_ASSESSED = frozenset({"rb.assess", "rbkernel.assess"})


@rule("RB305", "parameters-cell", Level.ERROR, "complete", fixable=True)
def one_cell(document: Document) -> Iterator[Found]:
    """No cell is tagged `parameters`, or several cells are.

    Why: papermill finds the parameters by that tag. Without it, an alert cannot set the database;
    with two tagged cells, the second one is used.

    Instead: tag the cell (`rbkernel lint --fix` does this if there is only one candidate), and
    write one line for each parameter: `db: str = "orders-primary"  # connection name`.
    """
    tagged = document.parameter_cells
    if not tagged and document.codes:
        yield Found(
            0, 0, "no cell is tagged `parameters`", "tag the cell that declares the parameters"
        )
    for cell in tagged[1:]:
        message = f"cell {tagged[0].number} is tagged `parameters` already"
        yield in_cell(cell, 1, message, "keep the tag on one of these cells")


@rule("RB306", "parameters-wrong", Level.ERROR, "complete")
def declarations(document: Document) -> Iterator[Found]:
    """The parameters cell contains code other than declarations.

    Why: without a type, the text from an alert cannot be converted to a number, and wrong values
    cannot be refused.

    Instead: `name: type = default  # what it means`, with `str`, `int`, `float`, `bool`, one of
    them `| None`, `list[str]`, `list[int]`, `list[float]`, or `Literal["a", "b"]`.
    """
    error = document.declared[1]
    if error:
        yield in_cell(document.parameter_cells[0], 1, error.what, error.next_step)


@rule("RB307", "parameter-unexplained", Level.WARNING, "actionable")
def help_texts(document: Document) -> Iterator[Found]:
    """A parameter has no comment that says what it means.

    Why: an engineer who runs the runbook by hand has to guess the meaning and the unit.

    Instead: `stuck_after_s: float = 5.0  # s in one state after which a session counts as stuck`.
    """
    for name, parameter in document.declared[0].items():
        cell = document.parameter_cells[0]
        if not parameter.help:
            line = cell.line_of(rf"^{name}\s*:")
            yield in_cell(
                cell,
                line,
                f"{name} has no explanation",
                "add a comment behind it: `# what it means`",
            )


@rule("RB308", "parameter-unused", Level.WARNING, "maintained")
def unused(document: Document) -> Iterator[Found]:
    """A parameter is declared but not used.

    Why: an engineer may change the parameter and expect an effect.

    Instead: use the parameter, or remove it.
    """
    used = names.used(document)
    if document.front:
        used |= {name for one in document.front.commands for name in one.named}
    if document.called("start"):
        used |= {"incident", *(document.front.connections if document.front else ())}
    for name in document.declared[0]:
        if name not in used:
            cell = document.parameter_cells[0]
            line = cell.line_of(rf"^{name}\s*:")
            yield in_cell(
                cell,
                line,
                f"the parameter {name} is used nowhere",
                "use the parameter, or remove it",
            )


@rule("RB309", "start", Level.ERROR, "complete")
def start(document: Document) -> Iterator[Found]:
    """`rb.start` is missing, is called twice, names another id, or is not the first call.

    The id must be the id in the front matter, and no other call of `rb` may come before `rb.start`.

    Why: the run would be recorded under another runbook, or its first calls would belong to no run.

    Instead: call `rb.start("RUN-005")` in the cell after the parameters, which it takes from the
    notebook.
    """
    calls, front = document.called("start"), document.front
    if not calls:
        yield Found(0, 0, "nothing calls rb.start", "call it right behind the parameters")
        return
    for again in calls[1:]:
        yield _at(again, "rb.start is called again", "keep the first call")
    first = calls[0]
    if document.calls[0] is not first:
        yield _at(
            document.calls[0], f"rb.{document.calls[0].name} comes before rb.start", "move it"
        )
    named = first.node.args[0] if first.node.args else first.keyword("runbook")
    said = literal(named) if named is not None else None
    if front and said != front.id:
        message = f"rb.start names {said or 'no id'}, the front matter {front.id}"
        yield _at(first, message, f'write rb.start("{front.id}", …)')


@rule("RB310", "start-incomplete", Level.WARNING, "complete")
def start_parameters(document: Document) -> Iterator[Found]:
    """There is no parameter `incident`, which `rb.start` takes from the notebook.

    Why: without it an alert cannot say to which incident the run belongs, and the run is not part
    of its record.

    Instead: declare `incident: str = ""  # incident id; empty for a new one`.
    """
    calls, declared = document.called("start"), document.declared[0]
    given = calls and any(word.arg in {None, "incident"} for word in calls[0].node.keywords)
    if calls and declared and "incident" not in declared and not given:
        cell = document.parameter_cells[0]
        step = 'add `incident: str = ""  # incident id; empty for a new one`'
        yield in_cell(cell, 1, "there is no parameter incident", step)


@rule("RB311", "no-summary", Level.WARNING, "complete")
def summary(document: Document) -> Iterator[Found]:
    """`rb.summary()` is not the last call.

    Why: `rb.summary` records findings, decisions and actions for the next shift and the postmortem.

    Instead: end with a cell `rb.summary()`.
    """
    if not document.called("start"):
        return
    if document.calls[-1].name != "summary":
        yield _at(document.calls[-1], "the last call is not rb.summary()", "end with rb.summary()")


@rule("RB312", "nothing-is-checked", Level.WARNING, "verifiable")
def checks(document: Document) -> Iterator[Found]:
    """The runbook has no check, so it cannot find anything.

    Why: the first screen stays empty, and the run ends as unknown.

    Instead: add `rb.check`, `rb.assess`, `rb.http` or another call that produces a finding.
    """
    if document.called("start") and not document.called(*_CHECKS):
        yield Found(0, 0, "no call produces a finding", "add rb.check, rb.assess or rb.http")


@rule_with_surroundings("RB313", "unknown-call", Level.ERROR, "complete")
def unknown_calls(document: Document, around: Surroundings) -> Iterator[Found]:
    """The code calls a function of the library that does not exist.

    Why: the run stops at this call with an AttributeError.

    Instead: use a call from the reference (docs/reference/notebook.md).
    """
    for call in document.calls:
        name = call.name.partition(".")[0]
        if around.calls is not None and name not in around.calls:
            yield _at(call, f"rb.{name} does not exist", "see docs/reference/notebook.md")


@rule_with_surroundings("RB314", "unknown-diagnostic", Level.ERROR, "complete")
def unknown_diagnostics(document: Document, around: Surroundings) -> Iterator[Found]:
    """`rb.assess`, `rb.query` or `rb.sample` names a diagnostic that does not exist.

    Why: the run stops at this call.

    Instead: use a name that `rbkernel query` lists.
    """
    for call in document.called("assess", "query", "sample"):
        named = call.node.args[0] if call.node.args else call.keyword("what")
        said = literal(named) if named is not None else None
        known = around.diagnostics
        if said and len(said.split()) == 1 and known is not None and said not in known:
            yield _at(call, f"no diagnostic is called {said}", "see `rbkernel query` for the names")


@rule_with_surroundings("RB317", "unknown-rule", Level.ERROR, "complete")
def unknown_rules(document: Document, around: Surroundings) -> Iterator[Found]:
    """The code reads a finding of `rb.assess` by a name that no rule of the diagnostic has.

    Why: the run stops at this line.

    Instead: use the name of a rule: its `name` in the header of the diagnostic, or else its
    column. The message names the nearest one, or all of them.
    """
    for cell, node in document.nodes(ast.Subscript):
        said = literal(node.slice)
        known = _rules(document, node.value, around) if said else None
        if said and known is not None and said not in known:
            yield in_cell(
                cell, node.lineno, unknown_rule(said, sorted(known)), "use the name of a rule"
            )


def _rules(document: Document, node: ast.expr, around: Surroundings) -> set[str] | None:
    """Return the rules of the diagnostics whose result an expression is; None if it may be else."""
    found: set[str] = set()
    values = document.values(node)
    if isinstance(node, ast.Name) and _bindings(document, node.id) > len(values):
        return None  # a loop, a function or a pattern gives it other values
    for value in values:
        if not isinstance(value, ast.Call) or dotted(value.func) not in _ASSESSED:
            return None
        named = literal(value.args[0]) if value.args else None
        rules = around.rules_of(named) if named else None
        if rules is None:
            return None
        found |= rules
    return found or None


def _bindings(document: Document, name: str) -> int:
    """Return how often the code binds a name, in whatever way."""
    stored = (node.id for _, node in document.nodes(ast.Name) if isinstance(node.ctx, ast.Store))
    given = (node.arg for _, node in document.nodes(ast.arg))
    return [*stored, *given].count(name)


def _at(call: Call, message: str, next_step: str) -> Found:
    return in_cell(call.cell, call.line, message, next_step)
