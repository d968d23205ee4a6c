"""Find the command or the request that a proposal names, in the configuration of this process."""

from __future__ import annotations

import hashlib
import os
import pwd
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from rbkernel.actions.configured import configured, inverse, shared, template
from rbkernel.config import Settings
from rbkernel.config.action_commands import ActionCommand
from rbkernel.config.action_requests import ActionRequest
from rbkernel.displaytext import visible
from rbkernel.errors import ActionRefused
from rbkernel.execution.document import Facts
from rbkernel.execution.proposal import Proposal
from rbkernel.kernel import secrets
from rbkernel.redact import Redactor

# characters of one line of output that are kept
_LONGEST_LINE = 500
# of scrypt: about 50 ms and 16 MB
_SLOWLY: Mapping[str, int] = {"n": 2**14, "r": 8, "p": 1, "dklen": 16}
T = TypeVar("T", ActionCommand, ActionRequest)


@dataclass(frozen=True, kw_only=True)
class Place(Generic[T]):
    """What is executed: the command or request with its values, as a text, and its inverse.

    ``shared`` says what it changes: see `rbkernel.actions.configured.shared`.
    ``redactor`` knows the secrets of this process.
    """

    action: T
    values: Mapping[str, str]
    text: str
    inverse: Mapping[str, Any]
    shared: Mapping[str, Any]
    effect: str
    redactor: Redactor = field(compare=False)
    plan: str = ""

    def marks(self, names: Iterable[str]) -> dict[str, str]:
        """Return a mark of the value of each variable.

        Raises
        ------
        KeyError
            A variable is not set.
        """
        return {name: self.mark(name, os.environb[name.encode()]) for name in names}

    def mark(self, name: str, value: bytes) -> str:
        """Return a mark of a value: another value has another mark.

        A document is no secret, so the mark is slow to compute for those who guess the value.
        """
        return hashlib.scrypt(value, salt=f"{self.plan} {name}".encode(), **_SLOWLY).hex()

    @property
    def undo(self) -> str:
        """The command or request that undoes it, as a text; empty if there is none."""
        return str(self.inverse.get("command", ""))

    def kept(self, output: str) -> list[str]:
        """Return the last lines of an output, without secrets, as evidence."""
        lines = self.redactor.text(output).rstrip().splitlines()
        last = lines[-self.action.output_lines :] if self.action.output_lines else []
        return [visible(one)[:_LONGEST_LINE] for one in last]


def command(settings: Settings, found: Proposal) -> Place[ActionCommand]:
    """Return the command that a proposal names; see `_place` for the errors."""
    return _place(settings, found, ActionCommand)


def request(settings: Settings, found: Proposal) -> Place[ActionRequest]:
    """Return the request that a proposal names; see `_place` for the errors."""
    return _place(settings, found, ActionRequest)


def _place(settings: Settings, found: Proposal, wanted: type[T]) -> Place[T]:
    """Return what a proposal names.

    Raises
    ------
    ActionRefused
        It is not configured here, a value is not allowed, a secret is in it, or it is not what the
        runbook showed.
    """
    kind, _, name = found.action.partition(":")
    values = found.arguments.get("values")
    try:
        given = values if isinstance(values, Mapping) else {}
        fields = configured(settings.actions, kind, name, given)
        action = template(settings.actions, kind, name)
    except ValueError as error:
        raise _refused(found, str(error), "correct rbkernel.toml, or copy the command") from None
    assert isinstance(action, wanted)
    if fields["command"] != found.command or found.sql:
        raise _refused(
            found,
            f"it was proposed as {visible(found.command)!r}, and here {name} is"
            f" {visible(fields['command'])!r}",
            "run the runbook again; if it shows the same, its rbkernel.toml is not the one of this"
            " process",
        )
    redactor = secrets.redactor(settings, os.environ)
    for text in (fields["command"], fields["undo"], fields["effect"]):
        if redactor.text(text) != text:
            raise _refused(
                found,
                "its text contains what looks like a secret, and everybody sees it",
                "pass the secret to the command by `environment`, or by a header with `env`",
            )
    return Place(
        action=action,
        values=fields["arguments"]["values"],
        text=fields["command"],
        inverse=_inverse(settings, kind, name, fields["arguments"]["values"]),
        shared=shared(settings.actions, kind, name),
        effect=fields["effect"],
        redactor=redactor,
        plan=found.plan,
    )


def _inverse(
    settings: Settings, kind: str, name: str, values: Mapping[str, str]
) -> Mapping[str, Any]:
    """Return the plan that undoes it; empty if there is none, or if its values forbid it."""
    try:
        return inverse(settings.actions, kind, name, values)
    except ValueError:
        return {}


def undoing(facts: Facts) -> Facts:
    """Return the fields of the proposal that undoes an executed document.

    Raises
    ------
    ValueError
        The document names no inverse.
    """
    found = facts["values"][0]["inverse"]
    if not found:
        raise ValueError("no inverse")
    return {"sql": "", **{name: found[name] for name in ("action", "arguments", "command")}}


def touched(facts: Facts) -> frozenset[Any]:
    """Return what a document changes: its name and that of its inverse, with their common values.

    So two actions change the same only if the configuration says so: one is the other, or its undo.
    """
    [values], given = facts["values"], facts["arguments"]["values"]
    same = tuple((name, given[name]) for name in values["same"])
    return frozenset({(facts["action"], *same), (values["undo_by"], *same)})


def _refused(found: Proposal, why: str, next_step: str) -> ActionRefused:
    return ActionRefused(why, where=f"plan {found.plan}, {found.action}", next_step=next_step)


def unset(names: Iterable[str]) -> list[str]:
    """Return why an action cannot be executed: variables that are not set here."""
    return [f"the variable {one} is not set here" for one in names if one not in os.environ]


def here() -> dict[str, str]:
    """Return the host and the OS user that execute."""
    return {"host": socket.gethostname(), "user": os_user()}


def os_user() -> str:
    """Return the name of the OS user, which no environment variable can change."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def tail(lines: Sequence[str]) -> str:
    """Return the last line of an output with text, for a sentence; empty if there is none."""
    return next((one.strip() for one in reversed(lines) if one.strip()), "")
