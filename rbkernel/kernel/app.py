"""The rbkernel kernel: an ipykernel that records each cell and its output in a journal.

Rules: the kernel runs no cell that it cannot record. When the recorder breaks during a cell, the
reply of that cell becomes an error; the recorder then refuses the next cell and gives the reason.
The client always gets an answer. A cell that exceeds an output limit is interrupted, and its reply
is an error.

All output goes through the session. The kernel does not echo the output of subprocesses to the
server's log, IPython keeps no history file, and the kernel's own log is redacted.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from traitlets import default
from traitlets.config import Config

from rbkernel import __version__, amounts, config
from rbkernel.config.connections import Owner
from rbkernel.errors import ConfigError, RbkernelError, RecorderError
from rbkernel.evidence import Recorder, install
from rbkernel.kernel import error_cards, secrets
from rbkernel.kernel.limits import Excess, OutputLimits
from rbkernel.kernel.output import RedactedLog
from rbkernel.kernel.session import RecordingSession

_CANCELLED = "CancelledError"  # IPython's error for an interrupted cell that awaits something
# how long a thread may take to end: a client waits 2.5 s before it kills a kernel
_THREAD_END_S = 1.0
# how long after Python has dropped an interrupt the cell is interrupted again
_AGAIN_S = 0.01


class RecordingKernel(IPythonKernel):
    """An IPython kernel that refuses to run a cell that it cannot record."""

    implementation = "rbkernel"
    implementation_version = __version__
    banner = "rbkernel: an IPython kernel with a flight recorder"

    session: RecordingSession

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._working_on: dict[int, str] = {}
        self.session.gate.interrupt = self._interrupt_cell
        sys.unraisablehook = partial(self._not_raised, sys.unraisablehook)

    @property
    def recorder(self) -> Recorder:
        """The recorder that writes this kernel's journal."""
        return self.session.recorder

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: dict[str, str] | None = None,
        allow_stdin: bool = False,
        *,
        cell_meta: dict[str, Any] | None = None,
        cell_id: str | None = None,
    ) -> dict[str, Any]:
        """Run a cell; answer with an error instead if the cell cannot be recorded."""
        self.recorder.request = {
            "msg_id": self.get_parent("shell")["header"]["msg_id"],
            "headless": not allow_stdin,
        }
        limits, cell = self.session.gate.limits, self.recorder.request["msg_id"]
        if error := self.recorder.broken or _over(limits.run_excess):
            return self._refuse(error)
        self._working_on[threading.get_ident()] = cell
        try:
            reply: dict[str, Any] = await super().do_execute(
                code,
                silent,
                store_history,
                user_expressions,
                allow_stdin,
                cell_meta=cell_meta,
                cell_id=cell_id,
            )
        except KeyboardInterrupt as interrupt:  # the interrupt hit IPython's own code, not the cell
            return self._refuse(interrupt)
        finally:
            self._working_on.pop(threading.get_ident(), None)
        count = {"execution_count": reply["execution_count"]}
        if self.recorder.broken:
            return {**self._refuse(self.recorder.broken), **count}
        error = _over(limits.excess(cell))
        if error and reply.get("ename", _CANCELLED) == _CANCELLED:
            # the cell caught the interrupt, or awaited something
            return {**self._refuse(error), **count}
        if reply["status"] == "ok" and _called_exit(reply):
            # the kernel may end a moment later: without an error, the client would run more cells
            return {**self._refuse(SystemExit("exit() or quit() was called")), **count}
        return reply

    def pre_handler_hook(self) -> None:
        """Note which request this thread handles; for a cell's request, `do_execute` does that."""
        request = self.get_parent("shell")["header"]
        if request["msg_type"] != "execute_request":
            self._working_on[threading.get_ident()] = request["msg_id"]
        self.saved_sigint_handler = signal.signal(signal.SIGINT, self._interrupted)

    def post_handler_hook(self) -> None:
        """Forget which request this thread was handling."""
        self._working_on.pop(threading.get_ident(), None)
        super().post_handler_hook()

    def _interrupt_cell(self, cell: str, excess: Excess) -> None:
        """Interrupt a cell that exceeds its output limit; at the run's limit, any running cell."""
        running = self._working_on.get(threading.main_thread().ident or 0)
        if running is not None and (running == cell or excess.of_run):
            self._send_interrupt_children()
        elif self._working_on.get(threading.get_ident()) == cell:
            # a subshell runs in another thread; signals reach only the main thread
            raise KeyboardInterrupt(excess.message)

    def _interrupted(self, _number: int, _frame: object) -> None:
        """Handle SIGINT: raise an error in the main thread if it is handling a request."""
        main = threading.main_thread().ident
        if main not in self._working_on:
            return
        over = _over(self.session.gate.limits.excess(self._working_on[main]))
        error = over or KeyboardInterrupt()
        # IPython asks the error object for its traceback lines
        error._render_traceback_ = partial(self._lines_of, error)  # type: ignore[attr-defined]
        raise error

    def _not_raised(self, report: Callable[[Any], Any], dropped: sys.UnraisableHookArgs) -> None:
        """Interrupt the request again if Python dropped the interrupt; else report the error.

        Python drops every exception of a finalizer or of a weak reference's callback, also a
        KeyboardInterrupt that arrived while one ran. The second interrupt comes from another thread
        and a moment later, because this call would drop it as well.
        """
        main = threading.main_thread().ident or 0
        cell = self._working_on.get(main)

        def interrupt_again() -> None:
            if self._working_on.get(main) == cell:
                signal.pthread_kill(main, signal.SIGINT)

        if cell is not None and isinstance(dropped.exc_value, KeyboardInterrupt):
            threading.Timer(_AGAIN_S, interrupt_again).start()
        else:
            report(dropped)

    def _lines_of(self, error: BaseException) -> list[str]:
        """Return the lines of an error's traceback, cut after the last frame of the cell's code."""
        shell: Any = self.shell
        last = step = error.__traceback__
        while step is not None:
            if step.tb_frame.f_globals is shell.user_global_ns:
                last = step
            step = step.tb_next
        if last is not None:
            last.tb_next = None
        lines: list[str] = shell.InteractiveTB.structured_traceback(
            type(error), error, error.__traceback__, tb_offset=1
        )
        return lines

    def _refuse(self, error: BaseException) -> dict[str, Any]:
        # printed text comes before the error, even if a stream still buffers it
        sys.stdout.flush()
        sys.stderr.flush()
        content = {
            "ename": type(error).__name__,
            "evalue": str(error),
            "traceback": [f"{type(error).__name__}: {error}"],
        }
        if isinstance(error, RbkernelError):
            card = {"data": error_cards.bundle(error), "metadata": {}, "transient": {}}
            self._send_refusal("display_data", card)
        self._send_refusal("error", content)
        return {
            "status": "error",
            "execution_count": self.execution_count,
            "user_expressions": {},
            "payload": [],
            **content,
        }

    def _send_refusal(self, kind: str, content: dict[str, Any]) -> None:
        parent, ident = self.get_parent("shell"), self._topic(kind)
        self.session.send(self.iopub_socket, kind, content, parent=parent, ident=ident)


