"""The values that the caller of a run passes to the kernel: run id, document and incident.

They are in the kernel's environment before the first cell, so that a run that dies before
`rb.start` keeps its incident and its document.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.errors import ConfigError, RunbookError
from rbkernel.kernel import secrets
from rbkernel.model import INCIDENT_ID, RUN_ID, new_run_id
from rbkernel.runbook import catalogue, parameters


@dataclass(frozen=True, kw_only=True)
class Caller:
    """What the caller tells the kernel about a run; only the run's id is always known."""

    run_id: str
    incident: str = ""
    runbook_id: str = ""
    document: Path | None = None
    continues: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """The kernel's environment variables: those of this process, and these values."""
        variables = {
            "RBKERNEL_RUN_ID": self.run_id,
            "RBKERNEL_INCIDENT": self.incident,
            "RBKERNEL_RUNBOOK_ID": self.runbook_id,
            "RBKERNEL_RUNBOOK": str(self.document or ""),
            "RBKERNEL_CONTINUES": self.continues,
        }
        return {**os.environ, **{name: value for name, value in variables.items() if value}}


def of_papermill(notebook: NotebookNode, file: Path | None) -> Caller:
    """Return the caller's values for a notebook that papermill is about to execute.

    They come from the notebook's parameters, from its file, and from the environment. A run id is
    made if the environment gives none.

    Parameters
    ----------
    notebook
        The notebook, with its parameters injected.
    file
        The path that the notebook was read from, if it was a local file; the file need not exist.
        papermill also passes a document's text instead of a path.

    Raises
    ------
    SecretParameter
        The incident's id is a secret, and would be the name of a folder.
    """
    reserved = os.environ.get("RBKERNEL_RUN_ID", "")
    named = _parameters(notebook).get("incident")
    incident = named if isinstance(named, str) and INCIDENT_ID.fullmatch(named) else ""
    incident = incident or os.environ.get("RBKERNEL_INCIDENT", "")
    with suppress(ConfigError):  # the kernel itself reports the error, in its first cell
        refuse_secret_incident(incident, str(file or "a notebook in memory"), config.load())
    # not `Path.is_file`: a document's text is too long for a file name, which raises an error there
    document = file if file and os.path.isfile(file) else None  # noqa: PTH113
    runbook_id = ""
    if document:
        with suppress(RunbookError):  # `rb.start` reports the error
            runbook = catalogue.read(document)
            runbook_id, incident = runbook.id, incident or runbook.incident
    return Caller(
        run_id=reserved if RUN_ID.fullmatch(reserved) else new_run_id(),
        incident=incident,
        runbook_id=runbook_id,
        document=document,
    )


def refuse_secret_incident(incident: str, where: str, settings: Settings) -> None:
    """Raise an error if an incident's id holds a known secret, since folders are named after it.

    Raises
    ------
    SecretParameter
        The incident's id holds a secret.
    """
    parameters.refuse_secret_incident(incident, where, secrets.redactor(settings, os.environ))


def _parameters(notebook: NotebookNode) -> Mapping[str, Any]:
    given = notebook.metadata.get("papermill", {}).get("parameters", {})
    return given if isinstance(given, Mapping) else {}
