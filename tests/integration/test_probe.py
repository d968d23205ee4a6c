"""`rb.http` and `rb.shell` in a real kernel, on a real server and real commands.

One kernel answers for all: a cell calls a probe, and the finding is read from what it showed.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rbkernel.evidence import reading
from rbkernel.evidence.reading import Event
from tests.support.kernels import (
    PATIENCE_S,
    START,
    Answer,
    Kernel,
    configure,
    kernel,
    write_runbook,
)

FINDING = "application/vnd.rbkernel.finding+json"
SECRET = "hunter2-Tr0ub4dor"
LONG = 60_000  # characters; more than is kept
# the interrupt comes while the process runs already, and `Popen` has not returned yet
STARTS_SLOWLY = """
import subprocess, time, unittest.mock
def slowly(*arguments, start=subprocess.Popen, **options):
    process = start(*arguments, **options)
    time.sleep(1)
    return process
with unittest.mock.patch("subprocess.Popen", slowly):
    {cell}
"""


class Endpoint(BaseHTTPRequestHandler):
    """A service that is well, ill, slow or talkative, by path."""

    seen: list[str] = []  # noqa: RUF012  # all that was asked, of all requests

    def do_GET(self) -> None:
        self.seen.append(f"{self.command} {self.path}")
        with suppress(ConnectionError):  # a client that has had enough
            getattr(self, f"answer_{self.path.partition('?')[0].strip('/')}")()

    do_HEAD = do_POST = do_DELETE = do_GET  # noqa: N815  # as http.server calls them

    def answer_ok(self) -> None:
        self.say(200, b'{"status": "healthy"}')

    def answer_ill(self) -> None:
        self.say(503, b'{"status": "healthy"}')

    def answer_slow(self) -> None:
        time.sleep(0.6)
        self.say(200, b"healthy")

    def answer_never(self) -> None:
        time.sleep(2)

    def answer_moved(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/ok")
        self.end_headers()

    def answer_long(self) -> None:
        self.say(200, b"x" * LONG + b" the end")

    def answer_endless(self) -> None:
        """Talk on, each time well within a time-out."""
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"still here ")
            self.wfile.flush()
            time.sleep(0.1)

    def answer_drip(self) -> None:
        """Never come to the end of the headers."""
        self.wfile.write(b"HTTP/1.0 200 OK\r\n")
        for number in range(60):
            self.wfile.write(f"X-Drip-{number}: 1\r\n".encode())
            self.wfile.flush()
            time.sleep(0.1)

    def answer_huge(self) -> None:
        self.say(200, b"x" * 3_000_000 + b"healthy")

    def answer_rude(self) -> None:
        """Hang up without a word."""
        self.close_connection = True

    def say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing on standard error."""


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


# an escaped child has a session of its own, so the time-out's signal does not reach it
COMMANDS: dict[str, dict[str, Any]] = {
    "say": {"argv": ["echo", "healthy", "{what}"], "arguments": {"what": r"[\w ;|$()`'*-]+"}},
    "any": {"argv": ["printf", "%s|", "{one}", "{two}"], "arguments": {"one": ".*", "two": ".*"}},
    "fail": {"argv": ["sh", "-c", "echo it is ill; echo why >&2; exit 3"]},
    "killed": {"argv": ["sh", "-c", "kill -9 $$"]},
    "family": {
        "argv": ["sh", "-c", "echo begun; sleep 100 & echo $! $$ >{file}; wait"],
        "arguments": {"file": "/.*"},
        "timeout_s": 0.5,
    },
    "escaped": {"argv": ["sh", "-c", "setsid sleep 3 & wait"], "timeout_s": 0.5},
    "patient": {
        "argv": ["sh", "-c", "echo $$ >{file}; exec sleep 100"],
        "arguments": {"file": "/.*"},
        "timeout_s": 60,
    },
    "talkative": {"argv": ["sh", "-c", "echo begun; exec yes"], "timeout_s": 0.5},
    "long": {"argv": ["sh", "-c", f"head -c {LONG} /dev/zero | tr '\\0' x; echo ' the end'"]},
    "missing": {"argv": ["no-such-program-anywhere"]},
    "forbidden": {"argv": ["/etc/hostname"]},
    "bytes": {"argv": ["printf", "\\377healthy"]},
    "token": {"argv": ["echo", "{token}"], "arguments": {"token": ".*"}},
}


