"""Debian's Alertmanager, a gateway that may be killed, and a quick runbook for its alerts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_notebook, new_raw_cell

from rbkernel.evidence import incident as records
from rbkernel.evidence import reading
from rbkernel.evidence.runs import SEALED, list_runs
from rbkernel.render import verification
from tests.conftest import missing_part
from tests.support.kernels import METADATA
from tests.support.waiting import until

PROGRAM = "prometheus-alertmanager"
PATIENCE_S = 120.0
TOKEN = "a-token-of-the-tests"
RUNBOOK = "RUN-901"
FRONT_MATTER = f"""\
---
id: {RUNBOOK}
title: A quick look
summary: It looks at nothing.
category: incident
severity: P2
owner: Tests
triggers:
  - alert: Quick*
    parameters: {{marker: labels.instance}}
    key: [labels.instance]
---"""
CELLS = (
    f'import rbkernel as rb\n\nrb.start("{RUNBOOK}", incident=incident, marker=marker)',
    "import time; time.sleep(0.3)",
    "print(marker)",
)
ROUTE = {
    "receiver": "rbkernel",
    "group_by": ["alertname"],
    "group_wait": "200ms",
    "group_interval": "1s",
    "repeat_interval": "1h",
}


_BEGAN = datetime.now(UTC) - timedelta(minutes=1)


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answers(url: str) -> bool:
    """Tell whether an address answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@dataclass
class Gateway:
    """`rbkernel serve`, on one port for good, started again whenever it was killed."""

    folder: Path
    port: int = field(default_factory=free_port)
    kills: int = 0
    within: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def evidence(self) -> Path:
        return self.folder / "evidence"

    @property
    def log(self) -> str:
        return (self.folder / "serve.log").read_text()

    def senders(self) -> set[int]:
        """Return the ports at the other end of connections from programs, not from this one."""
        assert self.process is not None
        own = {one.laddr.port for one in psutil.Process().net_connections("tcp")}
        return {
            one.raddr.port
            for one in psutil.Process(self.process.pid).net_connections("tcp")
            if one.status == psutil.CONN_ESTABLISHED
            and one.laddr.port == self.port
            and one.raddr.port not in own
        }

    def configure(self) -> None:
        """Write the configuration, and the quick runbook."""
        (self.folder / "runbooks").mkdir()
        cells = [new_raw_cell(FRONT_MATTER)]
        parameters = 'marker: str = ""  # which alert\nincident: str = ""  # its incident'
        cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
        cells += [new_code_cell(source) for source in CELLS]
        document = new_notebook(cells=cells, metadata=METADATA)
        nbformat.write(document, self.folder / "runbooks/quick.ipynb")
        (self.folder / "rbkernel.toml").write_text(
            f'[catalogue]\npaths = ["runbooks"]\n[gateway]\nport = {self.port}\n'
            '[gateway.senders.alertmanager]\nsecret_env = "RB_TEST_TOKEN"\n'
            "[queue]\nkernels = 2\nstarts_per_minute = 10000\ndrain_s = 5\n"
        )

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "RBKERNEL_CONFIG": str(self.folder / "rbkernel.toml"),
            "RBKERNEL_EVIDENCE": str(self.evidence),
            "RBKERNEL_STORE_URL": f"sqlite:///{self.folder}/store/gateway.sqlite",
            "RB_TEST_TOKEN": TOKEN,
        }

    def start(self) -> None:
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.within, sys.executable, "-m", "rbkernel", "serve"],
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """kill -9, and start it again."""
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "serve.log").read_text()[-2000:]
        self.process.kill()
        self.process.wait()
        self.kills += 1
        self.start()

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE_S)

    def alerts(self) -> Counter[str]:
        """Count the alerts in the incidents' records, by instance."""
        return Counter(
            str(line.data["labels"]["instance"])
            for record in records.list_incidents(self.evidence)
            for line in record.lines
            if line.kind == "alert"
        )

    def whole_runs(self) -> Counter[str]:
        """Count the sealed runs that came to their end, by instance."""
        return Counter(
            str(record.run.parameters["marker"])
            for entry in list_runs(self.evidence)
            if entry.state == SEALED
            and (record := reading.read(entry.folder)).run is not None
            and record.complete
        )

    def expect_all_once(self, instances: Sequence[str]) -> None:
        """Expect each alert in the record, one whole run for it, and evidence that verifies."""
        expected = Counter(instances)
        assert self.alerts() == expected
        assert self.whole_runs() == expected
        assert {entry.state for entry in list_runs(self.evidence)} == {SEALED}
        signers = self.evidence / "allowed_signers"
        lines, ok = verification.verify(self.evidence, "", signers=signers, published=[])
        assert ok, lines


