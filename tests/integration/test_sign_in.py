"""Sign-in at a real OpenID provider and at a real JupyterHub: who is signed in, and who is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from bs4 import BeautifulSoup
from joserfc.jwk import RSAKey

from rbkernel.config import Settings
from rbkernel.config.gateway import Gateway
from rbkernel.config.pages import Pages
from rbkernel.config.signin import JupyterHub, OpenID
from rbkernel.errors import Unauthenticated
from rbkernel.gateway import links
from rbkernel.gateway.web.signin.providers import Flow, OpenIDProvider
from rbkernel.gateway.web.signin.sessions import Sessions
from tests.acceptance.alertmanagers import free_port
from tests.support import jupyterhub, openid_provider
from tests.support.journal_builder import INCIDENT
from tests.support.openid_provider import Provider
from tests.support.page_server import serving
from tests.unit.test_page_forms import HERE, SECRET, THE_INCIDENT, send, waiting, words

__all__ = ["waiting"]
ACCOUNT = "/rbkernel/account"
START = f"/rbkernel/signin?to={THE_INCIDENT}"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKS", SECRET.decode())
    monkeypatch.setenv("OIDC", openid_provider.SECRET)
    monkeypatch.setenv("HUB", jupyterhub.SECRET)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with openid_provider.openid_provider() as made:
        yield made


@pytest.fixture
def said(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Provider:
    """The provider, of which the test changes what it says."""
    monkeypatch.setattr(provider, "claims", {})
    monkeypatch.setattr(provider, "published", None)
    return provider


@contextmanager
def pages(**signin: Any) -> Iterator[str]:
    """The pages with a sign-in; give their address."""
    port = free_port()
    url = f"http://localhost:{port}"
    settings = Settings(gateway=Gateway(url=url), pages=Pages(link_secret_env="LINKS", **signin))
    with serving(settings, port=port):
        yield url


def openid(provider: Provider, **more: Any) -> OpenID:
    fields = {
        "issuer": provider.url,
        "client_id": openid_provider.CLIENT,
        "secret_env": "OIDC",
        "name_claim": "preferred_username",
        "allowed_groups": ("sre",),
        **more,
    }
    return OpenID(**fields)


@pytest.fixture
def url(said: Provider, evidence: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with pages(oidc=openid(said)) as made:
        # the server of the provider is made once; its client comes back to these pages
        monkeypatch.setattr(said, "callback", f"{made}/rbkernel/signin/callback")
        said.__dict__.pop("server", None)
        yield made


@dataclass
class Person:
    """A browser at the pages, which follows no redirect by itself."""

    url: str
    client: httpx.Client

    def begin(self, start: str = START) -> str:
        """Begin the sign-in; return the address of the provider."""
        answer = self.client.get(f"{self.url}{start}")
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def log_in(self, place: str, user: str) -> str:
        """Log in at the provider; return the address that it sends the browser back to."""
        fields = {"user": user, "password": openid_provider.PASSWORDS[user]}
        with httpx.Client() as there:  # the provider's cookies are its own
            return there.post(place, data=fields).headers["Location"]

    def sign_in(self, user: str) -> httpx.Response:
        return self.client.get(self.log_in(self.begin(), user))

    @property
    def words(self) -> str:
        return words(self.client.get(f"{self.url}{ACCOUNT}"))


@pytest.fixture
def bob(url: str) -> Iterator[Person]:
    with httpx.Client(base_url=url) as client:
        yield Person(url, client)


def test_a_person_signs_in_and_out(waiting: Path, bob: Person) -> None:
    refused = bob.client.get(THE_INCIDENT)
    assert (refused.status_code, "Sign in" in words(refused)) == (403, True)
    done = bob.sign_in("bob")
    assert (done.status_code, done.headers["Location"]) == (303, THE_INCIDENT)
    [cookie] = [one for one in done.headers.get_list("set-cookie") if "rbkernel-session" in one]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Signed in as bob" in bob.words
    sent = send(bob.client, THE_INCIDENT, "note", note="seen", name="eve")
    assert sent.status_code == 303
    assert "bob (said by the OpenID provider http://127.0.0.1" in words(
        bob.client.get(THE_INCIDENT)
    )
    # a GET signs nobody out, nor does another site
    token = bob.client.cookies["rbkernel-session"]
    page = BeautifulSoup(bob.client.get(ACCOUNT).text, "html.parser")
    xsrf = {"_xsrf": str(page.select_one("input[name=_xsrf]")["value"])}  # type: ignore[index]  # it is there
    for headers, fields in (({"Sec-Fetch-Site": "cross-site"}, xsrf), (HERE, {})):
        assert bob.client.post(ACCOUNT, data=fields, headers=headers).status_code == 403
    assert "Signed in as bob" in bob.words
    assert bob.client.post(ACCOUNT, data=xsrf, headers=HERE).status_code == 303
    assert "Not signed in" in bob.words
    # the server has forgotten the token, too
    stolen = httpx.get(f"{bob.url}{THE_INCIDENT}", headers={"Cookie": f"rbkernel-session={token}"})
    assert stolen.status_code == 403


def test_a_session_that_ended_while_the_page_was_open(waiting: Path, bob: Person) -> None:
    """Whoever signs in again comes back to the page of the form, not to the form."""
    refused = bob.client.post(f"{THE_INCIDENT}/note", data={"note": "seen"}, headers=HERE)
    assert refused.status_code == 403
    found = BeautifulSoup(refused.text, "html.parser").select_one("a[href*=signin]")
    assert found
    back = bob.log_in(bob.begin(str(found["href"])), "bob")
    page = bob.client.get(bob.client.get(back).headers["Location"])
    assert (page.status_code, page.url.path) == (200, THE_INCIDENT)


def test_two_tabs_sign_in(bob: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tab has its own sign-in, and one thread alone changes the sessions."""
    threads = set()

    def seen(name: str) -> None:
        method = getattr(Sessions, name)

        def call(*about: Any) -> Any:
            threads.add(threading.get_ident())
            return method(*about)

        monkeypatch.setattr(Sessions, name, call)

    for name in ("begin", "of", "end"):
        seen(name)
    tabs = [bob.begin(), bob.begin()]
    for place in tabs:
        done = bob.client.get(bob.log_in(place, "bob"))
        assert (done.status_code, done.headers.get("Location")) == (303, THE_INCIDENT), words(done)
    assert "Signed in as bob" in bob.words
    assert [one for one in bob.client.cookies if "sign-in" in one] == []
    assert len(threads) == 1


