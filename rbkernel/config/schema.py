"""The JSON Schema of `rbkernel.toml`, for editors; made from the models that read the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rbkernel.config.settings import Settings

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LIMITS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
_REF = "#/$defs/"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file.

    Rules about several fields together are not part of it: `rbkernel config check` knows them.
    """
    found = Settings.model_json_schema(by_alias=True)
    del found["properties"]["file"]
    for name in _tables_by_name(found):
        table = found["$defs"][name]
        del table["properties"]["name"]  # the key of the table
        table["required"] = [one for one in table.get("required", ()) if one != "name"]
    return {"$schema": _DIALECT, **_standard(found), "title": "rbkernel.toml"}


def _standard(value: Any) -> Any:
    """Return a schema with the names that JSON Schema has for pydantic's limits."""
    if isinstance(value, dict):
        return {_LIMITS.get(name, name): _standard(one) for name, one in value.items()}
    return [_standard(one) for one in value] if isinstance(value, list) else value


def _tables_by_name(value: Any) -> Iterator[str]:
    """Yield the models of sections such as `[connections.NAME]`, which have a field ``name``."""
    for section in [value, *value["$defs"].values()]:
        for field in section.get("properties", {}).values():
            inner = field.get("additionalProperties")
            name = inner.get("$ref", "").removeprefix(_REF) if isinstance(inner, dict) else ""
            if "name" in value["$defs"].get(name, {}).get("properties", {}):
                yield name
