"""`rb.releases` and `rb.schema_since`: is a deployment to blame, and is a rollback of it safe?"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import pandas as pd
from IPython.display import HTML, display
from pydantic import Field

from rbkernel import amounts
from rbkernel.arguments import checked
from rbkernel.checks.answer import provenance
from rbkernel.config.quantities import Number, Seconds
from rbkernel.model import Finding, Verdict, now
from rbkernel.render import tables
from rbkernel.runbook.digest import Table
from rbkernel.sources.monitoring.queries import Asked
from rbkernel.triage.changes.version import Version, as_share, clock, samples
from rbkernel.triage.changes.versions import Deployments
from rbkernel.triage.check import keep
from rbkernel.triage.probes import monitoring
from rbkernel.triage.query import ask, traced

_STARTED, _RUNNING = "@deploy/started_at", "@deploy/versions"
_ERRORS, _RATES = "@http/error_ratio_by_version", "@http/request_rate_by_version"
_CALLS, _WAITS = "@upstream/error_ratio", "@db/pool_timeouts"
_MODELS = "@llm/error_ratio"
# above them, another system or the pool may be the cause of errors: as in RUN-008 (ratio, /s)
_CALLS_FAIL, _WAITS_FAIL = 0.05, 0.1
_NO_RESULT = "no result"  # as a query of Prometheus says it
# how far the zone of a time without one may be from UTC
_ZONE = pd.Timedelta(hours=14)
_NOW = Asked()
_SCHEMA = "Schema since the last good version"
_NAMES = ("version", "deployed (UTC)", "instances", "fails now", "failed while it served")
Ratio = Annotated[Number, Field(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Releases:
    """The result of `releases`, which has already been shown.

    ``errors`` is about those of the running version, ``began`` about whether its deployment
    brought them, ``last_good`` about the version to go back to.
    """

    deployments: Deployments
    errors: Finding
    began: Finding
    last_good: Finding

    @property
    def bad(self) -> bool | None:
        """Whether the deployment of the running version brought its errors; None if unknown."""
        return None if self.began.unknown else self.began.wrong

    @property
    def current(self) -> str:
        """The running version; empty if unknown."""
        found = self.deployments.current
        return found.name if found else ""

    @property
    def good(self) -> str:
        """The newest earlier version that is known to be good; empty if none is."""
        found = self.deployments.good
        return found.name if found else ""

    def serves(self, version: str) -> bool | None:
        """Return whether a version is the one that was deployed last; None if unknown."""
        found = self.deployments.current
        return None if found is None else found.name == version

    def started(self, version: str) -> str:
        """Return when a version was deployed, as ISO 8601; empty if unknown."""
        found = (one for one in self.deployments.versions if one.name == version)
        at = next((one.started_at for one in found), None)
        return "" if at is None else pd.Timestamp(at, unit="s", tz="UTC").isoformat()

    def stood(self, version: str, least_s: float) -> Finding:
        """Judge whether a version has been deployed for so many seconds, and show the finding."""
        return keep(self.deployments.stood(version, least_s))

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell: `rb.releases` has shown the findings."""


@checked
def releases(
    service: str,
    *,
    error_ratio: Ratio = 0.01,
    look_back_s: Seconds = 21_600.0,
    source: str = "",
) -> Releases:
    """Show the deployed versions of a service, and judge whether the last one brought errors.

    Asks the named queries ``deploy/started_at``, ``deploy/versions``,
    ``http/error_ratio_by_version`` and ``http/request_rate_by_version``; and
    ``upstream/error_ratio``, ``llm/error_ratio`` and ``db/pool_timeouts``, since calls that fail,
    or a pool without connections, may be the cause as well, if no older version runs for a
    comparison.

    Parameters
    ----------
    service
        The value of the label ``service``.
    error_ratio
        Share of failed requests (0 to 1) up to which a version counts as good.
    look_back_s
        How far back the errors of earlier versions are looked at, in s: a value each minute.
    source
        Name of the Prometheus in `rbkernel.toml`, as for `rb.promql`.

    Returns
    -------
    Releases
        With three findings. A version that was not measured is never the last good one.
    """
    known = partial(_asked, service, source)
    started, running = known(_STARTED), known(_RUNNING)
    # 600 values at most: Prometheus refuses more than 11,000 of a series
    lasted = Asked(last_s=look_back_s, step_s=max(60.0, look_back_s / 600))
    errors, rates = known(_ERRORS, lasted), known(_RATES, lasted)
    others = causes(known(_CALLS), known(_WAITS), known(_MODELS))
    found = deployments(service, started, running, errors, rates, limit=error_ratio, others=others)
    heading = f"deployed versions of {service}"
    tables.show(Table(heading=heading, names=_NAMES, rows=found.rows()), kind="releases")
    display(HTML("".join(map(traced, (started, running, errors, rates)))))
    began = found.began()
    return Releases(
        deployments=found,
        errors=keep(_with_origin(found.errors(), began)),
        began=keep(began),
        last_good=keep(found.last_good()),
    )


