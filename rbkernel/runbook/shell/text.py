"""Shell text, read without a shell: does it change something, or only look?

Pure, and made for people's runbooks: it knows the commands that operations people write, through
pipes, lists, `sudo`, continuation lines and here-documents. A program that it does not know is
unknown, and never taken for one that only looks. What it finds is proposed, never run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import PurePosixPath

from rbkernel.runbook.shell import table
from rbkernel.runbook.shell.programs import (
    LOOKS,
    Effect,
    Judgement,
    Words,
    changes_something,
    unknown,
    without_options,
    written,
)

_PLACEHOLDER = re.compile(r"‹[^›]*›|(?<!<)<[A-Za-z][\w .|/-]*>|\[[A-Za-z][\w .|/-]*\]")
_PUNCTUATION = "();<>|&`\n"
_SEPARATORS = re.compile(r"^(?:[;&|()`\n]+|[<>]\(+)$")
_QUOTED_OR_COMMENT = re.compile(
    r"""("(?:\\.|[^"\\])*"|'[^']*'|\\.)|(?:^|(?<=[\s;&|()]))\#[^\n]*""", re.DOTALL
)
_DOUBLE_QUOTED = re.compile(r"""'[^']*'|"((?:\\.|[^"\\])*)\"""", re.DOTALL)
_SUBSTITUTED = re.compile(r"\$\((?!\()([^)]*)|`([^`]*)", re.DOTALL)
_HERE = re.compile(
    r"<<-?[ \t]*(['\"]?)(\w+)\1(?P<rest>[^\n]*)\n(?P<text>.*?)(?:^[ \t]*\2[ \t]*$|\Z)",
    re.DOTALL | re.MULTILINE,
)
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
_WRITES = re.compile(r"^(?:>>|>\||&>>?|>&?)$")
# they run what follows them; the number is how many words after their options belong to them
_WRAPPERS = {
    **dict.fromkeys(["sudo", "env", "time", "nohup", "xargs", "doas", "nice", "command"], 0),
    "timeout": 1,
}
_KEYWORDS = frozenset({"do", "then", "else", "{", "!", "$", "while", "until", "if", "elif"})
_SHELLS = frozenset({"bash", "sh", "zsh", "su"})
_ON_HOST = {"watch": 0, "eval": 0, "ssh": 1}


def judged(text: str) -> Judgement:
    r"""Say what a shell text does, and the worst of its commands.

    >>> judged("kubectl get pods -n shop | grep -c Running").effect.value
    'only looks'
    >>> judged("cat x | frobnicate").what, judged("frobnicate; rm x").what
    ('frobnicate', 'rm')
    """
    rank = list(Effect).index
    inner = (judged(one) for one in _substituted(text))
    found = [*map(_judged, commands(text)), *inner]
    return max(found, key=lambda one: rank(one.effect), default=LOOKS)


def changes(text: str) -> str:
    r"""Say which command of a shell text changes something; empty when none is known to.

    >>> changes("# the old one first\nsudo kubectl -n shop \\\n  delete pod web-1")
    'kubectl delete'
    >>> changes("curl -s http://api/health && curl -X POST http://api/flags/on")
    'curl -X POST'
    >>> changes("kubectl apply --dry-run=client -f x.yaml"), changes("psql -c 'DROP TABLE x'")
    ('', 'psql with DROP')
    """
    found = judged(text)
    return found.what if found.effect is Effect.CHANGES else ""


def commands(text: str) -> Iterator[Words]:
    """Yield the words of each simple command, without wrappers such as `sudo`.

    >>> list(commands("FOO=1 sudo -u postgres psql -c 'a; b' | wc -l; [command]"))
    [['psql', '-c', 'a; b'], ['wc', '-l'], ['placeholder']]
    """
    simple: Words = []
    for word in [*_words(_plain(text)), ";"]:
        if not _SEPARATORS.match(word):
            simple.append(word)
            continue
        if bare := _unwrapped(simple):
            yield bare
        simple = []


def _plain(text: str) -> str:
    """Return the text without placeholders, comments, continuation lines and here-documents."""
    text = _HERE.sub(lambda m: f"<<< {shlex.quote(m['text'])}{m['rest']}\n", text)
    text = _PLACEHOLDER.sub("placeholder", text).replace("\\\n", " ")
    return _QUOTED_OR_COMMENT.sub(lambda found: found[1] or "", text)


def _words(text: str) -> Words:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_PUNCTUATION)
    lexer.whitespace_split, lexer.whitespace, lexer.commenters = True, " \t\r", ""
    try:
        return list(lexer)
    except ValueError:  # a quote that does not end
        bare = re.sub(r"([;&|()<>\n`]+)", r" \1 ", text.replace("'", " ").replace('"', " "))
        return [word.strip(" ") for word in re.split(r"[ \t\r]+", bare) if word.strip(" ")]


def _substituted(text: str) -> Iterator[str]:
    """Yield the commands inside double quotes: "today $(date)"."""
    for quoted in _DOUBLE_QUOTED.findall(_plain(text)):
        for dollar, tick in _SUBSTITUTED.findall(quoted):
            yield dollar or tick


def _unwrapped(words: Words) -> Words:
    while words:
        name = PurePosixPath(words[0]).name
        if _ASSIGNMENT.match(words[0]) or words[0] in _KEYWORDS:
            words = words[1:]
        elif name in _WRAPPERS:
            words = without_options(words[1:])[_WRAPPERS[name] :]
        else:
            break
    return words


def _judged(words: Words) -> Judgement:
    for sign, target in pairwise(words):
        if _WRITES.match(sign) and written(target) is not LOOKS:
            return written(target)
    name, arguments = PurePosixPath(words[0]).name, words[1:]
    if name in _SHELLS:
        return _by_shell(name, arguments)
    if name in _ON_HOST:
        text = " ".join(without_options(arguments)[_ON_HOST[name] :])
        return judged(text.replace("<<< ", "")) if text else unknown(name)
    if name == "find":
        return _find(arguments)
    return table.program(name, arguments)


def _by_shell(name: str, arguments: Words) -> Judgement:
    for option, text in pairwise(arguments):
        if option == "<<<" or re.match(r"^-\w*c$", option):
            return judged(text)
    return unknown(name, *arguments[:1])


def _find(arguments: Words) -> Judgement:
    for number, word in enumerate(arguments):
        if word in {"-delete", "-fprint", "-fprintf", "-fls"}:
            return changes_something("find", word)
        if word in {"-exec", "-execdir", "-ok", "-okdir"}:
            inner = _judged(arguments[number + 1 :] or ["placeholder"])
            return inner if inner.effect is Effect.LOOKS else inner._replace(what=f"find {word}")
    return LOOKS
