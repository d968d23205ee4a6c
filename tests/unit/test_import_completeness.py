"""Nothing of a Markdown runbook is lost, and every command that is proposed is one.

The files of `corpora/markdown/styles` are written in the styles of public runbooks. The checker
(`tests/support/completeness.py`) shares no code with the import.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support import completeness
from tests.support.markdown_corpus import FOLDER, SEEDS, WILD, code_of, imported, text_of

STYLES = sorted((FOLDER / "styles").glob("*.md"))
FIELD = sorted((FOLDER / "field").glob("*.md"))
# a secret is taken out of them, and said
_WITH_A_SECRET = {
    "PGPASSWORD=hunter22x psql -h db -c 'select 1'",
    """  -d '{"email":"test@example.com","password":"test"}'""",
    "curl 'https://user:hunter2@host/health'",
}
_NOT_UTF8 = {"broken_utf8", "utf16"}


@cache
def _cells(path: Path) -> list[dict[str, Any]]:
    [one] = imported(path.read_bytes(), name=path.name)
    return [dict(cell) for cell in one.notebook.cells]


@pytest.mark.parametrize("path", [*STYLES, *FIELD, *SEEDS, *WILD], ids=lambda path: path.stem)
def test_nothing_is_lost_and_every_command_parses(path: Path) -> None:
    cells = _cells(path)
    if path.stem not in _NOT_UTF8:
        source = path.read_bytes().decode("utf-8-sig")
        assert set(completeness.lost(source, cells)) <= _WITH_A_SECRET
    assert completeness.refused_by_bash(list(completeness.commands(cells))) == []


def test_the_corpus_is_large_and_has_commands() -> None:
    assert len(STYLES) >= 80
    assert sum(len(list(completeness.commands(_cells(path)))) for path in STYLES) > 150


def test_the_checker_notices_a_cell_that_is_missing() -> None:
    noticed = 0
    for path in STYLES[:30]:
        cells = _cells(path)
        own = [cell for cell in cells if cell["id"].startswith("line-")]
        longest = max(own, key=lambda cell: len(cell["source"]))
        rest = [cell for cell in cells if cell is not longest]
        noticed += bool(completeness.lost(path.read_text("utf-8"), rest))
    # what a short document says twice is still said
    assert noticed >= 27


def _of(name: str) -> str:
    [one] = imported((FOLDER / "styles" / f"{name}.md").read_bytes(), name=f"{name}.md")
    return f"{text_of(one)}\n{code_of(one)}"


def test_what_is_no_command_is_not_proposed() -> None:
    for name in (
        *("yaml_in_bash", "promql_mixed", "logql_loki", "logs_in_bash", "ceph_health", "env_file"),
        *("firewall_block", "http_raw", "output_after_comment", "rabbitmq_partition"),
    ):
        commands = "\n".join(completeness.commands(_cells(FOLDER / "styles" / f"{name}.md")))
        for word in (
            "minAvailable:",
            "container_cpu",
            "absent(",
            "Caused by",
            "HEALTH_WARN",
            "pgs:",
            "max_connections",
            "cluster_name",
            "total ",
            "Timeout:",
        ):
            assert word not in commands


def test_a_query_of_prometheus_or_loki_is_asked_if_its_fence_or_command_says_so() -> None:
    said = _of("logql_loki")
    assert said.count("rb.promql(") == 1
    assert said.count("rb.logql(") == 2
    assert said.count("```logql") == 1
    assert "rb.shell(" not in said


@pytest.mark.parametrize("info", ["", "bash", "console", "text"])
@pytest.mark.parametrize(
    "printed",
    [
        'pg_up{instance="a"} 1',
        'http_requests_total{code="200"} 1027 1395066363000',
        'up{job="a"} => 1 @[1600]',
        "count(orders) == count(payments)",
        "sum(amount) by customer",
        "sum(rate(errors_total[5m])) > 1",
        '{app="api"} |= "error"',
    ],
)
def test_what_only_looks_like_a_query_is_not_asked(printed: str, info: str) -> None:
    for above in ("", "$ curl http://a:9187/metrics | grep pg_up\n"):
        text = f"# Errors\n\n```{info}\n{above}{printed}\n```\n"
        [one] = imported(text.encode(), name="errors.md")
        assert not {"rb.promql", "rb.logql"} & {*re.findall(r"rb\.\w+", code_of(one))}
        assert printed in text_of(one)


def test_what_is_to_fill_in_in_a_query_is_a_value_of_its_call() -> None:
    text = """# Errors
```logql
# Slow requests
{app="<app>", env="$env", pod=~"[[pod]]"} | pattern "<ip> <took>" | took > 1s

sum(rate({source="<source>"}[$__interval]))
```
"""
    [one] = imported(text.encode(), name="errors.md")
    said = " ".join(code_of(one).split())
    assert '{app="{app}", env="{env}", pod=~"{pod}"} | pattern "<ip> <took>" | took > 1s' in said
    assert "pod=pod, app=app, env=env" in said
    assert "rb.logql('sum(rate({source=\"{source_value}\"}[5m]))', source_value=source)" in said
    assert "Slow requests" in text_of(one)


def test_sql_of_another_database_is_kept_and_labelled() -> None:
    for name, label in (
        ("bigquery_cost", "For BigQuery:"),
        ("clickhouse_merges", "For ClickHouse:"),
        ("github_wiki_mysql", "For MySQL:"),
        ("docusaurus", "For pgbouncer:"),
    ):
        said = _of(name)
        assert label in said
        assert "%%sql" not in said


def test_a_session_on_another_host_stays_whole() -> None:
    said = _of("docker_compose_host")
    assert (
        "ssh staging.example.com\ncd /srv/staging\ndocker compose ps\ndocker compose restart api"
        in said
    )
    kept = _of("kubernetes_shell_inside")
    assert "kubectl exec -it web-1 -n shop -- bash\ncat /proc/1/limits" in kept
    assert "-- sh\nrm -rf /tmp/cache/*" in kept


def test_a_loop_stays_one_command_and_a_function_goes_with_its_call() -> None:
    [loop] = completeness.commands(_cells(FOLDER / "field" / "nested_loop.md"))
    assert loop.startswith("while true; do\n")
    assert loop.endswith("sleep 10\ndone")
    called = list(completeness.commands(_cells(FOLDER / "styles" / "functions_script.md")))
    assert any(one.startswith("check() {") and "for h in app-1" in one for one in called)


def test_a_link_works_in_every_cell_that_has_it() -> None:
    for cell in _cells(FOLDER / "styles" / "footnotes_and_refs.md"):
        if "[OAuth at us][oauth]" in cell["source"]:
            assert "[oauth]: <https://wiki.example.com/oauth page>" in cell["source"]
            assert "[grafana]: https://grafana.example.com/d/login" in cell["source"]
            return
    pytest.fail("no cell has the link")
