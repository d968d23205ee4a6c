"""`[gateway]` in rbkernel.toml: what it takes, what it refuses, and where secrets are."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.config.gateway import Gateway, Sender
from rbkernel.errors import ConfigError, GatewayError
from rbkernel.gateway import server
from rbkernel.gateway.assembly import must_be_set
from rbkernel.gateway.intake.authentication import Proof

SECRET, OTHER = "hunter2-Tr0ub4dor", "correct-horse"


def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Gateway:
    file = tmp_path / "rbkernel.toml"
    file.write_text(text)
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    return config.load().gateway


class TestSenders:
    @pytest.mark.parametrize(
        ("name", "method", "header"),
        [
            ("alertmanager", "bearer", ""),
            ("grafana", "hmac", "X-Grafana-Alerting-Signature"),
            ("pagerduty", "hmac", "X-PagerDuty-Signature"),
            ("datadog", "bearer", ""),
            ("generic", "bearer", "X-Rbkernel-Signature"),
        ],
    )
    def test_its_usual_method(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        method: str,
        header: str,
    ) -> None:
        text = f'[gateway.senders.{name}]\nsecret_env = "TOKEN"\n'
        sender = load(tmp_path, monkeypatch, text).senders[name]
        assert (sender.method, sender.signature_header) == (method, header)

    def test_with_a_user_it_is_basic(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        text = '[gateway.senders.grafana]\nuser = "g"\nsecret_env = "TOKEN"\n'
        assert load(tmp_path, monkeypatch, text).senders["grafana"].method == "basic"

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("[gateway]\ncolour = 1", "colour"),
            ("[gateway]\nport = 70000", "port"),
            ('[gateway]\ntls_key = "k"', "belong together"),
            ('[gateway]\ntls_client_ca = "k"', "tls_client_ca needs"),
            ("[gateway.limits]\nbody_mb = 0", "body_mb"),
            ("[gateway.senders]\ngrafana = 3", "grafana"),
            ("[gateway.senders.grafana]", "either secret_env or secret_command"),
            ('[gateway.senders.grafana]\nsecret_env = ["A", "B", "C"]', "secret_env"),
            (f'[gateway.senders.grafana]\nsecret = "{SECRET}"', "would put a secret"),
            (f'[gateway.senders.datadog]\ntoken = "{SECRET}"', "would put a secret"),
            (
                '[gateway.senders.alertmanager]\nmethod = "hmac"\nsecret_env = "A"',
                "alertmanager can do bearer or basic, not hmac",
            ),
            (
                '[gateway.senders.alertmanager]\nmethod = "basic"\nsecret_env = "A"',
                "needs a user",
            ),
        ],
    )
    def test_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            load(tmp_path, monkeypatch, text)
        assert words in str(caught.value)
        assert SECRET not in str(caught.value)

    def test_one_whose_package_is_missing_stops_only_the_gateway(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = '[gateway.senders.alertmanger]\nsecret_env = "RB_TEST_SENDER"'
        settings = Settings(gateway=load(tmp_path, monkeypatch, text))
        monkeypatch.setenv("RB_TEST_SENDER", SECRET)
        with pytest.raises(ConfigError) as caught:
            must_be_set(settings)
        assert "no installed package adds a sender 'alertmanger'" in caught.value.what
        assert "did you mean alertmanager?" in caught.value.what
        assert caught.value.where == "[gateway.senders.alertmanger]"
        assert "install the package" in caught.value.next_step
        assert "remove the section" in caught.value.next_step

    @pytest.mark.parametrize("section", ["sources.a b", "notify.targets.Night"])
    def test_the_name_of_a_section_is_not_called_a_field(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str
    ) -> None:
        group, _, name = section.rpartition(".")
        fields = 'kind = "stock"' if group == "sources" else 'url_env = "A"'
        with pytest.raises(ConfigError) as caught:
            load(tmp_path, monkeypatch, f'[{group}."{name}"]\n{fields}')
        assert f"the name of [{section}] should match the pattern" in caught.value.what
        assert caught.value.next_step == "rename that section"


class TestSecrets:
    def test_two_while_one_is_changed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sender = Sender(name="grafana", secret_env=("NEW_ONE", "OLD_ONE"))
        monkeypatch.setenv("NEW_ONE", SECRET)
        assert sender.secrets() == (SECRET,)
        monkeypatch.setenv("OLD_ONE", OTHER)
        assert sender.secrets() == (SECRET, OTHER)
        assert SECRET not in repr(Proof.of(sender))

    @pytest.mark.parametrize("value", ["", " ", "short"])
    def test_none_or_hardly_one(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("NEW_ONE", value)
        with pytest.raises(ConfigError) as caught:
            Sender(name="grafana", secret_env=("NEW_ONE",)).secrets()
        assert "set NEW_ONE" in caught.value.next_step

    def test_of_a_command(self) -> None:
        command = ("sh", "-c", f"echo {SECRET}; echo; echo {OTHER}")
        assert Sender(name="grafana", secret_command=command).secrets() == (SECRET, OTHER)

    @pytest.mark.parametrize(
        "command",
        [
            ("sh", "-c", f"echo {SECRET}; exit 1"),
            ("no-such-command",),
            ("sh", "-c", f"for i in 1 2 3; do echo {SECRET}; done"),
            ("true",),
        ],
    )
    def test_of_a_command_that_fails(self, command: tuple[str, ...]) -> None:
        with pytest.raises(ConfigError) as caught:
            Sender(name="grafana", secret_command=command).secrets()
        assert SECRET not in str(caught.value)


class TestListening:
    @pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "10.0.0.1", "db1.example.org"])
    def test_strangers_are_refused_without_secrets(self, host: str) -> None:
        with pytest.raises(GatewayError) as caught:
            server.must_know_senders(Gateway(host=host))
        assert "secret_env" in caught.value.next_step
        assert "127.0.0.1" in caught.value.next_step

    def test_where_this_machine_is_not_it_cannot_listen(self) -> None:
        senders = {"generic": {"secret_env": "A"}}
        fields = {"host": "no-such-host.invalid", "port": 0, "senders": senders}
        gateway = Gateway.model_validate(fields)
        with pytest.raises(GatewayError) as caught:
            server.bind(Settings(gateway=gateway))
        assert "of this machine" in caught.value.next_step

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
    def test_this_machine_is_not(self, host: str) -> None:
        server.must_know_senders(Gateway(host=host))
        [told] = server.warnings(Gateway(host=host))
        assert "this machine only" in told

    def test_secrets_in_the_clear_are_told(self) -> None:
        senders = {"generic": {"secret_env": "A"}}
        [told] = server.warnings(Gateway.model_validate({"host": "0.0.0.0", "senders": senders}))
        assert "without TLS" in told

    @pytest.mark.parametrize(
        ("fields", "address"),
        [
            ({}, "http://127.0.0.1:8790"),
            ({"host": "::1"}, "http://[::1]:8790"),
            ({"url": "https://x.example/"}, "https://x.example"),
            ({"tls_certificate": "c", "tls_key": "k"}, "https://127.0.0.1:8790"),
        ],
    )
    def test_address(self, fields: dict[str, str], address: str) -> None:
        assert Gateway.model_validate(fields).address == address

    def test_certificates_are_beside_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = load(tmp_path, monkeypatch, '[gateway]\ntls_certificate = "c"\ntls_key = "k"')
        assert found.tls_certificate == tmp_path / "c"
        with pytest.raises(ConfigError, match="this TLS file does not exist") as caught:
            server.tls(found)
        assert str(tmp_path / "c") in str(caught.value)

    def test_a_file_that_is_no_certificate(self, tmp_path: Path) -> None:
        (tmp_path / "c").write_text("no PEM")
        with pytest.raises(ConfigError, match="TLS cannot be used"):
            server.tls(Gateway(tls_certificate=tmp_path / "c", tls_key=tmp_path / "c"))
