"""How a source is reached: only to read, with credentials that never leave their place."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import json
from collections.abc import Iterator
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import rbkernel as rb
from rbkernel import config
from rbkernel.checks.answer import provenance
from rbkernel.config.sources import Source
from rbkernel.errors import ConfigError
from rbkernel.model import Verdict
from rbkernel.sources.monitoring import examination
from rbkernel.sources.monitoring.client import Client
from tests.support import monitoring
from tests.support.command import run_command
from tests.support.kernels import START, configure, kernel, write_runbook
from tests.support.monitoring import StandIn, of_query_api, stand_in
from tests.support.waiting import until

SECRET = "hunter2-Tr0ub4dor-token"
ONE = of_query_api("scalar", [0, "1"])


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Begin a run with these sources, each given by its fields."""
    return partial(monitoring.begin_run, tmp_path, monkeypatch)


class TestReadingOnly:
    @pytest.mark.parametrize(
        ("kind", "path"),
        [
            ("prometheus", "/api/v1/admin/tsdb/delete_series"),
            ("prometheus", "/-/quit"),
            ("prometheus", "/api/v1/query/../admin/tsdb/snapshot"),
            ("loki", "/loki/api/v1/push"),
            ("loki", "/loki/api/v1/delete"),
            ("jaeger", "/api/traces/../admin"),
            ("tempo", "/shutdown"),
        ],
    )
    def test_other_paths_are_refused(self, kind: str, path: str) -> None:
        with stand_in(lambda _: (200, "{}")) as one:
            client = Client(Source(name="x", kind=kind, url=one.url))
            with pytest.raises(ValueError, match="only read"):
                client.get(path)
            assert one.asked == []

    def test_a_long_query_is_a_form(self, begin: Any) -> None:
        with stand_in(lambda _: (200, ONE)) as one:
            begin(prom={"kind": "prometheus", "url": one.url})
            rb.promql("1 + {n} + " + " + ".join(["1"] * 2000), n=2)
        [asked] = one.asked
        assert (asked.method, asked.path) == ("POST", "/api/v1/query")
        assert asked.given["query"].startswith("1 + 2 + 1")


