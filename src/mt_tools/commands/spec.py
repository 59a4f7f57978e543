"""mt-spec: time-frequency features."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.settings import (
    FileWorkSettings,
    InputSettings,
    OutputSettings,
    RunSettings,
)
from mt_tools.engine.pool import prepare
from mt_tools.errors import UsageError
from mt_tools.features.presets import PRESETS, preset
from mt_tools.features.settings import FeatureSettings, parse_excerpt
from mt_tools.stages.settings import SpecSettings

if TYPE_CHECKING:
    from mt_tools.tables.batch import Batch

app = make_app("Compute time-frequency features of tracks.")

NOTES = "Presets:\n" + "\n".join(f"  {name}: {p.source}" for name, p in PRESETS.items())
EXAMPLES = [
    ("mt-spec ~/Music --preset choi2016 -o mels.parquet", "the Music Auto-Tagger's input"),
    (
        "mt-fetch folder ~/Music | mt-spec --preset rep | mt-embed -m my.safetensors --pool mean",
        "2.5 s slices, straight into a network",
    ),
    (
        "mt-spec song.flac --kind mfcc --n-mfcc 13 --deltas 1 --first 30 -o mfcc.npz",
        "MFCC + deltas",
    ),
    (
        "mt-spec ~/Music --preset rep --segment 2.5 --every 1.25 --short skip -o slices.parquet",
        "segments that overlap by half, and no track shorter than one",
    ),
    (
        "mt-spec ~/Music --preset agf --crops 8 --seconds 1 --seed 1 -o crops.parquet",
        "eight random places of every track",
    ),
    (
        "mt-spec tracks.parquet --preset dj --parts 3 --seconds 29 --dtype uint8 --reference max "
        "-o parts.parquet",
        "three parts of 29 s, a byte a value",
    ),
    (
        "mt-spec tracks.parquet --preset seq --fit whiten --components 40 --fitted whiten.npz "
        "-o white.parquet",
        "PCA whitening, fitted on the train rows",
    ),
    (
        "mt-spec ~/New --apply whiten.npz -o new.parquet",
        "the same of other tracks: the file knows the features",
    ),
    (
        "mt-spec mels.parquet --fit standardise -o standardised.parquet",
        "of features that a table has already",
    ),
]


def feature_settings(
    settings: SpecSettings, given: dict[str, Any], base: FeatureSettings | None = None
) -> FeatureSettings:
    """Return the preset's settings, or `base` or the defaults, with what was given on top."""
    base = preset(settings.preset) if settings.preset else base or FeatureSettings()
    asked = excerpts_asked(settings)
    if len(asked) > 1:
        raise UsageError(f"--{' and --'.join(asked)} contradict each other: choose one")
    if asked:
        ((_, excerpt),) = asked.items()
        given = given | {"excerpt": excerpt}
        # A number of frames belongs to excerpts as long as the preset's own.
        if parse_excerpt(excerpt).seconds != base.excerpt_seconds:
            given.setdefault("frames", 0)
    chosen = dataclasses.replace(base, **given)
    if "short" in given and chosen.excerpt_seconds is None:
        raise UsageError(
            f"--short {chosen.short}: tracks are taken whole or in equal parts, so none is too "
            "short: say how long an excerpt is, such as --first 30"
        )
    return chosen


def excerpts_asked(settings: SpecSettings) -> dict[str, str]:
    """Return the excerpts that options ask for, by option; one of them can be had.

    Raises `UsageError` for options that belong to others, which are not there.
    """
    s = settings
    if s.every and not s.segment:
        raise UsageError(f"--every {s.every:g} is from one segment to the next: add --segment S")
    if s.seconds and not (s.crops or s.parts):
        raise UsageError(f"--seconds {s.seconds:g} is for --crops N or --parts N: add one of them")
    if s.crops and not s.seconds:
        raise UsageError(f"--crops {s.crops}: say how long they are, --seconds S")
    if s.seed and not s.crops:
        raise UsageError(f"--seed {s.seed} draws the places of crops: add --crops N --seconds S")
    if s.range:
        _check_range(s.range)
    asked = {
        "whole": "whole" if s.whole else "",
        "first": _excerpt("first", s.first),
        "centre": _excerpt("centre", s.middle),
        "range": f"range:{s.range.replace(',', ':')}" if s.range else "",
        "segment": _excerpt("segment", s.segment, s.every),
        "crops": _excerpt("crops", s.crops, s.seconds, s.seed),
        "parts": _excerpt("parts", s.parts, s.seconds),
    }
    return {option: excerpt for option, excerpt in asked.items() if excerpt}


