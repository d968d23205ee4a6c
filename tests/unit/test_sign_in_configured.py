"""The configuration of the sign-in: what is refused, and what browsers are told."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from rbkernel.errors import ConfigError, Overloaded
from rbkernel.evidence.incident import Approval
from rbkernel.execution import approvers, named_person
from rbkernel.execution.ledger import now
from rbkernel.execution.named_person import Person
from rbkernel.gateway.assembly import must_be_set
from rbkernel.gateway.jobs.execution import environment
from rbkernel.gateway.web.signin.door import Door
from tests.support.page_server import serving
from tests.unit.test_page_proxy import PROXY, RULE, load

SECRET = "oidc-Tr0ub4dor-oidc-Tr0ub4dor-12"
GATEWAY = '[gateway]\nurl = "https://runbooks.example.org"\n'
OIDC = f"""{GATEWAY}
[pages.oidc]
issuer = "https://login.example.org"
client_id = "rbkernel"
secret_env = "OIDC"
name_claim = "preferred_username"
allowed_groups = ["sre"]
"""
HUB = f"""{GATEWAY}
[pages.jupyterhub]
url = "https://hub.example.org"
client_id = "service-rbkernel"
secret_env = "OIDC"
allowed_users = ["*"]
"""
# at another port: browsers send cookies to all ports of a host
JUPYTER = '[pages]\njupyter_url = "https://RUNBOOKS.example.org:8443/user/ann"\n'
BY_OIDC = RULE.replace('"proxy"', '"oidc"')


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (OIDC.replace('allowed_groups = ["sre"]', ""), "says of nobody that they may sign in"),
        (OIDC.replace('["sre"]', '["*"]'), 'for everybody, write allowed_users = ["*"]'),
        (OIDC.replace("name_claim", "#"), "name_claim"),
        (OIDC.replace("https://login", "http://login"), "give an https address"),
        (OIDC.replace("https://login", "https://u:p@login"), "remove all before the @"),
        (OIDC.replace("https://runbooks", "http://runbooks"), "give an https address"),
        (OIDC.replace("secret_env", "#"), "either secret_env or secret_file"),
        (OIDC.replace('example.org"\nclient', 'example.org/?p=1"\nclient'), "without a query"),
        (OIDC.replace('example.org"\nclient', 'example.org/#1"\nclient'), "without a fragment (#)"),
        (f"{OIDC}session_hours = 25", "session_hours"),
        (f"{OIDC}client_secret = 's'", "client_secret"),
        (OIDC + PROXY, "would have two names"),
        (OIDC + HUB.replace(GATEWAY, ""), "would have two names"),
        (f"[pages]\nopen_on_loopback = true\n{OIDC}", "exclude each other"),
        (HUB.replace("service-rbkernel", "rbkernel"), "is no service of JupyterHub"),
        (HUB.replace("hub.example.org", "runbooks.example.org:8443"), "get the cookies"),
        (OIDC + JUPYTER, "JupyterLab and these pages are both at runbooks.example.org"),
        (HUB + JUPYTER, "JupyterLab and these pages are both at runbooks.example.org"),
        (f"{HUB}api_url = 'http://hub.internal:8081/hub/api'", "give an https address"),
        (HUB + BY_OIDC.format(more="", rule=""), "there is no [pages.oidc]"),
        (OIDC + BY_OIDC.format(more="one_user = true", rule=""), "needs two people"),
    ],
)
def test_what_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, monkeypatch, text)
    assert why in str(caught.value)


def test_kernels_do_not_get_the_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(tmp_path, monkeypatch, OIDC + BY_OIDC.format(more="", rule=""))
    with pytest.raises(ConfigError, match=r"pages\.oidc"):
        must_be_set(settings)
    monkeypatch.setenv("OIDC", SECRET)
    must_be_set(settings)
    assert "OIDC" not in environment(settings)


def test_what_a_browser_gets(
    tmp_path: Path, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other host can set or read the cookie, and the way back is the one that is configured."""
    monkeypatch.setenv("OIDC", SECRET)
    with serving(load(tmp_path, monkeypatch, HUB)) as client:
        answer = client.get("/rbkernel/signin", headers={"Host": "evil.example"})
        [cookie] = answer.headers.get_list("Set-Cookie")
        account = client.get("/rbkernel/account")
    parts = set(cookie.split("; ")[1:])
    assert cookie.startswith("__Host-rbkernel-sign-in-")
    assert parts == {"HttpOnly", "Max-Age=600", "Path=/", "SameSite=Lax", "Secure"}
    asked = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert asked["redirect_uri"] == ["https://runbooks.example.org/rbkernel/signin/callback"]
    assert asked["code_challenge_method"] == ["S256"]
    assert SECRET not in answer.headers["Location"] + cookie
    assert "Not signed in" in account.text


def test_a_provider_that_hangs_holds_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers can ask the provider, too: readiness and metrics never wait for their threads."""
    monkeypatch.setenv("OIDC", SECRET)
    door = Door.made(load(tmp_path, monkeypatch, HUB), "/rbkernel")
    answers, names = threading.Event(), []

    def asked() -> None:
        names.append(threading.current_thread().name)
        answers.wait()

    async def ask() -> None:
        waiting = [asyncio.ensure_future(door.ask(asked)) for _ in range(16)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="16 people are signing in"):
            await door.ask(asked)
        answers.set()
        await asyncio.gather(*waiting)
        await door.ask(asked)

    asyncio.run(ask())
    assert len(names) == 17
    assert {name.rpartition("_")[0] for name in names} == {"rbkernel-sign-in"}


def test_a_click_counts_only_at_its_time_and_of_this_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OIDC", SECRET)
    settings = load(tmp_path, monkeypatch, OIDC)
    signers = "bob ssh-ed25519 AAAA\n"
    bob = Person(name="bob", address="https://login.example.org", identity="oidc")
    at, purpose = now(), approvers.APPROVAL
    said = named_person.sign(settings, bob, "text", purpose, signers, at)
    assert approvers.identity(said.text) == "oidc"

    def refusal(after_s: float, text: str = said.text) -> str:
        line = (at + timedelta(seconds=after_s)).isoformat()
        made = Approval(by="bob", key=said.key, at=line, signature=text, signers=signers)
        return named_person.refusal(settings, made, "text", purpose, signers)

    # a clock that is set right may go back a little
    assert [refusal(s) for s in (0, 100, -0.5)] == ["", "", ""]
    assert "at another time" in refusal(121)
    assert "at another time" in refusal(-2)
    forged = said.text.replace("the OpenID provider https://login", "JupyterHub at https://hub")
    assert "says something else" in refusal(0, forged)
    monkeypatch.setenv("OIDC", SECRET[::-1])
    assert "its secret changed since" in refusal(0)