@contextmanager
def gateway(folder: Path, *, within: Sequence[str] = ()) -> Iterator[Gateway]:
    """A gateway that listens, until the block ends; ``within`` is a command that starts it."""
    one = Gateway(folder, within=within)
    one.configure()
    one.start()
    try:
        until(lambda: answers(f"{one.url}/health/ready"), "the gateway is ready")
        yield one
    finally:
        one.stop()


@contextmanager
def alertmanagers(folder: Path, url: str, *, count: int = 1, **route: Any) -> Iterator[list[str]]:
    """Alertmanagers that post to a gateway, one cluster if there are several; their addresses."""
    program = shutil.which(PROGRAM)
    if program is None:
        missing_part(f"{PROGRAM} is not installed: `make debian`")
    config = folder / "alertmanager.yml"
    webhook = {
        "url": f"{url}/alerts/alertmanager",
        "http_config": {"authorization": {"credentials": TOKEN}},
    }
    receivers = [{"name": "rbkernel", "webhook_configs": [webhook]}]
    config.write_text(json.dumps({"route": {**ROUTE, **route}, "receivers": receivers}))
    ports = [(free_port(), free_port()) for _ in range(count)]
    with ExitStack() as stack:
        for number, (web, cluster) in enumerate(ports):
            arguments = [f"--config.file={config}", f"--storage.path={folder / f'am{number}'}"]
            arguments += [f"--web.listen-address=127.0.0.1:{web}", "--log.level=warn"]
            own = f"127.0.0.1:{cluster}" if count > 1 else ""
            arguments.append(f"--cluster.listen-address={own}")
            if count > 1:
                arguments.append(f"--cluster.peer=127.0.0.1:{ports[0][1]}")
            log = stack.enter_context((folder / f"am{number}.log").open("wb"))
            process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)
            stack.callback(process.wait, PATIENCE_S)
            stack.callback(process.terminate)
        urls = [f"http://127.0.0.1:{web}" for web, _cluster in ports]
        for one in urls:
            until(lambda one=one: answers(f"{one}/-/ready"), f"{one} is ready")  # type: ignore[misc]  # its own address
        yield urls


def alert(instance: str, name: str = "QuickLook", *, resolved: bool = False) -> dict[str, Any]:
    """Return an alert as Prometheus posts it."""
    now = datetime.now(UTC)
    ends = now if resolved else now + timedelta(hours=1)
    return {
        "labels": {"alertname": name, "instance": instance, "severity": "warning"},
        "annotations": {"summary": f"{instance} is to be looked at"},
        "startsAt": _BEGAN.isoformat(),
        "endsAt": ends.isoformat(),
        "generatorURL": "http://prometheus.example/graph",
    }


def fire(urls: Sequence[str], alerts: Sequence[dict[str, Any]]) -> None:
    """Post alerts to every Alertmanager, as Prometheus does."""
    for url in urls:
        request = urllib.request.Request(
            f"{url}/api/v2/alerts",
            data=json.dumps(list(alerts)).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            assert response.status == 200


@contextmanager
def idle_connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections to a port of loopback on which nobody says anything, until the block ends."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            opened.append(one)
        yield opened
