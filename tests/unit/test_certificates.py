"""Certificates: what is read of them, and what a server may send instead."""

from __future__ import annotations

import hashlib
import socket
from datetime import UTC
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from rbkernel.checks import rules
from rbkernel.errors import ParameterError, SourceError
from rbkernel.model import Verdict
from rbkernel.sources.tls import certificates, served, x509
from tests.support.certificates import Server, issued

ROOT = issued("Root", 900)
LEAF = issued(
    "shop.example", 40, ROOT, names=("shop.example", "*.shop.example", "127.0.0.1", "::1")
)
DER = LEAF.certificate.public_bytes(Encoding.DER)


class TestReading:
    def test_fields_are_those_of_another_reader(self) -> None:
        found, other = x509.read(DER), LEAF.certificate
        assert found.starts_at == other.not_valid_before_utc
        assert found.expires_at == other.not_valid_after_utc
        assert found.expires_at.tzinfo is UTC
        assert (found.subject, found.issuer) == (
            "CN=shop.example, O=Shop, Ltd",
            "CN=Root, O=Shop, Ltd",
        )
        assert found.names == ("shop.example", "*.shop.example", "127.0.0.1", "::1")
        assert found.sha256 == hashlib.sha256(DER).hexdigest()

    def test_a_year_beyond_2049_has_another_encoding(self) -> None:
        late = issued("late", 40_000).certificate
        assert x509.read(late.public_bytes(Encoding.DER)).expires_at == late.not_valid_after_utc

    @given(st.integers(0, len(DER) - 1), st.integers(0, 255))
    def test_a_damaged_certificate_is_an_error_of_its_own(self, place: int, byte: int) -> None:
        damaged = DER[:place] + bytes([byte]) + DER[place + 1 :]
        for der in (damaged, DER[:place]):
            try:
                x509.read(der)
            except ValueError:
                continue

    def test_names(self) -> None:
        found = x509.read(DER)
        assert [found.covers(name) for name in ("api.shop.example", "127.0.0.1", "::1")] == [
            True
        ] * 3
        assert [found.covers(name) for name in ("shop.other", "a.b.shop.example", "::2")] == [
            False
        ] * 3

    def test_libpq_takes_the_common_name_if_there_is_no_other(self) -> None:
        named = x509.read(ROOT.certificate.public_bytes(Encoding.DER))
        assert [named.covers("root"), named.covers("root", common_name=True)] == [False, True]
        assert not x509.read(DER).covers("Root", common_name=True)


class TestLooking:
    @pytest.mark.parametrize("address", ["shop.example", "http://shop.example", "a:b", "[::1", ""])
    def test_an_address_without_a_port_is_refused(self, address: str) -> None:
        with pytest.raises(ParameterError, match="no address"):
            served.place(address)

    def test_a_server_that_says_nothing(self) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as silent,
            pytest.raises(SourceError, match=r"no answer within 0\.2 s"),
        ):
            served.look(served.place(f"127.0.0.1:{silent.getsockname()[1]}"), 0.2)

    def test_a_key_beside_the_certificate_is_left_alone(self, tmp_path: Path) -> None:
        cert, key = LEAF.write(tmp_path)
        both = tmp_path / "both.pem"
        both.write_bytes(key.read_bytes() + cert.read_bytes())
        [found] = served.on_disk(both)
        assert found.common_name == "shop.example"
        with pytest.raises(SourceError, match="has no certificate"):
            served.on_disk(key)
        with pytest.raises(SourceError, match="No such file"):
            served.on_disk(tmp_path / "none")

    def test_a_server_that_does_not_answer_beside_one_that_does(self, tmp_path: Path) -> None:
        authorities = tmp_path / "root.crt"
        authorities.write_bytes(ROOT.certificate.public_bytes(Encoding.PEM))
        with Server(LEAF, tmp_path / "server").running() as server, socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            down = f"127.0.0.1:{closed.getsockname()[1]}"
            places = [served.place(one, authorities=authorities) for one in (server.address, down)]
            frame = certificates.frame(places, None, 5)
        assert frame["place"].fillna("").tolist() == ["server", "issuer", ""]
        judged = {one.name: rules.apply(one, frame) for one in frame.attrs["rules"]}
        assert {one.verdict for one in judged.values()} == {Verdict.UNKNOWN}

    def test_each_address_of_a_host_is_looked_at(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        soon = issued("shop.example", 2, ROOT, names=("shop.example",))
        known = socket.getaddrinfo
        with Server(LEAF, tmp_path / "one").running() as one:
            host, port = one.address.split(":")
            other = Server(soon, tmp_path / "two", at=("127.0.0.2", int(port)))
            monkeypatch.setattr(
                socket,
                "getaddrinfo",
                lambda name, *more, **how: (
                    [*known(host, *more, **how), *known("127.0.0.2", *more, **how)]
                    if name == "shop.example"
                    else known(name, *more, **how)
                ),
            )
            with other.running():
                found = certificates.frame([served.place(f"shop.example:{port}")], None, 5)
        own = found[found["place"].eq("server")]
        assert own["address"].tolist() == [
            f"shop.example:{port} ({address})" for address in ("127.0.0.1", "127.0.0.2")
        ]
        assert own["days_left"].round().tolist() == [40, 2]

    def test_authorities_that_cannot_be_read_leave_what_was_sent(self, tmp_path: Path) -> None:
        with Server(LEAF, tmp_path / "server").running() as server:
            place = served.place(server.address, authorities=tmp_path / "none")
            [found] = served.look(place, 5)
        assert found.trusted is None
        assert "No such file" in found.problem
        assert found.chain[0].common_name == "shop.example"
