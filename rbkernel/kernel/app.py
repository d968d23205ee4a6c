"""The rbkernel kernel: ipykernel with a flight recorder.

Rules: no cell runs that cannot be recorded. A recorder that broke refuses the next cell with its
reason, and turns the reply of the cell in which it broke into that error; the client is always
answered.

Nothing leaves past the session: what a subprocess prints is not echoed to the server's log, IPython
keeps no history file, and the kernel's own log is redacted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from traitlets import default
from traitlets.config import Config

from rbkernel import __version__, config
from rbkernel.errors import ConfigError, RecorderError
from rbkernel.evidence import Recorder, install
from rbkernel.kernel import secrets
from rbkernel.kernel.output import RedactedLog
from rbkernel.kernel.session import RecordingSession
from rbkernel.redact import Redactor

# how long a thread has to end: a client waits 2.5 s before it kills a kernel
_THREAD_END_S = 1.0


class RecordingKernel(IPythonKernel):
    """An IPython kernel that refuses to run what it cannot record."""

    implementation = "rbkernel"
    implementation_version = __version__
    banner = "rbkernel: an IPython kernel with a flight recorder"

    session: RecordingSession

    @property
    def recorder(self) -> Recorder:
        """The recorder of this process."""
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
        """Run a cell, or refuse it when it cannot be recorded."""
        self.recorder.request = {
            "msg_id": self.get_parent("shell")["header"]["msg_id"],
            "headless": not allow_stdin,
        }
        if self.recorder.broken:
            return self._refuse(self.recorder.broken)
        reply: dict[str, Any] = await super().do_execute(
            code,
            silent,
            store_history,
            user_expressions,
            allow_stdin,
            cell_meta=cell_meta,
            cell_id=cell_id,
        )
        if self.recorder.broken:
            return self._refuse(self.recorder.broken)
        return reply

    def _refuse(self, error: RecorderError) -> dict[str, Any]:
        content = {
            "ename": type(error).__name__,
            "evalue": str(error),
            "traceback": [f"{type(error).__name__}: {error}"],
        }
        self.session.send(
            self.iopub_socket,
            "error",
            content,
            parent=self.get_parent("shell"),
            ident=self._topic("error"),
        )
        return {
            "status": "error",
            "execution_count": self.execution_count,
            "user_expressions": {},
            "payload": [],
            **content,
        }


class RecordingKernelApp(IPKernelApp):
    """The kernel application with our session, kernel and magics."""

    name = "rbkernel-kernel"
    kernel_class = RecordingKernel

    @default("session")
    def _session_default(self) -> RecordingSession:
        recorder = _recorder()
        session = RecordingSession(parent=self)
        session.record_with(recorder)
        install(recorder)
        config.tell_passwords_to(
            lambda connection, password: _learn(recorder, connection, password)
        )
        return session

    @default("outstream_class")
    def _outstream_class_default(self) -> str:
        return "rbkernel.kernel.output.RedactedOutput"

    def init_kernel(self) -> None:
        """Set the kernel up, without a history file."""
        self.update_config(Config(HistoryManager={"enabled": False}))
        super().init_kernel()

    def initialize(self, argv: list[str] | None = None) -> None:
        """Set everything up, and keep secrets and an idle kernel's interrupt out of the log."""
        super().initialize(argv)
        for handler in self.log.handlers:
            handler.setFormatter(RedactedLog(handler.formatter, self.session.recorder.redactor))
        # jupyter_client interrupts a kernel before it shuts it down: no error, and at 3 am a riddle
        self.log.addFilter(lambda record: "KeyboardInterrupt caught" not in record.getMessage())

    def start(self) -> None:
        """Run until a client asks for the end; then end the record, and the threads.

        The record comes first, because a client kills a kernel that does not end soon. The threads
        come before Python's own end, which stops the IOPub thread: a thread that has handled a
        message flushes its output, and waits ten seconds for an IOPub thread that has stopped.
        """
        super().start()
        self._end_record()
        for thread in (self.control_thread, self.shell_channel_thread):
            thread.stop()
            thread.join(_THREAD_END_S)

    def close(self) -> None:
        """Close the sockets, unless a subshell runs a cell, which no one can interrupt.

        Closing waits for such a cell; without it, the cell ends with the process.
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

    @default("extensions")
    def _extensions_default(self) -> list[str]:
        return ["rbkernel.kernel.magics"]


def _recorder() -> Recorder:
    # taken out of the environment, so that what a cell starts does not inherit the run
    run_id = os.environ.pop("RBKERNEL_RUN_ID", None)
    named = os.environ.get("RBKERNEL_RUNBOOK") if run_id else None
    settings, broken = config.Settings(), None
    try:
        settings = config.load()
    except ConfigError as error:
        broken = RecorderError(
            f"the configuration cannot be used: {error.what}",
            where=error.where,
            next_step=f"{error.next_step}, then restart the kernel",
        )
    redactor = Redactor()
    for name, value, public in secrets.gather(settings, os.environ):
        redactor.learn(name, value, public=public)
    document = Path(named) if named else None
    recorder = Recorder(settings.evidence_root, run_id, redactor, document)
    recorder.broken = broken
    return recorder


def _learn(recorder: Recorder, connection: config.Connection, password: str) -> None:
    """Take a password that was just fetched out of all that follows, and of what is written."""
    name, value, public = secrets.of_connection(connection, password)
    if lines := recorder.learn(name, value, public=public):
        print(
            f"rbkernel: the {name} was shown before it was known ({lines} lines of the journal)."
            " It is out of the journal now, but not out of the notebook and what else you see."
            f" Next: change that password; seal the run id {recorder.run_id}, not the notebook.",
            file=sys.stderr,
        )


def main() -> None:
    """Start the kernel, as Jupyter asks for it on the command line."""
    RecordingKernelApp.launch_instance()
