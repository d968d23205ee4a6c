"""Plan commands and HTTP requests that the configuration allows. Nothing is executed here.

The plan carries the name and the values; the process that executes it computes the command or the
request from its own configuration. So a notebook cannot add one, or change what one does.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping
from typing import Any

from rbkernel import config
from rbkernel.actions.plans import command, planned
from rbkernel.arguments import checked
from rbkernel.config.action_commands import ActionCommand
from rbkernel.config.action_requests import ActionRequest, Header
from rbkernel.config.actions import REQUEST, RUN, Actions
from rbkernel.errors import ParameterError
from rbkernel.model import ActionPlan
from rbkernel.spelling import did_you_mean

Values = Mapping[str, str]
_VERBS = {RUN: "Run", REQUEST: "Send"}
_SECTIONS = {RUN: "commands", REQUEST: "requests"}


@checked
def run(
    name: str, /, *, otherwise: str | ActionPlan = "", title: str = "", **values: Any
) -> ActionPlan:
    """Plan to run a command of the configuration.

    Parameters
    ----------
    name
        The name of a section ``[actions.commands.NAME]`` of rbkernel.toml.
    otherwise
        The text of a shell command to copy if this name is not configured, or a value is not
        allowed there; with placeholders, such as ``{service}``. Or a plan to copy, with an undo
        of its own: `rb.actions.command`.
    title
        The effect, in words; by default, that of the plan to copy, or the name with its values.
    **values
        The values of the placeholders: texts or whole numbers.

    Raises
    ------
    ParameterError
        rbkernel cannot execute it, and there is no text to copy.
    """
    return _plan(RUN, name, otherwise, title, values)


@checked
def request(
    name: str, /, *, otherwise: str | ActionPlan = "", title: str = "", **values: Any
) -> ActionPlan:
    """Plan to send an HTTP request of the configuration.

    Parameters
    ----------
    name
        The name of a section ``[actions.requests.NAME]`` of rbkernel.toml.
    otherwise
        The text of a shell command to copy, or a plan to copy, as for `run`.
    title
        The effect, in words; by default, that of the plan to copy, or the name with its values.
    **values
        The values of the placeholders: texts or whole numbers.

    Raises
    ------
    ParameterError
        rbkernel cannot send it, and there is no text to copy.
    """
    return _plan(REQUEST, name, otherwise, title, values)


def template(actions: Actions, kind: str, name: str) -> ActionCommand | ActionRequest:
    """Return a configured command or request.

    Raises
    ------
    ValueError
        The configuration has none with this name; the message says so.
    """
    known = _known(actions, kind)
    if name not in known:
        raise ValueError(
            f"rbkernel.toml has no [actions.{_SECTIONS[kind]}.{name}]{did_you_mean(name, known)}"
        )
    return known[name]


def _known(actions: Actions, kind: str) -> Mapping[str, ActionCommand | ActionRequest]:
    return actions.commands if kind == RUN else actions.requests


def configured(actions: Actions, kind: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a plan that only the configuration decides.

    Raises
    ------
    ValueError
        The name is not configured, or a value is not allowed; the message says which.
    """
    found = template(actions, kind, name)
    texts = found.texts(given)
    undo = "none: rbkernel.toml names no inverse"
    if found.undo is not None:
        try:
            undo = inverse(actions, kind, name, texts)["command"]
        except ValueError as error:
            undo = f"none: {found.undo.name} is the inverse, but {error}"
    return {
        "action": f"{kind}:{name}",
        "arguments": {"name": name, "values": texts},
        "command": text_of(found, texts),
        "undo": undo,
        "effect": verified_by(found, texts),
    }


def inverse(actions: Actions, kind: str, name: str, texts: Values) -> dict[str, Any]:
    """Return the fields of the plan that undoes a command or request; empty if there is none.

    Raises
    ------
    ValueError
        The values are not allowed in the inverse, or it is the same action with the same values.
    """
    found = template(actions, kind, name)
    if found.undo is None:
        return {}
    other = template(actions, kind, found.undo.name)
    values = other.texts(found.inverse(texts, other))
    if (other.name, values) == (name, dict(texts)):
        raise ValueError("with these values it is the same")
    return {
        "action": f"{kind}:{other.name}",
        "arguments": {"name": other.name, "values": values},
        "command": text_of(other, values),
    }


