"""Statistics of runs and incidents, from the evidence folder alone.

The terms, also in the glossary:

- *time to detect*: from the start of the first alert to the first finding, of a run of the
  incident, that is warning or critical;
- *time to acknowledge*: from there to the first acknowledgement, decision or plan that a person
  recorded as carried out;
- *time to resolve*: from there to the time at which all alerts were resolved; if they were not, or
  if somebody reopened the incident later, to the last closing.

The start of an alert is the time that its sender gave; if that is impossible, the time at which the
alert was received. The average is a median, because one long night says nothing about the others;
it is shown with the number of incidents that it rests on, and of how many: in the others, nobody
has responded, or they are still open. Incidents without an alert are not counted in it, nor are
those that a maintenance window silenced.
"""

from rbkernel.incidents.statistics.automation import Criterion, criteria, is_candidate
from rbkernel.incidents.statistics.figures import (
    Figures,
    Question,
    Statistics,
    StepUse,
    Time,
    statistics_of,
)
from rbkernel.incidents.statistics.gather import Gathered, gather

__all__ = [
    "Criterion",
    "Figures",
    "Gathered",
    "Question",
    "Statistics",
    "StepUse",
    "Time",
    "criteria",
    "gather",
    "is_candidate",
    "statistics_of",
]
