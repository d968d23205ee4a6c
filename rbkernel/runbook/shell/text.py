"""Decide from its text whether a shell command changes something or only reads. Nothing is run.

Pure. The whole syntax tree counts: every command in it, through pipes, loops, functions,
substitutions, here-documents, and what `sudo`, `ssh`, `kubectl exec` run. A text only reads
if every part is known to only read; otherwise its effect is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from rbkernel.runbook.shell import programs, secrets, syntax
from rbkernel.runbook.shell.effect import (
    LOOKS,
    Effect,
    Judgement,
    changes_something,
    tells,
    unknown,
    worst,
    written,
)
from rbkernel.runbook.shell.judges import JUDGES
from rbkernel.runbook.shell.judges.call import Call
from rbkernel.runbook.shell.programs import Program, suspicious
from rbkernel.runbook.shell.syntax import Command
from rbkernel.runbook.shell.variables import of_a_command, of_the_shell

# local programs whose names say what they do
_CHANGING_NAME = re.compile(
    r"(?:^|[-_.])(?:deploy|rollback|roll-back|restart|hotfix|migrate|rotate|delete|drop|purge|clear"
    r"|flush|failover|promote|scale|kill|restore|notify|reconcile|cleanup|clean)(?:$|[-_.])",
    re.IGNORECASE,
)
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*\+?=")
_INIT_SCRIPT = re.compile(r"^/etc/(?:rc\.d/)?init\.d/[\w.@-]+$")
_SETS_VARIABLES = frozenset({"export", "declare", "typeset", "readonly", "local"})
_MOST_WRAPPED = 12


def judged(text: str) -> Judgement:
    r"""Return the most harmful effect in a shell text, and the command that has this effect.

    >>> judged("kubectl get pods -n shop | grep -c Running").effect.value
    'only looks'
    >>> judged("cat x | frobnicate").what, judged("frobnicate; rm x").what
    ('frobnicate', 'rm')
    >>> judged("sudo -u postgres psql -c 'DROP TABLE x'").what, judged("ls )").what
    ('psql with DROP', 'text with invalid shell syntax')
    """
    return _judged(text, _MOST_WRAPPED)


def changes(text: str) -> str:
    r"""Return the command of a shell text that changes something; empty if no command is known to.

    >>> changes("# the old one first\nsudo kubectl -n shop \\\n  delete pod web-1")
    'kubectl delete'
    >>> changes("curl -s http://api/health && curl -X POST http://api/flags/on")
    'curl -X POST'
    >>> changes("kubectl apply --dry-run=client -f x.yaml"), changes("psql -c 'DROP TABLE x'")
    ('', 'psql with DROP')
    """
    found = judged(text)
    return found.what if found.effect is Effect.CHANGES else ""


def _judged(text: str, depth: int) -> Judgement:
    script = syntax.read(text)
    found = worst(_command(one, script.functions, depth) for one in script.commands)
    if script.problem and found is LOOKS:
        return unknown("text with invalid shell syntax")
    return found


def _command(command: Command, functions: frozenset[str], depth: int) -> Judgement:
    own = not command.words or command.words[0] in _SETS_VARIABLES
    assigned = of_the_shell if own else of_a_command
    further = [one for one in command.words[1:] if own and _ASSIGNMENT.match(one)]
    found = _of_words(command.words, command.stdin, depth, functions)
    return worst(
        [
            *map(assigned, [*command.assignments, *further]),
            *map(written, command.writes),
            LOOKS if found.effect is Effect.TELLS and _is_hidden(command) else found,
        ]
    )


def _is_hidden(command: Command) -> bool:
    """Tell whether nobody sees what a command prints, or only figures and facts about it."""
    if command.kept or "/dev/null" in command.writes or secrets.hidden_by(command.into):
        return True
    lists = command.words[-1:] in {("env",), ("printenv",)}
    return lists and secrets.filtered_by(command.into)


def _of_words(
    words: Sequence[str], stdin: str | None, depth: int, functions: frozenset[str] = frozenset()
) -> Judgement:
    """Return the effect of a command by its words.

    A call of a function that the text defines has no effect of its own, because the commands in the
    definition are judged anyway.
    """
    if not words or words[0] in functions:
        return LOOKS
    if depth == 0:
        return unknown(words[0])
    if _INIT_SCRIPT.match(words[0]) and list(words[1:]) == ["status"]:
        return LOOKS
    name = programs.name_of(words[0])
    program = programs.named(name)
    if program is None:
        own = PurePosixPath(words[0]).name or words[0]
        return changes_something(own) if _CHANGING_NAME.search(own) else unknown(own)
    call = Call(
        name=name,
        arguments=list(words[1:]),
        program=program,
        stdin=stdin,
        of_words=lambda inner: _of_words(inner, stdin, depth - 1),
        of_text=lambda text: _judged(text, depth - 1),
    )
    found = _program(call)
    said = secrets.printed(name, call.arguments) if found is LOOKS else ""
    return tells(said) if said else found


def _program(call: Call) -> Judgement:
    program, arguments = call.program, call.arguments
    if list(arguments) in (["--help"], ["--version"]):
        return LOOKS
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if program.dry and program.option_in(program.dry, own):
        odd = _refused(program, own)
        return unknown(call.name, odd) if odd else LOOKS
    if program.judge and (found := JUDGES[program.judge](call)) is not None:
        return found
    if program.runs:
        return _runs(call, program, arguments, call.name)
    if program.runs_by and (inner := _run_by(call)) is not None:
        return inner
    if option := program.option_in(program.writes, arguments):
        return changes_something(call.name, option)
    found = _listed(call)
    if found is LOOKS and (option := suspicious(own)):
        return unknown(call.name, option)
    return found


def _listed(call: Call) -> Judgement:
    """Return the effect of a call by the entry of its program in `programs.toml`."""
    program, arguments, name = call.program, call.arguments, call.name
    words = program.words(arguments)
    if program.most is not None and len(words) > program.most:
        return changes_something(name, f"writes {words[program.most]}")
    if program.always:
        return LOOKS if program.always == "reads" else changes_something(name)
    said, exact = program.phrase(program.changes, words), program.phrase(program.exact_reads, words)
    if said and len(exact) <= len(said):
        return changes_something(name, said)
    if program.reads_with and program.option_in(program.reads_with, arguments) and not words:
        return LOOKS
    if not arguments or (not words and program.bare and program.only is None):
        return LOOKS if program.bare else unknown(name)
    if program.needs and program.option_in(program.needs, arguments):
        return LOOKS
    if program.only is not None:
        return _only(call, program.only)
    other = program.words(arguments, unknown_takes_value=True)
    if program.phrase(program.reads, words) and program.phrase(program.reads, other):
        return LOOKS
    return unknown(name, *words[:1])


def _only(call: Call, only: Sequence[str]) -> Judgement:
    rest = list(call.arguments)
    while rest:
        word = rest.pop(0)
        if call.program.takes_value(word):
            rest = rest[1:]
        elif not call.program.option_in(only, [word]) or _more_than(only, word):
            return changes_something(call.name, word)
    return LOOKS


def _more_than(only: Sequence[str], word: str) -> bool:
    """Tell whether combined options hold a forbidden letter: `-ls` if only `-l` is allowed."""
    letters = {one[1] for one in only if re.fullmatch(r"-\w", one)}
    cluster = re.fullmatch(r"-(\w{2,})", word)
    return cluster is not None and word not in only and not set(cluster[1]) <= letters


def _runs(call: Call, how: Program, arguments: Sequence[str], named: str) -> Judgement:
    """Return the effect of the command that a program runs, as in `sudo` or `ssh host`."""
    options, rest, odd = how.after_options(arguments)
    if odd or (odd := _refused(how, options)):
        return unknown(named, odd)
    if how.reads_with and how.option_in(how.reads_with, options):
        return LOOKS
    rest = rest[how.skip :]
    if how.skip:
        more, rest, odd = how.after_options(rest)
        if odd or (odd := _refused(how, more)):
            return unknown(named, odd)
    rest = list(rest)
    assigned: list[Judgement] = []
    while rest and _ASSIGNMENT.match(rest[0]):
        assigned.append(of_a_command(rest.pop(0)))
    if not rest:
        if how.runs == "text" and call.stdin is not None:
            return call.of_text(call.stdin)
        return worst([*assigned, LOOKS if how.bare else unknown(named)])
    inner = call.of_text(" ".join(rest)) if how.runs == "text" else call.of_words(rest)
    if call.name == "xargs":
        inner = call.of_words([*rest, "{}"])
    return worst([*assigned, inner])


def _refused(how: Program, options: Sequence[str]) -> str:
    """Return an option (or its value) that makes it unknown which command runs."""
    return how.option_in(how.refuses, options) if how.refuses else ""


def _run_by(call: Call) -> Judgement | None:
    """Return the effect of a sub-command that runs another command; None if it runs none."""
    words = call.program.words(call.arguments)
    for phrase, how in call.program.runs_by.items():
        if tuple(words[: len(phrase)]) == phrase:
            rest = list(call.arguments)
            for word in phrase:
                rest = rest[rest.index(word) + 1 :]
            return _runs(call, how, rest, " ".join([call.name, *phrase]))
    return None
