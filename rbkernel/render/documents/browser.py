"""The only module that starts Chromium, to draw pictures of figures and print pages to PDF.

Chromium has a new profile and loads only files that rbkernel wrote. After a time-out its whole
process group is killed. Chromium's sandbox does not work for root, so it is switched off if root
runs Chromium; the page's Content-Security-Policy and the offline options limit the risk.
"""

from __future__ import annotations

import base64
import html
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rbkernel.errors import EvidenceError
from rbkernel.render.documents import figures
from rbkernel.render.documents.blocks import Figure

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_TIMEOUT_S = 120.0
_ARGUMENTS = (
    *("--headless", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-extensions"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no host name can be resolved
)
_WIDTH_PX = 720
_STILL = re.compile(r'<img id="still-(\d+)" src="(data:image/[^"]*)">')
_DRAW = """
(async () => {
  for (const place of document.querySelectorAll("script[type='application/json']")) {
    const figure = JSON.parse(place.textContent);
    const still = new Image();
    still.id = `still-${place.dataset.number}`;
    try {
      const size = {format: FORMAT, width: WIDTH, height: figure.layout.height, scale: 2};
      still.src = await Plotly.toImage(figure, size);
      document.body.append(still);
    } catch { /* a figure without an image was not drawn: the caller reports it */ }
  }
})();
"""


def find() -> str | None:
    """Return the path of the system's Chromium or Chrome; None if there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def needed(what: str) -> str:
    """Return the path of the system's Chromium or Chrome.

    Raises
    ------
    EvidenceError
        There is no Chromium or Chrome.
    """
    path = find()
    if path is None:
        raise EvidenceError(
            f"{what} needs Chromium or Chrome, but none is on PATH",
            next_step="install it (Debian: `apt install chromium`), or export `--to html` and print"
            " that page to PDF in any browser",
        )
    return path


def stills(wanted: Sequence[Figure], form: Literal["png", "svg"], chromium: str) -> dict[int, str]:
    """Draw figures with Chromium, and return their pictures as data URLs by number.

    A figure that Chromium cannot draw is left out.

    Raises
    ------
    EvidenceError
        Chromium failed or did not end.
    """
    if not wanted:
        return {}
    holders = "".join(
        f'<script type="application/json" data-number="{one.number}">{one.script}</script>'
        for one in wanted
    )
    own = _DRAW.replace("FORMAT", f'"{form}"').replace("WIDTH", str(_WIDTH_PX))
    library = figures.plotly_path().as_uri()
    page = f"<!doctype html><meta charset='utf-8'><body>{holders}</body>"
    with tempfile.TemporaryDirectory(prefix="rbkernel-export-") as folder:
        path = Path(folder, "figures.html")
        scripts = f'<script src="{library}"></script><script>{own}</script>'
        path.write_text(page + scripts, encoding="utf-8")
        # virtual time: timers fire at once, and Chromium ends when nothing is left to do
        options = ["--virtual-time-budget=60000", "--dump-dom"]
        output = _run(chromium, [*options, path.as_uri()], folder).decode(errors="replace")
    return {int(number): html.unescape(url) for number, url in _STILL.findall(output)}


def pdf(page: bytes, chromium: str) -> bytes:
    """Print a page to PDF with Chromium; the page must contain no scripts.

    Raises
    ------
    EvidenceError
        Chromium failed or did not end.
    """
    with tempfile.TemporaryDirectory(prefix="rbkernel-export-") as folder:
        path, output = Path(folder, "report.html"), Path(folder, "report.pdf")
        path.write_bytes(page)
        options = ["--no-pdf-header-footer", f"--print-to-pdf={output}"]
        printed = _run(chromium, [*options, path.as_uri()], folder)
        try:
            return output.read_bytes()
        except OSError as error:
            raise _failed(chromium, "it wrote no PDF", printed) from error


def bytes_of(url: str) -> bytes:
    """Return the bytes of a picture that `stills` returned as a data URL.

    >>> bytes_of("data:image/png;base64,YQ==")
    b'a'
    """
    return base64.b64decode(url.partition(",")[2])


def _run(chromium: str, arguments: Sequence[str], folder: str) -> bytes:
    """Run Chromium in a new process group, and return its output."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    profile = f"--user-data-dir={folder}/profile"
    process = subprocess.Popen(
        [chromium, *_ARGUMENTS, *sandbox, profile, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, complaint = process.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise _failed(chromium, f"it did not end within {_TIMEOUT_S:.0f} s", b"") from error
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        raise _failed(chromium, f"it ended with {process.returncode}", complaint)
    return output


def _failed(chromium: str, why: str, output: bytes) -> EvidenceError:
    last = output.decode(errors="replace").strip().splitlines()[-1:]
    return EvidenceError(
        f"Chromium could not draw the report: {why}{': ' + last[0][:200] if last else ''}",
        where=chromium,
        next_step="try again, or export `--to html` and print that page in any browser",
    )
