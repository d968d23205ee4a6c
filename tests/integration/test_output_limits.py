"""A cell that puts out without end is interrupted; what it put out before is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kernels import Answer, Kernel, kernel

CELL_BYTES = 128 * 1024
OVER = f"over its limit of {CELL_BYTES / 1024**2:g} MB"
# a message with its headers takes more than its content; the mark comes on top
SLACK_BYTES = 8 * 1024

ENDLESS = {
    "one text": "print('x' * 200_000_000)",
    "a loop": "while True: print('line')",
    "flushed": "while True: print('.', end='', flush=True)",
    "stderr": "import sys\nwhile True: sys.stderr.write('line')",
    "not ASCII": "while True: print('äöü€')",
    "a thread": (
        "import threading\ndef write():\n    while True: print('line')\n"
        "writer = threading.Thread(target=write, daemon=True); writer.start(); writer.join()"
    ),
    "a subprocess": "import subprocess\nsubprocess.run(['yes'])",
    "a shell": "import os\nos.system('yes')",
    "IPython's shell": "!yes",
    "awaited": "import asyncio\nwhile True:\n    print('line')\n    await asyncio.sleep(0)",
    "displays": "while True: display('a thing')",
    "updates": "shown = display('a', display_id=True)\nwhile True: shown.update('a thing')",
    "cleared": "from IPython.display import clear_output\nwhile True: clear_output()",
    "a value": "'z' * 10_000_000",
    "a widget": "import ipywidgets\nw = ipywidgets.IntText()\nwhile True: w.value += 1",
    "caught": (
        "for turn in range(3):\n    try:\n        while True: print('line')\n"
        "    except KeyboardInterrupt: print('caught')"
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits")


def small_kernel(folder: Path, *, run_bytes: int) -> Any:
    file = folder / "rbkernel.toml"
    limits = {"cell_output_mb": CELL_BYTES / 1024**2, "run_output_mb": run_bytes / 1024**2}
    lines = ["[kernel]", *(f"{name} = {value}" for name, value in limits.items())]
    file.write_text("\n".join(lines), encoding="utf-8")
    return kernel(RBKERNEL_CONFIG=str(file), RBKERNEL_EVIDENCE=str(folder / "evidence"))


@pytest.fixture(scope="module")
def small(folder: Path) -> Iterator[Kernel]:
    with small_kernel(folder, run_bytes=100 * CELL_BYTES) as started:
        yield started


def journal(folder: Path) -> list[dict[str, Any]]:
    [file] = (folder / "evidence").glob("open/*/journal.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def parent(answer: Answer) -> str:
    return str(answer.messages[0]["parent_header"]["msg_id"])


@pytest.mark.parametrize("code", ENDLESS.values(), ids=ENDLESS)
def test_a_cell_over_its_limit_is_interrupted_and_says_so_once(
    code: str, small: Kernel, folder: Path
) -> None:
    answer = small.run(code)
    assert answer.reply["status"] == "error"
    assert answer.reply["ename"] == "KeyboardInterrupt"
    assert OVER in answer.reply["evalue"]
    assert "Next: " in answer.reply["evalue"]
    assert answer.text.count("[rbkernel: the output of this cell is over its limit") == 1
    assert len(answer.text) < CELL_BYTES + SLACK_BYTES
    assert answer.messages[-1]["msg_type"] == "error"
    lines = [line for line in journal(folder) if line.get("parent") == parent(answer)]
    assert [one["data"]["limit_bytes"] for one in lines if one["kind"] == "output limit"] == [
        CELL_BYTES
    ]
    printed = [one["content"]["text"] for one in lines if one.get("type") == "stream"]
    assert "".join(printed) == answer.text
    assert small.run("print('next')").text == "next\n", "the next cell pays for it"


def test_the_traceback_ends_in_the_cells_own_line(small: Kernel) -> None:
    shown = "".join(small.run("while True: print('line')").reply["traceback"])
    assert "print" in shown
    assert "rbkernel/kernel" not in shown
    assert "KeyboardInterrupt" in shown


def test_what_came_before_the_limit_is_whole(small: Kernel) -> None:
    text = small.run("for number in range(10**9): print(number)").text
    numbers = text.split("\n[rbkernel: ")[0].splitlines()
    assert len(numbers) > 10_000
    assert numbers[:-1] == [str(number) for number in range(len(numbers) - 1)]


def test_an_error_that_is_too_long_is_cut_and_is_still_that_error(small: Kernel) -> None:
    answer = small.run("raise ValueError('x' * 5_000_000)")
    assert answer.reply["ename"] == "ValueError"
    assert len(json.dumps(answer.reply)) < 3 * CELL_BYTES
    assert "characters here]" in answer.reply["evalue"]


def test_a_thread_that_outlives_its_cell_is_not_the_next_cells(small: Kernel) -> None:
    small.run(ENDLESS["a thread"])
    assert small.run("import time; time.sleep(0.5); print('next')").text == "next\n"


def test_a_long_text_takes_little_memory(small: Kernel) -> None:
    peak = "import resource; resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
    before = small.run(peak).messages[-1]["content"]["data"]["text/plain"]
    small.run("print('x' * 400_000_000)")
    after = small.run(peak).messages[-1]["content"]["data"]["text/plain"]
    assert (int(after) - int(before)) * 1024 < 700_000_000


def test_a_run_over_its_limit_takes_no_further_cell(tmp_path: Path) -> None:
    with small_kernel(tmp_path, run_bytes=2 * CELL_BYTES) as started:
        within = f"print('x' * {CELL_BYTES - 4 * 1024})"
        assert [started.run(within).reply["status"] for _ in range(2)] == ["ok", "ok"]
        over = started.run(within)
        assert over.reply["ename"] == "KeyboardInterrupt"
        assert "the output of this run is over its limit of 0.25 MB" in over.reply["evalue"]
        refused = started.run("print('not run')")
        assert refused.reply["evalue"] == over.reply["evalue"]
        assert "restart the kernel" in refused.reply["evalue"]
        assert not refused.text
