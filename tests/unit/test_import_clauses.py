"""Checks of commands and queries, from comments and tables of checks: a healthy answer reads ok, a
failing one does not.
"""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Callable

import pytest

from rbkernel.checks.quoted import Quoted
from rbkernel.checks.rule import violates
from rbkernel.importer.convert import convert
from rbkernel.importer.stated import expectations
from rbkernel.model import Verdict
from rbkernel.triage.probes.shell import _Right
from tests.support.markdown_corpus import code_of, front_of, imported, refuses


def _imported(body: str) -> str:
    [one] = imported(f"# T\n\n## Look\n\n{body}\n".encode())
    return code_of(one)


def _called(code: str, function: str) -> list[dict[str, object]]:
    """Return the keyword arguments of each call of a function in the code of a notebook."""
    plain = re.sub(r"%%sql[^\n]*\n(?:(?!\nrb\.|\n\n)[\s\S])*", "", code)
    return [
        {one.arg or "": ast.literal_eval(one.value) for one in node.keywords}
        for node in ast.walk(ast.parse(plain))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == function
    ]


def _of_output(call: dict[str, object], output: str, code: int = 0) -> Verdict:
    quoted = Quoted(
        answers=call.get("answers"),  # type: ignore[arg-type]
        fields=call.get("json"),  # type: ignore[arg-type]
        wrong=call.get("wrong", ""),  # type: ignore[arg-type]
    )
    right = _Right(
        exit_code=call.get("exit_code", 0),  # type: ignore[arg-type]
        contains=call.get("contains", ""),  # type: ignore[arg-type]
        figures=call.get("expect", {}),  # type: ignore[arg-type]
        quoted=quoted,
    )
    return right.judge(code, output).verdict


def _of_figure(calls: list[dict[str, object]], figure: float) -> Verdict:
    """Return the worst verdict of `rb.check` calls on a figure."""
    found = [
        Verdict.CRITICAL if level == "critical" else Verdict.WARNING
        for call in calls
        for level in ("warn", "critical")
        if level in call
        and violates(
            figure,
            float(str(call[level])),
            below=bool(call.get("below")),
            at_limit=bool(call.get("at_limit")),
        )
    ]
    return Verdict.worst([Verdict.OK, *found])


COUNT = "kubectl get pods --no-headers | wc -l"


@pytest.mark.parametrize(
    ("line", "healthy", "failing"),
    [
        (f"{COUNT}  # has to be zero", "0", "2"),
        (f"{COUNT}  # zero is healthy", "0", "3"),
        (f"{COUNT}  # 0 means all of them are up", "0", "3"),
        (f"{COUNT}  # 0, otherwise it is crash looping", "0", "3"),
        (f"{COUNT}  # any number other than 0: the slot is gone, rebuild", "0", "3"),
        (f"{COUNT}  # there should be 4 pods", "4", "3"),
        (f"{COUNT}  # exactly three", "3", "4"),
        (f"{COUNT}  # 3 or the quorum is lost", "3", "2"),
        (f"{COUNT}  # expect between 10 and 60 workers", "30", "61"),
        (f"{COUNT}  # expect between 10 and 60 workers", "10", "9"),
        (f"{COUNT}  # a handful is fine, more than 50 is not", "50", "51"),
        (f"{COUNT}  # bigger than 1000, else it is cut", "1001", "1000"),
        (f"{COUNT}  # page somebody if it is 500 or higher", "499", "500"),
        (f"{COUNT}  # must not list any pod", "0", "1"),
        ("curl -so /dev/null -w '%{time_total}' https://shop/  # no slower than 2 s", "1.9", "2.1"),
        ("kubectl get deploy web -o jsonpath='{.status.readyReplicas}'  # at least 3", "3", "2"),
        ("systemctl is-enabled nginx  # enabled", "enabled", "disabled"),
        ("redis-cli ping  # PONG", "PONG", "LOADING Redis is loading the dataset in memory"),
        ("redis-cli info replication | grep link  # must say up", "link:up", "link:down"),
        ("redis-cli cluster info | grep state  # cluster_state:ok", "cluster_state:ok", "x:fail"),
        (
            "smartctl -H /dev/sda  # PASSED, anything else is a dying disk",
            "test: PASSED",
            "FAILED!",
        ),
        ("pg_isready -h db  # accepting connections", "db:5432 - accepting connections", "db - no"),
        ("cat /run/app/state  # answers `ok`", "ok", "not ok"),
        ('curl -s http://app/api/state  # {"status": "UP"}', '{"status":"UP"}', '{"status":"X"}'),
        ("kubectl get pvc -o name  # nothing must come back", "", "pvc/a"),
        ("cat /run/app/lag  # true is bad", "false", "true"),
        (f"{COUNT}  # we expect zero here", "0", "2"),
        (f"{COUNT}  # nothing is listed on a quiet cluster", "0", "2"),
        (f"{COUNT}  # a non-zero count means that a consumer fails", "0", "2"),
        (f"{COUNT}  # anything above 1000 means that the uploader is stuck", "1000", "1001"),
        (f"{COUNT}  # exactly 1, or the cluster has no leader", "1", "0"),
        (f"{COUNT}  # should not drop below 3", "3", "2"),
        ("ulimit -n  # should not be below 65535", "65535", "1024"),
        ("kubectl get pvc -o name  # empty, otherwise a volume is lost", "", "pvc/a"),
    ],
)
def test_a_comment_beside_a_command_is_its_check(line: str, healthy: str, failing: str) -> None:
    [call] = _called(_imported(f"```bash\n{line}\n```"), "rb.shell")
    assert _of_output(call, healthy) is Verdict.OK
    assert _of_output(call, failing) is Verdict.CRITICAL


