"""Pages and who may read them: links, refusals, what stands on them, and what never does."""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup
from typer.testing import CliRunner

from rbkernel.cli import app
from rbkernel.config import Settings
from rbkernel.config.gateway import Gateway
from rbkernel.config.pages import Pages
from rbkernel.config.queue import Queue
from rbkernel.errors import ConfigError, EvidenceError, LinkError
from rbkernel.evidence import bundle, incident
from rbkernel.gateway import links
from rbkernel.gateway import web as pages
from rbkernel.gateway.jobs.ledger import Ledger
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.jobs.storage.tables import jobs, workers
from rbkernel.gateway.links import EVERYTHING
from rbkernel.run.outcome import Ending, Outcome
from tests.support import page_scenes
from tests.support.journal_builder import INCIDENT, RUN_ID, Journal, whole_run
from tests.support.page_server import opened, serving

pytestmark = pytest.mark.slow

SECRET = b"0123456789abcdef0123456789abcdef"
RUN, CONSOLE = f"/rbkernel/runs/{RUN_ID}", "/rbkernel"
THE_INCIDENT = f"/rbkernel/incidents/{INCIDENT}"
OTHER_RUN = "20261120T030211Z-ffffff"


@pytest.fixture
def rest(evidence: Path) -> Path:
    evidence.mkdir()
    page_scenes.at_rest(evidence)
    return evidence


@pytest.fixture
def linked(rest: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """Pages that need a link."""
    monkeypatch.setenv("LINKS", SECRET.decode())
    with serving(Settings(pages=Pages(link_secret_env="LINKS"))) as client:
        yield client


@pytest.fixture
def pages_open(rest: Path) -> Iterator[httpx.Client]:
    with serving(opened()) as client:
        yield client


def token(what: str, lasts_s: float = 60) -> str:
    return links.sign(what, int(time.time() + lasts_s), SECRET)


def words(answer: httpx.Response) -> str:
    return " ".join(BeautifulSoup(answer.text, "html.parser").get_text(" ").split())


def test_a_silenced_incident_says_until_when_and_why(rest: Path, pages_open: httpx.Client) -> None:
    def shown(until: str) -> str:
        said = {"until": until, "reason": "<upgrade>", "declared_by": "ann"}
        incident.append(*(rest, INCIDENT, incident.SILENCED), by="rbkernel", **said)  # type: ignore[arg-type]
        return words(pages_open.get(THE_INCIDENT))

    assert "Silenced: maintenance" not in shown("2026-11-20T04:00:00+00:00")
    said = shown("2999-11-20T04:00:00+00:00")
    assert "Silenced: maintenance, no notifications until 2999-11-20 04:00" in said
    assert "<upgrade> ann" in said


# --- links


def test_every_altered_letter_is_found() -> None:
    good = token(RUN_ID)
    assert links.read(good, SECRET, time.time()).what == RUN_ID
    for place, letter in enumerate(good):
        bad = f"{good[:place]}{'0' if letter != '0' else '1'}{good[place + 1 :]}"
        with pytest.raises(LinkError):
            links.read(bad, SECRET, time.time())
        with pytest.raises(LinkError):
            links.read(good[:place], SECRET, time.time())
    for other in (SECRET[:-1], SECRET + b"x", b""):
        with pytest.raises(LinkError, match="another secret"):
            links.read(good, other, time.time())


@pytest.mark.parametrize("text", ["", "é~1~x", "a~b", "everything~1~" + "A" * 43, "\0", "~~" * 99])
def test_what_is_no_token_opens_nothing(text: str) -> None:
    with pytest.raises(LinkError):
        links.read(text, SECRET, 0.0)


@pytest.mark.parametrize(
    ("what", "seen"),
    [
        (RUN_ID, {RUN}),
        (INCIDENT, {RUN, THE_INCIDENT}),
        (EVERYTHING, {RUN, THE_INCIDENT, CONSOLE}),
        (OTHER_RUN, set()),
        ("INC-20261120-9999", set()),
    ],
)
def test_a_link_opens_what_it_names_and_nothing_else(
    linked: httpx.Client, what: str, seen: set[str]
) -> None:
    for address in (RUN, THE_INCIDENT, CONSOLE, f"{RUN}/report", f"{THE_INCIDENT}/archive"):
        cookie = {"Cookie": f"rbkernel-link-{what}={token(what)}"}
        answer = linked.get(address, headers=cookie)
        whole = address.removesuffix("/report").removesuffix("/archive")
        assert answer.status_code == (200 if whole in seen else 403), address


def test_a_link_moves_from_the_address_into_a_cookie(linked: httpx.Client) -> None:
    answer = linked.get(RUN, params={"link": token(RUN_ID)})
    assert answer.status_code == 303
    assert answer.headers["Location"] == RUN
    cookie = answer.headers["Set-Cookie"]
    assert f"Path={RUN}" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert linked.get(RUN).status_code == 200  # the client keeps the cookie
    assert linked.get(CONSOLE).status_code == 403


def test_a_cookie_is_secure_where_the_gateway_is(
    rest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINKS", SECRET.decode())
    safe = Settings(
        pages=Pages(link_secret_env="LINKS"), gateway=Gateway(url="https://gateway.example")
    )
    with serving(safe) as client:
        answer = client.get(RUN, params={"link": token(RUN_ID)})
    assert "Secure" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: "", "needs a link"),
        (lambda: token(RUN_ID, -1), "has expired"),
        (lambda: token(RUN_ID)[:-1] + "!", "incomplete"),
        (lambda: links.sign(RUN_ID, 2_000_000_000, b"a secret of others"), "another secret"),
        (lambda: token(OTHER_RUN), "does not open this page"),
    ],
    ids=["none", "expired", "cut", "forged", "other"],
)
def test_who_has_no_good_link_is_told_how_to_get_one(
    linked: httpx.Client, given: Callable[[], str], said: str
) -> None:
    answer = linked.get(RUN, params={"link": given()})
    assert answer.status_code == 403
    assert said in words(answer)
    assert f"rbkernel link {RUN_ID}" in words(answer)
    assert "31.5 s" not in answer.text


