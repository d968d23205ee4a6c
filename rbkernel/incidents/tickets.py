"""Make tickets of the action items of a postmortem, each once.

Ordering rules: the record says that a ticket is about to be made, before the request is sent, and
then its link or the refusal. So no item gets two tickets: neither by a second call, nor by two
people at once. If the answer does not come, the ticket may exist: it is made again only if somebody
has looked and says so, and not while its request may still be in progress. Each try has an id, so
that its outcome says nothing about another try.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from nbformat import NotebookNode

from rbkernel import amounts
from rbkernel.config.tickets import Tickets
from rbkernel.displaytext import one_line
from rbkernel.errors import NotifyError
from rbkernel.evidence import incident
from rbkernel.evidence.incident import TICKET, AlreadyRecorded, IncidentRecord, Line, instant
from rbkernel.incidents.action_items import ActionItem, items_of
from rbkernel.redact import Redactor

# "begun" without another line of the same try, or "unknown": the ticket may exist
State = Literal["begun", "made", "refused", "unknown"]
# longer than any request: connecting, sending and reading have each the time of the configuration
_IN_PROGRESS, _MARGIN_S = 5, 60.0
_LONGEST_TITLE, _LONGEST_ANSWER = 200, 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What is known about the ticket of an action item; ``link`` is empty if there is none.

    ``key`` identifies the item, and is in the text of the ticket. ``problem`` says why there is no
    ticket, or why nobody knows. ``is_new`` says whether this call made it. ``begun`` is when the
    newest request without an outcome began; empty if there is none.
    """

    key: str
    title: str
    link: str = ""
    problem: str = ""
    is_new: bool = False
    begun: str = ""


@dataclass(frozen=True, kw_only=True)
class Made:
    """The tickets of all open items of a postmortem, and the rows that nobody has filled in.

    ``unclear`` are the rows of which nobody can tell whether they are open.
    """

    tickets: tuple[Ticket, ...]
    to_write: int
    unclear: tuple[str, ...] = ()

    @property
    def is_incomplete(self) -> bool:
        """Whether an open item has no ticket, or nobody knows."""
        return bool(self.unclear) or not all(one.link for one in self.tickets)

    def lines(self) -> Iterator[str]:
        """Yield what to tell about the tickets."""
        for one in self.tickets:
            state = "new" if one.is_new else "there already"
            said = f"{one.link} ({state})" if one.link else f"{one.problem} (item {one.key})"
            yield f"ticket: {one.title}: {said}"
        for row in self.unclear:
            yield (
                f"not understood, no ticket made: {one_line(row)}: write the columns box, action,"
                " owner, due and ticket, the box ☐ or ☑, and a link, a key or nothing as ticket"
            )
        if self.to_write:
            yield f"{amounts.count(self.to_write, 'action item')} not filled in yet: no ticket"


def make(
    root: Path,
    name: str,
    notebook: NotebookNode,
    tracker: Tickets,
    *,
    by: str,
    redactor: Redactor,
    again: bool = False,
) -> Made:
    """Make a ticket of each open action item that has none.

    Parameters
    ----------
    root
        The evidence folder.
    name
        The incident.
    notebook
        Its postmortem.
    tracker
        The system of tickets.
    by
        Who makes the tickets.
    redactor
        Removes secrets from their texts.
    again
        Whether to make those again of which nobody knows whether they exist.

    Raises
    ------
    ConfigError
        The token is not set.
    EvidenceError
        The record cannot be written: what is not recorded is not sent.
    """
    found, token = items_of(notebook), tracker.token()
    made = [
        _one(root, name, item, tracker, token, by=by, redactor=redactor, again=again)
        for item in found.open
    ]
    return Made(tickets=tuple(made), to_write=found.to_write, unclear=found.unclear)


def known(record: IncidentRecord) -> dict[str, Ticket]:
    """Return the tickets in a record by the keys of their items.

    A ticket that was made counts; without one, a try whose outcome is not known.
    """
    tries: dict[tuple[str, str], Line] = {}
    for line in record.lines:
        if line.kind == TICKET:
            tries[line.text("item"), line.text("attempt_id")] = line
    found: dict[str, Ticket] = {}
    for (key, _), line in tries.items():
        before, link = found.get(key), line.text("link")
        if line.text("state") == "refused" or (before and before.link and not link):
            continue
        begun = line.at if line.text("state") == "begun" else ""
        found[key] = Ticket(
            key=key,
            title=line.text("title"),
            link=link,
            problem="" if link else "its answer did not come: look whether it exists",
            begun=begun or (before.begun if before else ""),
        )
    return found


