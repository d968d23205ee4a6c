from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rbkernel.errors import EvidenceError
from rbkernel.evidence import notebook as documents
from rbkernel.evidence import seals, store
from rbkernel.evidence.attest import if_attested
from rbkernel.evidence.bundle import SealedRun, seal
from rbkernel.evidence.content import ReportFiles
from rbkernel.evidence.manifest import NO_PREVIOUS
from rbkernel.evidence.reading import Record, read, snapshot_of
from rbkernel.evidence.rebuild import rebuild
from rbkernel.evidence.runs import find, list_runs
from rbkernel.evidence.verify import verify_folder
from rbkernel.model import INCIDENT_ID, Verdict
from tests.support.crash import dies_at
from tests.support.journal_builder import INCIDENT, RUN_ID, Journal, other_run, runbook, whole_run

pytestmark = pytest.mark.slow
SHARED = "plotly-0123456789abcdef.js"


def coreutils_agree(folder: Path, sums: str) -> bool:
    command = ["sha256sum", "--check", "--strict", "--status", sums]
    return subprocess.run(command, cwd=folder, check=False).returncode == 0


def tree(root: Path) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in store.files_below(root)}


def test_the_layout_of_a_sealed_run(tmp_path: Path) -> None:
    journal = whole_run(tmp_path)
    recorded = (journal.folder / "journal.jsonl").read_bytes()
    sealed = seal(tmp_path, RUN_ID)
    assert sealed.folder == tmp_path / INCIDENT / f"0001-RUN-005-{RUN_ID}"
    assert sorted(path.name for path in sealed.folder.iterdir()) == [
        *("SHA256SUMS", "executed.ipynb", "journal.jsonl", "runbook.ipynb")
    ]
    assert (sealed.folder / "journal.jsonl").read_bytes() == recorded
    assert {path.stat().st_mode & 0o777 for path in sealed.folder.iterdir()} == {0o400}
    assert sealed.folder.stat().st_mode & 0o777 == 0o500
    assert (sealed.verdict, sealed.verification.ok) == (Verdict.CRITICAL, True)
    assert coreutils_agree(sealed.folder, "SHA256SUMS")
    assert coreutils_agree(tmp_path / INCIDENT, "MANIFEST.0001")
    assert not journal.folder.exists()
    head = (tmp_path / "HEADS").read_text().split()
    assert head == [sealed.head, f"{INCIDENT}/MANIFEST.0001", sealed.sealed_at, RUN_ID]
    lines = (tmp_path / INCIDENT / "incident.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert [one["kind"] for one in told] == ["opened", "sealed"]
    assert (told[1]["run_id"], told[1]["verdict"]) == (RUN_ID, "critical")


def test_manifests_are_chained_across_incidents(tmp_path: Path) -> None:
    heads = [NO_PREVIOUS]
    for number, incident in enumerate((INCIDENT, "INC-20261120-0000", INCIDENT)):
        whole_run(tmp_path, other_run(number), incident)
        sealed = seal(tmp_path, other_run(number))
        generation = max(sealed.folder.parent.glob("MANIFEST.*"))
        assert generation.read_text().splitlines()[0] == f"# previous: {heads[-1]}"
        assert coreutils_agree(sealed.folder.parent, generation.name)
        heads.append(sealed.head)
    assert (tmp_path / INCIDENT / "MANIFEST.0002").exists()
    assert [path.name[:4] for path in sorted((tmp_path / INCIDENT).glob("0*"))] == ["0001", "0002"]
    assert verify_folder(tmp_path) == ()


def test_sealing_a_sealed_run_changes_nothing(tmp_path: Path) -> None:
    whole_run(tmp_path)
    sealed = seal(tmp_path, RUN_ID)
    before = tree(tmp_path)
    again, other = seal(tmp_path, RUN_ID), seal(tmp_path, RUN_ID, b"something else")
    assert again == other == sealed
    assert (sealed.is_new, again.is_new, other.is_new) == (True, False, False)
    assert (again.other_notebook, other.other_notebook) == (False, True)
    same = seal(tmp_path, RUN_ID, (sealed.folder / "executed.ipynb").read_bytes())
    assert not same.other_notebook
    assert tree(tmp_path) == before


def test_threads_that_seal_at_once_agree(tmp_path: Path) -> None:
    runs = [other_run(number) for number in range(6)]
    for run_id in runs:
        whole_run(tmp_path, run_id)
    results: list[SealedRun] = []

    def work(run_id: str) -> None:
        results.append(seal(tmp_path, run_id))

    threads = [threading.Thread(target=work, args=(run_id,)) for run_id in runs * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 12
    assert len((tmp_path / "HEADS").read_text().splitlines()) == 6
    assert verify_folder(tmp_path) == ()


def drawn(_record: Record, _executed: bytes) -> ReportFiles:
    """A report whose script is shared by the runs of an incident."""
    return ReportFiles(own={"report.html": b"a page"}, shared={SHARED: lambda: b"draw()"})


def test_the_reports_of_an_incident_share_a_file(tmp_path: Path) -> None:
    made: list[str] = []

    def counted(record: Record, _executed: bytes) -> ReportFiles:
        def make() -> bytes:
            made.append(record.run_id)
            return b"draw()"

        return ReportFiles(shared={SHARED: make})

    for number in range(3):
        whole_run(tmp_path, other_run(number))
        seal(tmp_path, other_run(number), report=counted)
    assert made == [other_run(0)]
    file = tmp_path / INCIDENT / SHARED
    assert file.stat().st_mode & 0o777 == 0o400
    assert verify_folder(tmp_path) == ()
    assert coreutils_agree(tmp_path / INCIDENT, "MANIFEST.0003")
    file.chmod(0o600)
    file.write_bytes(b"draw(other)")
    assert {one.file for one in verify_folder(tmp_path)} == {file}
    assert not coreutils_agree(tmp_path / INCIDENT, "MANIFEST.0003")
    # the next seal does not hide that
    whole_run(tmp_path, other_run(4))
    seal(tmp_path, other_run(4), report=counted)
    assert {one.file for one in verify_folder(tmp_path)} == {file}


def test_a_file_that_no_seal_covers_is_not_believed(tmp_path: Path) -> None:
    whole_run(tmp_path)
    (tmp_path / INCIDENT).mkdir()
    (tmp_path / INCIDENT / SHARED).write_bytes(b"put there by somebody")
    seal(tmp_path, RUN_ID, report=drawn)
    assert (tmp_path / INCIDENT / SHARED).read_bytes() == b"draw()"
    assert verify_folder(tmp_path) == ()


def seal_and_crash(root: Path, moment: int) -> int:
    names = ("move", "write_atomically", "write_folder", "remove_folder", "sync_folder")
    return dies_at(moment, names, lambda: seal(root, RUN_ID, report=drawn))


def test_a_crash_at_any_step_is_mended_by_sealing_again(tmp_path: Path) -> None:
    moment, code = 0, 9
    while code == 9:
        moment += 1
        root = tmp_path / str(moment)
        root.mkdir()
        whole_run(root, other_run(0))
        first = seal(root, other_run(0))
        kept = tree(first.folder)
        whole_run(root)
        code = seal_and_crash(root, moment)
        sealed = seal(root, RUN_ID, report=drawn)
        assert verify_folder(root) == (), moment
        assert (root / INCIDENT / SHARED).read_bytes() == b"draw()"
        assert sealed.folder.name.startswith("0002-")
        assert [entry.state for entry in list_runs(root)] == ["sealed", "sealed"]
        assert not store.open_folder(root, RUN_ID).exists()
        assert len((root / INCIDENT / "incident.jsonl").read_text().splitlines()) == 3
        assert tree(first.folder) == kept
        assert coreutils_agree(root / INCIDENT, "MANIFEST.0002")
    assert (code, moment > 15) == (0, True)


def test_a_living_kernel_is_not_sealed(tmp_path: Path) -> None:
    journal = whole_run(tmp_path)
    with journal.kernel():
        with pytest.raises(EvidenceError, match=r"is still alive.*Shut Down Kernel"):
            seal(tmp_path, RUN_ID)
        assert [entry.state for entry in list_runs(tmp_path)] == ["open (live)"]
    assert [entry.state for entry in list_runs(tmp_path)] == ["open"]
    assert seal(tmp_path, RUN_ID).verification.ok


def edited_notebook(journal: Journal) -> bytes:
    record = read(journal.folder)
    edited = rebuild(record, snapshot_of(record))
    edited.cells[4].outputs = []
    edited.cells[5].source = "## Nothing to see"
    return documents.dump(edited) + b"\n\n"


def test_a_given_notebook_is_sealed_byte_by_byte(tmp_path: Path) -> None:
    record = read(whole_run(tmp_path).folder)
    data = documents.dump(rebuild(record, snapshot_of(record))) + b"\n\n"
    sealed = seal(tmp_path, RUN_ID, data)
    assert (sealed.folder / "executed.ipynb").read_bytes() == data
    assert sealed.verification.ok
    assert not verify_folder(tmp_path)


def test_an_edited_notebook_is_refused_and_does_not_shut_the_true_one_out(tmp_path: Path) -> None:
    journal = whole_run(tmp_path)
    before = tree(tmp_path)
    told = rf"cell 5 \(start\): output missing.*cell 6 \(step\).*seal {RUN_ID}.*--edited"
    with pytest.raises(EvidenceError, match=told):
        seal(tmp_path, RUN_ID, edited_notebook(journal))
    assert {**tree(tmp_path), ".lock": b""} == {**before, ".lock": b""}
    assert not (tmp_path / INCIDENT).exists()
    assert seal(tmp_path, RUN_ID).verification.ok
    assert verify_folder(tmp_path) == ()


def test_of_a_notebook_saved_before_the_last_output_the_whole_of_it_is_sealed(
    tmp_path: Path,
) -> None:
    """A client that is ended together with its run may save too early."""
    journal = Journal(tmp_path)
    journal.cell("db = 'shop'")
    code = "look()"
    lag = journal.request(code)
    journal.begin(lag, code)
    journal.stream(lag, "10 %\n")
    journal.fail(lag, "KeyboardInterrupt")
    journal.line("end")
    early = rebuild(read(journal.folder), None)
    early.cells[1].outputs.pop()
    sealed = seal(tmp_path, RUN_ID, documents.dump(early))
    assert sealed.other_notebook
    assert sealed.verification.ok
    kept = documents.parse((sealed.folder / "executed.ipynb").read_bytes(), where="the seal")
    assert [one.output_type for one in kept.cells[1].outputs] == ["stream", "error"]


def test_an_edited_notebook_sealed_on_purpose_is_always_reported(tmp_path: Path) -> None:
    data = edited_notebook(whole_run(tmp_path))
    sealed = seal(tmp_path, RUN_ID, data, edited=True)
    executed = sealed.folder / "executed.ipynb"
    assert executed.read_bytes() == data
    assert [one.state for one in sealed.verification.problems] == [
        *("output missing", "edited after the run")
    ]
    for folder in (sealed.folder, sealed.folder.parent, tmp_path):
        assert [(one.file, one.cell, one.what) for one in verify_folder(folder)] == [
            (
                executed,
                "cell 5 (start)",
                "output missing, before the seal: 1 of the outputs that the journal contains",
            ),
            (
                executed,
                "cell 6 (step)",
                (
                    "edited after the run, before the seal: line 1: `## Nothing to see` instead of"
                    " `## Look`"
                ),
            ),
        ]


def test_the_notebook_of_a_headless_run_is_given_only_when_attested(tmp_path: Path) -> None:
    journal = whole_run(tmp_path)
    record = read(journal.folder)
    edited = documents.parse(edited_notebook(journal), where="")
    true = rebuild(record, snapshot_of(record))
    assert if_attested(edited, record) is None
    assert if_attested(true, record) is true


def test_a_notebook_that_is_none_or_of_another_run_is_refused(tmp_path: Path) -> None:
    whole_run(tmp_path)
    other = read(whole_run(tmp_path, other_run(1)).folder)
    for wrong in (b'{"cells": [', b"\xff", rebuild(other, snapshot_of(other))):
        before = tree(tmp_path)
        with pytest.raises(EvidenceError):
            seal(tmp_path, RUN_ID, wrong)
        assert {**tree(tmp_path), ".lock": b""} == {**before, ".lock": b""}
        assert not (tmp_path / INCIDENT).exists()


def test_a_run_without_rb_start_gets_an_incident_of_its_own(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.cell("1 + 1", "2")
    sealed = seal(tmp_path, RUN_ID)
    assert sealed.incident.startswith("INC-")
    assert sealed.folder.name == f"0001-notebook-{RUN_ID}"
    assert not (sealed.folder / "runbook.ipynb").exists()
    assert sealed.verification.partial == "partial: code cells only"
    assert verify_folder(tmp_path) == ()


def begun(root: Path, run_id: str, **names: str | None) -> Journal:
    """A journal whose caller told the kernel these names."""
    journal = Journal(root, run_id)
    journal.line("kernel", run_id=run_id, **names)
    return journal


def test_a_run_that_ended_before_rb_start_keeps_the_names_its_caller_knew(tmp_path: Path) -> None:
    begun(tmp_path, other_run(0), incident=INCIDENT, runbook="RUN-005").cell("1 / 0")
    begun(tmp_path, other_run(1), incident=None, runbook=None).cell("1 / 0")
    named, unnamed = list_runs(tmp_path)
    assert (named.incident, named.runbook) == (INCIDENT, "RUN-005")
    assert (unnamed.incident, unnamed.runbook) == ("", "")
    sealed = seal(tmp_path, named.run_id)
    assert (sealed.incident, sealed.runbook) == (INCIDENT, "RUN-005")
    assert sealed.folder.name == f"0001-RUN-005-{named.run_id}"
    assert seal(tmp_path, unnamed.run_id).incident != INCIDENT
    listed = {entry.run_id: entry for entry in list_runs(tmp_path)}
    assert (listed[named.run_id].incident, listed[named.run_id].runbook) == (INCIDENT, "RUN-005")
    hostile = begun(tmp_path, other_run(2), incident="../INC-elsewhere")
    with pytest.raises(EvidenceError, match="is not an incident id"):
        seal(tmp_path, hostile.run_id)


@pytest.mark.parametrize("run_id", ["../../etc", "", "x", RUN_ID + "/..", RUN_ID + "\n"])
def test_only_run_ids_are_run_ids(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(EvidenceError):
        seal(tmp_path, run_id)


def test_an_incident_id_in_the_journal_cannot_lead_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "root"
    whole_run(root, RUN_ID, "../INC-elsewhere")
    with pytest.raises(EvidenceError, match="is not an incident id"):
        seal(root, RUN_ID)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert store.open_folder(root, RUN_ID).is_dir()


def test_a_run_whose_incident_held_a_secret_is_sealed_elsewhere_and_says_so(tmp_path: Path) -> None:
    begun(tmp_path, RUN_ID, incident="INC-[redacted:environment CANARY]").cell("1")
    sealed = seal(tmp_path, RUN_ID)
    assert INCIDENT_ID.fullmatch(sealed.incident)
    assert sealed.missing == (
        f"its incident id contained a secret, so the run is in a new incident, {sealed.incident}",
    )
    assert verify_folder(tmp_path) == ()


def test_an_unknown_run_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"there is no run.*Next: .*evidence list"):
        seal(tmp_path, RUN_ID)
    with pytest.raises(EvidenceError, match="there is no run"):
        find(tmp_path, RUN_ID)


def test_a_run_is_found_by_its_id_its_folder_and_its_notebook(tmp_path: Path) -> None:
    journal = whole_run(tmp_path)
    assert find(tmp_path, RUN_ID) == journal.folder
    record = read(journal.folder)
    out = tmp_path / "out.ipynb"
    out.write_bytes(documents.dump(rebuild(record, snapshot_of(record))))
    sealed = seal(tmp_path, RUN_ID)
    for name in (RUN_ID, sealed.folder, out, str(out)):
        assert find(tmp_path, name) == sealed.folder
    out.write_bytes(documents.dump(runbook()))
    with pytest.raises(EvidenceError, match="has no run id"):
        find(tmp_path, out)
    with pytest.raises(EvidenceError, match="neither a run id nor a notebook"):
        find(tmp_path, tmp_path / "nowhere")


def test_the_list_tells_open_and_sealed_runs_and_survives_damage(tmp_path: Path) -> None:
    whole_run(tmp_path)
    seal(tmp_path, RUN_ID)
    damaged = Journal(tmp_path, other_run(1))
    damaged.raw(b"nonsense\n{}\n")
    whole_run(tmp_path, other_run(2), "INC-2")
    (tmp_path / "open" / "not-a-run").mkdir()
    second, third, first = list_runs(tmp_path)  # by run id
    assert (first.state, first.incident, first.verdict) == ("sealed", INCIDENT, Verdict.CRITICAL)
    assert (second.state, second.verdict) == ("open", Verdict.UNKNOWN)
    assert "line 2" in second.problem
    assert (third.state, third.runbook, third.title) == ("open", "RUN-005", "Replication lag")
    (tmp_path / INCIDENT / "incident.jsonl").write_bytes(b'{"kind": "sealed"}\n[[\xff')
    assert list_runs(tmp_path)[2] == first
    assert list_runs(tmp_path / "nowhere") == []


FULL = """
import os, resource, signal, sys
from pathlib import Path
from rbkernel.errors import EvidenceError
from rbkernel.evidence import bundle
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    bundle.seal(Path(sys.argv[1]), sys.argv[2])
except EvidenceError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("limit_bytes", [0, 100, 300, 2_000, 4_000])
def test_a_write_that_fails_leaves_everything_as_it_was(tmp_path: Path, limit_bytes: int) -> None:
    whole_run(tmp_path, other_run(0))
    seal(tmp_path, other_run(0))
    whole_run(tmp_path)
    before = tree(tmp_path)
    command = [sys.executable, "-c", FULL, str(tmp_path), RUN_ID, str(limit_bytes)]
    failed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "evidence cannot be written: File too large" in failed.stderr
    assert tree(tmp_path) == before
    assert verify_folder(tmp_path) == ()
    seal(tmp_path, RUN_ID)
    assert verify_folder(tmp_path) == ()


def test_a_changed_folder_of_an_interrupted_seal_is_not_blessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_run(tmp_path)
    real = store.move

    def fails(source: Path, target: Path) -> None:
        if source.name == "incident.jsonl":
            raise OSError(5, os.strerror(5))
        real(source, target)

    monkeypatch.setattr(store, "move", fails)
    with pytest.raises(EvidenceError, match="Input/output error"):
        seal(tmp_path, RUN_ID)
    monkeypatch.undo()
    folder = seals.sealed_folder(tmp_path, RUN_ID)
    assert folder
    (folder / "executed.ipynb").chmod(0o644)
    (folder / "executed.ipynb").write_text("{}")
    with pytest.raises(EvidenceError, match="was changed since"):
        seal(tmp_path, RUN_ID)
