"""What every page is made from: a request, the configuration, the evidence and the store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment

from rbkernel.config import Settings
from rbkernel.errors import EvidenceError
from rbkernel.evidence.incident import AlertStatus
from rbkernel.execution.named_person import Person
from rbkernel.gateway.jobs.states import JobState
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.web.evidence_cache import EvidenceCache
from rbkernel.gateway.web.formatting import counted, lasted
from rbkernel.gateway.web.overview import listed
from rbkernel.kernel import secrets
from rbkernel.model import PlanState
from rbkernel.redact import Redactor
from rbkernel.render.documents import figures, page
from rbkernel.run.outcome import Outcome

_FOLDER = Path(__file__).parent
_HTML = "text/html; charset=UTF-8"
_JAVASCRIPT = "text/javascript; charset=UTF-8"
# plotly.js creates style elements, and outputs contain styles that passed the sanitizer
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data: blob:;"
    " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# an exported report may draw its figures, but has no access to these pages
REPORT_POLICY = "sandbox allow-scripts allow-popups allow-downloads; frame-ancestors 'none'"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A browser's request: the id in the address, the query, and the XSRF field for forms.

    ``person`` is who it is, as a proxy or a provider says; None if nobody is named.
    """

    what: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    xsrf: str = ""
    person: Person | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to a browser: a page or a file; ``name`` makes it a download."""

    body: bytes
    status: int = 200
    type: str = _HTML
    policy: str = POLICY
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Site:
    """The pages under one base address, and the data that they show.

    Parameters
    ----------
    settings
        The configuration.
    base
        The path that begins all addresses of the pages, such as ``/rbkernel``.
    find_store
        Returns the gateway's store; None if there is none: then no queue is shown.
    in_jupyter
        Whether the pages are served by Jupyter: then a run can be continued in JupyterLab.
    """

    settings: Settings
    base: str
    find_store: Callable[[], Store | None] = lambda: None
    in_jupyter: bool = False
    cache: EvidenceCache = field(init=False)
    reader: ThreadPoolExecutor = field(init=False)
    looker: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        cache = EvidenceCache(self.settings.evidence_root, self.settings.allowed_signers)
        object.__setattr__(self, "cache", cache)
        # one thread reads and renders, so that pages never delay incoming alerts
        reader = ThreadPoolExecutor(1, thread_name_prefix="rbkernel-pages")
        object.__setattr__(self, "reader", reader)
        # steps of actions that look at a database, which may hang, delay nothing else
        looker = ThreadPoolExecutor(16, thread_name_prefix="rbkernel-actions")
        object.__setattr__(self, "looker", looker)

    @property
    def store(self) -> Store | None:
        """The gateway's store; None if there is none."""
        return self.find_store()

    @property
    def takes_actions(self) -> bool:
        """Whether people can take steps of actions here: only with a link, and not in Jupyter.

        Pages that need no link are open to every process of this machine, also to kernels.
        """
        return not (self.in_jupyter or self.settings.pages.open_on_loopback)

    @property
    def signs_in(self) -> bool:
        """Whether people can sign in here."""
        return self.settings.pages.signin is not None and not self.in_jupyter

    @cached_property
    def redactor(self) -> Redactor:
        """Removes known secrets; one for all requests, because it is told each later password."""
        return secrets.redactor(self.settings, os.environ, later=True)

    def incident_of(self, run_id: str) -> str:
        """Return the incident of a run; empty if it is unknown."""
        for entry in self.cache.entries():
            if entry.run_id == run_id:
                return entry.incident
        job = self.store.job_of_run(run_id) if self.store else None
        return job.incident if job else ""

    def render(self, template: str, *, status: int = 200, **values: Any) -> Answer:
        """Return a page rendered from a template, in which every text is escaped."""
        made = (
            _environment()
            .get_template(template)
            .render(site=self, stills={}, unfolded=False, **values)
        )
        return Answer(body=made.encode(errors="replace"), status=status)

    def static(self, name: str) -> str:
        """Return the address of a style sheet or script; the address changes with the content."""
        return f"{self.base}/static/{name}?v={_digest(name)}"


def static_file(name: str) -> Answer | None:
    """Return a style sheet, script or other static file; None if there is no such file."""
    made = _files().get(name)
    if made is None:
        return None
    body, kind = made
    return Answer(body=body, type=kind)


@cache
def _environment() -> Environment:
    made = page.environment(_FOLDER / "templates")
    made.filters |= {"counted": counted, "lasted": lasted, "listed": listed, "tone": _tone}
    made.filters |= {"with_values": _with_values}
    made.globals |= {one.__name__: one for one in (AlertStatus, Outcome, PlanState)}
    return made


def _with_values(query: Mapping[str, str | int]) -> dict[str, str | int]:
    """Return the parts of an address's query that have a value."""
    return {name: value for name, value in query.items() if value}


def _tone(word: str) -> str:
    """Return the colour of a badge for a verdict or a job's state."""
    return "critical" if word in {JobState.FAILED, JobState.GIVEN_UP} else page.tone(word)


@cache
def _files() -> Mapping[str, tuple[bytes, str]]:
    own = _FOLDER / "static"
    style = page.style().encode() + (own / "pages.css").read_bytes()
    try:
        plotly = figures.plotly_path().read_bytes()
    except OSError as error:
        raise EvidenceError(
            f"plotly.js cannot be read: {error.strerror}",
            where=str(figures.plotly_path()),
            next_step="install plotly again",
        ) from error
    return {
        "pages.css": (style, "text/css; charset=UTF-8"),
        "passkeys.js": ((own / "passkeys.js").read_bytes(), _JAVASCRIPT),
        "pages.js": ((own / "pages.js").read_bytes(), _JAVASCRIPT),
        "plots.js": ((page.TEMPLATES / "plots.js").read_bytes(), _JAVASCRIPT),
        "plotly.js": (plotly, _JAVASCRIPT),
    }


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(_files()[name][0]).hexdigest()[:12]
