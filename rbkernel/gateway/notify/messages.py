"""Turn events into the text of messages. Pure, except that it reads a team's own templates.

Every text comes from the evidence and is redacted once more. The text holds the plain address of a
page. A signed link replaces that address only in the message that is sent, so that the evidence
keeps the text but no valid link.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from rbkernel.displaytext import one_line
from rbkernel.errors import NotifyError
from rbkernel.evidence.incident import instant
from rbkernel.gateway.notify.events import Event
from rbkernel.model import RUN_ID, Severity
from rbkernel.redact import Redactor

_SUFFIX = ".txt.j2"
_PLACE = "rbkernel.gateway.notify"
# characters that a phone shows of a title, and that every service accepts in a body
_LONGEST_TITLE = 150
_LONGEST_BODY = 3_000
_LONGEST_INCIDENT = 80
_IN_A_DIGEST = 10
_IN_A_MESSAGE = 20  # a storm may have hundreds of alerts without a run
_OF_AN_INCIDENT = 4
# the most important kind of event gives the message its title
_ORDER = (
    *("break-glass", "unhandled", "escalation", "raised", "finding", "decision", "update"),
    *("sealed", "started"),
)
# the order of events with the same time
_HAPPENED = (
    *("unhandled", "started", "raised", "finding", "decision", "break-glass", "sealed"),
    *("escalation", "update"),
)
# mentions that notify everybody in a chat, and may be in an alert's label
_CALLS = re.compile(r"(?i)@(?=everyone|here|channel|all\b)|<(?=[!@])")


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message to people, with unsigned links; ``level`` is info, success, warning or failure."""

    title: str
    body: str
    level: str
    events: tuple[Event, ...]

    def with_links(self, sign: Callable[[str], str], address: str) -> str:
        """Return the message's text with each link to a page replaced by a signed link."""
        pages = rf"{re.escape(address)}/rbkernel(?:/(?:runs|incidents)/([\w-]+))?(?![\w/-])"
        return re.sub(pages, lambda found: sign(found[1] or ""), self.body)

    def about(self, incident: str) -> str:
        """Return the message's paragraphs about one incident; without any, the last paragraph."""
        if len({event.incident for event in self.events}) == 1:
            return self.body
        named = re.compile(rf"(?<![\w-]){re.escape(incident)}(?![\w-])")
        said = self.body.split("\n\n")
        return "\n\n".join(filter(named.search, said)) or said[-1]


class Lines(str):
    """A text of several lines, which templates insert unchanged."""

    __slots__ = ()


class Words:
    """Renders messages from templates: a team's template if there is one, else the built-in one.

    Parameters
    ----------
    folder
        The folder of a team's own templates, or None.
    address
        The public address of the gateway.
    """

    def __init__(self, folder: Path | None, address: str) -> None:
        self.address = address
        packaged = jinja2.FunctionLoader(_packaged)
        own = [jinja2.FileSystemLoader(folder)] if folder else []
        self._own = _environment(jinja2.ChoiceLoader([*own, packaged]))
        self._ours = _environment(packaged)
        self.problems: list[str] = []

    def message(self, events: Sequence[Event]) -> Message:
        """Return one message about events of one incident."""
        ordered = sorted(events, key=_telling)
        pages = {event.page for event in ordered}
        incident = ordered[0].incident
        page = pages.pop() if len(pages) == 1 else incident
        asking = {event.facts.get("run_id") for event in ordered if event.kind == "decision"}
        parts = [
            self._part(event, asks=event.facts.get("run_id") in asking)
            for event in ordered[:_IN_A_MESSAGE]
        ]
        left = len(ordered) - len(parts)
        # the last line has the link, which must not be cut off
        facts = {"incident": incident, "title": _cut(_called(ordered), _LONGEST_INCIDENT)}
        body = self._render("message", parts=parts, left=left, link=self._page(page), **facts)
        head = "".join(f"Note: {caveat}\n" for caveat in _caveats(ordered))
        return _message(parts[0]["title"], head + body, ordered)

    def digest(self, events: Sequence[Event]) -> Message:
        """Return one message about all the events that the rate limit has delayed."""
        incidents: dict[str, list[Event]] = {}
        for event in events:
            incidents.setdefault(event.incident, []).append(event)
        worst_first = sorted(incidents.items(), key=lambda one: _urgency(one[1]))
        shown = [self._of_incident(*one) for one in worst_first[:_IN_A_DIGEST]]
        text = self._render(
            "digest",
            count=len(events),
            incidents=shown,
            more=len(incidents) - len(shown),
            head=_newest_head(events),
            link=self._page(""),
        )
        title, body = _split(text)
        return _message(title, body, events)

    def _of_incident(self, incident: str, events: Sequence[Event]) -> dict[str, Any]:
        ordered = sorted(events, key=_telling)
        shown = sorted(ordered[:_OF_AN_INCIDENT], key=_happened)
        return {
            "id": incident,
            "title": _called(ordered),
            "minds": _caveats(ordered),
            "parts": [self._part(event) for event in shown],
            "left": len(ordered) - len(shown),
            "link": self._page(incident),
        }

    def _part(self, event: Event, *, asks: bool = False) -> dict[str, str]:
        """Render one event; ``asks`` is whether the question of its run is in the same message."""
        facts = {**event.facts, "title": _called([event]), "asks": asks}
        text = self._render(event.kind, incident=event.incident, at=event.at, **facts)
        title, body = _split(text)
        return {
            "title": title,
            "body": Lines(_squeezed(body)),
            "kind": event.kind,
            "severity": event.severity.value,
            "head": event.facts.get("head", ""),
        }

    def _render(self, name: str, **facts: Any) -> str:
        """Render a template; if a team's template fails, render the built-in template instead."""
        try:
            return self._own.get_template(name + _SUFFIX).render(facts)
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, OSError) as error:
            problem = f"{name}{_SUFFIX}: {error}"
            if problem not in self.problems:
                self.problems.append(problem)
            return self._ours.get_template(name + _SUFFIX).render(facts)

    def check(self) -> None:
        """Raise an error if one of the team's templates cannot be parsed.

        Raises
        ------
        NotifyError
            A file is not a valid template.
        """
        for name in (*_ORDER, "message", "digest"):
            try:
                self._own.get_template(name + _SUFFIX)
            except (jinja2.TemplateError, UnicodeDecodeError, OSError) as error:
                raise NotifyError(
                    f"the template cannot be read: {error}",
                    where=name + _SUFFIX,
                    next_step="fix the template, or delete it to use the built-in one",
                ) from error

    def _page(self, what: str) -> str:
        return f"{self.address}/rbkernel{path_of(what)}"


