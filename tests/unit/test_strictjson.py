"""One normal form: whatever a cell concludes is strict JSON in the journal, and reads back."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pytest

from rbkernel import strictjson
from rbkernel.evidence.incident import append, look
from rbkernel.evidence.reading import read
from rbkernel.evidence.recorder import Recorder
from rbkernel.redact import MessageRedactor, Redactor
from tests.support.journal_builder import INCIDENT, RUN_ID

ODD: dict[str, Any] = {
    "nan": float("nan"),
    "inf": float("inf"),
    "minus_inf": float("-inf"),
    "float32": np.float32("inf"),
    "int64": np.int64(2**62),
    "bool": np.bool_(True),
    "array": np.array([1.5, np.nan]),
    "times": np.array(["2026-11-20", "NaT"], dtype="datetime64[s]"),
    "NA": pd.NA,
    "NaT": pd.NaT,
    "timestamp": pd.Timestamp("2026-11-20T03:02:11Z"),
    "series": pd.Series([1, None]),
    "decimal_nan": Decimal("sNaN"),
    "decimal_inf": Decimal("-Infinity"),
    "decimal": Decimal("1.50"),
    "fraction": Fraction(1, 3),
    "complex": 1j,
    "big": 2**53,
    "huge": 10**5000,
    "surrogate": "a\udc80b",
    "pair": "\ud83d\ude00",
    "control": "\x00\x1b\x7f\u2028",
    "keys": {1: 1, float("inf"): 2, None: 3, (1, "a"): 4, "\ud800": 5},
    "bytes": b"\xff",
    "set": {1},
    "object": object,
}


def strict(line: bytes) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    line.decode("utf-8")
    return json.loads(line, parse_constant=refuse)


@pytest.mark.parametrize("name", ODD)
def test_a_journal_and_a_record_hold_strict_json(tmp_path: Path, name: str) -> None:
    recorder = Recorder(tmp_path, RUN_ID)
    recorder.record("request", msg_id="m1", code="x", silent=False)
    recorder.event("query", value=ODD[name], rows=[ODD[name], {"deep": (ODD[name],)}])
    recorder.record("iopub", type="stream", parent="m1", content={"name": "stdout", "text": "x"})
    recorder.close()
    journal = recorder.folder / "journal.jsonl"
    said = [strict(line) for line in journal.read_bytes().splitlines()]
    record = read(recorder.folder)
    assert not record.unreadable
    [event] = record.of_kind("query")
    assert event.data == said[2]["data"]
    append(tmp_path, INCIDENT, "note", by="ann", text=str(event.data["value"]))
    for line in (tmp_path / INCIDENT / "incident.jsonl").read_bytes().splitlines():
        strict(line)
    assert not look(tmp_path, INCIDENT).damaged


@pytest.mark.parametrize("name", sorted({*ODD} - {"bytes", "set", "object"}))
def test_a_message_and_an_event_have_the_same_form(name: str) -> None:
    content = {"data": {"application/json": {"value": ODD[name]}}, "metadata": {"m": ODD[name]}}
    sent = MessageRedactor(Redactor()).clean("display_data", content, {}, ()).content
    assert sent == strictjson.normal(content, str)
    assert sent == strict(strictjson.dumps(content)), "the wire changes nothing of it"


def test_what_is_no_json_is_withheld_from_the_wire() -> None:
    content = {"data": {"application/json": b"\xff"}, "metadata": {}}
    sent = MessageRedactor(Redactor()).clean("display_data", content, {}, ()).content
    assert "withheld" in sent["data"]["text/plain"]


def test_a_journal_of_an_earlier_version_is_read_in_the_normal_form(tmp_path: Path) -> None:
    data = b'{"title": "Lag", "verdict": "critical", "expected": "", "actual": "", "value": %s}'
    for number, (word, value) in enumerate([(b"Infinity", "inf"), (b'"inf"', "inf")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        line = b'{"seq": 1, "at": "2026-11-20T03:02:11Z", "kind": "finding", "data": %s}\n'
        (folder / "journal.jsonl").write_bytes(line % (data % word))
        record = read(folder)
        assert record.events[0].data["value"] == value
        assert record.findings[0].value == float("inf")
