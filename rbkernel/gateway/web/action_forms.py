"""What people do about actions on a page: ask for the approval, approve, execute and reject.

A link opens the page and nothing more: an approval is a passkey's signature, and only what was
approved can be executed here. `rbkernel serve` alone takes these forms.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial

from rbkernel.errors import ActionRefused
from rbkernel.evidence import incident
from rbkernel.execution import approval, executor, kinds, proposal, undo
from rbkernel.execution.ledger import Ledger
from rbkernel.execution.proposal import Proposal
from rbkernel.gateway.web.actions import ledger_of
from rbkernel.gateway.web.forms import MOST_NOTE, Change, Sent, must_have_room
from rbkernel.gateway.web.site import Site
from rbkernel.model import Origin

_log = logging.getLogger(__name__)
# of steps that look at one database, one looks, and two wait this long, in s
_WAIT_S, _MOST_AT_ONCE = 10.0, 3
_TURNS: dict[str, tuple[threading.Semaphore, threading.Lock]] = {}


def request(site: Site, sent: Sent) -> None:
    """Record the preview of an action, for people to approve.

    Raises
    ------
    ActionRefused, EvidenceError
        It is not allowed, or cannot be recorded.
    """
    with _looking(site, sent) as (ledger, found):
        must_have_room(incident.look(ledger.root, found.incident), {"action"})
        approval.request(ledger, found.plan, by=sent.by, person=sent.person, origin=Origin.PAGE)


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
    with _looking(site, sent) as (ledger, found):
        seen = sent.fields.get("digest", "")
        approval.approve_with_passkey(ledger, found.plan, seen, answer, reason=_reason(sent))


def approve_by_name(site: Site, sent: Sent) -> None:
    """Approve an action by a click, as the person who is signed in or whom the proxy names.

    Raises
    ------
    ActionRefused
        Nobody is named, the word for it does not count, or something changed.
    """
    person = sent.person
    if person is None:
        raise ActionRefused(
            "nothing says who you are, so nothing was approved",
            where="[pages]",
            next_step="sign in at the top of the page; behind a proxy, open the page at its"
            " address, and log in",
        )
    with _looking(site, sent) as (ledger, found):
        seen = sent.fields.get("digest", "")
        approval.approve_by_name(ledger, found.plan, seen, person, reason=_reason(sent))


def _reason(sent: Sent) -> str:
    """Return why a person alone approves what needs more people; empty in the usual forms."""
    if "reason" not in sent.fields:
        return ""
    # an empty reason is none, and so is refused; it is no usual approval
    return sent.text("reason", MOST_NOTE) or "none"


def execute(site: Site, sent: Sent) -> None:
    """Begin the execution of an approved action; its outcome is recorded later.

    Raises
    ------
    ActionRefused
        It is not approved, or something changed: nothing was executed.
    """
    begun: Future[None] = Future()
    # started first: an intent without a thread would have no outcome; not a daemon: a server that
    # stops waits until the outcome is recorded
    threading.Thread(target=_execute, args=(site, sent, begun), name="rbkernel-execution").start()
    begun.result()


def _execute(site: Site, sent: Sent, told: Future[None]) -> None:
    try:
        with _looking(site, sent) as (ledger, found):
            seen = sent.fields.get("digest", "")
            begun = executor.begin(
                ledger, found.plan, seen, by=sent.by, origin=Origin.PAGE, least=1
            )
    except Exception as error:  # noqa: BLE001  # the form raises it again
        told.set_exception(error)
        return
    told.set_result(None)
    try:
        executor.carry_out(ledger, begun)
    except Exception:  # noqa: BLE001  # the action becomes indeterminate: nothing is tried again
        _log.exception("the outcome of plan %s was not recorded", found.plan)


def reject(site: Site, sent: Sent) -> None:
    """Reject an action; this waits for no database.

    Raises
    ------
    ActionRefused
        It is over already, or the page shows another preview.
    """
    ledger, found = _opened(site, sent)
    # an empty digest is no digest of what the person saw
    seen = sent.fields.get("digest", "") or "none"
    why = sent.text("note", MOST_NOTE) or "no reason was given"
    approval.reject(ledger, found.plan, why, seen=seen, by=sent.by, origin=Origin.PAGE)


def _opened(site: Site, sent: Sent) -> tuple[Ledger, Proposal]:
    """Return the actions, and the one of a form, which must be one of the page.

    Raises
    ------
    ActionRefused
        The page proposes no such plan, or another incident proposed it again.
    """
    ledger = ledger_of(site)
    plan = sent.fields.get("plan", "")
    plans = proposal.plans_of(ledger.root, sent.what)
    home = plans.get(plan) or undo.home_of(ledger.root, plan, plans)
    if home:
        found = ledger.named(plan)
        record = incident.remaining(partial(incident.look, ledger.root), home)
        if found.plan == plan and found.incident == record.id:
            return ledger, found
    raise ActionRefused(
        "this action is not proposed here any more",
        where=sent.what,
        next_step="open the page again, or the one of the newest incident that proposes it",
    )


@contextmanager
def _looking(site: Site, sent: Sent) -> Iterator[tuple[Ledger, Proposal]]:
    """Wait until no other form looks at the database of an action; see `_opened`.

    Raises
    ------
    ActionRefused
        The page proposes no such plan, or others keep the database busy.
    """
    ledger, found = _opened(site, sent)
    kinds.get(found.action).place(ledger.settings, found)  # there is such a connection
    name = found.connection or found.action
    made = (threading.Semaphore(_MOST_AT_ONCE), threading.Lock())
    room, turn = _TURNS.setdefault(name, made)
    busy = ActionRefused(
        f"other steps of actions look at {name}: nothing was recorded",
        next_step="try again in a moment",
    )
    if not room.acquire(blocking=False):
        raise busy
    try:
        if not turn.acquire(timeout=_WAIT_S):
            raise busy
        try:
            yield _opened(site, sent)  # much may have changed in the meantime
        finally:
            turn.release()
    finally:
        room.release()


CHANGES: Mapping[str, Change] = {
    "request": request,
    "approve": approve,
    "approve-by-name": approve_by_name,
    "execute": execute,
    "reject": reject,
}
