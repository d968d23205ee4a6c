"""What rbkernel says: RUN-000 headless, then the runbook that it recommends, as on call.

The adapter is not told the scenario. Culprits are what the findings name that are not ok and not
explained by another one; the step is the recommended option, and its targets are those of its plan.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from rbkernel import __version__, config
from rbkernel.evidence.reading import Record
from rbkernel.model import Finding, leading
from rbkernel.run import runner

_FIRST = "RUN-000"
_STEPS = {
    "none: watch": "wait",
    "wait": "wait",
    "keep the primary": "wait",
    "let it finish": "wait",
    "resolve the cause first": "",
    "escalate": "escalate",
    "ask ": "escalate",
    "see about": "escalate",
    "find out": "escalate",
    "check the server": "escalate",
    "cancel": "cancel",
    "terminate": "terminate",
    "end the session": "terminate",
    "resume replay": "resume-replay",
    "bring the reader": "reconnect-reader",
    "drop the slot": "drop-slot",
    "repair the archive": "repair-archive",
    "vacuum": "vacuum",
    "analyze": "analyze",
    "find the missing index": "create-index",
    "rebuild the half-built index": "rebuild-index",
    "clean up the indexes": "rebuild-index",
    "correct the settings": "change-setting",
    "start the server": "start-server",
    "do not start it": "redirect-clients",
    "point the applications": "redirect-clients",
    "fence": "fence",
    "promote": "promote",
    "stop writes": "stop-writes",
    "repair the connection": "repair-login",
}
_TARGETS = {"pid": "pid", "slot_name": "slot", "slot": "slot", "relation": "table"}


def main() -> None:
    """Print the answer."""
    with tempfile.TemporaryDirectory(prefix="rbkernel-neighbour-") as folder:
        os.environ["RBKERNEL_EVIDENCE"] = folder
        settings = config.load()
        record = runner.run(_FIRST, {}, settings).record
        if _recommended(record).startswith("RUN-"):
            record = runner.run(_recommended(record), {}, settings).record
        wrong = leading(record.findings)
        option = _recommended(record)
        step = next((its for words, its in _STEPS.items() if option.startswith(words)), "")
        answer: dict[str, Any] = {
            "tool": f"rbkernel {__version__}",
            "detected": bool(wrong),
            "culprits": list(dict.fromkeys(one for found in wrong for one in _culprits(found))),
            "says": f"{'; '.join(one.headline for one in wrong)} → {option}",
        }
        if step:
            answer |= {"step": step, "targets": list(_targets(record, step))}
        print(json.dumps(answer))


def _recommended(record: Record) -> str:
    return next((one.recommended for one in record.decisions if one.recommended), "")


def _culprits(finding: Finding) -> Iterator[str]:
    for pid in re.findall(r"pid (\d+)", finding.which):
        yield f"pid:{pid}"


def _targets(record: Record, step: str) -> Iterator[str]:
    """Yield the objects of the plans for a step."""
    plans: dict[str, Mapping[str, Any]] = {
        one.data["id"]: one.data for one in record.of_kind("plan")
    }
    for plan in plans.values():
        if plan["title"].lower().startswith(step.split("-")[0]):
            for target in plan["targets"]:
                for name, kind in _TARGETS.items():
                    if name in target:
                        yield f"{kind}:{target[name]}"


if __name__ == "__main__":
    main()
