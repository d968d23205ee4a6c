"""Any Markdown runbook as a notebook that runs: `convert.convert`. Nothing of the source is lost.

In this order: `source` (bytes to lines), `secrets` (what must not go on), `fences` and `blocks`
(lines to blocks), `convert` (one or several runbooks), `steps` (blocks to cells, by way of
`tables`, `fields`, `shell`, `psql`, `statements`, `holes`, `calls`), `notebook`, `report`.
"""
