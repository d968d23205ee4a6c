"""Read what all tables share that say who a person is: the secret, which nobody else knows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from rbkernel.errors import ConfigError

# how a person is known who does not sign; also the name of the table in [pages]
Said = Literal["proxy", "oidc", "jupyterhub"]
_SHORTEST_SECRET = 32
_READABLE_BY_OTHERS = 0o077


class NamesPeople(BaseModel):
    """Who names people on the pages: a proxy, an OpenID provider, or JupyterHub.

    It shares a secret with rbkernel, from the variable ``secret_env`` or from ``secret_file``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: ClassVar[Said]

    secret_env: str = ""
    secret_file: Path | None = None

    @model_validator(mode="after")
    def _has_a_secret(self) -> NamesPeople:
        if bool(self.secret_env) == bool(self.secret_file):
            raise ValueError("give either secret_env or secret_file")
        return self

    def secret(self) -> bytes:
        """Fetch the shared secret.

        Raises
        ------
        ConfigError
            It is not set or too short, or its file cannot be read, or other users can read it.
        """
        found = self._in_file() if self.secret_file else os.environ.get(self.secret_env, "")
        found = found.strip()
        if len(found) < _SHORTEST_SECRET:
            what = f"is shorter than {_SHORTEST_SECRET} characters" if found else "is not set"
            raise self._problem(
                f"the secret {what}",
                f"set {self.secret_env or self.secret_file}, for example to the output of"
                " `openssl rand -hex 32`, here and on the other side",
            )
        return found.encode()

    def _in_file(self) -> str:
        file = self.secret_file or Path()
        try:
            mode = file.stat().st_mode
            text = file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise self._problem(
                f"the secret cannot be read: {error}", f"write it into {file}"
            ) from error
        if mode & _READABLE_BY_OTHERS:
            raise self._problem("other users can read the secret", f"run chmod 600 {file}")
        return text

    def _problem(self, what: str, next_step: str) -> ConfigError:
        return ConfigError(what, where=f"[pages.{self.identity}]", next_step=next_step)