def toml(commands: dict[str, dict[str, Any]]) -> str:
    """Write the commands as a section each; a JSON string, number or list is a TOML one, too."""
    lines = []
    for name, fields in commands.items():
        plain = {key: value for key, value in fields.items() if key != "arguments"}
        lines += [f"[commands.{name}]", *(f"{k} = {json.dumps(v)}" for k, v in plain.items())]
        if patterns := fields.get("arguments"):
            lines += [f"[commands.{name}.arguments]"]
            lines += [f"{key} = {json.dumps(pattern)}" for key, pattern in patterns.items()]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Probes:
    """A kernel in which `rb.start` has run, and the journal that it writes.

    ``too_early`` are the answers to probes before that.
    """

    kernel: Kernel
    evidence: Path
    too_early: tuple[Answer, ...]

    def call(self, function: str, *arguments: object, **named: object) -> Answer:
        words = [repr(one) for one in arguments] + [f"{k}={v!r}" for k, v in named.items()]
        return self.kernel.run(f"rb.{function}({', '.join(words)})")

    def finding(self, function: str, *arguments: object, **named: object) -> dict[str, Any]:
        """Call a probe, and return the finding that it showed; it must have been recorded."""
        answer = self.call(function, *arguments, **named)
        assert answer.reply["status"] == "ok", answer.reply
        [shown] = [m for m in answer.messages if FINDING in m["content"].get("data", {})]
        found: dict[str, Any] = shown["content"]["data"][FINDING]
        text = shown["content"]["data"]["text/plain"]
        assert found["verdict"].upper() in text
        assert found["title"] in text
        recorded = self.events("finding")[-1].data
        assert recorded["title"] == found["title"] == arguments[0]
        assert recorded["verdict"] == found["verdict"]
        return found

    def refusal(self, function: str, *arguments: object, **named: object) -> str:
        """Call a probe that refuses; nothing may have been asked."""
        before = len(self.events(function))
        reply = self.call(function, *arguments, **named).reply
        assert reply["status"] == "error"
        assert "Next: " in reply["evalue"]
        assert len(self.events(function)) == before
        return f"{reply['ename']}: {reply['evalue']}"

    def events(self, kind: str) -> tuple[Event, ...]:
        [folder] = (self.evidence / "open").iterdir()
        return reading.read(folder).of_kind(kind)


@pytest.fixture(scope="module")
def probes(service: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probes]:
    folder = tmp_path_factory.mktemp("probes")
    write_runbook(folder / "runbook.ipynb", [START])
    file = configure(folder)
    file.write_text(file.read_text() + toml(COMMANDS))
    evidence = folder / "evidence"
    environment = {"RBKERNEL_CONFIG": str(file), "RBKERNEL_EVIDENCE": str(evidence)}
    with kernel(**environment) as running:
        calls = (f"http('Health', '{service}/ok')", "shell('Says', 'say')")
        too_early = tuple(running.run(f"import rbkernel as rb\nrb.{call}") for call in calls)
        assert Endpoint.seen == []
        started = running.run(START)
        assert started.reply["status"] == "ok", started.reply
        yield Probes(running, evidence, too_early)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def test_before_start_nothing_is_asked(probes: Probes) -> None:
    assert [answer.reply["ename"] for answer in probes.too_early] == ["NotStarted"] * 2


