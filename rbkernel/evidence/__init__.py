"""The evidence of runs: write the journal, seal it, verify the seal, rebuild the notebook.

`current` gives other packages the flight recorder of this process. It is loaded at its first use,
because the command line does not record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbkernel.evidence.recorder import Recorder, current, install

__all__ = ["Recorder", "current", "install"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rbkernel.evidence import recorder

    return getattr(recorder, name)
