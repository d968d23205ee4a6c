"""The record of an incident, `incident.jsonl`: one JSON object per line.

Ordering rules: a line is appended while the evidence folder is locked, and is on disk when `append`
returns. An event with a natural key (an alert's identity; a run, its state and attempt) is written
only once, so a process that was killed can safely repeat it. A line that a crash cut off stays in
the file, is reported as damaged, and does not affect later lines. A seal proves the record at the
time of the seal: new lines may follow, but no line may change.

==========  ===================================================================================
kind        fields, besides ``at`` (UTC, ISO 8601) and ``by`` (a user, or "rbkernel")
==========  ===================================================================================
opened      title, severity, service, group_key
alert       source, status (firing, resolved), fingerprint, starts_at, ends_at, labels,
            annotations, url, identity, severity (on rbkernel's scale)
run         run_id, runbook, state (queued, started, ended), verdict, attempt, why, mind
            (caveats, such as: another runbook or connection was used than intended)
sealed      for a run: run_id, runbook, title, verdict, started_at, folder, missing; for the record
            itself: record, folder. `read` gives the line the kind `SEALING` as long as `HEADS`
            does not list the seal.
situation   connection, alert, received_at, verdict, causes (a sentence each), situation (what the
            server looked like then, see `rbkernel.sources.postgres.stored`)
note        text, origin (notebook, page or command)
acknowledged  text, origin
decided     identity (of the question), question, options, recommended, reason, choice, place (of
            the choice in the sorted options), note, origin, findings (title and verdict when the
            question was asked), rests_on (identifies that situation), run_id, runbook
asked again identity, question, why, origin: the next answer to this question counts
done        plan (its id), title, note, origin, run_id: somebody carried out a plan by hand
status      status (Investigating, Identified, Monitoring, Resolved), impact, action, eta
notified    whom, how
silenced    until, reason, declared_by: a maintenance window, in which nobody is notified
merged      into; or in the other incident: from, severity (of the incident in ``from``)
ticket      item, title, state (begun, made, refused or unknown), attempt_id, link, problem: of an
            action item
closed      resolution, lacks (runs that had not finished when the incident was closed)
reopened    why
action      plan, digest, state (see `ActionState`), title, connection; previewed: document,
            requested_by, signature, signers; approved: key, signature, signers; executing: until,
            boundary; an outcome: result, and facts of it; origin (page) of steps on a page
==========  ===================================================================================
"""

from rbkernel.evidence.incident.actions import ActionHistory, Approval, actions_of
from rbkernel.evidence.incident.answering import (
    Known,
    answer,
    answers,
    answers_in,
    ask_again,
    known,
    known_in,
    mark_done,
    must_be_proven,
    must_take,
    remaining,
)
from rbkernel.evidence.incident.continued import continued, mark_continued
from rbkernel.evidence.incident.decisions import (
    ASKED_AGAIN,
    DECIDED,
    Answer,
    Answers,
    answers_of,
)
from rbkernel.evidence.incident.done import DONE, DoneByHand, done_of
from rbkernel.evidence.incident.file import (
    KINDS,
    AlreadyRecorded,
    append,
    closing,
    list_incidents,
    look,
    read,
)
from rbkernel.evidence.incident.histories import AlertHistory, RunHistory
from rbkernel.evidence.incident.line import (
    AHEAD,
    CONTINUED,
    POSTMORTEM,
    SEALING,
    TICKET,
    Damage,
    Line,
    instant,
    is_possible,
    sent_time,
    shown,
)
from rbkernel.evidence.incident.record import (
    SCHEDULE,
    SEVERE,
    SILENCED,
    STATUSES,
    IncidentRecord,
    Moment,
    StatusUpdate,
    tell,
    whole,
)
from rbkernel.evidence.incident.states import (
    ACTION_TRANSITIONS,
    ActionState,
    AlertOutcome,
    AlertStatus,
    IncidentState,
    RunState,
)
from rbkernel.evidence.incident.text import (
    RBKERNEL,
    entry,
    opening,
    parse,
    sealed_line,
    sealed_lines,
    with_lines,
)

__all__ = [
    "ACTION_TRANSITIONS",
    "AHEAD",
    "ASKED_AGAIN",
    "CONTINUED",
    "DECIDED",
    "DONE",
    "KINDS",
    "POSTMORTEM",
    "RBKERNEL",
    "SCHEDULE",
    "SEALING",
    "SEVERE",
    "SILENCED",
    "STATUSES",
    "TICKET",
    "ActionHistory",
    "ActionState",
    "AlertHistory",
    "AlertOutcome",
    "AlertStatus",
    "AlreadyRecorded",
    "Answer",
    "Answers",
    "Approval",
    "Damage",
    "DoneByHand",
    "IncidentRecord",
    "IncidentState",
    "Known",
    "Line",
    "Moment",
    "RunHistory",
    "RunState",
    "StatusUpdate",
    "actions_of",
    "answer",
    "answers",
    "answers_in",
    "answers_of",
    "append",
    "ask_again",
    "closing",
    "continued",
    "done_of",
    "entry",
    "instant",
    "is_possible",
    "known",
    "known_in",
    "list_incidents",
    "look",
    "mark_continued",
    "mark_done",
    "must_be_proven",
    "must_take",
    "opening",
    "parse",
    "read",
    "remaining",
    "sealed_line",
    "sealed_lines",
    "sent_time",
    "shown",
    "tell",
    "whole",
    "with_lines",
]
