"""Read `[tickets]`: the system in which action items of postmortems become tickets."""

from __future__ import annotations

import os
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rbkernel.config.addresses import must_protect_token
from rbkernel.config.quantities import Seconds
from rbkernel.errors import ConfigError


class Tickets(BaseModel):
    """A system of tickets: GitHub's issues, or Jira.

    ``url`` is the address to which a new ticket is posted. The variable ``token_env`` contains the
    token; with ``user``, it is the password of this user (Jira Cloud). ``project`` and
    ``issue_type`` are those of Jira. Each ticket gets the ``labels``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["github", "jira"]
    url: str
    token_env: str = Field(min_length=1)
    user: str = ""
    project: str = ""
    issue_type: str = ""
    labels: tuple[str, ...] = ()
    timeout_s: Seconds = 10.0

    @model_validator(mode="after")
    def _is_whole(self) -> Tickets:
        must_protect_token(self.url)
        path = urlsplit(self.url).path
        of_jira = {"user", "project", "issue_type"} & self.model_fields_set
        if self.kind == "github" and of_jira:
            raise ValueError(f"{max(of_jira)} is a field of Jira: remove it, or set kind")
        if self.kind == "github" and not path.endswith("/issues"):
            raise ValueError("url: give the address of the issues, .../repos/OWNER/NAME/issues")
        if self.kind == "jira" and not path.endswith("/rest/api/2/issue"):
            raise ValueError("url: give the address of the issues, .../rest/api/2/issue")
        if self.kind == "jira" and not self.project:
            raise ValueError("project is missing: the key of the project in Jira, such as SHOP")
        return self

    def token(self) -> str:
        """Return the token; raise `ConfigError` if it is not set."""
        found = os.environ.get(self.token_env, "").strip()
        if not found:
            raise ConfigError(
                f"the token for tickets is not set: {self.token_env}",
                where="[tickets]",
                next_step=f"export {self.token_env}",
            )
        return found
