"""A team's own diagnostics: found, read when asked for, never in the place of ours, and linted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbkernel.config import Settings
from rbkernel.errors import QueryError
from rbkernel.lint import RULES, Level
from rbkernel.lint import diagnostics as linted
from rbkernel.lint.reading import diagnostics as named
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres import library as of_ours
from rbkernel.triage.surroundings import surroundings

STUCK = """\
/*
purpose: Orders that are paid and not shipped
columns:
  id: the order
  age_s: s, how long ago it was last changed
parameters:
  older_than_s: {help: "s, from which age on an order is stuck", default: 3600}
rules:
  - title: Stuck orders
    column: age_s
    empty: 0
    unit: s
    warn: 7200
    cause: "The oldest order has waited for {value}"
    next_step: call the warehouse
    source: ours; the warehouse promises an hour
*/
SELECT id, extract(epoch FROM now() - updated_at)::float8 AS age_s
FROM orders
WHERE status = 'paid' AND updated_at < now() - make_interval(secs => :older_than_s)
"""
RULES_PART = STUCK[STUCK.index("rules:") : STUCK.index("*/")]
# rule -> texts that it finds fault with, by what is replaced by what
BAD: dict[str, list[tuple[str, str]]] = {
    "RB801": [("purpose:", "aim:"), ("columns:", "columns: ["), ("/*", ""), ("warn: 7200", "")],
    "RB802": [("SELECT id", "DELETE FROM orders; SELECT id"), ("SELECT id", "TABLE x; SELECT id")],
    "RB803": [("'paid'", "'payé'")],
    "RB804": [(":older_than_s)\n", ":older_than_s) LIMIT 50\n")],
    "RB806": [("column: age_s", "column: age_ms"), ("empty: 0", "by: shop")],
    "RB807": [("    unit: s\n", "")],
    "RB808": [("    next_step: call the warehouse\n", ""), (RULES_PART, "")],
    "RB809": [("secs => :older_than_s", "secs => :age"), ("secs => :older_than_s", "secs => 5")],
}  # fmt: skip
NEAR: dict[str, list[tuple[str, str]]] = {
    "RB803": [("paid and not shipped", "paid … not shipped")],
    "RB804": [
        (":older_than_s)\n", ":older_than_s) -- no LIMIT 50\n"),
        ("SELECT id", "SELECT count(*) OVER () AS of_all, id"),
        (":older_than_s)\n", ":older_than_s) LIMIT 1\n"),
    ],
    "RB807": [("    unit: s\n", "    agg: rows\n")],
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    write(tmp_path / "sql", "orders/stuck", STUCK)
    yield tmp_path / "sql"
    diagnostics.use([])


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / f"{name}.sql"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


AROUND = surroundings(Settings(), [])


def codes(folder: Path) -> set[str]:
    files = linted.files([folder])
    return {problem.code for file in files for problem in linted.check(file, AROUND)}


class TestLibrary:
    def test_it_is_named_by_its_folder_and_has_its_file_and_hash(self, folder: Path) -> None:
        diagnostics.use([folder])
        stuck = diagnostics.get("orders/stuck")
        digest = hashlib.sha256(STUCK.encode()).hexdigest()
        assert stuck.origin == f"{folder}/orders/stuck.sql sha256:{digest}"
        assert "orders/stuck" in diagnostics.names()
        assert diagnostics.get("replication/lag").origin == ""

    def test_a_changed_file_is_read_again_by_the_next_run(self, folder: Path) -> None:
        diagnostics.use([folder])
        assert diagnostics.get("orders/stuck").parameters["older_than_s"].default == 3600
        write(folder, "orders/stuck", STUCK.replace("3600", "60"))
        assert diagnostics.get("orders/stuck").parameters["older_than_s"].default == 3600
        diagnostics.use([folder])
        assert diagnostics.get("orders/stuck").parameters["older_than_s"].default == 60

    def test_ours_is_not_replaced(self, folder: Path) -> None:
        write(folder, "replication/lag", STUCK)
        diagnostics.use([folder])
        assert diagnostics.get("replication/lag") == of_ours.Library().get("replication/lag")

    def test_one_that_is_wrong_stops_only_itself(self, folder: Path) -> None:
        file = write(folder, "orders/odd", STUCK.replace("purpose:", "aim:"))
        diagnostics.use([folder])
        assert diagnostics.get("orders/stuck").purpose
        with pytest.raises(QueryError) as caught:
            diagnostics.get("orders/odd")
        assert "purpose: is missing; aim: is not a known field" in caught.value.what
        assert caught.value.where == str(file)
        assert f"rbkernel lint {folder}" in caught.value.next_step

    def test_two_files_of_one_name_are_refused(self, folder: Path) -> None:
        other = write(folder.parent / "more", "orders/stuck", STUCK)
        diagnostics.use([folder, folder.parent / "more"])
        with pytest.raises(QueryError) as caught:
            diagnostics.get("orders/stuck")
        assert str(other) in caught.value.what

    def test_a_variant_is_taken_by_capability(self, folder: Path) -> None:
        write(folder, "orders/stuck@pg_stat_checkpointer", "SELECT 1 AS id, 2.0 AS age_s")
        diagnostics.use([folder])
        stuck = diagnostics.get("orders/stuck")
        assert stuck.variants == {"pg_stat_checkpointer": "SELECT 1 AS id, 2.0 AS age_s"}
        write(folder, "orders/stuck@no_such_thing", "SELECT 1")
        diagnostics.use([folder])
        with pytest.raises(QueryError, match="no_such_thing is no capability"):
            diagnostics.get("orders/stuck")


class TestLint:
    def test_the_good_one_has_no_problem(self, folder: Path) -> None:
        assert codes(folder) == set()

    def test_every_rule_has_an_example(self) -> None:
        about = {rule.code for rule in RULES.values() if rule.about == "diagnostic"}
        assert about == {*BAD, "RB805"}

    @pytest.mark.parametrize(("rule", "change"), [(c, one) for c in BAD for one in BAD[c]])
    def test_a_rule_fires(self, rule: str, change: tuple[str, str], folder: Path) -> None:
        assert change[0] in STUCK
        write(folder, "orders/stuck", STUCK.replace(*change))
        assert rule in codes(folder)

    @pytest.mark.parametrize(("rule", "change"), [(c, one) for c in NEAR for one in NEAR[c]])
    def test_a_rule_spares_the_near_miss(
        self, rule: str, change: tuple[str, str], folder: Path
    ) -> None:
        assert change[0] in STUCK
        write(folder, "orders/stuck", STUCK.replace(*change))
        assert rule not in codes(folder)

    def test_a_name_of_ours_or_of_another_file_is_taken(self, folder: Path) -> None:
        write(folder, "replication/lag", STUCK)
        assert codes(folder) == {"RB805"}
        (folder / "replication/lag.sql").unlink()
        write(folder.parent / "more", "orders/stuck", STUCK)
        files = linted.files([folder, folder.parent / "more"])
        found = [str(problem) for file in files for problem in linted.check(file, AROUND)]
        assert len(found) == 2
        assert all("RB805 orders/stuck has the same name as" in one for one in found)

    def test_a_rule_can_be_off(self, folder: Path) -> None:
        write(folder, "orders/stuck", STUCK.replace("    unit: s\n", ""))
        settings = Settings.model_validate({"lint": {"severity": {"RB807": "off"}}})
        around = surroundings(settings, [])
        assert around.levels == {"RB807": Level.OFF}
        assert [p for file in linted.files([folder]) for p in linted.check(file, around)] == []

    def test_paths_pick_files_and_what_is_configured_below(self, folder: Path) -> None:
        stray = write(folder.parent / "schema", "tables/create", "CREATE TABLE t ()")
        assert [one.name for one in named([folder.parent], [folder])] == ["orders/stuck"]
        assert [one.name for one in named([stray], [folder])] == ["tables/create"]
        assert named([folder.parent / "schema"], [folder]) == []

    @pytest.mark.slow
    def test_ours_keep_to_the_rules_for_a_teams(self) -> None:
        ours = Path(of_ours.__file__).parent / "sql"
        found = [problem for file in linted.files([ours]) for problem in linted.check(file, AROUND)]
        told = {str(one) for one in found if one.code != "RB805"}
        # a look at the whole server is judged by its causes
        assert all(
            "/situation/" in one and "RB808 the diagnostic has no rule" in one for one in told
        ), told
