"""Where the files of a fork server are."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from rbkernel.forkserver import place


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"rbkernel-{os.getuid()}"


def test_in_the_runtime_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert place.folder() == tmp_path / "rbkernel"
    assert place.folder().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("given", [None, "", "/nonexistent"])
def test_without_one_in_the_folder_for_temporary_files(
    given: str | None, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in cron jobs, and in services of the system."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if given is not None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", given)
    assert place.folder() == temporary


def test_never_in_the_runtime_folder_of_another_user(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `sudo -E`; a folder of root there would keep its owner from having one."""
    others = tmp_path / "others"
    others.mkdir(mode=0o777)
    if os.getuid() == 0:
        os.chown(others, 12345, 12345)
    else:
        others = Path("/")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(others))
    assert place.folder() == temporary
    assert os.getuid() != 0 or list(others.iterdir()) == []


def test_a_folder_that_others_can_use_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "rbkernel").mkdir()
    (tmp_path / "rbkernel").chmod(0o770)
    with pytest.raises(PermissionError, match="must be a folder that this user owns"):
        place.folder()
