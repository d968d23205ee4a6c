"""Encode values so that their bytes are equal on both servers exactly if the values are equal.

Pure. Each type has a `Rule` of three expressions:

*pieces*
    what is hashed. PostgreSQL's own hash of a value would be quick and wrong: ``hashint8`` folds
    its two halves (1 and 2³² collide, timestamps, too), ``hash_numeric`` ignores the sign, enums
    hash by OID. So each value is taken apart into pieces, and each piece into the hash function
    that tells all of its values apart.
*text*
    the value as text, under pinned settings (module snapshot): what suspects are compared by, and
    what is hashed by MD5 where the two servers do not hash alike.
*typed*
    whether PostgreSQL's ``=`` calls values equal whose texts differ (``1.0`` and ``1.00`` inside
    jsonb, ``1 mon`` and ``30 days``); such suspects are settled by a server.

Two different values never have the same pieces, nor the same text:

- an int8 is given by itself and its upper half: the fold of both, with the upper half known, gives
  the lower one;
- a numeric is given by its digits and their weight, which its hash takes without zeros at either
  end, since 1.0 equals 1.00, and by a mark: negative, not, infinite, NaN;
- timestamps, times, intervals and floats are given by their wire format, which their input
  function restores, a float with one zero and one NaN;
- text is bytes: under the collation "C" no two texts are equal;
- an enum is its label, and everything else the output of its type, which its input restores.

A row is a chain (`hashed`): the hash of a piece is the seed of the next one's, and the first seed
is the row's key with a mark of the columns that are NULL. So the place of a value counts, and two
rows cannot exchange their values unseen, although a bucket only adds its rows up. The last link of
each value is a function that mixes its seed well; ``hash_numeric`` alone, which hands its seed on
for zero, would not be. What remains is chance: 2⁻⁶⁴ for each link of the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# represents NULL in a piece, which must not be NULL itself
_EMPTY = {
    "hashint4extended": "0",
    "hashint8extended": "0",
    "hash_numeric_extended": "0",
    "hashtextextended": "''",
    "hashbpcharextended": "''",
    "hashbyteaextended": "''",
    "uuid_hash_extended": "'00000000-0000-0000-0000-000000000000'",
}
# an int4 has 31 bits that are not its sign
_MARKS = 31


@dataclass(frozen=True)
class Piece:
    """A PostgreSQL function that hashes with a seed, and its input expression."""

    function: str
    value: str

    def hashed(self, column: str, seed: str, *, bytea: bool, filled: bool) -> str:
        """Return its hash in SQL.

        Parameters
        ----------
        column
            The column, in SQL.
        seed
            SQL of an int8.
        bytea
            Whether the server has the function for bytes.
        filled
            Whether NULL counts as something else; if not, its hash is NULL.
        """
        value = fill(self.value, column)
        if filled:
            value = f"coalesce({value}, {_EMPTY[self.function]})"
        if self.function != "hashbyteaextended" or bytea:
            return f"{self.function}({value}, {seed})"
        # the hash of a record of one field is that field's
        found = f"hash_record_extended(ROW({value}), {seed})"
        return found if filled else f"CASE WHEN {column} IS NOT NULL THEN {found} END"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Expressions with ``{}`` in place of the column."""

    pieces: tuple[Piece, ...]
    text: str
    typed: bool = False
    compared: str = "{}"
    number: bool = False


_TEXT = '{}::text COLLATE "C"'
_NUMERIC = "trim_scale({})"
_FLOAT = "CASE WHEN {} = 0 THEN 0 WHEN {} = 'NaN' THEN 'NaN' ELSE {} END"
_KIND = "CASE WHEN {} < 0 THEN 1 WHEN {} < 'Infinity' THEN 2 WHEN {} = 'Infinity' THEN 3 ELSE 4 END"


def _sent(function: str, value: str = "{}", *, text: str = "{}::text", typed: bool = False,
          number: bool = False) -> Rule:  # fmt: skip
    piece = Piece("hashbyteaextended", f"{function}({value})")
    return Rule(pieces=(piece,), text=text, typed=typed, number=number)


def _as_text(*, typed: bool = False, compared: str = "{}") -> Rule:
    piece = Piece("hashtextextended", _TEXT)
    return Rule(pieces=(piece,), text=_TEXT, typed=typed, compared=compared)


AS_TEXT = _as_text(compared=_TEXT)
AS_NUMBER = Rule(
    pieces=(Piece("hash_numeric_extended", "{}"), Piece("hashint4extended", _KIND)),
    text=f"{_NUMERIC}::text",
    number=True,
)
_INT4 = Rule(pieces=(Piece("hashint4extended", "{}::int4"),), text="{}::text", number=True)
_BY_TEXT_THEN_TYPED = _as_text(typed=True)
_RULES = {
    "int2": _INT4,
    "int4": _INT4,
    "int8": Rule(
        pieces=(
            Piece("hashint8extended", "{}::int8"),
            Piece("hashint4extended", "({}::int8 >> 32)::int4"),
        ),
        text="{}::text",
        number=True,
    ),
    "bool": Rule(pieces=(Piece("hashint4extended", "{}::int4"),), text="{}::text"),
    "date": _sent("date_send"),
    "uuid": Rule(pieces=(Piece("uuid_hash_extended", "{}"),), text="{}::text"),
    "bytea": Rule(pieces=(Piece("hashbyteaextended", "{}"),), text="{}::text"),
    "numeric": AS_NUMBER,
    "float4": _sent("float4send", _FLOAT, text=f"({_FLOAT})::text", number=True),
    "float8": _sent("float8send", _FLOAT, text=f"({_FLOAT})::text", number=True),
    "timestamp": _sent("timestamp_send"),
    "timestamptz": _sent("timestamptz_send"),
    "time": _sent("time_send"),
    "timetz": _sent("timetz_send"),
    "interval": _sent("interval_send", typed=True),
    "jsonb": _BY_TEXT_THEN_TYPED,
    "text": AS_TEXT,
    # hashed without the blanks that pad it, as its = compares
    "bpchar": Rule(
        pieces=(Piece("hashbpcharextended", '{} COLLATE "C"'),),
        text=_TEXT,
        compared='{} COLLATE "C"',
    ),
}
# what is one type for a comparison
_FAMILY = {"varchar": "text", "name": "text", "bpchar": "bpchar", "int2": "int8", "int4": "int8"}


