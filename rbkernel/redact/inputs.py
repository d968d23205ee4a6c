"""Find secrets in the input of commands: pipes, here-documents and cloud-init lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

NEEDLES = (
    *("passwd", "stdin", "sudo", "kinit", "cryptsetup", "with-token", "login", "gpg", "expect"),
    "su ",
)
# commands that read a password from their input
_READER = (
    r"(?:sudo(?:[ \t]{1,4}-[A-Za-z]{1,9})*[ \t]{1,4})?(?:(?:smb|ch)?passwd\b|kinit\b|cryptsetup\b"
    r"|sudo\b[^\n|]{0,40}?[ \t]-\w{0,4}S|[^\n|;&]{1,160}?--(?:password|passwd|token)-stdin"
    r"|[^\n|;&]{1,160}?--with-token|[^\n|;&]{1,160}?--passphrase-fd[ =]?0"
    r"|vault[ \t]login[ \t][^\n|;&]{0,60}?-(?=\s|$)|su[ \t]{1,4}-?[ \t]{0,4}\w{0,32}[ \t]{0,4}$)"
)
_DOUBLE, _SINGLE = r"\"(?:[^\"\\]|\\.){0,256}+\"", r"'[^']{0,256}+'"
_BARE = r"(?:[^\s\"'|;&<>()\\]|\\[^\"'\s]){1,256}+"
_WORDS = rf"((?:[ \t]{{1,4}}(?:{_DOUBLE}|{_SINGLE}|{_BARE})){{1,6}}+)[ \t]{{0,4}}"
_PIPED = re.compile(
    rf"(?<![\w./-])(?:echo|printf|print|yes){_WORDS}(?:;[ \t]{{0,4}}(?:echo|printf){_WORDS})?"
    rf"\)?\s{{0,4}}\|\s{{0,9}}(?:\\\n\s{{0,9}})?(?={_READER})",
    re.MULTILINE,
)
_HERE_STRING = re.compile(
    r"(?<![\w./-])(?=[scvkpdhnoagb])"
    rf"{_READER}[^\n|;&<]{{0,80}}?<<<([ \t]{{0,4}}(?:{_DOUBLE}|{_SINGLE}|{_BARE}))"
)
_HERE_DOCUMENT = re.compile(
    r"(?<![\w./-])(ch|smb)?passwd\b[^\n|;&<]{0,80}?<<-?[ \t]{0,4}[\"']?(\w{1,20})"
    r"[\"']?[^\n]{0,80}\n((?:(?![ \t]*\2[ \t\r]*(?:\n|$))[^\n]{0,200}+\n){1,40}+)"
)
_CLOUD_INIT = re.compile(
    r"\bchpasswd:[ \t\r]*\n(?:[ \t]+\w+:[ \t]*\w+[ \t\r]*\n){0,4}[ \t]+list:[ \t]*[|>]?-?[ \t\r]*\n"
    r"((?:[ \t]+(?:-[ \t]+)?[^\s:]{1,64}:[^\n]{1,200}(?:\n|$)){1,40}+)"
)
# `expect "assword:"`, then `send "sesame\r"`
_EXPECT = re.compile(
    r"\bexpect(?:_\w{1,9})?\b[^\n]{0,80}?ass(?:word|phrase|code)[^\n]{0,40}\s{1,20}[^\n]{0,20}?\b"
    r"send(?:_\w{1,9})?[ \t]{1,4}(?:--?[ \t]{1,4})?\\?\"([^\"\\\n\r$]{1,256}+)[\\\r]"
)
_WORD = re.compile(rf"\"((?:[^\"\\]|\\.)*+)\"|'([^']*+)'|({_BARE})")
_LINE = re.compile(r"[ \t]*(?:-[ \t]+)?([^\n]*[^\s])")
_OPTION = re.compile(r"-[neE]{1,3}|-|--")
_FORMAT = re.compile(r"(?=.*%s)(?:%s|\\n|\n|[\w.-]+:)+")
_USER = re.compile(r"[^\s:\"']{1,64}:(?=\S)")


def inputs(text: str) -> Iterator[tuple[int, int]]:
    """Find passwords in the input of `passwd`, `chpasswd`, `sudo -S`, `docker login` and others.

    >>> text = "echo sesame | passwd --stdin bob; chpasswd <<< 'eve:tulip'; echo done | tee x"
    >>> [text[start:end] for start, end in inputs(text)]
    ['sesame', 'tulip']
    """
    for match in (*_found(_PIPED, text, "|"), *_found(_HERE_STRING, text, "<<<")):
        of_users = "chpasswd" in text[match.start() : match.end() + 40]
        for group in range(1, (match.lastindex or 0) + 1):
            yield from _words(text, *match.span(group), of_users=of_users)
    for match in _found(_HERE_DOCUMENT, text, "<<"):
        yield from _lines(text, *match.span(3), of_users=match[1] == "ch")
    for match in _found(_EXPECT, text, "expect"):
        yield match.span(1)
    for match in _found(_CLOUD_INIT, text, "chpasswd:"):
        yield from _lines(text, *match.span(1), of_users=True)


def _found(expression: re.Pattern[str], text: str, sign: str) -> Iterable[re.Match[str]]:
    return expression.finditer(text) if sign in text else ()


def _words(text: str, start: int, end: int, *, of_users: bool) -> Iterator[tuple[int, int]]:
    """Find the passwords among the words that `echo` or `printf` prints."""
    found = [match.span(match.lastindex or 0) for match in _WORD.finditer(text, start, end)]
    words = [span for span in found if not _OPTION.fullmatch(text, *span)]
    for span in words:
        if len(words) == 1 or not _FORMAT.fullmatch(text, *span):
            yield from _lines(text, *span, of_users=of_users)


def _lines(text: str, start: int, end: int, *, of_users: bool) -> Iterator[tuple[int, int]]:
    """Find the password in each line: the whole line, or the part after ``user:``."""
    for match in _LINE.finditer(text, start, end):
        user = _USER.match(text, *match.span(1)) if of_users else None
        yield (user.end() if user else match.start(1)), match.end(1)
