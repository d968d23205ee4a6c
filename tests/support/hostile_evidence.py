"""A run whose every part was written by somebody who wants to run a script in its reader's browser.

Each payload goes through each type of output, through Markdown, front matter, sources, findings,
decisions, plans, notes, facts, and the labels of an alert in the incident's record.
"""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

from rbkernel.evidence import notebook as documents
from tests.support.journal_builder import INCIDENT, RUN_ID, Journal

CORPORA = Path(__file__).parents[1] / "corpora"
PLOTLY = "application/vnd.plotly.v1+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
TEXT_TYPES = (
    *("text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml", "image/png"),
    *("application/javascript", "application/vnd.unknown", "text/x-unknown"),
)
CARDS = ("finding", "decision", "plan", "note", "overview", "run", "unheard")


def payloads() -> list[str]:
    lines = [
        line
        for name in ("xss.txt", "xss_other_styles.txt")
        for line in (CORPORA / name).read_text(encoding="utf-8").splitlines()
    ]
    assert len(lines) == len(set(lines)) > 90
    return lines


def hostile_run(root: Path, told: list[str]) -> Journal:
    """Journal the run; it is open, and its incident has a record with an alert in it."""
    journal = Journal(root)
    journal.snapshot(_document(told))
    _concluded(journal, told)
    for kind in TEXT_TYPES:
        _shown(journal, kind, [{kind: text} for text in told])
    _shown(journal, "HTML and its text", [{"text/html": t, "text/plain": t} for t in told])
    _shown(journal, "JSON", [{"application/json": {text: [text]}} for text in told])
    _shown(journal, "figure", [{PLOTLY: figure(told), "text/plain": told[0]}])
    for name in CARDS:
        mimetype = f"application/vnd.rbkernel.{name}+json"
        cards = [{mimetype: _fields(t), "text/html": t, "text/plain": t} for t in told]
        _shown(journal, f"{name} card", cards)
    _widgets(journal, told)
    _spoken(journal, told)
    journal.line("end")
    _alert(root, told)
    return journal


def figure(told: list[str]) -> dict[str, Any]:
    """Return a plotly figure with the payloads wherever plotly.js shows text."""
    places = list(range(len(told)))
    notes = [{"text": text, "x": place, "y": 1} for place, text in enumerate(told)]
    images = [{"source": "http://127.0.0.1:9/x.png", "x": 0, "y": 0, "sizex": 1, "sizey": 1}]
    traces = [
        {"type": "scatter", "x": places, "y": places, "text": told, "mode": "text+markers"},
        {"type": "bar", "x": told, "y": places, "hovertemplate": told[1], "customdata": told},
        *({"type": "scatter", "x": [0], "y": [0], "name": text} for text in told),
    ]
    layout = {
        "title": {"text": " ".join(told)},
        "xaxis": {"title": {"text": told[0]}},
        "annotations": notes,
        "images": images,
        "showlegend": True,
    }
    config = {"plotlyServerURL": "http://127.0.0.1:9", "showSendToCloud": True}
    return {"data": traces, "layout": layout, "config": config}


def _fields(text: str) -> dict[str, Any]:
    names = (
        *("title", "expected", "actual", "cause", "which", "next_step", "opens", "question"),
        *("recommended", "sql", "risk", "undo", "connection", "text", "headline"),
    )
    return {**dict.fromkeys(names, text), "verdict": text, "state": text, "options": [text, "b"]}


def _document(told: list[str]) -> Any:
    fields = "\n".join(f"field_{n}: {json.dumps(text)}" for n, text in enumerate(told))
    source = (
        f"---\ntitle: {json.dumps(told[0])}\nscope:\n  handles: {json.dumps(told)}\n{fields}\n---"
    )
    texts = [
        *told,
        *(f"## {text}" for text in told),
        *(f"- a\n\n{text}\n\n> {text}" for text in told),
    ]
    numbers = count()
    cells = [
        {"cell_type": "raw", "id": "front", "metadata": {}, "source": source},
        *(
            {"cell_type": "markdown", "id": f"m{next(numbers)}", "metadata": {}, "source": text}
            for text in texts
        ),
    ]
    metadata = {"kernelspec": {"name": "rbkernel", "display_name": told[0], "language": told[1]}}
    return documents.node(
        {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}
    )


def _concluded(journal: Journal, told: list[str]) -> None:
    run = {
        "id": RUN_ID,
        "runbook": "RUN-005",
        "title": told[0],
        "incident": INCIDENT,
        "headless": True,
        "started_at": "2026-11-20T03:02:00+00:00",
        "parameters": {text: text for text in told},
        "facts": {text: text for text in told},
    }
    start = journal.cell("rb.start('RUN-005')")
    journal.event("run", start, **run)
    for text in told:
        fields = _fields(text)
        journal.event("finding", start, **{**fields, "verdict": "critical"})
        journal.event("finding", start, **{**fields, "title": f"ok {text}", "verdict": "ok"})
        journal.event("decision", start, **{**fields, "id": text, "state": text})
        journal.event("plan", start, **fields, id=text, targets=[{text: text}])
        journal.event("note", start, text=text, at=text)
        journal.event("done", start, title=text, note=text)


def _shown(journal: Journal, kind: str, bundles: list[dict[str, Any]]) -> None:
    cell = journal.request(f"# {kind}")
    journal.begin(cell, f"# {kind}")
    for data in bundles:
        journal.iopub(cell, "display_data", data=data, metadata={}, transient={})
    journal.reply(cell)


def _widgets(journal: Journal, told: list[str]) -> None:
    cell = journal.request("# widgets")
    journal.begin(cell, "# widgets")
    for number, text in enumerate(told):
        state = {"_model_name": "HTMLModel", "description": text, "value": text, "children": text}
        data = {"state": state, "buffer_paths": []}
        journal.iopub(
            cell, "comm_open", comm_id=f"w{number}", target_name="jupyter.widget", data=data
        )
        view = {WIDGET_VIEW: {"model_id": f"w{number}"}, "text/plain": text}
        journal.iopub(cell, "display_data", data=view, metadata={}, transient={})
    journal.reply(cell)


def _spoken(journal: Journal, told: list[str]) -> None:
    for text in told:
        cell = journal.request(f"{text}\n%%sql\n{text}")
        journal.begin(cell, text)
        journal.stream(cell, text)
        journal.stream(cell, text, name="stderr")
        journal.iopub(cell, "error", ename=text, evalue=text, traceback=[text, "\x1b[31m" + text])
        journal.reply(cell, "error", text)


def _alert(root: Path, told: list[str]) -> None:
    """An incident of which every field says each of these."""
    at = "2026-11-20T03:01:00+00:00"
    lines: list[dict[str, Any]] = [{"kind": told[0], "at": told[1]}]
    for text in told:
        labels = {"alertname": text, text: text}
        words = {"title": text, "severity": text, "service": text, "text": text, "why": text}
        words |= {"status": text, "impact": text, "action": text, "eta": text, "into": text}
        words |= {"source": text, "fingerprint": text, "starts_at": text, "resolution": text}
        kinds = ("opened", "alert", "note", "status", "run", "merged", "closed", text)
        lines += [
            {"kind": kind, "at": at, "by": text, "labels": labels, "annotations": labels, **words}
            for kind in kinds
        ]
    folder = root / INCIDENT
    folder.mkdir()
    (folder / "incident.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
