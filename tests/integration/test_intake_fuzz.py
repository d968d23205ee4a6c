"""Generated bodies: no crash, no unplanned 5xx, and what was acknowledged is in the store."""

from __future__ import annotations

import asyncio
import copy
import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import negative_data_rejection

from rbkernel.config import Settings
from rbkernel.config.gateway import Gateway
from rbkernel.gateway import server
from rbkernel.gateway.intake import SENDERS, openapi
from rbkernel.gateway.intake.clean import body_without_secrets
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.redact import Redactor
from tests.support.serving import CORPUS

_PLANNED = {202, 413}
_PATIENT = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


@dataclass
class Listening:
    """A gateway in this process, and what it said that it keeps."""

    url: str
    store: Store
    client: httpx.Client
    new: int = 0
    quarantined: int = 0

    def post(self, source: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """Post a body, and remember what the answer promises."""
        given = {"Content-Type": "application/json", **headers}
        sent = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
        answer = self.client.post(f"{self.url}/alerts/{source}", content=body, headers=sent)
        self.promised(answer.status_code, answer.content)
        return answer

    def promised(self, status: int, content: bytes) -> None:
        """Add up what was acknowledged."""
        if status == 202:
            receipt = json.loads(content)
            self.new += receipt["new"]
            self.quarantined += "quarantine_number" in receipt

    def keeps_all_of_it(self) -> None:
        """Look into the store."""
        counts = self.store.counts()
        assert (sum(counts.alerts.values()), counts.quarantined) == (self.new, self.quarantined)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """A gateway with a real store, that takes up to 256 KiB."""
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('fuzz')}/store.sqlite")
    configured = Settings(gateway=Gateway.model_validate({"port": 0, "limits": {"body_mb": 0.25}}))
    ready, done = threading.Event(), threading.Event()
    address: list[str] = []

    async def serve() -> None:
        listening = server.Server.start(server.bind(configured), store)
        address.append(listening.address)
        ready.set()
        await asyncio.to_thread(done.wait)
        await listening.end()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(30)
    with httpx.Client(timeout=30) as client:
        yield Listening(address[0], store, client)
    done.set()
    thread.join(30)
    store.close()


