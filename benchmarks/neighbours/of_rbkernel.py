"""What rbkernel says: RUN-000 headless, then the runbook that it recommends, as on call.

The first run has default parameters, the second those that RUN-000 recommends with the runbook; the
adapter is not told the scenario. What is wrong are the
leading findings of both runs, and the culprits are those that their sentences name. The step is
the option that the last run recommends, and its targets are those of the plan for it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from rbkernel import __version__, config
from rbkernel.evidence.reading import Record
from rbkernel.model import Finding, leading
from rbkernel.run import runner

_FIRST = "RUN-000"
# the beginning of an option, and its kind of step
_STEPS = {
    "none: watch": "wait",
    "wait": "wait",
    "keep the primary": "wait",
    "let it finish": "wait",
    "escalate": "escalate",
    "ask ": "escalate",
    "see about": "escalate",
    "find out": "escalate",
    "check the server": "escalate",
    "cancel": "cancel",
    "terminate": "terminate",
    "end the session": "terminate",
    "resume replay": "resume-replay",
    "bring the standby": "repair-replication",
    "start the standby": "start-server",
    "check the host": "escalate",
    "bring the reader": "reconnect-reader",
    "drop the slot": "drop-slot",
    "repair the archive": "repair-archive",
    "vacuum": "vacuum",
    "analyze": "analyze",
    "find the missing index": "create-index",
    "rebuild the half-built index": "rebuild-index",
    "finish or remove the half-way migration": "rebuild-index",
    "widen the key": "widen-key",
    "correct the settings": "change-setting",
    "raise the limit": "change-setting",
    "revoke the privilege": "revoke",
    "start the server": "start-server",
    "do not start it": "redirect-clients",
    "point the applications": "redirect-clients",
    "fence": "fence",
    "promote": "promote",
    "stop writes": "stop-writes",
    "repair the connection": "repair-login",
}
# what a sentence says, and the identity of whom it names
_NAMED = (
    (r"pid (\d+)", "pid:{}"),
    (
        r"sandbox-(\w+) (?:does not answer|is not connected|receives no WAL|is up to|is \d)",
        "server:{}",
    ),
    (r"Replay is paused on sandbox-(\w+)", "server:{}"),
    (r"Two writable primaries of one cluster: sandbox-(\w+)", "server:{}"),
    (r"Two writable primaries of one cluster: .* and sandbox-(\w+)", "server:{}"),
    (r"authentication failed for user \"(\w+)\"", "role:{}"),
    (r"connection limit of the role (\w+)", "role:{}"),
    (r"prepared transaction (\S+)", "transaction:{}"),
    (r"wait for the (synchronous) standby", "setting:{}_standby_names"),
    (r"attempt to (archive) WAL failed", "setting:{}_command"),
    (r"(?:its WAL is kept|or has lost it): (\w+)", "slot:{}"),
    (r"of its values: (\S+)", "sequence:{}"),
    (r"(?:autovacuum threshold|its last vacuum).*?: (\S+)", "table:{}"),
    (r"failed (?:its|their) checksum, .*: (\w+)", "database:{}"),
    (r"read in full again and again.*?: (\S+)", "table:{}"),
    (r"asks for more rows: \w+ \(([^)]+)\)", "session:{}"),
    (r"a migration that did not finish: (\S+)", "index:{}"),
    (r"on the server's host: (\w+) \(", "role:{}"),
)


def main() -> None:
    """Print the answer."""
    with tempfile.TemporaryDirectory(prefix="rbkernel-neighbour-") as folder:
        os.environ["RBKERNEL_EVIDENCE"] = folder
        settings = config.load()
        records = [runner.run(_FIRST, {}, settings).record]
        if _recommended(records[0]).startswith("RUN-"):
            records.append(
                runner.run(_recommended(records[0]), _given(records[0]), settings).record
            )
    found = [one for record in records for one in leading(record.findings)]
    wrong = [one for one in found if one.wrong] or found
    option = _recommended(records[-1])
    answer: dict[str, Any] = {
        "tool": f"rbkernel {__version__}",
        "detected": bool(wrong),
        "culprits": list(dict.fromkeys(_culprits(wrong))),
        "says": f"{'; '.join(dict.fromkeys(one.headline for one in wrong))} → {option}",
    }
    step = next((its for words, its in _STEPS.items() if option.startswith(words)), "")
    if step:
        answer |= {"step": step, "targets": list(dict.fromkeys(_targets(records[-1], step)))}
    print(json.dumps(answer))


def _recommended(record: Record) -> str:
    return next((one.recommended for one in record.decisions if one.recommended), "")


def _given(record: Record) -> dict[str, str]:
    """Return the parameters of the command that a recommendation names."""
    reason = next((one.reason for one in record.decisions if one.recommended), "")
    return dict(re.findall(r" -p (\w+)=(\S+)", reason))


def _culprits(wrong: Iterable[Finding]) -> Iterator[str]:
    for finding in wrong:
        # the pids of all culprits are in `which`; a sentence names only the first ones
        said = (
            f"{finding.which} {finding.headline}" if "pid " in finding.which else finding.headline
        )
        for pattern, identity in _NAMED:
            for names in re.findall(pattern, said):
                yield from (identity.format(name.rstrip(",;")) for name in names.split(", "))


def _targets(record: Record, step: str) -> Iterator[str]:
    """Yield the objects of the plan for a step, as far as the plan has any."""
    for plan in {one.data["id"]: one.data for one in record.of_kind("plan")}.values():
        if step == "drop-slot":
            yield from (
                f"slot:{name}" for name in re.findall(r"replication slot (\w+)", plan["title"])
            )
        elif step == "revoke":
            yield from (
                f"role:{name}" for name in re.findall(r"^Revoke .* from (\w+)", plan["title"])
            )
        elif plan["title"].lower().startswith(step):
            yield from (f"pid:{target['pid']}" for target in plan["targets"] if "pid" in target)


if __name__ == "__main__":
    main()
