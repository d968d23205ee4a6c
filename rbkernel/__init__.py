"""What a notebook imports: ``import rbkernel as rb``.

Every name is loaded at its first use, so that the kernel starts before pandas does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbkernel.postgres import actions
    from rbkernel.triage import figure
    from rbkernel.triage.act import act, done
    from rbkernel.triage.check import assess, check
    from rbkernel.triage.decide import decide
    from rbkernel.triage.overview import overview
    from rbkernel.triage.probe import http, shell
    from rbkernel.triage.query import query, sample
    from rbkernel.triage.reconcile import reconcile, repair
    from rbkernel.triage.start import start
    from rbkernel.triage.summary import note, summary

__version__ = "0.1.0"

_HOMES = {
    "act": "rbkernel.triage.act",
    "actions": "rbkernel.postgres",
    "assess": "rbkernel.triage.check",
    "check": "rbkernel.triage.check",
    "decide": "rbkernel.triage.decide",
    "done": "rbkernel.triage.act",
    "figure": "rbkernel.triage",
    "http": "rbkernel.triage.probe",
    "note": "rbkernel.triage.summary",
    "overview": "rbkernel.triage.overview",
    "query": "rbkernel.triage.query",
    "reconcile": "rbkernel.triage.reconcile",
    "repair": "rbkernel.triage.reconcile",
    "sample": "rbkernel.triage.query",
    "shell": "rbkernel.triage.probe",
    "start": "rbkernel.triage.start",
    "summary": "rbkernel.triage.summary",
}

__all__ = [
    "__version__",
    "act",
    "actions",
    "assess",
    "check",
    "decide",
    "done",
    "figure",
    "http",
    "note",
    "overview",
    "query",
    "reconcile",
    "repair",
    "sample",
    "shell",
    "start",
    "summary",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rbkernel' has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    return getattr(home, name, None) or importlib.import_module(f"{_HOMES[name]}.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)
