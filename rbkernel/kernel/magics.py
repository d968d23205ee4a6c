"""The cell magic ``%%sql CONNECTION [--into NAME] [--untried]``, which runs the cell as SQL.

rbkernel's lexer finds the ``:name`` values. They come from the notebook's variables and are bound
as parameters, never interpolated. Invalid SQL raises an error, unless the cell has ``--untried``,
which `rbkernel import` adds to imported SQL. If the database cannot answer, the result is an empty
frame with the reason, as in `rb.query`.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from IPython.core.magic import register_cell_magic

from rbkernel.errors import SqlTextError
from rbkernel.kernel import error_cards
from rbkernel.sql import lexer

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magic ``%%sql`` and the cards of errors; IPython calls this at the start."""
    error_cards.install(shell)

    def sql(line: str, cell: str) -> None:
        db, into, untried = read_line(line)
        if lexer.is_blank(cell):
            raise SqlTextError(
                "%%sql has no statement",
                where=f"%%sql {line}",
                next_step="write SQL under its first line, such as SELECT 1",
            )
        # imported at first use, so that the kernel starts without waiting for pandas
        from rbkernel.triage.query import query

        namespace = shell.user_ns
        connection = namespace.get(db, db)
        values = lexer.bind(cell, namespace)
        frame = query(cell, str(connection), untried=untried, **values)
        if into:
            namespace[into] = frame

    register_cell_magic(sql)
    shell.input_transformers_cleanup.append(with_body)


def with_body(lines: list[str]) -> list[str]:
    r"""Add an empty line to a cell that is only ``%%sql``, which IPython would reject.

    >>> with_body(["%%sql orders"]), with_body(["x = 1"])
    (['%%sql orders\n', '\n'], ['x = 1'])
    """
    bare = len(lines) == 1 and lines[0].split()[:1] == ["%%sql"]
    return [lines[0].rstrip("\n") + "\n", "\n"] if bare else lines


def read_line(line: str) -> tuple[str, str, bool]:
    """Parse the line after ``%%sql``; return connection, target variable, and ``--untried``.

    >>> read_line("orders --into stuck"), read_line("db --untried")
    (('orders', 'stuck', False), ('db', '', True))

    Raises
    ------
    SqlTextError
        The line does not have this form.
    """
    try:
        words = shlex.split(line)
    except ValueError:  # an unclosed quotation mark
        words = []
    untried = words[-1:] == ["--untried"]
    words = words[:-1] if untried else words
    if len(words) == 1 and not words[0].startswith("-"):
        return words[0], "", untried
    if len(words) == 3 and words[1] == "--into" and words[2].isidentifier():
        return words[0], words[2], untried
    raise SqlTextError(
        "%%sql needs the name of a connection; --into NAME is optional",
        where=f"%%sql {line}",
        next_step="write, for example, `%%sql orders --into stuck`; instead of a name, a variable"
        " that holds it also works",
    )
