"""The addresses of the pages, and which signed links open each page."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rbkernel.errors import EvidenceError, RbkernelError
from rbkernel.gateway.links import EVERYTHING
from rbkernel.gateway.web import action_forms, console, incident, run
from rbkernel.gateway.web.forms import CHANGES, OF_INCIDENTS, Sent
from rbkernel.gateway.web.site import REPORT_POLICY, Answer, Request, Site
from rbkernel.render.documents import page, report, writing
from rbkernel.render.documents.formats import Format

INCIDENT = r"INC-[0-9A-Za-z][0-9A-Za-z-]{0,63}"
RUN = r"\d{8}T\d{6}Z-[0-9a-f]{6}"


@dataclass(frozen=True, kw_only=True)
class Route:
    """A page: the pattern of its address, and the function that returns it.

    ``wanted`` returns the ids that a link must name to open this address. ``brief`` pages take only
    a moment; the other pages use separate threads.
    """

    pattern: str
    show: Callable[[Site, Request], Answer]
    wanted: Callable[[Site, str], tuple[str, ...]]
    brief: bool = True


def _everything(_site: Site, _what: str) -> tuple[str, ...]:
    return (EVERYTHING,)


def _the_incident(_site: Site, what: str) -> tuple[str, ...]:
    return (what,)


def _the_run(site: Site, what: str) -> tuple[str, ...]:
    return (what, site.incident_of(what))


def _report(site: Site, request: Request) -> Answer:
    """Return the report page of a run or an incident, which is the same as in an export."""
    with report.fit_for_a_report(request.what):
        made = report.build(site.settings.evidence_root, request.what)
        return Answer(body=page.render(made), policy=REPORT_POLICY)


def _archive(site: Site, request: Request) -> Answer:
    """Return a run's or incident's sealed files as an archive, with instructions to verify it."""
    settings = site.settings
    with tempfile.TemporaryDirectory(prefix="rbkernel-") as folder:
        written = writing.export(
            *(settings.evidence_root, request.what, Format.ZIP, Path(folder)),
            signers=settings.allowed_signers,
        )
        body = written.path.read_bytes()
    return Answer(body=body, type="application/zip", name=f"{request.what}.zip")


ROUTES = (
    Route(pattern="", wanted=_everything, show=console.show),
    Route(pattern=rf"/incidents/({INCIDENT})", wanted=_the_incident, show=incident.show),
    Route(
        pattern=rf"/incidents/({INCIDENT})/report",
        wanted=_the_incident,
        show=_report,
        brief=False,
    ),
    Route(
        pattern=rf"/incidents/({INCIDENT})/archive",
        wanted=_the_incident,
        show=_archive,
        brief=False,
    ),
    Route(pattern=rf"/runs/({RUN})", wanted=_the_run, show=run.show),
    Route(pattern=rf"/runs/({RUN})/report", wanted=_the_run, show=_report, brief=False),
    Route(pattern=rf"/runs/({RUN})/archive", wanted=_the_run, show=_archive, brief=False),
)


@dataclass(frozen=True, kw_only=True)
class FormRoute:
    """The address of a form: what it changes, and which links open it; see `Route`.

    ``place`` is the part of the page to which the browser is sent back. A form that ``looks`` at a
    database uses separate threads.
    """

    pattern: str
    change: Callable[[Site, Sent], None]
    wanted: Callable[[Site, str], tuple[str, ...]]
    place: str = "decisions"
    looks: bool = False


FORM_ROUTES = tuple(
    FormRoute(pattern=rf"/{pages}/({one})/{name}", change=change, wanted=wanted)
    for pages, one, wanted, changes in (
        ("incidents", INCIDENT, _the_incident, {**CHANGES, **OF_INCIDENTS}),
        ("runs", RUN, _the_run, CHANGES),
    )
    for name, change in changes.items()
)
# only in `rbkernel serve`: in Jupyter, the user who runs kernels would hold the role for actions;
# see `Site.takes_actions`
ACTION_ROUTES = tuple(
    FormRoute(
        pattern=rf"/{pages}/({one})/{name}",
        change=change,
        wanted=wanted,
        place="actions",
        looks=change is not action_forms.reject,
    )
    for pages, one, wanted in (("incidents", INCIDENT, _the_incident), ("runs", RUN, _the_run))
    for name, change in action_forms.CHANGES.items()
)


def message(
    site: Site,
    error: RbkernelError,
    status: int,
    *,
    command: str = "",
    back: str = "",
    sign_in: str = "",
) -> Answer:
    """Return a page that shows an error and the next step.

    ``back`` is the page to go back to, and ``sign_in`` the address at which a person signs in.
    """
    return site.render(
        "message.html.j2",
        status=status,
        what=error.what,
        where=error.where,
        next_step=error.next_step,
        command=command,
        back=back,
        sign_in=sign_in,
        refresh_s=0,
    )


def nothing_here(site: Site) -> Answer:
    """Return the page for an unknown address."""
    error = EvidenceError(
        "there is no such page",
        next_step="open the console, or check the run id or incident id in the address",
    )
    return message(site, error, 404)
