"""The commands `rbkernel init`, `doctor` and `grant`: set up and check a connection."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Container, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbkernel import config
from rbkernel.cli.output import AsJson, Ending, complain, print_findings, print_json
from rbkernel.errors import ConfigError
from rbkernel.model import Finding, Verdict

if TYPE_CHECKING:
    from rbkernel.config import Connection
    from rbkernel.config.sources import Source

_SOURCES = """\
Where does the password come from? It is never written into the file.
  env NAME       an environment variable
  file PATH      a file in the format of ~/.pgpass, mode 0600
  command …      the output of a command, such as: command pass show db/diag
  (nothing)      from ~/.pgpass, or no password is needed"""


def init(
    name: Annotated[str, typer.Option(help="The name of the connection.")] = "",
    host: Annotated[
        str, typer.Option(help="Host name or address of the server, or the folder of its socket.")
    ] = "",
    port: Annotated[int, typer.Option(help="Port. Default without a terminal: 5432.")] = 0,
    dbname: Annotated[str, typer.Option(help="Database.")] = "",
    user: Annotated[str, typer.Option(help="Diagnostic role.")] = "",
    password: Annotated[
        str, typer.Option(help="Source of the password: 'env NAME', 'file PATH' or 'command …'.")
    ] = "",
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="Test the connection before it is written.")
    ] = True,
) -> None:
    """Add a connection to rbkernel.toml: ask for missing values, test it, write it.

    Exit codes: 0 ok, 1 warning, 2 critical, 3 unknown or error.

    Example: rbkernel init --no-test
    """
    from rbkernel.evidence import store
    from rbkernel.sources.postgres import setup

    known = config.load().connections
    file = config.find_file() or Path.cwd() / config.FILE_NAME
    fields: dict[str, setup.Field] = {
        "host": host or _ask("Host", "--host"),
        "port": port or _ask_port(),
        "dbname": dbname or _ask("Database", "--dbname"),
        "user": user or _ask("Diagnostic role", "--user", "rb_diag"),
    }
    fields |= setup.password_source(password) if password else _ask_source()
    name = name or _ask_name(str(fields["dbname"]), known)
    if name in known:  # an included file may have it
        raise ConfigError(
            f"the connection {name} already exists",
            where=str(file),
            next_step="choose another name, or edit the existing connection",
        )
    text = _text(file)
    if not known:
        fields["default"] = True  # the first connection is the default one
    connection = setup.connection(name, fields)
    extended = setup.with_connection(text, name, fields)
    verdict = _tested(connection) if test else Verdict.OK
    mode = file.stat().st_mode & 0o777 if file.is_file() else 0o644
    store.write_atomically(file, extended.encode(), mode=mode)
    default = ", as the default connection" if connection.default else ""
    typer.echo(f"wrote [connections.{name}] to {file}{default}")
    role = (
        ""
        if test
        else f"run the SQL that `rbkernel grant {name}` prints, to create its role; then "
    )
    typer.echo(f"next: {role}`rbkernel doctor {name}`; then give {name} to a runbook as db")
    raise Ending(verdict.exit_code)


def doctor(
    name: Annotated[
        str,
        typer.Argument(
            help="The connection or source to check. Default: all of them.", show_default=False
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Check connections (login, role, settings, time-outs) and sources (login, answer, clock,
    named queries).

    Exit codes: 0 ok, 1 warning, 2 critical, 3 unknown or error.

    Example: rbkernel doctor orders-primary
    """
    from rbkernel.sources.postgres import doctor as of_connection

    settings = config.load()
    sources = [one for one in settings.sources.values() if name in {"", one.name}]
    named = [settings.connection(name)] if name and not sources else []
    connections = named or ([] if name else list(settings.connections.values()))
    if not connections and not sources:
        raise ConfigError(
            "no connection and no source is configured",
            where=str(settings.file or f"no {config.FILE_NAME} found"),
            next_step="run `rbkernel init`",
        )
    examinations: list[tuple[str, Callable[[], list[Finding]]]] = [
        *((one.name, partial(of_connection.examine, one)) for one in connections),
        *((one.name, partial(_examined, one, settings.queries)) for one in sources),
    ]
    found: dict[str, list[Finding]] = {}
    for one, examine in examinations:
        found[one] = examine()
        if not as_json:
            _print_examination(one, found[one])
    if as_json:
        print_json({one: [dataclasses.asdict(f) for f in steps] for one, steps in found.items()})
    raise Ending(Verdict.worst(f.verdict for steps in found.values() for f in steps).exit_code)


