"""Declared parameters: annotated names in the cell that is tagged `parameters`.

papermill ignores the types and does not escape names. Values from outside are therefore checked
here against the declaration: names must be known, types must be exact, and no value may be a
secret. A list is given as a list, or as text: ``a,b``.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter

from rbkernel import redact
from rbkernel.errors import ParameterError, RunbookError, SecretParameter
from rbkernel.redact.names import is_secret
from rbkernel.spelling import nearest

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from rbkernel.redact import Redactor

Scalar = str | int | float | bool | None
Value = Scalar | list[str] | list[int] | list[float]

_TYPES: Mapping[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "str | None": str | None,
    "int | None": int | None,
    "float | None": float | None,
    "bool | None": bool | None,
    "list[str]": list[str],
    "list[int]": list[int],
    "list[float]": list[float],
}
_CHOICE = 'Literal["a", "b"]'
# the only statement allowed beside the declarations: the import of `Literal`
_IMPORT = "from typing import Literal"
_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    type(None): "None",
    list: "a list",
}
_PLURALS = {"str": "texts", "int": "whole numbers", "float": "numbers"}
_EXAMPLES: Mapping[str, Value] = {
    "list[str]": ["a", "b"],
    "list[int]": [1, 2],
    "list[float]": [0.5, 2.0],
}
# floats from this size on cannot represent every integer
_EXACT = 2.0**53
# whole words of the name: `max_tokens` and `passes` do not match
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:password|passwd|pwd|secret|token|api_?key|credentials?|private_?key|dsn)(?:$|_)",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"""postgres(?:ql)?(?:\+\w+)?://        # a PostgreSQL DSN, password or not
      | ://[^/\s:@]*:[^/\s@]+@              # any URL with a password
      | ^[^/\s:@]+:[^/\s@]+@[\w.-]+          # user:password@host
      | \b(?:password|passwd|pwd)\s*=       # libpq's key = value form
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A declared parameter of a runbook: ``name: annotation = default  # help``."""

    name: str
    annotation: str
    default: Value
    help: str = ""

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values of a `Literal`; empty for other types."""
        return _choices(ast.parse(self.annotation, mode="eval").body)


def declared(notebook: NotebookNode, where: str) -> dict[str, Parameter]:
    """Read the declared parameters, by name.

    Raises
    ------
    RunbookError
        More than one cell has the tag, or a line is not an annotated name with a literal default.
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    if not cells:
        return {}
    if len(cells) > 1:
        raise RunbookError(
            f"{len(cells)} cells are tagged `parameters`",
            where=where,
            next_step="keep the tag on one of these cells",
        )
    source = cells[0].source
    place = f"{where}, parameters cell"
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise RunbookError(
            f"line {error.lineno} is not Python", where=place, next_step="correct it"
        ) from error
    imported = [ast.unparse(node) for node in statements].count(_IMPORT)
    statements = [node for node in statements if ast.unparse(node) != _IMPORT]
    found = [_parameter(node, source.splitlines(), place) for node in statements]
    if not imported and any(parameter.choices for parameter in found):
        raise RunbookError(
            "`Literal` is not imported", where=place, next_step=f"begin the cell with `{_IMPORT}`"
        )
    return {parameter.name: parameter for parameter in found}


def validate(
    given: Mapping[str, Any],
    declaration: Mapping[str, Parameter],
    where: str,
    *,
    written: Collection[str] = (),
) -> dict[str, Value]:
    """Check values from outside against the declaration, and convert text to the declared type.

    Parameters
    ----------
    given
        The values by name.
    declaration
        The declared parameters by name.
    where
        The runbook, for messages.
    written
        The names whose values a cell passes literally. Only the advice in an error depends on it:
        papermill can have converted other values, such as ``1.10`` to a number.

    Returns
    -------
    dict
        The given names with values of exactly the declared types.

    Raises
    ------
    ParameterError
        A name is unknown, a value has the wrong type, or a value looks like a secret. The message
        never contains the value.
    """
    accepted: dict[str, Value] = {}
    for name, value in given.items():
        if name not in declaration:
            known = ", ".join(declaration) or "none"
            meant = nearest(name, [*declaration, "incident"])
            raise ParameterError(
                f"the runbook declares no parameter {name!r}; it declares {known}",
                where=where,
                next_step=f"write {meant}" if meant else "use one of these names",
            )
        refuse_secret(name, value, where)
        accepted[name] = _convert(declaration[name], value, where, written=name in written)
    return accepted


