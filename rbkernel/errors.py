"""The error classes of rbkernel, all with one base class.

Every message says what happened, where, and what to do next. The three parts are also
attributes, so that a terminal, a notebook and a web page can format them differently.
"""

from __future__ import annotations

import pathlib
import traceback
import types

_PACKAGE = pathlib.Path(__file__).parent


class RbkernelError(Exception):
    """The base class of all errors that rbkernel raises on purpose.

    Parameters
    ----------
    what
        What happened, as one sentence without a full stop.
    where
        File, section, cell or connection name; empty when there is only one place.
    next_step
        What the reader should do now, as one sentence without a full stop.

    >>> print(RbkernelError("no such runbook", where="RUN-999", next_step="run `rbkernel list`"))
    no such runbook (RUN-999). Next: run `rbkernel list`.
    """

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        self.what = what
        self.where = where
        self.next_step = next_step
        super().__init__(what)

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        advice = f" Next: {self.next_step}." if self.next_step else ""
        return f"{self.what}{place}.{advice}"

    def _render_traceback_(self) -> list[str]:
        """Return the traceback that IPython shows, without the frames of rbkernel."""
        lines = [f"{type(self).__name__}: {self}"]
        if place := _line_that_called(self.__traceback__):
            lines.append(f"line {place.lineno}: {place.line}")
        return lines

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.what, self.where, self.next_step)


def _line_that_called(frames: types.TracebackType | None) -> traceback.FrameSummary | None:
    """Return the last traceback line outside of rbkernel; None if it is in IPython (a magic)."""
    called: traceback.FrameSummary | None = None
    for frame in traceback.extract_tb(frames):
        if pathlib.Path(frame.filename).is_relative_to(_PACKAGE):
            break
        called = frame
    return called if called and called.line and "IPython" not in called.filename else None


def _restore(kind: type[RbkernelError], what: str, where: str, next_step: str) -> RbkernelError:
    return kind(what, where=where, next_step=next_step)


class ConfigError(RbkernelError, ValueError):
    """`rbkernel.toml`, the environment or a connections file cannot be used as it is.

    ``path`` is the field, such as ``("routes", 0, "alert")``; empty if it is not known.
    """

    def __init__(
        self, what: str, *, where: str = "", next_step: str = "", path: tuple[str | int, ...] = ()
    ) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.path = path


class UnknownConnection(ConfigError, LookupError):
    """No configuration file declares a connection with this name."""


class RunbookError(RbkernelError, ValueError):
    """A notebook is not a runbook: it is unreadable, or has no valid front matter."""


class UnknownRunbook(RunbookError, LookupError):
    """The catalogue has no runbook with this id or path."""


class ExecutedNotebook(RunbookError):
    """An executed notebook is given where a runbook is required."""


class AlertRulesError(RbkernelError, ValueError):
    """A file of alerting rules cannot be read."""


class ParameterError(RbkernelError, ValueError):
    """A parameter is not declared by the runbook, or its value has the wrong type."""


class UnknownName(RbkernelError, AttributeError):
    """An object of rbkernel has no such attribute, such as a misspelt action or rule."""


class SecretParameter(ParameterError):
    """A parameter looks like a password, a token or a DSN."""


class NothingCompared(ParameterError):
    """The conditions of a comparison select no row on either side, so nothing is compared."""


class SqlTextError(RbkernelError, ValueError):
    """Values cannot be bound to SQL text: a value is missing, or a literal is unterminated."""


class DatabaseError(RbkernelError):
    """The database did not answer: connection refused, time-out, lock, or missing permission.

    A diagnostic turns this error into an ``unknown`` finding with its reason. ``sqlstate`` is the
    server's code, empty if the server sent none; ``trouble`` is the kind of problem,
    as the source classifies it (PostgreSQL: `connection.troubles`), empty if unknown; ``opens`` is
    the runbook about this problem.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        next_step: str = "",
        sqlstate: str = "",
        trouble: str = "",
        opens: str = "",
    ) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.sqlstate = sqlstate
        self.trouble = trouble
        self.opens = opens


class SourceError(RbkernelError):
    """A monitoring system did not answer, or answered with an error."""


class QueryError(RbkernelError, ValueError):
    """The SQL itself is wrong (syntax, unknown table or column): a programming error."""


class StoredSituationError(RbkernelError, ValueError):
    """A stored situation cannot be read: it is damaged, or of a later version."""


class WatchError(RbkernelError):
    """Samples of the server's state cannot be stored, or another process watches the server."""


class NotStarted(RbkernelError, RuntimeError):
    """A call that needs a run was made before `rb.start`."""


class Undecided(RbkernelError, RuntimeError):
    """A decision was used as true or false, but nobody has decided yet."""


class RecorderError(RbkernelError, OSError):
    """The flight recorder cannot write, so no further cell may run."""


class EvidenceError(RbkernelError):
    """Evidence cannot be found, written, sealed or read."""


class AlreadyDecided(EvidenceError):
    """Somebody has answered the question already, and nobody has asked it again since."""


class RunbookChanged(EvidenceError):
    """A runbook is not the one that was run before."""


class NotNeeded(EvidenceError):
    """A job must not continue a run any more, and nobody has to do anything about it."""


class NewerEvidence(EvidenceError):
    """Evidence has a format of a later version, so it can be neither verified nor refuted."""


class NothingSealed(EvidenceError):
    """There is no sealed evidence to archive yet. The page for the archive answers with 409."""


class RunError(RbkernelError):
    """A runbook could not be executed to its end."""


class ExtensionError(RbkernelError):
    """An extension of another package is broken, of the wrong kind, or has a name that is taken."""


class ActionRefused(RbkernelError):
    """An action is not approved or not executed; nothing was changed."""


class SandboxError(RbkernelError):
    """The sandbox cannot be started, changed or stopped."""


class LinkError(RbkernelError, ValueError):
    """A link to a page is invalid: altered, expired, or its page does not exist."""


class StoreError(RbkernelError):
    """The gateway's store cannot be reached, is full, or has another version."""


class OlderStore(StoreError):
    """The gateway's store has an older version: `rbkernel serve` upgrades it."""


class GatewayError(RbkernelError):
    """The gateway cannot start with this configuration, or at this address."""


class Unauthenticated(RbkernelError, PermissionError):
    """A request does not authenticate its sender. The gateway answers with 401."""


class Unreadable(RbkernelError, ValueError):
    """A known sender sent a body without alerts in a known format. The body is quarantined."""


class TooLarge(RbkernelError, ValueError):
    """A body is longer than the limit of the gateway, which answers with 413."""


class Overloaded(RbkernelError):
    """The gateway is overloaded. It answers with 503, so that the sender retries."""


class NotifyError(RbkernelError):
    """A notification cannot be sent: apprise is missing, or the service refused it."""