@pytest.mark.parametrize(
    "say",
    [
        "usually around 40",
        "143",
        "3 pods",
        "0 does not mean that all is well",
        "not 0? do not panic",
        "0, stuck",
        "0 on the standby, 1 on the primary",
        "1 = maintenance, stop here",
        "200 or 503, both are fine",
        "0 before 06:00, several thousand afterwards",
        "must not be over 30 on Mondays",
        "0 is suspicious, 500 too",
        "more than 5 is not a problem",
        "over 5 is fine",
        "do not flush below 1000",
        "on Mondays: 0 is good",
        "0, or the host is in maintenance",
        "0 is fine, but usually it is about 5",
        "active means that the old image runs",
        "about 1000 a day",
    ],
)
def test_a_comment_of_another_meaning_is_no_check(say: str) -> None:
    [call] = _called(_imported(f"```bash\n{COUNT}  # {say}\n```"), "rb.shell")
    assert call == {}
    assert not expectations.read([say]).limits


def _checks(sql: str) -> list[dict[str, object]]:
    return _called(_imported(f"```sql\n{sql}\n```"), "rb.check")


@pytest.mark.parametrize(
    ("sql", "ok", "warning", "critical"),
    [
        ("SELECT deadlocks FROM d; -- anything over 300 is bad, up to 30 is fine", 30, 31, 301),
        ("SELECT deadlocks FROM d; -- OK up to 20, WARN up to 100, CRIT beyond", 20, 21, 101),
        ("SELECT hit_pct FROM d; -- 99+ is great, below 95 look closer", 99, 98, 94),
        ("/* Deadlocks: 0 is good, 1..10 so-so, more than 10 bad */\nSELECT n FROM d;", 0, 1, 11),
        ("-- Percentage in use. Keep it under 80.\nSELECT used_pct FROM d;", 79, None, 80),
        ("SELECT sum(n) FROM t; -- > 10M: vacuum is behind", 10**7, None, 10**7 + 1),
        ("SELECT count(*) AS n FROM t; -- nonzero => somebody forgot it", 0, None, 1),
        ("SELECT extract(epoch FROM now() - max(t)) AS n FROM t; -- at most 900", 900, None, 901),
        ("SELECT pg_is_in_recovery(); -- f is what we want", 0, None, 1),
        ("SELECT bool_and(ok) FROM t; -- must be `t`", 1, None, 0),
        ("SELECT a > b AS forced FROM t; -- true is bad", 0, None, 1),
    ],
)
def test_a_comment_of_a_query_is_its_check(
    sql: str, ok: int, warning: int | None, critical: int
) -> None:
    found = _checks(sql)
    assert found
    assert _of_figure(found, ok) is Verdict.OK
    assert warning is None or _of_figure(found, warning) is Verdict.WARNING
    assert _of_figure(found, critical) is Verdict.CRITICAL


