"""RB5: safety: secrets, changes that are not proposed first, actions that cannot be undone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from rbkernel.errors import SecretParameter
from rbkernel.lint import effects
from rbkernel.lint.document import Document
from rbkernel.lint.expressions import literal
from rbkernel.lint.rule import Found, Level, in_cell, in_field, rule
from rbkernel.runbook import parameters
from rbkernel.runbook.shell import text as shelltext
from rbkernel.runbook.shell.effect import Effect
from rbkernel.sql.words import changing_sql

_SHELL_LANGUAGES = frozenset({"sh", "bash", "shell", "console", "zsh"})
_TOKENS = re.compile(
    r"""\b(?:AKIA|ASIA)[0-9A-Z]{16}\b                     # AWS
      | \bgh[pousr]_[A-Za-z0-9]{20,}                      # GitHub
      | \bglpat-[\w-]{20,}                                # GitLab
      | \bxox[abprs]-[\w-]{10,}                           # Slack
      | \bsk-[A-Za-z0-9_-]{20,}                           # model providers
      | \beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+            # JSON Web Token
      | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----
    """,
    re.VERBOSE,
)
_ASSIGNED = re.compile(
    r"""(?:^|[\s"'{,(])(?:\w*_)?(?:password|passwd|pwd|secret|api_?key|auth_?token|access_?token)
        ["']?\s*[=:]\s*(?P<quote>["']?)(?P<value>[^\s"'`,)}]{3,})(?P=quote)
      | Authorization:\s*(?:Bearer|Basic)\s+(?P<bearer>\S{6,})
      | (?:postgres(?:ql)?|mysql|redis|mongodb|amqp)(?:\+\w+)?://[^\s:/@]+:(?P<dsn>[^\s@]+)@
    """,
    re.VERBOSE | re.IGNORECASE,
)
# every secret contains one of these texts, and a search for plain text is cheap
_TOKEN_SIGNS = ("AKIA", "ASIA", "gh", "glpat-", "xox", "sk-", "eyJ", "PRIVATE KEY")
_SECRET_SIGNS = ("pass", "pwd", "secret", "key", "token", "authorization", "://")
# a placeholder instead of the secret, or a call, variable or path that fetches it
_NO_SECRET = re.compile(
    r"^[\[<‹{$(*]|[(\[]|^(?:\*+|\.{3}|…|x{3,}|none|null|true|false|your|changeme|os\.|env|str$|vault"
    r"|file|command|test|example|dummy|secret|password)",
    re.IGNORECASE,
)
_VERIFYING = frozenset(
    {"check", "assess", "http", "shell", "done", "overview", "metrics", "health"}
)


@rule("RB501", "secret", Level.ERROR, "safe")
def secrets(document: Document) -> Iterator[Found]:
    """A cell or an output contains what looks like a password, a token or a DSN.

    Why: runbooks are in version control, and reports of their runs are attached to postmortems, so
    many people can read the secret.

    Instead: name a connection of rbkernel.toml; take tokens from the environment. Then change the
    secret, because others may have seen it. The message of lint never repeats the secret.
    """
    for cell in document.cells:
        for line, text in cell.lines if secret_in(cell.source) else ():
            if what := secret_in(text):
                yield in_cell(cell, line, f"this text looks like {what}", _REMOVE)
        if cell.kind == "code" and any(map(secret_in, _texts(cell.node.outputs))):
            yield in_cell(cell, 1, "an output seems to contain a secret", _REMOVE)


_REMOVE = (
    "remove the secret from the runbook, change it, and name a connection of rbkernel.toml instead"
)


def secret_in(text: str) -> str:
    """Return the kind of secret that a text seems to contain; empty if none.

    >>> secret_in('password = "hunter22"'), secret_in("db: str = 'orders'")
    ('a secret', '')
    >>> secret_in("curl -H 'Authorization: Bearer [api-token]'"), secret_in("AKIA" + "Q" * 16)
    ('', 'a token')
    >>> secret_in("postgresql://me:hunter22@db/x"), secret_in("password = os.environ['PW']")
    ('a DSN with a password', '')
    """
    if any(sign in text for sign in _TOKEN_SIGNS) and _TOKENS.search(text):
        return "a token"
    plain = text.lower()
    for found in _ASSIGNED.finditer(text) if any(sign in plain for sign in _SECRET_SIGNS) else ():
        value = found["value"] or found["bearer"] or found["dsn"] or ""
        if not _NO_SECRET.search(value):
            return "a DSN with a password" if found["dsn"] else "a secret"
    return ""


def _texts(value: object) -> Iterator[str]:
    """Yield the lines of all texts in a cell's output."""
    if isinstance(value, str):
        yield from value.splitlines()
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


@rule("RB502", "secret-parameter", Level.ERROR, "safe")
def secret_parameter(document: Document) -> Iterator[Found]:
    """A parameter has the name of a secret, or its default is a DSN.

    Why: parameters are stored in plain text in every executed notebook, so `rb.start` refuses
    such values.

    Instead: pass the *name* of a connection as the parameter.
    """
    for cell in document.parameter_cells[:1]:
        code = next((code for code in document.codes if code.cell.number == cell.number), None)
        for node in code.tree.body if code and code.tree else ():
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                try:
                    value = literal(node.value) if node.value else None
                    parameters.refuse_secret(node.target.id, value, "")
                except SecretParameter as error:
                    yield in_cell(cell, node.lineno, error.what, error.next_step)


@rule("RB503", "change-by-shell", Level.ERROR, "safe")
def changing_shell(document: Document) -> Iterator[Found]:
    """A cell runs a command that changes something: `!kubectl delete …`, also by `rb.shell`.

    Why: *Run All* and papermill run the command without asking.

    Instead: propose the command with `rb.act`, so that a human reviews, runs and records it.
    """
    for cell, line, text in (*effects.shells(document), *effects.ours(document)):
        if what := shelltext.changes(text):
            yield in_cell(
                cell, line, f"{what} changes something without asking", "propose it with rb.act"
            )


@rule("RB504", "shell-past-the-record", Level.WARNING, "safe")
def looking_shell(document: Document) -> Iterator[Found]:
    """A cell runs a shell command without `rb.shell`.

    Why: the command has no timeout, and its result is not a finding.

    Instead: allow the command in `[commands]` of rbkernel.toml, and call `rb.shell`.
    """
    for cell, line, text in effects.shells(document):
        effect, what = shelltext.judged(text)
        if effect is not Effect.CHANGES:
            doubt = f", and it is unknown whether {what} only reads" if what else ""
            if effect is Effect.TELLS:
                doubt = f", and {what} prints a secret"
            yield in_cell(cell, line, f"a shell command runs here{doubt}", "call it with rb.shell")


@rule("RB505", "change-as-text-only", Level.WARNING, "safe")
def changing_text(document: Document) -> Iterator[Found]:
    """Markdown contains a command to copy that changes something.

    Why: a command copied from text is not recorded, does not show what it affects, and has
    no undo.

    Instead: propose the command with `rb.act`, or write it under `rollback`, `kill_switches` or
    `operations` of the front matter, with its effect and undo.
    """
    for cell, block in document.blocks:
        if block.kind != "fence":
            continue
        what = shelltext.changes(block.text) if block.language in _SHELL_LANGUAGES else ""
        if block.language in {"sql", "psql", "pgsql"}:
            what = changing_sql(block.text)
        if what:
            message = f"{what} changes something, but as text it has no undo and is not recorded"
            yield in_cell(cell, block.line, message, "propose it with rb.act")


@rule("RB506", "change-over-http", Level.ERROR, "safe")
def changing_http(document: Document) -> Iterator[Found]:
    """A cell sends a request that changes something, or opens a connection that may.

    Why: *Run All* sends the request without asking.

    Instead: use `rb.http` to read (GET and HEAD), and propose changes with `rb.act`.
    """
    for cell, line, name in effects.requests(document):
        yield in_cell(
            cell, line, f"{name} may change something without asking", "propose it with rb.act"
        )


@rule("RB510", "change-of-files", Level.ERROR, "safe")
def changing_files(document: Document) -> Iterator[Found]:
    """A cell writes, moves or removes files, or ends processes: `os.remove`, `Path.write_text`.

    Why: *Run All* changes the files or processes without asking, on any machine that runs the
    notebook.

    Instead: propose the change with `rb.act`; the findings of the run are already in its evidence.
    """
    for cell, line, name in effects.files(document):
        yield in_cell(
            cell, line, f"{name} changes something without asking", "propose it with rb.act"
        )


@rule("RB507", "action-without-decision", Level.WARNING, "safe")
def undecided(document: Document) -> Iterator[Found]:
    """An action does not wait for a decision.

    Why: the action is proposed even if the findings recommend something else.

    Instead: let the action wait with `rb.act(plan, when=choice.chose("resume replay"))`.
    """
    for call in document.called("act"):
        if call.keyword("when") is None:
            yield in_cell(
                call.cell,
                call.line,
                "rb.act does not wait for a decision",
                "add when=choice.chose(…)",
            )


@rule("RB508", "undo-not-declared", Level.WARNING, "safe")
def no_undo(document: Document) -> Iterator[Found]:
    """The runbook proposes actions, but its front matter declares no rollback.

    Why: the engineer must know beforehand how to revert a wrong action.

    Instead: `rollback: [{name: Pause replay again, command: SELECT pg_wal_replay_pause()}]`, or
    say that there is none: `rollback: [A terminated session's uncommitted work is lost]`.
    """
    acts, front = document.called("act"), document.front
    if acts and front and not front.rollback:
        yield in_field(
            document, "rollback", "the runbook proposes actions, but has no `rollback`",
            "say how to undo each action, or that it cannot be undone",
        )  # fmt: skip


@rule("RB509", "action-not-verified", Level.WARNING, "verifiable")
def unverified(document: Document) -> Iterator[Found]:
    """Nothing verifies the result of the last action.

    Why: the incident may be closed while the fault is still there.

    Instead: `rb.done(plan)` records that a human executed the action, and queries again. Then
    repeat the check that found the problem, with the same title.
    """
    acts = document.called("act")
    if not acts:
        return
    last = document.calls.index(acts[-1])
    if not any(call.name in _VERIFYING for call in document.calls[last + 1 :]):
        message = "nothing verifies the result of this action"
        yield in_cell(acts[-1].cell, acts[-1].line, message, "add rb.done, and a check after it")
