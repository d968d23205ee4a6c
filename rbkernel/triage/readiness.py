"""`rb.prerequisites`, `rb.dependencies`, `rb.health`: check what the runbook needs.

These functions read the front matter of the run's document. Placeholders are shown and not checked.
Items that only a human can check become a checklist.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
from IPython.display import display

from rbkernel.arguments import checked
from rbkernel.errors import DatabaseError, UnknownConnection
from rbkernel.evidence import current
from rbkernel.model import Finding, Verdict, now
from rbkernel.render import figure, tables
from rbkernel.runbook import digest
from rbkernel.runbook.frontmatter_sections import Dependency, Prerequisite
from rbkernel.runbook.placeholders import unfilled
from rbkernel.sources.postgres.diagnosis import unreached
from rbkernel.triage.check import keep
from rbkernel.triage.checklist import Checklist, checklist
from rbkernel.triage.context import front_matter, triage
from rbkernel.triage.probes import http

# time-out in s: a tool prints its version at once, unless it waits for input
_VERSION_TIMEOUT_S = 10.0
# tools without the option --version
_VERSION_ARGUMENTS = {"kubectl": ("version", "--client"), "go": ("version",), "helm": ("version",)}
_NUMBER = re.compile(r"\d+(?:\.\d+)+|\d+")


@dataclass(frozen=True, kw_only=True)
class Prerequisites:
    """The result of `prerequisites`: the findings, and the list to tick, None without one."""

    findings: tuple[Finding, ...]
    ticks: Checklist | None

    @property
    def complete(self) -> bool:
        """Whether all that could be checked is there, and every item of the list is ticked."""
        ticked = self.ticks is None or self.ticks.complete
        return ticked and all(one.ok for one in self.findings)

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell: `rb.prerequisites` has shown them."""


@checked
def prerequisites() -> Prerequisites:
    """Check the runbook's prerequisites: tools, their versions, connections, roles.

    Prerequisites in words become a checklist. A missing prerequisite is a warning: the server may
    be healthy, but the steps of the runbook cannot be followed here.

    Returns
    -------
    Prerequisites
        ``.complete`` is true if all that could be checked is there, and all others are ticked.
    """
    declared = front_matter().prerequisites
    tables.show(digest.section(front_matter(), "prerequisites"))
    found = []
    for one in declared:
        if unfilled(digest.words(one)):
            continue
        if one.tool:
            found.append(keep(_tool(one)))
        elif one.connection:
            title = f"Prerequisite: {_named(one)}"
            found.append(keep(_connection(title, one.connection, one.role)))
    texts = [one.text for one in declared if one.text and not (one.tool or one.connection)]
    asked = [text for text in dict.fromkeys(texts) if not unfilled(text)]
    return Prerequisites(
        findings=tuple(found), ticks=checklist("Prerequisites", asked) if asked else None
    )


@checked
def health() -> None:
    """Call every health endpoint of the front matter, once each."""
    declared = front_matter().health
    tables.show(digest.section(front_matter(), "health"))
    for one in declared:
        if unfilled(digest.words(one)):
            continue
        http.http(
            f"Health: {one.name or one.url}",
            one.url,
            status=one.status,
            contains=one.contains,
            within_s=one.within_s,
            next_step=f"this check failed: {one.meaning}" if one.meaning else "",
        )


@checked
def dependencies() -> None:
    """Show the dependencies of the service, and the services that depend on it.

    The table says what happens if a dependency fails. If the front matter names a connection or a
    URL for a dependency, the function checks whether it answers.
    """
    declared = front_matter().dependencies
    tables.show(digest.section(front_matter(), "dependencies"))
    if not declared:
        return
    display(_graph(front_matter().service or front_matter().title, declared))
    for one in declared:
        if unfilled(f"{one.name}{one.url}{one.connection}"):
            continue
        title = f"Dependency: {one.name}"
        if one.url:
            http.http(title, one.url, cause=one.impact, next_step=one.fallback)
        elif one.connection:
            keep(_connection(title, one.connection, "", cause=one.impact, next_step=one.fallback))


