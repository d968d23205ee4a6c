"""Convert any Markdown runbook to a notebook that runs (`convert.convert`). No source line is lost.

The modules work in this order: `reading` parses bytes into blocks and fences into their parts;
`convert` splits a file into runbooks; `steps` converts blocks to cells, with `tables`, `fields` and
`commandcells` (for the content of fences); `notebook` assembles the notebook; `report` lists where
each block went.
"""
