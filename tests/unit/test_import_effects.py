"""Commands whose effect depends on a variable or an option that names a program to run."""

from __future__ import annotations

import pytest

from rbkernel.runbook.shell.effect import LOOKS, Effect
from rbkernel.runbook.shell.text import judged
from tests.support.markdown_corpus import code_of, imported


def _code(content: str) -> str:
    [one] = imported(f"# T\n\n## Step\n\n```bash\n{content}\n```\n".encode())
    return code_of(one)


@pytest.mark.parametrize(
    "text",
    [
        "GIT_PAGER=/tmp/x git log",
        "LESSCLOSE='/tmp/x %s' less /etc/hosts",
        "SHELL=/tmp/x less /etc/hosts",
        "IFS=/ cat /etc/hosts",
        "KUBECTL_EXTERNAL_DIFF=/tmp/x kubectl diff -f a.yaml",
        "SOMETHING_NEW=/tmp/x kubectl get pods",
        "export PATH=/tmp/x:$PATH\ncat /etc/hosts",
        "export LD_PRELOAD=/tmp/x.so; uptime",
        "PATH=/tmp/x; uptime",
        "env LD_LIBRARY_PATH=/tmp/x uptime",
        "sudo ENV=/tmp/x uptime",
        "less '+!touch /tmp/x' /etc/hosts",
        "zless +'|$touch /tmp/x' a.gz",
        "less -k /tmp/keys /etc/hosts",
        "man --pager=/tmp/x ls",
        "man -H/tmp/x ls",
        "git -C /srv/app -c core.pager=/tmp/x log",
        "git grep -O/tmp/x word",
        "sort --compress-program=/tmp/x a",
        "go run ./x",
        "java -jar x.jar",
        "rabbitmqadmin get queue=jobs",
    ],
)
def test_what_may_run_another_program_is_not_known_to_only_read(text: str) -> None:
    assert judged(text).effect is not Effect.LOOKS


@pytest.mark.parametrize(
    "text",
    [
        "LC_ALL=C sort /etc/hosts",
        "TZ=UTC COLUMNS=200 ps aux",
        "KUBECONFIG=/tmp/k kubectl get pods",
        "AWS_PROFILE=ops aws ec2 describe-instances",
        "PGHOST=db2 PGUSER=ops psql -c 'SELECT 1'",
        "PAGER= git log",
        "host=db2; ping -c 1 $host",
        "export CLUSTER=a; kubectl get pods --cluster $CLUSTER",
        "less +G /var/log/syslog",
        "less '+/error' /var/log/syslog",
        "man ls",
        "java -version",
        "go version",
        "/etc/init.d/cron status",
    ],
)
def test_what_names_no_program_only_reads(text: str) -> None:
    assert judged(text) is LOOKS


def test_a_script_of_init_that_gets_another_word_is_not_known_to_only_read() -> None:
    assert judged("/etc/init.d/cron restart").effect is not Effect.LOOKS
    assert judged("/tmp/init.d/cron status").effect is not Effect.LOOKS


@pytest.mark.parametrize("word", ["!", "time"])
def test_a_word_of_the_shell_is_no_program(word: str) -> None:
    code = _code(f"{word} grep -q denied /var/log/app.log")
    assert f'"bash", "-c", "{word} grep -q denied /var/log/app.log"' in code
