r"""Find unknown secrets by their form or by the words around them. Pure.

Each rule has needles: lower-case texts, one of which every match contains. An output without
secrets thus needs only a few plain searches and no regular expression. Every expression runs in
linear time: it begins with a literal or after a boundary, and its repeats are bounded or
possessive. Only the secret is masked; the user, host and keyword around it stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rbkernel.redact import commands, directives, headers, inputs, lines, pairs, sql
from rbkernel.redact.keyvalue import KEY_WORDS, flags, key_values
from rbkernel.redact.luhn import cards
from rbkernel.redact.marks import inside, is_reference, own_marks
from rbkernel.redact.names import is_secret
from rbkernel.redact.span import Span
from rbkernel.redact.tokens import TOKENS, WEB_HOOKS, hook_expression, token_expression

Finder = Callable[[str], Iterator[tuple[int, int]]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A kind of secret: its name, its needles, and a function that finds it in a text.

    A match contains at least one needle. The needles of a ``long`` rule occur only in words of
    twelve or more characters.
    """

    name: str
    needles: tuple[str, ...]
    find: Finder
    long: bool = False


def pattern_spans(text: str) -> Iterator[Span]:
    """Find all secrets, by their form or by the words around them.

    >>> text = "host=db1 user=rb password=hunter2 dbname=x"
    >>> [(text[start:end], rule) for start, end, rule in pattern_spans(text)]
    [('hunter2', 'password')]
    """
    lower = text.lower()
    long = "\n".join([word for word in lower.split() if len(word) >= _LONG_WORD])
    seen: dict[str, bool] = {"": True}
    for needle, part in _NEEDLES:
        seen[needle] = seen[part] and needle in lower
    marks = own_marks(text)
    for rule in RULES:
        if not rule.needles or any(
            needle in long if rule.long else seen[needle] for needle in rule.needles
        ):
            for start, end in rule.find(text):
                if not (_is_none(text, start, end) or inside(marks, start, start + 1)):
                    yield Span(start, end, rule.name)


def _is_none(text: str, start: int, end: int) -> bool:
    """Tell whether a found value is no secret: a reference, or only brackets."""
    if end - start < _SHORTEST and not any(map(str.isalnum, text[start:end])):
        return True
    return is_reference(text, start, end)


_SHORTEST = 3


_LONG_WORD = 12


def _groups(expression: str, flags: int = 0) -> Finder:
    """Return a function that finds the matched groups of a pattern."""
    pattern = re.compile(expression, re.IGNORECASE | re.MULTILINE | flags)

    def find(text: str) -> Iterator[tuple[int, int]]:
        for match in pattern.finditer(text):
            for number in range(1, pattern.groups + 1):
                if match.start(number) >= 0:
                    yield match.span(number)

    return find


def _whole(expression: str, flags: int = 0) -> Finder:
    pattern = re.compile(expression, flags)
    return lambda text: (match.span() for match in pattern.finditer(text))


_PEM = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(r"(?:[A-Za-z0-9+/=\s\\]|Proc-Type: ?[\w,]++|DEK-Info: ?[\w,-]++)*+")
_LONGEST_KEY = 32_768


def _private_keys(text: str) -> Iterator[tuple[int, int]]:
    """Find the bodies of private keys; a truncated key ends where its base64 ends."""
    position, end_is_near = 0, True
    while begin := _PEM.search(text, position):
        end = text.find("-----END", begin.end()) if end_is_near else -1
        end_is_near = end >= 0
        if not 0 <= end - begin.end() <= _LONGEST_KEY:
            body = _PEM_BODY.match(text, begin.end())
            end = body.end() if body else begin.end()
        yield begin.end(), end
        position = max(end, begin.end())


