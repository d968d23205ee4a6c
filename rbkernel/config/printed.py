"""Read a secret from the environment or the output of a command. It must never be shown."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from rbkernel.errors import ConfigError

_TIMEOUT_S = 30.0


def secret_of(
    variable: str | None, command: Sequence[str] | None, field: str, where: str
) -> str | None:
    """Return a secret from an environment variable or a command; None if neither is configured.

    Raises
    ------
    ConfigError
        The variable is not set, or the command failed.
    """
    if variable:
        if variable not in os.environ:
            raise ConfigError(
                f"the environment variable {variable} is not set",
                where=where,
                next_step=f"export {variable}, then try again",
            )
        return os.environ[variable]
    return printed_by(command, field, where).rstrip("\n") if command else None


def printed_by(command: Sequence[str], field: str, where: str) -> str:
    """Return the output of a command, which is a secret.

    Parameters
    ----------
    command
        The program and its arguments.
    field, where
        The name of the field in the configuration, and its location, for errors.

    Raises
    ------
    ConfigError
        The command cannot be run, failed, took more than 30 s, or did not print text.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        # the output may contain the secret, so only the kind of failure is shown
        raise ConfigError(
            f"{field} failed ({type(error).__name__})",
            where=where,
            next_step=f"run `{command[0]}` by hand and see why",
        ) from None
    return done.stdout
