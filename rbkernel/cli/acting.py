"""The commands for actions: `rbkernel action …`."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbkernel import config
from rbkernel.cli.output import AsJson, Ending, print_json, print_table, tell
from rbkernel.cli.terminal import completing
from rbkernel.errors import ActionRefused

if TYPE_CHECKING:
    from rbkernel.evidence.incident import ActionHistory
    from rbkernel.execution.ledger import Ledger

app = typer.Typer(
    help="Actions that runbooks propose: list, show, approve, execute.\n\n"
    "Exit codes: 0 done, 2 failed, 3 refused, indeterminate, or error.\n\n"
    "Example: rbkernel action list"
)
Plan = Annotated[str, typer.Argument(help="The plan's id, or its first characters.")]
Digest = Annotated[
    str,
    typer.Option(
        help="The digest that you saw, at least 16 characters. Without it, the command shows the"
        " action and asks."
    ),
]
_KEY = Path("~/.ssh/id_ed25519")
_KEY_HELP = "Your private SSH key; with .pub, the key in your SSH agent."


@app.command("list")
def list_actions(
    incident: Annotated[
        str,
        typer.Argument(
            help="An incident. Default: all that are not closed.",
            autocompletion=completing.incidents,
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the actions that runbooks proposed, with their states.

    Exit codes: 0 listed, 3 error.

    Example: rbkernel action list
    """
    from rbkernel.evidence.incident import ActionState
    from rbkernel.execution import approval

    now = datetime.now(UTC)
    found = [
        (one, history.state(now) if history else ActionState.PROPOSED)
        for one, history in approval.proposed(_ledger(), incident)
    ]
    if as_json:
        print_json(
            [
                {
                    **{name: getattr(one, name) for name in ("plan", "title", "action")},
                    **{name: getattr(one, name) for name in ("connection", "incident", "run_id")},
                    "state": state,
                }
                for one, state in found
            ]
        )
        return
    names = ("plan", "state", "action", "connection", "incident", "proposed in")
    rows = [
        (one.plan, state, one.title, one.connection, one.incident, f"{one.runbook} {one.run_id}")
        for one, state in found
    ]
    print_table(names, rows)


@app.command()
def show(plan: Plan, as_json: AsJson = False) -> None:
    """Show what an action would do now, who must approve it, and what is recorded about it.

    Exit codes: 0 shown, 3 error.

    Example: rbkernel action show 3fa9c1d20b7e
    """
    from rbkernel.execution import approval, wording

    shown, now = approval.show(_ledger(), plan), datetime.now(UTC)
    if not as_json:
        for line in wording.shown_lines(shown, now):
            typer.echo(line)
        return
    preview = shown.preview
    print_json(
        {
            "plan": shown.proposal.plan,
            "title": shown.proposal.title,
            "refusal": shown.refusal,
            "void": shown.void,
            "effect": preview.effect if preview else "",
            "targets": preview.targets if preview else (),
            "recorded": _json(shown.recorded) if shown.recorded else None,
        }
    )


@app.command()
def request(
    plan: Plan,
    key: Annotated[Path | None, typer.Option(help=_KEY_HELP)] = None,
    as_json: AsJson = False,
) -> None:
    """Record the preview of an action, so that others can approve exactly this.

    Exit codes: 0 recorded, 3 refused, or error.

    Example: rbkernel action request 3fa9c1d20b7e --key ~/.ssh/id_ed25519
    """
    ledger = _ledger()
    _request(ledger, ledger.find(plan).plan, key, as_json=as_json)


@app.command()
def undo(
    plan: Plan,
    key: Annotated[Path | None, typer.Option(help=_KEY_HELP)] = None,
    as_json: AsJson = False,
) -> None:
    """Record the preview of the action that undoes an executed one, so that it can be approved.

    It is an action of its own, which is approved and executed by the id that this prints.

    Exit codes: 0 recorded, 3 it cannot be undone, refused, or error.

    Example: rbkernel action undo 3fa9c1d20b7e
    """
    from rbkernel.execution import undo as undoing

    ledger = _ledger()
    _request(ledger, undoing.find(ledger.root, plan).plan, key, as_json=as_json)


