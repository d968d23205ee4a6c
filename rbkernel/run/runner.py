"""Execute a runbook headless, and seal the evidence of the run.

papermill prepares the notebook, and rbkernel's engine executes it. The journal decides the result
of each cell. In every case the kernel's record is sealed, and no cell that did not run is marked as
done.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from papermill.execute import raise_for_execution_errors
from traitlets.config import Config

from rbkernel.config import Settings
from rbkernel.errors import EvidenceError, ParameterError, RunbookChanged, RunError
from rbkernel.evidence import bundle, reading, rebuild, seals, store
from rbkernel.evidence.attest import if_attested
from rbkernel.model import RUN_ID, Verdict, new_incident_id, new_run_id
from rbkernel.run import engine
from rbkernel.run.caller import Caller
from rbkernel.run.engine import KERNEL
from rbkernel.run.preflight import accept
from rbkernel.run.stopping import Stop
from rbkernel.runbook import catalogue
from rbkernel.runbook.catalogue import Runbook

_KERNEL_END_S = 20.0
# the longest socket path that every system accepts, less the suffix that Jupyter adds
_SOCKET_PATH_BYTES = 90


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a headless run, and where its evidence is.

    ``sealed`` is None when the seal could not be written; the run is then still open.
    """

    runbook: str
    incident: str
    sealed: bundle.SealedRun | None
    record: reading.Record
    failure: str
    duration_s: float

    @property
    def verdict(self) -> Verdict:
        """The verdict of the worst finding; at least ``unknown`` if the run did not finish."""
        return self.record.verdict

    @property
    def exit_code(self) -> int:
        """The exit code: 0 ok, 1 warning, 2 critical; 3 unknown, or the run did not finish."""
        return 3 if self.failure else self.verdict.exit_code

    @property
    def head(self) -> str | None:
        """The hash of the run's seal, to be published; None if the run is not sealed."""
        return self.sealed.head if self.sealed else None

    @property
    def folder(self) -> Path:
        """The folder that holds the run's evidence, whether sealed or still open."""
        return self.sealed.folder if self.sealed else self.record.folder

    def summary(self) -> dict[str, Any]:
        """Return the result of the run as JSON data."""
        return {
            "run_id": self.record.run_id,
            "incident": self.incident,
            "runbook": self.runbook,
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "failure": self.failure,
            "findings": [dataclasses.asdict(finding) for finding in self.record.findings],
            "decisions": [dataclasses.asdict(decision) for decision in self.record.decisions],
            "duration_s": round(self.duration_s, 3),
            "evidence": str(self.folder),
            "head": self.head,
            "signer": self.sealed.signer if self.sealed else "",
        }


def run(
    id_or_path: str,
    given: Mapping[str, Any],
    settings: Settings,
    *,
    incident: str = "",
    run_id: str = "",
    continues: str = "",
    sha256: str = "",
    progress: bool = False,
    stop: Stop | None = None,
) -> Outcome:
    """Execute a runbook headless, and seal the evidence of the run.

    When ``stop`` ends the execution, everything recorded until then is sealed.

    Parameters
    ----------
    id_or_path
        A runbook's id, or the path of its notebook.
    given
        Parameters by name; text is converted to the declared type.
    settings
        The configuration.
    incident
        The incident that the run joins. If it is empty, the run joins the incident of its working
        copy, or else a new one.
    run_id
        The run's id, if it was assigned before the start; empty for a new one.
    continues
        The id of the earlier run that this run continues, if any.
    sha256
        The hash that the document must have; empty if any will do.
    progress
        Whether to show a progress bar on standard error.
    stop
        The events that may end the execution; by default Ctrl-C, SIGTERM and SIGHUP.

    Raises
    ------
    UnknownRunbook, ParameterError, UnknownConnection
        The input is invalid; nothing was started.
    RunbookChanged
        The document has another hash; nothing was started.
    EvidenceError
        The evidence folder cannot be written.
    RunError
        The kernel did not start, or ended before the first cell.
    """
    runbook = catalogue.find(id_or_path, settings.catalogue.paths)
    if sha256 and hashlib.sha256(runbook.document).hexdigest() != sha256:
        raise RunbookChanged(
            "the runbook has changed in this moment",
            where=str(runbook.path),
            next_step=f"`rbkernel run {runbook.id}` runs the one of today",
        )
    values = accept(runbook, given, incident, settings)
    root = settings.evidence_root
    store.prepare(root, group=settings.evidence.group_access)
    run_id = _unused(run_id, root) if run_id else new_run_id()
    incident = incident or runbook.incident or new_incident_id()
    started = time.monotonic()
    document = runbook.path.absolute()
    caller = Caller(
        run_id=run_id,
        incident=incident,
        runbook_id=runbook.id,
        document=document,
        continues=continues,
    )
    with nullcontext(stop) if stop else Stop() as ends:
        executed, failure = _execute(runbook, values, caller, ends, progress=progress)
        record = _recorded(runbook, store.open_folder(root, run_id), failure)
        sealed, unsealed = _seal(settings, record, executed)
    return Outcome(
        runbook=runbook.id,
        incident=incident,
        sealed=sealed,
        record=record,
        failure="; ".join(filter(None, [failure or _left(record), unsealed])),
        duration_s=time.monotonic() - started,
    )


