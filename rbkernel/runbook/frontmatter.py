"""Front matter: YAML in the first cell (raw) of a runbook, as in Quarto and MyST.

It can be edited in JupyterLab and is validated here. Unknown fields are refused, because nothing
would read them; `docs/reference/front-matter.md` says which code reads each field. All problems
are reported at once, each with its field and its line in the cell.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from rbkernel.errors import RunbookError
from rbkernel.model import Severity
from rbkernel.runbook import frontmatter_text
from rbkernel.runbook.frontmatter_sections import (
    Assumption,
    Automation,
    Change,
    Communication,
    Contact,
    Dependency,
    Drill,
    Escalation,
    FailureMode,
    Health,
    Impact,
    Link,
    Metric,
    Operation,
    Prerequisite,
    Recovery,
    Scope,
    Section,
    Setting,
    SeverityLevel,
    Texts,
    Trigger,
    known_severity,
    many,
)
from rbkernel.runbook.frontmatter_text import Problem
from rbkernel.runbook.placeholders import unfilled

if TYPE_CHECKING:
    from nbformat import NotebookNode

Category = Literal["incident", "deployment", "maintenance", "recovery", "escalation"]
_Item = TypeVar("_Item")
_Many = Annotated[tuple[_Item, ...], BeforeValidator(many)]


def _links(value: Any) -> Any:
    """Accept a mapping ``Dashboard: https://…`` as well as a list of links."""
    if isinstance(value, Mapping) and not set(value) <= {"title", "url"}:
        return [{"title": title, "url": url} for title, url in value.items()]
    return many(value)


class FrontMatter(Section):
    """The front matter of a runbook.

    ``connections`` maps each parameter that holds a connection name to a glob of the allowed
    names. ``severity`` keeps the team's own word; `internal_severity` maps it to rbkernel's scale.
    A field that cannot be text (`category`, `last_tested`) is None while it holds a placeholder.
    """

    id: str = Field(
        pattern=r"^(?:RUN-\d{3,}|POSTMORTEM|TEMPLATE(?:-[A-Z]+)+)$", description="such as RUN-005"
    )
    title: str = Field(min_length=1)
    summary: str = Field(min_length=1, description="two or three sentences in plain words")
    category: Category | None
    severity: str = Field(description="in the team's own scale")
    owner: str = Field(min_length=1, description="the team or person that maintains it")
    service: str = Field("", description="the service, module or system it belongs to")
    on_call: str = Field("", description="the on-call rotation, and where it is published")
    contacts: _Many[Contact] = ()
    response_time: str = Field("", description="such as immediate, < 30 min, next business day")
    last_tested: datetime.date | None = Field(None, description="the last drill or use")
    testing_schedule: str = Field("", description="such as quarterly, after major changes")
    slo: str = Field("", description="such as p95 < 800 ms, 99.9 % available")
    symptoms: Texts = Field((), description="what an engineer sees when this happens")
    impact: Impact = Impact()
    severity_levels: _Many[SeverityLevel] = Field((), description="what `rb.severity` computes")
    scope: Scope = Scope()
    prerequisites: _Many[Prerequisite] = ()
    dependencies: _Many[Dependency] = ()
    health: _Many[Health] = ()
    connections: dict[str, str] = Field(
        default_factory=dict,
        description="for each parameter, a glob of the connections it may name",
    )
    triggers: _Many[Trigger] = ()
    metrics: _Many[Metric] = ()
    escalation: Escalation = Escalation()
    communication: Communication = Communication()
    rollback: _Many[Operation] = Field(
        (), description="how to return to the state before, if the steps do not work"
    )
    kill_switches: _Many[Operation] = Field(
        (), description="switches that limit the damage at once"
    )
    operations: _Many[Operation] = Field((), description="frequent operations: restart, scale, …")
    configuration: _Many[Setting] = ()
    recovery: Recovery = Recovery()
    assumptions: _Many[Assumption] = ()
    failure_modes: _Many[FailureMode] = ()
    gotchas: Texts = Field((), description="what surprised the last person on call")
    links: Annotated[tuple[Link, ...], BeforeValidator(_links)] = ()
    linked_ids: Texts = Field((), description="MON-, DEP-, RISK- and RUN- ids")
    drill: _Many[Drill] = Field((), description="faults of the sandbox that test this runbook")
    drill_result: str = Field("", description="written by `rbkernel drill --record`")
    automation: _Many[Automation] = ()
    change_log: _Many[Change] = ()

    @field_validator("category", mode="before")
    @classmethod
    def _in_any_case(cls, word: Any) -> Any:
        if unfilled(word):
            return None
        return word.strip().lower() if isinstance(word, str) else word

    @field_validator("severity")
    @classmethod
    def _on_a_known_scale(cls, words: str) -> str:
        return known_severity(words)

    @classmethod
    def _unsaid(cls, name: Any, value: Any) -> bool:
        # a required field with a placeholder does not count as missing
        return super()._unsaid(name, value) and (name != "category" or value is None)

    @property
    def internal_severity(self) -> Severity | None:
        """The severity on rbkernel's scale; None while the field holds a placeholder."""
        return None if unfilled(self.severity) else Severity.parse(self.severity)

    @property
    def commands(self) -> tuple[Operation, ...]:
        """All commands: kill switches, rollback, operations and the steps of a recovery."""
        return (*self.kill_switches, *self.rollback, *self.operations, *self.recovery.steps)

    @property
    def is_template(self) -> bool:
        """Whether the document is a template to fill in, not yet a runbook."""
        return self.id.startswith("TEMPLATE")


def of_notebook(notebook: NotebookNode, where: str) -> FrontMatter:
    """Read and validate the front matter of a notebook.

    Parameters
    ----------
    notebook
        The document.
    where
        Its path, for messages.

    Raises
    ------
    RunbookError
        There is no front matter, it is not YAML, or fields are missing, unknown or invalid. The
        error names all of these fields, with their lines in the first cell.
    """
    found, problems = examine(notebook)
    if found is not None and not problems:
        return found
    if frontmatter_text.of(notebook) is None and not frontmatter_text.text_behind(notebook):
        raise RunbookError(
            "the notebook has no front matter",
            where=where,
            next_step="make its first cell a raw cell with YAML between two lines `---`",
        )
    raise RunbookError(
        "; ".join(map(str, problems)),
        where=f"{where}, first cell",
        next_step="open it in JupyterLab (View > Show Line Numbers), and correct"
        f" {'that line' if len(problems) == 1 else 'these lines'}",
    )


def examine(notebook: NotebookNode) -> tuple[FrontMatter | None, list[Problem]]:
    """Read the front matter of a notebook, and return its problems instead of raising an error.

    Returns
    -------
    tuple
        The front matter (None if it is missing or invalid), and all problems, sorted by line.
    """
    source = frontmatter_text.of(notebook)
    if source is None:
        line = frontmatter_text.text_behind(notebook)
        said = "there is text behind the closing `---`: move it into a Markdown cell"
        message = said if line else "there is no front matter"
        return None, [Problem(field="", line=line or 1, message=message)]
    fields, node, problems = frontmatter_text.load(source)
    if node is None:
        return None, problems
    try:
        found = FrontMatter.model_validate({} if fields is None else fields)
    except ValidationError as error:
        problems += frontmatter_text.explained(error, FrontMatter, node)
        found = None
    return (None if problems else found), sorted(problems, key=lambda problem: problem.line)
