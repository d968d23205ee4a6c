r"""What a statement of a migration locks, and what it does while it holds the lock. Pure.

The text is read, not parsed: each kind of statement has a line in a table. A statement that no line
knows is said to be unknown, never harmless. The facts are those of the manual's chapters on
locking, ALTER TABLE and CREATE INDEX, for PostgreSQL 14 to 18.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from rbkernel.sql import lexer


class Blocks(StrEnum):
    """Whom the lock keeps waiting."""

    NOBODY = "nobody"
    WRITES = "writes"
    ALL = "reads and writes"
    UNKNOWN = "not known"


class Work(StrEnum):
    """What the statement does while it holds its lock."""

    LITTLE = "little"
    SCAN = "reads the whole table"
    BUILD = "builds an index"
    REWRITE = "rewrites the whole table"
    UNKNOWN = "not known"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One change of a statement: the table, whom it keeps waiting, for which work, what is safer.

    ``relation`` is the SQL name as it is written; empty if the statement names no table.
    """

    statement: str
    relation: str = ""
    blocks: Blocks
    work: Work
    safer: str = ""

    @property
    def loses(self) -> bool:
        """Whether rows or columns are gone afterwards, which no second statement brings back."""
        return bool(_LOSES.match(self.statement))

    @property
    def heavy(self) -> bool | None:
        """Whether it keeps others waiting for as long as a large table takes; None if unknown."""
        if Work.UNKNOWN in (self.work, self.blocks):
            return None
        return self.blocks is not Blocks.NOBODY and self.work is not Work.LITTLE


_NAME = r'(?:"(?:[^"]|"")*"|[\w$]+)'
_RELATION = rf"(?P<relation>{_NAME}(?: ?\. ?{_NAME})?)"
_IN_TWO = "add it NOT VALID, then VALIDATE CONSTRAINT, which keeps nobody waiting"
_IN_BATCHES = "change some thousand rows at a time, each time in a transaction of its own"
_NEW_COLUMN = (
    "add a new column, fill it in batches, then exchange the two. (From varchar to text, or to a"
    " longer varchar, nothing is rewritten)"
)
_CHECK_FIRST = (
    "ADD CONSTRAINT … CHECK (… IS NOT NULL) NOT VALID, VALIDATE it, then SET NOT NULL, which then"
    " reads no row"
)
_NEW_THINGS = (
    "table|sequence|view|materialized view|type|domain|schema|function|procedure|extension"
)
# a function may do anything, except these
_SELECT = r"select (?:(?:pg_catalog ?\. ?)?(?:setval|nextval|set_config) ?\(|(?!.*[\w$\"] ?\())"
_HARMLESS = "insert|set|reset|show|begin|start transaction|commit|end|comment|grant|revoke"
_QUICK = (
    "rename|drop|owner|set schema|set without|replica identity|inherit|no inherit|cluster|enable"
    "|disable|force|no force|alter constraint"
)
_LOSES = re.compile(
    r"drop (?:table|schema|database|materialized view|owned)\b|truncate\b|delete from\b"
    r"|alter table \S+ drop (?!constraint\b)"
)
_ALTER = re.compile(
    rf"alter (?:foreign )?table (?:if exists )?(?:only )?{_RELATION} ?\*? (?P<rest>.*)"
)
# evaluated once, so that adding a column with it rewrites nothing; and types with a length
_EVALUATED_ONCE = frozenset(
    {"now", "current_setting", "statement_timestamp", "transaction_timestamp", "current_timestamp"}
    | {"numeric", "decimal", "varchar", "char", "bit", "time", "timestamp", "timestamptz"}
)
_CALL = re.compile(r"([\w$]+) ?\(")

