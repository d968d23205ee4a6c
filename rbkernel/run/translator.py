"""Let papermill find the parameters in a notebook of the kernel `rbkernel` by parsing the cell.

papermill finds parameters with a regular expression, which does not match ``mode: Literal["a"] =
"a"`` or ``standby: str | None = None``: the value is passed, but papermill warns of an unknown
parameter. Here the cell is parsed. The import of this module registers the translator.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from papermill.models import Parameter
from papermill.translators import PythonTranslator, papermill_translators


class Translator(PythonTranslator):  # type: ignore[misc]  # papermill has no types
    """papermill's translator for Python, except that it parses the parameters cell."""

    @classmethod
    def inspect(cls, parameters_cell: Mapping[str, Any]) -> list[Parameter]:
        """Return the parameters that a parameters cell assigns; none if the cell is not Python.

        >>> source = 'from typing import Literal\\nmode: Literal["a", "b"] = "a"  # which'
        >>> [mode] = Translator.inspect({"source": source})
        >>> mode.name, mode.inferred_type_name, mode.default, mode.help
        ('mode', "Literal['a', 'b']", "'a'", 'which')
        """
        source = str(parameters_cell["source"])
        try:
            statements = ast.parse(source).body
        except (SyntaxError, ValueError):
            return []
        return [
            Parameter(
                name=name,
                inferred_type_name=annotation,
                default=ast.unparse(value),
                help=_comment(source, value),
            )
            for name, annotation, value in map(_assigned, statements)
            if value is not None
        ]


def _assigned(node: ast.stmt) -> tuple[str, str, ast.expr | None]:
    """Return the name, annotation and value that a statement assigns; "None" if unannotated."""
    match node:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
            return name, ast.unparse(annotation), value
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, "None", value
    return "", "", None


def _comment(source: str, value: ast.expr) -> str:
    line = source.splitlines()[(value.end_lineno or value.lineno) - 1]
    # ast counts columns in bytes
    rest = line.encode()[value.end_col_offset or 0 :].decode()
    return rest.partition("#")[2].strip()


papermill_translators.register("rbkernel", Translator)
