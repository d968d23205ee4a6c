"""`rb.certificates`: look at the TLS certificates of servers, and at the file of one on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from rbkernel.arguments import checked
from rbkernel.config.quantities import Seconds
from rbkernel.errors import SourceError
from rbkernel.sources.tls import certificates as looked
from rbkernel.sources.tls import served
from rbkernel.sources.tls.served import Place
from rbkernel.triage.context import triage
from rbkernel.triage.query import show
from rbkernel.triage.shown import shown

_NOWHERE = SourceError("no address was given", next_step="give host:port as a parameter")


@checked
def certificates(
    *addresses: str,
    name: str = "",
    file: str = "",
    authorities: str = "",
    timeout_s: Seconds = 5.0,
) -> pd.DataFrame:
    """Look at the TLS certificates of servers by a handshake, without a login, and show them.

    Parameters
    ----------
    addresses
        ``host:port``, a URL with https or postgresql, or the name of a connection: PostgreSQL is
        asked for TLS first. Each address of a host is looked at. Empty texts are left out.
    name
        The host that the certificates must be for; by default, that of each address.
    file
        A file of certificates in PEM that can be read here, to compare with; empty for none.
    authorities
        A file of certificate authorities; by default, those of this host, or ``sslrootcert`` of the
        connection.
    timeout_s
        Seconds for each handshake.

    Returns
    -------
    pandas.DataFrame
        Rows × (address, found, place, subject, days_left, expires_at, starts_at, covers, trusted,
        not_reloaded, names, issuer, sha256, problem), for `rb.assess`: the certificates of the
        servers and their issuers, then those of the file. If no server answers, the frame is empty
        with the reason attached.

    Raises
    ------
    ParameterError
        An address is not valid.
    """
    run = triage()
    known = run.settings.connections
    trusted = Path(authorities) if authorities else None

    def place(address: str) -> Place | SourceError:
        if address in known:
            try:
                found = served.of_connection(known[address])
            except SourceError as error:
                return error
            return replace(found, name=name or found.name, authorities=trusted or found.authorities)
        return served.place(address, name=name, authorities=trusted)

    places = [place(one) for one in addresses if one] or [_NOWHERE]
    frame = looked.frame(places, Path(file) if file else None, timeout_s)
    show(frame)
    return shown(frame)
