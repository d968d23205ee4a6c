"""The papermill engine `rbkernel`, which marks a cell as completed only if it ran to its end.

papermill loads `Engine` (`papermill --engine rbkernel`), and `rbkernel run` uses the same class.
Rules:

- A cell is `not run` until it begins and `interrupted` until it ends. If the kernel dies, the time
  runs out or papermill is killed in between, the cell keeps that mark.
- The notebook is written twice, and as a whole each time. The first write is before the first cell:
  an output folder that cannot be written is found before the first query, and nobody mistakes an
  older file for this run. The second write is at the end, also after Ctrl-C and SIGTERM. In
  between, the journal is the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode, from_dict
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NotebookExecutionManager
from papermill.iorw import LocalHandler, papermill_io
from papermill.log import logger
from papermill.utils import nb_kernel_name, nb_language

import rbkernel.run.translator  # noqa: F401  # papermill imports this module at its own import
from rbkernel import strictjson
from rbkernel.evidence import store
from rbkernel.evidence.reading import DONE, FAILED, INTERRUPTED, NOT_RUN
from rbkernel.kernel.client import KernelClient
from rbkernel.run.caller import Caller, of_papermill
from rbkernel.run.stopping import Stop

__all__ = ["Engine", "execute_notebook"]

KERNEL = "rbkernel"
# papermill's options that have no meaning here
_UNUSED = ("autosave_cell_every",)


def execute_notebook(
    nb: NotebookNode,
    kernel_name: str,
    output_path: str | None = None,
    *,
    progress_bar: bool | dict[str, Any] = True,
    start_timeout: int = 60,
    execution_timeout: int | None = None,
    input_path: str | NotebookNode = "",
    caller: Caller | None = None,
    **options: Any,
) -> NotebookNode:
    """Execute a notebook's cells in order until one fails; papermill calls this function.

    Parameters
    ----------
    nb
        The notebook, parameters injected; it is changed in place.
    kernel_name
        The name of the kernel.
    output_path
        The path to write the notebook to; None to write nothing.
    progress_bar
        Whether to show progress on standard error.
    start_timeout, execution_timeout
        How long to wait for the kernel, and for each cell, in seconds; None for no limit.
    input_path
        Where the notebook was read from; papermill also gives a notebook in memory here.
    caller
        The values that the kernel gets about the run; by default, those of `of_papermill`.
    options
        Options of papermill's client, such as ``log_output``, ``stdout_file`` or ``config``.

    Raises
    ------
    DeadKernelError, CellTimeoutError
        The kernel died, or a cell exceeded its time limit.
    RuntimeError
        The kernel did not start.
    SecretParameter
        The incident's id is a secret; nothing was written.
    EvidenceError
        The notebook could not be written; the previous file is intact.
    """
    for name in _UNUSED:
        options.pop(name, None)
    if caller is None and kernel_name == KERNEL:
        caller = of_papermill(nb, _local_file(input_path))
    if caller:
        own = nb.metadata.get("rbkernel")
        nb.metadata["rbkernel"] = {**(own or {}), "run_id": caller.run_id}
    file = _local_file(output_path)
    if "papermill" in nb.metadata:
        # a parameter may be a number that JSON does not support
        nb.metadata["papermill"] = from_dict(strictjson.normal(nb.metadata["papermill"], str))
    run = _Run(nb, output_path=output_path, progress_bar=progress_bar)
    run.file = file
    client = _Client(
        run,
        kernel_name=kernel_name,
        startup_timeout=start_timeout,
        timeout=execution_timeout,
        log=logger,
        on_cell_error=run.cell_failed,
        **options,
    )
    run.notebook_start()
    run.write()
    with Stop() as stop:
        try:
            with stop.execution():
                client.execute(**({"env": caller.environment} if caller else {}))
        finally:
            run.notebook_complete()
            run.write()
    if output_path is not None and file and _papermill_writes_last():
        _LastWrite(output_path, file).register()
    return nb


class Engine:
    """The class that papermill loads under the name `rbkernel`.

    It is a class, because papermill's users copy the registry of engines, and a module cannot be
    copied.
    """

    execute_notebook = staticmethod(execute_notebook)
    nb_kernel_name = staticmethod(nb_kernel_name)
    nb_language = staticmethod(nb_language)


class _Run(NotebookExecutionManager):  # type: ignore[misc]  # papermill has no types
    """papermill's state of a run, but with rbkernel's cell statuses and without its many saves."""

    PENDING, RUNNING, COMPLETED, FAILED = NOT_RUN, INTERRUPTED, DONE, FAILED

    file: Path | None = None

    def write(self) -> None:
        """Write the notebook to its output: atomically to a local file, else as papermill does."""
        if self.file:
            _write_whole(self.file, nbformat.writes(self.nb))
        else:
            super().save()

    def save(self, **_nothing: Any) -> None:
        """Do nothing: papermill would write the whole notebook twice for each cell."""

    def cell_start(self, cell: NotebookNode, cell_index: int) -> None:
        super().cell_start(cell, cell_index)
        cell.metadata.papermill["exception"] = True  # the mark until the cell ends
        self._ended = DONE

    def cell_failed(self, execute_reply: Mapping[str, Any], **_cell: Any) -> None:
        """Note whether a cell failed or was interrupted; the kernel reports both as errors."""
        name = execute_reply["content"].get("ename")
        self._ended = INTERRUPTED if name == KeyboardInterrupt.__name__ else FAILED

    def cell_complete(self, cell: NotebookNode, cell_index: int) -> None:
        super().cell_complete(cell, cell_index)
        cell.metadata.papermill["status"] = self._ended
        cell.metadata.papermill["exception"] = self._ended != DONE

    def notebook_complete(self) -> None:
        self.cleanup_pbar()
        metadata = self.nb.metadata.papermill
        self.end_time = self.now()
        metadata["end_time"] = self.end_time.isoformat()
        metadata["duration"] = (self.end_time - self.start_time).total_seconds()
        if any(cell.metadata.papermill["exception"] for cell in self.nb.cells):
            metadata["exception"] = True


class _Client(PapermillNotebookClient):  # type: ignore[misc]  # papermill has no types
    """papermill's client, except that it never marks a cell as completed by default."""

    nb_man: _Run

    def create_kernel_manager(self) -> Any:
        """Return the kernel's manager, whose client waits for the kernel without a fixed pause."""
        manager = super().create_kernel_manager()
        manager.client_factory = KernelClient
        return manager

    def papermill_execute_cells(self) -> None:
        for index, cell in enumerate(self.nb.cells):
            self.nb_man.cell_start(cell, index)
            may_go_on = True
            try:
                self.execute_cell(cell, index)
            except CellExecutionError:
                may_go_on = False
            self.nb_man.cell_complete(cell, index)  # only where no other error is being raised
            if not may_go_on:
                break


