"""Shell text, read without a shell: does it change something?

Pure, and made for people's runbooks: it knows the commands that operations people write, through
pipes, lists, `sudo` and continuation lines. It is no boundary: a program that it does not know is
taken to only look, unless its name says otherwise. What it finds is proposed, never run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from pathlib import PurePosixPath

_PLACEHOLDER = re.compile(r"‹[^›]*›|<[A-Za-z][\w .|/-]*>|\[[A-Za-z][\w .|/-]*\]")
_SEPARATORS = re.compile(r"^[;&|()]+$")
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
_SYSTEM_FILE = re.compile(r"^/(?!dev/(?:null|stdout|stderr)$|tmp/)")
# they run what follows them; the number is how many words after their options belong to them
_WRAPPERS = {"sudo": 0, "env": 0, "time": 0, "nohup": 0, "xargs": 0, "doas": 0, "timeout": 1}
_KEYWORDS = frozenset({"do", "then", "else", "{", "!", "$", "placeholder"})
# they run the text that is their last word
_RUN_TEXT = {"watch": "", "ssh": "", "bash": "-c", "sh": "-c", "su": "-c", "eval": ""}
_OPTIONS_WITH_VALUE = frozenset({"-u", "-n", "--namespace", "--context", "-f", "-g", "-C", "-h"})
_DRY = re.compile(r"^(?:--dry-run(?:=(?!none|false).*)?|--check|--noop|--whatif)$")
_CHANGING_NAME = re.compile(
    r"(?:^|[-_.])(?:deploy|rollback|roll-back|restart|hotfix|migrate|rotate|delete|drop|purge|clear"
    r"|flush|failover|promote|scale|kill|restore|notify|reconcile|cleanup|clean)(?:$|[-_.])",
    re.IGNORECASE,
)
_CHANGING_SQL = re.compile(
    r"\b(?:insert\s+into|update\s+\S+\s+set|delete\s+from|merge\s+into|truncate|drop|alter|create"
    r"|grant|revoke|vacuum|reindex|cluster|pg_terminate_backend|pg_cancel_backend|pg_promote"
    r"|pg_wal_replay_(?:pause|resume)|pg_drop_replication_slot)\b",
    re.IGNORECASE,
)

Words = list[str]


def changes(text: str) -> str:
    r"""Say which command of a shell text changes something; empty when none does.

    >>> changes("kubectl get pods -n shop | grep -c Running")
    ''
    >>> changes("# the old one first\nsudo kubectl -n shop \\\n  delete pod web-1")
    'kubectl delete'
    >>> changes("curl -s http://api/health && curl -X POST http://api/flags/on")
    'curl -X POST'
    >>> changes("kubectl apply --dry-run=client -f x.yaml"), changes("psql -c 'DROP TABLE x'")
    ('', 'psql with DROP')
    """
    return next((reason for words in commands(text) if (reason := _change(words))), "")


def commands(text: str) -> Iterator[Words]:
    """Yield the words of each simple command, without wrappers such as `sudo`.

    >>> list(commands("FOO=1 sudo -u postgres psql -c 'a; b' | wc -l; [command]"))
    [['psql', '-c', 'a; b'], ['wc', '-l']]
    """
    for line in _PLACEHOLDER.sub("placeholder", text).replace("\\\n", " ").splitlines():
        simple: Words = []
        for word in [*_words(line), ";"]:
            if not _SEPARATORS.match(word):
                simple.append(word)
                continue
            if bare := _unwrapped(simple):
                yield bare
            simple = []


def _words(line: str) -> Words:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:  # a quote that does not end in this line
        return line.split("#")[0].replace("'", " ").replace('"', " ").split()


def _unwrapped(words: Words) -> Words:
    while words:
        name = PurePosixPath(words[0]).name
        if _ASSIGNMENT.match(words[0]) or words[0] in _KEYWORDS:
            words = words[1:]
        elif name in _WRAPPERS:
            words = _without_options(words[1:])[_WRAPPERS[name] :]
        else:
            break
    return words


def _without_options(words: Words) -> Words:
    while words and words[0].startswith("-"):
        words = words[2:] if words[0] in _OPTIONS_WITH_VALUE else words[1:]
    return words


def _change(words: Words) -> str:
    if any(_DRY.match(word) for word in words):
        return ""
    for sign, target in pairwise(words):
        if sign in {">", ">>"} and _SYSTEM_FILE.match(target):
            return f"writing to {target}"
    name = PurePosixPath(words[0]).name
    if name in _RUN_TEXT and len(words) > 1:
        return changes(words[-1]) if _RUN_TEXT[name] in {"", *words} else ""
    if name in _PROGRAMS:
        return _PROGRAMS[name](name, words[1:])
    return name if _CHANGING_NAME.search(name) else ""


def _always(name: str, arguments: Words) -> str:
    return name if arguments else ""


def _verb(verbs: frozenset[str], name: str, arguments: Words) -> str:
    """Look for a verb among the words that are no options: `kubectl -n x rollout undo`."""
    words: Words = []
    rest = list(arguments)
    while rest := _without_options(rest):
        words.append(rest.pop(0))
    pair = " ".join(words[:2])
    for said in (pair, *words[:2]):
        if said in verbs:
            return f"{name} {said}"
    return ""


def _anywhere(pattern: re.Pattern[str], name: str, arguments: Words) -> str:
    found = next((word for word in arguments if pattern.search(word)), "")
    return f"{name} {found}" if found else ""


def _curl(name: str, arguments: Words) -> str:
    line = " ".join(arguments)
    if method := re.search(r"(?:-X|--request)[ =]?(POST|PUT|PATCH|DELETE)\b", line, re.IGNORECASE):
        return f"{name} -X {method[1].upper()}"
    asks_with_get = {"-G", "--get"} & set(arguments)
    sent = re.search(r"(?:^| )(-d|--data(?:-\w+)?|-F|--form|-T|--upload-file|--json)\b", line)
    return f"{name} {sent[1]}" if sent and not asks_with_get else ""


def changing_sql(text: str) -> str:
    """Return the word by which SQL in a text, not in a cell, changes something; empty when none.

    For text that nobody sends to a database. What is sent, the guard reads.

    >>> changing_sql("SELECT 1"), changing_sql("update t set a = 1")
    ('', 'UPDATE')
    """
    found = _CHANGING_SQL.search(text)
    word = found[0].split()[0] if found else ""
    return word if word.startswith("pg_") else word.upper()


def _psql(name: str, arguments: Words) -> str:
    word = changing_sql(" ".join(arguments))
    return f"{name} with {word}" if word else ""


def _find(name: str, arguments: Words) -> str:
    does = next((word for word in arguments if word in {"-delete", "-exec", "-execdir"}), "")
    return f"{name} {does}" if does else ""


def _split(text: str) -> list[str]:
    return text.split()


def _verbs(text: str) -> Callable[[str, Words], str]:
    return partial(_verb, frozenset(verb.replace("_", " ") for verb in _split(text)))


_CLOUD = re.compile(
    r"^(?:create|delete|remove|update|put|modify|reboot|restart|start|stop|terminate|run-|set-"
    r"|add-|attach|detach|deploy|patch|promote|failover|restore|scale|resize|import|drain|cancel"
    r"|enable|disable|rm$|mv$|sync$|cp$)"
)
_ALWAYS = """
    rm rmdir mv dd truncate tee shred kill pkill killall reboot shutdown halt poweroff chmod chown
    ln mkfs mount umount dropdb createdb dropuser createuser pg_restore pg_rewind pg_resetwal
    vacuumdb reindexdb crontab useradd userdel iptables nft ansible-playbook rsync scp
