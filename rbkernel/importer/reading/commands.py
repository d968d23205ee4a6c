"""Parse a command of a shell fence: a word list, SQL for psql, a health endpoint, or text.

Pure. A command that is one program with plain arguments becomes a list of words. A command that
needs a shell (a pipe, a redirection, a variable) stays unchanged.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rbkernel.importer.reading import holes, languages, psql, statements
from rbkernel.importer.reading.holes import Hole
from rbkernel.runbook.placeholders import placeholder
from rbkernel.runbook.shell import syntax
from rbkernel.runbook.shell import text as shelltext
from rbkernel.runbook.shell.effect import Effect

Kind = Literal[
    "comment", "sql", "connect", "http", "words", "text", "requirement", "hole", "output", "state"
]
_REQUIREMENT = re.compile(r"^(?P<tool>[\w.+-]+)\s*(?P<sign>>=|==|>|~>)\s*v?(?P<version>\d[\w.]*)$")
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(?P<word>\w+)\1")
_NEEDS_A_SHELL = (
    ("a pipeline: rb.shell takes one command only", re.compile(r"\|")),
    ("the command writes to or reads from a file", re.compile(r"[<>]")),
    ("several commands in one line", re.compile(r"&&|;|&")),
    ("the command contains a command substitution", re.compile(r"\$\(|`")),
    ("shell variables", re.compile(r"\$\w|\$\{")),
    ("a shell glob pattern", re.compile(r"[*?]|(?:^|\s)~|\{[^}]*,[^}]*\}")),
    ("shell brackets", re.compile(r"[()]")),
)
SETS = "the command changes the shell's state"
_STATE = frozenset(
    ["cd", "export", "source", ".", "alias", "set", "unset", "exec", "read", "ulimit"]
)
_KEYWORDS = frozenset(["!", "time", "[[", "{", "if", "for", "while", "until", "case", "coproc"])
_HEALTH = re.compile(
    r"/(?:\w*health\w*|ready|readyz|live|livez|ping|status|up|metrics)/?(?:\?.*)?$"
)
_LOOKING_OPTIONS = frozenset(
    {
        *("-s", "-S", "-f", "-i", "-I", "-L", "-v", "-k", "-sS", "-fsS", "-sf", "-fs", "-sSf"),
        *("--silent", "--fail"),
    }
)
_QUOTED = re.compile(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_EXPANDED = re.compile(r"(?<!\\)(?:\$[\w({]|`)")
# an argument of these is read as a program, where a value could say anything
_READS_CODE = re.compile(
    r"(?:^|[\s;|&(])(?:ssh|(?:ba|z|da|k)?sh|su|runuser|eval|watch|[gmn]?awk|sed|perl|python[\d.]*|ruby"
    r"|node|psql|mysql|mariadb|mongosh?|sqlite3|xargs|parallel|find|ansible|trap)(?=\s)|<<"
)


# the last program of a command that prints one figure, or one word
_PRINTS_A_FIGURE = re.compile(
    r"wc\s+-[lwcm](?:\s*<\s*\S+)?|[ef]?grep\s+(?:-\w+\s+)*(?:-\w*c\w*|--count)(?:\s+-\w+)*\s+\S+(?:\s+\S+)?"
    r"|jq\s+(?:-\w+\s+)*(?:Q|\.[\w.]+|length)(?:\s+\S+)?|cat\s+/(?:proc|sys|var|run)/\S+|sysctl\s+-n\s+\S+|nproc"
    r"|(?:echo\s+)?\$\?|echo\s+\$\?|date\s+\+%s|stat\s+-c\s*\S*%s\S*\s+\S+"
    r"|redis-cli\s+(?:-\w\s+\S+\s+)*(?:llen|dbsize|[szhx](?:card|len)|strlen|ttl|exists)\b.*"
    r"|(?:kubectl|oc)\b.*\s(?:-o|--output)[\s=]*jsonpath=\S+.*|aws\b.*\s--query[\s=]\S+.*"
    r"|gcloud\b.*\s--format[\s=]\S*(?:value\(|Q).*|az\b.*\s--query[\s=]\S+.*\s-o\s*tsv.*"
    r"|systemctl\s+show\b.*\s--value\b.*|pgrep\s+-\w*c\w*\s.*|ulimit\s+-\w|mongosh?\b.*--eval\s+Q.*"
)
_WRITES_A_FIGURE = re.compile(
    r"\s(?:-\w*w|--write-out)[\s=]*(?P<quote>['\"]?)%\{\w+\}(?:\\n)?(?P=quote)(?=\s|$)"
)
_ONE_COLUMN = re.compile(r"\s--output=\w+\s|\bprint\s*\$?\w+\s*\}|\bcut\s+-")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a shell fence.

    ``text`` is its text; for SQL the statement. ``words`` is the command as a list, if it needs no
    shell. ``reason`` says why a command needs a shell, or which kind of output this is. ``changes``
    is the part that changes something, or may: a command that is not known to only read counts as a
    change. ``target`` names the database of the SQL; empty when unknown. ``behind`` is the comment
    after it, ``place`` where to type it, ``own`` its text without preceding assignments. ``apart``
    is true if a blank line is before it.
    """

    kind: Kind
    text: str
    words: tuple[str, ...] = ()
    reason: str = ""
    changes: str = ""
    target: str = ""
    behind: str = ""
    place: str = ""
    own: str = ""
    apart: bool = False

    @property
    def bare(self) -> str:
        """The text without the comment after it."""
        cut = self.text.rstrip().removesuffix(self.behind).rstrip()
        return cut[:-1].rstrip() if self.behind and cut.endswith("#") else self.text

    @property
    def name(self) -> str:
        """The text that names the piece: its own text without a comment at the end."""
        name = self.own or self.text
        return re.sub(r"\s+#[^\n]*$", "", name) if self.behind else name


