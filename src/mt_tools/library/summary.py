"""What a nightly run did: one line for reading, and JSON for programs."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

from mt_tools.library.durations import spelled
from mt_tools.tables.atomic import atomic


@dataclass
class Summary:
    """The counts of a run: what the files were, then what became of them.

    Each file that was seen is one of `unchanged`, `waiting` (unchanged, and its row never went out
    under these options), `retagged` (changed, the sound is the same), `moved` (new, the sound is
    known), `new`, `changed`, `retried` (failed before, tried again), `failed_before` (not tried
    again) and `left` (by --max-time).
    """

    seen: int = 0
    unchanged: int = 0
    waiting: int = 0
    retagged: int = 0
    moved: int = 0
    new: int = 0
    changed: int = 0
    retried: int = 0
    failed_before: int = 0
    left: int = 0
    gone: int = 0
    tagged: int = 0
    remembered: int = 0
    failed: int = 0
    written: int = 0
    seconds: float = 0.0

    def line(self) -> str:
        """Return one line for reading, without what is nought."""
        words = {
            "failed_before": "failed before (--retry-failed)",
            "left": "left for the next run",
            "waiting": "not given before",
            "moved": "moved or copied",
        }
        said = [f"{self.seen} files"]
        kinds = ("new", "changed", "retagged", "moved", "waiting", "retried", "unchanged")
        for name in (*kinds, "failed_before", "left", "gone"):
            if getattr(self, name):
                said.append(f"{getattr(self, name)} {words.get(name, name)}")
        done = [f"{self.tagged} through the network"]
        for name, word in (
            ("remembered", "as remembered"), ("failed", "failed"), ("written", "written"),
        ):  # fmt: skip
            if getattr(self, name):
                done.append(f"{getattr(self, name)} {word}")
        return f"{', '.join(said)}; {', '.join(done)}; {spelled(self.seconds)}"


def save_summary(path: str, summary: Summary, code: int | None) -> None:
    """Write a summary as JSON; `code` is the exit code, None where a signal ended the run.

    Written at the end of every run that began, also of one that broke off: whoever looks at it in
    the morning must not take yesterday's for today's.
    """
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    said = {"ended": now, "exit": code, **asdict(summary)}
    with atomic(path) as file:
        file.write(json.dumps(said, indent=1).encode() + b"\n")
