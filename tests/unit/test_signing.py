from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rbkernel.errors import EvidenceError
from rbkernel.evidence import signing
from rbkernel.evidence.bundle import SealedRun, seal
from rbkernel.evidence.manifest import digest
from rbkernel.evidence.verify import verify_folder
from rbkernel.render import verification
from tests.support.journal_builder import RUN_ID, other_run, whole_run

pytestmark = pytest.mark.slow

NAME = "ops@db1.example.org"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "evidence"


@pytest.fixture
def key(tmp_path: Path, root: Path) -> Path:
    path = tmp_path / "home" / "seal_key"
    signing.keygen(root, path, root / signing.ALLOWED, NAME)
    return path


def sealed(root: Path, key: Path | None, run_id: str = RUN_ID) -> SealedRun:
    whole_run(root, run_id)
    return seal(root, run_id, key=key)


def what(root: Path, folder: Path | None = None, signers: Path | None = None) -> list[str]:
    return [str(problem) for problem in verify_folder(folder or root, signers=signers)]


class TestKeygen:
    def test_makes_a_key_that_only_its_owner_reads(self, root: Path, key: Path) -> None:
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert (root / signing.ALLOWED).read_text().startswith(f"{NAME} namespaces=")

    def test_again_changes_nothing(self, root: Path, key: Path) -> None:
        before = key.read_bytes(), (root / signing.ALLOWED).read_bytes()
        again = signing.keygen(root, key, root / signing.ALLOWED, "somebody-else")
        assert (again.name, again.is_new) == (NAME, False)
        assert (key.read_bytes(), (root / signing.ALLOWED).read_bytes()) == before

    def test_adds_to_the_signers_there_are(self, root: Path, key: Path, tmp_path: Path) -> None:
        signing.keygen(root, tmp_path / "other", root / signing.ALLOWED, "eve@db2")
        names = [line.split()[0] for line in (root / signing.ALLOWED).read_text().splitlines()]
        assert names == [NAME, "eve@db2"]

    def test_without_a_name_it_is_the_user_at_this_host(self, root: Path, tmp_path: Path) -> None:
        signer = signing.keygen(root, tmp_path / "key", root / signing.ALLOWED)
        assert "@" in signer.name
        assert signer.fingerprint.startswith("SHA256:")

    @pytest.mark.parametrize("name", ["-n", "a b", "a,b", "*", "a\nb", "é"])
    def test_a_name_that_openssh_would_misread_is_refused(
        self, root: Path, tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(EvidenceError, match="cannot be the name"):
            signing.keygen(root, tmp_path / "key", root / signing.ALLOWED, name)
        assert not (tmp_path / "key").exists()


class TestSeal:
    def test_is_signed_and_verified(self, root: Path, key: Path) -> None:
        run = sealed(root, key)
        assert (run.signer, run.missing) == (NAME, ())
        assert what(root) == what(root, run.folder) == []
        assert verification.verify(root)[0][1:] == [f"signed by {NAME}: 1 run"]
        command = [*("ssh-keygen", "-Y", "verify", "-n", "rbkernel-evidence", "-I", NAME)]
        command += ["-f", str(root / signing.ALLOWED), "-s", str(run.folder / "SHA256SUMS.sig")]
        given = (run.folder / "SHA256SUMS").read_bytes()
        assert subprocess.run(command, input=given, check=True, capture_output=True)

    def test_of_a_sealed_run_says_who_signed_it(self, root: Path, key: Path) -> None:
        assert sealed(root, key) == seal(root, RUN_ID)

    def test_without_a_key_says_so_aloud(self, root: Path, tmp_path: Path) -> None:
        run = sealed(root, tmp_path / "nowhere")
        assert run.signer == ""
        assert [
            line for line in verification.sealed(run) if "unsigned: there is no signing key" in line
        ]
        assert "`rbkernel evidence keygen`" in run.missing[0]
        assert "unsigned" in (run.folder.parent / "incident.jsonl").read_text()
        assert what(root) == []
        assert verification.verify(root)[0][1:] == ["unsigned: 1 run"]

    def test_goes_on_without_openssh_and_says_so(
        self, root: Path, key: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        signed = sealed(root, key, other_run(0))
        monkeypatch.setenv("PATH", str(root / "nowhere"))
        run = sealed(root, key)
        assert run.missing[0].startswith("unsigned: ssh-keygen cannot be run: ")
        [told] = what(root)
        assert told.startswith(f"{signed.folder / 'SHA256SUMS.sig'}: is not valid: ssh-keygen")

    def test_a_key_with_a_passphrase_asks_nobody(self, root: Path, tmp_path: Path) -> None:
        key = tmp_path / "locked"
        new = ("ssh-keygen", "-q", "-t", "ed25519", "-C", NAME, "-N", "open sesame", "-f")
        subprocess.run([*new, str(key)], check=True)
        run = sealed(root, key)
        assert run.missing[0].startswith("unsigned: ssh-keygen failed: ")

    @pytest.mark.parametrize("text", ["", "ssh-ed25519 AAAA", "ssh-ed25519 AAAA -x y", "\udc80"])
    def test_a_public_key_that_is_none_leaves_it_unsigned(
        self, root: Path, key: Path, text: str
    ) -> None:
        public = signing.public_half(key)
        public.write_bytes(text.encode(errors="surrogateescape"))
        [told] = sealed(root, key).missing
        assert told.startswith("unsigned: ")
        assert str(public) in told


class TestVerify:
    def test_a_signature_of_somebody_else_does_not_hold(
        self, root: Path, key: Path, tmp_path: Path
    ) -> None:
        run = sealed(root, key)
        others = tmp_path / "others"
        signing.keygen(root, tmp_path / "other", others, NAME)
        [told] = what(root, signers=others)
        assert told.startswith(f"{run.folder / 'SHA256SUMS.sig'}: is not valid")

    def test_without_a_list_of_signers_it_cannot_be_checked(self, root: Path, key: Path) -> None:
        run = sealed(root, key)
        (root / signing.ALLOWED).unlink()
        [told] = what(root)
        assert told.startswith(f"{run.folder / 'SHA256SUMS.sig'}: cannot be checked: there is no")

    def test_a_seal_that_was_cut_out_is_missed_by_the_next_signature(
        self, root: Path, key: Path, tmp_path: Path
    ) -> None:
        """Whoever cannot sign forges all unsigned files after taking a seal out of the middle."""
        for number in range(3):
            sealed(root, key, other_run(number))
        forged = tmp_path / "forged"
        signing.keygen(forged, key, forged / signing.ALLOWED)
        for number in (0, 2):
            sealed(forged, key, other_run(number))
        old, new = (next(folder.glob(f"INC-*/*-{other_run(2)}")) for folder in (root, forged))
        for name in ("SHA256SUMS", "SHA256SUMS.sig"):
            (new / name).chmod(0o644)
            (new / name).write_bytes((old / name).read_bytes())
        manifest = new.parent / "MANIFEST.0002"
        told = [str(one) for one in verify_folder(forged)]
        assert (
            f"{new / 'SHA256SUMS'}: contains the hash of an earlier seal that is missing from HEADS"
            not in told
        )
        _rewrite(forged, manifest, new)
        told = [str(one) for one in verify_folder(forged)]
        assert (
            f"{new / 'SHA256SUMS'}: contains the hash of an earlier seal that is missing from HEADS"
            in told
        )

    def test_the_published_head_must_still_be_there(self, root: Path, key: Path) -> None:
        first, second = (sealed(root, key, other_run(number)) for number in range(2))
        assert verify_folder(root, published=[first.head, second.head]) == ()
        assert verify_folder(first.folder, published=[second.head]) == ()
        [problem] = verify_folder(root, published=["0" * 64])
        assert problem.file == root / "HEADS"
        assert "does not have the published head 000" in problem.what


class TestCommands:
    """The same from the command line, with a home of its own."""

    @pytest.fixture
    def rbkernel(self, root: Path, tmp_path: Path) -> Callable[..., tuple[int, str]]:
        environment = {**os.environ, "HOME": str(tmp_path), "RBKERNEL_EVIDENCE": str(root)}

        def call(*arguments: str) -> tuple[int, str]:
            command = [sys.executable, "-m", "rbkernel", "evidence", *arguments]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            return done.returncode, done.stdout + done.stderr

        return call

    def test_keygen_seal_verify(
        self, root: Path, tmp_path: Path, rbkernel: Callable[..., tuple[int, str]]
    ) -> None:
        code, told = rbkernel("keygen", "--name", NAME)
        assert code == 0
        assert told.splitlines()[-1] == (root / signing.ALLOWED).read_text().rstrip()
        assert f"key {tmp_path / '.config/rbkernel/seal_key'}" in told
        whole_run(root)
        code, told = rbkernel("seal", RUN_ID)
        assert code == 0, told
        assert f"  signed by {NAME}" in told
        head = told.splitlines()[1].split()[1]
        assert rbkernel("verify", "--head", head)[1].endswith(f"signed by {NAME}: 1 run\n")
        code, told = rbkernel("verify", "--head", head, "--head", "f" * 64)
        assert code == 1
        assert "does not have the published head ffff" in told
        code, told = rbkernel("verify", "--head", head[:8])
        assert code == 3
        assert "is not a head. Next: pass the 64 hexadecimal digits" in told

    def test_all_that_was_sealed_is_gone(
        self, root: Path, rbkernel: Callable[..., tuple[int, str]]
    ) -> None:
        root.mkdir()
        assert rbkernel("verify", "--head", "0" * 64) == (
            1,
            f"the file {root / 'HEADS'} is missing, and so is all sealed evidence\n",
        )


def _rewrite(root: Path, manifest: Path, run: Path) -> None:
    """Make manifest and HEADS fit the changed run, as a forger without the key would."""
    sums = {name: digest((run / name).read_bytes()) for name in ("SHA256SUMS", "SHA256SUMS.sig")}
    lines = manifest.read_text().splitlines()
    kept = [
        f"{sums[line.rpartition('/')[2]]}  {line.split('  ')[1]}"
        if line.startswith(tuple("0123456789abcdef")) and f"{run.name}/SHA256SUMS" in line
        else line
        for line in lines
    ]
    before = digest(manifest.read_bytes())
    manifest.chmod(0o644)
    manifest.write_text("\n".join(kept) + "\n")
    heads = root / "HEADS"
    heads.write_text(heads.read_text().replace(before, digest(manifest.read_bytes())))
