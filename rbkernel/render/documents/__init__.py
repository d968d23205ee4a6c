"""Export evidence for people without Jupyter, as a web page, a PDF, Markdown or a zip archive.

`report.report_files` is pure, and makes the page that is stored with each sealed run.
`writing.export` makes the other formats. This module imports nothing, so that command lines start
fast.
"""
