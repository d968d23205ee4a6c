"""Find what a command line sends to psql, and to which database. Pure.

psql's options are parsed as psql parses them. A query belongs to the database that its command
names: by host, database name, address, or a program that runs psql elsewhere (`kubectl exec`,
`ssh`, `docker exec`). The query is never sent to another database.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from rbkernel.importer.reading import holes
from rbkernel.runbook.shell.judges.databases import psql_options

_FILES = {"-f", "--file", "-o", "--output", "-L", "--log-file", "-l", "--list"}
_VALUE = r"(?:'[^']*'|\"[^\"]*\"|\S*)(?:\s+|$)"
_SET = re.compile(rf"\bPG(?P<what>HOST|PORT|DATABASE|SERVICE)(?:ADDR)?=(?P<value>{_VALUE})")
_SETS = re.compile(rf"(?:export\s+)?(?:\w+={_VALUE})+")
_VARIABLE = re.compile(r"(?<!\\)\$([A-Za-z_]\w*)")
_NO_PLACE = frozenset(
    {"sudo", "env", "kubectl", "oc", "docker", "podman", "exec", "ssh", "run", "su", "compose"}
)
_PORT = "5432"
_NAMES_A_HOST = re.compile(r"\s(?:-\w*h|--host)|\bhost\w*=|://|\bservice=|\bPGHOST=", re.IGNORECASE)
_WHERE = frozenset(
    {"-h", "--host", "-d", "--dbname", "-U", "--username", "-p", "--port", "-v", "--set"}
)
_WHO = frozenset({"-u", "-U", "--user", "-c", "--container", "-i", "-l"})


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The queries that a command sends to psql, and the database that it names.

    ``target`` is the text that names the database; empty if none does. ``says_where`` is true if
    the command names a host, user, port or database, or a program that runs psql elsewhere.
    """

    queries: tuple[str, ...]
    target: str = ""
    says_where: bool = False


def read(words: Sequence[str]) -> Asked | None:
    """Parse the words of a command; None if it is not psql, or if psql reads or writes files.

    >>> read(["psql", "-hdb9", "-d", "orders", "-Atc", "SELECT 1"])
    Asked(queries=('SELECT 1',), target='db9 orders', says_where=True)
    >>> read(["kubectl", "exec", "-it", "db-0", "-n", "prod", "--", "psql", "-c", "SELECT 1"])
    Asked(queries=('SELECT 1',), target='db-0 prod', says_where=True)
    >>> read(["psql", "-p", "5433", "-c", "SELECT 1"]).target
    '5433'
    >>> read(["sudo", "-u", "postgres", "psql", "-c", "SELECT 1"]).target
    ''
    """
    at = next((i for i, word in enumerate(words) if PurePosixPath(word).name == "psql"), None)
    if at is None:
        return None
    known = psql_options(words[at + 1 :])
    if known is None:
        return None
    options, free = known
    if any(name in _FILES for name, _ in options) or any(" " in word for word in free[1:]):
        return None
    queries = tuple(value for name, value in options if name in {"-c", "--command"})
    named = [value for name, value in options if name in {"-h", "--host"}]
    named += [value for name, value in options if name in {"-d", "--dbname"}] + free[:1]
    ports = [value for name, value in options if name in {"-p", "--port"} and value != _PORT]
    set_ = {name: value for word in words[:at] for name, value in set_by(word).items()}
    ports = ports or [value for value in [set_.pop("PORT", _PORT)] if value != _PORT]
    before = [*_around(words[:at]), *set_.values()]
    places = [*before, *(place for word in named for place in _places(word)), *ports]
    says = {name for name, _ in options} & _WHERE
    return Asked(
        queries=queries,
        target=" ".join(dict.fromkeys(places)),
        says_where=bool(at or free or says),
    )


def _around(words: Sequence[str]) -> list[str]:
    """Return the words before psql that name a place: a pod, a container, a host."""
    found: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if not (word in _NO_PLACE or before in _WHO or re.match(r"-|\w+=", word)):
            found.append(word)
    return found


