"""The run to which the cells of this kernel belong: `rb.start` begins it, every `rb` function uses
it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from IPython.display import DisplayHandle, display

from rbkernel.config import Settings
from rbkernel.errors import DatabaseError, NotStarted
from rbkernel.evidence import current
from rbkernel.model import ActionPlan, Decision, Finding, Run, Verdict, explained
from rbkernel.render import cards
from rbkernel.render.cards import Screen
from rbkernel.runbook import catalogue
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.conditions import Fact, Quantity
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.runbook.placeholders import hints, unfilled
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.diagnosis import unreached
from rbkernel.sources.source import Source, open_source
from rbkernel.triage.changes.lasting import Lasting


class Triage:
    """The current run: its connections, and its findings and decisions so far.

    Invariant: every change of the first screen goes through `add_finding`, `add_decision` or
    `finish`. These journal the change and update the screen in place.
    """

    def __init__(
        self,
        run: Run,
        settings: Settings,
        facts: tuple[tuple[str, str], ...],
        document: Runbook | None = None,
    ) -> None:
        self.run = run
        self.settings = settings
        self.document = document
        self.undone: dict[str, dict[str, bool]] = {}
        self.facts = facts
        # values for the conditions of the front matter: measured metrics, and facts that a person
        # gave
        self.known: dict[str, Fact | Quantity] = {}
        self.findings: dict[str, Finding] = {}
        # connection → what every look at it has found, see `triage.lasting`
        self.lasting: dict[str, Lasting] = {}
        # the server of each `rb.diagnose`, and its standby
        self.diagnosed: dict[str, str] = {}
        # title of a finding → the runbook that its rule opens, even if it is the present runbook
        self._topics: dict[str, str] = {}
        self.decisions: dict[str, Decision] = {}
        # question → the request of the front end whose cell asked it
        self.asked_in: dict[str, str] = {}
        # titles of findings that change within seconds, on which no answer rests
        self.volatile: set[str] = set()
        self.finished = False
        self._sessions: dict[str, Session] = {}
        self._sources: dict[str, Source] = {}
        self._screen: DisplayHandle | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the findings so far."""
        return Verdict.worst(finding.verdict for finding in self.findings.values())

    def session(self, name: str) -> Session:
        """Return the run's only session with the named connection.

        Raises
        ------
        UnknownConnection
            The configuration does not declare it.
        """
        if name not in self._sessions:
            self._sessions[name] = Session(
                self.settings.connection(name),
                application_name=f"rbkernel/{self.run.runbook}/{self.run.id}",
            )
        return self._sessions[name]

    def source(self, name: str) -> Source:
        """Return the run's only opened source with this name.

        Raises
        ------
        ConfigError
            The configuration does not declare it, or no package adds its kind.
        ExtensionError
            The package is broken.
        """
        if name not in self._sources:
            self._sources[name] = open_source(self.settings.source(name))
        return self._sources[name]

    def close(self) -> None:
        """Close all connections and sources of the run."""
        for session in self._sessions.values():
            session.close()
        for source in self._sources.values():
            source.close()

    def unfilled(self, values: Mapping[str, Any]) -> list[str]:
        """Return the names of those of the given values that are still placeholders.

        A text is recognized as a placeholder by its characters. A parameter that is None counts as
        one if the help text of its declaration contains a placeholder.
        """
        declared = self.document.parameters if self.document else {}
        return [
            name
            for name, value in values.items()
            if unfilled(value)
            or (value is None and name in declared and hints(declared[name].help))
        ]

    @cached_property
    def _other_runbooks(self) -> frozenset[str]:
        return catalogue.ids(self.settings.catalogue.paths) - {self.run.runbook}

    def add_finding(self, finding: Finding) -> Finding:
        """Add a finding to the run, and return the stored finding.

        A finding replaces an earlier finding with the same title. The finding's runbook to open is
        kept only if that runbook exists and is not the runbook of this run.
        """
        self._topics[finding.title] = finding.opens
        if finding.opens:
            finding = finding.that_can_open(self._other_runbooks)
        replaced = self.findings.get(finding.title)
        kept = self._keep(finding)
        if finding.is_cause or (replaced and replaced.is_cause):
            for symptom in [*self.findings.values()]:
                self._keep(symptom)
        self.refresh()
        return kept

    def _keep(self, finding: Finding) -> Finding:
        """Store a finding together with the cause that explains it, and journal the changes."""
        kept = explained(finding, self._topics[finding.title], self.findings.values())
        if self.findings.get(finding.title) != kept:
            self.findings[finding.title] = kept
            current().event("finding", **dataclasses.asdict(kept))
        return kept

    def add_decision(self, decision: Decision) -> None:
        """Store the current state of a decision in the run."""
        self.decisions[decision.id] = decision
        current().event("decision", **dataclasses.asdict(decision))
        self.refresh()

    def add_plan(self, plan: ActionPlan, state: str, answers: Mapping[str, Any]) -> None:
        """Journal a proposed plan, its state, and the question that it answers."""
        current().event("plan", **dataclasses.asdict(plan), state=state, answers=answers)

    def finish(self) -> None:
        """Journal that the runbook is finished, and what was redacted from its evidence."""
        self.finished = True
        if taken := sorted(current().redactor.counts.items()):
            counts = ", ".join(f"{count} × {rule}" for rule, count in taken)
            others = (fact for fact in self.facts if fact[0] != "Redacted")
            self.facts = (*others, ("Redacted", counts))
        current().event("summary", verdict=self.verdict.value)
        self.refresh()

    def refresh(self) -> None:
        """Update every display of the run's first screen."""
        if self._screen is None:
            self.show()
        else:
            self._screen.update(self._bundle(), raw=True)

    def show(self) -> None:
        """Show the run's first screen below the present cell; later findings update it."""
        display_id = f"rbkernel-{self.run.id}"
        self._screen = display(self._bundle(), raw=True, display_id=display_id)

    def _bundle(self) -> dict[str, Any]:
        screen = Screen(
            run=self.run,
            facts=self.facts,
            findings=tuple(self.findings.values()),
            decisions=tuple(self.decisions.values()),
            finished=self.finished,
        )
        html, text = cards.screen_card(screen), cards.screen_text(screen)
        return cards.bundle("run", self.state(), html, text)

    def state(self) -> dict[str, Any]:
        """Return the state of the run as a dict, for programs that read the executed notebook."""
        return {
            **dataclasses.asdict(self.run),
            "facts": dict(self.facts),
            "verdict": self.verdict.value if self.findings else None,
            "finished": self.finished,
            "findings": [dataclasses.asdict(finding) for finding in self.findings.values()],
            "decisions": [dataclasses.asdict(decision) for decision in self.decisions.values()],
        }

    def reach(self, name: str) -> str:
        """Return one line that describes a connection, or says why its server cannot be reached."""
        try:
            server = self.session(name).server
        except DatabaseError as error:
            self.add_finding(unreached(name, error))
            return f"NOT CONNECTED: {error.what}"
        # every transaction began with this statement, and was checked to be read-only
        access = "read-only by default" if server.default_read_only else "read-only transactions"
        monitor = "" if server.monitor else ", WITHOUT pg_monitor"
        replaced = "; ".join(map(str, server.overrides))
        replaced_settings = (
            f"; settings that rbkernel replaces by its own: {replaced}" if replaced else ""
        )
        return f"{server}, as {server.role} ({access}, verified{monitor}){replaced_settings}"


