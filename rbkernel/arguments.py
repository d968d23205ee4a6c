"""Check the arguments of `rb` functions before they run. The error names the wrong argument."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

from pydantic import ConfigDict, ValidationError, validate_call

from rbkernel.config.words import advice, class_wanted
from rbkernel.errors import ParameterError
from rbkernel.spelling import nearest

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Arguments = tuple[tuple[Any, ...], dict[str, Any]]

# packages and modules whose functions have another prefix in a notebook: rb.figure.timeline
_PREFIXES = {
    "rbkernel.actions.": "actions.",
    "rbkernel.render.figure": "figure.",
    "rbkernel.render.graphs": "figure.",
    "rbkernel.render.strips": "figure.",
    "rbkernel.triage.probes.causes": "causes.",
}
# where an object of a class comes from
_ORIGINS = {
    "ActionPlan": "a plan: rb.actions.statement(db, sql), rb.actions.command(title, text), …",
    "Condition": 'choice.chose("…"), where choice is what rb.decide returned',
    "ProposedPlan": "what rb.act returned",
    "DataFrame": "what rb.query, rb.sample or rb.assess returned",
    "Diagnosis": "what rb.diagnose returned",
    "Finding": "what rb.check returned",
}


def checked(call: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorate an `rb` function: check its arguments against its signature and annotations.

    Raises
    ------
    ParameterError
        Raised by the call: an argument is missing, unknown or of the wrong type.
    """
    signature = inspect.signature(call)
    name = _name(call)
    validated = functools.cache(lambda: _validator(call))

    @functools.wraps(call)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        _must_bind(signature, name, args, kwargs)
        try:
            taken, named = validated()(*args, **kwargs)
        except ValidationError as error:
            raise _wrong(error, signature, name) from None
        return call(*taken, **named)

    return wrapper


def unknown_keyword(call: str, given: str, known: Iterable[str]) -> ParameterError:
    """Return the error about an unknown keyword; its next step suggests a similar known keyword.

    >>> unknown_keyword("rb.check", "critcal", ["warn", "critical"]).next_step
    'write critical=…'
    >>> unknown_keyword("rb.check", "colour", ["warn", "critical"]).next_step
    'use warn, critical'
    """
    known = list(known)
    meant = nearest(given, known)
    advice = f"write {meant}=…" if meant else f"use {', '.join(known)}" if known else "leave it out"
    return ParameterError(f"{call} takes no keyword {given!r}", next_step=advice)


def _name(call: Callable[..., object]) -> str:
    there = (prefix for package, prefix in _PREFIXES.items() if call.__module__.startswith(package))
    return f"rb.{next(there, '')}{call.__name__}"


def must_fit(
    call: Callable[..., object], name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Check the arguments of a function of another package against its signature only.

    Raises
    ------
    ParameterError
        An argument is missing or unknown, or there are too many.
    """
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):  # not known, as for some functions in C
        return
    _must_bind(signature, name, args, kwargs)


def _must_bind(
    signature: inspect.Signature, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Raise if a call has unknown keywords, or missing, duplicate or too many arguments."""
    declared = signature.parameters.values()
    known = [one.name for one in declared if one.kind is not one.VAR_POSITIONAL]
    if not any(one.kind is one.VAR_KEYWORD for one in declared):
        for given in kwargs:
            if given not in known:
                raise unknown_keyword(name, given, known)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ParameterError(
            f"{name}: {error}", next_step=f"write {name}{_outline(signature)}{_by_name(signature)}"
        ) from None


def _by_name(signature: inspect.Signature) -> str:
    """Return the advice to pass values as keywords, not in a dict; else empty.

    It applies to functions that accept keywords of any name.
    """
    kinds = [one.kind for one in signature.parameters.values()]
    return (
        ", with each value by name (name=value)" if inspect.Parameter.VAR_KEYWORD in kinds else ""
    )


def _outline(signature: inspect.Signature) -> str:
    """Return the signature of a call as text: the required arguments, then … for optional ones.

    >>> def start(runbook: str, *, incident: str = "", **values: object) -> None: ...
    >>> _outline(inspect.signature(start))
    '(runbook, …)'
    """
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        f"{p.name}=…" if p.kind is p.KEYWORD_ONLY else p.name
        for p in signature.parameters.values()
        if p.default is p.empty and p.kind not in variadic
    ]
    return f"({', '.join(needed)}{', …' if len(needed) < len(signature.parameters) else ''})"


def _validator(call: Callable[..., object]) -> Callable[..., _Arguments]:
    """Create the validator of a call's annotations; it is slow, so only the first call does it."""

    @functools.wraps(call)
    def take(*args: Any, **kwargs: Any) -> _Arguments:
        return args, kwargs

    config = ConfigDict(strict=True, arbitrary_types_allowed=True)
    return validate_call(config=config)(take)


def _wrong(error: ValidationError, signature: inspect.Signature, name: str) -> ParameterError:
    problem = error.errors(include_url=False, include_input=False)[0]
    place = problem["loc"][0]
    names = list(signature.parameters)
    argument = names[place] if isinstance(place, int) and place < len(names) else place
    origin = _ORIGINS.get(class_wanted(problem), "another value")
    return ParameterError(
        f"{name}: {argument} {advice(problem)}",
        next_step=f"pass {origin}; run `{name}?` in a new cell to read about the arguments",
    )