def _places(word: str) -> list[str]:
    """Return host and database in an address, in ``host=… dbname=…``, or in a plain name."""
    if "://" in word:
        try:
            parts = urlsplit(word)
        except ValueError:
            return [word]
        host = parts.netloc.rpartition("@")[2]
        return [place for place in (host, parts.path.strip("/")) if place]
    if pairs := re.findall(r"\b(?:host|hostaddr|dbname|service)\s*=\s*(\S+)", word):
        return pairs
    return [] if "=" in word else [word]


def set_by(text: str) -> dict[str, str]:
    """Return what of a connection a line such as ``export PGHOST=db9`` sets.

    >>> set_by("export PGHOST=db9 PGPORT='5433'"), set_by("export PGPASSWORD=x")
    ({'HOST': 'db9', 'PORT': '5433'}, {})
    """
    pairs = _SET.finditer(text) if _SETS.fullmatch(text.strip()) else ()
    return {one["what"]: one["value"].strip("'\" \n") for one in pairs}


def with_environment(target: str, place: str, environment: Mapping[str, str]) -> str:
    """Return a target with the host, the database and the port that variables name.

    An option of the command, in ``place``, has priority over a variable.

    >>> with_environment("orders", "psql -d orders", {"HOST": "db9", "PORT": "5433"})
    'db9 orders 5433'
    >>> with_environment("db1 orders 5434", "psql -h db1 -p 5434", {"HOST": "db9", "PORT": "5433"})
    'db1 orders 5434'
    """
    known = {} if _NAMES_A_HOST.search(place) else dict(environment)
    before = [known[name] for name in ("SERVICE", "HOST") if name in known]
    own = target.split() or [environment[name] for name in ("DATABASE",) if name in environment]
    port = environment.get("PORT", _PORT)
    if port == _PORT or re.search(r"\s(?:-\w*p|--port)|://|\bPGPORT=", place):
        return " ".join(dict.fromkeys([*before, *own]))
    return " ".join(dict.fromkeys([*before, *own, port]))


def parameter(target: str) -> str:
    """Return the name of the parameter for the connection to a target.

    A target that consists only of placeholders gets the parameter ``db``.

    >>> parameter("db9 orders"), parameter(""), parameter("<db-host>"), parameter("${DB} orders")
    ('db_at_db9_orders', 'db', 'db', 'db_at_orders')
    """
    bare = target
    for hole in holes.find(target):
        bare = bare.replace(hole.text, " ")
    words = re.findall(r"[a-z0-9]+", re.sub(r"‹[^›]*›|\$\w+", " ", bare.lower()))
    return "_".join(["db_at", *words])[:60] if words else "db"


class Connections:
    """The connection parameters of a notebook: each target has a parameter of its own."""

    def __init__(self) -> None:
        self.targets: dict[str, str] = {}
        self._first_to_fill_in = ""

    def of(self, target: str) -> str:
        """Return the parameter for the connection to a target, and record both.

        >>> known = Connections()
        >>> known.of("<primary>"), known.of("<replica>"), known.of("<primary>"), known.of("db9")
        ('db', 'db_at_replica', 'db', 'db_at_db9')
        """
        name = parameter(target)
        if name == "db" and target:
            self._first_to_fill_in = self._first_to_fill_in or target
            if target != self._first_to_fill_in:
                name = parameter(" ".join(re.findall(r"\w+", target)))
        self.targets.setdefault(name, target)
        return name


def expanded(text: str) -> str:
    r"""Write shell variables outside single quotes as ``${NAME}``, so that they become holes.

    >>> expanded('psql -c "SELECT \'$A\'" -d $B -h \'$C\'')
    'psql -c "SELECT \'${A}\'" -d ${B} -h \'$C\''
    """
    parts = re.split(r"(\"(?:[^\"\\]|\\.)*\"|'[^']*')", text, flags=re.DOTALL)
    return "".join(
        part if part.startswith("'") else _VARIABLE.sub(r"${\1}", part) for part in parts
    )


def expanded_body(text: str) -> str:
    """Write the variables of a here-document as ``${NAME}``, even between quotes."""
    return _VARIABLE.sub(r"${\1}", text)


def words(text: str) -> list[str]:
    """Split a command into words; each hole is a single word, even if it contains spaces."""
    marks: dict[str, str] = {}
    marked = holes.with_marks(text, marks).replace("\\\n", " ")
    return [holes.without_marks(word, marks) for word in shlex.split(marked, comments=True)]
