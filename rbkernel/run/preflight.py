"""Check the arguments of a run before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rbkernel.config import Settings
from rbkernel.errors import ParameterError
from rbkernel.model import INCIDENT_ID
from rbkernel.run.caller import refuse_secret_incident
from rbkernel.runbook import connections, parameters
from rbkernel.runbook.catalogue import Runbook


def accept(
    runbook: Runbook, given: Mapping[str, Any], incident: str, settings: Settings
) -> dict[str, Any]:
    """Check the values given for a runbook's parameters; return the parameters, typed.

    Returns
    -------
    dict
        The parameters, typed; with the incident, where the runbook has a parameter for it, and
        with the configured connections, where a parameter for one is empty.

    Raises
    ------
    ParameterError, SecretParameter, UnknownConnection
        A value is not declared, has another type, holds a secret, or names no configured
        connection.
    """
    where = f"{runbook.id}, {runbook.path}"
    values = parameters.validate(given, runbook.parameters, where)
    if incident:
        if not INCIDENT_ID.fullmatch(incident):
            raise ParameterError(
                f"{incident!r} is not an incident id",
                where=where,
                next_step="use letters, digits and dashes after INC-, such as INC-20261120-7f3a",
            )
        refuse_secret_incident(incident, where, settings)
        if "incident" in runbook.parameters:
            values |= parameters.validate({"incident": incident}, runbook.parameters, where)
    defaults = {name: declared.default for name, declared in runbook.parameters.items()}
    carriers = runbook.front_matter.connections
    values |= connections.filled(carriers, defaults | values, settings)
    others = runbook.used_connections
    named = connections.named(carriers, defaults | values, where, others=others)
    for parameter, name in named.items():
        settings.connection(name, parameter=parameter)
    return values
