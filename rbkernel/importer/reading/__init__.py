"""Parse the text of a Markdown file into lines, blocks, and the parts of code fences. Pure.

In this order: `source` (bytes to lines), `secrets` (removes them), `fences` and `blocks` (lines to
blocks), `languages`, `statements`, `psql`, `commands`, `shell` (a fence to its parts), `holes`
(placeholders). No module of this package knows notebooks or front matter.
"""
