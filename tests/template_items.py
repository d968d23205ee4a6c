"""What the five runbook templates ask for, item by item, and where rbkernel fulfils it.

``docs/reference/template-items.tsv`` has one line for each item: it is edited by hand. ``python -m
tests.template_items`` writes the page ``docs/reference/template-items.md`` from it; a test checks
that the page is up to date and that each reference exists.
"""

from __future__ import annotations

import csv
import html
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs/reference"
DATA, PAGE = FOLDER / "template-items.tsv", FOLDER / "template-items.md"
#: What an item can ask for. The same words are the states of the items that are reached.
TARGETS = ("evaluated", "executed", "action", "recorded", "field", "prose")
#: The states of the items that are not reached, besides a target below the one asked for.
SHORT_OF = ("proposed", "text", "missing")

_INTRODUCTION = """\
# What the templates ask for, and where it is

rbkernel was made after five runbook templates that teams use: of a module, of a service, of an AI \
system, of a set of runbooks (RUN- entries), and of an incident. This page lists everything that \
they ask for, item by item, and says which runbook, template, field, rule or command fulfils it \
today. The words used here: [glossary](glossary.md).

| state | meaning |
|---|---|
| evaluated | a program judges it, with a limit or a condition |
| executed | a program carries it out, or queries it, and the output is in the evidence |
| action | a plan with all that the item asks for, such as its undo, and a record of who did it |
| recorded | a person ticks, writes or decides it, and it is in the evidence with name and time |
| field | it has a field of the front matter or of another document |
| prose | it is text, and needs to be no more |
| proposed | a plan to copy, which lacks something that the item asks for |
| text | the words are there, but nothing acts on them |
| missing | nothing is there |

An item is *reached* if its state is its target. A [placeholder](templates.md#placeholders) counts \
as filled in: a check in a template judges once the team has given its figure.

The [data](template-items.tsv) have a line for each item; edit them, then run `python -m \
tests.template_items`, which writes this page. Items may be split or added. None may be dropped, \
and no target lowered.
"""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of a template, as the columns of the file.

    ``belongs_in`` is the runbook, template or part of rbkernel that should fulfil it, ``shown_by``
    what shows that it does, ``fulfilled_by`` what fulfils it today (see `references`), and ``note``
    what is left.
    """

    id: str
    template: str
    section: str
    item: str
    target: str
    belongs_in: str
    shown_by: str
    state: str
    fulfilled_by: str
    note: str

    @property
    def reached(self) -> bool:
        """Whether the item is what its target asks for."""
        return self.state == self.target

    @property
    def references(self) -> tuple[str, ...]:
        """What fulfils the item: ``place#cell``, ``place@field``, ``rbkernel command``,
        ``rb.call``, a rule, a runbook, a diagnostic or a page.
        """
        return tuple(filter(None, self.fulfilled_by.split("; ")))


def read(path: Path = DATA) -> list[Item]:
    """Read the items of a file, in its order."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Item(**row) for row in rows]


def page(items: Sequence[Item]) -> str:
    """Return the page: counts by template and target, then each item below its section."""
    parts = [_INTRODUCTION, "## How many\n", *_counts(items)]
    for template, of_it in itertools.groupby(items, key=lambda one: one.template):
        parts.append(f"\n## Template: {template}")
        for section, rows in itertools.groupby(of_it, key=lambda one: one.section):
            parts += [f"\n### {section}\n", *_table(rows)]
    return "\n".join(parts) + "\n"


def _counts(items: Sequence[Item]) -> Iterator[str]:
    """Yield the lines of the table that counts the items."""
    yield f"| template | target | wanted | reached | other | {' | '.join(SHORT_OF)} |"
    yield "|---|---|---|---|---|---|---|---|"
    for template in dict.fromkeys(one.template for one in items):
        of_it = [one for one in items if one.template == template]
        for target in TARGETS:
            if found := [one for one in of_it if one.target == target]:
                yield _counted(template, target, found)
        yield _counted(f"**{template}**", "all", of_it)
    for target in TARGETS:
        yield _counted("all", target, [one for one in items if one.target == target])
    yield _counted("**all**", "all", items)
    yield "\n*other*: in another state than its target, such as ticked instead of evaluated."


def _counted(template: str, target: str, items: Sequence[Item]) -> str:
    short = Counter(one.state for one in items if not one.reached)
    other = sum(count for state, count in short.items() if state not in SHORT_OF)
    reached = sum(one.reached for one in items)
    figures = [len(items), reached, other, *(short[state] for state in SHORT_OF)]
    return f"| {template} | {target} | {' | '.join(map(str, figures))} |"


def _table(items: Iterable[Item]) -> Iterator[str]:
    yield "| id | item | target | state | where | left |"
    yield "|---|---|---|---|---|---|"
    for one in items:
        where = "<br>".join(_linked(reference) for reference in one.references) or "–"
        asked = "" if one.reached else f"{one.belongs_in}: {one.shown_by}"
        left = ". ".join(filter(None, (one.note, asked)))
        cells = (one.id, _text(one.item), one.target, one.state, where, _text(left))
        yield f"| {' | '.join(cells)} |"


def _text(words: str) -> str:
    """Return words for a cell of a table, where `<module>` is no tag and `|` ends no cell."""
    return html.escape(words, quote=False).replace("|", "&#124;")


def _linked(reference: str) -> str:
    """Return a reference as Markdown, with a link to the page that describes it.

    >>> _linked("RB601"), _linked("rbkernel lint")
    ('[RB601](lint/RB601.md)', '[`rbkernel lint`](commands.md)')
    >>> _linked("RUN-001#verify"), _linked("service@links.url")
    ('[RUN-001](runbooks.md), cell `verify`', '[service](templates.md), field `links.url`')
    """
    if re.fullmatch(r"RB\d{3}", reference):
        return f"[{reference}](lint/{reference}.md)"
    if reference.startswith("rbkernel "):
        return f"[`{reference}`](commands.md)"
    if reference.startswith("rb."):
        return f"[`{reference}`](notebook.md)"
    if reference.startswith("docs/"):
        return f"[{Path(reference).name}](../../{reference})"
    place, mark, inside = re.fullmatch(r"([^#@]+)([#@]?)(.*)", reference).groups()  # type: ignore[union-attr]  # any text fits
    if "/" in place:
        return f"[`{place}`](diagnostics.md)"
    described = "runbooks" if place.startswith("RUN-") else "templates"
    kind = {"#": f", cell `{inside}`", "@": f", field `{inside}`", "": ""}[mark]
    return f"[{place}]({described}.md){kind}"


if __name__ == "__main__":
    PAGE.write_text(page(read()), encoding="utf-8")