# the first that fits counts
_STATEMENTS = (
    (rf"create (?:unique )?index concurrently .*?\bon (?:only )?{_RELATION}",
     Blocks.NOBODY, Work.BUILD, ""),
    (rf"create (?:unique )?index .*?\bon (?:only )?{_RELATION}",
     Blocks.WRITES, Work.BUILD, "CREATE INDEX CONCURRENTLY, outside a transaction"),
    (r"drop index concurrently ", Blocks.NOBODY, Work.LITTLE, ""),
    (r"drop index ", Blocks.ALL, Work.LITTLE, "DROP INDEX CONCURRENTLY"),
    (r"reindex .*\bconcurrently\b", Blocks.NOBODY, Work.BUILD, ""),
    (rf"reindex (?:\(.*?\) ?)?table {_RELATION}", Blocks.ALL, Work.BUILD, "REINDEX CONCURRENTLY"),
    (r"reindex ", Blocks.ALL, Work.BUILD, "REINDEX CONCURRENTLY"),
    (rf"vacuum (?:full|\([^)]*\bfull\b[^)]*\))(?: freeze| verbose| analyze)* {_RELATION}",
     Blocks.ALL, Work.REWRITE, "plain VACUUM; to give room back to the disk, pg_repack"),
    (rf"cluster (?:\(.*?\) ?|verbose )?{_RELATION}", Blocks.ALL, Work.REWRITE, "pg_repack"),
    (r"(?:vacuum|cluster)\b.*\bfull\b|cluster$", Blocks.ALL, Work.REWRITE, "one table at a time"),
    (r"(?:vacuum|analyze)\b", Blocks.NOBODY, Work.SCAN, ""),
    (r"refresh materialized view concurrently ", Blocks.NOBODY, Work.SCAN, ""),
    (rf"refresh materialized view {_RELATION}", Blocks.ALL, Work.REWRITE,
     "REFRESH MATERIALIZED VIEW CONCURRENTLY, which needs a unique index"),
    (rf"drop table (?:if exists )?{_RELATION}", Blocks.ALL, Work.LITTLE,
     "rename it first, and drop it when nobody has missed it: a drop cannot be undone"),
    (rf"truncate (?:table )?(?:only )?{_RELATION}", Blocks.ALL, Work.LITTLE,
     "take a backup first: the rows are gone"),
    (rf"lock (?:table )?(?:only )?{_RELATION}", Blocks.ALL, Work.LITTLE, ""),
    (rf"create (?:or replace )?(?:constraint )?trigger .*?\bon {_RELATION}",
     Blocks.WRITES, Work.LITTLE, ""),
    (rf"(?:update (?:only )?{_RELATION}|delete from (?:only )?(?P<deleted>{_NAME}))(?!.*\bwhere\b)",
     Blocks.WRITES, Work.REWRITE, _IN_BATCHES),
    (r"(?:update|delete) ", Blocks.NOBODY, Work.LITTLE, _IN_BATCHES),
    (rf"create (?:or replace )?(?:temp |temporary |unlogged )?(?:{_NEW_THINGS})\b",
     Blocks.NOBODY, Work.LITTLE, ""),
    (rf"(?:{_HARMLESS})\b", Blocks.NOBODY, Work.LITTLE, ""),
    (_SELECT, Blocks.NOBODY, Work.LITTLE, ""),
    (r"alter (?:type|domain|sequence|function|schema|role|database|extension)\b",
     Blocks.NOBODY, Work.LITTLE, ""),
    (r"alter (?:index|view|materialized view) ", Blocks.ALL, Work.LITTLE, ""),
)  # fmt: skip

_SUBCOMMANDS = (
    (r"add (?:constraint \S+ )?(?:foreign key|check)\b.*\bnot valid\b",
     Blocks.ALL, Work.LITTLE, ""),
    (r"add (?:constraint \S+ )?foreign key\b", Blocks.WRITES, Work.SCAN, _IN_TWO),
    (r"add (?:constraint \S+ )?check\b", Blocks.ALL, Work.SCAN, _IN_TWO),
    (r"add (?:constraint \S+ )?(?:primary key|unique) using index\b",
     Blocks.ALL, Work.LITTLE, ""),
    (r"add (?:constraint \S+ )?(?:primary key|unique|exclude)\b", Blocks.ALL, Work.BUILD,
     "CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … USING INDEX"),
    (r"validate constraint ", Blocks.NOBODY, Work.SCAN, ""),
    (r"alter (?:column )?\S+ (?:set data )?type\b", Blocks.ALL, Work.REWRITE,
     _NEW_COLUMN),
    (r"alter (?:column )?\S+ set not null\b", Blocks.ALL, Work.SCAN,
     _CHECK_FIRST),
    (r"alter (?:column )?\S+ set (?:statistics|\()", Blocks.NOBODY, Work.LITTLE, ""),
    (r"alter (?:column )?\S+ add generated\b", Blocks.ALL, Work.LITTLE, ""),
    (r"alter (?:column )?\S+ (?:set|drop|reset)\b", Blocks.ALL, Work.LITTLE, ""),
    (r"set (?:logged|unlogged|tablespace|access method)\b", Blocks.ALL, Work.REWRITE,
     "a new table that is filled in batches, then exchanged"),
    (r"attach partition ", Blocks.NOBODY, Work.SCAN, ""),
    (r"detach partition .*\b(?:concurrently|finalize)\b", Blocks.NOBODY, Work.LITTLE, ""),
    (r"detach partition ", Blocks.ALL, Work.LITTLE, "DETACH PARTITION … CONCURRENTLY"),
    (r"(?:set|reset) ?\(", Blocks.NOBODY, Work.LITTLE, ""),
    (r"(?:enable|disable) (?:always |replica )?trigger\b", Blocks.WRITES, Work.LITTLE, ""),
    (rf"(?:{_QUICK})\b", Blocks.ALL, Work.LITTLE, ""),
)  # fmt: skip


