"""Find secrets by their key: ``key = value`` in shells, INI, YAML, JSON, Python, URLs and others.

A placeholder, a type, a variable, a call and a remark in prose are not values. A bare name such as
``db_password`` is code in ``connect(password=db_password)`` and a value in ``PGPASSWORD=…``, in a
URL, in a connection string and in a settings file: `rbkernel.redact.context` decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from rbkernel.redact.context import FUNCTION, Place
from rbkernel.redact.marks import is_reference, reference_at
from rbkernel.redact.names import SUFFIX, is_login_variable, is_secret

KEY_WORDS = (
    *("pass", "pwd", "pw", "psk", "secret", "token", "credential", "dsn", "conninfo", "key"),
    "_auth",
)
_KEY = re.compile(
    rf"(pass(?:word|wort|wd|phrase|code)?|pwd|pw|psk|secret|token|credentials?|dsn|conninfo|key|_auth)"
    rf"{SUFFIX}"
    r"(\\?[\"']\]?|\])?(\s{0,3})(?:=>|:=|=(?!=)|%3d|(:)(?![:/]))([ \t]{0,8})"
    r"(?:(?:[brune]|u&)?(\\?[\"'`]))?",
    re.IGNORECASE,
)
# `let password: &str = "…"`, `password: String = "…"`
_TYPED = re.compile(r"\s?:\s?&?[A-Za-z][\w.\[\]| <>]{0,40}?\s?=\s?([\"'])")
_KEY_KINDS = re.compile(
    r"(?:api|access|account|auth|private|secret|signing|encryption|shared|sharedaccess|master"
    r"|deploy|license|hash|app|application|admin|sdk|integration|preshared|session|cookie|jwt|service"
    r"|subscription|instrumentation|sentry)[_-]?$",
    re.IGNORECASE,
)
# keys that also name other things: a queue, a document, a user's choice
_WEAK_KINDS = re.compile(r"(?:routing|[A-Z]{3,20}_)[_-]?$")
_NO_KINDS = re.compile(
    r"(?:CACHE|PRIMARY|FOREIGN|PARTITION|SORT|PUBLIC|IDEMPOTENCY|OBJECT|GROUP|DEDUP|ROW|HOT)_$"
)
_RANDOM = re.compile(r"(?=[\w.+/=-]*\d)(?=[\w.+/=-]*[A-Za-z])[\w.+/=-]{20,}+")
# `dbpass` is a password; `compass` and `bypass` are not
_RUN_TOGETHER = re.compile(
    r"(?:db|sql|(?<!\.)pg|my|user|root|admin|app|auth|mail|smtp|ftp|ssh|redis|mongo|ora|http|proxy"
    r"|bind|ldap)$"
)
_FLAG = re.compile(
    r"(?:^|[\s\"'])--?(?!no-)[\w.-]{0,40}?"
    r"(?:(?<=-)pass(?:word|wd|phrase)?|password|passwd|secret|secret-string|token|api-?key|access-?key)"
    r"(?: |[\"'],\s*[\"'])(\\?[\"'](?=\S))?([^\s\"'-][^\s\"']{3,512}+)",
    re.IGNORECASE | re.MULTILINE,
)
_METAVARIABLE = re.compile(
    r"\[?[A-Z_]*(?:PASSWORD|PASS|TOKEN|SECRET|KEY|TEXT|STRING|VALUE|FILE)\]?"
)
_QUOTED = {
    '"': re.compile(r'((?:[^"\\\n]|\\.|""){1,1024}+)(?="|\\?$|…|\.\.\.)', re.MULTILINE),
    "'": re.compile(r"((?:[^'\\\n]|\\.|''){1,1024}+)(?='|\\?$|…|\.\.\.)", re.MULTILINE),
    "`": re.compile(r"((?:[^`\\\n$]|\\.|\$(?!\{)){1,1024}+)(?=`)"),
    '\\"': re.compile(r'((?:[^"\\\n]|\\[^"]){1,1024}+)(?=\\")'),
    "\\'": re.compile(r"((?:[^'\\\n]|\\[^']){1,1024}+)(?=\\')"),
    "\\`": re.compile(r"(?!)"),
}
_BARE = re.compile(r"(?:[^\s\"'<>&;,(){}\[\]|`\\]|\\ ){1,512}+")
_BLOCK_END = re.compile(r"[ \t]*+(?:[\r\n,}\]\"'#\\]|$)")
# values that are not secrets: empty ones, placeholders, types, references, remarks
_NO_SECRET = re.compile(
    r"none|null|nil|true|false|yes|no|on|off|str|string|text|bytes|int|bool|any|optional|secretstr"
    r"|required|missing|unset|empty|invalid|expired|incorrect|wrong|failed|ok|set|unknown|n/a"
    r"|not|is|in|or|and|if|for|see|use|with|the|a|to|will|must|never|always|prompt|updated|changed"
    r"|password|passwd|secret|token|self|boolean|integer|character|varchar|bytea|uuid|json"
    r"|redacted|hidden|masked|disabled|enabled|x{3,}|[*•.…_-]+|%\(?\w*\)?[sd]?|\?|:\w+|\$\w*|\$\{.*"
    r"|\$\(.*|#.*|~?/.*|vault:.*",
    re.IGNORECASE,
)


def is_no_secret(value: str) -> bool:
    """Tell whether a value is no secret: a placeholder, a type, a reference, a word of a remark.

    >>> is_no_secret("required"), is_no_secret("${X}"), is_no_secret("sunflower")
    (True, True, False)
    """
    return bool(_NO_SECRET.fullmatch(value)) or is_reference(value)


# states of a setting in logs
_STATE = re.compile(
    r"(?:accepted|added|applied|available|cached|changed|created|defined|deleted|denied|deprecated"
    r"|encrypted|exists|failed|found|generated|given|hashed|here|ignored|leaked|loaded|matches"
    r"|matched|mismatch|needed|not|present|provided|received|refused|rejected|removed|renewed|reset"
    r"|resolved|rotated|saved|shared|stored|supplied|supported|unchanged|unused|updated|used"
    r"|validated|verified|works|changes?|rotation|policy|file|field|column|value|hash|length|property"
    r"|setting|parameter|option|variable|encryption|scanning|authentication|expiry|management)",
    re.IGNORECASE,
)


def is_state(value: str) -> bool:
    """Tell whether a word only reports the state of a setting: ``smtp_password rotated``.

    >>> is_state("rotated"), is_state("sesame")
    (True, False)
    """
    return bool(_STATE.fullmatch(value))


def key_values(text: str) -> Iterator[tuple[int, int]]:
    """Find the values of keys that are named like secrets.

    >>> [slice(*place) for place in key_values("password=x1 user=b, token_count = 3")]
    [slice(9, 11, None)]
    """
    done = 0  # a key inside the previous value is part of that value
    for key in _keys(text):
        if key.start() < done:
            continue
        if (reference := reference_at(text, key.end())) and not _is_braced(text, key):
            done = reference
            continue
        found = _value(text, key)
        if found and _may_be_secret(text, key, found):
            done = found[1]
            yield found


_BRACED_NAME = re.compile(r"\{[\w.]*\}")


def _is_braced(text: str, key: re.Match[str]) -> bool:
    """Tell whether the value is in the braces of a connection string: ``PWD={a;b};``."""
    if not text.startswith("{", key.end()) or _BRACED_NAME.match(text, key.end()):
        return False
    return Place.of(text, key).in_connection_string


def _keys(text: str) -> Iterator[re.Match[str]]:
    for start in sorted(_places(text.lower(), KEY_WORDS)):
        if (key := _KEY.match(text, start)) and _is_key(text, start, key[1].lower()):
            yield key


def _places(lower: str, words: Iterable[str]) -> Iterator[int]:
    """Find the positions of words; this is much faster than a regular expression."""
    for word in words:
        place = lower.find(word)
        while place >= 0:
            yield place
            place = lower.find(word, place + len(word))


def _is_key(text: str, start: int, word: str) -> bool:
    """Tell whether the word is a key, not part of another word: ``pass`` in ``compass`` is not."""
    before = text[max(0, start - 21) : start]
    if word == "key":
        return bool(_KEY_KINDS.search(before) or _is_weak(before))
    if word == "_auth":
        return before[-1:].isupper() or before[-1:].isdigit()
    if word in {"pass", "dsn", "pwd", "pw", "psk"} and before[-1:].isalpha():
        return word in {"pass", "pw"} and bool(_RUN_TOGETHER.search(before.lower()))
    return True


def _is_weak(before: str) -> bool:
    return bool(_WEAK_KINDS.search(before)) and not _NO_KINDS.search(before)


def _value(text: str, key: re.Match[str]) -> tuple[int, int] | None:
    _, closed, gap, colon, pause, quote = key.groups()
    if quote == "`" and not (gap or pause):
        return None  # the output of a command
    if colon and gap and not closed and not pause:
        return None  # a variable of psql: `PASSWORD :'name'`, `\set pw :name`
    if quote:
        return _quoted(text, key, quote)
    if colon and (typed := _TYPED.match(text, key.start(4))):
        value = _QUOTED[typed[1]].match(text, typed.end())
        return value.span(1) if value else None
    place = Place.of(text, key)
    if place.line.endswith("${"):
        return None
    if place.in_url:
        return None  # `https://x-access-token:…@`: another rule handles the text before the @
    if place.in_connection_string:
        return place.until_semicolon()
    if place.quote:
        return place.until_quote()
    return _bare(text, key, place, prose=bool(colon and gap + pause))


def _quoted(text: str, key: re.Match[str], quote: str) -> tuple[int, int] | None:
    value = _QUOTED[quote].match(text, key.end())
    # `input("Password: "), …`: the quotation mark ends a text
    if value is None:
        return None
    if value[1][0] in "),;]}: \n" and (key[4] or _is_open(text, key.start(), quote)):
        return None
    return value.span(1)


_LONGEST_LINE = 1_000


def _is_open(text: str, place: int, quote: str) -> bool:
    """Tell whether a quotation is open at the position in its line."""
    start = max(text.rfind("\n", 0, place) + 1, place - _LONGEST_LINE)
    return text.count(quote, start, place) % 2 == 1


def _bare(text: str, key: re.Match[str], place: Place, *, prose: bool) -> tuple[int, int] | None:
    value = _BARE.match(text, key.end())
    if value is None:
        return None
    after = text[value.end() : value.end() + 1]
    # a call, an index, or a name that is passed on in Python
    if after in {"(", "["}:
        return None
    if phrase := place.phrase(value.end(), key[1].lower()):
        return value.start(), phrase
    in_list = after == "," and place.in_list(value.end())
    if not in_list and _is_code(value[0], after, lambda: place.is_literal(value.end())):
        return None
    if prose and (not _BLOCK_END.match(text, value.end()) or place.is_remark(value[0])):
        return None
    return value.span()


_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_PLAIN_NAME = re.compile(r"[A-Za-z_]+")
_CMDLET = re.compile(r"[A-Z][A-Za-z]+-[A-Z]\w+")


def _is_code(value: str, after: str, is_literal: Callable[[], bool] = lambda: False) -> bool:
    """Tell whether a value is an expression: ``settings.password``, or a name before a comma.

    >>> _is_code("settings.password", ")"), _is_code("pw", ","), _is_code("hunter2", ",")
    (True, True, False)
    >>> _is_code("prod_password_9", ""), _is_code("prod_password_9", "", lambda: True)
    (True, False)
    """
    if after in {")", ","} and (_PLAIN_NAME.fullmatch(value) or is_secret(value)):
        return True
    if _DOTTED.fullmatch(value) and (after in {")", ","} or any(map(is_secret, value.split(".")))):
        return True
    if _CMDLET.fullmatch(value) and after == " ":
        return True
    named = is_secret(value) or bool(FUNCTION.match(value) and not value.isalpha())
    return named and value.isidentifier() and not is_literal()


# words of code and remarks; in an environment variable they may be passwords
_WEAK = frozenset({"password", "passwd", "passphrase", "secret", "token", "text", "string"})


def _may_be_secret(text: str, key: re.Match[str], found: tuple[int, int]) -> bool:
    word, value, quoted = key[1].lower(), text[slice(*found)], bool(key[6])
    if value.lower() in _WEAK and word.startswith(("pass", "pwd")):
        return Place.of(text, key).is_environment
    if value.startswith("[redacted:") or is_no_secret(value):
        return False
    if word == "pass" and value.isdigit():
        return False  # a count
    if word == "_auth":
        return is_login_variable(Place.of(text, key).name, value)
    if word.startswith(("pass", "pw", "psk")):
        return True
    if quoted and value[:1] in {"{", "%", "<", "$"}:
        return False  # a template
    before = text[max(0, key.start() - 21) : key.start()]
    if word == "key" and not _KEY_KINDS.search(before):
        return bool(_RANDOM.fullmatch(value))
    # lexers have tokens, prose has "secrets": require a random-looking value or a variable's name
    if len(value) < 6 or " " in value:
        return word == "key" and quoted and len(value) >= 8 and bool(_LOOK.search(value))
    return bool(_LOOK.search(value)) or (
        word in {"secret", "token", "key"} and Place.of(text, key).names_variable
    )


_LOOK = re.compile(r"\d|[^\w.-]|-.*-|^(?=.*[a-z])(?=.*[A-Z])\w{16,}$")


def flags(text: str) -> Iterator[tuple[int, int]]:
    """Find the values of options such as ``--password VALUE``."""
    for match in _FLAG.finditer(text):
        if match[1] and (quoted := _QUOTED[match[1]].match(text, match.start(2))):
            if not is_no_secret(quoted[1]):
                yield quoted.span(1)
        elif not is_no_secret(match[2]) and not _METAVARIABLE.fullmatch(match[2]):
            yield match.span(2)
