"""`rb.start`: start the run, show its server, and store the document that is being run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import psutil
from IPython.core.getipython import get_ipython

from rbkernel import config, extensions
from rbkernel.arguments import checked
from rbkernel.config import Settings
from rbkernel.errors import ParameterError, RunbookError, SecretParameter, UnknownRunbook
from rbkernel.evidence import current
from rbkernel.forkserver.origin import started_by
from rbkernel.model import INCIDENT_ID, Run, new_incident_id, now
from rbkernel.runbook import catalogue, connections, parameters
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.quantities import duration_s
from rbkernel.triage import context, sequel, undone
from rbkernel.triage.context import Triage, headless
from rbkernel.triage.sequel import Before

_NO_FILE = "no rbkernel.toml was found: default settings, and the connections of the sandbox"


@checked
def start(runbook: str, *, incident: str = "", **values: Any) -> None:
    """Start a run. This is the first call of a runbook, after the parameters.

    The call shows the server, its role, the configuration and the evidence folder. Later checks add
    their findings to this display.

    Parameters
    ----------
    runbook
        The runbook's id, such as ``RUN-005``.
    incident
        The incident of the run, such as ``INC-20261120-7f3a``. The default is the value of the
        variable ``incident``; if the variable is empty, the incident of the run before in this
        kernel, also after a restart of the kernel; else a new incident begins.
    values
        Parameters of the runbook that override the notebook's variables, by name. Normally none are
        passed: all declared parameters are read from the variables, which papermill or a person has
        set, and converted to their declared types. An empty ``db`` means the default connection, an
        empty ``standby`` its standby; later cells find their names in the variables ``db`` and
        ``standby``.

    Raises
    ------
    ParameterError
        A parameter is not declared, has the wrong type, or looks like a secret; or ``db`` is empty
        and there is no default connection.
    RunbookError
        The document's front matter or parameters are wrong.
    UnknownConnection
        A parameter names a connection that is not configured.
    RecorderError
        The evidence folder cannot be written.
    """
    settings = config.load()
    document, found = _document(runbook, settings)
    variables = _variables()
    given = {**_declared(document, variables), **values}
    named = str(given.pop("incident", "") or "")
    incident = incident or named
    # `version=version` passes on a variable, which papermill may have set
    written = [name for name, value in values.items() if variables.get(name) is not value]
    values = _accepted(given, document, runbook, written=written)
    carriers = _carriers(document)
    filled = connections.filled(carriers, values, settings)
    values |= filled
    _set_variables(variables, values)
    if incident and not INCIDENT_ID.fullmatch(incident):
        raise ParameterError(
            f"{incident!r} is not an incident id",
            where=runbook,
            next_step="pass letters, digits and dashes after INC-, such as INC-20261120-7f3a",
        )
    before = Before() if headless() else sequel.before(runbook)
    incident = incident or _incident(document, before)
    parameters.refuse_secret_incident(incident, runbook, current().redactor)
    used = connections.named(carriers, values, "rb.start")
    for parameter, name in used.items():
        settings.connection(name, parameter=parameter)
    run = Run(
        id=current().run_id,
        runbook=runbook,
        title=document.front_matter.title if document else runbook,
        incident=incident,
        headless=headless(),
        started_at=now(),
        parameters=values,
        continues=_continues(document, before, incident),
        update_every_s=_update_every_s(document),
    )
    _begin(run, settings, document, found, list(dict.fromkeys(used.values())), filled)


def _update_every_s(document: Runbook | None) -> float:
    """Return how often a runbook asks for status updates; 0 if it does not say."""
    every = document.front_matter.communication.every if document else ""
    return duration_s(every) or 0.0


def _incident(document: Runbook | None, before: Before) -> str:
    """Return the incident of a run whose cells name none.

    It is the incident that the caller of the run gives, else that of the working copy, else that of
    the run before in this notebook, else a new one.
    """
    named = os.environ.get("RBKERNEL_INCIDENT") or (document.incident if document else "")
    return named or before.incident or new_incident_id()


def _continues(document: Runbook | None, before: Before, incident: str) -> str:
    """Return the run that this run continues, as the caller, the document or the kernel knows."""
    # taken out of the environment, so that a run that a cell starts does not continue it, too
    named = os.environ.pop("RBKERNEL_CONTINUES", "") or (document.continues if document else "")
    return named or (before.continues if before.incident == incident else "")


def _begin(
    run: Run,
    settings: Settings,
    document: Runbook | None,
    found: str,
    names: list[str],
    filled: Mapping[str, str],
) -> None:
    recorder = current()
    kept = (
        "the file of the runbook was not found, so the evidence will contain only code cells, and"
        " the types of the parameters were not checked; put the file into a folder of [catalogue]"
        " paths, or execute it with `rbkernel run`"
    )
    if document:
        digest = hashlib.sha256(document.document).hexdigest()
        recorder.snapshot(document.document, document.path, digest, found)
        by_id = ", taken from the catalogue by its id" if found == "catalogue" else ""
        kept = f"{document.path} (sha256 {digest[:12]}…{by_id})"
    triage = Triage(run, settings, (), document)
    context.begin(triage)
    triage.facts = (
        *([] if document else [("Document", kept)]),  # first: probably a mistake
        *((name, triage.reach(name)) for name in names),
        *([("From the configuration", _said(filled))] if filled else []),
        *_who(document),
        *([("Continues", f"run {run.continues}")] if run.continues else []),
        ("Configuration", str(settings.file or _NO_FILE)),
        *([("Extensions", added)] if (added := extensions.packages()) else []),
        ("Evidence", str(recorder.root)),
        *([("Document", kept)] if document else []),
    )
    recorder.event("run", **triage.state())
    sequel.store(run)
    triage.refresh()
    if document and document.placeholders:
        undone.note(undone.PLACEHOLDERS, dict.fromkeys(document.placeholders, False))


def _who(document: Runbook | None) -> list[tuple[str, str]]:
    """Return owner, response time and last test of the runbook, as names and values to show."""
    if document is None:
        return []
    front = document.front_matter
    tested = f"last tested {front.last_tested}" if front.last_tested else "never tested"
    parts = [
        front.severity,
        front.response_time and f"respond within {front.response_time}",
        f"owner {front.owner}",
        front.on_call and f"on call: {front.on_call}",
        f"{tested}{f' (schedule: {front.testing_schedule})' if front.testing_schedule else ''}",
    ]
    return [("Runbook", " · ".join(filter(None, parts)))]


def _document(runbook: str, settings: Settings) -> tuple[Runbook | None, str]:
    """Find the file that is being run, and return it with how it was found.

    The kernel receives cells only, not the path of their file. A headless run of rbkernel and
    Jupyter Server pass the path in environment variables. Plain papermill has the path on its
    command line. Otherwise the file is looked up in the catalogue, by the id.

    Raises
    ------
    RunbookError
        The file exists, but its front matter or parameters are wrong.
    """
    named = os.environ.get("RBKERNEL_RUNBOOK") or os.environ.get("JPY_SESSION_NAME", "")
    for path, found in ((named, "named"), (_on_the_command_line(runbook), "command line")):
        if path.endswith(".ipynb") and Path(path).is_file():
            return _saved(Path(path)), found
    try:
        return catalogue.find(runbook, settings.catalogue.paths), "catalogue"
    except UnknownRunbook:
        return None, ""


def _saved(path: Path) -> Runbook:
    """Read the runbook from its file.

    Unsaved changes are not included, for example those in a template that was just opened.
    """
    try:
        return catalogue.read(path)
    except RunbookError as error:
        if headless():
            raise
        raise RunbookError(
            error.what,
            where=error.where,
            next_step="save the notebook (Control-S) and run this cell again; if that does not"
            f" help, {error.next_step}",
        ) from error


def _on_the_command_line(runbook: str) -> str:
    """Return the notebook in the command line of papermill, if the notebook has this id.

    An example is ``papermill runbook.ipynb out.ipynb``.

    The command line is that of the process that started this kernel.
    """
    try:
        parent = psutil.Process(started_by())
        words, folder = parent.cmdline(), Path(parent.cwd())
    except (psutil.Error, OSError):
        return ""
    first = next((word for word in words if word.endswith(".ipynb")), "")
    return str(folder / first) if first and catalogue.id_of(folder / first) == runbook else ""


def _variables() -> dict[str, Any]:
    """Return the notebook's variables; empty outside a notebook."""
    shell = get_ipython()
    return shell.user_ns if shell is not None else {}


