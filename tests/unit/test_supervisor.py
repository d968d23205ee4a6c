"""What the loop that keeps everything going does when it cannot: nothing is used up meanwhile."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from rbkernel import config
from rbkernel.gateway.jobs.alert import Delivery
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.jobs.supervisor import Supervisor
from tests.support.gateways import alert, make_place


def test_while_evidence_cannot_be_written_alerts_wait_and_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = make_place(tmp_path)
    root = tmp_path / "no-folder"
    root.write_text("a file stands where the folder should be")
    monkeypatch.setenv("RBKERNEL_CONFIG", str(tmp_path / "rbkernel.toml"))
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(root))
    store = Store.open(place.store_url)
    store.receive(Delivery(source="generic", alerts=(alert("Quick", "a"),)))
    supervisor = Supervisor(config.load(), store)
    performed = threading.Event()
    monkeypatch.setattr(supervisor._executor, "perform", lambda *_: performed.set())
    monkeypatch.setattr("rbkernel.gateway.jobs.supervisor._TICK_S", 0.05)
    caplog.set_level(logging.INFO)

    turn = threading.Thread(target=supervisor._perform, args=("job", 1))
    turn.start()
    assert not any(supervisor._look() for _ in range(3))
    assert not performed.wait(0.3)
    assert store.counts().alerts == {"received": 1}
    logger = "rbkernel.gateway.jobs.supervisor"
    [told] = [record for record in caplog.records if record.name == logger]
    assert "evidence cannot be written" in told.getMessage()
    assert told.exc_info is None

    root.unlink()
    assert performed.wait(5)
    turn.join()
    assert caplog.records[-1].getMessage().startswith("evidence can be written again")
    store.close()