def test_whether_a_run_exists_is_told_to_nobody_without_a_link(linked: httpx.Client) -> None:
    there, not_there = (linked.get(f"/rbkernel/runs/{run}") for run in (RUN_ID, OTHER_RUN))
    assert there.status_code == not_there.status_code == 403
    assert there.text.replace(RUN_ID, "") == not_there.text.replace(OTHER_RUN, "")


def test_an_expired_link_is_no_hindrance_beside_a_good_one(linked: httpx.Client) -> None:
    cookie = {"Cookie": f"rbkernel-link-{INCIDENT}={token(INCIDENT)}"}
    assert linked.get(RUN, params={"link": token(RUN_ID, -1)}, headers=cookie).status_code == 200


def test_the_command_prints_a_link_that_opens_the_page(
    rest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Settings()) as client:
        for what in ([RUN_ID], [INCIDENT, "--hours", "1"], []):
            address = (
                CliRunner().invoke(app, ["link", *what], catch_exceptions=False).output.strip()
            )
            assert address.startswith("http://127.0.0.1:8790/rbkernel")
            answer = client.get(
                address.removeprefix("http://127.0.0.1:8790"), follow_redirects=True
            )
            assert answer.status_code == 200
            client.cookies.clear()
    for nothing in ("INC-20200101-0000", OTHER_RUN):
        with pytest.raises(EvidenceError, match="there is no"):
            CliRunner().invoke(app, ["link", nothing], catch_exceptions=False)
    assert CliRunner().invoke(app, ["link", "--hours", "721"]).exit_code == 2
    with pytest.raises(LinkError, match="neither a run id"):
        links.link(Settings(), "../../etc/passwd")


def test_the_machines_own_secret_is_made_once_and_kept_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    first = links.secret_of(Settings())
    path = links.secret_file()
    assert path.is_relative_to(tmp_path)
    assert len(first) == 32
    assert links.secret_of(Settings()) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="other users can read"):
        links.secret_of(Settings())
    path.chmod(0o600)
    path.write_text("not hex")
    with pytest.raises(ConfigError, match="cannot be read"):
        links.secret_of(Settings())


