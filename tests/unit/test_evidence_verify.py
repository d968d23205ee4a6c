from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbkernel.errors import EvidenceError
from rbkernel.evidence import notebook as documents
from rbkernel.evidence import store
from rbkernel.evidence.bundle import seal
from rbkernel.evidence.verify import Problem, verify_folder
from tests.support.journal_builder import CHECK, INCIDENT, RUN_ID, other_run, whole_run
from tests.support.tiers import first

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seals in two incidents."""
    root = tmp_path_factory.mktemp("evidence")
    for number, incident in enumerate((INCIDENT, "INC-20261120-0000", INCIDENT)):
        run_id = RUN_ID if number == 0 else other_run(number)
        whole_run(root, run_id, incident)
        seal(root, run_id)
    assert verify_folder(root) == ()
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    copy = Path(shutil.copytree(pristine, tmp_path / "evidence"))
    for folder in copy.glob("INC-*/0*"):
        folder.chmod(0o755)
    return copy


def run_folder(root: Path) -> Path:
    return root / INCIDENT / f"0001-RUN-005-{RUN_ID}"


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def files(problems: tuple[Problem, ...]) -> set[Path]:
    return {problem.file for problem in problems}


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """One changed, lost or added byte each."""
    dice = random.Random(seed)
    for number in range(count):
        place = dice.randrange(len(data))
        changed = bytes([data[place] ^ dice.randrange(1, 256)])
        yield (
            data[:place]
            + (changed, b"", data[place : place + 1] * 2)[number % 3]
            + data[place + 1 :]
        )


@pytest.mark.parametrize("name", ["executed.ipynb", "runbook.ipynb", "journal.jsonl", "SHA256SUMS"])
@pytest.mark.parametrize("count", first([15, 60]))
def test_one_changed_byte_in_a_run_is_found(root: Path, name: str, count: int) -> None:
    path = run_folder(root) / name
    sealed = path.read_bytes()
    for changed in mutations(sealed, count, seed=len(sealed)):
        overwrite(path, changed)
        for folder in (path.parent, root / INCIDENT, root):
            assert path in files(verify_folder(folder))
        checked = subprocess.run(
            ["sha256sum", "-c", "--strict", "--status", "MANIFEST.0002"],
            cwd=root / INCIDENT,
            check=False,
        )
        assert checked.returncode != 0
    overwrite(path, sealed)
    assert verify_folder(root) == ()


@pytest.mark.parametrize(
    "name", ["HEADS", f"{INCIDENT}/incident.jsonl", f"{INCIDENT}/MANIFEST.0001"]
)
@pytest.mark.parametrize("count", first([30, 100]))
def test_one_changed_byte_above_the_runs_is_found(root: Path, name: str, count: int) -> None:
    path = root / name
    sealed = path.read_bytes()
    for changed in mutations(sealed, count, seed=len(sealed)):
        overwrite(path, changed)
        assert verify_folder(root)


def test_a_changed_notebook_names_the_cell(root: Path) -> None:
    path = run_folder(root) / "executed.ipynb"
    sealed = path.read_bytes()
    overwrite(path, sealed.replace(b"0  31.5", b"0   1.5"))
    (problem,) = verify_folder(path.parent)
    assert problem.cell == "cell 7 (lag)"
    assert problem.what == (
        "edited after the run: its output differs from the journal, line 2: `0   1.5` instead of"
        " `0  31.5`"
    )
    assert str(problem).startswith(str(path))
    overwrite(path, sealed.replace(b"## Look", b"## Lock"))
    (problem,) = verify_folder(path.parent)
    assert problem.cell == "cell 6 (step)"
    overwrite(path, sealed + b" ")
    (problem,) = verify_folder(path.parent)
    assert (problem.cell, problem.what) == (
        None,
        "was changed after the seal, but its cells are unchanged",
    )
    overwrite(path, sealed[:-100])
    (problem,) = verify_folder(path.parent)
    assert "not a readable notebook" in problem.what


def test_a_changed_runbook_names_the_cell(root: Path) -> None:
    path = run_folder(root) / "runbook.ipynb"
    overwrite(path, path.read_bytes().replace(b"## Escalate", b"## Escapade"))
    (problem,) = verify_folder(path.parent)
    assert problem.cell == "cell 9 (end)"


def test_with_a_changed_journal_no_cell_is_blamed(root: Path) -> None:
    journal, notebook = (run_folder(root) / name for name in ("journal.jsonl", "executed.ipynb"))
    overwrite(journal, journal.read_bytes().replace(b"31.5", b"01.5"))
    overwrite(notebook, notebook.read_bytes().replace(b"31.5", b"01.5"))
    problems = verify_folder(root)
    assert files(problems) == {journal, notebook}
    assert {problem.cell for problem in problems} == {None}


def forge(folder: Path) -> Path:
    """Replace a notebook and make the run's own sums agree."""
    forged = folder / "executed.ipynb"
    overwrite(forged, b"{}")
    names = sorted({path.name for path in folder.iterdir()} - {"SHA256SUMS"})
    sums = "".join(f"{store.sha256(folder / name)}  {name}\n" for name in names)
    overwrite(folder / "SHA256SUMS", sums.encode())
    return forged


