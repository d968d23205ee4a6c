"""`rbkernel serve`, a process of its own: what senders see, in good hours and in the worst."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from rbkernel.gateway.jobs.storage.store import Store
from tests.support.command import run_command
from tests.support.serving import (
    DEFAULT_CONNECTION,
    NOBODY,
    SECRETS,
    SENDERS,
    Relay,
    Serving,
    alert,
    as_bytes,
    example,
    proven,
    serving,
    signature,
)

JSON = {"Content-Type": "application/json"}
POST = b"POST /alerts/generic HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A gateway with all five senders' secrets, for whoever does not break it."""
    with serving(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture(scope="module")
def open_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("open"), configuration=NOBODY) as made:
        yield made


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A gateway that has little patience and little room."""
    limits = "body_timeout_s = 0.5\ncommit_timeout_s = 1\nwaiting_mb = 0.001\n"
    configuration = f"[gateway.limits]\n{limits}{SENDERS}"
    with serving(tmp_path_factory.mktemp("strict"), configuration=configuration) as made:
        yield made


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, and one for a sender, which is its own authority."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")
    folder = tmp_path_factory.mktemp("keys")
    for name, extension in (("gateway", "IP:127.0.0.1"), ("sender", "DNS:sender")):
        files = ("-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem")
        subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName={extension}")
        command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
        subprocess.run([*command, *files, *subject], check=True, capture_output=True)
    return folder


class TestSenders:
    @pytest.mark.parametrize(
        ("name", "alerts"),
        [
            ("alertmanager", 2),
            ("alertmanager-odd", 3),
            ("grafana", 1),
            ("pagerduty-triggered", 1),
            ("pagerduty-resolved", 1),
            ("pagerduty-ping", 0),
            ("datadog", 1),
            ("datadog-recovered", 1),
            ("datadog-usual", 1),
            ("generic", 1),
            ("generic-several", 2),
        ],
    )
    def test_a_documented_body_is_kept_once(self, gateway: Serving, name: str, alerts: int) -> None:
        source, before = name.partition("-")[0], gateway.kept()
        first, again = (gateway.post(source, example(name)) for _ in range(2))
        assert (first.status_code, again.status_code) == (202, 202)
        assert first.json()["new"] == alerts
        assert (again.json()["new"], again.json()["repeated"]) == (0, alerts)
        assert gateway.kept() == before + alerts

    def test_what_a_sender_left_out_is_told(self, gateway: Serving) -> None:
        told = gateway.post("alertmanager", example("alertmanager-odd")).json()
        assert told["truncated"] == 7
        page = gateway.get("/metrics").text
        assert 'rbkernel_alerts_total{outcome="left out",source="alertmanager"}' in page

    @pytest.mark.parametrize(
        "source", ["alertmanager", "grafana", "pagerduty", "datadog", "generic"]
    )
    @pytest.mark.parametrize(
        "headers",
        [
            {"X-Nothing": "x"},
            {"Authorization": "Bearer wrong-secret"},
            {"Authorization": "Bearer \N{SNOWMAN}é"},
            {"Authorization": b"\xff\xfe"},
            {"Authorization": "Basic ????"},
            {"X-Grafana-Alerting-Signature": "0" * 64, "X-Time": "1"},
            {"X-PagerDuty-Signature": "v1=" + "é" * 64},
            {"X-Rbkernel-Signature": signature(SECRETS["GENERIC_TOKEN"], b"{}")},
        ],
    )
    def test_without_its_proof_nothing_is_taken(
        self, gateway: Serving, source: str, headers: dict[str, str | bytes]
    ) -> None:
        before = gateway.kept()
        answer = gateway.post(source, example("generic"), **headers)
        assert answer.status_code == 401
        assert set(answer.json()) == {"what", "where", "next_step"}
        assert not any(secret in answer.text for secret in SECRETS.values())
        assert gateway.kept() == before

    def test_a_signature_of_another_body_is_none(self, gateway: Serving) -> None:
        body = example("pagerduty-triggered")
        answer = gateway.post("pagerduty", body + b" ", **proven("pagerduty", body))
        assert answer.status_code == 401

    def test_what_cannot_be_read_is_kept_and_seen(self, gateway: Serving) -> None:
        raw = b'{"alerts": [' + bytes(range(256))
        answer = gateway.post("alertmanager", raw)
        assert answer.status_code == 202
        number = answer.json()["quarantine_number"]
        store = gateway.store
        assert store.quarantined_bytes(number) == raw
        [shown] = [one for one in store.quarantined() if one.number == number]
        store.close()
        assert shown.reason == answer.json()["problem"]
        assert 'outcome="quarantined",source="alertmanager"' in gateway.get("/metrics").text

    def test_half_of_it_is_taken_and_all_of_it_kept(self, gateway: Serving) -> None:
        body = {"alerts": [alert(700), {"labels": {}}, alert(701)]}
        told = gateway.post("generic", body).json()
        assert told["new"] == 2
        assert "alerts[1]" in told["problem"]
        assert told["quarantine_number"]


class TestLimits:
    @pytest.mark.parametrize("size", [5_000_000, 50_000_000, 200_000_000])
    @pytest.mark.parametrize("in_pieces", [False, True])
    def test_a_body_that_is_too_long(self, gateway: Serving, size: int, in_pieces: bool) -> None:
        """The client looks for the answer only after it has sent everything."""
        answer = gateway.post_long("generic", size, in_pieces, **proven("generic", b""))
        assert answer.status_code == 413
        assert "longer than" in answer.json()["what"]
        assert "body_mb" in answer.json()["next_step"]

    @pytest.mark.parametrize(("source", "status"), [("generic", 401), ("zabbix", 404)])
    def test_a_long_body_of_a_stranger(self, gateway: Serving, source: str, status: int) -> None:
        answer = gateway.post_long(source, 50_000_000, in_pieces=True)
        assert answer.status_code == status
        assert answer.json()["next_step"]

    @pytest.mark.parametrize(
        ("token", "length", "status"),
        [
            (SECRETS["GENERIC_TOKEN"], 50_000_000, b"413"),
            ("another-secret", 40, b"401"),
            (SECRETS["GENERIC_TOKEN"], 40, b"100"),
        ],
    )
    def test_a_sender_that_asks_before_it_sends_the_body(
        self, gateway: Serving, token: str, length: int, status: bytes
    ) -> None:
        headers = f"Authorization: Bearer {token}\r\nContent-Length: {length}\r\n"
        with gateway.line() as line:
            line.sendall(POST + headers.encode() + b"Expect: 100-continue\r\n\r\n")
            assert line.recv(1000).split()[1] == status

    def test_a_packed_body(self, gateway: Serving) -> None:
        raw = gzip.compress(json.dumps(alert(710)).encode())
        headers = {"Content-Encoding": "gzip", **proven("generic", raw)}
        assert gateway.post("generic", raw, **headers).json()["new"] == 1

    def test_a_bomb(self, gateway: Serving) -> None:
        process = psutil.Process(gateway.process.pid)
        before = process.memory_info().rss
        raw = gzip.compress(b"0" * 200_000_000, compresslevel=1)
        headers = {"Content-Encoding": "gzip", **proven("generic", raw)}
        assert gateway.post("generic", raw, **headers).status_code == 413
        assert process.memory_info().rss - before < 50 * 1024**2

    def test_other_methods_and_places(self, gateway: Serving) -> None:
        answer = gateway.get("/alerts/generic")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        assert gateway.post("zabbix", {}, **proven("generic", b"{}")).status_code == 404
        assert gateway.get("/nowhere").status_code == 404

    def test_what_is_no_http(self, gateway: Serving) -> None:
        host, port = gateway.url.removeprefix("http://").split(":")
        for said in (
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET / HTTP/9.9\r\n\r\n",
            POST + b"Content-Length: -1\r\n\r\n",
            POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
            POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            POST + b"Content-Length: 99999999999999999999\r\n\r\n",
            POST.replace(b"generic", b"\xff") + b"\r\n",
            b"X" * 200_000,
        ):
            with socket.create_connection((host, int(port)), timeout=10) as line:
                line.settimeout(10)
                try:
                    line.sendall(said)
                    line.shutdown(socket.SHUT_WR)
                    answer = line.recv(100)
                except OSError:
                    answer = b""
            assert not answer.startswith(b"HTTP/1.1 5"), said
        assert gateway.get("/health/live").json() == {"live": True}

    def test_a_slow_body_is_asked_for_again(self, strict: Serving) -> None:
        host, port = strict.url.removeprefix("http://").split(":")
        token = f"Authorization: Bearer {SECRETS['GENERIC_TOKEN']}\r\n".encode()
        with socket.create_connection((host, int(port)), timeout=20) as line:
            line.sendall(POST + token + b"Content-Length: 20\r\n\r\n{")
            answer = line.recv(1000)
        assert answer.startswith(b"HTTP/1.1 503")
        assert _until_accepted(strict, 1)

    def test_a_locked_store_is_asked_for_again_while_the_sender_listens(
        self, strict: Serving
    ) -> None:
        store, before = strict.store, strict.kept()
        with store.writing():
            began = time.monotonic()
            answer = strict.post("generic", alert(2))
            took_s = time.monotonic() - began
        store.close()
        assert answer.status_code == 503
        assert took_s < 5  # PagerDuty waits no longer
        assert _until_accepted(strict, 2)
        assert strict.kept() == before + 1

    def test_too_much_at_once(self, strict: Serving) -> None:
        answer = strict.post("generic", alert(3, summary="x" * 2_000))
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert _until_accepted(strict, 3)  # all was given back


class TestWhoMaySendWithoutSecrets:
    def test_this_machine(self, open_gateway: Serving) -> None:
        assert open_gateway.post("generic", alert(), **JSON).status_code == 202
        assert any("this machine only" in line for line in open_gateway.said)

    @pytest.mark.parametrize(
        "headers",
        [
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/x-www-form-urlencoded"},
            {"Host": "attacker.example"},
            {"Host": "127.0.0.1.attacker.example"},
            {"X-Forwarded-For": "10.1.2.3"},
            {"Forwarded": "for=10.1.2.3"},
        ],
    )
    def test_not_a_page_in_its_browser_and_no_proxy(
        self, open_gateway: Serving, headers: dict[str, str]
    ) -> None:
        answer = open_gateway.post("generic", alert(1), **{**JSON, **headers})
        assert answer.status_code == 401
        assert "secret_env" in answer.json()["next_step"]

    def test_nobody_else_is_listened_to(self, tmp_path: Path) -> None:
        done = rbkernel(tmp_path, "serve", "--host", "0.0.0.0", "--port", "0", configuration=NOBODY)
        assert done.returncode == 3
        assert "anyone could send alerts" in done.stderr
        assert "secret_env" in done.stderr


def rbkernel(
    folder: Path, *arguments: str, configuration: str = SENDERS, **environment: str
) -> subprocess.CompletedProcess[str]:
    file = folder / "rbkernel.toml"
    file.write_text(configuration)
    places = {
        "RBKERNEL_CONFIG": str(file),
        "RBKERNEL_STORE_URL": f"sqlite:///{folder}/store.sqlite",
        "RBKERNEL_EVIDENCE": str(folder / "evidence"),
    }
    return run_command(*arguments, environment={**os.environ, **places, **environment})


class TestTheWorstHour:
    def test_what_was_acknowledged_survives_kill_9(self, tmp_path: Path) -> None:
        acknowledged: list[int] = []
        for life in range(2):
            with serving(tmp_path) as gateway:
                senders = [
                    threading.Thread(target=_post_all, args=(gateway, first, acknowledged))
                    for first in (life * 100_000, life * 100_000 + 50_000)
                ]
                for sender in senders:
                    sender.start()
                enough, deadline = len(acknowledged) + 60, time.monotonic() + 60
                while len(acknowledged) < enough and time.monotonic() < deadline:
                    time.sleep(0.001)
                gateway.process.kill()
                for sender in senders:
                    sender.join(60)
        store = Store.open(f"sqlite:///{tmp_path}/store.sqlite")
        kept = {stored.alert.name for stored in store.alerts(limit=100_000)}
        store.close()
        assert len(acknowledged) >= 120
        assert {f"Test{number}" for number in acknowledged} <= kept

    def test_a_full_disk_is_503_and_the_retry_lands(self, tmp_path: Path) -> None:
        with serving(tmp_path) as gateway:
            assert gateway.post("generic", alert(0)).status_code == 202
            # no file of the process may grow: writing fails as it does on a full disk
            pid, unlimited = gateway.process.pid, resource.RLIM_INFINITY
            size = max(file.stat().st_size for file in tmp_path.glob("store.sqlite*"))
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size // 2, unlimited))
            refused = gateway.post("generic", alert(1))
            broken = gateway.post("generic", b"not readable")
            time.sleep(2.1)  # the disk is asked every two seconds at the most
            ready = gateway.get("/health/ready")
            figures = gateway.get("/metrics").text
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
            assert (refused.status_code, broken.status_code) == (503, 503)
            assert refused.headers["Retry-After"]
            assert "store" in refused.json()["what"]
            assert ready.status_code == 503
            assert ready.json()["problems"]
            assert 'outcome="store failed",source="generic"} 2.0' in figures
            assert gateway.post("generic", alert(1)).json()["new"] == 1
            assert gateway.kept() == 2

    def test_a_store_that_is_down_is_503_and_the_retry_lands(
        self, tmp_path: Path, database: tuple[str, dict[str, str]]
    ) -> None:
        url, variables = database
        at = urlsplit(url)
        relay = Relay(at.port or 0)
        passwords = tmp_path / "passwords"
        passwords.write_text(
            Path(variables["PGPASSFILE"]).read_text().replace(f":{at.port}:", f":{relay.port}:")
        )
        passwords.chmod(0o600)
        through = url.replace(f":{at.port}/", f":{relay.port}/")
        places = {"RBKERNEL_STORE_URL": through, "PGPASSFILE": str(passwords)}
        with serving(tmp_path, **places) as gateway:
            assert gateway.post("generic", alert(0)).json()["new"] == 1
            relay.cut()
            refused = gateway.post("generic", alert(1))
            assert refused.status_code == 503
            assert gateway.get("/health/live").status_code == 200
            assert gateway.get("/health/ready").status_code == 503
            assert "rbkernel_store_up 0.0" in gateway.get("/metrics").text
            relay.mend()
            assert _until_accepted(gateway, 1)
            figures = gateway.get("/metrics").text
            assert "rbkernel_store_up 1.0" in figures
            assert 'rbkernel_alerts_total{outcome="new",source="generic"} 2.0' in figures
        relay.cut()

    def test_sigterm_answers_whoever_is_under_way(self, tmp_path: Path) -> None:
        with serving(tmp_path) as gateway:
            host, port = gateway.url.removeprefix("http://").split(":")
            raw = json.dumps(alert(0)).encode()
            headers = "".join(f"{k}: {v!s}\r\n" for k, v in proven("generic", raw).items())
            with socket.create_connection((host, int(port)), timeout=20) as line:
                head = f"POST /alerts/generic HTTP/1.1\r\nHost: x\r\n{headers}"
                line.sendall(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw[:5])
                time.sleep(0.3)
                gateway.process.send_signal(signal.SIGTERM)
                time.sleep(0.3)
                with pytest.raises(httpx.ConnectError):
                    gateway.get("/health/live")
                line.sendall(raw[5:])
                assert line.recv(1000).startswith(b"HTTP/1.1 202")
            assert gateway.process.wait(30) == 0
            assert gateway.kept() == 1

    def test_a_storm(self, gateway: Serving) -> None:
        process = psutil.Process(gateway.process.pid)
        assert gateway.post("generic", alert(1_000_000)).status_code == 202
        before, kept = process.memory_info().rss, gateway.kept()
        assert asyncio.run(_storm(gateway, 500)) == {202: 500}
        assert gateway.kept() == kept + 500
        assert process.memory_info().rss - before < 40 * 1024**2


def _post_all(gateway: Serving, first: int, acknowledged: list[int]) -> None:
    """Post alert after alert until nobody answers."""
    with httpx.Client(timeout=30) as client:
        for number in range(first, first + 50_000):
            raw = json.dumps(alert(number)).encode()
            headers = as_bytes({**JSON, **proven("generic", raw)})
            try:
                answer = client.post(f"{gateway.url}/alerts/generic", content=raw, headers=headers)
            except httpx.TransportError:
                return
            if answer.status_code == 202:
                acknowledged.append(number)


def _until_accepted(gateway: Serving, number: int) -> bool:
    """Come again, as senders do."""
    for _ in range(20):
        if gateway.post("generic", alert(number)).status_code == 202:
            return True
        time.sleep(0.2)
    return False


async def _storm(gateway: Serving, number: int) -> dict[int, int]:
    seen: dict[int, int] = {}
    numbers = iter(range(2_000_000, 2_000_000 + number))
    limits = httpx.Limits(max_connections=20)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:

        async def send() -> None:
            for one in numbers:
                raw = json.dumps(alert(one)).encode()
                headers = as_bytes({**JSON, **proven("generic", raw)})
                answer = await client.post(
                    f"{gateway.url}/alerts/generic", content=raw, headers=headers
                )
                seen[answer.status_code] = seen.get(answer.status_code, 0) + 1

        await asyncio.gather(*(send() for _ in range(20)))
    return seen


class TestTls:
    def configuration(self, keys: Path, more: str = "") -> str:
        return (
            f'[gateway]\ntls_certificate = "{keys}/gateway.pem"\ntls_key = "{keys}/gateway.key"\n'
            f"{more}{SENDERS}"
        )

    def test_a_sender_that_trusts_it(self, keys: Path, tmp_path: Path) -> None:
        with serving(tmp_path, configuration=self.configuration(keys)) as gateway:
            assert gateway.url.startswith("https://127.0.0.1:")
            trusting = ssl.create_default_context(cafile=str(keys / "gateway.pem"))
            assert httpx.get(f"{gateway.url}/health/live", verify=trusting).status_code == 200
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{gateway.url}/health/live")
            old = ssl.create_default_context(cafile=str(keys / "gateway.pem"))
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            assert httpx.get(f"{gateway.url}/health/live", verify=old).status_code == 200

    def test_only_clients_that_are_known(self, keys: Path, tmp_path: Path) -> None:
        more = f'tls_client_ca = "{keys}/sender.pem"\n'
        with serving(tmp_path, configuration=self.configuration(keys, more)) as gateway:
            trusting = ssl.create_default_context(cafile=str(keys / "gateway.pem"))
            with pytest.raises(httpx.TransportError):
                httpx.get(f"{gateway.url}/health/live", verify=trusting)
            trusting.load_cert_chain(keys / "sender.pem", keys / "sender.key")
            assert httpx.get(f"{gateway.url}/health/live", verify=trusting).status_code == 200

    @pytest.mark.parametrize("clients", [False, True])
    def test_the_check_knows_its_certificate(
        self, keys: Path, tmp_path: Path, clients: bool
    ) -> None:
        more = f'tls_client_ca = "{keys}/sender.pem"\n' if clients else ""
        done = rbkernel(
            tmp_path,
            *("serve", "--check", "--json", "--port", "0"),
            configuration=self.configuration(keys, more),
            **SECRETS,
        )
        assert done.returncode == 0, done.stdout
        assert ("need a certificate from sender.pem" in done.stdout) == clients


class TestCheck:
    def test_without_a_gateway_it_starts_one(self, tmp_path: Path) -> None:
        found = self.check(tmp_path, "--port", str(_free_port()))
        assert found["listening"]["actual"].startswith("no gateway is running at")
        assert {one["verdict"] for one in found.values()} == {"ok"}
        assert "hmac, 2 secrets; with a wrong secret 401" in found["grafana"]["actual"]
        store = Store.open(f"sqlite:///{tmp_path}/store.sqlite")
        counts = store.counts()
        store.close()
        assert (sum(counts.alerts.values()), counts.quarantined) == (0, 0)

    def test_the_gateway_that_listens_is_asked(self, gateway: Serving, tmp_path: Path) -> None:
        port = gateway.url.rpartition(":")[2]
        others = {**SECRETS, "PD_SECRET": "another-secret"}
        found = self.check(tmp_path, "--port", port, secrets=others)
        assert found["listening"]["actual"] == f"a gateway is running at {gateway.url}"
        assert [name for name, one in found.items() if one["verdict"] != "ok"] == ["pagerduty"]
        assert found["pagerduty"]["actual"].startswith("401 from POST")
        assert "the signature does not match" in found["pagerduty"]["cause"]

    def test_senders_without_a_secret_are_closed_when_another_has_one(self, tmp_path: Path) -> None:
        one = '[gateway.senders.datadog]\nsecret_env = "DD_TOKEN"\n'
        configuration = one + DEFAULT_CONNECTION
        found = self.check(tmp_path, "--port", str(_free_port()), configuration=configuration)
        assert {one["verdict"] for one in found.values()} == {"ok"}
        assert found["datadog"]["actual"].startswith("202 from POST")
        assert found["generic"]["actual"].startswith("401 from POST")
        assert "closed: no secret is configured" in found["generic"]["actual"]

    def test_a_secret_that_is_not_set(self, tmp_path: Path) -> None:
        secrets = {name: value for name, value in SECRETS.items() if name != "AM_TOKEN"}
        found = self.check(tmp_path, "--port", str(_free_port()), secrets=secrets)
        [one] = found.values()
        assert "the secret of this sender is not set" in one["actual"]
        assert one["next_step"] == "set AM_TOKEN"

    @pytest.mark.parametrize(
        ("configuration", "words"),
        [
            ('[notify.targets.p]\nurl_env = "NOPE_X"\n', "NOPE_X is not set"),
            ('[notify.targets.p]\nurl_command = ["echo", "nothing"]\n', "apprise"),
            ('[pages]\nlink_secret_env = "NOPE_X"\n', "the secret for links is not set"),
            (
                f'[pages]\nopen_on_loopback = true\n[gateway]\nhost = "0.0.0.0"\n{SENDERS}',
                "0.0.0.0",
            ),
        ],
    )
    def test_what_serve_refuses_the_check_does(
        self, tmp_path: Path, configuration: str, words: str
    ) -> None:
        port = ("--port", str(_free_port()))
        found = self.check(tmp_path, *port, configuration=configuration)
        assert found["start"]["verdict"] == "critical"
        assert words in found["start"]["actual"]
        done = rbkernel(tmp_path, "serve", *port, configuration=configuration, **SECRETS)
        assert done.returncode == 3
        assert words in done.stderr

    def test_what_is_planned_and_cannot_be_run(self, tmp_path: Path) -> None:
        text = '[[schedules]]\nname = "daily"\ncron = "0 6 * * *"\nrunbook = "RUN-999"\n'
        configuration = text + DEFAULT_CONNECTION
        found = self.check(tmp_path, "--port", str(_free_port()), configuration=configuration)
        assert found["plans"]["verdict"] == "critical"
        assert "RUN-999 cannot run" in found["plans"]["actual"]

    def test_something_else_listens_there(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            threading.Thread(target=_answer_oddly, args=(other,), daemon=True).start()
            found = self.check(tmp_path, "--port", str(other.getsockname()[1]))
        assert "another program listens there" in found["listening"]["actual"]

    def test_in_words(self, tmp_path: Path) -> None:
        port = str(_free_port())
        done = rbkernel(tmp_path, "serve", "--check", "--port", port, **SECRETS)
        assert done.returncode == 0
        assert done.stdout.startswith("OK ")
        assert "alertmanager" in done.stdout
        assert not any(secret in done.stdout + done.stderr for secret in SECRETS.values())

    def check(
        self,
        folder: Path,
        *arguments: str,
        secrets: dict[str, str] = SECRETS,
        configuration: str = SENDERS,
    ) -> dict[str, dict[str, Any]]:
        command = ("serve", "--check", "--json", *arguments)
        done = rbkernel(folder, *command, configuration=configuration, **secrets)
        return {one["title"]: one for one in json.loads(done.stdout)}


class TestFigures:
    def test_ready_and_the_description(self, gateway: Serving) -> None:
        assert gateway.get("/health/ready").json() == {"ready": True, "problems": []}
        described = gateway.get("/openapi.json").json()
        assert described["openapi"].startswith("3.1")
        assert described["paths"]["/alerts/pagerduty"]["post"]["security"] == [{"pagerduty": []}]

    def test_not_ready_where_evidence_cannot_be_written(self, tmp_path: Path) -> None:
        with serving(tmp_path, configuration=NOBODY, RBKERNEL_EVIDENCE="/proc/nope") as made:
            assert made.post("generic", alert(1), **JSON).status_code == 202
            told = made.get("/health/ready")
            assert told.status_code == 503
            assert "/proc/nope" in told.json()["problems"][0]

    def test_prometheus_can_read_them(self, gateway: Serving) -> None:
        from prometheus_client.parser import text_string_to_metric_families

        gateway.post("generic", alert(800))
        answer = gateway.get("/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain")
        families = {family.name for family in text_string_to_metric_families(answer.text)}
        assert {
            "rbkernel_alerts",
            "rbkernel_deliveries",
            "rbkernel_acknowledgement_seconds",
            "rbkernel_store_up",
            "rbkernel_alerts_stored",
            "rbkernel_queue_depth",
            "rbkernel_queue_oldest_seconds",
            "rbkernel_run_seconds",
            "rbkernel_kernels_running",
            "rbkernel_quarantined",
        } <= families

    def test_a_port_that_is_taken(self, gateway: Serving, tmp_path: Path) -> None:
        port = gateway.url.rpartition(":")[2]
        done = rbkernel(tmp_path, "serve", "--port", port, configuration=NOBODY)
        assert done.returncode == 3
        assert "serve --check" in done.stderr


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _answer_oddly(listening: socket.socket) -> None:
    line, _ = listening.accept()
    with line:
        line.recv(1000)
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