@pytest.mark.parametrize(("value", "said"), [("", "not set"), ("short", "shorter than")])
def test_a_secret_that_is_none_is_refused(
    value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINKS", value)
    with pytest.raises(ConfigError, match=said):
        links.secret_of(Settings(pages=Pages(link_secret_env="LINKS")))
    with pytest.raises(ConfigError, match="link_secret_command failed"):
        links.secret_of(Settings(pages=Pages(link_secret_command=("false",))))
    told = Pages(link_secret_command=("printf", "0123456789abcdef"))
    assert links.secret_of(Settings(pages=told)) == b"0123456789abcdef"


# --- open on this machine


def test_open_pages_are_refused_where_others_can_reach_them() -> None:
    reachable = Settings(pages=Pages(open_on_loopback=True), gateway=Gateway(host="0.0.0.0"))
    with pytest.raises(ConfigError, match="other machines can reach"):
        pages.handlers(reachable)


def test_open_pages_answer_to_this_machines_own_names_only(pages_open: httpx.Client) -> None:
    assert pages_open.get(RUN).status_code == 200
    assert pages_open.get(RUN, headers={"Host": "localhost:1"}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "", "evil.example:8790"):
        assert pages_open.get(RUN, headers={"Host": host}).status_code in (400, 403), host


# --- what stands on them


def test_the_page_of_a_run_says_what_an_engineer_needs(pages_open: httpx.Client) -> None:
    said = words(pages_open.get(RUN))
    for part in (
        *("critical RUN-005 Replication lag", "Replay is paused", "Next: find out who paused"),
        *("2 checks", "What now?", "resume replay (recommended)", page_scenes.SQL),
        *("ask who paused it", "systemctl", "in a shell", "the batch was stopped"),
        *("replay lag: 10 to 31 s", f"rbkernel open {RUN_ID}", "verified now: unchanged"),
        *("not signed", "9 of 9 cells attested"),
    ):
        assert part in said, part
    assert said.index("Replay is paused") < said.index("escalate") < said.index("31.5 s")
    assert said.index("31.5 s") < said.index(page_scenes.SQL)


def test_changed_evidence_is_shown_and_said_to_be_changed(
    pages_open: httpx.Client, rest: Path
) -> None:
    [folder] = (rest / INCIDENT).glob("0001-*")
    folder.chmod(0o755)
    path = folder / "journal.jsonl"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"31.5 s", b"0.5 s"))
    said = words(pages_open.get(RUN))
    assert "Verification failed" in said
    assert "nothing was changed" not in said


def test_the_page_of_an_incident_tells_its_record(pages_open: httpx.Client) -> None:
    said = words(pages_open.get(THE_INCIDENT))
    for part in (
        *("open, critical, waiting for a decision Replay is paused", "severity high", "Identified"),
        *("Replication lag of the shop", "nobody is on it yet", "replay lag: 10 to 31 s"),
        *("resolved PostgresReplicationLag", "cluster shop-0", "the standby is behind"),
        "ignored lables",
        *("the backup host had paused it second line", "reports are old", page_scenes.SQL),
        *("RUN-005 Replication lag: started", "RUN-005 Replication lag: ended: critical"),
        *("alert firing: PostgresReplicationLag", "Replay lag: critical: 31.5 s: Replay is paused"),
    ):
        assert part in said, part


def test_that_a_run_looked_elsewhere_stands_on_every_page(rest: Path) -> None:
    run: dict[str, Any] = {"run_id": RUN_ID, "runbook": "RUN-000", "mind": "it looked elsewhere"}
    incident.append(rest, INCIDENT, "run", by="rbkernel", state="queued", attempt=2, **run)
    with serving(opened()) as client:
        for address in (RUN, THE_INCIDENT, CONSOLE, f"{THE_INCIDENT}/report"):
            assert "Note: it looked elsewhere" in words(client.get(address)), address


def test_downloads_are_the_report_and_the_sealed_bytes(pages_open: httpx.Client) -> None:
    for address in (RUN, THE_INCIDENT):
        report, archive = (pages_open.get(f"{address}/{name}") for name in ("report", "archive"))
        assert "Step by step" in report.text
        assert report.headers["Content-Security-Policy"].startswith("sandbox allow-scripts")
        assert archive.content.startswith(b"PK")
        assert "attachment" in archive.headers["Content-Disposition"]


