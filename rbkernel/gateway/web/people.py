"""Who sends a request, as far as the configured proxy says it. Pure.

The name counts only if the proxy sent it: the connection comes from one of its addresses, and the
request has the shared secret. A request that claims a name in any other way is refused as a whole,
so that nobody takes a mistake of the set-up for an identity.
"""

from __future__ import annotations

import hmac

from tornado.httputil import HTTPHeaders

from rbkernel.config.proxy import Proxy
from rbkernel.errors import Unauthenticated
from rbkernel.evidence import manifest
from rbkernel.execution.named_person import Person


def person_of(proxy: Proxy | None, peer: str, headers: HTTPHeaders) -> Person | None:
    """Return who sends a request; None if nobody is named.

    Parameters
    ----------
    proxy
        The proxy that may name people; without it, headers name nobody.
    peer
        The address at the other end of the connection.
    headers
        The headers of the request.

    Raises
    ------
    Unauthenticated
        The request claims a name, and is not the proxy's, or the name is none.
    ConfigError
        The proxy's secret cannot be fetched.
    """
    if proxy is None:
        return None
    names, secrets = (headers.get_list(one) for one in (proxy.header, proxy.secret_header))
    if not names and not secrets:
        return None
    if not proxy.sends(peer):
        raise _refused(
            f"{peer} may not say who a person is",
            f"add the address to addresses, if the proxy is there; if not, send no {proxy.header}",
        )
    given = secrets[0].encode("latin-1", "replace") if len(secrets) == 1 else b""
    if not hmac.compare_digest(given, proxy.secret()):
        raise _refused(
            f"the proxy did not send the right secret, once, in {proxy.secret_header}",
            "compare the secret of the proxy with that of rbkernel",
        )
    if not names:
        return None  # a person who has not logged in
    if len(names) > 1 or not manifest.is_signer(names[0]):
        raise _refused(
            f"the proxy did not send exactly one name in {proxy.header}",
            "have it remove this header from each request, then set it: to letters, digits and"
            " . _ @ + - of ASCII, beginning with a letter or digit",
        )
    return Person(name=names[0], address=peer)


def _refused(why: str, next_step: str) -> Unauthenticated:
    return Unauthenticated(
        f"nobody knows who sent this: {why}; nothing was recorded",
        where="[pages.proxy]",
        next_step=next_step,
    )