class TestHttp:
    def test_ok(self, probes: Probes, service: str) -> None:
        found = probes.finding(
            *("http", "Health", f"{service}/ok"), contains="healthy", next_step="restart it"
        )
        assert found["verdict"] == "ok"
        assert found["actual"].startswith("200 in 0.")
        assert found["expected"] == "200 with 'healthy' within 2 s"
        assert (found["cause"], found["next_step"]) == ("", "")
        event = probes.events("http")[-1].data
        assert (event["url"], event["method"]) == (f"{service}/ok", "GET")
        assert event["body"] == '{"status": "healthy"}'

    def test_wrong_status(self, probes: Probes, service: str) -> None:
        words = {"cause": "it is ill", "next_step": "restart it"}
        found = probes.finding("http", "Health", f"{service}/ill", contains="healthy", **words)
        assert found["verdict"] == "critical"
        assert found["actual"].startswith("503 in")
        assert {key: found[key] for key in words} == words

    def test_another_status_may_be_right(self, probes: Probes, service: str) -> None:
        found = probes.finding("http", "Health", f"{service}/ill", status=503)
        assert found["verdict"] == "ok"

    def test_missing_text(self, probes: Probes, service: str) -> None:
        found = probes.finding("http", "Health", f"{service}/ok", contains="perfect")
        assert found["verdict"] == "critical"
        assert "without 'perfect'" in found["actual"]

    def test_slow_is_a_warning(self, probes: Probes, service: str) -> None:
        found = probes.finding("http", "Health", f"{service}/slow", within_s=0.3)
        assert found["verdict"] == "warning"
        assert found["actual"].startswith("200 in 0.")
        assert probes.finding("http", "Health", f"{service}/slow")["verdict"] == "ok"

    def test_no_answer_in_time(self, probes: Probes, service: str) -> None:
        found = probes.finding("http", "Health", f"{service}/never", timeout_s=0.3)
        assert (found["verdict"], found["actual"]) == ("critical", "no answer within 0.3 s")

    def test_an_endless_answer_has_an_end(self, probes: Probes, service: str) -> None:
        """httpx's own time-out begins anew with each piece."""
        found = probes.finding("http", "Health", f"{service}/endless", timeout_s=0.5)
        assert (found["verdict"], found["actual"]) == ("critical", "no answer within 0.5 s")

    def test_nor_do_endless_headers_hold_the_run(self, probes: Probes, service: str) -> None:
        started = time.monotonic()
        found = probes.finding("http", "Health", f"{service}/drip", timeout_s=0.5)
        assert (found["verdict"], found["actual"]) == ("critical", "no answer within 0.5 s")
        assert time.monotonic() - started < 3

    def test_what_is_not_read_is_not_known(self, probes: Probes, service: str) -> None:
        found = probes.finding("http", "Health", f"{service}/huge", contains="healthy")
        assert found["verdict"] == "unknown"
        assert "in its first 1000 kB" in found["actual"]

    @pytest.mark.parametrize("name", ["within_s", "timeout_s"])
    @pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "0", "-1", "'2'"])
    def test_a_time_is_a_number_above_0(
        self, probes: Probes, service: str, name: str, value: str
    ) -> None:
        reply = probes.kernel.run(f"rb.http('Health', '{service}/ok', {name}={value})").reply
        assert reply["ename"] == "ParameterError"
        assert reply["evalue"].startswith(f"rb.http: {name} should be ")

    def test_all_of_an_answer_is_judged_and_its_beginning_kept(
        self, probes: Probes, service: str
    ) -> None:
        found = probes.finding("http", "Health", f"{service}/long", contains="the end")
        assert found["verdict"] == "ok"
        assert len(probes.events("http")[-1].data["body"]) < LONG

    def test_refused(self, probes: Probes) -> None:
        found = probes.finding(
            *("http", "Health", f"http://127.0.0.1:{closed_port()}/"), next_step="start it"
        )
        assert found["verdict"] == "critical"
        assert "refused" in found["actual"]
        assert found["next_step"] == "start it"

    def test_hung_up(self, probes: Probes, service: str) -> None:
        found = probes.finding("http", "Health", f"{service}/rude")
        assert found["verdict"] == "critical"
        assert "disconnected" in found["actual"]

    def test_a_name_that_is_not_found_is_unknown(self, probes: Probes) -> None:
        found = probes.finding(
            *("http", "Health", "http://nowhere.invalid/"), cause="it is ill", next_step="look"
        )
        assert found["verdict"] == "unknown"
        assert "ConnectError" in found["actual"]
        assert (found["cause"], found["next_step"]) == ("", "look")

    def test_redirects_are_not_followed(self, probes: Probes, service: str) -> None:
        Endpoint.seen.clear()
        found = probes.finding("http", "Health", f"{service}/moved")
        assert found["verdict"] == "critical"
        assert found["actual"].startswith("302 in")
        assert Endpoint.seen == ["GET /moved"]

    def test_head(self, probes: Probes, service: str) -> None:
        Endpoint.seen.clear()
        assert probes.finding("http", "Health", f"{service}/ok", method="HEAD")["verdict"] == "ok"
        assert Endpoint.seen == ["HEAD /ok"]

    @pytest.mark.parametrize(
        "address",
        [
            f"http://rb:{SECRET}@HOST/ok",
            f"http://{SECRET}@HOST/ok",
            f"http://HOST/ok?token={SECRET}",
            f"http://HOST/ok?a=1&api_key={SECRET}",
        ],
    )
    def test_credentials_are_refused(self, probes: Probes, service: str, address: str) -> None:
        Endpoint.seen.clear()
        url = address.replace("HOST", service.removeprefix("http://"))
        said = probes.refusal("http", "Health", url)
        assert "ParameterError" in said or "SecretParameter" in said
        assert SECRET not in said
        assert Endpoint.seen == []

    @pytest.mark.parametrize("method", ["POST", "DELETE", "get", "GET /x HTTP/1.1"])
    def test_only_looks(self, probes: Probes, service: str, method: str) -> None:
        Endpoint.seen.clear()
        said = probes.refusal("http", "H", f"{service}/ok", method=method)
        assert "rb.http: method should be 'GET' or 'HEAD'" in said
        assert Endpoint.seen == []

    def test_an_argument_of_another_type_is_named(self, probes: Probes, service: str) -> None:
        Endpoint.seen.clear()
        said = probes.refusal("http", "H", f"{service}/ok", status=[200, 204])
        assert "ParameterError: rb.http: status should be " in said
        assert "rb.http" in said
        assert Endpoint.seen == []

    @pytest.mark.parametrize(
        "url", ["ftp://x/", "db1:8080/h", "http://[::", "http:///x", "http://x:99999", ""]
    )
    def test_what_is_no_address_is_refused(self, probes: Probes, url: str) -> None:
        assert "the address " in probes.refusal("http", "Health", url)