def test_new_sums_for_a_forged_run_do_not_help(root: Path) -> None:
    forged = forge(run_folder(root))
    for place in (forged.parent, root / INCIDENT, root):
        assert forged in files(verify_folder(place))


def test_a_changed_list_accuses_no_innocent_file(root: Path) -> None:
    """One hex digit, one name, one byte of white space of each list, seen from everywhere."""
    run = run_folder(root)
    for path in (
        run / "SHA256SUMS",
        root / INCIDENT / "MANIFEST.0001",
        root / INCIDENT / "MANIFEST.0002",
    ):
        sealed = path.read_bytes()
        for changed in mutations(sealed, 60, seed=len(sealed)):
            overwrite(path, changed)
            for folder in (run, root / INCIDENT, root):
                assert files(verify_folder(folder)) == {path}
        overwrite(path, sealed)
    assert verify_folder(root) == ()


def test_a_changed_list_does_not_hide_a_changed_file(root: Path) -> None:
    run = run_folder(root)
    sums, journal, stray = run / "SHA256SUMS", run / "journal.jsonl", run / "note.txt"
    overwrite(sums, sums.read_bytes()[1:])
    overwrite(journal, journal.read_bytes() + b" ")
    stray.write_text("x")
    for folder in (run, root / INCIDENT, root):
        assert files(verify_folder(folder)) == {sums, journal, stray}


def test_a_changed_record_of_an_incident_does_not_accuse_the_heads(root: Path) -> None:
    path = root / INCIDENT / "incident.jsonl"
    overwrite(path, path.read_bytes().replace(RUN_ID.encode(), other_run(7).encode()))
    assert files(verify_folder(root)) == {path}


def test_missing_files_are_found(root: Path, pristine: Path) -> None:
    for name in store.files_below(pristine):
        if name == ".lock":
            continue
        (root / name).unlink()
        found = files(verify_folder(root))
        assert root / name in found, name
        shutil.copy2(pristine / name, root / name)
    assert verify_folder(root) == ()


def test_a_missing_incident_is_found(root: Path) -> None:
    shutil.rmtree(root / "INC-20261120-0000")
    assert root / "INC-20261120-0000" in files(verify_folder(root))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_line_cut_out_of_heads_is_found(root: Path, number: int) -> None:
    lines = (root / "HEADS").read_text().splitlines(keepends=True)
    del lines[number]
    (root / "HEADS").write_text("".join(lines))
    assert verify_folder(root)


def test_a_rewritten_seal_breaks_the_chain(root: Path) -> None:
    first, heads = root / INCIDENT / "MANIFEST.0001", root / "HEADS"
    before = store.sha256(first)
    overwrite(first, first.read_bytes().replace(b"# previous: 0", b"# previous: 1"))
    overwrite(heads, heads.read_bytes().replace(before.encode(), store.sha256(first).encode()))
    second = root / "INC-20261120-0000"
    chained = {
        first,
        second / "MANIFEST.0001",
        second / f"0001-RUN-005-{other_run(1)}" / "SHA256SUMS",
    }
    assert {one.file for one in verify_folder(root) if "the hash of" in one.what} == chained
    assert files(verify_folder(root / INCIDENT)) == {first}


def test_stray_files_are_found(root: Path) -> None:
    strays = [
        run_folder(root) / "note.txt",
        run_folder(root) / ".hidden",
        root / INCIDENT / "a note.txt",
        root / INCIDENT / "0009-RUN-009-x" / "executed.ipynb",
        root / "INC-forged" / "incident.jsonl",
    ]
    for stray in strays:
        stray.parent.mkdir(exist_ok=True)
        stray.write_text("x")
    assert files(verify_folder(root)) >= set(strays)


def test_a_later_seal_does_not_bless_a_change(root: Path) -> None:
    forged = forge(run_folder(root))
    whole_run(root, other_run(9), INCIDENT)
    seal(root, other_run(9))
    assert forged in files(verify_folder(root))


