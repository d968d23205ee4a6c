"""What a document states becomes a check or a field; what is ambiguous is kept as text."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from rbkernel.checks import quoted as answers
from rbkernel.checks.quoted import Quoted
from rbkernel.checks.rule import violates
from rbkernel.errors import QueryError
from rbkernel.importer import sqlchecks
from rbkernel.importer.notebook import Imported
from rbkernel.importer.sqlchecks import Check
from rbkernel.importer.stated import expectations
from rbkernel.runbook.frontmatter_sections import Metric
from rbkernel.triage.metrics import rule_of
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

    @pytest.mark.parametrize(
        ("comment", "wrong", "right"),
        [
            ("must be > 0", (0,), (1,)),
            ("should be greater than 4", (3, 4), (5,)),
            ("should be at least 2", (1,), (2, 3)),
            ("must be less than 9", (9, 10), (8,)),
            ("must be <= 9", (10,), (9,)),
            ("no more than 6", (7,), (6,)),
            ("must not exceed 40", (41,), (40,)),
            ("must be zero", (1,), (0,)),
            ("should be under 2k", (2000,), (3, 1999)),
            ("should be between 3 and 5", (2, 6), (3, 5)),
            ("page if n >= 12", (12,), (11,)),
            ("if n is over 12, escalate", (13,), (12,)),
            ("expect no rows", (1,), (0,)),
        ],
    )
    def test_the_limit_itself_is_on_the_side_that_the_words_say(
        self, comment: str, wrong: tuple[int, ...], right: tuple[int, ...]
    ) -> None:
        checks = sqlchecks.of("SELECT count(*) AS n FROM carts", expectations.read([comment]))
        assert checks
        for figure in (*wrong, *right):
            met = not any(
                violates(figure, one.limit, below=one.below, at_limit=one.at_limit)
                for one in checks
            )
            assert met is (figure in right), figure

    def test_the_call_says_that_the_limit_itself_is_wrong(self) -> None:
        code = code_of(
            _one("# T\n\n```sql\n-- must be > 0\nSELECT count(*) AS n FROM carts;\n```\n")
        )
        assert '"n", critical=0, below=True, at_limit=True)' in code

    @pytest.mark.parametrize(
        "comment",
        [
            "there is no reason to worry if n > 30",
            "must be true while n < 30",
            "should be below 30 unless the import runs",
            "should be about 30",
            "should be under 3 bn",
            "should be below 3 or above 30",
            "warn if n > 30",
            "must not be 0",
            "Good: less than 300. Over 900 is fine",
            "should be below 30%",
        ],
    )
    def test_a_comment_that_is_not_wholly_understood_is_no_check(self, comment: str) -> None:
        sql = f"-- {comment}\nSELECT count(*) AS n FROM carts;"
        assert "rb.check(" not in code_of(_one(f"# T\n\n```sql\n{sql}\n```\n"))

    def test_no_rows_of_an_aggregate_that_always_answers_with_one_row(self) -> None:
        empty = expectations.read(["must be empty"])
        assert not sqlchecks.of("SELECT max(age) AS age FROM carts", empty)
        assert sqlchecks.of("SELECT id FROM carts", empty) == [Check(column="", limit=0)]


class TestAnEmptyAnswer:
    @pytest.mark.parametrize(
        "words", ["Must be empty", "expected: nothing", "should be blank", "Expect no output."]
    )
    def test_is_compared_with_the_output_and_not_with_the_word(self, words: str) -> None:
        code = code_of(_one(f"# T\n\n```sh\ncat /var/log/app/errors # {words}\n```\n"))
        assert 'answers=""' in code

    def test_any_output_is_wrong(self) -> None:
        [empty] = answers.judge(" \n", Quoted(answers=""))
        [told] = answers.judge("empty\n", Quoted(answers=""))
        assert (empty.met, told.met) == (True, False)
        assert not answers.judge("anything", Quoted())


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

    @pytest.mark.parametrize(
        "text",
        [
            "## Symptoms\n\nOpen carts above 5% are not critical.\n",
            "Start the import when open sessions are below 20.\n",
            "Go on once the cart backlog is under 20.\n",
            "Retries up to 3% are normal.\n",
            "Alert if the cart backlog is above 30, except on Sundays.\n",
            "Cart backlog should be under 30; 50 is critical.\n",
            "## Symptoms\n\nCart backlog below 7 or above 90\n",
            "## Symptoms\n\n- They wait > 10min\n- Batch size > 500\n- Repeat > 3\n",
            "Cart backlog > 5 bn for 5 min.\n",
            "Cart backlog remains above 30.\n",
            "Cart backlog > 9 = warning, > 5 = critical.\n",
            "It is fine if the cart backlog is above 30.\n",
        ],
    )
    def test_a_word_that_changes_the_meaning_keeps_the_sentence_text(self, text: str) -> None:
        assert not front_of(_one(f"# T\n\n{text}")).metrics

    @pytest.mark.parametrize(
        ("text", "warning"),
        [
            ("## Success criteria\n\n- Open carts below 8 for 20 minutes\n", ">= 8 for 20min"),
            ("## Success criteria\n\n- Open carts drop below 8\n", ">= 8"),
            ("## Acceptance\n\n- Open carts at most 8\n", "> 8"),
            ("## Symptoms\n\n- Open carts at or above 8\n", ">= 8"),
            ("## Symptoms\n\n- Open carts above 8k\n", "> 8k"),
            ("Open carts should be > 0.\n", "<= 0"),
        ],
    )
    def test_what_is_right_is_turned_round_and_the_limit_itself_kept(
        self, text: str, warning: str
    ) -> None:
        [metric] = front_of(_one(f"# T\n\n{text}")).metrics
        assert (metric.name, metric.warning) == ("Open carts", warning)

    @pytest.mark.parametrize(
        "text",
        [
            "Cart backlog > 90 for 10m = critical; > 40 = warning.\n",
            "Cart backlog above 90 for 10 min should page, above 40 should warn.\n",
            "Cart backlog: warning > 40, critical > 90 for 10 min.\n",
        ],
    )
    def test_two_limits_are_two_levels_of_one_metric(self, text: str) -> None:
        [metric] = front_of(_one(f"# T\n\n{text}")).metrics
        assert metric.name == "Cart backlog"
        assert (metric.warning, metric.critical) == ("> 40", "> 90 for 10min")

    def test_a_figure_ends_a_sentence(self) -> None:
        text = "Open carts should be 0. If `queue age` is higher than 5 seconds, add a worker.\n"
        [metric] = front_of(_one(f"# T\n\n{text}")).metrics
        assert (metric.name, metric.warning) == ("queue age", "> 5seconds")

    def test_the_report_says_that_a_figure_stays_text(self) -> None:
        one = _one("# T\n\nLatency may rise above 2 s during a deploy.\n")
        assert any("a number is kept as text" in entry.note for entry in one.report.entries)


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

    @pytest.mark.parametrize(
        "item", ["The worker reconnects after 10 min", "The cache expires automatically in 2 hours"]
    )
    def test_what_happens_by_itself_is_no_level(self, item: str) -> None:
        front = front_of(_one(f"# T\n\n## Escalation\n\n- {item}\n- Data is lost\n"))
        assert not front.escalation.levels

    def test_a_level_is_whole_however_long(self) -> None:
        item = "The team did not find the cause after 40 min, " + "and the backlog grows " * 5
        [level] = front_of(_one(f"# T\n\n## Escalation\n\n- {item.strip()}\n")).escalation.levels
        assert level.level == item.strip()

    def test_a_time_or_attempts_in_the_column_of_conditions(self) -> None:
        table = (
            "| Level | Who | When |\n|-|-|-|\n| L2 | DBA | after 25 min, or after 3 attempts |\n"
        )
        one = _one(f"# T\n\n## Escalation\n\n{table}")
        [level] = front_of(one).escalation.levels
        assert (level.after_s, level.after_attempts, level.when) == (1500, 3, "")
        assert "rb.escalation()" in code_of(one)

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


class TestMetrics:
    @pytest.mark.parametrize(
        ("warning", "critical", "figure", "beyond"),
        [
            ("<= 10", None, 10, True),
            ("< 10", None, 10, False),
            ("70–85", "> 85", 70, True),
            ("70-85", "> 85", 69, False),
            ("85–95", "< 85", 95, True),
            ("85–95", "< 85", 96, False),
            ("10+", None, 10, True),
            ("> 2k", None, 1500, False),
            ("> 2M", None, 5000, False),
        ],
    )
    def test_a_limit_of_a_table_at_the_limit(
        self, warning: str, critical: str | None, figure: float, beyond: bool
    ) -> None:
        rule = rule_of(Metric(name="m", column="n", warning=warning, critical=critical))
        assert rule is not None
        assert rule.warn is not None
        at = rule.warn_at_limit
        assert violates(figure, rule.warn, below=rule.below, at_limit=at) is beyond

    @pytest.mark.parametrize(("warning", "critical"), [("> 80%", None), ("> 5", "< 1")])
    def test_limits_that_cannot_be_compared_are_said(
        self, warning: str, critical: str | None
    ) -> None:
        with pytest.raises(QueryError):
            rule_of(Metric(name="hits", column="ratio", warning=warning, critical=critical))
