"""Shell text of runbooks: what changes something, and what only looks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbkernel.runbook.shell.programs import Effect
from rbkernel.runbook.shell.text import changes, judged

CHANGES = {
    "kubectl rollout undo deployment/[service-name]": "kubectl rollout undo",
    "kubectl -n prod scale deployment/web --replicas=5": "kubectl scale",
    "kubectl create secret generic x --dry-run=client | kubectl apply -f -": "kubectl apply",
    "gcloud run services update-traffic api --to-revisions=<prev>=100": "gcloud update-traffic",
    "aws rds reboot-db-instance --db x": "aws reboot-db-instance",
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
    'echo "SELECT 1" | psql': "psql",
    "psql -c 'CALL tidy_up()'": "psql",
    "kubectl plugin-of-ours x": "kubectl plugin-of-ours",
    "kubectl logs x > ~/x.log": "writing to ~/x.log",
    "[log query command]": "placeholder",
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
    "ls > files.txt 2>&1",
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


@given(st.text(alphabet="ab'\"\\|&;()<>[]$# \n-", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    changes(text)
