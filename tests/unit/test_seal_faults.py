"""A disk that fails at any step of a seal or of the journal: loud, and nothing sealed is lost."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from rbkernel.config import Settings
from rbkernel.errors import EvidenceError, RecorderError
from rbkernel.evidence import store
from rbkernel.evidence.bundle import seal
from rbkernel.evidence.incident import append
from rbkernel.evidence.incident import read as read_record
from rbkernel.evidence.reading import read
from rbkernel.evidence.recorder import Recorder
from rbkernel.evidence.runs import list_runs
from rbkernel.evidence.verify import verify_folder
from rbkernel.incidents import workflow
from tests.support.journal_builder import INCIDENT, RUN_ID, other_run, whole_run

pytestmark = pytest.mark.slow


class Failing:
    """`os.fsync` that fails at one call with an error, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, code: int) -> None:
        self._real, self._at, self._code, self.calls = os.fsync, at, code, 0
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, handle: Any) -> None:
        self.calls += 1
        if self.calls == self._at:
            raise OSError(self._code, os.strerror(self._code))
        self._real(handle)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_at_any_step_of_a_seal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    whole_run(tmp_path, other_run(0))
    first = seal(tmp_path, other_run(0))
    sealed = {name: (first.folder / name).read_bytes() for name in store.files_below(first.folder)}
    whole_run(tmp_path)
    step, failed, told = 0, True, []
    while failed:
        step += 1
        with monkeypatch.context() as patch:
            disk = Failing(patch, step, code)
            try:
                seal(tmp_path, RUN_ID)
            except EvidenceError as error:
                told.append(str(error))
            failed = disk.calls >= step
        now = {name: (first.folder / name).read_bytes() for name in sealed}
        assert now == sealed, step
    assert len(told) > 10
    assert all(os.strerror(code) in line and "Next: " in line for line in told)
    assert verify_folder(tmp_path) == ()
    assert {entry.state for entry in list_runs(tmp_path)} == {"sealed"}
    assert len((tmp_path / INCIDENT / "incident.jsonl").read_text().splitlines()) == 3


def test_a_journal_that_cannot_be_forced_to_disk_says_so_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, RUN_ID)
    recorder.record("request", msg_id="m1", code="1")
    Failing(monkeypatch, 1, errno.EIO)
    for _ in range(2):
        with pytest.raises(RecorderError, match=r"its journal: Input/output error.*Next: free"):
            recorder.record("reply", parent="m1", status="ok", sync=True)
    recorder.close()
    lines = (store.open_folder(tmp_path, RUN_ID) / store.JOURNAL).read_bytes().splitlines()
    assert len(lines) == 3
    assert not read(store.open_folder(tmp_path, RUN_ID)).ended


def test_a_disk_that_fails_at_any_step_of_a_close_claims_no_seal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, failed = 0, True
    while failed:
        step += 1
        settings, folder = fresh(tmp_path / str(step), monkeypatch)
        root = settings.evidence_root
        append(root, INCIDENT, "note", by="ann", text="x")
        with monkeypatch.context() as patch:
            disk = Failing(patch, step, errno.ENOSPC)
            with contextlib.suppress(EvidenceError):
                workflow.close(settings, INCIDENT, by="ann", folder=folder)
            failed = disk.calls >= step
        told = read_record(root, INCIDENT)
        heads = (root / "HEADS").read_text() if (root / "HEADS").exists() else ""
        sealed = [line for line in told.lines if line.kind == "sealed"]
        assert all(line.text("record") in heads for line in sealed), step
        shown = [one.what for one in workflow.look(root, INCIDENT).timeline]
        assert ("sealed: the record of the incident" in shown) == bool(sealed), step
        done = workflow.close(settings, INCIDENT, by="bob", folder=folder)
        assert done.was_closed == (told.state == "closed"), step
        assert done.finished == (told.unfinished is not None), step
        assert verify_folder(root) == (), step
    assert step > 8


def test_a_full_disk_leaves_neither_closed_nor_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, folder = fresh(tmp_path, monkeypatch)
    root = settings.evidence_root
    append(root, INCIDENT, "note", by="ann", text="x")
    before = (root / INCIDENT / "incident.jsonl").read_bytes()
    with monkeypatch.context() as patch:
        real = tempfile.mkstemp
        patch.setattr(tempfile, "mkstemp", lambda **named: _full(real, **named))
        with pytest.raises(EvidenceError, match="No space left"):
            workflow.close(settings, INCIDENT, by="ann", folder=folder)
    assert (root / INCIDENT / "incident.jsonl").read_bytes() == before
    assert read_record(root, INCIDENT).state == "open"


def _full(real: Any, **named: Any) -> Any:
    if named["prefix"].startswith(".HEADS"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return real(**named)


def fresh(place: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, Path]:
    """An evidence folder of its own, and one for what is exported."""
    folder = place / "work"
    folder.mkdir(parents=True)
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(place / "evidence"))
    said = {"signing_key": place / "no_key"}
    return Settings.model_validate({"evidence": said}), folder
