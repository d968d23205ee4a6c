"""The kernel's session, which redacts, journals and sends every message of the kernel.

No other module knows ipykernel's session.

Ordering rules: a message is redacted before anybody sees it, and is journaled before the client
gets it. So everything that a client saw is on record, and no secret is in either place. If the
redaction fails, the content of the message is withheld and the message says so. A recorder that
fails never keeps a message from the client; the kernel refuses the next cell instead (see
`rbkernel.kernel.app`).

The text after the last complete line of a stream is held back, because a secret may continue in the
next message. If the stream is flushed, this text is sent at once, except for an end that may be the
beginning of a secret. This end follows after `RELEASE_S` seconds; the cell's next output, or its
reply, comes after it. So a killed kernel loses no more than this end, and output of a thread is
sent even after its cell has ended.
"""

from __future__ import annotations

import base64
import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import zmq
from jupyter_client.session import Session

from rbkernel.errors import RecorderError
from rbkernel.evidence import Recorder
from rbkernel.kernel.gate import OutputGate
from rbkernel.kernel.limits import OutputLimits
from rbkernel.redact import Carry, MessageRedactor, secrets_in
from rbkernel.redact.messages import Clean
from rbkernel.strictjson import well_formed

# not `status`: it brackets every message, also those of completion and the variable inspector; the
# journal takes a cell's start and end from its request and reply
_RECORDED = frozenset(
    {
        "stream",
        "display_data",
        "update_display_data",
        "execute_result",
        "error",
        "clear_output",
        "execute_input",
        "comm_open",
        "comm_msg",
        "comm_close",
    }
)
# how long the possible beginning of a secret waits for the rest
RELEASE_S = 0.1
# for how many streams the last line is kept; ended cells count, since their threads may write
_STREAMS = 16
# messages that continue the text before them; clients join texts across all other messages
_SAID_AFTERWARDS = frozenset(
    {"display_data", "execute_result", "error", "clear_output", "execute_input", "execute_reply"}
    | {"input_request", "shutdown_reply"}
)


@dataclass
class _Stream:
    """A cell's stream (stdout or stderr), its held-back text, and its last message and socket."""

    carry: Carry
    message: dict[str, Any]
    socket: Any
    ident: Any

    @property
    def key(self) -> tuple[str, str | None]:
        """The stream's name, and the request id of the cell that writes to it."""
        return self.message["content"]["name"], self.message["parent_header"].get("msg_id")


