"""Who may read evidence: its owner alone whatever the umask, its group if that is configured."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbkernel.config import Settings
from rbkernel.evidence import bundle, signing, store
from rbkernel.evidence.incident import append
from rbkernel.evidence.recorder import Recorder
from rbkernel.evidence.verify import verify_folder
from rbkernel.incidents import workflow
from rbkernel.render.documents import writing
from rbkernel.render.documents.formats import Format
from rbkernel.render.documents.report import report_files
from tests.support.journal_builder import INCIDENT, RUN_ID, other_run

pytestmark = pytest.mark.slow


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def recorded(root: Path, run_id: str, *, group: bool) -> None:
    recorder = Recorder(root, run_id, group=group)
    recorder.record("request", msg_id="m1", code="x = 1", silent=False)
    recorder.request = {"msg_id": "m1"}
    run = {"id": run_id, "runbook": "RUN-005", "title": "Lag", "incident": INCIDENT}
    at = "2026-11-20T03:02:11+00:00"
    recorder.event("run", **run, headless=True, started_at=at, parameters={}, facts={})
    recorder.record("reply", parent="m1", status="ok", execution_count=1)
    recorder.learn("typed", "x = 1")  # writes the journal again
    recorder.close()


def modes(folder: Path) -> dict[str, str]:
    """The access to a folder and to all below it; what is under seal ends in a star."""
    found = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        mode = oct(stat.S_IMODE(path.stat().st_mode))
        kind = "folder" if path.is_dir() else "file"
        sealed = path.parent.name.startswith("000") or path.name.startswith(("000", "MANIFEST"))
        found[str(path.relative_to(folder))] = f"{kind} {mode}{'*' if sealed else ''}"
    return found


@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o777], ids=oct)
@pytest.mark.parametrize("group", [False, True], ids=["private", "group"])
def test_access_does_not_depend_on_the_umask(
    evidence: Path, tmp_path: Path, mask: int, *, group: bool
) -> None:
    root, work = evidence, tmp_path / "work"
    work.mkdir()
    key = tmp_path / "key" / "seal_key"
    settings = Settings.model_validate({"evidence": {"signing_key": key}})
    with umask(mask):
        recorded(root, RUN_ID, group=group)
        append(root, INCIDENT, "note", by="ann", text="x")
        signing.keygen(root, key, settings.allowed_signers, "ops@db1")
        bundle.seal(root, RUN_ID, key=key, report=report_files)
        recorded(root, other_run(1), group=group)
        unsealed = modes(root / "open" / other_run(1))
        workflow.close(settings, INCIDENT, by="ann", folder=work)
        writing.export(root, RUN_ID, Format.MARKDOWN, work)
        writing.export(root, RUN_ID, Format.ZIP, work)
        store.prepare(root, group=group)
    found = set(modes(root).values()) | set(unsealed.values())
    assert found == (
        {"folder 0o2750", "file 0o640", "folder 0o2550*", "file 0o440*"}
        if group
        else {"folder 0o700", "file 0o600", "folder 0o500*", "file 0o400*"}
    )
    exported = {oct(stat.S_IMODE(path.stat().st_mode)) for path in work.iterdir()}
    assert exported == {"0o600"}
    assert not verify_folder(root, signers=settings.allowed_signers)


def test_a_folder_that_was_open_to_all_is_closed_and_one_for_more_than_evidence_is_not(
    tmp_path: Path,
) -> None:
    old, other = tmp_path / "old", tmp_path / "other"
    for folder in (old / "open", other / "documents"):
        folder.mkdir(parents=True)
        folder.parent.chmod(0o755)
    for folder in (old, other):
        store.prepare(folder, group=False)
    assert stat.S_IMODE(old.stat().st_mode) == 0o700
    assert stat.S_IMODE(other.stat().st_mode) == 0o755
    assert stat.S_IMODE((other / "open").stat().st_mode) == 0o700
    store.prepare(old, group=True)
    assert {stat.S_IMODE(one.stat().st_mode) for one in (old, old / "open")} == {0o2750}
    store.prepare(old, group=False)
    assert stat.S_IMODE(old.stat().st_mode) == 0o700
