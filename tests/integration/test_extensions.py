"""A package of another team, installed by pip and used: by a gateway, a kernel, lint, the sandbox.

It lies in tests/support/extension_package; docs/how-to/extend.md shows it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_raw_cell

from rbkernel.config import Settings
from rbkernel.errors import DatabaseError
from rbkernel.evidence import reading, seals
from rbkernel.sandbox import control
from tests.support.command import run_command
from tests.support.kernels import METADATA
from tests.support.serving import serving
from tests.support.waiting import until

SOURCE = Path(__file__).parents[1] / "support" / "extension_package"
STUCK = SOURCE / "sql/orders/stuck.sql"
FRONT_MATTER = """\
---
id: RUN-950
title: Stock is low
summary: It looks at the stock of the warehouse.
category: incident
severity: P3
owner: somebody
triggers:
  - alert: Stock low
---"""
CELLS = (
    'import rbkernel as rb\nrb.start("RUN-950", incident=incident)',
    'low = rb.ask("warehouse", "low", below=5)',
    'rb.check("Low articles", low, agg="rows", warn=0, next_step="order them")',
    'rb.assess("orders/stuck", "sandbox-primary")',
    "rb.act(rb.actions.restock(low.article[0], 50))",
    "rb.summary()",
)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package is installed in."""
    pytest.importorskip("hatchling", reason="the dev extra is not installed")
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    options = ["--no-build-isolation", "--target", str(folder)]
    subprocess.run([*pip, *options, str(SOURCE)], check=True, timeout=300)
    return folder


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A folder with a runbook, the stock and a diagnostic."""
    document = new_notebook(metadata=METADATA)
    document.cells = [
        new_raw_cell(FRONT_MATTER),
        new_code_cell('incident: str = ""', metadata={"tags": ["parameters"]}),
        *map(new_code_cell, CELLS),
    ]
    nbformat.write(document, tmp_path / "stock.ipynb")
    (tmp_path / "stock.csv").write_text("article,pieces\nscrews,2\nnails,900\n")
    (tmp_path / "rbkernel.toml").write_text(configuration(tmp_path))
    return tmp_path


def configuration(folder: Path) -> str:
    return f"""
[catalogue]
paths = ["{folder}"]
diagnostics = ["{SOURCE / "sql"}"]
[sources.warehouse]
kind = "stock"
file = "{folder / "stock.csv"}"
[gateway.senders.nagios]
secret_env = "GENERIC_TOKEN"
[notify.targets.log]
channel = "file"
url_env = "RB_TEST_FILE"
"""


def rbkernel(team: Path, package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    places = {"PYTHONPATH": str(package), "RBKERNEL_CONFIG": str(team / "rbkernel.toml")}
    return run_command(*arguments, environment={**os.environ, **places}, folder=team)


def test_an_alert_of_its_sender_starts_a_run_that_uses_the_rest(
    shop: Settings, package: Path, team: Path
) -> None:
    told = team / "messages.txt"
    with serving(
        team,
        *("--kernels", "1"),
        configuration=configuration(team),
        PYTHONPATH=str(package),
        RB_TEST_FILE=str(told),
    ) as gateway:
        answer = gateway.post("nagios", {"service": "Stock low", "host": "w1", "state": "CRITICAL"})
        assert answer.status_code == 202
        assert answer.json()["new"] == 1
        assert "/alerts/nagios" in gateway.get("/openapi.json").json()["paths"]
        root = team / "evidence"
        until(lambda: bool(seals.read_heads(root)), timeout_s=180)
        until(lambda: told.exists() and "Low articles" in told.read_text(), timeout_s=60)
    [head, *_] = seals.read_heads(root)
    folder = seals.sealed_folder(root, head.run_id)
    assert folder is not None
    record = reading.read(folder)
    assert record.complete
    found = {one.title: one.verdict.value for one in record.findings}
    assert found["Low articles"] == "warning"
    assert "Stuck orders" in found
    asked, stuck = (event.data for event in record.of_kind("query"))
    assert (asked["connection"], asked["rows"]) == ("warehouse", 1)
    assert asked["origin"] == "acme-rbkernel 1.2"
    digest = hashlib.sha256(STUCK.read_bytes()).hexdigest()
    assert stuck["origin"] == f"{STUCK} sha256:{digest}"
    [plan] = record.of_kind("plan")
    assert plan.data["command"] == "warehouse order --article screws --pieces 50"
    [run] = record.of_kind("run")
    assert run.data["facts"]["Extensions"].startswith("acme-rbkernel 1.2 (actions: restock;")


def test_commands_know_the_package(shop: Settings, package: Path, team: Path) -> None:
    listed = rbkernel(team, package, "extensions", "--json")
    assert listed.returncode == 0, listed.stdout + listed.stderr
    groups = {one["group"].removeprefix("rbkernel.") for one in json.loads(listed.stdout)}
    assert groups == {"senders", "sources", "actions", "channels", "lint_rules", "faults"}
    linted = rbkernel(team, package, "lint", "stock.ipynb", str(STUCK))
    assert "AC101 the owner is not a team" in linted.stdout
    assert STUCK.name not in linted.stdout
    answer = rbkernel(team, package, "query", "orders/stuck", "sandbox-primary", "--json")
    assert json.loads(answer.stdout)["provenance"]["origin"].startswith(str(STUCK))
    hostile = team / "sql/orders/stolen.sql"
    hostile.parent.mkdir(parents=True)
    hostile.write_text(STUCK.read_text().replace("SELECT id", "SELECT pg_terminate_backend(1), id"))
    text = configuration(team).replace(str(SOURCE / "sql"), str(team / "sql"))
    (team / "rbkernel.toml").write_text(text)
    refused = rbkernel(team, package, "query", "orders/stolen", "sandbox-primary", "--json")
    assert "pg_terminate_backend" in json.loads(refused.stdout)["provenance"]["reason"]
    assert refused.returncode == 3


def test_its_fault_is_injected_and_healed(shop: Settings, package: Path, team: Path) -> None:
    injected = rbkernel(team, package, "sandbox", "inject", "closed-door")
    assert injected.returncode == 0, injected.stderr
    with pytest.raises(DatabaseError, match="too many connections for role"):
        control.connect_as("rb_nobody")
    healed = rbkernel(team, package, "sandbox", "heal", "closed-door")
    assert "healed: closed-door" in healed.stdout
    control.connect_as("rb_nobody").close()