def itself(text: str) -> Piece | None:
    """Parse a line that is a requirement or only a placeholder; None if it may be a command.

    >>> itself("kubectl >= 1.24").kind, itself("[log query command]").kind, itself("ls")
    ('requirement', 'hole', None)
    """
    if requirement := _REQUIREMENT.match(text):
        return Piece(kind="requirement", text=text, words=requirement.group("tool", "version"))
    if holes.only(text):
        return Piece(kind="hole", text=holes.only(text))
    return None


def read(text: str) -> list[Piece]:
    """Parse one command into pieces.

    >>> [(one.kind, one.words) for one in read("df -h  # above 90 %: stop")]
    [('words', ('df', '-h'))]
    >>> read("df -h  # above 90 %: stop")[0].behind
    'above 90 %: stop'
    """
    text = text.strip()
    if pieces := _psql(text):
        return pieces
    behind = syntax.read(text).remark
    words, reason = words_of(text)
    if not reason and (url := _health_address(words)):
        return [Piece(kind="http", text=text, words=(url,), behind=behind)]
    kind: Kind = "text" if reason else "words"
    return [
        Piece(
            kind=kind,
            text=text,
            words=words,
            reason=reason,
            changes=changes(text),
            behind=behind,
        )
    ]


def prints_a_figure(text: str) -> bool:
    """Tell whether the output of a command is surely one figure, or one word.

    >>> prints_a_figure("ps aux | wc -l"), prints_a_figure("curl -so x -w '%{http_code}' y")
    (True, True)
    >>> prints_a_figure("wc -l a"), prints_a_figure("curl -w '%{http_code}' y")
    (False, False)
    """
    last = re.split(r"\s*(?:\||;|&&)\s*", _QUOTED.sub("Q", text).strip())[-1].strip()
    if last.startswith("curl "):
        drops = re.search(r"\s(?:-\w*o|--output)\s*\S", last)
        return bool(drops and _WRITES_A_FIGURE.search(text))
    last = last.removeprefix("sudo ")
    if re.fullmatch(r"(?:tail|head)\s+(?:-n\s*)?-?1|tr\s+-dc?\s+\S+|awk\s+Q", last):
        return _ONE_COLUMN.search(text) is not None
    return _PRINTS_A_FIGURE.fullmatch(last) is not None


def changes(text: str) -> str:
    """Return why a command is not run: it may change something, or it prints a secret; else empty.

    >>> changes("kubectl get pods"), changes("kubectl delete pod x"), changes("./frobnicate")
    ('', 'kubectl delete changes something', 'it is unknown whether frobnicate changes something')
    >>> changes("vault read x"), changes("vault read x | wc -c")
    ('vault read prints a secret, which would stay in the evidence', '')
    """
    found = shelltext.judged(text)
    if found.effect is Effect.CHANGES:
        return f"{found.what} changes something"
    if found.effect is Effect.TELLS:
        return f"{found.what} prints a secret, which would stay in the evidence"
    return f"it is unknown whether {found.what} changes something" if found.what else ""


def words_of(text: str) -> tuple[tuple[str, ...], str]:
    """Return the words of a command that needs no shell, or the reason why it needs one.

    >>> words_of("kubectl get pods -l 'app=[name]'")
    (('kubectl', 'get', 'pods', '-l', 'app=[name]'), '')
    >>> words_of("grep ' #' a | wc"), words_of("ls  # it's all | here")
    (((), 'a pipeline: rb.shell takes one command only'), (('ls',), ''))
    >>> words_of("ls *.log"), words_of("echo it's")
    (((), 'a shell glob pattern'), ((), 'a quote of the command is not closed'))
    """
    marks: dict[str, str] = {}
    marked = holes.with_marks(text, marks).replace("\\\n", " ")
    bare = re.sub(r"\s#.*$", "", _outside_quotes(marked))
    for reason, pattern in _NEEDS_A_SHELL:
        if pattern.search(bare):
            return (), reason
    try:
        words = [holes.without_marks(word, marks) for word in shlex.split(marked, comments=True)]
    except ValueError:
        return (), "a quote of the command is not closed"
    if not words:
        return (), "there is no command"
    if words[0] in _STATE or re.match(r"\w+=", words[0]):
        return (), SETS
    if words[0] in _KEYWORDS:
        return (), f"{words[0]} is a keyword of the shell"
    if "\n" in marked.strip():
        return (), "several lines"
    return tuple(words), ""