_current: Triage | None = None


def begin(triage: Triage) -> None:
    """Make a run the current run of this kernel, in place of an earlier one."""
    global _current
    if _current is not None:
        _current.close()
        if _current.run.incident == triage.run.incident:
            triage.lasting = _current.lasting
    diagnostics.use(triage.settings.catalogue.diagnostics)
    _current = triage


def run_before() -> Run | None:
    """Return the run that this kernel began before; None if there is none."""
    return _current.run if _current else None


def triage() -> Triage:
    """Return the current run.

    Raises
    ------
    NotStarted
        `rb.start` has not run in this kernel.
    """
    if _current is None:
        raise NotStarted(
            "rb.start has not run in this kernel",
            next_step="run the notebook from the top (Run > Run All Cells)",
        )
    return _current


def document() -> Runbook:
    """Return the runbook document of the current run.

    Raises
    ------
    NotStarted
        `rb.start` has not run, or has not found the document.
    """
    run = triage()
    if run.document is None:
        raise NotStarted(
            "the document of this run was not found, so its front matter is not available",
            where=run.run.runbook,
            next_step="if it was renamed, choose Kernel > Shut Down Kernel and run all cells; else"
            " put it into a folder of [catalogue] paths, or execute it with `rbkernel run`",
        )
    return run.document


def front_matter() -> FrontMatter:
    """Return the front matter of the current run's document.

    Raises
    ------
    NotStarted
        As for `document`.
    """
    return document().front_matter


def headless() -> bool:
    """Return whether the run is headless, that is, whether the executed request allows no input."""
    return bool(current().request.get("headless"))
