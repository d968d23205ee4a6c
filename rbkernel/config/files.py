"""Find and read the configuration file `rbkernel.toml`.

The file is ``$RBKERNEL_CONFIG``, else `rbkernel.toml` in the working folder or a folder above it,
else in the user's configuration folder. The sandbox publishes its own connections file, which is
read last and never replaces a connection of the team. The sandbox's primary is the default
connection if the team has none, and its Prometheus is a source if the team has none of this kind.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import ValidationError

from rbkernel.config.action_commands import ActionCommand
from rbkernel.config.action_requests import ActionRequest
from rbkernel.config.settings import FILE_NAME, Catalogue, Evidence, Settings
from rbkernel.config.words import advice
from rbkernel.errors import ConfigError


def sandbox_home() -> Path:
    """Return the folder of the sandbox: ``$RBKERNEL_SANDBOX``, else in the user's data folder."""
    home = os.environ.get("RBKERNEL_SANDBOX")
    if home:
        return Path(home).expanduser().absolute()
    return platformdirs.user_data_path("rbkernel") / "sandbox"


def sandbox_connections_file() -> Path:
    """Return the connections file of the running sandbox."""
    return sandbox_home() / "connections.toml"


def find_file() -> Path | None:
    """Return the configuration file that applies to the working folder, if there is one.

    Raises
    ------
    ConfigError
        ``$RBKERNEL_CONFIG`` names a file that does not exist.
    """
    if named := os.environ.get("RBKERNEL_CONFIG"):
        path = Path(named).expanduser().absolute()
        if not path.is_file():
            raise ConfigError(
                "RBKERNEL_CONFIG names a file that does not exist",
                where=str(path),
                next_step="create the file, or unset RBKERNEL_CONFIG",
            )
        return path
    here = Path.cwd()
    candidates = [folder / FILE_NAME for folder in (here, *here.parents)]
    candidates.append(platformdirs.user_config_path("rbkernel") / FILE_NAME)
    return next((path for path in candidates if path.is_file()), None)


def load() -> Settings:
    """Find and read the configuration file now, without a cache.

    Raises
    ------
    ConfigError
        A file is unreadable, not TOML, or holds a field that is unknown or of the wrong type.
    """
    file = find_file()
    data = _read(file) if file else {}
    sandbox = sandbox_connections_file()
    published = _read(sandbox) if sandbox.is_file() else {}
    try:
        entries = {
            "connections": _together(
                published.get("connections", {}), _tables(data, "connections", file)
            ),
            "commands": _tables(data, "commands", file),
            "sources": _with_missing(published.get("sources", {}), _tables(data, "sources", file)),
        }
        rest = {key: value for key, value in data.items() if key not in entries}
        named = {
            kind: {name: _named(name, fields) for name, fields in of_kind.items()}
            for kind, of_kind in entries.items()
        }
        settings = Settings(file=file, **named, **rest)
    except (ValidationError, TypeError) as error:
        what, next_step = _first_problem(error)
        raise ConfigError(what, where=str(file or sandbox), next_step=next_step) from error
    return _resolved(settings, file.parent) if file else settings


def _read(path: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(text_of(path))
        field = _with_nul(data)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"cannot be read: byte {error.start + 1} of the file is not UTF-8",
            where=str(path),
            next_step="save the file as UTF-8 (in your editor: the encoding of the file)",
        ) from error
    # the text is not TOML, has a number that is too long for Python, or is nested too deep
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"cannot be read: {error}", where=str(path), next_step="correct the file"
        ) from error
    if field:
        raise ConfigError(
            f"{field}: contains the character U+0000, which no path, name or command can contain",
            where=str(path),
            next_step="remove this character; TOML writes it as \\u0000",
        )
    return data


def text_of(path: Path) -> str:
    """Return the text of a configuration file, without a byte order mark.

    Raises
    ------
    OSError, UnicodeDecodeError
        The file cannot be read, or is not UTF-8.
    """
    return path.read_text(encoding="utf-8-sig")


def _with_nul(value: Any, name: str = "") -> str:
    """Return the name of a configuration field whose value contains NUL; empty if there is none."""
    if isinstance(value, str):
        return name if "\0" in value else ""
    if isinstance(value, Mapping):
        items = [(f"{name}.{key}".lstrip("."), one) for key, one in value.items()]
    elif isinstance(value, list):
        items = [(f"{name}.{number}", one) for number, one in enumerate(value)]
    else:
        return ""
    return next(filter(None, (_with_nul(one, inner) for inner, one in items)), "")


