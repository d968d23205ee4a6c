"""A frame and its findings, which are read by the names of their rules. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, overload

from rbkernel.errors import ParameterError, UnknownName
from rbkernel.model import Finding, Verdict
from rbkernel.spelling import nearest

if TYPE_CHECKING:
    import pandas as pd


class Assessed(Sequence[Finding]):
    """The result of `rb.assess`: read a finding by its rule, or iterate over all findings.

    Parameters
    ----------
    frame
        The frame to which the rules were applied.
    findings
        Name of the rule → its finding, in the order of the rules in the diagnostic's header.
    """

    def __init__(self, frame: pd.DataFrame, findings: Mapping[str, Finding]) -> None:
        self.frame = frame
        self._findings = dict(findings)

    @property
    def verdict(self) -> Verdict:
        """The most urgent verdict of the findings."""
        return Verdict.worst(one.verdict for one in self)

    @property
    def ok(self) -> bool:
        """Whether all findings are ok."""
        return self.verdict is Verdict.OK

    @property
    def wrong(self) -> bool:
        """Whether at least one finding is warning or critical."""
        return any(one.wrong for one in self)

    @property
    def critical(self) -> bool:
        """Whether at least one finding is critical."""
        return any(one.critical for one in self)

    @property
    def unknown(self) -> bool:
        """Whether at least one finding is unknown."""
        return any(one.unknown for one in self)

    @property
    def opens(self) -> tuple[str, ...]:
        """The runbooks that the findings open, the most urgent first, without duplicates."""
        ranked = sorted(self, key=lambda one: -one.verdict.rank)
        return tuple(dict.fromkeys(one.opens for one in ranked if one.opens))

    def __len__(self) -> int:
        return len(self._findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._findings.values())

    @overload
    def __getitem__(self, place: str | int) -> Finding: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Finding]: ...
    def __getitem__(self, place: str | int | slice) -> Finding | Sequence[Finding]:
        if not isinstance(place, str):
            return tuple(self._findings.values())[place]
        if place not in self._findings:
            raise ParameterError(
                unknown_rule(place, self._findings), next_step=_rule_to_use(place, self._findings)
            )
        return self._findings[place]

    def __getattr__(self, name: str) -> Finding:
        findings: Mapping[str, Finding] = self.__dict__.get("_findings", {})
        if name in findings:
            return findings[name]
        raise UnknownName(unknown_rule(name, findings), next_step=_rule_to_use(name, findings))

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self._findings]

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell, because `rb.assess` has shown the findings."""


# names that a rule cannot have, since they are attributes of the result or arguments of `rb.assess`
RESERVED = frozenset(
    {*("what", "db", "n", "every_s"), *(name for name in vars(Assessed) if name[0] != "_")}
    | {"frame", "count", "index"}
)


def unknown_rule(name: str, known: Iterable[str]) -> str:
    """Return the error message for an unknown name of a rule.

    >>> unknown_rule("replay_lag", ["connected", "replay_lag_s"])
    "no rule is called 'replay_lag'; did you mean replay_lag_s?"
    """
    known = list(known)
    meant = nearest(name, known)
    hint = f"did you mean {meant}?" if meant else f"there are {', '.join(known) or 'none'}"
    return f"no rule is called {name!r}; {hint}"


def _rule_to_use(name: str, known: Iterable[str]) -> str:
    return "use that name" if nearest(name, known) else "use one of these names, or .frame"