_EXAMPLES = {
    source: [json.loads(path.read_bytes()) for path in sorted(CORPUS.glob(f"{source}*.json"))]
    for source in SENDERS
}
_NASTY: list[Any] = [
    *(None, True, 0, -1, 1e308, 10**4200, "", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00"),
    *("\x00", "\ud800", "\udfff\ud800", "﷽" * 50, "\u202e", "a" * 70_000, "2026-02-30T00:00:00Z"),
    *("'; DROP TABLE rbkernel_alerts; --", "$(reboot)", "{0.__class__}", "%n%s", "{{ 7 * 7 }}"),
    *("<script>alert(1)</script>", "../../../etc/passwd", "..\\..\\x", "INC-../x", "\r\nX: y"),
    *([], {}, [[]], {"": {"": []}}, [None] * 50, {"a" * 1_000: "b"}, float("nan"), float("inf")),
]
_values = st.one_of(
    # by number: some are long to tell
    st.integers(0, len(_NASTY) - 1).map(lambda number: copy.deepcopy(_NASTY[number])),
    st.integers(),
    st.text(max_size=50),
    st.integers(1, 150).map(lambda depth: json.loads("[" * depth + "]" * depth)),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a JSON value."""
    if not isinstance(value, dict | list):
        return [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn, source: str) -> bytes:
    """A documented body in which some values are others, and perhaps some bytes, too."""
    body = copy.deepcopy(draw(st.sampled_from(_EXAMPLES[source])))
    for _ in range(draw(st.integers(0, 3))):
        *place, last = draw(st.sampled_from([path for path in _places(body) if path]))
        holder = body
        for key in place:
            holder = holder[key]
        holder[last] = draw(_values)
    raw = json.dumps(body).encode("utf-8", "surrogatepass")
    for _ in range(draw(st.integers(0, 2))):
        at, cut = draw(st.integers(0, len(raw))), draw(st.integers(0, 3))
        raw = raw[:at] + draw(st.binary(max_size=3)) + raw[at + cut :]
    return raw


_TRAPS = [
    *(
        b"",
        b"{",
        b"null",
        b"\xff\xfe",
        b"\0" * 1_000,
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b"9" * 5_000,
    ),
    *(b'{"alerts":' + b"[" * 199 + b"]" * 199 + b"}", b'"\\ud800"', b"\xef\xbb\xbf{}"),
    *(b" " * 300_000, gzip.compress(b"0" * 3_000_000), b"--x\r\n\r\n", b"{}" * 1_000),
]
bodies = st.one_of(
    *(st.tuples(st.just(source), mutated(source)) for source in SENDERS),
    st.tuples(
        st.sampled_from(sorted(SENDERS)),
        st.binary(max_size=200)
        | st.integers(0, len(_TRAPS) - 1).map(lambda number: _TRAPS[number]),
    ),
)
headers = st.sampled_from(
    [{}] * 6
    + [
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "br"},
        {"Authorization": "Bearer \x80ÿ"},
        {"X-PagerDuty-Signature": "v1=" + "é" * 64},
        {"Content-Type": "application/json; charset=utf-16"},
    ]
)


def _holds(gateway: Listening, sent: tuple[str, bytes], more: dict[str, str]) -> None:
    source, raw = sent
    packed = (
        gzip.compress(raw) if more.get("Content-Encoding") == "gzip" and raw[:1] == b"{" else raw
    )
    answer = gateway.post(source, packed, more)
    assert answer.status_code in _PLANNED, answer.text
    if "quarantine_number" in (receipt := answer.json()):
        assert receipt["problem"]
        kept = gateway.store.quarantined_bytes(receipt["quarantine_number"])
        assert kept == body_without_secrets(raw, Redactor())  # unpacked, to be searched


@settings(_PATIENT, max_examples=250)
@given(sent=bodies, more=headers)
def _a_sample(gateway: Listening, sent: tuple[str, bytes], more: dict[str, str]) -> None:
    _holds(gateway, sent, more)


@settings(_PATIENT, max_examples=10_000)
@given(sent=bodies, more=headers)
def _ten_thousand(gateway: Listening, sent: tuple[str, bytes], more: dict[str, str]) -> None:
    _holds(gateway, sent, more)


def test_bodies_that_are_nearly_right(gateway: Listening) -> None:
    _a_sample(gateway)
    gateway.keeps_all_of_it()


@pytest.mark.soak
def test_ten_thousand_bodies(gateway: Listening) -> None:
    _ten_thousand(gateway)
    gateway.keeps_all_of_it()


def _as_described(gateway: Listening, examples: int) -> int:
    """Send what schemathesis makes of the description, hold the answers against it; count them."""
    described = openapi.document(Gateway(port=int(gateway.url.rpartition(":")[2])))
    schema = schemathesis.openapi.from_dict(described)
    sent = 0
    for operation in schema.get_all_operations():
        strategy = operation.ok().as_strategy()  # type: ignore[union-attr]  # it is valid

        @settings(_PATIENT, max_examples=examples)
        @given(case=strategy)
        def holds(case: schemathesis.Case[Any]) -> None:
            nonlocal sent
            sent += 1
            with_type = {"Content-Type": "application/json"} if case.method == "POST" else {}
            answer = case.call(base_url=gateway.url, headers=with_type)
            if case.method == "POST":
                gateway.promised(answer.status_code, answer.content)
                assert answer.status_code in _PLANNED
            # what is no alert is kept in quarantine, not refused
            case.validate_response(answer, excluded_checks=[negative_data_rejection])

        holds()
    return sent


def test_the_description_is_true(gateway: Listening) -> None:
    assert _as_described(gateway, 15) > 60
    gateway.keeps_all_of_it()


@pytest.mark.soak
def test_the_description_is_true_for_long(gateway: Listening) -> None:
    assert _as_described(gateway, 400) > 1_500
    gateway.keeps_all_of_it()
