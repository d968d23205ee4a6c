"""Render a report as one HTML page that needs only a browser. Pure.

The page is deterministic: the same evidence gives the same bytes. Its Content-Security-Policy
forbids all requests, and all scripts except two, which are named by hash. One of them may be told
to load plotly.js from a file that several pages share; else the page is self-contained.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

from rbkernel.displaytext import escape, isolated, reads_from_right, visible
from rbkernel.model import PlanState
from rbkernel.render.cards import rows_of
from rbkernel.render.documents import figures
from rbkernel.render.documents.blocks import Figure
from rbkernel.render.documents.contents import Section
from rbkernel.render.documents.wording import clock

POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:;"
    " style-src 'unsafe-inline'"
)
TEMPLATES = Path(__file__).parent / "templates"
_TONES = {
    "ok": "ok",
    "decided": "ok",
    "verified": "ok",
    "previewed": "warning",
    "approved": "warning",
    "failed": "critical",
    "indeterminate": "critical",
    "undone": "unknown",
    PlanState.DONE: "ok",
    "warning": "warning",
    PlanState.PROPOSED: "warning",
    "critical": "critical",
    "unknown": "unknown",
    PlanState.NOT_CHOSEN: "unknown",
}
_LIGHT, _DARK = "default", "github-dark"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The contents of a report's page: one run, or an incident with its timeline and all its runs.

    ``timeline`` has time, event and source of each line; ``incident`` is empty for a single run.
    ``recommended`` is the option that a single run recommends last; empty if it was answered.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    recommended: str = ""
    incident: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    timeline: tuple[tuple[str, str, str], ...] = ()
    footer: str = ""

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures of the report that are drawn."""
        blocks = (block for section in self.sections for block in section.blocks)
        return tuple(block for block in blocks if isinstance(block, Figure) and block.drawn)

    @property
    def runbooks(self) -> tuple[Section, ...]:
        """The sections with a runbook to append: of several runs of the same text, the first."""
        first: dict[tuple[str, tuple[str, ...]], Section] = {}
        for section in self.sections:
            first.setdefault((section.runbook, section.prose), section)
        return tuple(first.values())


def render(report: Report, stills: Mapping[int, str] | None = None, *, library: str = "") -> bytes:
    """Return the HTML page of a report.

    Parameters
    ----------
    report
        The contents of the page.
    stills
        Pictures of the figures by their number, as data URLs. If given, the page contains these
        instead of interactive figures, and has no script.
    library
        The relative address of the file with plotly.js (see `figures.shared_plotly`). If empty, the
        page contains plotly.js.
    """
    live = bool(report.figures) and stills is None
    scripts = ("plots.js", "report.js") if live else ()
    script = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in scripts)
    allowed = f"{figures.plotly_hash()} {figures.csp_hash(script.encode())}" if live else "'none'"
    if live and library:
        allowed += " 'strict-dynamic'"  # the script may load a file; the page itself still may not
    return from_template(
        "report.html.j2",
        report=report,
        policy=f"{POLICY}; script-src {allowed}",
        script=script,
        plotly=figures.packed_plotly() if live and not library else "",
        library=library,
        stills=stills or {},
        unfolded=stills is not None,  # a printed page cannot be unfolded
    )


def from_template(name: str, **values: Any) -> bytes:
    """Return a page made from a template of rbkernel, with the common style sheet."""
    page = environment().get_template(name).render(style=style(), **values)
    return page.encode(errors="replace")


@cache
def environment(*folders: Path) -> Environment:
    """Return the template environment, with all text escaped.

    Every value passes `displaytext.escape`, which may write HTML elements. Elements are not allowed
    in attributes and in the page's title, so external values need the filter ``bare`` there.
    """
    made = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_shown,
    )
    made.filters |= {"bare": _bare, "clock": clock, "code": _code, "rows_of": rows_of, "tone": tone}
    return made


def _shown(value: Any) -> Any:
    """Return a value as a template prints it: text with invisible characters shown, `Markup`
    unchanged.
    """
    if value is None or hasattr(value, "__html__") or isinstance(value, int | float | Undefined):
        return value
    text = visible(str(value))
    return Markup(escape(text)) if reads_from_right(text) else text  # noqa: S704  # it was escaped


def _bare(value: object) -> Markup:
    return Markup(html.escape(isolated(str(value))))  # noqa: S704  # it was escaped


def tone(word: str) -> str:
    """Return the CSS class for the colour of a badge: a verdict, or ``open``."""
    return _TONES.get(str(word), "open")


def _code(source: str) -> Markup:
    """Return a code cell with highlighted syntax: SQL below a line `%%sql`, else Python."""
    name = "sql" if source.lstrip().startswith("%%sql") else "python"
    # pygments escapes the text
    return Markup(highlight(visible(source), _lexer(name), _formatter()))  # noqa: S704


_lexer = cache(get_lexer_by_name)


@cache
def _formatter() -> HtmlFormatter[str]:
    return HtmlFormatter(cssclass="source")


@cache
def style() -> str:
    """Return the style sheet of a report, light and dark."""
    own = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    light, dark = (
        HtmlFormatter(style=name).get_style_defs(".source")  # type: ignore[no-untyped-call]  # its stubs leave it out
        for name in (_LIGHT, _DARK)
    )
    return (
        f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
        f".source {{ background: none }}\n{own}"
    )
