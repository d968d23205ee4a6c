"""Parse shell text into a tree. Only this module uses tree-sitter and its grammar of bash.

Pure; nothing is run. A placeholder (``<pod>``, ``[name]``, ``{{ pod }}``) is read as a word. Text
with a syntax error is parsed up to the error, and its ``problem`` says that it is no command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

# placeholders in the forms that people write them; not `<in >out`, not `[ -f x ]`
PLACEHOLDER = re.compile(
    r"‹[^›\n]*›"
    r"|(?<!<)<[A-Za-z](?:[\w .,:|/-]{0,58}\w)?>(?!\w)"
    r"|(?<![\w\])$])\[[A-Za-z#@][\w .,:|/'’-]{0,120}?\](?![(\[])"
    r"|\{\{\s*\.?[A-Za-z][\w. -]*?\s*\}\}"
)
# `[a-z]` and `[n]ginx` are patterns, `[host]` is a placeholder
_PATTERN = re.compile(r"^\[(?:.-.)+\]$|^\[\w\]$")
_NOT_A_WORD = re.compile(r"[^A-Za-z0-9_]")
_WRITING = frozenset({">", ">>", ">|", "&>", "&>>", ">&", "<>"})
_WORD_TYPES = frozenset(
    {
        *("word", "string", "raw_string", "ansi_c_string", "translated_string", "concatenation"),
        *("simple_expansion", "expansion", "command_substitution", "process_substitution"),
        *("number", "arithmetic_expansion", "brace_expression", "extglob_pattern", "regex"),
        *("test_operator", "variable_assignment", "variable_name", "array", "subscript"),
    }
)
_COMMANDS = frozenset({"command", "declaration_command", "unset_command", "test_command"})
_SETTING = frozenset(
    {
        *("variable_assignment", "variable_assignments", "declaration_command", "unset_command"),
        *("function_definition", "comment"),
    }
)
_STATE = frozenset(
    {
        *("cd", "pushd", "popd", "set", "shopt", "alias", "unalias", "ulimit", "umask"),
        *("source", ".", "exec"),
    }
)
_ESCAPED = re.compile(r"\\(\n|.)", re.DOTALL)
_ESCAPED_IN_QUOTES = re.compile(r"\\([$`\"\\]|\n)")
_MOST_DEPTH = 200


@dataclass(frozen=True, kw_only=True)
class Command:
    """One simple command, with its redirections and its place in the text.

    ``words`` are unquoted; an expansion stays as it is written (``$POD``, ``$(date)``).
    ``assignments`` are the ``NAME=value`` before the command. ``writes`` are the files that it
    writes. ``stdin`` is its input, if known: a here-document, a here-string, or the text of an
    ``echo`` before the pipe. ``into`` is the last command of its pipeline, if that is another one.
    ``kept`` is true if a variable takes its output.
    """

    words: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    stdin: str | None = None
    into: tuple[str, ...] = ()
    kept: bool = False


@dataclass(frozen=True, kw_only=True)
class Script:
    """A parsed shell text: all simple commands at any depth, and its functions.

    ``sets`` is true if the text only sets state of the shell: ``cd``, ``export``, variables,
    functions. ``remark`` is the comment at the end of the last line. ``problem`` says why the text
    is not valid shell text; empty if it is.
    """

    commands: tuple[Command, ...]
    functions: frozenset[str]
    sets: bool = False
    remark: str = ""
    problem: str = ""


def masked(text: str) -> str:
    """Replace each placeholder by a word of the same length, and other non-ASCII characters by X.

    A carriage return becomes a blank. The result has the same length as the text.

    >>> masked("kubectl logs <pod-name> | grep [word] > ‹PLACEHOLDER: x›")
    'kubectl logs _pod_name_ | grep _word_ > _PLACEHOLDER__x_'
    >>> masked("grep [a-z] <in >out; [ -f x ]")
    'grep [a-z] <in >out; [ -f x ]'
    """

    def word(found: re.Match[str]) -> str:
        return found[0] if _PATTERN.match(found[0]) else _NOT_A_WORD.sub("_", found[0])

    text = PLACEHOLDER.sub(word, text)
    return "".join(letter if letter.isascii() else "X" for letter in text).replace("\r", " ")


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_bash.language()))


def read(text: str) -> Script:
    """Read a shell text.

    >>> [one.words for one in read("sudo ls -l 'a b' | wc -l; echo $(date)").commands]
    [('sudo', 'ls', '-l', 'a b'), ('wc', '-l'), ('echo', '$(date)'), ('date',)]
    >>> read("sort <in -o out").commands[0].words, read("psql -f - <<E\\nx\\nE").commands[0].words
    (('sort', '-o', 'out'), ('psql', '-f', '-'))
    >>> read("jq . a > /etc/x").commands[0].writes, read("(1 row").problem
    (('/etc/x',), 'the text is not valid shell syntax')
    """
    tree = _Tree(text)
    return Script(
        commands=tuple(tree.commands),
        functions=frozenset(tree.functions),
        sets=tree.sets,
        remark=tree.remark,
        problem=tree.problem,
    )


def is_complete(text: str) -> bool:
    r"""Tell whether a text consists of complete shell statements without a syntax error.

    >>> [is_complete(one) for one in ("ls", "for i in a; do", "echo 'a", "cat <<E\nx", "(1 row)")]
    [True, False, False, False, True]
    """
    return not _Tree(text).problem


class _Tree:
    """Walks the tree of one text, and collects its simple commands."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._masked = masked(text)
        self.commands: list[Command] = []
        self.functions: set[str] = set()
        root = _parser().parse(self._masked.encode()).root_node
        self.problem = self._problem(root)
        self.sets = bool(root.named_children) and all(map(self._sets, root.named_children))
        last = root.named_children[-1] if root.named_children else root
        self.remark = self._source(last).lstrip("#").strip() if last.type == "comment" else ""
        self._walk(root, _Around())

    def _sets(self, node: Node) -> bool:
        if node.type == "list":
            return all(map(self._sets, node.named_children))
        if node.type == "command" and (name := node.child_by_field_name("name")):
            arguments = map(self._source, node.named_children[1:])
            prints = self._source(name) == "ulimit" and all(one[:1] == "-" for one in arguments)
            return self._source(name) in _STATE and not prints
        return node.type in _SETTING

    def _problem(self, root: Node) -> str:
        odd = root.has_error or "\0" in self._masked
        odd = odd or any(map(_is_misplaced, root.children))
        # a continuation line without the line that it is continued by
        odd = odd or bool(re.search(r"(?<!\\)(?:\\\\)*\\\s*\Z", self._masked))
        if odd or not all(map(_is_closed, _heredocs(root))):
            return "the text is not valid shell syntax"
        return ""

    def _walk(self, node: Node, around: _Around, depth: int = 0) -> None:
        if depth > _MOST_DEPTH:
            self.problem = "the text is nested too deep"
            return
        if node.type == "redirected_statement":
            self._redirected(node, around, depth)
        elif node.type == "pipeline":
            self._pipeline(node, around, depth)
        elif node.type == "function_definition":
            if name := node.child_by_field_name("name"):
                self.functions.add(self._source(name))
            self._inside(node.children, around, depth)
        elif node.type in _COMMANDS:
            self._command(node, around, depth)
        elif node.type == "variable_assignment":
            self.commands.append(
                Command(assignments=(self._value(node),), writes=tuple(around.writes))
            )
            self._inside(node.children, _Around(kept=True), depth)
        elif node.type == "file_redirect":
            self._bare_redirect(node, depth)
        else:
            self._inside(node.children, around, depth)

    def _inside(self, nodes: Iterable[Node], around: _Around, depth: int) -> None:
        for node in nodes:
            self._walk(node, around, depth + 1)

    def _redirected(self, node: Node, around: _Around, depth: int) -> None:
        redirects = [one for one in node.children if one.type.endswith("_redirect")]
        inner = _Around(writes=[*around.writes], stdin=around.stdin, kept=around.kept)
        for one in redirects:
            inner.take(self, one)
        body = node.child_by_field_name("body")
        if body is not None:
            inner.words += self._between(node)
            self._walk(body, inner, depth + 1)
        elif inner.writes:
            self.commands.append(Command(words=(":",), writes=tuple(inner.writes)))
        self._in_redirects(redirects, depth)

    def _between(self, node: Node) -> list[str]:
        """Return the words of a node that the grammar leaves out, such as a lone `-`."""
        gaps = zip(node.children, node.children[1:], strict=False)
        texts = (self._text[one.end_byte : following.start_byte] for one, following in gaps)
        return [word for text in texts for word in text.replace("\\\n", " ").split()]

    def _in_redirects(self, redirects: Iterable[Node], depth: int) -> None:
        """Walk the commands inside redirections: the rest of a here-document's first line, and
        substitutions.
        """
        for redirect in redirects:
            if redirect.type != "heredoc_redirect":
                self._inside(redirect.children, _Around(), depth)
                continue
            for part in redirect.children:
                if part.type == "file_redirect":
                    self.commands.append(Command(words=(":",), writes=tuple(self.written(part))))
                elif part.type not in {"heredoc_start", "heredoc_end", "<<", "<<-"}:
                    self._walk(part, _Around(), depth + 1)

    def _bare_redirect(self, node: Node, depth: int) -> None:
        if writes := self.written(node):
            self.commands.append(Command(words=(":",), writes=tuple(writes)))
        self._inside(node.children, _Around(), depth)

    def _pipeline(self, node: Node, around: _Around, depth: int) -> None:
        stdin, before, start = around.stdin, len(self.commands), 0
        for part in node.named_children:
            start = len(self.commands)
            inner = _Around(writes=around.writes, stdin=stdin, kept=around.kept)
            self._walk(part, inner, depth + 1)
            first = self.commands[start] if start < len(self.commands) else Command()
            stdin = _echoed(first.words)
        last = self.commands[start].words if start < len(self.commands) else ()
        self.commands[before:start] = [
            replace(one, into=one.into or last) for one in self.commands[before:start]
        ]

    def _command(self, node: Node, around: _Around, depth: int) -> None:
        inner = _Around(writes=[*around.writes], stdin=around.stdin, words=[*around.words])
        inner.kept = around.kept
        words: list[str] = []
        assignments: list[str] = []
        for part in node.children:
            if part.type.endswith("_redirect"):
                inner.take(self, part)
            elif part.type == "variable_assignment" and node.type == "command":
                assignments.append(self._value(part))
            elif part.type == "command_name" or part.type in _WORD_TYPES:
                words.append(self._value(part))
            elif not part.is_named and node.type != "command" and part.type.isalpha():
                words.append(part.type)  # export, declare, unset
        words += inner.words
        if node.type == "test_command":
            words = ["test"]
        self.commands.append(
            Command(
                words=tuple(words),
                assignments=tuple(assignments),
                writes=tuple(inner.writes),
                stdin=inner.stdin,
                kept=inner.kept,
            )
        )
        redirects = [one for one in node.children if one.type.endswith("_redirect")]
        self._in_redirects(redirects, depth)
        rest = (one for one in node.children if not one.type.endswith("_redirect"))
        for part in rest:
            if part.type == "variable_assignment":
                self._inside(part.children, _Around(kept=True), depth)
            else:
                self._walk(part, _Around(kept=inner.kept), depth + 1)

    # values

    def _source(self, node: Node) -> str:
        return self._text[node.start_byte : node.end_byte]

    def _value(self, node: Node) -> str:
        """Return a word without its quotes; variables and substitutions are not expanded."""
        source = self._source(node)
        if node.type == "raw_string":
            return source[1:-1]
        if node.type == "ansi_c_string":
            return source[2:-1]
        if node.type == "string":
            return _ESCAPED_IN_QUOTES.sub(r"\1", source[1:-1])
        if node.type == "command_name" and node.children:
            return "".join(map(self._value, node.children))
        if node.type in {"concatenation", "variable_assignment"}:
            return self._joined(node)
        if node.type == "word":
            return _ESCAPED.sub(lambda found: found[1].replace("\n", ""), source)
        return source

    def _joined(self, node: Node) -> str:
        parts, position = [], node.start_byte
        for child in node.children:
            parts += [self._text[position : child.start_byte], self._value(child)]
            position = child.end_byte
        return "".join([*parts, self._text[position : node.end_byte]])

    def written(self, redirect: Node) -> list[str]:
        """Return the files that a redirection writes."""
        signs = [one.type for one in redirect.children if one.type in _WRITING]
        targets = redirect.children_by_field_name("destination")[:1]
        if not signs:
            return []
        if signs == [">&"] and all(one.type == "number" for one in targets):
            return []
        values = [self._value(one) for one in targets]
        return [one for one in values if not (signs == [">&"] and one == "-")]

    def words_of(self, redirect: Node) -> list[str]:
        """Return the arguments that the grammar assigns to a redirection: `-u` in `sort <x -u`."""
        if redirect.type == "heredoc_redirect":
            found = redirect.children_by_field_name("argument")
        else:
            found = redirect.children_by_field_name("destination")[1:]
        return [self._value(one) for one in found]

    def stdin_of(self, redirect: Node) -> str | None:
        """Return the text that a here-document or a here-string gives."""
        if redirect.type == "heredoc_redirect":
            bodies = [one for one in redirect.children if one.type == "heredoc_body"]
            return "".join(map(self._source, bodies))
        if redirect.type == "herestring_redirect":
            return "".join(map(self._value, redirect.named_children))
        return None


