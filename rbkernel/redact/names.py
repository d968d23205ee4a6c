"""Which names say that their value is a secret: of parameters, columns, JSON keys, variables."""

from __future__ import annotations

import re

# the words that end such a name; `token_count`, `max_tokens` and `password_changed_at` are none
_WORD = (
    r"(?:pass(?:words?|wd|phrase|code)?|pwd|pw|secret|token|credentials?|dsn|conninfo|rolpassword"
    r"|(?:api|access|account|auth|private|secret|signing|encryption|shared|sharedaccess|master"
    r"|deploy|license|hash)[_-]?key)"
)
SUFFIX = r"(?:[_-]?(?:hash|value|text|base64|base|b64|plain|old|new|raw|\d{1,2}))?"
_NAME = re.compile(rf"(?:^|_){_WORD}{SUFFIX}$")
_RUN_TOGETHER = re.compile(rf"\w*(?:password|passwd|passphrase|apikey|secretkey|authtoken){SUFFIX}")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[\s.-]+")
_LONGEST = 120
# PostgreSQL's own columns that hold passwords under other names, and one that says whether
_CATALOGUE = frozenset({"umoptions", "srvoptions", "subconninfo", "primary_conninfo"})
_HARMLESS = frozenset({"has_password", "conninfo", "pwd", "credentials", "token"})


def is_secret(name: str) -> bool:
    """Tell whether a name says that its value is a secret.

    >>> [is_secret(name) for name in ("db_password", "apiKey", "PGPASSWORD", "X-Auth-Token")]
    [True, True, True, True]
    >>> [is_secret(name) for name in ("max_tokens", "token_count", "passes", "compass")]
    [False, False, False, False]
    """
    words = _HUMP.sub("_", name[-_LONGEST:]).lower()
    return bool(_NAME.search(words) or _RUN_TOGETHER.fullmatch(words))


def is_secret_column(name: str) -> bool:
    """Tell whether a column of a result is masked although no policy names it.

    >>> is_secret_column("rolpassword"), is_secret_column("umoptions"), is_secret_column("query")
    (True, True, False)
    """
    return name in _CATALOGUE or (is_secret(name) and name.lower() not in _HARMLESS)
