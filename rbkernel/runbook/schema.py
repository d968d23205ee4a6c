"""The front matter as JSON Schema, so that editors can complete and check it."""

from __future__ import annotations

from typing import Any

from rbkernel.runbook import frontmatter_sections
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.runbook.frontmatter_sections import Section
from rbkernel.runbook.placeholders import PLACEHOLDER

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PLACEHOLDER = {"type": "string", "pattern": PLACEHOLDER.pattern.replace("?P<hint>", "")}


def front_matter() -> dict[str, Any]:
    """Return the schema; it also allows short forms and placeholders, as the parser does."""
    schema = FrontMatter.model_json_schema()
    sections = vars(frontmatter_sections)
    scalars = [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]
    schema["$defs"]["Setting"]["properties"]["default"] = {"anyOf": scalars}
    for name, definition in schema["$defs"].items():
        _loosen(definition)
        plain = sections[name].plain if issubclass(sections[name], Section) else ""
        if plain:
            schema["$defs"][name] = {"anyOf": [{"type": "string"}, definition]}
    _loosen(schema)
    _allow_words(schema)
    return {"$schema": _DIALECT, **schema, "title": "Front matter of an rbkernel runbook"}


def _allow_words(schema: dict[str, Any]) -> None:
    """Add the texts that the validators of `FrontMatter` accept beyond its types."""
    properties = schema["properties"]
    properties["links"] = {
        "anyOf": [properties["links"], {"type": "object", "additionalProperties": _text()}]
    }
    words = properties["category"]["anyOf"][0]["enum"]
    properties["category"]["anyOf"][0]["enum"] = [*words, *(word.title() for word in words)]


def _loosen(definition: dict[str, Any]) -> None:
    """Allow a single item instead of a list, a number instead of a text, and empty values."""
    required = set(definition.get("required", ()))
    for name, field in definition.get("properties", {}).items():
        definition["properties"][name] = _loose(field, required=name in required)


def _loose(field: dict[str, Any], *, required: bool) -> dict[str, Any]:
    forms = field.pop("anyOf", None) or [_form_of(field)]
    about = {key: value for key, value in field.items() if key in {"title", "description"}}
    wide: list[dict[str, Any]] = []
    for form in forms:
        wide.append(form)
        if form.get("type") == "array":
            wide.append(form["items"])
        if form.get("type") == "string" and "format" not in form and "pattern" not in form:
            wide += [{"type": "number"}]
        if form.get("type") in {"integer", "number", "boolean", "null"} or "format" in form:
            wide.append(_PLACEHOLDER)
    if not required and {"type": "null"} not in wide:
        wide.append({"type": "null"})
    unique = [form for number, form in enumerate(wide) if form not in wide[:number]]
    return {**about, **(unique[0] if len(unique) == 1 else {"anyOf": unique})}


def _form_of(field: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in field.items() if key not in {"title", "description", "default"}
    }


def _text() -> dict[str, Any]:
    return {"type": "string"}