def _left(record: reading.Record) -> str:
    """Describe the cell that failed according to the record, even if papermill saw no failure.

    Empty if no cell failed.
    """
    failed = (cell for cell in record.cells if cell.status == reading.FAILED)
    return next((f"cell [{one.execution_count}] failed: {one.error}" for one in failed), "")


def _recorded(runbook: Runbook, folder: Path, failure: str) -> reading.Record:
    """Wait for a run's kernel to end; return the record from the run's journal."""
    _await_end(folder)
    if not folder.is_dir():
        raise RunError(
            f"no cell ran: {failure}",
            where=str(runbook.path),
            next_step="run the runbook again; no query was sent to the database",
        )
    return reading.read(folder)


def _seal(
    settings: Settings, record: reading.Record, executed: NotebookNode
) -> tuple[bundle.SealedRun | None, str]:
    """Seal a run; if that fails, return None and a text with the reason and the next step."""
    from rbkernel.render.documents.report import report_files

    # where the client's view differs from the kernel's, the journal is authoritative
    honest = if_attested(rebuild.annotate(executed, record), record)
    try:
        sealed = bundle.seal(
            *(settings.evidence_root, record.run_id, honest),
            key=settings.signing_key,
            report=report_files,
        )
        return sealed, ""
    except EvidenceError as error:
        seal = f"rbkernel evidence seal {record.run_id}"
        return None, f"the run is not sealed yet: {error} Then run `{seal}`"


def _unused(run_id: str, root: Path) -> str:
    """Return a given run id; raise an error if it is invalid or belongs to a recorded run."""
    is_one = RUN_ID.fullmatch(run_id)
    taken = is_one and (
        store.open_folder(root, run_id).exists() or seals.sealed_folder(root, run_id)
    )
    if taken or not is_one:
        raise ParameterError(
            f"{run_id!r} is {'the id of another run' if taken else 'no run id'}",
            where="--run-id",
            next_step="omit the option, and the run gets a new id",
        )
    return run_id


def _execute(
    runbook: Runbook, values: dict[str, Any], caller: Caller, stop: Stop, *, progress: bool
) -> tuple[NotebookNode, str]:
    """Execute a runbook; return the notebook so far, and why the run did not finish.

    The reason is empty if the run finished.
    """
    notebook = _prepared(runbook, values)
    failure = ""
    with tempfile.TemporaryDirectory(prefix="rbkernel-") as folder:
        transport = _transport(Path(folder))
        try:
            with stop.execution():
                engine.execute_notebook(
                    notebook, KERNEL, progress_bar=progress, caller=caller, config=transport
                )
            raise_for_execution_errors(notebook, None)  # papermill leaves its marks in the notebook
        except PapermillExecutionError as error:
            failure = f"cell [{error.exec_count}] failed: {error.ename}: {error.evalue}"
        except DeadKernelError as error:
            failure = f"the kernel died: {error}"
        except CellTimeoutError as error:
            failure = f"a cell timed out: {str(error).splitlines()[0]}"
        except KeyboardInterrupt:
            failure = stop.reason or "interrupted"
        except RuntimeError as error:
            raise RunError(
                f"the kernel {KERNEL} did not start: {error}",
                where=str(runbook.path),
                next_step=f"see `jupyter kernelspec list`; `python -m {KERNEL}.kernel` shows why",
            ) from error
    return notebook, failure


def _prepared(runbook: Runbook, values: dict[str, Any]) -> NotebookNode:
    """Return the runbook's document with its parameters injected as papermill does."""
    # papermill's own inspection knows fewer types, and warns about the others
    logging.getLogger("papermill").setLevel(logging.ERROR)
    notebook: NotebookNode = papermill.execute_notebook(
        catalogue.parse(runbook.document),
        None,
        parameters=values,
        kernel_name=KERNEL,
        language="python",
        prepare_only=True,
    )
    # papermill has stored the whole document there
    notebook.metadata.papermill["input_path"] = str(runbook.path)
    return notebook


def _transport(folder: Path) -> Config:
    """Return the configuration that lets the kernel use Unix sockets in a private folder.

    So there are no port conflicts, and other users have no access.
    """
    sockets = folder / "kernel"
    if len(str(sockets).encode()) > _SOCKET_PATH_BYTES:
        return Config()
    return Config({"KernelManager": {"transport": "ipc", "ip": str(sockets)}})


def _await_end(folder: Path) -> None:
    """Wait for a run's kernel to write the journal's last line and exit."""
    deadline = time.monotonic() + _KERNEL_END_S
    while store.kernel_is_alive(folder):
        if time.monotonic() > deadline:
            raise EvidenceError(
                "the kernel of this run does not stop",
                where=str(folder),
                next_step="terminate the kernel process, then run `rbkernel evidence seal` with"
                " the run id",
            )
        time.sleep(0.05)
