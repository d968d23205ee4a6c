"""Read alerting rules from Prometheus' rule files and Grafana's provisioning exports.

No server is asked, so only the labels in the file are known. Labels that are added when an alert
fires (labels of the series, external labels) are not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from rbkernel.errors import AlertRulesError
from rbkernel.runbook.triggers import FAILING, NAME, NO_DATA

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LINE = "__line__"
_SUFFIXES = {".yml", ".yaml", ".json", ".rules"}


class AlertSeverity(StrEnum):
    """The three severities of alerts, which decide how soon somebody must respond."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


_WORDS = {
    **dict.fromkeys(
        ("critical", "page", "emergency", "fatal", "disaster", "high", "p0", "p1"),
        AlertSeverity.CRITICAL,
    ),
    **dict.fromkeys(("sev0", "sev1", "sev2", "s0", "s1", "s2"), AlertSeverity.CRITICAL),
    **dict.fromkeys(
        ("info", "information", "informational", "none", "notice", "low", "p3", "p4"),
        AlertSeverity.INFO,
    ),
    **dict.fromkeys(("sev4", "sev5", "s4", "s5"), AlertSeverity.INFO),
}
# what separates a word from its number: SEV-1, Sev 1
_BEFORE_NUMBER = re.compile(r"(?<=[a-z])[\s_-]+(?=\d$)")
# Grafana raises these alerts for a rule without data, or with a failing query
_STATES = {"noDataState": ("NoData", NO_DATA), "execErrState": ("Error", FAILING)}


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alerting rule; ``line`` is its line in the file, ``url`` its ``runbook_url``.

    ``also`` are the alerts that Grafana raises for the rule when it has no data or fails.
    """

    name: str
    group: str
    path: Path
    line: int
    labels: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    also: tuple[str, ...] = ()

    @property
    def severity(self) -> AlertSeverity:
        """The severity of the alert; a missing or unknown word counts as a warning."""
        return severity(self.labels.get("severity", ""))

    @property
    def known_labels(self) -> dict[str, str]:
        """The labels of the alert that the rule declares, including its name."""
        return {**self.labels, NAME: self.name}


def severity(words: str) -> AlertSeverity:
    """Map the text of a ``severity`` label to a severity.

    >>> severity("page").value, severity("ticket").value, severity("none").value
    ('critical', 'warning', 'info')
    >>> [severity(words).value for words in ("s1", "SEV-2", "S3", "s4")]
    ['critical', 'critical', 'warning', 'info']
    """
    plain = _BEFORE_NUMBER.sub("", words.strip().lower())
    return _WORDS.get(plain, AlertSeverity.WARNING)


def files(paths: Sequence[Path]) -> list[Path]:
    """Return the rule files for the given files, folders and unexpanded globs.

    Raises
    ------
    AlertRulesError
        A path or glob matches no file.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_file():
            some = [path]
        elif path.is_dir():
            some = [one for one in sorted(path.rglob("*")) if one.suffix in _SUFFIXES]
        else:
            base = Path(path.anchor or ".")
            some = sorted(base.glob(str(path.relative_to(path.anchor))))
        if not some:
            raise AlertRulesError(
                "there is no rule file", where=str(path), next_step="check the path"
            )
        found += some
    return list(dict.fromkeys(found))


def read(path: Path) -> list[Alert]:
    """Read the alerting rules of a file; recording rules are skipped.

    Raises
    ------
    AlertRulesError
        The file is unreadable, not YAML or JSON, or holds no groups of rules.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(path, f"cannot be read: {error}") from error
    try:
        documents = list(yaml.load_all(text, _Lined))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        templated = re.search(r"^\s*\{\{", text, re.MULTILINE)
        hint = "; render the chart's templates first" if templated else ""
        raise _wrong(path, f"{line}is not YAML: {error.problem or error.context}{hint}") from error
    except yaml.YAMLError as error:
        raise _wrong(path, f"is not YAML: {' '.join(str(error).split())}") from error
    groups = [group for document in documents for group in _groups(document)]
    if not groups:
        raise _wrong(path, "holds no groups of rules, as Prometheus and Grafana write them")
    return [alert for group in groups for alert in _alerts(path, group)]


def read_all(paths: Iterable[Path]) -> tuple[list[Alert], list[AlertRulesError]]:
    """Read the alerting rules of several files.

    Returns
    -------
    tuple
        The alerts, and an error for each file that cannot be read; the other files are still read.

    Raises
    ------
    AlertRulesError
        There is only one file, and it cannot be read.
    """
    found: list[Alert] = []
    broken: list[AlertRulesError] = []
    files = list(paths)
    for path in files:
        try:
            found += read(path)
        except AlertRulesError as error:
            if len(files) == 1:
                raise
            broken.append(error)
    return found, broken


class _Lined(_Loader):  # type: ignore[misc]  # which of the two it is, is known when it runs
    """A safe YAML loader that also stores, in each mapping, the line where the mapping begins."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return {**found, _LINE: node.start_mark.line + 1}


def _groups(document: Any) -> Iterator[Mapping[str, Any]]:
    """Yield a file's rule groups: at the top, below ``spec`` of a PrometheusRule, or in a list."""
    if not isinstance(document, Mapping):
        return
    for item in document.get("items") or ():
        yield from _groups(item)
    spec = document.get("spec")
    holder = spec if isinstance(spec, Mapping) else document
    for group in holder.get("groups") or ():
        if isinstance(group, Mapping) and isinstance(group.get("rules"), list):
            yield group


def _alerts(path: Path, group: Mapping[str, Any]) -> Iterator[Alert]:
    for rule in group["rules"]:
        if not isinstance(rule, Mapping):
            raise _wrong(path, f"group {group.get('name', '')}: a rule is not a mapping")
        name = rule.get("alert") or rule.get("title")  # Grafana's rules have a title
        if name:
            yield Alert(
                name=str(name),
                group=str(group.get("name", "")),
                path=path,
                line=int(rule.get(_LINE, 1)),
                labels=_texts({**_mapping(group, "labels"), **_mapping(rule, "labels")}),
                url=_texts(_mapping(rule, "annotations")).get("runbook_url", "").strip(),
                also=() if rule.get("alert") else tuple(_of_states(rule)),
            )


def _of_states(rule: Mapping[str, Any]) -> Iterator[str]:
    """Yield the alerts that a rule of Grafana raises when it has no data or fails."""
    for setting, (default, name) in _STATES.items():
        if rule.get(setting, default) == default:
            yield name


def _mapping(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = holder.get(name)
    return value if isinstance(value, Mapping) else {}


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in values.items() if name != _LINE}


def _wrong(path: Path, what: str) -> AlertRulesError:
    return AlertRulesError(
        what, where=str(path), next_step="correct the file; `promtool check rules` reads it too"
    )
