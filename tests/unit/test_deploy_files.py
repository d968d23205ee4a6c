"""The files under deploy/: units that systemd accepts, pods and an image that run without root."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import rbkernel
from rbkernel import config
from rbkernel.config import files
from tests.unit.test_config import folder

__all__ = ["folder"]  # a fixture

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
_MANIFESTS = yaml.safe_load_all((DEPLOY / "kubernetes/rbkernel.yaml").read_text())
MANIFESTS: dict[str, Any] = {f"{one['kind']} {one['metadata']['name']}": one for one in _MANIFESTS}
_MOST_EXPOSED = "20"  # of 100: 2.0, as systemd rates it


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The units, with a program that is there."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    place = tmp_path_factory.mktemp("units")
    for unit in UNITS:
        text = re.sub("^ExecStart=.*", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE)
        (place / unit.name).write_text(text)
    return [str(place / unit.name) for unit in UNITS]


def analyze(*arguments: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_systemd_accepts_the_units_without_a_remark(units: list[str]) -> None:
    assert analyze("verify", *units) == ""


def test_the_units_are_hardened(units: list[str]) -> None:
    for unit in units:
        if unit.endswith(".service"):
            analyze("security", "--offline=true", f"--threshold={_MOST_EXPOSED}", unit)


@pytest.mark.parametrize("unit", [one for one in UNITS if one.suffix == ".service"])
def test_the_units_call_commands_that_exist(unit: Path) -> None:
    from rbkernel.cli import command

    [line] = re.findall(
        "^ExecStart=/opt/rbkernel/bin/rbkernel (.*)$", unit.read_text(), re.MULTILINE
    )
    found: Any = command()
    for word in line.split():
        found = found.commands[word]


@pytest.mark.parametrize("name", ["serve", "worker"])
def test_pods_meet_the_standard_restricted(name: str) -> None:
    pod = MANIFESTS[f"Deployment rbkernel-{name}"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"] == f"rbkernel:{rbkernel.__version__}"
    assert {one["name"] for one in container["volumeMounts"]} == {
        one["name"] for one in pod["volumes"]
    }


def test_the_service_finds_the_gateway_only() -> None:
    selector = MANIFESTS["Service rbkernel"]["spec"]["selector"]
    labels = {
        name: MANIFESTS[f"Deployment rbkernel-{name}"]["spec"]["template"]["metadata"]["labels"]
        for name in ("serve", "worker")
    }
    assert selector == labels["serve"]
    assert selector != labels["worker"]


def test_the_configuration_of_the_manifests_is_valid(folder: Path) -> None:
    text = MANIFESTS["ConfigMap rbkernel"]["data"]["rbkernel.toml"]
    (folder / config.FILE_NAME).write_text(text)
    assert files.examine().problems == ()


def test_the_image_does_not_run_as_root() -> None:
    text = (DEPLOY / "docker/Dockerfile").read_text()
    assert re.findall("^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert text.index("\nUSER ") < text.index("\nENTRYPOINT ")


def test_no_unit_forbids_the_bit_that_group_access_sets() -> None:
    units = list((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))
    assert units
    # [evidence] group_access = true sets the set-group-ID bit of folders
    assert [unit.name for unit in units if "RestrictSUIDSGID" in unit.read_text()] == []
