"""What a document states becomes a check or a field; what is ambiguous stays text."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from rbkernel.checks import quoted as answers
from rbkernel.checks.quoted import Quoted
from rbkernel.importer.notebook import Imported
from tests.support.markdown_corpus import SEEDS, code_of, front_of, imported, text_of
from tests.support.stated import Phrase, phrases, understood


def _one(text: str) -> Imported:
    [one] = imported(text.encode())
    return one


def _fate(one: Imported, words: str) -> str:
    [found] = [entry.fate for entry in one.report.entries if words in entry.text]
    return found


@pytest.mark.parametrize(
    ("category", "phrase"),
    [*phrases("implemented"), *phrases("held_out")],
    ids=lambda value: value if isinstance(value, str) else str(value["say"])[:50],
)
def test_a_phrase_becomes_what_it_states_or_stays_text(category: str, phrase: Phrase) -> None:
    assert understood(category, phrase)


def test_there_are_sixty_phrases_half_of_which_were_held_out() -> None:
    halves = [
        Counter(category for category, _ in phrases(half)) for half in ("implemented", "held_out")
    ]
    assert halves[0] == halves[1]
    assert sum(halves[0].values()) == 30


class TestTheFailingAnswerOfADocument:
    def test_what_is_expected_of_an_address_is_expected_of_it_everywhere(self) -> None:
        fence = '```sh\ncurl http://x/health\n# Expected output\n# {"status": "ok"}\n```\n'
        one = _one(f"# T\n\n## A\n\n{fence}\n## B\n\n```sh\ncurl http://x/health\n```\n")
        assert code_of(one).count('json={"status": "ok"}') == 2

    def test_an_answer_that_is_only_quoted_as_failing_is_refused(self) -> None:
        text = '```sh\ncurl http://x/health\n# If it fails:\n# {"status": "error"}\n```\n'
        assert 'wrong={"status": "error"}' in code_of(_one(f"# T\n\n{text}"))

    @pytest.mark.parametrize(
        ("failing", "wrong"),
        [
            ('{"error": "db unreachable"}', 'wrong={"error": "db unreachable"}'),
            ('{"status": "error", "at": 17}', 'wrong={"status": "error"}'),
            ("Service Unavailable\n# try again later", 'wrong="Service Unavailable"'),
        ],
    )
    def test_whatever_is_quoted_as_failing_is_refused(self, failing: str, wrong: str) -> None:
        text = f"```sh\ncurl http://x/health\n# If it fails:\n# {failing}\n```\n"
        assert wrong in code_of(_one(f"# T\n\n{text}"))

    def test_no_check_is_made_where_nothing_tells_the_answers_apart(self) -> None:
        text = (
            '```sh\ncurl http://x/health\n# Expected output\n# {"status": "ok"}\n'
            '# If it fails:\n# {"status": "ok"}\n```\n'
        )
        code = code_of(_one(f"# T\n\n{text}"))
        assert "json=" not in code
        assert "wrong=" not in code


class TestExpectations:
    @pytest.mark.parametrize(
        ("comment", "call"),
        [
            ("Expected: STATUS=Bound, VOLUME=pv-1", 'rows={"STATUS": "Bound"}'),
            ("Expected: Running", 'answers="Running"'),
            ('Expected: {"status":"up","timestamp":"...","cache":"connected"}', '"cache": '),
        ],
    )
    def test_what_one_line_says_is_judged(self, comment: str, call: str) -> None:
        assert call in code_of(_one(f"# T\n\n```sh\nkubectl get pv\n# {comment}\n```\n"))

    @pytest.mark.parametrize(
        "comment",
        [
            "Expected: 2 keys (one, two), backend=hsm",
            "Should return: 10.0.0.1 or the internal address",
            'Expected output: Both "active (running)"',
            "Should have a timestamp",
            "Expected: TOTAL: 12 (2.8 GiB) in 4 blobs",
        ],
    )
    def test_what_is_ambiguous_is_left_to_a_person(self, comment: str) -> None:
        one = _one(f"# T\n\n```sh\nkubectl get pv\n# {comment}\n```\n")
        assert 'rb.shell("T", ["kubectl", "get", "pv"])' in code_of(one)
        assert "*For you to judge:*" in text_of(one)
        assert any("only a person can judge" in entry.note for entry in one.report.entries)


class TestQueries:
    def test_a_limit_in_a_comment_is_a_check_on_the_column_that_it_names(self) -> None:
        sql = (
            "SELECT state, replay_lag FROM pg_stat_replication;\n\n"
            "# Alert threshold: replay_lag > 2 seconds"
        )
        one = _one(f"# T\n\n```bash\npsql -h db\n\n{sql}\n```\n")
        assert "%%sql db_at_db --into replay_lag_rows --untried" in code_of(one)
        assert '"replay_lag", critical=2, unit="s")' in code_of(one)

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT * FROM t;\n-- expected: 0",
            "SELECT a, b FROM t;\n-- expected: 0",
            "SELECT lag FROM t;\n-- Alert threshold: lag > 30 s",
            "SELECT lag FROM t;\n-- Alert threshold: delay > 30",
            "SELECT count(*) AS n FROM t;\n-- should be the number of shops",
            "SELECT 1 AS a;\n-- should be 0\nSELECT 2 AS b;",
        ],
    )
    def test_a_figure_that_the_query_may_not_have_is_not_checked(self, sql: str) -> None:
        assert "rb.check(" not in code_of(_one(f"# T\n\n```sql\n{sql}\n```\n"))

    def test_a_figure_that_must_be_equal_has_two_limits(self) -> None:
        code = code_of(_one("# T\n\n```sql\nSELECT count(*) AS n FROM t; -- expected: 3\n```\n"))
        assert '"n", critical=3)' in code
        assert '"n", critical=3, below=True)' in code


class TestLimits:
    @pytest.mark.parametrize(
        "text",
        [
            "## Symptoms\n\n- Error rate < 1%\n",  # few errors are not what is wrong
            "## Signs\n\nAlert if the success rate > 99%.\n",
            "The condition of the operator is True for more than 30 minutes.\n",
            "This alert fires when the app has more than 5 errors per minute.\n",
            "Warning if > 30 days, critical if > 7 days.\n",
            "Between 5 and 10 jobs run if all is well; more than 3 may wait.\n",
            "The clock is off by more than 60 seconds.\n",
        ],
    )
    def test_a_limit_that_would_be_misread_stays_text(self, text: str) -> None:
        one = _one(f"# T\n\n{text}")
        assert not front_of(one).metrics
        assert "rb.metrics()" not in code_of(one)

    def test_the_report_says_that_a_figure_stays_text(self) -> None:
        one = _one("# T\n\nLatency may rise above 2 s during a deploy.\n")
        assert any("a figure stays text" in entry.note for entry in one.report.entries)


class TestEscalationAndSeverity:
    @pytest.mark.parametrize(
        ("row", "level"),
        [
            ("| P1 not recovered within 30 min | CTO | After 30 min |", (1800, "P1", "CTO")),
            ("| No progress | @lead | 1 hour |", (3600, "", "@lead")),
        ],
    )
    def test_a_table_of_situations_with_their_time(
        self, row: str, level: tuple[float, str, str]
    ) -> None:
        table = f"| Situation | Escalate to | Timing |\n|---|---|---|\n{row}\n"
        [found] = front_of(_one(f"# T\n\n## Escalation\n\n{table}")).escalation.levels
        assert (found.after_s, found.severity, found.contact) == level
        assert not found.when

    def test_a_time_in_the_column_of_conditions_is_a_time(self) -> None:
        table = "| Level | Who | When |\n|-|-|-|\n| L3 | Director | > 1 hour for Critical |\n"
        [found] = front_of(_one(f"# T\n\n## Escalation\n\n{table}")).escalation.levels
        assert (found.after_s, found.severity, found.when) == (3600, "Critical", "")

    @pytest.mark.parametrize(
        "item", ["Acknowledge pages within 15 minutes", "Post an update after 30 min"]
    )
    def test_a_duty_with_a_time_is_no_level(self, item: str) -> None:
        front = front_of(_one(f"# T\n\n## Escalation\n\n- {item}\n- Data is lost\n"))
        assert not front.escalation.levels

    def test_conditions_without_a_time_stay_in_words(self) -> None:
        text = "- **When to escalate**: Issue persists >15 minutes, data loss"
        front = front_of(_one(f"# T\n\n## Escalation\n\n{text}\n"))
        [level] = front.escalation.levels
        assert (level.after_s, front.escalation.when) == (900, ("data loss",))

    def test_a_consequence_is_a_severity_level(self) -> None:
        front = front_of(_one("# T\n\n## Do\n\n1. Pending tasks > 200 → P2 incident\n2. Wait\n"))
        [level] = front.severity_levels
        assert (level.level, level.any_of) == ("P2", ("Pending tasks > 200",))

    def test_a_list_of_severities(self) -> None:
        text = "# T\n\n## Severity levels\n\n- **SEV1**: Service down\n- **SEV2**: Slow\n"
        assert [one.level for one in front_of(_one(text)).severity_levels] == ["SEV1", "SEV2"]


def test_communication_is_bound_with_its_interval() -> None:
    text = (
        "# T\n\n## Communication\n\nPost a status update every 30 minutes.\n\n"
        "### Example status update\n\n```text\nStatus: [state]\n```\n"
    )
    one = _one(text)
    said = front_of(one).communication
    assert 'rb.show("communication")' in code_of(one)
    assert (said.every, said.message) == ("30 minutes", "Status: ‹PLACEHOLDER: state›")


class TestPermissions:
    def test_roles_and_rights_are_checked(self) -> None:
        one = _one(
            "# T\n\n## Required permissions\n\n- Database: `pg_monitor`\n"
            "- Kubernetes: get and delete pods in namespace shop\n"
        )
        assert [p.role for p in front_of(one).prerequisites if p.connection] == ["pg_monitor"]
        code = code_of(one)
        assert '["kubectl", "auth", "can-i", "delete", "pods", "-n", "shop"]' in code
        assert 'answers="yes"' in code

    @pytest.mark.parametrize(
        "item",
        ["Kubernetes: `[namespace and RBAC permissions]`", "Admin access", "Delete pods last"],
    )
    def test_what_names_no_right_stays_text(self, item: str) -> None:
        code = code_of(_one(f"# T\n\n## Required permissions\n\n- {item}\n"))
        assert "can-i" not in code


def test_a_limit_that_a_table_says_too_is_one_metric() -> None:
    text = (
        "# T\n\n**Symptoms:** Error rate > 5% on dashboard\n\n"
        "| Metric | Warning | Critical |\n|-|-|-|\n| Error rate | > 5% | > 10% |\n"
    )
    [metric] = front_of(_one(text)).metrics
    assert (metric.warning, metric.critical) == ("> 5%", "> 10%")


# executable, evaluated, front matter, text
COUNTS = {
    "ai_system": (4, 2, 18, 88),
    "incident": (12, 6, 18, 81),
    "module": (8, 2, 7, 27),
    "runbook_creation": (20, 0, 7, 95),
    "service": (18, 5, 7, 53),
}


class TestSeeds:
    @pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
    def test_at_least_as_much_is_evaluated_and_no_more_stays_text(self, path: Path) -> None:
        [one] = imported(path.read_bytes(), name=path.name)
        executable, evaluated, bound, text = COUNTS[path.stem]
        counts = one.report.counts
        assert counts["evaluated"] >= evaluated
        assert counts["executable"] + counts["evaluated"] >= executable + evaluated
        assert counts["front matter"] >= bound
        assert counts["text"] <= text

    @pytest.mark.parametrize("split", [False, True], ids=["one", "split"])
    def test_no_comparison_with_a_figure_stays_text(self, split: bool) -> None:
        """Read the sources by a pattern of its own, not by the import's."""
        compared = re.compile(
            r"(?:[<>≤≥]|\b(?:above|below|exceeds?|more than)) ?\$?\d|\d+ attempts"
        )
        left = [
            line.strip()
            for path in SEEDS
            for one in imported(path.read_bytes(), name=path.name, split=split)
            for entry in one.report.entries
            if entry.fate == "text"
            for line in entry.text.splitlines()
            if compared.search(line)
        ]
        # a time for people; and, unless split, a trigger of a runbook that is only shown
        shown = ["Trigger: MON-005 alert (connection pool >90%)"] if not split else []
        assert left == [*shown, "**Immediate Actions (< 5 minutes)**:"]

    def test_what_a_seed_states_is_checked(self) -> None:
        [incident] = imported((SEEDS[0].parent / "incident.md").read_bytes())
        assert _fate(incident, "Check system health") == "evaluated"
        assert _fate(incident, "after 2 attempts") == "evaluated"
        assert code_of(incident).count('json={"status": "ok"') == 3
        [service] = imported((SEEDS[0].parent / "service.md").read_bytes())
        assert _fate(service, "Alert threshold: replay_lag") == "evaluated"
        assert _fate(service, "P1 incident not resolved in 1 hour") == "evaluated"


