"""The results of `rbkernel drill --json` as a page: ``python -m benchmarks.drills FILE.json …``.

Each file holds the results of one or more runbooks. The page is printed; it contains nothing that
is not in the files, except the machine on which this command runs, and the answers of other tools
(`benchmarks.neighbours`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.markdown import table
from benchmarks.neighbours.page import section
from rbkernel import __version__
from rbkernel.runbook.frontmatter_sections import HEALTHY
from rbkernel.sandbox.faults.catalogue import FAULTS

_HEAD = """\
# Results of the drills

What the bundled runbooks said of the faults that their front matter names, and of a healthy \
database: the output of [`rbkernel drill --json`](../how-to/drill.md), written by \
`python -m benchmarks.drills`. To repeat it: `make drills`.
"""
_COLUMNS = ("runbook", "state of the sandbox", "s", "cause found", "recommended step", "result")


def main(arguments: Sequence[str]) -> int:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="+", type=Path)
    parser.add_argument("--note", default="", help="how it was measured, in a sentence")
    given = parser.parse_args(arguments)
    results = [one for path in given.file for one in json.loads(path.read_text(encoding="utf-8"))]
    print(page(results, given.note))
    return 0


def page(results: Sequence[dict[str, Any]], note: str = "") -> str:
    """Return the page for these results, grouped by the version of PostgreSQL."""
    measured = f"rbkernel {__version__}; {_machine()}. `s`: seconds to the first finding. {note}"
    parts = [_HEAD, measured, section()]
    for version in dict.fromkeys(one["server_version"] for one in results):
        own = [one for one in results if one["server_version"] == version]
        parts += [f"## PostgreSQL {version}", _figures(own), _table(own)]
    return "\n\n".join(part.strip() for part in parts)


def _figures(results: Sequence[dict[str, Any]]) -> str:
    controls = [one for one in results if one["fault"] == HEALTHY and one["harmless"]]
    faults = [one for one in results if one["fault"] != HEALTHY]
    alike = [one for one in faults if _is_look_alike(one["fault"])]
    times = [one["seconds"] for one in faults if one["seconds"] is not None]
    rows = (
        ("faults", str(len({one["fault"] for one in faults}))),
        ("runs on a fault, with the right cause and step", _share(faults)),
        ("runs on a look-alike, not mistaken", _share(alike)),
        ("runs on a healthy database, without a false alarm", _share(controls)),
        ("time to the first finding, median", f"{statistics.median(times):.1f} s" if times else ""),
        ("time to the first finding, longest", f"{max(times):.1f} s" if times else ""),
    )
    return table(("measured", "figure"), rows)


def _is_look_alike(fault: str) -> bool:
    return fault in FAULTS and FAULTS[fault].look_alike_of is not None


def _share(results: Sequence[dict[str, Any]]) -> str:
    return f"{sum(one['passed'] for one in results)} of {len(results)}"


def _table(results: Sequence[dict[str, Any]]) -> str:
    return table(_COLUMNS, map(_row, results))


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    said = ", ".join(f"{name}: {value}" for name, value in one["values"].items())
    return (
        one["runbook"],
        f"`{one['fault']}`{f' ({said})' if said else ''}",
        "" if one["seconds"] is None else f"{one['seconds']:.1f}",
        one["found"],
        one["recommended"],
        "; ".join(one["problems"]) or "passed",
    )


def _machine() -> str:
    models = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    }
    return f"{os.cpu_count()} × {', '.join(models) or platform.machine()}, {platform.system()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
