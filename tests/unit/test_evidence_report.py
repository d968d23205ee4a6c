"""What `rbkernel evidence verify` and `seal` say to a reader."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rbkernel.errors import EvidenceError
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.bundle import seal
from rbkernel.evidence.reading import read, snapshot_of
from rbkernel.evidence.rebuild import rebuild
from rbkernel.render import verification
from tests.support.journal_builder import INCIDENT, RUN_ID, Journal, other_run, whole_run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "evidence"


@pytest.fixture
def journal(root: Path) -> Journal:
    return whole_run(root)


@pytest.fixture
def saved(journal: Journal, tmp_path: Path) -> Path:
    """The notebook that a frontend saved, in a folder whose name a shell would split."""
    record = read(journal.folder)
    path = tmp_path / "my runs" / "out.ipynb"
    path.parent.mkdir()
    path.write_bytes(documents.dump(rebuild(record, snapshot_of(record))))
    return path


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"0  31.5", b"0  1.5"))


def test_an_attested_notebook_takes_three_lines(root: Path, saved: Path) -> None:
    assert verification.verify(root, str(saved)) == (
        [
            "10 of 10 cells attested",
            f"verified: {saved} is of run {RUN_ID}",
            f"the run is not sealed yet: `rbkernel evidence seal '{saved}'`",
        ],
        True,
    )


def test_of_an_edited_notebook_only_the_edits_are_shown(root: Path, saved: Path) -> None:
    edit(saved)
    assert verification.verify(root, str(saved)) == (
        [
            (
                "cell 7 (lag): edited after the run: its output differs from the journal, line 2:"
                " `0  1.5` instead of `0  31.5`"
            ),
            "9 of 10 cells attested",
            f"DIFFERENT from the record: {saved} is of run {RUN_ID}",
            "the run is not sealed yet",  # and no hint: it would seal the edits
        ],
        False,
    )


def test_a_true_notebook_is_told_from_the_edited_one_under_seal(root: Path, saved: Path) -> None:
    true = saved.read_bytes()
    edit(saved)
    sealed = seal(root, RUN_ID, saved.read_bytes(), edited=True)
    assert verification.sealed(sealed)[2:] == [
        (
            "  sealed, although it differs from the journal: cell 7 (lag): edited after the run:"
            " its output differs from the journal, line 2: `0  1.5` instead of `0  31.5`"
        )
    ]
    saved.write_bytes(true)
    lines, ok = verification.verify(root, str(saved))
    assert not ok
    assert lines[1] == f"verified: {saved} is of run {RUN_ID}"
    executed = sealed.folder / "executed.ipynb"
    assert [line.split(": ")[:3] for line in lines[2:]] == [
        ["in the sealed run", f"{executed}, cell 7 (lag)", "edited after the run, before the seal"]
    ]
    for what in ("", INCIDENT, RUN_ID, str(sealed.folder), str(executed)):
        lines, ok = verification.verify(root, what)
        assert (len(lines), ok) == (1, False)
        assert "edited after the run, before the seal" in lines[0]


def test_sealing_again_says_what_holds(root: Path, saved: Path) -> None:
    sealed = seal(root, RUN_ID)
    assert verification.sealed(sealed) == [f"sealed {sealed.folder}", f"head   {sealed.head}"]
    edit(saved)
    assert verification.sealed(seal(root, RUN_ID, saved.read_bytes()))[2:] == [
        f"  the run was already sealed, at {sealed.sealed_at}: nothing was changed",
        (
            "  the given notebook was not sealed; the sealed one is"
            f" {sealed.folder / 'executed.ipynb'}"
        ),
    ]


def test_an_incident_is_verified_by_its_id(root: Path, journal: Journal) -> None:
    with pytest.raises(EvidenceError, match=rf"nothing of {INCIDENT} is sealed yet.*seal {RUN_ID}"):
        verification.verify(root, INCIDENT)
    folder = seal(root, RUN_ID).folder
    verified = [f"verified {root / INCIDENT}", "unsigned: 1 run"]
    assert verification.verify(root, INCIDENT) == (verified, True)
    with pytest.raises(EvidenceError, match="nothing of INC-none is sealed yet"):
        verification.verify(root, "INC-none")
    folder.chmod(0o755)
    shutil.rmtree(root / INCIDENT)
    with pytest.raises(EvidenceError, match="is missing, although HEADS lists its seals"):
        verification.verify(root, INCIDENT)


def test_where_nothing_is_sealed_yet_the_next_step_is_told(root: Path) -> None:
    with pytest.raises(EvidenceError, match=r"nothing is sealed yet.*Next: .*evidence list"):
        verification.verify(root)
    whole_run(root)
    whole_run(root, other_run(9))
    with pytest.raises(EvidenceError, match=f"nothing is sealed yet.*evidence seal {other_run(9)}"):
        verification.verify(root)