def _one(
    root: Path,
    name: str,
    item: ActionItem,
    tracker: Tickets,
    token: str,
    *,
    by: str,
    redactor: Redactor,
    again: bool,
) -> Ticket:
    key = item.key(name)
    title = redactor.value([one_line(item.action)])[0][:_LONGEST_TITLE]
    attempt = uuid.uuid4().hex
    there: list[Ticket] = []

    def is_free(record: IncidentRecord) -> None:
        one = known(record).get(key)
        if one and not one.link and _in_progress(one, tracker):
            one = replace(one, problem="its request may be in progress: look in some minutes")
        elif one is None or (again and not one.link):
            return
        there.append(one)
        raise AlreadyRecorded

    def say(state: State, check: Any = None, **more: str) -> None:
        fields = {"item": key, "title": title, "state": state, "attempt_id": attempt, **more}
        incident.append(root, name, TICKET, by=by, redactor=redactor, check=check, **fields)

    try:
        say("begun", is_free)
    except AlreadyRecorded:
        return there[0]
    try:
        link = _posted(tracker, token, title, redactor.value([_body(name, item, key)])[0])
    except _RefusedError as error:
        say("refused", problem=error.what)
        return Ticket(key=key, title=title, problem=error.what)
    except _UnknownError as error:
        say("unknown", problem=error.what)
        return Ticket(key=key, title=title, problem=error.what)
    say("made", link=link)
    return Ticket(key=key, title=title, link=link, is_new=True)


def _in_progress(ticket: Ticket, tracker: Tickets) -> bool:
    """Return whether the request of a ticket may still be in progress, in any process."""
    age_s = (datetime.now(UTC) - instant(ticket.begun)).total_seconds()
    return bool(ticket.begun) and age_s < _IN_PROGRESS * tracker.timeout_s + _MARGIN_S


def _body(name: str, item: ActionItem, key: str) -> str:
    said = [("Owner", item.owner), ("Due", item.due)]
    lines = [f"{word}: {value}" for word, value in said if value]
    return "\n".join(
        [item.action, "", *lines, f"From the postmortem of {name}.", "", f"rbkernel {key}"]
    )


class _RefusedError(NotifyError):
    """The system did not make a ticket."""


class _UnknownError(NotifyError):
    """Nobody knows whether the system made a ticket."""


def _posted(tracker: Tickets, token: str, title: str, body: str) -> str:
    """Post a ticket; return its link."""
    said = f"Bearer {token}"
    if tracker.user:
        said = f"Basic {base64.b64encode(f'{tracker.user}:{token}'.encode()).decode()}"
    try:
        with httpx.Client(timeout=tracker.timeout_s, trust_env=False) as client:
            shape = _shape(tracker, title, body)
            answer = client.post(tracker.url, json=shape, headers={"Authorization": said})
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise _RefusedError(f"{_host(tracker)} cannot be reached: {error}") from error
    except httpx.HTTPError as error:
        raise _UnknownError(
            f"{_host(tracker)} did not answer ({type(error).__name__}): look whether it exists"
        ) from error
    if answer.status_code // 100 in {3, 4}:
        raise _RefusedError(f"{_host(tracker)} refused it with {answer.status_code}")
    try:
        if not answer.is_success or len(answer.content) > _LONGEST_ANSWER:
            raise ValueError
        return _link(tracker, json.loads(answer.content))
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise _UnknownError(
            f"{_host(tracker)} answered {answer.status_code} without a link: look whether it exists"
        ) from error


def _shape(tracker: Tickets, title: str, body: str) -> dict[str, Any]:
    if tracker.kind == "github":
        return {"title": title, "body": body, "labels": [*tracker.labels]}
    return {
        "fields": {
            "project": {"key": tracker.project},
            "issuetype": {"name": tracker.issue_type or "Task"},
            "summary": title,
            "description": body,
            "labels": [*tracker.labels],
        }
    }


def _link(tracker: Tickets, answer: dict[str, Any]) -> str:
    """Return the link in an answer; raise an error if it is none."""
    link = answer["html_url"] if tracker.kind == "github" else _browse(tracker, answer["key"])
    if urlsplit(str(link)).scheme not in {"http", "https"}:
        raise ValueError("no link")
    return one_line(str(link))


def _browse(tracker: Tickets, key: str) -> str:
    return f"{tracker.url.removesuffix('/rest/api/2/issue')}/browse/{key}"


def _host(tracker: Tickets) -> str:
    return urlsplit(tracker.url).hostname or tracker.url