class TestCredentials:
    def source(self, one: StandIn, **fields: Any) -> dict[str, Any]:
        one.respond = lambda _: (200, of_query_api("scalar", [0, "1"]))
        return {"kind": "prometheus", "url": one.url, **fields}

    def test_bearer_basic_and_tenant(self, begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PROM_SECRET", SECRET)
        logins = (
            ({"token_env": "PROM_SECRET", "tenant": "shop"}, f"Bearer {SECRET}"),
            ({"token_command": ["printf", f"{SECRET}\\n"]}, f"Bearer {SECRET}"),
            (
                {"user": "u", "password_env": "PROM_SECRET"},
                "Basic dTpodW50ZXIyLVRyMHViNGRvci10b2tlbg==",
            ),
        )
        for fields, sent in logins:
            with stand_in(lambda _: (500, "")) as one:
                begin(prom=self.source(one, **fields))
                assert rb.promql("1")["value"].tolist() == [1.0]
                [asked] = one.asked
                assert asked.headers["Authorization"] == sent
                assert asked.headers.get("X-Scope-OrgID") == fields.get("tenant")
                assert asked.method == "GET"
                # so that the size cap and the time-out are those of what is read
                assert asked.headers["Accept-Encoding"] == "identity"
                assert asked.given["timeout"] == "10.000"

    def test_what_cannot_be_read_is_unknown(self, begin: Any) -> None:
        with stand_in(lambda _: (500, "")) as one:
            begin(prom=self.source(one, token_env="NO_SUCH_VARIABLE"))
            about = provenance(rb.promql("1"))
            assert about is not None
            assert "NO_SUCH_VARIABLE is not set" in about.reason
            assert one.asked == []

    def test_every_secret_is_told_before_it_is_sent(
        self, begin: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[str] = []
        config.tell_passwords_to(lambda _owner, secret: told.append(secret))
        with stand_in(lambda _: (500, "")) as one:
            begin(prom=self.source(one, token_command=["echo", SECRET]))
            rb.promql("1")
        assert told == [SECRET]

    @pytest.mark.parametrize(
        ("fields", "shown"),
        [
            ({"token_command": ["echo", SECRET]}, "Bearer [redacted]"),
            ({"user": "u", "password_command": ["echo", SECRET]}, "Basic [redacted]"),
        ],
    )
    def test_a_secret_that_a_proxy_repeats_is_not_shown(
        self, begin: Any, fields: dict[str, Any], shown: str
    ) -> None:
        with stand_in(lambda asked: (403, f"no: {asked.headers['Authorization']}")) as one:
            begin(prom={"kind": "prometheus", "url": one.url, **fields})
            about = provenance(rb.promql("1"))
        assert about is not None
        assert f"answered 403: no: {shown}" in about.reason


class TestKernel:
    def test_no_secret_is_in_the_evidence(self, tmp_path: Path) -> None:
        """Of two sources, one has its token in a variable, the other one in a command's output."""
        other = "another-Tr0ub4dor-secret"
        write_runbook(tmp_path / "runbook.ipynb", [START])
        with stand_in(lambda asked: (500, f"trouble with {asked.headers}")) as one:
            file = configure(tmp_path)
            file.write_text(
                file.read_text()
                + f'[sources.a]\nkind = "prometheus"\nurl = "{one.url}"\ntoken_env = "T"\n'
                f'[sources.b]\nkind = "prometheus"\nurl = "{one.url}"\n'
                f'user = "u"\npassword_command = ["echo", "{other}"]\n'
                '[commands.token]\nargv = ["printenv", "T"]\n'
            )
            evidence = tmp_path / "evidence"
            names = {"RBKERNEL_CONFIG": str(file), "RBKERNEL_EVIDENCE": str(evidence), "T": SECRET}
            with kernel(**names) as running:
                assert running.run(START).reply["status"] == "ok"
                # a variable is known at the start, the output of a command when it has run
                shown = [running.run(f"print('{SECRET}')")]
                shown += [running.run(f'rb.promql("1", source="{name}")') for name in "ab"]
                shown.append(running.run(f"print('{other}')"))
                shown.append(running.run('rb.shell("the variable is not given", "token")'))
                assert all(answer.reply["status"] == "ok" for answer in shown)
                kept = "".join(p.read_text() for p in evidence.rglob("*.jsonl"))
        assert len(one.asked) == 2
        said = kept + "".join(str(answer.messages) for answer in shown)
        assert "trouble with" in said
        assert "exit code 1" in said
        for secret in (SECRET, other, "dTphbm90aGVyLVRyMHViNGRvci1zZWNyZXQ="):
            assert secret not in said


def _certificate(folder: Path, name: str, by: str = "") -> None:
    """Write a certificate and its key, signed by another one, or by itself as an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, signer = subject, key
    if by:
        issuer = x509.load_pem_x509_certificate((folder / f"{by}.crt").read_bytes()).subject
        read = serialization.load_pem_private_key((folder / f"{by}.key").read_bytes(), None)
        assert isinstance(read, ec.EllipticCurvePrivateKey)
        signer = read
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=not by, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(signer, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _fields(address: str, folder: Path) -> dict[str, str]:
    files = {"ca": "authority.crt", "certificate": "client.crt", "key": "client.key"}
    return {
        "url": f"https://{address}",
        **{name: str(folder / file) for name, file in files.items()},
    }


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A Prometheus that asks for a client certificate, and the folder of certificates."""
    folder = tmp_path_factory.mktemp("secured")
    for name, by in (("authority", ""), ("server", "authority"), ("client", "authority")):
        _certificate(folder, name, by)
    tls = {
        "cert_file": str(folder / "server.crt"),
        "key_file": str(folder / "server.key"),
        "client_auth_type": "RequireAndVerifyClientCert",
        "client_ca_file": str(folder / "authority.crt"),
    }
    web = json.dumps({"tls_server_config": tls})
    with monitoring.prometheus(folder, web_config=web) as address:
        source = Source(name="p", kind="prometheus", **_fields(address, folder))
        until(lambda: examination.examine(source)[1].ok, "Prometheus is ready")
        yield address, folder


class TestDoctor:
    def test_client_certificates(
        self, secured: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        address, folder = secured
        fields = _fields(address, folder)
        found = examination.examine(Source(name="p", kind="prometheus", **fields))
        assert [one.verdict for one in found] == [Verdict.OK] * 3
        assert found[0].actual == f"client certificate, prometheus https://{address}"
        # without `ca`, the authorities are those of the system, not those of a package
        for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setattr("certifi.where", lambda: str(folder / "authority.crt"))
        bare = Source(name="p", kind="prometheus", url=fields["url"])
        assert "verify failed" in examination.examine(bare)[1].actual
        for missing in ({"certificate", "key"}, {"ca"}):
            kept = {name: value for name, value in fields.items() if name not in missing}
            _, answer, clock = examination.examine(Source(name="p", kind="prometheus", **kept))
            assert answer.verdict is Verdict.CRITICAL
            assert answer.actual.startswith("TLS: ")
            assert answer.next_step == "check ca, certificate and key of the source"
            assert clock.verdict is Verdict.UNKNOWN

    def test_the_command(self, secured: tuple[str, Path], tmp_path: Path) -> None:
        address, folder = secured
        fields = {name: json.dumps(value) for name, value in _fields(address, folder).items()}
        # paths are relative to the file
        (tmp_path / "client.key").write_bytes((folder / "client.key").read_bytes())
        fields["key"] = '"client.key"'
        lines = [f"{name} = {value}" for name, value in fields.items()]
        file = tmp_path / "rbkernel.toml"
        file.write_text("\n".join(["[sources.prom]", 'kind = "prometheus"', *lines]))
        done = run_command("doctor", "prom", environment={"RBKERNEL_CONFIG": str(file)})
        # this Prometheus has no metric of the named queries
        assert done.returncode == 1, done.stdout + done.stderr
        assert done.stdout.splitlines()[0] == "prom:"
        told = run_command("doctor", "--json", environment={"RBKERNEL_CONFIG": str(file)})
        found = [one["verdict"] for one in json.loads(told.stdout)["prom"]]
        assert found == [*["ok"] * 3, "warning"]

    @pytest.mark.parametrize(
        ("kind", "respond"),
        [
            ("loki", lambda _: (200, of_query_api("vector", []))),
            ("jaeger", lambda _: (200, '{"data": ["shop"]}')),
            ("tempo", lambda _: (200, "echo")),
        ],
    )
    def test_other_kinds(self, kind: str, respond: Any) -> None:
        with stand_in(respond) as one:
            found = examination.examine(Source(name="x", kind=kind, url=one.url))
        assert [step.verdict for step in found] == [Verdict.OK] * 3

    def test_what_is_wrong(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("T", SECRET)
        with stand_in(lambda _: (200, "<html>")) as one:
            source = Source(name="x", kind="prometheus", url=one.url)
            _, answer, _ = examination.examine(source)
            assert (answer.verdict, answer.next_step) == (
                Verdict.CRITICAL,
                "check the url and the kind of the source",
            )
            for kind in ("jaeger", "tempo"):  # the page of a login, such as that of a proxy
                _, answer, _ = examination.examine(Source(name="x", kind=kind, url=one.url))
                assert answer.verdict is Verdict.CRITICAL
            one.respond = lambda _: (200, ONE)
            one.headers = {"Date": formatdate(0, usegmt=True)}
            clock = examination.examine(source)[2]
            assert clock.verdict is Verdict.WARNING
            assert "ahead" in clock.actual
            one.headers = {"Date": ""}
            assert examination.examine(source)[2].verdict is Verdict.UNKNOWN
        source = Source(name="x", kind="prometheus", url="http://nowhere.invalid", token_env="T")
        configured, answer, _ = examination.examine(source)
        assert configured.verdict is Verdict.WARNING
        assert "without encryption" in configured.actual
        assert answer.verdict is Verdict.CRITICAL
        told = str([dataclasses.asdict(one) for one in (configured, answer)])
        assert SECRET not in told


class TestConfiguration:
    @pytest.mark.parametrize(
        ("fields", "problem"),
        [
            ({"url": "prometheus:9090"}, "url should be http"),
            ({"url": "http://u:hunter2@p"}, "url should be http"),
            ({"url": "http://p?token=hunter2"}, "url should be http"),
            ({"url": "http://p", "token": "hunter2"}, "would put a secret into the file"),
            ({"url": "http://p", "token_env": "A", "password_env": "B"}, "keep one"),
            ({"url": "http://p", "user": "u"}, "both user and"),
            ({"url": "http://p", "key": "k"}, "both certificate and key"),
            ({"url": "http://p", "timeuot_s": 3}, "timeuot_s is not a known field"),
            ({"url": "http://p", "timeout_s": float("inf")}, "timeout_s should be"),
            ({"url": "http://p", "tenant": "a\r\nb: c"}, "tenant should match"),
            ({}, "url is missing"),
        ],
    )
    def test_a_wrong_section_is_refused_when_it_is_read(
        self,
        fields: dict[str, Any],
        problem: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
        text = "\n".join(lines).replace("Infinity", "inf")
        (tmp_path / "rbkernel.toml").write_text(f'[sources.p]\nkind = "prometheus"\n{text}\n')
        monkeypatch.setenv("RBKERNEL_CONFIG", str(tmp_path / "rbkernel.toml"))
        with pytest.raises(ConfigError) as caught:
            config.load()
        assert problem in caught.value.what
        assert "hunter2" not in str(caught.value)
