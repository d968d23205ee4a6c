"""The page on which an approver registers a passkey, with an invitation.

Anybody may open the page: it shows nothing. The invitation's secret is in the fragment of the
address, which browsers do not send; the page's script posts it. So only a POST uses it up, and a
program that follows links to preview them does not.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from rbkernel.config import Settings
from rbkernel.errors import ActionRefused, RbkernelError
from rbkernel.execution import assertions, passkey_signing
from rbkernel.execution.passkeys import NotInvited
from rbkernel.gateway.web import actions
from rbkernel.gateway.web.site import Site
from rbkernel.gateway.web.tornado_pages import Shows

_log = logging.getLogger(__name__)


class PasskeyPage(Shows):
    """Handler of the page and of its two requests: for the options, and with the passkey."""

    def initialize(self, site: Site) -> None:
        """Store the arguments that the application was made with."""
        self.site = site

    def get(self) -> None:
        """Answer with the page."""
        self.send(self.site.render("passkey.html.j2", refresh_s=0))

    head = get

    async def post(self) -> None:
        """Answer with the options for the browser; or register the passkey that it made."""
        secret = self.get_body_argument("invitation", "")
        answer = self.get_body_argument("answer", "")
        try:
            said = await asyncio.to_thread(self._registered, secret, answer)
        except RbkernelError as error:
            _log.warning("no passkey was registered: %s (from %s)", error, self.request.remote_ip)
            self.set_status(400)
            said = {"refused": error.what, "next": error.next_step}
        self.set_header("Cache-Control", "no-store")
        self.finish(said)

    def _for_a_guest(self, secret: str) -> tuple[Settings, datetime]:
        """Return the configuration and the time; strangers learn nothing about the former."""
        try:
            settings, now = actions.settings_of(self.site), datetime.now(UTC)
            passkey_signing.must_be_invited(settings, secret, now)
        except NotInvited:
            raise
        except RbkernelError as error:
            _log.warning("no passkey can be registered: %s", error)
            raise ActionRefused(
                "no passkey can be registered now",
                next_step="tell an administrator, who finds the reason in the log of the gateway",
            ) from error
        return settings, now

    def _registered(self, secret: str, answer: str) -> dict[str, Any]:
        settings, now = self._for_a_guest(secret)
        if not answer:
            return {"options": passkey_signing.options(settings, secret, now)}
        made = passkey_signing.register(settings, secret, answer, now)
        key, place = assertions.fingerprint(made), self.request.remote_ip
        _log.warning("registered for %s: %s (from %s)", made.name, key, place)
        return {"done": f"This passkey now approves as {made.name}."}
