"""Send the alerts of the demonstration through Alertmanager, or directly if it is not installed.

In both cases the gateway receives the request that Alertmanager sends to a webhook.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from rbkernel.errors import SandboxError

PROGRAM = "prometheus-alertmanager"
_PATIENCE_S = 20.0
_ENDING_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An alerting rule of the demonstration, with the labels and the summary of its alert."""

    name: str
    severity: str
    summary: str
    labels: Mapping[str, str]


def posted(rules: Sequence[Rule], began: datetime) -> list[dict[str, Any]]:
    """Return the alerts of these rules as Prometheus posts alerts to Alertmanager."""
    return [
        {
            "labels": {"alertname": rule.name, "severity": rule.severity, **rule.labels},
            "annotations": {"summary": rule.summary},
            "startsAt": began.isoformat(),
            "endsAt": (began + timedelta(hours=4)).isoformat(),
        }
        for rule in rules
    ]


def webhook(rules: Sequence[Rule], began: datetime) -> dict[str, Any]:
    """Return the body that Alertmanager sends to a webhook: one group of firing alerts.

    >>> rule = Rule(name="Lag", severity="critical", summary="s", labels={"cluster": "db"})
    >>> body = webhook([rule], datetime(2026, 11, 20, 3, tzinfo=UTC))
    >>> body["status"], body["alerts"][0]["labels"]["alertname"]
    ('firing', 'Lag')
    """
    alerts = posted(rules, began)
    for number, alert in enumerate(alerts):
        alert |= {"status": "firing", "fingerprint": f"{number:016x}", "generatorURL": ""}
        alert["endsAt"] = "0001-01-01T00:00:00Z"
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "rbkernel",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": alerts,
    }


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Sends alerts to the gateway, through Alertmanager or from this process in place of it.

    ``url`` is the address to which `fire` posts the alerts.
    """

    who: str
    url: str
    real: bool

    def fire(self, rules: Sequence[Rule]) -> None:
        """Send the alerts of these rules to Alertmanager or the gateway.

        Raises
        ------
        SandboxError
            The alerts were not accepted.
        """
        began = datetime.now(UTC)
        body = posted(rules, began) if self.real else webhook(rules, began)
        try:
            httpx.post(self.url, json=body, timeout=10).raise_for_status()
        except httpx.HTTPError as error:
            raise SandboxError(
                f"the alerts were not accepted: {error}",
                where=self.url,
                next_step="check which program listens there",
            ) from error


@contextmanager
def sender(gateway: str, folder: Path) -> Iterator[Sender]:
    """Yield a sender of alerts for a gateway; the sender works while the block runs.

    Raises
    ------
    SandboxError
        Alertmanager is installed but does not start.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        url = f"{gateway}/alerts/alertmanager"
        yield Sender(who="rbkernel, in place of Alertmanager,", url=url, real=False)
        return
    with _alertmanager(program, gateway, folder) as url:
        yield Sender(who="Alertmanager", url=f"{url}/api/v2/alerts", real=True)


@contextmanager
def _alertmanager(program: str, gateway: str, folder: Path) -> Iterator[str]:
    """Run an Alertmanager on loopback while the block runs, and yield its address."""
    config = folder / "alertmanager.yml"
    receiver = {"url": f"{gateway}/alerts/alertmanager", "send_resolved": True}
    route = {"receiver": "rbkernel", "group_wait": "0s", "group_interval": "1s"}
    receivers = [{"name": "rbkernel", "webhook_configs": [receiver]}]
    config.write_text(json.dumps({"route": route, "receivers": receivers}), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, f"--config.file={config}", f"--storage.path={folder / 'alertmanager'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with (folder / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process, folder)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            if httpx.get(f"{url}/-/ready").is_success:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        if process.poll() is not None or time.monotonic() > deadline:
            raise SandboxError(
                "Alertmanager does not start",
                where=str(folder / "alertmanager.log"),
                next_step="read this log of Alertmanager",
            )
        time.sleep(0.1)
