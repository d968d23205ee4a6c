"""Front matter: YAML in the first, raw cell of a runbook, as Quarto and MyST write it.

Visible and editable in JupyterLab, and validated here. A field that nothing reads would be a
promise that nothing keeps, so unknown fields are refused.
"""

from __future__ import annotations

import datetime
from typing import Literal

import yaml
from nbformat import NotebookNode
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rbkernel.errors import RunbookError
from rbkernel.model import Severity


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scope(_Section):
    """What a runbook covers, and what it leaves to others."""

    handles: tuple[str, ...] = ()
    does_not_handle: tuple[str, ...] = ()


class Escalation(_Section):
    """When to ask for help, whom, and what to tell them."""

    when: tuple[str, ...] = ()
    contact: str = ""
    provide: str = ""


class FrontMatter(_Section):
    """What a runbook says about itself.

    ``connections`` maps each parameter that carries a connection name to a glob of the names it
    may take. ``severity`` keeps the team's own word; `internal_severity` maps it.
    """

    id: str = Field(pattern=r"^RUN-\d{3,}$")
    title: str = Field(min_length=1)
    summary: str = Field(min_length=1)
    category: Literal["incident", "deployment", "maintenance", "recovery", "escalation"]
    severity: str
    owner: str = Field(min_length=1)
    response_time: str = ""
    last_tested: datetime.date | None = None
    slo: str = ""
    symptoms: tuple[str, ...] = ()
    impact: str = ""
    scope: Scope = Scope()
    prerequisites: tuple[str, ...] = ()
    connections: dict[str, str] = Field(default_factory=dict)
    escalation: Escalation = Escalation()
    gotchas: tuple[str, ...] = ()
    linked_ids: tuple[str, ...] = ()
    drill: str = ""

    @field_validator("severity")
    @classmethod
    def _known_scale(cls, words: str) -> str:
        Severity.parse(words)
        return words

    @property
    def internal_severity(self) -> Severity:
        """The severity on our own scale."""
        return Severity.parse(self.severity)


def of_notebook(notebook: NotebookNode, where: str) -> FrontMatter:
    """Read and validate the front matter.

    Parameters
    ----------
    notebook
        The document.
    where
        Its path, for messages.

    Raises
    ------
    RunbookError
        There is none, it is not YAML, or a field is missing, unknown or wrong.
    """
    source = _yaml_of(notebook)
    if source is None:
        raise RunbookError(
            "the notebook has no front matter",
            where=where,
            next_step="make its first cell a raw cell with YAML between two lines `---`",
        )
    try:
        fields = yaml.safe_load(source)
        return FrontMatter.model_validate(fields if fields is not None else {})
    except yaml.YAMLError as error:
        raise RunbookError(
            f"the front matter is not YAML: {' '.join(str(error).split())}",
            where=f"{where}, first cell",
            next_step="mend that line",
        ) from error
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in problem["loc"]) or "front matter"
        raise RunbookError(
            f"{field}: {problem['msg']}",
            where=f"{where}, first cell",
            next_step="mend that field",
        ) from error


def _yaml_of(notebook: NotebookNode) -> str | None:
    if not notebook.cells or notebook.cells[0].cell_type != "raw":
        return None
    lines = notebook.cells[0].source.strip().splitlines()
    if len(lines) < 2 or lines[0].strip() != "---" or lines[-1].strip() != "---":
        return None
    return "\n".join(lines[1:-1])
