"""The roles, passwords and connections of the sandbox's servers.

Each role has a random password in its own passfile, so that the connection of the diagnostic role
cannot be used to log in as another role.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rbkernel.config import Connection
from rbkernel.sandbox.home import Home
from rbkernel.sources.postgres.connection import driver

# a scenario may add a second standby, the spare one
Server = Literal["primary", "standby", "spare"]
Role = Literal["postgres", "replicator", "shop_app", "rb_diag", "rb_action", "rb_nobody"]

HOST = "127.0.0.1"
#: The source of the service side, and the range of its rates: a drill cannot wait for 5 min.
PROMETHEUS = "sandbox-prometheus"
RATE_WINDOW = "20s"
#: The paths of the shop that answer as Loki and Jaeger do, by the kind of the source.
STAND_INS = {"loki": "/stand-in-for-loki", "jaeger": "/stand-in-for-jaeger"}
DATABASE = "shop"
ROLES: tuple[Role, ...] = (
    "postgres",
    "replicator",
    "shop_app",
    "rb_diag",
    "rb_action",
    "rb_nobody",
)
PUBLISHED: dict[str, tuple[Role, Server]] = {
    "sandbox-primary": ("rb_diag", "primary"),
    "sandbox-standby": ("rb_diag", "standby"),
    "sandbox-unprivileged": ("rb_nobody", "primary"),
    "sandbox-unprivileged-standby": ("rb_nobody", "standby"),
}


# the connections of the diagnostic role, for which approved actions can be executed, too
_ACTION: Role = "rb_action"
_DEFAULT, _STANDBY = "sandbox-primary", "sandbox-standby"
STANDBY_NAME = "sandbox-standby"  # the standby's application_name


@dataclass(frozen=True, kw_only=True)
class Access:
    """Gives access to a sandbox: its folder and its ports, and connections to its servers."""

    home: Home
    primary_port: int
    standby_port: int
    service_ports: Mapping[str, int] = field(default_factory=dict)

    def port(self, server: Server) -> int:
        """Return the port of a server; the port of the spare server is read from its
        configuration.
        """
        if server == "spare":
            text = (self.home.data(server) / "postgresql.conf").read_text(encoding="utf-8")
            return int(re.findall(r"^port = '(\d+)'$", text, re.MULTILINE)[-1])
        return self.primary_port if server == "primary" else self.standby_port

    def connection(self, role: Role, server: Server, dbname: str = DATABASE) -> Connection:
        """Return the connection with which a role logs in to a server of the sandbox."""
        return Connection(
            name=f"sandbox {server} as {role}",
            host=HOST,
            port=self.port(server),
            dbname=dbname,
            user=role,
            passfile=passfile(self.home, role),
        )

    def connect(
        self,
        role: Role,
        server: Server = "primary",
        *,
        application_name: str = "sandbox",
        dbname: str = DATABASE,
        autocommit: bool = True,
    ) -> driver.RawConnection:
        """Open a session on a server of the sandbox as one of its roles.

        Raises
        ------
        DatabaseError
            The server refuses the login.
        """
        return driver.connect(
            self.connection(role, server, dbname),
            application_name=application_name,
            autocommit=autocommit,
        )

    def publish(self) -> None:
        """Write the connections file, so that runbooks can use the sandbox."""
        text = "# written by `rbkernel sandbox up`, removed by `rbkernel sandbox down`\n"
        for name, (role, server) in PUBLISHED.items():
            fields: dict[str, str | int | bool] = {
                "host": HOST,
                "port": self.port(server),
                "dbname": DATABASE,
                "user": role,
                "passfile": str(passfile(self.home, role)),
            }
            if name == _DEFAULT:
                standby = {"standby": _STANDBY, "standby_name": STANDBY_NAME}
                fields |= {"default": True, **standby}
            # JSON strings, numbers and booleans are also valid TOML
            lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
            text += "\n".join([f"\n[connections.{name}]", *lines, ""])
            if role == "rb_diag":
                path = json.dumps(str(passfile(self.home, _ACTION)))
                action = [f'user = "{_ACTION}"', f"passfile = {path}"]
                text += "\n".join([f"\n[connections.{name}.action]", *action, ""])
        if port := self.service_ports.get("prometheus"):
            source = [f'url = "http://{HOST}:{port}"', f'rate_window = "{RATE_WINDOW}"']
            text += "\n".join([f"\n[sources.{PROMETHEUS}]", 'kind = "prometheus"', *source, ""])
        if port := self.service_ports.get("shop"):
            for kind, path in STAND_INS.items():
                url = json.dumps(f"http://{HOST}:{port}{path}")
                section = f"[sources.sandbox{path.removeprefix('/stand-in-for')}-stand-in]"
                text += "\n".join(["", section, f'kind = "{kind}"', f"url = {url}", ""])
        self.home.write(self.home.connections_file, text)


def passfile(home: Home, role: Role) -> Path:
    """Return the path of a role's passfile, which has the format of ``PGPASSFILE``."""
    return home.passwords / role


def create_passwords(home: Home) -> dict[Role, str]:
    """Create a random password for each role, and write it to the role's passfile."""
    home.passwords.mkdir(mode=0o700)
    passwords = {role: secrets.token_urlsafe(24) for role in ROLES}
    for role, password in passwords.items():
        home.write(passfile(home, role), f"{HOST}:*:*:{role}:{password}\n")
    return passwords