def test_the_console_lists_everything(rest: Path, tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}")
    page_scenes.storm(rest, store, incidents=26)
    with serving(opened(), store) as client:
        said = words(client.get(CONSOLE))
        waiting = words(client.get(CONSOLE, params={"state": "waiting"}))
        over = words(client.get(CONSOLE, params={"state": "over", "q": "shop"}))
        found = words(client.get(CONSOLE, params={"q": "7f3a critical"}))
        none = words(client.get(CONSOLE, params={"q": "<script>", "sheet": "99999999999999999"}))
    store.close()
    for part in (
        *("27 open, 27 critical, 1 waiting for you", "27 incidents with", "38 queued"),
        *("26 incidents with this cause, on shop", "All 27", "Waiting for you 1", "Closed 0"),
        *("2 deliveries from", "2012 more bytes"),
        *("cell [4] failed: KeyError: 'lag'", "runner-a (process 7, up to 4 runs", "RUN-000"),
    ):
        assert part in said, part
    assert "1 incident found" in waiting
    assert "Recommended: resume replay" in waiting
    assert "this cause" not in waiting
    assert "No incident matches." in over
    assert "Replication lag of the shop" in found
    assert "1 incident found" in found
    assert "No incident matches." in none


def test_an_empty_console_says_how_to_begin(evidence: Path) -> None:
    with serving(opened()) as client:
        said = words(client.get(CONSOLE))
    assert "Nothing is running" in said
    assert "No runs yet" in said
    assert not evidence.exists()


def test_a_store_that_is_gone_keeps_the_rest_of_the_console(rest: Path, tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = Store.open(f"sqlite:///{path}")
    store.close()
    path.write_bytes(b"no database any more")
    with serving(opened(), store) as client:
        answer = client.get(CONSOLE)
    assert answer.status_code == 200
    assert "Queue not available:" in words(answer)
    assert INCIDENT in answer.text


def test_a_record_without_a_run_is_an_incident_too(evidence: Path) -> None:
    told = page_scenes.alert(1)
    incident.append(evidence, "INC-1", "alert", by="rbkernel", **told.to_json())
    with serving(opened()) as client:
        assert "INC-1" in words(client.get(CONSOLE))
        said = words(client.get("/rbkernel/incidents/INC-1"))
    assert "No runbook has run for this incident yet" in said
    assert "firing PostgresReplicationLag" in said


def test_a_damaged_journal_is_shown_as_far_as_it_can_be_read(rest: Path) -> None:
    journal = Journal(rest, OTHER_RUN)
    journal.raw(b"nonsense\n")
    journal.cell("print('after')", "after")
    with serving(opened()) as client:
        answer = client.get(f"/rbkernel/runs/{OTHER_RUN}")
        report = client.get(f"/rbkernel/runs/{OTHER_RUN}/report")
        console = client.get(CONSOLE)
    assert (answer.status_code, report.status_code) == (200, 200)
    assert "Unreadable: line 2 of the journal" in words(answer)
    assert "print('after')" in words(report)
    assert f"Unreadable: run {OTHER_RUN}: line 2" in words(console)


def test_a_journal_that_cannot_be_read_at_all_is_an_error_with_a_next_step(rest: Path) -> None:
    folder = rest / "open" / OTHER_RUN
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_bytes(b"nonsense\nmore of it\n")
    with serving(opened()) as client:
        answer = client.get(f"/rbkernel/runs/{OTHER_RUN}")
        console = client.get(CONSOLE)
    with serving(opened()) as client:
        answer = client.get(f"/rbkernel/runs/{OTHER_RUN}")
        console = client.get(CONSOLE)
    assert answer.status_code == 500
    assert "no line of the journal can be read" in words(answer)
    assert "Next:" in words(answer)
    assert "Unreadable:" in words(console)


def test_an_archive_of_what_is_not_sealed_says_so(evidence: Path) -> None:
    whole_run(evidence)
    with serving(opened()) as client:
        for what in (f"runs/{RUN_ID}", f"incidents/{INCIDENT}"):
            answer = client.get(f"/rbkernel/{what}/archive")
            assert answer.status_code == 409
            assert "an archive holds sealed evidence only" in words(answer)
            assert "rbkernel evidence seal" in words(answer)
        assert client.get("/rbkernel/incidents/INC-20261120-none/archive").status_code == 404


def test_a_run_that_has_only_begun_is_shown(evidence: Path) -> None:
    Journal(evidence, OTHER_RUN)
    with serving(opened()) as client:
        answer = client.get(f"/rbkernel/runs/{OTHER_RUN}")
    assert answer.status_code == 200
    assert "Not sealed" in words(answer)


def test_a_run_from_alerts_is_shown_from_before_its_kernel_on(
    evidence: Path, tmp_path: Path
) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}")
    job = page_scenes.job_with_alerts(store)
    address = f"/rbkernel/runs/{job.run_id}"
    with serving(opened(), store) as client:
        before = client.get(address)
        console = words(client.get(CONSOLE))
        journal = whole_run(evidence, job.run_id, job.incident)
        after = words(client.get(address))
        with journal.kernel():
            during = words(client.get(address))
        bundle.seal(evidence, job.run_id)
        sealed = words(client.get(address))
    store.close()
    assert "sealing…" in after
    assert "Sealing: the run has ended, and its report is being made." in after
    assert "ealing" not in during + sealed
    assert before.status_code == 200
    assert "RUN-005 is about to start" in words(before)
    assert "1 running" in console
    assert "starting" in console
    assert "critical RUN-005 Replication lag" in after
    assert after.count("the standby is behind") == 1  # both alerts say so
    for cluster in ("shop-1", "shop-2"):
        assert f"cluster {cluster}" in after


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield made
    made.close()


