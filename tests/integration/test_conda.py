"""environment.yml, installed as conda does it.

conda writes the pip section to a requirements file beside environment.yml and gives that to pip,
with that folder as its working folder: conda/env/installers/pip.py of conda 24 and 25.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def pip_section() -> list[str]:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    [section] = [one for one in yaml.safe_load(text)["dependencies"] if isinstance(one, dict)]
    specs: list[str] = section["pip"]
    return specs


def test_pip_takes_the_requirements_file_that_conda_makes_of_environment_yml() -> None:
    requirements = ROOT / "condaenv.test.requirements.txt"
    requirements.write_text("\n".join(pip_section()), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "-U", "-r", str(requirements)]
    # what it wants is in this venv already: nothing is fetched, and nothing is changed
    offline = ["--exists-action=b", "--dry-run", "--no-index", "--no-build-isolation"]
    try:
        done = subprocess.run(
            [*pip, *offline], cwd=ROOT, capture_output=True, text=True, check=False
        )
    finally:
        requirements.unlink()
    assert done.returncode == 0, done.stderr
    [would] = [line for line in done.stdout.splitlines() if line.startswith("Would install")]
    assert would.split()[2].startswith("rbkernel-"), done.stdout
