"""Figures of every kind from frames as they come: few, many, empty, odd; to test and to look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from rbkernel.checks.answer import Provenance
from rbkernel.render import figure

AT = pd.Timestamp("2026-11-20T03:02:00Z")
LONG = "pg_catalog_analytics_export_worker_for_the_quarterly_report_of_the_northern_region"
HEBREW, MARKUP = "מערכת הזמנות", "<b onload='x'>&amp; shop</b>"


def asked(frame: pd.DataFrame, name: str, **limits: tuple[float, float]) -> pd.DataFrame:
    """Return a frame as the result of a diagnostic on a connection."""
    frame.attrs["rbkernel"] = Provenance(
        name=name, connection="shop", server="", role="", sql="", values={}, at="",
        duration_s=0, rows=len(frame), cut_by="",
    )  # fmt: skip
    frame.attrs["limits"] = limits
    return frame


def lag(series: int = 1, samples: int = 3, every_s: float = 1, begin_s: float = 27) -> pd.DataFrame:
    """Return the lag of standbys; replay on the first stands still."""
    rows = [
        {
            "standby": f"replica-{number}", "asked": True, "connected": True,
            "state": "streaming" if number % 5 else "catchup", "sync_state": "async",
            "replay_lag_s": begin_s + sample * every_s if number == 1 else 0.1 * (number % 7),
            "replay_behind_bytes": 1 << (20 + number % 12), "flush_behind_bytes": 0,
            "reply_age_s": 0.1, "sampled_at": AT + pd.Timedelta(seconds=sample * every_s),
        }
        for number in range(1, series + 1)
        for sample in range(samples)
    ]  # fmt: skip
    return asked(pd.DataFrame(rows), "replication/lag", replay_lag_s=(2.0, 15.0))


def hours() -> pd.DataFrame:
    """Return the lag of an hour, in which replay stops at 03:42."""
    rows = [
        {
            "standby": name,
            "replay_lag_s": max(0.3 + 0.2 * math.sin(minute), 60.0 * (minute - 40) * (name == "a")),
            "sampled_at": AT + pd.Timedelta(minutes=minute),
        }
        for minute in range(60)
        for name in ("a", "replica-2")
    ]
    return pd.DataFrame(rows)


def waits(sessions: int) -> pd.DataFrame:
    """Return sessions that wait: a root, whom it blocks, and those behind them."""
    rows = []
    for number in range(sessions):
        above = "" if not number else "4711" if number < 4 else str(4711 + 1 + number % 3)
        rows.append(
            {
                "pid": 4711 + number, "blocked_by": above,
                "application": "migrate" if not number else f"shop-web-{number % 9}",
                "state": "idle in transaction" if not number else "active",
                "wait_s": None if not number else 340.0 - number % 90,
                "waits": sessions - 1 if not number else sessions // 3 if number < 4 else 0,
                "mode": None if not number else "AccessShareLock", "relation": "public.orders",
                "query": "ALTER TABLE public.orders ADD COLUMN note text" if not number else
                "SELECT id, total_cents FROM public.orders WHERE customer_id = 1 ORDER BY id",
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def bars(count: int) -> pd.DataFrame:
    """Return sessions by application and state."""
    states = ("active", "idle", "idle in transaction")
    rows = [
        {"application": f"shop-{number}", "state": state, "sessions": (count - number) * (at + 1)}
        for number in range(count)
        for at, state in enumerate(states)
    ]
    return pd.DataFrame(rows)


def odd_bars() -> pd.DataFrame:
    """Return bars with names and values that a figure must survive."""
    names = [LONG, HEBREW, MARKUP, "", "negative", "nan", None]
    values = [9.5, 3e9, 7, 1, -4e8, math.nan, 2]
    return pd.DataFrame({"name": names, "n": values})


def slots() -> pd.DataFrame:
    """Return slots with WAL against a limit of 4 GB."""
    return asked(
        pd.DataFrame(
            {
                "slot": ["replica_1", "cdc_orders", "analytics", "old_standby"],
                "wal_status": ["reserved", "extended", "reserved", "unreserved"],
                "retained_mb": [12.0, 2200.0, 340.0, 3900.0],
                "retained_pct": [0.3, 53.7, 8.3, 95.2],
            }
        ),
        "replication/slots",
    )


def _bars(frame: pd.DataFrame, **more: Any) -> str:
    return figure.bars(frame, "sessions", "application", by="state", **more).svg


def _tree(sessions: int) -> str:
    columns = {"parent": "blocked_by", "label": "application", "by": "state"}
    return figure.tree(waits(sessions), "pid", **columns).svg


def _series(count: int, samples: int = 50) -> pd.DataFrame:
    rows = [
        {"name": f"queue-{n}", "at": AT + pd.Timedelta(minutes=t), "v": n + 3 * math.sin(t / 9 + n)}
        for n in range(count)
        for t in range(samples)
    ]
    return pd.DataFrame(rows)


def _lines(frame: pd.DataFrame, **more: Any) -> str:
    return figure.timeline(frame, "v", x="at", by="name", **more).svg


def _odd_lines() -> pd.DataFrame:
    names = [LONG, HEBREW, MARKUP]
    values = [-3.0, math.nan, 2.0, 40.0, math.nan]
    rows = [
        {"name": name, "at": AT + pd.Timedelta(minutes=9 * t), "v": v + 10 * n}
        for n, name in enumerate(names)
        for t, v in enumerate(values)
    ]
    return pd.DataFrame(rows)


#: the figures to look at, by name
SCENES: Mapping[str, Callable[[], str]] = {
    "lag-brief": lambda: figure.of(lag()).svg,
    "lag-near": lambda: figure.of(lag(samples=2, begin_s=13)).svg,
    "lag-three": lambda: figure.of(lag(3)).svg,
    "lag-hour": lambda: figure.timeline(
        hours(), "replay_lag_s", by="standby", warn=2, critical=300, title="Replay lag"
    ).svg,
    "lines-30": lambda: _lines(_series(30), title="Depth of each queue", warn=20, unit="messages"),
    "lines-3000": lambda: _lines(_series(3000, 3), title="Depth of each queue"),
    "lines-odd": lambda: _lines(_odd_lines(), title="Odd names", critical=900, unit="s"),
    "lines-point": lambda: _lines(_series(1, 1), title="One point", warn=0.5, critical=2),
    "bars": lambda: _bars(bars(3), limit=20, title="Sessions by application and state"),
    "bars-30": lambda: _bars(bars(30), title="Sessions by application and state"),
    "bars-3000": lambda: _bars(bars(3000), title="Sessions by application and state"),
    "bars-odd": lambda: figure.bars(odd_bars(), "n", "name", title="Odd names").svg,
    "slots": lambda: figure.of(slots()).svg,
    "strip": lambda: figure.strip(
        pd.DataFrame({"key": [5, 6, 7, 400, 410, 900], "kind": ["missing"] * 4 + ["extra"] * 2}),
        "key", by="kind", low=0, high=1000, title="Where the rows differ",
    ).svg,
    "differences": lambda: figure.differences(
        pd.DataFrame(
            {"key": [3, 9, 7], "kind": ["missing", *["changed"] * 2], "columns": ["", "a, b", "a"]}
        )
    ).svg,
    "chain": lambda: _tree(6),
    "chain-300": lambda: _tree(300),
    "topology": lambda: figure.topology(lag(3)).svg,
    "topology-30": lambda: figure.topology(lag(30)).svg,
    "empty": lambda: _bars(bars(0).reindex(columns=["sessions", "application", "state"])),
}  # fmt: skip
