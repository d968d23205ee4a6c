"""Read `[kernel]`: limits for the output of a cell and of a run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Kernel(BaseModel):
    """Output limits: for printed text, displays, tracebacks and widget messages together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell_output_mb: float = Field(10.0, gt=0, le=1024)
    run_output_mb: float = Field(50.0, gt=0, le=10_240)

    @property
    def cell_output_bytes(self) -> int:
        """The output limit of a cell, in bytes."""
        return int(self.cell_output_mb * 1024 * 1024)

    @property
    def run_output_bytes(self) -> int:
        """The output limit of all cells since the kernel was started, in bytes."""
        return int(self.run_output_mb * 1024 * 1024)
