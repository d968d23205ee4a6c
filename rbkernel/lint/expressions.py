"""Find the values of expressions without running the cell. Pure."""

from __future__ import annotations

import ast
from typing import Any


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` for attribute access on a name; empty for anything else.

    >>> dotted(ast.parse("rb.figure.of", mode="eval").body)
    'rb.figure.of'
    """
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def literal(node: ast.expr) -> str | None:
    """Return the text of a literal; None for any other expression."""
    try:
        value: Any = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return _joined(node)
    return value if isinstance(value, str) else None


def _joined(node: ast.expr) -> str | None:
    """Return the joined text of literal parts: ``"a" + "b"``, or an f-string without values."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = literal(node.left), literal(node.right)
        return left + right if left is not None and right is not None else None
    if isinstance(node, ast.JoinedStr):
        parts = [literal(part) for part in node.values]
        return None if None in parts else "".join(part or "" for part in parts)
    return None


def is_built(node: ast.expr) -> bool:
    """Tell whether an expression builds a text from values at run time.

    >>> [is_built(ast.parse(text, mode="eval").body) for text in
    ...  ("f'a {b}'", "'a %s' % b", "'a' + b", "'a {}'.format(b)", "' '.join(b)", "b", "'a'")]
    [True, True, True, True, True, False, False]
    """
    if literal(node) is not None:
        return False
    if isinstance(node, ast.JoinedStr):
        return True
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Mod)
    methods = {"format", "join", "replace", "format_map", "substitute", "safe_substitute"}
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in methods
    )
