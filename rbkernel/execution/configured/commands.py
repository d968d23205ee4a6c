"""The actions `run:NAME`: preview a command, execute it once, and watch its effect."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

from rbkernel.config.action_commands import ActionCommand
from rbkernel.evidence.incident import ActionState
from rbkernel.execution import document as documents
from rbkernel.execution.configured import process
from rbkernel.execution.configured.place import Place, here, tail, unset
from rbkernel.execution.configured.process import Ended
from rbkernel.execution.document import Facts, Preview
from rbkernel.execution.outcome import UNSEEN, NotSent, Outcome, Unanswered, Unsuccessful

# s between two looks at the effect, and for the start of processes and the lines of the record
_EVERY_S = 0.5
_GRACE_S = 20.0
_BEFORE = "`verify` succeeds already, so it will not show whether the action had an effect"


def longest_s(place: Place[ActionCommand]) -> float:
    """Return the longest that an execution takes, in s, besides the time in which it is watched."""
    return 2 * (place.action.timeout_s + 2 * process.GRACE_S) + _GRACE_S


def preview(place: Place[ActionCommand], _found: object) -> Preview:
    """Say what would be run here: arguments, programs, folder, host and user."""
    action = place.action
    given = {"argv": action.argv, "dry_run": action.dry_run, "verify": action.verify}
    argvs = {
        name: action.resolved(argv, place.values)
        for name, argv in given.items()
        if isinstance(argv, tuple)
    }
    programs, refusals = _programs([argv[0] for argv in argvs.values()])
    missing = unset(action.environment)
    refusals += missing
    if not action.working_directory.is_dir():
        refusals.append(f"the folder {action.working_directory} is not there")
    now = Preview(
        at=datetime.now(UTC),
        server={**here(), "folder": str(action.working_directory)},
        targets=({"command": place.text},),
        effect=place.effect,
        undo=place.undo,
        statement=place.text,
        values=(
            {
                **argvs,
                "programs": programs,
                "environment": {} if missing else place.marks(action.environment),
                "timeout_s": action.timeout_s,
                "recheck": action.recheck,
                **place.shared,
                "inverse": place.inverse,
            },
        ),
        refusal="; ".join(refusals),
    )
    return _rehearsed(place, now) if action.recheck else now


def _programs(names: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the programs by the name that starts them, and what is wrong with them."""
    found, wrong = {}, []
    for name in dict.fromkeys(names):
        try:
            one = process.program(name)
        except OSError as error:
            wrong.append(f"the program {name} cannot be read: {error.strerror or error}")
            continue
        if one is None:
            wrong.append(f"there is no program {name} here that can be executed")
        else:
            found[name] = asdict(one)
    return found, wrong


def rehearse(place: Place[ActionCommand], now: Preview) -> Preview:
    """Return the preview with the output of the dry run, and with what `verify` shows before."""
    now = now if place.action.recheck else _rehearsed(place, now)
    [values] = now.values
    if "verify" not in values or now.refusal:
        return now
    try:
        is_so = _run(place, values, "verify", place.action.timeout_s).code == 0
    except OSError:
        return now
    return replace(now, foretold={**now.foretold, "verified_before": True}) if is_so else now


def _rehearsed(place: Place[ActionCommand], now: Preview) -> Preview:
    if place.action.dry_run is None or now.refusal:
        return now
    try:
        ended = _run(place, now.values[0], "dry_run", place.action.timeout_s)
    except OSError as error:
        return replace(now, refusal=f"its dry run could not be started: {error}")
    lines = place.kept(ended.output)
    last = tail(lines)
    refusal = f"its dry run failed: {ended.words}{f': {last}' if last else ''}"
    return replace(
        now,
        foretold={"dry_run": lines},
        refusal="" if ended.code == 0 else refusal,
    )


def _run(place: Place[ActionCommand], values: Facts, which: str, timeout_s: float) -> Ended:
    """Run one of the commands of a document or preview: argv, dry_run or verify."""
    action, argv = place.action, list(values[which])
    environment = {
        name: os.environ[name] for name in ("PATH", *action.environment) if name in os.environ
    }
    return process.run(
        [values["programs"][argv[0]]["path"], *argv[1:]],
        folder=action.working_directory,
        environment=environment,
        timeout_s=timeout_s,
    )