def _outside_quotes(text: str) -> str:
    r"""Return the parts of a text that a shell interprets: unquoted text and expanded variables.

    >>> _outside_quotes("psql -c \"a <> b $C\" > 'x y'")
    'psql -c $C > '
    """

    def kept(match: re.Match[str]) -> str:
        return "".join(_EXPANDED.findall(match[0])) if match[0].startswith('"') else ""

    return _QUOTED.sub(kept, text)


def with_arguments(text: str, found: Sequence[Hole]) -> tuple[str, list[str]] | None:
    """Return a shell text with its placeholders as arguments, and the parameter of each argument.

    The value of an argument is never run as code. The result is None if the text would run an
    argument as code, or if a placeholder cannot be a parameter.

    >>> known = holes.find("kubectl logs <pod> | grep '[word]'")
    >>> with_arguments("kubectl logs <pod> | grep '[word]'", known)
    ('kubectl logs "$1" | grep \\'\\'"$2"\\'\\'', ['pod', 'word'])
    >>> with_arguments("ssh <host> uptime | wc", holes.find("ssh <host> uptime")) is None
    True
    """
    if _READS_CODE.search(text) or not all(hole.parameter for hole in found):
        return None
    numbers = {hole.text: number for number, hole in enumerate(found, 1)}
    pattern = re.compile("|".join(re.escape(one) for one in sorted(numbers, key=len, reverse=True)))
    out, position, quote = "", 0, ""
    while position < len(text):
        if match := pattern.match(text, position):
            number = numbers[match[0]]
            out += {"": f'"${number}"', '"': f"${{{number}}}", "'": f"'\"${number}\"'"}[quote]
            position = match.end()
            continue
        letter = text[position]
        if letter == "\\" and quote != "'":
            out += text[position : position + 2]
            position += 2
            continue
        if quote == '"' and (letter == "`" or text.startswith("$(", position)):
            return None  # quotes inside of it begin anew
        if letter in "'\"" and quote in {"", letter}:
            quote = "" if quote else letter
        out += letter
        position += 1
    return out, [hole.parameter for hole in found]


def louder(text: str, found: Sequence[Hole]) -> str:
    """Return the command with its placeholders made conspicuous, so that a person fills them in."""
    for hole in found:
        text = text.replace(hole.text, placeholder(hole.hint))
    return text


def _psql(text: str) -> list[Piece]:
    """Parse ``psql … -c "SQL"``, a here-document for psql, and psql that only connects."""
    first, _, rest = text.partition("\n")
    heredoc = _HEREDOC.search(first) if rest else None
    line = (first[: heredoc.start()] + first[heredoc.end() :]) if heredoc else text
    marks: dict[str, str] = {}
    marked = holes.with_marks(psql.expanded(line), marks).replace("\\\n", " ")
    if re.search(r"[|;&<>`]|\$\(", re.sub(r"\s#.*$", "", _outside_quotes(marked))):
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
    if any(map(languages.dialect, queries)):
        return []  # it is for a pooler, not for PostgreSQL
    if queries and all(statements.is_sql(query) for query in queries):
        place = (first if heredoc else text) if asked.says_where else ""
        found = [
            Piece(kind="sql", text=one, target=asked.target)
            for query in queries
            for one in statements.split(query)
        ]
        behind = "" if heredoc else syntax.read(text).remark
        return [
            Piece(kind="sql", text=one.text, target=one.target, place=place, behind=behind)
            if number == 0
            else one
            for number, one in enumerate(found)
        ]
    if queries:
        return []
    return [Piece(kind="connect", text=text, target=asked.target)]


def _health_address(words: Sequence[str]) -> str:
    """Return the URL if the command is a plain GET of a health endpoint; else empty."""
    if words[0] != "curl":
        return ""
    addresses = [word for word in words[1:] if not word.startswith("-")]
    plain = set(words[1:]) <= {*_LOOKING_OPTIONS, *addresses}
    if not plain or len(addresses) != 1 or "-k" in words or "@" in addresses[0]:
        return ""
    address = addresses[0]
    known = re.match(r"https?://[\w.-]+(?::\d+)?/", address) and _HEALTH.search(address)
    return address if known else ""
