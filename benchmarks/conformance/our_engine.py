"""A pytest plugin: papermill's tests use our engine and kernel wherever they name no other."""

from __future__ import annotations

from typing import Any

import pytest
from papermill.engines import papermill_engines
from papermill.utils import nb_kernel_name as named_kernel

from rbkernel.run import engine


class _Ours(engine.Engine):
    """Our engine, for notebooks that name papermill's usual kernel."""

    @staticmethod
    def nb_kernel_name(nb: Any, name: str | None = None) -> str:
        """Return our kernel instead."""
        kernel: str = named_kernel(nb, name)
        return engine.KERNEL if kernel == "python3" else kernel


@pytest.fixture(autouse=True)
def _our_engine() -> None:
    papermill_engines.register(None, _Ours)