class TestAnswers:
    PODS = "NAME      READY   STATUS             RESTARTS   AGE\n"
    RIGHT = Quoted(rows={"READY": "1/1", "STATUS": "Running"})

    @pytest.mark.parametrize(
        ("row", "met"),
        [
            ("api-1     1/1     Running            0          5h", True),
            ("api-1     2/2     Running            0          5h", True),
            ("api-1     1/1     Running            3 (2h ago) 5h", True),
            ("api-1     0/1     Running            0          5h", False),
            ("api-1     0/1     CrashLoopBackOff   9          5h", False),
            ("job-1     0/1     Completed          0          5h", None),
        ],
    )
    def test_each_row_must_be_as_it_was_quoted(self, row: str, met: bool | None) -> None:
        [found] = answers.judge(self.PODS + row, self.RIGHT)
        assert found.met is met

    @pytest.mark.parametrize("output", ["", "No resources found in shop namespace.", "error: x"])
    def test_no_table_is_unknown(self, output: str) -> None:
        assert answers.judge(output, self.RIGHT)[0].met is None

    @pytest.mark.parametrize(
        ("output", "met"),
        [
            ('{"status":"ok"}', True),
            ('{"status": "ok", "db": "up"}', True),
            ('{"status": "degraded"}', False),
            ("{}", False),
            ("<html>", False),
        ],
    )
    def test_fields_of_json_whatever_its_blanks(self, output: str, met: bool) -> None:
        assert answers.judge(output, Quoted(fields={"status": "ok"}))[0].met is met

    def test_a_state_is_that_of_each_row(self) -> None:
        right = Quoted(answers="Running")
        for state, met in {"Running": True, "CrashLoopBackOff": False, "Completed": None}.items():
            [found] = answers.judge(f"NAME   STATUS\napi-1  {state}\n", right)
            assert found.met is met

    @pytest.mark.parametrize(
        ("output", "met"),
        [("active", True), ("x\nactive\n", True), ("inactive", False), ("it is active now", None)],
    )
    def test_a_text_is_a_whole_line(self, output: str, met: bool | None) -> None:
        assert answers.judge(output, Quoted(answers="active"))[0].met is met


def test_what_is_kept_as_text_is_still_said() -> None:
    one = _one("# T\n\nVerify response times are normal (usually around 200 ms).\n")
    assert "usually around 200 ms" in text_of(one)
    assert not front_of(one).metrics
