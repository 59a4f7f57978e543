"""One run of a command: its input, its output, its failed rows, its exit code."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from mt_tools.commands.settings import InputSettings, OutputSettings, RunSettings
from mt_tools.errors import (
    EXIT_OK,
    EXIT_ROWS_FAILED,
    CheckFailed,
    Failure,
    NoRows,
    RowError,
    RunError,
    UsageError,
)
from mt_tools.settings import result_settings
from mt_tools.sound.scan import is_audio_name
from mt_tools.tables import provenance
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved
from mt_tools.tables.sink import Output, Writer, to_file, to_stdout
from mt_tools.tables.source import Source

_ERROR_COLUMNS = [
    reserved("id"),
    reserved("path"),
    Column("stage", "string"),
    Column("kind", "string"),
    Column("message", "string"),
]


class Run:
    """Counts rows and failures of one run, and turns them into output and exit code.

    Used as a context manager: an error on the way out leaves the output unfinished (a file is
    removed, a stream lacks its end) and still writes the table of failed rows.
    """

    def __init__(self, command: str, settings: RunSettings) -> None:
        self.command = command
        self.settings = settings
        self._allowed = _allowance(settings.max_errors)
        self._failures: list[Failure] = []
        self._errors: Output | None = None
        if settings.errors:
            open_errors = to_file(settings.errors, None)
            self._errors = Output(lambda: open_errors([]))
        self._output: Output | None = None
        self._beside: list[Output] = []
        self._source: Source | None = None
        self._given: dict[str, Any] = {}
        self._left_out = 0
        self.rows = 0

    # What goes in.

    def read(self, source: Source, given: InputSettings) -> Iterator[Batch]:
        """Yield the rows of the input that this run takes; `--shard` leaves the others out."""
        self._source = source
        self._given = {name: value for name, value in result_settings(given).items() if value}
        return self._taken(source, parse_shard(given.shard))

    def _taken(self, source: Source, shard: tuple[int, int] | None) -> Iterator[Batch]:
        for batch in source:
            if shard is not None:
                part, parts = shard
                mine = [i for i, o in enumerate(batch.origins) if _bucket(o, parts) == part]
                self._left_out += len(batch) - len(mine)
                batch = batch.take(mine)
            self.rows += len(batch)
            if len(batch):
                yield batch

    # What goes wrong.

    def fail(self, row: dict[str, Any], error: RowError) -> None:
        """Record a failed row: one line on stderr now, a row of `--errors` at the end."""
        failure = Failure(
            id=str(row.get("id", "")),
            path=str(row.get("path") or ""),
            stage=self.command,
            kind=error.kind,
            message=" ".join(str(error).split()),
        )
        self._failures.append(failure)
        self.say(f"{failure.id or failure.path}: {failure.message}", always=True)
        if self.settings.strict:
            raise RunError(f"stopped at the first failed row ({failure.id}), as --strict asks")

    @property
    def failed(self) -> int:
        """Rows that failed here or in the commands before this one."""
        return len(self._failures) + (self._source.failed if self._source is not None else 0)

    # What goes out.

    def say(self, text: str, always: bool = False) -> None:
        """Print a note on stderr, unless --quiet."""
        if always or not self.settings.quiet:
            # Of ids and labels a terminal would obey escape sequences, and turn lines around.
            line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
            print(f"{self.command}: {line}", file=sys.stderr, flush=True)

    def step(self, settings: dict[str, Any], inputs: Iterable[str] = ()) -> list[provenance.Step]:
        """Return the input's history with this run as its last step."""
        history = self._source.provenance if self._source is not None else []
        return [*history, provenance.step(self.command, self._given | settings, inputs)]

    def output(
        self,
        target: OutputSettings,
        steps: Callable[[], list[provenance.Step]],
        *,
        terminal: Callable[[], Writer],
        ends_chain: bool = False,
    ) -> Output:
        """Open where `target` says the rows go; `steps` is asked for at the first row.

        Raises `UsageError` at once for what cannot be written.
        """
        if target.output in ("", "-", "/dev/stdout"):
            opener = to_stdout(target.format or None, ends_chain=ends_chain, terminal=terminal)
        elif is_audio_name(target.output) and os.path.exists(target.output):
            raise UsageError(f"--output {target.output} is an audio file: name one for the rows")
        else:
            opener = to_file(target.output, target.format or None)
        self._output = Output(lambda: opener(steps()))
        return self._output

    def beside(self, path: str, steps: Callable[[], list[provenance.Step]]) -> Output:
        """Open a second table, which becomes whole with the run; raises `UsageError` at once."""
        opener = to_file(path, None)
        self._beside.append(Output(lambda: opener(steps())))
        return self._beside[-1]

    def progress(
        self, batches: Iterable[Batch], total: int | None, unit: str = "track"
    ) -> Iterator[Batch]:
        """Pass batches through, showing progress on a terminal when the work is long."""
        with self.bar(total, unit) as advance:
            for batch in batches:
                yield batch
                advance(len(batch))

    @contextlib.contextmanager
    def bar(self, total: int | None, unit: str) -> Iterator[Callable[..., object]]:
        """Show a progress bar where one is wanted; gives the function that advances it."""
        if not (self.settings.progress or (sys.stderr.isatty() and not self.settings.quiet)):
            yield lambda count=1: None
            return
        from tqdm import tqdm

        with tqdm(
            total=total, unit=unit, desc=self.command, delay=0 if self.settings.progress else 1.5,
            file=sys.stderr, dynamic_ncols=True, leave=False,
        ) as bar:  # fmt: skip
            yield bar.update

    def finish(self, unmet: Sequence[str] = (), *, left: bool = True) -> int:
        """End the run: the output becomes whole; return the exit code.

        Raises `CheckFailed` where checks or requirements are `unmet`, after the results are out,
        and `NoRows` where there was nothing to do, unless none need be `left`.
        """
        failed = self.failed
        if left and not (self.rows or self._left_out or failed):
            raise NoRows("the input had no rows: nothing to do")
        self._write_errors()
        if self._output is not None:
            if self._output.empty is None and self._source is not None:
                self._output.empty = self._source.empty
            self._output.finish(failed, well=not unmet)
        for output in self._beside:
            output.finish(failed)
        if unmet:
            for line in unmet[:-1]:
                self.say(line, always=True)
            raise CheckFailed(unmet[-1])
        if not failed:
            return EXIT_OK
        total = self.rows + failed - len(self._failures)  # failed before: not in what came here
        self.say(f"{failed} of {total} rows failed", always=True)
        return EXIT_OK if self._allowed(failed, total) else EXIT_ROWS_FAILED

    def _write_errors(self) -> None:
        """Write the table of failed rows, once."""
        if self._errors is None:
            return
        table, self._errors = self._errors, None
        values = {
            column.name: [getattr(failure, column.name) for failure in self._failures]
            for column in _ERROR_COLUMNS
        }
        try:
            table.write(Batch.build(_ERROR_COLUMNS, values))
            table.finish(0)
        except BaseException:
            table.abort()
            raise

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            return
        for output in [*self._beside, *filter(None, [self._output])]:
            output.abort()
        try:
            self._write_errors()
        except RunError as second:
            self.say(str(second), always=True)


def _allowance(text: str) -> Callable[[int, int], bool]:
    """Return the rule of `--max-errors`: (failed, total) -> tolerated?"""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text)
    if match is None or ("." in text and not match[2]):
        raise UsageError(
            f"--max-errors {text!r}: expected a count such as 20, or a share such as 5%"
        )
    limit = float(match[1])
    if match[2]:
        return lambda failed, total: failed <= limit / 100 * total
    return lambda failed, total: failed <= limit


def parse_shard(text: str) -> tuple[int, int] | None:
    """Return (part from 0, parts) of `I/N`, or None where it is empty."""
    if not text:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text!r}: expected I/N with I from 1 to N, such as 2/8")
    return int(match[1]) - 1, int(match[2])


def _bucket(origin: str, parts: int) -> int:
    digest = hashlib.sha256(origin.encode()).digest()
    return int.from_bytes(digest[:8], "big") % parts


def regular_inputs(inputs: Iterable[str]) -> list[str]:
    """Return those inputs that are files, whose digests belong into the provenance."""
    return [path for path in inputs if path != "-" and os.path.isfile(path)]
