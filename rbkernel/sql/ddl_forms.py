r"""The forms of statements whose locks and work are known. Pure.

A form describes the whole statement, folded as `rbkernel.sql.ddl` folds it: one blank between the
words, small letters, nothing in brackets. A form that is not surely harmless is not added as such.
"""

from __future__ import annotations

import re
from enum import StrEnum


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


NAME = r'(?:"[\w$]+"|[\w$]+)'
QUALIFIED = rf"{NAME}(?: ?\. ?{NAME})?"
RELATION = rf"(?P<relation>{QUALIFIED})"
OWN = "in a transaction of its own"
IN_TWO = f"add it NOT VALID; then, {OWN}, VALIDATE CONSTRAINT, which alone keeps nobody waiting"
_IN_BATCHES = f"change some thousand rows at a time, each time {OWN}"
_NEW_COLUMN = (
    "add a new column, fill it in batches, then exchange the two. (From varchar to text, or to a"
    " longer varchar, nothing is rewritten)"
)
_CHECK_FIRST = (
    f"ADD CONSTRAINT … CHECK (… IS NOT NULL) NOT VALID; then, {OWN}, VALIDATE it; then SET NOT"
    " NULL, which then reads no row"
)
CONCURRENTLY = "CREATE INDEX CONCURRENTLY, outside a transaction"
USING_INDEX = "CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … USING INDEX"
BEGIN = re.compile(r"(?:begin|start)(?: transaction| work)?")
END = re.compile(r"(?:commit|end|rollback|abort)(?: transaction| work)?")
_TYPES = (
    r"(?:big|small)?int|int[248]|integer|text|varchar|char|character(?: varying)?|bool|boolean|date"
    r"|timestamptz|timetz|time(?:stamp)?(?: ?\(\))?(?: with(?:out)? time zone)?|uuid|jsonb?|numeric"
    r"|decimal|real|float[48]?|double precision|bytea|inet|cidr|interval"
)
COLUMN = re.compile(
    rf"add (?:column )?(?:if not exists )?{NAME} (?:{_TYPES})(?: ?\(\))?(?: ?\[\])*"
    rf"(?: not null| null| collate {QUALIFIED}| default .+| references .+)*"
)
_SETTINGS = (
    "search_path|client_encoding|client_min_messages|check_function_bodies|row_security|xmloption"
    "|default_tablespace|default_table_access_method|work_mem|maintenance_work_mem"
)
_INDEX = rf"(?:if not exists )?(?:(?P<made>{NAME}) )?on (?:only )?{RELATION}(?: ?\(\)| ).*"

# fitted to the whole statement, in which all brackets are empty; the first that fits counts
STATEMENTS = (
    (rf"create (?:unique )?index concurrently {_INDEX}", Blocks.NOBODY, Work.BUILD, ""),
    (rf"create (?:unique )?index (?!concurrently\b){_INDEX}",
     Blocks.WRITES, Work.BUILD, CONCURRENTLY),
    (rf"drop index concurrently (?:if exists )?{RELATION}", Blocks.NOBODY, Work.LITTLE, ""),
    (rf"drop index (?:if exists )?{RELATION}(?: restrict)?",
     Blocks.ALL, Work.LITTLE, "DROP INDEX CONCURRENTLY"),
    (rf"alter index (?:if exists )?{RELATION} (?:rename to {NAME}|(?:re)?set ?\(\))",
     Blocks.ALL, Work.LITTLE, ""),
    (rf"alter index (?:if exists )?{RELATION} attach partition {QUALIFIED}",
     Blocks.ALL, Work.LITTLE, ""),
    (rf"reindex (?:\(\) ?)?(?:table|index) concurrently {RELATION}",
     Blocks.NOBODY, Work.BUILD, ""),
    (rf"reindex (?:\(\) ?)?(?:table|index) {RELATION}",
     Blocks.ALL, Work.BUILD, "REINDEX CONCURRENTLY"),
    (rf"vacuum (?:full|\([^)]*\bfull\b[^)]*\))(?: freeze| verbose| analyze)* {RELATION}",
     Blocks.ALL, Work.REWRITE, "plain VACUUM; to give room back to the disk, pg_repack"),
    ((rf"vacuum(?: freeze| verbose| analyze| ?\((?:analyze|verbose|freeze|[, ])*\))*"
     rf"(?: (?!full\b){RELATION})?"), Blocks.NOBODY, Work.SCAN, ""),
    (rf"analyze(?: verbose)?(?: {RELATION}(?: ?\(\))?)?", Blocks.NOBODY, Work.SCAN, ""),
    (rf"cluster (?:\(\) ?|verbose )?{RELATION}(?: using {NAME})?",
     Blocks.ALL, Work.REWRITE, "pg_repack"),
    (rf"refresh materialized view concurrently {RELATION}(?: with data)?",
     Blocks.NOBODY, Work.SCAN, ""),
    (rf"drop table (?:if exists )?{RELATION}(?: restrict)?", Blocks.ALL, Work.LITTLE,
     "rename it first, and drop it when nobody has missed it: a drop cannot be undone"),
    (rf"truncate (?:table )?(?:only )?{RELATION}(?: (?:restart|continue) identity)?",
     Blocks.ALL, Work.LITTLE, "take a backup first: the rows are gone"),
    (rf"lock (?:table )?(?:only )?{RELATION}(?: in [a-z ]+ mode)?(?: nowait)?",
     Blocks.ALL, Work.LITTLE, ""),
    ((rf"create (?:or replace )?trigger {NAME} (?:before|after|instead of) (?:(?! from ).)*?"
     rf"\bon {RELATION} (?!from\b).*"), Blocks.WRITES, Work.LITTLE, ""),
    (rf"drop trigger (?:if exists )?{NAME} on {RELATION}", Blocks.ALL, Work.LITTLE, ""),
    (rf"(?:update|delete from) (?:only )?{RELATION}(?!.* where\b)(?: .*)?",
     Blocks.WRITES, Work.REWRITE, _IN_BATCHES),
    (rf"(?:update|delete from) (?:only )?{RELATION} .*",
     Blocks.WRITES, Work.UNKNOWN, _IN_BATCHES),
    ((rf"insert into {QUALIFIED}(?: ?\(\))? values ?\(\)(?: ?, ?\(\))*"
     r"(?: on conflict(?: ?\(\))? do nothing)?"), Blocks.NOBODY, Work.LITTLE, ""),
    ((rf"create (?:(?:temp|temporary|unlogged) )?table (?P<perhaps>if not exists )?"
     rf"(?P<made>{QUALIFIED}) ?\(\)(?: partition by [a-z]+ ?\(\))?(?: with ?\(\))?"),
     Blocks.NOBODY, Work.LITTLE, ""),
    (r"create (?:or replace )?(?:function|procedure) (?!.*\batomic\b).*",
     Blocks.NOBODY, Work.LITTLE, ""),
    (r"create (?:type|view|domain) .*|create sequence (?!.*\bowned\b).*",
     Blocks.NOBODY, Work.LITTLE, ""),
    (rf"create schema (?:if not exists )?{NAME}", Blocks.NOBODY, Work.LITTLE, ""),
    (rf"alter type {QUALIFIED} (?:add|rename) value .*", Blocks.NOBODY, Work.LITTLE, ""),
    (rf"set (?:session |local )?(?:{_SETTINGS})(?: ?= ?| to ).*|reset (?:{_SETTINGS})",
     Blocks.NOBODY, Work.LITTLE, ""),
    (r"set standard_conforming_strings ?= ?on", Blocks.NOBODY, Work.LITTLE, ""),
    (rf"show {NAME}|comment on .* is (?:''|null)|(?:grant|revoke) .*",
     Blocks.NOBODY, Work.LITTLE, ""),
    (r"select (?!.*\b(?:from|into|for|table|union)\b).*", Blocks.NOBODY, Work.LITTLE, ""),
    (rf"{BEGIN.pattern}|{END.pattern}", Blocks.NOBODY, Work.LITTLE, ""),
)  # fmt: skip

