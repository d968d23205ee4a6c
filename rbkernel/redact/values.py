"""Redact a kernel's output: JSON of any shape, MIME bundles, pictures, binary buffers.

For most values one fast search is enough: all texts of a value are joined and searched at once,
and a value without secrets is returned unchanged. Otherwise each text is redacted separately. Data
that cannot be searched is withheld and replaced by a note.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import date
from numbers import Number
from typing import Any

from rbkernel.redact.images import decoded, plain_base64, plain_picture
from rbkernel.redact.luhn import is_card
from rbkernel.redact.names import is_secret
from rbkernel.redact.span import MASK, Span, mask
from rbkernel.redact.text import TextRedactor

Buffer = bytes | bytearray | memoryview

_MIMETYPE = re.compile(r"(?:text|image|application|audio|video|font|model)/[\w.+-]{1,100}")
_TEXT = re.compile(
    r"text/.*|image/svg\+xml|application/(?:.*[.+-])?(?:json|xml|javascript|yaml|sql|x-tex)"
)
_PICTURE = ("image/png", "image/jpeg")
_DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+)?[\w=;.+-]*?;base64,([A-Za-z0-9+/=]++|[\w=-]++)")
# compressed formats: GIF, WebP, PDF, zip, gzip, zstd, bzip2, xz
_PACKED = (
    b"GIF8",
    b"RIFF",
    b"%PDF",
    b"PK\3\4",
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
    b"BZh",
    b"\xfd7z",
)
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff")
_UNSEARCHABLE = (*_PICTURES, *_PACKED)
# the keys of name and value in lists of variables and parameters
_LABELS = ("name", "Name", "key", "Key", "ParameterKey", "OptionName")
_VALUE = re.compile(r"(?:Parameter)?[Vv]alue")
# integers from this size on may be card numbers
_LARGE = 10**13
# plotly's typed arrays
_ARRAY = {"dtype", "bdata"}


class Redactor:
    """Redacts all output of a kernel. Not thread-safe: the caller must hold a lock."""

    def __init__(self, texts: TextRedactor | None = None) -> None:
        self.texts = texts or TextRedactor()
        self.counts = self.texts.counts

    def learn(self, name: str, value: str, *, public: Collection[str] = ()) -> bool:
        """Remember a secret; return False if it cannot be searched for or is already known."""
        return self.texts.known.learn(name, value, public=public)

    def text(self, text: str) -> str:
        """Return a text without secrets; pictures in data URIs lose their metadata."""
        if ";base64," in text:
            text = _DATA_URI.sub(self._data_uri, text)
        return self.texts.text(text)

    def spans(self, text: str) -> list[Span]:
        """Return the spans to redact in a text."""
        return self.texts.spans(text)

    def value(self, value: Any) -> Any:
        """Return a JSON value without secrets; the same object if there are none.

        A MIME bundle is recognized by its place (see `_is_bundle`), not by its keys, because any
        mapping may have a key that looks like a MIME type.

        >>> Redactor().value({"password": "x1", "rows": [1, "plain"]})
        {'password': '[redacted:password]', 'rows': [1, 'plain']}

        Raises
        ------
        TypeError
            The value contains a type that JSON does not have, which cannot be searched.
        """
        return self._value(value) if self._may_hold_a_secret(value) else value

    def fields(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return fields without secrets; the same object if there are none.

        The names of the fields belong to the protocol or the recorder and stay unchanged.

        >>> redactor = Redactor()
        >>> redactor.learn("typed", "hunter2")
        True
        >>> redactor.fields({"name": "stdout", "hunter2": "a hunter2"})
        {'name': 'stdout', 'hunter2': 'a [redacted:typed]'}
        """
        return self._mapping(fields, own=True) if self._may_hold_a_secret(fields) else fields

    def _may_hold_a_secret(self, value: Any) -> bool:
        """Tell whether a value may contain a secret: search all its texts, joined, at once."""
        gathered = _Gathered(self._first)
        gathered.add(value)
        return gathered.suspicious or bool(self.texts.spans("\n".join(gathered.texts)))

    def buffer(self, data: Buffer) -> Buffer:
        """Return a redacted binary buffer.

        A picture loses its metadata. A buffer that holds a secret or cannot be searched is
        replaced by a mark and zeros of at least the same length.
        """
        content = bytes(data)
        if content.startswith(_PICTURES):
            try:
                return plain_picture(content)
            except ValueError:
                return self._marked(content, "picture", "withheld: picture")
        if content.startswith(_PACKED):
            return self._marked(content, "packed data", "withheld: packed data")
        found = self._first(content)
        return data if found is None else self._marked(content, found.rule, found.rule)

    def _first(self, content: bytes) -> Span | None:
        """Return one secret in binary data, or None."""
        # each byte becomes a character, so that texts inside are readable
        found = self.texts.first(content.decode("latin-1"))
        if found is None and self.texts.known.beyond_ascii:
            found = self.texts.first(_utf8(content))
        return found

    def _marked(self, content: bytes, reason: str, rule: str) -> bytes:
        self.counts[rule] += 1
        return marked(len(content), reason)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, list | tuple):
            return [self._value(one) for one in value]
        if isinstance(value, int) and abs(value) >= _LARGE and is_card(str(value)):
            return self._masked("card number")
        return value

    def _mapping(self, value: Mapping[str, Any], *, own: bool = False) -> dict[str, Any]:
        if value.keys() >= _ARRAY and isinstance(value["bdata"], str):
            return self._array(value)
        named = _names_secret(value)
        clean: dict[str, Any] = {}
        for key, one in value.items():
            name = key if own else self.text(key)
            if isinstance(one, Mapping) and _is_bundle(key, value):
                clean[name] = self._bundle(one)
            elif isinstance(one, Mapping) and key == "attachments":
                clean[key] = self._attachments(one)
            else:
                clean[name] = self._entry(
                    key, one, secret=named and _VALUE.fullmatch(key) is not None
                )
        return clean

    def _entry(self, key: str, value: Any, *, secret: bool = False) -> Any:
        return self._secret(value) if secret or is_secret(key) else self._value(value)

    def _attachments(self, files: Mapping[str, Any]) -> dict[str, Any]:
        """Redact the attachments of a Markdown cell: one MIME bundle per name."""
        return {
            self.text(name): self._bundle(one) if isinstance(one, Mapping) else self._value(one)
            for name, one in files.items()
        }

    def _secret(self, value: Any) -> Any:
        """Mask the value of a field that is named like a secret; booleans stay unchanged."""
        if isinstance(value, list | tuple):
            return [self._secret(one) for one in value]
        if isinstance(value, Mapping):
            return self._mapping(value)
        if value is None or isinstance(value, bool) or value == "" or _is_masked(value):
            return value
        return self._masked("password")

    def _masked(self, rule: str) -> str:
        self.counts[rule] += 1
        return mask(rule)

    def _array(self, value: Mapping[str, Any]) -> dict[str, Any]:
        try:
            content = decoded(value["bdata"])
        except ValueError:
            return {**value, "bdata": self.text(value["bdata"])}
        if self.buffer(content) == content:
            return dict(value)
        return {
            **value,
            "bdata": "A" * len(value["bdata"].rstrip("=")) + "=" * value["bdata"].count("="),
        }

    def _bundle(self, bundle: Mapping[str, Any]) -> dict[str, Any]:
        """Redact each representation in a MIME bundle; replace unsearchable ones by a note."""
        kept: dict[str, Any] = {}
        left_out = []
        for mimetype, value in bundle.items():
            name = self.text(mimetype)
            try:
                kept[name] = self._representation(mimetype, value)
            except ValueError:
                left_out.append(name)
        if left_out:
            self.counts["withheld"] += len(left_out)
            note = withheld(f"{', '.join(left_out)}: it cannot be searched for secrets")
            kept["text/plain"] = "\n".join(filter(None, [_as_text(kept.get("text/plain")), note]))
        return kept

    def _representation(self, mimetype: str, value: Any) -> Any:
        if mimetype in _PICTURE:
            return plain_base64(_as_text(value))
        if (
            not isinstance(value, str)
            or _TEXT.fullmatch(mimetype)
            or not _MIMETYPE.fullmatch(mimetype)
        ):
            return self._entry(mimetype, value)
        raise ValueError(mimetype)

    def _data_uri(self, match: re.Match[str]) -> str:
        mimetype, data = match[1] or "text/plain", match[2]
        head = match[0][: match.start(2) - match.start()]
        try:
            if mimetype in _PICTURE:
                return head + plain_base64(data)
            if _TEXT.fullmatch(mimetype) and not self.texts.spans(_utf8(decoded(data))):
                return match[0]
        except ValueError:
            pass
        self.counts["withheld"] += 1
        return withheld(f"{mimetype}")


