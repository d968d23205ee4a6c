"""The web pages of runs and incidents and the console, for `rbkernel serve` and for Jupyter.

`handlers` returns tornado's rules. Imports are delayed until it is called, so that `rbkernel link`
does not wait for a web server.
"""

from __future__ import annotations

import secrets
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rbkernel.config import Settings
from rbkernel.errors import ConfigError

if TYPE_CHECKING:
    from rbkernel.gateway.jobs.storage.store import Store
    from rbkernel.gateway.web.signin.door import Door

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
    door = _door(settings)
    guarded = {
        **shared,
        "access": Access(secret=secret, open_on_loopback=is_open, door=door),
    }
    return [
        ("/", RedirectHandler, {"url": BASE, "permanent": False}),
        *((f"{BASE}{route.pattern}/?", Page, {**guarded, "route": route}) for route in ROUTES),
        *(
            (f"{BASE}{route.pattern}", Form, {**guarded, "route": route})
            for route in (*FORM_ROUTES, *(ACTION_ROUTES if site.takes_actions else ()))
        ),
        *([(f"{BASE}{PASSKEY}", PasskeyPage, shared)] if site.takes_actions else ()),
        *(_of_signin(door, guarded) if door else ()),
        (f"{BASE}/static/([a-z.]+)", Static, shared),
        (f"{BASE}(?:/.*)?", Nothing, shared),
    ]


def _door(settings: Settings) -> Door | None:
    """Return where people sign in; None if the configuration has no sign-in.

    Raises
    ------
    ConfigError
        The secret cannot be fetched, or the package for it is not installed.
    """
    if settings.pages.signin is None:
        return None
    must_be_installed()
    from rbkernel.gateway.web.signin.door import Door

    return Door.made(settings, BASE)


def must_be_installed() -> None:
    """Raise an error if the package for the sign-in is not installed.

    Raises
    ------
    ConfigError
        It is not.
    """
    if find_spec("authlib") is None:
        raise ConfigError(
            "the sign-in needs the package authlib",
            where="[pages]",
            next_step='install rbkernel with its extra: pip install "rbkernel[signin]"',
        )


def _of_signin(door: Door, guarded: dict[str, Any]) -> list[tuple[str, Any, dict[str, Any]]]:
    """Return the addresses of the sign-in, as tornado's rules."""
    from rbkernel.gateway.web.signin.door import CALLBACK
    from rbkernel.gateway.web.signin.pages import Account, Callback, SignIn

    shared = {"site": guarded["site"], "door": door}
    return [
        (f"{BASE}/signin", SignIn, shared),
        (f"{BASE}{CALLBACK}", Callback, shared),
        (f"{BASE}/account", Account, guarded),
    ]


def warnings(settings: Settings) -> list[str]:
    """Return the warnings about approvals on pages to log when the gateway starts."""
    from rbkernel.execution import boundary

    named = any({*rule.identities} - {"ssh", "passkey"} for rule in settings.actions.rules)
    if not (settings.actions.passkeys or named) or not settings.queue.kernels:
        return []
    if settings.actions.one_user:
        return ["approvals on pages are a convenience here: kernels run as the same OS user"]
    return [f"approvals on pages: {boundary.ONE_USER}. Next: {boundary.APART}"]


def who_may_read(settings: Settings) -> str:
    """Return a sentence that says who can read the pages of `rbkernel serve`, and how."""
    if settings.pages.open_on_loopback:
        return "anyone on this machine can read the pages"
    link = "open the pages with a link from `rbkernel link`"
    return f"{link}, or sign in" if settings.pages.signin else link
