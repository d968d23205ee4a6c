"""Does a notebook still say what the Markdown said? A checker that shares no code with the import.

It knows nothing of blocks: it takes the source line by line, and looks for the words of each line,
side by side, in what the notebook says: its Markdown, its front matter, its SQL, the texts and
names in its Python. Marks of Markdown are no words.
"""

from __future__ import annotations

import ast
import html
import re
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

Cell = dict[str, Any]

_WORD = re.compile(r"[^\W_]+")
# what a person is to fill in becomes a parameter, an argument, or a loud placeholder
_BLANK = re.compile(
    r"<[A-Za-z][^<>\n]*>|\[[A-Za-z#][^\[\]\n]*\]|\$\{?\w+\}?|\{\{[^{}]*\}\}|YOUR_\w+|YYYY-MM-DD"
)
_TAG = re.compile(r"</?(?:details|summary)[^>]*>|\{[:#][^}]*\}")
_FENCE = re.compile(r"^\s*(?:[-*+]|\d+[.)])?\s*(?:`{3,}|~{3,})\s*\S*")
# marks of code blocks in the styles of Jekyll, Hugo, Hexo, HTML, MyST, Confluence and MediaWiki
_CODE_MARK = re.compile(
    r"\{%-?\s*(?:(?:end)?(?:highlight|codeblock|code)\b(?P<words>[^%]*)|(?:end)?raw\s*-?)%\}"
    r"|\{\{[<%]\s*/?\s*(?:highlight|code)\b.*?[>%]\}\}"
    r"|</?(?:pre|code|span|div|b|em|var|syntaxhighlight)\b[^>]*>"
    r"|^\s*:{3,}\s*(?:\{code\S*\}.*|\w+)?$|^\s*#!\w+$|\{(?:code|noformat)[^}]*\}"
    r"|^\s*:(?:linenos|lineno-start|emphasize-lines):.*|^\s*:(?:caption|name):(?=\s)",
    re.IGNORECASE,
)
_TITLE = re.compile(r"(?:title|caption)\s*=\s*\"(?P<quoted>[^\"]*)\"|^(?P<hexo>.*)\blang:\S+")
# what another call does: %%sql asks what a bare psql would, rb.http what a plain curl would; the
# title of a runbook needs no "Runbook:"
_DONE_OTHERWISE = re.compile(
    r"^\s*(?:[$#>] )?(?:psql(?: -[AtcqxX]+)+\s|curl(?: -\w+| --\w+)*\s|#+ Runbook:\s)"
)
# a prompt, and the comment behind a command: they stand apart from it
_PROMPT = re.compile(r"(?<=[\w~\])])\s?(?:[$#]|=[>#])\s")
_COMMENT = re.compile(r"(?<=\S)\s+#\s+|;\s+--\s+")


def lost(source: str, cells: Sequence[Cell]) -> list[str]:
    """Return the lines of a source whose words the notebook does not say.

    >>> cells = [{"cell_type": "markdown", "source": "**Call** the team"}]
    >>> lost("# Call\\n\\nthe team, *at once*\\n", cells)
    ['the team, *at once*']
    """
    said = [" ".join(words_of(text)) for text in _texts(cells)]
    whole = f" {' | '.join(said)} "
    return [
        line
        for line in re.split(r"\r\n|\r|\n", source)
        if not _is_said(line, whole, said) and not _only_marks(line)
    ]


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case.

    >>> words_of("`kubectl -n shop` **get** PODS_1")
    ['kubectl', 'n', 'shop', 'get', 'pods', '1']
    """
    return _WORD.findall(text.lower())


def _is_said(line: str, whole: str, said: Sequence[str]) -> bool:
    if _CODE_MARK.search(line):
        titles = [_TITLE.search(one["words"] or "") for one in _CODE_MARK.finditer(line)]
        told = [one["quoted"] or one["hexo"] or "" for one in titles if one]
        bare = html.unescape(_CODE_MARK.sub("", line))
        if all(_is_said(one, whole, said) for one in [bare, *told]):
            return True
    line = re.sub(r"^\s*(?:>\s*)*(?:[-*+]\s+)?(?:\[[ xX]\]\s)?", "", _TAG.sub(" ", line))
    if _FENCE.match(line):
        return all(
            f" {_joined(one)} " in whole for one in re.findall(r'"([^"]*[A-Za-z][^"]*)"', line)
        )
    line = _DONE_OTHERWISE.sub("", line)
    parts = [line]
    for between in (_PROMPT, _COMMENT, re.compile(r"\|")):
        parts = [part for one in parts for part in between.split(one)]
    return all(_part_is_said(part, whole, said) for part in parts)


def _part_is_said(part: str, whole: str, said: Sequence[str]) -> bool:
    told = _joined(part)
    if not told or f" {told} " in whole:
        return True
    if not _BLANK.search(part):
        return False
    around = [_joined(one) for one in _BLANK.split(part)]
    blanks = [word for found in _BLANK.findall(part) for word in words_of(found)]
    beside = all(f" {one} " in whole for one in [*around, *blanks] if one)
    return beside or any(set(told.split()) <= set(text.split()) for text in said)


def _joined(part: str) -> str:
    return " ".join(words_of(part))


def _only_marks(line: str) -> bool:
    return not words_of(_TAG.sub("", line)) or line.strip() in {"EOF", "SQL", "---", "+++", "..."}


def _texts(cells: Sequence[Cell]) -> Iterator[str]:
    for cell in cells:
        source = str(cell["source"])
        if cell["cell_type"] != "code" or source.startswith("%%"):
            yield source
            continue
        yield " ".join(_constants(ast.parse(source)))
        # comments of the parameters: what a placeholder was called
        yield " ".join(re.findall(r"#(.*)", source))


def _constants(tree: ast.AST) -> Iterator[str]:
    """Yield texts and names in the order in which they are written."""
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.value
    elif isinstance(tree, ast.Name):
        yield tree.id
    for child in ast.iter_child_nodes(tree):
        yield from _constants(child)


def commands(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield each shell text that a notebook proposes or shows to copy."""
    for cell in cells:
        source = str(cell["source"])
        if cell["cell_type"] != "code" or source.startswith("%%"):
            continue
        for call in ast.walk(ast.parse(source)):
            if not isinstance(call, ast.Call):
                continue
            name = ast.unparse(call.func)
            if name == "rb.actions.command" and isinstance(call.args[1], ast.Constant):
                yield str(call.args[1].value)
            elif name == "rb.shell" and isinstance(call.args[1], ast.List):
                words = [
                    one.value if isinstance(one, ast.Constant) else "x" for one in call.args[1].elts
                ]
                yield (
                    str(words[2])
                    if words[:2] == ["bash", "-c"]
                    else " ".join("'" + str(word).replace("'", "'\\''") + "'" for word in words)
                )


def refused_by_bash(texts: Sequence[str]) -> list[str]:
    """Return the texts that `bash -n` refuses; what is to be filled in is a word."""
    refused = []
    for text in texts:
        filled = re.sub(
            r"‹[^›]*›|(?<!<)<[A-Za-z][\w .,:|/-]*\w>|\[[A-Za-z][\w /-]+\]", "word", text
        )
        found = subprocess.run(["bash", "-n"], input=filled, text=True, capture_output=True)
        if found.returncode:
            refused.append(f"{text}\n{found.stderr}")
    return refused
