"""Judge programs that work on files and streams: find, sed, awk, tar, dd, tee. Pure."""

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
    """Judge find by its options that write files, and by the commands that it runs."""
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


_SED_S = re.compile(
    r"s([^\w\s])(?:\\.|(?!\1)[^\\])*\1(?:\\.|(?!\1)[^\\])*\1(?P<flags>\w*)", re.DOTALL
)
_SED_ADDRESS = re.compile(r"/(?:\\.|[^/\\])*/[IM]*")
_SED_WRITES = re.compile(r"(?:^|[;{}!,\d$\n])\s*[wWe](?:\s|$)")


def sed(call: Call) -> Judgement:
    """Judge sed: in-place editing, and commands that write files or run programs, are changes."""
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
    """Judge awk by the files that its program writes and the commands that it runs."""
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
    """Judge tar by its mode: only listing an archive is a read."""
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
    """Judge dd by the file that it writes."""
    return first_bad(written(word[3:]) for word in call.arguments if word.startswith("of="))


def tee(call: Call) -> Judgement:
    """Judge tee by the files that it writes."""
    return first_bad(written(word) for word in call.arguments if not word.startswith("-"))
