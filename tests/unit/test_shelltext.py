"""Shell text of runbooks: what changes something, and what only looks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbkernel.runbook.shelltext import changes

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
    "[log query command]",
]


@pytest.mark.parametrize(("text", "reason"), CHANGES.items())
def test_what_changes_something_is_named(text: str, reason: str) -> None:
    assert changes(text) == reason


@pytest.mark.parametrize("text", LOOKS)
def test_what_only_looks_is_let_through(text: str) -> None:
    assert changes(text) == ""


@given(st.text(alphabet="ab'\"\\|&;()<>[]$# \n-", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    changes(text)
