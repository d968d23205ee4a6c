"""`rbkernel config check`: would everything that the configuration names work, from here?

The file itself is checked by `config.files.examine`, as for every command. Here, a valid
configuration is compared with its surroundings: the runbooks, the environment variables, the files
and programs that it names, and what none of its rules uses. Nothing is sent, and no database is
asked, unless ``online``.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from rbkernel.config import Settings
from rbkernel.config.files import Examined
from rbkernel.config.origins import fields
from rbkernel.config.positions import KeyPath
from rbkernel.config.problems import dotted, place_of
from rbkernel.errors import ConfigError, RbkernelError
from rbkernel.gateway.jobs import route_checks
from rbkernel.model import Finding, Verdict

Level = Literal["error", "warning"]
# rbkernel itself creates these files
_MADE_LATER: frozenset[KeyPath] = frozenset(
    {
        ("evidence", "root"),
        ("evidence", "signing_key"),
        ("evidence", "allowed_signers"),
        ("actions", "passkeys"),
    }
)
_READABLE_BY_OTHERS = 0o077
# services of apprise whose address begins with the name of a host
_WEB = frozenset({"http", "https", "json", "jsons", "form", "forms", "xml", "xmls"})


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Something that would not work, or that nothing uses; ``where`` is a file and a line."""

    level: Level
    what: str
    where: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.where}: {self.level}: {self.what}. Next: {self.next_step}."


@dataclass(frozen=True, kw_only=True)
class _Seen:
    path: KeyPath
    what: str
    next_step: str
    level: Level = "error"


def check(found: Examined, *, online: bool = False) -> list[Remark]:
    """Return all problems of a configuration, and whatever would not work."""
    if found.settings is None:
        return [
            Remark(level="error", what=one.what, where=str(one.place), next_step=one.hint)
            for one in found.problems
        ]
    settings = found.settings
    seen = [
        *_environment(settings),
        *_senders_and_channels(settings),
        *_people(settings),
        *_unused(settings),
        *(_online(settings) if online else ()),
    ]
    root = found.layers.root
    remarks = [
        Remark(
            level=one.level,
            what=f"{dotted(one.path)}: {one.what}",
            where=str(place_of(one.path, root)),
            next_step=one.next_step,
        )
        for one in seen
    ]
    return sorted([*remarks, *_plans(settings, found)], key=_order)


def _order(remark: Remark) -> tuple[str, int]:
    file, _, line = remark.where.rpartition(":")
    return (file, int(line)) if line.isdecimal() else (remark.where, 0)


def _plans(settings: Settings, found: Examined) -> Iterator[Remark]:
    """Yield the routes, schedules and triggers that cannot run, as `serve --check` finds them."""
    plans = route_checks.examine(settings)
    levels: tuple[tuple[Level, tuple[RbkernelError, ...]], ...] = (
        ("error", plans.problems),
        ("warning", plans.cautions),
    )
    for level, errors in levels:
        for error in errors:
            path = error.path if isinstance(error, ConfigError) else ()
            where = str(place_of(path, found.layers.root)) if path else error.where
            what = f"{dotted(path)}: {error.what}" if path else error.what
            yield Remark(level=level, what=what, where=where, next_step=error.next_step)


def _environment(settings: Settings) -> Iterator[_Seen]:
    """Yield the variables that are not set, and the files and programs that are not there."""
    for path, value in fields(settings):
        name, values = str(path[-1]), value if isinstance(value, tuple) else (value,)
        if not any(values):
            continue
        if name == "env" or name.endswith("_env"):
            yield from _variable(path, values)
        elif name in {"argv", "command"} or name.endswith("_command"):
            yield from _program(path, str(values[0]))
        for place, one in enumerate(values):
            if isinstance(one, Path):
                yield from _file((*path, place) if isinstance(value, tuple) else path, one)


def _variable(path: KeyPath, names: tuple[str, ...]) -> Iterator[_Seen]:
    # a sender has two variables while its secret is changed: one of them is enough
    if not any(os.environ.get(name) for name in names):
        said = " or ".join(names)
        yield _Seen(
            path=path,
            what=f"the environment variable {said} is not set here",
            next_step=f"export {said} where rbkernel runs, or correct the name",
        )


def _program(path: KeyPath, program: str) -> Iterator[_Seen]:
    if shutil.which(program) is None:
        yield _Seen(
            path=path,
            what=f"there is no program {program} here",
            next_step="install it where rbkernel runs, or write its absolute path",
        )


def _file(path: KeyPath, file: Path) -> Iterator[_Seen]:
    if path in _MADE_LATER:
        return
    try:
        there = file.exists()
        mode = file.stat().st_mode if there else 0
    except OSError as error:  # a folder above may not be entered
        yield _unreadable(path, file, error.strerror or str(error))
        return
    if not there:
        yield _Seen(
            path=path,
            what=f"{file} does not exist here",
            next_step="create it where rbkernel runs, or correct the path",
        )
    elif not os.access(file, os.R_OK):
        yield _unreadable(path, file, "no permission to read it")
    elif path[-1] == "passfile" and mode & _READABLE_BY_OTHERS:
        yield _Seen(
            path=path,
            what=f"others than its owner can read {file}, so libpq ignores it",
            next_step=f"chmod 600 {file}",
        )


def _unreadable(path: KeyPath, file: Path, why: str) -> _Seen:
    return _Seen(
        path=path,
        what=f"this user cannot read {file}: {why}",
        next_step="give the user that runs rbkernel the permission, or run this check as that user",
    )