def _called_exit(reply: Mapping[str, Any]) -> bool:
    """Tell whether a cell called `exit()` or `quit()`, from its reply.

    IPython reports success for such a cell.
    """
    return any(one.get("source") == "ask_exit" for one in reply.get("payload") or ())


class RecordingKernelApp(IPKernelApp):
    """The kernel application, which uses rbkernel's session, kernel and magics."""

    name = "rbkernel-kernel"
    kernel_class = RecordingKernel

    @default("session")
    def _session_default(self) -> RecordingSession:
        settings, broken = _settings()
        recorder = _recorder(settings, broken)
        session = RecordingSession(parent=self)
        session.record_with(recorder, _limits(settings))
        install(recorder)
        config.tell_passwords_to(
            lambda connection, password: _learn(recorder, connection, password)
        )
        return session

    @default("outstream_class")
    def _outstream_class_default(self) -> str:
        return "rbkernel.kernel.output.RedactedOutput"

    def write_connection_file(self, **options: Any) -> None:
        """Write the connection file, unless the client has written the same: it may be reading it.

        ipykernel compares the keys of an encrypted connection as bytes with text, so that it would
        always write it again.
        """
        with contextlib.suppress(FileNotFoundError):
            written = json.loads(Path(self.abs_connection_file).read_text(encoding="utf-8"))
            written["key"] = written.get("key", "").encode()
            if self._equal_connections(self.get_connection_info(), written):
                return
        super().write_connection_file(**options)

    def init_kernel(self) -> None:
        """Create the kernel, without a history file."""
        self.update_config(Config(HistoryManager={"enabled": False}))
        super().init_kernel()

    def initialize(self, argv: list[str] | None = None) -> None:
        """Initialize the application; keep secrets and harmless interrupts out of its log."""
        super().initialize(argv)
        self.session.recorder.connection_file = Path(self.abs_connection_file)
        for handler in self.log.handlers:
            handler.setFormatter(RedactedLog(handler.formatter, self.session.recorder.redactor))
        # jupyter_client interrupts a kernel before it shuts it down: the log would show a puzzling
        # error
        self.log.addFilter(lambda record: "KeyboardInterrupt caught" not in record.getMessage())

    def start(self) -> None:
        """Run the kernel until a client requests shutdown; then end the journal, then the threads.

        The record ends first, because a client kills a kernel that does not end soon. The threads
        end before Python's own shutdown, which stops the IOPub thread: a thread that has handled a
        message flushes its output, and would wait ten seconds for a stopped IOPub thread.
        """
        super().start()
        self._end_record()
        for thread in (self.control_thread, self.shell_channel_thread):
            thread.stop()
            thread.join(_THREAD_END_S)

    def close(self) -> None:
        """Close the kernel's sockets, unless a subshell is running a cell: nothing interrupts it.

        Closing the sockets would wait for such a cell. If they stay open, the cell ends with the
        process.
        """
        self._end_record()
        thread = self.shell_channel_thread
        if thread is None or not thread.is_alive():
            super().close()

    def _end_record(self) -> None:
        """Write the journal's last line."""
        sys.stdout.flush()
        sys.stderr.flush()
        self.session.recorder.close()

    @default("parent_handle")
    def _parent_handle_default(self) -> int:
        # ipykernel reads this variable at import, possibly long before and in another process
        return int(os.environ.get("JPY_PARENT_PID") or 0)

    @default("extensions")
    def _extensions_default(self) -> list[str]:
        return ["rbkernel.kernel.magics"]


