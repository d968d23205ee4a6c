"""Shell text of runbooks: what changes something, and what only looks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbkernel.runbook.shell.effect import Effect
from rbkernel.runbook.shell.text import changes, judged

CHANGES = {
    "kubectl rollout undo deployment/[service-name]": "kubectl rollout undo",
    "kubectl -n prod scale deployment/web --replicas=5": "kubectl scale",
    "kubectl create secret generic x --dry-run=client | kubectl apply -f -": "kubectl apply",
    "gcloud run services update-traffic api --to=<x>=1": "gcloud run services update-traffic",
    "aws rds reboot-db-instance --db x": "aws rds reboot-db-instance",
    "./scripts/deploy/rollback.sh --service=x": "rollback.sh",
    "pnpm --filter @<org>/worker reconcile --module <module>": "pnpm reconcile",
    'git tag -a "pre-deploy-$(date +%Y%m%d)" -m "x"': "git tag",
    "for i in a b; do rm $i; done": "rm",
    "ssh db1 'sudo systemctl restart postgresql'": "systemctl restart",
    "bash -c 'rm -rf /srv/x'": "rm",
    "echo 1 > /proc/sys/vm/drop_caches": "writing to /proc/sys/vm/drop_caches",
    'psql -c "SELECT pg_terminate_backend(1)"': "psql with pg_terminate_backend",
    "curl -d x=1 http://api": "curl -d",
    "find /var/log -name '*.gz' -delete": "find -delete",
    "rm it's": "rm",
    "find . -name x | xargs rm": "rm",
    "sudo reboot": "reboot",
    "ssh db1 systemctl restart postgresql": "systemctl restart",
    "psql db <<'SQL'\nSELECT 1;\nDELETE FROM orders;\nSQL": "psql with DELETE",
    "psql -c \"COPY t TO PROGRAM 'sh'\"": "psql with COPY",
    "psql -f clean.sql": "psql -f",
    'psql -c "\\copy t from x.csv"': "psql with COPY",
    "psql -c '\\! date'": "psql with \\!",
    'mysql -e "DELETE FROM t"': "mysql with DELETE",
    "wget --post-data=x http://api": "wget --post-data",
    "sysctl -w vm.swappiness=1": "sysctl -w",
    "ip link set eth0 down": "ip link set",
    "date -s 12:00": "date -s",
    "hostname db9": "hostname db9",
    "journalctl --vacuum-time=2d": "journalctl --vacuum-time=2d",
    'echo "today $(rm x)"': "rm",
    "curl http://x/#a; rm b": "rm",
    "curl -sXDELETE http://api": "curl -X DELETE",
    "psql --no-psqlrc --command='DROP TABLE x'": "psql with DROP",
    "psql -c 'SELECT 1 -- one' -c 'DROP TABLE x'": "psql with DROP",
    "cat <<EOF > /etc/x\nhi\nEOF": "writing to /etc/x",
}
UNKNOWN = {
    "frobnicate --all": "frobnicate",
    "python fix.py": "python",
    "bash repair.sh": "bash repair.sh",
    "psql": "psql",
    "ls > files.txt 2>&1": "writing to files.txt",
    "psql -c 'CALL tidy_up()'": "psql",
    "kubectl plugin-of-ours x": "kubectl plugin-of-ours",
    "kubectl logs x > ~/x.log": "writing to ~/x.log",
    "[log query command]": "[log query command]",
    "find . -exec frobnicate {} +": "find -exec",
}

LOOKS = [
    "",
    "# kubectl delete pod web-1",
    "kubectl logs -f deployment/[service-name] | grep [pattern]",
    "kubectl rollout status deployment/x",
    "watch -n 30 'kubectl get pods -l app=x'",
    "curl -G http://loki --data-urlencode 'query={app=\"x\"}'",
    'psql "$DATABASE_URL" -c "SELECT * FROM pg_stat_activity;"',
    "systemctl status postgresql",
    'echo "SELECT 1" | psql',
    "gh run list --workflow=deploy",
    "helm history web",
    "ip -s link show eth0",
    "date +%s",
    "hostname -f",
    "journalctl -u postgresql --since '1 h ago' | tail -20",
    "psql -c '\\dt+ app.*'",
    'for pod in $(kubectl get pods -o name); do kubectl logs "$pod" | grep -c ERROR; done',
    "psql -h db1 -c \"SELECT status FROM jobs WHERE note <> 'a;b'\"",
    "awk '$3 > 80 {print $1}' /var/log/load",
    "find /var/log -name '*.log' -exec ls -l {} +",
    "patronictl -c /etc/patroni.yml list",
    "curl -s -o /dev/null -w '%{http_code}' http://api/health",
]


@pytest.mark.parametrize(("text", "reason"), CHANGES.items())
def test_what_changes_something_is_named(text: str, reason: str) -> None:
    assert changes(text) == reason


@pytest.mark.parametrize("text", LOOKS)
def test_what_only_looks_is_let_through(text: str) -> None:
    assert judged(text).effect is Effect.LOOKS


@pytest.mark.parametrize(("text", "what"), UNKNOWN.items())
def test_what_nobody_knows_is_said_to_be_unknown(text: str, what: str) -> None:
    assert judged(text) == (Effect.UNKNOWN, what)
    assert changes(text) == ""


def _corpus() -> list[tuple[str, str]]:
    """Return what each command of the corpus does, and the command."""
    folder = Path(__file__).parents[1] / "corpora"
    lines = (folder / "shell_commands.txt").read_text("utf-8").splitlines()
    own = [line.partition(" ")[::2] for line in lines if line and not line.startswith("#")]
    field = (folder / "markdown" / "field" / "adversarial_commands.md").read_text("utf-8")
    commands = re.findall(r"## s(\d+)\n\n```bash\n(.*?)\n```", field, re.DOTALL)
    found = [
        ("looks" if int(n) in _FIELD_LOOKS else "tells" if int(n) in _FIELD_TELLS else "not", text)
        for n, text in commands
    ]
    assert len(found) == 70
    assert len(own) > 800
    return [
        (what, text.replace("\\n", "\n") if "<<" in text else text) for what, text in [*found, *own]
    ]


# of the sections of adversarial_commands.md, those that only look; 55, `redis-cli monitor`, only
# reads too, but at half the speed of the server
_FIELD_LOOKS = frozenset(
    [
        23,
        24,
        26,
        31,
        32,
        33,
        34,
        35,
        37,
        39,
        45,
        47,
        48,
        49,
        50,
        52,
        53,
        55,
        56,
        57,
        61,
        63,
        64,
        65,
        66,
        67,
        69,
    ]
)
# those print secrets: `kubectl config view --raw`, `kubectl get secret db -o yaml`
_FIELD_TELLS = frozenset([28, 29])


def test_nothing_that_may_change_something_is_taken_for_a_look() -> None:
    taken = [text for what, text in _corpus() if what == "not" and _looks(text)]
    assert taken == []


def test_what_only_looks_is_known_to() -> None:
    looks = [text for what, text in _corpus() if what == "looks"]
    assert [text for text in looks if not _looks(text)] == ["redis-cli monitor"]


def test_what_prints_a_secret_is_no_look() -> None:
    tells = [text for what, text in _corpus() if what == "tells"]
    assert [text for text in tells if judged(text).effect is not Effect.TELLS] == []
    assert len(tells) > 20


def _looks(text: str) -> bool:
    return judged(text).effect is Effect.LOOKS


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrap", ["sudo {}", "time {}", "ssh db-1 {}", "( {} )", "true && {}", "if true; then {}; fi"]
)
def test_what_runs_a_command_makes_it_no_look(wrap: str) -> None:
    plain = [text for _, text in _corpus() if re.fullmatch(r"[\w ./=:-]+", text)]
    taken = [text for text in plain if _looks(wrap.format(text)) and not _looks(text)]
    assert taken == []
    assert len(plain) > 300


@given(st.text(alphabet="ab'\"\\|&;()<>[]$# \n-", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    changes(text)
