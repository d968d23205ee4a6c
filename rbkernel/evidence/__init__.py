"""What remains of a run: journal, seal, verification, rebuilt notebook.

`current` is how everything above reaches the flight recorder of this process.
"""

from rbkernel.evidence.recorder import Recorder, current, install

__all__ = ["Recorder", "current", "install"]
