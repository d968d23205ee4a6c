"""Who may send: each sender's own proof, and every way in which one can be wrong."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbkernel.errors import Unauthenticated
from rbkernel.gateway.intake.authentication import Proof

NEW, OLD = b"new-secret-1234", "altes-Geheimnis-ü".encode()
BODY = (Path(__file__).parents[1] / "corpora/deliveries/pagerduty-triggered.json").read_bytes()
NOW = 1_795_240_800.0


def proof(source: str, method: str, **fields: object) -> Proof:
    headers = {
        "grafana": "X-Grafana-Alerting-Signature",
        "pagerduty": "X-PagerDuty-Signature",
        "generic": "X-Rbkernel-Signature",
    }
    wanted = {"secrets": (NEW, OLD), "signature_header": headers.get(source, ""), **fields}
    return Proof(source=source, method=method, **wanted)  # type: ignore[arg-type]  # of a test


def signature(secret: bytes, body: bytes) -> str:
    return hmac.digest(secret, body, "sha256").hex()


def check(wanted: Proof, headers: Mapping[str, str], body: bytes = BODY) -> None:
    wanted.check(headers.get, body, NOW)


def as_sent(text: str) -> str:
    """Return a header as tornado gives it: its bytes decoded as Latin-1."""
    return text.encode().decode("latin-1")


def basic(pair: bytes) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


BEARER = proof("alertmanager", "bearer")
BASIC = proof("alertmanager", "basic", user="päge")
GRAFANA = proof("grafana", "hmac")
TIMED = proof("grafana", "hmac", timestamp_header="X-Time", window_s=300.0)
PAGERDUTY = proof("pagerduty", "hmac")
GENERIC = proof("generic", "hmac")


class TestBearer:
    @pytest.mark.parametrize("secret", [NEW, OLD])
    @pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
    def test_either_secret(self, secret: bytes, scheme: str) -> None:
        check(BEARER, {"Authorization": as_sent(scheme + secret.decode())})

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "Bearer",
            "Bearer ",
            "Bearer new-secret-123",
            "Bearer new-secret-12345",
            "Bearer NEW-SECRET-1234",
            "Bearer new-secret-1234,Bearer new-secret-1234",
            "Bearer new-secret-1234 x",
            "Token new-secret-1234",
            "new-secret-1234",
            "Bearer ÿ\x80é",
            "Bearer \N{SNOWMAN}",
            "Basic bmV3LXNlY3JldC0xMjM0",
            "Bearer " + "a" * 60_000,
        ],
    )
    def test_wrong(self, header: str) -> None:
        with pytest.raises(Unauthenticated):
            check(BEARER, {"Authorization": header})

    def test_missing(self) -> None:
        with pytest.raises(Unauthenticated, match="no header Authorization"):
            check(BEARER, {})


class TestBasic:
    @pytest.mark.parametrize("secret", [NEW, OLD])
    def test_either_secret(self, secret: bytes) -> None:
        check(BASIC, basic("päge:".encode() + secret))

    @pytest.mark.parametrize(
        "pair",
        [b"", b":", b"page:new-secret-1234", "päge:".encode(), NEW, "päge".encode() + NEW],
    )
    def test_wrong_pair(self, pair: bytes) -> None:
        with pytest.raises(Unauthenticated):
            check(BASIC, basic(pair))

    @pytest.mark.parametrize("text", ["", "====", "not base64 at all!", "é", "cMOkZ2U6"])
    def test_no_pair(self, text: str) -> None:
        with pytest.raises(Unauthenticated):
            check(BASIC, {"Authorization": f"Basic {text}"})

    def test_a_bearer_token_is_no_password(self) -> None:
        with pytest.raises(Unauthenticated, match="not Basic"):
            check(BASIC, {"Authorization": f"Bearer {NEW.decode()}"})


class TestGrafana:
    @pytest.mark.parametrize("secret", [NEW, OLD])
    def test_over_the_body(self, secret: bytes) -> None:
        check(GRAFANA, {"X-Grafana-Alerting-Signature": signature(secret, BODY)})

    @pytest.mark.parametrize("skew_s", [0, 299, -299])
    def test_over_time_and_body(self, skew_s: int) -> None:
        at = str(int(NOW) + skew_s)
        signed = signature(OLD, at.encode() + b":" + BODY)
        check(TIMED, {"X-Grafana-Alerting-Signature": signed, "X-Time": at})

    @pytest.mark.parametrize("skew_s", [301, -301, 10**9, -(10**9)])
    def test_outside_the_window(self, skew_s: int) -> None:
        at = str(int(NOW) + skew_s)
        signed = signature(NEW, at.encode() + b":" + BODY)
        with pytest.raises(Unauthenticated, match="more than 300 s"):
            check(TIMED, {"X-Grafana-Alerting-Signature": signed, "X-Time": at})

    @pytest.mark.parametrize(
        "at", ["", "now", "-1", "1e9", "１７９５２４０８００", "9" * 400, " 1"]
    )
    def test_no_time(self, at: str) -> None:
        signed = signature(NEW, at.encode() + b":" + BODY)
        with pytest.raises(Unauthenticated, match="no Unix time"):
            check(TIMED, {"X-Grafana-Alerting-Signature": signed, "X-Time": at})

    def test_another_time_than_was_signed(self) -> None:
        signed = signature(NEW, str(int(NOW)).encode() + b":" + BODY)
        with pytest.raises(Unauthenticated):
            check(TIMED, {"X-Grafana-Alerting-Signature": signed, "X-Time": str(int(NOW) + 1)})

    def test_without_time_where_one_is_wanted(self) -> None:
        with pytest.raises(Unauthenticated, match="no Unix time"):
            check(TIMED, {"X-Grafana-Alerting-Signature": signature(NEW, BODY)})


class TestPagerDuty:
    @pytest.mark.parametrize(
        "header",
        [
            "v1={new}",
            "v1={old}",
            "v1={zero},v1={old}",
            "v1={new},v1={zero}",
            "v1={zero}, v1={new}",
            "v2={zero},v1={new}",
        ],
    )
    def test_any_of_them_may_match(self, header: str) -> None:
        header = header.format(new=signature(NEW, BODY), old=signature(OLD, BODY), zero="0" * 64)
        check(PAGERDUTY, {"X-PagerDuty-Signature": header})

    @pytest.mark.parametrize("header", ["{new}", "v2={new}", "sha256={new}", "v1 ={new}"])
    def test_another_version_is_none(self, header: str) -> None:
        header = header.format(new=signature(NEW, BODY))
        with pytest.raises(Unauthenticated):
            check(PAGERDUTY, {"X-PagerDuty-Signature": header})

    def test_only_so_many_are_looked_at(self) -> None:
        header = ",".join(["v1=" + "0" * 64] * 20 + ["v1=" + signature(NEW, BODY)])
        with pytest.raises(Unauthenticated):
            check(PAGERDUTY, {"X-PagerDuty-Signature": header})


def test_a_shell_script_may_say_sha256() -> None:
    check(GENERIC, {"X-Rbkernel-Signature": "sha256=" + signature(NEW, BODY)})
    check(GENERIC, {"X-Rbkernel-Signature": signature(NEW, BODY).upper()})


@pytest.mark.parametrize("wanted", [GRAFANA, PAGERDUTY, GENERIC], ids=lambda one: one.source)
class TestSignaturesThatAreWrong:
    def headers(self, wanted: Proof, hexadecimal: str) -> dict[str, str]:
        version = "v1=" if wanted.source == "pagerduty" else ""
        return {wanted.signature_header: version + hexadecimal}

    @pytest.mark.parametrize(
        ("secret", "body"),
        [
            (b"another", BODY),
            (b"", BODY),
            (NEW.upper(), BODY),
            (NEW, BODY + b" "),
            (NEW, BODY[:-1]),
            (NEW, BODY.replace(b"triggered", b"resolved")),
            (NEW, b""),
            (NEW, str(int(NOW)).encode() + b":" + BODY),
        ],
    )
    def test_of_another_secret_or_body(self, wanted: Proof, secret: bytes, body: bytes) -> None:
        with pytest.raises(Unauthenticated, match="the signature does not match"):
            check(wanted, self.headers(wanted, signature(secret, body)))

    @pytest.mark.parametrize("change", ["cut", "longer", "other", "spaced", "base64", "empty"])
    def test_not_whole(self, wanted: Proof, change: str) -> None:
        right = signature(NEW, BODY)
        wrong = {
            "cut": right[:-1],
            "longer": right + "0",
            "other": ("0" if right[0] != "0" else "1") + right[1:],
            "spaced": right[:32] + " " + right[32:],
            "base64": base64.b64encode(bytes.fromhex(right)).decode(),
            "empty": "",
        }[change]
        with pytest.raises(Unauthenticated):
            check(wanted, self.headers(wanted, wrong))

    @pytest.mark.parametrize("text", ["é" * 64, "ÿ", "\N{SNOWMAN}", "\x00" * 64, "," * 9000])
    def test_not_ascii(self, wanted: Proof, text: str) -> None:
        with pytest.raises(Unauthenticated):
            check(wanted, self.headers(wanted, text))

    def test_missing(self, wanted: Proof) -> None:
        with pytest.raises(Unauthenticated, match="there is no header X-"):
            check(wanted, {"Authorization": f"Bearer {NEW.decode()}"})

    def test_another_algorithm(self, wanted: Proof) -> None:
        for algorithm in ("md5", "sha1", "sha512"):
            with pytest.raises(Unauthenticated):
                check(wanted, self.headers(wanted, hmac.digest(NEW, BODY, algorithm).hex()))


@given(header=st.text(st.characters(max_codepoint=255)), body=st.binary())
def test_whatever_is_sent_is_refused_without_a_crash(header: str, body: bytes) -> None:
    for wanted in (BEARER, BASIC, GRAFANA, TIMED, PAGERDUTY, GENERIC):
        names = (wanted.signature_header, wanted.timestamp_header, "Authorization")
        with pytest.raises(Unauthenticated):
            check(wanted, dict.fromkeys(names, header), body)


def test_no_refusal_tells_a_secret() -> None:
    for wanted in (BEARER, BASIC, GRAFANA, TIMED, PAGERDUTY, GENERIC):
        names = (wanted.signature_header, wanted.timestamp_header, "Authorization")
        with pytest.raises(Unauthenticated) as caught:
            check(wanted, dict.fromkeys(names, "Bearer guessed-secret"))
        told = f"{caught.value} {wanted!r}"
        assert not any(text in told for text in ("guessed", NEW.decode(), signature(NEW, BODY)))
