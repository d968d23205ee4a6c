"""A machine or a container with little memory gets no fork server."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbkernel.forkserver import memory

_KB = 1024


def meminfo(folder: Path, available_bytes: int) -> Path:
    file = folder / "meminfo"
    file.write_text(f"MemTotal: 99 kB\nMemAvailable:   {available_bytes // _KB} kB\n")
    return file


@pytest.mark.parametrize(
    ("available_bytes", "said"),
    [
        (memory.AVAILABLE_BYTES + _KB, ""),
        (memory.AVAILABLE_BYTES - _KB, "only 499 MB of memory are available"),
    ],
)
def test_the_available_memory_decides(available_bytes: int, said: str, tmp_path: Path) -> None:
    assert memory.shortage(meminfo(tmp_path, available_bytes), tmp_path / "none") == said


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("max", ""),
        (str(memory.LIMIT_BYTES), ""),
        (str(memory.LIMIT_BYTES - 1), "the control group may use only 749 MB of memory"),
    ],
)
def test_the_limit_of_the_control_group_decides(limit: str, said: str, tmp_path: Path) -> None:
    groups = tmp_path / "groups"
    for folder in (groups, groups / "memory"):  # cgroup version 2, and 1
        folder.mkdir()
        for name in ("memory.max", "memory.limit_in_bytes"):
            (folder / name).write_text(f"{limit}\n")
    assert memory.shortage(meminfo(tmp_path, 10**10), groups) == said


def test_a_system_that_tells_nothing_has_enough(tmp_path: Path) -> None:
    assert memory.shortage(tmp_path / "none", tmp_path / "none") == ""
