"""Read `reply` of a sender: where it learns that an incident was acknowledged or closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from rbkernel.config.addresses import must_protect_token
from rbkernel.config.printed import secret_of
from rbkernel.config.quantities import Seconds

# where senders take replies; for any other sender, the team gives the address
_USUAL: Mapping[str, str] = {
    "pagerduty": "https://api.pagerduty.com",
    "datadog": "https://api.datadoghq.com",
}


class Reply(BaseModel):
    """Where a sender learns that an incident of its alerts was acknowledged or closed.

    ``url`` is the address of the sender's interface, ``token_env`` the variable with its token.
    ``user`` is an e-mail address, in whose name PagerDuty changes its incident.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = ""
    token_env: str = Field(min_length=1)
    user: str = ""
    # the thread that sends notifications waits for the answer
    timeout_s: Annotated[Seconds, Field(le=30)] = 10.0

    def must_suit(self, sender: str) -> None:
        """Raise a ValueError if the sender takes no replies, or a field is missing or wrong."""
        if sender == "alertmanager":
            raise ValueError("Alertmanager has no interface for replies: remove `reply`")
        must_protect_token(self.address(sender))
        if sender == "pagerduty" and "@" not in self.user:
            raise ValueError("reply: PagerDuty needs the e-mail address of one of its users: user")
        if sender != "pagerduty" and self.user:
            raise ValueError("reply: user is a field of PagerDuty only: remove it")

    def address(self, sender: str) -> str:
        """Return the address of the sender's interface; empty if the team has to give it."""
        return (self.url or _USUAL.get(sender, "")).rstrip("/")

    def token(self, where: str) -> str:
        """Return the token; raise `ConfigError` if it is not set."""
        return secret_of(self.token_env, None, "token_env", where) or ""
