"""The library of named diagnostics: one `.sql` file each, described by its YAML header."""

from __future__ import annotations

import glob
import hashlib
import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from rbkernel.checks.assessed import RESERVED
from rbkernel.checks.rule import Rule
from rbkernel.config.words import advice
from rbkernel.errors import ParameterError, QueryError
from rbkernel.sources.postgres.apptable import Table
from rbkernel.sources.postgres.connection.capabilities import CAPABILITIES, Server, has
from rbkernel.sources.postgres.twice import LONGEST_S, PAUSE, SHORTEST_S, Twice
from rbkernel.spelling import did_you_mean, nearest

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLACE = re.compile(r"\{(\w+)\}")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Parameter(_Part):
    """A parameter of a diagnostic; it is required if it has no default."""

    help: str
    default: str | int | float | None = None

    @property
    def is_number(self) -> bool:
        """Whether the values of this parameter are numbers, as its default is."""
        return isinstance(self.default, int | float)

    def problem(self, value: object) -> str:
        """Return what is wrong with a value for this parameter; empty if nothing is wrong.

        >>> Parameter(help="s", default=5).problem("soon")
        'must be a number, but was given text'
        """
        if not self.is_number:
            wrong = isinstance(self.default, str) and not isinstance(value, str)
            return f"must be text, but was given {_kind(value)}" if wrong else ""
        # no answer to an earlier query, too: every comparison with it is false and hides every row
        if (
            value is None
            or type(value).__name__ == "NAType"
            or (isinstance(value, numbers.Number) and not _is_finite(value))
        ):
            return f"is {value}, which is no number to compare with"
        if isinstance(value, bool) or not isinstance(value, numbers.Number):
            return f"must be a number, but was given {_kind(value)}"
        return ""


class Figure(_Part):
    """How a diagnostic's result is drawn: kind of figure and columns (`rbkernel.render.figure`)."""

    kind: Literal["timeline", "bars", "strip"]
    x: str = ""
    y: str = ""
    by: str = ""
    unit: str = ""
    title: str = ""
    #: the smallest value is the worst
    below: bool = False


class Again(_Part):
    """When to repeat a diagnostic's query, because a state may last only a moment.

    While ``column`` is not NULL, the query is repeated every ``every_s`` seconds, with the first
    value of the column as ``parameter``, at most ``times`` times.
    """

    column: str
    parameter: str
    every_s: float
    times: int


class Batch(_Part):
    """How to run a query in batches, each in a separate transaction, to hold few locks.

    The SQL takes ``:after`` and ``:batch``, and returns one more column ``batch_key``, the largest
    of which is the next ``:after``. All rows are sorted by `worst_first`, unknown values first.
    """

    rows: int
    worst_first: str