def _check_range(text: str) -> None:
    try:
        parse_excerpt(f"range:{text.replace(',', ':')}")
    except UsageError:
        raise UsageError(
            f"--range {text!r}: expected two times in seconds, the earlier first, such as 29,58"
        ) from None


def _excerpt(kind: str, *numbers: float) -> str:
    """Return an excerpt as the settings have it; "" where its first number is not there."""
    return ":".join([kind, *(f"{n:.10g}" for n in numbers if n)]) if numbers[0] else ""


@declare(
    app,
    "mt-spec",
    inputs=Inputs("Folders, audio files, tables of tracks, or - for stdin."),
    examples=EXAMPLES,
    optional=(FeatureSettings,),
    hide=("excerpt", "transform"),
    notes=NOTES,
)
def spec(
    inputs: list[str],
    settings: SpecSettings,
    features: FeatureSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
    work: FileWorkSettings,
) -> int:
    """Compute time-frequency features of tracks, and transforms fitted to them.

    Tracks in, the same tracks with a feature column out. The settings travel with the column, so
    that a model can refuse features that were made otherwise.

    --fit needs the whole input before the first row comes out: the features wait in a temporary
    file (TMPDIR says where). It is fitted on the train rows; which ones is recorded, for mt-eval
    check. With --fit or --apply and no feature settings, the features of a table are transformed
    where it has some.
    """
    prepare("mt_tools.stages.frontend", work.jobs, work.timeout)
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages import spec as stage

    wanted = stage.fit_of(settings, shard=given.shard)
    transform = stage.read_transform(settings.apply) if settings.apply else None
    with Run("mt-spec", run) as this:
        source = open_inputs(inputs, given, audio=True)
        column = None
        if (wanted or transform) and not (settings.preset or features or excerpts_asked(settings)):
            column = stage.feature_column(source.columns, settings.column)
        if column is None:
            base = transform and FeatureSettings.from_json(transform.settings)
            chosen = feature_settings(settings, features, base)  # type: ignore[arg-type]
        else:
            chosen = FeatureSettings.from_json(column.settings)
        if wanted:
            stage.check_bands(wanted, chosen, column.shape if column else ())
        if wanted and not wanted.ignore_split:
            stage.check_split(source)
        if transform:
            chosen = stage.transformed_settings(chosen, transform)
        kind = settings.fit if wanted else transform.kind if transform else ""
        storage = stage.storage_of(settings.dtype, settings.levels, chosen, kind)

        def steps() -> list[dict[str, Any]]:
            said = stage.recorded(settings, chosen, transform)
            return this.step(said, regular_inputs([*inputs, settings.apply]))

        out = this.output(target, steps, terminal=TableView)
        rows: Iterable[Batch] = this.read(source, given)
        name = column.name if column else settings.as_ or chosen.column
        if column is None:
            rows = stage.run(
                rows,
                chosen,
                name=name,
                storage=stage.Storage() if wanted else storage,
                folders=source.folders,
                jobs=work.jobs,
                fail=this.fail,
                transform=transform,
            )
        if wanted:
            rows, transform = stage.fit(this.progress(rows, None), name, wanted)
            chosen = stage.transformed_settings(chosen, transform)
            this.say(transform.described())
        if transform and (wanted or column):
            as_ = settings.as_ if column else ""
            rows = stage.transformed(
                rows, name, transform, as_=as_, storage=storage, fail=this.fail
            )
        for batch in rows if wanted else this.progress(rows, None):
            out.write(batch)
        if wanted and transform and settings.fitted:
            stage.write_transform(settings.fitted, transform)
        if storage.note():
            this.say(storage.note())
        return this.finish()


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-spec")
