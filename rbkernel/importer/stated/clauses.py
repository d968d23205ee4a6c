"""Read a comment of one or more clauses: "0, otherwise page", "0 is fine, over 9 is not". Pure.

Each clause states what is right, what is wrong, or what follows from it. A comment with a clause
that is none of these states nothing: it may change what the others mean.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rbkernel.importer.stated import grammar, phrases, values
from rbkernel.importer.stated.expectation import Expectation
from rbkernel.importer.stated.grammar import DOUBT, NUMBER
from rbkernel.runbook.quantities import Threshold

_NOTHING = Expectation()


@dataclass(frozen=True, kw_only=True)
class _Clause:
    """What a clause states; a clause that states nothing says what follows from the others.

    ``bare`` says that it is a value alone, and ``loose`` that another clause must say that it is
    right: "more than 5 is fine". ``follows`` is "else" or "blame" for what follows from the others.
    """

    right: Expectation = _NOTHING
    wrong: Threshold | None = None
    bare: bool = False
    loose: bool = False
    follows: str = ""
    other: bool = False


def read(line: str, *, beside: bool = False) -> Expectation:
    """Return the answer that a comment expects; ``beside`` accepts a bare value, such as "active".

    >>> read("anything over 300 is bad, up to 30 is fine").limits[0][1].value
    300.0
    >>> read("0 means all of them are up").limits[0][1].value, bool(read("0 on Mondays"))
    (0.0, False)
    >>> read("must say up").answers, read("enabled", beside=True).answers, read("enabled").answers
    ('up', 'enabled', '')
    >>> bool(read("0 is fine, but usually it is about 5"))
    False
    """
    parts = [part.strip(" .!:") for part in phrases.BREAK.split(_canonical(line))]
    parts = _without_title([part for part in parts if part])
    found = [_clause(part, beside=beside) for part in parts]
    known = [one for one in found if one]
    if not known or len(known) < len(found):
        return _NOTHING
    if known[0].bare and not beside and len(known) < 2:
        return _NOTHING
    return _together(known)


def _without_title(parts: Sequence[str]) -> list[str]:
    """Return the clauses without what they are about: "Percentage in use. Keep it under 80."

    >>> _without_title(["Deadlocks: 0 is good"]), _without_title(["On Mondays: 0 is good"])
    (['0 is good'], ['On Mondays: 0 is good'])
    """
    first, *rest = parts or [""]
    title, colon, said = first.partition(": ")
    if _is_title(title) and colon:
        return [said, *rest]
    explicit = rest and re.match(rf"{phrases.MUST}\b", rest[0], re.IGNORECASE)
    return rest if explicit and _is_title(first) else list(parts)


def _is_title(words: str) -> bool:
    known = re.fullmatch(
        rf"(?:{phrases.GOOD}|{phrases.BAD}|{phrases.ACTS}|{phrases.MUST}|warn(?:ing)?|crit)",
        words,
        re.IGNORECASE,
    )
    return (
        not known
        and bool(phrases.TITLE.fullmatch(words))
        and not phrases.CIRCUMSTANCE.search(words)
    )


def _canonical(line: str) -> str:
    """Return a comment in the words that `grammar` reads."""

    def digit(found: re.Match[str]) -> str:
        return phrases.DIGITS[found[0].lower()]

    line = phrases.WORDS_OF_NUMBER.sub(digit, line.strip())
    for pattern, words in phrases.OTHER_WORDS:
        line = pattern.sub(words, line)
    return line


def _clause(part: str, *, beside: bool) -> _Clause | None:
    """Return what a clause states; None if it is not understood."""
    for known in (_other_than, _compared, _must, _nothing, _good, _bad, _means):
        if found := known(part):
            return found
    if follows := _follows(part):
        return _Clause(follows=follows)
    if phrases.A_FEW.fullmatch(part) or phrases.BETWEEN_LEVELS.fullmatch(part):
        return _Clause()
    return _bare(part, beside=beside)


def _follows(part: str) -> str:
    """Tell what a clause says that only says what follows, such as "otherwise the slot is lost".

    "else" if it is about all other values, "blame" if it only says that something is wrong.
    """
    if phrases.FIGURE.search(part) or phrases.BENIGN.search(part):
        return ""
    negative = phrases.NEGATIVE.search(part) is not None
    found = phrases.FOLLOWS.fullmatch(part)
    if found and (found["else"] or (found["or"] and negative)):
        return "else"
    if found and not found["or"]:
        return "blame"
    return "blame" if negative and len(part.split()) < 7 else ""


def _other_than(part: str) -> _Clause | None:
    """Read "anything other than 0 means that it failed"."""
    found = phrases.OTHER.fullmatch(part)
    if found is None:
        return None
    rest = found["rest"] or ""
    if phrases.BENIGN.search(rest) or phrases.FIGURE.search(rest):
        return None
    stated = _right(found["value"].rstrip(":,") if found["value"] else "0")
    return replace(stated, other=True) if stated else None


def _compared(part: str) -> _Clause | None:
    """Read "more than 9 is bad", "below 5 is fine", "page if it exceeds 9", "> 9: too slow"."""
    compared = list(grammar.comparisons(part))
    if len(compared) != 1 or DOUBT.search(re.sub(r"\bbetween\b", "", part)):
        return None
    [one] = compared
    before, behind = part[: one.start].strip(), part[one.end :].strip()
    level = phrases.LEVEL.fullmatch(before)
    if one.promise and level and not behind:
        # "OK up to 20, WARN up to 100": beyond the warning it is critical
        return _wrong(one, right=True) if not level["acts"] else None
    if phrases.ACTS_IF.fullmatch(before) or (level and level["acts"] and not one.promise):
        return _wrong(one, right=False) if not behind else None
    if not before or phrases.ABOUT.fullmatch(before):
        return _said_behind(one, behind)
    if phrases.MUST_AT.fullmatch(before):
        limit = one.threshold(right=True)
        explains = not behind or re.fullmatch(r"\(?(?:bytes|rows)\)?", behind)
        return _Clause(right=Expectation(limits=(("", limit),))) if limit and explains else None
    return None


def _said_behind(one: grammar.Comparison, behind: str) -> _Clause | None:
    """Return what the words behind a comparison make of it."""
    if not behind:
        limit = one.threshold(right=True)
        right = Expectation(limits=(("", limit),)) if limit else _NOTHING
        return _Clause(right=right, loose=not one.promise) if limit else None
    if re.fullmatch(rf"(?:{phrases.IS}\s*)?{phrases.GOOD}", behind, re.IGNORECASE):
        limit = one.threshold(right=True)
        right = Expectation(limits=(("", limit),)) if limit else _NOTHING
        return _Clause(right=right, loose=one.above) if limit else None
    said = re.fullmatch(
        rf"(?:{phrases.IS}\s*)?(?P<bad>{phrases.BAD}|{phrases.ACTS})|{phrases.IS}\s*(?P<rest>.+)",
        behind,
        re.IGNORECASE,
    )
    if said is None or phrases.FIGURE.search(behind):
        return None
    rest = said["rest"] or ""
    bad = said["bad"] or (phrases.NEGATIVE.search(rest) and not phrases.BENIGN.search(rest))
    bad = bad and not grammar.NEGATED.search(rest)
    return _wrong(one, right=False) if bad and not one.promise else None


def _must(part: str) -> _Clause | None:
    """Read "has to be 0", "must say up", "we want 3", "should not print `failed`"."""
    if found := phrases.MUST_NOT.fullmatch(part):
        if re.fullmatch(r"any(?:thing| \w+)?", found["value"], re.IGNORECASE):
            return _Clause(right=Expectation(empty=True))
        text = re.fullmatch(r"[`\"'](?P<text>[\w][\w .:-]{2,40})[`\"']", found["value"])
        return _Clause(right=Expectation(wrong=text["text"])) if text else None
    found = phrases.MUST_BE.fullmatch(part)
    if found and (text := phrases.QUOTED_WORDS.fullmatch(found["value"])):
        return _Clause(right=Expectation(contains=text["text"]))
    return _right(found["value"]) if found else None


def _nothing(part: str) -> _Clause | None:
    """Read "prints nothing", and "empty" if another clause says what else would mean."""
    if part.lower() in {"empty", "nothing", "no output", "no rows"}:
        return _Clause(right=Expectation(empty=True), bare=True, loose=True)
    found = phrases.PRINTS_NOTHING.fullmatch(part)
    return _Clause(right=Expectation(empty=True)) if found else None


def _good(part: str) -> _Clause | None:
    """Read "0 is fine", "zero rows = good", "healthy: 3", "none allowed"."""
    for pattern in (phrases.IS_GOOD, phrases.GOOD_IS, phrases.WHEN_GOOD):
        if (found := pattern.fullmatch(part)) and (stated := _right(found["value"])):
            return stated
    return None


def _bad(part: str) -> _Clause | None:
    """Read "true is bad"."""
    found = phrases.IS_BAD.fullmatch(part)
    if found is None:
        return None
    value = phrases.BOOLEAN.get(found["value"].lower(), found["value"].lower())
    return _Clause(right=Expectation(answers=phrases.OPPOSITE[value]))


def _means(part: str) -> _Clause | None:
    """Read "0 means that all of them are up"; not "active means that the old image runs"."""
    found = phrases.MEANS.fullmatch(part)
    if (
        found is None
        or phrases.NEGATIVE.search(found["rest"])
        or phrases.FIGURE.search(found["rest"])
    ):
        return None
    good = re.search(
        r"\b(?:all|every\w*|each)\b.*\b(?:up|ok|fine|healthy|good|running|in sync|well|done"
        r"|consistent)$",
        found["rest"],
        re.IGNORECASE,
    )
    return _right(found["value"]) if good else None


def _right(value: str) -> _Clause | None:
    """Return the clause that calls a value right; None if no program can compare the value."""
    value = value.strip()
    value = re.sub(r"^(?:exactly|precisely|equal to|a|an)\s+", "", value, flags=re.IGNORECASE)
    value = re.sub(r"^(?:none)$", "0", value, flags=re.IGNORECASE)
    value = re.sub(
        rf"^({NUMBER}|between {NUMBER} and {NUMBER}|{NUMBER}-{NUMBER})\s+"
        r"(?!ms\b|rows?\b|minutes?|hours?|seconds?|days?|bytes|percent)[a-z]+s$",
        r"\1",
        value,
    )
    value = re.sub(r"^0\.0+$", "0", value)
    bare = value.strip("`\"'")
    found = values.of_figure(bare)
    if found is None:
        bare = phrases.BOOLEAN.get(bare, bare)
        quoted = bare != value and value[:1] in "`\"'"
        known = quoted or values.STATE.fullmatch(bare) or _is_state(bare)
        found = values.of_value(value if quoted else bare) if known else None
    return _Clause(right=found) if found else None


def _bare(part: str, *, beside: bool) -> _Clause | None:
    """Read a value alone: a figure, a state, what a program prints if all is well."""
    if phrases.SAYINGS.fullmatch(part.strip("`\"'")):
        return _Clause(right=Expectation(contains=part.strip("`\"' .")), bare=True)
    if re.fullmatch(rf"(?:exactly {NUMBER}|between .+)(?: [a-z]+s)?", part, re.IGNORECASE):
        return _right(part) if beside else None
    if beside and (phrases.KEY_AND_STATE.fullmatch(part) or part.startswith("{")):
        right = values.of_value(part) if part.startswith("{") else Expectation(answers=part)
        return _Clause(right=right, bare=True) if right else None
    if re.fullmatch(rf"{NUMBER}(?: [a-z]+s)?", part) and beside:
        stated = _right(part)
        return replace(stated, bare=True) if stated else None
    if _is_state(part) or (part in phrases.BOOLEAN and beside) or values.STATE.fullmatch(part):
        stated = _right(part)
        return replace(stated, bare=True) if stated else None
    return None


def _is_state(part: str) -> bool:
    return bool(phrases.BARE_STATE.fullmatch(part)) and not phrases.NO_STATE.fullmatch(part)


def _wrong(one: grammar.Comparison, *, right: bool) -> _Clause | None:
    limit = one.threshold(right=right)
    return _Clause(wrong=limit) if limit else None


def _together(known: Sequence[_Clause]) -> Expectation:
    """Return what several clauses expect; what is right is a warning if they also say wrong."""
    right = [one.right for one in known if one.right]
    wrong = [one.wrong for one in known if one.wrong]
    others = any(one.follows == "else" for one in known)
    blamed = any(one.follows == "blame" for one in known)
    if len(right) > 1 or len(wrong) > 1:
        return _NOTHING
    if blamed and not wrong and not others and not any(one.other for one in known):
        return _NOTHING  # "0, stuck": is 0 the figure of a stuck queue?
    if any(one.loose for one in known) and not (wrong or others):
        return _NOTHING
    if right and known[0].bare and _is_an_example(right[0], known):
        return _NOTHING
    if not wrong:
        return right[0] if right else _NOTHING
    return _two_levels(right[0] if right else _NOTHING, wrong[0])


def _two_levels(right: Expectation, wrong: Threshold) -> Expectation:
    """Return what is wrong as critical, and what is only not right as a warning."""
    critical = (("", wrong),)
    if not right:
        return Expectation(limits=critical)
    mild = [limit for _, limit in right.limits]
    if len(mild) != 1 or right.of_output or mild[0].below != wrong.below:
        return _NOTHING
    first, last = mild[0].value, wrong.value
    if (first < last) if mild[0].below else (first > last):
        return _NOTHING
    if first == last:
        return Expectation(limits=critical)
    return Expectation(limits=critical, warnings=(("", mild[0]),))


def _is_an_example(right: Expectation, known: Sequence[_Clause]) -> bool:
    """Tell whether a bare figure may be only what the author saw: nothing says that it is right."""
    figures = [limit.value for _, limit in right.limits]
    return bool(figures) and figures != [0] and len(known) < 2
