"""The web pages of runs and incidents and the console, for `rbkernel serve` and for Jupyter.

`handlers` returns tornado's rules. Imports are delayed until it is called, so that `rbkernel link`
does not wait for a web server.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from rbkernel.config import Settings
from rbkernel.errors import ConfigError

if TYPE_CHECKING:
    from rbkernel.gateway.jobs.storage.store import Store

BASE, PASSKEY = "/rbkernel", "/passkey"


def handlers(
    settings: Settings, store: Store | None = None
) -> list[tuple[str, Any, dict[str, Any]]]:
    """Return the pages of `rbkernel serve`, as tornado's rules: pattern, handler, arguments.

    Parameters
    ----------
    settings
        The configuration. If kernels run in this process, passkeys need ``one_user``.
    store
        The gateway's store, for queue and quarantine; None if there is none.

    Raises
    ------
    ConfigError
        The pages are configured as open, but other machines can reach them; or the secret that
        signs links cannot be read.
    """
    from tornado.web import RedirectHandler

    from rbkernel.gateway.links import secret_of
    from rbkernel.gateway.web.passkey_page import PasskeyPage
    from rbkernel.gateway.web.routes import ACTION_ROUTES, FORM_ROUTES, ROUTES
    from rbkernel.gateway.web.site import Site
    from rbkernel.gateway.web.tornado_pages import Access, Form, Nothing, Page, Static

    if settings.pages.open_on_loopback and not settings.gateway.on_loopback:
        raise ConfigError(
            f"open_on_loopback is set, but other machines can reach {settings.gateway.host}",
            where="[pages]",
            next_step="remove it and give people links (`rbkernel link`); or set [gateway]"
            ' host = "127.0.0.1"',
        )
    site = Site(settings=settings, base=BASE, find_store=lambda: store)
    is_open = settings.pages.open_on_loopback
    # without links, the secret protects only the forms, so each start may have its own
    secret = secrets.token_bytes() if is_open else secret_of(settings)
    shared = {"site": site}
    guarded = {**shared, "access": Access(secret=secret, open_on_loopback=is_open)}
    return [
        ("/", RedirectHandler, {"url": BASE, "permanent": False}),
        *((f"{BASE}{route.pattern}/?", Page, {**guarded, "route": route}) for route in ROUTES),
        *(
            (f"{BASE}{route.pattern}", Form, {**guarded, "route": route})
            for route in (*FORM_ROUTES, *(ACTION_ROUTES if site.takes_actions else ()))
        ),
        *([(f"{BASE}{PASSKEY}", PasskeyPage, shared)] if site.takes_actions else ()),
        (f"{BASE}/static/([a-z.]+)", Static, shared),
        (f"{BASE}(?:/.*)?", Nothing, shared),
    ]


def warnings(settings: Settings) -> list[str]:
    """Return the warnings about approvals on pages to log when the gateway starts."""
    from rbkernel.execution import boundary

    by_proxy = any("proxy" in rule.identities for rule in settings.actions.rules)
    if not (settings.actions.passkeys or by_proxy) or not settings.queue.kernels:
        return []
    if settings.actions.one_user:
        return ["approvals on pages are a convenience here: kernels run as the same OS user"]
    return [f"approvals on pages: {boundary.ONE_USER}. Next: {boundary.APART}"]


def who_may_read(settings: Settings) -> str:
    """Return a sentence that says who can read the pages of `rbkernel serve`, and how."""
    if settings.pages.open_on_loopback:
        return "anyone on this machine can read the pages"
    return "open the pages with a link from `rbkernel link`"
