"""A shell fence, read without a shell: its commands, its SQL, its comments, its output.

Pure. Nothing is ever run from here. A command that one program with plain words does becomes a list
of words; whatever needs a shell (a pipe, a redirection, a variable) stays as it is written, to be
copied.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from rbkernel.errors import SecretParameter
from rbkernel.importer import holes, psql, statements
from rbkernel.runbook.parameters import refuse_secret
from rbkernel.runbook.quantities import threshold
from rbkernel.runbook.shell import text as shelltext
from rbkernel.runbook.shell.effect import Effect

Kind = Literal[
    "comment", "sql", "connect", "http", "words", "text", "requirement", "hole", "output"
]

LANGUAGES = frozenset(
    {"bash", "sh", "shell", "console", "zsh", "shell-session", "terminal", "shellsession", "ksh"}
)
_PROMPT = re.compile(r"^\s*(?:[\w@:~/.-]*[$%>]|PS [^>]*>) (?=\S)")
_REQUIREMENT = re.compile(r"^(?P<tool>[\w.+-]+)\s*(?P<sign>>=|==|>|~>)\s*v?(?P<version>\d[\w.]*)$")
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(?P<word>\w+)\1")
_OPENS = re.compile(
    r"^\s*(?:for|while|until|if|case|select)\b|\{\s*$|^\s*(?:function\s+)?\w+\s*\(\)"
)
_CLOSES = re.compile(r"^\s*(?:done|fi|esac|\})(?:\s|;|$)|;\s*(?:done|fi|esac)\s*(?:$|[|>&;])")
_NEEDS_A_SHELL = (
    ("a pipeline: rb.shell takes one command only", re.compile(r"\|")),
    ("it writes to or reads from a file", re.compile(r"[<>]")),
    ("several commands in one line", re.compile(r"&&|;|&")),
    ("it contains a command substitution", re.compile(r"\$\(|`")),
    ("shell variables", re.compile(r"\$\w|\$\{")),
    ("a shell glob pattern", re.compile(r"[*?]|(?:^|\s)~|\{[^}]*,[^}]*\}")),
    ("shell brackets", re.compile(r"[()]")),
)
SETS = "it changes the shell's state"
_STATE = frozenset(
    ["cd", "export", "source", ".", "alias", "set", "unset", "exec", "read", "ulimit"]
)
_HEALTH = re.compile(
    r"/(?:\w*health\w*|ready|readyz|live|livez|ping|status|up|metrics)/?(?:\?.*)?$"
)
_LOOKING_OPTIONS = frozenset(
    [
        "-s",
        "-S",
        "-f",
        "-i",
        "-I",
        "-L",
        "-v",
        "-k",
        "-sS",
        "-fsS",
        "-sf",
        "-fs",
        "-sSf",
        "--silent",
        "--fail",
    ]
)
_QUOTED = re.compile(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_EXPANDED = re.compile(r"(?<!\\)(?:\$[\w({]|`)")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a shell fence.

    ``text`` is its text; for SQL the statement. ``words`` is the command as a list, if it needs
    no shell; ``reason`` says why it needs one. ``changes`` is the part that changes something,
    or may: a command that is not known to only read counts as a change. ``target`` names the
    database of the SQL; empty when unknown.
    """

    kind: Kind
    text: str
    words: tuple[str, ...] = ()
    reason: str = ""
    changes: str = ""
    target: str = ""


def read(text: str) -> list[Piece]:
    """Take a shell fence apart.

    >>> [piece.kind for piece in read("# pods\\nkubectl get pods\\nkubectl logs x | grep y")]
    ['comment', 'words', 'text']
    >>> [piece.kind for piece in read("psql -h [host]\\n\\n# depth\\nSELECT 1\\n  FROM t;")]
    ['connect', 'comment', 'sql']
    """
    lines = text.expandtabs(4).splitlines()
    prompted = any(_PROMPT.match(line) for line in lines)
    found: list[Piece] = []
    position, target = 0, ""
    while position < len(lines):
        line = lines[position]
        if not line.strip():
            position += 1
        elif line.lstrip().startswith("#"):
            found.append(Piece(kind="comment", text=line.strip().lstrip("#").strip()))
            position += 1
        elif statements.is_sql("\n".join(lines[position:])):
            end = _end_of_sql(lines, position)
            sql = "\n".join(lines[position:end])
            found += [Piece(kind="sql", text=one, target=target) for one in statements.split(sql)]
            position = end
        elif prompted and not _PROMPT.match(line):
            found.append(Piece(kind="output", text=line.rstrip()))
            position += 1
        else:
            end = _end_of_command(lines, position)
            command = "\n".join([_PROMPT.sub("", line), *lines[position + 1 : end]])
            pieces = _command(command)
            if pieces[0].kind == "connect":
                target = pieces[0].target or target
            target = psql.set_by(command) or target
            found += [one if one.target else replace(one, target=target) for one in pieces]
            position = end
    return list(_joined(found))


