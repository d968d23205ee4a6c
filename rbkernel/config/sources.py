"""Read `[sources.NAME]`: systems other than databases that cells query through extensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rbkernel.config.quantities import Count
from rbkernel.redact.columns import Redaction


class Source(BaseModel):
    """A configured source: its ``kind``, which is the name of the extension, and its options.

    The file must not contain a secret: an option names the variable that contains it.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,39}$")
    kind: str
    row_cap: Count = 10_000
    redaction: Redaction = Redaction()

    @property
    def options(self) -> Mapping[str, Any]:
        """The further fields of the source, which only its extension defines and reads."""
        return self.model_extra or {}