def _request(ledger: Ledger, plan: str, key: Path | None, *, as_json: bool) -> None:
    """Record a preview, and print it with the next command."""
    from rbkernel.displaytext import short_line
    from rbkernel.execution import approval

    before = ledger.recorded(ledger.find(plan))
    history = approval.request(ledger, plan, key and key.expanduser())
    if as_json:
        print_json(_json(history))
        return
    if before and before.digest != history.digest:
        typer.echo(f"before    {short_line(f'{before.state(datetime.now(UTC))}: {before.result}')}")
    _print_document(history)
    short = f"{short_line(history.plan)} --digest {history.digest[:16]}"
    verb = "approve" if history.needed else "execute"
    typer.echo(f"Next: rbkernel action {verb} {short}")


@app.command()
def approve(
    plan: Plan,
    key: Annotated[Path, typer.Option(help=_KEY_HELP)] = _KEY,
    digest: Digest = "",
    as_json: AsJson = False,
) -> None:
    """Approve an action with an SSH signature over exactly what you saw.

    Exit codes: 0 approved, 3 refused, or error.

    Example: rbkernel action approve 3fa9c1d20b7e --digest 9b1c0d77e2aa4f10
    """
    from rbkernel.execution import approval

    ledger = _ledger()
    if digest and (recorded := ledger.recorded(ledger.find(plan))):
        _print_document(recorded, err=True)
    digest = digest or _asked(ledger, plan, "Approve this action?")
    history = approval.approve(ledger, plan, digest, key.expanduser())
    _print(history, as_json=as_json)


@app.command()
def reject(
    plan: Plan, why: Annotated[str, typer.Argument(help="The reason.")], as_json: AsJson = False
) -> None:
    """Reject an action, so that it cannot be executed; this needs no key.

    Exit codes: 0 rejected, 3 refused, or error.

    Example: rbkernel action reject 3fa9c1d20b7e "the job is nearly done"
    """
    from rbkernel.execution import approval

    _print(approval.reject(_ledger(), plan, why), as_json=as_json)


@app.command()
def execute(
    plan: Plan,
    digest: Digest = "",
    break_glass: Annotated[
        str | None,
        typer.Option(
            help="Approve alone what needs more people, for this reason, and execute it. Everybody"
            " who is notified of the incident gets the reason."
        ),
    ] = None,
    key: Annotated[Path, typer.Option(help=f"With --break-glass. {_KEY_HELP}")] = _KEY,
    as_json: AsJson = False,
) -> None:
    """Execute an approved action once, watch its effect, and record both.

    Exit codes: 0 verified, 2 failed, 3 refused (nothing was executed), indeterminate, or error.

    Example: rbkernel action execute 3fa9c1d20b7e --digest 9b1c0d77e2aa4f10
    """
    from rbkernel.execution import approval, executor

    ledger = _ledger()
    digest = digest or _asked(ledger, plan, "Execute this action?")
    if break_glass is not None:
        reason = break_glass.strip() or "none"  # which is too short: never a usual approval
        approval.approve(ledger, plan, digest, key.expanduser(), reason=reason)
    _end(executor.execute(ledger, plan, digest), as_json=as_json)


