r"""What a statement of a migration locks, and what it does while it holds the lock. Pure.

The text is read, not parsed: each form of a statement has a line in a table, which it must fit from
the first word to the last. A statement that fits no line is said to be unknown, never harmless. The
facts are those of the manual's chapters on locking, ALTER TABLE and CREATE INDEX, for PostgreSQL 14
to 18.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from rbkernel.sql import lexer
from rbkernel.sql.ddl_forms import (
    BEGIN,
    COLUMN,
    END,
    IN_TWO,
    NAME,
    OWN,
    QUALIFIED,
    RELATION,
    STATEMENTS,
    SUBCOMMANDS,
    Blocks,
    Work,
)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One change of a statement: the table, whom it keeps waiting, for which work, what is safer.

    ``relation`` is the SQL name as it is written; empty if the statement names no table, or one
    that the migration itself creates. ``also`` are the tables that it refers to, and locks, too.
    ``only`` tells that it leaves out partitions, ``refused`` that PostgreSQL does not run it.
    """

    statement: str
    relation: str = ""
    also: tuple[str, ...] = ()
    blocks: Blocks
    work: Work
    safer: str = ""
    only: bool = False
    refused: bool = False

    @property
    def loses(self) -> bool | None:
        """Whether rows, columns or old values are gone afterwards; None if unknown."""
        if _LOSES.match(self.statement) or _CASCADE.search(self.statement):
            return True
        return None if self.blocks is Blocks.UNKNOWN else False

    @property
    def heavy(self) -> bool | None:
        """Whether it keeps others waiting for as long as a large table takes; None if unknown."""
        if Work.UNKNOWN is self.work or Blocks.UNKNOWN is self.blocks:
            return None
        return self.blocks is not Blocks.NOBODY and self.work is not Work.LITTLE


# what is not known may be anything
_HARM = (Blocks.NOBODY, Blocks.WRITES, Blocks.ALL, Blocks.UNKNOWN)
_STRENGTH = (Blocks.UNKNOWN, Blocks.NOBODY, Blocks.WRITES, Blocks.ALL)
_LOSES = re.compile(
    r"drop (?:table|schema|database|materialized view|owned)\b|truncate\b|delete from\b|update "
    r"|alter (?:foreign )?table \S+ drop (?!constraint\b)|alter type .* drop attribute\b"
)
_CASCADE = re.compile(r"(?<!on delete )(?<!on update )\bcascade\b")
_ALTER = re.compile(
    r"alter (?:foreign )?table (?!all in )(?:if exists )?(?P<only>only )?"
    rf"{RELATION} ?\*? (?P<rest>.*)"
)
_REFERENCES = re.compile(rf"\breferences ({QUALIFIED})")
_ALONE = re.compile(r"vacuum\b|.*\bconcurrently\b|cluster$|reindex (?:database|system|schema)\b")
_ROWS = re.compile(r"(?:update|delete from) ")
_PATIENT = re.compile(r"(?:create|drop|reindex|alter) .*\bconcurrently\b")
# an UPDATE waits for rows that are locked, and CONCURRENTLY for old snapshots and users of a table
ROWS, PATIENT = "writes of rows", "nobody, patiently"
# a psql command or variable, or a name with blanks or punctuation, in which any word can be
_ODD = "<odd>"
# evaluated once, so that adding a column with it rewrites nothing; and types with a length
_EVALUATED_ONCE = frozenset(
    {"now", "current_setting", "statement_timestamp", "transaction_timestamp", "current_timestamp"}
    | {"numeric", "decimal", "varchar", "char", "bit", "time", "timestamp", "timestamptz"}
)
_NO_FUNCTION = _EVALUATED_ONCE | {"in", "and", "or", "not", "where", "set", "coalesce", "values"}
_CALL = re.compile(r"((?:[\w$\"]+ ?\. ?)?[\w$\"]+) ?\(")


