"""What becomes of the tags of files, on a terminal: a diff a file, and the files of an undo."""

from __future__ import annotations

from rich.text import Text

from mt_tools.report.terminal import ToStdout, clean
from mt_tools.tables.batch import Batch

_ARROW = " -> "
_KEPT = (" kept, ", " was removed by somebody")  # of lines about what is left as it is


class ChangesView:
    """Shows what is or would be written into each file, a line a field, as the files come.

    Files of which nothing is to be told are left out; a mark before the name says that a file was
    changed.
    """

    def __init__(self) -> None:
        self._console = ToStdout(soft_wrap=True)

    def write(self, batch: Batch) -> None:
        """Print some files."""
        rows = zip(batch.ids, batch["changes"], batch["written"], strict=True)
        for id_, changes, written in rows:
            if not changes:
                continue
            mark = ("✓ " if written else "", "green")
            self._console.print(Text.assemble(mark, (clean(id_), "bold")))
            width = max(len(_parts(line)[0]) for line in changes)
            for line in changes:
                name, said = _parts(line)
                self._console.print(Text.assemble((f"  {name:<{width}}  ", "cyan"), *_styled(said)))
            self._console.print()

    def finish(self, rows: int, failed: int) -> None:
        """Print nothing more: a line on stderr sums up."""

    def abort(self) -> None:
        """Print nothing more."""


class UndoView:
    """Shows the files that have their old bytes again, as they come."""

    def __init__(self) -> None:
        self._console = ToStdout(soft_wrap=True)

    def write(self, batch: Batch) -> None:
        """Print some files."""
        for path in batch["path"]:
            self._console.print(Text.assemble(("↶ ", "green"), clean(path)))

    def finish(self, rows: int, failed: int) -> None:
        """Print nothing more: a line on stderr sums up."""

    def abort(self) -> None:
        """Print nothing more."""


def _parts(line: str) -> tuple[str, str]:
    name, _, said = line.partition(": ")
    return clean(name), clean(said)


def _styled(said: str) -> list[tuple[str, str]]:
    """Return what happens to a field, with styles: what goes in red, what comes in green."""
    if any(mark in said for mark in _KEPT):
        return [(said, "dim")]
    if said[:2] in ("+ ", "- "):
        return [(said, "green" if said[0] == "+" else "red")]
    before, arrow, after = said.partition(_ARROW)
    return [(before, "red"), (arrow, "dim"), (after, "green")]
