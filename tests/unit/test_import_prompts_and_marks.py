"""Root prompts, ports of connections, severities in titles and tables, unread comments of SQL."""

from __future__ import annotations

import pytest

from tests.support.markdown_corpus import code_of, front_of, imported, text_of


def _code(fence: str, info: str) -> str:
    [one] = imported(f"# T\n\n## Look\n\n```{info}\n{fence}\n```\n".encode())
    return code_of(one)


@pytest.mark.parametrize(
    ("fence", "call"),
    [
        ("# systemctl status nginx", '["systemctl", "status", "nginx"]'),
        ("# systemctl restart nginx", "rb.act("),
        ("# uptime", '["uptime"]'),
        ("# df -h /var\nFilesystem Size\n/dev/sda1 10G", '["df", "-h", "/var"]'),
        ("# cat /etc/hosts", '["cat", "/etc/hosts"]'),
        ("# kubectl get pods -n shop\nNAME   READY\nweb-1  1/1", '["kubectl", "get", "pods"'),
        ("# journalctl -u nginx --since today\n-- Logs begin --", '["journalctl"'),
        ("# ss -ltn\n# ps aux", '["ps", "aux"]'),
        # held out
        ("# docker ps", '["docker", "ps"]'),
        ("# ip addr show eth0\n2: eth0: <BROADCAST>", '["ip", "addr", "show", "eth0"]'),
        ("# rm -rf /var/cache/app", "rb.act("),
        ("# ls -l /srv", '["ls", "-l", "/srv"]'),
        ("# look at the disk\n# df -h\nFilesystem Size", '["df", "-h"]'),
        ("# lsblk\nNAME SIZE\nsda 10G", '["lsblk"]'),
        ("# tail -n 20 /var/log/syslog", '["tail", "-n", "20", "/var/log/syslog"]'),
        ("# nginx -t\nnginx: the configuration file is ok", "nginx"),
    ],
)
@pytest.mark.parametrize("info", ["console", "shell-session"])
def test_a_root_prompt_in_a_terminal_is_a_prompt(fence: str, call: str, info: str) -> None:
    assert call in _code(fence, info)


@pytest.mark.parametrize(
    ("fence", "info"),
    [
        ("# systemctl status nginx", "bash"),
        ("# df -h", "sh"),
        ("# make sure that it runs", "console"),
        ("# find the pod", "console"),
        ("# restart nginx", "console"),
        ("# kill the process that holds it", "console"),
        ("# docker is not needed for this", "console"),
        ("# watch the log for 5 minutes", "console"),
        ("# service must be up", "console"),
        ("# systemctl status is all you need", "console"),
        ("# top of the list: the oldest", "console"),
        ("$ uptime\n# df -h", "console"),
        ("root@web1:~# uptime\n# systemctl restart nginx", "console"),
    ],
)
def test_a_comment_stays_a_comment(fence: str, info: str) -> None:
    code = _code(fence, info)
    assert "systemctl" not in code
    assert '"df"' not in code
    assert "rb.act(" not in code
    assert code.count("rb.shell(") == ("uptime" in fence)


@pytest.mark.parametrize(
    ("fence", "name"),
    [
        ("PGPORT=5433 psql -c 'SELECT 1'", "db_at_5433"),
        ("PGHOST=db9 PGPORT=5433 psql -c 'SELECT 1'", "db_at_db9_5433"),
        ("export PGHOST=db9\nexport PGPORT=5433\npsql -c 'SELECT 1'", "db_at_db9_5433"),
        ("export PGPORT=5433\npsql -h db9 -d orders -c 'SELECT 1'", "db_at_db9_orders_5433"),
        ("PGPORT=5432 psql -h db9 -c 'SELECT 1'", "db_at_db9"),
        # held out
        ("PGPORT=6432 PGDATABASE=orders psql -c 'SELECT 1'", "db_at_orders_6432"),
        ("export PGDATABASE=orders PGPORT=5433\npsql -c 'SELECT 1'", "db_at_orders_5433"),
        ("export PGHOST=db9\nexport PGDATABASE=orders\npsql -c 'SELECT 1'", "db_at_db9_orders"),
        ("export PGPORT=5433\npsql -p 5434 -h db9 -c 'SELECT 1'", "db_at_db9_5434"),
        ("env PGPORT=5433 psql -h db9 -c 'SELECT 1'", "db_at_db9_5433"),
        ("export PGHOSTADDR=10.0.0.9\npsql -d orders -c 'SELECT 1'", "db_at_10_0_0_9_orders"),
        ("PGPORT='5433' psql -d orders -c 'SELECT 1'", "db_at_orders_5433"),
    ],
)
def test_a_port_that_a_variable_sets_belongs_to_the_connection(fence: str, name: str) -> None:
    assert f"%%sql {name} " in _code(fence, "bash")


