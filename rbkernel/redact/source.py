"""Find the secrets in a cell's source, to redact them for the rest of the run. Pure."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator

from rbkernel.redact.forms import SHORTEST_ENCODED
from rbkernel.redact.names import is_secret
from rbkernel.redact.rules import pattern_spans

# rules that need a value in quotes; tokens with a recognizable form are found anywhere
_RULES = frozenset({"password", "dsn", "sql password", "sql argument", "user option", "option"})
# not an ordinary word or name: contains a digit, or a sign that words and names do not have
_LOOK = re.compile(r"(?=.*[A-Za-z])(?=.*\d)|[^\w\s.-]|[a-z][A-Z]")


def secrets_in(source: str) -> Iterator[tuple[str, str]]:
    """Yield rule and value of each secret that is long and unusual enough to be searched for.

    >>> list(secrets_in("password = 'Quetzal9silent'; pw = 'postgres'; conn(password='changeme')"))
    [('password', 'Quetzal9silent')]
    >>> list(secrets_in("user, password = 'app', ('in two ' 'parts-9')"))
    [('password', 'in two parts-9')]
    """
    found = dict.fromkeys(
        (rule, source[start:end]) for start, end, rule in pattern_spans(source) if rule in _RULES
    )
    found |= dict.fromkeys(("password", value) for value in _assigned(source))
    for rule, value in found:
        if len(value) >= SHORTEST_ENCODED and _LOOK.search(value):
            yield rule, value


def _assigned(source: str) -> Iterator[str]:
    """Yield the texts that Python code assigns to names of secrets, in any notation."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the author sees the warnings when the cell runs
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # not Python, or a magic: only the patterns search it
    for node in ast.walk(tree):
        for target, value in _pairs(node):
            if is_secret(_name(target)):
                yield from _texts(value)


def _pairs(node: ast.AST) -> Iterable[tuple[ast.AST, ast.AST]]:
    match node:
        case ast.Assign(targets=targets, value=value):
            return [pair for target in targets for pair in _unpacked(target, value)]
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            return [(target, value)]
        case ast.NamedExpr(target=target, value=value):
            return [(target, value)]
    return []


def _unpacked(target: ast.AST, value: ast.AST) -> list[tuple[ast.AST, ast.AST]]:
    match target, value:
        case ast.Tuple(elts=names) | ast.List(elts=names), ast.Tuple(elts=values) | ast.List(
            elts=values
        ) if len(names) == len(values):
            return list(zip(names, values, strict=True))
    return [(target, value)]


def _name(target: ast.AST) -> str:
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return re.sub(r"_(?:list|s|all)$", "", name)
        case ast.Subscript(slice=ast.Constant(value=str() as name)):
            return name
    return ""


def _texts(value: ast.AST) -> Iterator[str]:
    """Yield the texts of a value: a literal, a list of literals, or an f-string."""
    match value:
        case ast.Constant(value=str() as text):
            yield text
        case ast.Constant(value=bytes() as data):
            yield data.decode("utf-8", "replace")
        case ast.Tuple(elts=values) | ast.List(elts=values) | ast.JoinedStr(values=values):
            for one in values:
                yield from _texts(one)