class _LastWrite(LocalHandler):  # type: ignore[misc]  # papermill has no types
    """Makes papermill's final write of the output notebook atomic.

    Papermill writes the notebook once more after the engine has written it. The writer
    unregisters itself after that write, so that papermill is left unchanged.
    """

    def __init__(self, output_path: str, file: Path) -> None:
        super().__init__()
        self._entry = (output_path, self)
        self._file = file

    def register(self) -> None:
        """Take over papermill's next write of the output notebook."""
        papermill_io.register(*self._entry)

    def write(self, text: str, path: str) -> None:  # noqa: ARG002  # the argument is that same file
        """Write the output notebook, and unregister this handler from papermill."""
        papermill_io._handlers.remove(self._entry)
        _write_whole(self._file, text)


def _write_whole(file: Path, text: str) -> None:
    # an unpaired surrogate, which a cell may print, is written as a JSON escape
    store.write_atomically(file, text.encode("utf-8", "backslashreplace"))


def _local_file(path: str | NotebookNode | None) -> Path | None:
    """Return the local file that papermill's path names; None if it names something else.

    Relative paths start at the folder that papermill was started in: a run may have another folder.
    """
    if not path or not isinstance(path, str):
        return None  # no output, or a notebook in memory
    if not isinstance(papermill_io.get_handler(path), LocalHandler):
        return None  # an object store, a network address or a pipe
    return (Path(_papermill_folder() or ".") / path).absolute()


def _papermill_folder() -> str | None:
    """Return the folder in which papermill was started; None if it did not call the engine."""
    handler = papermill_io.get_handler("local")
    folder: str | None = handler.cwd(None)
    handler.cwd(folder)
    return folder


def _papermill_writes_last() -> bool:
    """Return whether papermill called the engine, and so will write the output once more."""
    return _papermill_folder() is not None
