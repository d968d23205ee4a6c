"""The command `rbkernel evidence export`: evidence for people who have no Jupyter."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from rbkernel import config
from rbkernel.cli.destinations import Force, destination
from rbkernel.cli.output import AsJson, progress, tell
from rbkernel.cli.terminal import completing
from rbkernel.render.documents.formats import Format


def export(
    what: Annotated[
        str, typer.Argument(help="An incident id or a run id.", autocompletion=completing.incidents)
    ],
    to: Annotated[
        Format,
        typer.Option(
            "--to", help="Format: HTML page, PDF, Markdown with pictures, or the sealed archive."
        ),
    ] = Format.HTML,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="The file or folder to write (DIR/ is created). Default: the working folder.",
        ),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write a run or an incident as a page, a PDF, Markdown, or an archive to verify.

    Exit codes: 0 written, 3 error.

    Example: rbkernel evidence export INC-20261120-7f3a --to pdf
    """
    from rbkernel.render.documents import writing

    progress(f"reading the evidence of {what}")
    settings = config.load()
    root, signers = settings.evidence_root, settings.allowed_signers
    to_write = destination(output, f"{what}.{to.value}", force=force)
    written = writing.export(root, what, to, to_write.path, signers=signers)
    beside = written.beside
    tell(
        written.path,
        *(["  replaced the existing file"] if to_write.replaces else []),
        *([f"  with {beside[0].parent} ({len(beside)})"] if beside else []),
        *(f"  {remark}" for remark in written.remarks),
        as_json=as_json,
        **dataclasses.asdict(written),
    )
