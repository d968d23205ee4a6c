"""Read and write the text of `SHA256SUMS`, `MANIFEST.NNNN` and `HEADS`. Pure.

All three files can be checked with coreutils alone, and the signature of a run's `SHA256SUMS` with
OpenSSH alone. Each manifest names the hash of the previous manifest in `HEADS`, across incidents.
`HEADS` is published, so that a rewritten history is detected. `SHA256SUMS` also names an earlier
manifest, so its signature covers the run and the history before the run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rbkernel.errors import EvidenceError
from rbkernel.evidence import formats
from rbkernel.model import INCIDENT_ID, RUN_ID

SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
HEADS = "HEADS"
INCIDENT = "incident.jsonl"
MAINTENANCE = "maintenance.jsonl"
MANIFEST_NAME = re.compile(r"MANIFEST\.(\d{4,})", re.ASCII)
# replaces the runbook's id in a seal of an incident's record
RECORD = "record"
RUN_FOLDER = re.compile(rf"(\d{{4,}})-([A-Za-z0-9._-]+)-({RUN_ID.pattern})", re.ASCII)
NO_PREVIOUS = "0" * 64

_NAME = r"(?!\.)[A-Za-z0-9._-]+(?:/(?!\.)[A-Za-z0-9._-]+)*"
_SUM = re.compile(rf"([0-9a-f]{{64}})  ({_NAME})", re.ASCII)
_PREVIOUS = re.compile(r"# previous: ([0-9a-f]{64})", re.ASCII)
_FORMAT = re.compile(r"# format: (\d{1,9}) rbkernel (\S+)", re.ASCII)
_RECORD = re.compile(r"# record: ([0-9a-f]{64}) ([1-9]\d{0,17})", re.ASCII)
_SIGNER = re.compile(r"# signer: ([A-Za-z0-9][A-Za-z0-9._@+-]{0,127})", re.ASCII)
_HEAD = re.compile(
    rf"([0-9a-f]{{64}})  ({INCIDENT_ID.pattern})/MANIFEST\.(\d{{4,}})  (\S+)  ({RUN_ID.pattern})",
    re.ASCII,
)


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """The length and the hash of a growing file's beginning."""

    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, data: bytes) -> Prefix:
        """Return the length and the hash of these bytes."""
        return cls(sha256=digest(data), size_bytes=len(data))

    def begins(self, data: bytes) -> bool:
        """Tell whether these bytes begin with the bytes that this prefix was made from.

        >>> Prefix.of(b"ab").begins(b"abc"), Prefix.of(b"ab").begins(b"a")
        (True, False)
        """
        return len(data) >= self.size_bytes and digest(data[: self.size_bytes]) == self.sha256


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The content of a run's `SHA256SUMS` or of a manifest: file hashes by name.

    ``previous`` is the hash of an earlier manifest. ``signer`` is the name of the signer of this
    text, empty if unsigned. ``record`` is the prefix of the incident's record at this seal; the
    record grows between two seals.
    """

    previous: str
    sums: Mapping[str, str]
    signer: str = ""
    record: Prefix | None = None

    @property
    def text(self) -> str:
        r"""The text of the file; `sha256sum --check` ignores the comment lines at its beginning.

        >>> listing = Listing(previous="0" * 64, sums={"b": "00", "a": "11"}, signer="ops@db1")
        >>> listing.text.splitlines()[2:]
        ['# signer: ops@db1', '11  a', '00  b']
        """
        form = "# format: {format} rbkernel {rbkernel}\n".format(**formats.written())
        signer = f"# signer: {self.signer}\n" if self.signer else ""
        began = self.record
        record = f"# record: {began.sha256} {began.size_bytes}\n" if began else ""
        return f"# previous: {self.previous}\n{form}{signer}{record}{sums_text(self.sums)}"


@dataclass(frozen=True, kw_only=True)
class Head:
    """One line of `HEADS`: a seal, with the hash of the manifest that the seal wrote.

    ``run_id`` is the id of the run, or an id of the same form for a seal of an incident's record.
    """

    sha256: str
    incident: str
    generation: int
    at: str
    run_id: str

    @property
    def line(self) -> str:
        """The text of the seal's line in `HEADS`, with its line feed."""
        manifest = f"{self.incident}/{manifest_name(self.generation)}"
        return f"{self.sha256}  {manifest}  {self.at}  {self.run_id}\n"


