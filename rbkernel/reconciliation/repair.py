"""Write a script that makes the target's rows equal to the source's, and its inverse.

Nothing is executed here. Every statement contains the expected state of its row: the key and the
present value of each compared column, as text under pinned settings, so that the types do not
matter. The statement raises an error unless it changes exactly one row, or if a trigger or a rule
gives the row other values than intended. The script is one transaction, so if a row has changed
since, nothing is changed. Extra rows are deleted first and missing ones inserted last, so that a
unique value can move from one row to another; the inverse has the reverse order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rbkernel import amounts
from rbkernel.errors import DatabaseError, QueryError
from rbkernel.model import now
from rbkernel.reconciliation import layout as layouts
from rbkernel.reconciliation.layout import Layout
from rbkernel.reconciliation.lookup import batches, fetch
from rbkernel.reconciliation.outcome import OF_COLUMNS, Difference
from rbkernel.reconciliation.question import Question
from rbkernel.reconciliation.search import Key
from rbkernel.reconciliation.snapshot import Reader, readers
from rbkernel.reconciliation.tables import TableColumn
from rbkernel.sources.postgres.connection import settings
from rbkernel.sources.postgres.connection.driver import quote_identifier, quote_literal
from rbkernel.sources.postgres.connection.session import Session

Values = Mapping[str, str | None]

_PROLOGUE = """BEGIN;
SET LOCAL search_path = {path};
SET LOCAL client_encoding = 'UTF8';
SET LOCAL TimeZone = 'UTC';
SET LOCAL DateStyle = 'ISO, YMD';
SET LOCAL IntervalStyle = 'postgres';
SET LOCAL extra_float_digits = 1;
SET LOCAL bytea_output = 'hex';
SET LOCAL lock_timeout = '5s';
SET CONSTRAINTS ALL DEFERRED;
"""
_GUARDED = """
DO {tag}
#variable_conflict use_column
DECLARE changed bigint;
BEGIN
{statement};
  GET DIAGNOSTICS changed = ROW_COUNT;
  IF changed <> 1 THEN
    RAISE EXCEPTION USING MESSAGE = {message};
  END IF;
  PERFORM FROM {table}
{wanted};
  IF {wrong} THEN
    RAISE EXCEPTION USING MESSAGE = {otherwise};
  END IF;
END
{tag};
"""
_SURROUNDINGS = """
SELECT ARRAY(SELECT t.tgname::text FROM pg_trigger t
             WHERE t.tgrelid = %(oid)s AND NOT t.tgisinternal AND t.tgenabled <> 'D' ORDER BY 1),
       ARRAY(SELECT c.conname::text FROM pg_constraint c
             WHERE c.contype = 'f' AND %(oid)s IN (c.conrelid, c.confrelid) ORDER BY 1),
       ARRAY(SELECT r.rulename::text FROM pg_rewrite r
             WHERE r.ev_class = %(oid)s AND r.ev_type <> '1' AND r.ev_enabled <> 'D' ORDER BY 1),
       -- sequences that fill a column: serial, identity, OWNED BY, DEFAULT nextval
       ARRAY(SELECT a.attname::text || ' ' || format('%%I.%%I', n.nspname, s.relname)
             FROM (SELECT d.objid AS seq, d.refobjid AS relid, d.refobjsubid AS attnum
                   FROM pg_depend d
                   WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                     AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
                   UNION
                   SELECT d.refobjid, f.adrelid, f.adnum
                   FROM pg_attrdef f
                   JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
                       AND d.refclassid = 'pg_class'::regclass) k
             JOIN pg_class s ON s.oid = k.seq AND s.relkind = 'S'
             JOIN pg_namespace n ON n.oid = s.relnamespace
             JOIN pg_attribute a ON a.attrelid = k.relid AND a.attnum = k.attnum
             WHERE k.relid = %(oid)s ORDER BY a.attnum, 1)
