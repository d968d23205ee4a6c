"""Tables by name, such as `[connections.orders]`: each gets its name as a field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BeforeValidator


def _with_names(tables: Any) -> Any:
    if not isinstance(tables, Mapping):
        return tables
    return {
        name: {**fields, "name": name} if isinstance(fields, Mapping) else fields
        for name, fields in tables.items()
    }


#: For a mapping of models with the field ``name``, which is the key in the file.
Named = BeforeValidator(_with_names)
