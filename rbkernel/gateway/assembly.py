"""The parts of `rbkernel serve` that a configuration can spoil, made in one place.

`serve` starts with them, and `serve --check` makes them too and lets them go: so what one refuses,
the other refuses. What a variable lacks is found first, since the rest takes seconds to import.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rbkernel.config import Settings
from rbkernel.gateway.jobs import old_sqlite

if TYPE_CHECKING:
    from rbkernel.gateway.jobs.store import Store
    from rbkernel.gateway.notify import Notifier


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The pages and the notifier, created but not started."""

    pages: list[tuple[str, Any, dict[str, Any]]]
    notifier: Notifier


def must_be_set(settings: Settings) -> None:
    """Look for every variable that the file names; commands are run once, later.

    Raises
    ------
    ConfigError
        One is not set, or cannot be a secret.
    StoreError
        SQLite is too old for the store.
    """
    old_sqlite.refuse_too_old(settings.store_url)
    for sender in settings.gateway.senders.values():
        if sender.secret_env:
            sender.secrets()
    if settings.pages.link_secret_env and not settings.pages.open_on_loopback:
        settings.pages.link_secret()
    for target in settings.notify.targets.values():
        if target.url_env:
            target.urls()


def assemble(settings: Settings, store: Store) -> Parts:
    """Make them.

    Raises
    ------
    RbkernelError
        Something is configured with which the gateway does not start.
    """
    must_be_set(settings)
    from rbkernel.gateway import server
    from rbkernel.gateway import web as pages
    from rbkernel.gateway.notify import Notifier

    server.must_know_senders(settings.gateway)
    server.tls(settings.gateway)
    return Parts(pages=pages.handlers(settings, store), notifier=Notifier(settings, store))