@pytest.mark.parametrize(
    ("title", "severity"),
    [
        ("[P2] Orders are slow", "P2"),
        ("Orders are slow (SEV-1)", "SEV-1"),
        ("P1: Orders are slow", "P1"),
        ("Orders are slow [SEV2]", "SEV2"),
        # held out
        ("(P0) Orders are slow", "P0"),
        ("SEV-3 – Orders are slow", "SEV-3"),
        ("Runbook: Orders are slow [severity: P3]", "P3"),
        ("Orders are slow (sev2)", "sev2"),
    ],
)
def test_a_severity_in_the_title_is_the_severity(title: str, severity: str) -> None:
    [one] = imported(f"# {title}\n\nText.\n".encode())
    assert front_of(one).severity == severity
    assert "Orders are slow" in front_of(one).title
    assert "PLACEHOLDER" not in front_of(one).title


@pytest.mark.parametrize(
    "title",
    [
        "Restore from the archive (S3)",
        "P1 and P2 alerts",
        "[P1] and [P2] alerts",
        "Pods (high)",
        "Upgrade to (P5)",
        "The P2 queue is slow",
    ],
)
def test_what_is_no_severity_in_a_title(title: str) -> None:
    [one] = imported(f"# {title}\n\nText.\n".encode())
    assert "PLACEHOLDER" in front_of(one).severity


def test_an_explicit_severity_has_priority_over_the_title() -> None:
    [one] = imported(b"# [P2] Orders are slow\n\n**Severity:** P1\n")
    assert front_of(one).severity == "P1"


@pytest.mark.parametrize(
    ("header", "level"),
    [
        ("Sev | Criteria", "SEV1"),
        ("Severity | When", "P1"),
        ("Prio | Situation", "P1"),
        # held out
        ("Severity | Trigger", "SEV-1"),
        ("Level | What it means", "P0"),
        ("Sev. | If", "SEV1"),
        ("Priority | Symptom", "critical"),
    ],
)
def test_a_table_of_severities(header: str, level: str) -> None:
    table = f"| {header} |\n|---|---|\n| {level} | No orders |\n| P3 | Slow |\n"
    [first, second] = front_of(*imported(f"# T\n\n{table}".encode())).severity_levels
    assert (first.level, first.when, second.level) == (level, "No orders", "P3")


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("Level | When", ["1 | Monday", "2 | Tuesday"]),
        ("Severity | When", ["P1 | No orders", "later | Slow"]),
        ("Level | When | Who", ["L1 | No orders | Ann", "L2 | Slow | Bob"]),
        ("Priority | What | Team", ["P1 | No orders | DBA", "P2 | Slow | SRE"]),
    ],
)
def test_a_table_of_something_else(header: str, rows: list[str]) -> None:
    ruler = "|".join("-" * (header.count("|") + 1))
    table = "\n".join(f"| {row} |" for row in [header, ruler.replace("-", "---"), *rows])
    assert not front_of(*imported(f"# T\n\n{table}\n".encode())).severity_levels


@pytest.mark.parametrize(
    "comment",
    [
        "should be about 30",
        "must not be 0",
        "Good: mostly below 5",
        "over 900 is critical during the day",
        "should be the number of shops",
        # held out
        "Expected: a handful",
        "must be true while n < 30",
        "normal: a few",
        "if more than 9, call the owner",
        "alert threshold depends on the shop",
    ],
)
@pytest.mark.parametrize(
    "fence",
    [
        "```sql\n-- {0}\nSELECT count(*) AS n FROM carts;\n```",
        "```sql\nSELECT count(*) AS n FROM carts;\n-- {0}\n```",
        "```bash\npsql -c 'SELECT count(*) AS n FROM carts'  # {0}\n```",
    ],
)
def test_a_comment_of_sql_that_is_not_understood_is_left_to_a_person(
    comment: str, fence: str
) -> None:
    [one] = imported(f"# T\n\n## Look\n\n{fence.format(comment)}\n".encode())
    assert "rb.check(" not in code_of(one)
    before, label, after = text_of(one).partition("*For you to judge:*")
    assert label
    assert comment in after
    assert comment not in before


@pytest.mark.parametrize(
    "comment", ["the open carts", "sessions that wait for more than 5 min", "Step 2: look"]
)
def test_a_comment_of_sql_that_expects_nothing_has_no_label(comment: str) -> None:
    [one] = imported(f"# T\n\n```sql\n-- {comment}\nSELECT id FROM carts;\n```\n".encode())
    assert "For you to judge" not in text_of(one)
