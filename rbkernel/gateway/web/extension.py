"""A Jupyter server extension that shows the pages to users who are logged in to Jupyter.

Every handler is a Jupyter handler, so identity, authorization, XSRF and the host check are
Jupyter's. An error of this extension is logged, and never prevents Jupyter's start.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado.web import authenticated

from rbkernel import config
from rbkernel.displaytext import one_line
from rbkernel.errors import RbkernelError, StoreError
from rbkernel.gateway.jobs.storage import tables
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.web import BASE
from rbkernel.gateway.web import routes as pages
from rbkernel.gateway.web.forms import Sent, author
from rbkernel.gateway.web.routes import FORM_ROUTES, ROUTES, RUN, FormRoute, Route
from rbkernel.gateway.web.site import Site
from rbkernel.gateway.web.tornado_pages import Shows, fields_of
from rbkernel.incidents import working_copy


class Page(Shows, JupyterHandler):
    """Handler of a page, for users who may read files in this Jupyter."""

    auth_resource = "contents"

    def initialize(self, site: Site, route: Route) -> None:
        """Store the arguments that the extension was loaded with."""
        self.site, self._route = site, route

    @authenticated
    @authorized
    async def get(self, what: str = "") -> None:
        """Answer with the page."""
        await self.show(self._route, what, xsrf=self.xsrf_token.decode("ascii"))

    head = get


class Form(Shows, JupyterHandler):
    """Handler of a form, for users who may write files in this Jupyter, with Jupyter's XSRF check.

    The author is the user of Jupyter. Where Jupyter has no accounts, the typed name is recorded. On
    a server that JupyterHub started, it is the Hub's user; the server runs as its owner, who could
    have it say any name, so the record names the owner, too.
    """

    auth_resource = "contents"

    def initialize(self, site: Site, route: FormRoute) -> None:
        """Store the arguments that the extension was loaded with."""
        self.site, self._route = site, route

    @authenticated
    @authorized
    async def post(self, what: str) -> None:
        """Change what the form asks for, or say why nothing was changed."""
        page = self.request.path.rsplit("/", 1)[0]
        sent = Sent(what=what, fields=fields_of(self), by=self._author())
        await self.change(self._route, sent, page)

    def _author(self) -> str:
        user = self.current_user
        if hasattr(user, "hub_user"):  # by the identity provider of JupyterHub
            owner = os.environ.get("JUPYTERHUB_USER", "an unknown owner")
            return author(user.username, f"JupyterHub, on the server of {one_line(owner)}")
        if user.name.startswith("Anonymous "):  # Jupyter invents a name for each browser
            return author(self.get_body_argument("name", ""), "Jupyter without accounts")
        return author(user.username, "Jupyter")


class Continue(Shows, JupyterHandler):
    """Handler of *Continue in JupyterLab*: makes a run's working copy, and redirects to it."""

    auth_resource = "contents"

    def initialize(self, site: Site, root: Path) -> None:
        """Store the arguments that the extension was loaded with."""
        self.site, self._root = site, root

    @authenticated
    @authorized
    async def post(self, run_id: str) -> None:
        """Make a run's working copy, or find the existing copy; redirect to it."""
        try:
            copy = await asyncio.to_thread(self._make, run_id)
        except RbkernelError as error:
            self.send(pages.message(self.site, error, 500))
            return
        self.redirect(url_path_join(self.base_url, "lab/tree", quote(copy.name)), status=303)

    def _make(self, run_id: str) -> working_copy.WorkingCopy:
        return working_copy.make(config.load(), run_id, self._root)


class Static(Shows, JupyterHandler):
    """Handler of the static files that all pages share."""

    auth_resource = "contents"

    def initialize(self, site: Site) -> None:
        """Store the arguments that the extension was loaded with."""
        self.site = site

    @authenticated
    @authorized
    async def get(self, name: str) -> None:
        """Answer with a static file."""
        await self.send_static(name)

    head = get


class Nothing(Shows, JupyterHandler):
    """Handler of every address below the pages' root that is no page."""

    auth_resource = "contents"

    def initialize(self, site: Site) -> None:
        """Store the arguments that the extension was loaded with."""
        self.site = site

    @authenticated
    @authorized
    def get(self) -> None:
        """Answer 404: there is no page at this address."""
        self.send(pages.nothing_here(self.site))

    head = get


def _load_jupyter_server_extension(server: Any) -> None:
    """Add the pages to a Jupyter server, below its base address; Jupyter calls this function."""
    try:
        settings = config.load()
        base = url_path_join(server.base_url, BASE)
        find = _Finder(settings.store_url, server.log)
        site = Site(settings=settings, base=base, find_store=find, in_jupyter=True)
    except RbkernelError as error:
        server.log.error("rbkernel pages are not available: %s", error)  # noqa: TRY400  # noqa: TRY400  # the message says what to do
        return
    root = Path(server.contents_manager.root_dir).resolve()
    server.web_app.add_handlers(".*$", rules(site, root))
    server.log.info("rbkernel pages are at %s", base)


def rules(site: Site, root: Path) -> list[tuple[str, Any, dict[str, Any]]]:
    """Return the handlers of the extension, as tornado's rules: pattern, handler, arguments.

    Parameters
    ----------
    site
        The site that renders the pages.
    root
        Jupyter's root folder, in which working copies are made.
    """
    shared = {"site": site}
    return [
        *((f"{site.base}{one.pattern}/?", Page, {**shared, "route": one}) for one in ROUTES),
        *((f"{site.base}{one.pattern}", Form, {**shared, "route": one}) for one in FORM_ROUTES),
        (f"{site.base}/runs/({RUN})/continue", Continue, {**shared, "root": root}),
        (f"{site.base}/static/([a-z.]+)", Static, shared),
        (f"{site.base}(?:/.*)?", Nothing, shared),
    ]


class _Finder:
    """Opens the gateway's store once it exists; Jupyter never creates a store."""

    def __init__(self, url: str, log: logging.Logger) -> None:
        self._address = tables.address(url)
        self._url = url
        self._log = log
        self._found: Store | None = None

    def __call__(self) -> Store | None:
        if self._found is None and self._is_there():
            try:
                self._found = Store.open(self._url)
            except StoreError as error:
                self._log.warning("rbkernel pages cannot show the queue: %s", error)
        return self._found

    def _is_there(self) -> bool:
        in_file = self._address.get_backend_name() == "sqlite"
        return not in_file or Path(self._address.database or "").is_file()
