"""Open a notebook in JupyterLab: on a running Jupyter server, else on a new server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode


@dataclass(frozen=True, kw_only=True)
class Server:
    """A Jupyter server of this user: its address, its root folder and its token."""

    url: str
    root: Path
    token: str = ""

    def address(self, name: str) -> str:
        """Return the address of a file in JupyterLab; the path is relative to the server's root.

        >>> server = Server(url="http://localhost:8888/", root=Path("/srv"), token="t")
        >>> server.address("runs/INC-1/a b.ipynb")
        'http://localhost:8888/lab/tree/runs/INC-1/a%20b.ipynb?token=t'
        """
        query = f"?{urlencode({'token': self.token})}" if self.token else ""
        return f"{self.url}lab/tree/{quote(name)}{query}"


def running(folder: Path, *, elsewhere: bool = True) -> Server | None:
    """Return a running Jupyter server in which to open a notebook; None if there is none.

    Parameters
    ----------
    folder
        The folder of the notebook. Servers that serve this folder are preferred; of several, the
        one with the nearest root.
    elsewhere
        Whether to return another server if none serves the folder.
    """
    from jupyter_server.serverapp import list_running_servers

    return nearest(list_running_servers(), folder.resolve(), elsewhere=elsewhere)


def nearest(
    listed: Iterable[Mapping[str, Any]], folder: Path, *, elsewhere: bool = True
) -> Server | None:
    """Choose the server for a folder from the list of running Jupyter servers. Pure.

    >>> listed = [{"url": f"http://localhost:{n}/", "root_dir": root, "token": ""}
    ...         for n, root in enumerate(("/srv", "/srv/a", "/other"))]
    >>> nearest(listed, Path("/srv/a/b")).url, nearest(listed, Path("/tmp")).url
    ('http://localhost:1/', 'http://localhost:0/')
    >>> nearest(listed, Path("/tmp"), elsewhere=False)
    """
    # a server on a Unix socket has no address for a browser
    servers = [
        Server(
            url=str(one["url"]),
            root=Path(one["root_dir"]).resolve(),
            token=str(one.get("token") or ""),
        )
        for one in listed
        if not one.get("sock") and one.get("root_dir")
    ]
    serving = [server for server in servers if folder.is_relative_to(server.root)]
    if serving:
        return max(serving, key=lambda server: len(server.root.parts))
    return servers[0] if servers and elsewhere else None


def command(notebook: Path, root: Path) -> list[str]:
    """Return the command that starts JupyterLab with a notebook below a root folder."""
    as_root = ["--allow-root"] if os.geteuid() == 0 else []
    lab = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}"]
    return [*lab, *as_root, str(notebook)]


def serve(notebook: Path, root: Path) -> int:
    """Run JupyterLab with a notebook until Ctrl-C ends it; return JupyterLab's exit code."""
    lab = subprocess.Popen(command(notebook, root))
    try:
        return lab.wait()
    except KeyboardInterrupt:
        lab.terminate()
        lab.wait()
        return 0
