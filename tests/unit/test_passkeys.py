"""Passkeys: who may register one, and which of their signatures count."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rbkernel.cli.gateway import _settings
from rbkernel.config import Settings
from rbkernel.config.actions import Actions
from rbkernel.config.gateway import Gateway
from rbkernel.config.pages import Pages
from rbkernel.errors import ActionRefused
from rbkernel.evidence.incident import Approval
from rbkernel.execution import assertions, passkey_signing
from rbkernel.execution.assertions import Assertion, RelyingParty
from rbkernel.execution.passkeys import File, Passkey, Registry
from rbkernel.gateway import web
from tests.support.authenticators import HOST, ORIGIN, Authenticator
from tests.support.page_server import serving

NOW = datetime(2026, 11, 20, 3, 2, 11, tzinfo=UTC)
DIGEST, OTHER = "9b" * 32, "7c" * 32
PARTY = RelyingParty(id=HOST, origin=ORIGIN)
HALF_AN_HOUR = timedelta(minutes=30)


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    approvers = tmp_path / "approvers"
    approvers.write_text(
        "bob ssh-ed25519 AAAA\nold valid-before=20200101 ssh-ed25519 AAAA\n# ssh-ed25519 AAAA\n"
    )
    return Settings(
        actions=Actions(approvers=approvers, passkeys=tmp_path / "passkeys"),
        gateway=Gateway(url=ORIGIN),
    )


def refusal(what: Callable[[], object]) -> str:
    with pytest.raises(ActionRefused) as caught:
        what()
    assert caught.value.next_step
    return caught.value.what


def invited(configured: Settings) -> str:
    return passkey_signing.invite(configured, "bob", HALF_AN_HOUR, NOW)


def known(configured: Settings) -> Registry:
    return passkey_signing.file_of(configured).read()


class TestRegistration:
    def test_an_invitation_registers_one_passkey_once(self, configured: Settings) -> None:
        secret, device = invited(configured), Authenticator()
        said = passkey_signing.options(configured, secret, NOW)
        assert (said["user"]["name"], said["rp"]["id"]) == ("bob", HOST)
        assert said["authenticatorSelection"]["userVerification"] == "required"
        made = passkey_signing.register(configured, secret, device.register(secret), NOW)
        assert (made.name, made.host) == ("bob", HOST)
        assert known(configured).passkeys == (made,)
        assert secret not in passkey_signing.file_of(configured).path.read_text()
        again = Authenticator().register(secret)
        for late in (
            lambda: passkey_signing.register(configured, secret, again, NOW),
            lambda: passkey_signing.options(configured, secret, NOW),
        ):
            assert "this invitation was used at 03:02 UTC" in refusal(late)
        assert known(configured).passkeys == (made,)

    @pytest.mark.parametrize(
        ("secret", "after", "why"),
        [
            (None, HALF_AN_HOUR, "expired"),
            ("", timedelta(), "no such invitation"),
            ("guessed", timedelta(), "no such invitation"),
        ],
    )
    def test_without_a_valid_invitation(
        self, configured: Settings, secret: str | None, after: timedelta, why: str
    ) -> None:
        real = invited(configured)
        given_ = real if secret is None else secret
        answer = Authenticator().register(given_)
        at = NOW + after
        assert why in refusal(lambda: passkey_signing.options(configured, given_, at))
        assert why in refusal(lambda: passkey_signing.register(configured, given_, answer, at))
        assert known(configured).passkeys == ()

    @pytest.mark.parametrize(
        ("lies", "why"),
        [
            ({"challenge": b"x" * 32}, "challenge"),
            ({"challenge": assertions.approval_challenge(DIGEST)}, "challenge"),
            ({"origin": "https://evil.example"}, "origin"),
            ({"origin": "http://localhost:1"}, "origin"),
            ({"host": "evil.example"}, "RP ID"),
            ({"flags": 0x01}, "verification"),
            ({"flags": 0x04}, "presence"),
            ({"type": "webauthn.get"}, "type"),
            ({"algorithm": -257}, "alg"),
            ({"attested": True}, "names the model"),
            ({"key": {-2: b"x" * 32}}, "curve"),
            ({"key": {-1: 99}}, "curve"),
        ],
    )
    def test_a_wrong_answer_leaves_the_invitation_open(
        self, configured: Settings, lies: dict[str, Any], why: str
    ) -> None:
        secret, device = invited(configured), Authenticator()
        wrong = device.register(secret, **lies)
        assert why in refusal(lambda: passkey_signing.register(configured, secret, wrong, NOW))
        assert known(configured).passkeys == ()
        right = device.register(secret)
        assert passkey_signing.register(configured, secret, right, NOW).name == "bob"

    @pytest.mark.parametrize("name", ["eve", "old", "", "#"])
    def test_only_approvers_are_invited(self, configured: Settings, name: str) -> None:
        why = refusal(lambda: passkey_signing.invite(configured, name, HALF_AN_HOUR, NOW))
        assert "has no line without options in the file of approvers" in why

    def test_who_was_removed_meanwhile(self, configured: Settings) -> None:
        secret = invited(configured)
        assert configured.actions.approvers
        configured.actions.approvers.write_text("ann ssh-ed25519 AAAA\n")
        answer = Authenticator().register(secret)
        why = refusal(lambda: passkey_signing.register(configured, secret, answer, NOW))
        assert "bob has no line" in why

    def test_a_passkey_is_registered_once(self, configured: Settings) -> None:
        device = Authenticator()
        for number, secret in enumerate((invited(configured), invited(configured))):
            answer = device.register(secret)

            def register(secret: str = secret, answer: str = answer) -> Passkey:
                return passkey_signing.register(configured, secret, answer, NOW)

            if number:
                assert "registered already" in refusal(register)
            else:
                register()

    def test_removed_with_its_invitations(self, configured: Settings) -> None:
        secret, left = invited(configured), invited(configured)
        passkey_signing.register(configured, secret, Authenticator().register(secret), NOW)
        file = passkey_signing.file_of(configured)
        states = [one["state"][:7] for one in passkey_signing.listed(configured, NOW)]
        assert states == ["registe", "invited"]
        file.remove("bob")
        assert passkey_signing.listed(configured, NOW) == []
        assert "no passkey" in refusal(lambda: file.remove("bob"))
        assert "no such" in refusal(lambda: passkey_signing.options(configured, left, NOW))

    def test_somebody_else_with_the_name_is_another_person(self, configured: Settings) -> None:
        secret, device, signers = invited(configured), Authenticator(), configured.actions.approvers
        passkey_signing.register(configured, secret, device.register(secret), NOW)
        assert signers

        def approved(*lines: str) -> str:
            signers.write_text("".join(f"{one}\n" for one in lines))
            history: Any = SimpleNamespace(digest=DIGEST)
            sign = partial(passkey_signing.sign, configured, device.approve(DIGEST), history)
            return sign(signers.read_text()).by

        assert approved("bob ssh-ed25519 AAAA", "bob ssh-ed25519 BBBB") == "bob"
        assert "has no line" in refusal(lambda: approved("ann ssh-ed25519 AAAA"))
        [shown] = passkey_signing.listed(configured, NOW)
        assert "does not count: its person has no line" in shown["state"]
        assert "does not count" in refusal(lambda: approved("bob ssh-ed25519 CCCC"))
        [shown] = passkey_signing.listed(configured, NOW)
        assert "got another SSH key" in shown["state"]

    def test_jupyterlab_must_have_another_origin(self, configured: Settings) -> None:
        """A script in the output of a notebook could have another text signed than it shows."""

        def beside(url: str) -> Settings:
            return configured.model_copy(update={"pages": Pages(jupyter_url=url)})

        assert "JupyterLab has the same origin" in refusal(lambda: invited(beside(f"{ORIGIN}/lab")))
        assert invited(beside("http://localhost:8888"))


@pytest.mark.parametrize("model", [Gateway, Pages])
def test_a_port_that_is_none_is_refused_in_the_configuration(model: Any) -> None:
    with pytest.raises(ValidationError, match=r"[Pp]ort"):
        model(**{"url" if model is Gateway else "jupyter_url": "https://h:99999"})


def test_serve_warns_where_kernels_could_forge_passkeys(configured: Settings) -> None:
    [told] = web.warnings(configured)
    assert "nobody can approve or execute on a page" in told
    assert "serve --kernels 0" in told
    accepted = configured.actions.model_copy(update={"one_user": True})
    [told] = web.warnings(configured.model_copy(update={"actions": accepted}))
    assert "a convenience" in told
    apart = configured.queue.model_copy(update={"kernels": 0})
    assert web.warnings(configured.model_copy(update={"queue": apart})) == []
    assert _settings("", None, 0).queue.kernels == 0


def test_without_the_package_the_command_says_what_to_install(
    configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "webauthn", None)
    with pytest.raises(ActionRefused, match="passkeys need the package webauthn") as caught:
        invited(configured)
    assert 'pip install "rbkernel[passkeys]"' in caught.value.next_step
    assert known(configured) == Registry()


class TestFile:
    def test_others_may_not_write_it(self, configured: Settings) -> None:
        invited(configured)
        file = passkey_signing.file_of(configured)
        assert file.path.stat().st_mode & 0o777 == 0o600
        file.path.chmod(0o620)
        assert "other users can write it" in refusal(file.read)
        file.path.chmod(0o600)
        file.path.parent.chmod(0o770)
        assert "other users can write its folder" in refusal(file.read)

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"passkeys": 1}', '{"more": 1}', "\xff"])
    def test_a_damaged_file_registers_nobody(self, tmp_path: Path, text: str) -> None:
        file = File(path=tmp_path / "passkeys")
        file.path.write_bytes(text.encode("latin-1"))
        file.path.chmod(0o600)
        assert "cannot be read" in refusal(file.read)
        assert "cannot be read" in refusal(lambda: file.invite("bob", HALF_AN_HOUR, NOW))
        assert file.path.read_bytes() == text.encode("latin-1")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_file_of_another_user_stays_theirs(self, configured: Settings) -> None:
        invited(configured)
        file = passkey_signing.file_of(configured)
        os.chown(file.path, 12345, -1)
        assert "it belongs to another user" in refusal(lambda: invited(configured))
        assert "it belongs to another user" in refusal(file.read)
        os.chown(file.path, 0, -1)
        os.chown(file.path.parent, 12345, -1)
        assert "its folder belongs to another user" in refusal(file.read)

    def test_passkeys_without_approvers_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValidationError, match="approvers is missing"):
            Actions(passkeys=tmp_path)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:8790",
        "https://127.0.0.1:8790",
        "https://[::1]",
        "http://runbooks.example.org",
        "https://rünbooks.example.org",
    ],
)
def test_an_address_without_passkeys_says_what_to_do(address: str) -> None:
    with pytest.raises(ActionRefused, match="passkeys need https") as caught:
        RelyingParty.of(address)
    assert "[gateway] url" in caught.value.next_step


class TestApproval:
    @pytest.fixture
    def device(self) -> Authenticator:
        return Authenticator()

    @pytest.fixture
    def passkey(self, device: Authenticator) -> Passkey:
        return assertions.registered(device.register("s"), "bob", "s", PARTY, NOW)

    def test_it_counts_for_its_document_only(self, device: Authenticator, passkey: Passkey) -> None:
        made = Assertion.of_browser(device.approve(DIGEST))
        assert made.verify(passkey, DIGEST, PARTY, after=0) == 1
        assert "challenge" in refusal(lambda: made.verify(passkey, OTHER, PARTY, after=0))

    @pytest.mark.parametrize(
        ("lies", "why"),
        [
            ({"challenge": b"x" * 32}, "challenge"),
            ({"challenge": bytes.fromhex(DIGEST)}, "challenge"),
            ({"challenge": assertions.registration_challenge("s")}, "challenge"),
            ({"origin": "https://localhost:8790"}, "origin"),
            ({"origin": "http://localhost:8790.evil.example"}, "origin"),
            ({"origin": "http://127.0.0.1:8790"}, "origin"),
            ({"host": "evil.example"}, "RP ID"),
            ({"flags": 0x01}, "verification"),
            ({"flags": 0x04}, "present"),
            ({"type": "webauthn.create"}, "type"),
            ({"cross_origin": True}, "frame of another site"),
            ({"count": 7}, "count"),
            ({"count": 0}, "count"),
        ],
    )
    def test_refused(
        self, device: Authenticator, passkey: Passkey, lies: dict[str, Any], why: str
    ) -> None:
        made = Assertion.of_browser(device.approve(DIGEST, **lies))
        assert why in refusal(lambda: made.verify(passkey, DIGEST, PARTY, after=7))

    def test_of_another_passkey(self, device: Authenticator, passkey: Passkey) -> None:
        other = Assertion.of_browser(replace(device, key=Authenticator().key).approve(DIGEST))
        assert "signature" in refusal(lambda: other.verify(passkey, DIGEST, PARTY, after=0))
        renamed = Assertion.of_browser(replace(device, id=b"another").approve(DIGEST))
        assert "another passkey" in refusal(lambda: renamed.verify(passkey, DIGEST, PARTY, after=0))

    def test_registered_for_another_host(self, device: Authenticator, passkey: Passkey) -> None:
        made = Assertion.of_browser(device.approve(DIGEST))
        moved = passkey.model_copy(update={"host": "old.example.org"})
        assert "registered for old.example.org" in refusal(
            lambda: made.verify(moved, DIGEST, PARTY, after=0)
        )

    def test_the_counter_is_kept_and_never_goes_back(
        self, configured: Settings, device: Authenticator
    ) -> None:
        secret = invited(configured)
        passkey_signing.register(configured, secret, device.register(secret), NOW)
        file = passkey_signing.file_of(configured)

        def use(answer: str) -> Passkey:
            made = Assertion.of_browser(answer)
            return file.use(
                made.credential,
                lambda one: made.verify(one, DIGEST, PARTY, after=one.sign_count),
            )

        first = device.approve(DIGEST)
        copied = replace(device)
        assert use(first).sign_count == 1
        assert "count" in refusal(lambda: use(first))
        assert use(device.approve(DIGEST)).sign_count == 2
        assert "count" in refusal(lambda: use(copied.approve(DIGEST)))
        assert known(configured).passkeys[0].sign_count == 2

    def test_a_synchronized_passkey_has_no_counter(self, configured: Settings) -> None:
        secret, device = invited(configured), Authenticator(counts=False)
        passkey_signing.register(configured, secret, device.register(secret), NOW)
        made, file = device.approve(DIGEST), passkey_signing.file_of(configured)

        def use(answer: str) -> Passkey:
            one = Assertion.of_browser(answer)
            return file.use(
                one.credential, lambda by: one.verify(by, DIGEST, PARTY, after=by.sign_count)
            )

        # a repeated signature is refused by the record, which has it already
        assert [use(one).sign_count for one in (made, made, device.approve(DIGEST))] == [0, 0, 0]

    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        part=st.sampled_from(["authenticator_data", "client_data", "signature"]),
        place=st.integers(0, 10_000),
        bits=st.integers(1, 255),
    )
    def test_no_byte_may_change(
        self, device: Authenticator, passkey: Passkey, part: str, place: int, bits: int
    ) -> None:
        made = Assertion.of_browser(device.approve(DIGEST))
        data = bytearray(getattr(made, part))
        data[place % len(data)] ^= bits
        fields: dict[str, Any] = {part: bytes(data)}
        changed = replace(made, **fields)
        assert refusal(lambda: changed.verify(passkey, DIGEST, PARTY, after=0))
        assert made.verify(passkey, DIGEST, PARTY, after=0)

    @settings(max_examples=150)
    @given(
        st.recursive(
            st.none() | st.integers() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["id", "rawId", "type", "response", "signature", "x"]), inner
                )
            ),
            max_leaves=8,
        ).map(json.dumps)
        | st.text(max_size=40)
    )
    def test_any_other_text_is_refused(self, text: str) -> None:
        assert refusal(lambda: Assertion.of_browser(text))
        assert refusal(lambda: Assertion.of_record(text))
        assert refusal(lambda: assertions.registered(text, "bob", "s", PARTY, NOW))

    def test_a_long_answer_is_refused(self) -> None:
        assert "too long" in refusal(lambda: Assertion.of_browser("[" * 20_000))

    def test_the_record_of_the_longest_answer_can_be_read(self, passkey: Passkey) -> None:
        text = base64.urlsafe_b64encode(b"x" * 12_150).decode()
        parts = {"authenticatorData": text, "clientDataJSON": "", "signature": ""}
        answer = json.dumps({"rawId": passkey.id, "response": parts})
        made = Assertion.of_browser(answer)
        assert len(answer) < 16 * 1024 < len(made.as_recorded(passkey))
        assert Assertion.of_record(made.as_recorded(passkey)).client_data == made.client_data

    def test_the_record_holds_all_of_it(self, device: Authenticator, passkey: Passkey) -> None:
        made = Assertion.of_browser(device.approve(DIGEST))
        text = made.as_recorded(passkey)
        back = Assertion.of_record(text)
        assert replace(back, public_key="", registered_at="") == made
        assert back.public_key == assertions.pem(passkey)
        assert back.registered_at == NOW.isoformat()
        # `base64 -d` of the challenge needs no padding
        said = json.loads(made.client_data)["challenge"]
        plain = base64.b64decode(said, altchars=b"-_", validate=True)
        assert plain == f"rbkernel-action-approval:{DIGEST}\n".encode()

    def test_the_record_names_the_registered_key_and_person(
        self, configured: Settings, device: Authenticator
    ) -> None:
        """Else the record would prove the approval with a key that is not the approver's."""
        secret = invited(configured)
        made = passkey_signing.register(configured, secret, device.register(secret), NOW)
        text = Assertion.of_browser(device.approve(DIGEST)).as_recorded(made)
        right = Approval(
            by="bob",
            key=assertions.fingerprint(made),
            at=NOW.isoformat(),
            signature=text,
            signers="",
        )
        other = assertions.registered(Authenticator().register("s"), "bob", "s", PARTY, NOW)
        said = {**json.loads(text), "public_key": assertions.pem(other)}

        def why(approval: Approval) -> str:
            signers = "bob ssh-ed25519 AAAA\nann ssh-ed25519 BBBB\n"
            return passkey_signing.refusal(configured, approval, DIGEST, signers)

        assert why(right) == ""
        assert "not the registered one" in why(replace(right, signature=json.dumps(said)))
        said = {**json.loads(text), "registered_at": "2020-01-01T00:00:00+00:00"}
        assert "at another time" in why(replace(right, signature=json.dumps(said)))
        assert "not by ann" in why(replace(right, by="ann"))
        assert "not by bob" in why(replace(right, key=assertions.fingerprint(other)))