@app.command()
def invite(
    name: Annotated[str, typer.Argument(help="The approver's name in the file of approvers.")],
    minutes: Annotated[
        float, typer.Option(help="How long the invitation is valid.", min=1, max=1440)
    ] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Print a link with which one approver registers one passkey, once.

    Whoever opens the link first can approve in this name: give it to this person only.

    Exit codes: 0 printed, 3 error.

    Example: rbkernel action invite bob
    """
    from rbkernel.execution import passkey_signing
    from rbkernel.gateway.web import BASE, PASSKEY

    settings, now = config.load(), datetime.now(UTC)
    secret = passkey_signing.invite(settings, name, timedelta(minutes=minutes), now)
    # browsers do not send what follows the "#", so it is in no log
    link = f"{passkey_signing.party_of(settings).origin}{BASE}{PASSKEY}#{secret}"
    tell(link, as_json=as_json, link=link, name=name, minutes=minutes)
    typer.echo(f"For {name} only. Valid once, for {minutes:g} min.", err=True)


@app.command()
def passkeys(
    remove: Annotated[
        str, typer.Option(help="Remove the passkeys and invitations of a person, or one id.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the registered passkeys and open invitations, or remove some.

    Approvals with a passkey that was removed count no more.

    Exit codes: 0 listed or removed, 3 there is none to remove, or error.

    Example: rbkernel action passkeys --remove bob
    """
    from rbkernel.execution import passkey_signing

    settings = config.load()
    rows = passkey_signing.listed(settings, datetime.now(UTC))
    if remove:
        rows = [one for one in rows if remove in (one["name"], one["id"])]
        passkey_signing.remove(settings, remove)
        typer.echo("Removed:", err=True)
    if as_json:
        print_json(rows)
    else:
        print_table(("name", "id", "key", "state"), [tuple(one.values()) for one in rows])


def _ledger() -> Ledger:
    from rbkernel.execution.ledger import Ledger
    from rbkernel.kernel import secrets

    settings = config.load()
    redactor = secrets.redactor(settings, os.environ, later=True)
    return Ledger(settings, redactor, read=config.load)


def _asked(ledger: Ledger, plan: str, question: str) -> str:
    """Show the recorded preview, recording it first if needed; return its digest if confirmed.

    If the plan has an outcome or was rejected, a person must ask for a new preview.
    """
    from rbkernel.evidence.incident import ActionState
    from rbkernel.execution import approval
    from rbkernel.execution.ledger import AGAIN, PENDING

    if not sys.stdin.isatty():
        raise ActionRefused(
            "nobody can be asked here",
            where=f"plan {plan}",
            next_step="give --digest, which `rbkernel action request` prints",
        )
    history = ledger.recorded(ledger.find(plan))
    state = history.state(datetime.now(UTC)) if history else ActionState.EXPIRED
    if history is None or state is ActionState.EXPIRED:
        history = approval.request(ledger, plan)
    elif state not in PENDING:
        raise ActionRefused(f"it is {state}", where=f"plan {plan}", next_step=AGAIN)
    _print_document(history)
    if not typer.confirm(question):
        raise ActionRefused("not confirmed: nothing was recorded", where=f"plan {plan}")
    return history.digest


def _end(history: ActionHistory, *, as_json: bool) -> None:
    from rbkernel.evidence.incident import ActionState

    _print(history, as_json=as_json)
    codes = {ActionState.VERIFIED: 0, ActionState.FAILED: 2}
    raise Ending(codes.get(history.recorded, 3))


def _print_document(history: ActionHistory, *, err: bool = False) -> None:
    from rbkernel.execution import wording

    for line in wording.document_lines(history):
        typer.echo(line, err=err)


def _print(history: ActionHistory, *, as_json: bool) -> None:
    from rbkernel.execution import wording

    if as_json:
        print_json(_json(history))
        return
    for line in wording.history_lines(history, datetime.now(UTC)):
        typer.echo(line)


def _json(history: ActionHistory) -> dict[str, Any]:
    return {
        "plan": history.plan,
        "digest": history.digest,
        "state": history.state(datetime.now(UTC)),
        "needed": history.needed,
        "approvals": [
            {name: getattr(one, name) for name in ("by", "key", "at", "signature", "signers")}
            for one in history.approvals
        ],
        "result": history.result,
        "document": history.document,
    }
