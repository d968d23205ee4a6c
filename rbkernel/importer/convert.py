"""Convert the bytes of a Markdown file into notebooks and a report. Pure.

The caller passes the function that refuses SQL; the command `rbkernel import` passes the guard
(`rbkernel.sql.guard`).
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import PurePath
from typing import Any

import yaml

from rbkernel.importer import fields, queries, references
from rbkernel.importer.fields import Fields
from rbkernel.importer.notebook import Imported, assemble
from rbkernel.importer.page import Refuses
from rbkernel.importer.reading import blocks, holes, plaintext, secrets, source, spans, statements
from rbkernel.importer.reading.blocks import Block
from rbkernel.importer.stated import alertnames
from rbkernel.importer.steps import Steps
from rbkernel.runbook.scaffold import next_free_id

_ENTRY = re.compile(r"^(?P<id>RUN-\w+):\s*(?P<title>\S.*?)\s*$")
_RUNBOOK = re.compile(r"^\W*(?:RUN-\w+\b|runbook\b\s*:)", re.IGNORECASE)
_NOT_A_TITLE = re.compile(r"^\W*runbook\s*[:–—-]\s*|\s*[–—-]+\s*runbook\W*$", re.IGNORECASE)
_HTML_TITLE = re.compile(r"<h1[^>]*>(.+?)</h1>", re.IGNORECASE | re.DOTALL)


def convert(
    document: bytes,
    *,
    name: str,
    refuses: Refuses,
    taken: Collection[str] = (),
    split: bool = False,
    db: str = "",
    earlier: Mapping[str, str] | None = None,
) -> list[Imported]:
    """Convert a Markdown file to one notebook, or to one for each runbook in the file.

    Parameters
    ----------
    document
        The file's bytes, in any encoding.
    name
        The file name. For a general name such as ``README.md``, the path, because the name of the
        folder then says what the file is about.
    refuses
        A function that returns why a statement is refused; empty if the statement only reads.
    taken
        Ids that other runbooks have.
    split
        Make a notebook of each runbook that the file holds.
    db
        Default of the parameter that carries the connection's name; empty for the default
        connection.
    earlier
        Title → id of the notebooks that an earlier import of the same file created.

    Returns
    -------
    list of Imported
        At least one notebook. Their reports together contain every line of the source exactly
        once; secrets are replaced by placeholders.
    """
    read = source.read(document)
    lines, hidden = secrets.taken_out(read.lines)
    whole = _told_secrets(blocks.read(lines, _speaks), hidden)
    parts = _parts(whole) if split else [whole]
    digest = hashlib.sha256(document).hexdigest()
    links = references.defined(block.text for block in whole if block.kind == "definition")
    used = set(taken)
    made = []
    for part in parts:
        steps = _steps(_told(part, read.odd_lines), name, refuses, used, earlier or {})
        used.add(steps.fields.values["id"])
        references.complete(steps.cells, links)
        made.append(assemble(steps, source=source.name_of(name), digest=digest, db=db))
    return made


def _speaks(code: str) -> bool:
    return spans.is_command(code) or statements.is_sql(code)


def _parts(whole: Sequence[Block]) -> list[list[Block]]:
    """Split a file at runbooks shown in fences and at headings that begin a runbook."""
    shown = {block.document for block in whole if block.document and _entry(block)}
    rest = [block for block in whole if block.document not in shown]
    inside = [[block for block in whole if block.document == number] for number in sorted(shown)]
    return [part for part in [*_by_headings(rest), *inside] if part]


def _entry(block: Block) -> re.Match[str] | None:
    """Match a line such as ``RUN-001: Title`` at the beginning of a document shown in a fence."""
    return _ENTRY.match(block.text.lstrip().split("\n", 1)[0])


def _by_headings(rest: Sequence[Block]) -> list[list[Block]]:
    openings = [b for b in rest if b.kind == "heading" and not b.document and _begins(b)]
    level = min((block.level for block in openings), default=0)
    starts = [block.start for block in openings if block.level == level]
    if len(starts) < 2:
        return [list(rest)]
    edges = [0, *starts, rest[-1].end + 1]
    parts = [
        [block for block in rest if low <= block.start < high] for low, high in pairwise(edges)
    ]
    if parts[0] and all(block.kind in {"blank", "rule"} for block in parts[0]):
        parts[:2] = [[*parts[0], *parts[1]]]
    return parts


def _begins(block: Block) -> bool:
    return block.level <= 2 and _RUNBOOK.match(block.content) is not None


def _told_secrets(whole: Sequence[Block], hidden: Sequence[secrets.Found]) -> list[Block]:
    """Return the blocks, each with a description of the secrets that were removed from it."""
    return [
        replace(
            block, secrets=tuple(str(one) for one in hidden if block.start <= one.line < block.end)
        )
        for block in whole
    ]


def _told(part: Sequence[Block], odd_lines: Sequence[int]) -> list[Block]:
    """Return the blocks, each with a remark about its lines that are not UTF-8."""
    found = []
    for block in part:
        odd = [number + 1 for number in odd_lines if block.start <= number < block.end]
        text = f"not UTF-8, read as Latin-1: line {', '.join(map(str, odd))}"
        found.append(replace(block, remarks=(*block.remarks, text)) if odd else block)
    return found


def _steps(
    part: Sequence[Block],
    name: str,
    refuses: Refuses,
    taken: Collection[str],
    earlier: Mapping[str, str],
) -> Steps:
    said, problem = _declared(part)
    declared, words, titled = _title(part, name, str((said or {}).get("title") or ""))
    declared = declared or str((said or {}).get("id", ""))
    severity, bare = fields.severity_in_title(words)
    # in brackets, it would look like something to fill in
    if severity:
        words = re.sub(rf"\[([^\[\]]*{severity}\s*)\]", r"(\1)", words)
    title = holes.loud(words)
    wanted = declared if re.fullmatch(r"RUN-\d{3,}", declared) else ""
    free = wanted if wanted not in taken else ""
    front = Fields(earlier.get(title) or free or next_free_id(taken))
    steps = Steps(front, refuses, document=titled.document if titled else 0)
    front.say("title", title)
    for block in part:
        if block is titled and block.kind == "heading":
            steps.bound(block, "title")
        elif block.kind == "yaml":
            _yaml(block, steps, said, problem)
        else:
            steps.take(block)
    if wanted and front.values["id"] != wanted:
        steps.remark_first(
            f"the id {wanted} is taken, so this runbook gets the id {front.values['id']}"
        )
    _alerts(front, name, bare, part)
    if severity and not front.has("severity"):
        front.say("severity", severity)
    if metrics := front.values.get("metrics"):
        measured = queries.bound(metrics, part, refuses)
        front.replace("metrics", measured)
        if any("query" in one for one in measured):
            steps.connections.of("")
    steps.finish()
    if not front.has("category") and (guess := _guess(words, front, part)):
        front.say("category", guess)
    if not front.has("summary") and (summary := _first_words(part)):
        front.say("summary", summary)
    return steps


def _title(part: Sequence[Block], name: str, of_site: str) -> tuple[str, str, Block | None]:
    """Return the declared id, the title, and the block that contains the title.

    The title in the source's front matter is used if there is no heading of level 1.
    """
    first = next((block for block in part if block.kind not in {"frame", "blank"}), None)
    if first and first.document and (entry := _entry(first)):
        return entry["id"], entry["title"], first
    headings = [block for block in part if block.kind == "heading" and not block.document]
    # a file may begin with a description of its template; the runbook's own heading comes later
    best = next(filter(_begins, headings), headings[0] if headings else None)
    if of_site and (best is None or (best.level > 1 and not _begins(best))):
        return fields.declared_id(of_site), of_site, None
    if best is not None:
        words = _NOT_A_TITLE.sub("", plaintext.plain(best.content)).strip()
        declared = fields.declared_id(words)
        plain = re.sub(rf"^\W*{declared}\W+", "", words) if declared else words
        return declared, plain or words or _stem(name), best
    heading = next((found for block in part if (found := _HTML_TITLE.search(block.text))), None)
    words = plaintext.plain(re.sub(r"<[^>]+>", "", heading[1])) if heading else ""
    return "", words or _stem(name).replace("_", " ").replace("-", " "), None


def _alerts(front: Fields, name: str, title: str, part: Sequence[Block]) -> None:
    """Add a trigger for each alert that occurs in the title, the file name or the document.

    The file name is used only if the title gives no alert.
    """
    titled = alertnames.of_title(title, part)
    known = {str(one.get("alert", "")) for one in front.values.get("triggers", ())}
    found = [titled, "" if titled else alertnames.of_file(name), *alertnames.of_parts(part)]
    fresh = [one for one in dict.fromkeys(found) if one and one not in known]
    for one in fresh:
        if not holes.find(one):
            front.say("triggers", [{"alert": one}])


def _stem(name: str) -> str:
    return PurePath(source.notebook_stem(name)).name


def _guess(title: str, front: Fields, part: Sequence[Block]) -> str:
    """Guess the category of a runbook from its title, its alerts or symptoms, or its headings."""
    if known := fields.guess_category(title):
        return known
    if front.has("symptoms") or front.has("triggers"):
        return "incident"
    return fields.guess_category(_headings(part))


def _headings(part: Sequence[Block]) -> str:
    return " ".join(block.content for block in part if block.kind == "heading")


# an admonition, a shortcode, a table of a wiki, a condition: it says nothing of the whole
_MARKED = re.compile(
    r"!!!|\?\?\?|:::|\{[%{<]|\|\||h\d\. |(?:if|still|this|that|it|they)\b", re.IGNORECASE
)


def _first_words(part: Sequence[Block]) -> str:
    """Return the first paragraph of prose, to use as the summary; empty if there is none."""
    for block in part:
        words = " ".join(block.text.split())
        plain = block.kind == "paragraph" and not fields.pairs(block) and len(words) > 40
        if plain and not _MARKED.match(words):
            return fields.summary_of(words)
    return ""


def _declared(part: Sequence[Block]) -> tuple[Mapping[str, Any] | None, str]:
    """Return the source's own front matter (YAML or TOML), or the reason why it cannot be read."""
    block = next((block for block in part if block.kind == "yaml"), None)
    if block is None:
        return None, ""
    text = _inside(block)
    try:
        said = tomllib.loads(text) if block.text.startswith("+++") else yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        said = None
    except ValueError as error:  # a date that is none, or no TOML
        return None, f"the front matter cannot be read: {error}"
    known = isinstance(said, dict)
    return (said, "") if known else (None, "the front matter is not a YAML mapping")


def _inside(block: Block) -> str:
    return "\n".join(block.text.strip().splitlines()[1:-1])


def _yaml(block: Block, steps: Steps, said: Mapping[str, Any] | None, problem: str) -> None:
    """Copy the source's front matter to the notebook's; what has no field stays as a fence."""
    text, info = _inside(block), "toml" if block.text.startswith("+++") else "yaml"
    if said is None:
        steps.keep(block, text, info, problem)
        return
    meant = {"description": "summary", "name": ""}
    values = [(meant.get(str(key), str(key)), value) for key, value in said.items()]
    values += [
        ("triggers", [{"alert": one}])
        for key, value in said.items()
        if re.fullmatch(r"alert(?:_?names?|s)?", str(key))
        for one in (value if isinstance(value, list) else [value])
        if isinstance(one, str) and one.strip()
    ]
    steps.keep(block, text, info, "", values)
