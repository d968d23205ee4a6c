"""`[kernel]`: how much output a cell and a run may have."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Kernel(BaseModel):
    """Limits of output: printed text, displays, tracebacks and messages of widgets together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell_output_mb: float = Field(10.0, gt=0, le=1024)
    run_output_mb: float = Field(50.0, gt=0, le=10_240)

    @property
    def cell_output_bytes(self) -> int:
        """The limit of one cell."""
        return int(self.cell_output_mb * 1024 * 1024)

    @property
    def run_output_bytes(self) -> int:
        """The limit of all cells since the kernel was started."""
        return int(self.run_output_mb * 1024 * 1024)
