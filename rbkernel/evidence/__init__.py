"""The evidence of runs: write the journal, seal it, verify the seal, rebuild the notebook.

`current` gives other packages the flight recorder of this process. It is loaded at its first use,
because the command line does not record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rbkernel.firstuse import loader

if TYPE_CHECKING:
    from rbkernel.evidence.recorder import Recorder, current, install

__all__ = ["Recorder", "current", "install"]

__getattr__ = loader(__name__, dict.fromkeys(__all__, "recorder"))
