r"""Pure rules: where in a text does a secret stand that nobody told us of?

Each rule has a cheap needle: a lower-case text without which it cannot match, so that an output
without secrets costs a few searches and no regular expression. Every expression is linear: it
begins with a literal or behind a boundary, and what repeats is bounded or possessive. Only the
secret itself is marked; user, host and keyword around it stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rbkernel.redact.luhn import cards
from rbkernel.redact.names import SUFFIX, is_secret
from rbkernel.redact.span import Span
from rbkernel.redact.tokens import TOKENS, WEB_HOOKS, hook_expression, token_expression

Finder = Callable[[str], Iterator[tuple[int, int]]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One kind of secret: its name, its needles (any of them), and where it is in a text.

    The needles of a ``long`` one can only stand in words of twelve characters and more.
    """

    name: str
    needles: tuple[str, ...]
    find: Finder
    long: bool = False


def pattern_spans(text: str) -> Iterator[Span]:
    """Find all secrets that show by their form or by the words around them.

    >>> text = "host=db1 user=rb password=hunter2 dbname=x"
    >>> [(text[start:end], rule) for start, end, rule in pattern_spans(text)]
    [('hunter2', 'password')]
    """
    lower = text.lower()
    long = "\n".join(_LONG_WORD.findall(lower))
    for rule in RULES:
        seen = long if rule.long else lower
        if not rule.needles or any(needle in seen for needle in rule.needles):
            for start, end in rule.find(text):
                if not _PLACEHOLDER.match(text, start, end):
                    yield Span(start, end, rule.name)


# what an earlier pass left there, and what stands for a value in code and documentation
_PLACEHOLDER = re.compile(
    r"\[redacted:|(?:\{[\w.]*\}|\$\{?\w+\}?|<[\w .-]+>|%(?:\(\w+\))?s|\*+|:\w+|…|\.\.\.)\Z"
)
_LONG_WORD = re.compile(r"[^\s<>\"',;]{12,}+")


def _groups(expression: str, flags: int = 0) -> Finder:
    """Return a finder of the groups of a pattern that took part in the match."""
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
    """Find the bodies of private keys; one that is cut off ends with its base64."""
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
    r"|\b(?:postgres(?:ql)?|mysql|mariadb|redis|rediss|amqps?|mongodb)(?:\+\w{1,20})?+://"
    r"[^\s/:@'\"<>?#]{0,128}+:(?!\d{1,5}(?:[/?#,\s]|$))"
    r"(?:((?:[^\s'\"<>/]|/(?!/)){1,256})(?=@)|([^\s'\"<>/@]{1,256}+)(?=\.\.\.|…|['\"\s]|$))"
)
_SQL = re.compile(
    r"\bpassword\s{1,20}+[eE]?'((?:[^'\n]|''){1,512}+)(?='|$)"
    r"|\bpassword\s{1,20}+\$(\w{0,20}+)\$(.{1,256}?)\$\2\$"
    r"|\bidentified\s{1,20}+(?:with\s{1,20}+\w{1,60}+\s{1,20}+)?by\s{1,20}+'((?:[^'\n]|''){1,512}+)'",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)


def _sql_passwords(text: str) -> Iterator[tuple[int, int]]:
    for match in _SQL.finditer(text):
        yield match.span(next(group for group in (1, 3, 4) if match.start(group) >= 0))


_NETRC = r"\blogin\s{1,20}+\S{1,128}+\s{1,20}+password\s{1,20}+(\S{1,256}+)"
_AUTHORIZATION = (
    r"authorization[\"'\]]{0,3}\s{0,3}+(?:=>|[:=,])\s{0,3}+[\"']?"
    r"(?:(?:bearer|basic|token|apikey|digest|negotiate|aws4-hmac-sha256)\s{1,3}+"
    r"([^\s\"'<>][^\r\n\"'<>]{3,4096}+)|([^\s\"'<>,;]{16,4096}+))"
    r"|\bbearer\s{1,3}+([\w.~+/=-]{16,4096}+)"
)
_COOKIE = r"\b(?:set-)?cookie[\"']?\s{0,3}+:\s{0,3}+[\"']?([^\r\n\"'<>]{8,4096}+)"

_INPUT = re.compile(r"<input\b[^<>]{0,2000}+>", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"\b(name|id|type|value)\s{0,3}=\s{0,3}(?:\"([^\"]*+)\"|'([^']*+)'|([^\s>]++))"
)


