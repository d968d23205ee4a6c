"""The parts of `rbkernel serve` that a configuration can spoil, made in one place.

`serve` starts with them, and `serve --check` makes them too and lets them go: so what one refuses,
the other refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rbkernel.config import Settings
from rbkernel.gateway import pages, server
from rbkernel.gateway.notify import Notifier
from rbkernel.gateway.store import Store


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What serves pages, and what tells people; nothing of it is at work yet."""

    pages: list[tuple[str, Any, dict[str, Any]]]
    notifier: Notifier


def assemble(settings: Settings, store: Store) -> Parts:
    """Make them.

    Raises
    ------
    RbkernelError
        Something is configured with which the gateway does not start.
    """
    server.must_know_senders(settings.gateway)
    server.tls(settings.gateway)
    return Parts(pages=pages.handlers(settings, store), notifier=Notifier(settings, store))
