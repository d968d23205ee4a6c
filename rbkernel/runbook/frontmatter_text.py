"""The text of the front matter: parse it with line numbers, explain errors, edit it in place.

PyYAML's C parser reads the text, because it is fast and every run and every lint reads front
matter. ruamel.yaml edits the text, because it keeps comments, order and quotes. Lines count within
the cell: the opening ``---`` is line 1.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import (
    DoubleQuotedScalarString,
    FoldedScalarString,
    LiteralScalarString,
)

from rbkernel.errors import RunbookError

if TYPE_CHECKING:
    from nbformat import NotebookNode

_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WIDTH = 98
_FENCE = "---"


class _Loader(_Safe):  # type: ignore[misc]  # it is one of two classes
    """A YAML loader that reads an invalid date such as 2025-99-99 as text.

    The field's validator then reports the invalid date with its line.
    """


def _date(loader: Any, node: yaml.ScalarNode) -> Any:
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError:
        return node.value


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _date)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem: the field, its line in the cell, and what to write instead."""

    field: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field + ': ' if self.field else ''}{self.message}"


def of(notebook: NotebookNode) -> str | None:
    """Return the YAML of the first cell, without its fences; None if there is none."""
    if not notebook.cells or notebook.cells[0].cell_type != "raw":
        return None
    lines = notebook.cells[0].source.strip().splitlines()
    if len(lines) < 2 or lines[0].strip() != _FENCE or lines[-1].strip() != _FENCE:
        return None
    return "\n".join(lines[1:-1])


def text_behind(notebook: NotebookNode) -> int | None:
    """Return the line of any text after the closing fence; None if there is no such text."""
    cell = notebook.cells[0] if notebook.cells else None
    lines = cell.source.splitlines() if cell is not None and cell.cell_type == "raw" else []
    fences = [number for number, line in enumerate(lines, 1) if line.strip() == _FENCE]
    rest = range(fences[1], len(lines)) if len(fences) > 1 and fences[0] == 1 else ()
    return next((number + 1 for number in rest if lines[number].strip()), None)


def load(source: str) -> tuple[Any, yaml.Node | None, list[Problem]]:
    """Parse the YAML.

    Returns
    -------
    tuple
        The data; its node tree (None if the text is not YAML); and the problems of the YAML.
    """
    loader = _Loader(source)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, yaml.MappingNode("tag:yaml.org,2002:map", []), []
        problems = list(_twice(node))
        return loader.construct_document(node), node, problems
    except yaml.MarkedYAMLError as error:
        return None, None, [_not_yaml(error)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        message = f"the front matter is not YAML: {' '.join(str(error).split())}"
        return None, None, [Problem(field="", line=1, message=message)]
    finally:
        loader.dispose()


def _not_yaml(error: yaml.MarkedYAMLError) -> Problem:
    said = " ".join(filter(None, [error.context, error.problem]))
    mark = error.problem_mark or error.context_mark
    hint = next((advice for sign, advice in _YAML_ADVICE.items() if sign in said), "")
    message = f"the front matter is not YAML: {said}{'; ' + hint if hint else ''}"
    return Problem(field="", line=mark.line + 2 if mark else 1, message=message)


_YAML_ADVICE = {
    "mapping values are not allowed": "put a text that holds `: ` into quotes",
    "cannot start any token": "indent with spaces, and put a text that begins with @, ` or % into"
    " quotes",
    "could not find expected ':'": "write `name: value`, or indent a continued text",
    "block mapping": "indent all fields of one level by the same number of spaces",
    "flow": "close what `[` or `{` opens",
}


def _twice(node: yaml.Node, path: str = "") -> Iterable[Problem]:
    """Yield a problem for each duplicate field; YAML would silently use the last one."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value, 1):
            yield from _twice(item, f"{path}{number}.")
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = f"{path}{key.value}"
        if key.value in seen:
            message = "appears twice: keep one of them"
            yield Problem(field=name, line=_line(key), message=message)
        if isinstance(key.value, str):
            seen.add(key.value)
        yield from _twice(value, f"{name}.")


def explained(error: ValidationError, model: type[BaseModel], node: yaml.Node) -> list[Problem]:
    """Convert pydantic's errors to problems with field, line and advice.

    Parameters
    ----------
    error
        The error that pydantic raised.
    model
        The model, used to suggest the correct name of a misspelt field.
    node
        The YAML's node tree, for the lines.
    """
    problems: dict[tuple[str, int], Problem] = {}
    for detail in error.errors(include_url=False, include_input=False):
        path = [part for part in detail["loc"] if not _is_union_member(part)]
        line, depth = _line_of(node, path)
        known = path[: max(depth, 1)] if detail["type"] != "missing" else path
        field = ".".join(str(part + 1 if isinstance(part, int) else part) for part in known)
        message = _advice(detail, model, path)
        problems.setdefault((field, line), Problem(field=field, line=line, message=message))
    meant = {one.message.rpartition(_MEANT)[2].rstrip("?") for one in problems.values()}
    return [
        one
        for one in problems.values()
        # the field is present but misspelt: the hint for the misspelt name is enough
        if not (one.message == _MISSING and one.field in meant)
    ]


_MEANT = "unknown field; did you mean "
_MISSING = "is missing"


def _is_union_member(part: str | int) -> bool:
    return part in {"float", "str", "int", "bool", "date"}


def _advice(detail: Any, model: type[BaseModel], path: Sequence[str | int]) -> str:
    kind, said = detail["type"], detail["msg"].removeprefix("Value error, ")
    if kind == "missing":
        return _MISSING
    if kind == "extra_forbidden":
        known = _fields_at(model, path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, 1, 0.6)
        if near:
            return f"{_MEANT}{near[0]}?"
        some = difflib.get_close_matches(str(path[-1]), known, 3, 0.3) or known[:3]
        return f"unknown field; the nearest are {', '.join(some)}; `rbkernel schema` lists all"
    if kind == "string_type":
        return "should be text; put it into quotes"
    if kind == "string_too_short":
        return "is empty"
    if kind in {"model_type", "tuple_type", "dict_type"}:
        return f"should be {'a list' if kind == 'tuple_type' else 'fields, as `name: value`'}"
    if kind.startswith("date"):
        return "should be a date such as 2025-01-15"
    if kind == "string_pattern_mismatch" and path == ["id"]:
        return "should be RUN- and three digits or more, such as RUN-005"
    return f"{said[:1].lower()}{said[1:]}"


def _fields_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Return the names of the fields in the section at a path."""
    for part in path:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = _section(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section, get_args(annotation))), None)