def manifest_name(generation: int) -> str:
    """Return the file name of the manifest with this generation number.

    >>> manifest_name(7)
    'MANIFEST.0007'
    """
    return f"MANIFEST.{generation:04d}"


def is_sealable(name: str) -> bool:
    """Tell whether a manifest can list a file with this relative name.

    >>> is_sealable("0001-RUN-005-x/executed.ipynb"), is_sealable("a note"), is_sealable("../x")
    (True, False, False)
    """
    return bool(re.fullmatch(_NAME, name, re.ASCII)) and not MANIFEST_NAME.fullmatch(name)


def is_record(folder: str) -> bool:
    """Tell whether an incident's subfolder holds a sealed copy of its record, not a sealed run.

    >>> is_record("0002-record-20261120T030211Z-3fa9c1"), is_record("0001-RUN-005-x")
    (True, False)
    """
    found = RUN_FOLDER.fullmatch(folder)
    return found is not None and found[2] == RECORD


def is_head(text: str) -> bool:
    """Tell whether a text has the form of a manifest's hash in `HEADS`.

    >>> is_head("0f" * 32), is_head("0f")
    (True, False)
    """
    return bool(re.fullmatch(r"[0-9a-f]{64}", text, re.ASCII))


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def sums_text(sums: Mapping[str, str]) -> str:
    """Format file hashes (name → hash) as the lines that `sha256sum` prints.

    >>> sums_text({"b": "00", "a": "11"})
    '11  a\\n00  b\\n'
    """
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def is_signer(name: str) -> bool:
    """Tell whether a signer's name can be used in `SHA256SUMS` and on OpenSSH's command line.

    >>> is_signer("ops@db1.example.org"), is_signer("-n ops"), is_signer("")
    (True, False, False)
    """
    return bool(_SIGNER.fullmatch(f"# signer: {name}"))


def read_listing(data: bytes, where: str) -> Listing:
    """Parse the bytes of `SHA256SUMS` or of a manifest.

    Raises
    ------
    EvidenceError
        The bytes differ from the output of `Listing.text`, or a name occurs twice.
    NewerEvidence
        A later version of rbkernel wrote the file, in a format that is not supported here.
    """
    if newer := re.search(rf"(?m)^{_FORMAT.pattern}$", data.decode("ascii", "replace")):
        formats.refuse_newer({"format": int(newer[1]), "rbkernel": newer[2]}, where)
    lines = _lines(data, where)
    previous = _PREVIOUS.fullmatch(lines[0]) if lines else None
    if previous is None:
        raise _damaged(where, 1)
    first = 2 if len(lines) > 1 and _FORMAT.fullmatch(lines[1]) else 1
    signer = _SIGNER.fullmatch(lines[first]) if len(lines) > first else None
    first += 1 if signer else 0
    record = _RECORD.fullmatch(lines[first]) if len(lines) > first else None
    first += 1 if record else 0
    return Listing(
        previous=previous[1],
        sums=_read_sums(lines[first:], first + 1, where),
        signer=signer[1] if signer else "",
        record=Prefix(sha256=record[1], size_bytes=int(record[2])) if record else None,
    )


def read_heads(data: bytes, where: str) -> list[Head]:
    """Parse the bytes of `HEADS`, and return the seals in order.

    Raises
    ------
    EvidenceError
        A line differs from the output of `Head.line`.
    """
    heads = []
    for number, line in enumerate(_lines(data, where), 1):
        found = _HEAD.fullmatch(line)
        if found is None:
            raise _damaged(where, number)
        sha256, incident, generation, at, run_id = found.groups()
        head = Head(
            sha256=sha256, incident=incident, generation=int(generation), at=at, run_id=run_id
        )
        heads.append(head)
    return heads


def _lines(data: bytes, where: str) -> list[str]:
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise _damaged(where, data[: error.start].count(b"\n") + 1) from error
    if text and not text.endswith("\n"):
        raise _damaged(where, text.count("\n") + 1)
    return text.split("\n")[:-1]


def _read_sums(lines: Sequence[str], first: int, where: str) -> dict[str, str]:
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, first):
        found = _SUM.fullmatch(line)
        if found is None or found[2] in sums:
            raise _damaged(where, number)
        sums[found[2]] = found[1]
    return sums


def _damaged(where: str, number: int) -> EvidenceError:
    return EvidenceError(
        f"line {number} was changed or damaged",
        where=where,
        next_step="compare with a copy and with the published heads",
    )
