"""Redact the messages of a kernel, each kind in the form that its client expects.

It fails closed: a message that cannot be searched is replaced by a note, with only the fields that
the client needs to continue (a status, an id, a cursor). Redacted messages are in normal form
(`rbkernel.strictjson`), so that the client, the journal and the notebook have the same values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbkernel import strictjson
from rbkernel.redact.values import Buffer, Redactor, marked, withheld

# fields of messages that cannot be secrets, and that clients need
_STRUCTURE = frozenset(
    {"status", "execution_count", "execution_state", "name", "comm_id", "target_name", "wait"}
    | {"target_module", "cursor_start", "cursor_end", "found", "restart", "password", "transient"}
    | {"ename"}
)
_NOT_SEARCHED = "this could not be searched for secrets"
_LONGEST_MARK = 200
_MARK = re.compile(rb"\[withheld: [^\]\0]+\]")
_PASSWORD_WIDGET = "PasswordModel"  # noqa: S105 - the name of a class


@dataclass(frozen=True, kw_only=True)
class Clean:
    """A redacted message: the part that may be sent and journaled."""

    content: dict[str, Any]
    metadata: dict[str, Any]
    buffers: tuple[Buffer, ...] = ()

    @property
    def marks(self) -> list[str]:
        """The texts that replace withheld buffers in the message."""
        found = (_MARK.match(bytes(memoryview(one)[:_LONGEST_MARK])) for one in self.buffers)
        return sorted({match[0].decode() for match in found if match})

    @classmethod
    def stream(cls, message: Mapping[str, Any], text: str) -> Clean:
        """Return a stream message with this text."""
        return cls(content={**message["content"], "text": text}, metadata=message["metadata"])

    @classmethod
    def withheld(
        cls, kind: str, content: Mapping[str, Any], error: Exception, buffers: Sequence[Buffer] = ()
    ) -> Clean:
        """Return a message with a note that its content could not be searched."""
        return cls(
            content=withheld_content(kind, content, type(error).__name__),
            metadata={},
            buffers=tuple(marked(memoryview(one).nbytes, _NOT_SEARCHED) for one in buffers),
        )


class MessageRedactor:
    """Redacts messages, and remembers which widgets are password fields."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._password_widgets: set[str] = set()

    def clean(
        self,
        kind: str,
        content: Mapping[str, Any],
        metadata: Mapping[str, Any],
        buffers: Sequence[Buffer],
    ) -> Clean:
        """Return the redacted message; no message of a cell makes this method raise."""
        try:
            return self._clean(kind, content, metadata, buffers)
        # after any error the client must get an answer, but not the original message
        except Exception as error:  # noqa: BLE001
            self._redactor.counts["withheld"] += 1
            return Clean.withheld(kind, content, error, buffers)

    def _clean(
        self,
        kind: str,
        content: Mapping[str, Any],
        metadata: Mapping[str, Any],
        buffers: Sequence[Buffer],
    ) -> Clean:
        if kind.startswith("comm_"):
            content = self._without_typed_password(content)
        return Clean(
            content=dict(self._redactor.fields(strictjson.normal(content))),
            metadata=self._redactor.value(strictjson.normal(metadata)),
            buffers=tuple(self._redactor.buffer(one) for one in buffers),
        )

    def typed(self, content: Mapping[str, Any]) -> str:
        """Return the text typed into a password field by this message; else empty."""
        if content.get("comm_id") not in self._password_widgets:
            return ""
        return str(_state(content).get("value", ""))

    def _without_typed_password(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Remove the value of a password field: a mask would be written into the field."""
        state = _state(content)
        if state.get("_model_name") == _PASSWORD_WIDGET:
            self._password_widgets.add(content["comm_id"])
        if content.get("comm_id") not in self._password_widgets or "value" not in state:
            return content
        self._redactor.counts["password field"] += bool(state["value"])
        shown = {key: value for key, value in state.items() if key != "value"}
        return {**content, "data": {**content["data"], "state": shown}}


def _state(content: Mapping[str, Any]) -> Mapping[str, Any]:
    data = content.get("data")
    state = data.get("state") if isinstance(data, Mapping) else None
    return state if isinstance(state, Mapping) else {}


def withheld_content(kind: str, content: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Return content of this kind with a note that the original was withheld.

    >>> withheld_content("stream", {"name": "stdout", "text": "…"}, "ValueError")
    {'name': 'stdout', 'text': '[withheld: this could not be searched for secrets (ValueError)]'}
    """
    note = withheld(f"{_NOT_SEARCHED} ({reason})")
    kept = {key: value for key, value in content.items() if key in _STRUCTURE and _is_plain(value)}
    return {**kept, **(_REPLACED[kind](note) if kind in _REPLACED else {})}


def _is_plain(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, bool | int)
        or (isinstance(value, str) and len(value) <= 100)
        or value == {}
    )


def _bundle(note: str) -> dict[str, Any]:
    return {"data": {"text/plain": note}, "metadata": {}}


def _error(note: str) -> dict[str, Any]:
    return {"evalue": note, "traceback": [note]}


_REPLACED: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "stream": lambda note: {"text": note},
    "display_data": lambda note: {**_bundle(note), "transient": {}},
    "update_display_data": lambda note: {**_bundle(note), "transient": {}},
    "execute_result": _bundle,
    "error": _error,
    "execute_input": lambda note: {"code": f"# {note}"},
    "execute_reply": lambda note: {**_error(note), "user_expressions": {}, "payload": []},
    "inspect_reply": _bundle,
    "complete_reply": lambda _: {"matches": [], "metadata": {}},
    "history_reply": lambda _: {"history": []},
    "comm_open": lambda _: {"data": {}},
    "comm_msg": lambda _: {"data": {}},
    "comm_close": lambda _: {"data": {}},
    "input_request": lambda note: {"prompt": note},
}
