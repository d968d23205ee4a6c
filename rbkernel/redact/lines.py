"""Secrets in lines of a known form: files of clients, prompts, logs, pairs of name and value."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rbkernel.redact.keyvalue import is_no_secret
from rbkernel.redact.names import is_secret

# hostname:port:database:username:password, as libpq reads it (PostgreSQL, "The Password File")
_PASS_FILE = re.compile(
    r":(?:\d{3,5}|\*):[^\s:\"']{1,64}:[^\s:\"'/]{1,64}:"
    r"((?:\\[:\\]|[^\s:\"'\\]){1,256}(?: [^\n:]{1,60})?)"
    r"(?=[\"']?[ \t]*(?:$|[\r\n\]}),<]|\\n))",
    re.MULTILINE,
)
PASS_FILE_NEEDLES = (":*:", *(f"{digit}:" for digit in "0123456789"))
_HOST = re.compile(
    r"(?<![\w./:*@-])(?:\*|/[\w./-]{1,100}|(?!\d{1,3}\Z)[A-Za-z0-9][\w.-]{0,100}|\[[0-9a-f:\\]{2,60}\])\Z"
)
_SOURCE_FILE = re.compile(r"\.(?:py|pyx|c|cc|cpp|h|go|rs|js|ts|java|rb|sql|log|sh|md|txt|php|kt)$")


def pass_file(text: str) -> Iterator[tuple[int, int]]:
    """Find the passwords of a libpq password file.

    >>> text = "db.internal:5432:shop:app:sesame"
    >>> [text[start:end] for start, end in pass_file(text)]
    ['sesame']
    """
    for match in _PASS_FILE.finditer(text):
        host = _HOST.search(text, max(0, match.start() - 100), match.start())
        if host and not _SOURCE_FILE.search(host[0]) and _may_be_password(match[1]):
            yield match.span(1)


_SHORTEST = 4


def _may_be_password(value: str) -> bool:
    return len(value) >= _SHORTEST and not (is_no_secret(value) or value.isdigit())


# `user/password@host`, as clients of Oracle take it
_LOGIN = re.compile(
    r"/(?:\\?\"([^\"\n\\]{1,128}+)\\?\"|([^\s/@:\"'<>()\[\],;]{1,128}+))"
    r"@((?://)?[\w.-]{1,128}+)((?::\d{1,5})?(?:/[\w.]{1,64}+)?)"
)
_USER = re.compile(r"(?<![\w/@.:-])[A-Za-z][\w$#]{0,60}\Z|(?<=:thin:)\w{1,60}\Z")
_LOGIN_BEFORE = re.compile(
    r"(?:\b(?:sqlplus|sqlldr|sqlcl|expdp|impdp|exp|imp|rman|tkprof|conn|connect|connected|logon|login"
    r"|target|catalog|auxiliary|userid|using|user|dsn|as|via|thin|oci)\b[^\n|;&,]{0,60}?[\s=:\"'])\Z",
    re.IGNORECASE,
)
_LOGIN_LOOK = re.compile(r"(?=.*[A-Za-z])(?=.*[\d!#$%^&*+=?~])[^.]{6,}")
# what follows the @ of a package, an image or an action
_REVISION = re.compile(
    r"v?\d[\w.-]*|sha\d+|[0-9a-f]{7,64}|main|master|develop|latest|next|dev|HEAD|[A-Z.]+"
)
# accounts that every installation of Oracle has had
_ACCOUNTS = frozenset({"sys", "system", "scott", "hr", "dbsnmp", "sysman"})
_VERSION = re.compile(r"v?\d[\d.]*|[\w-]+\.git")


def logins(text: str) -> Iterator[tuple[int, int]]:
    """Find the password of ``user/password@host``; of ``repo/action@v4`` there is none.

    >>> text = "sqlplus scott/tiger@xe, actions/checkout@v4, app/Winter-2026@db1"
    >>> [text[start:end] for start, end in logins(text)]
    ['tiger', 'Winter-2026']
    """
    for match in _LOGIN.finditer(text):
        user = _USER.search(text, max(0, match.start() - 62), match.start())
        if user and _is_login(match, user.start()):
            yield match.span(1 if match[1] else 2)


def _is_login(match: re.Match[str], start: int) -> bool:
    quoted, value, host, rest = match.groups()
    if quoted or is_no_secret(value) or _VERSION.fullmatch(value):
        return bool(quoted)
    if host.startswith("//") or rest.startswith(":") or is_secret(value):
        return True
    if _LOGIN_BEFORE.search(match.string, max(0, start - 80), start):
        return True
    if match.string[start : match.start()].lower() in _ACCOUNTS:
        return True
    return bool(_LOGIN_LOOK.fullmatch(value)) and not _REVISION.fullmatch(host)


_PROMPT = re.compile(
    r"(?:\bpass(?:word|phrase) for [^:\n]{1,120}|'s password|\b(?:new|retype|again|enter) "
    r"pass(?:word|phrase))(?: \(again\))?:[ \t]{1,3}([^\s\"'<>]{3,256}+)"
    r"(?=[\"']?[ \t\r]*(?:$|[\]}),<]))",
    re.IGNORECASE | re.MULTILINE,
)
_REPORTED = re.compile(
    r"\b(?:password|passphrase|passcode|api key|token|secret)(?: for [^\n:]{1,80}?)?"
    r" (?:is|was)(?: generated for [^\n:]{1,80}| set to| now)?:?[ \t]{1,3}"
    r"[\"'`]?([^\s\"'`&<>]{6,256}?)[\"'`]?(?=[.,;]?(?:[\s\"'<\]}]|$))"
    r"|\b(?:with|using|by|has) (?:the )?(?:password|passphrase|token) "
    r"[\"'`]([^\s\"'`]{4,256}+)[\"'`]"
    r"|\b(?:password|passphrase) [\"'`]([^\s\"'`]{6,256}+)[\"'`]",
    re.IGNORECASE,
)
# libpq repeats what it cannot read, which is a password or a whole connection string
_ECHOED = re.compile(r"missing \"=\" after \"([^\"\n]{1,512}+)\" in connection info string")
_REPORTED_LOOK = re.compile(r"(?=.*[A-Za-z])(?=.*\d).*")
_ALGORITHM = re.compile(
    r"(?:hmac-?)?(?:sha-?\d+|md\d|argon2\w*|scram-sha-\d+|bcrypt|scrypt|pbkdf2\w*|base\d+|utf-?\d+"
    r"|rs\d+|hs\d+|oauth2?|rfc\d+)(?:[-_]\w+)*",
    re.IGNORECASE,
)
PROMPT_NEEDLES = ("password", "passphrase", "passcode", "api key", "token is", "auth ", "missing ")
_REDIS_AUTH = re.compile(
    r"(?:^|[\"'])(?:[\w.:-]{1,60}+> )?AUTH (?:\w{1,40} )?"
    r"[\"']?([^\s\"':.]{6,256}+)[\"']?\r?(?=$|[\]}),])",
    re.MULTILINE,
)


def prompts(text: str) -> Iterator[tuple[int, int]]:
    """Find what prompts echo and logs report: ``Password for user app: sesame``.

    >>> text = "Your password is Welcome-2026. Password for user app: sesame"
    >>> [text[start:end] for start, end in prompts(text)]
    ['sesame', 'Welcome-2026']
    """
    for match in _PROMPT.finditer(text):
        if not is_no_secret(match[1]):
            yield match.span(1)
    for match in _REPORTED.finditer(text):
        value = match[match.lastindex or 0]
        if match[2] or (_REPORTED_LOOK.fullmatch(value) and not _ALGORITHM.fullmatch(value)):
            yield match.span(match.lastindex or 0)
    for match in _ECHOED.finditer(text):
        yield match.span(1)
    for match in _REDIS_AUTH.finditer(text):
        if not is_no_secret(match[1].lower()):
            yield match.span(1)


_NAME = r"([\w.-]{2,80}+)"
# name and value apart: csh, fish, Docker, Hibernate; calls; Kubernetes; Terraform; XML; tables
_PAIRS = tuple(
    (words.split(","), re.compile(head + rest, re.IGNORECASE | re.MULTILINE))
    for words, head, rest in (
        (
            "setenv ,set -,ENV ,ARG ",
            rf"(?:^|[\s\"'])(?:setenv|set -\w{{1,4}}|ENV|ARG)[ \t]{{1,8}}{_NAME}",
            r"[ \t]{1,8}[\"']?([^\n\"'=]{3,256}+)",
        ),
        (
            "value,VALUE",
            rf"\bname[\"']?\s{{0,3}}:\s{{0,3}}[\"']?{_NAME}[\"']?\s{{0,40}}+,?\s{{0,40}}+[\"']?",
            r"value[\"']?\s{0,3}:[ \t]{0,8}[\"']?([^\n\"']{3,256}+)",
        ),
        (
            "variable ",
            rf"\bvariable\s{{1,4}}\"{_NAME}\"\s{{0,4}}\{{[^{{}}]{{0,400}}?",
            r"\bdefault\s{0,9}=\s{0,9}\"([^\"\n]{1,256}+)\"",
        ),
        (
            "</",
            rf"<[\w:.-]{{1,40}}\s[^<>]{{0,200}}?\b(?:key|name|id)=[\"']{_NAME}[\"']",
            r"[^<>]{0,200}>([^<>\n]{1,256}+)</",
        ),
    )
)
PAIR_NEEDLES = ("password", "passphrase", "passwd", "secret", "token", "_key", "pwd")
# `setenv("PGPASSWORD", "sesame")`; in `Column("password", "text")` the second is no value
_CALL = re.compile(
    rf"\(\s{{0,8}}[\"']{_NAME}[\"']\s{{0,8}},\s{{0,8}}[\"']([^\n\"']{{4,256}}+)[\"']"
)
_SETS = re.compile(
    r"(?:set|put|add|get|env|fetch|define|property|header|variable|default)\w{0,40}\Z",
    re.IGNORECASE,
)
# only a word that looks like a secret: the rest are columns of a table, or words of a remark
_LOOSE_PAIRS = (
    re.compile(
        rf"(?:^|[\"'])[ \t|]*{_NAME}[ \t]*\|[ \t]*([^\s|\"']{{6,256}}+)[ \t|]*(?=\r?$|[\"'])",
        re.MULTILINE,
    ),
    re.compile(
        rf"(?:^|[\"'])[ \t]*{_NAME}(?:[ \t]{{2,80}}|(?<=\.password) |(?<=[A-Z]) )"
        r"([^\s\"'|]{6,256}+)[ \t]*(?=\r?$|[\"'])",
        re.MULTILINE,
    ),
)
_LOOSE_LOOK = re.compile(
    r"(?=.*[A-Za-z])(?=.*(?:\d|[^\w\s.()-])).*|\w+_(?:password|pw|secret|token)"
)
# of SQL, and of pandas
_TYPES = re.compile(
    r"(?:u?int|float|datetime|timedelta|string|bool)\d*(?:\[.*\])?|(?:varchar|char|character|bytea|text|numeric|bit)\b.*|\w+\[\]|scram-sha-256"
)


def pairs(text: str) -> Iterator[tuple[int, int]]:
    """Find values that stand apart from their name: ``setenv PGPASSWORD sesame``.

    >>> text = "setenv PGPASSWORD sesame"
    >>> [text[start:end] for start, end in pairs(text)]
    ['sesame']
    """
    for words, expression in _PAIRS:
        for match in expression.finditer(text) if any(word in text for word in words) else ():
            if is_secret(match[1]) and not is_no_secret(match[2].strip()):
                yield match.span(2)
    for match in _CALL.finditer(text):
        called = _SETS.search(text, max(0, match.start() - 50), match.start())
        if called and is_secret(match[1]) and not is_no_secret(match[2]):
            yield match.span(2)
    for expression in _LOOSE_PAIRS:
        for match in expression.finditer(text):
            if is_secret(match[1]) and not is_no_secret(match[2]) and _has_look(match[2]):
                yield match.span(2)


def _has_look(value: str) -> bool:
    return bool(_LOOSE_LOOK.fullmatch(value)) and not _TYPES.fullmatch(value)
