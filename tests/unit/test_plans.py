"""What schedules and routes want to run: refused in the file, or told before it is due."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.errors import ConfigError
from rbkernel.gateway.jobs import route_checks
from tests.support.gateways import make_place
from tests.unit.test_unreadable import FRONT, document, write

pytestmark = pytest.mark.slow


def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Settings:
    make_place(tmp_path)
    file = tmp_path / "rbkernel.toml"
    file.write_text(f"{file.read_text()}\n{text}")
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    return config.load()


def schedule(fields: str, name: str = "daily", cron: str = "0 6 * * *") -> str:
    return f'[[schedules]]\nname = "{name}"\ncron = "{cron}"\n{fields}\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (schedule('runbook = "RUN-999"'), ["RUN-999 cannot run", "[[schedules]] daily"]),
        (
            schedule('runbook = "RUN-911"\nparameters = {wich = "a"}'),
            ["no parameter 'wich'", "[[schedules]] daily"],
        ),
        (
            schedule('runbook = "RUN-000"\nparameters = {db = "nowhere"}'),
            ["'nowhere'", "[[schedules]] daily"],
        ),
        (
            '[[routes]]\nalert = "X"\nrunbooks = ["RUN-999"]',
            ["RUN-999", "no such runbook", "[[routes]] X"],
        ),
        (
            '[[routes]]\nalert = "*"\nrunbooks = "RUN-911"\nparameters = {wich = "labels.x"}',
            ["no parameter 'wich'", "[[routes]] *"],
        ),
        (
            '[[routes]]\nalert = "X"\nrunbooks = "RUN-005"\nparameters = {db = "nowhere"}',
            ["'nowhere'"],
        ),
    ],
)
def test_what_cannot_be_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: list[str]
) -> None:
    [problem] = route_checks.examine(load(tmp_path, monkeypatch, text)).problems
    assert all(word in str(problem) for word in words)
    assert problem.next_step


def test_what_can_be_run_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = schedule('runbook = "run-911"\nparameters = {which = "a"}') + (
        '[[routes]]\nalert = "X"\nrunbooks = ["RUN-911"]\nparameters = {which = "labels.pod"}\n'
        '[[routes]]\nalert = "Y"\nrunbooks = []\n'
    )
    assert route_checks.examine(load(tmp_path, monkeypatch, text)).problems == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (schedule('runbook = "RUN-911"', cron="0 0 30 2 *"), "never occurs"),
        (schedule('runbook = "RUN-911"') * 2, "two schedules have the name 'daily'"),
        ('[[routes]]\nalert = "X"\nrunbooks = []\nseverity = "hihg"', "unknown severity"),
        ('[gateway]\nurl = "javascript:x"', "give an address such as https://"),
        (
            '[gateway.senders.datadog]\nsecret_env = "A"\ntimestamp_header = "T"',
            "timestamp_header is signed with method hmac",
        ),
        ('[gateway]\nport = "many"', "gateway.port: should be a whole number"),
        ("[gateway]\ncolour = 1", "gateway.colour: is not a known field"),
    ],
)
def test_what_is_plainly_wrong_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, monkeypatch, text)
    assert words in caught.value.what
    assert "Value error" not in caught.value.what


ORDERS = '[connections.orders]\nhost = "db1"\ndefault = true\n'


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("severity: P1", "severty: P1", ["line 6: severty: unknown field"]),
        ("labels.cluster", "nowhere", ["trigger DiskFull", "RUN-104 cannot run", "'nowhere'"]),
        ("db: labels", "bd: labels", ["trigger DiskFull", "declares no parameter 'bd'"]),
        ('db: "*"', 'db: "shop-*"', ["trigger Other", "db='orders' is not a connection"]),
    ],
)
def test_a_runbook_that_cannot_be_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, words: list[str]
) -> None:
    settings = load(tmp_path, monkeypatch, ORDERS)
    front = FRONT.replace("\n---", "\n  - alert: Other\n---") if "shop" in new else FRONT
    write(tmp_path / "disk.ipynb", document(front))
    assert ("shop" in new) or not route_checks.examine(settings).problems
    write(tmp_path / "disk.ipynb", document(front.replace(old, new)))
    [problem] = route_checks.examine(settings).problems
    assert all(word in str(problem) for word in words)
    assert problem.next_step


def test_a_db_without_a_value_needs_a_default_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = FRONT.replace("    parameters: {db: labels.cluster}\n", "")
    write(tmp_path / "disk.ipynb", document(front))
    settings = load(tmp_path, monkeypatch, ORDERS.replace("default = true", ""))
    [problem] = route_checks.examine(settings).problems
    assert "no default connection is configured" in str(problem)
    [caution] = route_checks.examine(settings).cautions
    assert "no default connection is configured" in caution.what
    assert "`default = true`" in caution.next_step
    settings = load(tmp_path, monkeypatch, ORDERS)
    assert not route_checks.examine(settings).problems
    assert not route_checks.examine(settings).cautions
    write(tmp_path / "double.ipynb", document(front))
    [caution] = route_checks.examine(settings).cautions
    assert "RUN-104 is the id of two documents" in caution.what