_ADD = rf"add (?:constraint {NAME} )?"
_OF_COLUMN = rf"alter (?:column )?{NAME} "
SUBCOMMANDS = (
    (rf"{_ADD}(?:foreign key|check) ?\(\).* not valid", Blocks.ALL, Work.LITTLE, ""),
    (rf"{_ADD}foreign key\b.*", Blocks.WRITES, Work.SCAN, IN_TWO),
    (rf"{_ADD}check\b.*", Blocks.ALL, Work.SCAN, IN_TWO),
    (rf"{_ADD}not null\b.*", Blocks.ALL, Work.SCAN, _CHECK_FIRST),
    (rf"{_ADD}unique using index .*", Blocks.ALL, Work.LITTLE, ""),
    (rf"{_ADD}primary key using index .*", Blocks.ALL, Work.SCAN,
     f"first make the columns NOT NULL, so that it reads no row: {_CHECK_FIRST}"),
    (rf"{_ADD}exclude\b.*", Blocks.ALL, Work.BUILD, ""),
    (rf"{_ADD}primary key\b.*", Blocks.ALL, Work.BUILD,
     f"{_CHECK_FIRST}; {USING_INDEX}"),
    (rf"{_ADD}unique\b.*", Blocks.ALL, Work.BUILD, USING_INDEX),
    (rf"validate constraint {NAME}", Blocks.NOBODY, Work.SCAN, ""),
    (rf"{_OF_COLUMN}(?:set data )?type\b.*", Blocks.ALL, Work.REWRITE, _NEW_COLUMN),
    (rf"{_OF_COLUMN}set expression\b.*", Blocks.ALL, Work.REWRITE, _NEW_COLUMN),
    (rf"{_OF_COLUMN}set not null", Blocks.ALL, Work.SCAN, _CHECK_FIRST),
    (rf"{_OF_COLUMN}(?:set statistics \S+|(?:re)?set ?\(\))", Blocks.NOBODY, Work.LITTLE, ""),
    ((rf"{_OF_COLUMN}(?:set default .*|set (?:storage|compression) {NAME}|add generated .*"
     r"|drop (?:default|not null|(?:expression|identity)(?: if exists)?))"),
     Blocks.ALL, Work.LITTLE, ""),
    (r"set (?:logged|unlogged|tablespace \S+|access method \S+)", Blocks.ALL, Work.REWRITE,
     "a new table that is filled in batches, then exchanged"),
    (r"(?:re)?set ?\(\)", Blocks.NOBODY, Work.LITTLE, ""),
    (rf"(?:enable|disable) (?:always |replica )?trigger {NAME}", Blocks.WRITES, Work.LITTLE, ""),
    ((rf"rename to (?P<renamed>{NAME})|rename (?:column |constraint )?{NAME} to {NAME}"
     rf"|drop (?!constraint\b)(?:column )?(?:if exists )?{NAME}(?: restrict)?|owner to {NAME}"
     rf"|set schema {NAME}|replica identity .*|cluster on {NAME}|set without cluster"
     r"|(?:enable|disable|force|no force) row level security"), Blocks.ALL, Work.LITTLE, ""),
)  # fmt: skip
