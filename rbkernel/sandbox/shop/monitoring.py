"""Run a real Prometheus and a real Alertmanager for the shop, with the shipped alert rules.

Time is shortened, because a drill must not take 5 min: the durations of the rules (``for:``) are
divided by `TIME_SCALE`, and rates are those of the last `access.RATE_WINDOW`. Nothing else differs
from production. The configuration files are JSON, which is YAML, too.
"""

from __future__ import annotations

import json
import shutil
import socket
import time
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import httpx

from rbkernel.errors import SandboxError
from rbkernel.queries import catalogue, values
from rbkernel.sandbox import processes
from rbkernel.sandbox.access import HOST, RATE_WINDOW
from rbkernel.sandbox.home import Home
from rbkernel.sandbox.shop import history
from rbkernel.sandbox.shop.simulation import SERVICE

PROGRAMS = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
#: The parts of the service side, by the names of their processes.
PARTS = ("shop", *PROGRAMS)
# as the rates: 5 min in production, 20 s here
TIME_SCALE = 15
_LABELS = {"service": SERVICE, "cluster": "sandbox-primary"}
_PATIENCE_S = 20.0


def refuse_without_programs() -> None:
    """Check that Prometheus and Alertmanager are installed.

    Raises
    ------
    SandboxError
        One of them is not.
    """
    if missing := missing_programs():
        raise SandboxError(
            f"{missing[0]} is not installed, which the service side of the sandbox needs",
            next_step="install the packages prometheus and prometheus-alertmanager, or run"
            " `rbkernel sandbox up` without --with service",
        )


def missing_programs() -> list[str]:
    """Return the programs that the service side needs, and that are not installed."""
    needed = (*PROGRAMS.values(), "promtool")
    return [program for program in needed if shutil.which(program) is None]


def free_ports() -> dict[str, int]:
    """Return a free port for each part."""
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        probes = (one, two, three)
        for probe in probes:
            probe.bind((HOST, 0))
        return {part: probe.getsockname()[1] for part, probe in zip(PARTS, probes, strict=True)}


def write_past(home: Home, ports: Mapping[str, int], begun: float) -> None:
    """Write the past of the shop into the data folder of Prometheus."""
    folder = home.data("monitoring")
    folder.mkdir(mode=0o700, exist_ok=True)
    scraped = {"job": SERVICE, "instance": f"{HOST}:{ports['shop']}"}
    history.write(home.data("prometheus"), folder, begun, scraped)
    for file in folder.glob("past-*"):
        file.unlink()


def start(home: Home, ports: Mapping[str, int], *, gateway: str, begun: float) -> None:
    """Start the shop, Prometheus and Alertmanager, and wait until all of them answer.

    Raises
    ------
    SandboxError
        One of them does not start.
    """
    folder = home.data("monitoring")
    home.write(folder / "rules.yml", json.dumps({"groups": [rules()]}))
    home.write(folder / "prometheus.yml", json.dumps(_prometheus(home, ports)))
    home.write(folder / "alertmanager.yml", json.dumps(_alertmanager(gateway)))
    processes.launch_module(
        "shop.server", home, *("shop", str(ports["shop"]), repr(begun)), log=home.log("shop")
    )
    options = {
        "prometheus": ["--storage.tsdb.retention.time=30d", "--log.level=warn"],
        "alertmanager": ["--cluster.listen-address=", "--log.level=warn"],
    }
    for part, program in PROGRAMS.items():
        own = [
            f"--config.file={folder / f'{part}.yml'}",
            processes.data_option(home, part),
            f"--web.listen-address={HOST}:{ports[part]}",
        ]
        command = [str(shutil.which(program)), *own, *options[part]]
        processes.launch(command, log=home.log(part))
    health = {"shop": "/health/live", "prometheus": "/-/ready", "alertmanager": "/-/ready"}
    for part, path in health.items():
        _await(home, part, f"http://{HOST}:{ports[part]}{path}")


def send_alerts_to(home: Home, port: int, gateway: str) -> None:
    """Have Alertmanager, which listens on this port, send its alerts to another gateway.

    Raises
    ------
    SandboxError
        Alertmanager does not accept the configuration.
    """
    file = home.data("monitoring") / "alertmanager.yml"
    home.write(file, json.dumps(_alertmanager(gateway)))
    try:
        httpx.post(f"http://{HOST}:{port}/-/reload", timeout=_PATIENCE_S).raise_for_status()
    except httpx.HTTPError as error:
        raise SandboxError(
            f"Alertmanager does not accept its configuration: {error}",
            where=str(file),
            next_step=f"read {home.log('alertmanager')}",
        ) from error


def rules() -> dict[str, Any]:
    """Return the shipped alert rules as a group of Prometheus, in the shortened time."""
    declared = tomllib.loads((files(__package__) / "rules.toml").read_text(encoding="utf-8"))
    return {"name": SERVICE, "rules": [_rule(name, one) for name, one in declared.items()]}


def _rule(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": one.get("promql") or _compared(one),
        "for": f"{one['for_s'] / TIME_SCALE:.0f}s",
        "labels": {"severity": one["severity"], **_LABELS, **one.get("labels", {})},
        "annotations": {"summary": one["summary"]},
    }


def _compared(one: Mapping[str, Any]) -> str:
    query = catalogue.queries()[one["query"]]
    text = values.inserted(query.text, dict.fromkeys(query.takes, SERVICE))
    now = catalogue.with_window(text, RATE_WINDOW)
    if one.get("than_yesterday"):
        now = f"({now}) / ({now.replace(f'[{RATE_WINDOW}]', f'[{RATE_WINDOW}] offset 1d')})"
    return f"({now}) {one['limit']}"


def _prometheus(home: Home, ports: Mapping[str, int]) -> dict[str, Any]:
    target = {"targets": [f"{HOST}:{ports['shop']}"]}
    # the labels of the shop win: it names the hosts that its own values are about
    job = {"job_name": SERVICE, "honor_labels": True, "static_configs": [target]}
    receiver = {"static_configs": [{"targets": [f"{HOST}:{ports['alertmanager']}"]}]}
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [job],
        "rule_files": [str(home.data("monitoring") / "rules.yml")],
        "alerting": {"alertmanagers": [receiver]},
    }


def _alertmanager(gateway: str) -> dict[str, Any]:
    route: dict[str, Any] = {"receiver": "rbkernel", "group_wait": "0s", "group_interval": "1s"}
    route |= {"group_by": ["alertname", "service"]}
    webhook = {"url": f"{gateway}/alerts/alertmanager", "send_resolved": True}
    return {"route": route, "receivers": [{"name": "rbkernel", "webhook_configs": [webhook]}]}


def _await(home: Home, part: str, url: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        if time.monotonic() > deadline:
            raise SandboxError(
                f"{part} does not start",
                where=str(home.log(part)),
                next_step=f"read this log of {part}",
            )
        time.sleep(0.05)
