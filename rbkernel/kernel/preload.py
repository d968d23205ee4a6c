"""Import the libraries that forked programs need, in the fork server."""

from __future__ import annotations

import gc
import importlib

import rbkernel

# the imports of a kernel until the end of its first figure, and of a run until its seal
_MODULES = (
    "rbkernel.kernel.app",
    "rbkernel.kernel.magics",
    "ipykernel.debugger",
    "ipywidgets",
    "IPython.core.completer",
    "nbformat",
    "jsonschema.validators",
    "numpy",
    "pandas",
    "pandas.io.formats.html",
    "plotly.express",
    "plotly.graph_objects",
    "plotly.io",
    "psutil",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlglot.dialects.postgres",
    "rbkernel.sources.postgres.library",
    "papermill",
    "papermill.execute",
    "nbclient",
    "rbkernel.cli",
    "rbkernel.cli.documents",
    "rbkernel.run.runner",
    "rbkernel.run.engine",
    "rbkernel.evidence.bundle",
    "rbkernel.render.documents.report",
)


def preload() -> None:
    """Import the libraries that forked programs need, use some once, and leave no state behind."""
    from ipykernel.zmqshell import ZMQInteractiveShell
    from traitlets.config import Config

    # plotly and pandas choose their display mode at import: a kernel's shell must exist then
    shell = ZMQInteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    with shell.builtin_trap:
        for name in _MODULES:
            importlib.import_module(name)
        for name in rbkernel.__all__:
            getattr(rbkernel, name)
        _use()
    ZMQInteractiveShell.clear_instance()  # each kernel creates its own shell
    gc.collect()
    gc.freeze()  # a garbage collection in a child would copy the memory pages of all these objects


def _use() -> None:
    """Use slow libraries once: they import, compile and fill caches at their first use."""
    import nbformat
    import pandas as pd
    from jupyter_client.provisioning.factory import KernelProvisionerFactory

    from rbkernel import config
    from rbkernel.render import figure
    from rbkernel.render.documents import figures, page
    from rbkernel.runbook import catalogue
    from rbkernel.sources.postgres import library

    frame = pd.DataFrame({"at": [pd.Timestamp(0)], "name": ["a"], "value": [1.0]})
    frame._repr_html_()  # type: ignore[operator]
    figure.timeline(frame, "value", x="at", by="name", warn=1, critical=2)._repr_mimebundle_()
    figure.bars(frame, "value", "name", limit=1)
    figure.strip(frame, "value", by="name")
    nbformat.validate(nbformat.v4.new_notebook())
    # what every report needs: templates, style sheet, the highlighting of code, plotly.js
    page.render(page.Report(title="", subtitle="", sections=(), incident="INC-0"))
    page.environment().filters["code"]("x = 1")
    figures.plotly_hash()
    figures.packed_plotly()
    # what every run needs: the command line, the entry points, the catalogue, the diagnostics
    importlib.import_module("rbkernel.cli").command()  # only a name: it is above this layer
    KernelProvisionerFactory.instance()
    config.Settings()
    catalogue.look([])
    for name in library.names():
        library.get(name)