def _examined(source: Source, replaced: Mapping[str, str]) -> list[Finding]:
    """Examine a source; of a Prometheus that answers, the named queries, too."""
    from rbkernel.sources.monitoring import examination

    found = examination.examine(source)
    if source.kind == "prometheus" and found[1].verdict is Verdict.OK:
        found.append(examination.examine_names(source, replaced))
    return found


def grant(
    db: Annotated[str, typer.Argument(help="Connection name.")],
    diagnostic: Annotated[
        str, typer.Option(help="Name of the diagnostic role. Default: the connection's user.")
    ] = "",
    action: Annotated[
        str, typer.Option(help="Name of the action role. Default: no action role is created.")
    ] = "",
    read: Annotated[
        list[str],
        typer.Option(
            help="Schema whose tables the diagnostic role may read, including future tables;"
            " repeatable. Default: read_schemas of the connection."
        ),
    ] = [],  # noqa: B006  # typer reads the default, nobody changes it
    read_all: Annotated[
        bool, typer.Option("--read-all", help="Allow reading all tables in all schemas.")
    ] = False,
) -> None:
    """Print the SQL of the diagnostic role, for an administrator to read and run.

    Exit codes: 0 printed, 3 error.

    Example: rbkernel grant orders-primary --read public
    """
    from rbkernel.sources.postgres import setup

    connection = config.load().connection(db)
    role = diagnostic or connection.user or "rb_diag"
    sql = setup.grant_sql(
        role,
        dbname=connection.dbname,
        action=action,
        read=read or connection.read_schemas or (),
        read_all=read_all,
    )
    typer.echo(sql, nl=False)


def _ask(label: str, option: str, default: str | None = None) -> str:
    if not sys.stdin.isatty():
        if default is None:
            raise ConfigError(f"{option} is missing", next_step=f"give {option}")
        return default
    return str(typer.prompt(label, default=default))


def _ask_port() -> int:
    if not sys.stdin.isatty():
        return 5432
    return int(typer.prompt("Port", default=5432, type=int))


def _ask_source() -> dict[str, Any]:
    from rbkernel.sources.postgres import setup

    if not sys.stdin.isatty():
        return {}
    typer.echo(_SOURCES)
    while True:
        words = str(typer.prompt("Password from", default="", show_default=False))
        try:
            return setup.password_source(words)
        except ConfigError as error:
            complain(error)  # ask again, and keep the other answers


def _ask_name(default: str, taken: Container[str]) -> str:
    while (name := _ask("Name of the connection", "--name", default)) in taken:
        if not sys.stdin.isatty():
            break  # `add` refuses this value later
        typer.echo(f"a connection {name} already exists")
    return name


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8-sig") if file.is_file() else ""


def _tested(connection: Connection) -> Verdict:
    """Examine a new connection to a database, print the result, and return the verdict.

    If the connection does not work, the command ends here, unless the user chooses to write it.
    """
    from rbkernel.sources.postgres import doctor as examination

    findings = examination.examine(connection)
    _print_examination(connection.name, findings)
    verdict = Verdict.worst(finding.verdict for finding in findings)
    if verdict is Verdict.CRITICAL:
        asked = sys.stdin.isatty() and typer.confirm(
            "The connection does not work yet. Write it anyway?"
        )
        if not asked:
            typer.echo("nothing was written; --no-test writes without a test")
            raise Ending(verdict.exit_code)
    return verdict


def _print_examination(name: str, findings: Iterable[Finding]) -> None:
    typer.echo(f"{name}:")
    print_findings(findings)
