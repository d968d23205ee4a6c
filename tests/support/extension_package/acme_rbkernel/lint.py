"""Rules of the team for its runbooks."""

from collections.abc import Iterator

from rbkernel.lint import Document, Found, Level, in_field, rule


@rule("AC101", "owner-is-a-team", Level.ERROR, "maintained")
def owner_is_a_team(document: Document) -> Iterator[Found]:
    """The owner is not a team.

    Why: people leave.

    Instead: the name of a team, which begins with `team-`.
    """
    if document.front is not None and not document.front.owner.startswith("team-"):
        yield in_field(document, "owner", "the owner is not a team", "write owner: team-…")
