"""The commands for maintenance windows: `rbkernel maintenance …`."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from rbkernel import config
from rbkernel.cli.operations.periods import length_of
from rbkernel.cli.output import AsJson, print_json, print_table, tell
from rbkernel.errors import ParameterError

if TYPE_CHECKING:
    from rbkernel.config.maintenance import Window
    from rbkernel.incidents.windows import Declared

app = typer.Typer(
    help="Maintenance windows, in which nobody is notified: list, add, end.\n\n"
    "Exit codes: 0 done, 3 error.\n\n"
    "Example: rbkernel maintenance list"
)


@app.command()
def add(
    reason: Annotated[str, typer.Argument(help="What is done, in a few words.")],
    match: Annotated[
        list[str],
        typer.Option(
            "--match", help="A label of the alerts to silence, as name=value or a glob; repeatable."
        ),
    ] = [],  # noqa: B006  # typer reads the default, nobody changes it
    everything: Annotated[bool, typer.Option("--all", help="Silence everything.")] = False,
    for_: Annotated[str, typer.Option("--for", help="How long, from now, such as 90min.")] = "1h",
    as_json: AsJson = False,
) -> None:
    """Declare a maintenance window that begins now: incidents are recorded, nobody is notified.

    An incident is silenced only if each of its alerts matches. A planned window is written into
    rbkernel.toml as [[maintenance]].

    Exit codes: 0 declared, 3 error.

    Example: rbkernel maintenance add "upgrade to 18.1" --match service=shop --for 90min
    """
    from rbkernel.incidents import windows

    if bool(match) == everything:
        raise ParameterError(
            "no alerts are named" if not match else "both --match and --all are given",
            where="rbkernel maintenance add",
            next_step="add --match LABEL=VALUE, or --all to silence everything",
        )
    labels = dict(_label(text) for text in match)
    window = _window(reason.strip(), labels, for_)
    declared = windows.declare(config.load().evidence_root, window, getpass.getuser())
    tell(
        f"{declared.id} until {_clock(window.ends)}: {_what(declared)}",
        f"Next: `rbkernel maintenance end {declared.id}` when it is done earlier",
        as_json=as_json,
        **_as_json(declared, datetime.now(UTC)),
    )


@app.command("list")
def list_windows(as_json: AsJson = False) -> None:
    """List the maintenance windows, the next or newest last, and which of them are active.

    Windows of rbkernel.toml are shown as the file has them now. `rbkernel serve` reads the file
    when it starts: restart it after a change.

    Exit codes: 0 listed, 3 error.

    Example: rbkernel maintenance list
    """
    from rbkernel.incidents import windows

    now = datetime.now(UTC)
    found = sorted(windows.windows(config.load()), key=lambda one: one.window.begins)
    if as_json:
        print_json([_as_json(one, now) for one in found])
        return
    rows = [
        (
            *(one.id or "rbkernel.toml", _state(one, now)),
            *(_clock(one.window.begins), _clock(one.window.ends), _what(one), one.window.reason),
        )
        for one in found
    ]
    print_table(("window", "state", "from", "to", "silences", "reason"), rows)
    if not all(one.id for one in found):
        typer.echo("rbkernel.toml is shown as it is now: restart `rbkernel serve` after a change")


@app.command()
def end(
    window: Annotated[str, typer.Argument(help="The id that `maintenance add` printed.")],
    as_json: AsJson = False,
) -> None:
    """End a maintenance window now; people are then notified of what is not over.

    Exit codes: 0 ended, 3 error.

    Example: rbkernel maintenance end M-3fa9c1
    """
    from rbkernel.incidents import windows

    root = config.load().evidence_root
    now = datetime.now(UTC)
    over = windows.end(root, window, getpass.getuser(), now)
    said = f"{over.id} ended at {_clock(over.window.ends)}"
    tell(said, as_json=as_json, **_as_json(over, now))


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and name and value):
        raise ParameterError(
            f"{text!r} is not name=value",
            where="--match",
            next_step="write, for example, --match service=shop",
        )
    return name, value


def _window(reason: str, match: dict[str, str], length: str) -> Window:
    from rbkernel.config.maintenance import Window
    from rbkernel.config.words import advice

    now = datetime.now(UTC)
    try:
        return Window(begins=now, ends=now + length_of(length, "--for"), match=match, reason=reason)
    except (ValidationError, OverflowError) as error:
        problem = error.errors()[0] if isinstance(error, ValidationError) else None
        what = advice(problem) if problem else "the window is too long"
        field = f"{problem['loc'][-1]} " if problem and problem["loc"] else ""
        raise ParameterError(
            f"{field}{what}",
            where="rbkernel maintenance add",
            next_step="give a reason in quotes, and a time such as --for 90min",
        ) from error


def _state(one: Declared, now: datetime) -> str:
    if one.window.covers(now):
        return "active"
    return "planned" if now < one.window.begins else "over"


def _what(one: Declared) -> str:
    return ", ".join(f"{name}={value}" for name, value in one.window.match.items()) or "everything"


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _as_json(one: Declared, now: datetime) -> dict[str, Any]:
    said = one.window.model_dump(mode="json", by_alias=True)
    return {"id": one.id, "state": _state(one, now), "declared_by": one.by, **said}