def test_the_addresses_of_a_provider_are_kept() -> None:
    with openid_provider.openid_provider() as made:
        asked = OpenIDProvider(settings=openid(made), callback="https://x/back")
        first = asked.begin(Flow(to="/"))
    assert urlsplit(asked.begin(Flow(to="/"))).path == urlsplit(first).path
    with pytest.raises(Unauthenticated, match="does not answer"):
        OpenIDProvider(settings=openid(made), callback="https://x/back").begin(Flow(to="/"))


def test_who_may_not_sign_in(bob: Person) -> None:
    answer = bob.sign_in("dan")
    assert answer.status_code == 403
    assert "dan is not in allowed_users, nor in one of allowed_groups" in words(answer)
    assert "Not signed in" in bob.words
    cancelled = bob.begin()
    state = parse_qs(urlsplit(cancelled).query)["state"][0]
    query = {"error": "access_denied", "error_description": "<b>no</b>", "state": state}
    said = bob.client.get("/rbkernel/signin/callback", params=query)
    assert "the provider says 'access_denied' <b>no</b>" in words(said)
    assert "<b>no" not in said.text


def test_only_the_browser_that_began_it(bob: Person, said: Provider) -> None:
    """Nobody is signed in by a link of somebody else, by a code twice, or at another address."""
    place = bob.begin()
    asked = parse_qs(urlsplit(place).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["nonce"][0]) == len(asked["state"][0]) == 43
    back = bob.log_in(place, "bob")
    callback = f"{bob.url}/rbkernel/signin/callback"
    assert back.startswith(f"{callback}?")
    with httpx.Client() as other:
        assert "did not begin this sign-in" in words(other.get(back))
        # not with a sign-in of its own, either: state, verifier and nonce are others
        mine = Person(bob.url, other)
        state = parse_qs(urlsplit(mine.begin()).query)["state"][0]
        code = parse_qs(urlsplit(back).query)["code"][0]
        swapped = other.get(callback, params={"code": code, "state": state})
        assert (swapped.status_code, "answered 400" in words(swapped)) == (403, True)
        assert "Not signed in" in mine.words
    again = bob.log_in(bob.begin(), "bob")
    assert bob.client.get(again).status_code == 303
    twice = bob.client.get(again)
    assert "did not begin this sign-in" in words(twice)
    # the address to come back to is that of the configuration, whatever a request says
    placed = bob.client.get(START, headers={"Host": "evil.example"}).headers["Location"]
    assert parse_qs(urlsplit(placed).query)["redirect_uri"] == [callback]
    elsewhere = placed.replace("localhost", "evil.example")
    fields = {"user": "bob", "password": openid_provider.PASSWORDS["bob"]}
    assert httpx.post(elsewhere, data=fields).status_code == 400
    for to in ("https://evil.example", "//evil.example", "/rbkernel/../x", "/rbkernel?x"):
        there = bob.log_in(bob.begin(f"/rbkernel/signin?to={to}"), "bob")
        assert bob.client.get(there).headers["Location"] == "/rbkernel"