def refuse_secret(name: str, value: object, where: str, redactor: Redactor | None = None) -> None:
    """Refuse a parameter that looks like a secret, because parameters are stored as plain text.

    Parameters
    ----------
    name, value
        The parameter.
    where
        The runbook, or another receiver of the parameter.
    redactor
        A redactor that knows secrets by their value; by default, only patterns are used.

    Raises
    ------
    SecretParameter
        The name or the value looks like a password, a token or a DSN.

    >>> refuse_secret("db", "orders-primary", "RUN-005")
    >>> refuse_secret("db", "postgresql://x@y/z", "RUN-005")
    Traceback (most recent call last):
    ...
    rbkernel.errors.SecretParameter: the parameter db looks like a secret or a DSN...
    """
    texts = value if isinstance(value, list | tuple) else [value]
    secret = any(isinstance(text, str) and _is_secret(text, redactor) for text in texts)
    if _is_secret_name(name) or secret:
        raise SecretParameter(
            f"the parameter {name} looks like a secret or a DSN, and parameters are kept in plain"
            " text in the executed notebook",
            where=where,
            next_step="declare the database under [connections] in rbkernel.toml and pass the"
            " connection's name",
        )


def refuse_secret_incident(incident: str, where: str, redactor: Redactor) -> None:
    """Refuse an incident id that contains a secret: the id names a folder and is on every page.

    Raises
    ------
    SecretParameter
        The id contains a secret; the message does not repeat it.
    """
    if redactor.spans(incident):
        raise SecretParameter(
            "the incident's id is, or looks like, a secret",
            where=where,
            next_step="use another id, such as INC-20261120-7f3a",
        )


def _is_secret_name(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) or is_secret(name)


def _is_secret(value: str, redactor: Redactor | None) -> bool:
    return bool(_SECRET_VALUE.search(value) or (redactor or redact.Redactor()).spans(value))


def _parameter(node: ast.stmt, lines: list[str], where: str) -> Parameter:
    if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
        raise _not_declared(node, where)
    annotation = ast.unparse(node.annotation)
    wanted = _type(annotation)
    if wanted is None or node.value is None:
        raise _not_declared(node, where)
    try:
        default = ast.literal_eval(node.value)
        TypeAdapter(wanted).validate_python(default, strict=True)
    except ValueError:  # pydantic's ValidationError is one
        raise _not_declared(node, where) from None
    # ast counts columns in bytes
    rest = lines[(node.end_lineno or node.lineno) - 1].encode()[node.end_col_offset or 0 :]
    _, _, comment = rest.decode().partition("#")
    return Parameter(
        name=node.target.id, annotation=annotation, default=default, help=comment.strip()
    )


def _type(annotation: str) -> Any:
    """Return the type that an annotation names; None if parameters cannot have this type.

    >>> _type("list[str]"), _type("Literal['a', 'b']"), _type("dict")
    (list[str], typing.Literal['a', 'b'], None)
    """
    if annotation in _TYPES:
        return _TYPES[annotation]
    choices = _choices(ast.parse(annotation, mode="eval").body)
    return Literal[choices] if choices else None


def _choices(node: ast.expr) -> tuple[str, ...]:
    """Return the texts of a `Literal`; empty for any other expression."""
    match node:
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=elements)):
            pass
        case ast.Subscript(value=ast.Name(id="Literal"), slice=element):
            elements = [element]
        case _:
            return ()
    texts = [one.value for one in elements if isinstance(one, ast.Constant)]
    all_texts = len(texts) == len(elements) and all(isinstance(text, str) for text in texts)
    return tuple(map(str, texts)) if all_texts else ()


def _not_declared(node: ast.stmt, where: str) -> RunbookError:
    return RunbookError(
        f"`{ast.unparse(node).splitlines()[0]}` declares no parameter",
        where=where,
        next_step="write `name: str = 'default'  # what it means`, with one of the types "
        + ", ".join([*_TYPES, _CHOICE]),
    )


