"""Read `rbkernel.toml` and the environment into one frozen `Settings`.

Secrets are never in the file: a password comes from the environment, a passfile, a service file
or a command.

Every name is loaded at its first use: building the models takes longer than all else that a
command such as `rbkernel --help` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rbkernel.firstuse import loader

if TYPE_CHECKING:
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

__getattr__ = loader(
    __name__,
    {
        "Command": "commands",
        "Connection": "connections",
        "tell_passwords_to": "connections",
        "find_file": "files",
        "load": "files",
        "sandbox_connections_file": "files",
        "sandbox_home": "files",
        "FILE_NAME": "settings",
        "Settings": "settings",
    },
)