"""
_PACKAGES = re.compile(
    r"^(?:install|remove|purge|upgrade|update|publish|uninstall|migrate|reconcile|deploy)$"
)
_PROGRAMS: Mapping[str, Callable[[str, Words], str]] = {
    **dict.fromkeys(_split(_ALWAYS), _always),
    **dict.fromkeys(
        ["kubectl", "oc"],
        _verbs(
            "delete scale apply patch create replace edit annotate label set cordon uncordon drain"
            " taint expose autoscale run cp rollout_restart rollout_undo rollout_pause"
            " rollout_resume exec"
        ),
    ),
    "helm": _verbs("install upgrade rollback uninstall delete"),
    **dict.fromkeys(
        ["systemctl", "rc-service"],
        _verbs("start stop restart reload kill enable disable mask unmask isolate daemon-reload"),
    ),
    "service": partial(_anywhere, re.compile(r"^(?:start|stop|restart|reload)$")),
    **dict.fromkeys(
        ["docker", "podman", "docker-compose"],
        _verbs("rm rmi stop start restart kill run exec prune system_prune up down compose"),
    ),
    **dict.fromkeys(["terraform", "tofu", "pulumi"], _verbs("apply destroy import taint up")),
    **dict.fromkeys(["aws", "gcloud", "az"], partial(_anywhere, _CLOUD)),
    "gsutil": _verbs("rm mv cp rsync"),
    "git": _verbs("push tag commit checkout reset merge rebase revert clean"),
    "gh": _verbs("pr_create pr_merge pr_close workflow_run run_rerun run_cancel release_create"),
    "vercel": _verbs("rollback deploy promote remove"),
    "patronictl": _verbs("failover switchover restart reload reinit pause resume remove"),
    "repmgr": _verbs("standby_promote standby_switchover node_rejoin primary_register"),
    "pg_ctl": _verbs("start stop restart reload promote kill"),
    "pg_ctlcluster": partial(_anywhere, re.compile(r"^(?:start|stop|restart|reload|promote)$")),
    "redis-cli": partial(
        _anywhere, re.compile(r"^(?:flush|del$|set$|config$|shutdown|failover)", re.IGNORECASE)
    ),
    "rabbitmqctl": partial(_anywhere, re.compile(r"^(?:purge|delete|stop|reset|set_)")),
    "sed": partial(_anywhere, re.compile(r"^(?:-i|--in-place)")),
    **dict.fromkeys(["curl", "wget", "http"], _curl),
    "psql": _psql,
    "find": _find,
    **dict.fromkeys(
        ["apt", "apt-get", "yum", "dnf", "pip", "npm", "pnpm", "yarn"],
        partial(_anywhere, _PACKAGES),
    ),
}