def connection_name(parameter: str) -> str:
    """Return the connection that a name in the front matter means: a parameter's value, or the
    name.
    """
    return str(triage().run.parameters.get(parameter) or parameter)


def _tool(one: Prerequisite) -> Finding:
    path = shutil.which(one.tool)
    if path is None:
        actual, verdict = "not installed here", Verdict.WARNING
        step = f"install {one.tool}, or continue on a host that has it"
    else:
        actual = _version(one.tool, path)
        verdict = at_least(actual, one.version)
        step = f"check `{one.tool} --version`, and install {one.version} or later"
    return Finding(
        title=f"Prerequisite: {_named(one)}",
        verdict=verdict,
        expected=one.version or "installed",
        actual=actual,
        next_step="" if verdict is Verdict.OK else step,
        at=now(),
    )


def _version(tool: str, path: str) -> str:
    """Run a tool with its option for the version, and return the output as one line."""
    argv = [path, *_VERSION_ARGUMENTS.get(tool, ("--version",))]
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the tool does not report its version ({type(error).__name__})"
    said = (done.stdout or done.stderr).strip().splitlines()
    current().event("shell", command=tool, argv=argv, actual=f"exit code {done.returncode}")
    return said[0][:200] if said else "the tool does not report its version"


def at_least(installed: str, wanted: str) -> Verdict:
    """Return the verdict on the version that a tool prints, compared with the minimum version.

    >>> said = ("psql (PostgreSQL) 16.2", "psql 13.9", "?")
    >>> [at_least(installed, ">= 14.0").value for installed in said]
    ['ok', 'warning', 'unknown']
    >>> at_least("aws-cli/2.15.30 Python/3.11", "2").value, at_least("installed", "").value
    ('ok', 'ok')
    """
    lowest = _NUMBER.search(wanted)
    found = _NUMBER.search(installed)
    if lowest is None:
        return Verdict.UNKNOWN if wanted else Verdict.OK
    if found is None:
        return Verdict.UNKNOWN
    return Verdict.OK if _parts(found[0]) >= _parts(lowest[0]) else Verdict.WARNING


def _parts(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return tuple([*numbers, 0, 0, 0][:4])


def _connection(
    title: str, parameter: str, role: str, *, cause: str = "", next_step: str = ""
) -> Finding:
    name = connection_name(parameter)
    try:
        server = triage().session(name).server
    except DatabaseError as error:
        lost = unreached(name, error)
        verdict, actual, step = lost.verdict, lost.actual, next_step or lost.next_step
    except UnknownConnection as error:
        verdict, actual, step = Verdict.UNKNOWN, error.what, error.next_step
    else:
        missing = bool(role) and not server.superuser and role not in server.roles
        verdict = Verdict.WARNING if missing else Verdict.OK
        actual = f"{name} answers, as {server.role}" + (f", without {role}" if missing else "")
        step = f"ask an administrator to grant {role} to {server.role}" if missing else ""
    return Finding(
        title=title,
        verdict=verdict,
        expected=f"{name} answers" + (f", with {role}" if role else ""),
        actual=actual,
        cause="" if verdict is Verdict.OK else cause,
        next_step="" if verdict is Verdict.OK else step,
        at=now(),
    )


def _named(one: Prerequisite) -> str:
    return one.text or " ".join(filter(None, [one.tool, one.version, one.connection, one.role]))


def _graph(center: str, declared: Iterable[Dependency]) -> figure.Picture:
    """Draw the service in the middle of a graph, its dependents at the left, its dependencies at
    the right.
    """
    rows = [{"name": center, "parent": "", "type": "this"}]
    for one in declared:
        above = "" if one.direction == "used by" else center
        rows.append({"name": one.name, "parent": above, "type": one.type or "dependency"})
        if one.direction == "used by":
            rows[0]["parent"] = ", ".join(filter(None, [rows[0]["parent"], one.name]))
    frame = pd.DataFrame(rows).drop_duplicates("name")
    return figure.tree(
        frame,
        "name",
        parent="parent",
        label="type",
        by="type",
        title="Dependencies",
        things="things",
        root="",
    )