def test_the_smallest_of_several_values_is_compared_with_a_lower_limit() -> None:
    [least] = _checks("SELECT free_pct FROM disks; -- must be at least 20")
    assert (least["agg"], least["below"]) == ("min", True)
    [alone] = _checks("SELECT min(free_pct) AS n FROM disks; -- must be at least 20")
    assert "agg" not in alone
    table = "| Metric | Critical |\n|-|-|\n| Free space | < 20 |"
    query = "Free space: `SELECT free FROM disks`"
    [one] = imported(f"# T\n\n{table}\n\n{query}\n".encode())
    [metric] = front_of(one).metrics
    assert (metric.query, metric.agg) == ("SELECT free FROM disks", "min")


@pytest.mark.parametrize("column", ["setting", "state"])
def test_a_boolean_is_expected_only_of_a_boolean_column(column: str) -> None:
    assert not _checks(f"SELECT {column} FROM t; -- must be `t`")


MARKDOWN = "| Check | Query | OK if |\n|---|---|---|\n| {} | `{}` | {} |"
HTML = (
    "<table>\n<tr><th>What</th><th>How</th><th>Pass criteria</th></tr>\n"
    "<tr><td>{}</td><td><code>{}</code></td><td>{}</td></tr>\n</table>"
)
WIKI = "||Check||Command||Expected||\n|{}|`{}`|{}|"
CARTS = "SELECT count(*) FROM carts"


@pytest.mark.parametrize("table", [MARKDOWN, HTML, WIKI], ids=["markdown", "html", "wiki"])
@pytest.mark.parametrize(
    ("says", "ok", "critical"),
    [
        *[("0", 0, 1), ("fewer than 500", 499, 500), ("at least one", 1, 0)],
        *[("between 2 and 4", 2, 5), ("exactly 2", 2, 1)],
    ],
)
def test_a_row_of_a_table_is_a_check(table: str, says: str, ok: int, critical: int) -> None:
    code = _imported(table.format("Carts", CARTS, says))
    assert CARTS in code
    found = _called(code, "rb.check")
    assert _of_figure(found, ok) is Verdict.OK
    assert _of_figure(found, critical) is Verdict.CRITICAL
    [call] = _called(
        _imported(table.format("Service", "systemctl is-active api", "active")), "rb.shell"
    )
    assert _of_output(call, "active") is Verdict.OK
    assert _of_output(call, "failed", 3) is Verdict.CRITICAL


def test_a_column_says_what_is_wrong_if_none_says_what_is_right() -> None:
    head = "| Host check | Command | Expect | Alarm when |\n|---|---|---|---|\n"
    row = "| zombies | `ps -eo stat \\| grep -c Z` | {} | {} |"
    [call] = _called(_imported(head + row.format("few", "5 or more")), "rb.shell")
    assert _of_output(call, "4") is Verdict.OK
    assert _of_output(call, "5") is Verdict.CRITICAL
    [call] = _called(_imported(head + row.format("small", "-")), "rb.shell")
    assert call == {}


def test_a_table_keeps_what_changes_something_behind_the_decision() -> None:
    code = _imported(MARKDOWN.format("Clean", "DELETE FROM carts", "0 rows"))
    assert "rb.actions.statement(" in code
    assert "%%sql" not in code


@pytest.mark.parametrize(
    ("item", "healthy", "failing"),
    [
        ("- `df --output=pcent / | tail -1 | tr -dc 0-9` → must be lower than 90", "89", "90"),
        ("- `cat /sys/class/net/eth0/operstate` → up", "up", "down"),
        ("Run `kubectl get deploy -o jsonpath='{.x}'` – it needs to show 3 or higher.", "3", "2"),
        ("Check with `nc -z api 8443 && echo up` (expected: `up`).", "up", ""),
        ("- `redis-cli llen errors` is 0", "0", "2"),
    ],
)
def test_the_words_behind_a_command_in_a_line_are_its_check(
    item: str, healthy: str, failing: str
) -> None:
    [call] = _called(_imported(item), "rb.shell")
    assert _of_output(call, healthy) is Verdict.OK
    assert _of_output(call, failing) is Verdict.CRITICAL


