"""Runbooks of changes, of slow servers and of late standbys on real faults; when a watch stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbkernel.config import Settings
from rbkernel.model import Verdict
from rbkernel.run import runner
from rbkernel.sandbox import control
from rbkernel.sandbox.faults import schema, slow
from tests.support.kernels import write_runbook
from tests.support.runbooks import administer, look

pytestmark = pytest.mark.usefixtures("evidence")
HARMLESS = "ALTER TABLE orders ADD COLUMN note text"
WATCH = 'found = rb.watch(["locks/blocking"], "sandbox-primary", for_s=2.0, every_s=1.0)'


class TestHighLatency:
    def test_stale_statistics_are_renewed_and_the_plan_is_right_again(self, shop: Settings) -> None:
        found = look("RUN-009", shop, "statistics-stale", every_s=2)
        assert found.recommended == "analyze the tables"
        assert found.sql("Analyze the tables") == f"ANALYZE public.{slow.TABLE}"
        administer(found.sql("Analyze the tables"))
        after = look("RUN-009", shop, every_s=2)
        assert after.finding("Tables read in full").verdict is Verdict.OK

    def test_a_larger_request_is_no_missing_index(self, shop: Settings) -> None:
        found = look("RUN-009", shop, "requests-larger", every_s=2)
        assert found.recommended == "ask who asks for more"
        larger = found.finding("Statements that return more than before")
        assert f": shop_app ({slow.CLIENT}): SELECT id, note FROM {slow.TABLE}" in larger.cause
        for other in ("Statements that read more than before", "Tables read in full"):
            assert found.finding(other).verdict is Verdict.OK


class TestMigration:
    def test_what_was_left_half_way_is_removed(self, shop: Settings) -> None:
        found = look("RUN-004", shop, "migration-half-way", statements=HARMLESS)
        assert found.recommended == "finish or remove the half-way migration"
        remove = found.sql("Remove what the half-way migration left behind")
        # the constraint that is not validated may be meant so
        assert remove == f"DROP INDEX CONCURRENTLY public.{schema.INDEX}"
        administer(remove)
        after = look("RUN-004", shop, statements=HARMLESS)
        assert after.recommended == "run it as step 5 says"
        _, *statements = after.sql("Run the migration").splitlines()  # the first is for psql
        administer("\n".join(statements))
        administer("ALTER TABLE orders DROP COLUMN note")

    def test_an_index_that_is_being_built_is_left_alone(self, shop: Settings) -> None:
        found = look("RUN-004", shop, "index-building", statements=HARMLESS)
        assert found.recommended == "wait for the migration that is running"
        assert found.finding("Half-way migrations").verdict is Verdict.OK
        assert found.sql("Remove what the half-way") == ""

    def test_a_key_that_runs_out_is_widened_and_the_sql_for_it_is_judged(
        self, shop: Settings
    ) -> None:
        found = look("RUN-004", shop, "sequence-ending")
        assert found.recommended == "widen the key to bigint"
        assert f"{schema.TABLE}_id_seq" in found.headline
        sql = f"ALTER TABLE {schema.TABLE} ALTER COLUMN id TYPE bigint"
        assert look("RUN-004", shop, statements=sql).recommended != "widen the key to bigint"
        administer(sql)
        assert look("RUN-004", shop).finding("Sequence values used").verdict is Verdict.OK

    def test_what_is_gone_for_good_is_saved_first(self, shop: Settings) -> None:
        found = look("RUN-004", shop, statements="ALTER TABLE orders DROP COLUMN currency")
        assert found.recommended == "save what it deletes first"

    def test_a_table_that_does_not_exist(self, shop: Settings) -> None:
        found = look("RUN-004", shop, statements="ALTER TABLE ordres ADD COLUMN note text")
        assert found.recommended == "correct the connection or the name"


class TestStandby:
    def test_a_delay_that_is_configured_is_left_alone(self, shop: Settings) -> None:
        found = look("RUN-005", shop, "standby-delayed")
        assert found.recommended == "wait"
        assert "on purpose (recovery_min_apply_delay)" in found.headline
        assert found.finding("Replay lag, seen from the primary").verdict is Verdict.OK
        assert found.finding("Replay progress").verdict is Verdict.OK
        assert found.outcome.verdict is Verdict.WARNING

    def test_a_delay_stops_no_migration(self, shop: Settings) -> None:
        found = look("RUN-004", shop, "standby-delayed", statements=HARMLESS)
        assert found.recommended == "run it as step 5 says"

    def test_what_spares_readers_is_for_somebody_to_choose(self, shop: Settings) -> None:
        found = look("RUN-005", shop, "readers-cancelled")
        assert found.recommended == "escalate"
        removed = found.finding("Queries cancelled since vacuum removed rows, now")
        assert removed.wrong
        assert "with a physical slot also while this standby is down" in removed.next_step

    def test_readers_of_a_table_that_is_altered(self, shop: Settings) -> None:
        found = look("RUN-005", shop, "readers-locked-out")
        assert found.recommended == "escalate"
        altered = found.finding("Queries cancelled by recovery, now")
        assert altered.wrong
        assert "lock" in altered.cause


class TestWeeklyChecks:
    def test_accepted_settings_hide_nothing_else(self, shop: Settings) -> None:
        accepted = "fsync,full_page_writes , idle_in_transaction_session_timeout"
        found = look("RUN-017", shop, accepted=accepted)
        assert found.recommended not in ("correct the settings", "plan the rest")

    def test_a_misspelt_setting_is_an_error(self, shop: Settings) -> None:
        found = runner.run("RUN-017", {"accepted": "fsink"}, shop)
        assert "accepted: step 3 checks no setting of this name: fsink" in found.failure


class TestWatch:
    def test_nothing_wrong_for_the_whole_time(self, shop: Settings, tmp_path: Path) -> None:
        path = tmp_path / "runbook.ipynb"
        write_runbook(path, ["import rbkernel as rb\nrb.start('RUN-900')", WATCH])
        record = runner.run(str(path), {}, shop).record
        [found] = [one for one in record.findings if one.title == "Watch after the change"]
        assert found.verdict is Verdict.OK
        assert found.actual.startswith("nothing wrong in 2 looks")
        assert len(record.of_kind("watch")) == 2

    def test_harm_stops_it(self, shop: Settings, tmp_path: Path) -> None:
        control.inject("replay-paused")
        path = tmp_path / "runbook.ipynb"
        patient = WATCH.replace("for_s=2.0", 'for_s=600.0, standby="sandbox-standby"')
        write_runbook(path, ["import rbkernel as rb\nrb.start('RUN-900')", patient])
        record = runner.run(str(path), {}, shop).record
        [found] = [one for one in record.findings if one.title == "Watch after the change"]
        assert found.verdict is Verdict.CRITICAL
        assert found.actual.startswith("stopped after")
        assert found.opens == "RUN-005"
