"""A real JupyterHub with a login of its own, of which rbkernel is a service.

No server of a user is started, so no proxy is needed: browsers use the Hub's own port.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.acceptance.alertmanagers import free_port
from tests.support.waiting import until

SERVICE, SECRET, PASSWORD = "rbkernel", "hub-Tr0ub4dor-hub-Tr0ub4dor-hub-12", "dummy-password-of-12"
_CONFIGURATION = """
from jupyterhub.proxy import Proxy

class NoProxy(Proxy):
    "There is nothing to forward to."
    async def start(self): pass
    async def stop(self): pass
    async def add_route(self, routespec, target, data): pass
    async def delete_route(self, routespec): pass
    async def get_all_routes(self): return {{}}

c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.bind_url = c.JupyterHub.hub_bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{password}"
c.Authenticator.allowed_users = {{"ann", "bob", "eve", "dan"}}
c.JupyterHub.load_groups = {{"sre": {{"users": ["ann", "bob", "dan"]}}}}
c.JupyterHub.load_roles = [
    {{"name": "responders", "scopes": ["access:services!service={service}"],
     "users": ["ann", "bob", "eve"]}},
]
c.JupyterHub.services = [
    {{"name": "{service}", "api_token": "{secret}", "oauth_redirect_uri": "{callback}",
     "oauth_no_confirm": True, "oauth_client_allowed_scopes": ["read:users:groups!user"]}},
]
"""


@contextmanager
def jupyterhub(folder: Path, callback: str) -> Iterator[str]:
    """Run the Hub, whose service comes back to ``callback``; give its address."""
    folder.mkdir()
    port = free_port()
    file = folder / "jupyterhub_config.py"
    values = {"port": port, "password": PASSWORD, "service": SERVICE, "secret": SECRET}
    file.write_text(_CONFIGURATION.format(callback=callback, **values))
    command = [sys.executable, "-m", "jupyterhub", "-f", str(file)]
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env={**os.environ}, stdout=log, stderr=subprocess.STDOUT
        )

        def answers() -> bool:
            assert server.poll() is None, (folder / "log").read_text()
            try:
                return httpx.get(f"{url}/hub/api/").is_success
            except httpx.HTTPError:
                return False

        try:
            until(answers, "JupyterHub")
            yield url
        finally:
            server.terminate()
            server.wait(60)
