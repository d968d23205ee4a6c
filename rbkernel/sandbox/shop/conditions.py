"""The conditions of the simulated shop: what a fault changes, in a file of the sandbox.

A fault writes only its own fields; the fields of all active faults apply together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rbkernel.sandbox.home import Home

VERSION, VERSION_BEFORE, NEW_VERSION = "2.14.1", "2.14.0", "2.15.0"


class Conditions(BaseModel):
    """What differs from a good day. Shares are 0 to 1; times are in s since 1970.

    Parameters
    ----------
    new_version, deployed_at
        The new version, and when it was deployed to half of the instances; None if it was not.
    version_errors
        Share of the requests to the new version that fail.
    upstream_errors, upstream_slow_s
        Share of the calls to an upstream that fail, and s that they take longer, by upstream.
    pool_timeouts
        Share of the requests that get no connection, because the pool is exhausted.
    database_slower
        Factor of the duration of the database's queries.
    traffic
        Factor of the number of requests.
    client_errors
        Share of the requests of a route that the client got wrong (4xx), by route.
    provider_errors, provider_slow_s
        Share of the calls to a provider of models that fail, and s that they take longer.
    agent_steps
        Factor of the steps, and thus calls of a model, of each run of an agent.
    tenant_calls
        Factor of the calls of models, by tenant.
    model_switched
        Whether the feature `chat` uses the expensive model.
    absent, waiting
        Approvers who decide nothing; tasks that have waited for 3 h, by queue.
    agent_tasks
        Factor of the tasks for a human, by agent.
    safety_sources, guardrail_share
        Factor of the safety events by source; share of the checks that a guardrail flags wrongly.
    certificate_s, disk_used, log_bytes
        Time to the end of the certificate; share of the disk that is used; bytes/s of the log.
    flags
        The state of feature flags, by name.
    refused
        Share of the logins that are refused, by system.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    new_version: str = NEW_VERSION
    deployed_at: float | None = None
    version_errors: float = 0.0
    upstream_errors: Mapping[str, float] = Field(default_factory=dict)
    upstream_slow_s: Mapping[str, float] = Field(default_factory=dict)
    pool_timeouts: float = 0.0
    database_slower: float = 1.0
    traffic: float = 1.0
    client_errors: Mapping[str, float] = Field(default_factory=dict)
    provider_errors: Mapping[str, float] = Field(default_factory=dict)
    provider_slow_s: Mapping[str, float] = Field(default_factory=dict)
    agent_steps: float = 1.0
    tenant_calls: Mapping[str, float] = Field(default_factory=dict)
    model_switched: bool = False
    absent: tuple[str, ...] = ()
    waiting: Mapping[str, int] = Field(default_factory=dict)
    agent_tasks: Mapping[str, float] = Field(default_factory=dict)
    safety_sources: Mapping[str, float] = Field(default_factory=dict)
    guardrail_share: Mapping[str, float] = Field(default_factory=dict)
    certificate_s: float = 60 * 86_400.0
    disk_used: float = 0.55
    log_bytes: float = 40_000.0
    flags: Mapping[str, bool] = Field(default_factory=dict)
    refused: Mapping[str, float] = Field(default_factory=dict)


def read(home: Home) -> Conditions:
    """Return the conditions that apply now."""
    merged: dict[str, Any] = {}
    for fields in _changes(home).values():
        merged |= fields
    return Conditions.model_validate(merged)


def change(home: Home, fault: str, fields: Mapping[str, Any]) -> None:
    """Apply the fields of a fault; without fields, take them back."""
    changes = {name: one for name, one in _changes(home).items() if name != fault}
    if fields:
        changes[fault] = dict(fields)
        Conditions.model_validate(fields)
    home.write(home.conditions_file, json.dumps(changes))


def _changes(home: Home) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads(home.conditions_file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return found