class RecordingSession(Session):
    """A kernel session that redacts every outgoing message and writes it to the journal."""

    recorder: Recorder
    gate: OutputGate

    def record_with(self, recorder: Recorder, limits: OutputLimits) -> None:
        """Set the recorder (with its redactor) and the output limits of this session."""
        self.recorder = recorder
        self.gate = OutputGate(self, limits)
        self._messages = MessageRedactor(recorder.redactor)
        self._streams: dict[tuple[str, str | None], _Stream] = {}
        self._asked_for_password = False
        self._said_withheld: set[tuple[str | None, str]] = set()
        os.register_at_fork(after_in_child=self._begin_in_child)

    def send(
        self,
        stream: Any,
        msg_or_type: Any,
        content: Any = None,
        parent: Any = None,
        ident: Any = None,
        buffers: Any = None,
        track: bool = False,
        header: Any = None,
        metadata: Any = None,
    ) -> Any:
        """Redact a message, journal it, then send it to the client."""
        message = msg_or_type
        if not isinstance(message, dict):
            message = self.msg(message, content, parent, header, metadata)
        kind = message["header"]["msg_type"]
        if not self.gate.admits(stream, message, ident, buffers):
            return message
        if kind == "stream":
            return self.send_stream(stream, message, ident)
        with self.recorder.lock:
            if kind in _SAID_AFTERWARDS or _redirects_streams(message):
                self._let_go()
            self._asked_for_password |= bool(message["content"].get("password"))
            given = buffers or message.get("buffers") or ()
            clean = self._messages.clean(kind, message["content"], message["metadata"], given)
            said = self._pass_on(stream, message, clean, ident, track)
            if clean.marks:
                self._say_withheld(stream, message, clean.marks)
            return said

    def send_stream(self, socket: Any, message: dict[str, Any], ident: Any) -> Any:
        """Redact a message with printed text, journal it, then send it to the client."""
        with self.recorder.lock:
            return self._send_stream(socket, message, ident)

    def deserialize(self, msg_list: Any, content: bool = True, copy: bool = True) -> Any:
        """Read a client's message; journal a cell's request, and have its secrets redacted."""
        message = super().deserialize(msg_list, content, copy)
        if content:
            with self.recorder.lock, contextlib.suppress(RecorderError):
                self._hear(message["header"]["msg_type"], message)
        return message

    def _hear(self, kind: str, message: Mapping[str, Any]) -> None:
        asked = message["content"]
        if kind == "execute_request":
            for rule, value in secrets_in(str(asked.get("code", ""))):
                self.recorder.learn(rule, value)
            clean = self._messages.clean("execute_input", {"code": asked.get("code", "")}, {}, ())
            self.recorder.record(
                "request",
                msg_id=message["header"]["msg_id"],
                code=clean.content["code"],
                cell_id=message["metadata"].get("cellId"),
                silent=asked.get("silent", False),
                allow_stdin=asked.get("allow_stdin", False),
            )
        elif kind == "input_reply" and self._asked_for_password:
            self._asked_for_password = False
            self.recorder.learn("typed", str(asked.get("value", "")))
        elif kind == "comm_msg" and (typed := self._messages.typed(asked)):
            self.recorder.learn("typed", typed)

    def flushed(self, name: str) -> None:
        """Send a stream's held-back text, except an end that may be the beginning of a secret."""
        with self.recorder.lock:
            for stream in [one for one in self._streams.values() if one.key[0] == name]:
                self._send_held(stream, stream.carry.flushed)

    def _send_stream(self, socket: Any, message: dict[str, Any], ident: Any) -> Any:
        stream = _Stream(Carry(self.recorder.redactor), message, socket, ident)
        if known := self._streams.pop(stream.key, None):
            stream.carry = known.carry
        self._streams[stream.key] = stream
        if len(self._streams) > _STREAMS:
            oldest = self._streams.pop(next(iter(self._streams)))
            self._send_held(oldest, oldest.carry.rest)
        clean = _clean_stream(
            message, lambda: stream.carry.take(well_formed(message["content"]["text"]))
        )
        said = self._pass_on(socket, message, clean, ident) if clean.content["text"] else message
        if stream.carry.holds:
            self._release_later(stream)
        return said

    def _release_later(self, stream: _Stream) -> None:
        """Send a stream's held-back text after a delay; at once in a child or an ending kernel."""
        if getattr(stream.socket, "thread", None) is threading.current_thread():
            stream.socket.io_loop.call_later(RELEASE_S, self._release, stream)
        else:  # a forked child, or a kernel that is ending
            self._send_held(stream, stream.carry.rest)

    def _release(self, stream: _Stream) -> None:
        with self.recorder.lock:
            if self._streams.get(stream.key) is stream:  # no more text came
                self._send_held(stream, stream.carry.rest)

    def _say_withheld(self, socket: Any, message: Mapping[str, Any], marks: list[str]) -> None:
        """Tell the user in the cell's output that content of a widget was redacted or withheld."""
        widget = message["content"].get("comm_id")
        new = [mark for mark in marks if (widget, mark) not in self._said_withheld]
        self._said_withheld.update((widget, mark) for mark in new)
        if new:
            content = {"name": "stderr", "text": f"{', '.join(new)} in what a widget shows\n"}
            self.send(socket, "stream", content, message["parent_header"], b"stream.stderr")

    def _let_go(self) -> None:
        """Send the held-back text of all streams."""
        for stream in self._streams.values():
            self._send_held(stream, stream.carry.rest)

    def _send_held(self, stream: _Stream, take: Callable[[], str]) -> None:
        if not stream.carry.holds:
            return
        # as a new message: the original message may already have been sent
        header = self.msg_header("stream")
        message = {**stream.message, "header": header, "msg_id": header["msg_id"]}
        clean = _clean_stream(message, take)
        if clean.content["text"]:
            self._pass_on(stream.socket, message, clean, stream.ident)

    def _pass_on(
        self, socket: Any, message: dict[str, Any], clean: Clean, ident: Any, track: bool = False
    ) -> Any:
        with contextlib.suppress(RecorderError):
            self._record(message, clean)
        said = {**message, "content": clean.content, "metadata": clean.metadata, "buffers": []}
        buffers: list[Any] = list(clean.buffers)
        try:
            return super().send(socket, said, ident=ident, buffers=buffers or None, track=track)
        except zmq.ZMQError as error:
            if error.errno != zmq.ENOTSOCK:
                raise
            return said  # the kernel is ending and has closed its sockets: no client listens

    def _record(self, message: Mapping[str, Any], clean: Clean) -> None:
        kind, parent = message["header"]["msg_type"], message["parent_header"].get("msg_id")
        if kind == "execute_reply":
            kept = ("status", "execution_count", "ename", "evalue")
            content = {key: clean.content[key] for key in kept if key in clean.content}
            self.recorder.tell_redactions(parent)
            self.recorder.record("reply", parent=parent, sync=True, **content)
        elif kind in _RECORDED and self.recorder.started:
            extra: dict[str, Any] = {"metadata": clean.metadata} if clean.metadata else {}
            if clean.buffers:
                extra["buffers"] = [base64.b64encode(part).decode() for part in clean.buffers]
            self.recorder.record("iopub", type=kind, parent=parent, content=clean.content, **extra)

    def _begin_in_child(self) -> None:
        """In a forked child, replace the parent's lock, and drop the parent's held-back text."""
        self.recorder.lock = threading.RLock()
        self._streams = {}


def _clean_stream(message: Mapping[str, Any], take: Callable[[], str]) -> Clean:
    try:
        return Clean.stream(message, take())
    # on any error the client must get an answer, without the content of the message
    except Exception as error:  # noqa: BLE001
        return Clean.withheld("stream", message["content"], error)


def _redirects_streams(message: Mapping[str, Any]) -> bool:
    """Return whether a message makes an Output widget start or stop capturing printed text."""
    data = message["content"].get("data")
    state = data.get("state") if isinstance(data, dict) else None
    return isinstance(state, dict) and "msg_id" in state
