"""Secrets on command lines: which option of which program is a password.

``-p`` is a password for `mysql` and `sshpass`, a port for `psql`, `ssh` and `redis-cli`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

# a blank, or what stands between two items of a list in Python or JSON
_GAP = r"(?:(?:[ \t]|\\\n)+|\\?[\"'],\s*)"
_VALUE = r"(?:\\?\"([^\"\n\\]{1,256}+)|'([^'\n]{1,256}+)|([^\s\"'\\|;&<>-][^\s\"'\\|;&<>]{0,255}+))"
_BEFORE = r"(?<=[\s\"'])"


def _spaced(*options: str) -> str:
    return rf"{_BEFORE}(?:{'|'.join(options)})(?:{_GAP}|=){_VALUE}"


_USER_AND_PASSWORD = (
    rf"{_BEFORE}(?:-u{_GAP}?|--(?:proxy-)?user(?:[ =]|[\"'],\s*))"
    r"(?:\\?[\"'][^\s:\"']{1,128}+:([^\"'\n\\]{1,256}+)|[^\s:\"'\\]{1,128}+:([^\s\"'\\]{1,256}+))"
)
# program: its options that take a password
_PROGRAMS: Mapping[str, str] = {
    r"curl|wget|https?|xh|hey|ab": _USER_AND_PASSWORD,
    r"mysql\w*|mariadb[\w-]*|mycli|mytop|innotop": rf"{_BEFORE}-p{_VALUE}",
    r"mysqladmin|mariadb-admin": rf"{_BEFORE}password{_GAP}{_VALUE}",
    r"sshpass": rf"{_BEFORE}-p{_GAP}?{_VALUE}",
    r"(?:docker|podman|nerdctl|buildah|skopeo|helm|oras|crane|oc|az|cf)\b[^\n|;&]{0,80}?\blogin": (
        _spaced("-p")
    ),
    r"mongo\w*|cqlsh|beeline|ysqlsh|nodetool|ipmitool|impala-shell": _spaced("-p"),
    r"redis-cli|valkey-cli|keydb-cli": _spaced("-a", "--pass"),
    r"sqlcmd|bcp|osql|tsql|zip|unzip|ipmitool|nsqlcmd": rf"{_BEFORE}-P{_GAP}?{_VALUE}",
    r"ldap\w+": rf"{_BEFORE}-w{_GAP}?{_VALUE}",
    r"openssl": _spaced("-k", "-K"),
    r"keytool|jarsigner": _spaced("-storepass", "-keypass", "-srcstorepass", "-deststorepass"),
    r"smbclient|rpcclient|net|smbmap": (
        rf"{_BEFORE}-U{_GAP}?\\?[\"']?[^\s%\"']{{1,80}}+%([^\s\"']{{1,256}}+)"
    ),
    r"htpasswd": rf"{_BEFORE}-[A-Za-z]*b[A-Za-z]*{_GAP}(?:-\S+\s+)*(?:\S+\s+)?\S+{_GAP}{_VALUE}",
    r"rabbitmqctl": (
        rf"{_BEFORE}(?:add_user|change_password|authenticate_user){_GAP}\S{{1,80}}+{_GAP}{_VALUE}"
    ),
    r"kinit|su|sudo|passwd|cryptsetup|gpg|ssh-keygen": rf"<<<\s*{_VALUE}",
    r"ssh-keygen": _spaced("-N", "-P"),
    r"cargo|gh|vault|doctl|fly|flyctl|netlify|vercel": (
        rf"{_BEFORE}login{_GAP}([\w.-]{{20,512}}+)"
    ),
    r"lftp|ncftp\w*": rf"{_BEFORE}-u{_GAP}[^\s,]{{1,80}}+,([^\s\"']{{1,256}}+)",
    r"vncpasswd|7z\w?|rar|unrar": rf"{_BEFORE}-p{_VALUE}",
    r"isql|usql|nzsql|vsql": rf"{_BEFORE}-w{_GAP}?{_VALUE}",
    r"snmp\w+": _spaced("-A", "-X"),
}
_COMMANDS = tuple(
    (
        re.compile(rf"(?<![\w.-])(?:{program})(?:\.exe)?(?=[\s\"'])"),
        re.compile(option),
    )
    for program, option in _PROGRAMS.items()
)
_END = re.compile(r"(?<!\\)\n|\s\|{1,2}\s|\s?&&|;\s")
_LONGEST_COMMAND = 500
_CHPASSWD = re.compile(
    r"[\"']?[\w.-]{1,64}+:([^\"'\n:]{1,256}?)[\"']?\s{0,9}\|\s{0,9}(?:sudo\s{1,9})?chpasswd\b"
)
_PASS_PHRASE = re.compile(r"-pass(?:in|out)?[ =\"',]+pass:([^\s\"']{1,256}+)")
NEEDLES = (
    *(f" -{letter}" for letter in "upawknsb"),
    *(f'"-{letter}' for letter in "upawknsb"),
    *(f"'-{letter}" for letter in "upawknsb"),
    *("--user", "--proxy-user", "--pass", "chpasswd", "<<<", "rabbitmqctl", " login ", "password "),
)


def password_options(text: str) -> Iterator[tuple[int, int]]:
    """Find ``curl -u user:password``, ``mysql -psecret`` and the like.

    >>> text = "mysql -psecret9 -P 3306; redis-cli -p 6379 -a sesame"
    >>> [text[start:end] for start, end in password_options(text)]
    ['secret9', 'sesame']
    """
    for program, option in _COMMANDS:
        for command in program.finditer(text):
            end = min(command.end() + _LONGEST_COMMAND, len(text))
            if stop := _END.search(text, command.end(), end):
                end = stop.start()
            for match in option.finditer(text, command.end(), end):
                yield match.span(match.lastindex or 0)
    for expression in (_CHPASSWD, _PASS_PHRASE):
        for match in expression.finditer(text):
            yield match.span(1)
