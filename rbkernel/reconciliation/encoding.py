"""Encode values in SQL so that two servers get equal bytes exactly if the values are equal.

Pure. Each type has a `Rule` of three expressions:

*pieces*
    what is hashed. PostgreSQL's own hash of a value is fast, but different values may share a hash:
    ``hashint8`` folds the two halves of the value, so that 1 and 2³² collide, and timestamps
    collide in the same way; ``hash_numeric`` ignores the sign; enums are hashed by OID. So each
    value is split into pieces, and each piece goes to a hash function that has a different result
    for each value of the piece.
*text*
    the value as text, under fixed settings (module snapshot). Suspects are compared by this text.
    If the two servers have different hash functions, the MD5 hash of this text is used.
*typed*
    whether values with different texts can be equal by PostgreSQL's ``=`` (``1.0`` and ``1.00``
    inside jsonb, ``1 mon`` and ``30 days``); a server then compares the suspects.

Two different values never have the same pieces, nor the same text:

- an int8 has two pieces, the value and its upper half: the folded hash and the upper half determine
  the lower half;
- a numeric has two pieces: its digits with their weight, which PostgreSQL hashes without zeros at
  either end, since 1.0 equals 1.00; and a mark for negative, not negative, infinite or NaN;
- timestamps, times, intervals and floats are hashed in their wire format, from which their input
  function restores the value; all zeros of a float have the same format, and so have all NaNs;
- text is hashed as bytes: under the collation "C" different texts are never equal;
- an enum is hashed by its label; every other value by the output of its type, from which the type's
  input function restores the value.

The hash of a row is a chain (`hashed`): the hash of each piece is the seed for the next piece. The
first seed is the hash of the row's key, combined with a mark of the columns that are NULL. So the
position of a value matters, and an exchange of values between two rows changes the sum of the
bucket. The last function for each value mixes its seed well; ``hash_numeric`` is never the last,
because it returns its seed for zero. The remaining probability of a collision is 2⁻⁶⁴ for each link
of the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# replaces NULL in a piece, because a piece must not be NULL
_EMPTY = {
    "hashint4extended": "0",
    "hashint8extended": "0",
    "hash_numeric_extended": "0",
    "hashtextextended": "''",
    "hashbpcharextended": "''",
    "hashbyteaextended": "''",
    "uuid_hash_extended": "'00000000-0000-0000-0000-000000000000'",
}
# the number of bits of an int4 besides its sign: one for each column that may be NULL
_MARKS = 31


@dataclass(frozen=True)
class Piece:
    """A function of PostgreSQL that hashes a part of a value with a seed, and the SQL of
    its input.
    """

    function: str
    value: str

    def hashed(self, column: str, seed: str, *, bytea: bool, filled: bool) -> str:
        """Return SQL for the hash of this piece of a column's value.

        Parameters
        ----------
        column
            The column, in SQL.
        seed
            SQL of an int8.
        bytea
            Whether the server has the hash function for bytea.
        filled
            Whether NULL is hashed as another value; if not, the hash of NULL is NULL.
        """
        value = fill(self.value, column)
        if filled:
            value = f"coalesce({value}, {_EMPTY[self.function]})"
        if self.function != "hashbyteaextended" or bytea:
            return f"{self.function}({value}, {seed})"
        # the hash of a record with one field equals the hash of this field
        found = f"hash_record_extended(ROW({value}), {seed})"
        return found if filled else f"CASE WHEN {column} IS NOT NULL THEN {found} END"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How values of a type are hashed and compared: SQL expressions with ``{}`` for the column."""

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
    # hashed without padding blanks, because the type's = ignores them
    "bpchar": Rule(
        pieces=(Piece("hashbpcharextended", '{} COLLATE "C"'),),
        text=_TEXT,
        compared='{} COLLATE "C"',
    ),
}
# types that are compared like one type
_FAMILY = {"varchar": "text", "name": "text", "bpchar": "bpchar", "int2": "int8", "int4": "int8"}


@dataclass(frozen=True, kw_only=True)
class Type:
    """A column's type as the catalogue has it; for a domain, its base type.

    Parameters
    ----------
    name
        The name in pg_type, such as ``int4``.
    shown
        The name for people, such as ``numeric(12,2)``; with the schema if PostgreSQL needs it.
    kind
        ``b`` base, ``e`` enum, ``c`` composite, ``r`` range, ``m`` multirange.
    element
        Whether the type is an array.
    comparable
        Whether the ``=`` of the type, or of its elements, is true only for equal values. Text is
        not comparable, because with some collations, or with an extension such as citext, ``=`` is
        true for different texts.
    """

    name: str
    shown: str
    kind: str = "b"
    element: bool = False
    comparable: bool = True

    @property
    def family(self) -> str:
        """The family of the type; two columns of one family are compared without a declared
        mapping.
        """
        return "enum" if self.kind == "e" else _FAMILY.get(self.name, self.name)


def rule(source: Type, target: Type, *, declared: bool = False, zoned: bool = False) -> Rule | None:
    """Return the rule by which two columns are compared, or None if their types differ.

    Parameters
    ----------
    source, target
        The types of the two columns.
    declared
        Whether the user declared that the two columns correspond.
    zoned
        Whether timestamps without time zone are read in a given time zone.

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
    """Return the rule by which two columns of the same type are compared."""
    return _RULES[name]


def as_key(given: Rule) -> bool:
    """Whether equal keys have equal texts, so that a row can be found by the text of its key."""
    return not given.typed


def hashed(values: Sequence[tuple[str, Rule]], seed: str, *, bytea: bool) -> str:
    """Return SQL for a 64-bit hash of values in their order, starting with a seed.

    Parameters
    ----------
    values
        Columns, in SQL, with their rules.
    seed
        SQL of an int8 that is not NULL.
    bytea
        Whether the server has a hash function for bytea.

    >>> hashed([("v", of_type("int4"))], "7", bytea=True)  # doctest: +ELLIPSIS
    'coalesce(hashint4extended(v::int4, 7), hashint4extended(coalesce(v::int4, 0), ...))'
    """
    without_null, found = seed, _marked([column for column, _ in values], seed)
    for column, of in values:
        for piece in of.pieces:
            without_null = piece.hashed(column, without_null, bytea=bytea, filled=False)
            found = piece.hashed(column, found, bytea=bytea, filled=True)
    # a hash function returns NULL for NULL: only rows with a NULL need the longer expression
    return f"coalesce({without_null}, {found})" if values else found


def _marked(columns: Sequence[str], seed: str) -> str:
    """Return SQL for the seed, changed by a mark of which values are NULL."""
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
    """Return a SQL expression with a column in place of ``{}``.

    >>> fill("{}::text", 'l."a"')
    'l."a"::text'
    """
    return template.replace("{}", column)
