"""RUN-018 and RUN-019 on real faults: what they recommend, and what that step changes."""

from __future__ import annotations

import pytest

from rbkernel.config import Settings
from rbkernel.model import Verdict
from rbkernel.sandbox import control
from rbkernel.sandbox.faults import slots, vacuum
from tests.support.runbooks import administer, look

pytestmark = pytest.mark.usefixtures("evidence")


def slot_names() -> list[str]:
    with control.connect_as("postgres") as raw:
        return [name for (name,) in raw.execute(b"SELECT slot_name FROM pg_replication_slots")]


class TestSlots:
    def test_a_slot_without_a_reader_is_named_and_not_to_be_dropped_at_once(
        self, shop: Settings
    ) -> None:
        found = look("RUN-018", shop, "slot-unread")
        assert found.recommended == "bring the reader of the slot back"
        assert slots.SLOT in found.finding("Slots without a reader").cause
        administer(found.sql("Drop the replication slot old_standby"))
        after = look("RUN-018", shop)
        assert (after.outcome.verdict, after.recommended) == (Verdict.OK, "wait")

    def test_a_slot_that_has_lost_its_wal_is_dropped(self, shop: Settings) -> None:
        found = look("RUN-018", shop, "slot-lost")
        assert found.recommended == "drop the slot"
        assert found.finding("Slots losing their WAL").verdict is Verdict.CRITICAL
        administer(found.sql("Drop the replication slot old_standby"))
        assert slots.SLOT not in slot_names()

    def test_the_slot_of_a_standby_that_is_cut_off_is_kept(self, shop: Settings) -> None:
        before = slot_names()
        found = look("RUN-018", shop, "receiver-down")
        assert found.recommended == "bring the reader of the slot back"
        control.heal("receiver-down")
        # the statement was for a slot without a reader; this one has its reader again
        administer(found.sql("Drop the replication slot"))
        assert slot_names() == before != []


class TestVacuum:
    def test_who_holds_vacuum_back_is_asked_and_may_be_ended(self, shop: Settings) -> None:
        found = look("RUN-019", shop, "vacuum-held-back", held_s=0.5)
        assert found.recommended == "ask who holds it back"
        held = found.finding("Overdue tables held back from vacuum")
        assert vacuum.HOLDER in held.cause
        administer(found.sql("Terminate 1 session"))
        administer(f"VACUUM (ANALYZE) {vacuum.TABLE}")
        assert look("RUN-019", shop, held_s=0.5).recommended == "wait"

    def test_a_table_with_autovacuum_off_is_vacuumed(self, shop: Settings) -> None:
        found = look("RUN-019", shop, "vacuum-switched-off", held_s=0.5)
        assert found.recommended == "vacuum the tables"
        assert vacuum.TABLE in found.finding("Overdue tables with autovacuum off").which
        administer(found.sql("Vacuum the overdue tables"))
        after = look("RUN-019", shop, held_s=0.5)
        assert after.finding("Dead rows").verdict is Verdict.OK
        assert after.finding("Overdue tables with autovacuum off").verdict is Verdict.OK
