"""Evidence for people who have no Jupyter: a page, a PDF, Markdown, an archive to verify.

`report.report_files` is pure and makes the page that lies beside each sealed run; `writing.export`
makes all the rest. This module stays empty, so that a command line does not wait for it.
"""
