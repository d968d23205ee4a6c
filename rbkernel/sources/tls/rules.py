"""The rules that judge the certificates of servers; `rb.assess` applies them."""

from __future__ import annotations

from rbkernel.checks.rule import Rule

SERVED, ON_DISK = "served", "on disk"
SERVER, ISSUER = "server", "issuer"
_OF_SERVER = {"found": SERVED, "place": SERVER}
_SILENT = "a server did not answer: read the column problem"


def rules(*, compared: bool) -> tuple[Rule, ...]:
    """Return the rules; the last one only if the certificates were ``compared`` with a file.

    >>> [rule.name for rule in rules(compared=True)]
    ['days_left', 'issuer_days_left', 'covers', 'trusted', 'not_reloaded']
    """
    judged = (
        Rule(
            title="Days until the certificate expires",
            column="days_left",
            where=_OF_SERVER,
            agg="min",
            by="address",
            unit="d",
            warn=21,
            critical=7,
            below=True,
            cause="The certificate of {top} ends in {value}",
            unseen=_SILENT,
            next_step="compare it with the file on the server's host: if that is newer, reload the"
            " service; else renew it",
            opens="RUN-028",
            source="rbkernel's choice; certificates of 90 days are renewed when 30 are left",
        ),
        Rule(
            title="Days until a certificate of an issuer expires",
            name="issuer_days_left",
            column="days_left",
            where={"found": SERVED, "place": ISSUER},
            agg="min",
            by="subject",
            empty=float("inf"),
            unit="d",
            warn=21,
            critical=7,
            below=True,
            cause="The certificate of an issuer ends in {value}: {top}",
            unseen=_SILENT,
            next_step="install the new certificate of the issuer beside the server's own, and"
            " reload the service; to renew the server's own does not help",
            opens="RUN-028",
            source="as for the certificate of the server",
        ),
        Rule(
            title="Name in the certificate",
            column="covers",
            where=_OF_SERVER,
            agg="min",
            by="address",
            critical=1,
            below=True,
            expected="the certificate is for the host",
            cause="The certificate is not for the host of {top}",
            unseen=_SILENT,
            next_step="install the certificate of this host, or correct the address",
            opens="RUN-028",
            source="RFC 6125; clients that verify names refuse it",
        ),
        Rule(
            title="Trust in the certificate",
            column="trusted",
            where=_OF_SERVER,
            agg="min",
            by="address",
            critical=1,
            below=True,
            expected="issued by a known authority",
            cause="Clients that verify certificates refuse {top}",
            next_step="read the column problem; a missing issuer must be sent by the server",
            unseen="a server did not answer, or no authority that is known on this host has issued"
            " its certificate: give the file of its authorities",
            opens="RUN-028",
        ),
    )
    not_reloaded = Rule(
        title="Certificate that was renewed, but not loaded",
        column="not_reloaded",
        where=_OF_SERVER,
        by="address",
        warn=0,
        expected="the server sends what is in the file",
        cause="The file has a newer certificate than {top}",
        next_step="reload the service, so that it reads the file",
        unseen="the file or the server did not answer",
        opens="RUN-028",
    )
    return (*judged, not_reloaded) if compared else judged
