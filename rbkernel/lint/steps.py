"""RB2: words and steps: a newcomer must be able to follow the runbook at night.

The rules cover those parts of the quality checklist (actionable, complete, verifiable, scoped,
escalatable) and of the anti-patterns (too vague, too long, no verification, assuming knowledge, no
escalation) that a program can check. A step is a heading `Step N` and the content below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rbkernel.lint.cells import Code
from rbkernel.lint.document import Document, Step
from rbkernel.lint.rule import Found, Level, in_cell, rule
from rbkernel.runbook.placeholders import unfilled

TOO_MANY_STEPS = 50
_GOAL = re.compile(r"(?:goal|purpose|why|aim)\b", re.IGNORECASE)
_EXPECTED = re.compile(
    r"(?:expected|success criteria|verif|you should see|done when|should (?:see|return|show))",
    re.IGNORECASE,
)
_OTHERWISE = re.compile(
    r"(?:if (?:it|this|that|not|the step|any)\b|otherwise|on failure|when (?:it|this) (?:fails|does"
    r" not)|escalat|roll ?back)",
    re.IGNORECASE,
)
_EMPTY_WORDS = re.compile(
    r"\b(?:investigate|look into|check|fix|resolve|handle|debug|troubleshoot|analy[sz]e|address)"
    r" (?:the |this |that |any )?(?:issues?|problems?|errors?|situation|cause|logs?|system|it)\b"
    r"(?=\s*(?:[.,;!?]|$|and\b|until\b|further\b))"
    r"|\btake (?:the )?(?:appropriate|necessary|corrective) (?:actions?|steps?)\b"
    r"|\bas (?:appropriate|needed|necessary|required)\b|\bmonitor the situation\b"
    r"|\bdo (?:the needful|what is necessary)\b|\bcontact the (?:right|relevant|responsible)\b",
    re.IGNORECASE,
)
_ASSUMED = re.compile(
    r"\b(?:you (?:already )?know (?:how|what|where) to|as you know|as every(?:body|one) knows"
    r"|(?:do|done|go on|proceed|continue|run|restart|deploy)(?: it| this)? as (?:usual|always)"
    r"|of course|obvious(?:ly)?|trivial(?:ly)?|the usual (?:way|place|command|steps?|suspects)"
    r"|the normal way|same as last time|self-explanatory|needless to say|should be familiar"
    r"|simply (?:run|restart|do|fix|use|connect|call))\b",
    re.IGNORECASE,
)


@rule("RB201", "step-without-goal", Level.WARNING, "actionable")
def goal(document: Document) -> Iterator[Found]:
    """A step has no goal.

    Why: without the goal the engineer cannot tell when to skip a step, or what to do if the
    screen looks different.

    Instead: begin the step with `**Goal:** see how many slots are taken now.`
    """
    for step in document.steps:
        if not _says(step, _GOAL):
            yield _at(step, "has no goal", "begin the step with **Goal:** …")


@rule("RB202", "step-without-expected", Level.WARNING, "verifiable")
def expected(document: Document) -> Iterator[Found]:
    """A step does not say what result is expected (anti-pattern: no verification).

    Why: without an expected result, the engineer cannot tell whether the step worked.

    Instead: write, for example, `**Expected:** below 80 %.` Success criteria and checklists are
    accepted, too.
    """
    for step in document.steps:
        if not (_says(step, _EXPECTED) or _checklist(step)):
            yield _at(step, "does not say what result is expected", "add **Expected:** …")


@rule("RB203", "step-is-a-dead-end", Level.WARNING, "escalatable")
def dead_end(document: Document) -> Iterator[Found]:
    """A step does not say what to do if it does not work (anti-pattern: no escalation).

    Why: a step without a way to get help costs the most time.

    Instead: write, for example, `**If it does not work:** after 2 attempts, escalate.`
    """
    for step in document.steps:
        if not _says(step, _OTHERWISE):
            yield _at(step, "does not say what to do if it fails", "add **If it does not work:** …")


@rule("RB204", "too-vague", Level.WARNING, "actionable")
def vague(document: Document) -> Iterator[Found]:
    """A sentence does not say exactly what to do (anti-pattern: too vague).

    "Investigate the issue", "take appropriate action", "fix as needed".

    Why: such a sentence tells the reader nothing new.

    Instead: name the command, the cell or the page, and what to look for in it.
    """
    for cell, block in document.blocks:
        for line in block.prose:
            found = _EMPTY_WORDS.search(line.text)
            if found and not line.code and not line.links:
                message = f"“{found[0]}” does not say what to do"
                yield in_cell(cell, line.line, message, "name the command, and what to look for")


@rule("RB205", "assumes-knowledge", Level.WARNING, "actionable")
def assumed(document: Document) -> Iterator[Found]:
    """A sentence assumes knowledge that a newcomer lacks (anti-pattern: assuming knowledge).

    "You know how to do this", "the usual way", "obviously", "simply restart it".

    Why: the reader may be new to the system, or tired, and cannot fill the gap.

    Instead: explain the step in full, or link to the explanation.
    """
    for cell, block in document.blocks:
        for line in block.prose:
            if found := _ASSUMED.search(line.text):
                message = f"“{found[0]}” assumes knowledge that a newcomer does not have"
                yield in_cell(
                    cell, line.line, message, "explain it in full, or link to the explanation"
                )


@rule("RB206", "too-long", Level.WARNING, "actionable")
def too_long(document: Document) -> Iterator[Found]:
    """The runbook has fifty steps or more (anti-pattern: too long).

    Headings `Step N` and the items of numbered lists count.

    Why: nobody finishes a runbook of that length during an incident, and it is hard to maintain.

    Instead: split it into runbooks with one purpose each; the first runbook says which of them to
    open.
    """
    numbered = sum(1 for _, block in document.blocks if block.kind == "numbered")
    count = max(len(document.steps), numbered)
    if count >= TOO_MANY_STEPS:
        yield Found(
            0, 0, f"the runbook has {count} steps", "split it into runbooks of one purpose each"
        )


@rule("RB207", "step-with-nothing-to-do", Level.WARNING, "complete")
def nothing_to_do(document: Document) -> Iterator[Found]:
    """A step has no code, command, list, link or menu path.

    Why: text alone is not a procedure; everybody understands it differently.

    Instead: add a query, a check, `rb.decide`, a command to copy, or a list to tick off.
    """
    for step in document.steps:
        if not (_commands(step) or any(not _last_word(code) for code in step.codes)):
            yield _at(step, "contains no action", "add a cell, a command or a list")


@rule("RB208", "title-differs", Level.WARNING, "maintained")
def title(document: Document) -> Iterator[Found]:
    """The first heading is not the title of the front matter.

    Why: `rbkernel list`, notifications and the notebook then show different titles for one runbook.

    Instead: begin the notebook with the id and the title, such as `# RUN-005: Replication lag`.
    """
    front = document.front
    head = next(((c, b) for c, b in document.blocks if b.kind == "heading"), None)
    if front is None or document.is_template or unfilled(front.title):
        return
    if head is None or head[1].level != 1:
        yield Found(0, 0, "there is no first-level heading", f"write `# {front.id}: …`")
    elif front.title.casefold() not in head[1].text.casefold():
        message = f"the heading is “{head[1].text}”, the title “{front.title}”"
        yield in_cell(head[0], head[1].line, message, f"write `# {front.id}: {front.title}`")


@rule("RB209", "steps-out-of-order", Level.WARNING, "complete")
def numbering(document: Document) -> Iterator[Found]:
    """The numbers of the steps have a gap or a duplicate.

    Why: "go back to step 3" leads to the wrong step, and a gap looks like a missing page.

    Instead: number the steps 1, 2, 3 …; a new chapter may start at 1 again.
    """
    before = 0
    for step in document.steps:
        if step.number not in {before + 1, 1} and before:
            message = f"comes after step {before}"
            yield _at(step, message, f"number it {before + 1}")
        before = step.number


@rule("RB210", "no-steps", Level.WARNING, "complete")
def no_steps(document: Document) -> Iterator[Found]:
    """The runbook has no steps.

    Why: without headings `Step N` engineers cannot tell each other where they are.

    Instead: give each step a heading, such as `## Step 1: Is the alert true?`
    """
    if not document.steps and not document.is_template and document.cells:
        yield Found(0, 0, "the runbook has no steps", "write headings, such as `## Step 1: …`")


def _at(step: Step, message: str, next_step: str) -> Found:
    return in_cell(step.cell, step.line, f"step {step.number} {message}", next_step)


def _says(step: Step, pattern: re.Pattern[str]) -> bool:
    return any(pattern.search(line.text) for _, line in step.prose)


def _checklist(step: Step) -> bool:
    ticked = any(line.text.lstrip().startswith(("[ ]", "[x]")) for _, line in step.prose)
    return ticked or any("rb.checklist(" in code.body for code in step.codes)


def _last_word(code: Code) -> bool:
    return code.body.strip() == "rb.summary()"


def _commands(step: Step) -> bool:
    return any(
        block.kind in {"fence", "item", "numbered"}
        # `Run > Run All Cells` is a menu path
        or any(line.code or line.links or " > " in line.text for line in block.prose)
        for _, block in step.blocks
    )