def unheard(store: Store, seconds: float) -> None:
    """Let all workers have been silent for so long."""
    with store.writing() as connection:
        connection.execute(sa.update(workers).values(heartbeat_at=time.time() - seconds))


def test_that_nobody_takes_jobs_stands_at_the_top_of_the_console(
    evidence: Path, store: Store
) -> None:
    caution = "Note: No worker is running"
    ledger = Ledger(store, Queue())
    ledger.register("w-0", 0, "vm", "place", "70 1.00")
    with serving(opened(), store) as client:
        said = words(client.get(CONSOLE))
        assert said.index(caution) < said.index("start rbkernel worker") < said.index("Find")
        assert "vm (process 70, runs no jobs" in said
        ledger.register("w-1", 2, "vm", "place", "71 1.00")
        said = words(client.get(CONSOLE))
        assert caution not in said
        assert "vm (process 71, up to 2 runs" in said
        unheard(store, 30)
        assert caution in words(client.get(CONSOLE))
    with serving(opened()) as client:  # where there is no store, there are no jobs
        assert caution not in words(client.get(CONSOLE))


def test_a_run_whose_worker_is_silent_is_not_hidden(evidence: Path, store: Store) -> None:
    job = page_scenes.job_with_alerts(store)
    unheard(store, 200)
    with serving(opened(), store) as client:
        begun = words(client.get(CONSOLE))
    whole_run(evidence, job.run_id, job.incident)
    with serving(opened(), store) as client:
        ended = words(client.get(CONSOLE))
        bundle.seal(evidence, job.run_id)
    with serving(opened(), store) as client:
        sealed = words(client.get(CONSOLE))
        unheard(store, 0)
        assert "Nothing is running" in words(client.get(CONSOLE))  # it will be said at once
    for said, stage in ((begun, "started"), (ended, "ended"), (sealed, "sealed")):
        assert "1 running" in said
        assert f"{stage}, but its worker has not responded for 3 min" in said


def test_a_run_that_was_killed_before_its_kernel_began_leads_to_the_next(
    evidence: Path, store: Store
) -> None:
    job = page_scenes.job_with_alerts(store)
    ledger = Ledger(store, Queue(attempts=2))
    killed = Ending(outcome=Outcome.INTERRUPTED, failure="its worker was killed")
    ledger.end(job.id, 1, killed)
    again = store.job(job.id)
    assert again
    address = f"/rbkernel/runs/{job.run_id}"
    with serving(opened(), store) as client:
        waits = client.get(address)
        with store.writing() as connection:
            connection.execute(sa.update(jobs).values(not_before=0))
        ledger.promote()
        ledger.begin(job.id, 2, "worker-1")
        made = words(client.get(address))
        ledger.end(job.id, 2, killed)
        over = words(client.get(f"/rbkernel/runs/{again.run_id}"))
        assert client.get(f"/rbkernel/runs/{OTHER_RUN}").status_code == 404
    assert waits.status_code == 200
    assert "is about to start" not in words(waits)
    assert f'href="/rbkernel/runs/{again.run_id}"' in waits.text
    assert "was interrupted before it started Attempt 1: its worker was killed" in words(waits)
    assert f"{again.run_id} is queued as the next attempt" in words(waits)
    assert f"{again.run_id} is the next attempt" in made
    assert "Attempt 2: its worker was killed" in over
    assert "there is no further attempt" in over


