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
    import plotly.graph_objects as go

    from rbkernel.render.documents import figures, page

    frame = pd.DataFrame({"at": [pd.Timestamp(0)], "value": [1.0]})
    frame._repr_html_()  # type: ignore[operator]
    go.Figure(go.Scatter(x=frame["at"], y=frame["value"]))._repr_mimebundle_()
    nbformat.validate(nbformat.v4.new_notebook())
    # what every report needs: templates, style sheet, the highlighting of code, plotly.js
    page.render(page.Report(title="", subtitle="", sections=(), incident="INC-0"))
    page.environment().filters["code"]("x = 1")
    figures.plotly_hash()
    figures.packed_plotly()
