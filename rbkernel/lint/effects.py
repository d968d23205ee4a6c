"""Find calls with effects outside the notebook: shell commands, files, the network. Pure.

Calls are recognized by their imported names in the text of the cells. Effects inside libraries are
not visible.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator

from rbkernel.lint.cells import Cell
from rbkernel.lint.document import Document
from rbkernel.lint.expressions import dotted, literal

_SHELL = re.compile(
    r"^(?:subprocess\.(?:run|call|Popen|check_call|check_output|getoutput|getstatusoutput)"
    r"|asyncio\.create_subprocess_\w+|os\.(?:system|popen|exec\w+|spawn\w+|posix_spawnp?)"
    r"|pty\.spawn)$"
)
_FILES = re.compile(
    r"^(?:os\.(?:remove|unlink|rename|renames|replace|rmdir|removedirs|mkdir|makedirs|truncate"
    r"|symlink|link|chmod|chown|kill|killpg)"
    r"|shutil\.(?:rmtree|move|copy\w*|make_archive|unpack_archive|chown))$"
)
_PATH_ONLY = frozenset(
    {"write_text", "write_bytes", "unlink", "rmdir", "symlink_to", "hardlink_to"}
)
# method names that other objects have, too, such as data frames: here the object must be a path
_ALSO_PATH = frozenset({"touch", "mkdir", "rename", "replace", "chmod"})
_IPYTHON = frozenset({"system", "getoutput", "run_line_magic", "run_cell_magic", "run_cell"})
_SHELL_MAGICS = frozenset({"sx", "system", "bash", "sh", "script", "!", "zsh"})
_OWN_CONNECTION = re.compile(
    r"^(?:http\.client\.HTTPS?Connection|socket\.(?:socket|create_connection)"
    r"|(?:smtplib|ftplib|telnetlib|paramiko)\.\w+)$"
)
_HTTP = re.compile(
    r"^(?:requests|httpx|session|client|urllib3)\.(?:\w+\.)?(?:post|put|patch|delete)$",
    re.IGNORECASE,
)


def shells(document: Document) -> Iterator[tuple[Cell, int, str]]:
    """Yield cell, line and text of each shell command; unknown values are placeholders."""
    for code in document.codes:
        for line, text in code.shell:
            yield code.cell, line, text
    for cell, node in document.nodes(ast.Call):
        if _SHELL.match(name(document, node.func)):
            yield cell, node.lineno, command(document, _argument(node, 0, "args"))
        elif (typed := _by_ipython(document, node)) is not None:
            yield cell, node.lineno, typed


def ours(document: Document) -> Iterator[tuple[Cell, int, str]]:
    """Yield cell, line and text of each command that `rb.shell` gets as a list of words."""
    for call in document.called("shell"):
        given = _argument(call.node, 1, "command")
        for value in document.values(given) if given is not None else ():
            if isinstance(value, ast.List | ast.Tuple):
                yield call.cell, call.line, command(document, value)


def files(document: Document) -> Iterator[tuple[Cell, int, str]]:
    """Yield cell, line and name of each call that changes a file or ends a process."""
    for cell, node in document.nodes(ast.Call):
        called = name(document, node.func)
        if _FILES.match(called):
            yield cell, node.lineno, called
        elif called in {"open", "io.open"} and (mode := _writing_mode(node, 1)):
            yield cell, node.lineno, f"open(…, {mode!r})"
        elif isinstance(node.func, ast.Attribute) and _of_path(document, node, node.func):
            yield cell, node.lineno, f"Path.{node.func.attr}"


def requests(document: Document) -> Iterator[tuple[Cell, int, str]]:
    """Yield cell, line and name of each call that may change something over the network."""
    for cell, node in document.nodes(ast.Call):
        called = name(document, node.func)
        said = {word.arg for word in node.keywords}
        sends = called.startswith("urllib.request.") and (
            "data" in said or len(node.args) > 1 or _method(node)
        )
        asked = called.endswith(".request") and _method(node)
        if _HTTP.match(called) or _OWN_CONNECTION.match(called) or sends or asked:
            yield cell, node.lineno, called


def name(document: Document, func: ast.expr) -> str:
    """Return the full name of a called function: `sp.run` is `subprocess.run`."""
    head, dot, rest = dotted(func).partition(".")
    return f"{document.imported.get(head, head)}{dot}{rest}"


def command(document: Document, node: ast.expr | None) -> str:
    """Return a command as text; parts that are not literals become placeholders."""
    for value in document.values(node) if node is not None else ():
        if isinstance(value, ast.List | ast.Tuple):
            return " ".join(_quoted(literal(word)) for word in value.elts)
        if isinstance(value, ast.JoinedStr):
            return "".join(literal(part) or "placeholder" for part in value.values)
        if text := literal(value):
            return text
    return ""


def _quoted(word: str | None) -> str:
    if word is None:
        return "placeholder"
    return shlex.quote(word)


def _argument(node: ast.Call, index: int, keyword: str) -> ast.expr | None:
    if len(node.args) > index:
        return node.args[index]
    return next((word.value for word in node.keywords if word.arg == keyword), None)


def _by_ipython(document: Document, node: ast.Call) -> str | None:
    if not isinstance(node.func, ast.Attribute) or node.func.attr not in _IPYTHON:
        return None
    shell = [base for base in document.values(node.func.value) if isinstance(base, ast.Call)]
    if not any(dotted(base.func).endswith("get_ipython") for base in shell) or not node.args:
        return None
    magic = command(document, node.args[0])
    if node.func.attr.endswith("_magic"):
        return command(document, node.args[-1]) if magic in _SHELL_MAGICS else None
    if node.func.attr == "run_cell":
        found = re.match(r"(?:!+|%%?(?:bash|sh|sx|system)\b)\s*", magic)
        return magic[found.end() :] if found else None
    return magic


def _writing_mode(node: ast.Call, index: int) -> str:
    mode = _argument(node, index, "mode")
    said = (literal(mode) or "") if mode is not None else ""
    return said if set(said) & set("wax+") else ""


def _method(node: ast.Call) -> bool:
    named = [word.value for word in node.keywords if word.arg == "method"]
    said = [literal(one) or "" for one in (*node.args[:1], *named)]
    return bool({"POST", "PUT", "PATCH", "DELETE"} & {one.upper() for one in said})


def _of_path(document: Document, node: ast.Call, func: ast.Attribute) -> bool:
    if func.attr in _PATH_ONLY:
        return True
    if func.attr not in _ALSO_PATH and not (func.attr == "open" and _writing_mode(node, 0)):
        return False
    return any(
        name(document, inner.func).startswith("pathlib.")
        for value in document.values(func.value)
        for inner in ast.walk(value)
        if isinstance(inner, ast.Call)
    )
