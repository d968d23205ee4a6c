"""The certificates of servers, and of a file on disk, as a frame."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbkernel.checks.answer import BOOLEAN, FLOAT8, TEXT, TIMESTAMPTZ, Answer, Column, Provenance
from rbkernel.errors import SourceError
from rbkernel.model import now
from rbkernel.sources.tls import rules, served
from rbkernel.sources.tls.rules import ISSUER, ON_DISK, SERVED, SERVER
from rbkernel.sources.tls.served import Place, Served
from rbkernel.sources.tls.x509 import Certificate

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    Column("address", TEXT),
    Column("found", TEXT),
    Column("place", TEXT),
    Column("subject", TEXT),
    Column("days_left", FLOAT8),
    Column("expires_at", TIMESTAMPTZ),
    Column("starts_at", TIMESTAMPTZ),
    Column("covers", BOOLEAN),
    Column("trusted", BOOLEAN),
    Column("not_reloaded", BOOLEAN),
    Column("names", TEXT),
    Column("issuer", TEXT),
    Column("sha256", TEXT),
    Column("problem", TEXT),
)
#: The names of the columns.
CERTIFICATES = tuple(column.name for column in _COLUMNS)
_AT_ONCE = 8
_DAY_S = 86_400.0


def frame(
    places: Sequence[Place | SourceError], file: Path | None, timeout_s: float
) -> pd.DataFrame:
    """Return the certificates that these servers send, and those of the file, for `rb.assess`.

    Returns
    -------
    pandas.DataFrame
        Rows × `CERTIFICATES`: for each server its certificate (``place`` is ``server``) and those
        of its issuers; then the file's. A server without an answer has one row with only the
        ``problem``. If none answers, the frame is empty with the reason.
    """
    from rbkernel.checks import frames

    at, started = now(), time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        looked = list(pool.map(partial(_look, timeout_s=timeout_s), places))
    disk, trouble = _disk(file)
    name, asked = "certificates", ", ".join(map(str, places))
    errors = [one for one in looked if isinstance(one, SourceError)]
    if len(errors) == len(looked):
        made = frames.failed_frame(CERTIFICATES, errors[0], name=name, connection="", sql=asked)
    else:
        pairs = zip(places, looked, strict=True)
        rows = [
            *(row for place, found in pairs for row in _rows(place, found, disk)),
            *(_row(str(file), ON_DISK, depth, one) for depth, one in enumerate(disk)),
        ]
        if trouble:
            rows.append(_without(str(file), ON_DISK, trouble))
        provenance = Provenance(
            name=name,
            connection="",
            server="TLS",
            role="",
            sql=asked,
            values={},
            at=at,
            duration_s=round(time.monotonic() - started, 4),
            rows=len(rows),
            cut_by="",
        )
        made = frames.to_frame(Answer(columns=_COLUMNS, rows=rows, provenance=provenance))
    made.attrs["rules"] = rules.rules(compared=file is not None)
    return made


def _look(place: Place | SourceError, *, timeout_s: float) -> tuple[Served, ...] | SourceError:
    if isinstance(place, SourceError):
        return place
    try:
        return served.look(place, timeout_s)
    except SourceError as error:
        return error


def _disk(file: Path | None) -> tuple[list[Certificate], SourceError | None]:
    try:
        return (served.on_disk(file) if file else []), None
    except SourceError as error:
        return [], error


def _rows(
    place: Place | SourceError,
    found: tuple[Served, ...] | SourceError,
    disk: Sequence[Certificate],
) -> Iterator[tuple[Any, ...]]:
    if isinstance(found, SourceError):
        yield _without(str(place), SERVED, found)
        return
    assert isinstance(place, Place)  # else there is no answer
    # the file of another host says nothing of this one
    own_file = [one for one in disk[:1] if one.covers(place.name, common_name=place.postgres)]
    for answer in found:
        own, *issuers = answer.chain
        yield _row(
            answer.at,
            SERVED,
            0,
            own,
            covers=own.covers(place.name, common_name=place.postgres),
            trusted=answer.trusted,
            not_reloaded=_is_newer(own_file[0], own) if own_file else None,
            problem=answer.problem,
        )
        for depth, one in enumerate(issuers, 1):
            yield _row(answer.at, SERVED, depth, one)


def _is_newer(file: Certificate, sent: Certificate) -> bool:
    return file.sha256 != sent.sha256 and file.expires_at > sent.expires_at


def _row(
    address: str, found: str, depth: int, one: Certificate, **judged: bool | str | None
) -> tuple[Any, ...]:
    row = {
        "address": address,
        "found": found,
        "place": ISSUER if depth else SERVER,
        "subject": one.subject,
        "days_left": round((one.expires_at - datetime.now(UTC)).total_seconds() / _DAY_S, 2),
        "expires_at": one.expires_at,
        "starts_at": one.starts_at,
        "names": ", ".join(one.names),
        "issuer": one.issuer,
        "sha256": one.sha256,
        "problem": "",
        **judged,
    }
    return tuple(row.get(name) for name in CERTIFICATES)


def _without(address: str, found: str, error: SourceError) -> tuple[Any, ...]:
    row = {"address": address, "found": found, "problem": error.what}
    return tuple(row.get(name) for name in CERTIFICATES)
