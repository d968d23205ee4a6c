"""The one module that knows ipykernel's session: every message is redacted, journaled, then sent.

Ordering rules: a message is redacted before anybody sees it, and the journal gets it before the
client does, so that whatever was seen is on record, and neither holds a secret. A redaction that
fails withholds the message's content and says so; a recorder that fails never keeps a message
from the client; the kernel refuses the next cell instead (see `rbkernel.kernel.app`).

A stream is held back to the end of its last whole line, because a secret may go on in the next
message; before a cell's next output, and before its reply, the rest is let go.
"""

from __future__ import annotations

import base64
import contextlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import zmq
from jupyter_client.session import Session

from rbkernel.errors import RecorderError
from rbkernel.evidence import Recorder
from rbkernel.redact import Carry, MessageRedactor, told_in
from rbkernel.redact.messages import Clean
from rbkernel.strictjson import well_formed

# `status` brackets every message, also those of completion and the variable inspector: the
# journal has a cell's start and end from its request and reply.
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
# what stands behind the text that came before it; clients join texts around anything else
_SAID_AFTERWARDS = frozenset(
    {"display_data", "execute_result", "error", "clear_output", "execute_input", "execute_reply"}
    | {"input_request", "shutdown_reply"}
)


@dataclass
class _Held:
    """The rest of a stream, with the message that it came in and the socket that it goes to."""

    carry: Carry
    message: dict[str, Any]
    socket: Any
    ident: Any


class RecordingSession(Session):
    """A session that redacts all that leaves, and tells its recorder of it."""

    recorder: Recorder

    def record_with(self, recorder: Recorder) -> None:
        """Tell this recorder of everything, and redact with what it knows."""
        self.recorder = recorder
        self._messages = MessageRedactor(recorder.redactor)
        self._held: dict[str, _Held] = {}
        self._asked_for_password = False
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
        """Redact a message, journal it, then pass it on."""
        message = msg_or_type
        if not isinstance(message, dict):
            message = self.msg(message, content, parent, header, metadata)
        kind = message["header"]["msg_type"]
        with self.recorder.lock:
            if kind == "stream":
                return self._send_stream(stream, message, ident)
            if kind in _SAID_AFTERWARDS or _redirects_streams(message):
                self._let_go()
            self._asked_for_password |= bool(message["content"].get("password"))
            given = buffers or message.get("buffers") or ()
            clean = self._messages.clean(kind, message["content"], message["metadata"], given)
            return self._pass_on(stream, message, clean, ident, track)

    def deserialize(self, msg_list: Any, content: bool = True, copy: bool = True) -> Any:
        """Read a message; journal what is asked of the kernel, and learn the secrets in it."""
        message = super().deserialize(msg_list, content, copy)
        if content:
            with self.recorder.lock, contextlib.suppress(RecorderError):
                self._hear(message["header"]["msg_type"], message)
        return message

    def _hear(self, kind: str, message: Mapping[str, Any]) -> None:
        asked = message["content"]
        if kind == "execute_request":
            for rule, value in told_in(str(asked.get("code", ""))):
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

    def _send_stream(self, socket: Any, message: dict[str, Any], ident: Any) -> Any:
        name, parent = message["content"]["name"], message["parent_header"].get("msg_id")
        held = self._held.get(name)
        if held and held.message["parent_header"].get("msg_id") != parent:
            self._let_go()
            held = None
        carry = held.carry if held else Carry(self.recorder.redactor)
        self._held[name] = _Held(carry, message, socket, ident)
        try:
            clean = Clean.stream(message, carry.take(well_formed(message["content"]["text"])))
        # whatever goes wrong, the client must get an answer, and not the message
        except Exception as error:  # noqa: BLE001
            clean = Clean.withheld("stream", message["content"], error)
        return self._pass_on(socket, message, clean, ident) if clean.content["text"] else message

    def _let_go(self) -> None:
        """Send what is held of the streams: nothing goes on from it."""
        waiting, self._held = self._held, {}
        for held in waiting.values():
            if text := held.carry.rest():
                # a message of its own: the one that it came in may have been sent
                header = self.msg_header("stream")
                message = {**held.message, "header": header, "msg_id": header["msg_id"]}
                self._pass_on(held.socket, message, Clean.stream(message, text), held.ident)

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
            return said  # the kernel is ending and has closed its sockets: nobody listens

    def _record(self, message: Mapping[str, Any], clean: Clean) -> None:
        kind, parent = message["header"]["msg_type"], message["parent_header"].get("msg_id")
        if kind == "execute_reply":
            kept = ("status", "execution_count", "ename", "evalue")
            told = {key: clean.content[key] for key in kept if key in clean.content}
            self.recorder.tell_redactions(parent)
            self.recorder.record("reply", parent=parent, sync=True, **told)
        elif kind in _RECORDED and self.recorder.started:
            extra: dict[str, Any] = {"metadata": clean.metadata} if clean.metadata else {}
            if clean.buffers:
                extra["buffers"] = [base64.b64encode(part).decode() for part in clean.buffers]
            self.recorder.record("iopub", type=kind, parent=parent, content=clean.content, **extra)

    def _begin_in_child(self) -> None:
        """After a fork another thread may have held the lock; what is held is the parent's."""
        self.recorder.lock = threading.RLock()
        self._held = {}


def _redirects_streams(message: Mapping[str, Any]) -> bool:
    """Tell whether an output widget begins or ends to catch what is printed."""
    data = message["content"].get("data")
    state = data.get("state") if isinstance(data, dict) else None
    return isinstance(state, dict) and "msg_id" in state
