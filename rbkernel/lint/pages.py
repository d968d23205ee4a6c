"""Generate the rules' pages in ``docs/reference/lint`` from the rules' docstrings.

``python -m rbkernel.lint.pages docs/reference/lint`` writes the pages; a test checks that the
committed pages are up to date. Pure except for `main`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rbkernel.lint import RULES, Rule

THEMES = {
    "RB0": "The file",
    "RB1": "The front matter",
    "RB2": "Words and steps",
    "RB3": "Code",
    "RB4": "SQL",
    "RB5": "Safety",
    "RB6": "References",
    "RB7": "Upkeep",
    "RB8": "A team's diagnostics",
}
_INTRODUCTION = """\
# Rules of `rbkernel lint`

Each rule has a code that never changes its meaning, and stands for one quality of a runbook: \
actionable, complete, verifiable, scoped, escalatable, tested, maintained, safe. *Fixable* means \
that `rbkernel lint --fix` fixes it. `rbkernel lint --explain RB403` prints a page.

- **Another level, or off:** `RB204 = "off"` under `[lint.severity]` of rbkernel.toml; `error`, \
`warning` or `off`.
- **An exception:** a comment in the cell, `# rbkernel: ignore RB303 because the table is long`; \
in Markdown `<!-- rbkernel: ignore RB204 because … -->`. It suppresses the rule in its cell. A \
comment in the front matter also suppresses problems that are reported for the file as a whole, \
without a cell. A comment without a reason is itself an error.
- **Exit codes:** 0 none, 1 warnings, 2 errors, 3 something is unreadable.

In CI, with the problems as annotations in the pull request:

```yaml
- run: rbkernel lint --format github runbooks/
```

Before each commit, in `.pre-commit-config.yaml`:

```yaml
repos:
  - repo: https://github.com/OWNER/rbkernel   # where you have it from
    rev: v0.1.0
    hooks:
      - id: rbkernel-lint
```

These pages are written by `python -m rbkernel.lint.pages docs/reference/lint`.
"""


def page(rule: Rule) -> str:
    """Return the text of one rule's page."""
    fixed = " · `rbkernel lint --fix` can correct it" if rule.fixable else ""
    facts = f"Level: {rule.level} · quality that is checked: {rule.criterion}{fixed}"
    return f"# {rule.code}: {rule.name}\n\n{facts}\n\n{rule.text}\n"


def index() -> str:
    """Return the text of the page that lists all rules."""
    parts = [_INTRODUCTION]
    for prefix, theme in THEMES.items():
        rules = [rule for code, rule in sorted(RULES.items()) if code.startswith(prefix)]
        lines = [
            f"| [{rule.code}]({rule.code}.md) | {rule.name} | {rule.title} | {rule.level} |"
            f" {rule.criterion} | {'yes' if rule.fixable else ''} |"
            for rule in rules
        ]
        head = ["| code | name | | level | quality | fixable |", "|---|---|---|---|---|---|"]
        parts.append("\n".join([f"## {prefix}: {theme}", "", *head, *lines, ""]))
    return "\n".join(parts)


def pages() -> dict[str, str]:
    """Return the text of all pages by file name."""
    return {"README.md": index()} | {f"{rule.code}.md": page(rule) for rule in RULES.values()}


def main(folder: Path) -> None:
    """Write the pages, and remove the pages of deleted rules."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("RB*.md"):
        old.unlink()
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