def _declared(document: Runbook | None, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables that are parameters of the runbook.

    If the document was not found, these are the variables that a cell has declared with a type.
    """
    if document:
        return {name: variables[name] for name in document.parameters if name in variables}
    names = variables.get("__annotations__", {})
    return {name: value for name, value in variables.items() if name in names and _is_plain(value)}


def _is_plain(value: object) -> bool:
    items = value if isinstance(value, list) else [value]
    return all(item is None or isinstance(item, str | int | float) for item in items)


def _accepted(
    values: dict[str, Any], document: Runbook | None, runbook: str, *, written: Collection[str]
) -> dict[str, Any]:
    """Return the values converted to their declared types."""
    try:
        if document:
            values = dict(
                parameters.validate(values, document.parameters, runbook, written=written)
            )
        for name, value in values.items():
            parameters.refuse_secret(name, value, runbook, current().redactor)
    except SecretParameter as error:
        folder = current().folder
        raise SecretParameter(
            error.what,
            where=error.where,
            next_step=f"{error.next_step}; the value was already written: delete the"
            f" notebook that papermill wrote, and {folder}",
        ) from None
    return values


def _carriers(document: Runbook | None) -> Mapping[str, str]:
    return document.front_matter.connections if document else {"db": "*"}


def _said(filled: Mapping[str, str]) -> str:
    return ", ".join(f"{parameter} = {name}" for parameter, name in filled.items())


def _set_variables(variables: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Set the notebook's variables to the run's values, so that cells use the recorded values.

    A variable that the notebook does not have is not added.
    """
    variables.update({name: value for name, value in values.items() if name in variables})
