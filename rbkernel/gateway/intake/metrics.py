"""The metrics of the gateway for Prometheus: this process's counters, the store's counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from rbkernel.errors import Overloaded, RbkernelError, StoreError, TooLarge, Unauthenticated
from rbkernel.gateway.intake.inbox import Receipt
from rbkernel.gateway.jobs.records import Job
from rbkernel.gateway.jobs.storage import tables
from rbkernel.gateway.jobs.storage.store import Store

disable_created_metrics()  # type: ignore[no-untyped-call]  # no metric for a counter's start
_ACK_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_RUN_S = (2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 900.0)
_SILENT_S = 60.0
_OUTCOMES: Mapping[type[RbkernelError], str] = {
    Unauthenticated: "unauthenticated",
    TooLarge: "too large",
    Overloaded: "overloaded",
    StoreError: "store failed",
}


class Metrics:
    """The counters of this process; thread-safe."""

    CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._alerts = Counter(
            "rbkernel_alerts",
            "Alerts by sender and outcome: new, repeated, or left out by the sender",
            ("source", "outcome"),
            registry=self._registry,
        )
        self._deliveries = Counter(
            "rbkernel_deliveries",
            "Requests of senders by outcome; quarantined requests are acknowledged, too",
            ("source", "outcome"),
            registry=self._registry,
        )
        self._answered = Histogram(
            "rbkernel_acknowledgement_seconds",
            "Time from receiving the headers of a request to sending the response",
            ("source",),
            buckets=_ACK_S,
            registry=self._registry,
        )

    def accepted(self, source: str, receipt: Receipt, took_s: float) -> None:
        """Count a request that was answered with 202."""
        outcome = "accepted" if receipt.quarantine_number is None else "quarantined"
        self._deliveries.labels(source, outcome).inc()
        for name, number in (
            ("new", receipt.new),
            ("repeated", receipt.repeated),
            ("left out", receipt.truncated),
        ):
            if number:
                self._alerts.labels(source, name).inc(number)
        self._answered.labels(source).observe(took_s)

    def refused(self, source: str, error: RbkernelError, took_s: float) -> None:
        """Count a refused request."""
        kinds = (name for kind, name in _OUTCOMES.items() if isinstance(error, kind))
        self._deliveries.labels(source, next(kinds, "failed")).inc()
        self._answered.labels(source).observe(took_s)

    def page(self, store: Store) -> bytes:
        """Return all metrics as text; without the store's metrics if the store does not answer."""
        shared = CollectorRegistry()
        shared.register(_Shared(store))
        return generate_latest(self._registry) + generate_latest(shared)


@dataclass(frozen=True)
class _Shared:
    """The metrics that are read from the store: all gateways of a store report the same."""

    store: Store

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("rbkernel_store_up", "1 if the store responds, else 0")
        try:
            found = [*_gauges(self.store), _durations(self.store)]
        except StoreError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from found


def _gauges(store: Store) -> Iterator[Metric]:
    counts = store.counts()
    alive = [worker for worker in store.workers() if worker.silent_s < _SILENT_S]
    yield _by("rbkernel_alerts_stored", "Alerts in the store by state", "state", counts.alerts)
    yield _by("rbkernel_alert_outcomes", "Alerts by outcome", "outcome", counts.outcomes)
    yield _by("rbkernel_jobs", "Jobs by state", "state", counts.jobs)
    yield _one("rbkernel_queue_depth", "Queued jobs", counts.waiting)
    yield _one("rbkernel_queue_oldest_seconds", "Age of the oldest queued job", counts.oldest_job_s)
    yield _one(
        "rbkernel_alerts_oldest_seconds",
        "Age of the oldest alert that is not processed yet",
        counts.oldest_alert_s,
    )
    yield _one("rbkernel_quarantined", "Unreadable deliveries", counts.quarantined)
    yield _one("rbkernel_kernels_running", "Running runs", counts.running)
    yield _one(
        "rbkernel_kernels_limit",
        "Runs that all workers may execute at the same time",
        sum(worker.kernels for worker in alive),
    )
    yield _one("rbkernel_workers", "Processes that execute jobs", len(alive))


def _by(name: str, described: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, described, labels=(label,))
    for value, number in values.items():
        family.add_metric((value,), number)
    return family


def _one(name: str, described: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(name, described)
    family.add_metric((), value or 0)
    return family


def _durations(store: Store) -> Metric:
    """Return the histogram of how long the last attempts of ended jobs took."""
    jobs = tables.jobs.c
    took_s = jobs.ended_at - jobs.started_at
    within = [sa.func.sum(sa.case((took_s <= bound, 1), else_=0)) for bound in _RUN_S]
    columns = (jobs.runbook, jobs.state, sa.func.count(), sa.func.sum(took_s), *within)
    wanted = (
        sa.select(*columns)
        .where(jobs.state.in_(Job.ENDED), jobs.started_at.is_not(None), jobs.ended_at.is_not(None))
        .group_by(jobs.runbook, jobs.state)
    )
    family = HistogramMetricFamily(
        "rbkernel_run_seconds", "Duration of runs that have ended", labels=("runbook", "state")
    )
    for row in store.read(wanted):
        runbook, state, count, sum_s, *numbers = tuple(row)
        buckets = [*zip(map(str, _RUN_S), map(float, numbers), strict=True), ("+Inf", float(count))]
        family.add_metric((runbook, state), buckets, float(sum_s))
    return family
