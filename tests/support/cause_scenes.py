"""Incidents with five different causes, in the words of real runs, as their pages show them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rbkernel.evidence import bundle, incident
from rbkernel.evidence.incident import AlertStatus
from rbkernel.model import question_identity, situation_identity
from tests.support import figure_scenes, page_scenes
from tests.support.hostile_evidence import PLOTLY
from tests.support.journal_builder import CHECK, PARAMETERS, START, Journal, runbook


@dataclass(frozen=True, kw_only=True)
class Scene:
    """An incident with one run: what its alert says, what the run found, and what it asks."""

    name: str
    alert: str
    runbook: str
    title: str
    db: str
    cause: str
    verdict: str
    next_step: str
    symptoms: tuple[tuple[str, str], ...]
    question: str = ""
    options: tuple[str, ...] = ()
    recommended: str = ""
    reason: str = ""
    sql: str = ""
    figure: Mapping[str, Any] = field(default_factory=dict)
    svg: Callable[[], str] | None = None

    @property
    def incident(self) -> str:
        """The id of the incident."""
        return f"INC-20261120-{self.name}"

    @property
    def run_id(self) -> str:
        """The id of its only run."""
        digest = hashlib.sha256(self.name.encode()).hexdigest()
        return f"20261120T0302{int(digest[:4], 16) % 60:02d}Z-{digest[:6]}"


def _figure(title: str, *traces: Mapping[str, Any]) -> dict[str, Any]:
    font = {"text": title, "x": 0.0}
    margin = {"l": 60, "r": 20, "t": 50, "b": 40}
    return {"data": list(traces), "layout": {"height": 300, "title": font, "margin": margin}}


LOCKS = Scene(
    name="locks",
    alert="PostgresBlockedQueries",
    runbook="RUN-007",
    title="Blocking locks",
    db="orders",
    cause="refund-job (pid 48211, idle in transaction for 5 min 46 s) holds a lock on orders and"
    " blocks 47 sessions, the longest for 5 min 12 s",
    verdict="critical",
    next_step="decide whether refund-job may be terminated",
    symptoms=(("Longest wait for a lock", "5 min 12 s"), ("Slots in use", "96 of 100")),
    question="How should the queue be freed?",
    options=("wait", "cancel the blocking query", "terminate the blocking session", "escalate"),
    recommended="terminate the blocking session",
    reason="refund-job is idle, so there is no query to cancel; ending it frees 47 sessions at"
    " once, and its open transaction is lost",
    sql="SELECT pg_terminate_backend(48211);",
    figure=_figure(
        "Who waits for whom",
        {
            "type": "bar",
            "orientation": "h",
            "x": [47, 9, 2],
            "y": ["refund-job", "checkout", "report"],
            "marker": {"color": "#0072b2"},
        },
    ),
)
REPLAY = Scene(
    name="replay",
    alert="PostgresReplicationLag",
    runbook="RUN-005",
    title="Replication lag",
    db="shop",
    cause="Replay is paused on shop-standby since 03:00 UTC: it is 31.5 s behind and falls"
    " further behind",
    verdict="critical",
    next_step="find out who paused it",
    symptoms=(("Replay lag", "31.5 s"),),
    question="What should be done about the standby?",
    options=("wait", "resume replay", "escalate"),
    recommended="resume replay",
    reason="replay was paused by hand, and nothing else holds it up",
    sql="SELECT pg_wal_replay_resume();",
    svg=figure_scenes.SCENES["lag-hour"],
)
POOL = Scene(
    name="pool",
    alert="PostgresConnectionsHigh",
    runbook="RUN-001",
    title="Connection pool exhaustion",
    db="billing",
    cause="invoice-export holds 88 of 97 slots: 81 sessions are idle in transaction",
    verdict="critical",
    next_step="end the sessions that hold nothing",
    symptoms=(("Slots in use", "97 of 97"),),
    question="How should slots be freed?",
    options=("wait", "terminate the sessions at the cause", "raise the limit", "escalate"),
    recommended="terminate the sessions at the cause",
    reason="81 sessions are idle, and no other session waits for them",
    sql="SELECT pg_terminate_backend(pid) FROM unnest('{501,502,503}'::int[]) AS pid;",
)
SLOT = Scene(
    name="slot",
    alert="PostgresDiskFull",
    runbook="RUN-018",
    title="WAL, slots, disk",
    db="events",
    cause="The replication slot debezium_old keeps 412 GB of WAL: nothing has read it for 9 d 4 h",
    verdict="warning",
    next_step="ask the owner of debezium_old whether it is still needed",
    symptoms=(("WAL directory", "418 GB"),),
)
REFUSED = Scene(
    name="down",
    alert="PostgresDown",
    runbook="RUN-010",
    title="Database server down",
    db="ledger",
    cause="",
    verdict="unknown",
    next_step="check that the server runs on ledger-1, and that port 5432 can be reached",
    symptoms=(("Server ledger", "connection refused on ledger-1:5432 after 3 attempts"),),
    question="Who looks at the host?",
    options=("look at the host", "escalate"),
    recommended="look at the host",
    reason="nothing listens on the port, so no query can say more",
)
SCENES = (LOCKS, REPLAY, POOL, SLOT, REFUSED)
# a name without any place to break it, and one that reads from right to left
RTL = "שרת הזמנות"
LONG = replace(
    REFUSED,
    name="long",
    db=f"{'verylongname' * 12}-{RTL}",
    alert="A" * 300,
    symptoms=((f"{RTL} {'x' * 400}", "connection refused " * 20),),
    options=("look at the host " + "y" * 200, "escalate"),
    recommended="escalate",
)


def play(root: Path, scene: Scene, *, seal: bool = True) -> None:
    """Write the record and the run of a scene into an evidence folder."""
    told = page_scenes.alert(0, labels={"alertname": scene.alert, "cluster": scene.db})
    about: dict[str, Any] = {"title": scene.alert, "severity": "high", "service": scene.db}
    incident.append(root, scene.incident, "opened", by="rbkernel", **about)
    incident.append(
        root, scene.incident, "alert", by="rbkernel", **told.to_json(), identity=told.identity
    )
    _run(root, scene)
    if seal:
        bundle.seal(root, scene.run_id)


def storm(root: Path, scene: Scene = LOCKS, alerts: int = 60) -> None:
    """Add many alerts to the incident of a scene, some of them resolved."""
    for number in range(1, alerts):
        labels = {"alertname": scene.alert, "cluster": f"{scene.db}-{number:02d}"}
        status = AlertStatus.RESOLVED if number % 7 == 0 else AlertStatus.FIRING
        told = page_scenes.alert(number, labels=labels, status=status)
        incident.append(
            root, scene.incident, "alert", by="rbkernel", **told.to_json(), identity=told.identity
        )


def _run(root: Path, scene: Scene) -> None:
    journal = Journal(root, scene.run_id)
    journal.cell(PARAMETERS)
    start = journal.request(START)
    journal.begin(start, START)
    journal.snapshot(runbook())
    journal.run(
        start,
        scene.incident,
        runbook=scene.runbook,
        title=scene.title,
        parameters={"db": scene.db, "incident": scene.incident},
    )
    journal.reply(start)
    check = journal.request(CHECK)
    journal.begin(check, CHECK)
    _found(journal, check, scene)
    if scene.figure:
        data = {PLOTLY: dict(scene.figure), "text/plain": scene.figure["layout"]["title"]["text"]}
        journal.iopub(check, "display_data", data=data, metadata={}, transient={})
    if scene.svg:
        data = {"image/svg+xml": scene.svg(), "text/plain": scene.title}
        journal.iopub(check, "display_data", data=data, metadata={}, transient={})
    if scene.question:
        _asked(journal, check, scene)
    if scene.sql:
        plan = {"id": f"p-{scene.name}", "title": scene.recommended, "connection": scene.db}
        plan |= {"sql": scene.sql, "risk": "its open transaction is lost", "undo": ""}
        journal.event("plan", check, **plan, state="waits for a decision", targets=[])
    journal.event("summary", check, verdict=scene.verdict)
    journal.reply(check)
    journal.line("end")


def _found(journal: Journal, check: str, scene: Scene) -> None:
    if scene.cause:
        cause = {"title": f"Cause on {scene.db}", "verdict": scene.verdict, "expected": ""}
        cause |= {"actual": scene.cause, "next_step": scene.next_step}
        journal.event("finding", check, **cause, explains=[scene.runbook])
    for title, actual in scene.symptoms:
        symptom = {"title": title, "verdict": scene.verdict, "expected": "", "actual": actual}
        symptom |= {"next_step": scene.next_step, "explained_by": scene.cause}
        journal.event("finding", check, **symptom)
    journal.finding("Deadlocks", "ok", "0")


def _asked(journal: Journal, check: str, scene: Scene) -> None:
    given = {"db": scene.db, "incident": scene.incident}
    findings = [(scene.cause or scene.symptoms[0][0], scene.verdict)]
    journal.event(
        "decision",
        check,
        id=f"d-{scene.name}",
        question=scene.question,
        options=list(scene.options),
        recommended=scene.recommended,
        reason=scene.reason,
        state="parked",
        identity=question_identity(scene.runbook, given, scene.question, scene.options),
        findings=[list(pair) for pair in findings],
        rests_on=situation_identity(findings, scene.recommended, needed=True),
    )