def shared(actions: Actions, kind: str, name: str) -> dict[str, Any]:
    """Return the name of the action that undoes one, and the values that both have; or its own.

    These say what is changed: an action and its inverse change the same.
    """
    found = template(actions, kind, name)
    if found.undo is None:
        return {"undo_by": f"{kind}:{name}", "same": sorted(found.values)}
    other = template(actions, kind, found.undo.name)
    same = sorted({*found.values} & {*other.values} - {*found.undo.values})
    return {"undo_by": f"{kind}:{other.name}", "same": same}


def text_of(found: ActionCommand | ActionRequest, texts: Values) -> str:
    """Return a command, or a request as a call of curl, as a text to copy.

    Secrets are not in it: it names the variable or the command that has them.

    Raises
    ------
    ValueError
        The values make an address that cannot be requested.
    """
    if isinstance(found, ActionRequest):
        return _curl(found, texts)
    said = shlex.join(found.resolved(found.argv, texts))
    folder = str(found.working_directory)
    return said if folder == "/" else f"cd {shlex.quote(folder)} && {said}"


def verified_by(found: ActionCommand | ActionRequest, texts: Values) -> str:
    """Say how the effect is seen, with these values."""
    if isinstance(found, ActionCommand):
        if not isinstance(found.verify, tuple):
            return "counts as done if its exit code is 0"
        return f"counts as done once `{shlex.join(found.resolved(found.verify, texts))}` succeeds"
    if (seen := found.expected) is None:
        return f"counts as done if the status is {' or '.join(map(str, found.expect))}"
    value = json.dumps(found.body(seen.equals, texts), ensure_ascii=False)
    place = seen.pointer or "the answer"
    return f"counts as done once {place} of {found.address(seen.url, texts)} is {value}"


def _plan(
    kind: str, name: str, otherwise: str | ActionPlan, title: str, values: Mapping[str, Any]
) -> ActionPlan:
    settings = config.load()
    call = f"rb.actions.{kind}"
    try:
        fields = configured(settings.actions, kind, name, values)
    except ValueError as error:
        if isinstance(otherwise, ActionPlan):
            known = name in _known(settings.actions, kind)
            return _with_reason(otherwise, str(error)) if known else otherwise
        if otherwise:
            return _to_copy(title or f"{_VERBS[kind]} {name}", otherwise, values, str(error))
        raise ParameterError(
            f"{name}: {error}",
            where=call,
            next_step="correct the call or rbkernel.toml, or pass otherwise=…, a command to copy",
        ) from None
    if isinstance(otherwise, ActionPlan):
        title, fields["risk"] = title or otherwise.title, otherwise.risk
    said = ", ".join(f"{one} {text}" for one, text in fields["arguments"]["values"].items())
    title = title or f"{_VERBS[kind]} {name}{f' ({said})' if said else ''}"
    return planned(title=title, connection="", sql="", **fields)


def _with_reason(plan: ActionPlan, why: str) -> ActionPlan:
    risk = "; ".join(filter(None, [plan.risk, f"rbkernel does not execute it: {why}"]))
    return dataclasses.replace(plan, risk=risk)


def _to_copy(title: str, text: str, values: Mapping[str, Any], why: str) -> ActionPlan:
    places = {f"{{{name}}}": value for name, value in values.items()}
    used = {place: value for place, value in places.items() if place in text}
    return command(title, text, values=used, risk=f"rbkernel does not execute it: {why}")


def _curl(found: ActionRequest, texts: Values) -> str:
    said = f"curl -sS -X {found.method}"
    for name, header in found.headers.items():
        said += f" -H {_header(name, header)}"
    if found.json_ is not None:
        body = json.dumps(found.body(found.json_, texts), ensure_ascii=False)
        said += f" -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    return f"{said} {shlex.quote(found.address(found.url, texts))}"


def _header(name: str, header: Header) -> str:
    if not header.is_secret:
        return shlex.quote(f"{name}: {header.text}")
    secret = f"${{{header.env}}}" if header.env else f"$({shlex.join(header.command or ())})"
    return f'"{name}: {header.prefix}{secret}"'