def _with_origin(errors: Finding, began: Finding) -> Finding:
    """Return the finding on errors with the runbook for them: is the deployment their cause?"""
    if not errors.wrong or began.unknown:
        return errors
    if began.wrong:
        return dataclasses.replace(errors, opens=began.opens)
    return dataclasses.replace(errors, next_step="find what else causes them", opens="RUN-008")


def _asked(service: str, source: str, query: str, asked: Asked = _NOW) -> pd.DataFrame:
    return monitoring.ask("prometheus", query, source, asked, {"service": service})


def causes(calls: pd.DataFrame, waits: pd.DataFrame, models: pd.DataFrame) -> str:
    """Return what else than a deployment may be the cause of errors; empty if nothing is wrong.

    An answer that failed or was cut may hide it. No result is no such calls.

    >>> calls = pd.DataFrame({"upstream": ["payments", "mail"], "value": [0.6, 0.0]})
    >>> causes(calls, pd.DataFrame({"value": [2.0]}), pd.DataFrame())
    '60 % of the calls of payments fail; requests wait in vain for a connection of the pool'
    >>> causes(pd.DataFrame(), pd.DataFrame(), pd.DataFrame())
    ''
    """
    found = []
    for frame, label, other in (
        (calls, "upstream", "another system"),
        (models, "model", "a model"),
    ):
        if "value" in frame and not (failing := frame[frame["value"] > _CALLS_FAIL]).empty:
            worst = failing.nlargest(1, "value").to_dict("records")[0]
            name = worst.get(label) or other
            found.append(f"{as_share(worst['value'])} of the calls of {name} fail")
    if "value" in waits and waits["value"].gt(_WAITS_FAIL).any():
        found.append("requests wait in vain for a connection of the pool")
    asked = {"calls of other systems": calls, "the pool": waits, "calls of models": models}
    unseen = ((what, _unseen(frame)) for what, frame in asked.items())
    found += [f"{what}: not known, {reason}" for what, reason in unseen if reason]
    return "; ".join(found)


def _unseen(frame: pd.DataFrame) -> str:
    """Return why an answer may lack what is wrong; empty if it is whole, or has no series."""
    origin = provenance(frame)
    return "" if origin is None or _NO_RESULT in origin.reason else origin.reason or origin.cut_by


def deployments(
    service: str,
    started: pd.DataFrame,
    running: pd.DataFrame,
    errors: pd.DataFrame,
    rates: pd.DataFrame,
    *,
    limit: float,
    others: str = "",
) -> Deployments:
    """Return the deployed versions, from the answers of the named queries."""
    counts = {name: rows[-1][1] for name, rows in _by_version(running).items()}
    ratios, requests = _by_version(errors), _by_version(rates)
    reasons = [origin.reason for one in (started, running) if (origin := provenance(one))]
    return Deployments(
        versions=tuple(
            Version(
                name=name,
                started_at=rows[-1][1],
                instances=counts.get(name, 0.0),
                errors=samples(ratios.get(name, ())),
                rates=samples(requests.get(name, ())),
            )
            for name, rows in _by_version(started).items()
        ),
        at=pd.Timestamp.now(tz="UTC").timestamp(),
        limit=limit,
        service=service,
        reason="; ".join(dict.fromkeys(filter(None, reasons))),
        others=others,
    )


