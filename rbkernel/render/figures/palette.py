"""The colours of all figures, by meaning, in light and dark. Pure.

The colours of states are those of badges and pages (`report.css`). The colours of series follow
Okabe and Ito, darker or lighter where the contrast with the ground was below 3:1. No meaning is
carried by colour alone: a state is also written, and a series has a mark of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# light, dark
COLOURS = {
    "ink": ("#1f2328", "#e6edf3"),
    "faint": ("#57606a", "#9da7b3"),
    "paper": ("#ffffff", "#0d1117"),
    "shade": ("#f6f8fa", "#161b22"),
    "edge": ("#d0d7de", "#3d444d"),
    "wire": ("#6e7781", "#8b949e"),
    "ok": ("#1b7f3b", "#3fb950"),
    "warning": ("#b26a00", "#d29922"),
    "critical": ("#b3261e", "#ff7b72"),
    "unknown": ("#5b5f66", "#8b949e"),
    "open": ("#2458a6", "#6ea8fe"),
    "series-0": ("#0072b2", "#56b4e9"),
    "series-1": ("#a85b00", "#e69f00"),
    "series-2": ("#007a5a", "#2fbf94"),
    "series-3": ("#a3478a", "#e08fc4"),
    "series-4": ("#6b6fbf", "#a5a8f0"),
    "series-5": ("#c2410c", "#ff9466"),
}
#: colours that are only grounds and grid lines, which need no contrast
GROUNDS = ("paper", "shade", "edge")
SERIES = tuple(name for name in COLOURS if name.startswith("series-"))
#: what a word that a server uses for a state means
MEANING = {
    "ok": ("ok", "streaming", "active", "reserved", "done", "met", "healthy", "sent"),
    "warning": (
        *("warning", "catchup", "extended", "idle in transaction", "startup", "waiting", "backup"),
        *("sync missing", "inactive", "pending"),
    ),
    "critical": (
        *("critical", "lost", "unreserved", "failed", "not connected", "paused", "error"),
        "idle in transaction (aborted)",
    ),
    "unknown": ("unknown", "nan", "none", "idle", "disabled", ""),
}
_STATES = {word: state for state, words in MEANING.items() for word in words}
_RULE = r"\.rb \.[fs]-[a-z0-9-]+\{(?:fill|stroke):#[0-9a-f]{6}\}"
_STYLE = re.compile(rf"@media screen and \(prefers-color-scheme:dark\)\{{(?:{_RULE})*\}}")


def of_parts(names: Iterable[str]) -> dict[str, str]:
    """Return a colour's name for each part of a figure; parts that are states get the state's.

    >>> of_parts(["active", "shop", "lost", "etl"])
    {'active': 'ok', 'shop': 'series-0', 'lost': 'critical', 'etl': 'series-1'}
    """
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    number = 0
    for name in names:
        state = _STATES.get(name.lower(), "")
        if not state or state in taken:
            state, number = SERIES[number % len(SERIES)], number + 1
        taken.add(state)
        chosen[name] = state
    return chosen


def style(used: Iterable[tuple[str, str]]) -> str:
    """Return the style sheet of a picture for dark screens.

    Parameters
    ----------
    used
        The colours of the picture: ``fill`` or ``stroke``, and the colour's name.
    """
    rules = (f".rb .{kind[0]}-{name}{{{kind}:{COLOURS[name][1]}}}" for kind, name in sorted(used))
    return f"@media screen and (prefers-color-scheme:dark){{{''.join(rules)}}}"


def is_style(text: str) -> bool:
    """Tell whether a style sheet is of the form that `style` writes, and so does nothing else.

    >>> is_style(style([("fill", "ink")])), is_style(style([]) + "@import 'x'")
    (True, False)
    """
    return _STYLE.fullmatch(text) is not None
