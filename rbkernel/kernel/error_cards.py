"""Show an error of rbkernel as a card: what happened, where, and what to do next.

The error itself follows in one or two lines, so that papermill and other clients see that the cell
failed. All other errors keep their traceback.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from rbkernel.displaytext import visible
from rbkernel.errors import RbkernelError


def install(shell: InteractiveShell) -> None:
    """Make a shell show the errors of rbkernel as cards."""
    shell.set_custom_exc((RbkernelError,), _show)


def bundle(error: RbkernelError) -> dict[str, str]:
    """Return an error as HTML and text."""
    from rbkernel.render import cards

    card = cards.error_card(error.what, error.where, error.next_step)
    return {"text/html": visible(card), "text/plain": visible(str(error))}


def _show(
    shell: Any,
    kind: type[RbkernelError],
    error: RbkernelError,
    _trace: TracebackType,
    tb_offset: int | None = None,  # noqa: ARG001  # IPython passes it by name
) -> list[str]:
    display(bundle(error), raw=True)
    lines = error._render_traceback_()
    shell._showtraceback(kind, error, lines)
    return lines
