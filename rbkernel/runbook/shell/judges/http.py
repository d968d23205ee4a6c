"""Decide whether an HTTP request changes something, by method, data, output file and URL. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from urllib.parse import urlsplit

from rbkernel.runbook.shell.effect import (
    LOOKS,
    Judgement,
    changes_something,
    first_bad,
    unknown,
    written,
)
from rbkernel.runbook.shell.judges.call import Call

_SENT = re.compile(
    r"^(?:--(?:data|form|upload-file|json|post-data|post-file|body-data|body-file)(?:-\w+)?(?==|$)"
    r"|-[a-zA-Z]*?[dFTQ])"
)
_METHOD = re.compile(r"^(?:-[a-zA-Z]*?X|--request(?:=|$)|--method(?:=|$))(?P<method>.*)$")
_READS_BY = frozenset({"GET", "HEAD", "OPTIONS"})
_TO_FILE = frozenset({"-o", "--output", "-D", "--dump-header", "-c", "--cookie-jar"})
_TO_FILES = frozenset(
    ["-O", "-J", "--remote-name", "--remote-name-all", "--trace", "--trace-ascii", "--stderr"]
)
# an address that says that something is done when it is asked for
_DOES = re.compile(
    r"^(?:flush\w*|purge|reload|restart|shutdown|quit\w*|stop|start|reset|delete\w*|remove\w*|drop|kill"
    r"|trigger|enable|disable|promote|failover|rollback|deploy|clear\w*|evict|drain|cancel|pause"
    r"|resume|rebuild|refresh|execute|approve|unlock|activate|deactivate|toggle|invalidate|build"
    r"|abort|terminate|reboot|run|sync|update|create|destroy|install|unseal|seal|snapshot|compact"
    r"|gc|cleanup|clean|rotate|retry|replay|requeue|ack|silence|scale|freeze)$",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"^(?:status|stats?|state|health\w*|info|metrics|history|list|logs?|count|config|version"
    r"|ready\w*|live\w*|targets|rules|alerts)$",
    re.IGNORECASE,
)


def _does_by_get(arguments: Sequence[str]) -> str:
    """Return the part of a URL that shows that a GET changes something: `/cache/flush`,
    `?action=restart`.
    """
    for word in arguments:
        if "://" not in word and not re.match(r"^[\w.-]+(?::\d+)?/", word):
            continue
        try:
            parts = urlsplit(word if "://" in word else f"http://{word}")
        except ValueError:
            continue
        path = [one for one in re.split(r"[/.:]", parts.path) if one]
        values = re.findall(
            r"(?:action|cmd|command|do|op|operation)=(\w+)", parts.query, re.IGNORECASE
        )
        named = [] if path and _ASKS.match(path[-1]) else path
        if found := next(filter(_DOES.match, [*values, *named]), ""):
            return found
    return ""


def curl(call: Call) -> Judgement:
    """Decide whether a curl call changes anything: by method, data sent, output file and URL."""
    arguments = list(call.arguments)
    for word, following in pairwise([*arguments, ""]):
        if (found := _METHOD.match(word)) is None:
            continue
        method = (found["method"] or following).upper()
        if method not in _READS_BY:
            return changes_something(call.name, "-X", method)
    asks_with_get = {"-G", "--get", "-sG", "-Gs", "-sSG", "-GsS"} & set(arguments)
    others = (word for word in arguments if not _METHOD.match(word))
    sent = next((found[0] for word in others if (found := _SENT.match(word))), "")
    if sent and not (asks_with_get and re.search(r"d|data", sent)):
        return changes_something(call.name, sent)
    if option := call.has("-K", "--config*", "--engine*", "--libcurl*"):
        return unknown(call.name, option)
    if option := next((one for one in arguments if one.partition("=")[0] in _TO_FILES), ""):
        return unknown(call.name, option)
    if re.search(r"(?:^| )-[a-zA-Z]*O(?:[a-zA-Z]*)?(?: |$)", " ".join(arguments)):
        return unknown(call.name, "-O")
    bad = first_bad(written(target) for target in _outputs(arguments))
    if bad is not LOOKS:
        return bad
    does = _does_by_get(arguments)
    return unknown(call.name, f"…/{does}") if does else LOOKS


def _outputs(arguments: Sequence[str]) -> Iterator[str]:
    for word, following in pairwise([*arguments, ""]):
        name, equals, value = word.partition("=")
        if name in _TO_FILE:
            yield value if equals else following
        elif re.match(r"^-[a-zA-Z]*[a-zA-Z]o$", word):
            yield following
        elif attached := re.match(r"^-[a-zA-Z]*?o(?P<file>[/.\w].*)$", word):
            yield attached["file"]


def wget(call: Call) -> Judgement:
    """Decide whether a wget call changes anything: by method, data sent and output file."""
    for word, following in pairwise([*call.arguments, ""]):
        sends = re.match(r"--(?:post|body)", word)
        method = re.match(r"--method(?:=(?P<method>.*))?$", word)
        if sends or (method and (method["method"] or following).upper() not in _READS_BY):
            return changes_something(call.name, word.partition("=")[0])
    if does := _does_by_get(call.arguments):
        return unknown(call.name, f"…/{does}")
    if call.has("--spider"):
        return LOOKS
    targets = list(_wget_targets(call.arguments))
    return first_bad(map(written, targets)) if targets else unknown(call.name, "writes a file")


def _wget_targets(arguments: Sequence[str]) -> Iterator[str]:
    for word, following in pairwise([*arguments, ""]):
        found = re.match(r"^(?:-\w*?O|--output-document(?:=|$))(?P<file>.*)$", word)
        if found:
            yield found["file"] or following


def httpie(call: Call) -> Judgement:
    """Decide whether an HTTPie call changes something, by its method; `a=b` sends data."""
    words = [word for word in call.arguments if not word.startswith("-")]
    if method := next(
        (w for w in words if re.fullmatch("POST|PUT|PATCH|DELETE", w, re.IGNORECASE)), ""
    ):
        return changes_something(call.name, method.upper())
    if call.has("-d", "--download*", "-o", "--output*", "--raw*", "-f", "--form", "--session*"):
        return unknown(call.name)
    sent = any(re.search(r"^[\w-]+(?::?=|@)", word) and "://" not in word for word in words)
    does = _does_by_get(words)
    return unknown(call.name, does) if sent or does else LOOKS
