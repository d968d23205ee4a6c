"""Evidence that released versions sealed: it verifies, opens and exports for ever.

`tests/freeze.py` makes such a sample; each later version adds its own to `SAMPLES`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rbkernel.cli import app
from rbkernel.config import Settings
from rbkernel.errors import NewerEvidence
from rbkernel.evidence import incident, manifest, reading, runs
from rbkernel.evidence.verify import verify_folder
from rbkernel.incidents import workflow
from rbkernel.model import Verdict
from rbkernel.render.documents import browser, writing
from rbkernel.render.documents.formats import Format
from tests.support.page_server import opened, serving

pytestmark = pytest.mark.slow

CORPORA = Path(__file__).parent.parent / "corpora"
SAMPLES = ["written_by_0_1_0"]


@pytest.fixture(params=SAMPLES)
def sample(request: pytest.FixtureRequest, evidence: Path) -> Path:
    """A copy of a sample, as it lay on a disk."""
    shutil.copytree(CORPORA / request.param / "evidence", evidence)
    return evidence


@pytest.fixture
def run_ids(sample: Path) -> list[str]:
    return [head.run_id for head in manifest.read_heads((sample / "HEADS").read_bytes(), "HEADS")]


@pytest.fixture
def incident_id(sample: Path) -> str:
    [folder] = {path.parent.name for path in sample.glob("INC-*/MANIFEST.*")}
    return folder


def said(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.stdout


def test_it_verifies_with_its_signatures(sample: Path, run_ids: list[str]) -> None:
    assert len(run_ids) == 2
    assert verify_folder(sample) == ()
    for path in sample.glob("INC-*/0*/journal.jsonl"):
        path.chmod(0o600)
        path.write_bytes(path.read_bytes().replace(b"requests: 120", b"requests: 020"))
    assert len(verify_folder(sample)) == 2


def test_it_can_be_read(sample: Path, run_ids: list[str]) -> None:
    parked, chosen = (reading.read(runs.find(sample, run_id)) for run_id in run_ids)
    assert parked.verdict is chosen.verdict is Verdict.CRITICAL
    assert [one.state for one in parked.decisions] == ["parked"]
    assert [one.choice for one in chosen.decisions] == ["restart"]
    assert next(one.data["text"] for one in chosen.of_kind("note")).startswith("Seen in the frozen")
    assert [one.data["state"] for one in chosen.of_kind("plan")][-1] == "done by a human"


def test_commands_show_it(sample: Path, run_ids: list[str], incident_id: str) -> None:
    listed = json.loads(said("evidence", "list", "--json"))
    assert {one["run_id"]: one["verdict"] for one in listed} == dict.fromkeys(run_ids, "critical")
    shown = said("incident", "show", incident_id)
    assert "The shop was restarted at 03:20." in shown
    assert "Restart the shop?" in shown


@pytest.mark.parametrize("form", Format)
def test_it_can_be_exported(
    sample: Path, run_ids: list[str], incident_id: str, tmp_path: Path, form: Format
) -> None:
    if form is Format.PDF and not browser.find():
        pytest.skip("there is no Chromium")
    for what in (run_ids[-1], incident_id):
        written = writing.export(sample, what, form, tmp_path)
        assert written.path.stat().st_size > 500
        if form in (Format.HTML, Format.MARKDOWN):
            assert "Requests of the shop" in written.path.read_text()


def test_its_pages_open(sample: Path, run_ids: list[str], incident_id: str) -> None:
    with serving(opened()) as client:
        for page in ("", *(f"/runs/{one}" for one in run_ids), f"/incidents/{incident_id}"):
            answer = client.get(f"/rbkernel{page}")
            assert answer.status_code == 200, answer.text
            assert "The shop answers slowly" in answer.text


def test_it_goes_on_to_a_close_and_a_postmortem(
    sample: Path, incident_id: str, tmp_path: Path
) -> None:
    closed = workflow.close(Settings(), incident_id, by="ann", folder=tmp_path)
    assert closed.attachment.is_file()
    assert verify_folder(sample) == ()
    said("postmortem", incident_id, "-o", str(tmp_path / "postmortem.ipynb"))
    assert "The shop was restarted" in (tmp_path / "postmortem.ipynb").read_text()


def newer(path: Path, old: bytes, new: bytes) -> None:
    path.chmod(0o600)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def test_a_journal_of_a_later_format_names_the_version(sample: Path, run_ids: list[str]) -> None:
    folder = runs.find(sample, run_ids[0])
    newer(folder / "journal.jsonl", b'"kind":"kernel"', b'"kind":"kernel","format":2')
    with pytest.raises(NewerEvidence, match=r"has format 2 and needs rbkernel 0\.1\.0 or later"):
        reading.read(folder)


def test_a_record_of_a_later_format_names_the_version(sample: Path, incident_id: str) -> None:
    record = sample / incident_id / "incident.jsonl"
    newer(record, b'"kind": "opened"', b'"kind": "opened", "format": 2, "rbkernel": "3.7.1"')
    with pytest.raises(NewerEvidence, match=r"needs rbkernel 3\.7\.1 or later"):
        incident.read(sample, incident_id)
    [listed] = [one for one in incident.list_incidents(sample) if one.id == incident_id]
    assert "needs rbkernel 3.7.1 or later" in str(listed.damaged[0])


def test_a_later_seal_is_not_called_changed(sample: Path, incident_id: str) -> None:
    """A copy of an incident, which has no `HEADS` that knows better."""
    copy = sample.parent / "copy" / incident_id
    shutil.copytree(sample / incident_id, copy)
    newest = copy / "MANIFEST.0002"
    later = b"# format: 2 rbkernel 3.7.1\n# what nobody knows yet\n"
    newer(newest, b"\n", b"\n" + later)
    with pytest.raises(NewerEvidence, match=r"needs rbkernel 3\.7\.1 or later"):
        verify_folder(copy)


def test_a_changed_seal_is_called_changed_whatever_version_it_claims(
    sample: Path, incident_id: str
) -> None:
    newer(sample / incident_id / "MANIFEST.0002", b"\n", b"\n# format: 2 rbkernel 3.7.1\n")
    assert "was changed after the seal" in str(verify_folder(sample)[0])


def test_what_is_written_now_says_its_format(evidence: Path) -> None:
    incident.append(evidence, "INC-20261129-1", "note", by="ann", text="a")
    first = (evidence / "INC-20261129-1" / "incident.jsonl").read_text().splitlines()[0]
    assert json.loads(first)["format"] == 1
    listing = manifest.Listing(previous=manifest.NO_PREVIOUS, sums={})
    assert "\n# format: 1 rbkernel 0.1.0\n" in listing.text
    assert manifest.read_listing(listing.text.encode(), "") == listing