def test_one_incident_can_be_checked_away_from_home(root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(root / INCIDENT, tmp_path / "mail" / INCIDENT))
    assert verify_folder(copy) == ()
    run = Path(shutil.copytree(run_folder(root), tmp_path / run_folder(root).name))
    assert verify_folder(run) == ()
    overwrite(copy / run.name / "journal.jsonl", b"")
    assert verify_folder(copy)


HOSTILE = [
    b"",
    b"\x00" * 1000,
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"cells": ' + b"[" * 100_000,
    b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [7]}',
    b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": {"a": 1}}',
    b'{"nbformat": "4", "cells": null}',
    b'{"nbformat": 4, "nbformat_minor": ' + b"9" * 5000 + b', "cells": []}',
    b"null",
    b"a" * 64 + b"  ../../../../etc/passwd\n",
    b"a" * 64 + b"  /etc/passwd\n",
    b"# previous: " + b"0" * 64 + b"\n" + b"a" * 64 + b"  ../HEADS\n",
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_content_is_a_problem_and_no_crash(root: Path, content: bytes) -> None:
    for name in store.files_below(root):
        if name == ".lock":
            continue
        sealed = (root / name).read_bytes()
        overwrite(root / name, content)
        problems = verify_folder(root)
        assert problems, name
        assert "passwd" not in "".join(str(path) for path in files(problems))
        overwrite(root / name, sealed)
    assert verify_folder(root) == ()


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "dangling"])
def test_what_is_no_file_is_a_problem_and_no_crash(root: Path, kind: str, tmp_path: Path) -> None:
    for name in store.files_below(root):
        if name == ".lock":
            continue
        path, kept = root / name, tmp_path / "kept"
        path.rename(kept)
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(kept if kind == "link" else tmp_path / "nowhere")
        assert path in files(verify_folder(root)), name
        path.rmdir() if kind == "folder" else path.unlink()
        kept.rename(path)


def test_a_pipe_in_the_place_of_the_document_is_not_read(root: Path) -> None:
    run = run_folder(root)
    (run / "runbook.ipynb").unlink()
    os.mkfifo(run / "runbook.ipynb")
    forged = run / "executed.ipynb"
    overwrite(forged, forged.read_bytes() + b" ")
    assert files(verify_folder(run)) == {forged, run / "runbook.ipynb"}


def test_a_run_folder_behind_a_link_is_a_problem(root: Path, tmp_path: Path) -> None:
    run_folder(root).rename(tmp_path / "moved")
    run_folder(root).symlink_to(tmp_path / "moved")
    assert verify_folder(root)
    assert verify_folder(root / INCIDENT)


def test_a_name_that_is_no_text_is_a_problem_and_no_crash(root: Path) -> None:
    stray = os.fsencode(root / INCIDENT) + b"/\xff"
    Path(os.fsdecode(stray)).write_text("x")
    (problem,) = verify_folder(root)
    str(problem).encode()


def test_what_is_no_evidence_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(EvidenceError, match=r"neither a sealed run.*Next: "):
            verify_folder(path)


def test_an_edited_cell_is_named_even_when_it_hides_between_its_likes(root: Path) -> None:
    path = run_folder(root) / "executed.ipynb"
    edited = documents.parse(path.read_bytes(), where="")
    edited.cells[8].source = CHECK.replace("lag)", "lag, warn=99)")
    overwrite(path, documents.dump(edited))
    (problem,) = verify_folder(path.parent)
    assert problem.cell == "cell 9 (check)"


def test_what_lies_beside_the_evidence_is_told(tmp_path: Path) -> None:
    root = tmp_path / "root"
    whole_run(root)
    sealed = seal(root, RUN_ID)
    assert verify_folder(root) == ()
    (root / "notes.txt").write_text("mine")
    (root / "INC-NEW").mkdir()
    sealed.folder.parent.chmod(0o755)
    (sealed.folder.parent / "0002-RUN-005-20261120T030201Z-aaaaaa").mkdir()
    sealed.folder.parent.rename(tmp_path / "elsewhere")
    (root / INCIDENT).symlink_to(tmp_path / "elsewhere")
    told = [str(problem) for problem in verify_folder(root)]
    assert f"{root}/notes.txt: is not covered by the seal" in told
    assert f"{root}/INC-NEW: is an empty folder" in told
    assert f"{root}/{INCIDENT}: is a symbolic link: its files are elsewhere" in told
    assert any("aaaaaa: is an empty folder" in one for one in told)
