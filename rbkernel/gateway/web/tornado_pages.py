"""The tornado handlers of the pages, for `rbkernel serve`; Jupyter's handlers share a base class.

In `rbkernel serve` the pages are read-only: no request changes anything, so a forged request has no
effect.
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
    """Base class of page handlers: makes a page in a thread, sends it with a security policy."""

    site: Site

    async def show(self, route: Route, what: str, *, xsrf: str = "") -> None:
        """Make a page, or an error page that gives the reason, and send it."""
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
        """Send a page or file to the browser; answer 304 if the browser already has it."""
        self.set_status(answer.status)
        for name, value in _HEADERS.items():
            self.set_header(name, value)
        self.set_header("Content-Type", answer.type)
        self.set_header("Content-Security-Policy", answer.policy)
        if answer.name:
            self.set_header("Content-Disposition", f'attachment; filename="{answer.name}"')
        self.finish(answer.body)

    def _request_summary(self) -> str:
        """Describe the request for the log, without its query, which may hold a signed link."""
        return f"{self.request.method} {self.request.path} ({self.request.remote_ip})"

    async def send_static(self, name: str) -> None:
        """Send a style sheet or a script, which browsers may cache for long."""
        packed = "gzip" in self.request.headers.get("Accept-Encoding", "")
        # the first request reads and compresses plotly.js, which takes a moment
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


@lru_cache(maxsize=16)  # limited, because anybody may request names that do not exist
def _packed(name: str) -> Answer | None:
    found = static_file(name)
    return found and replace(found, body=gzip.compress(found.body, mtime=0))


class Page(Shows):
    """Handler of a page, for readers with a signed link.

    With ``[pages] open_on_loopback``, it needs no link, but only answers readers on this machine.
    """

    def initialize(self, site: Site, route: Route, secret: bytes | None) -> None:
        """Store the handler's arguments; without a secret, the pages are open on loopback."""
        self.site, self._route, self._secret = site, route, secret

    async def get(self, what: str = "") -> None:
        """Answer with the page, or with a page that says how to get a link."""
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
                problem = error  # the browser may have stored another link that is still valid
        grants, ended = self._grants(self._secret)
        if grants and await self._opened(grants, what):
            await self.show(self._route, what)
        else:
            self.send(self._refused(problem or _not_opened(grants, ended)))

    head = get  # tornado omits the body

    async def _get_on_loopback(self, what: str) -> None:
        """Answer only under a loopback host name, so that no other web site can read the page."""
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
        except RbkernelError:  # the incident is unknown: the link must name the run itself
            return links.opens(grants, what)

    def _keep(self, grant: Grant, token: str) -> None:
        """Store a signed link in a cookie; the address, which users may share, then lacks it."""
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
        """Return what the signed links in the cookies open, and the error of an invalid link."""
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
    """Handler of the static files of all pages; these files contain no evidence."""

    def initialize(self, site: Site) -> None:
        """Store the arguments that the application was made with."""
        self.site = site

    async def get(self, name: str) -> None:
        """Answer with a static file."""
        await self.send_static(name)

    head = get


class Nothing(Shows):
    """Handler of every address below the pages' root that is no page."""

    def initialize(self, site: Site) -> None:
        """Store the arguments that the application was made with."""
        self.site = site

    def get(self) -> None:
        """Answer 404: there is no page at this address."""
        self.send(routes.nothing_here(self.site))

    head = get


def _not_opened(grants: list[Grant], ended: LinkError | None) -> LinkError:
    if ended:
        return ended
    if grants:
        return LinkError(
            "your link does not open this page",
            next_step="ask for a link that opens it; this command prints the link, on the gateway"
            " host",
        )
    return LinkError(
        "this page needs a link",
        next_step="open the page from a notification, or print a link on the gateway host",
    )