def withheld(what: str) -> str:
    """Return the text that replaces data that could not be searched.

    >>> withheld("image/gif")
    '[withheld: image/gif]'
    """
    return f"[withheld: {what}]"


def marked(length: int, reason: str) -> bytes:
    """Return the buffer that replaces a withheld one: the reason, then zeros.

    It has ``length`` bytes, or more if the reason needs more.

    >>> marked(20, "picture")
    b'[withheld: picture]\\x00'
    """
    return withheld(reason).encode().ljust(length, b"\0")


class _Gathered:
    """All texts of a value, collected for the fast search.

    ``suspicious`` is true if the value has parts that the fast search cannot check.
    """

    def __init__(self, first: Callable[[bytes], Span | None]) -> None:
        self.texts: list[str] = []
        self.suspicious = False
        self._first = first

    def add(self, value: Any) -> None:
        if isinstance(value, str):
            self.texts.append(value)
            self.suspicious = self.suspicious or ";base64," in value
        elif isinstance(value, Mapping):
            self._add_mapping(value)
        elif isinstance(value, list | tuple):
            for one in value:
                if one.__class__ is not float:
                    self.add(one)
        elif isinstance(value, int):
            self.suspicious = self.suspicious or abs(value) >= _LARGE
        elif value is not None and not isinstance(value, Number | date):
            raise TypeError(f"a {type(value).__name__} cannot be searched")

    def _add_mapping(self, value: Mapping[str, Any]) -> None:
        if value.keys() >= _ARRAY and isinstance(value["bdata"], str):
            self.suspicious = self.suspicious or not self._is_harmless(value["bdata"])
            value = {key: one for key, one in value.items() if key != "bdata"}
        for key, one in value.items():
            self.add(key)
            self.suspicious = self.suspicious or _is_suspicious(key, one)
            if not (isinstance(one, str) and _is_binary(key)):
                self.add(one)

    def _is_harmless(self, array: str) -> bool:
        """Tell whether an array is neither a picture nor packed, and holds no secret."""
        try:
            content = decoded(array)
        except ValueError:
            return False
        return not content.startswith(_UNSEARCHABLE) and self._first(content) is None