class TestPage:
    """The page that registers: opening it does nothing, and only an invitation counts."""

    @pytest.fixture
    def page(
        self, configured: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[httpx.Client]:
        acts = configured.actions
        (tmp_path / "rbkernel.toml").write_text(
            f'[actions]\napprovers = "{acts.approvers}"\npasskeys = "{acts.passkeys}"\n'
        )
        monkeypatch.setenv("RBKERNEL_CONFIG", str(tmp_path / "rbkernel.toml"))
        monkeypatch.setenv("LINKS", "0123456789abcdef")
        pages = Pages(link_secret_env="LINKS")
        file = {"pages": pages, "file": tmp_path / "rbkernel.toml"}
        with serving(configured.model_copy(update=file)) as client:
            yield client

    def invited(self, configured: Settings) -> str:
        """An invitation that is valid by the real clock."""
        return passkey_signing.invite(configured, "bob", HALF_AN_HOUR, datetime.now(UTC))

    def test_opening_it_uses_nothing_up(self, page: httpx.Client, configured: Settings) -> None:
        secret = self.invited(configured)
        for method in ("GET", "HEAD"):
            fields = {"invitation": secret, "answer": Authenticator().register(secret)}
            assert page.request(method, "/rbkernel/passkey", params=fields).status_code == 200
        assert known(configured).passkeys == ()
        asked = page.post("/rbkernel/passkey", data={"invitation": secret}).json()["options"]
        assert asked["rp"]["id"] == HOST
        assert known(configured).passkeys == ()
        fields = {"invitation": secret, "answer": Authenticator().register(secret)}
        done = page.post("/rbkernel/passkey", data=fields)
        assert done.json() == {"done": "This passkey now approves as bob."}
        again = page.post("/rbkernel/passkey", data=fields)
        assert again.status_code == 400
        assert "this invitation was used" in again.json()["refused"]
        assert len(known(configured).passkeys) == 1

    @pytest.mark.parametrize("secret", ["", "x", "INC-20261120-7f3a~4000000000~" + "A" * 43])
    def test_without_an_invitation(
        self, page: httpx.Client, configured: Settings, secret: str
    ) -> None:
        """A link to an incident is none."""
        self.invited(configured)
        fields = {"invitation": secret, "answer": Authenticator().register(secret)}
        for sent in (fields, {"invitation": secret}, {}):
            answer = page.post("/rbkernel/passkey", data=sent)
            assert answer.status_code == 400
            assert "no such invitation" in answer.json()["refused"]
        assert known(configured).passkeys == ()

    def test_a_stranger_learns_nothing_about_the_configuration(
        self, page: httpx.Client, configured: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = passkey_signing.file_of(configured).path
        file.write_text('{"passkeys": "here-is-a-value"}')
        said = page.post("/rbkernel/passkey", data={"invitation": "x"}).text
        assert "no passkey can be registered now" in said
        assert not {str(file), "here-is-a-value"} & {*re.findall(r"[\w/.-]+", said)}
        assert str(file) in caplog.text

    def test_a_registration_is_in_the_log(
        self, page: httpx.Client, configured: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        secret = self.invited(configured)
        fields = {"invitation": secret, "answer": Authenticator().register(secret)}
        assert page.post("/rbkernel/passkey", data=fields).status_code == 200
        key = assertions.fingerprint(known(configured).passkeys[0])
        assert f"registered for bob: {key} (from 127.0.0.1)" in caplog.text
        assert secret not in caplog.text

    def test_the_host_name_of_a_request_does_not_count(
        self, page: httpx.Client, configured: Settings
    ) -> None:
        secret = self.invited(configured)
        evil = {"Host": "evil.example", "Origin": "https://evil.example"}
        device = Authenticator(host="evil.example", origin="https://evil.example")
        fields = {"invitation": secret, "answer": device.register(secret)}
        answer = page.post("/rbkernel/passkey", data=fields, headers=evil)
        assert "Unexpected client data origin" in answer.json()["refused"]
        asked = page.post("/rbkernel/passkey", data={"invitation": secret}, headers=evil)
        assert asked.json()["options"]["rp"]["id"] == HOST