def _end_of_sql(lines: Sequence[str], start: int) -> int:
    for number in range(start, len(lines)):
        if re.search(r";\s*(?:--.*)?$", lines[number]):
            return number + 1
        following = lines[number + 1 : number + 2]
        if not following or not following[0].strip() or following[0].startswith("#"):
            return number + 1
    return len(lines)


def _end_of_command(lines: Sequence[str], start: int) -> int:
    """Return the line after a command: continuations, quotes, here-documents, loops."""
    if heredoc := _HEREDOC.search(lines[start]):
        for number in range(start + 1, len(lines)):
            if lines[number].strip() == heredoc["word"]:
                return number + 1
    if _OPENS.search(lines[start]) and not _CLOSES.search(lines[start]):
        for number in range(start + 1, len(lines)):
            if _CLOSES.search(lines[number]):
                return number + 1
    end = start + 1
    while end < len(lines) and lines[end - 1].rstrip().endswith("\\"):
        end += 1
    for further in range(end, len(lines) + 1):
        if _quotes_end("\n".join(lines[start:further])):
            return further
    return end


def _quotes_end(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


def _command(text: str) -> list[Piece]:
    text = text.strip()
    if requirement := _REQUIREMENT.match(text):
        return [Piece(kind="requirement", text=text, words=requirement.group("tool", "version"))]
    if holes.only(text):
        return [Piece(kind="hole", text=holes.only(text))]
    changes = _changes(text)
    if pieces := _psql(text):
        return pieces
    words, reason = words_of(text)
    if not reason and (url := _health_address(words)):
        return [Piece(kind="http", text=text, words=(url,))]
    kind: Kind = "text" if reason else "words"
    return [Piece(kind=kind, text=text, words=words, reason=reason, changes=changes)]


def _changes(text: str) -> str:
    """Say why a command is not known to only look; empty when it is.

    >>> _changes("kubectl get pods"), _changes("kubectl delete pod x"), _changes("./frobnicate")
    ('', 'kubectl delete changes something', 'it is unknown whether frobnicate changes something')
    """
    found = shelltext.judged(text)
    if found.effect is Effect.CHANGES:
        return f"{found.what} changes something"
    return f"it is unknown whether {found.what} changes something" if found.what else ""


def words_of(text: str) -> tuple[tuple[str, ...], str]:
    """Return the words of a command that needs no shell; else the reason why it does.

    >>> words_of("kubectl get pods -l 'app=[name]'")
    (('kubectl', 'get', 'pods', '-l', 'app=[name]'), '')
    >>> words_of("ls *.log"), words_of("echo it's")
    (((), 'a shell glob pattern'), ((), 'its quotes are not closed'))
    """
    marks: dict[str, str] = {}
    marked = holes.with_marks(text, marks).replace("\\\n", " ")
    bare = _outside_quotes(re.sub(r"\s#.*$", "", marked))
    for reason, pattern in _NEEDS_A_SHELL:
        if pattern.search(bare):
            return (), reason
    try:
        words = [holes.without_marks(word, marks) for word in shlex.split(marked, comments=True)]
    except ValueError:
        return (), "its quotes are not closed"
    if not words:
        return (), "there is no command"
    if words[0] in _STATE or re.match(r"\w+=", words[0]):
        return (), SETS
    if "\n" in marked.strip():
        return (), "several lines"
    return tuple(words), ""


def _outside_quotes(text: str) -> str:
    r"""Return what a shell gives a meaning to: what is not quoted, and what quotes do not stop.

    >>> _outside_quotes("psql -c \"a <> b $C\" > 'x y'")
    'psql -c $C > '
    """

    def kept(match: re.Match[str]) -> str:
        return "".join(_EXPANDED.findall(match[0])) if match[0].startswith('"') else ""

    return _QUOTED.sub(kept, text)


def _psql(text: str) -> list[Piece]:
    """Read ``psql … -c "SQL"``, a here-document for psql, and psql that only connects."""
    first, _, rest = text.partition("\n")
    heredoc = _HEREDOC.search(first) if rest else None
    line = (first[: heredoc.start()] + first[heredoc.end() :]) if heredoc else text
    marks: dict[str, str] = {}
    marked = holes.with_marks(psql.expanded(line), marks).replace("\\\n", " ")
    if re.search(r"[|;&<>`]|\$\(", _outside_quotes(re.sub(r"\s#.*$", "", marked))):
        return []
    try:
        asked = psql.read(psql.words(psql.expanded(line)))
    except ValueError:
        return []
    if asked is None:
        return []
    queries = list(asked.queries)
    if heredoc:
        body = rest.rsplit("\n", 1)[0]
        queries.append(body if heredoc[1] else psql.expanded_body(body))
    if queries and all(statements.is_sql(query) for query in queries):
        return [
            Piece(kind="sql", text=one, target=asked.target)
            for query in queries
            for one in statements.split(query)
        ]
    return [] if queries else [Piece(kind="connect", text=text, target=asked.target)]


def _health_address(words: Sequence[str]) -> str:
    """Return the address of a plain GET of a health endpoint."""
    if words[0] != "curl":
        return ""
    addresses = [word for word in words[1:] if not word.startswith("-")]
    plain = set(words[1:]) <= {*_LOOKING_OPTIONS, *addresses}
    if not plain or len(addresses) != 1 or "-k" in words or "@" in addresses[0]:
        return ""
    address = addresses[0]
    known = re.match(r"https?://[\w.-]+(?::\d+)?/", address) and _HEALTH.search(address)
    return address if known else ""


def _joined(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Join neighbouring comments, and neighbouring lines of output."""
    last: Piece | None = None
    for piece in pieces:
        if last and piece.kind == last.kind and piece.kind in {"comment", "output"}:
            last = replace(last, text=f"{last.text}\n{piece.text}")
            continue
        if last:
            yield last
        last = piece
    if last:
        yield last


def is_command(text: str) -> bool:
    """Tell whether an inline code span is a command, and not a name or a path.

    >>> [is_command(text) for text in ("kubectl get pods", "git log -3", "high_error_rate", "a b")]
    [True, True, False, False]
    """
    words = text.split()
    return len(words) > 1 and PurePosixPath(words[0].lstrip("$")).name in _KNOWN_PROGRAMS


def looks_like_one(text: str) -> bool:
    """Tell whether a fence without a word is one for a shell: nothing but known commands."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    commands = [line for line in lines if not line.startswith("#")]
    if any(re.match(r"\$ \S", line) for line in commands):
        return True
    return bool(commands) and all(
        is_command(line) or line.startswith(("./", "sudo ")) for line in commands
    )


def holds_a_secret(text: str) -> bool:
    """Tell whether a command names a password or a DSN."""
    try:
        refuse_secret("", text, "")
    except SecretParameter:
        return True
    return False


_PROGRAMS = """
    ansible apt aws az bash cat curl date df dig dmesg docker du find free gcloud gh git grep
    helm htop ip iostat journalctl jq kill kubectl less ls lsof make mysql netstat nc npm
    nslookup oc openssl pg_basebackup pg_ctl pg_ctlcluster pg_dump pg_isready pg_lsclusters
    pg_restore ping pnpm podman ps psql python rabbitmqctl redis-cli rm rsync sar sed service
    sh ss ssh sudo systemctl tail tcpdump telnet terraform top traceroute uptime vault vercel
    vmstat wget yarn patronictl repmgr pgbackrest barman etcdctl consul nomad k6 istioctl
    argocd
"""
_KNOWN_PROGRAMS = frozenset(_PROGRAMS.split())


_EXPECTED = re.compile(
    r"^expected\s+(?P<name>[\w %().-]+?)\s*[:=]?\s*(?P<limit>[<>≤≥]=?.*)$", re.IGNORECASE
)


def expected_after(pieces: Sequence[Piece]) -> dict[str, str]:
    """Return the figures that the comments right after a command expect of it.

    >>> expected_after(read("# Expected p95: < 800ms\\n# Expected error rate: < 0.1%"))
    {'p95': '< 800ms', 'error rate': '< 0.1%'}
    """
    found = {}
    for piece in pieces:
        if piece.kind != "comment":
            break
        for line in piece.text.splitlines():
            if (match := _EXPECTED.match(line.strip())) and threshold(match["limit"]):
                found[match["name"].strip()] = match["limit"].strip()
    return found