def _is_suspicious(key: str, value: Any) -> bool:
    if _is_binary(key) or is_secret(key) or (key in _LABELS and is_secret(str(value))):
        return True
    return bool(_MIMETYPE.fullmatch(key)) and not (
        _TEXT.fullmatch(key) or isinstance(value, list | dict)
    )


def _names_secret(value: Mapping[str, Any]) -> bool:
    """Tell whether a mapping such as ``{"name": "DB_PASSWORD", "value": …}`` names a secret."""
    return any(is_secret(str(value[label])) for label in _LABELS if label in value)


def _is_bundle(key: str, siblings: Mapping[str, Any]) -> bool:
    """Tell whether the value of this key is a MIME bundle.

    Messages and outputs have a bundle as ``data`` beside ``metadata``; the pager's payload has it
    beside ``source``.
    """
    return key == "data" and ("metadata" in siblings or siblings.get("source") == "page")


def _is_binary(key: str) -> bool:
    """Tell whether a text under this key is base64 data that is checked separately."""
    return key == "bdata" or key in _PICTURE


def _is_masked(value: Any) -> bool:
    return isinstance(value, str) and bool(MASK.fullmatch(value))


def _as_text(value: Any) -> str:
    return "".join(value) if isinstance(value, list) else str(value or "")


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")
