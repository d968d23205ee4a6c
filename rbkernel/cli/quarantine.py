"""The command `rbkernel quarantine`: show deliveries that could not be read."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from rbkernel import config
from rbkernel.cli.output import AsJson, print_json, print_table
from rbkernel.errors import StoreError

if TYPE_CHECKING:
    from rbkernel.gateway.jobs.storage.store import Store


def quarantine(
    number: Annotated[
        int | None, typer.Argument(help="The delivery whose bytes are printed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the deliveries that could not be read, or print the bytes of one delivery.

    With --json, the body of that delivery is text, in which � replaces what is not UTF-8.

    Exit codes: 0 printed, 3 no such delivery or error.

    Example: rbkernel quarantine 7
    """
    from rbkernel.gateway.jobs.storage.store import Store

    with contextlib.closing(Store.open(config.load().store_url)) as store:
        if number is not None:
            raw = _bytes(store, number)
            if as_json:
                body = raw.decode(errors="replace")
                print_json({"number": number, "size_bytes": len(raw), "body": body})
            else:
                _print_bytes(raw)
            return
        found = store.quarantined()
    if as_json:
        print_json(
            [
                {**dataclasses.asdict(one), "beginning": one.beginning.decode(errors="replace")}
                for one in found
            ]
        )
        return
    rows = [
        (str(one.number), f"{one.received_at:%F %T}", one.source, str(one.size_bytes), one.reason)
        for one in found
    ]
    print_table(("number", "received (UTC)", "sender", "bytes", "reason"), rows)


def _bytes(store: Store, number: int) -> bytes:
    raw = store.quarantined_bytes(number)
    if raw is None:
        raise StoreError(
            f"there is no delivery {number} in quarantine",
            where=store.where,
            next_step="`rbkernel quarantine` lists all deliveries in quarantine",
        )
    return raw


def _print_bytes(raw: bytes) -> None:
    if sys.stdout.isatty():  # a terminal would execute control characters
        typer.echo(raw.decode(errors="replace"))
    else:
        sys.stdout.buffer.write(raw)
        sys.stdout.flush()
