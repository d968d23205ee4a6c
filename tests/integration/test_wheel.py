"""The built wheel, installed in a venv of its own: kernelspec, catalogue and a run come from it.

The venv is empty but for the wheel. Its dependencies are read from the environment that runs the
tests, by a `.pth` file: such a folder's own `.pth` files are not read, so the checkout, which is
installed there as editable, is out of sight.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from rbkernel.config import Settings

CHECKOUT = Path(__file__).parents[2]
MIGRATIONS = "gateway/jobs/storage/migrations"


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the dev extra is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    run([*build, "--directory", str(folder / "dist")], cwd=CHECKOUT)
    [wheel] = (folder / "dist").glob("*.whl")
    home = folder / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", str(home)], cwd=folder)
    [packages] = home.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install"]
    run([*pip, "--quiet", "--no-index", "--no-deps", "--force-reinstall", str(wheel)], cwd=folder)
    return home


def run(command: list[str], *, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_package_is_the_installed_one(venv: Path, tmp_path: Path) -> None:
    python = str(venv / "bin" / "python")
    path = run([python, "-c", "import rbkernel; print(rbkernel.__file__)"], cwd=tmp_path)
    assert Path(path.strip()).is_relative_to(venv)


def test_jupyter_finds_the_kernel(venv: Path, tmp_path: Path) -> None:
    command = [str(venv / "bin" / "python"), "-m", "jupyter_client.kernelspecapp"]
    told = json.loads(run([*command, "list", "--json"], cwd=tmp_path))
    spec = told["kernelspecs"]["rbkernel"]
    assert Path(spec["resource_dir"]) == venv / "share" / "jupyter" / "kernels" / "rbkernel"
    assert spec["spec"]["display_name"].startswith("rbkernel")


def test_jupyter_loads_the_server_extension(venv: Path, tmp_path: Path) -> None:
    configuration = venv / "etc" / "jupyter" / "jupyter_server_config.d" / "rbkernel.json"
    enabled = json.loads(configuration.read_text())["ServerApp"]["jpserver_extensions"]
    assert enabled == {"rbkernel": True}
    ask = "from jupyter_server.extension.manager import ExtensionPackage as Package;"
    ask += "package = Package(name='rbkernel', enabled=True);"
    ask += "print(package.validate(), list(package.extension_points))"
    told = run([str(venv / "bin" / "python"), "-c", ask], cwd=tmp_path)
    assert told.strip() == "True ['rbkernel.gateway.web.extension']"


def test_the_pages_files_are_in_the_package(venv: Path, tmp_path: Path) -> None:
    ask = "from rbkernel.gateway.web.site import static_file as file;"
    ask += "print([len(file(f'{n}').body) > 999 for n in ('pages.css', 'pages.js', 'plots.js')])"
    told = run([str(venv / "bin" / "python"), "-c", ask], cwd=tmp_path)
    assert told.strip() == "[True, True, True]"


def test_the_migrations_of_the_store_and_its_types_are_in_the_package(
    venv: Path, tmp_path: Path
) -> None:
    ask = "import importlib.resources as r; package = r.files('rbkernel');"
    ask += "print(package.joinpath('py.typed').is_file(),"
    ask += f" sorted(p.name for p in package.joinpath({MIGRATIONS!r}).glob('v*.py')))"
    told = run([str(venv / "bin" / "python"), "-c", ask], cwd=tmp_path).strip()
    there = sorted(path.name for path in (CHECKOUT / "rbkernel" / MIGRATIONS).glob("v*.py"))
    assert there
    assert told == f"True {there}"


def test_the_catalogue_is_the_installed_copy(venv: Path, tmp_path: Path) -> None:
    told = json.loads(run([str(venv / "bin" / "rbkernel"), "list", "--json"], cwd=tmp_path))
    assert {entry["id"] for entry in told} == {
        json.loads(path.read_text())["cells"][0]["source"][1].split()[1]
        for path in (CHECKOUT / "notebooks").glob("*.ipynb")
    }
    assert all(Path(entry["path"]).is_relative_to(venv) for entry in told)


def test_a_runbook_runs(venv: Path, tmp_path: Path, shop: Settings, evidence: Path) -> None:
    command = [str(venv / "bin" / "rbkernel"), "run", "RUN-005", "-p", "samples=1", "--json"]
    told = json.loads(run(command, cwd=tmp_path))
    assert told["verdict"] == "ok"
    assert Path(told["evidence"]).is_relative_to(evidence)
    journal = (Path(told["evidence"]) / "journal.jsonl").read_text()
    snapshot = next(
        json.loads(line) for line in journal.splitlines() if '"kind":"snapshot"' in line
    )
    assert Path(snapshot["data"]["path"]).is_relative_to(venv)


def test_the_launcher_and_the_command_find_the_templates(venv: Path, tmp_path: Path) -> None:
    folder = venv / "share" / "jupyter" / "notebook_templates" / "rbkernel"
    assert {path.name for path in folder.iterdir()} == {
        path.name for path in (CHECKOUT / "templates").glob("*.ipynb")
    }
    new = [str(venv / "bin" / "rbkernel"), "new", "service", "A service", "--to", str(tmp_path)]
    assert "RUN-100" in run(new, cwd=tmp_path)
    assert (tmp_path / "a_service.ipynb").is_file()
