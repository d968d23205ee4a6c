"""Evidence that version 0.1.0 wrote, whose redaction changed the recorder's own lines.

`corpora/sealed_0_1_0` holds two sealed runs: in one the counters of redactions are texts, in the
other every time lost its date. `corpora/open_0_1_0` holds a run that could not be sealed: kinds of
lines and types of messages are masked.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rbkernel.config import Settings
from rbkernel.evidence import bundle, reading, runs
from rbkernel.evidence.verify import verify_folder
from rbkernel.incidents import workflow
from rbkernel.model import Verdict
from rbkernel.render.documents import browser, writing
from rbkernel.render.documents.formats import Format
from rbkernel.render.documents.report import report_files
from tests.support.page_server import opened, serving

pytestmark = pytest.mark.slow

CORPORA = Path(__file__).parent.parent / "corpora"
COUNTERS, COUNTED = "INC-20261129-1129", "20261129T073436Z-3e5b09"
TIMES, TIMED = "INC-20261129-2285", "20261129T073507Z-15e148"
MASKED = "20261129T073451Z-9f12d0"


@pytest.fixture
def old(evidence: Path) -> Path:
    """A copy of that evidence, as it lay on a disk."""
    shutil.copytree(CORPORA / "sealed_0_1_0", evidence)
    shutil.copytree(CORPORA / "open_0_1_0", evidence / "open")
    return evidence


@pytest.mark.parametrize("what", [COUNTERS, COUNTED, TIMES, TIMED])
@pytest.mark.parametrize("form", Format)
def test_it_can_be_verified_and_exported(
    old: Path, tmp_path: Path, what: str, form: Format
) -> None:
    if form is Format.PDF and not browser.find():
        pytest.skip("there is no Chromium")
    assert not verify_folder(old)
    written = writing.export(old, what, form, tmp_path)
    assert written.path.stat().st_size > 500


def test_a_report_says_what_it_could_not_read(old: Path, tmp_path: Path) -> None:
    counted = writing.export(old, COUNTED, Format.HTML, tmp_path).path.read_text()
    assert "password at least 3, not all counts can be read" in counted
    timed = writing.export(old, TIMED, Format.HTML, tmp_path).path.read_text()
    assert "lines 1 to 24 of the journal: its time cannot be read" in timed
    assert "before" in timed, "the note that was written at a time that is lost"


@pytest.mark.parametrize("run_id", [COUNTED, TIMED, MASKED])
def test_its_pages_open(old: Path, run_id: str) -> None:
    with serving(opened()) as client:
        for page in (f"/rbkernel/runs/{run_id}", f"/rbkernel/runs/{run_id}/report"):
            answer = client.get(page)
            assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("incident", [COUNTERS, TIMES])
def test_its_incident_can_be_closed(old: Path, tmp_path: Path, incident: str) -> None:
    closed = workflow.close(Settings(), incident, by="ann", folder=tmp_path)
    assert closed.attachment.is_file()
    assert not verify_folder(old)


def test_a_run_with_masked_lines_is_sealed_and_never_ok(old: Path) -> None:
    record = reading.read(runs.find(old, MASKED))
    assert record.verdict is Verdict.UNKNOWN
    assert "line 4 of the journal" in str(record.lost[0])
    assert [cell.code for cell in record.cells][-1] == "rb.summary()"
    sealed = bundle.seal(old, MASKED, report=report_files)
    assert (sealed.folder / "report.html").is_file()
    assert not sealed.verification.ok
