"""Read ``registry.yaml`` of a catalogue folder: ids of alerts, risks and others used in runbooks.

It lists alerts (MON-), criteria of deployment (DEP-), risks (RISK-) and planned runbooks (RUN-)::

    MON-005: Connection pool above 90 %
    RISK-008: {title: Queries without an index, level: high}
    RUN-010: Database server down
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rbkernel.errors import ConfigError
from rbkernel.runbook import catalogue

FILE_NAME = "registry.yaml"
_ID = re.compile(r"(?:MON|DEP|RISK|RUN)-\d+")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One registered id: its title and, for a risk, its level, such as high."""

    title: str = ""
    level: str = ""


def read(folders: Sequence[Path]) -> dict[str, Entry] | None:
    """Read the registries of the catalogue's folders and the bundled registry.

    Returns
    -------
    dict, or None
        The entries by id; the first folder takes precedence. None if neither the team's folders
        nor the bundled folder have a registry.

    Raises
    ------
    ConfigError
        A registry is not YAML, or does not have the form in this module's docstring.
    """
    files = [folder / FILE_NAME for folder in [*folders, catalogue.packaged("notebooks")]]
    found = [_entries(path) for path in files if path.is_file()]
    return {name: entry for entries in reversed(found) for name, entry in entries.items()} or None


def _entries(path: Path) -> dict[str, Entry]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise _wrong(path, f"cannot be read: {said}") from error
    if not isinstance(data, dict):
        raise _wrong(path, "is not a mapping of ids")
    return {str(name): _entry(path, str(name), value) for name, value in data.items()}


def _entry(path: Path, name: str, value: Any) -> Entry:
    if not _ID.fullmatch(name):
        raise _wrong(path, f"{name} is not an id such as MON-005, DEP-001, RISK-008 or RUN-010")
    if isinstance(value, str):
        return Entry(title=value)
    if isinstance(value, dict) and set(value) <= {"title", "level"}:
        return Entry(title=str(value.get("title", "")), level=str(value.get("level", "")))
    raise _wrong(path, f"{name} should be text, or {{title: …, level: …}}")


def _wrong(path: Path, what: str) -> ConfigError:
    return ConfigError(what, where=str(path), next_step="correct that line")
