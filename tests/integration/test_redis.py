"""The source `redis` on a real server, as a user who may only read."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import redis

import rbkernel as rb
from rbkernel import config
from rbkernel.checks.answer import provenance
from rbkernel.config.sources import Source
from rbkernel.errors import QueryError
from rbkernel.model import Verdict
from rbkernel.sources.monitoring import examination
from tests.conftest import missing_part
from tests.support import monitoring
from tests.support.runbooks import look
from tests.support.waiting import until

SECRET = "not-for-the-record"
_COMMANDS = [f"+{one}" for one in ("info", "type", "llen", "scard", "zcard", "xlen", "xinfo")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    """A Redis with queues of each type, on loopback."""
    program = shutil.which("redis-server")
    if program is None:
        missing_part("redis-server is not installed: `make debian`")
    with monitoring.unused_port() as port:
        pass
    folder = tmp_path_factory.mktemp("redis")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir"]
    process = subprocess.Popen([*command, str(folder)], stdout=subprocess.DEVNULL)
    with redis.Redis(port=port, decode_responses=True) as admin:
        until(lambda: _answers(admin), "Redis answers")
        rights = {"categories": ["-@all"], "commands": _COMMANDS, "keys": ["*"]}
        admin.acl_setuser("rb", enabled=True, passwords=[f"+{SECRET}"], **rights)
        admin.rpush("outbox", *(f"{SECRET} {n}" for n in range(120)))
        admin.zadd("retries", {"a": 1.0, "b": 2.0})
        admin.hset("no-queue", "a", "b")
        for _ in range(5):
            admin.xadd("tasks", {"what": SECRET})
        admin.xgroup_create("tasks", "workers", id="0")
        admin.xreadgroup("workers", "w1", {"tasks": ">"}, count=3)
        yield admin
        admin.shutdown(nosave=True)
    process.wait(monitoring.PATIENCE_S)


def _answers(admin: redis.Redis) -> bool:
    try:
        return bool(admin.ping())
    except redis.ConnectionError:
        return False


def options(server: redis.Redis, **more: Any) -> dict[str, Any]:
    port = server.connection_pool.connection_kwargs["port"]
    fields = {"url": f"redis://127.0.0.1:{port}/0", "user": "rb", "password_env": "RB_REDIS"}
    return {"kind": "redis", **fields, **more}


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("RB_REDIS", SECRET)
    return partial(monitoring.begin_run, tmp_path, monkeypatch)


def reason(frame: pd.DataFrame) -> str:
    found = provenance(frame)
    assert found is not None
    return found.reason


def test_the_length_of_queues(server: redis.Redis, begin: Any) -> None:
    begin(store=options(server))
    frame = rb.ask("store", "queues", keys=["outbox", "retries", "tasks", "no-queue", "gone"])
    known = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    assert known == [
        ["outbox", "list", 120, None],
        ["retries", "zset", 2, None],
        ["tasks", "stream", 5, 3],
        ["no-queue", "hash", None, None],
        ["gone", "none", None, None],
    ]
    found = rb.check("Tasks in Redis", frame[:3], "length", warn=50, by="key")
    assert (found.verdict, "outbox" in found.actual + found.cause) == (Verdict.WARNING, True)
    # neither a misspelled key nor what is no queue is an empty queue
    for part in (frame[3:4], frame[4:]):
        assert rb.check("Tasks", part, "length", warn=50).verdict is Verdict.UNKNOWN
    drained = rb.ask("store", "queues", keys="gone", missing_is_empty=True)
    assert rb.check("Tasks", drained, "length", warn=50).ok


def test_how_it_is(server: redis.Redis, begin: Any) -> None:
    begin(store=options(server))
    [row] = rb.ask("store", "info").to_dict("records")
    assert (row["role"], row["blocked_clients"]) == ("master", 0)
    assert row["used_bytes"] > 0
    assert pd.isna(row["used_pct"])  # no limit
    server.config_set("maxmemory", 10 * row["used_bytes"])
    frame = rb.ask("store", "info")
    server.config_set("maxmemory", 0)
    assert rb.check("Memory", frame, "used_pct", warn=5, unit="%").verdict is Verdict.WARNING


def test_no_answer_is_unknown_and_no_secret_is_told(
    server: redis.Redis, begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monitoring.unused_port() as port:
        begin(
            down=options(server, url=f"redis://127.0.0.1:{port}"),
            hung=options(server, timeout_s=0.5),
            store=options(server),
        )
        assert "refused" in reason(rb.ask("down", "info"))
    server.client_pause(3000)
    began = time.monotonic()
    hung = rb.ask("hung", "queues", keys=["outbox"])
    assert "imeout" in reason(hung) or "timed out" in reason(hung)
    assert time.monotonic() - began < 2.5
    assert rb.check("Tasks", hung, "length", warn=50).verdict is Verdict.UNKNOWN
    server.client_unpause()
    monkeypatch.setenv("RB_REDIS", "wrong-but-secret")
    refused = reason(rb.ask("store", "info"))
    assert "WRONGPASS" in refused or "invalid" in refused
    assert "wrong-but-secret" not in refused
    with pytest.raises(QueryError, match="1 to 50 names"):
        rb.ask("store", "queues", keys=[])
    with pytest.raises(QueryError, match="is not asked 'flushall'"):
        rb.ask("store", "flushall")


def test_the_doctor_asks_it(server: redis.Redis, begin: Any) -> None:
    begin()
    [found] = examination.examine(Source(name="store", **options(server)))
    assert (found.verdict, found.actual.startswith("Redis ")) == (Verdict.OK, True)
    down = Source(name="store", **options(server, url="redis://127.0.0.1:1"))
    assert examination.examine(down)[0].verdict is Verdict.CRITICAL


def test_tasks_that_no_metric_counts(
    server: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: Path
) -> None:
    """In RUN-012, which is not told a metric of them."""
    file = tmp_path / "rbkernel.toml"
    lines = (f"{name} = {json.dumps(value)}" for name, value in options(server).items())
    file.write_text("\n".join(["[sources.store]", *lines, ""]))
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    monkeypatch.setenv("RB_REDIS", SECRET)
    found = look("RUN-012", config.load(), store="store", key="outbox")
    tasks = found.finding("Tasks in Redis")
    assert (tasks.verdict, tasks.value) == (Verdict.WARNING, 120)
    assert SECRET not in "".join(path.read_text(errors="replace") for path in files(evidence))


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
