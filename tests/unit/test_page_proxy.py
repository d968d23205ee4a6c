"""Who a person is by the word of a proxy: what is taken, and what is refused."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
from tornado.httputil import HTTPHeaders

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.config.pages import Pages
from rbkernel.config.proxy import Proxy
from rbkernel.errors import ActionRefused, ConfigError, Unauthenticated
from rbkernel.evidence import incident
from rbkernel.execution import named_person
from rbkernel.gateway import links
from rbkernel.gateway.assembly import must_be_set
from rbkernel.gateway.jobs.execution import environment
from rbkernel.gateway.web.people import person_of
from tests.support.journal_builder import INCIDENT
from tests.support.login_proxy import HEADER, PEER, SECRET, SECRET_HEADER, login_proxy, person
from tests.support.page_server import serving
from tests.unit.test_page_forms import (
    HERE,
    THE_INCIDENT,
    decided,
    follow,
    form,
    send,
    waiting,
    words,
)
from tests.unit.test_page_forms import SECRET as LINKS

__all__ = ["waiting"]
PROXY = f"""
[pages.proxy]
addresses = ["{PEER}"]
secret_env = "PROXY"
"""
RULE = """
[actions]
approvers = "approvers"
{more}
[[actions.rules]]
action = "terminate_sessions"
identities = ["ssh", "proxy"]
{rule}
"""


def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Settings:
    file = tmp_path / "rbkernel.toml"
    file.write_text(text)
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    return config.load()


class TestConfiguration:
    def test_what_it_takes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        rule = RULE.format(more="", rule="approvers = 2")
        found = load(tmp_path, monkeypatch, PROXY + rule)
        assert found.pages.proxy
        assert found.pages.proxy.header == HEADER
        assert found.actions.rules[0].identities == ("ssh", "proxy")
        plain = load(tmp_path, monkeypatch, "")
        assert plain.pages.proxy is None

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            (PROXY.replace(f'"{PEER}"', ""), "addresses"),
            (PROXY.replace(PEER, "10.0.0.300"), "10.0.0.300"),
            (PROXY.replace(PEER, "proxy.example.org"), "give IP addresses"),
            (PROXY.replace(PEER, "10.0.0.5/8"), "10.0.0.5/8"),
            (PROXY.replace(PEER, "0.0.0.0/0"), "is every address"),
            (PROXY.replace(PEER, "::/0"), "is every address"),
            (PROXY.replace("secret_env", "#"), "either secret_env or secret_file"),
            (f'{PROXY}secret_file = "s"', "either secret_env or secret_file"),
            (f'{PROXY}header = "Cookie"', "is not the name of a header"),
            (f'{PROXY}header = "x-forwarded-for"', "is not the name of a header"),
            (f'{PROXY}header = "X_Forwarded_User"', "is not the name of a header"),
            (f'{PROXY}header = "X-User\\r\\nX"', "is not the name of a header"),
            (f'{PROXY}secret_header = "x-forwarded-user"', "must be two headers"),
            (f'{PROXY}role_header = "X-Role"', "role_header"),
            (f"[pages]\nopen_on_loopback = true\n{PROXY}", "exclude each other"),
            (RULE.format(more="", rule=""), "there is no [pages.proxy]"),
            (PROXY + RULE.format(more="", rule="approvers = 0"), "nobody approves"),
            (
                PROXY + RULE.format(more="", rule="").replace('"ssh", "proxy"', ""),
                "identities",
            ),
            (PROXY + RULE.format(more="", rule="").replace('"ssh"', '"link"'), "identities"),
            (PROXY + RULE.format(more="one_user = true", rule="approvers = 1"), "needs two people"),
            (
                PROXY
                + RULE.format(
                    more="one_user = true", rule="approvers = 2\nproposer_may_approve = true"
                ),
                "needs two people",
            ),
        ],
    )
    def test_what_it_refuses(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            load(tmp_path, monkeypatch, text)
        assert why in str(caught.value)

    def test_one_person_and_one_user_is_a_convenience(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rule = RULE.format(more="one_user = true", rule="proposer_may_approve = true")
        assert load(tmp_path, monkeypatch, PROXY + rule).actions.one_user

    @pytest.mark.parametrize(
        ("lab", "same"),
        [
            ("https://runbooks.example.org/user/ann", "the same origin"),
            ("https://runbooks.example.org:8443", "the same host name"),
            ("https://lab.example.org", ""),
        ],
    )
    def test_nobody_clicks_beside_jupyterlab(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lab: str, same: str
    ) -> None:
        """Browsers send the cookies of the links to every port of a host."""
        text = f'[gateway]\nurl = "https://runbooks.example.org"\n[pages]\njupyter_url = "{lab}"\n'
        settings = load(tmp_path, monkeypatch, text + PROXY)
        if not same:
            assert named_person.naming_of(settings) == settings.pages.proxy
            return
        with pytest.raises(ActionRefused, match=f"JupyterLab has {same}"):
            named_person.naming_of(settings)

    def test_the_secret(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load(tmp_path, monkeypatch, PROXY)
        for value, why in (("", "is not set"), ("short", "is shorter than 32")):
            monkeypatch.setenv("PROXY", value)
            with pytest.raises(ConfigError) as caught:
                must_be_set(settings)
            assert why in caught.value.what
            assert "short" not in str(caught.value).replace("shorter", "")
        monkeypatch.setenv("PROXY", SECRET)
        must_be_set(settings)
        assert "PROXY" not in environment(settings)
        file = tmp_path / "secret"
        text = PROXY.replace('secret_env = "PROXY"', 'secret_file = "secret"')
        in_file = load(tmp_path, monkeypatch, text).pages.proxy
        assert in_file
        with pytest.raises(ConfigError, match="cannot be read"):
            in_file.secret()
        file.write_text(f"{SECRET}\n")
        file.chmod(0o640)
        with pytest.raises(ConfigError, match="other users can read"):
            in_file.secret()
        file.chmod(0o600)
        assert in_file.secret() == SECRET.encode()


class TestPersonOf:
    @pytest.fixture
    def proxy(self, monkeypatch: pytest.MonkeyPatch) -> Proxy:
        monkeypatch.setenv("PROXY", SECRET)
        return Proxy(addresses=(PEER,), secret_env="PROXY")

    def headers(self, *pairs: tuple[str, str]) -> HTTPHeaders:
        made = HTTPHeaders()
        for name, value in pairs:
            made.add(name, value)
        return made

    @pytest.mark.parametrize("name", ["bob", "bob@example.org", "Bob", "b-o_b+1.x"])
    @pytest.mark.parametrize("header", [HEADER, HEADER.lower(), HEADER.upper()])
    def test_a_name(self, proxy: Proxy, name: str, header: str) -> None:
        found = person_of(
            proxy, PEER, self.headers((header, name), (SECRET_HEADER.lower(), SECRET))
        )
        assert found
        assert (found.name, found.address) == (name, PEER)

    @pytest.mark.parametrize(
        "names",
        [
            [""],
            ["bob", "ann"],
            ["bob", "bob"],
            ["bob", ""],
            ["bob,ann"],
            ["bob, ann"],
            ["bob ann"],
            ["bоb"],  # a Cyrillic o
            ["b\u0430b"],
            ["bob\u00ad"],
            ["ｂｏｂ"],
            ["-bob"],
            ["#bob"],
            ["*"],
            ['"bob"'],
            ["b" * 200],
        ],
    )
    def test_no_name(self, proxy: Proxy, names: list[str]) -> None:
        made = self.headers(
            (SECRET_HEADER, SECRET), *((HEADER, one.encode().decode("latin-1")) for one in names)
        )
        with pytest.raises(Unauthenticated, match="exactly one name"):
            person_of(proxy, PEER, made)

    @pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "", "127.0.0.20", "::ffff:127.0.0.1"])
    def test_another_peer(self, proxy: Proxy, peer: str) -> None:
        right = self.headers((HEADER, "bob"), (SECRET_HEADER, SECRET))
        with pytest.raises(Unauthenticated, match="may not say who a person is"):
            person_of(proxy, peer, right)
        with pytest.raises(Unauthenticated):
            person_of(proxy, peer, self.headers((HEADER, "bob")))
        assert person_of(proxy, peer, self.headers()) is None

    @pytest.mark.parametrize(
        "secrets", [[], ["wrong"], [SECRET[:-1]], [f"{SECRET}x"], [SECRET, SECRET], ["", SECRET]]
    )
    def test_without_the_secret(self, proxy: Proxy, secrets: list[str]) -> None:
        pairs = [(SECRET_HEADER, one) for one in secrets]
        with pytest.raises(Unauthenticated, match="right secret") as caught:
            person_of(proxy, PEER, self.headers((HEADER, "bob"), *pairs))
        assert SECRET not in str(caught.value)

    def test_nobody(self, proxy: Proxy) -> None:
        assert person_of(proxy, PEER, self.headers((SECRET_HEADER, SECRET))) is None
        assert person_of(proxy, PEER, self.headers()) is None
        assert person_of(None, PEER, self.headers((HEADER, "bob"))) is None


@pytest.mark.slow
class TestForms:
    """Names of answers, acknowledgements and notes, through a real proxy."""

    @pytest.fixture
    def direct(self, waiting: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
        monkeypatch.setenv("LINKS", LINKS.decode())
        monkeypatch.setenv("PROXY", SECRET)
        proxy = Proxy(addresses=(PEER,), secret_env="PROXY")
        with serving(Settings(pages=Pages(link_secret_env="LINKS", proxy=proxy))) as client:
            yield client

    @pytest.fixture
    def address(self, direct: httpx.Client) -> Iterator[str]:
        with login_proxy(str(direct.base_url).rstrip("/")) as found:
            yield found

    def test_names_are_recorded(self, address: str, waiting: Path) -> None:
        with person(address, "bob") as bob, person(address, "ann") as ann:
            follow(bob, INCIDENT, THE_INCIDENT)
            follow(ann, INCIDENT, THE_INCIDENT)
            shown = bob.get(THE_INCIDENT)
            assert f"Recorded as bob (said by the proxy at {PEER})" in words(shown)
            assert 'name="name"' not in shown.text
            sent = send(bob, THE_INCIDENT, "decide", option="wait", name="ann")
            assert sent.status_code == 303
            assert decided(waiting).by == f"bob (said by the proxy at {PEER})"
            assert send(ann, THE_INCIDENT, "acknowledge").status_code == 303
            assert send(bob, THE_INCIDENT, "note", note="seen").status_code == 303
        lines = incident.read(waiting, INCIDENT).lines[-2:]
        assert [(one.kind, one.by) for one in lines] == [
            ("acknowledged", f"ann (said by the proxy at {PEER})"),
            ("note", f"bob (said by the proxy at {PEER})"),
        ]

    def test_a_form_of_another_person(self, address: str, waiting: Path) -> None:
        with person(address, "bob") as bob, person(address, "ann") as ann, person(address) as guest:
            for one in (bob, ann, guest):
                follow(one, INCIDENT, THE_INCIDENT)
            of_ann = form(ann, THE_INCIDENT, "note")
            for other in (bob, guest):
                sent = other.post(
                    f"{THE_INCIDENT}/note", data={**of_ann, "note": "x"}, headers=HERE
                )
                assert sent.status_code == 403
            assert send(guest, THE_INCIDENT, "note", note="x", name="ann").status_code == 303
        assert incident.read(waiting, INCIDENT).lines[-1].by == "ann (holder of a link)"

    def test_a_name_needs_a_link_too(self, address: str, waiting: Path) -> None:
        with person(address, "bob") as bob:
            assert bob.get(THE_INCIDENT).status_code == 403

    @pytest.mark.parametrize("peer", ["127.0.0.1", PEER])
    @pytest.mark.parametrize(
        "more",
        [
            [(HEADER, "bob")],
            [(HEADER, "bob"), (SECRET_HEADER, "guessed")],
            [(HEADER, "bob"), (HEADER, "ann"), (SECRET_HEADER, SECRET)],
            [(HEADER.lower(), "bob"), (HEADER.upper(), "bob"), (SECRET_HEADER, SECRET)],
            [(HEADER, ""), (SECRET_HEADER, SECRET)],
            [(HEADER, "bоb"), (SECRET_HEADER, SECRET)],
            [(HEADER, "bob, ann"), (SECRET_HEADER, SECRET)],
        ],
    )
    def test_forged(
        self, direct: httpx.Client, waiting: Path, peer: str, more: list[tuple[str, str]]
    ) -> None:
        """Bytes as an attacker sends them, beside the proxy; a client library would tidy them."""
        follow(direct, INCIDENT, THE_INCIDENT)
        cookies = "; ".join(f"{name}={value}" for name, value in direct.cookies.items())
        token = links.form_token(links.Grant(what=INCIDENT, expires=0), f"{INCIDENT}~bob", LINKS)
        before = (waiting / INCIDENT / "incident.jsonl").read_bytes()
        for fields in (form(direct, THE_INCIDENT, "note"), {"_xsrf": token}):
            body = urlencode({**fields, "note": "x"})
            lines = [
                f"POST {THE_INCIDENT}/note HTTP/1.1",
                f"Host: {urlsplit(str(direct.base_url)).netloc}",
                "Content-Type: application/x-www-form-urlencoded",
                f"Content-Length: {len(body)}",
                "Sec-Fetch-Site: same-origin",
                f"Cookie: {cookies}",
                "Connection: close",
                *(f"{name}: {value}" for name, value in more),
            ]
            said = self.answer(direct, peer, "\r\n".join([*lines, "", body]))
            assert said.split(maxsplit=2)[1] == "403"
            assert "nobody knows who sent this" in said
        assert (waiting / INCIDENT / "incident.jsonl").read_bytes() == before

    def answer(self, direct: httpx.Client, peer: str, text: str) -> str:
        port = direct.base_url.port
        assert port
        with socket.create_connection(("127.0.0.1", port), 20, (peer, 0)) as raw:
            raw.sendall(text.encode())
            said = b""
            while more := raw.recv(65536):
                said += more
        return said.decode()
