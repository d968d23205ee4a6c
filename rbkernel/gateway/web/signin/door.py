"""Where people sign in to the pages: the provider, the cookies, and who is signed in."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from tornado.web import create_signed_value, decode_signed_value

from rbkernel.config import Settings
from rbkernel.errors import Overloaded, Unauthenticated
from rbkernel.execution.named_person import Person
from rbkernel.gateway.web.signin.providers import Flow, Provider, admitted, of
from rbkernel.gateway.web.signin.sessions import Sessions

T = TypeVar("T")
CALLBACK = "/signin/callback"
# how long a sign-in at the provider may take
BEGUN_S = 600
_STATE_CHARACTERS = 8
# how many people may wait for the provider at the same time
_AT_ONCE = 16
_SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Door:
    """The sign-in of the pages at an address that the configuration says, never a request.

    ``key`` signs the cookie of a sign-in that has begun, so a new start of the server ends it.
    """

    base: str
    is_secure: bool
    provider: Provider
    sessions: Sessions = field(default_factory=lambda: Sessions(clock=time.monotonic))
    key: bytes = field(default_factory=lambda: secrets.token_bytes(_SECRET_BYTES))
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="rbkernel-sign-in")
    )
    _asked: set[Future[Any]] = field(default_factory=set)

    @classmethod
    def made(cls, settings: Settings, base: str) -> Door:
        """Return the sign-in of the configuration, which must have one.

        Raises
        ------
        ConfigError
            The secret cannot be fetched.
        """
        signin = settings.pages.signin
        assert signin
        signin.secret()
        address = settings.gateway.address
        provider = of(signin, f"{address}{base}{CALLBACK}")
        return cls(base=base, is_secure=address.startswith("https:"), provider=provider)

    def cookie(self, name: str) -> str:
        """Return the full name of a cookie; with TLS, no other host can set it."""
        return f"{'__Host-' if self.is_secure else ''}rbkernel-{name}"

    def begun(self, state: str) -> str:
        """Return the full name of the cookie of a sign-in that has begun: each tab has its own."""
        return self.cookie(f"sign-in-{state[:_STATE_CHARACTERS]}")

    def page(self, wanted: str) -> str:
        """Return the page to go to after the sign-in; the console, if it is none of these pages.

        >>> door = Door(base="/rbkernel", is_secure=True, provider=None)
        >>> [door.page(one) for one in ("/rbkernel/incidents/INC-1", "//evil.example", "/x", "")]
        ['/rbkernel/incidents/INC-1', '/rbkernel', '/rbkernel', '/rbkernel']
        """
        is_ours = re.fullmatch(rf"{self.base}(/[0-9A-Za-z-]+)*", wanted, re.ASCII)
        return wanted if is_ours else self.base

    def address(self, page: str) -> str:
        """Return the address at which people sign in who then go to a page."""
        return f"{self.base}/signin?to={quote(self.page(page), safe='/')}"

    def sealed(self, flow: Flow) -> str:
        """Return the cookie of a sign-in that begins."""
        return create_signed_value(self.key, "flow", json.dumps(asdict(flow))).decode()

    def flow(self, cookie: str, state: str) -> Flow:
        """Return the sign-in that this browser began.

        Raises
        ------
        Unauthenticated
            It began none, or another one, or too long ago.
        """
        text = decode_signed_value(self.key, "flow", cookie, max_age_days=BEGUN_S / 86_400)
        found = Flow(**json.loads(text)) if text else None
        if not found or not secrets.compare_digest(found.state.encode(), state.encode()):
            raise Unauthenticated(
                "nobody was signed in: this browser did not begin this sign-in, or more than 10"
                " minutes ago",
                where="sign-in",
                next_step="open the page again, and sign in there; cookies must be allowed",
            )
        return found

    async def ask(self, question: Callable[..., T], *about: object) -> T:
        """Ask the provider a question, in a thread of the sign-in's own.

        Strangers can ask, too. So what else the server does must never wait for a provider that
        hangs, and nobody waits for a thread.

        Raises
        ------
        Overloaded
            All threads wait for the provider.
        """
        if len(self._asked) >= _AT_ONCE:
            raise Overloaded(
                f"nobody was signed in: {_AT_ONCE} people are signing in at this moment, and the"
                " provider has not answered yet",
                where=self.provider.settings.place,
                next_step="try again in 10 s; if it stays, check the provider",
            )
        answer = self._threads.submit(question, *about)
        self._asked.add(answer)
        answer.add_done_callback(self._asked.discard)
        return await asyncio.wrap_future(answer)

    def named(self, flow: Flow, code: str) -> Person:
        """Return the person whom the provider names for a code; this may take some seconds.

        Raises
        ------
        Unauthenticated
            The provider does not confirm who it is, or this person may not sign in.
        """
        settings = self.provider.settings
        name = admitted(settings, self.provider.finish(flow, code))
        return Person(name=name, address=settings.place, identity=settings.identity)

    def begin(self, person: Person) -> str:
        """Sign a person in; return the token of the session."""
        return self.sessions.begin(person, self.provider.settings.session_hours * 3600)
