"""Find secrets that follow a keyword without ``=`` or ``:``, in settings and protocols.

Supported are netrc, Redis, HAProxy, strongSwan, network devices, NetworkManager, FTP and POP3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rbkernel.redact.keyvalue import is_no_secret, is_state

_VALUE = r"(?:\"([^\"\n]{1,256}+)\"|'([^'\n]{1,256}+)'|([^\s\"';]{1,256}+))"
_START = r"(?:^|[\"'])[ \t]*"
_END = r"(?=;?[ \t]*(?:$|[\r\n\"'\]}),]))"
_GAP = r"[ \t]{1,20}"
_WORD = rf"\S{{1,64}}+{_GAP}"
_KIND = rf"(?:\d{_GAP})?"
# a lower-case word in each directive, the expression before the value, and the one after it
_DIRECTIVES = tuple(
    (word, re.compile(expression + _VALUE + end, re.IGNORECASE | re.MULTILINE))
    for word, expression, end in (
        # netrc
        ("login", r"\blogin\s{1,20}+\S{1,128}+\s{1,20}+password\s{1,20}+", ""),
        ("machine", rf"\bmachine{_GAP}\S{{1,128}}+{_GAP}password{_GAP}", ""),
        # Redis
        ("requirepass", rf"\brequirepass{_GAP}", ""),
        ("masterauth", rf"\bmasterauth{_GAP}", ""),
        ("setuser", rf"\bsetuser{_GAP}{_WORD}[^\n]{{0,80}}?>(?=[^\s>])", ""),
        ("user ", rf"{_START}user{_GAP}{_WORD}o(?:n|ff){_GAP}[^\n]{{0,80}}?>(?=[^\s>])", ""),
        ("hello ", rf"\bhello{_GAP}[23]{_GAP}auth{_GAP}{_WORD}", ""),
        # HAProxy
        ("stats", rf"{_START}stats{_GAP}auth{_GAP}[^\s:]{{1,64}}+:", _END),
        ("user ", rf"{_START}user{_GAP}{_WORD}(?:insecure-)?password{_GAP}", _END),
        # strongSwan
        (" psk", rf"(?:^|[ \t\"']):{_GAP}(?:PSK|EAP|XAUTH){_GAP}(?=\")", ""),
        # network devices
        ("enable ", rf"{_START}enable{_GAP}(?:password|secret){_GAP}{_KIND}", _END),
        (
            "username ",
            rf"{_START}username{_GAP}{_WORD}[^\n]{{0,40}}?\b(?:password|secret){_GAP}{_KIND}",
            _END,
        ),
        ("snmp-server", rf"\bsnmp-server{_GAP}community{_GAP}", ""),
        ("s-server", rf"\b(?:tacacs|radius)-server[ \t][^\n]{{0,60}}?\bkey{_GAP}{_KIND}", _END),
        # NetworkManager
        ("nmcli", rf"\bnmcli\b[^\n|;]{{1,120}}?[ \t]password{_GAP}", ""),
        # FTP and POP3
        (
            "pass ",
            rf"\bUSER{_GAP}\S{{1,64}}+[ \t]*(?:\r?\n[^\n]{{0,120}}){{1,3}}?\bPASS{_GAP}",
            _END,
        ),
    )
)
NEEDLES = tuple(dict.fromkeys(word for word, _ in _DIRECTIVES))


def directives(text: str) -> Iterator[tuple[int, int]]:
    """Find the secrets after keywords, as in a netrc file.

    >>> text = "machine db1 login bob password sesame"
    >>> [text[start:end] for start, end in directives(text)]
    ['sesame']
    """
    lower = text.lower()
    for word, expression in _DIRECTIVES:
        for match in expression.finditer(text) if word in lower else ():
            number = match.lastindex or 0
            value = match[number]
            if number < 3 or not (is_no_secret(value) or is_state(value)):
                yield match.span(number)
