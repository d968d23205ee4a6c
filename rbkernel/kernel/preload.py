"""Import what the programs need, as a kernel would: with a shell, and nothing left behind."""

from __future__ import annotations

import gc
import importlib

import rbkernel

# what a kernel imports until the end of its first figure, and a run until its seal
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
    """Import everything, and use it once."""
    from ipykernel.zmqshell import ZMQInteractiveShell
    from traitlets.config import Config

    # plotly and pandas choose how they display when they are imported: with a kernel's shell there
    shell = ZMQInteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    with shell.builtin_trap:
        for name in _MODULES:
            importlib.import_module(name)
        for name in rbkernel.__all__:
            getattr(rbkernel, name)
        _use()
    ZMQInteractiveShell.clear_instance()  # each kernel makes its own
    gc.collect()
    gc.freeze()  # a collection in a child would copy the pages of all these objects


def _use() -> None:
    """Use the libraries once: some of them import, compile and cache at their first use."""
    import nbformat
    import pandas as pd
    import plotly.graph_objects as go

    frame = pd.DataFrame({"at": [pd.Timestamp(0)], "value": [1.0]})
    frame._repr_html_()  # type: ignore[operator]
    go.Figure(go.Scatter(x=frame["at"], y=frame["value"]))._repr_mimebundle_()
    nbformat.validate(nbformat.v4.new_notebook())
