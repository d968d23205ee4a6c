"""The sandbox's pgbouncer; the test is skipped where it is not installed."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from rbkernel.sandbox import pooler
from rbkernel.sandbox.access import Access
from tests.conftest import missing_part


def pgbouncer(
    access: Access, folder: Path, *, pool_size: int, settings: str = ""
) -> AbstractContextManager[int]:
    if pooler.PROGRAM is None:
        missing_part("there is no pgbouncer on PATH; `make debian` as root installs it")
    return pooler.pgbouncer(access, folder, pool_size=pool_size, settings=settings)