def _line_of(node: yaml.Node, path: Sequence[str | int]) -> tuple[int, int]:
    """Return the line of the node at a path, and how many parts of the path were found."""
    line = _line(node) if node.start_mark else 1
    for depth, part in enumerate(path):
        if isinstance(part, int) and isinstance(node, yaml.SequenceNode) and part < len(node.value):
            node = node.value[part]
            line = _line(node)
        elif isinstance(node, yaml.MappingNode) and (found := _entry(node, part)):
            key, node = found
            line = _line(key)
        elif part != 0:  # a single item instead of a list has no index
            return line, depth
    return line, len(path)


def _entry(node: yaml.MappingNode, name: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    return next((pair for pair in node.value if pair[0].value == str(name)), None)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 2


def dump(fields: Mapping[str, Any]) -> str:
    """Return the text of new front matter: fences, fields in the given order, no empty fields."""
    return _written(_ready(fields), _round_trip())


def edit(cell: str, changes: Mapping[str, Any]) -> str:
    """Change fields of a front matter cell; comments, order and all other text stay unchanged.

    Parameters
    ----------
    cell
        The first cell, with its fences.
    changes
        Field → new value; None removes the field. A dotted name means a field of a section:
        ``escalation.contact``. A new field is added at the end.

    Returns
    -------
    str
        The new cell. Without changes it equals the old cell, byte for byte.

    Raises
    ------
    RunbookError
        The cell is not YAML.

    >>> print(edit("---\\nid: RUN-001 # ours\\ntitle: x\\n---", {"id": "RUN-002", "drill": "on"}))
    ---
    id: RUN-002 # ours
    title: x
    drill: "on"
    ---
    """
    if not changes:
        return cell
    body = "\n".join(cell.strip().splitlines()[1:-1]) + "\n"
    style = _round_trip(body)
    try:
        data = style.load(body)
    except YAMLError as error:
        raise RunbookError(
            f"the front matter cannot be edited: {' '.join(str(error).split())}",
            where="first cell",
            next_step="correct the front matter by hand first; `rbkernel lint` names the line",
        ) from error
    data = CommentedMap() if data is None else data
    for name, value in changes.items():
        _put(data, name.split("."), value)
    return _written(data, style)


def _put(data: Any, path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        if not isinstance(data.get(part), Mapping):
            data[part] = CommentedMap()
        data = data[part]
    if value is None:
        data.pop(path[-1], None)
    else:
        data[path[-1]] = _ready(value)


def _said(value: Any) -> bool:
    return value is not None and value != "" and value != () and value != [] and value != {}


def _ready(value: Any) -> Any:
    """Quote a text that YAML would read as another type: YAML 1.1 reads `on` as true."""
    if isinstance(value, Mapping):
        inner = CommentedMap()
        inner.update({key: _ready(one) for key, one in value.items() if _said(one)})
        return inner
    if isinstance(value, list | tuple):
        return [_ready(one) for one in value]
    if not isinstance(value, str):
        return value
    if len(value) > _WIDTH - 20 and value == " ".join(value.split()):
        return _folded(value)
    if "\n" in value and value == "\n".join(line.rstrip() for line in value.splitlines()):
        return LiteralScalarString(value)
    try:
        plain = yaml.load(value, _Loader)  # noqa: S506  # the safe one
    except (yaml.YAMLError, ValueError):
        plain = None
    return value if plain == value else DoubleQuotedScalarString(value)


def _folded(text: str) -> FoldedScalarString:
    """Break a long text into lines; YAML reads each line break as a space."""
    folded: FoldedScalarString = FoldedScalarString(text)
    breaks, begin = [], 0
    for space in (found.start() for found in re.finditer(" ", text)):
        end = text.find(" ", space + 1)
        if (end if end > 0 else len(text)) - begin > _WIDTH - 6:
            breaks.append(space)
            begin = space + 1
    folded.fold_pos = breaks  # type: ignore[attr-defined]  # a slot that ruamel does not declare
    return folded


def _written(data: Any, style: YAML) -> str:
    stream = io.StringIO()
    style.dump(data, stream)
    return f"{_FENCE}\n{stream.getvalue().rstrip()}\n{_FENCE}"


def _round_trip(like: str = "") -> YAML:
    """Return a YAML editor (ruamel.yaml) that indents lists as the given text does."""
    writer = YAML()
    writer.preserve_quotes = True
    writer.width = 4096
    writer.allow_unicode = True
    if re.search(r"^\w+:[^\n]*\n- ", like, re.MULTILINE):
        writer.indent(mapping=2, sequence=2, offset=0)
    else:
        writer.indent(mapping=2, sequence=4, offset=2)
    return writer
