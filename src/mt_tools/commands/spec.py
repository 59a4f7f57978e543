"""mt-spec: time-frequency features."""

from __future__ import annotations

import dataclasses
from typing import Any, NoReturn

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.settings import InputSettings, OutputSettings, RunSettings, WorkSettings
from mt_tools.errors import UsageError
from mt_tools.features.settings import PRESETS, FeatureSettings, preset
from mt_tools.stages.settings import SpecSettings

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
]


def feature_settings(settings: SpecSettings, given: dict[str, Any]) -> FeatureSettings:
    """Return the preset's settings, or the defaults, with what was given on top."""
    base = preset(settings.preset) if settings.preset else FeatureSettings()
    excerpts = {
        "first": settings.first,
        "centre": settings.middle,
        "segment": settings.segment,
        "whole": float(settings.whole),
    }
    asked = [kind for kind, seconds in excerpts.items() if seconds]
    if len(asked) > 1:
        raise UsageError(f"--{' and --'.join(asked)} contradict each other: choose one")
    if asked:
        kind = asked[0]
        given = given | {"excerpt": kind if kind == "whole" else f"{kind}:{excerpts[kind]:g}"}
        # A number of frames belongs to the preset's own excerpt.
        given.setdefault("frames", 0)
    return dataclasses.replace(base, **given)


@declare(
    app,
    "mt-spec",
    inputs=Inputs("Folders, audio files, tables of tracks, or - for stdin."),
    examples=EXAMPLES,
    optional=(FeatureSettings,),
    hide=("excerpt",),
    notes=NOTES,
)
def spec(
    inputs: list[str],
    settings: SpecSettings,
    features: FeatureSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
    work: WorkSettings,
) -> int:
    """Compute time-frequency features of tracks: mel (power, log, dB) or MFCC.

    Tracks in, the same tracks with a feature column out. The settings travel with the column, so
    that a model can refuse features that were made otherwise.
    """
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.report.terminal import TableView
    from mt_tools.stages import spec as stage

    chosen = feature_settings(settings, features)  # type: ignore[arg-type]
    with Run("mt-spec", run) as this:
        source = open_inputs(inputs, given, audio=True)
        steps = lambda: this.step(  # noqa: E731
            {"features": chosen.to_json(), "dtype": settings.dtype}, regular_inputs(inputs)
        )
        out = this.output(target, steps, terminal=TableView)
        batches = stage.run(
            this.read(source, given),
            chosen,
            name=settings.as_ or chosen.column,
            half=settings.dtype == "float16",
            folders=source.folders,
            jobs=work.jobs,
            fail=this.fail,
        )
        for batch in this.progress(batches, None):
            out.write(batch)
        return this.finish()


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-spec")