def _convert(parameter: Parameter, value: Any, where: str, *, written: bool) -> Value:
    annotation, given = parameter.annotation, value
    try:
        if annotation.startswith("list["):
            value = _items(value, annotation)
        items = value if isinstance(value, list) else [value]
        if not all(_keeps_all(item, annotation.removeprefix("list[")) for item in items):
            raise ValueError("another type, and converting it would lose information")
        converted: Value = TypeAdapter(_type(annotation)).validate_python(value)
        if any(isinstance(one, float) and not math.isfinite(one) for one in _each(converted)):
            raise ValueError(
                "a threshold must be a number, because every comparison with NaN is false"
            )
    except ValueError:  # pydantic's ValidationError is one
        if parameter.choices:
            raise _no_choice(parameter, value, where) from None
        raise ParameterError(
            f"the parameter {parameter.name} must be {_wanted(parameter)}, but"
            f" {_wrong_item(value, annotation) or f'was given {_name_of(given)}'}",
            where=where,
            next_step=_as_text(parameter.name, written=written)
            if annotation.startswith(("str", "list[str")) and not isinstance(given, str)
            else f"pass {_example(parameter)}",
        ) from None
    return converted


def _name_of(value: object) -> str:
    return _NAMES.get(type(value), f"a value of the type {type(value).__name__}")


def _wanted(parameter: Parameter) -> str:
    """Return the declared type in words: ``list[int] (whole numbers)``."""
    _, of_list, kind = parameter.annotation.rpartition("list[")
    if of_list:
        return f"{parameter.annotation} ({_PLURALS[kind.rstrip(']')]})"
    return f"{parameter.annotation}, such as {parameter.default!r}"


def _example(parameter: Parameter) -> str:
    """Return an example of a value, as on a command line and as in a cell."""
    if not parameter.annotation.startswith("list["):
        return "a value of that type"
    items = parameter.default or _EXAMPLES[parameter.annotation]
    assert isinstance(items, list)
    return f"items separated by commas, such as {','.join(map(str, items))}; in a cell, {items!r}"


def _wrong_item(value: object, annotation: str) -> str:
    """Return a text that names the first item of a list with the wrong type, and the right type.

    Empty if the value is not a list, or a list is not expected.

    >>> _wrong_item(["1", "x"], "list[int]")
    'item 2 is not a whole number'
    """
    if not isinstance(value, list) or not annotation.startswith("list["):
        return ""
    kind = annotation.removeprefix("list[").rstrip("]")
    one = TypeAdapter(_TYPES[kind])
    for number, item in enumerate(value, 1):
        try:
            fits = _keeps_all(item, kind)
            converted = one.validate_python(item)
        except ValueError:
            fits = False
        if not fits or (isinstance(converted, float) and not math.isfinite(converted)):
            return f"item {number} is not {_NAMES[_TYPES[kind]]}"
    return ""


def _no_choice(parameter: Parameter, value: object, where: str) -> ParameterError:
    meant = nearest(value, parameter.choices) if isinstance(value, str) else ""
    return ParameterError(
        f"the parameter {parameter.name} is one of {', '.join(parameter.choices)}, and was given"
        " something else",
        where=where,
        next_step=f"write {meant}" if meant else "use one of these values",
    )


def _each(value: Value) -> Iterable[Scalar]:
    return value if isinstance(value, list) else [value]


def _items(value: Any, annotation: str) -> Any:
    """Convert text with commas, JSON text or a single number to a list.

    >>> _items("a, b,", "list[str]"), _items('["a,b"]', "list[str]"), _items(5, "list[int]")
    (['a', 'b'], ['a,b'], [5])
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        return json.loads(value)
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if isinstance(value, int | float) and annotation != "list[str]":
        return [value]  # papermill converts `-p name 5` to a number
    return list(value) if isinstance(value, tuple) else value


def _keeps_all(value: object, annotation: str) -> bool:
    """Tell whether a conversion to the type keeps all information.

    `True` is not converted to a number, nor a large float, which is inexact, to a whole number.

    >>> _keeps_all(True, "int"), _keeps_all(True, "bool"), _keeps_all(1e300, "int")
    (False, True, False)
    """
    kind = annotation.partition(" ")[0].rstrip("]")
    if isinstance(value, bool):
        return kind == "bool"
    return not (kind == "int" and isinstance(value, float) and abs(value) >= _EXACT)


def _as_text(name: str, *, written: bool) -> str:
    """Return advice on how to pass a text that looks like a number.

    papermill converts the text `1.10` to the number 1.1.
    """
    if written:
        return f"write the value in quotes: {name}='…'"
    return (
        "write the value in quotes; with papermill, use"
        f" -r {name} VALUE, because -p converts text that looks like a number, None, True or False"
    )
