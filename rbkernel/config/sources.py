"""`[sources.NAME]`: what cells can query besides databases, through packages that add a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rbkernel.config.quantities import Count
from rbkernel.redact.columns import Redaction


class Source(BaseModel):
    """A configured source: its ``kind``, as its package calls it, and whatever options it takes.

    A secret does not belong into the file: an option names the variable that holds it.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,39}$")
    kind: str
    row_cap: Count = 10_000
    redaction: Redaction = Redaction()

    @property
    def options(self) -> Mapping[str, Any]:
        """The fields that are the package's own."""
        return self.model_extra or {}
