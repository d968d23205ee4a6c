"""The command `rbkernel notify`: show notification targets, test them, send notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rbkernel import amounts, config
from rbkernel.cli.output import AsJson, Ending, complain, print_json, print_table, tell
from rbkernel.errors import ConfigError, ExtensionError, NotifyError
from rbkernel.model import Severity

if TYPE_CHECKING:
    from rbkernel.config import Settings
    from rbkernel.config.notify import Target
    from rbkernel.gateway.notify.outbox import Outbox

ERROR = 3
_TEST = "A test of rbkernel's notifications"


def notify(
    target: Annotated[
        str, typer.Argument(help="The target to list or test. Default: all targets.")
    ] = "",
    test: Annotated[bool, typer.Option("--test", help="Send a test message now.")] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Send what is due now, without `rbkernel serve`.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the notification targets; send a test message, or notifications that are due.

    Exit codes: 0 shown or sent, 3 a target is not usable, or error.

    Example: rbkernel notify --test
    """
    settings = config.load()
    targets = _targets(settings, target)
    code = _test(settings, targets, as_json=as_json) if test else 0
    _begin(settings)
    if test:
        raise Ending(code)
    if once:
        raise Ending(_once(settings, as_json=as_json))
    raise Ending(_show(settings, targets, target, as_json=as_json))


def _begin(settings: Settings) -> None:
    """Register new targets, which get notifications from now on, and print their names."""
    from rbkernel.gateway.jobs.storage.store import Store
    from rbkernel.gateway.notify.outbox import Outbox
    from rbkernel.gateway.notify.replies import receivers

    store = Store.open(settings.store_url)
    try:
        new = Outbox(store).begin([*settings.notify.targets.values(), *receivers(settings)])
    finally:
        store.close()
    for name in new:
        typer.echo(f"{name} is new: it gets notifications from now on", err=True)


def _targets(settings: Settings, name: str) -> list[Target]:
    found = [one for one in settings.notify.targets.values() if name in ("", one.name)]
    has_replies = any(one.reply for one in settings.gateway.senders.values())
    if not found and (name or not has_replies):
        known = ", ".join(settings.notify.targets) or "none"
        raise NotifyError(
            f"there is no target {name!r}; known: {known}"
            if name
            else "there is no notification target",
            where=str(settings.file or "no rbkernel.toml found"),
            next_step="add [notify.targets.NAME] with url_env to rbkernel.toml"
            " (docs/how-to/send-notifications.md)",
        )
    return found


def _test(settings: Settings, targets: list[Target], *, as_json: bool) -> int:
    from rbkernel.gateway.notify import channels

    results: dict[str, str] = {}
    body = f"Notifications of the gateway at {settings.gateway.address} arrive here."
    code = 0
    for one in targets:
        try:
            results[one.name] = f"sent through {channels.send(one, _TEST, body, 'info')}"
        except (NotifyError, ConfigError, ExtensionError) as error:
            results[one.name], code = str(error), ERROR
    width = max(map(len, results), default=0)
    lines = [f"{name:{width}}  {result}" for name, result in results.items()]
    tell(*lines, as_json=as_json, results=results)
    return code


def _once(settings: Settings, *, as_json: bool) -> int:
    from rbkernel.gateway.jobs.storage.store import Store
    from rbkernel.gateway.notify import Notifier

    store = Store.open(settings.store_url)
    try:
        notifier = Notifier(settings, store)
        sent = notifier.sweep()
        waiting = sum(notifier.outbox.waiting(one.name).pending for one in notifier.everybody)
    finally:
        store.close()
    left = f", {amounts.count(waiting, 'event')} waiting" if waiting else ""
    said = f"sent {amounts.count(sent, 'message')}{left}"
    tell(said, as_json=as_json, sent=sent, waiting=waiting)
    return 0


def _show(settings: Settings, targets: list[Target], name: str, *, as_json: bool) -> int:
    from rbkernel.gateway.jobs.storage.store import Store
    from rbkernel.gateway.notify import channels
    from rbkernel.gateway.notify.outbox import Outbox
    from rbkernel.gateway.notify.replies import ACKNOWLEDGED, RESOLVED, receivers

    store, code, rows = Store.open(settings.store_url), 0, []
    try:
        outbox = Outbox(store)
        for one in targets:
            try:
                service = channels.names(one)
            except (NotifyError, ConfigError, ExtensionError) as error:
                complain(error)
                service, code = "not usable", ERROR
            rows.append((one.name, *_state(outbox, one.name), service, *_wants(one)))
        for receiver in receivers(settings) if not name else ():
            states = f"{ACKNOWLEDGED}, {RESOLVED}"
            of_it = _state(outbox, receiver.name)
            rows.append((receiver.name, *of_it, receiver.sender, states, "all"))
    finally:
        store.close()
    # a narrow terminal leaves out the last columns
    names = ("target", "waiting", "problem", "sent", "through", "events", "severities")
    if as_json:
        print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        print_table(names, rows)
    return code


def _wants(target: Target) -> tuple[str, str]:
    from rbkernel.config.notify import EVENT_KINDS

    events = "all" if target.events == EVENT_KINDS else ", ".join(target.events)
    every = set(target.severities) == set(Severity)
    return events, "all" if every else ", ".join(one.value for one in target.severities)


def _state(outbox: Outbox, name: str) -> tuple[str, str, str]:
    state = outbox.waiting(name)
    given_up = (
        f"{amounts.count(state.given_up, 'event')} not sent after all retries"
        if state.given_up
        else ""
    )
    problem = "; ".join(filter(None, [state.problem, given_up]))
    return str(state.pending), problem, str(state.sent)
