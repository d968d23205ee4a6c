"""What is different about a statement of a migration if its table is partitioned. Pure.

The facts are those of the manual's chapters on partitioning, CREATE INDEX and ALTER TABLE.
"""

from __future__ import annotations

import re
from dataclasses import replace

from rbkernel.sql.ddl import Effect
from rbkernel.sql.ddl_forms import CONCURRENTLY, IN_TWO, USING_INDEX, Work

_ATTACH = "then ALTER INDEX … ATTACH PARTITION for each of them"
_INDEX = (
    "CREATE INDEX … ON ONLY the table, which builds nothing; on each partition CREATE INDEX"
    f" CONCURRENTLY; {_ATTACH}"
)
_CONSTRAINT = (
    "ALTER TABLE ONLY … ADD the constraint, which builds nothing; on each partition CREATE UNIQUE"
    f" INDEX CONCURRENTLY, and ADD it USING INDEX; {_ATTACH}"
)
_KEY = (
    f"{IN_TWO}. A FOREIGN KEY before PostgreSQL 18: add and validate it so on each partition, then"
    " add it to the table, which takes it over"
)
# what is safer → what is safer for a partitioned table, of which PostgreSQL refuses the first
_SAFER = {
    CONCURRENTLY: _INDEX,
    USING_INDEX: _CONSTRAINT,
    "DROP INDEX CONCURRENTLY": "",
    IN_TWO: _KEY,
}
_REFUSED = (
    (re.compile(r"create (?:unique )?index concurrently\b"), _INDEX),
    (re.compile(r"drop index concurrently\b"), "DROP INDEX, with a lock_timeout"),
    (re.compile(r"alter table \S+ add .*\b(?:unique|primary key) using index\b"), _CONSTRAINT),
)


def on_partitioned(effect: Effect) -> Effect:
    """Return the effect as it is if its table is partitioned.

    >>> from rbkernel.sql.ddl import effects
    >>> index, only, quiet = (on_partitioned(one) for sql in (
    ...     "CREATE INDEX ON t (a)", "CREATE INDEX ON ONLY t (a)",
    ...     "CREATE INDEX CONCURRENTLY ON t (a)") for one in effects(sql))
    >>> index.heavy, only.heavy, quiet.refused
    (True, False, True)
    """
    for pattern, instead in _REFUSED:
        if pattern.match(effect.statement):
            return replace(effect, refused=True, safer=instead)
    safer = effect.safer
    for usual, parted in _SAFER.items():
        safer = safer.replace(usual, parted)
    # what is left out is built on each partition, and attached
    built = effect.only and effect.work is Work.BUILD
    return replace(effect, work=Work.LITTLE if built else effect.work, safer=safer)