def _html_inputs(text: str) -> Iterator[tuple[int, int]]:
    """Find the values of input fields that are named, or typed, as a password."""
    for tag in _INPUT.finditer(text):
        found = list(_ATTRIBUTE.finditer(text, *tag.span()))
        names = [match[match.lastindex or 0] for match in found if match[1].lower() != "value"]
        if any(is_secret(name) for name in names):
            for match in found:
                if match[1].lower() == "value":
                    yield match.span(match.lastindex or 0)


_USER_OPTION = re.compile(
    r"(?:\s-u\s{0,3}|\s--(?:proxy-)?user[ =])[\"']?[^\s:\"']{1,128}+:([^\s\"']{1,256}+)"
)
_PROGRAMS = ("curl", "wget", "http", "xh")


def _user_options(text: str) -> Iterator[tuple[int, int]]:
    """Find ``curl -u user:password``; `docker run -u 1000:1000` is none."""
    for match in _USER_OPTION.finditer(text):
        before = text[max(0, match.start() - 500) : match.start()].rpartition("\n")[2]
        if any(program in before for program in _PROGRAMS):
            yield match.span(1)


_HASHES = (
    r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{22,53}+"
    r"|\$argon2(?:id|i|d)\$[\w=,$+/.-]{20,300}+"
    r"|\$(?:[156y]|scrypt|pbkdf2[\w-]{0,20})\$[\w./=,$+-]{20,300}+"
    r"|\bpbkdf2_sha\d{1,3}\$[\w./=,$+-]{20,300}+"
    r"|\bSCRAM-SHA-(?:1|256|512)\$\d{1,9}:[\w+/=:$]{20,300}+"
    r"|\bmd5[0-9a-f]{32}\b"
)