def _senders_and_channels(settings: Settings) -> Iterator[_Seen]:
    for name, sender in settings.gateway.senders.items():
        try:
            sender.must_be_installed()
        except ConfigError as error:
            path = ("gateway", "senders", name)
            yield _Seen(path=path, what=error.what, next_step=error.next_step)
    if settings.notify.targets:
        from rbkernel.gateway.notify.channels import CHANNELS

        for name, target in settings.notify.targets.items():
            if target.channel not in CHANNELS:
                yield _Seen(
                    path=("notify", "targets", name, "channel"),
                    what=f"there is no channel {target.channel!r}, only {', '.join(CHANNELS)}",
                    next_step="correct it, or install the package that adds it",
                )


def _people(settings: Settings) -> Iterator[_Seen]:
    """Yield the rules that need more approvers than there are."""
    file = settings.actions.approvers
    if file is None:
        return
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return  # said of the file itself
    people = {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}
    for place, rule in enumerate(settings.actions.rules):
        if rule.approvers > len(people):
            yield _Seen(
                path=("actions", "rules", place),
                what=f"{rule.action} needs {rule.approvers} approvers, and {file} lists"
                f" {len(people)}",
                next_step="add people to that file, or lower `approvers`",
            )


def _unused(settings: Settings) -> Iterator[_Seen]:
    """Yield what no alert, no rule and no time will ever use."""
    unused = partial(_Seen, level="warning")
    for place, route in enumerate(settings.routes):
        same = [one for one in settings.routes[:place] if _takes(one) == _takes(route)]
        if same:
            yield unused(
                path=("routes", place),
                what="an earlier route has the same alert and match, so this one never applies",
                next_step="remove one of them",
            )
    for name, target in settings.notify.targets.items():
        if not target.events or not target.severities:
            yield unused(
                path=("notify", "targets", name),
                what="gets no event that belongs to a run: `events` or `severities` is empty",
                next_step="remove the target, or list what it should get",
            )
    for place, window in enumerate(settings.maintenance):
        if window.ends < datetime.now(UTC):
            yield unused(
                path=("maintenance", place),
                what=f"the window ended at {window.ends:%Y-%m-%d %H:%M %Z}",
                next_step="remove it",
            )
    if settings.gateway.senders and not settings.notify.targets:
        yield unused(
            path=("gateway", "senders"),
            what="alerts are received, but [notify.targets] names nobody to notify",
            next_step="add [notify.targets.NAME]",
        )
    yield from _unused_actions(settings)


def _takes(route: object) -> tuple[object, object]:
    return (getattr(route, "alert", ""), getattr(route, "match", {}))


def _unused_actions(settings: Settings) -> Iterator[_Seen]:
    unused = partial(_Seen, level="warning")
    actions = settings.actions
    ruled = {rule.action for rule in actions.rules}
    on_servers = {one for one in ruled if ":" not in one}
    with_role = [name for name, one in settings.connections.items() if one.action]
    if on_servers and not with_role:
        yield unused(
            path=("actions", "rules"),
            what=f"allows {min(on_servers)}, but no connection has a role for actions",
            next_step="add [connections.NAME.action]; `rbkernel grant NAME` prints its SQL",
        )
    for name in () if on_servers else with_role:
        yield unused(
            path=("connections", name, "action"),
            what="no rule allows an action on a server, so this role is never used",
            next_step="add [[actions.rules]], or remove the role",
        )
    sections: tuple[tuple[str, str, Mapping[str, object]], ...] = (
        ("run", "commands", actions.commands),
        ("request", "requests", actions.requests),
    )
    for kind, section, known in sections:
        for name in known:
            if f"{kind}:{name}" not in ruled:
                yield unused(
                    path=("actions", section, name),
                    what=f"no rule is for {kind}:{name}, so it is never executed",
                    next_step=f'add [[actions.rules]] with action = "{kind}:{name}", or remove it',
                )


def _online(settings: Settings) -> Iterator[_Seen]:
    """Log in to every connection and source, and look up the hosts of the other addresses."""
    from rbkernel.sources.monitoring import examination
    from rbkernel.sources.postgres import doctor

    for name, connection in settings.connections.items():
        yield from _examined(("connections", name), doctor.examine(connection))
    for name, source in settings.sources.items():
        yield from _examined(("sources", name), examination.examine(source))
    for path, value in fields(settings):
        if str(path[-1]).endswith("url") and value and path[0] != "sources":
            yield from _resolved(path, value)
    from rbkernel.gateway.notify import channels

    for name, target in settings.notify.targets.items():
        path = ("notify", "targets", name)
        try:
            channels.names(target)
            for url in target.urls():
                if urlsplit(url).scheme in _WEB:
                    yield from _resolved(path, url)
        except RbkernelError as error:
            yield _Seen(path=path, what=error.what, next_step=error.next_step)


def _examined(path: KeyPath, findings: list[Finding]) -> Iterator[_Seen]:
    for one in findings:
        if one.verdict is not Verdict.OK:
            is_warning = one.verdict is Verdict.WARNING
            yield _Seen(
                path=path,
                what=f"{one.title}: {one.cause or one.actual}",
                next_step=one.next_step or f"`rbkernel doctor {path[-1]}` says more",
                level="warning" if is_warning else "error",
            )
            if not is_warning:
                return  # the later steps were not checked


def _resolved(path: KeyPath, url: str) -> Iterator[_Seen]:
    host = urlsplit(url).hostname or ""
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        # the address itself may be secret
        yield _Seen(
            path=path,
            what=f"the name {host} cannot be resolved from here",
            next_step="correct the name, or look at the DNS of this host",
        )
