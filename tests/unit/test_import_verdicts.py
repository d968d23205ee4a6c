"""Checks of an imported runbook agree with its document: just below, at and above a limit."""

from __future__ import annotations

import pytest

from rbkernel.checks.quoted import Quoted
from rbkernel.checks.rule import violates
from rbkernel.importer import sqlchecks
from rbkernel.importer.stated import escalations, expectations, limits
from rbkernel.model import Verdict
from rbkernel.runbook.quantities import threshold
from rbkernel.triage.probes.shell import _Right
from tests.support.markdown_corpus import code_of, front_of, imported, text_of


def _code(line: str, language: str = "bash") -> str:
    [one] = imported(f"# T\n\n## Look\n\n```{language}\n{line}\n```\n".encode())
    return code_of(one)


def _verdict(code: int, output: str, **right: object) -> Verdict:
    figures = right.get("figures", {})
    answers = right.get("answers")
    of_code = right.get("exit_code", 0)
    quoted = Quoted(answers=answers)  # type: ignore[arg-type]
    contains = right.get("contains", "")
    judge = _Right(exit_code=of_code, contains=contains, figures=figures, quoted=quoted)  # type: ignore[arg-type]
    return judge.judge(code, output).verdict


def test_a_count_of_zero_is_judged_though_grep_ends_with_1() -> None:
    assert _verdict(1, "0\n", answers="0") is Verdict.OK
    assert _verdict(0, "1\n", answers="0") is Verdict.CRITICAL
    assert _verdict(1, "0\n", figures={"output": "<= 20"}) is Verdict.OK
    assert _verdict(0, "20\n", figures={"output": "<= 20"}) is Verdict.OK
    assert _verdict(0, "21\n", figures={"output": "<= 20"}) is Verdict.CRITICAL
    assert _verdict(1, "0\n", figures={"output": ">= 1"}) is Verdict.CRITICAL
    assert _verdict(2, "0\n", answers="0") is Verdict.CRITICAL
    assert _verdict(1, "0\n") is Verdict.CRITICAL  # nothing is said about the output


@pytest.mark.parametrize(
    ("words", "right", "wrong"),
    [
        ("active", "Active: active (running)", "Active: inactive (dead)"),
        ("ok", "status=ok", "broken"),
        ("healthy", "web-1 Up 2 days (healthy)", "web-1 Up 2 days (unhealthy)"),
    ],
)
def test_words_that_an_output_contains_are_no_parts_of_other_words(
    words: str, right: str, wrong: str
) -> None:
    assert f'contains="{words}"' in _code(f"systemctl status api  # output should contain: {words}")
    assert _verdict(0, right, contains=words) is Verdict.OK
    assert _verdict(0, wrong, contains=words) is Verdict.CRITICAL


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("kubectl get pods | grep -v Running  # expected: nothing", "exit_code=1"),
        ("journalctl -u app | grep -i oom  # must be empty", "exit_code=1"),
        ("sudo grep -i oom /var/log/kern.log  # must be empty", "exit_code=1"),
        ("docker exec web grep -i oom /log  # must be empty", "exit_code=1"),
        ("systemctl is-active old-api  # expected: inactive", "exit_code=3"),
        ("systemctl is-enabled old-api  # expected: disabled", "exit_code=1"),
        ("systemctl is-active api  # expected: active", ""),
        ("grep -c ERROR /var/log/app.log  # should be 0", ""),
        ("cat /run/app/errors  # must be empty", ""),
    ],
)
def test_the_exit_code_is_that_of_the_expected_output(line: str, code: str) -> None:
    found = _code(line)
    assert "answers=" in found
    assert code in found if code else "exit_code=" not in found


def test_an_empty_answer_of_grep_is_right_and_any_line_is_wrong() -> None:
    assert _verdict(1, "", answers="", exit_code=1) is Verdict.OK
    assert _verdict(0, "web-1 Pending\n", answers="", exit_code=1) is Verdict.CRITICAL
    assert _verdict(2, "", answers="", exit_code=1) is Verdict.CRITICAL


COUNT = "SELECT count(*) AS n FROM carts"


@pytest.mark.parametrize(
    ("sql", "say", "right", "wrong"),
    [
        (COUNT, "should be < 5K rows", [0, 4999], [5000]),
        (COUNT, "should be < 5M rows", [4_999_999], [5_000_000]),
        (COUNT, "should return 5 rows", [5], [4, 6]),
        (COUNT, "must be fewer than 1.000", [], []),
        (COUNT, "must be fewer than 2.500", [], []),
        (f"WITH x AS (SELECT 1) {COUNT}", "must return no rows", [], []),
        ("SELECT max(lag) AS lag FROM x", "should return 5 rows", [], []),
        ("SELECT max(lag) AS lag FROM x", "must return more than 5 rows", [], []),
        ("SELECT count(*) FROM x GROUP BY y", "should return 5 rows", [], []),
    ],
)
def test_a_limit_counts_rows_only_where_the_answer_is_a_count(
    sql: str, say: str, right: list[int], wrong: list[int]
) -> None:
    found = sqlchecks.of(sql, expectations.read([say]))

    def violated(figure: int) -> bool:
        return any(
            violates(figure, one.limit, below=one.below, at_limit=one.at_limit) for one in found
        )

    assert bool(found) is bool(right or wrong)
    assert not any(map(violated, right))
    assert all(map(violated, wrong))


