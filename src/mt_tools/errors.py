"""The whole family of errors, and what each does to a run.

Two kinds exist. A `RunError` ends the run with its exit code and one line on stderr. A
`RowError` is about one track: the row becomes an error row, the run goes on, and the run
ends with code 3. Every message says what was got, what was expected, and what to type next.
"""

from __future__ import annotations

from dataclasses import dataclass

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_ROWS_FAILED = 3
EXIT_CHECK = 4
EXIT_NO_ROWS = 5
EXIT_LOCKED = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed later


class MtToolsError(Exception):
    """Base of every error that this package raises on purpose."""


class RunError(MtToolsError):
    """The run cannot go on: one line on stderr, exit 1."""

    exit_code = EXIT_FAILED


class UsageError(RunError):
    """The command, an option or an input does not fit: nothing was done, exit 2."""

    exit_code = EXIT_USAGE


class SettingsMismatch(UsageError):
    """Features, embeddings or vocabularies that do not belong together."""


class CheckFailed(RunError):
    """A check or a `--require` did not hold: the results were written, exit 4."""

    exit_code = EXIT_CHECK


class NoRows(RunError):
    """The input had no rows, exit 5."""

    exit_code = EXIT_NO_ROWS


class UpstreamEnded(RunError):
    """A stream stopped before its end mark: the command before this one died, exit 1."""


class BrokenTable(RunError):
    """A table or model file that is cut short or not what its name says, exit 1."""


class DownloadError(RunError):
    """A download that did not arrive whole and verified, exit 1."""


class ArchiveError(RunError):
    """An archive that is cut, broken, or not safe to unpack, exit 1."""


class Locked(RunError):
    """Another run is at work on the same files, exit 75."""

    exit_code = EXIT_LOCKED


class RowError(MtToolsError):
    """One track failed; the run goes on. `kind` is a short stable word for `--errors` tables."""

    kind = "failed"

    def __init__(self, message: str, kind: str | None = None) -> None:
        super().__init__(message)
        if kind is not None:
            self.kind = kind


class DecodeError(RowError):
    """The audio could not be decoded.

    Kinds: `missing`, `unreadable`, `empty`, `truncated`, `not-audio`, `no-decoder`, `too-short`.
    """

    kind = "unreadable"


class WorkerDied(RowError):
    """A worker process crashed, was killed or hung on this track."""

    kind = "crashed"


@dataclass(frozen=True)
class Failure:
    """A row of the errors table: which track failed, where and why."""

    id: str
    path: str
    stage: str
    kind: str
    message: str
