"""Run the suites of other projects for `python3` and `rbkernel`, and compare: `make conformance`.

Exit codes: 0 no difference but those that docs/explanation/conformance.md lists, 2 a difference
that it does not list, 3 a suite could not be run.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.conformance.suites import KERNELS, SUITES, Outcomes, Suite, prepare, run

_DOCS = Path(__file__).parents[2] / "docs/explanation/conformance.md"
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_LISTED = re.compile(r"^\| `(?P<test>[^`]+)` \| \w+ \| \w+ \| (?P<reason>.+?) \|$", re.MULTILINE)


def listed() -> dict[str, str]:
    """Return the differences that the documentation lists, with their reasons."""
    rows = _LISTED.finditer(_DOCS.read_text())
    return {row["test"]: _LINK.sub(r"\1", row["reason"]) for row in rows}


def table(suite: Suite, both: Mapping[str, Outcomes], known: Mapping[str, str]) -> Table:
    """Return the rows: each test of our samples; the files and differences of other suites."""
    shown = Table(title=suite.name, title_justify="left")
    for column in ("test", *KERNELS, "why"):
        shown.add_column(column, overflow="fold")
    tests = sorted(both["python3"].keys() | both["rbkernel"].keys())
    for file in sorted({test.partition("::")[0] for test in tests} if suite.project else ()):
        shown.add_row(file, *(_counts(both[kernel], file) for kernel in KERNELS), "")
    for test in tests:
        outcomes = [both[kernel].get(test, "not run") for kernel in KERNELS]
        if outcomes[0] == outcomes[1] and suite.project:
            continue
        same = outcomes[0] == outcomes[1]
        listed_as = escape(known[test]) if test in known else "[bold red]not listed[/]"
        shown.add_row(escape(test), *outcomes, "" if same else listed_as)
    return shown


def _counts(outcomes: Outcomes, file: str) -> str:
    counts = Counter(
        outcome for test, outcome in outcomes.items() if test.partition("::")[0] == file
    )
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))


def main() -> int:
    """Run all suites and print a table for each."""
    console, known, new = Console(width=160), listed(), []
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        folder = Path(name)
        try:
            prepare(folder)
            for suite in SUITES:
                both = {kernel: run(suite, kernel, folder) for kernel in KERNELS}
                console.print(table(suite, both, known))
                tests = both["python3"].keys() | both["rbkernel"].keys()
                new += [
                    test
                    for test in sorted(tests)
                    if both["python3"].get(test) != both["rbkernel"].get(test) and test not in known
                ]
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 3
    if new:
        print(
            f"{len(new)} differences are not listed: {', '.join(new)}. Next: fix them, or list them"
            " with their reason in docs/explanation/conformance.md.",
            file=sys.stderr,
        )
        return 2
    print("No difference but those that docs/explanation/conformance.md lists.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