class Diagnostic(_Part):
    """A named query and its header.

    ``columns`` maps each column to its meaning with its unit; ``variants`` maps a capability to the
    SQL for servers that have it, newest first. If a database lacks the ``requires_table``, the
    diagnostic does not apply to this database, and is left out: see `inapplicable`. ``{schema}`` in
    the SQL is the schema of that table, or of the needed extension. SQL with a LIMIT returns one
    more column, ``of_all``: the number of rows without the LIMIT. ``cut`` maps a column to the
    maximum number of characters of its text. Texts are not cut in SQL: a text may come from another
    database, and if it is not valid in the encoding of this database, the server's functions that
    count characters raise an error. With ``twice`` the query runs twice, ``every_s`` seconds apart,
    and the answer holds the changes. ``origin`` is the file of a team's diagnostic and its SHA-256;
    empty for a built-in diagnostic. The guard checks a team's SQL, and names in this SQL are looked
    up in the role's search path, too.
    """

    name: str
    purpose: str
    runs_on: Literal["primary", "standby", "any"] = "any"
    needs: tuple[str, ...] = ()
    requires_table: Table | None = None
    columns: dict[str, str]
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    again: Again | None = None
    rules: tuple[Rule, ...] = ()
    figure: Figure | None = None
    source: str = ""
    cut: dict[str, int] = Field(default_factory=dict)
    batch: Batch | None = None
    twice: Twice | None = None
    sql: str
    variants: dict[str, str] = Field(default_factory=dict)
    origin: str = ""

    @model_validator(mode="before")
    @classmethod
    def _with_parameters_of_the_asking(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        own: dict[str, Any] = {}
        if wanted := data.get("requires_table"):
            table = Table.model_validate(wanted)
            own |= {n: {"help": words, "default": ""} for n, words in table.parameters().items()}
        if twice := data.get("twice"):
            pause_s = Twice.model_validate(twice).every_s
            own[PAUSE] = {"help": "s between the two samples", "default": pause_s}
        return {**data, "parameters": {**data.get("parameters", {}), **own}}

    @model_validator(mode="after")
    def _rules_are_named_apart(self) -> Diagnostic:
        taken = {*self.parameters, *RESERVED}
        for rule in self.rules:
            if not rule.name.isidentifier() or rule.name in taken:
                raise ValueError(
                    f"the rule {rule.title!r} needs its own `name:`: {rule.name!r} is"
                    f" {'taken' if rule.name else 'empty'}"
                )
            taken.add(rule.name)
        return self

    @property
    def shown_sql(self) -> str:
        """The SQL as shown to people, with default names in place of placeholders."""
        return self.shown(self.sql)

    def shown(self, sql: str) -> str:
        """Return a text of the diagnostic's SQL with default names in place of placeholders."""
        fills = {"texts": "true"}
        if table := self.requires_table:
            fills["table"] = table.name
            fills |= {meaning: column.names[0] for meaning, column in table.columns.items()}
            fills |= {f"{name}_name": f"'{fill}'" for name, fill in fills.items()}
        return filled(sql.replace("{schema}.", ""), fills)

    def sql_for(self, server: Server) -> str:
        """Return the SQL for a server: the newest variant that the server supports."""
        fitting = (sql for name, sql in self.variants.items() if has(server, name))
        return next(fitting, self.sql)


def filled(sql: str, fills: Mapping[str, str]) -> str:
    """Replace each ``{name}`` in a text of SQL with the SQL for this name.

    >>> filled("SELECT {at} FROM {table}", {"at": '"queued_at"', "table": '"shop"."outbox"'})
    'SELECT "queued_at" FROM "shop"."outbox"'
    """
    # replaced in one pass, because a team's column may itself be called "{table}"
    return _PLACE.sub(lambda found: fills.get(found[1], found[0]), sql)


class Library:
    """The built-in diagnostics and those of a team: ``sql/orders/stuck.sql`` is ``orders/stuck``.

    A file is read when its diagnostic is requested, so a faulty file affects no other diagnostic.
    A team's file never replaces a built-in diagnostic; `rbkernel lint` reports such a file.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self.files = team_files(folders)
        self._read: dict[str, Diagnostic] = {}

    def names(self) -> list[str]:
        """Return the names of all diagnostics, sorted."""
        return sorted({*_packaged(), *self.files})

    def get(self, name: str) -> Diagnostic:
        """Return a diagnostic by name; see `rbkernel.sources.postgres.library.get`."""
        if name not in self._read:
            if name in _packaged():
                return _ours(name)
            self._read[name] = self._team(name)
        return self._read[name]

    def _team(self, name: str) -> Diagnostic:
        if name not in self.files:
            known = self.names()
            meant = did_you_mean(name, known)
            folder = [one for one in known if one.partition("/")[0] == name.partition("/")[0]]
            there_are = meant or f"; there are {', '.join(folder or known)}"
            raise QueryError(
                f"no diagnostic is called {name!r}{there_are}",
                next_step=f"{'use that name' if meant else 'use one of these names'}; `rbkernel"
                f" query` lists all {len(known)}; for SQL of your own, write a %%sql cell",
            )
        first, *others = self.files[name]
        if others:
            raise QueryError(
                f"two files are the diagnostic {name}: {first} and {others[0]}",
                where="[catalogue] diagnostics",
                next_step="rename one of the files",
            )
        return read(name, first)


def team_files(folders: Iterable[Path]) -> dict[str, list[Path]]:
    """Return all files of a team's diagnostics, by the name of the diagnostic.

    If a name has several files, `Library.get` raises an error.
    """
    found: dict[str, list[Path]] = {}
    for file in sorted({file for folder in folders for file in folder.glob("*/*.sql")}):
        if "@" not in file.name:
            found.setdefault(f"{file.parent.name}/{file.stem}", []).append(file)
    return found


def variant_files(file: Path) -> dict[str, Path]:
    """Return the files of a diagnostic's variants (``stuck@pg_stat_io.sql``) by capability."""
    beside = sorted(file.parent.glob(f"{glob.escape(file.stem)}@*.sql"))
    return {one.stem.partition("@")[2]: one for one in beside}


def read(name: str, file: Path) -> Diagnostic:
    """Read a team's diagnostic.

    Raises
    ------
    QueryError
        The file or a variant of it cannot be read, or its header is wrong.
    """
    variants = variant_files(file)
    try:
        source = file.read_bytes()
        texts = {one: path.read_text(encoding="utf-8") for one, path in variants.items()}
        if unknown := texts.keys() - CAPABILITIES.keys():
            raise ValueError(
                f"@{min(unknown)} is no capability; there are {', '.join(CAPABILITIES)}"
            )
        origin = f"{file} sha256:{hashlib.sha256(source).hexdigest()}"
        return _assembled(name, source.decode(), texts, origin=origin)
    except ValidationError as error:
        what = "; ".join(map(_problem, error.errors(include_url=False)))
        raise _unreadable(file, what) from error
    except yaml.YAMLError as error:
        raise _unreadable(
            file, f"the header is not YAML: {' '.join(str(error).split())}"
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(file, str(error)) from error


def _problem(found: ErrorDetails) -> str:
    place = ".".join(map(str, found["loc"]))
    return f"{place}: {advice(found)}" if place else advice(found)


def _unreadable(file: Path, what: str) -> QueryError:
    return QueryError(
        f"the diagnostic cannot be used: {what}",
        where=str(file),
        next_step=f"correct the file; `rbkernel lint {file.parent.parent}` checks it",
    )


_library = Library()


def use(folders: Sequence[Path]) -> None:
    """Use a team's diagnostics from these folders in this process, besides the built-in ones."""
    global _library
    _library = Library(folders)


def names() -> list[str]:
    """Return the names of all diagnostics, sorted."""
    return _library.names()


def get(name: str) -> Diagnostic:
    """Return a diagnostic by name, such as ``replication/lag``.

    Raises
    ------
    QueryError
        No diagnostic has that name, and the message lists the names; or a team's file cannot be
        read.
    """
    return _library.get(name)


@cache
def _ours(name: str) -> Diagnostic:
    base, variants = _packaged()[name]
    return _assembled(name, base, variants)


def _assembled(
    name: str, base: str, variants: Mapping[str, str], *, origin: str = ""
) -> Diagnostic:
    newest_first = sorted(variants, key=lambda variant: -CAPABILITIES[variant].since)
    texts = {variant: _without_comment(variants[variant]) for variant in newest_first}
    return parse(name, base, texts, origin=origin)


def parse(
    name: str, source: str, variants: Mapping[str, str] | None = None, *, origin: str = ""
) -> Diagnostic:
    """Parse a diagnostic's file: a YAML header in a comment, then the SQL.

    >>> text = "/*\\npurpose: x\\ncolumns: {n: how many}\\n*/\\nSELECT 1 AS n"
    >>> parse("a/b", text).columns
    {'n': 'how many'}
    """
    header, _, sql = source.lstrip().partition("*/")
    fields = yaml.load(header.removeprefix("/*"), _Loader)  # noqa: S506  # the safe one
    if not header.startswith("/*") or not isinstance(fields, dict):
        raise TypeError("the file does not begin with a header: YAML within /* and */")
    own = {"name": name, "sql": sql.strip(), "variants": dict(variants or {}), "origin": origin}
    return Diagnostic.model_validate({**fields, **own})


def typed(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    """Convert values from a command line to the types of a diagnostic's defaults.

    Text that is not a number is returned unchanged: `complete` refuses it.
    """
    declared = get(name).parameters
    return {
        key: _number(value) if key in declared and declared[key].is_number else value
        for key, value in values.items()
    }


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


@cache
def _packaged() -> dict[str, tuple[str, dict[str, str]]]:
    """Return the SQL text of each built-in diagnostic, and its variants by capability."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for file in _sql_files():
        stem, _, capability = file.name.removesuffix(".sql").partition("@")
        name = f"{_folder(file)}/{stem}"
        base, variants = found.get(name, ("", {}))
        text = file.read_text(encoding="utf-8")
        found[name] = (base, {**variants, capability: text}) if capability else (text, variants)
    return found


def _sql_files() -> list[Traversable]:
    root = files("rbkernel.sources.postgres").joinpath("sql")
    folders = (folder for folder in root.iterdir() if folder.is_dir())
    return [file for folder in folders for file in folder.iterdir() if file.name.endswith(".sql")]


def _folder(file: Traversable) -> str:
    return str(file).replace("\\", "/").split("/")[-2]


def _without_comment(source: str) -> str:
    return source.partition("*/")[2].strip() if source.lstrip().startswith("/*") else source.strip()


def complete(diagnostic: Diagnostic, values: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in a diagnostic's default values, and check the parameters before a query is sent.

    Raises
    ------
    ParameterError
        A parameter is missing or unknown, or its value has the wrong type.
    """
    declared = diagnostic.parameters
    takes = f"its parameters: {', '.join(declared)}" if declared else "it has no parameters"
    for name in values:
        if name not in declared:
            meant = nearest(name, declared)
            known = f"use {', '.join(declared)}" if declared else "leave it out"
            raise ParameterError(
                f"{diagnostic.name} has no parameter {name!r}; {takes}",
                next_step=f"write {meant}" if meant else known,
            )
    defaults = {name: p.default for name, p in declared.items() if p.default is not None}
    complete = {**defaults, **values}
    for name, parameter in declared.items():
        if name not in complete:
            raise ParameterError(
                f"{diagnostic.name} needs a value for {name} ({parameter.help})",
                next_step=f"pass {name}=…",
            )
        if why := parameter.problem(complete[name]):
            raise ParameterError(
                f"{name} {why}",
                where=diagnostic.name,
                next_step=f"pass {_example(parameter)} ({parameter.help})",
            )
    if diagnostic.twice and not SHORTEST_S <= complete[PAUSE] <= LONGEST_S:
        raise ParameterError(
            f"{PAUSE}={complete[PAUSE]} is not a valid time between two samples",
            where=diagnostic.name,
            next_step=f"pass {SHORTEST_S:g} to {LONGEST_S:g} s",
        )
    return complete


def _example(parameter: Parameter) -> str:
    return f"a finite number, such as {parameter.default}" if parameter.is_number else "text"


def _kind(value: object) -> str:
    return "text" if isinstance(value, str) else f"a value of the type {type(value).__name__}"


def _is_finite(value: Any) -> bool:
    return bool(math.isfinite(value))