def effects(sql: str) -> list[Effect]:
    """Return what each statement of a migration locks and does, in order.

    Raises
    ------
    SqlTextError
        A literal, a quoted identifier or a comment is not terminated.

    >>> [one] = effects("create index on orders (customer_id); -- slow")
    >>> (one.relation, str(one.blocks), str(one.work), one.heavy)
    ('orders', 'writes', 'builds an index', True)
    >>> [str(one.work) for one in effects("ALTER TABLE a ADD b int, ALTER c TYPE bigint")]
    ['little', 'rewrites the whole table']
    >>> [one.heavy for one in effects("FROBNICATE orders")]
    [None]
    """
    return [effect for text in _statements(sql) for effect in _effects(text)]


def _statements(sql: str) -> Iterator[str]:
    """Yield the statements, folded: one blank, small letters, empty literals, no comments."""
    words: list[str] = []
    for kind, text in (*lexer.tokens(sql), ("other", ";")):
        if kind == "other" and text == ";":
            if statement := " ".join("".join(words).split()):
                yield statement
            words = []
        elif kind in {"comment", "line_comment"}:
            words.append(" ")
        elif kind in {"string", "escape_string", "dollar"}:
            words.append("''")
        else:
            words.append(text if kind == "identifier" else text.lower())


def _effects(statement: str) -> Iterator[Effect]:
    altered = _ALTER.fullmatch(statement)
    if altered is None:
        yield _known(_STATEMENTS, statement, statement)
        return
    relation = altered["relation"].replace(" ", "")
    for change in _split(altered["rest"]):
        said = f"alter table {relation} {change}"
        yield _added_column(change, said, relation) or _known(_SUBCOMMANDS, change, said, relation)


def _known(
    table: tuple[tuple[str, Blocks, Work, str], ...], text: str, said: str, relation: str = ""
) -> Effect:
    for pattern, blocks, work, safer in table:
        if found := re.match(pattern, text):
            named = {**found.groupdict()}
            on = relation or named.get("relation") or named.get("deleted") or ""
            return Effect(
                statement=said,
                relation=on.replace(" ", ""),
                blocks=blocks,
                work=work,
                safer=safer,
            )
    return Effect(statement=said, relation=relation, blocks=Blocks.UNKNOWN, work=Work.UNKNOWN)


def _added_column(change: str, said: str, relation: str) -> Effect | None:
    """Return the effect of ADD COLUMN; None for another change.

    >>> [_added_column(f"add {one}", "", "t").work.value for one in (
    ...     "a int default 0", "a timestamptz default now ()", "a uuid default gen_random_uuid ()")]
    ['little', 'little', 'rewrites the whole table']
    """
    if not re.match(
        r"add (?!constraint\b|foreign key\b|check\b|primary key\b|unique\b|exclude\b)", change
    ):
        return None
    default = re.search(r"\bdefault (.*?)(?= not null\b| null\b| check\b| references\b|$)", change)
    computed = default is not None and not {*_CALL.findall(default[1])} <= _EVALUATED_ONCE
    if computed or re.search(r"\b(?:small|big)?serial\b|\bas identity\b|\bstored\b", change):
        work = Work.REWRITE
        safer = "add the column without a default, SET DEFAULT, then fill the rows in batches"
    elif re.search(r"\bcheck ?\(", change):
        work, safer = Work.SCAN, "add the column first, then the constraint, NOT VALID"
    elif re.search(r"\b(?:unique|primary key)\b", change):
        work, safer = (
            Work.BUILD,
            "add the column, CREATE UNIQUE INDEX CONCURRENTLY, then USING INDEX",
        )
    else:
        work, safer = Work.LITTLE, ""
    return Effect(statement=said, relation=relation, blocks=Blocks.ALL, work=work, safer=safer)


def _split(changes: str) -> Iterator[str]:
    """Yield the parts between commas that are in no brackets.

    >>> list(_split("add a numeric(3, 2), drop b"))
    ['add a numeric(3, 2)', 'drop b']
    """
    depth, start = 0, 0
    for place, char in enumerate(changes):
        depth += (char in "([") - (char in ")]")
        if char == "," and depth == 0:
            yield changes[start:place].strip()
            start = place + 1
    yield changes[start:].strip()
