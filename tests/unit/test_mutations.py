"""Whatever is done to sealed evidence is found, by us and by coreutils and OpenSSH alone.

The second is the procedure of docs/how-to/verify-evidence.md, run as it is written. Both know what
was published: the heads and the signers.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rbkernel.evidence.manifest import digest
from rbkernel.evidence.verify import verify_folder
from tests.support.signed_evidence import INCIDENTS, Published, copied, signed_root
from tests.support.tiers import first

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs/how-to/verify-evidence.md").read_text(encoding="utf-8")
PROCEDURE = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
SAMPLE, ALL = 60, 1000

Dice = random.Random


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Published]:
    return signed_root(tmp_path_factory.mktemp("pristine"))


def by_hand(root: Path, published: Published) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-e", "-u", "-c", PROCEDURE],
        cwd=root,
        env={"PATH": "/usr/bin:/bin", "PUBLISHED": str(published.heads)}
        | {"SIGNERS": str(published.signers), "TMPDIR": str(root.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


def by_us(root: Path, published: Published) -> list[str]:
    found = verify_folder(root, signers=published.signers, published=[published.last])
    return [str(problem) for problem in found]


def sealed_files(root: Path) -> list[Path]:
    return [root / "HEADS", *sorted(p for p in root.glob("INC-*/**/*") if p.is_file())]


def any_file(dice: Dice, root: Path) -> Path:
    return dice.choice(sealed_files(root))


def flip(dice: Dice, root: Path) -> list[Path]:
    path = any_file(dice, root)
    data = bytearray(path.read_bytes())
    data[dice.randrange(len(data))] ^= dice.randrange(1, 256)
    path.write_bytes(data)
    return [path]


def delete(dice: Dice, root: Path) -> list[Path]:
    path = any_file(dice, root)
    data = path.read_bytes()
    start = dice.randrange(len(data))
    path.write_bytes(data[:start] + data[start + dice.choice([1, 1, 10, 100]) :])
    return [path]


def insert(dice: Dice, root: Path) -> list[Path]:
    path = any_file(dice, root)
    data = path.read_bytes()
    place = dice.choice([0, len(data), dice.randrange(len(data))])
    new = dice.choice([b"\n", b" ", b"\0", b"# a remark\n", dice.randbytes(8)])
    path.write_bytes(data[:place] + new + data[place:])
    return [path]


def reorder(dice: Dice, root: Path) -> list[Path]:
    several = [p for p in sealed_files(root) if len(set(p.read_bytes().splitlines())) > 1]
    path = dice.choice(several)
    lines = path.read_bytes().splitlines(keepends=True)
    first, second = dice.sample(range(len(lines)), 2)
    while lines[first] == lines[second]:
        first, second = dice.sample(range(len(lines)), 2)
    lines[first], lines[second] = lines[second], lines[first]
    path.write_bytes(b"".join(lines))
    return [path]


def truncate(dice: Dice, root: Path) -> list[Path]:
    path = any_file(dice, root)
    path.write_bytes(path.read_bytes()[: dice.randrange(path.stat().st_size)])
    return [path]


def remove(dice: Dice, root: Path) -> list[Path]:
    path = any_file(dice, root)
    path.unlink()
    return [path]


def add(dice: Dice, root: Path) -> list[Path]:
    folder = dice.choice([p for p in root.glob("INC-*/**/") if p != root])
    path = folder / dice.choice(["note.txt", ".hidden", "SHA256SUMS.sig2", "MANIFEST.0000"])
    path.write_text("nothing to see")
    return [path]


def swap_between_incidents(dice: Dice, root: Path) -> list[Path]:
    one = any_file(dice, root)
    others = [
        path
        for path in sealed_files(root)
        if path.relative_to(root).parts[0] != one.relative_to(root).parts[0]
        and path.read_bytes() != one.read_bytes()
    ]
    alike = [path for path in others if path.name == one.name]
    other = dice.choice(alike or others)
    mine, theirs = one.read_bytes(), other.read_bytes()
    one.write_bytes(theirs)
    other.write_bytes(mine)
    return [one, other]


def swap_runs(dice: Dice, root: Path) -> list[Path]:
    one, other = (
        dice.choice(sorted((root / name).glob("0*/"))) for name in dice.sample(INCIDENTS, 2)
    )
    one.rename(other.parent / one.name)
    other.rename(one.parent / other.name)
    return [one / "SHA256SUMS", other / "SHA256SUMS"]


def roll_back(dice: Dice, root: Path) -> list[Path]:
    """Take an incident back to its first manifest, with or without its line in HEADS."""
    incident = root / dice.choice(INCIDENTS)
    shutil.rmtree(next(incident.glob("0002-*")))
    (incident / "MANIFEST.0002").unlink()
    record = incident / "incident.jsonl"
    record.write_bytes(b"".join(record.read_bytes().splitlines(keepends=True)[:2]))
    if dice.random() < 0.3:
        return [incident / "MANIFEST.0002"]
    return cut_heads(root, lambda line: f"{incident.name}/MANIFEST.0002" not in line)


def remove_last_incident(dice: Dice, root: Path) -> list[Path]:
    shutil.rmtree(root / INCIDENTS[-1])
    if dice.random() < 0.3:
        return [root / INCIDENTS[-1]]
    return cut_heads(root, lambda line: INCIDENTS[-1] not in line)


def cut_heads(root: Path, keep: Callable[[str], bool]) -> list[Path]:
    heads = root / "HEADS"
    heads.write_text("".join(filter(keep, heads.read_text().splitlines(keepends=True))))
    return [heads]


def forge(dice: Dice, root: Path) -> list[Path]:
    """Change the newest run, then every hash above it, as whoever cannot sign would do."""
    run = next((root / INCIDENTS[-1]).glob("0002-*"))
    path = run / dice.choice(["executed.ipynb", "journal.jsonl", "runbook.ipynb"])
    above = [run / "SHA256SUMS", run.parent / "MANIFEST.0002", root / "HEADS"]
    old = digest(path.read_bytes())
    path.write_bytes(path.read_bytes().replace(b"i", b"j", 1))
    new = digest(path.read_bytes())
    changed = {old: new}
    for listing in above:
        before, text = digest(listing.read_bytes()), listing.read_text()
        for old, new in changed.items():
            text = text.replace(old, new)
        listing.write_text(text)
        changed[before] = digest(listing.read_bytes())
    return [root / "HEADS", run / "SHA256SUMS.sig"]


MUTATIONS = (
    *(flip, delete, insert, reorder, truncate, remove, add),
    *(swap_between_incidents, swap_runs, roll_back, remove_last_incident, forge),
)


def blamed(path: Path, told: list[str], root: Path) -> bool:
    """Whether what is told names the file, its cell, or, for a line of HEADS, HEADS at least."""
    if path == root / "HEADS":
        return any("HEADS" in line for line in told)
    return any(line.startswith((f"{path}:", f"{path},")) for line in told)


@pytest.mark.parametrize(
    "number",
    first(range(ALL), kept=SAMPLE),
)
def test_every_mutation_is_found_and_named(
    pristine: tuple[Path, Published], tmp_path: Path, number: int
) -> None:
    source, published = pristine
    root = copied(source, tmp_path / "evidence")
    mutate = MUTATIONS[number % len(MUTATIONS)]
    changed = mutate(random.Random(number), root)
    print(f"{mutate.__name__}, {number}: {', '.join(str(p.relative_to(root)) for p in changed)}")
    told = by_us(root, published)
    assert all(blamed(path, told, root) for path in changed), told
    assert by_hand(root, published).returncode != 0


def test_what_was_not_changed_is_not_accused(
    pristine: tuple[Path, Published], tmp_path: Path
) -> None:
    source, published = pristine
    for root in (source, copied(source, tmp_path / "evidence")):
        done = by_hand(root, published)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("Good") == 7
        assert by_us(root, published) == []
