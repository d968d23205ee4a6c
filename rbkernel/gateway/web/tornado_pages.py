"""The tornado handlers of the pages, for `rbkernel serve`; Jupyter's handlers share a base class.

A GET request never changes anything. A form (POST) of `rbkernel serve` needs the cookie with the
link, which browsers do not send from other sites, and a token that only the page contains; in
Jupyter, a user who is logged in and Jupyter's XSRF token.
"""

from __future__ import annotations

import asyncio
import gzip
import hmac
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tornado.ioloop import IOLoop
from tornado.web import RequestHandler

from rbkernel.config.addresses import is_loopback
from rbkernel.errors import (
    ActionRefused,
    AlreadyDecided,
    ConfigError,
    EvidenceError,
    LinkError,
    NothingSealed,
    ParameterError,
    RbkernelError,
    Unauthenticated,
)
from rbkernel.execution.named_person import Person
from rbkernel.gateway import links
from rbkernel.gateway.links import Grant
from rbkernel.gateway.web import people, routes
from rbkernel.gateway.web.forms import Sent, author
from rbkernel.gateway.web.routes import FormRoute, Route
from rbkernel.gateway.web.signin.sessions import Session
from rbkernel.gateway.web.site import Answer, Request, Site, static_file

if TYPE_CHECKING:  # authlib, which it imports, is an extra
    from rbkernel.gateway.web.signin.door import Door

_COOKIE = "rbkernel-link-"
_BY_A_PROXY = ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP")
_STATIC_S = 30 * 24 * 3600
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may open the pages: people with a link that this secret signed, or all on this machine.

    With a ``door``, people who have signed in there may, too. ``whose`` is how the record names a
    person who changes something on a page.
    """

    secret: bytes
    open_on_loopback: bool
    door: Door | None = None

    @property
    def whose(self) -> str:
        """What is known about a person who opened a page."""
        return "user of this machine" if self.open_on_loopback else "holder of a link"


# without links, everybody on this machine has the same access
_HERE = Grant(what="here", expires=0)
# who has signed in opens all pages; the token of a form is one of the session
_SIGNED_IN = Grant(what="signed in", expires=0)


class Shows(RequestHandler):
    """Base class of page handlers: makes a page in a thread, sends it with a security policy."""

    site: Site

    async def show(
        self, route: Route, what: str, *, xsrf: str = "", person: Person | None = None
    ) -> None:
        """Make a page, or an error page that gives the reason, and send it."""
        query = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        request = Request(what=what, query=query, xsrf=xsrf, person=person)
        threads = self.site.reader if route.brief else None
        answer = await IOLoop.current().run_in_executor(threads, self._made, route, request)
        self.send(answer)

    def _made(self, route: Route, request: Request) -> Answer:
        try:
            return route.show(self.site, request)
        except NothingSealed as error:
            return routes.message(self.site, error, 404 if self._unknown(request.what) else 409)
        except EvidenceError as error:
            return routes.message(self.site, error, 404 if self._unknown(request.what) else 500)
        except RbkernelError as error:
            return routes.message(self.site, error, 500)

    async def change(self, route: FormRoute, sent: Sent, page: str) -> None:
        """Change what a form asks for, then send the browser back to the page of the form."""
        threads = self.site.looker if route.looks else None
        try:
            await IOLoop.current().run_in_executor(threads, route.change, self.site, sent)
        except (AlreadyDecided, ActionRefused, ParameterError, EvidenceError) as error:
            status = 409 if isinstance(error, AlreadyDecided | ActionRefused) else 400
            self.send(routes.message(self.site, error, status, back=page))
        except RbkernelError as error:
            self.send(routes.message(self.site, error, 500, back=page))
        else:
            self.redirect(f"{page}#{route.place}", status=303)

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


class Linked(Shows):
    """Base class of handlers for people with a signed link.

    With ``[pages] open_on_loopback``, they need no link, but must be on this machine.
    """

    def initialize(self, site: Site, route: Route | FormRoute, access: Access) -> None:
        """Store the handler's arguments."""
        self.site, self._route, self._access = site, route, access

    async def allowed(self, what: str) -> Grant:
        """Return the link that opens this address.

        Raises
        ------
        LinkError
            No link of this browser opens it.
        """
        if self._access.open_on_loopback:
            self._must_be_here()
            return _HERE
        if self.session:
            return _SIGNED_IN
        grants, ended = self._grants()
        for grant in sorted(grants, key=lambda one: one.what):
            if await self._opened([grant], what):
                return grant
        raise _not_opened(grants, ended)

    def _must_be_here(self) -> None:
        """Raise an error unless the host name is a loopback one: no other site can use that.

        Raises
        ------
        LinkError
            It is another name.
        """
        if not is_loopback(urlsplit(f"//{self.request.host}").hostname or ""):
            raise LinkError(
                "these pages are open on this machine only, under a loopback address",
                where=self.request.host,
                next_step="use http://127.0.0.1 with the port of `rbkernel serve`",
            )

    async def _opened(self, grants: list[Grant], what: str) -> bool:
        def look() -> bool:
            return links.opens(grants, *self._route.wanted(self.site, what))

        try:
            return await IOLoop.current().run_in_executor(self.site.reader, look)
        except RbkernelError:  # the incident is unknown: the link must name the run itself
            return links.opens(grants, what)

    def _grants(self) -> tuple[list[Grant], LinkError | None]:
        """Return what the signed links in the cookies open, and the error of an invalid link."""
        grants, ended = [], None
        for name, cookie in self.cookies.items():
            if name.startswith(_COOKIE):
                try:
                    grants.append(links.read(cookie.value, self._access.secret, time.time()))
                except LinkError as error:
                    ended = error
        return grants, ended

    def _refused(self, error: RbkernelError, page: str) -> Answer:
        """Return the page that says why; who signs in there goes to ``page``, which has a GET."""
        if self._access.open_on_loopback or not isinstance(error, LinkError):
            return routes.message(self.site, error, 403)
        what = self.path_args[0] if self.path_args else ""
        door = self._access.door
        return routes.message(
            self.site,
            error,
            403,
            command=f"rbkernel link {what}".strip(),
            sign_in=door.address(page) if door and not self.session else "",
        )

    @property
    def session(self) -> Session | None:
        """The session of the person who is signed in in this browser; None if nobody is."""
        door = self._access.door
        return door.sessions.of(self.get_cookie(door.cookie("session"), "") or "") if door else None

    def _person(self) -> Person | None:
        """Return who is signed in, or who the proxy says it is; see `people.person_of`."""
        if session := self.session:
            return session.person
        proxy = self.site.settings.pages.proxy
        return people.person_of(proxy, self.request.remote_ip or "", self.request.headers)

    def _token(self, grant: Grant, what: str, person: Person | None) -> str:
        """Return the token of the page's forms, which is no other person's."""
        page = f"{what}~{person.name}" if person else what
        if session := self.session:
            page = f"{page}~{session.id}"
        return links.form_token(grant, page, self._access.secret)

    def must_be_from_the_page(self, grant: Grant, what: str, person: Person | None) -> None:
        """Raise an error unless a form has the token of its page, and comes from this site.

        Raises
        ------
        LinkError
            It has not, or does not.
        """
        sent = self.get_body_argument("_xsrf", "").encode()
        right = hmac.compare_digest(sent, self._token(grant, what, person).encode())
        strictly = self._access.open_on_loopback
        if not right or _from_another_site(self, strictly=strictly):
            raise LinkError(
                "nothing was recorded: this form was not sent from the page, or is out of date",
                next_step="open the page again, and answer there",
            )