def _over(excess: Excess | None) -> KeyboardInterrupt | None:
    return KeyboardInterrupt(excess.message) if excess else None


def _settings() -> tuple[config.Settings, RecorderError | None]:
    """Read the configuration.

    If it is invalid, return the default configuration, and the error with which the kernel then
    refuses every cell.
    """
    try:
        return config.load(), None
    except ConfigError as error:
        return config.Settings(), RecorderError(
            f"the configuration cannot be used: {error.what}",
            where=error.where,
            next_step=f"{error.next_step}, then restart the kernel",
        )


def _limits(settings: config.Settings) -> OutputLimits:
    limits = settings.kernel
    return OutputLimits(cell_bytes=limits.cell_output_bytes, run_bytes=limits.run_output_bytes)


def _recorder(settings: config.Settings, broken: RecorderError | None) -> Recorder:
    # removed from the environment, so that processes started by a cell do not inherit the run
    run_id = os.environ.pop("RBKERNEL_RUN_ID", None)
    named = os.environ.get("RBKERNEL_RUNBOOK") if run_id else None
    redactor = secrets.redactor(settings, os.environ)
    for name in os.environ.keys() - secrets.without_action_passwords(settings, os.environ).keys():
        del os.environ[name]  # a cell can propose an action, and not execute it
    document = Path(named) if named else None
    group = settings.evidence.group_access
    recorder = Recorder(settings.evidence_root, run_id, redactor, document, group=group)
    recorder.broken = broken
    return recorder


def _learn(recorder: Recorder, owner: Owner, password: str) -> None:
    """Have a newly fetched password redacted in later output and in the journal so far."""
    name, value, public = secrets.of_owner(owner, password)
    if lines := recorder.learn(name, value, public=public):
        print(
            f"rbkernel: the {name} was shown before rbkernel knew that it is a secret."
            f" It was removed from the journal ({amounts.count(lines, 'line')}), but it is still in"
            " the notebook and on your screen."
            f" Next: change that password; seal the run with its id, not with the notebook:"
            f" `rbkernel evidence seal {recorder.run_id}`.",
            file=sys.stderr,
        )


def main() -> None:
    """Run the kernel with the arguments that Jupyter gives on the command line."""
    RecordingKernelApp.launch_instance()
