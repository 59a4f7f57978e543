"""One bar of bytes for all that is being downloaded."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any


class Progress:
    """Counts bytes, from several threads; shows them where it has a bar."""

    def __init__(self, bar: Any = None) -> None:
        self._bar = bar
        self._lock = threading.Lock()

    def advance(self, count: int) -> None:
        """Take note of bytes that came; of bytes that are void again where negative."""
        if self._bar is not None:
            with self._lock:
                self._bar.update(count)

    def expect(self, count: int) -> None:
        """Take note of bytes to come that nobody had declared."""
        if self._bar is not None:
            with self._lock:
                self._bar.total = (self._bar.total or 0) + count
                self._bar.refresh()


@contextlib.contextmanager
def progress_bar(show: bool, what: str, total: int = 0) -> Iterator[Progress]:
    """Draw a bar of bytes on stderr while the block runs, if `show`."""
    if not show:
        yield Progress()
        return
    from tqdm import tqdm

    with tqdm(
        total=total or None, unit="B", unit_scale=True, desc=what, file=sys.stderr,
        dynamic_ncols=True, leave=False,
    ) as bar:  # fmt: skip
        yield Progress(bar)
