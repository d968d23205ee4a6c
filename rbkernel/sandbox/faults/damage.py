"""Fault: a page of a table is damaged on the disk, and its checksum shows it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from rbkernel.sandbox.access import DATABASE, Access
from rbkernel.sandbox.faults import waiting
from rbkernel.sources.postgres.connection import driver

TABLE = "shop_invoices"
# so large that its first pages leave shared_buffers, and are read from the disk again
_CREATE = f"""CREATE TABLE {TABLE} AS
SELECT n AS id, repeat('x', 400) AS body FROM generate_series(1, 60000) AS n""".encode()
_WRITABLE = f"ALTER DATABASE {DATABASE} RESET default_transaction_read_only".encode()
_SEEN = b"SELECT checksum_failures > 0 FROM pg_stat_database WHERE datname = %s"
_INSIDE_THE_FIRST_PAGE = 4000


def damage(access: Access, _: int) -> dict[str, Any]:
    """Overwrite some bytes of a table's first page, and read the table."""
    with access.connect("postgres") as raw:
        raw.execute(_CREATE)
        raw.execute(b"CHECKPOINT")
        row = raw.execute(b"SELECT pg_relation_filepath(%s)", [TABLE]).fetchone()
        assert row
        with (access.home.data("primary") / str(row[0])).open("r+b") as file:
            file.seek(_INSIDE_THE_FIRST_PAGE)
            file.write(b"damaged!" * 8)
        with suppress(driver.RawConnection.Error):
            raw.execute(f"SELECT count(*) FROM {TABLE}".encode())
        waiting.until(raw, _SEEN, [DATABASE], what="the damaged page is counted")
    return {"table": TABLE, "database": DATABASE}


def discard(access: Access, _: int) -> None:
    """Drop the table, allow writes again, and forget the damaged page."""
    with access.connect("postgres", dbname="postgres") as raw:
        raw.execute(_WRITABLE)
    with access.connect("postgres") as raw:
        raw.execute(f"DROP TABLE IF EXISTS {TABLE}".encode())
        raw.execute(b"SELECT pg_stat_reset()")
