"""The suites of other projects: where they come from, and how each is run once for a kernel.

Their code is downloaded for the run and never kept. The suites of papermill and nbclient name the
kernel `python3` in many places; for `rbkernel`, a kernelspec of that name starts our kernel.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

_HERE = Path(__file__).parent
_PROJECT = _HERE.parents[1]
KERNELS = ("python3", "rbkernel")
Outcomes = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One suite: the project whose source distribution has it, and what of it is run."""

    name: str
    tests: str
    project: str = ""
    left_out: tuple[str, ...] = ()
    skips_parts: bool = False  # a test that skips a part of itself has passed
    options: tuple[str, ...] = ()
    options_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by kernel


SUITES = (
    Suite(name="jupyter_kernel_test", tests=str(_HERE / "samples.py"), skips_parts=True),
    Suite(
        name="papermill",
        project="papermill",
        tests="papermill/tests",
        # stores in clouds: no kernel and no engine takes part
        left_out=("test_abs.py", "test_adl.py", "test_gcs.py", "test_hdfs.py", "test_s3.py"),
        options_of={"rbkernel": ("-p", "our_engine")},
    ),
    Suite(
        name="nbclient",
        project="nbclient",
        tests="tests",
        options=(
            *("-p", "pytest_asyncio.plugin", "-p", "flaky.flaky_pytest_plugin"),
            *("-o", "asyncio_default_fixture_loop_scope=function"),
        ),
    ),
)


def prepare(folder: Path) -> None:
    """Download the suites, in the installed versions, and what they need beside the project."""
    extras = tomllib.loads((_PROJECT / "pyproject.toml").read_text())["project"]
    needed = extras["optional-dependencies"]["conformance"]
    _pip("install", "--no-deps", "--target", str(folder / "site"), *needed)
    for suite in SUITES:
        if suite.project:
            wanted = f"{suite.project}=={version(suite.project)}"
            _pip("download", "--no-deps", "--no-binary", ":all:", "-d", str(folder), wanted)
            [archive] = folder.glob(f"{suite.project}-*.tar.gz")
            with tarfile.open(archive) as packed:
                packed.extractall(folder, filter="data")
            (folder / archive.name.removesuffix(".tar.gz")).rename(folder / suite.name)
    shutil.copytree(_PROJECT / "rbkernel/kernel/spec", folder / "jupyter/kernels/python3")


def run(suite: Suite, kernel: str, folder: Path) -> Outcomes:
    """Run a suite once and return what each test came to: passed, failed or skipped.

    Raises
    ------
    RuntimeError
        The suite could not be run; its output says why.
    """
    place = folder / suite.name if suite.project else folder
    report = folder / f"{suite.name}-{kernel}.xml"
    command = [
        *(sys.executable, "-m", "pytest", "-q", suite.tests, f"--junitxml={report}"),
        *("-p", "no:cacheprovider", "--import-mode=prepend"),
        *(f"--ignore={suite.tests}/{name}" for name in suite.left_out),
        *suite.options,
        *suite.options_of.get(kernel, ()),
        *(() if suite.project else ("-c", os.devnull, "--rootdir", str(folder))),
    ]
    done = subprocess.run(
        command,
        cwd=place,
        env=_environment(kernel, place, folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    report.with_suffix(".log").write_text(done.stdout)
    if done.returncode not in (0, 1) or not report.exists():
        raise RuntimeError(f"the suite {suite.name} could not be run:\n{done.stdout[-3000:]}")
    return _outcomes(report, suite)


def _environment(kernel: str, place: Path, folder: Path) -> dict[str, str]:
    home = folder / f"home-{kernel}"
    home.mkdir(exist_ok=True)
    (home / "rbkernel.toml").touch()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RBKERNEL_", "JUPYTER_", "IPYTHON", "PYTEST_", "JPY_"))
    }
    ours = {"JUPYTER_PATH": str(folder / "jupyter")} if kernel == "rbkernel" else {}
    return kept | ours | {
        "HOME": str(home),
        "RBKERNEL_CONFIG": str(home / "rbkernel.toml"),
        "RBKERNEL_EVIDENCE": str(home / "evidence"),
        "CONFORMANCE_KERNEL": kernel,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # those of our own tests
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(place), str(folder / "site"), str(_HERE)]),
    }  # fmt: skip


def _outcomes(report: Path, suite: Suite) -> Outcomes:
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  # pytest wrote it
        kinds = {child.tag for child in case}
        skipped = "skipped" in kinds and not suite.skips_parts
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if skipped else "passed"
        name = f"{case.get('classname')}::{case.get('name')}".lstrip(".")
        found[name] = outcome
    return found


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"`pip {' '.join(arguments)}` failed:\n{done.stderr[-2000:]}")
