"""Find secrets on command lines: the values of programs' password options.

``-p`` is a password for `mysql` and `sshpass`, a port for `psql`, `ssh` and `redis-cli`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# a blank, or the separator of two list items in Python or JSON
_GAP = r"(?:(?:[ \t]|\\\n)+|\\?[\"'],\s*)"
_VALUE = r"(?:\\?\"([^\"\n\\]{1,256}+)|'([^'\n]{1,256}+)|([^\s\"'\\|;&<>-][^\s\"'\\|;&<>]{0,255}+))"
_BEFORE = r"(?<=[\s\"'])"
_NO_OPTION_OF_FIND = r"(?!(?:rint0?|rintf|ath|rune|erm)(?![^\s\"']))"


def _spaced(*options: str) -> str:
    return rf"{_BEFORE}(?:{'|'.join(options)})(?:{_GAP}|=){_VALUE}"


_USER_AND_PASSWORD = (
    rf"{_BEFORE}(?:-u{_GAP}?|--(?:proxy-)?user(?:[ =]|[\"'],\s*))"
    r"(?:\\?[\"'][^\s:\"']{1,128}+:([^\"'\n\\]{1,256}+)|[^\s:\"'\\]{1,128}+:([^\s\"'\\&<>]{1,256}+))"
)
# names of programs, an expression for the rest of the name, the options that take a password
_PROGRAMS: tuple[tuple[str, str, str], ...] = (
    ("curl wget http xh hey etcdctl", r"s?", _USER_AND_PASSWORD),
    ("curl", "", rf"{_BEFORE}(?:-E|--cert)[ =][^\s:\"']{{2,128}}+:([^\s\"'\\]{{1,256}}+)"),
    ("http xh", r"s?", rf"{_BEFORE}-a{_GAP}[^\s:\"']{{1,128}}+:([^\s\"'\\]{{1,256}}+)"),
    # `find /var/log/mysql -print` names a folder
    ("mysql mariadb mycli innotop", r"[\w-]*", rf"{_BEFORE}-p{_NO_OPTION_OF_FIND}{_VALUE}"),
    ("mysqladmin mariadb-admin", "", rf"{_BEFORE}password{_GAP}{_VALUE}"),
    ("sshpass", "", rf"{_BEFORE}-p{_GAP}?{_VALUE}"),
    (
        "docker podman nerdctl buildah skopeo helm oras crane oc az cf",
        r"\b[^\n|;&]{0,80}?\blogin",
        _spaced("-p"),
    ),
    ("mongo cqlsh beeline ysqlsh nodetool impala-shell", r"\w*", _spaced("-p")),
    ("redis-cli valkey-cli keydb-cli", "", _spaced("-a", "--pass")),
    ("sqlcmd bcp osql tsql zip ipmitool", "", rf"{_BEFORE}-P{_GAP}?{_VALUE}"),
    ("ldap", r"\w+", rf"{_BEFORE}-w{_GAP}?{_VALUE}"),
    ("openssl", "", _spaced("-k", "-K")),
    (
        "keytool jarsigner",
        "",
        _spaced("-storepass", "-keypass", "-srcstorepass", "-deststorepass"),
    ),
    (
        "smbclient rpcclient smbmap",
        "",
        rf"{_BEFORE}-U{_GAP}?\\?[\"']?[^\s%\"']{{1,80}}+%([^\s\"']{{1,256}}+)",
    ),
    (
        "htpasswd",
        "",
        rf"{_BEFORE}-[A-Za-z]*b[A-Za-z]*{_GAP}(?:-\S+\s+)*(?:\S+\s+)?\S+{_GAP}{_VALUE}",
    ),
    (
        "rabbitmqctl",
        "",
        rf"{_BEFORE}(?:add_user|change_password|authenticate_user){_GAP}\S{{1,80}}+{_GAP}{_VALUE}",
    ),
    ("kinit su sudo passwd cryptsetup gpg ssh-keygen", "", rf"<<<\s*{_VALUE}"),
    ("ssh-keygen", "", _spaced("-N", "-P")),
    ("cargo gh vault doctl fly netlify vercel", "", rf"{_BEFORE}login{_GAP}([\w.-]{{20,512}}+)"),
    ("lftp ncftp", r"\w*", rf"{_BEFORE}-u{_GAP}[^\s,]{{1,80}}+,([^\s\"']{{1,256}}+)"),
    ("vncpasswd 7z rar", r"\w?", rf"{_BEFORE}-p{_VALUE}"),
    ("isql usql nzsql vsql", "", rf"{_BEFORE}-w{_GAP}?{_VALUE}"),
    ("snmp", r"\w+", _spaced("-A", "-X")),
    ("useradd usermod psexec rdesktop", r"\w*", _spaced("-p")),
    ("ldappasswd", "", _spaced("-s", "-a")),
    ("vault", "", rf"{_BEFORE}unseal{_GAP}([\w+/=.-]{{20,512}}+)"),
    # Windows
    (
        "schtasks wmic cmdkey xfreerdp wlfreerdp winrs psexec",
        r"\w*",
        rf"{_BEFORE}[/-](?:rp|p|pass(?:word)?)[ :]{_VALUE}",
    ),
)
_COMMANDS = tuple(
    (
        tuple(names.split()),
        re.compile(rf"(?<![\w.-])(?:un)?(?:{'|'.join(names.split())}){rest}(?:\.exe)?(?=[\s\"'])"),
        re.compile(option),
    )
    for names, rest, option in _PROGRAMS
)
_END = re.compile(r"(?<!\\)\n|\s\|{1,2}\s|\s?&&|;\s")
_LONGEST_COMMAND = 500
_PASS_PHRASE = re.compile(
    r"-pass(?:in|out)?(?:[ =]\"pass:([^\"\n]{1,256}+)\"|[ =]'pass:([^'\n]{1,256}+)'"
    r"|[ =\"',]+pass:[\"']?([^\s\"']{1,256}+))"
)
# `net use \\\\host\\share /user:bob sesame`, `net user bob sesame /add`
_NET = re.compile(
    r"\bnet(?:\.exe)?[ \t]{1,4}(user?)"
    r"((?:[ \t]{1,4}(?:\"[^\"\n]{1,128}+\"|[^\s\"'|;&<>]{1,128}+)){1,8}+)",
    re.IGNORECASE,
)
_NET_WORD = re.compile(r"\"([^\"\n]+)\"|(\S+)")
_NET_OTHER = re.compile(r"/.*|\\.*|[A-Za-z]:|[*?]|help", re.IGNORECASE)
NEEDLES = (
    *(" -", '"-', "'-", "<<<", " login ", "_user ", "password ", "unseal"),
    *("net use", "/rp", "/p:", "/pass"),
)


def password_options(text: str) -> Iterator[tuple[int, int]]:
    """Find the passwords in commands such as ``curl -u user:password`` and ``mysql -psecret``.

    >>> text = "mysql -psecret9 -P 3306; redis-cli -p 6379 -a sesame"
    >>> [text[start:end] for start, end in password_options(text)]
    ['secret9', 'sesame']
    """
    for names, program, option in _COMMANDS:
        if not any(name in text for name in names):
            continue
        place = 0
        while command := program.search(text, place):
            place = _end(text, command.end())
            for match in option.finditer(text, command.end(), place):
                yield match.span(match.lastindex or 0)
    if "-pass" in text:
        yield from (match.span(match.lastindex or 0) for match in _PASS_PHRASE.finditer(text))
    for match in _NET.finditer(text) if "net" in text.lower() else ():
        yield from _net_password(match)


def _net_password(match: re.Match[str]) -> Iterator[tuple[int, int]]:
    """Find the password of `net use` and `net user`; the first word of `net user` is the user."""
    words = [
        word.span(word.lastindex or 0)
        for word in _NET_WORD.finditer(match.string, *match.span(2))
        if not _NET_OTHER.fullmatch(word[word.lastindex or 0])
    ]
    yield from words[1:2] if match[1].lower() == "user" else words[:1]


def _end(text: str, start: int) -> int:
    """Return the end of the shell command that contains this position."""
    end = min(start + _LONGEST_COMMAND, len(text))
    stop = _END.search(text, start, end)
    return stop.start() if stop else end
