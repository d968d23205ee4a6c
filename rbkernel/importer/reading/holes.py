"""Find what a reader must fill in: ``<module>``, ``[db-host]``, ``${VERSION}``, ``{{ pod }}``.

Pure. Such a place is called a hole. In commands and queries it becomes a declared parameter; in
prose it becomes the placeholder ``‹PLACEHOLDER: …›``, which lint reports.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass

from rbkernel.errors import SecretParameter
from rbkernel.runbook import placeholders
from rbkernel.runbook.parameters import refuse_secret

_HOLE = re.compile(
    r"""
      \$\{(?P<env>[A-Za-z_]\w*)\}
    | \{\{\s*(?P<mustache>[A-Za-z_][\w. -]*?)\s*\}\}
    | (?<![\w\])])\[(?![\w.-]+@[^\]\n]*\][$#])  # the prompt of a shell
      (?P<bracket>[A-Za-z#@][^\[\]<>`"$\n]{1,120}?)\](?![(\[])
    | <(?!br|/)(?P<angle>[A-Za-z][\w .,:/|-]{0,58}?)(?<=[\w])>
    | \b(?P<your>YOUR[_-][A-Z][A-Z_-]*)\b
    """,
    re.VERBOSE,
)
# a set of characters, as in grep "[a-z]", and what only looks like a hole in SQL
_NO_HOLE = re.compile(
    r"^(?:.-.)+$|\b(?:AND|OR|SELECT|FROM|and|or)\b.*[<>=]|^(?:x|X)$"
    # PostgreSQL itself writes these in pg_stat_activity
    r"|^(?:IDLE|insufficient privilege|command string not enabled)$"
)
# in words, where no code can be meant: also "[2-3 sentences]" and "[Immediate | < 30 min]"
_IN_WORDS = re.compile(
    r"(?<!\w)\[(?![\w.-]+@[^\]\n]*\][$#])(?P<wide>[^\[\]`\n]*[A-Za-z]{2}[^\[\]`\n]*)\](?![(\[])"
)
_EXAMPLE_DATE = re.compile(r"\bYYYY-MM-DD\b")
_NUMBER_NAMES = re.compile(
    r"(?:^|_)(?:pid|port|limit|count|replicas|revision|rows|seconds|minutes|hours|days|threshold)$"
)
# they have a meaning of their own in an imported runbook
_TAKEN = frozenset({"db", "incident", "rb", "choice", *keyword.kwlist, *dir(builtins)})


@dataclass(frozen=True, kw_only=True)
class Hole:
    """A place to fill in: the original text, the parameter for it, and a hint.

    ``parameter`` is empty if no parameter is allowed, as for a password.
    """

    text: str
    parameter: str
    hint: str

    @property
    def annotation(self) -> str:
        """The type of the parameter, from its name: ``int | None`` for a number, else ``str``."""
        return "int | None" if _NUMBER_NAMES.search(self.parameter) else "str"


def find(text: str) -> list[Hole]:
    """Return the holes of a command or a query in order, without duplicates.

    >>> [hole.parameter for hole in find("psql -h [db-host] ${VERSION} <pid> {{ pod }} [a-z]")]
    ['db_host', 'version', 'pid', 'pod']
    >>> [hole.parameter for hole in find("curl -H 'Authorization: [api-token]'")]
    ['']
    """
    return list(dict.fromkeys(_hole(match) for match in _matches(text)))


def loud(text: str) -> str:
    """Replace every hole in prose by a placeholder ``‹PLACEHOLDER: …›``.

    >>> loud("Call [Name], see [the page](x.md)")
    'Call ‹PLACEHOLDER: Name›, see [the page](x.md)'
    >>> loud("[root@db2 ~]# uptime")
    '[root@db2 ~]# uptime'
    """
    text = _EXAMPLE_DATE.sub("[date]", text).replace("[[date]]", "[date]")
    text = _IN_WORDS.sub(lambda match: placeholders.placeholder(match["wide"]), text)
    out, position = "", 0
    for match in _matches(text):
        if len(_words(match)) == 1:
            continue  # a tag of HTML, a footnote
        out += text[position : match.start()] + placeholders.placeholder(_words(match))
        position = match.end()
    return out + text[position:]


def only(text: str) -> str:
    """Return the hint of a text that consists of a single hole; empty for other texts.

    >>> only("_[Name]_"), only("[a] or b")
    ('Name', '')
    """
    bare = text.strip().strip("*_`").strip()
    match = _HOLE.fullmatch(bare)
    return _words(match) if match and not _NO_HOLE.search(_words(match)) else ""


def printable(text: str) -> str:
    r"""Replace characters that neither YAML nor a comment may contain, such as control characters.

    >>> printable("red \x1b[31m\u2028 alert")
    'red  [31m  alert'
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def with_marks(text: str, marks: dict[str, str]) -> str:
    """Replace holes and placeholders by marks, so that a lexer reads each of them as one word.

    >>> marks: dict[str, str] = {}
    >>> with_marks("a <b c>", marks), marks
    ('a zq0qz', {'zq0qz': '<b c>'})
    """
    left_open = (match[0] for match in placeholders.PLACEHOLDER.finditer(text))
    for hole in [*left_open, *(match[0] for match in _matches(text))]:
        if hole not in marks.values():
            marks[f"zq{len(marks)}qz"] = hole
    by_length = sorted(marks.items(), key=lambda one: -len(one[1]))
    for mark, hole in by_length:
        text = text.replace(hole, mark)
    return text


def without_marks(text: str, marks: dict[str, str]) -> str:
    """Replace the marks of `with_marks` by the original text."""
    for mark, hole in marks.items():
        text = text.replace(mark, hole)
    return text


def _matches(text: str) -> Iterator[re.Match[str]]:
    return (match for match in _HOLE.finditer(text) if not _no_hole(match))


def _no_hole(match: re.Match[str]) -> bool:
    """Tell whether a match only looks like a hole: a set of characters, as in ``[n]ginx``."""
    goes_on = match["bracket"] and re.match(r"[\w*+?]", match.string[match.end() :])
    return bool(_NO_HOLE.search(_words(match)) or (goes_on and len(match["bracket"]) == 1))


def _words(match: re.Match[str]) -> str:
    return next(words for words in match.groups() if words is not None)


def _hole(match: re.Match[str]) -> Hole:
    words = _words(match)
    return Hole(text=match[0], parameter=_parameter(words), hint=words)


def _parameter(words: str) -> str:
    name = "_".join(re.findall(r"[a-z0-9]+", words.lower()))[:48].rstrip("_")
    if not name:
        return ""
    name = f"{name}_value" if name in _TAKEN else name
    # connections of their own are called so
    name = f"value_{name}" if name[0].isdigit() or name.startswith("db_at_") else name
    try:
        refuse_secret(name, words, "")
    except SecretParameter:
        return ""
    return name
