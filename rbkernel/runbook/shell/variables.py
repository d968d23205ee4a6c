"""The effect of setting a variable: some name a program that another command runs. Pure."""

from __future__ import annotations

import re

from rbkernel.runbook.shell.effect import LOOKS, Judgement, unknown

# variables that name a program to run, a file of commands, where programs are found, or options
_RUNS = re.compile(
    r"^(?:PATH|SHELL|IFS|ENV|HOME|CDPATH|BASH_\w+|PS[0-4]|LD_\w+|DYLD_\w+|XDG_\w+|GIT_\w+|LESS\w*"
    r"|MAN\w*|PSQLRC|PGSYSCONFDIR|PGSERVICEFILE|(?:CLASS|PYTHON|GEM_|NODE_|GO)PATH"
    r"|PERL\d?\w+|RUBY\w+|PYTHON\w+|GCONV_PATH|LOCPATH|EXINIT|VIMINIT|INPUTRC|OPENSSL_CONF"
    r"|\w*(?:COMMAND|CMD|ASKPASS|PAGER|EDITOR|VISUAL|BROWSER|SHELL|DIFF|OPEN|CLOSE|HOOK|STARTUP"
    r"|PRELOAD|OPTIONS|OPTS?|_SSH|_RSH|RUNNER|WRAPPER|PREPROCESSOR))$"
)
# variables that say where to connect, as whom, and how output looks
_HARMLESS = re.compile(
    r"^(?:LANG|LANGUAGE|LC_\w+|TZ|TERM|COLUMNS|LINES|NO_COLOR|CLICOLOR\w*|KUBECONFIG|NS|NAMESPACE"
    r"|PG(?:HOST|HOSTADDR|PORT|DATABASE|USER|PASSWORD|PASSFILE|SERVICE|OPTIONS|APPNAME|SSL\w+"
    r"|CONNECT_TIMEOUT|CLIENTENCODING|TZ|DATESTYLE|TARGETSESSIONATTRS|DATA|REQUIREAUTH|GSSENCMODE)"
    r"|AWS_(?:PROFILE|(?:DEFAULT_)?(?:REGION|OUTPUT)|ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)"
    r"|CLOUDSDK_(?:CORE_PROJECT|COMPUTE_(?:ZONE|REGION)|ACTIVE_CONFIG_NAME)|GOOGLE_CLOUD_PROJECT"
    r"|VAULT_(?:ADDR|NAMESPACE|TOKEN|CACERT)|CONSUL_HTTP_(?:ADDR|TOKEN)|NOMAD_(?:ADDR|TOKEN)"
    r"|ETCDCTL_\w+|DOCKER_HOST|DOCKER_CONTEXT|REDISCLI_AUTH|MYSQL_(?:PWD|HOST|TCP_PORT)"
    r"|DEBIAN_FRONTEND|SYSTEMD_(?:COLORS|LOG_LEVEL)|WATCH_INTERVAL|POSIXLY_CORRECT|BLOCKSIZE)$"
)
_HARMLESS_PAGER = re.compile(r"^\w*PAGER\+?=(?:cat|less|more)?$")


def of_a_command(assignment: str) -> Judgement:
    """Return the effect of a variable set for one command: unknown, unless it is known as harmless.

    >>> of_a_command("TZ=UTC").effect.value, of_a_command("FROBNICATOR=/tmp/x").effect.value
    ('only looks', 'unknown')
    """
    name = _name(assignment)
    known = _HARMLESS.match(name) or _HARMLESS_PAGER.match(assignment)
    return LOOKS if known else unknown(name)


def of_the_shell(assignment: str) -> Judgement:
    """Return the effect of a variable set for the rest of a text: unknown if programs obey it.

    >>> of_the_shell("pod=web-1").effect.value, of_the_shell("PATH=/tmp:$PATH").what
    ('only looks', 'PATH')
    """
    name = _name(assignment)
    if _HARMLESS.match(name) or _HARMLESS_PAGER.match(assignment) or not _RUNS.match(name):
        return LOOKS
    return unknown(name)


def _name(assignment: str) -> str:
    return assignment.partition("=")[0].rstrip("+").partition("[")[0]
