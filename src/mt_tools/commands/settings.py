"""Options that every command shares: where data comes from and goes to, and how a run behaves."""

from __future__ import annotations

from dataclasses import dataclass

from mt_tools.settings import setting

_INPUT = "Input and output"
_RUN = "Run"


@dataclass(frozen=True)
class OutputSettings:
    """Where the result goes."""

    output: str = setting(
        "",
        "Write to this file (.parquet .npz .arrow .jsonl .json .csv); it appears whole or not at "
        "all.",
        flags=("--output", "-o"),
        metavar="FILE",
        result=False,
        panel=_INPUT,
    )
    format: str = setting(
        "",
        "Write this format, whatever the file's ending or stdout is; table is for reading.",
        choices=("table", "parquet", "npz", "arrow", "jsonl", "json", "csv"),
        result=False,
        panel=_INPUT,
    )


@dataclass(frozen=True)
class InputSettings:
    """How the input is read."""

    from_: str = setting(
        "",
        "Read this format, whatever the first bytes say.",
        flags=("--from",),
        choices=("paths", "parquet", "npz", "arrow", "jsonl", "json", "csv"),
        result=False,
        panel=_INPUT,
    )
    null: bool = setting(
        False,
        "Paths on stdin end with NUL, as `find -print0` writes them.",
        flags=("--null", "-0"),
        result=False,
        panel=_INPUT,
    )
    assume: str = setting(
        "",
        "How features were made that do not say it (after pandas, another program's NPZ): this "
        "preset of mt-spec.",
        metavar="PRESET",
        panel=_INPUT,
    )
    shard: str = setting(
        "",
        "Take only part I of N, by a hash of the origin; I from 1.",
        metavar="I/N",
        panel=_INPUT,
    )


@dataclass(frozen=True)
class RunSettings:
    """How a run behaves and reports."""

    errors: str = setting(
        "",
        "Write the rows that failed to this file: id, path, stage, kind, message.",
        metavar="FILE",
        result=False,
        panel=_RUN,
    )
    max_errors: str = setting(
        "0",
        "So many failed rows (or N%) are still success: exit 0 instead of 3.",
        metavar="N|P%",
        result=False,
        panel=_RUN,
    )
    strict: bool = setting(
        False, "Stop at the first failed row and keep nothing.", result=False, panel=_RUN
    )
    quiet: bool = setting(
        False, "No progress and no notes; errors only.", flags=("--quiet", "-q"), result=False,
        panel=_RUN,
    )  # fmt: skip
    verbose: int = setting(
        0, "Say more; -vv adds tracebacks.", flags=("--verbose", "-v"), result=False, panel=_RUN
    )
    progress: bool = setting(
        False, "Show progress even where stderr is no terminal.", result=False, panel=_RUN
    )


@dataclass(frozen=True)
class WorkSettings:
    """How work is spread over the machine's cores."""

    jobs: int = setting(
        -1,
        "Worker processes; -1 = one a core, 0 = none, all in this process.",
        flags=("--jobs", "-j"),
        minimum=-1,
        result=False,
        panel=_RUN,
    )


@dataclass(frozen=True)
class FileWorkSettings(WorkSettings):
    """How audio files are worked on."""

    timeout: float = setting(
        900.0,
        "Seconds after which a file that is still worked on fails; its worker is stopped. Without "
        "effect with --jobs 0.",
        metavar="S",
        minimum=0.1,
        result=False,
        panel=_RUN,
    )


@dataclass(frozen=True)
class DeviceSettings:
    """Where networks run."""

    device: str = setting(
        "auto", "auto, cpu, cuda, cuda:N or mps; auto takes a GPU when there is one.",
        metavar="NAME", result=False, panel=_RUN,
    )  # fmt: skip
    batch_size: int = setting(32, "Segments a batch of the network.", minimum=1, panel=_RUN)
    threads: int = setting(
        0, "Threads of the network on a CPU; 0 = one a core.", minimum=0, panel=_RUN
    )
