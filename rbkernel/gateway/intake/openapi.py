"""The OpenAPI 3.1 description of the interface for senders, generated from the body models."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from pydantic.json_schema import models_json_schema

from rbkernel import __version__
from rbkernel.config.gateway import Gateway
from rbkernel.errors import ExtensionError
from rbkernel.gateway.intake import SENDERS
from rbkernel.gateway.intake.sender import Sender

_REFERENCE = "#/components/schemas/{model}"
_ERROR = {
    "type": "object",
    "required": ["what", "where", "next_step"],
    "properties": {
        "what": {"type": "string", "description": "What happened."},
        "where": {"type": "string"},
        "next_step": {"type": "string", "description": "What to do next, in one sentence."},
    },
    "additionalProperties": False,
}
_RECEIPT = {
    "type": "object",
    "description": "What was stored.",
    "required": ["new", "repeated", "truncated", "problem"],
    "properties": {
        "new": {"type": "integer", "minimum": 0},
        "repeated": {
            "type": "integer",
            "minimum": 0,
            "description": "Alerts that were already stored.",
        },
        "truncated": {
            "type": "integer",
            "minimum": 0,
            "description": "Alerts that the sender left out of this request.",
        },
        "quarantine_number": {
            "type": "integer",
            "description": "The number under which a body that could not be read is in quarantine.",
        },
        "ignored": {
            "type": "string",
            "description": "Names of the unknown fields, which were ignored.",
        },
        "problem": {
            "type": "string",
            "description": "Why the body could not be read; empty if it was read.",
        },
    },
    "additionalProperties": False,
}


def document(gateway: Gateway) -> dict[str, Any]:
    """Return the OpenAPI description of this gateway's interface for senders."""
    senders = _usable()
    kinds = {kind for one in senders for kind in (one.body, one.alert) if kind}
    _, schemas = models_json_schema(
        [(kind, "validation") for kind in sorted(kinds, key=lambda kind: kind.__name__)],
        ref_template=_REFERENCE,
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rbkernel gateway",
            "version": __version__,
            "description": "Accepts alerts. 202 means: stored. Unknown fields are ignored.",
        },
        "servers": [{"url": gateway.address}],
        "paths": {
            **{f"/alerts/{sender.name}": _intake(sender, gateway) for sender in senders},
            "/health/live": _page("Whether the process answers", _truth("live")),
            "/health/ready": _page(
                "Whether alerts can be accepted now",
                _truth("ready", problems=_TEXTS),
                not_ready=True,
            ),
            "/metrics": _page("Metrics for Prometheus", {"type": "string"}, kind="text/plain"),
            "/openapi.json": _page("This description", {"type": "object"}),
        },
        "components": {
            "schemas": {**schemas.get("$defs", {}), "Error": _ERROR, "Receipt": _RECEIPT},
            "securitySchemes": {
                name: _security(sender.method, sender.signature_header)
                for name, sender in gateway.senders.items()
            },
        },
    }


_TEXTS = {"type": "array", "items": {"type": "string"}}


def _usable() -> list[Sender]:
    """Return the senders that can be loaded; `rbkernel extensions` reports the broken ones."""
    found = []
    for name in SENDERS:
        with contextlib.suppress(ExtensionError):
            found.append(dataclasses.replace(SENDERS[name], name=name))
    return found


def _intake(sender: Sender, gateway: Gateway) -> dict[str, Any]:
    source = sender.name
    answers = {
        "202": _answer("The alerts were stored, or put into quarantine.", "Receipt"),
        "401": _answer("Authentication failed.", "Error"),
        "413": _answer(f"The body is longer than {gateway.limits.body_bytes} bytes.", "Error"),
        "503": _answer("The request was not stored: send it again.", "Error"),
    }
    operation: dict[str, Any] = {
        "summary": f"Alerts from {source}",
        "operationId": f"post_{source}",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _body(sender)}},
        },
        "responses": answers,
    }
    if source in gateway.senders:
        operation["security"] = [{source: []}]
    return {"post": operation}


def _body(sender: Sender) -> dict[str, Any]:
    reference = {"$ref": _REFERENCE.format(model=sender.body.__name__)}
    if sender.alert is None:
        return reference
    alert = {"$ref": _REFERENCE.format(model=sender.alert.__name__)}
    group: dict[str, Any] = {
        "allOf": [reference, {"properties": {"alerts": {"type": "array", "items": alert}}}]
    }
    return {"anyOf": [group, alert]} if sender.alone else group


def _answer(description: str, model: str) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model=model)}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _page(
    summary: str, schema: dict[str, Any], *, kind: str = "application/json", not_ready: bool = False
) -> dict[str, Any]:
    content = {"description": summary, "content": {kind: {"schema": schema}}}
    answers = {"200": content, **({"503": content} if not_ready else {})}
    return {"get": {"summary": summary, "responses": answers}}


def _truth(name: str, **more: dict[str, Any]) -> dict[str, Any]:
    properties = {name: {"type": "boolean"}, **more}
    return {"type": "object", "required": list(properties), "properties": properties}


def _security(method: str, header: str) -> dict[str, Any]:
    if method == "hmac":
        return {"type": "apiKey", "in": "header", "name": header, "description": "HMAC-SHA-256"}
    return {"type": "http", "scheme": method}