def test_a_token_that_is_not_for_this(bob: Person, said: Provider) -> None:
    for claims, why in (
        ({"aud": ["other"]}, "aud"),
        ({"aud": ["other", "rbkernel"]}, "azp"),
        ({"iss": "https://other.example"}, "iss"),
        ({"nonce": "another"}, "nonce"),
        ({"exp": 1}, "expired"),
        ({"at_hash": "x"}, "at_hash"),
        ({"preferred_username": "b ob"}, "says the name 'b ob'"),
        ({"preferred_username": None}, "says the name ''"),
        ({"groups": "sre"}, "nor in one of allowed_groups"),
    ):
        said.claims = claims
        answer = bob.sign_in("bob")
        shown = words(answer).partition("Next:")[0]
        assert (answer.status_code, why in shown) == (403, True), shown
    assert "Not signed in" in bob.words


def test_a_token_with_another_signature(bob: Person, said: Provider) -> None:
    said.published = RSAKey.generate_key(2048, {"kid": "one"})
    answer = bob.sign_in("bob")
    assert (answer.status_code, "does not confirm who this is" in words(answer)) == (403, True)


def test_a_mail_address_that_nobody_verified(
    said: Provider, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pages(oidc=openid(said, name_claim="email")) as url, httpx.Client(base_url=url) as client:
        monkeypatch.setattr(said, "callback", f"{url}/rbkernel/signin/callback")
        said.__dict__.pop("server", None)
        person = Person(url, client)
        said.claims = {"email": "bob@example.org", "email_verified": False}
        assert "did not verify the address" in words(person.sign_in("bob"))
        said.claims["email_verified"] = True
        assert person.sign_in("bob").status_code == 303
        assert "Signed in as bob@example.org" in person.words


def test_a_provider_that_does_not_answer(waiting: Path) -> None:
    gone = Provider(url=f"http://127.0.0.1:{free_port()}")
    with pages(oidc=openid(gone)) as url, httpx.Client(base_url=url) as client:
        answer = client.get(START)
        assert answer.status_code == 403
        assert f"{gone.url} does not answer" in words(answer)
        # a link opens the page as before
        token = links.sign(INCIDENT, int(time.time() + 60), SECRET)
        assert client.get(f"{THE_INCIDENT}?link={token}").status_code == 303
        assert client.get(THE_INCIDENT).status_code == 200


def hub_login(client: httpx.Client, hub: str, place: str, user: str) -> httpx.Response:
    """Log in at JupyterHub as its page does; return its answer, which leads back."""
    answer = client.get(place)
    while answer.is_redirect and "/signin/callback" not in answer.headers["Location"]:
        answer = client.get(httpx.URL(hub).join(answer.headers["Location"]))
        if "password" in answer.text:
            page = BeautifulSoup(answer.text, "html.parser")
            form = page.select_one("form[action*=login]")
            assert form
            fields = {
                str(one["name"]): str(one.get("value", "")) for one in form.select("input[name]")
            }
            fields |= {"username": user, "password": jupyterhub.PASSWORD}
            target = httpx.URL(str(answer.url)).join(str(form["action"]))
            answer = client.post(target, data=fields, headers={"Origin": hub})
    return answer


def test_people_of_jupyterhub(tmp_path: Path, waiting: Path) -> None:
    """The Hub says the name to the gateway, which is its service: no server of a user does."""
    port = free_port()
    url = f"http://localhost:{port}"
    with jupyterhub.jupyterhub(tmp_path / "hub", f"{url}/rbkernel/signin/callback") as hub:
        signin = JupyterHub(
            url=hub,
            client_id=f"service-{jupyterhub.SERVICE}",
            secret_env="HUB",
            allowed_groups=("sre",),
        )
        settings = Settings(
            gateway=Gateway(url=url), pages=Pages(link_secret_env="LINKS", jupyterhub=signin)
        )
        with serving(settings, port=port):
            for user, status, why in (
                ("bob", 303, ""),
                ("eve", 403, "eve is not in allowed_users"),
                ("dan", 403, ""),
            ):
                with httpx.Client() as client:
                    person = Person(url, client)
                    back = hub_login(client, hub, person.begin(), user)
                    if user == "dan":  # who has no right to use the service
                        assert back.status_code == 403, back.text
                        continue
                    answer = client.get(back.headers["Location"])
                    assert (answer.status_code, why in words(answer)) == (status, True), words(
                        answer
                    )
                    signed = "Signed in as bob" if user == "bob" else "Not signed in"
                    assert signed in person.words
                    if user == "bob":
                        assert f"said by JupyterHub at {hub}" in person.words