# `key = value` in shells, libpq, INI, YAML, JSON, Python, URLs, headers
_KEY_WORDS = ("pass", "pwd", "secret", "token", "credential", "dsn", "conninfo", "key")
_KEY = re.compile(
    rf"(pass(?:word|wd|phrase|code)?|pwd|secret|token|credentials?|dsn|conninfo|key){SUFFIX}"
    r"(?:\\?[\"']|\])?(\s{0,3})(?:=>|:=|=(?!=)|(:)(?![:/]))([ \t]{0,8})(\\?[\"'])?",
    re.IGNORECASE,
)
_KEY_KINDS = re.compile(
    r"(?:api|access|account|auth|private|secret|signing|encryption|shared|sharedaccess|master"
    r"|deploy|license|hash)[_-]?$",
    re.IGNORECASE,
)
_FLAG = re.compile(
    r"(?:^|\s)--[\w-]{0,40}?(?:password|passwd|secret|token|api-key|access-key)"
    r"[ \t]{1,4}[\"']?([^\s\"'-][^\s\"']{3,512}+)",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTED = {
    '"': re.compile(r'((?:[^"\\\n]|\\.|""){1,1024}+)(?="|\\?$|…|\.\.\.)', re.MULTILINE),
    "'": re.compile(r"((?:[^'\\\n]|\\.|''){1,1024}+)(?='|\\?$|…|\.\.\.)", re.MULTILINE),
    '\\"': re.compile(r'((?:[^"\\\n]|\\[^"]){1,1024}+)(?=\\")'),
    "\\'": re.compile(r"((?:[^'\\\n]|\\[^']){1,1024}+)(?=\\')"),
}
_BARE = re.compile(r"[^\s\"'<>&;,(){}\[\]|`\\]{1,512}+")
_BLOCK_END = re.compile(r"[ \t]*+(?:[\r\n,}\]\"'#\\]|$)")
# what stands where a secret would: nothing, a placeholder, a type, a reference, a remark
_NO_SECRET = re.compile(
    r"none|null|nil|true|false|yes|no|on|off|str|string|text|bytes|int|bool|any|optional|secretstr"
    r"|required|missing|unset|empty|invalid|expired|incorrect|wrong|failed|ok|set|unknown|n/a"
    r"|not|is|in|or|and|if|for|see|use|with|the|a|password|passwd|secret|token|self"
    r"|redacted|hidden|masked|x{3,}|[*•.…_-]+|%\(?\w*\)?[sd]?|\?|:\w+|\$\w+|\$\{.*|\$\(.*|#.*|~?/.*",
    re.IGNORECASE,
)


def _key_values(text: str) -> Iterator[tuple[int, int]]:
    done = 0  # a value is looked at once: what looks like a key in it is a part of it
    for key in _keys(text):
        if key.start() < done:
            continue
        word, gap, colon, pause, quote = key.groups()
        found = _quoted(text, key, quote) if quote else _bare(text, key, colon, gap + pause)
        if found and _may_be_secret(word.lower(), text[found[0] : found[1]], quoted=bool(quote)):
            done = found[1]
            yield found


def _keys(text: str) -> Iterator[re.Match[str]]:
    for start in sorted(_places(text.lower(), _KEY_WORDS)):
        if (key := _KEY.match(text, start)) and _is_key(text, start, key[1].lower()):
            yield key


def _places(lower: str, words: Iterable[str]) -> Iterator[int]:
    """Find where words begin: much faster than an expression of alternatives."""
    for word in words:
        place = lower.find(word)
        while place >= 0:
            yield place
            place = lower.find(word, place + len(word))


def _is_key(text: str, start: int, word: str) -> bool:
    """Tell whether the word is a key by itself: ``pass`` is, in ``compass`` it is not."""
    if word == "key":
        return bool(_KEY_KINDS.search(text[max(0, start - 14) : start]))
    return word not in {"pass", "dsn", "pwd"} or not text[start - 1 : start].isalpha()


def _quoted(text: str, key: re.Match[str], quote: str) -> tuple[int, int] | None:
    value = _QUOTED[quote].match(text, key.end())
    # `input("Password: "), …`: the quote ends a text, it does not begin one
    if value is None or value[1][0] in "),;]}: \n":
        return None
    return value.span(1)


def _bare(text: str, key: re.Match[str], colon: str | None, gap: str) -> tuple[int, int] | None:
    value = _BARE.match(text, key.end())
    if value is None:
        return None
    after = text[value.end() : value.end() + 1]
    # a call, an index, or a name that is passed on in Python
    if after in {"(", "["} or _is_code(value[0], after):
        return None
    if colon and gap and not _BLOCK_END.match(text, value.end()):
        return None  # prose
    return value.span()


_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_PLAIN_NAME = re.compile(r"[A-Za-z_]+")


def _is_code(value: str, after: str) -> bool:
    """Tell whether a value is an expression: ``settings.password``, or a name before a comma.

    >>> _is_code("settings.password", ")"), _is_code("pw", ","), _is_code("hunter2", ",")
    (True, True, False)
    """
    if _DOTTED.fullmatch(value) and (is_secret(value.rpartition(".")[2]) or after in {")", ","}):
        return True
    if is_secret(value) and value.isidentifier():
        return True
    return bool(after in {")", ","} and _PLAIN_NAME.fullmatch(value))


def _may_be_secret(word: str, value: str, *, quoted: bool) -> bool:
    if value.startswith("[redacted:") or _NO_SECRET.fullmatch(value):
        return False
    if word.startswith(("pass", "pwd")):
        return True
    if quoted and value[:1] in {"{", "%", "<", "$"}:
        return False  # a template
    # lexers have tokens, prose has secrets: these two need the look of one
    return len(value) >= 6 and " " not in value and bool(re.search(r"\d|[^\w.-]|-.*-", value))


def _flags(text: str) -> Iterator[tuple[int, int]]:
    for match in _FLAG.finditer(text):
        if not _NO_SECRET.fullmatch(match[1]):
            yield match.span(1)


RULES: tuple[Rule, ...] = (
    Rule(name="private key", needles=("private key",), find=_private_keys),
    Rule(name="dsn", needles=("://",), find=_groups(_URL)),
    Rule(name="sql password", needles=("password", "identified"), find=_sql_passwords),
    Rule(name="netrc", needles=("login",), find=_groups(_NETRC)),
    Rule(name="authorization", needles=("authorization", "bearer"), find=_groups(_AUTHORIZATION)),
    Rule(name="cookie", needles=("cookie",), find=_groups(_COOKIE)),
    Rule(name="html input", needles=("<input",), find=_html_inputs),
    Rule(name="user option", needles=(" -u", "-user"), find=_user_options),
    Rule(
        name="password hash",
        needles=("$2", "$argon2", "$1$", "$5$", "$6$", "$y$", "scrypt$", "pbkdf2", "md5", "scram"),
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
    Rule(name="password", needles=_KEY_WORDS, find=_key_values),
    Rule(name="option", needles=("--",), find=_flags),
)