class TestShell:
    def test_ok(self, probes: Probes) -> None:
        found = probes.finding("shell", "Says", "say", contains="healthy", what="today")
        assert found["verdict"] == "ok"
        assert found["actual"] == "exit code 0"
        assert found["expected"] == "exit code 0 with 'healthy'"
        event = probes.events("shell")[-1].data
        assert (event["command"], event["argv"]) == ("say", ["echo", "healthy", "today"])
        assert event["output"] == "healthy today\n"

    def test_wrong_exit_code(self, probes: Probes) -> None:
        words = {"cause": "it is ill", "next_step": "restart it"}
        found = probes.finding("shell", "Fails", "fail", **words)
        assert (found["verdict"], found["actual"]) == ("critical", "exit code 3")
        assert {key: found[key] for key in words} == words
        assert probes.events("shell")[-1].data["output"] == "it is ill\nwhy\n"

    def test_another_exit_code_may_be_right(self, probes: Probes) -> None:
        assert probes.finding("shell", "Fails", "fail", exit_code=3)["verdict"] == "ok"

    def test_killed(self, probes: Probes) -> None:
        found = probes.finding("shell", "Killed", "killed")
        assert (found["verdict"], found["actual"]) == ("critical", "exit code -9")

    def test_missing_text(self, probes: Probes) -> None:
        found = probes.finding("shell", "Says", "say", contains="perfect", what="today")
        assert found["verdict"] == "critical"
        assert "without 'perfect'" in found["actual"]

    def test_output_that_is_no_text(self, probes: Probes) -> None:
        found = probes.finding("shell", "Says", "bytes", contains="healthy")
        assert found["verdict"] == "ok"

    def test_a_time_out_ends_the_whole_group(self, probes: Probes, tmp_path: Path) -> None:
        file = tmp_path / "pids"
        found = probes.finding("shell", "Waits", "family", file=str(file), next_step="look")
        assert (found["verdict"], found["actual"]) == ("unknown", "did not end within 0.5 s")
        assert found["next_step"] == "look"
        assert probes.events("shell")[-1].data["output"] == "begun\n"
        expect_gone(*map(int, file.read_text().split()))

    def test_a_child_that_escaped_holds_up_nothing(self, probes: Probes) -> None:
        """It holds the other end of the pipe for 3 s."""
        started = time.monotonic()
        found = probes.finding("shell", "Waits", "escaped")
        assert found["verdict"] == "unknown"
        assert time.monotonic() - started < 2.5

    def test_a_talkative_command_is_ended_and_cut(self, probes: Probes) -> None:
        found = probes.finding("shell", "Talks", "talkative")
        assert found["verdict"] == "unknown"
        output = probes.events("shell")[-1].data["output"]
        assert output.startswith("begun\ny\ny\n")
        assert len(output) < LONG

    def test_all_of_the_output_is_judged_and_its_beginning_kept(self, probes: Probes) -> None:
        found = probes.finding("shell", "Talks", "long", contains="the end")
        assert found["verdict"] == "ok"
        assert len(probes.events("shell")[-1].data["output"]) < LONG

    @pytest.mark.parametrize("starts", ["at once", "slowly"])
    def test_an_interrupted_cell_leaves_nothing_running(
        self, probes: Probes, tmp_path: Path, starts: str
    ) -> None:
        file = tmp_path / "pid"
        cell = f"rb.shell('Waits', 'patient', file={str(file)!r})"
        running = probes.kernel.client
        running.execute(cell if starts == "at once" else STARTS_SLOWLY.format(cell=cell))
        deadline = time.monotonic() + PATIENCE_S
        while not (file.exists() and file.read_text().strip()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        probes.kernel.manager.interrupt_kernel()
        reply = running.get_shell_msg(timeout=PATIENCE_S)["content"]
        assert reply["ename"] == "KeyboardInterrupt"
        expect_gone(int(file.read_text()))

    @pytest.mark.parametrize("command", ["missing", "forbidden"])
    def test_a_program_that_cannot_be_run_is_unknown(self, probes: Probes, command: str) -> None:
        found = probes.finding("shell", "Runs", command, cause="it is ill")
        assert found["verdict"] == "unknown"
        assert "cannot be run here: " in found["actual"]
        assert found["cause"] == ""

    @pytest.mark.parametrize("command", ["rm", "echo", "sh -c true", "/bin/sh", ""])
    def test_what_is_not_allowed_is_refused(self, probes: Probes, command: str) -> None:
        said = probes.refusal("shell", "Runs", command)
        assert "ConfigError: no command is called" in said
        assert "allowed: any, bytes, escaped, " in said

    @pytest.mark.parametrize("value", ["a/b", "", "-n", "--help", "-", "a\nb"])
    def test_an_argument_that_does_not_fit_is_refused(self, probes: Probes, value: object) -> None:
        assert "ConfigError: what=" in probes.refusal("shell", "Says", "say", what=value)

    @pytest.mark.parametrize("value", [3, None, ["a"]])
    def test_an_argument_is_text(self, probes: Probes, value: object) -> None:
        assert "ParameterError: rb.shell: what should be text" in probes.refusal(
            "shell", "Says", "say", what=value
        )

    def test_a_command_is_a_name_or_a_list(self, probes: Probes) -> None:
        said = probes.refusal("shell", "Runs", 7)
        assert "ParameterError: rb.shell: command should be " in said
        assert "rb.shell" in said

    def test_other_arguments_are_refused(self, probes: Probes) -> None:
        assert "takes what" in probes.refusal("shell", "Says", "say")
        more = probes.refusal("shell", "Says", "say", what="a", more="b")
        assert "takes no keyword 'more'" in more

    def test_a_secret_is_refused_and_not_told(self, probes: Probes) -> None:
        for command, value in (("token", SECRET), ("token", f"-{SECRET}")):
            said = probes.refusal("shell", "Says", command, token=value)
            assert "looks like a secret" in said
            assert SECRET not in said

    @pytest.mark.parametrize(
        "value",
        [
            "a; touch evil",
            "a | tee evil",
            "$(touch evil)",
            "`touch evil`",
            "$HOME",
            "*",
            "a'b",
            "a b",
        ],
    )
    def test_no_shell_reads_an_argument(self, probes: Probes, value: str) -> None:
        found = probes.finding("shell", "Says", "say", what=value)
        assert found["verdict"] == "ok"
        assert probes.events("shell")[-1].data["output"] == f"healthy {value}\n"

    def test_an_argument_stays_one_and_is_filled_in_once(self, probes: Probes) -> None:
        probes.finding("shell", "Prints", "any", one="a {two} %s", two="")
        assert probes.events("shell")[-1].data["output"] == "a {two} %s||"


def expect_gone(*pids: int) -> None:
    """They end at once; the last of them is only buried by init."""
    deadline = time.monotonic() + 20
    for pid in pids:
        while running(pid):
            assert time.monotonic() < deadline, f"{pid} is still there"
            time.sleep(0.02)


def running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
