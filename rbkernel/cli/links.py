"""The command `rbkernel link`: print a signed link to a page."""

from __future__ import annotations

from typing import Annotated

import typer

from rbkernel import config
from rbkernel.cli.output import AsJson, tell
from rbkernel.cli.terminal import completing
from rbkernel.config.limits import LONGEST_LINK_H


def link(
    what: Annotated[
        str,
        typer.Argument(
            help="A run id or an incident id. Default: the console and all pages.",
            autocompletion=completing.incidents,
        ),
    ] = "",
    hours: Annotated[
        float | None,
        typer.Option(
            help="How many hours the link is valid. Default: 72, or as configured.",
            min=0.01,
            max=LONGEST_LINK_H,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print a signed link to a page of `rbkernel serve`.

    Anyone with the link can read the page until it expires.

    Exit codes: 0 printed, 3 error.

    Example: rbkernel link INC-20261120-7f3a --hours 4
    """
    from rbkernel.gateway import links

    settings = config.load()
    address = links.link(settings, what or links.EVERYTHING, hours=hours)
    if what:
        links.must_be_there(settings.evidence_root, what)
    tell(address, as_json=as_json, link=address)
