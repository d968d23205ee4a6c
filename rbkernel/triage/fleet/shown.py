"""Show the findings about a group of servers on one page, and find the runbooks to open."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from IPython.display import display

from rbkernel.model import Finding
from rbkernel.render import cards, fleet
from rbkernel.sources.postgres import overview as looks
from rbkernel.triage.context import Triage
from rbkernel.triage.fleet.survey import Server, survey


@dataclass(frozen=True, kw_only=True)
class Group:
    """What was found: the servers, the worst first, and the run's finding about each of them."""

    servers: tuple[Server, ...]
    findings: tuple[Finding, ...]

    @property
    def opens(self) -> Mapping[str, str]:
        """Each runbook to open, the most urgent first, with the worst server that needs it."""
        found: dict[str, str] = {}
        for one in self.findings:
            if one.opens:
                found.setdefault(one.opens, one.title)
        for server in self.servers:
            for runbook in looks.reasons_to_open(server.findings):
                found.setdefault(runbook, server.connection)
        return found

    @property
    def first(self) -> str:
        """The connection of the worst server that answers; of the worst one if none does."""
        answering = [one for one in self.servers if one.answers] or [*self.servers]
        return answering[0].connection


def look(run: Triage, group: str, *, housekeeping: bool) -> Group:
    """Look at the servers of a group, and add one finding about each to the run."""
    sessions = [run.session(one.name) for one in run.settings.connections_of(group)]
    servers = survey(sessions, housekeeping=housekeeping)
    added = tuple(run.add_finding(one.summary()) for one in servers)
    return Group(servers=tuple(servers), findings=added)


def show(found: Group, commands: Sequence[str]) -> None:
    """Display the table of the servers, with their details folded below."""
    details = {one.connection: one.findings for one in found.servers}
    data = {
        "servers": {
            name: [dataclasses.asdict(one) for one in findings]
            for name, findings in details.items()
        },
        "opens": dict(found.opens),
    }
    html = fleet.card(found.findings, details, commands)
    text = fleet.text(found.findings, details, commands)
    display(cards.bundle("overview", data, html, text), raw=True)
