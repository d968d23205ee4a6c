"""Scenarios without a problem: healthy servers that are idle, busy, or have short waits."""

from __future__ import annotations

from rbkernel.sandbox.faults.scenario import HEALTHY, Scenario
from rbkernel.sandbox.faults.stage import Stage
from rbkernel.sandbox.service import FIRST_ID, ID_STEP

_HOT = "UPDATE orders SET status = status WHERE id = {}"


def _nothing(_: Stage) -> None:
    return


def _hot_rows(stage: Stage) -> None:
    rows = [_HOT.format(FIRST_ID + ID_STEP * (stage.seed + number)) for number in range(2)]
    stage.busy("shop-web", rows, sessions=8)


def _moving_queue(stage: Stage) -> None:
    in_turn = f"{_HOT.format(FIRST_ID)}; SELECT pg_sleep(0.15)"
    stage.busy("shop-web", [in_turn], sessions=12)


def _batch(stage: Stage) -> None:
    stage.start("loyalty-sync", "BEGIN", _HOT.format(FIRST_ID))
    stage.lasts(1.5)


def _long_query(stage: Stage) -> None:
    stage.send("reporting", "SELECT count(*), pg_sleep(3600) FROM orders")
    stage.lasts(8)


def _pool_at_rest(stage: Stage) -> None:
    stage.start("shop-web-pool", "SELECT 1", times=30)
    stage.lasts(6)


SCENARIOS = (
    Scenario(name="healthy", summary="normal traffic of the shop", inject=_nothing, truth=HEALTHY),
    Scenario(
        name="hot-rows",
        summary="eight sessions change two rows all the time: waits that pass",
        inject=_hot_rows,
        truth=HEALTHY,
    ),
    Scenario(
        name="moving-queue",
        summary="twelve sessions change one row in turn, for 0.15 s each: nobody is to blame",
        inject=_moving_queue,
        truth=HEALTHY,
    ),
    Scenario(
        name="batch", summary="a transaction of 1.5 s holds a row", inject=_batch, truth=HEALTHY
    ),
    Scenario(
        name="long-query",
        summary="a report has been running for 8 s",
        inject=_long_query,
        truth=HEALTHY,
    ),
    Scenario(
        name="pool-at-rest",
        summary="a pool of 30 idle connections, slots are free",
        inject=_pool_at_rest,
        truth=HEALTHY,
    ),
)
