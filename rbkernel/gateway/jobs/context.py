"""The objects that all parts of a gateway share: configuration, store, jobs, incident records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rbkernel.config import Settings
from rbkernel.gateway.jobs.incident_log import IncidentLog
from rbkernel.gateway.jobs.ledger import Ledger
from rbkernel.gateway.jobs.storage.store import Store


def nothing() -> None:
    """Do nothing; used when no other part of this process follows the records."""


@dataclass(frozen=True)
class GatewayContext:
    """The objects that all parts of a gateway share.

    ``ledger`` manages jobs and workers; ``incident_log`` writes the incidents' records.
    """

    settings: Settings
    store: Store
    ledger: Ledger
    incident_log: IncidentLog

    @classmethod
    def of(
        cls, settings: Settings, store: Store, recorded: Callable[[], None] = nothing
    ) -> GatewayContext:
        """Create the shared objects for an open store.

        ``recorded`` is called after this process wrote into an incident's record, from any thread.
        """
        ledger = Ledger(store, settings.queue)
        incident_log = IncidentLog(
            *(settings.evidence_root, store, ledger, settings.grouping),
            key=settings.signing_key,
            recorded=recorded,
        )
        return cls(settings, store, ledger, incident_log)
