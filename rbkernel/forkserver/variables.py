"""Tell which environment variables take effect while modules are imported.

A forked program gets its own environment, but its modules were imported with the environment of the
server. So a variable that is read at import is part of the server's identity, unless the value at
import makes no difference to rbkernel's programs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# read by Python itself or by C libraries
_PREFIXES_READ_BY_C = (
    *("PYTHON", "LD_", "LC_", "MALLOC_", "GLIBC_", "COVERAGE_"),
    *("MKL_", "OPENBLAS_", "OMP_", "KMP_", "NUMEXPR_"),
)
# read by modules at import
_PREFIXES_READ_BY_MODULES = (
    *("PLOTLY_", "PANDAS_", "NPY_", "NUMPY_", "PSYCOPG_", "SQLALCHEMY_", "PYDANTIC_", "PYZMQ_"),
    *("PYDEV", "DEBUGPY_", "DEBUG_PYDEVD_", "GEVENT_", "TORNADO_", "TRAITLETS_", "TQDM_"),
    *("IPYTHON_", "TYPER_", "_TYPER_", "CHOREO_", "RUAMEL_", "PSUTIL_", "NBFORMAT_", "_PYTHON_"),
)
_PREFIXES = _PREFIXES_READ_BY_C + _PREFIXES_READ_BY_MODULES
_NAMES = frozenset(
    {
        *("LANG", "LANGUAGE", "USER", "TERM", "DISPLAY", "CI"),
        *("PY_COLORS", "FORCE_COLOR", "NO_COLOR", "GITHUB_ACTIONS", "TERMINAL_WIDTH"),
        *("JUPYTER_PLATFORM_DIRS", "JUPYTER_USE_PROGRAMDATA", "JUPYTER_ALLOW_INSECURE_WRITES"),
        *("JUPYTER_WIDGETS_ECHO", "IPYTHONENABLE", "IN_SPHINX_RUN", "ANDROID_DATA"),
        *("PYCHARM_DEBUG", "PATHS_FROM_ECLIPSE_TO_PYTHON", "PYFLAKES_DOCTEST"),
        # plotly chooses by these how it shows figures
        *("AZURE_NOTEBOOKS_HOST", "COCALC_PROJECT_ID", "COLAB_NOTEBOOK_ID", "NTERACT_EXE"),
        *("DATABRICKS_RUNTIME_VERSION", "VSCODE_PID"),
    }
)
#: Read at import, too, but the value at import has no effect on rbkernel's programs: they read the
#: variable again when they need it, or they do not use what depends on the value at import (which
#: programs are found, and the settings of plotly's web service).
HARMLESS = frozenset(
    {
        *("PATH", "HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "IPYTHONDIR"),
        *("JPY_PARENT_PID", "JPY_INTERRUPT_EVENT", "COLUMNS", "LINES"),
    }
)
# the server gets no variable that may hold a secret, such as PLOTLY_API_KEY
_MAY_BE_SECRET = re.compile("KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|DSN|UR[IL]")
# variables of the server itself; not part of the identity, since programs get their own
_FOR_THE_SERVER = ("HOME", "PATH", "TMPDIR", "XDG_RUNTIME_DIR")
# a BLAS with running threads cannot be forked; pydevd warns when it is imported
_FIXED = {"OPENBLAS_NUM_THREADS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def read_at_import(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that take effect while modules are imported.

    >>> read_at_import({"PYTHONPATH": "lib", "PGPASSWORD": "x", "PLOTLY_API_KEY": "x"})
    {'PYTHONPATH': 'lib'}
    """
    return {
        name: value
        for name, value in environment.items()
        if (name.startswith(_PREFIXES) or name in _NAMES)
        and name not in _FIXED
        and not _MAY_BE_SECRET.search(name)
    }


def of_server(environment: Mapping[str, str]) -> dict[str, str]:
    """Return a fork server's environment, without secrets, for programs with this environment.

    >>> sorted(of_server({"HOME": "/root", "PGPASSWORD": "x", "LANG": "C"}))
    ['HOME', 'LANG', 'OPENBLAS_NUM_THREADS', 'PYDEVD_DISABLE_FILE_VALIDATION']
    """
    own = {name: environment[name] for name in _FOR_THE_SERVER if name in environment}
    return {**read_at_import(environment), **own, **_FIXED}
