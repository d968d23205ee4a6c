"""Find secrets separated from their names, as in Kubernetes, Terraform, XML, csh and tables.

In each expression the first group is the name, and the last group that matched is the value.
`rbkernel.redact.names` decides whether the name is the name of a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rbkernel.redact.keyvalue import is_no_secret, is_state
from rbkernel.redact.names import is_login_variable, is_secret

NEEDLES = ("pass", "secret", "token", "_key", "-key", "ikey", "skey", "pwd", "pw", "psk", "_auth")
_NAME = r"([\w./-]{2,80}+)"
_QUOTED = r"\"([^\"\n]{1,256}+)\"|'([^'\n]{1,256}+)'"
_LABEL = r"(?:name|key|field|variable|parameter_?key|option_?name)"
_CONTENT = r"(?:(?:parameter_?|secret_?|string_?)?value)"
# texts between name and value: blanks, a comma, a remark, other fields that hold a word
_BETWEEN = (
    r"[\s,]{1,60}+(?:#[^\n]{0,200}+\n\s{0,60}+)?"
    rf"(?:[\"']?(?!{_CONTENT})\w{{1,20}}[\"']?:[ ]{{0,3}}[\"']?[\w.-]{{1,40}}+[\"']?[\s,]{{1,60}}+)"
    r"{0,2}"
)
_OF_YAML = r"(?:[>|][+-]?\d?[ \t]*\n[ \t]*)?"
# words before a name and its value, as commands and settings files have them
_VERBS = (
    r"setenv|setx|set -\w{1,4}|\\+set|ENV|ARG|fastcgi_param|php_(?:admin_)?value|configure set"
    r"|kv put|put|secret set"
)


def _pair(words: str, *expression: str) -> tuple[list[str], re.Pattern[str]]:
    """Return search words, and the compiled regular expression.

    Every match of the expression contains at least one of the words, so a text without these words
    need not be searched.
    """
    return words.split(","), re.compile("".join(expression), re.IGNORECASE | re.MULTILINE)


_PAIRS = (
    _pair(
        "setenv ,setx ,set -,env ,arg ,\\set ,fastcgi_param ,php_,set ,put ",
        rf"(?:^|[\s\"'])(?:{_VERBS})[ \t]{{1,8}}(?:/m )?{_NAME}[ \t]{{1,8}}(?:--?b(?:ody)?[ =]?)?",
        rf"(?:{_QUOTED}|([^\s\"'=;]{{3,256}}+)(?=;?[ \t]*(?:[\"'\r\n]|$)))",
    ),
    _pair(
        "value",
        rf"(?<![\w.-]){_LABEL}[\"']?\s{{0,3}}:\s{{0,3}}[\"']?{_NAME}[\"']?{_BETWEEN}",
        rf"[\"']?{_CONTENT}[\"']?\s{{0,3}}:[ \t]{{0,8}}{_OF_YAML}",
        rf"(?:{_QUOTED}|([^\s\"'}}\]&\\][^\n\"'}}]{{1,255}}+))",
    ),
    _pair(
        "value",
        rf"(?<![\w.-]){_LABEL}={_NAME},{_CONTENT}=(?:{_QUOTED}|([^\s\"',]{{3,256}}+))",
    ),
    _pair(
        "variable ",
        rf"\bvariable\s{{1,4}}\"{_NAME}\"\s{{0,4}}\{{[^{{}}]{{0,400}}?",
        r"\bdefault\s{0,9}=\s{0,9}\"([^\"\n]{1,256}+)\"",
    ),
    _pair(
        "</",
        rf"<[\w:.-]{{1,40}}\s[^<>]{{0,200}}?\b(?:key|name|id)=\\?[\"']{_NAME}\\?[\"']",
        r"[^<>]{0,200}>([^<>\n]{1,256}+)</",
    ),
    _pair(
        "</",
        rf"<{_LABEL}>\s{{0,20}}{_NAME}\s{{0,20}}</[\w-]{{1,20}}>(?:\s|\\[rn]){{0,80}}+",
        r"<value>([^<>\n]{1,256}+)</",
    ),
    # default values of variables, in shells, Spring, Ruby and JavaScript
    _pair(
        "${",
        rf"\$\{{{_NAME}:?[=-]?(?<=[:=-])([^}}\s\"'$?+:=-][^}}\n\"'$]{{0,255}}+)\}}",
    ),
    _pair(
        "||,or ,??",
        rf"(?-i:\b([A-Z][A-Z0-9_]{{2,80}}+))[\"'\])]{{0,4}} (?:\|\||or|\?\?) (?:{_QUOTED})",
    ),
    _pair(
        "--name",
        rf"--name[ =]{_NAME}(?: --[\w-]{{1,20}}(?:[ =][\w-]{{1,40}}+)?){{0,3}} --value[ =]",
        rf"(?:{_QUOTED}|([^\s\"']{{3,256}}+))",
    ),
)
# the value comes first
_REVERSED = re.compile(
    rf"(?<![\w.-]){_CONTENT}[\"']?\s{{0,3}}:[ \t]{{0,8}}"
    rf"(?:{_QUOTED}|([^\s\"'}}\],&\\][^\n\"'}},]{{1,255}}+))"
    rf"[\s,]{{1,60}}+[\"']?{_LABEL}[\"']?\s{{0,3}}:\s{{0,3}}[\"']?{_NAME}",
    re.IGNORECASE,
)
# `setenv("PGPASSWORD", "sesame")`; but `"text"` in `Column("password", "text")` is no value
_CALL = re.compile(
    rf"\(\s{{0,8}}[\"']{_NAME}[\"']\s{{0,8}},\s{{0,8}}[\"']([^\n\"']{{4,256}}+)[\"']"
)
_SETS = re.compile(
    r"(?:set|put|add|get|env|fetch|define|property|header|variable|default)\w{0,40}\Z",
    re.IGNORECASE,
)
# only values that look like secrets: others are table columns or words of a remark
_START, _END = r"(?:^|[\"'])[ \t]*", r"[ \t]*(?=\r?$|[\"'])"
_APART = r"(?: {2,80}| {0,80}\t[ \t]{0,80}|(?<=\.password) |(?<=[A-Z]) )"
_LOOSE_PAIRS = tuple(
    re.compile(f"{_START}{expression}{_END}", re.MULTILINE)
    for expression in (
        rf"\|?[ \t]*{_NAME}[ \t]*\|[ \t]*([^\s|\"']{{6,256}}+)[ \t]*\|?",
        rf"{_NAME}{_APART}([^\s\"'|]{{6,256}}+)",
    )
)
_LOOSE_LOOK = re.compile(
    r"(?=.*[A-Za-z])(?=.*(?:\d|[^\w\s.()-])).*|\w+_(?:password|pw|secret|token)"
)
# types of SQL, of pandas and of programming languages
_TYPES = re.compile(
    r"(?:u?int|float|datetime|timedelta|string|bool)\d*(?:\[.*\])?"
    r"|(?:varchar|char|character|bytea|text|numeric|bit|uuid|jsonb?|citext|inet|date|time|object)\b.*"
    r"|\w+\[\]|scram-sha-256|[\[*&].*|[A-Z]\w*"
)
# `smtp_auth_password sesame`: a line of a settings file
_DIRECTIVE = re.compile(
    rf"{_START}(?:-[ \t]+)?((?=\S{{0,60}}?(?:[_.]|[a-z][A-Z]|bindpw|rootpw))[A-Za-z][\w.]{{3,80}}+)"
    r"[ \t]{1,20}(?:\"([^\"\n]{3,256}+)\"|'([^'\n]{3,256}+)'|([^\s\"'|:=<>(){}\[\],;]{4,256}+))"
    r"(?=[ \t]*;?[ \t]*(?:$|[\r\n\"'\]}),]))",
    re.MULTILINE,
)
_PASSWORD_NAME = re.compile(r"(?i:pass(?:word|wd|phrase)?|pwd|pw|psk)\Z")


def pairs(text: str) -> Iterator[tuple[int, int]]:
    r"""Find values that are separated from their name: ``setenv PGPASSWORD sesame``.

    >>> text = "- name: DB_PASSWORD\n  value: sesame\nsmtp_auth_password tulip"
    >>> [text[start:end] for start, end in pairs(text)]
    ['sesame', 'tulip']
    """
    lower = text.lower()
    for words, expression in _PAIRS:
        for match in expression.finditer(text) if any(word in lower for word in words) else ():
            yield from _value(match, match[1], match.lastindex or 0)
    for match in _REVERSED.finditer(text) if "value" in lower else ():
        yield from _value(match, match[4], next(n for n in (1, 2, 3) if match[n]))
    for match in _CALL.finditer(text):
        called = _SETS.search(text, max(0, match.start() - 50), match.start())
        if called:
            yield from _value(match, match[1], 2)
    for expression in _LOOSE_PAIRS:
        for match in expression.finditer(text):
            if _has_look(match[2]):
                yield from _value(match, match[1], 2)
    for match in _DIRECTIVE.finditer(text):
        number = match.lastindex or 0
        if _PASSWORD_NAME.search(match[1]) and not (
            number == 4 and (_TYPES.fullmatch(match[4]) or is_state(match[4]))
        ):
            yield from _value(match, match[1], number)


def _value(match: re.Match[str], name: str, number: int) -> Iterator[tuple[int, int]]:
    value = match[number].strip()
    if is_no_secret(value):
        return
    if is_secret(name.rpartition("/")[2]) or is_login_variable(name, value):
        yield match.span(number)


def _has_look(value: str) -> bool:
    return bool(_LOOSE_LOOK.fullmatch(value)) and not _TYPES.fullmatch(value)
