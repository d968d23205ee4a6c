"""A disk that fails at any step of a seal or of the journal: loud, and nothing sealed is lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from rbkernel.errors import EvidenceError, RecorderError
from rbkernel.evidence import store
from rbkernel.evidence.bundle import seal
from rbkernel.evidence.reading import read
from rbkernel.evidence.recorder import Recorder
from rbkernel.evidence.runs import list_runs
from rbkernel.evidence.verify import verify_folder
from tests.unit.journal_builder import INCIDENT, RUN_ID, other_run, whole_run


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
        with pytest.raises(RecorderError, match=r"cannot write: Input/output error.*Next: free"):
            recorder.record("reply", parent="m1", status="ok", sync=True)
    recorder.close()
    lines = (store.open_folder(tmp_path, RUN_ID) / store.JOURNAL).read_bytes().splitlines()
    assert len(lines) == 3
    assert not read(store.open_folder(tmp_path, RUN_ID)).ended