def _by_version(frame: pd.DataFrame) -> dict[str, list[tuple[float, float]]]:
    """Return the moments (s since 1970) and values of each version that has a figure."""
    if "version" not in frame:
        return {}
    known = frame.dropna(subset=["version", "value"])
    return {
        str(name): [
            (at.timestamp(), float(value))
            for at, value in zip(rows["sampled_at"], rows["value"], strict=True)
        ]
        for name, rows in known.groupby("version", sort=False)
    }


@checked
def schema_since(found: Releases, db: str, *, table: str = "") -> Finding:
    """Judge whether the schema has changed since the last good version was deployed.

    Code of that version may not work with the schema of now, so a rollback is not safe.

    Parameters
    ----------
    found
        What `rb.releases` returned.
    db
        Connection name of the service's database.
    table
        Where the migration tool keeps what it did. Without it, or without a connection, the finding
        is unknown.

    Returns
    -------
    Finding
        ok if no migration was applied since; warning with their names; else unknown.
    """
    good = found.deployments.good
    if good is None:
        return keep(_schema(Verdict.UNKNOWN, "no version is known to go back to"))
    if not table or not db:
        said = "the table of the migration tool, or its database, is not given"
        return keep(_schema(Verdict.UNKNOWN, said, next_step="give both, as db= and table="))
    history = ask("migration/history", db, None, {"table": table})
    display(HTML(traced(history)))
    origin = provenance(history)
    if origin and origin.reason:
        return keep(_schema(Verdict.UNKNOWN, origin.reason, next_step=origin.next_step))
    return keep(migrated(history.to_dict("records"), good))


def migrated(history: Sequence[Mapping[Hashable, Any]], good: Version) -> Finding:
    """Return the finding on migrations that were applied after a version was deployed. Pure.

    ``history`` has the rows of ``migration/history``: version and applied_at. One version may have
    several rows: a repeatable migration has one for each time. A migration without a time may have
    been applied since; so may one whose time has no zone and is within 14 h of the deployment.

    >>> good = Version(name="2.3", started_at=1_732_071_600)
    >>> at = pd.Timestamp("2024-11-20 04:00", tz="UTC")
    >>> migrated([{"version": "V7", "applied_at": at}], good).which
    'V7'
    >>> migrated([{"version": "V7", "applied_at": None}], good).verdict.value
    'unknown'
    """
    since = pd.Timestamp(good.started_at, unit="s", tz="UTC")
    rows = [(str(one["version"]), _spans(one["applied_at"])) for one in history]
    later = dict.fromkeys(name for name, span in rows if span and span[0] > since)
    undated = any(span is None for _, span in rows)
    zoneless = any(span and span[0] <= since < span[1] for _, span in rows)
    if later:
        names = ", ".join(later)
        return _schema(
            Verdict.WARNING,
            f"{amounts.count(len(later), 'migration')} since {good.name}",
            cause=f"since {good.name} was deployed ({clock(good.started_at)} UTC), the schema was"
            f" changed by {names}: its code may not work with it",
            which=names,
            next_step="turn off the feature flag; roll back only if that version works with the"
            " schema of now. Do not undo the migration in a hurry: what was written since is lost",
            opens="RUN-004",
        )
    if undated or zoneless or not history:
        said = "the migration tool keeps no times" if undated else "its times have no time zone"
        return _schema(
            Verdict.UNKNOWN,
            said if history else "its table is empty",
            next_step="ask who deployed whether a migration was part of it",
        )
    return _schema(Verdict.OK, f"no migration since {good.name}")


def _spans(at: Any) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Return the earliest and the latest moment that a time can mean; None if it is none.

    >>> [str(one) for one in _spans("2024-11-20 09:00") or ()]
    ['2024-11-19 19:00:00+00:00', '2024-11-20 23:00:00+00:00']
    """
    made = pd.to_datetime(at, errors="coerce")
    if pd.isna(made):
        return None
    if made.tzinfo is not None:
        return made, made
    return made.tz_localize("UTC") - _ZONE, made.tz_localize("UTC") + _ZONE


def _schema(verdict: Verdict, actual: str, **more: Any) -> Finding:
    expected = "no migration was applied"
    return Finding(
        title=_SCHEMA, verdict=verdict, expected=expected, actual=actual, at=now(), **more
    )
