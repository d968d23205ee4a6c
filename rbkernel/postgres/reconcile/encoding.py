"""How the values of a type become equal bytes on both servers exactly when they are equal.

Pure. Each type has a `Rule` of three expressions:

*pieces*
    what is hashed. ``hash_record_extended`` over the plain columns would be quick and wrong:
    ``hashint8`` folds its two halves (1 and 2³² collide, timestamps, too), ``hash_numeric``
    ignores the sign, enums hash by OID. So each value is taken apart into pieces that PostgreSQL
    hashes as they are: integers of 4 bytes, booleans, dates, uuids, and bytes.
*text*
    the value as text, under pinned settings (module snapshot): what suspects are compared by, and
    what is hashed by MD5 where the two servers do not hash alike.
*typed*
    whether PostgreSQL's ``=`` calls values equal whose texts differ (``1.0`` and ``1.00`` inside
    jsonb, ``1 mon`` and ``30 days``); such suspects are settled by a server.

Two different values never have the same pieces, nor the same text:

- an int8 is given by itself and its upper half: the fold of both, with the upper half known, gives
  the lower one;
- timestamps, times, intervals and numerics are given by their wire format, which their input
  function restores; a numeric without its trailing zeros, since 1.0 equals 1.00, a float with one
  zero and one NaN;
- text is bytes: under the collation "C" no two texts are equal;
- an enum is its label, and everything else the output of its type, which its input restores.

NULL is told apart: the record hash counts it as 0, and every piece by a 64-bit hash of its bytes
that is mixed with the row's key as the seed. Because of that seed two rows cannot exchange their
values unseen, although a bucket only adds its rows up. What remains is chance: 2⁻⁶⁴ a bucket.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Expressions with ``{}`` in place of the column."""

    pieces: tuple[str, ...]
    text: str
    typed: bool = False
    compared: str = "{}"
    number: bool = False


_TEXT = '{}::text COLLATE "C"'
_NUMERIC = "trim_scale({})"
_FLOAT = "CASE WHEN {} = 0 THEN 0 WHEN {} = 'NaN' THEN 'NaN' ELSE {} END"


def _sent(function: str, *, typed: bool = False) -> Rule:
    return Rule(pieces=(f"{function}({{}})",), text="{}::text", typed=typed)


def _plain(*, number: bool = False) -> Rule:
    return Rule(pieces=("{}",), text="{}::text", number=number)


AS_TEXT = Rule(pieces=(_TEXT,), text=_TEXT, compared=_TEXT)
AS_NUMBER = Rule(
    pieces=(f"numeric_send({_NUMERIC})",), text=f"{_NUMERIC}::text", compared="{}", number=True
)
_BY_TEXT_THEN_TYPED = Rule(pieces=(_TEXT,), text=_TEXT, typed=True)
_RULES = {
    "int2": _plain(number=True),
    "int4": _plain(number=True),
    "int8": Rule(pieces=("{}::int8", "({}::int8 >> 32)::int4"), text="{}::text", number=True),
    "bool": _plain(),
    "date": _plain(),
    "uuid": _plain(),
    "bytea": _plain(),
    "numeric": AS_NUMBER,
    "float4": Rule(pieces=(f"float4send({_FLOAT})",), text=f"({_FLOAT})::text", number=True),
    "float8": Rule(pieces=(f"float8send({_FLOAT})",), text=f"({_FLOAT})::text", number=True),
    "timestamp": _sent("timestamp_send"),
    "timestamptz": _sent("timestamptz_send"),
    "time": _sent("time_send"),
    "timetz": _sent("timetz_send"),
    "interval": _sent("interval_send", typed=True),
    "jsonb": _BY_TEXT_THEN_TYPED,
    "text": AS_TEXT,
    # hashed without the blanks that pad it, as its = compares
    "bpchar": Rule(pieces=('{} COLLATE "C"',), text=_TEXT, compared=_TEXT),
}
# what is one type for a comparison
_FAMILY = {"varchar": "text", "name": "text", "bpchar": "bpchar", "int2": "int8", "int4": "int8"}


@dataclass(frozen=True, kw_only=True)
class Type:
    """A column's type, as the catalogue tells it; of a domain, what lies under it.

    Parameters
    ----------
    name
        As in pg_type, such as ``int4``.
    shown
        As people write it, with schema where PostgreSQL needs one, such as ``numeric(12,2)``.
    kind
        ``b`` base, ``e`` enum, ``c`` composite, ``r`` range, ``m`` multirange.
    modifier
        atttypmod; −1 when there is none, or when a domain stands above.
    element
        Whether it is an array.
    comparable
        Whether it, or its elements, have an ``=`` that can be relied on: text has none, since its
        collation, or an extension such as citext, may call texts equal that are not.
    """

    name: str
    shown: str
    kind: str = "b"
    modifier: int = -1
    element: bool = False
    comparable: bool = True

    @property
    def family(self) -> str:
        """What must be the same on both sides to be compared without being asked to."""
        return "enum" if self.kind == "e" else _FAMILY.get(self.name, self.name)


def rule(source: Type, target: Type, *, declared: bool = False, zoned: bool = False) -> Rule | None:
    """Return how two columns are compared, or None where their types differ.

    Parameters
    ----------
    source, target
        The types of the two columns.
    declared
        Whether somebody said that these two belong together.
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
        return Rule(pieces=_cast(AS_NUMBER.pieces), text=_cast((AS_NUMBER.text,))[0],
                    compared="{}::text::numeric", number=True)  # fmt: skip
    return AS_TEXT


def _cast(templates: tuple[str, ...]) -> tuple[str, ...]:
    # by way of text: a float as numeric keeps only 15 digits
    return tuple(template.replace("{}", "{}::text::numeric") for template in templates)


def _same_family(source: Type, target: Type) -> Rule:
    if source.family == "int8" and "int8" not in {source.name, target.name}:
        # both fit into 4 bytes, but int2 and int4 must be hashed as the same type
        return Rule(pieces=("{}::int4",), text="{}::text", number=True)
    scaled = source.name == "numeric" and source.modifier == target.modifier != -1
    if scaled:
        # each value has exactly the declared scale: nothing to trim
        return Rule(pieces=("numeric_send({})",), text=AS_NUMBER.text, number=True)
    if source.family in _RULES:
        return _RULES[source.family]
    if (source.element or source.kind in {"r", "m"}) and source.comparable:
        return _BY_TEXT_THEN_TYPED
    return AS_TEXT


def as_key(given: Rule) -> bool:
    """Whether equal keys have equal texts, so that a key can be found by its text."""
    return not given.typed


def fill(template: str, column: str) -> str:
    """Put a column into an expression.

    >>> fill("{}::text", 'l."a"')
    'l."a"::text'
    """
    return template.replace("{}", column)
