"""Store the snapshots of one server for an hour, and delete older ones.

A file is two lines of JSON, compressed: the summary (`history.Glance`), then the whole situation
(`stored`). So a history can be read without the situations. Files are named by the time of the
snapshot, written atomically, and readable only by their owner.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from rbkernel import strictjson
from rbkernel.errors import StoredSituationError, WatchError
from rbkernel.model import Verdict
from rbkernel.redact import Redactor
from rbkernel.sources.postgres import stored
from rbkernel.sources.postgres.diagnosis import Diagnosis, judged
from rbkernel.sources.postgres.history import Earlier, Glance, Sighting
from rbkernel.sources.postgres.situation import Situation

KEPT = timedelta(hours=1)
# maximum number of files: an hour with a snapshot every 5 s
_MOST = 720
_SUFFIX = ".json.gz"
# fast compression: a snapshot is written every 10 s, and rarely read
_LEVEL = 1


class Ring:
    """The stored snapshots of one connection, in a folder below ``root``."""

    def __init__(self, root: Path, connection: str) -> None:
        self.folder = root / quote(connection, safe="")

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the lock of the folder during the block, so that no other process adds snapshots.

        Raises
        ------
        WatchError
            Another process holds the lock, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.folder / ".lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise WatchError(
                "another process already watches this connection",
                where=str(self.folder),
                next_step="start no second one: all runbooks of this user read the samples that it"
                " stores",
            ) from None
        try:
            for left in self.folder.glob("*.tmp"):  # temporary files that a crash left
                left.unlink()
            yield
        finally:
            os.close(lock)

    def add(self, seen: Diagnosis, redactor: Redactor) -> None:
        """Store a snapshot with secrets redacted, and delete old snapshots.

        Raises
        ------
        WatchError
            The disk is full, or the folder cannot be written.
        """
        named = {pid for cause in seen.causes for pid in cause.named}
        situation = stored.to_json(stored.condensed(seen.situation, named))
        lines = redactor.value([Glance.of(seen).to_json(), situation])
        packed = gzip.compress(b"\n".join(map(strictjson.dumps, lines)) + b"\n", _LEVEL)
        try:
            self._write(f"{_name(seen.situation.at)}{_SUFFIX}", packed)
            self._forget()
        except OSError as error:
            raise self._unwritable(error) from error

    def glances(self) -> list[Glance]:
        """Return the summaries of the last hour's snapshots, the oldest first."""
        return [glance for path in self._files() for glance in _glance(path)]

    def situation(self, at: str) -> Situation | None:
        """Return the whole snapshot of that time; None if it is not stored or not readable."""
        try:
            with gzip.open(self.folder / f"{_name(at)}{_SUFFIX}") as file:
                return stored.from_json(strictjson.loads(file.readlines()[1]))
        except (OSError, EOFError, ValueError, IndexError, StoredSituationError):
            return None

    def earlier(self, glances: Sequence[Glance]) -> Iterator[Earlier]:
        """Yield, for each critical cause, the newest snapshot that shows it; the newest snapshot
        comes first.
        """
        known: list[Sighting] = []
        for glance in reversed(glances):
            critical = [one for one in glance.causes if one.verdict == Verdict.CRITICAL.value]
            new = [one for one in critical if not any(one.same(other) for other in known)]
            situation = self.situation(glance.at) if new else None
            if situation is not None:
                known += new
                yield Earlier(diagnosis=judged(situation), occasion="seen by rbkernel watch")

    def _files(self) -> list[Path]:
        """Return the files of the last hour's snapshots; older files may remain after the watcher
        stopped.
        """
        oldest = _name((datetime.now(UTC) - KEPT).isoformat())
        return sorted(path for path in self.folder.glob(f"*{_SUFFIX}") if path.name >= oldest)

    def _forget(self) -> None:
        kept = self._files()[-_MOST:]
        for path in {*self.folder.glob(f"*{_SUFFIX}")} - {*kept}:
            path.unlink(missing_ok=True)

    def _write(self, name: str, data: bytes) -> None:
        number, temporary = tempfile.mkstemp(suffix=".tmp", dir=self.folder)  # 0600
        try:
            with os.fdopen(number, "wb") as file:
                file.write(data)
            Path(temporary).replace(self.folder / name)
        except OSError:
            with suppress(OSError):
                Path(temporary).unlink()
            raise

    def _unwritable(self, error: OSError) -> WatchError:
        return WatchError(
            f"samples of the server's state cannot be stored: {error.strerror or error}",
            where=str(self.folder),
            next_step="free disk space or correct the permissions of the folder, or set"
            " RBKERNEL_WATCH to"
            " another folder",
        )


def _name(at: str) -> str:
    """Return the file name, without suffix, of the snapshot at this time; names sort by time.

    >>> _name("2026-11-20T04:02:11.5+01:00")
    '20261120T030211.500000'
    """
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y%m%dT%H%M%S.%f}"


def _glance(path: Path) -> Iterator[Glance]:
    try:
        with gzip.open(path) as file:
            yield Glance.from_json(strictjson.loads(file.readline()))
    # deleted meanwhile, damaged, or written by a later version
    except (OSError, EOFError, ValueError, TypeError, KeyError):
        return