# user and password stand before the last @ that comes before the first slash; what begins with a
# port has no password. The password of a database may hold slashes: libpq itself would not mind.
_URL = (
    r"://[^\s/:@'\"<>?#]{0,128}+:(?!\d{1,5}(?:[/?#,\s]|$))([^\s'\"<>/?#]{1,256})(?=@)"
    r"|://([0-9A-Za-z_-]{32,128}+)@"
    # a user that is an e-mail address
    r"|://[^\s/:@'\"<>?#]{1,64}+@[\w.-]{1,64}+:([^\s'\"<>/?#@]{1,256})(?=@)"
    r"|\b(?:postgres(?:ql)?|mysql|mariadb|redis|rediss|amqps?|mongodb)(?:\+\w{1,20})?+://"
    r"[^\s/:@'\"<>?#]{0,128}+:(?!\d{1,5}(?:[/?#,\s]|$))"
    r"(?:((?:[^\s'\"<>/]|/(?!/)){1,256})(?=@)|([^\s'\"<>/@]{1,256}?)(?=\.\.\.|…|['\"\s]|$))"
)
_SIGNED_URL = (
    r"[?&;](?:sig|(?:x-amz-|x-goog-)?signature|x-amz-credential|x-amz-security-token)"
    r"=([^\s&\"'<>]{8,1024}+)"
)
_AUTHORIZATION = (
    r"authorization[\"'\]]{0,3}(?:\s{0,3}+(?:=>|[:=,])\s{0,3}+|[ \t]{1,8}+(?=[\"']))[\"']?"
    r"(?:(?:bearer|basic|token|apikey|negotiate)\s{1,3}+([^\s\"'<>,;\\]{3,8192}+)"
    r"|digest\s[^\r\n<>]{0,2000}?\bresponse=\\?\"([0-9a-f]{16,128}+)"
    r"|aws4-hmac-sha256\s{1,3}+([^\r\n\"<>]{3,4096}+)"
    r"|(?:[A-Za-z][\w-]{1,30}\s{1,3}+)?(?=[^\s\d]{0,200}+\d)([^\s\"'<>,;\\]{16,8192}+))"
    r"|\bbasic\s{1,3}+([A-Za-z0-9+/]{8,1024}+={1,2})"
    r"|\bbearer\s{1,3}+([\w.~+/=-]{16,4096}+)"
)
_COOKIE = (
    r"\b(?:set-)?cookie[\"']?\s{0,3}+:\s{0,3}+[\"']?((?=[\w.-]{1,200}+=)[^\r\n\"'<>]{8,4096}+)"
    r"|\b(?:jsessionid|phpsessid|sessionid|connect\.sid)=([^\s;&\"'<>]{8,1024}+)"
)
_XML = (
    r"<[\w:.-]{0,40}?(?:password|passwd|passphrase|secret|token|api-?key|\bpass|\bpwd)"
    r"(?:\s[^<>]{0,80})?>([^<>\n]{1,1024}+)</"
)

