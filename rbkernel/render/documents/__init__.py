"""Exports of evidence for people without Jupyter: a page, a PDF, Markdown, an archive to verify.

`report.report_files` is pure, and makes the page that is stored with each sealed run.
`writing.export` makes the other formats. This module imports nothing, so that command lines start
fast.
"""
