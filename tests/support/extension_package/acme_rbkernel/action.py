"""`rb.actions.restock("screws", 50)`: order articles."""

from rbkernel import actions


def restock(article: str, pieces: int) -> actions.ActionPlan:
    """Plan an order."""
    return actions.command(
        f"Order {pieces} of {article}",
        "warehouse order --article <article> --pieces <pieces>",
        values={"<article>": article, "<pieces>": str(pieces)},
        undo="warehouse cancel, until it is sent at 18:00",
    )
