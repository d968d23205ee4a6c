"""Convert required permissions to checks: roles of PostgreSQL, `kubectl auth can-i`. Pure.

A permission is checked only if it names the role, or the verb and the resource; others stay text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rbkernel.importer.reading import holes

_SECTION = re.compile(
    r"permission|prerequisite|privilege|access|before you|requirement", re.IGNORECASE
)
_ROLE = re.compile(
    r"\b(?P<role>pg_(?:monitor|read_all_stats|read_all_settings|read_all_data|write_all_data"
    r"|signal_backend|checkpoint|stat_scan_tables|maintain|use_reserved_connections"
    r"|create_subscription|database_owner))\b|\bmember(?:ship)? (?:of|in)\s+(?:the\s+)?(?:role\s+)?"
    r"`?(?P<member>[a-z_]\w*)`?(?:\s+role)?\b"
)
_VERBS = "get|list|watch|create|update|patch|delete|exec|scale|portforward|port-forward"
_RESOURCES = (
    "pods?|deployments?|services?|secrets?|configmaps?|nodes?|events?|jobs?|cronjobs?|ingresses"
    "|statefulsets?|daemonsets?|replicasets?|namespaces?|persistentvolumeclaims?|pvcs?"
)
_CAN = re.compile(
    rf"\b(?P<verbs>(?:{_VERBS})(?:\s*(?:,|/|and|or)\s*(?:{_VERBS}))*)[`*]*\s+(?:on\s+)?(?:the\s+)?[`*]*"
    rf"(?P<resource>{_RESOURCES})(?P<sub>/\w+)?[`*]*"
    r"(?:\s+(?:in|on)\s+(?:the\s+)?(?:namespace\s+)?[`*]*(?P<space>[a-z][\w-]*)[`*]*(?:\s+namespace)?)?",
    re.IGNORECASE,
)
_KUBERNETES = re.compile(r"kubernetes|kubectl|k8s|rbac|cluster|openshift|namespace", re.IGNORECASE)
_SPECIAL = {"exec": ("create", "/exec"), "portforward": ("create", "/portforward")}
_SPECIAL["port-forward"] = _SPECIAL["portforward"]


def is_section(heading: str) -> bool:
    """Tell whether a heading is about required permissions."""
    return _SECTION.search(heading) is not None


def role(words: str) -> str:
    """Return the role of PostgreSQL that a line requires; empty if it requires none.

    >>> role("Database: a user with `pg_monitor`"), role("member of role ops_read"), role("root")
    ('pg_monitor', 'ops_read', '')
    """
    found = _ROLE.search(words)
    return (found["role"] or found["member"]) if found and not holes.find(words) else ""


def answer(asked: Sequence[str], codes: Sequence[str], words: str) -> str:
    """Return the answer that a sentence quotes for its only `kubectl auth can-i` command.

    >>> one = "kubectl auth can-i get pods"
    >>> answer(one.split(), [one], f"`{one}` prints `yes`"), answer(one.split(), [one], one)
    ('yes', '')
    """
    only = sum("can-i" in code for code in codes) == 1 and "can-i" in asked
    said = set(re.findall(r"\b(yes|no)\b", words.lower()))
    return "yes" if only and said == {"yes"} else ""


def questions(words: str) -> list[list[str]]:
    """Return a `kubectl auth can-i` command for each permission that a line requires.

    There is no command for a line that quotes a `kubectl auth can-i` command itself.

    >>> questions("Kubernetes: `get` and `delete` pods in namespace `shop`")[1]
    ['kubectl', 'auth', 'can-i', 'delete', 'pods', '-n', 'shop']
    >>> questions("Kubernetes: exec pods")
    [['kubectl', 'auth', 'can-i', 'create', 'pods/exec']]
    >>> questions("Kubernetes access"), questions("delete pods as the last resort")
    ([], [])
    """
    if holes.find(words) or "can-i" in words or not _KUBERNETES.search(words):
        return []
    found = []
    for match in _CAN.finditer(re.sub(r"[`*]", "", words)):
        space = ["-n", match["space"]] if match["space"] else []
        for verb in re.findall(_VERBS, match["verbs"].lower()):
            asked, sub = _SPECIAL.get(verb, (verb, match["sub"] or ""))
            resource = f"{match['resource'].lower()}{sub}"
            found.append(["kubectl", "auth", "can-i", asked, resource, *space])
    return found
