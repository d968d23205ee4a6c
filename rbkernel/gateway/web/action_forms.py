"""What people do about actions on a page: ask for the approval, approve, execute and reject.

A link opens the page and nothing more: an approval is a passkey's signature, and only what was
approved can be executed here. `rbkernel serve` alone takes these forms.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from rbkernel.errors import ActionRefused, RbkernelError
from rbkernel.evidence import incident
from rbkernel.execution import approval, executor, proposal
from rbkernel.execution.ledger import Ledger
from rbkernel.gateway.web.actions import settings_of
from rbkernel.gateway.web.forms import MOST_NOTE, Change, Sent, must_have_room
from rbkernel.gateway.web.site import Site
from rbkernel.model import Origin

_log = logging.getLogger(__name__)
# steps that look at a database are taken one after the other; more people wait this long, in s
_TURN = threading.Lock()
_WAIT_S = 10.0


def request(site: Site, sent: Sent) -> None:
    """Record the preview of an action, for people to approve.

    Raises
    ------
    ActionRefused, EvidenceError
        It is not allowed, or cannot be recorded.
    """
    ledger, plan = _opened(site, sent)
    must_have_room(incident.look(ledger.root, ledger.named(plan).incident), {"action"})
    with _turn():
        approval.request(ledger, plan, by=sent.by, origin=Origin.PAGE)


def approve(site: Site, sent: Sent) -> None:
    """Approve an action with a passkey.

    Raises
    ------
    ActionRefused
        No valid signature over what the person saw was sent, or something changed.
    """
    answer = sent.fields.get("answer", "")
    if not answer:
        raise ActionRefused(
            "no passkey signed, so nothing was approved",
            next_step="allow JavaScript on this page, and use the button again",
        )
    ledger, plan = _opened(site, sent)
    with _turn():
        approval.approve_with_passkey(ledger, plan, sent.fields.get("digest", ""), answer)


def execute(site: Site, sent: Sent) -> None:
    """Begin the execution of an approved action; its outcome is recorded later.

    Raises
    ------
    ActionRefused
        It is not approved, or something changed: nothing was executed.
    """
    ledger, plan = _opened(site, sent)
    seen = sent.fields.get("digest", "")
    with _turn():
        begun = executor.begin(ledger, plan, seen, by=sent.by, origin=Origin.PAGE, least=1)

    def carry_out() -> None:
        try:
            executor.carry_out(ledger, begun)
        except RbkernelError:
            # without an outcome the action becomes indeterminate, and nothing is tried again
            _log.exception("the outcome of plan %s was not recorded", plan)

    # not a daemon: a server that stops waits until the outcome is recorded
    threading.Thread(target=carry_out, name=f"action {plan}").start()


def reject(site: Site, sent: Sent) -> None:
    """Reject an action; this waits for no database.

    Raises
    ------
    ActionRefused
        It is over already, or the page shows another preview.
    """
    ledger, plan = _opened(site, sent)
    # an empty digest is no digest of what the person saw
    seen = sent.fields.get("digest", "") or "none"
    why = sent.text("note", MOST_NOTE) or "no reason was given"
    approval.reject(ledger, plan, why, seen=seen, by=sent.by, origin=Origin.PAGE)


def _opened(site: Site, sent: Sent) -> tuple[Ledger, str]:
    """Return the actions, and the plan of a form, which must be one of the page.

    Raises
    ------
    ActionRefused
        The page proposes no such plan, or another incident proposed it again.
    """
    settings = settings_of(site)
    ledger = Ledger(settings, site.redactor)
    plan = sent.fields.get("plan", "")
    home = proposal.plans_of(ledger.root, sent.what).get(plan)
    if home is not None:
        found = ledger.named(plan)
        record = incident.remaining(partial(incident.look, ledger.root), home)
        if found.plan == plan and found.incident == record.id:
            return ledger, plan
    raise ActionRefused(
        "this action is not proposed here any more",
        where=sent.what,
        next_step="open the page again, or the one of the newest incident that proposes it",
    )


@contextmanager
def _turn() -> Iterator[None]:
    """Wait until no other form looks at a database.

    Raises
    ------
    ActionRefused
        Others keep it busy.
    """
    if not _TURN.acquire(timeout=_WAIT_S):
        raise ActionRefused(
            "other steps of actions are being taken: nothing was recorded",
            next_step="try again in a moment",
        )
    try:
        yield
    finally:
        _TURN.release()


CHANGES: Mapping[str, Change] = {
    "request": request,
    "approve": approve,
    "execute": execute,
    "reject": reject,
}
