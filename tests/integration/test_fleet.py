"""RUN-000 over a group of twelve connections: one page, the worst first, nobody held up."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.errors import ParameterError
from rbkernel.model import Verdict
from rbkernel.run import runner

HEALTHY = [f"s{number:02}" for number in range(10)]


@pytest.fixture
def fleet(shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Ten connections to the sandbox, one to a closed port, one to a server that says nothing."""
    primary = shop.connection("sandbox-primary")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ports = dict.fromkeys(HEALTHY, primary.port)
        ports |= {"closed": 1, "silent": silent.getsockname()[1]}
        tables = [
            f'[connections.{name}]\nhost = "127.0.0.1"\nport = {port}\n'
            f'dbname = "{primary.dbname}"\nuser = "{primary.user}"\n'
            f'passfile = "{primary.passfile}"\nconnect_timeout_s = 2\n'
            for name, port in ports.items()
        ]
        file = tmp_path / config.FILE_NAME
        names = ", ".join(f'"{name}"' for name in ports)
        file.write_text(f"{''.join(tables)}[groups]\nfleet = [{names}]\n")
        monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
        yield config.load()


def test_a_group_is_examined_at_once_and_a_broken_server_holds_nobody(
    fleet: Settings, evidence: Path
) -> None:
    with pytest.raises(ParameterError, match="this runbook looks at one server"):
        runner.run("RUN-007", {"db": "@fleet"}, fleet)

    outcome = runner.run("RUN-000", {"db": "@fleet"}, fleet)

    assert outcome.duration_s < 15
    assert not outcome.failure
    found = {one.title: one for one in outcome.record.findings}
    assert {*found} >= {*HEALTHY, "closed", "silent"}
    # unknown or critical, never ok, and the others are ok all the same
    assert found["closed"].verdict is Verdict.CRITICAL
    assert found["silent"].verdict in {Verdict.CRITICAL, Verdict.UNKNOWN}
    assert {found[name].verdict for name in HEALTHY} == {Verdict.OK}
    [question] = outcome.record.decisions
    assert question.recommended == "RUN-010"
    assert "-p db=closed" in question.reason
    [page] = [
        output.data
        for cell in nbformat.read(outcome.folder / "executed.ipynb", 4).cells
        for output in cell.get("outputs", ())
        if "application/vnd.rbkernel.overview+json" in output.get("data", {})
    ]
    html = page["text/html"]
    places = [html.index(f">{name}<") for name in ("closed", "silent", *HEALTHY)]
    assert places == sorted(places), "the worst first"
