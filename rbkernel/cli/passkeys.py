"""The commands for approvers' passkeys: `rbkernel action passkey …`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from rbkernel import config
from rbkernel.cli.output import AsJson, print_json, print_table
from rbkernel.errors import ActionRefused

app = typer.Typer(help="Passkeys with which approvers approve on a page.", no_args_is_help=True)


@app.command()
def invite(
    name: Annotated[str, typer.Argument(help="The approver's name in the file of approvers.")],
    minutes: Annotated[
        float, typer.Option(help="How long the invitation is valid.", min=1, max=1440)
    ] = 30.0,
) -> None:
    """Print a link with which one approver registers one passkey, once.

    Whoever opens the link first can approve in this name: give it to this person only.

    Exit codes: 0 printed, 3 error.

    Example: rbkernel action passkey invite bob
    """
    from rbkernel.execution import passkey_signing
    from rbkernel.gateway.web import BASE, PASSKEY

    settings, now = config.load(), datetime.now(UTC)
    secret = passkey_signing.invite(settings, name, timedelta(minutes=minutes), now)
    # browsers do not send what follows the "#", so it is in no log
    typer.echo(f"{passkey_signing.party_of(settings).origin}{BASE}{PASSKEY}#{secret}")
    typer.echo(f"For {name} only. Valid once, for {minutes:g} min.", err=True)


@app.command("list")
def list_passkeys(as_json: AsJson = False) -> None:
    """List the registered passkeys, and the invitations that can still be used.

    Exit codes: 0 listed, 3 error.

    Example: rbkernel action passkey list
    """
    from rbkernel.execution import assertions, passkey_signing

    found, now = passkey_signing.file_of(config.load()).read(), datetime.now(UTC)
    rows = [
        *(
            (one.name, one.id, assertions.fingerprint(one), f"{one.registered_at:%Y-%m-%d %H:%M}")
            for one in found.passkeys
        ),
        *(
            (one.name, "", f"invited until {one.until:%H:%M} UTC", "")
            for one in found.invitations
            if not one.used_at and one.until > now
        ),
    ]
    names = ("name", "id", "key", "registered")
    if as_json:
        print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        print_table(names, rows)


@app.command()
def remove(
    of: Annotated[str, typer.Argument(help="A person's name, for all passkeys; or one id.")],
) -> None:
    """Remove passkeys, and the open invitations of a person. Their approvals count no more.

    Exit codes: 0 removed, 3 there is none, or error.

    Example: rbkernel action passkey remove bob
    """
    from rbkernel.execution import passkey_signing

    file = passkey_signing.file_of(config.load())
    open_ = [one for one in file.read().invitations if one.name == of and not one.used_at]
    removed = file.remove(of)
    if not removed and not open_:
        raise ActionRefused(
            f"there is no passkey of {of!r}",
            where=str(file.path),
            next_step="`rbkernel action passkey list` lists them",
        )
    typer.echo(f"removed {len(removed)} passkeys, {len(open_)} invitations")
