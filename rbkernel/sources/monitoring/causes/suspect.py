"""A possible cause of a problem: it is the cause, it is not, or that is not known. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rbkernel.model import Finding, Verdict, now


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A possible cause.

    ``holds`` is None if it is not known whether it is the cause. ``said`` is the sentence about it:
    who does what, why it is not the cause, or why that is not known. ``which`` is the name of the
    culprit, as an action needs it, ``instead`` what to use in its place, if that is known, and
    ``opens`` the runbook to open next.
    """

    title: str
    holds: bool | None
    said: str
    which: str = ""
    instead: str = ""
    next_step: str = ""
    opens: str = ""

    def finding(self, verdict: Verdict, topic: str) -> Finding:
        """Return the finding about it.

        Parameters
        ----------
        verdict
            The verdict on the problem, which its cause gets.
        topic
            Id of the runbook about the problem: the cause explains its findings.
        """
        judged = Verdict.UNKNOWN if self.holds is None else verdict if self.holds else Verdict.OK
        return Finding(
            title=self.title,
            verdict=judged,
            expected="not the cause",
            actual=self.said,
            cause="" if self.holds is False else self.said,
            which=self.which if self.holds else "",
            next_step="" if self.holds is False else self.next_step,
            opens=self.opens if self.holds else "",
            at=now(),
            explains=(topic,) if self.holds else (),
        )


def unknown(title: str, why: str, next_step: str) -> Suspect:
    """Return a suspect of which nothing is known."""
    return Suspect(title=title, holds=None, said=why, next_step=next_step)


def all_unknown(titles: Mapping[str, str], why: str, next_step: str) -> dict[str, Suspect]:
    """Return the suspects of these titles, by their names, of which nothing is known."""
    return {name: unknown(title, why, next_step) for name, title in titles.items()}


def explained(others: Iterable[Suspect]) -> str:
    """Return in words which of the others is the cause; empty if none is."""
    held = next((one for one in others if one.holds), None)
    return f"explained by: {held.title[0].lower()}{held.title[1:]}" if held else ""


def findings(suspects: Mapping[str, Suspect], problem: Verdict, topic: str) -> dict[str, Finding]:
    """Return the findings on all suspects, by their names.

    Without a problem there is no cause: an increase that harms nobody is none. If it is not known
    whether there is a problem, a suspect that holds is still shown as the cause, as a warning.
    """
    if problem is Verdict.OK:
        quiet = "nothing is beyond its limits"
        return {
            name: Suspect(title=one.title, holds=False, said=quiet).finding(problem, topic)
            for name, one in suspects.items()
        }
    verdict = Verdict.WARNING if problem is Verdict.UNKNOWN else problem
    return {name: one.finding(verdict, topic) for name, one in suspects.items()}