def effects(sql: str) -> list[Effect]:
    """Return what each statement of a migration locks and does, in order.

    Several statements are taken for one transaction, as migration tools run them, unless they have
    a BEGIN of their own, or one that cannot run in a transaction: a lock lasts until COMMIT.

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
    statements = list(_statements(sql))
    inside = not any(_ALONE.match(one) or BEGIN.fullmatch(one) for one in statements)
    held, made, unsure = Blocks.NOBODY, set[str](), set[str]()
    found: list[Effect] = []
    for statement in statements:
        inside = (inside or bool(BEGIN.fullmatch(statement))) and not END.fullmatch(statement)
        _remember(statement, made, unsure)
        own = [_on_new(one, made, unsure) for one in _effects(statement)]
        # one ALTER TABLE takes the strongest lock of its changes for all of them
        strongest = max((held, *(one.blocks for one in own)), key=_STRENGTH.index)
        alone = inside and len(statements) > 1 and _ALONE.match(statement)
        found += (_unknown(one) if alone else _under(one, strongest) for one in own)
        held = strongest if inside else Blocks.NOBODY
    return found


def locked(found: Iterable[Effect]) -> dict[str, str]:
    """Return whom the statements keep waiting on each table: for several statements, the most.

    This says also whom the statement waits for: `ROWS` also for locks on rows, `PATIENT` for all.

    >>> locked(effects("ALTER TABLE t ADD a int REFERENCES u (a)"))
    {'u': 'writes', 't': 'reads and writes'}
    >>> locked(effects("UPDATE t SET a = 1; SELECT 1")), locked(effects("REINDEX TABLE t"))
    ({'t': 'writes of rows'}, {'t': 'reads and writes'})
    >>> locked(effects("CREATE INDEX CONCURRENTLY ON t (a)"))
    {'t': 'nobody, patiently'}
    """
    found = list(found)
    said = {name: str(blocks) for name, blocks in _blocked(found).items()}
    for one in found:
        told = said.get(one.relation, "")
        if _ROWS.match(one.statement) and told == Blocks.WRITES:
            said[one.relation] = ROWS
        if _PATIENT.match(one.statement) and told == Blocks.NOBODY:
            said[one.relation] = PATIENT
    return said


def _blocked(found: Iterable[Effect]) -> dict[str, Blocks]:
    said: dict[str, Blocks] = {}
    for one in found:
        referenced = one.blocks if one.blocks is Blocks.UNKNOWN else Blocks.WRITES
        tables = {**dict.fromkeys(one.also, referenced), one.relation: one.blocks}
        for name, blocks in tables.items():
            said[name] = max(blocks, said.get(name, Blocks.NOBODY), key=_HARM.index)
    said.pop("", None)
    return said


def _under(effect: Effect, held: Blocks) -> Effect:
    """Return the effect as it is while a lock is held already."""
    weaker = _STRENGTH.index(effect.blocks) < _STRENGTH.index(held)
    if effect.work is Work.LITTLE or effect.blocks is Blocks.UNKNOWN or not weaker:
        return effect
    return replace(effect, blocks=held, safer=f"run it {OWN}; {effect.safer}".rstrip("; "))


def _unknown(effect: Effect) -> Effect:
    return replace(effect, blocks=Blocks.UNKNOWN, work=Work.UNKNOWN)


def _on_new(effect: Effect, made: set[str], unsure: set[str]) -> Effect:
    """Return the effect as it is if the migration has created, or perhaps created, its table."""
    also = tuple(one for one in effect.also if one not in made)
    if effect.relation in unsure or unsure.intersection(also):
        also = tuple(one for one in also if one not in unsure)
        return replace(_unknown(effect), relation="", also=also)
    if effect.relation not in made:
        return replace(effect, also=also)
    if effect.blocks is Blocks.UNKNOWN:
        return replace(effect, relation="", also=also)
    blocks = effect.blocks if also else Blocks.NOBODY
    return replace(effect, relation="", also=also, blocks=blocks, work=Work.LITTLE)


def _remember(statement: str, made: set[str], unsure: set[str]) -> None:
    """Note the tables and indexes that a statement creates, and the names that it gives."""
    for pattern, *_ in STATEMENTS:
        if (found := re.fullmatch(pattern, _emptied(statement))) and "made" in found.re.groupindex:
            named = found.groupdict()
            if name := (named["made"] or "").replace(" ", ""):
                perhaps = named.get("perhaps") or "if not exists" in statement
                (made.discard if perhaps else unsure.discard)(name)
                (unsure if perhaps else made).add(name)
            return
    if renamed := re.search(rf"\brename to ({NAME})$", statement):
        unsure.add(renamed[1])


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
        elif kind in {"parameter", "slice"} or text in {"\\", ":"}:
            words.append(f"{text}{_ODD}")
        elif kind == "identifier":
            words.append(text if re.fullmatch(NAME, text) else f"{_ODD}{text}")
        else:
            words.append(text.lower())


def _effects(statement: str) -> Iterator[Effect]:
    altered = _ALTER.fullmatch(statement)
    if altered is None or _ODD in statement:
        yield replace(_known(STATEMENTS, statement, statement), only=" on only " in statement)
        return
    relation = altered["relation"].replace(" ", "")
    for change in _split(altered["rest"]):
        said = f"alter table {relation} {change}"
        known = _added_column(change, said, relation)
        known = known or _known(SUBCOMMANDS, change, said, relation)
        yield replace(known, only=bool(altered["only"]))


def _known(
    table: tuple[tuple[str, Blocks, Work, str], ...], text: str, said: str, relation: str = ""
) -> Effect:
    also = _referenced(text)
    unknown = Effect(
        statement=said, relation=relation, also=also, blocks=Blocks.UNKNOWN, work=Work.UNKNOWN
    )
    if _ODD in text or _CASCADE.search(text) or _runs_anything(text):
        return unknown
    for pattern, blocks, work, safer in table:
        if found := re.fullmatch(pattern, _emptied(text)):
            on = relation or found.groupdict().get("relation") or ""
            if also and blocks is Blocks.NOBODY:
                blocks = Blocks.WRITES
            return replace(
                unknown, relation=on.replace(" ", ""), blocks=blocks, work=work, safer=safer
            )
    return unknown


def _referenced(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.replace(" ", "") for one in _REFERENCES.findall(text)))


def _runs_anything(text: str) -> bool:
    """Tell whether a statement that reads or changes rows may take any time, or change anything.

    >>> [_runs_anything(one) for one in ("update t set a = (select f)", "select f (1)",
    ...     "delete from t where a in (1)", "create table t (like u)")]
    [True, True, False, True]
    """
    if re.match(r"create (?:\w+ )?table\b", text):
        return bool(re.search(r"\(.*\blike\b", text))
    if not re.match(r"(?:select|insert|update|delete)\b", text):
        return False
    body = re.sub(r"^insert into .*?(?=\bvalues\b)", "", text)
    allowed = _NO_FUNCTION | {"setval", "nextval", "pg_catalog.setval", "pg_catalog.nextval"}
    called = {one.replace(" ", "") for one in _CALL.findall(body)}
    nested = re.search(r".\bselect\b|\bupdate\b.*\bfrom\b|\busing\b|\breturning\b|.\btable\b", body)
    return bool(nested) or not called <= allowed


def _emptied(text: str) -> str:
    """Return the text with nothing in its brackets; those of VACUUM say what it does.

    >>> _emptied("create table t (a numeric(3, 2))")
    'create table t ()'
    """
    if text.startswith("vacuum"):
        return text
    depth, kept = 0, []
    for char in text:
        depth -= char in ")]"
        if depth <= 0:
            kept.append(char)
        depth += char in "(["
    return "".join(kept)


def _added_column(change: str, said: str, relation: str) -> Effect | None:
    """Return the effect of ADD COLUMN; None for another change.

    >>> [_added_column(f"add {one}", "", "t").work.value for one in (
    ...     "a int default 0", "a timestamptz default now ()", "a uuid default gen_random_uuid ()")]
    ['little', 'little', 'rewrites the whole table']
    """
    if not re.match(
        r"add (?!constraint\b|foreign key\b|check\b|primary key\b|unique\b|exclude\b|not null\b)",
        change,
    ):
        return None
    work, safer = _work_of_column(change)
    blocks = Blocks.UNKNOWN if work is Work.UNKNOWN else Blocks.ALL
    also = _referenced(change)
    return Effect(
        statement=said, relation=relation, also=also, blocks=blocks, work=work, safer=safer
    )


def _work_of_column(change: str) -> tuple[Work, str]:
    default = re.search(r"\bdefault (.*?)(?= not null\b| null\b| check\b| references\b|$)", change)
    computed = default is not None and not {*_CALL.findall(default[1])} <= _EVALUATED_ONCE
    if computed or re.search(r"\b(?:small|big)?serial\b|\bas identity\b|\bstored\b", change):
        return (
            Work.REWRITE,
            "add the column without a default, SET DEFAULT, then fill the rows in batches",
        )
    if re.search(r"\bcheck ?\(", change):
        return Work.SCAN, "add the column first, then the constraint, NOT VALID"
    if re.search(r"\b(?:unique|primary key)\b", change):
        return Work.BUILD, "add the column, CREATE UNIQUE INDEX CONCURRENTLY, then USING INDEX"
    if default is not None and _REFERENCES.search(change):
        return Work.SCAN, f"add the column first, then the constraint: {IN_TWO}"
    if COLUMN.fullmatch(_emptied(change)) and not _CASCADE.search(change):
        return Work.LITTLE, ""
    return Work.UNKNOWN, ""


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
