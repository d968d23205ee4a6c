"""Write an export to disk: generate all files first, then replace each file atomically."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rbkernel.errors import EvidenceError, NothingSealed
from rbkernel.evidence import manifest, seals, signing, store
from rbkernel.evidence.manifest import Head
from rbkernel.model import INCIDENT_ID
from rbkernel.render.documents import archive, browser, page, wiki
from rbkernel.render.documents.blocks import Image
from rbkernel.render.documents.formats import Format
from rbkernel.render.documents.page import Report
from rbkernel.render.documents.report import build, csv_files, fit_for_a_report


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The result of an export: the main file, further files in a folder next to it, and remarks."""

    path: Path
    beside: tuple[Path, ...] = ()
    remarks: tuple[str, ...] = ()


def export(
    root: Path, what: str, to: Format, output: Path | None = None, *, signers: Path | None = None
) -> Exported:
    """Export a run or an incident.

    Parameters
    ----------
    root
        The evidence folder; nothing in it is changed.
    what
        A run id or an incident id.
    to
        The format.
    output
        A file, or an existing folder; by default, the working folder. Additional files go into a
        folder next to the file, with the same name and the ending `.files`.
    signers
        The list of trusted signers; an archive contains a copy.

    Raises
    ------
    EvidenceError
        There is no such run or incident; it is not sealed (zip); there is no Chromium (PDF); the
        output lies in the evidence folder or cannot be written.
    """
    path = target(root, what, to, output)
    if to is Format.ZIP:
        return _write(path, _zip(root, what, signers), {})
    with fit_for_a_report(what):
        return _report(path, build(root, what), to)


def try_out(root: Path, what: str, paths: Sequence[Path]) -> None:
    """Check that an export would work: make the page, and write temporary files of its size.

    The temporary files are deleted.

    Raises
    ------
    EvidenceError
        The export is not possible.
    """
    with fit_for_a_report(what):
        size_bytes = len(page.render(build(root, what)))
    evidence = root / what
    names = store.files_below(evidence)
    size_bytes += sum((evidence / name).stat().st_size for name in names)
    for path in paths:
        if path.is_dir() or (_folder(path).exists() and not _folder(path).is_dir()):
            raise EvidenceError(
                "there is something with this name that is not a file",
                where=str(path),
                next_step="move the existing object away, or name another folder with -o",
            )
    store.prove(paths[0], size_bytes)


def _report(path: Path, report: Report, to: Format) -> Exported:
    if to is Format.HTML:
        return _write(path, page.render(report), csv_files(report))
    if to is Format.PDF:
        chromium = browser.needed("a PDF")
        pictures = browser.stills(report.figures, "svg", chromium)
        printed = browser.pdf(page.render(report, pictures), chromium)
        return _write(path, printed, csv_files(report), *_undrawn(report, set(pictures)))
    return _markdown(path, report)


def _markdown(path: Path, report: Report) -> Exported:
    chromium = browser.find()
    drawn = browser.stills(report.figures, "png", chromium) if chromium else {}
    files = {n: (f"figure-{n:02d}.png", browser.bytes_of(url)) for n, url in drawn.items()}
    for section in report.sections:
        for block in section.blocks:
            if isinstance(block, Image):
                files[block.number] = (wiki.file_name(block), block.data)
    folder = _folder(path)
    names = {number: name for number, (name, _) in files.items()}
    text = wiki.render(report, names, wiki.address(folder.name)).encode(errors="replace")
    beside = csv_files(report) | dict(files.values())
    remarks = _undrawn(report, set(drawn))
    if remarks and not chromium:
        remarks = [f"{remarks[0]}: pictures need Chromium or Chrome, but none is on PATH"]
    return _write(path, text, beside, *remarks)


def _undrawn(report: Report, drawn: set[int]) -> list[str]:
    missing = len([figure for figure in report.figures if figure.number not in drawn])
    return [f"{missing} of {len(report.figures)} figures were not drawn"] if missing else []


def _zip(root: Path, what: str, signers: Path | None) -> bytes:
    with store.locked(root / store.LOCK):  # the lock prevents a seal in between
        heads = seals.read_heads(root)
        incident, folders, whole = _sealed(root, what, heads)
        names = [
            name
            for name in store.files_below(incident)
            if whole or "/" not in name or name.partition("/")[0] in folders
        ]
        files = {f"{incident.name}/{name}": (incident / name).read_bytes() for name in names}
        files[manifest.HEADS] = (root / manifest.HEADS).read_bytes()
    if signers and signers.is_file():
        files[signing.ALLOWED] = signers.read_bytes()
    head = [one for one in heads if one.incident == incident.name][-1]
    signed = any(name.endswith(f"/{manifest.SIGNATURE}") for name in files)
    text = archive.verify_text(head, signed=signed, whole=whole)
    return archive.pack({**files, archive.VERIFY: text.encode()})


def _sealed(root: Path, what: str, heads: list[Head]) -> tuple[Path, list[str], bool]:
    """Return the incident's folder, its sealed runs to export, and whether all its runs are
    sealed.
    """
    by_run = {head.run_id: head.incident for head in heads}
    incident = what if INCIDENT_ID.fullmatch(what) else by_run.get(what, "")
    found = [
        folder.name
        for run_id, of in by_run.items()
        if of == incident and (folder := seals.sealed_folder(root, run_id))
    ]
    wanted = [name for name in found if what == incident or name.endswith(what)]
    if not wanted:
        raise NothingSealed(
            f"{what} is not sealed; an archive holds sealed evidence only",
            where=str(root),
            next_step="`rbkernel evidence list` shows what there is; `rbkernel evidence seal"
            " RUN_ID` seals a run whose kernel has ended",
        )
    return root / incident, sorted(wanted), len(wanted) == len(found)


def target(root: Path, what: str, to: Format, output: Path | None) -> Path:
    """Return the path to which an export is written.

    Raises
    ------
    EvidenceError
        The path is in the evidence folder, or its folder does not exist.
    """
    path = output or Path()
    if path.is_dir():
        path /= f"{what}.{to.value}"
    path = path.absolute()
    if path.resolve().is_relative_to(root.resolve()):
        raise EvidenceError(
            "an export cannot be in the evidence folder: it could replace evidence",
            where=str(path),
            next_step="name a file elsewhere with -o",
        )
    if not path.parent.is_dir():
        raise EvidenceError(
            "there is no such folder",
            where=str(path.parent),
            next_step="create the folder, or change -o",
        )
    return path


def _folder(path: Path) -> Path:
    return path.with_name(f"{path.stem}.files")


def _write(path: Path, data: bytes, beside: dict[str, bytes], *remarks: str) -> Exported:
    folder = _folder(path)
    written = []
    try:
        for name, content in sorted(beside.items()):
            store.make_folder(folder)
            store.write_atomically(folder / name, content)
            written.append(folder / name)
    except OSError as error:
        raise store.evidence_error(error, folder) from error
    store.write_atomically(path, data)
    return Exported(path=path, beside=tuple(written), remarks=remarks)
