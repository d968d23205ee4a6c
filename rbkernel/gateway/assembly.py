"""Create the pages and the notifier of `rbkernel serve`, which check the configuration.

`serve` creates them at its start. `serve --check` creates them, too, and discards them, so that
both commands reject the same configurations. Missing environment variables are reported first,
because the rest takes seconds to import.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rbkernel.config import Settings
from rbkernel.gateway.jobs.storage import old_sqlite

if TYPE_CHECKING:
    from rbkernel.gateway.jobs.storage.store import Store
    from rbkernel.gateway.notify import Notifier


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The gateway's pages and notifier, created but not started."""

    pages: list[tuple[str, Any, dict[str, Any]]]
    notifier: Notifier


def must_be_set(settings: Settings) -> None:
    """Raise an error if an environment variable that the configuration names is not usable.

    Commands that fetch a secret are not run.

    Raises
    ------
    ConfigError
        A variable is not set, its value cannot be a secret, or the package of a sender is not
        installed.
    StoreError
        SQLite is too old for the store.
    """
    old_sqlite.refuse_too_old(settings.store_url)
    for sender in settings.gateway.senders.values():
        sender.must_be_installed()
        if sender.secret_env:
            sender.secrets()
        if sender.reply:
            sender.reply.token(f"[gateway.senders.{sender.name}.reply]")
    if settings.pages.link_secret_env and not settings.pages.open_on_loopback:
        settings.pages.link_secret()
    if settings.pages.naming:
        settings.pages.naming.secret()
    for target in settings.notify.targets.values():
        if target.url_env:
            target.urls()


def assemble(settings: Settings, store: Store) -> Parts:
    """Create the gateway's pages and notifier, without starting them.

    Raises
    ------
    RbkernelError
        The gateway cannot start with this configuration.
    """
    must_be_set(settings)
    from rbkernel.gateway import server
    from rbkernel.gateway import web as pages
    from rbkernel.gateway.notify import Notifier

    server.must_know_senders(settings.gateway)
    server.tls(settings.gateway)
    return Parts(pages=pages.handlers(settings, store), notifier=Notifier(settings, store))
