"""`rbkernel quarantine`: what could not be read can be read by a person."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rbkernel.cli import app
from rbkernel.errors import StoreError
from rbkernel.gateway.jobs.storage.store import Store

RAW = b'{"name": "caf\xe9", \x1b[31m\0'


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/store.sqlite"
    monkeypatch.setenv("RBKERNEL_STORE_URL", url)
    store = Store.open(url)
    store.quarantine("grafana", RAW, "the body is not JSON")
    store.close()


def test_the_bytes_of_one_are_printed_as_they_came() -> None:
    assert CliRunner().invoke(app, ["quarantine", "1"]).stdout_bytes == RAW


def test_all_are_listed() -> None:
    said = CliRunner().invoke(app, ["quarantine"]).stdout
    assert "grafana" in said
    assert "the body is not JSON" in said
    [one] = json.loads(CliRunner().invoke(app, ["quarantine", "--json"]).stdout)
    assert (one["number"], one["size_bytes"]) == (1, len(RAW))


def test_one_as_json_is_json() -> None:
    one = json.loads(CliRunner().invoke(app, ["quarantine", "1", "--json"]).stdout)
    assert (one["number"], one["size_bytes"]) == (1, len(RAW))
    assert one["body"] == RAW.decode(errors="replace")


def test_one_that_is_not_there_is_an_error() -> None:
    error = CliRunner().invoke(app, ["quarantine", "2"]).exception
    assert isinstance(error, StoreError)
    assert error.what == "there is no delivery 2 in quarantine"
