"""Who is signed in. Sessions are in the memory of `rbkernel serve`: no file, no kernel has them.

A session ends at its time, with the sign-out, and with the server. The browser has a random token;
the memory has its SHA-256.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from rbkernel.execution.named_person import Person

_TOKEN_BYTES = 32
# of more people than this, those who signed in first are signed out
_MOST = 10_000


@dataclass(frozen=True, kw_only=True)
class Session:
    """A person who is signed in, until a time (s of the server's clock).

    ``id`` tells this session from others; it is no secret that opens anything.
    """

    id: str
    person: Person
    ends_s: float


@dataclass(kw_only=True)
class Sessions:
    """The sessions of all people who are signed in. One thread uses them: that of the server.

    >>> sessions = Sessions(clock=iter([0.0, 5.0, 11.0]).__next__)
    >>> token = sessions.begin(Person(name="bob", address="https://x", identity="oidc"), 10.0)
    >>> sessions.of(token).person.name, sessions.of(token)
    ('bob', None)
    """

    clock: Callable[[], float]
    _known: dict[str, Session] = field(default_factory=dict)

    def begin(self, person: Person, lasts_s: float) -> str:
        """Sign a person in; return the token for the browser."""
        token, now = secrets.token_urlsafe(_TOKEN_BYTES), self.clock()
        self._known = {name: one for name, one in self._known.items() if one.ends_s > now}
        while len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        name = _hashed(token)
        self._known[name] = Session(id=name, person=person, ends_s=now + lasts_s)
        return token

    def of(self, token: str) -> Session | None:
        """Return the session of a token; None if there is none any more."""
        found = self._known.get(_hashed(token)) if token else None
        return found if found and self.clock() < found.ends_s else None

    def end(self, token: str) -> None:
        """Sign a person out."""
        self._known.pop(_hashed(token), None)


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