def test_a_run_that_did_begin_and_whose_evidence_is_not_there_is_an_error(
    evidence: Path, store: Store
) -> None:
    job = page_scenes.job_with_alerts(store)
    Ledger(store, Queue()).end(job.id, 1, Ending(outcome=Outcome.DONE, verdict="ok"))
    with serving(opened(), store) as client:
        answer = client.get(f"/rbkernel/runs/{job.run_id}")
    assert answer.status_code == 404
    assert "there is no run" in words(answer)


def test_an_incident_that_goes_on_in_another_one_says_so(rest: Path) -> None:
    incident.append(rest, "INC-1", "merged", by="rbkernel", into=INCIDENT)
    with serving(opened()) as client:
        console = client.get(CONSOLE, params={"q": "inc-1"})
        page = words(client.get("/rbkernel/incidents/INC-1"))
    assert f"merged into {INCIDENT}" in words(console)
    assert f'href="{THE_INCIDENT}"' in console.text
    assert "open" not in words(console).split("Incidents", 2)[2].split("Catalogue")[0]
    assert f"merged into {INCIDENT}" in page


# --- what never does


@pytest.mark.parametrize(
    "path",
    [
        *("/rbkernel/runs/..%2F..%2Fetc%2Fpasswd", "/rbkernel/runs/%2e%2e/%2e%2e/etc/passwd"),
        *(f"/rbkernel/runs/{RUN_ID}%00", f"/rbkernel/runs/{RUN_ID}/../x", "/rbkernel/incidents/"),
        *(
            "/rbkernel/incidents/INC-..%2f..%2f",
            "/rbkernel/incidents/open",
            "/rbkernel/incidents/HEADS",
        ),
        *("/rbkernel/static/..%2fpage.html.j2", "/rbkernel/static/x.css", "/rbkernel/runs"),
        *(f"/rbkernel/runs/{RUN_ID.upper()}", f"/rbkernel/runs/{RUN_ID}/journal.jsonl"),
        f"/rbkernel/incidents/{'INC-' + 'a' * 200}",
    ],
)
def test_no_address_leads_out_of_the_pages(pages_open: httpx.Client, path: str) -> None:
    url = httpx.URL(str(pages_open.base_url)).copy_with(raw_path=path.encode())
    assert pages_open.get(url).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(pages_open: httpx.Client, method: str) -> None:
    for path in (CONSOLE, RUN, THE_INCIDENT, f"{RUN}/continue", "/rbkernel/static/pages.js"):
        assert pages_open.request(method, path).status_code in (404, 405)


@pytest.mark.parametrize("path", [CONSOLE, RUN, THE_INCIDENT, "/rbkernel/nothing", f"{RUN}/report"])
def test_every_page_comes_with_its_policy(pages_open: httpx.Client, path: str) -> None:
    headers = pages_open.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert re.search(r"script-src 'self';|sandbox", policy)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "private" in headers["Cache-Control"]


@pytest.mark.parametrize("path", [CONSOLE, RUN, "/rbkernel/nothing", "/rbkernel/static/pages.js"])
def test_head_is_a_page_without_its_body(pages_open: httpx.Client, path: str) -> None:
    whole, head = pages_open.get(path), pages_open.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]


def test_a_page_that_is_the_same_is_not_sent_again(pages_open: httpx.Client) -> None:
    first = pages_open.get(RUN)
    again = pages_open.get(RUN, headers={"If-None-Match": first.headers["Etag"]})
    assert again.status_code == 304
    assert not again.content


def test_what_pages_share_is_small_and_loads_nothing(pages_open: httpx.Client) -> None:
    page = BeautifulSoup(pages_open.get(RUN).text, "html.parser")
    loaded = [tag["src"] for tag in page.select("script[src]")]
    loaded += [tag["href"] for tag in page.select("link[rel=stylesheet]")]
    assert {re.sub(r".*/|\?.*", "", str(one)) for one in loaded} == {
        *("pages.css", "pages.js", "plots.js", "plotly.js")
    }
    for one in loaded:
        answer = pages_open.get(str(one))
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert not re.search(r"@import|url\(", answer.text) or "plotly" in str(one)
