"""The one module that knows ipykernel's session: every message is journaled, then sent.

Ordering rule: the journal gets a message before the client does, so that whatever was seen is
on record. A recorder that fails never keeps a message from the client; the kernel refuses the
next cell instead (see `rbkernel.kernel.app`).
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Sequence
from typing import Any

from jupyter_client.session import Session, extract_header

from rbkernel.errors import RecorderError
from rbkernel.evidence import Recorder

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


class RecordingSession(Session):
    """A session that tells its recorder of all that passes."""

    recorder: Recorder

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
        """Journal a message, then pass it on."""
        if isinstance(msg_or_type, dict):
            kind = msg_or_type["header"]["msg_type"]
            content = msg_or_type.get("content", {})
            parent = msg_or_type.get("parent_header", {})
        else:
            kind = msg_or_type
        with contextlib.suppress(RecorderError):
            self._record(kind, content or {}, parent, buffers, metadata)
        if isinstance(msg_or_type, dict):
            return super().send(stream, msg_or_type, ident=ident, buffers=buffers, track=track)
        return super().send(stream, kind, content, parent, ident, buffers, track, header, metadata)

    def deserialize(self, msg_list: Any, content: bool = True, copy: bool = True) -> Any:
        """Read a message; journal what is asked of the kernel."""
        message = super().deserialize(msg_list, content, copy)
        if content and message["header"]["msg_type"] == "execute_request":
            asked = message["content"]
            with contextlib.suppress(RecorderError):
                self.recorder.record(
                    "request",
                    msg_id=message["header"]["msg_id"],
                    code=asked.get("code", ""),
                    cell_id=message["metadata"].get("cellId"),
                    silent=asked.get("silent", False),
                    allow_stdin=asked.get("allow_stdin", False),
                )
        return message

    def _record(
        self,
        kind: str,
        content: dict[str, Any],
        parent: Any,
        buffers: Sequence[bytes] | None,
        metadata: dict[str, Any] | None,
    ) -> None:
        parent_id = extract_header(parent).get("msg_id") if parent else None
        if kind == "execute_reply":
            kept = ("status", "execution_count", "ename", "evalue")
            told = {key: content[key] for key in kept if key in content}
            self.recorder.record("reply", parent=parent_id, sync=True, **told)
        elif kind in _RECORDED and self.recorder.started:
            extra: dict[str, Any] = {"metadata": metadata} if metadata else {}
            if buffers:
                extra["buffers"] = [base64.b64encode(part).decode() for part in buffers]
            self.recorder.record("iopub", type=kind, parent=parent_id, content=content, **extra)
