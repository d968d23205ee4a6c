"""The pages in tornado: the same for `rbkernel serve` and for Jupyter, which differ in who may.

In `rbkernel serve` they only show: no request changes anything, so none can be forged.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from dataclasses import replace
from functools import lru_cache
from urllib.parse import urlsplit

from tornado.ioloop import IOLoop
from tornado.web import RequestHandler

from rbkernel.config.gateway import is_loopback
from rbkernel.errors import EvidenceError, LinkError, NothingSealed, RbkernelError
from rbkernel.gateway import links
from rbkernel.gateway.links import Grant
from rbkernel.gateway.web import routes
from rbkernel.gateway.web.routes import Route
from rbkernel.gateway.web.site import Answer, Asked, Site, static_file

_COOKIE = "rbkernel-link-"
_STATIC_S = 30 * 24 * 3600
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}


class Shows(RequestHandler):
    """What both have in common: a page is made in a thread, and sent with its policy."""

    site: Site

    async def show(self, route: Route, what: str, *, xsrf: str = "") -> None:
        """Make a page, or the page that says why it cannot be made, and send it."""
        query = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        asked = Asked(what=what, query=query, xsrf=xsrf)
        threads = self.site.reader if route.brief else None
        answer = await IOLoop.current().run_in_executor(threads, self._made, route, asked)
        self.send(answer)

    def _made(self, route: Route, asked: Asked) -> Answer:
        try:
            return route.show(self.site, asked)
        except NothingSealed as error:
            return routes.message(self.site, error, 404 if self._unknown(asked.what) else 409)
        except EvidenceError as error:
            return routes.message(self.site, error, 404 if self._unknown(asked.what) else 500)
        except RbkernelError as error:
            return routes.message(self.site, error, 500)

    def _unknown(self, what: str) -> bool:
        try:
            return what not in self.site.cache.known()
        except EvidenceError:
            return False

    def send(self, answer: Answer) -> None:
        """Send an answer; 304 if the browser already has it."""
        self.set_status(answer.status)
        for name, value in _HEADERS.items():
            self.set_header(name, value)
        self.set_header("Content-Type", answer.type)
        self.set_header("Content-Security-Policy", answer.policy)
        if answer.name:
            self.set_header("Content-Disposition", f'attachment; filename="{answer.name}"')
        self.finish(answer.body)

    def _request_summary(self) -> str:
        """Leave what follows ``?`` out of logs: a link opens pages."""
        return f"{self.request.method} {self.request.path} ({self.request.remote_ip})"

    async def send_static(self, name: str) -> None:
        """Send a style sheet or a script; its address changes when it does."""
        packed = "gzip" in self.request.headers.get("Accept-Encoding", "")
        # the first time plotly.js is read and packed, which takes a moment
        found = await asyncio.to_thread(_packed if packed else static_file, name)
        if found is None:
            self.send(routes.nothing_here(self.site))
            return
        self.set_header("Vary", "Accept-Encoding")
        if packed:
            self.set_header("Content-Encoding", "gzip")
        self.set_header("Cache-Control", f"public, max-age={_STATIC_S}, immutable")
        self.set_header("Content-Type", found.type)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(found.body)


@lru_cache(maxsize=16)  # anybody may ask for names that are none
def _packed(name: str) -> Answer | None:
    found = static_file(name)
    return found and replace(found, body=gzip.compress(found.body, mtime=0))


class Page(Shows):
    """A page of `rbkernel serve`: for those with a link, or for this machine where it is open."""

    def initialize(self, site: Site, route: Route, secret: bytes | None) -> None:
        """Take what the application was made with; no secret means: open on loopback."""
        self.site, self._route, self._secret = site, route, secret

    async def get(self, what: str = "") -> None:
        """Show it, or say how to get a link."""
        if self._secret is None:
            await self._get_on_loopback(what)
            return
        problem = None
        if token := self.get_query_argument(links.PARAMETER, ""):
            try:
                given = links.read(token, self._secret, time.time())
                if await self._opened([given], what):
                    self._keep(given, token)
                    self.redirect(self.request.path, status=303)
                    return
                problem = _not_opened([given], None)
            except LinkError as error:
                problem = error  # the browser may keep one that still holds
        grants, ended = self._grants(self._secret)
        if grants and await self._opened(grants, what):
            await self.show(self._route, what)
        else:
            self.send(self._refused(problem or _not_opened(grants, ended)))

    head = get  # tornado leaves the body out

    async def _get_on_loopback(self, what: str) -> None:
        """Show it to this machine, under a name of this machine: else any web page could ask."""
        if is_loopback(urlsplit(f"//{self.request.host}").hostname or ""):
            await self.show(self._route, what)
            return
        error = LinkError(
            "these pages are open on this machine only, under a loopback address",
            where=self.request.host,
            next_step="use http://127.0.0.1 with the port of `rbkernel serve`",
        )
        self.send(routes.message(self.site, error, 403))

    async def _opened(self, grants: list[Grant], what: str) -> bool:
        def look() -> bool:
            return links.opens(grants, *self._route.wanted(self.site, what))

        try:
            return await IOLoop.current().run_in_executor(self.site.reader, look)
        except RbkernelError:  # nobody knows the incident: the link must name the run itself
            return links.opens(grants, what)

    def _keep(self, grant: Grant, token: str) -> None:
        """Have the browser keep the link, so that it stands in no address that is shown around."""
        is_run = grant.path.startswith("/runs/")
        self.set_cookie(
            f"{_COOKIE}{grant.what}",
            token,
            path=f"{self.site.base}{grant.path}" if is_run else self.site.base,
            expires=float(grant.expires),
            httponly=True,
            samesite="Lax",
            secure=self.site.settings.gateway.address.startswith("https:"),
        )

    def _grants(self, secret: bytes) -> tuple[list[Grant], LinkError | None]:
        """Return what the links open that the browser keeps, and why one no longer does."""
        grants, ended = [], None
        for name, cookie in self.cookies.items():
            if name.startswith(_COOKIE):
                try:
                    grants.append(links.read(cookie.value, secret, time.time()))
                except LinkError as error:
                    ended = error
        return grants, ended

    def _refused(self, error: LinkError) -> Answer:
        what = self.path_args[0] if self.path_args else ""
        return routes.message(self.site, error, 403, command=f"rbkernel link {what}".strip())


class Static(Shows):
    """Static files of all pages, without data."""

    def initialize(self, site: Site) -> None:
        """Take what the application was made with."""
        self.site = site

    async def get(self, name: str) -> None:
        """Send it."""
        await self.send_static(name)

    head = get


class Nothing(Shows):
    """Any other address below the pages."""

    def initialize(self, site: Site) -> None:
        """Take what the application was made with."""
        self.site = site

    def get(self) -> None:
        """Say that there is nothing."""
        self.send(routes.nothing_here(self.site))

    head = get


def _not_opened(grants: list[Grant], ended: LinkError | None) -> LinkError:
    if ended:
        return ended
    if grants:
        return LinkError(
            "your link does not open this page",
            next_step="ask for one that does; this command prints it, on the gateway host",
        )
    return LinkError(
        "this page needs a link",
        next_step="open the page from a notification, or print a link on the gateway host",
    )
