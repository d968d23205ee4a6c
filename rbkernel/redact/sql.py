"""Find secrets in SQL: role passwords, function arguments and inserted rows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rbkernel.redact.names import is_secret

_STRING = r"(?:[NB]|U&)?'((?:[^'\n]|''){1,512}+)(?='|$)"
_SQL = re.compile(
    rf"\bpassword\s{{1,20}}+(?:hash\s{{1,20}}+)?(?:{_STRING}|e'((?:[^'\\\n]|''|\\.){{1,512}}+)(?='|$))"
    r"|\bpassword\s{1,20}+\$(\w{0,20}+)\$(.{1,256}?)\$\3\$"
    r"|\bidentified\s{1,20}+(?:with\s{1,20}+\w{1,60}+\s{1,20}+)?(?:by|as)\s{1,20}+"
    rf"(?:password\s{{1,20}}+)?{_STRING}"
    r"|\bidentified\s{1,20}+by\s{1,20}+(?:values\s{1,20}+)?\"([^\"\n]{1,256}+)\""
    r"|\breplace\s{1,20}+\"([^\"\n]{1,256}+)\"(?=\s*(?:;|$))"
    # without quotes, as in Oracle
    r"|\b(?:user|role|to)\s{1,20}+[\w.$#\"]{1,64}+\s{1,20}+identified\s{1,20}+by\s{1,20}+"
    r"([A-Za-z][\w$#]{0,127}+)",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
_GROUPS = (1, 2, 4, 5, 6, 7, 8)
NEEDLES = ("password", "identified")
# pgcrypto, MySQL, SQL Server, settings: the secret is an argument
ARGUMENT = (
    r"\bcrypt\(\s{0,5}+'([^'\n]{1,512}+)'"
    r"|\bpgp_sym_(?:en|de)crypt(?:_bytea)?\([^()\n]{1,500}?,\s{0,5}+'([^'\n]{1,512}+)'"
    r"|\bset_config\(\s{0,5}+'[\w.]{0,60}?(?:password|secret|token|key)'\s{0,5}+,\s{0,5}+'([^'\n]{1,512}+)'"
    r"|\bset\s{1,5}+password\s{1,5}+for\s[^\n=]{1,200}+=\s{0,5}+(?:password\()?'([^'\n]{1,512}+)'"
    r"|\bsp_addlogin\s{1,5}+N?'[^'\n]{1,128}+'\s{0,5}+,\s{0,5}+N?'([^'\n]{1,256}+)'"
    r"|\bdb\.auth\(\s{0,5}+[\"'][^\"'\n]{1,128}+[\"']\s{0,5}+,\s{0,5}+[\"']([^\"'\n]{1,256}+)[\"']"
    r"|\bgetConnection\([^,()\n]{1,200}+,\s{0,5}+\"[^\"\n]{0,128}+\""
    r"\s{0,5}+,\s{0,5}+\"([^\"\n]{1,256}+)\""
    r"|(?:\bauth\s{0,3}[=:]\s{0,3}[(\[]|\b(?:HTTP(?:Basic|Digest))?Auth\(|\.login\(|\bURL\.create\([^,\n]{1,40},)"
    r"\s{0,5}(?:user(?:name)?\s?=\s?)?[\"'][^\"'\n]{1,128}+[\"']\s{0,5}+,\s{0,5}+[\"']([^\"'\n]{1,256}+)[\"']"
    r"|,\s{0,5}+SECRET\s{1,4}+'([^'\n]{1,256}+)'"
)
ARGUMENT_NEEDLES = (
    "crypt",
    "set_config",
    "password for",
    "sp_addlogin",
    "db.auth",
    "getconnection",
    *("auth(", "auth=", "auth =", "auth:", 'auth"', "auth'"),
    ".login(",
    "url.create",
    "secret ",
)


def sql_passwords(text: str) -> Iterator[tuple[int, int]]:
    """Find the passwords of roles, users and logins.

    >>> text = "ALTER ROLE app PASSWORD 'one'; CREATE USER x IDENTIFIED BY two"
    >>> [text[start:end] for start, end in sql_passwords(text)]
    ['one', 'two']
    """
    for match in _SQL.finditer(text):
        yield match.span(next(group for group in _GROUPS if match.start(group) >= 0))


_INSERT = re.compile(
    r"\binsert\s{1,20}+into\s{1,20}+[\w.\"`]{1,128}+\s{0,20}+\(([^()]{1,2000}+)\)\s{0,20}+values"
    r"\s{0,20}+",
    re.IGNORECASE,
)
_ROW = re.compile(r"\(((?:[^()']|'(?:[^']|'')*+'|\([^()']*+\)){1,4000}+)\)\s{0,20}+,?\s{0,20}+")
_ITEM = re.compile(r"(?:[^,'()]|'(?:[^']|'')*+'|\([^()]*+\))++")
_TEXT = re.compile(r"\s*[EeNn]?'((?:[^']|'')+)'\s*\Z")


def inserted(text: str) -> Iterator[tuple[int, int]]:
    """Find the values inserted into columns that are named like a secret.

    >>> text = "INSERT INTO users (name, password) VALUES ('bob', 'x1'), ('eve', $1)"
    >>> [text[start:end] for start, end in inserted(text)]
    ['x1']
    """
    for head in _INSERT.finditer(text):
        names = [name.strip(' \t\r\n"`').lower() for name in head[1].split(",")]
        secret = {number for number, name in enumerate(names) if is_secret(name)}
        place = head.end()
        while secret and (row := _ROW.match(text, place)):
            place = row.end()
            for number, item in enumerate(_ITEM.finditer(text, *row.span(1))):
                if number in secret and (value := _TEXT.match(text, *item.span())):
                    yield value.span(1)
