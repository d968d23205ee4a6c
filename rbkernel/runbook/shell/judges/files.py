"""Decide whether find, sed, awk, tar, dd, tee or a pager change something. Pure."""

from __future__ import annotations

import re

from rbkernel.runbook.shell.effect import (
    LOOKS,
    Judgement,
    changes_something,
    first_bad,
    unknown,
    written,
)
from rbkernel.runbook.shell.judges.call import Call


def find(call: Call) -> Judgement:
    """Decide whether find changes something: by its output files and the commands that it runs."""
    for number, word in enumerate(call.arguments):
        if word in {"-delete", "-fprint", "-fprint0", "-fprintf", "-fls"}:
            return changes_something(call.name, word)
        if word in {"-exec", "-execdir", "-ok", "-okdir"}:
            inner = list(call.arguments[number + 1 :])
            ends = [at for at, one in enumerate(inner) if one in {";", "+"}]
            found = call.of_words(inner[: ends[0]] if ends else inner)
            if found is not LOOKS:
                return found._replace(what=f"{call.name} {word}")
    return LOOKS


# a line, the end, a search: nothing that less could run
_LESS_BEGINS = re.compile(r"^\+\+?(?:\d*[gGFp%]?|[/?][^\x00-\x1f]*)$")


def less(call: Call) -> Judgement | None:
    """Decide whether less changes something, by its start commands and key files.

    The effect is unknown if one of them may run a program; None if there are none.
    """
    runs = next((one for one in call.arguments if re.match(r"\+|--cmd\b", one)), "")
    if runs and not _LESS_BEGINS.match(runs):
        return unknown(call.name, runs)
    keys = call.has("-k", "--lesskey*")
    return unknown(call.name, keys) if keys else None


def man(call: Call) -> Judgement | None:
    """Decide whether man changes something, by the pager, browser and configuration of the call.

    The effect is unknown if the call names one of them, else None.
    """
    runs = call.has("-P", "--pager*", "-H", "--html*", "-C", "--config-file*", "-p", "--preproc*")
    return unknown(call.name, runs) if runs else None


_SED_S = re.compile(
    r"s([^\w\s])(?:\\.|(?!\1)[^\\])*\1(?:\\.|(?!\1)[^\\])*\1(?P<flags>\w*)", re.DOTALL
)
_SED_ADDRESS = re.compile(r"/(?:\\.|[^/\\])*/[IM]*")
_SED_WRITES = re.compile(r"(?:^|[;{}!,\d$\n])\s*[wWe](?:\s|$)")


def sed(call: Call) -> Judgement:
    """Decide whether sed changes something: edits in place, writes files or runs programs."""
    if option := call.has("-i", "--in-place*"):
        return changes_something(call.name, option)
    if option := call.has("-f", "--file*"):
        return unknown(call.name, option)
    for script in call.arguments:
        flags = "".join(found["flags"] for found in _SED_S.finditer(script))
        rest = _SED_ADDRESS.sub("", _SED_S.sub("", script))
        if re.search("[we]", flags) or (_SED_WRITES.search(rest) and not rest.startswith("-")):
            return changes_something(call.name, script)
    return LOOKS


_AWK_REGEX = re.compile(r"(?P<before>^|[~(,;{!&|])\s*/(?:\\.|[^/\\\n])*/")
_AWK_DOES = re.compile(r"\bsystem\s*\(|\bgetline\b|(?<!\|)\|(?!\|)|\bprintf?\b[^;}\n]*>|@\w+")


def awk(call: Call) -> Judgement:
    """Decide whether awk changes something: by the files it writes and the commands it runs."""
    if option := call.has("-f", "--file*", "-i", "--include*", "-E", "-l", "--load*"):
        return unknown(call.name, option)
    rest = list(call.arguments)
    while rest and rest[0].startswith("-"):
        rest = rest[2:] if rest[0] in {"-F", "-v", "--assign"} else rest[1:]
    program = _AWK_REGEX.sub(r"\g<before>", rest[0] if rest else "")
    program = re.sub(r'"(?:\\.|[^"\\])*"', '""', program)
    found = _AWK_DOES.search(program)
    return changes_something(call.name, f"with {found[0].strip()}") if found else LOOKS


def tar(call: Call) -> Judgement:
    """Decide whether tar changes something: only listing an archive is a read."""
    does = [
        word for word in call.arguments if re.match(r"--(?:to-command|use-comp|check|rsh)", word)
    ]
    first = call.arguments[0] if call.arguments else ""
    letters = "" if first.startswith("--") else first.lstrip("-")
    lists = "t" in letters or call.has("--list", "-t")
    if does or not lists or set(letters) & set("cxruA") or call.has("--delete", "--extract", "-x"):
        return changes_something(call.name, first)
    return LOOKS


def dd(call: Call) -> Judgement:
    """Decide whether dd changes something, by the file that it writes."""
    return first_bad(written(word[3:]) for word in call.arguments if word.startswith("of="))


def tee(call: Call) -> Judgement:
    """Decide whether tee changes something, by the files that it writes."""
    return first_bad(written(word) for word in call.arguments if not word.startswith("-"))
