"""The command `rbkernel incident postmortem`: who owns the postmortem, and how far it is."""

from __future__ import annotations

import dataclasses
import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbkernel import amounts, config
from rbkernel.cli.output import AsJson, tell
from rbkernel.cli.terminal import completing
from rbkernel.errors import ParameterError

if TYPE_CHECKING:
    from rbkernel.incidents.review import ReviewState


def postmortem_state(
    incident: Annotated[
        str, typer.Argument(help="The incident's id.", autocompletion=completing.incidents)
    ],
    state: Annotated[
        str, typer.Argument(help="draft, 'in review' or completed. Default: show the state.")
    ] = "",
    owner: Annotated[str, typer.Option(help="Who brings it to its end.")] = "",
    notebook: Annotated[
        Path | None, typer.Option(help="The notebook. Default: runs/INC-…/postmortem.ipynb.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show or record the state of a postmortem (draft, in review, completed) and its owner.

    It is completed only when no question is left in the notebook.

    Exit codes: 0 shown or recorded, 3 refused or error.

    Example: rbkernel incident postmortem INC-20261120-7f3a "in review" --owner ann
    """
    from rbkernel.incidents import postmortem, review, workflow
    from rbkernel.kernel import secrets

    settings = config.load()
    path = notebook or Path("runs") / incident / postmortem.NAME
    told = workflow.look(settings.evidence_root, incident).record
    found, left = review.review(told), postmortem.questions_left(path, incident)
    if state or owner:
        found = review.record(
            settings.evidence_root,
            workflow.look_to_write(settings.evidence_root, incident).record,
            _state(state or found.state),
            owner,
            left=len(left),
            by=getpass.getuser(),
            redactor=secrets.redactor(settings, os.environ),
        )
    tell(
        f"{incident}: postmortem {found.state}, owner {found.owner or 'nobody yet'};"
        f" {amounts.count(len(left), 'question')} left",
        as_json=as_json,
        incident=incident,
        **dataclasses.asdict(found),
        questions_left=left,
    )


def _state(word: str) -> ReviewState:
    from rbkernel.incidents.review import ReviewState

    if word not in set(ReviewState):
        raise ParameterError(
            f"{word!r} is not a state of a postmortem",
            where="rbkernel incident postmortem",
            next_step=f"use one of: {', '.join(ReviewState)}; with quotes",
        )
    return ReviewState(word)
