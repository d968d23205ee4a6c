"""What rbkernel is compared with: papermill, nbclient, and the bare work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from jupyter_client.manager import KernelManager
from nbformat import NotebookNode

from rbkernel.forkserver import place

_NBCLIENT = "from nbclient.cli import main; main()"
_PATIENCE_S = 120.0
IMPORTS = "import pandas as pd\nimport plotly.express as px"


def timed(do: Callable[[], object]) -> float:
    """Return how long it takes, in seconds."""
    begun = time.perf_counter()
    do()
    return time.perf_counter() - begun


def papermill(
    document: Path,
    environment: Mapping[str, str],
    kernel: str,
    switch: str,
    python: str = sys.executable,
) -> None:
    """Run a notebook by papermill's command line, with the fork server on or off."""
    _run(
        ["-m", "papermill", "--no-progress-bar", "-k", kernel, str(document), str(_out(document))],
        {**environment, place.SWITCH: switch},
        python,
    )


def nbclient(document: Path, environment: Mapping[str, str]) -> None:
    """Run a notebook by nbclient's command line, which is `jupyter execute`."""
    _run(["-c", _NBCLIENT, str(document), "--output", _out(document).stem], environment)


def rbkernel_run(document: Path, environment: Mapping[str, str]) -> None:
    """Run a notebook by `papermill --engine rbkernel`, with a forked kernel."""
    arguments = ["-m", "papermill", "--no-progress-bar", "-k", "rbkernel", "--engine", "rbkernel"]
    _run([*arguments, str(document), str(_out(document))], environment)


def floor(notebook: NotebookNode, folder: Path) -> None:
    """Do a notebook's work in this process: queries, frames, figures, and one file written."""
    names: dict[str, object] = {}
    shown = []
    for cell in notebook.cells:
        *before, last = cell.source.splitlines()
        if last.startswith("frame =") or "=" in last.partition("(")[0]:
            before, last = [*before, last], "None"
        exec("\n".join(before), names)  # noqa: S102  # the notebook is ours
        shown.append(_shown(eval(last, names)))  # noqa: S307
    (folder / "floor.json").write_text(json.dumps(shown))


def _shown(value: object) -> str:
    """Return a value as a notebook shows it: a figure as JSON, a frame as HTML."""
    show = getattr(value, "to_json" if hasattr(value, "to_plotly_json") else "_repr_html_", str)
    return str(show() if value is not None else "")


def first_cell(kernel: str, switch: str) -> None:
    """Start a kernel as JupyterLab does, and run a cell that imports pandas and plotly."""
    os.environ[place.SWITCH] = switch
    manager = KernelManager(kernel_name=kernel)
    with Path(os.devnull).open("w") as nowhere:
        manager.start_kernel(stderr=nowhere)  # kernels warn about TCP
    talk = manager.client()
    try:
        talk.start_channels()
        talk.wait_for_ready(timeout=_PATIENCE_S)
        reply = talk.execute(IMPORTS, reply=True, timeout=_PATIENCE_S)
        assert reply["content"]["status"] == "ok", reply
    finally:
        talk.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        os.environ.pop(place.SWITCH)


def _out(document: Path) -> Path:
    return document.with_name(f"{document.stem}-out.ipynb")


def _run(
    arguments: list[str], environment: Mapping[str, str], python: str = sys.executable
) -> None:
    done = subprocess.run(
        [python, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4_000:]
