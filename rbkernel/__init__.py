"""The functions that notebooks call: ``import rbkernel as rb``, then for example ``rb.query(...)``.

Every name is loaded at its first use, so that the kernel starts without waiting for pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbkernel import actions
    from rbkernel.render import figure
    from rbkernel.triage.act import act, done
    from rbkernel.triage.ask import ask
    from rbkernel.triage.assess import assess
    from rbkernel.triage.baseline import baseline
    from rbkernel.triage.breakdown import breakdown
    from rbkernel.triage.changes.flags import flags, signoff
    from rbkernel.triage.changes.migration import migration
    from rbkernel.triage.changes.pressure import pressure
    from rbkernel.triage.changes.releases import releases, schema_since
    from rbkernel.triage.changes.watch import watch
    from rbkernel.triage.changes.watch_queries import watch_queries
    from rbkernel.triage.check import check
    from rbkernel.triage.checklist import checklist
    from rbkernel.triage.decide import decide
    from rbkernel.triage.diagnose import diagnose
    from rbkernel.triage.handover import commands, escalation, severity, show
    from rbkernel.triage.history import history
    from rbkernel.triage.metrics import metrics
    from rbkernel.triage.overview import overview
    from rbkernel.triage.probes import causes
    from rbkernel.triage.probes.certificates import certificates
    from rbkernel.triage.probes.http import http
    from rbkernel.triage.probes.monitoring import has_source, logql, promql, traces
    from rbkernel.triage.probes.shell import shell
    from rbkernel.triage.query import query, sample
    from rbkernel.triage.readiness import dependencies, health, prerequisites
    from rbkernel.triage.reconcile import reconcile, repair
    from rbkernel.triage.start import start
    from rbkernel.triage.summary import note, summary
    from rbkernel.triage.trend import trend
    from rbkernel.triage.validation import validation

__version__ = "0.1.0"

_HOMES = {
    "acknowledge": "rbkernel.triage.summary",
    "act": "rbkernel.triage.act",
    "ask": "rbkernel.triage.ask",
    "assess": "rbkernel.triage.assess",
    "baseline": "rbkernel.triage.baseline",
    "breakdown": "rbkernel.triage.breakdown",
    "certificates": "rbkernel.triage.probes.certificates",
    "check": "rbkernel.triage.check",
    "checklist": "rbkernel.triage.checklist",
    "commands": "rbkernel.triage.handover",
    "decide": "rbkernel.triage.decide",
    "dependencies": "rbkernel.triage.readiness",
    "diagnose": "rbkernel.triage.diagnose",
    "done": "rbkernel.triage.act",
    "escalation": "rbkernel.triage.handover",
    "flags": "rbkernel.triage.changes.flags",
    "has_source": "rbkernel.triage.probes.monitoring",
    "health": "rbkernel.triage.readiness",
    "history": "rbkernel.triage.history",
    "http": "rbkernel.triage.probes.http",
    "logql": "rbkernel.triage.probes.monitoring",
    "metrics": "rbkernel.triage.metrics",
    "migration": "rbkernel.triage.changes.migration",
    "note": "rbkernel.triage.summary",
    "overview": "rbkernel.triage.overview",
    "prerequisites": "rbkernel.triage.readiness",
    "pressure": "rbkernel.triage.changes.pressure",
    "promql": "rbkernel.triage.probes.monitoring",
    "query": "rbkernel.triage.query",
    "reconcile": "rbkernel.triage.reconcile",
    "releases": "rbkernel.triage.changes.releases",
    "repair": "rbkernel.triage.reconcile",
    "sample": "rbkernel.triage.query",
    "schema_since": "rbkernel.triage.changes.releases",
    "severity": "rbkernel.triage.handover",
    "shell": "rbkernel.triage.probes.shell",
    "show": "rbkernel.triage.handover",
    "signoff": "rbkernel.triage.changes.flags",
    "start": "rbkernel.triage.start",
    "summary": "rbkernel.triage.summary",
    "traces": "rbkernel.triage.probes.monitoring",
    "trend": "rbkernel.triage.trend",
    "validation": "rbkernel.triage.validation",
    "watch": "rbkernel.triage.changes.watch",
    "watch_queries": "rbkernel.triage.changes.watch_queries",
}

# names of `rb` that are modules
_MODULES = {
    "actions": "rbkernel.actions",
    "causes": "rbkernel.triage.probes.causes",
    "figure": "rbkernel.render.figure",
}

__all__ = [
    "__version__",
    "acknowledge",
    "act",
    "actions",
    "ask",
    "assess",
    "baseline",
    "breakdown",
    "causes",
    "certificates",
    "check",
    "checklist",
    "commands",
    "decide",
    "dependencies",
    "diagnose",
    "done",
    "escalation",
    "figure",
    "flags",
    "has_source",
    "health",
    "history",
    "http",
    "logql",
    "metrics",
    "migration",
    "note",
    "overview",
    "prerequisites",
    "pressure",
    "promql",
    "query",
    "reconcile",
    "releases",
    "repair",
    "sample",
    "schema_since",
    "severity",
    "shell",
    "show",
    "signoff",
    "start",
    "summary",
    "traces",
    "trend",
    "validation",
    "watch",
    "watch_queries",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name not in _HOMES:
        import difflib

        near = difflib.get_close_matches(name, __all__, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        from rbkernel.errors import UnknownName

        raise UnknownName(
            f"there is no rb.{name}{meant}",
            next_step="use that name" if meant else "type `rb.` and press Tab to see the names",
        )
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Return the module of the Jupyter server extension, which serves the pages."""
    return [{"module": "rbkernel.gateway.web.extension"}]