@dataclass(kw_only=True)
class _Around:
    """What applies to a statement: files written, standard input, further words, a variable that
    takes its output.
    """

    writes: list[str] = field(default_factory=list)
    stdin: str | None = None
    words: list[str] = field(default_factory=list)
    kept: bool = False

    def take(self, tree: _Tree, redirect: Node) -> None:
        self.words += tree.words_of(redirect)
        if redirect.type == "file_redirect":
            self.writes += tree.written(redirect)
            if any(one.type == "<" for one in redirect.children):
                self.stdin = None
        elif (text := tree.stdin_of(redirect)) is not None:
            self.stdin = text


def _echoed(words: tuple[str, ...]) -> str | None:
    """Return the text that an `echo` prints, which is the input of the next command in the pipe."""
    if words[:1] not in {("echo",), ("printf",)}:
        return None
    said = [word for word in words[1:] if word not in {"-e", "-n", "-ne", "-en", "--"}]
    return " ".join(said).replace("\\n", "\n")


def _is_misplaced(node: Node) -> bool:
    """Tell whether a statement ends with `;;`, which is only allowed in a branch of `case`."""
    return node.type in {";;", ";&", ";;&"}


def _heredocs(node: Node) -> Iterator[Node]:
    if node.type == "heredoc_redirect":
        yield node
    for child in node.children:
        yield from _heredocs(child)


def _is_closed(heredoc: Node) -> bool:
    return any(one.type == "heredoc_end" and not one.is_missing for one in heredoc.children)
