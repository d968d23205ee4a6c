"""The import of files as they are met in the wild: no crash, nothing lost, valid notebooks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.markdown_corpus import SEEDS, WILD, imported

pytestmark = pytest.mark.slow

LONG = "# A very long runbook\n\n" + "".join(
    f"## Case {n}: service {n} is slow\n\n- [ ] Look at the dashboard of service {n}\n"
    f"- [ ] Ask the owner\n\n```bash\nkubectl logs deploy/service-{n} --tail=100\n```\n\n"
    f"| Metric | Critical |\n|---|---|\n| Latency of service {n} | > {n} ms |\n\n"
    for n in range(1, 401)
)

# pieces that break parsers, and each other
PIECES = st.sampled_from(
    [
        *(
            "# ",
            "## Step 1: x",
            "===",
            "---",
            "- ",
            "  - ",
            "1. ",
            "- [ ] ",
            "- [x] done",
            "> ",
            "\t",
        ),
        *("```", "```bash", "```sql", "```text", "````", "~~~", "    code", "|a|b|", "|---|---|"),
        *(
            "| Metric | Critical |",
            "| x | > 5 |",
            "| Role | Contact |",
            "**Owner:** x",
            "Owner: [x]",
        ),
        *("SELECT 1;", "SELECT '<a b>'", "UPDATE t SET x = [y]", "kubectl get pods", "rm -rf ${X}"),
        *(
            "psql -c \"SELECT '",
            "cat <<EOF",
            "EOF",
            "RUN-001: T",
            "# Runbook: A",
            "<details>",
            "<!--",
        ),
        *("{% highlight sh %}", "{% endhighlight %}", "{{< highlight >}}", "{{< /highlight >}}"),
        *("<pre>", "<pre><code>ls", "</pre>", "</code></pre>", "{code}", ":::{code} sh", ":::"),
        *(
            "{{ x }}",
            "{a}",
            '"""',
            "'",
            "\\",
            "\\\n",
            "\r\n",
            "\r",
            "\0",
            "\x0c",
            "\u2028",
            "‹x›",
            "é",
        ),
        *(
            "`kubectl get x`",
            "`SELECT 1`",
            "GET /health",
            "on: call",
            "Severity: P1",
            "kubectl >= 1.2",
        ),
    ]
)
TEXTS = st.lists(st.one_of(PIECES, st.just("\n"), st.text(max_size=12)), max_size=40)


@pytest.mark.parametrize("path", [*SEEDS, *WILD], ids=lambda path: path.stem)
@pytest.mark.parametrize("split", [False, True], ids=["one", "split"])
def test_nothing_is_lost_and_the_notebook_is_valid(path: Path, split: bool) -> None:
    imported(path.read_bytes(), name=path.name, split=split)


@pytest.mark.parametrize("path", [*SEEDS, *WILD], ids=lambda path: path.stem)
def test_the_same_source_gives_the_same_bytes(path: Path) -> None:
    first, second = (imported(path.read_bytes()) for _ in range(2))
    assert [one.document for one in first] == [one.document for one in second]


def test_there_are_enough_of_them() -> None:
    assert len(SEEDS) == 5
    assert len(WILD) >= 20


def test_five_thousand_lines() -> None:
    assert LONG.count("\n") > 5000
    [one] = imported(LONG.encode())
    assert one.report.counts["executable"] == 800 + 1  # checklists, commands, and rb.metrics once


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXTS)
def test_any_text(pieces: list[str]) -> None:
    imported("".join(pieces).encode("utf-8", "surrogatepass"), split=len(pieces) % 2 == 0)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(document: bytes) -> None:
    imported(document)