_INPUT = re.compile(
    r"<(?:input|add|entry|property|param(?:eter)?|setting|variable|env(?:ironment)?|attribute|option)\b"
    r"[^<>]{0,2000}+>",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(
    r"\b(name|id|key|type|value)\s{0,3}=\s{0,3}\\?(?:\"([^\"\\]*+)|'([^'\\]*+)|([^\s>\"'\\]++))"
)


def _html_inputs(text: str) -> Iterator[tuple[int, int]]:
    """Find the values of HTML input fields and XML settings that are named like a secret."""
    for tag in _INPUT.finditer(text):
        found = list(_ATTRIBUTE.finditer(text, *tag.span()))
        names = [match[match.lastindex or 0] for match in found if match[1].lower() != "value"]
        if any(is_secret(name) for name in names):
            for match in found:
                if match[1].lower() == "value":
                    yield match.span(match.lastindex or 0)


# kubeconfig, Secrets of Kubernetes, PuTTY, Docker, npm, PowerShell
_FILES = (
    r"\b(?:client-key-data|tls\.key|ssh-privatekey)[\"']?\s{0,3}+:\s{0,3}+[\"']?([A-Za-z0-9+/=]{16,16384}+)"
    r"|\bPrivate-Lines: \d{1,4}\s{1,2}((?:[A-Za-z0-9+/=]{1,80}\n?){1,100}+)(?<!\n)"
    r"|\"auth\"\s{0,3}+:\s{0,3}+\"([A-Za-z0-9+/=]{8,1024}+)\""
    r"|(?:^|[:\s\"'])_auth\s{0,3}+=\s{0,3}+\"?([^\s\"]{8,1024}+)"
    r"|\b(?:BASIC|HTTP|PROXY)_?AUTH=[\"']?([^\s:\"'$]{1,64}+:[^\s\"']{1,256}+)"
    r"|ConvertTo-SecureString\s{1,3}+(?:-String\s{1,3}+)?[\"']([^\"'\n]{1,256}+)[\"']"
)
_FILE_NEEDLES = (
    *("key-data", "tls.key", "privatekey", "private-lines", "securestring"),
    *('"auth"', "_auth", "auth="),
)

_HASHES = (
    r"\$apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}|\{S?SHA(?:\d{3})?\}[A-Za-z0-9+/]{20,128}+=*"
    r"|(?<![\w*])\*[0-9A-F]{40}\b|"
    r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{22,53}+"
    r"|\$argon2(?:id|i|d)\$[\w=,$+/.-]{20,300}+"
    r"|\$(?:[156y]|scrypt|pbkdf2[\w-]{0,20})\$[\w./=,$+-]{20,300}+"
    r"|\bpbkdf2_sha\d{1,3}\$[\w./=,$+-]{20,300}+"
    r"|\bSCRAM-SHA-(?:1|256|512)\$\d{1,9}:[\w+/=:$]{20,300}+"
    r"|\bmd5[0-9a-f]{32}\b"
)

RULES: tuple[Rule, ...] = (
    Rule(name="private key", needles=("private key",), find=_private_keys),
    Rule(name="dsn", needles=("://",), find=_groups(_URL)),
    Rule(name="sql password", needles=sql.NEEDLES, find=sql.sql_passwords),
    Rule(name="sql password", needles=("insert",), find=sql.inserted),
    Rule(name="directive", needles=directives.NEEDLES, find=directives.directives),
    Rule(name="user option", needles=inputs.NEEDLES, find=inputs.inputs),
    Rule(name="api key", needles=headers.NEEDLES, find=headers.headers),
    Rule(name="sql argument", needles=sql.ARGUMENT_NEEDLES, find=_groups(sql.ARGUMENT)),
    Rule(name="signed url", needles=("sig",), find=_groups(_SIGNED_URL)),
    Rule(name="xml", needles=("</",), find=_groups(_XML)),
    Rule(
        name="authorization",
        needles=("authorization", "bearer", "basic "),
        find=_groups(_AUTHORIZATION),
    ),
    Rule(name="credentials", needles=_FILE_NEEDLES, find=_groups(_FILES)),
    Rule(name="cookie", needles=("cookie", "sess", "connect.sid"), find=_groups(_COOKIE)),
    Rule(name="html input", needles=("value=",), find=_html_inputs),
    Rule(name="user option", needles=commands.NEEDLES, find=commands.password_options),
    Rule(name="pass file", needles=lines.PASS_FILE_NEEDLES, find=lines.pass_file),
    Rule(name="login", needles=("@",), find=lines.logins),
    Rule(name="login", needles=("@",), find=lines.host_logins),
    Rule(name="password", needles=lines.PROMPT_NEEDLES, find=lines.prompts),
    Rule(name="password", needles=pairs.NEEDLES, find=pairs.pairs),
    Rule(
        name="password hash",
        needles=(
            *("$2", "$argon2", "$1$", "$5$", "$6$", "$y$", "scrypt$", "pbkdf2", "md5", "scram"),
            *("$apr1$", "sha}", "sha256}", "sha512}", "*"),
        ),
        find=_whole(_HASHES, re.IGNORECASE),
        long=True,
    ),
    *(
        Rule(
            name=name,
            needles=tuple(head.lower() for head in forms),
            find=_whole(token_expression(forms)),
            long=True,
        )
        for name, forms in TOKENS.items()
    ),
    Rule(
        name="web hook",
        needles=tuple(WEB_HOOKS),
        find=_whole(hook_expression(WEB_HOOKS)),
        long=True,
    ),
    Rule(name="card number", needles=(), find=cards),
    Rule(name="password", needles=KEY_WORDS, find=key_values),
    Rule(name="option", needles=("--", "-pass"), find=flags),
)


def _ordered(needles: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Pair each needle with a shorter needle that it contains, or with an empty text.

    If a text lacks the shorter needle, the longer one is not searched for.

    >>> _ordered(["password", "pass"])
    (('pass', ''), ('password', 'pass'))
    """
    known: list[str] = []
    ordered = []
    for needle in sorted(set(needles), key=lambda one: (len(one), one)):
        part = next((one for one in known if one in needle), "")
        ordered.append((needle, part))
        known.append(needle)
    return tuple(ordered)


_NEEDLES = _ordered(needle for rule in RULES if not rule.long for needle in rule.needles)
RULE_NAMES = frozenset(rule.name for rule in RULES)