"""


@dataclass(frozen=True, kw_only=True)
class Repair:
    """Two scripts for psql, the repair and its inverse; each changes ``rows`` rows.

    ``obstacles`` are reasons why the scripts will probably fail without changing anything.
    """

    sql: str
    inverse: str
    rows: int
    obstacles: tuple[str, ...] = ()


@dataclass
class _Script:
    """The statements of the repair and of its inverse, in the order of the repair."""

    layout: Layout
    forth: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)
    updates: list[tuple[Values, Values]] = field(default_factory=list)

    def add(
        self, key: Key, statement: str, inverse: str, *, before: str = "", after: str = ""
    ) -> None:
        """Add a statement and its inverse to the scripts.

        ``before`` and ``after`` are conditions: the state of the row before and after the
        statement. A condition is empty if there is no row.
        """
        names = (column.target_name for column in self.layout.key)
        row = ", ".join(f"{name} = {value}" for name, value in zip(names, key, strict=True))
        where = f"{self.layout.target.shown} ({row})"
        message = f"{where} has changed since it was compared"
        self.forth.append(self._guarded(key, statement, message, where, after))
        message = f"{where} has changed since the repair"
        self.back.append(self._guarded(key, inverse, message, where, before))

    def _guarded(self, key: Key, statement: str, message: str, where: str, wanted: str) -> str:
        said = _said(message)
        otherwise = _said(f"a trigger or rule has changed the effect of this statement on {where}")
        body = statement + wanted + said + otherwise
        tag = next(tag for tag in (f"$rb{n or ''}$" for n in range(10**6)) if tag not in body)
        return _GUARDED.format(
            tag=tag,
            statement=statement,
            message=said,
            table=_plain(self.layout.target.sql),
            wanted=wanted or _expected(self, key, {}),
            wrong="NOT FOUND" if wanted else "FOUND",
            otherwise=otherwise,
        )

    def note(self, text: str) -> None:
        """Add a note to the header of the scripts, unless it is already there."""
        if text not in self.notes:
            self.notes.append(text)


def write(
    source: Session, target: Session, question: Question, differences: Sequence[Difference]
) -> Repair:
    """Write the scripts of the repair and its inverse from the present rows.

    Parameters
    ----------
    source, target, question
        As in the comparison.
    differences
        The differences to repair; rows that no longer differ are left out.

    Raises
    ------
    DatabaseError, QueryError
        A row cannot be read, or cannot be repaired by a script.
    """
    if question.time_zone:
        raise QueryError(
            "repair SQL is not available if a time zone is given (--time-zone)",
            where="repair",
            next_step="exclude the columns that need it (--columns) and omit --time-zone, or write"
            " the statements yourself",
        )
    rows = [one for one in differences if one.kind not in OF_COLUMNS]
    with readers(source, target) as both:
        layout = layouts.read(question, both)
        script = _Script(layout)
        [(triggers, foreign, rules, sequences)] = both.target.rows(
            _SURROUNDINGS, {"oid": layout.target.oid}
        )
        for kind, add in (("extra", _delete), ("changed", _update), ("missing", _insert)):
            keys = [one.key for one in rows if one.kind == kind]
            columns = {one.key: one.columns for one in rows}
            for some in batches(keys, layout.source.row_bytes):
                theirs = _values(both.source, layout, some, target=False)
                ours = _values(both.target, layout, some, target=True)
                for key in some:
                    add(script, key, theirs.get(key), ours.get(key), columns[key])
        # triggers of the table may need the search path of the session
        path = settings.path(both.target.own_path)
    _note_surroundings(script, triggers, foreign)
    if any(one.kind == "missing" for one in rows):
        _note_sequences(script, sequences)
    _note_obstacles(script, rules)
    heading = _heading(question, script, target.connection.name)
    return Repair(
        sql=_text(heading, path, script.forth),
        inverse=_text(["Takes back:", *heading], path, reversed(script.back)),
        rows=len(script.forth),
        obstacles=tuple(script.obstacles),
    )


def _values(
    reader: Reader, layout: Layout, keys: Sequence[Key], *, target: bool
) -> dict[Key, Values]:
    """Fetch the rows with these keys as exact text: for each key, its values by target column."""
    if target:
        # an extra row is deleted, so all of its values are needed for the inverse
        names = [column.name for column in layout.target.columns]
        hidden = [column.name for column in layout.target.columns if not column.readable]
        if hidden:
            raise DatabaseError(
                f"the role may not read {', '.join(hidden)}, so the rows could not be restored",
                where=f"connection {reader.name}",
                next_step=f"GRANT SELECT ON {layout.target.shown} to that role",
            )
    else:
        names = [column.name for column in layout.everything]
    texts = [f"t.{quote_identifier(name).replace('%', '%%')}::text" for name in names]
    called = names if target else [column.target_name for column in layout.everything]
    lines = fetch(reader, layout, keys, texts, target=target)
    return {key: dict(zip(called, line, strict=True)) for key, line in lines.items()}


def _delete(
    script: _Script, key: Key, theirs: Values | None, ours: Values | None, _: Iterable[str]
) -> None:
    if theirs is not None or ours is None:
        return
    target = script.layout.target
    settable = {c.name: ours[c.name] for c in target.columns if not c.generated}
    before = _expected(script, key, ours, as_read=True)
    script.add(
        key,
        f"  DELETE FROM {_plain(target.sql)}\n{before}",
        _inserting(script, settable),
        before=before,
    )


def _insert(
    script: _Script, key: Key, theirs: Values | None, ours: Values | None, _: Iterable[str]
) -> None:
    if theirs is None or ours is not None:
        return
    settable = {name: theirs[name] for name in theirs if not _column(script, name).generated}
    target = script.layout.target
    after = _expected(script, key, settable)
    script.add(
        key,
        _inserting(script, settable),
        f"  DELETE FROM {_plain(target.sql)}\n{after}",
        after=after,
    )


def _update(
    script: _Script, key: Key, theirs: Values | None, ours: Values | None, columns: Iterable[str]
) -> None:
    if theirs is None or ours is None:
        return
    called = {column.name: column.target_name for column in script.layout.columns}
    wanted = [called[name] for name in columns]
    fixed = [name for name in wanted if _fixed(_column(script, name))]
    if fixed:
        script.note(f"NOT REPAIRED, PostgreSQL generates these values: {', '.join(fixed)}")
    names = [name for name in wanted if name not in fixed and theirs[name] != ours[name]]
    if not names:
        return
    new, old = {name: theirs[name] for name in names}, {name: ours[name] for name in names}
    compared = {name: ours[name] for name in theirs if not _column(script, name).generated}
    before = _expected(script, key, compared, as_read=True)
    after = _expected(script, key, {**compared, **new})
    script.updates.append((ours, {**ours, **new}))
    script.add(
        key,
        _updating(script, new, before),
        _updating(script, old, after),
        before=before,
        after=after,
    )


def _inserting(script: _Script, values: Values) -> str:
    names = ", ".join(map(quote_identifier, values))
    literals = ", ".join(map(_literal, values.values()))
    overriding = any(_column(script, name).identity for name in values)
    return (
        f"  INSERT INTO {_plain(script.layout.target.sql)} ({names})\n"
        f"{'  OVERRIDING SYSTEM VALUE' if overriding else ' '} VALUES ({literals})"
    )


def _updating(script: _Script, new: Values, expected: str) -> str:
    sets = ",\n         ".join(
        f"{quote_identifier(name)} = {_literal(value)}" for name, value in new.items()
    )
    return f"  UPDATE {_plain(script.layout.target.sql)}\n     SET {sets}\n{expected}"


def _expected(script: _Script, key: Key, values: Values, *, as_read: bool = False) -> str:
    """Return the SQL condition that a row exists and has these values.

    The values are compared as text, since json has no ``=``. A text that was read from the target
    itself is compared unchanged; another text is first converted to the column's type and back,
    since numeric(8,2), for example, rounds.
    """
    keys = {column.target_name: part for column, part in zip(script.layout.key, key, strict=True)}
    conditions = [f"{quote_identifier(name)} = {_cast(script, name, keys[name])}" for name in keys]
    for name, value in values.items():
        if name not in keys:
            declared = _column(script, name).declared
            # the text of regclass and similar types depends on the session's search path
            as_is = as_read and not declared.startswith("reg")
            plain = as_is or value is None or declared == "text"
            text = _literal(value) if plain else f"({_cast(script, name, value)})::text"
            conditions.append(f"{quote_identifier(name)}::text IS NOT DISTINCT FROM {text}")
    return "   WHERE " + "\n     AND ".join(conditions)


def _cast(script: _Script, name: str, value: str | None) -> str:
    return f"{_literal(value)}::{_column(script, name).declared}"


def _literal(value: str | None) -> str:
    # no cast: a value that is too long must be an error; a cast would cut it
    return quote_literal(value).strip()


def _column(script: _Script, name: str) -> TableColumn:
    found = script.layout.target.column(name)
    assert found is not None  # names come from the layout
    return found


def _fixed(column: TableColumn) -> bool:
    """Return whether a column cannot be set by an UPDATE."""
    return column.generated or column.identity == "a"


def _said(message: str) -> str:
    return quote_literal(f"{message}: nothing was changed").strip()


def _note_surroundings(script: _Script, triggers: list[str], foreign: list[str]) -> None:
    if triggers:
        script.note(
            f"triggers will fire, and the undo does not revert their changes: {', '.join(triggers)}"
        )
    if foreign:
        script.note(f"foreign keys are checked, or cascade: {', '.join(foreign)}")
    set_here = {column.target_name for column in script.layout.everything}
    if lacking := script.layout.lacking:
        script.note(f"NOT REPAIRED, the target lacks these columns: {', '.join(lacking)}")
    others = [c.name for c in script.layout.target.columns if c.name not in set_here]
    if others:
        script.note(f"only in the target, left to their defaults: {', '.join(others)}")


def _note_sequences(script: _Script, sequences: Iterable[str]) -> None:
    """Add a note about sequences that stay behind the values that the script inserts."""
    set_here = {column.target_name for column in script.layout.everything}
    table = _plain(script.layout.target.sql)
    for shown in sequences:
        name, _, sequence = shown.partition(" ")
        if name in set_here:
            column, literal = quote_identifier(name), quote_literal(sequence).strip()
            script.note(
                f"the sequence {sequence} of {name} is not moved. After the repair, run this"
                " so that no value is used twice:"
                f" SELECT setval({literal}, max({column})) FROM {table}"
                f" HAVING max({column}) > (SELECT last_value FROM {sequence});"
            )


def _note_obstacles(script: _Script, rules: list[str]) -> None:
    if rules:
        script.obstacles.append(
            "the table has rules (CREATE RULE) that replace its INSERT, UPDATE or DELETE"
            f" statements, so the script will stop with an error: {', '.join(rules)}"
        )
    for columns in script.layout.target.unique:
        if _exchanged(script.updates, sorted(columns)):
            script.obstacles.append(
                f"rows swap values of the unique columns {', '.join(sorted(columns))}; PostgreSQL"
                " checks uniqueness after each row, not only at the end, so the script may stop"
                " with an error: change one of the values by hand first"
            )


def _exchanged(updates: Iterable[tuple[Values, Values]], columns: Sequence[str]) -> bool:
    """Return whether an update gives a row unique values that a row updated later still has."""
    pairs = [
        (tuple(old[name] for name in columns), tuple(new[name] for name in columns))
        for old, new in updates
    ]
    held = {old for old, new in pairs if old != new}
    return any(new in held and None not in new for old, new in pairs if old != new)


def _heading(question: Question, script: _Script, connection: str) -> list[str]:
    rows = amounts.count(len(script.forth), "row")
    return [
        f"Makes {rows} of {question.target} equal to {question.source}.",
        f"Written {now()} for connection {connection}.",
        "Read it, then run it with psql as a role that may write. It is one transaction: if a row",
        "has changed since the comparison, an error names it, and nothing is changed.",
        *(f"OBSTACLE: {obstacle}" for obstacle in script.obstacles),
        *script.notes,
    ]


def _text(heading: Iterable[str], path: str, statements: Iterable[str]) -> str:
    # a name with a line break must not end the comment
    lines = [f"-- {' '.join(line.split())}" for line in heading]
    prologue = _PROLOGUE.format(path=path)
    return "\n".join([*lines, prologue]) + "".join(statements) + "\nCOMMIT;\n"


def _plain(sql: str) -> str:
    return sql.replace("%%", "%")
