"""What can be said of writing into files and of nightly runs: options, defined once.

Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

from mt_tools.settings import setting

_WRITE = "Tags inside the files"
_NIGHTLY = "Nightly runs"


@dataclass(frozen=True)
class WriteSettings:
    """`mt-tag`: what is written into the audio files."""

    write: tuple[str, ...] = setting(
        (),
        "Write a task's tags into this field of the files, or one named after the task: genre, "
        "mood, grouping, comment, or any other name, which becomes TXXX:NAME in an MP3 and NAME= "
        "in a FLAC. Again for each. Shows what would be changed, unless --apply.",
        metavar="TASK[=FIELD]", panel=_WRITE,
    )  # fmt: skip
    apply: bool = setting(
        False,
        "Change the files; --dry-run, the default, shows a diff for each.",
        flags=("--apply/--dry-run",), panel=_WRITE,
    )  # fmt: skip
    overwrite: bool = setting(
        False, "Replace values that somebody else wrote, which are kept otherwise.", panel=_WRITE
    )
    merge: bool = setting(
        False, "Add to values that somebody else wrote, which are kept otherwise.", panel=_WRITE
    )
    id3: str = setting(
        "keep",
        "Version of ID3 tags: that of the file, 2.4 for new ones, or one for all.",
        choices=("keep", "2.4", "2.3"), panel=_WRITE,
    )  # fmt: skip
    preserve: str = setting(
        "mode,owner,xattr",
        "What a changed file keeps: mode, owner, times and xattr, separated by commas; all or none "
        "of them.",
        metavar="LIST", panel=_WRITE,
    )  # fmt: skip
    break_links: bool = setting(
        False,
        "Change a file of several names (hard links) under the one given, apart from the others; "
        "otherwise it fails.",
        panel=_WRITE,
    )
    journal: str = setting(
        "",
        "Keep what --undo needs in this file, which grows; otherwise in one of this run among the "
        "user's state files, or in that of --state.",
        metavar="FILE", result=False, panel=_WRITE,
    )  # fmt: skip
    undo: str = setting(
        "",
        "Give the files of a journal the bytes that they had before; with INPUTs those alone, a "
        "file that was moved by its new place.",
        metavar="JOURNAL", result=False, panel=_WRITE,
    )  # fmt: skip


@dataclass(frozen=True)
class NightlySettings:
    """`mt-tag`: runs that go on from where earlier ones ended."""

    state: str = setting(
        "",
        "Remember in this folder what was done: only new and changed files are worked on, one that "
        "was retagged or moved needs no network, one that failed is tried again when it changes.",
        metavar="DIR", result=False, panel=_NIGHTLY,
    )  # fmt: skip
    all_: bool = setting(
        False,
        "With --state, give rows of unchanged files too, as they are remembered.",
        flags=("--all",), panel=_NIGHTLY,
    )  # fmt: skip
    retry_failed: bool = setting(
        False, "With --state, try files again that failed before.", panel=_NIGHTLY, result=False
    )
    max_time: str = setting(
        "",
        "Begin no file after so long, such as 90m or 8h, and end well; the next run goes on.",
        metavar="TIME", result=False, panel=_NIGHTLY,
    )  # fmt: skip
    nice: int = setting(
        0, "Yield the processor to other programs: 0 to 19, the most.",
        metavar="N", minimum=0, maximum=19, result=False, panel=_NIGHTLY,
    )  # fmt: skip
    summary: str = setting(
        "", "Write a summary of the run to this file, as JSON.",
        metavar="FILE.json", result=False, panel=_NIGHTLY,
    )  # fmt: skip