def changed(document: Facts, now: Preview) -> str:
    """Return what changed since the preview that was approved; empty if nothing did. Pure."""
    if now.refusal:
        return now.refusal
    if not _same(document["server"], now.server):
        return "it would run on another host, as another user, or in another folder than previewed"
    [before], [after] = document["values"], now.values
    for name, program in after["programs"].items():
        if not _same(before["programs"].get(name), program):
            return f"the program {name} changed since the preview"
    marks = before["environment"], after["environment"]
    if {*marks[0]} == {*marks[1]} and not _same(*marks):
        return "a variable of `environment` has another value here than where it was previewed"
    texts = ("statement", "undo", "effect")
    if any(document.get(name, "") != getattr(now, name) for name in texts) or not _same(
        before, after
    ):
        return "its configuration changed since the preview"
    printed = (one.get("dry_run") for one in (document["foretold"], now.foretold))
    if after["recheck"] and not _same(*printed):
        return "its dry run prints something else than in the preview"
    return ""


def _same(one: object, other: object) -> bool:
    return documents.canonical({"": one}) == documents.canonical({"": other})


def execute(place: Place[ActionCommand], document: Facts, until: datetime) -> Facts:
    """Run the command once, to its end or to its time-out.

    Raises
    ------
    NotSent
        It was too late, a program changed in the last moment, or it could not be started.
    Unsuccessful
        It ended with an exit code other than 0.
    Unanswered
        It was stopped before its end: nobody knows what it has done.
    """
    [values] = document["values"]
    programs, wrong = _programs(list(values["programs"]))
    if wrong or not _same(programs, values["programs"]):
        raise NotSent("a program changed in the last moment: nothing was run")
    if datetime.now(UTC) >= until:
        raise NotSent("it was too late: nothing was run")
    try:
        ended = _run(place, values, "argv", place.action.timeout_s)
    except OSError as error:
        raise NotSent(f"it could not be started: {error}") from error
    lines = place.kept(ended.output)
    said = {"said": ended.words, "output": lines}
    if ended.code == 0:
        return said
    last = tail(lines)
    what = f"{ended.words}{f': {last}' if last else ''}"
    if ended.code is None or ended.code < 0:
        raise Unanswered(f"{what}; it may have done a part of its work", facts=said)
    raise Unsuccessful(what, facts=said)


def watch(place: Place[ActionCommand], document: Facts, watch_s: float) -> Outcome:
    """Run the command that verifies again and again, until its exit code is 0.

    Each look has its whole time-out. If the last one did not come to its end, nobody knows.
    """
    [values] = document["values"]
    if "verify" not in values:
        return UNSEEN
    is_so = document["foretold"].get("verified_before", False)
    words, began = shlex.join(values["verify"]), time.monotonic()
    while True:
        try:
            seen = _run(place, values, "verify", place.action.timeout_s)
        except OSError as error:
            return Outcome(
                state=ActionState.INDETERMINATE, result=f"`{words}` cannot be started: {error}"
            )
        lines = place.kept(seen.output)
        if seen.code == 0:
            return Outcome(
                state=ActionState.VERIFIED,
                result=f"`{words}` succeeds{', as it did before the action' if is_so else ''}",
                shown=not is_so,
            )
        if time.monotonic() - began >= watch_s - _EVERY_S:
            last = tail(lines)
            why = f"{seen.words}{f': {last}' if last else ''}"
            ended = seen.code is not None and seen.code > 0
            within = f" within {watch_s:g} s" if watch_s else ""
            return Outcome(
                state=ActionState.FAILED if ended else ActionState.INDETERMINATE,
                result=f"`{words}` did not succeed{within}: {why}",
                facts={"verify": lines},
            )
        time.sleep(_EVERY_S)


def where(facts: Facts) -> str:
    """Describe where a command runs.

    >>> where({"host": "ops1", "user": "rb", "folder": "/"})
    'host ops1, as rb, in /'
    """
    return f"host {facts['host']}, as {facts['user']}, in {facts['folder']}"


def target(facts: Facts) -> str:
    """Describe what is run: the command as a text for a shell."""
    return str(facts["command"])


def foretold(facts: Facts) -> tuple[tuple[str, str], ...]:
    """Describe what the dry run printed, what `verify` shows before, and the programs."""
    said: Mapping[str, Sequence[str]] = facts["foretold"]
    dry = (("Dry run", "\n".join(said["dry_run"]) or "no output"),) if "dry_run" in said else ()
    programs = facts["values"][0]["programs"].values()
    files = "\n".join(f"{one['path']}, SHA-256 {one['sha256'][:16]}…" for one in programs)
    so = (("Before", _BEFORE),) if said.get("verified_before") else ()
    return (*dry, *so, ("Programs", files))