def _together(published: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the connections of the sandbox and the team; the team's have priority."""
    if any(isinstance(fields, Mapping) and fields.get("default") for fields in own.values()):
        published = {name: {**fields, "default": False} for name, fields in published.items()}
    return {**published, **own}


def _with_missing(published: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sources of the team, and those of the sandbox of which the team has no kind."""
    kinds = {fields.get("kind") for fields in own.values() if isinstance(fields, Mapping)}
    missing = {name: one for name, one in published.items() if one["kind"] not in kinds}
    return {**missing, **own}


def _tables(data: Mapping[str, Any], key: str, path: Path | None) -> Any:
    """Return a section of the file that has one table for each name."""
    found = data.get(key, {})
    if not isinstance(found, Mapping):
        raise ConfigError(
            f"{key}: should be a table for each name, such as [{key}.NAME]",
            where=str(path),
            next_step="correct that field",
        )
    return found


def _named(name: str, fields: Any) -> Any:
    return {**fields, "name": name} if isinstance(fields, Mapping) else fields


def _resolved(settings: Settings, folder: Path) -> Settings:
    """Resolve paths relative to the configuration file, not to the working folder of a kernel."""

    def place(path: Path | None) -> Path | None:
        return path and folder / path.expanduser()

    evidence = settings.evidence
    connections = {
        name: one.model_copy(
            update={
                "passfile": place(one.passfile),
                "sslrootcert": place(one.sslrootcert),
                "redaction": one.redaction.over(settings.redaction),
                "action": one.action
                and one.action.model_copy(update={"passfile": place(one.action.passfile)}),
            }
        )
        for name, one in settings.connections.items()
    }
    sources = {
        name: one.model_copy(
            update={
                "redaction": one.redaction.over(settings.redaction),
                **{
                    field: folder / path.expanduser()
                    for field in ("ca", "certificate", "key")
                    if one.endpoint and (path := getattr(one.endpoint, field))
                },
            }
        )
        for name, one in settings.sources.items()
    }
    update = {
        "connections": connections,
        "sources": sources,
        "evidence": Evidence(
            root=place(evidence.root),
            signing_key=place(evidence.signing_key),
            allowed_signers=place(evidence.allowed_signers),
        ),
        "gateway": settings.gateway.model_copy(
            update={
                field: place(getattr(settings.gateway, field))
                for field in ("tls_certificate", "tls_key", "tls_client_ca")
            }
        ),
        "actions": settings.actions.model_copy(
            update={
                field: place(getattr(settings.actions, field))
                for field in ("approvers", "passkeys")
            }
            | _resolved_templates(settings, folder)
        ),
        "pages": settings.pages.model_copy(
            update={
                naming.identity: naming.model_copy(
                    update={"secret_file": place(naming.secret_file)}
                )
                for naming in filter(None, [settings.pages.naming])
            }
        ),
        "notify": settings.notify.model_copy(
            update={"templates": place(settings.notify.templates)}
        ),
        "catalogue": Catalogue(
            paths=tuple(filter(None, map(place, settings.catalogue.paths))),
            diagnostics=tuple(filter(None, map(place, settings.catalogue.diagnostics))),
        ),
    }
    return settings.model_copy(update=update)


def _resolved_templates(settings: Settings, folder: Path) -> dict[str, Any]:
    """Return the commands and requests of actions with paths relative to the file."""

    def placed(one: ActionCommand | ActionRequest, field: str) -> Any:
        path = getattr(one, field)
        return one.model_copy(update={field: path and folder / path.expanduser()})

    actions = settings.actions
    return {
        "commands": {n: placed(one, "working_directory") for n, one in actions.commands.items()},
        "requests": {n: placed(one, "ca") for n, one in actions.requests.items()},
    }


def _first_problem(error: Exception) -> tuple[str, str]:
    """Return what is wrong in the configuration file, and the next step for the user."""
    if not isinstance(error, ValidationError):
        return str(error), "correct that field"
    problem = error.errors(include_input=False, include_url=False)[0]
    parts = [part for part in problem["loc"] if part != "__root__"]
    if parts[2:] and parts[-1] == "name" and isinstance(parts[-2], str):
        section = ".".join(map(str, parts[:-1]))
        return f"the name of [{section}] {advice(problem)}", "rename that section"
    place = ".".join(map(str, parts))
    return (f"{place}: {advice(problem)}" if place else advice(problem)), "correct that field"
