"""Secrets by their key: ``key = value`` in shells, libpq, INI, YAML, JSON, Python, URLs, headers.

What stands for a value is none: a placeholder, a type, a variable, a call, a remark in prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rbkernel.redact.names import SUFFIX, is_secret

KEY_WORDS = ("pass", "pwd", "pw", "secret", "token", "credential", "dsn", "conninfo", "key")
_KEY = re.compile(
    rf"(pass(?:word|wd|phrase|code)?|pwd|pw|secret|token|credentials?|dsn|conninfo|key){SUFFIX}"
    r"(?:\\?[\"']|\])?(\s{0,3})(?:=>|:=|=(?!=)|%3d|(:)(?![:/]))([ \t]{0,8})(\\?[\"'])?",
    re.IGNORECASE,
)
_KEY_KINDS = re.compile(
    r"(?:api|access|account|auth|private|secret|signing|encryption|shared|sharedaccess|master"
    r"|deploy|license|hash)[_-]?$",
    re.IGNORECASE,
)
_FLAG = re.compile(
    r"(?:^|[\s\"'])--[\w-]{0,40}?(?:password|passwd|secret|token|api-key|access-key)"
    r"[ \t]{1,4}[\"']?([^\s\"'-][^\s\"']{3,512}+)",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTED = {
    '"': re.compile(r'((?:[^"\\\n]|\\.|""){1,1024}+)(?="|\\?$|…|\.\.\.)', re.MULTILINE),
    "'": re.compile(r"((?:[^'\\\n]|\\.|''){1,1024}+)(?='|\\?$|…|\.\.\.)", re.MULTILINE),
    '\\"': re.compile(r'((?:[^"\\\n]|\\[^"]){1,1024}+)(?=\\")'),
    "\\'": re.compile(r"((?:[^'\\\n]|\\[^']){1,1024}+)(?=\\')"),
}
_BARE = re.compile(r"[^\s\"'<>&;,(){}\[\]|`\\]{1,512}+")
_BLOCK_END = re.compile(r"[ \t]*+(?:[\r\n,}\]\"'#\\]|$)")
# what stands where a secret would: nothing, a placeholder, a type, a reference, a remark
_NO_SECRET = re.compile(
    r"none|null|nil|true|false|yes|no|on|off|str|string|text|bytes|int|bool|any|optional|secretstr"
    r"|required|missing|unset|empty|invalid|expired|incorrect|wrong|failed|ok|set|unknown|n/a"
    r"|not|is|in|or|and|if|for|see|use|with|the|a|password|passwd|secret|token|self"
    r"|redacted|hidden|masked|x{3,}|[*•.…_-]+|%\(?\w*\)?[sd]?|\?|:\w+|\$\w+|\$\{.*|\$\(.*|#.*|~?/.*",
    re.IGNORECASE,
)


def key_values(text: str) -> Iterator[tuple[int, int]]:
    """Find the values of keys that say they are secrets.

    >>> [slice(*place) for place in key_values("password=x1 user=b, token_count = 3")]
    [slice(9, 11, None)]
    """
    done = 0  # a value is looked at once: what looks like a key in it is a part of it
    for key in _keys(text):
        if key.start() < done:
            continue
        word, gap, colon, pause, quote = key.groups()
        found = _quoted(text, key, quote) if quote else _bare(text, key, colon, gap + pause)
        if found and _may_be_secret(word.lower(), text[found[0] : found[1]], quoted=bool(quote)):
            done = found[1]
            yield found


def _keys(text: str) -> Iterator[re.Match[str]]:
    for start in sorted(_places(text.lower(), KEY_WORDS)):
        if (key := _KEY.match(text, start)) and _is_key(text, start, key[1].lower()):
            yield key


def _places(lower: str, words: Iterable[str]) -> Iterator[int]:
    """Find where words begin: much faster than an expression of alternatives."""
    for word in words:
        place = lower.find(word)
        while place >= 0:
            yield place
            place = lower.find(word, place + len(word))


def _is_key(text: str, start: int, word: str) -> bool:
    """Tell whether the word is a key by itself: ``pass`` is, in ``compass`` it is not."""
    if word == "key":
        return bool(_KEY_KINDS.search(text[max(0, start - 14) : start]))
    return word not in {"pass", "dsn", "pwd", "pw"} or not text[start - 1 : start].isalpha()


def _quoted(text: str, key: re.Match[str], quote: str) -> tuple[int, int] | None:
    value = _QUOTED[quote].match(text, key.end())
    # `input("Password: "), …`: the quote ends a text, it does not begin one
    if value is None or value[1][0] in "),;]}: \n":
        return None
    return value.span(1)


def _bare(text: str, key: re.Match[str], colon: str | None, gap: str) -> tuple[int, int] | None:
    value = _BARE.match(text, key.end())
    if value is None:
        return None
    after = text[value.end() : value.end() + 1]
    # a call, an index, or a name that is passed on in Python
    if after in {"(", "["} or _is_code(value[0], after):
        return None
    if colon and gap and not _BLOCK_END.match(text, value.end()):
        return None  # prose
    return value.span()


_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_PLAIN_NAME = re.compile(r"[A-Za-z_]+")


def _is_code(value: str, after: str) -> bool:
    """Tell whether a value is an expression: ``settings.password``, or a name before a comma.

    >>> _is_code("settings.password", ")"), _is_code("pw", ","), _is_code("hunter2", ",")
    (True, True, False)
    """
    if _DOTTED.fullmatch(value) and (is_secret(value.rpartition(".")[2]) or after in {")", ","}):
        return True
    if is_secret(value) and value.isidentifier():
        return True
    return bool(after in {")", ","} and _PLAIN_NAME.fullmatch(value))


def _may_be_secret(word: str, value: str, *, quoted: bool) -> bool:
    if value.startswith("[redacted:") or _NO_SECRET.fullmatch(value):
        return False
    if word == "pass" and value.isdigit():
        return False  # a count
    if word.startswith(("pass", "pw")):
        return True
    if quoted and value[:1] in {"{", "%", "<", "$"}:
        return False  # a template
    # lexers have tokens, prose has secrets: these two need the look of one
    return len(value) >= 6 and " " not in value and bool(_LOOK.search(value))


_LOOK = re.compile(r"\d|[^\w.-]|-.*-|^(?=.*[a-z])(?=.*[A-Z])\w{16,}$")


def flags(text: str) -> Iterator[tuple[int, int]]:
    """Find ``--password VALUE`` and the like."""
    for match in _FLAG.finditer(text):
        if not _NO_SECRET.fullmatch(match[1]):
            yield match.span(1)
