"""What people may change on a page: answer questions, acknowledge, add notes (ADR 0031).

Everything is written into the record of the incident, with the origin "page". The author is
whoever the handler names: a holder of a link is never recorded as an authenticated person. No form
approves or executes an action.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rbkernel.displaytext import one_line
from rbkernel.errors import EvidenceError, ParameterError
from rbkernel.evidence import incident
from rbkernel.evidence.incident import IncidentRecord, IncidentState
from rbkernel.gateway.web.site import Request, Site
from rbkernel.incidents import plans, questions
from rbkernel.incidents.questions import Questions
from rbkernel.kernel import secrets
from rbkernel.model import INCIDENT_ID, Origin
from rbkernel.redact import Redactor

MOST_NAME, MOST_NOTE = 60, 2000
# a link must not fill the record: after this many lines from pages, people use the command line
_MOST_LINES = 500


@dataclass(frozen=True, kw_only=True)
class Form:
    """The forms of a page: where they are sent to, and their secret field.

    ``closed`` says why the page has no forms; it is empty if it has.
    """

    action: str
    xsrf: str
    closed: str = ""

    @classmethod
    def of(cls, site: Site, request: Request, page: str, record: IncidentRecord | None) -> Form:
        """Return the forms of the page of a run or an incident."""
        is_closed = record is not None and record.state is IncidentState.CLOSED
        closed = "The incident is closed." if is_closed else ""
        return cls(action=f"{site.base}/{page}", xsrf=request.xsrf, closed=closed)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A form that a person sent: the page's run or incident, the fields, and the author."""

    what: str
    fields: Mapping[str, str]
    by: str

    def text(self, name: str, most: int) -> str:
        """Return a field; raise an error if it is too long.

        Raises
        ------
        ParameterError
            The text is too long.
        """
        text = self.fields.get(name, "").strip()
        if len(text) > most:
            raise ParameterError(
                f"the {name} is longer than {most} characters: nothing was recorded",
                next_step=f"shorten the {name}, or use `rbkernel incident note`",
            )
        return text


def author(name: str, whose: str) -> str:
    """Return the author of a line: the typed name, and what is known about the person.

    >>> author(" ann ", "holder of a link"), author("", "holder of a link")
    ('ann (holder of a link)', 'holder of a link')
    """
    typed = one_line(name)[:MOST_NAME].strip()
    return f"{typed} ({whose})" if typed else whose


def decide(site: Site, sent: Sent) -> None:
    """Answer a question.

    Raises
    ------
    AlreadyDecided
        Somebody has given another answer before.
    ParameterError, EvidenceError
        The answer is not an option, or it cannot be recorded.
    """
    found, redactor = _open(site, sent), _redactor(site)
    questions.answer(
        site.settings.evidence_root,
        found,
        found.with_identity(sent.fields.get("identity", "")),
        sent.fields.get("option", ""),
        by=sent.by,
        origin=Origin.PAGE,
        note=sent.text("note", MOST_NOTE),
        asked_again_at=sent.fields.get("asked_again_at", ""),
        redactor=redactor,
    )


def ask_again(site: Site, sent: Sent) -> None:
    """Ask an answered question again.

    Raises
    ------
    EvidenceError
        It cannot be recorded.
    """
    found = _open(site, sent)
    questions.ask_again(
        site.settings.evidence_root,
        found,
        found.with_identity(sent.fields.get("identity", "")),
        by=sent.by,
        origin=Origin.PAGE,
        replaces=sent.fields.get("at", ""),
        redactor=_redactor(site),
    )


def acknowledge(site: Site, sent: Sent) -> None:
    """Record that a person responds to the incident.

    Raises
    ------
    EvidenceError
        It cannot be recorded.
    """
    _append(site, sent, "acknowledged", sent.text("note", MOST_NOTE))


def note(site: Site, sent: Sent) -> None:
    """Add a note to the incident.

    Raises
    ------
    ParameterError
        The note is empty or too long.
    EvidenceError
        It cannot be recorded.
    """
    text = sent.text("note", MOST_NOTE)
    if not text:
        raise ParameterError(
            "the note is empty: nothing was recorded", next_step="go back, and write the note"
        )
    _append(site, sent, "note", text)


def done(site: Site, sent: Sent) -> None:
    """Record that a person carried out a plan of a run; nothing is executed.

    Raises
    ------
    ParameterError, EvidenceError
        The note is empty, the run does not propose this plan, or it cannot be recorded.
    """
    found, root = _open(site, sent), site.settings.evidence_root
    plans.record(
        root,
        found.incident,
        plans.find(plans.proposed(root, sent.what), sent.fields.get("plan", "")),
        sent.text("note", MOST_NOTE),
        by=sent.by,
        origin=Origin.PAGE,
        redactor=_redactor(site),
    )


CHANGES: Mapping[str, Callable[[Site, Sent], None]] = {
    "decide": decide,
    "ask-again": ask_again,
    "acknowledge": acknowledge,
    "done": done,
    "note": note,
}


def _append(site: Site, sent: Sent, kind: str, text: str) -> None:
    found = _open(site, sent)
    incident.append(
        site.settings.evidence_root,
        found.incident,
        kind,
        by=sent.by,
        redactor=_redactor(site),
        text=text,
        origin=Origin.PAGE,
    )


def _open(site: Site, sent: Sent) -> Questions:
    """Return the questions of the page's incident, which may be changed.

    Raises
    ------
    EvidenceError
        It does not exist, is closed, or its record was changed after its seal.
    """
    root = site.settings.evidence_root
    found = questions.questions(root, sent.what)
    if not INCIDENT_ID.fullmatch(found.incident):
        raise EvidenceError(
            "this run belongs to no incident, so there is no record to write to",
            where=sent.what,
            next_step="run the notebook again in JupyterLab",
        )
    record = incident.look(root, found.incident)
    incident.must_be_proven(root, record)
    if record.state is IncidentState.CLOSED:
        raise EvidenceError(
            f"{found.incident} is closed: nothing was recorded",
            next_step=f"`rbkernel incident reopen {found.incident} …` reopens it",
        )
    if sum(line.text("origin") == Origin.PAGE for line in record.lines) >= _MOST_LINES:
        raise EvidenceError(
            f"{found.incident} has {_MOST_LINES} entries from pages: nothing was recorded",
            next_step=f"use `rbkernel incident note {found.incident} …`",
        )
    return found


def _redactor(site: Site) -> Redactor:
    return secrets.redactor(site.settings, os.environ)
