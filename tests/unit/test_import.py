"""What an import makes of a runbook: each kind of block, and the five seeds in full."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rbkernel.importer import notebook, report
from rbkernel.importer.convert import convert
from rbkernel.importer.notebook import Imported
from rbkernel.importer.reading import blocks
from rbkernel.runbook import catalogue, frontmatter
from rbkernel.runbook.frontmatter import FrontMatter
from tests.support.markdown_corpus import FOLDER, SEEDS, code_of, imported, refuses, text_of


def _one(text: str) -> Imported:
    [one] = imported(text.encode())
    return one


def _front(one: Imported) -> FrontMatter:
    return frontmatter.of_notebook(catalogue.parse(one.document), "x")


def _fence(info: str, text: str) -> str:
    return f"# T\n\n## Step\n\n```{info}\n{text}\n```\n"


def _seed(name: str, *, split: bool = False) -> list[Imported]:
    return imported((FOLDER / "seeds" / f"{name}.md").read_bytes(), name=name, split=split)


def test_what_a_test_is_expected_to_print_is_held_against_it() -> None:
    text = "# Load test\nk6 run load.js\n\n# Expected p95: < 800ms\n# Expected error rate: < 0.1%"
    code = code_of(_one(_fence("bash", text)))
    assert '["k6", "run", "load.js"]' in code
    assert 'expect={"p95": "< 800ms", "error rate": "< 0.1%"}' in code
    # without an expectation nobody knows what it does
    assert "rb.act(" in code_of(_one(_fence("bash", "k6 run load.js")))


class TestSql:
    def test_each_statement_that_reads_is_a_cell(self) -> None:
        code = code_of(_one(_fence("sql", "SELECT ';';\nSELECT 2;")))
        assert "%%sql db --untried\nSELECT ';'\n" in code
        assert "%%sql db --untried\nSELECT 2\n" in code

    def test_what_changes_something_waits_for_the_decision(self) -> None:
        one = _one(_fence("sql", "SELECT pg_terminate_backend(pid) FROM t WHERE pid = <bad_pid>"))
        assert "%%sql" not in code_of(one)
        assert 'values={"bad_pid": bad_pid}' in code_of(one)
        assert "when=choice.chose(" in code_of(one)
        assert "bad_pid: int | None = None  # ‹PLACEHOLDER: bad_pid›" in code_of(one)

    def test_a_placeholder_that_stands_for_a_name_stays_text_and_is_said(self) -> None:
        one = _one(_fence("sql", "SELECT * FROM <table_name>"))
        [kept] = one.report.kept
        assert kept.fate == "text"
        assert "names cannot be bound" in kept.reason
        assert "SELECT * FROM <table_name>" in text_of(one)

    @pytest.mark.parametrize(
        "text",
        [
            'psql -h [host] -c "SELECT 1;"',
            "psql $DATABASE_URL -c 'SELECT 1'",
            "psql -h [host]\n\n# look\nSELECT 1;",
            "sudo -u postgres psql -Atc 'SELECT 1'",
            "psql <<EOF\nSELECT 1;\nEOF",
        ],
    )
    def test_sql_in_a_shell_is_sql(self, text: str) -> None:
        assert "%%sql db --untried\nSELECT 1" in code_of(_one(_fence("bash", text)))

    @pytest.mark.parametrize(
        ("text", "connection"),
        [
            ("kubectl exec -it db-0 -n prod -- psql -c 'SELECT 1'", "db_at_db_0_prod"),
            ("psql postgres://app@db9/orders -c 'SELECT 1'", "db_at_db9_orders"),
            ("psql -h db9 -d orders -c 'SELECT 1'", "db_at_db9_orders"),
            ("psql -d 'host=db9 dbname=orders' -c 'SELECT 1'", "db_at_db9_orders"),
            ("PGHOST=db9 psql -c 'SELECT 1'", "db_at_db9"),
            ("export PGHOST=db9\npsql -c 'SELECT 1'", "db_at_db9"),
            ("psql 'postgres://app@db1/orders' <<'SQL'\nSELECT 1;\nSQL", "db_at_db1_orders"),
            ("psql -h db1\n\nSELECT 1;", "db_at_db1"),
            ("psql -h <primary> -c 'SELECT 2'\npsql -h <replica> -c 'SELECT 1'", "db_at_replica"),
        ],
    )
    def test_sql_is_asked_of_the_database_that_its_command_names(
        self, text: str, connection: str
    ) -> None:
        one = _one(_fence("bash", text))
        assert f"%%sql {connection} --untried\nSELECT 1" in code_of(one)
        assert f'{connection}: str = "‹PLACEHOLDER: connection of ' in code_of(one)
        assert connection in _front(one).connections
        assert any(connection in entry.note for entry in one.report.entries)

    def test_a_sign_inside_quotes_is_no_redirection_and_a_variable_is_bound(self) -> None:
        code = code_of(
            _one(_fence("bash", "psql -c \"SELECT 1 FROM t WHERE s = '$STATUS' AND n <> 'a;b'\""))
        )
        assert "%%sql db --untried\nSELECT 1 FROM t WHERE s = :status AND n <> 'a;b'" in code

    def test_a_hole_of_one_letter_in_a_literal_is_bound(self) -> None:
        code = code_of(_one(_fence("sql", "SELECT now() - interval '<n> hours'")))
        assert "CAST((:n || ' hours') AS interval)" in code
        assert 'n: str = "‹PLACEHOLDER: n›"' in code

    @pytest.mark.parametrize(
        "text", ["<IDLE>", "<insufficient privilege>", "<IDLE> in transaction"]
    )
    def test_what_postgresql_itself_writes_is_no_placeholder(self, text: str) -> None:
        one = _one(_fence("sql", f"SELECT 1 FROM pg_stat_activity WHERE query <> '{text}'"))
        assert f"query <> '{text}'" in code_of(one)
        assert "PLACEHOLDER" not in code_of(one)

    def test_the_port_belongs_to_the_connection(self) -> None:
        text = "psql -h db9 -p 5433 -c 'SELECT 1'\npsql -h db9 -p 5432 -c 'SELECT 2'"
        code = code_of(_one(_fence("bash", text)))
        assert "%%sql db_at_db9_5433 --untried\nSELECT 1" in code
        assert "%%sql db_at_db9 --untried\nSELECT 2" in code

    def test_a_list_is_no_value(self) -> None:
        one = _one(_fence("sql", "SELECT * FROM t WHERE id IN (<ids>)"))
        assert "%%sql" not in code_of(one)
        assert "<ids> is a list" in one.report.kept[0].reason

    def test_a_value_is_bound_also_inside_a_literal(self) -> None:
        code = code_of(
            _one(_fence("sql", "SELECT 1 FROM t WHERE a LIKE '%[part]%' AND b = '${B_C}'"))
        )
        assert "a LIKE ('%' || :part || '%') AND b = :b_c" in code
        assert 'part: str = "‹PLACEHOLDER: part›"' in code

    def test_a_secret_is_no_parameter(self) -> None:
        one = _one(_fence("bash", "curl -X POST http://x -H 'Authorization: <api_token>'"))
        assert "‹PLACEHOLDER: api_token›" in code_of(one)
        assert "api_token:" not in code_of(one)


class TestSecrets:
    SOURCE = (
        "# T\n\n```bash\nexport PGPASSWORD=hunter2hunter\n"
        'curl -H "Authorization: Bearer abcdef1234567890" https://x/pods\n'
        "psql postgres://app:s3cr3t@db9/orders -c 'SELECT 1'\n```\n"
    )

    def test_a_secret_is_nowhere_and_its_line_is_said(self) -> None:
        one = _one(self.SOURCE)
        told = json.dumps(one.report.as_data()) + one.document.decode()
        for secret in ("hunter2", "abcdef1234567890", "s3cr3t"):
            assert secret not in told
        assert [text.split(" was ")[0] for text in one.report.secrets] == [
            "line 4: a secret (password)",
            "line 5: a secret (authorization)",
            "line 6: a secret (dsn)",
        ]
        assert "`export PGPASSWORD=‹PLACEHOLDER: secret›`" in text_of(one)
        assert '"bash"' not in code_of(one)
        assert "%%sql db_at_db9_orders --untried\nSELECT 1" in code_of(one)

    def test_what_psql_sends_is_a_statement_and_a_comment_stays_with_its_own(self) -> None:
        code = code_of(_one(_fence("sql", "SELECT 1; -- of the first\nSELECT 2 \\gx\nSELECT 3;")))
        assert "--untried\nSELECT 1 -- of the first\n" in code
        assert "--untried\nSELECT 2\n" in code
        assert "--untried\nSELECT 3\n" in code

    def test_a_comment_does_not_swallow_a_semicolon(self) -> None:
        code = code_of(_one(_fence("sql", "BEGIN; -- now\nDELETE FROM t; -- all\nCOMMIT;")))
        assert "-- now\n;" in code
        assert "DELETE FROM t -- all\n;" in code


class TestShell:
    def test_a_command_that_looks_is_a_list_of_words(self) -> None:
        code = code_of(_one(_fence("bash", "# Pods\nkubectl get pods -l app=[name]")))
        assert 'rb.shell("Step: Pods", ["kubectl", "get", "pods", "-l", f"app={name}"])' in code

    @pytest.mark.parametrize(
        "command",
        [
            "kubectl delete pod x",
            "kubectl scale deploy/x --replicas=2",
            "kubectl rollout restart deploy/x",
            "sudo systemctl restart x",
            "rm -rf /tmp/x",
            "curl -X POST http://x/on",
            "./scripts/deploy.sh --env production",
            "git push origin --tags",
        ],
    )
    def test_a_mutation_waits_for_the_decision(self, command: str) -> None:
        code = code_of(_one(_fence("bash", command)))
        assert "rb.shell(" not in code
        assert f'"{command}"' in code
        assert "when=choice.chose(" in code

    @pytest.mark.parametrize(
        ("command", "reason"),
        [
            ("kubectl logs x | grep ERROR", "a pipeline"),
            ("wc -l < /tmp/x", "a file"),
            ("ls *.log", "a shell glob pattern"),
            ("echo $(date)", "command substitution"),
            ("uptime && free", "several commands"),
        ],
    )
    def test_what_looks_and_needs_a_shell_is_given_to_one(self, command: str, reason: str) -> None:
        one = _one(_fence("bash", command))
        assert f'rb.shell("Step", ["bash", "-c", "{command}"])' in code_of(one)
        assert any(reason in entry.note for entry in one.report.entries)

    @pytest.mark.parametrize(
        "command",
        ["./frobnicate now", "mysql -e 'DELETE FROM x'", "date -s 1", "cat x | frob", "ls > x"],
    )
    def test_what_nobody_knows_to_only_look_waits_for_the_decision(self, command: str) -> None:
        code = code_of(_one(_fence("bash", command)))
        assert "rb.shell(" not in code
        assert "when=choice.chose(" in code

    def test_every_plan_waits_and_is_called_by_its_command(self) -> None:
        text = (
            "# T\n\nWhere it all began:\n\nMore words.\n\n```sh\nkubectl rollout undo deploy/x\n"
            "kubectl logs <pod> | grep x\n```\n\n```sql\nDELETE FROM orders;\n```\n"
        )
        code = code_of(_one(text))
        assert code.count("rb.act(") == code.count("when=choice.chose(") == 2
        assert '["bash", "-c", \'kubectl logs "$1" | grep x\', "bash", pod]' in code
        assert 'rb.actions.command("kubectl rollout undo deploy/x", ' in code
        assert 'title="DELETE FROM orders"' in code

    def test_a_health_endpoint_is_called(self) -> None:
        assert 'rb.http("Step", "https://x.example/health")' in code_of(
            _one(_fence("sh", "curl -fsS https://x.example/health"))
        )

    def test_another_address_is_not(self) -> None:
        assert "rb.http" not in code_of(_one(_fence("sh", "curl https://ci.example/job/build")))

    def test_tools_are_prerequisites(self) -> None:
        one = _one("# T\n\n## Required tools\n\n```bash\nkubectl >= 1.24\n```\n")
        [tool] = _front(one).prerequisites
        assert (tool.tool, tool.version) == ("kubectl", ">= 1.24")
        assert "rb.prerequisites()" in code_of(one)

    def test_a_fence_in_a_tab_is_one(self) -> None:
        one = _one('# T\n\n=== "Linux"\n\n    ```bash\n    uptime\n    ```\n\nAfter.\n')
        assert 'rb.shell("T", ["uptime"])' in code_of(one)
        assert "After." in text_of(one)

    def test_no_code_of_the_source_becomes_python(self) -> None:
        one = _one(_fence("python", "import os; os.remove('x')") + _fence("", "x = 1"))
        assert "os.remove" not in code_of(one)
        assert "os.remove" in text_of(one)
        assert [entry.reason for entry in one.report.kept] == ["python is not run"]


class TestWords:
    def test_a_task_list_is_a_checklist(self) -> None:
        one = _one("# T\n\n## Prerequisites\n\n- [ ] VPN\n- [x] **Access**\n")
        assert 'rb.checklist("Prerequisites", ["VPN", "Access (ticked in the source)"])' in code_of(
            one
        )
        assert [item.text for item in _front(one).prerequisites] == ["VPN", "Access"]

    def test_a_task_keeps_its_level_and_its_code(self) -> None:
        one = _one("# T\n\n- [ ] Stop `api`\n  - [ ] on `db1`\n- [ ] Wait\n")
        assert '["Stop `api`", "↳ on `db1`", "Wait"]' in code_of(one)

    @pytest.mark.parametrize(
        "text",
        [
            "**Last tested:** 2026-02-30\n",
            "| Date | Change |\n|-|-|\n| 2026-13-01 | x |\n",
        ],
    )
    def test_a_date_that_is_none_is_said(self, text: str) -> None:
        [kept] = _one(f"# T\n\n{text}").report.kept
        assert "date" in kept.reason

    def test_a_date_that_is_none_in_the_front_matter_is_said(self) -> None:
        [kept] = _one("---\nowner: a\nlast_tested: 2026-02-30\n---\n# T\n").report.kept
        assert "out of range" in kept.reason

    def test_thresholds_are_metrics_that_are_judged(self) -> None:
        one = _one(
            "# T\n\n| Metric | Warning | Critical |\n|-|-|-|\n| Replication lag | > 2s | > 15s |"
        )
        [metric] = _front(one).metrics
        assert (metric.diagnostic, metric.column) == ("replication/lag", "replay_lag_s")
        assert "rb.metrics()" in code_of(one)
        assert 'db: str = ""  # connection name, from rbkernel.toml' in code_of(one)

    def test_a_condition_that_a_diagnostic_answers_is_measured(self) -> None:
        one = _one("# T\n\n**Detect:** pending HITL tasks > 50, or oldest > 4h\n")
        found = [(m.diagnostic, m.column, m.warning, m.unit) for m in _front(one).metrics]
        assert found == [
            ("queue/tasks", "tasks", "> 50", ""),
            ("queue/tasks", "oldest_s", "> 4h", "s"),
        ]
        assert "rb.metrics()" in code_of(one)
        other = _one("# T\n\n**Detect:** the approver is away, or orders > 50\n")
        [left] = _front(other).metrics  # it is stated, and nothing measures it
        assert (left.name, left.warning, left.diagnostic) == ("orders", "> 50", "")

    @pytest.mark.parametrize(
        "query",
        [
            "Outbox queue depth: `SELECT count(*) FROM outbox`",
            "```sql\n-- Outbox queue depth\nSELECT count(*) FROM outbox;\n```",
            "## Outbox queue depth\n\n```sql\nSELECT count(*) FROM outbox\n```",
        ],
    )
    def test_a_metric_is_measured_by_the_query_of_the_document(self, query: str) -> None:
        table = "| Metric | Warning | Critical |\n|-|-|-|\n| Outbox queue depth | > 5 | > 50 |"
        [metric] = _front(_one(f"# T\n\n{table}\n\n{query}\n")).metrics
        assert (metric.query, metric.column) == ("SELECT count(*) FROM outbox", "count")
        assert metric.diagnostic == ""
        [other] = _front(_one(f"# T\n\n{table}\n\nOther: `SELECT a, b FROM x`\n")).metrics
        assert other.query == ""

    def test_a_query_that_changes_something_measures_nothing(self) -> None:
        table = "| Metric | Critical | Query |\n|-|-|-|\n| Depth of x | > 5 | `{}` |"
        changing = "SELECT pg_advisory_lock(1) AS depth FROM x"
        [metric] = _front(_one(f"# T\n\n{table.format(changing)}\n")).metrics
        assert metric.query == ""
        [metric] = _front(_one(f"# T\n\n{table.format('SELECT max(n) FROM x')}\n")).metrics
        assert metric.query == "SELECT max(n) FROM x"

    @pytest.mark.parametrize("words", ["P1", "SEV2", "High", "warning", "Critical (P0)", "Sev-3"])
    def test_severity_of_four_scales(self, words: str) -> None:
        front = _front(_one(f"# T\n\n**Severity:** {words}\n"))
        assert front.internal_severity is not None

    def test_what_is_missing_is_a_loud_placeholder(self) -> None:
        front = _front(_one("# T\n\nx\n"))
        assert front.owner == "‹PLACEHOLDER: team›"
        assert front.category is None

    def test_front_matter_of_the_source_is_read_and_kept(self) -> None:
        one = _one("---\nowner: DBA\nseverity: P2\ntags: [a]\n---\n\n# T\n")
        assert _front(one).owner == "DBA"
        assert "tags: [a]" in text_of(one)

    def test_mermaid_and_links_stay(self) -> None:
        text = text_of(_one("# T\n\n```mermaid\ngraph LR; A-->B\n```\n\n[a](../b.md#c)\n"))
        assert "```mermaid\ngraph LR; A-->B\n```" in text
        assert "[a](../b.md#c)" in text

    def test_half_a_fold_is_not_folded_away(self) -> None:
        fold = "# T\n\n<details>\n<summary>How</summary>\n\n```sh\nls\n```\n\n</details>\n"
        text = text_of(_one(fold))
        assert "<details>" not in text
        assert "**How**" in text


class TestOneDecision:
    def test_each_section_with_a_mutation_is_an_option(self) -> None:
        one = _one(
            "# T\n\n## Look\n\n```sh\nuptime\n```\n\n"
            "## Restart\n\n```sh\nsystemctl restart x\n```\n\n"
            "## Scale\n\n```sh\nkubectl scale d/x --replicas=3\n```\n"
        )
        ids = [cell.id for cell in one.notebook.cells]
        sources = {cell.id: cell.source for cell in one.notebook.cells}
        assert '["Restart", "Scale", "do nothing", "escalate"]' in sources["decision"]
        assert ids.index("decision") == ids.index("line-9") - 1
        assert 'when=choice.chose("Scale")' in sources["line-17"]

    def test_numbered_steps_are_one_option(self) -> None:
        one = _one("# T\n\n## Step 1: a\n\n```sh\nrm x\n```\n\n## Step 2: b\n\n```sh\nrm y\n```\n")
        assert code_of(one).count('choice.chose("go ahead with the steps")') == 2

    def test_without_a_mutation_it_is_asked_whether_it_is_solved(self) -> None:
        assert 'rb.decide("Is it solved?"' in code_of(_one("# T\n\n```sh\nuptime\n```\n"))


class TestSeveralRunbooks:
    def test_headings_that_begin_one(self) -> None:
        text = "intro\n\n# Runbook: A\n\na\n\n# Runbook: B\n\nb\n"
        assert len(imported(text.encode())) == 1
        made = imported(text.encode(), name="hand-book.md", split=True)
        assert [one.title for one in made] == ["hand book", "A", "B"]
        assert [one.id for one in made] == ["RUN-100", "RUN-101", "RUN-102"]

    def test_seed_of_several(self) -> None:
        made = _seed("runbook_creation", split=True)
        assert [one.id for one in made] == ["RUN-100", "RUN-101", "RUN-001", "RUN-002"]
        pool = _front(made[2])
        assert pool.title == "Database Connection Pool Exhaustion"
        assert pool.owner == "Backend Team"
        assert str(pool.last_tested) == "2025-01-15"
        assert pool.category == "incident"
        assert pool.linked_ids == ("MON-005", "DEP-001", "RISK-008")
        assert pool.scope.does_not_handle == ("Database server crash (see RUN-010)",)
        assert pool.escalation.contact == "Database Team Lead (Slack: @db-team, PagerDuty)"
        assert "problematic_pid: int | None" in code_of(made[2])

    def test_an_id_that_is_taken_is_not_given_again(self) -> None:
        [one] = convert(b"# RUN-101: T\n", name="x", refuses=refuses, taken={"RUN-101", "RUN-100"})
        assert one.id == "RUN-102"
        [again] = convert(
            b"# RUN-101: T\n",
            name="x",
            refuses=refuses,
            taken={"RUN-101"},
            earlier={"T": "RUN-107"},
        )
        assert again.id == "RUN-107"


# what the issue wants of the seeds, looked for in their lines and not in what the parser made
_MUST = {
    "SQL": re.compile(r"^(?:SELECT|UPDATE)\b|`SELECT .*`|-c \"SELECT"),
    "checklist": re.compile(r"^- \[ \] "),
    "thresholds": re.compile(r"^\|.*(?:> \d|< \d|<5 min|<30 min)"),
    "contacts": re.compile(
        r"^\| (?:\*\*L\d|P\d|Primary On-Call|Engineering Lead)|^- \*\*(?:Primary|Manager|Who to)"
    ),
}
_FOUND = {
    "ai_system": {"checklist": 8, "thresholds": 2, "contacts": 2},
    "incident": {"SQL": 1, "checklist": 26, "contacts": 2},
    "module": {"SQL": 1, "checklist": 3, "contacts": 4},
    "runbook_creation": {"SQL": 4, "checklist": 29, "thresholds": 2},
    "service": {"SQL": 7, "checklist": 10, "thresholds": 4, "contacts": 4},
}


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_all_that_matters_in_the_seeds_is_executable_or_front_matter(path: Path) -> None:
    [one] = _seed(path.stem)
    found: dict[str, int] = {}
    for entry in one.report.entries:
        for line in entry.text.splitlines():
            for what, pattern in _MUST.items():
                if pattern.search(line) and entry.kind != "heading":
                    found[what] = found.get(what, 0) + 1
                    assert entry.fate != "text", (what, line)
    for what, least in _FOUND[path.stem].items():
        assert found.get(what, 0) >= least, (what, found)


def test_the_report_counts_and_cites() -> None:
    [one] = _seed("service")
    counts = one.report.counts
    assert counts["executable"] + counts["evaluated"] >= 23
    assert counts["front matter"] >= 7
    assert sum(counts.values()) == sum(e.kind not in {"blank", "rule"} for e in one.report.entries)
    page = report.as_markdown("service.md", [("service.ipynb", one.report)])
    told = " | ".join(str(counts[fate]) for fate in report.FATES)
    assert f"| service.ipynb | {told} |" in page


def test_fences_that_a_word_closes_are_mended_and_said() -> None:
    [one] = _seed("incident")
    mended = [entry for entry in one.report.entries if "closes a fence" in entry.note]
    assert len(mended) >= 10
    assert any(entry.kind == "heading" and "Rollback" in entry.text for entry in one.report.entries)


def test_an_edited_notebook_is_told_from_an_untouched_one() -> None:
    one = _one("# T\n\n- [ ] a\n")
    parsed = catalogue.parse(one.document)
    assert notebook.untouched(parsed)
    parsed.cells[-1].source += "  # mine"
    assert not notebook.untouched(parsed)


def test_a_block_knows_its_lines_and_headings() -> None:
    found = blocks.read(["# A\n", "\n", "## B\n", "text\n"], lambda _: False)
    assert [(block.place, block.path) for block in found] == [
        ("lines 1-2", ()),
        ("line 3", ("A",)),
        ("line 4", ("A", "B")),
    ]
