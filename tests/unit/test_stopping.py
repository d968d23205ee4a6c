"""What ends a run before its time."""

from __future__ import annotations

import signal
import time

import pytest

from rbkernel.run.stopping import Stop


def wait_for_the_end(stop: Stop) -> None:
    with stop.execution():
        time.sleep(60)


def test_the_deadline_ends_the_execution() -> None:
    with Stop(0.05) as stop, pytest.raises(KeyboardInterrupt, match="did not finish within"):
        wait_for_the_end(stop)
    assert stop.reason == "the run did not finish within 0.05 s"


def test_a_signal_before_the_execution_keeps_it_from_beginning() -> None:
    with Stop() as stop:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
            wait_for_the_end(stop)


def test_only_the_first_signal_counts_and_what_was_there_before_comes_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Stop() as stop:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.raise_signal(number)
        assert stop.reason == "interrupted by Ctrl-C"
    assert signal.getsignal(signal.SIGINT) == before
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_one_inside_of_another_leaves_the_signals_to_it() -> None:
    with Stop() as outer, Stop() as inner:
        with pytest.raises(KeyboardInterrupt), outer.execution(), inner.execution():
            signal.raise_signal(signal.SIGTERM)
        assert (outer.reason, inner.reason) == ("interrupted by SIGTERM", "")