@pytest.mark.parametrize(
    ("line", "heading", "metric"),
    [
        ("Queue depth > 5k messages for 5 min", "", ("Queue depth", 5000)),
        ("Queue depth exceeds 2M rows", "", ("Queue depth", 2e6)),
        ("Replication lag back below 5s", "", ("Replication lag", 5)),
        ("Backlog > 1.000", "Symptoms", None),
        ("Queue drains to below 100 within 10 minutes", "Diagnose", None),
        ("Bring the worker back in under 10 minutes", "", None),
        ("Consumer count < 3 → page", "Success criteria", None),
        ("Load average less than 2x cores", "Success criteria", None),
    ],
)
def test_a_sentence_is_a_metric_only_with_the_figure_and_the_side_that_it_says(
    line: str, heading: str, metric: tuple[str, float] | None
) -> None:
    found = limits.stated(line, heading)
    if metric is None:
        assert found == []
        return
    [one] = found
    limit = threshold(one.words)
    assert limit is not None
    assert (one.name, limit.value) == metric


def test_a_limit_of_a_metric_is_no_time_to_escalate() -> None:
    assert "after" not in escalations.level("Escalate if lag is more than 60 s, or after 2 tries")
    assert "after" not in escalations.level("If queries take longer than 5 minutes, escalate")
    assert escalations.level("Lag over 60 s for 10 min: escalate").get("after") == "10 min"
    assert escalations.level("Incident duration > 1 hour")["after"] == "1 hour"


def test_a_table_of_when_and_who_gives_timed_levels() -> None:
    table = "| When | Who | How |\n|---|---|---|\n| after 20 min | DBA | page |\n"
    [one] = imported(f"# T\n\n## Escalation\n\n{table}".encode())
    [level] = front_of(one).escalation.levels
    assert (level.after, level.contact) == ("20 min", "DBA")


@pytest.mark.parametrize(
    "line",
    [
        "kubectl get deploy web  # must be 3",
        "uptime  # load should stay under 8",
        "curl -s https://shop/ready  # should be fast",
    ],
)
def test_an_expectation_beside_a_command_that_gives_no_check_is_labelled(line: str) -> None:
    [one] = imported(f"# T\n\n```bash\n{line}\n```\n".encode())
    assert "For you to judge" in text_of(one)


def test_an_answer_alone_in_a_comment_names_no_command() -> None:
    code = _code("redis-cli ping\n# PONG\nredis-cli info memory")
    assert "PONG" not in code


def test_what_a_command_prints_is_no_command() -> None:
    [one] = imported(b"# T\n\n1. `mysqladmin ping` returns `mysqld is alive`\n")
    assert code_of(one).count("mysqld is alive") == 1
    assert 'answers="mysqld is alive"' in code_of(one)
    assert "mysqld is alive" in text_of(one)


def test_a_fence_of_another_database_is_sent_to_it_as_a_whole() -> None:
    [one] = imported(b"# T\n\n```sql\nSHOW PROCESSLIST;\nKILL 1234;\nSELECT SLEEP(9);\n```\n")
    assert "SLEEP" not in code_of(one)
    assert text_of(one).count("For MySQL:") == 3


def test_an_option_of_find_is_no_password() -> None:
    [one] = imported(b"# T\n\n```sh\nfind /var/log/mysql -name '*.log' -print\n```\n")
    assert '"-print"' in code_of(one)
    [one] = imported(b"# T\n\n```sh\n/opt/bin/mysql -psecret9 -e 'select 1'\n```\n")
    assert b"secret9" not in one.document


def test_the_prompt_of_a_host_is_no_placeholder() -> None:
    lines = "[root@db2 ~]$ ssh db1\n[root@db1 ~]$ sudo -i\nroot@db1:~# psql\nx=# SELECT 1;\nx=# \\q"
    [one] = imported(f"# T\n\n```console\n{lines}\n```\n".encode())
    assert "PLACEHOLDER: root@db2" not in one.document.decode()


def test_a_limit_that_is_only_shown_is_not_repeated() -> None:
    assert _code("ulimit -n\nkubectl get pods").count("ulimit") == 1
    assert "ulimit -n 9" in _code("ulimit -n 9\nkubectl get pods")


@pytest.mark.parametrize(
    "words",
    [
        '!!! danger "Read first"\n    Do not promote a replica that lags more than 60 seconds.',
        ":::{warning}\nOnly one broker at a time, and never the controller.\n:::",
        "If the count is greater than 10, escalate. If it is zero, all is fine.",
    ],
)
def test_a_warning_or_a_condition_is_no_summary(words: str) -> None:
    [one] = imported(f"# T\n\n{words}\n".encode())
    assert "PLACEHOLDER" in front_of(one).summary


def test_a_link_in_a_summary_is_its_words() -> None:
    [one] = imported(
        b"# T\n\nThe last outage was in May, see [the postmortem][pm].\n\n[pm]: https://w/1\n"
    )
    assert front_of(one).summary == "The last outage was in May, see the postmortem."