@pytest.mark.parametrize(
    "item",
    ["- `nproc -x` shows the cores", "- `kubectl get pods` is slow", "- `cat /run/x` - see below"],
)
def test_other_words_behind_a_command_are_no_check(item: str) -> None:
    [call] = _called(_imported(item), "rb.shell")
    assert call == {}


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("Deferred mails: warn at 200, page at 1000", (">= 200", ">= 1000")),
        ("Slot lag: warn > 1GiB, crit > 10GiB", ("> 1GiB", "> 10GiB")),
        ("|Metric|Green|Amber|Red|\n|-|-|-|-|\n|Errors|< 1%|1-5%|> 5%|", ("1-5%", "> 5%")),
        ("We used to alert when the lag was over 60 seconds.", None),
    ],
)
def test_levels_of_a_metric(text: str, metric: tuple[str, str] | None) -> None:
    [one] = imported(f"# T\n\n## Limits\n\n{text}\n".encode())
    found = [(row.warning, row.critical) for row in front_of(one).metrics]
    assert found == ([metric] if metric else [])


LONG: dict[str, Callable[[int], str]] = {
    "open blocks": lambda n: "- <pre>\n" * n,
    "a long figure": lambda n: f"lag {'1' * n}\n",
    "a long blank": lambda n: f"```bash\nls | wc -l  # 0{' ' * 8 * n}x\n```\n",
    "many clauses": lambda n: f"```bash\nls | wc -l  # {'0, otherwise 1, ' * n}\n```\n",
}


@pytest.mark.parametrize("kind", LONG)
def test_a_long_text_takes_no_quadratic_time(kind: str) -> None:
    def takes_s(n: int) -> float:
        document = f"# T\n\n{LONG[kind](n)}".encode()
        start = time.process_time()
        convert(document, name="x.md", refuses=refuses)
        return time.process_time() - start

    takes_s(10)  # the parsers load
    # eight times as much takes about eight times as long; with quadratic time, 64 times
    assert takes_s(1600) < 24 * takes_s(200) + 0.1


def test_is_failed_ends_with_1_if_all_is_well() -> None:
    [call] = _called(
        _imported("- `systemctl is-failed api` should not print `failed`."), "rb.shell"
    )
    assert _of_output(call, "active", 1) is Verdict.OK
    assert _of_output(call, "failed", 0) is Verdict.CRITICAL


@pytest.mark.parametrize(
    ("command", "below", "healthy", "failing"),
    [
        (
            "nginx -t",
            "You want to see `test is successful`.",
            "x test is successful",
            "test failed",
        ),
        ("ls | grep -c ready", "More than 100 means that the archiver is stuck.", "100", "101"),
        ("etcdctl alarm list", "The command prints nothing on a healthy cluster.", "", "NOSPACE"),
        ("redis-cli info | grep bgsave", "It has to read `bgsave:ok`.", "bgsave:ok", "bgsave:err"),
        ("redis-cli llen q", "Up to 200 is fine. Beyond 1000 is a problem.", None, None),
    ],
)
def test_a_paragraph_below_a_command_is_its_check(
    command: str, below: str, healthy: str | None, failing: str | None
) -> None:
    fence = f"```bash\n{command}\n```\n\n{below}"
    [call] = _called(_imported(fence), "rb.shell")
    if healthy is None or failing is None:
        assert call == {}  # a warning cannot be told of an output
        return
    assert _of_output(call, healthy) is Verdict.OK
    assert _of_output(call, failing) is Verdict.CRITICAL
    apart = f"```bash\n{command}\n```\n\nLook at it.\n\n{below}"
    several = f"```bash\nuptime\n{command}\n```\n\n{below}"
    for text in (apart, several):
        assert not any(_called(_imported(text), "rb.shell"))
