"""The addresses of the sign-in: to the provider, back from it, and the account with its sign-out.

No approval comes from here, and no GET ends a session: the sign-out is a form of the page.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from rbkernel.errors import LinkError, Overloaded, RbkernelError, Unauthenticated
from rbkernel.gateway.links import Grant
from rbkernel.gateway.web import routes
from rbkernel.gateway.web.signin.door import BEGUN_S, Door
from rbkernel.gateway.web.signin.providers import Flow
from rbkernel.gateway.web.site import Site
from rbkernel.gateway.web.tornado_pages import Access, Linked, Shows

_log = logging.getLogger(__name__)
_LONGEST = 200


class SignIn(Shows):
    """Handler that sends the browser to the provider."""

    def initialize(self, site: Site, door: Door) -> None:
        """Store the arguments that the application was made with."""
        self.site, self._door = site, door

    async def get(self) -> None:
        """Begin the sign-in; afterwards, the browser comes back to the page it was on."""
        flow = Flow(to=self._door.page(self.get_query_argument("to", "")))
        try:
            there = await self._door.ask(self._door.provider.begin, flow)
        except RbkernelError as error:
            self._refuse(error)
            return
        cookie, door = self._door.sealed(flow), self._door
        _set_cookie(self, door, door.begun(flow.state), cookie, max_age=BEGUN_S)
        self.redirect(there)

    def _refuse(self, error: RbkernelError) -> None:
        _log.warning("sign-in: %s (from %s)", error, self.request.remote_ip)
        status = 503 if isinstance(error, Overloaded) else 403
        self.send(routes.message(self.site, error, status, sign_in=f"{self._door.base}/signin"))


class Callback(SignIn):
    """Handler to which the provider sends the browser back, with a code or an error."""

    async def get(self) -> None:
        """Sign the person in, and go to the page on which they were."""
        door = self._door
        state = self.get_query_argument("state", "")
        try:
            flow = door.flow(self.get_cookie(door.begun(state), "") or "", state)
            self.clear_cookie(door.begun(flow.state), path="/", secure=door.is_secure)
            if error := self.get_query_argument("error", "")[:_LONGEST]:
                raise Unauthenticated(
                    f"nobody was signed in: the provider says {error!r}"
                    f" {self.get_query_argument('error_description', '')[:_LONGEST]}".rstrip(),
                    where=door.provider.settings.place,
                    next_step="sign in again, or ask who administers the provider",
                )
            code = self.get_query_argument("code", "")
            person = await door.ask(door.named, flow, code)
        except RbkernelError as error:
            self._refuse(error)
            return
        before = self.get_cookie(door.cookie("session"), "")
        door.sessions.end(before or "")
        _set_cookie(self, door, door.cookie("session"), door.begin(person))
        _log.warning("signed in: %s (from %s)", person.name, self.request.remote_ip)
        self.redirect(flow.to, status=303)


class Account(Linked):
    """Handler of the page that says who is signed in, and of the form that signs out."""

    def initialize(self, site: Site, access: Access) -> None:  # type: ignore[override]  # it has no route
        """Store the arguments that the application was made with."""
        self.site, self._access = site, access

    async def get(self) -> None:
        """Answer with the page."""
        session = self.session
        came_from = urlsplit(self.request.headers.get("Referer", "")).path
        self.send(
            self.site.render(
                "account.html.j2",
                person=session and session.person,
                xsrf=self._token(_ACCOUNT, "", session.person) if session else "",
                to=self._door.page(came_from),
                refresh_s=0,
            )
        )

    async def post(self) -> None:
        """Sign out; the provider may still know the person."""
        session, door = self.session, self._door
        if session:
            try:
                self.must_be_from_the_page(_ACCOUNT, "", session.person)
            except LinkError as error:
                self.send(routes.message(self.site, error, 403))
                return
            door.sessions.end(self.get_cookie(door.cookie("session"), "") or "")
        self.clear_cookie(door.cookie("session"), path="/", secure=door.is_secure)
        self.redirect(f"{door.base}/account", status=303)

    @property
    def _door(self) -> Door:
        assert self._access.door
        return self._access.door


# the forms of the account belong to no link
_ACCOUNT = Grant(what="account", expires=0)


def _set_cookie(
    handler: Shows, door: Door, name: str, value: str, max_age: int | None = None
) -> None:
    handler.set_cookie(
        name,
        value,
        path="/",
        httponly=True,
        samesite="Lax",
        secure=door.is_secure,
        max_age=max_age,
    )