@dataclass(frozen=True, kw_only=True)
class Type:
    """A column's type from the catalogue; for a domain, its base type.

    Parameters
    ----------
    name
        As in pg_type, such as ``int4``.
    shown
        As people write it, with schema where PostgreSQL needs one, such as ``numeric(12,2)``.
    kind
        ``b`` base, ``e`` enum, ``c`` composite, ``r`` range, ``m`` multirange.
    element
        Whether it is an array.
    comparable
        Whether it, or its elements, have an ``=`` that can be relied on: text has none, since its
        collation, or an extension such as citext, may call texts equal that are not.
    """

    name: str
    shown: str
    kind: str = "b"
    element: bool = False
    comparable: bool = True

    @property
    def family(self) -> str:
        """What must be equal on both sides for a comparison without a declared mapping."""
        return "enum" if self.kind == "e" else _FAMILY.get(self.name, self.name)


def rule(source: Type, target: Type, *, declared: bool = False, zoned: bool = False) -> Rule | None:
    """Return how two columns are compared, or None if their types differ.

    Parameters
    ----------
    source, target
        The types of the two columns.
    declared
        Whether the user declared that these two belong together.
    zoned
        Whether a timestamp without time zone is given one.

    >>> int4, text = Type(name="int4", shown="integer"), Type(name="text", shown="text")
    >>> rule(int4, text) is None, rule(int4, text, declared=True) is AS_TEXT
    (True, True)
    """
    if source.name == target.name or source.family == target.family:
        return _same_family(source, target)
    if zoned and {source.name, target.name} == {"timestamp", "timestamptz"}:
        return _RULES["timestamptz"]
    if not declared:
        return None
    both = (_RULES.get(source.name), _RULES.get(target.name))
    if all(one is not None and one.number for one in both):
        return _numbers()
    return AS_TEXT


def _numbers() -> Rule:
    # through text: a float cast to numeric keeps only 15 digits
    cast = "{}::text::numeric"
    return Rule(
        pieces=tuple(Piece(one.function, fill(one.value, cast)) for one in AS_NUMBER.pieces),
        text=fill(AS_NUMBER.text, cast),
        compared=cast,
        number=True,
    )


def _same_family(source: Type, target: Type) -> Rule:
    if source.family == "int8" and "int8" not in {source.name, target.name}:
        # both fit into 4 bytes
        return _INT4
    if source.family in _RULES:
        return _RULES[source.family]
    if (source.element or source.kind in {"r", "m"}) and source.comparable:
        return _BY_TEXT_THEN_TYPED
    return AS_TEXT


def of_type(name: str) -> Rule:
    """Return how a type is compared with itself."""
    return _RULES[name]


def as_key(given: Rule) -> bool:
    """Whether equal keys have equal texts, so that a key can be found by its text."""
    return not given.typed


def hashed(values: Sequence[tuple[str, Rule]], seed: str, *, bytea: bool) -> str:
    """Return SQL of a 64-bit hash of values, in their order, and a seed.

    Parameters
    ----------
    values
        Columns, in SQL, with their rules.
    seed
        SQL of an int8 that is not NULL.
    bytea
        Whether the server has a hash function for bytes.

    >>> hashed([("v", of_type("int4"))], "7", bytea=True)  # doctest: +ELLIPSIS
    'coalesce(hashint4extended(v::int4, 7), hashint4extended(coalesce(v::int4, 0), ...))'
    """
    without_null, found = seed, _marked([column for column, _ in values], seed)
    for column, of in values:
        for piece in of.pieces:
            without_null = piece.hashed(column, without_null, bytea=bytea, filled=False)
            found = piece.hashed(column, found, bytea=bytea, filled=True)
    # most rows have no NULL, and the functions return NULL for one: so only such rows are checked
    return f"coalesce({without_null}, {found})" if values else found


def _marked(columns: Sequence[str], seed: str) -> str:
    """Return the seed, changed by the positions of NULLs."""
    if not columns:
        return f"hashint4extended(0, {seed})"
    for start in range(0, len(columns), _MARKS):
        bits = (
            f"CASE WHEN {column} IS NULL THEN {1 << place} ELSE 0 END"
            for place, column in enumerate(columns[start : start + _MARKS])
        )
        seed = f"hashint4extended({' | '.join(bits)}, {seed})"
    return seed


def fill(template: str, column: str) -> str:
    """Put a column into an expression.

    >>> fill("{}::text", 'l."a"')
    'l."a"::text'
    """
    return template.replace("{}", column)
