"""Read the context of a key such as ``password``: code, a shell, a URL, a settings file.

In ``connect(password=db_password)`` the value is a variable and stays readable. In the other
contexts the same text is the password itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

_NAME = re.compile(r"[\w.-]{0,60}\Z")
# characters to search backwards; the text before a password is rarely longer
_NEAR = 300
_SECTION = re.compile(r"^[ \t]*\[[\w .:/-]{1,60}\][ \t]*$", re.MULTILINE)
_PAIR_BEFORE = re.compile(r"(?:^|[\s\"'])[\w.-]+=(?!=)[^\s,()]*[ \t]+\Z")
_PAIR_AFTER = re.compile(r"[ \t]+[A-Za-z_][\w.]*=(?!=)[^\s,(]")
_CONNECTION_STRING = re.compile(
    r"(?:host|server|data ?source|address|addr|port|database|initial catalog|dsn|driver|provider"
    r"|user ?id|uid|user|user ?name|encrypt|ssl ?mode|pooling)\s?=[^;\n\"]*;\s{0,2}\Z",
    re.IGNORECASE,
)
_USER_OF_URL = re.compile(r"://[^\s/@]*\Z")
_BRACED = re.compile(r"\{((?:[^}\n]|\}\}){1,256}+)\}")
_UNTIL_SEMICOLON = re.compile(r"[^;\"'\n<>]{1,256}+")
_UNTIL_QUOTE = {
    '"': re.compile(r"[^\"\n\\]{1,256}+(?=\")"),
    "'": re.compile(r"[^'\n\\]{1,256}+(?=')"),
}
_NEXT_PAIR = re.compile(r"\s+[A-Za-z_][\w.]*\s?=|[&;\"']|\s--?\w")
# the line has no open call
_ASSIGNS = re.compile(r"(?:.*[\"'])?[^(,{]*\Z")
_ENDS = re.compile(r"[\s;&|#\"'\]}]|\Z")
FUNCTION = re.compile(
    r"(?:get|fetch|load|read|ask|make|generate|create|find|build|check|hash|input|prompt|resolve"
    r"|current|random|decrypt|encrypt|lookup)_?[a-z_]*(?:\(.*)?\Z",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"[A-Z]|.*[a-z][A-Z]")
# `user=bob,pass=x,vers=3`: a list without blanks is an option of a command or of a connection
_LIST_BEFORE = re.compile(r"(?:[\w.:/@\[\]-]+,)?(?:[\w.-]+=[^\s,()\"']*,)*\Z")
_LIST_AFTER = re.compile(r"(?:,[\w.-]{1,60}+=?[^\s,()\"']{0,200}+){0,12}+(?=[\"'\s]|$)")
_TOKEN = re.compile(r"[^\s\"']{0,300}\Z")
# the rest of a value of several words, up to the end of the line or a comment
_WORD = r"[^\s\"'<>(){}\[\]|`\\#;=:,]{1,60}+"
_PHRASE = re.compile(rf"((?: {{1,2}}{_WORD}){{1,15}}+)(?=[ \t]*(?:$|[\r\n\"'}}\]]|[ \t]#|\\n))")
_REMARK = re.compile(
    r"\b(?:the|an?|of|for|from|to|is|are|be|must|in|on|at|by|with|via|and|or|not|used|see|this|that"
    r"|if|when|per|as|your|our|its?|was|has|have|should|will|can|required|optional|defaults?"
    r"|pass(?:word|wd|phrase|code)s?|secrets?|tokens?|characters|else|await|None)\b"
)
_TELLS_ABOUT = re.compile(
    r"(?:none|null|not|no|the|an?|see|use|used|set|must|should|if|is|in|for|with|will|never|always"
    r"|optional|required|your|our|enter|type|choose|ask|same|any|missing|invalid|wrong|incorrect"
    r"|expired|accepted|protects?|unlocks?|await|lambda)\b",
    re.IGNORECASE,
)
# the key stands at the beginning of its line or of a quoted text
_BEGINS = re.compile(r"(?:.*[\"'])?[\s>\[-]*\Z")
_BLOCK = re.compile(r"[\s>\"'\[-]*\Z")
_WORDS = re.compile(r"[A-Za-z]+[;,]? +[a-z]+[;,]? +\Z|[A-Za-z]+; +\Z")


_CODE_WORD = re.compile(r"\b(?:if|else|or|and|not|is|in|await|for|pass(?:word|phrase))\b")


def _is_letters(words: str) -> bool:
    return words.replace(" ", "").isalpha()


@dataclass(frozen=True, kw_only=True)
class Place:
    """A key in a text, such as ``password``, with its full name and the text before it."""

    text: str
    name: str
    line: str
    value_at: int
    colon: bool
    spaced: bool

    @classmethod
    def of(cls, text: str, key: re.Match[str]) -> Place:
        """Create a place from a key that a pattern of `rbkernel.redact.keyvalue` matched."""
        head = text[max(0, key.start() - 60) : key.start()]
        found = _NAME.search(head)
        start = key.start() - (len(found[0]) if found else 0)
        near = text[max(0, start - _NEAR) : start]
        return cls(
            text=text,
            name=text[start : key.start()] + key[1],
            line=near.rpartition("\n")[2],
            value_at=key.end(),
            colon=bool(key[4]),
            spaced=bool(key[3] or (key[5] and not key[4])),
        )

    @property
    def in_url(self) -> bool:
        """Whether the key is the user name in a URL: ``https://x-access-token:…@``."""
        return self.colon and bool(_USER_OF_URL.search(self.line))

    @property
    def in_connection_string(self) -> bool:
        """Whether the key is in ``Server=…;Uid=…;Pwd=…;``, where a semicolon ends the value."""
        return not self.colon and bool(_CONNECTION_STRING.search(self.line))

    def until_semicolon(self) -> tuple[int, int] | None:
        """Return the span of the value up to the semicolon, without its braces."""
        if braced := _BRACED.match(self.text, self.value_at):
            return braced.span(1)
        value = _UNTIL_SEMICOLON.match(self.text, self.value_at)
        return value.span() if value else None

    @property
    def quote(self) -> str:
        """The quotation mark before the name, as in ``"PGPASSWORD=two words"``; else empty."""
        sign = self.line[-1:]
        if self.colon or self.spaced or sign not in _UNTIL_QUOTE:
            return ""
        value = _UNTIL_QUOTE[sign].match(self.text, self.value_at)
        one = value and not (_NEXT_PAIR.search(value[0]) or FUNCTION.match(value[0]))
        return sign if one else ""

    def until_quote(self) -> tuple[int, int] | None:
        """Return the span of the value up to the closing quotation mark."""
        value = _UNTIL_QUOTE[self.quote].match(self.text, self.value_at)
        return value.span() if value else None

    @cached_property
    def names_variable(self) -> bool:
        """Whether the key is a variable, header or URL parameter, not a parameter in code.

        Examples are ``API_TOKEN=…``, ``X-Auth-Token: …`` and ``?token=…``.
        """
        named = self.name.isupper() and "_" in self.name
        return (
            (named and not self.line.rstrip().endswith("("))
            or self.name[:2] in {"X-", "x-"}
            or self.line[-1:] in {"?", "&"}
        )

    @property
    def is_environment(self) -> bool:
        """Whether the key is an environment variable in a shell or a dump: ``PGPASSWORD=…``."""
        return self.name.isupper() and not (self.colon or self.spaced)

    def is_literal(self, end: int) -> bool:
        """Tell whether a bare name that ends at this position is a value, not a variable."""
        value = self.text[self.value_at : end]
        if self.colon:
            return self._is_block() and not _CAMEL.match(value)
        if self.spaced:
            return self._in_settings_file() or self._is_property()
        return (
            (self.name.isupper() and len(self.name) > 1)
            or self.line[-1:] in {"?", "&", ";"}
            or self.name.startswith("-")
            or bool(_PAIR_BEFORE.search(self.line))
            or bool(_PAIR_AFTER.match(self.text, end))
            or self._is_property()
            or self._is_assigned(value, end)
        )

    def in_list(self, end: int) -> bool:
        """Tell whether the pair that ends here is in a list such as ``user=bob,pass=x,vers=3``."""
        if self.colon or self.spaced:
            return False
        token = _TOKEN.search(self.line)
        after = _LIST_AFTER.match(self.text, end)
        before = token[0] if token else ""
        return bool(after and _LIST_BEFORE.fullmatch(before) and (before or "=" in after[0]))

    def phrase(self, end: int, word: str) -> int:
        """Return the end of a value of several words; 0 if the value is only one word.

        ``end`` is the end of the first word. In a settings file, in a YAML variable and after
        ``passphrase``, a value continues to the end of its line, unless it reads like a remark.
        """
        rest = _PHRASE.match(self.text, end)
        if rest is None or not _BEGINS.match(self.line):
            return 0
        first, words = self.text[self.value_at : end], rest[1]
        if _TELLS_ABOUT.match(first) or words.endswith("."):
            return 0
        if word == "passphrase":
            plain = self.colon or self.spaced or (self.name.islower() and _is_letters(words))
            return rest.end(1) if plain and not _CODE_WORD.search(words) else 0
        remark = _REMARK.search(words) or _REMARK.fullmatch(first.lower())
        if not word.startswith("pass") or remark:
            return 0
        if self.colon:
            return rest.end(1) if self.is_variable else 0
        return rest.end(1) if self.spaced and self._in_settings_file() else 0

    @property
    def is_variable(self) -> bool:
        """Whether the key is a setting such as ``POSTGRES_PASSWORD``, not a word of prose."""
        return "_" in self.name and (self.name.isupper() or self.name.islower())

    def is_remark(self, value: str) -> bool:
        """Tell whether ``password: word`` is part of a sentence, so that the word is no secret."""
        return value.isalpha() and bool(_WORDS.search(self.line))

    def _is_block(self) -> bool:
        """Tell whether the context of the key is that of a setting, not of a sentence or code.

        It is if the key begins its line, as in YAML or in an INI section, or if it is a variable, a
        header or a URL parameter (`names_variable`).
        """
        return bool(_BLOCK.match(self.line)) or self.names_variable or self._in_settings_file()

    def _is_property(self) -> bool:
        owner = self.name.partition(".")[0]
        return "." in self.name and owner not in {"self", "cls", "this", "user", "form", "obj"}

    def _is_assigned(self, value: str, end: int) -> bool:
        """Tell whether ``passwd=word`` is an assignment in a shell or a settings file."""
        if self._in_settings_file():
            return True
        before = self.text[max(0, self.value_at - _NEAR) : self.value_at].rpartition("\n")[0]
        return (
            bool(_ASSIGNS.match(self.line))
            and bool(_ENDS.match(self.text, end))
            and not FUNCTION.match(value)
            and not before.rstrip().endswith((",", "("))
        )

    def _in_settings_file(self) -> bool:
        if not _BLOCK.match(self.line):
            return False
        return bool(_SECTION.search(self.text[max(0, self.value_at - 4 * _NEAR) : self.value_at]))
