"""Recognize names of secrets: parameters, columns, JSON keys and variables."""

from __future__ import annotations

import re

# last words of such names; `token_count`, `max_tokens` and `password_changed_at` do not match
_WORD = (
    r"(?:pass(?:words?|wort|wd|phrase|code)?|pwd|pw|psk|secret|token|credentials?|dsn|conninfo"
    r"|rolpassword|(?:api|access|account|auth|private|secret|signing|encryption|shared|sharedaccess"
    r"|preshared|subscription|application|master|deploy|license|hash)[_-]?key)"
)
SUFFIX = r"(?:[_-]?(?:hash|value|text|base64|base|b64|plain|old|new|raw|\d{1,2}))?"
_NAME = re.compile(rf"(?:^|_){_WORD}{SUFFIX}$")
_RUN_TOGETHER = re.compile(
    rf"\w*(?:password|passwd|passphrase|apikey|secretkey|authtoken|bindpw|rootpw){SUFFIX}"
)
# `REDISCLI_AUTH` holds a password, `SMTP_AUTH=plain` names a method, `ENABLE_AUTH=x` is a switch
_AUTH = re.compile(
    r"(?!(?:\w+_)?(?:ENABLED?|DISABLED?|REQUIRED?|USE|WITH|NO|SKIP|ALLOW|HAS|IS)_)(?:[A-Z0-9]+_)+AUTH"
)
_METHOD = re.compile(
    r"[\d.]*|[A-Za-z_]\w*\.[A-Za-z_]\w*|on|off|yes|no|true|false|none|null|(?:en|dis)abled?|required|optional|any|auto|default"
    r"|basic|digest|plain|login|ntlm\w*|negotiate|kerberos|krb\w*|gss\w*|spnego|ldaps?|oauth\w*|oidc"
    r"|saml\w*|jwt|bearer|(?:cram-?)?md5|scram-\S+|trust|peer|ident|reject|cert\w*|pam|radius|sspi"
    r"|local|internal|external|m?tls|ssl|token|password|anonymous|headers?|cookies?|sessions?|proxy"
    r"|api[_-]?keys?|iam|aws\w*|azure\w*|gcp|google|github|gitlab|x\.?509|userpass|approle"
    r"|kubernetes|~?/.*",
    re.IGNORECASE,
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[\s.-]+")
_LONGEST = 120
# PostgreSQL columns with passwords under other names, and a column that tells if one is set
_CATALOGUE = frozenset({"umoptions", "srvoptions", "subconninfo", "primary_conninfo"})
_HARMLESS = frozenset({"has_password", "conninfo", "pwd", "credentials", "token"})


def is_secret(name: str) -> bool:
    """Tell whether a name is the name of a secret.

    >>> [is_secret(name) for name in ("db_password", "apiKey", "PGPASSWORD", "X-Auth-Token")]
    [True, True, True, True]
    >>> [is_secret(name) for name in ("max_tokens", "token_count", "passes", "compass")]
    [False, False, False, False]
    """
    words = _HUMP.sub("_", name[-_LONGEST:]).lower()
    words = words.replace("pass_word", "password").replace("pass_phrase", "passphrase")
    return bool(_NAME.search(words) or _RUN_TOGETHER.fullmatch(words))


def is_login_variable(name: str, value: str) -> bool:
    """Tell whether a variable such as ``REDISCLI_AUTH`` holds credentials.

    >>> is_login_variable("REDISCLI_AUTH", "sesame"), is_login_variable("SMTP_AUTH", "plain")
    (True, False)
    """
    return bool(_AUTH.fullmatch(name)) and not _METHOD.fullmatch(value)


def is_secret_column(name: str) -> bool:
    """Tell whether a column of a result is masked even if no policy names the column.

    >>> is_secret_column("rolpassword"), is_secret_column("umoptions"), is_secret_column("query")
    (True, True, False)
    """
    return name in _CATALOGUE or (is_secret(name) and name.lower() not in _HARMLESS)
