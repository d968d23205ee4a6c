"""Find and read the configuration file `rbkernel.toml`.

The file is ``$RBKERNEL_CONFIG``, else `rbkernel.toml` in the working folder or a folder above it,
else in the user's configuration folder. The sandbox publishes its own connections file, which is
read last and never replaces a connection of the team. The sandbox's primary is the default
connection if the team has none, and its Prometheus is a source if the team has none of this kind.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import ValidationError

from rbkernel.config.action_commands import ActionCommand
from rbkernel.config.action_requests import ActionRequest
from rbkernel.config.layers import Layer, Layers
from rbkernel.config.problems import Problem, found_in
from rbkernel.config.settings import FILE_NAME, Catalogue, Settings
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


@dataclass(frozen=True, kw_only=True)
class Examined:
    """The configuration, and everything that is wrong with it.

    ``settings`` is None if there is a problem. ``layers`` are the files.
    """

    settings: Settings | None
    problems: tuple[Problem, ...]
    layers: Layers


def load() -> Settings:
    """Find and read the configuration file now, without a cache.

    Raises
    ------
    ConfigError
        A file is unreadable, not TOML, or holds a field that is unknown or of the wrong type. It
        is the first of the problems that `examine` finds.
    """
    found = examine()
    if found.settings is None:
        first, *others = found.problems
        raise first.error(len(others))
    return found.settings


def examine() -> Examined:
    """Find and read the configuration file; return it with all its problems.

    Raises
    ------
    ConfigError
        ``$RBKERNEL_CONFIG`` names a file that does not exist.
    """
    layers, file = Layers(), find_file()
    if file:
        layers.read(file)
    if (sandbox := sandbox_connections_file()).is_file():
        published = Layers()
        published.read_alone(sandbox)
        layers.problems += published.problems
        layers.files += [_missing_in(layers.data, one) for one in published.files]
    problems = list(layers.problems)
    settings = None
    if not layers.unread:
        try:
            settings = Settings.model_validate(layers.data)
        except ValidationError:
            problems += found_in(layers.data, layers.root)
    if problems or settings is None:
        return Examined(settings=None, problems=tuple(problems), layers=layers)
    resolved = _resolved(settings, file) if file else settings
    return Examined(settings=resolved, problems=(), layers=layers)


def _missing_in(own: Mapping[str, Any], published: Layer) -> Layer:
    """Return what the sandbox publishes, without what the team has: see the module's text."""
    connections, sources = _tables(own, "connections"), _tables(own, "sources")
    kinds = {one.get("kind") for one in sources.values()}
    has_default = any(one.get("default") for one in connections.values())
    kept = {
        "connections": {
            name: {**one, "default": one.get("default", False) and not has_default}
            for name, one in _tables(published.data, "connections").items()
            if name not in connections
        },
        "sources": {
            name: one
            for name, one in _tables(published.data, "sources").items()
            if one.get("kind") not in kinds and name not in sources
        },
    }
    return published.only(kept)


def _tables(data: Mapping[str, Any], section: str) -> dict[str, Mapping[str, Any]]:
    """Return the tables of a section; what is no table is refused elsewhere."""
    found = data.get(section, {})
    tables = found.items() if isinstance(found, Mapping) else ()
    return {name: one for name, one in tables if isinstance(one, Mapping)}


def _resolved(settings: Settings, file: Path) -> Settings:
    """Resolve paths relative to the configuration file, not to the working folder of a kernel."""
    folder = file.parent

    def place(path: Path | None) -> Path | None:
        return path and folder / path.expanduser()

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
        "file": file,
        "connections": connections,
        "sources": sources,
        "evidence": settings.evidence.model_copy(
            update={
                field: place(getattr(settings.evidence, field))
                for field in ("root", "signing_key", "allowed_signers")
            }
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
