"""Find secrets in lines of a known form: password files, logins, prompts, logs."""

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
# texts after the @ of a package, an image or an action
_REVISION = re.compile(
    r"v?\d[\w.-]*|sha\d+|[0-9a-f]{7,64}|main|master|develop|latest|next|dev|HEAD|[A-Z.]+"
)
# default accounts of Oracle
_ACCOUNTS = frozenset({"sys", "system", "scott", "hr", "dbsnmp", "sysman"})
_VERSION = re.compile(r"v?\d[\d.]*|[\w-]+\.git")


def logins(text: str) -> Iterator[tuple[int, int]]:
    """Find the password in ``user/password@host``; ``repo/action@v4`` has none.

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


# `user:password@host:port` without a scheme, also as drivers of Go write it: `@tcp(host:3306)/db`
_NO_SIGNS = r"[^\s:@\"'<>()\[\]{},;|\\]{1,128}+"
_HOST_LOGIN = re.compile(
    r"(?:(?<![\w/@.:%$-])|(?<=[\s\"'=(]//)|(?<=\A//))([A-Za-z_][\w.$-]{0,62}+)"
    rf":({_NO_SIGNS}(?::{_NO_SIGNS})?)@"
    r"(?:(?:tcp|unix)\([^\s()]{0,128}+\)|(?!sha\d)[\w.-]{1,128}+:\d{2,5}(?![\w:@.])"
    r"|\[[0-9a-f:]{2,40}+\]:\d{2,5}|/[\w-]{1,64}+(?=[?\"'\s]|$)"
    r"|[\w.-]{1,128}+/[\w-]{1,64}+\?\w{1,40}+=)"
)
# words before a colon that are not users: schemes, registries, log levels
_NO_USER = re.compile(
    r"mailto|e?mail|to|from|cc|bcc|by|sips?|xmpp|acct|npm|jsr|pip|gh|github|gitlab|docker|image|git"
    r"|file|https?|tel|urn|host|node|address|addr|endpoint|server|debug|info|warn(?:ing)?|error"
    r"|critical|fatal|log|notice|trace",
    re.IGNORECASE,
)


def host_logins(text: str) -> Iterator[tuple[int, int]]:
    """Find the password in ``user:password@host:port``.

    >>> text = "root:sesame@localhost:3306, app:tulip@tcp(db1:3306)/shop, mailto:a@b.example:25"
    >>> [text[start:end] for start, end in host_logins(text)]
    ['sesame', 'tulip']
    """
    for match in _HOST_LOGIN.finditer(text):
        if not (_NO_USER.fullmatch(match[1]) or is_no_secret(match[2])):
            yield match.span(2)


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
# libpq quotes a text that it cannot parse; it may be a password or a connection string
_ECHOED = re.compile(r"missing \"=\" after \"([^\"\n]{1,512}+)\" in connection info string")
_QUOTED_REPORT = re.compile(
    r"(?<![\w.])(?:password|passphrase)(?: for [^\n:]{1,80}?)? (?:is|was)(?: now| set to)?:?"
    r"[ \t]{1,3}[\"'`]([^\s\"'`]{4,256}+)[\"'`]",
    re.IGNORECASE,
)
_UNSEAL_KEY = re.compile(r"\bUnseal Key(?: \d{1,2})?:[ \t]{1,8}([\w+/=]{20,256}+)")
_REPORTED_LOOK = re.compile(r"(?=.*[A-Za-z])(?=.*\d).*")
_ALGORITHM = re.compile(
    r"(?:hmac-?)?(?:sha-?\d+|md\d|argon2\w*|scram-sha-\d+|bcrypt|scrypt|pbkdf2\w*|base\d+|utf-?\d+"
    r"|rs\d+|hs\d+|oauth2?|rfc\d+)(?:[-_]\w+)*",
    re.IGNORECASE,
)
PROMPT_NEEDLES = (
    *("password", "passphrase", "passcode", "api key", "token is", "auth ", "missing "),
    "unseal key",
)
_REDIS_AUTH = re.compile(
    r"(?:^|[\"'])(?:[\w.:-]{1,60}+> )?AUTH (?:\w{1,40} )?"
    r"[\"']?([^\s\"':.]{6,256}+)[\"']?\r?(?=$|[\]}),])",
    re.MULTILINE,
)


def prompts(text: str) -> Iterator[tuple[int, int]]:
    """Find passwords after prompts and in logs: ``Password for user app: sesame``.

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
    for expression in (_QUOTED_REPORT, _UNSEAL_KEY):
        for match in expression.finditer(text):
            if not is_no_secret(match[1]):
                yield match.span(1)
    for match in _REDIS_AUTH.finditer(text):
        if not is_no_secret(match[1].lower()):
            yield match.span(1)