def path_of(what: str) -> str:
    """Return the path of a run's or incident's page, relative to the console's address.

    >>> path_of("20261120T030211Z-3fa9c1"), path_of("INC-1"), path_of("")
    ('/runs/20261120T030211Z-3fa9c1', '/incidents/INC-1', '')
    """
    if RUN_ID.fullmatch(what):
        return f"/runs/{what}"
    return f"/incidents/{what}" if what else ""


def level_of(events: Sequence[Event]) -> str:
    """Return the level of a message about these events, as an apprise notification type."""
    verdicts = {event.facts.get("verdict") for event in events}
    worst = _urgency(events)
    if "critical" in verdicts or worst == 0 or any(e.kind == "escalation" for e in events):
        return "failure"
    is_open = any(event.kind == "unhandled" for event in events)  # nothing checked the alert
    if {"warning", "unknown"} & verdicts or worst == 1 or is_open or _caveats(events):
        return "warning"
    return "success" if "ok" in verdicts else "info"


def _called(events: Sequence[Event]) -> str:
    """Return an incident's name for a message: its first alert, and how many more there are."""
    newest = max((event.facts for event in events), key=lambda facts: len(facts.get("alerts", ())))
    title, others = str(newest.get("title", "")), len(newest.get("alerts", ())) - 1
    if not title or others < 1:
        return title
    return f"{_cut(title, _LONGEST_INCIDENT)} and {others} more alert{'s' if others > 1 else ''}"


def _telling(event: Event) -> tuple[int, bool]:
    return _ORDER.index(event.kind), not event.facts.get("closed")


def _happened(event: Event) -> tuple[datetime, int]:
    return instant(event.at), _HAPPENED.index(event.kind)


def _newest_head(events: Sequence[Event]) -> str:
    """Return the hash of the newest seal, if these events have several seals; else empty.

    This hash proves the older seals, too.
    """
    sealed = [event for event in events if event.facts.get("head")]
    return str(max(sealed, key=_happened).facts["head"]) if len(sealed) > 1 else ""


def _caveats(events: Sequence[Event]) -> list[str]:
    """Return the caveats of these events' runs, without duplicates.

    A run with a caveat may have missed a problem, even if its verdict is ok.
    """
    notes = (str(_plain(event.facts.get("mind", ""))) for event in events)
    return list(dict.fromkeys(filter(None, notes)))


def _urgency(events: Sequence[Event]) -> int:
    return min(list(Severity).index(event.severity) for event in events)


def _message(title: str, body: str, events: Sequence[Event]) -> Message:
    redactor = Redactor()
    if len(title) > _LONGEST_TITLE:
        body = f"{title}\n\n{body}"
    return Message(
        title=_cut(redactor.text(title), _LONGEST_TITLE),
        body=_shortened(redactor.text(body)),
        level=level_of(events),
        events=tuple(events),
    )


def _environment(loader: jinja2.BaseLoader) -> jinja2.Environment:
    return jinja2.Environment(  # noqa: S701  # noqa: S701  # plain text; apprise escapes it for HTML services
        loader=loader,
        lstrip_blocks=True,
        undefined=jinja2.ChainableUndefined,
        finalize=_plain,
    )


def _packaged(name: str) -> str | None:
    found = files(_PLACE).joinpath("templates", name)
    return found.read_text(encoding="utf-8") if found.is_file() else None


def _plain(value: object) -> object:
    r"""Make a value safe for a template: one line, no control characters, no ``@everyone``.

    >>> _plain("a\nb\x1b[2J"), _plain("@everyone look"), _plain(None), _plain(3)
    ('a b\\x1b[2J', '@\u200beveryone look', '', 3)
    """
    if value is None:
        return ""
    if isinstance(value, Lines) or not isinstance(value, str):
        return value
    return _CALLS.sub(lambda found: f"{found[0]}\u200b", one_line(value))


def _split(text: str) -> tuple[str, str]:
    title, _, body = text.strip().partition("\n")
    return " ".join(title.split()), body


def _squeezed(body: str) -> str:
    """Remove superfluous blank lines that a template left in a text."""
    return "\n".join(line.rstrip() for line in body.splitlines() if line.strip())


def _shortened(body: str) -> str:
    """Cut the middle out of a text that is too long; keep its last lines, which have the link."""
    body = re.sub(r"\n{3,}", "\n\n", body.strip())
    if len(body) <= _LONGEST_BODY:
        return body
    head, tail = body[: _LONGEST_BODY - 400], body[-350:]
    return f"{head.rpartition(chr(10))[0]}\n…\n{tail.partition(chr(10))[2]}"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
