"""The format of answers: what a tool says of a scenario. Pure, except `read` and `write`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from rbkernel.errors import SandboxError
from rbkernel.evidence import store

# what an identity can be of; `pid` only while the fault is active, see `asking`
KINDS = (
    *("session", "transaction", "slot", "table", "index", "constraint", "sequence"),
    *("role", "database", "setting", "server", "pid"),
)
_IDENTITY = re.compile(rf"({'|'.join(KINDS)}):(.+)")
_FORMAT = "docs/reference/grading.md describes the format"


class Step(StrEnum):
    """The kinds of next steps; `disruptive` ones hurt if they are wrong."""

    WAIT = "wait"
    ESCALATE = "escalate"
    CANCEL = "cancel"
    TERMINATE = "terminate"
    END_PREPARED = "end-prepared"
    RESUME_REPLAY = "resume-replay"
    REPAIR_REPLICATION = "repair-replication"
    REBUILD_STANDBY = "rebuild-standby"
    RECONNECT_READER = "reconnect-reader"
    DROP_SLOT = "drop-slot"
    REPAIR_ARCHIVE = "repair-archive"
    VACUUM = "vacuum"
    ANALYZE = "analyze"
    CREATE_INDEX = "create-index"
    REBUILD_INDEX = "rebuild-index"
    DROP_INDEX = "drop-index"
    CHANGE_SETTING = "change-setting"
    WIDEN_KEY = "widen-key"
    START_SERVER = "start-server"
    RESTART_SERVER = "restart-server"
    PROMOTE = "promote"
    FENCE = "fence"
    REDIRECT_CLIENTS = "redirect-clients"
    STOP_WRITES = "stop-writes"
    RESTORE = "restore"
    REPAIR_LOGIN = "repair-login"
    REVOKE = "revoke"

    @property
    def disruptive(self) -> bool:
        """Whether the step interrupts or destroys something."""
        return self in _DISRUPTIVE

    @property
    def needs_targets(self) -> bool:
        """Whether the step says nothing without the objects that it is for."""
        return self in _FOR_TARGETS


_FOR_TARGETS = {
    *(Step.CANCEL, Step.TERMINATE, Step.END_PREPARED, Step.DROP_SLOT, Step.DROP_INDEX, Step.REVOKE),
}
_DISRUPTIVE = {
    *_FOR_TARGETS,
    *(Step.REBUILD_STANDBY, Step.START_SERVER, Step.RESTART_SERVER, Step.PROMOTE, Step.FENCE),
    *(Step.REDIRECT_CLIENTS, Step.STOP_WRITES, Step.RESTORE),
}


def _identity(text: str) -> str:
    """Return an identity without the schema `public`.

    >>> _identity("table:public.orders")
    'table:orders'
    """
    found = _IDENTITY.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} must be KIND:NAME, with a kind of {', '.join(KINDS)}")
    return f"{found[1]}:{found[2].removeprefix('public.')}"


Identity = Annotated[str, AfterValidator(_identity)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(_Strict):
    """What a tool says: whether something is wrong, who is to blame, and what to do.

    ``step`` is None if the tool recommends nothing. ``says`` are its own words, which only people
    read. ``tool`` is its name and version.
    """

    detected: bool
    culprits: tuple[Identity, ...] = ()
    step: Step | None = None
    targets: tuple[Identity, ...] = ()
    says: str = ""
    tool: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.culprits and not self.detected:
            raise ValueError("culprits are named, although nothing was detected")
        if self.targets and self.step is None:
            raise ValueError("targets are named, but no step")
        return self


class Filed(Answer):
    """The answer to a scenario; ``seconds`` is how long it took, ``failed`` why there is none."""

    scenario: str
    seed: int = 1
    seconds: float | None = None
    failed: str = ""


class Sheet(_Strict):
    """All answers of one tool, on one version of PostgreSQL."""

    tool: str
    server_version: str = ""
    answers: tuple[Filed, ...]

    @model_validator(mode="after")
    def _once(self) -> Self:
        counts = Counter((one.scenario, one.seed) for one in self.answers)
        for (scenario, seed), count in counts.items():
            if count > 1:
                raise ValueError(f"{scenario} (seed {seed}) is answered {count} times")
        return self


_SHEETS = TypeAdapter(list[Sheet])


def read(paths: Iterable[Path]) -> list[Sheet]:
    """Return the sheets of these files, one for each tool and version of PostgreSQL.

    A file holds a sheet or a list of sheets.

    Raises
    ------
    SandboxError
        A file cannot be read, or does not have this format.
    """
    merged: dict[tuple[str, str], Sheet] = {}
    for path in paths:
        for sheet in _read(path):
            key = (sheet.tool, sheet.server_version)
            before = merged[key].answers if key in merged else ()
            merged[key] = _checked({**dict(sheet), "answers": (*before, *sheet.answers)}, path)
    return list(merged.values())


def _read(path: Path) -> list[Sheet]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        # strings become members of Step, but 1 does not become true
        text = json.dumps(content if isinstance(content, list) else [content])
        return _SHEETS.validate_json(text, strict=True)
    except ValidationError as error:
        raise _malformed(error, path) from error
    except (OSError, ValueError) as error:
        raise SandboxError(
            f"the answers cannot be read: {error}", where=str(path), next_step=_FORMAT
        ) from error


def _checked(fields: dict[str, object], path: Path) -> Sheet:
    try:
        return Sheet.model_validate(fields)
    except ValidationError as error:
        raise _malformed(error, path) from error


def _malformed(error: ValidationError, path: Path) -> SandboxError:
    return SandboxError(
        f"the answers are not in the format: {first_error(error)}",
        where=str(path),
        next_step=_FORMAT,
    )


def first_error(error: ValidationError) -> str:
    """Return the first problem, and where it is, such as ``answers[3].step``."""
    found = error.errors()[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in found["loc"])
    message = found["msg"].removeprefix("Value error, ")
    return f"{place.removeprefix('.')}: {message}" if place else message


def write(sheets: Sequence[Sheet], path: Path) -> None:
    """Write sheets to a file.

    Raises
    ------
    SandboxError
        There is no such folder.
    EvidenceError
        The file cannot be written.
    """
    if not path.absolute().parent.is_dir():
        raise SandboxError(
            "the folder for the answers does not exist",
            where=str(path.parent),
            next_step="create it, or name another file in --answers",
        )
    content = [one.model_dump(mode="json", exclude_defaults=True) for one in sheets]
    store.write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
