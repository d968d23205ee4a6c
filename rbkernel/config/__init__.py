"""Read `rbkernel.toml` and the environment into one frozen `Settings`.

Secrets are never in the file: a password comes from the environment, a passfile, a service file
or a command.
"""

from __future__ import annotations

from rbkernel.config.commands import Command
from rbkernel.config.connections import Connection, tell_passwords_to
from rbkernel.config.files import find_file, load, sandbox_connections_file, sandbox_home
from rbkernel.config.settings import FILE_NAME, Settings

__all__ = [
    "FILE_NAME",
    "Command",
    "Connection",
    "Settings",
    "find_file",
    "load",
    "sandbox_connections_file",
    "sandbox_home",
    "tell_passwords_to",
]