class Page(Linked):
    """Handler of a page."""

    _route: Route

    async def get(self, what: str = "") -> None:
        """Answer with the page, or with a page that says how to get a link."""
        problem = None
        token = self.get_query_argument(links.PARAMETER, "")
        if token and not self._access.open_on_loopback:
            try:
                given = links.read(token, self._access.secret, time.time())
                if await self._opened([given], what):
                    self._keep(given, token)
                    self.redirect(self.request.path, status=303)
                    return
                problem = _not_opened([given], None)
            except LinkError as error:
                problem = error  # the browser may have stored another link that is still valid
        try:
            grant = await self.allowed(what)
            person = self._person()
        except (LinkError, Unauthenticated, ConfigError) as error:
            self.send(self._refused(problem or error, self.request.path))
        else:
            xsrf = self._token(grant, what, person)
            await self.show(self._route, what, xsrf=xsrf, person=person)

    head = get  # tornado omits the body

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


class Form(Linked):
    """Handler of a form: it changes something, if the person sent it from the page itself."""

    _route: FormRoute

    async def post(self, what: str) -> None:
        """Change what the form asks for, or say why nothing was changed."""
        page = self.request.path.rsplit("/", 1)[0]
        try:
            grant = await self.allowed(what)
            self._must_not_come_by_a_proxy()
            person = self._person()
            self.must_be_from_the_page(grant, what, person)
        except (LinkError, Unauthenticated, ConfigError) as error:
            self.send(self._refused(error, page))
            return
        if person:
            by = author(person.name, person.whose)
        else:
            by = author(self.get_body_argument("name", ""), self._access.whose)
        sent = Sent(what=what, fields=fields_of(self), by=by, person=person)
        await self.change(self._route, sent, page)

    def _must_not_come_by_a_proxy(self) -> None:
        """On pages without links, refuse people on other machines, whom a proxy lets in."""
        forwarded = any(name in self.request.headers for name in _BY_A_PROXY)
        if self._access.open_on_loopback and forwarded:
            raise LinkError(
                "nothing was recorded: these pages need no link, so only people on this machine may"
                " change something, and this request came through a proxy",
                next_step="remove open_on_loopback, and give people links (`rbkernel link`)",
            )


def fields_of(handler: RequestHandler) -> dict[str, str]:
    """Return the fields of a form; of repeated fields, the last."""
    return {name: handler.get_body_argument(name) for name in handler.request.body_arguments}


def _from_another_site(handler: Shows, *, strictly: bool) -> bool:
    """Tell whether the browser says that another site sent the request.

    A proxy may change the host name, so the configured address counts, too; not ``strictly``, on
    pages that are open on this machine only.
    """
    headers = handler.request.headers
    site, origin = headers.get("Sec-Fetch-Site", ""), headers.get("Origin", "")
    address = "" if strictly else urlsplit(handler.site.settings.gateway.address).netloc
    here = not origin or urlsplit(origin).netloc in {handler.request.host, address}
    if site:
        return site not in {"same-origin", "none"} or (strictly and not here)
    return not here


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
