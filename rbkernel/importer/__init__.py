"""Convert any Markdown runbook to a notebook that runs (`convert.convert`). No source line is lost.

In this order: `reading` (bytes to blocks, fences to their parts), `convert` (one or several
runbooks), `steps` (blocks to cells, by way of `tables`, `fields`, and `commandcells` for what
fences hold), `notebook`, `report`.
"""
