"""What people may change on a page: answer questions, acknowledge, add notes (ADR 0031).

Everything is written into the record of the incident, with the origin "page". The author is
whoever the handler names: a holder of a link is never recorded as an authenticated person. Forms of
actions are in `action_forms`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rbkernel.displaytext import one_line
from rbkernel.errors import EvidenceError, ParameterError
from rbkernel.evidence import incident, runs
from rbkernel.evidence.incident import IncidentRecord, IncidentState
from rbkernel.execution.named_person import Person
from rbkernel.gateway.web.site import Request, Site
from rbkernel.incidents import plans, questions
from rbkernel.incidents.questions import Questions
from rbkernel.kernel import secrets
from rbkernel.model import INCIDENT_ID, Origin
from rbkernel.redact import Redactor

MOST_NAME, MOST_NOTE = 60, 2000
# a link must not fill the record: after this many lines from pages, people use the command line;
# notes and answers are counted apart, so that nobody can shut out answers with notes
_MOST_LINES = 500
_NOTES = frozenset({"note", "acknowledged"})
_ANSWERS = frozenset({incident.DECIDED, incident.ASKED_AGAIN, incident.DONE})


@dataclass(frozen=True, kw_only=True)
class Form:
    """The forms of a page: where they are sent to, and their secret field.

    ``closed`` says why the page has no forms; it is empty if it has. ``person`` is in whose name
    the forms are recorded; None if people type their names.
    """

    action: str
    xsrf: str
    closed: str = ""
    person: Person | None = None

    @classmethod
    def of(cls, site: Site, request: Request, page: str, record: IncidentRecord | None) -> Form:
        """Return the forms of the page of a run or an incident."""
        record = record and site.cache.remaining(record.id)
        is_closed = record is not None and record.state is IncidentState.CLOSED
        closed = "The incident is closed." if is_closed else ""
        action, person = f"{site.base}/{page}", request.person
        return cls(action=action, xsrf=request.xsrf, closed=closed, person=person)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A form that a person sent: the page's run or incident, the fields, and the author.

    ``person`` is who it is, as a proxy or a provider says; None if nobody is named.
    """

    what: str
    fields: Mapping[str, str]
    by: str
    person: Person | None = None

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


_NO_BRACKETS = str.maketrans("", "", "()")


def author(name: str, whose: str) -> str:
    """Return the author of a line: the typed name, and what is known about the person.

    >>> author(" ann ", "holder of a link"), author("", "holder of a link")
    ('ann (holder of a link)', 'holder of a link')
    >>> author("ann (Jupyter)", "holder of a link")
    'ann Jupyter (holder of a link)'
    """
    # brackets would look like what is known about the person
    typed = one_line(name).translate(_NO_BRACKETS)[:MOST_NAME].strip()
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
        rests_on=sent.fields.get("rests_on", ""),
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
        why=sent.text("note", MOST_NOTE),
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


Change = Callable[[Site, Sent], None]
CHANGES: Mapping[str, Change] = {"decide": decide, "ask-again": ask_again, "done": done}
OF_INCIDENTS: Mapping[str, Change] = {"acknowledge": acknowledge, "note": note}


def _append(site: Site, sent: Sent, kind: str, text: str) -> None:
    root = site.settings.evidence_root

    def check(record: IncidentRecord) -> None:
        incident.must_take(root, record)
        must_have_room(record, _NOTES)

    incident.append(
        root,
        _there(root, sent.what).id,
        kind,
        by=sent.by,
        redactor=_redactor(site),
        check=check,
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
    record = incident.remaining(partial(incident.look, root), found.incident)
    incident.must_take(root, record)
    must_have_room(record, _ANSWERS)
    return found


def _there(root: Path, name: str) -> IncidentRecord:
    """Return the record that continues an incident, which has a record or a run.

    Raises
    ------
    EvidenceError
        There is no such incident.
    """
    record = incident.remaining(partial(incident.look, root), name)
    if not record.lines and not runs.of_incident(root, name):
        incident.read(root, name)
    return record


def must_have_room(record: IncidentRecord, kinds: Collection[str]) -> None:
    """Raise `EvidenceError` if pages have added too many lines of these kinds to a record."""
    from_pages = (one for one in record.lines if one.text("origin") == Origin.PAGE)
    if sum(one.kind in kinds for one in from_pages) >= _MOST_LINES:
        raise EvidenceError(
            f"{record.id} has {_MOST_LINES} such entries from pages: nothing was recorded",
            next_step=f"use `rbkernel incident note {record.id} …`, or `rbkernel decide"
            f" {record.id} …`",
        )


def _redactor(site: Site) -> Redactor:
    return secrets.redactor(site.settings, os.environ)
