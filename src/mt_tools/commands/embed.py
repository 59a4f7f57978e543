"""mt-embed: one vector a track or segment."""

from __future__ import annotations

from typing import NoReturn

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.settings import (
    DeviceSettings,
    InputSettings,
    OutputSettings,
    RunSettings,
    WorkSettings,
)
from mt_tools.nets.registry import DEFAULT_MODEL
from mt_tools.settings import result_settings
from mt_tools.stages.settings import EmbedSettings

app = make_app("Turn tracks or features into embeddings.")

EXAMPLES = [
    (
        "mt-fetch folder ~/Music | mt-embed --model crnn-msd -o emb.parquet",
        "32 numbers a track, from a network trained on a million songs",
    ),
    ("mt-embed ~/Music --model mfcc-stats -o mfcc.parquet", "the baseline: MFCC statistics"),
    (
        "mt-embed ~/Music --model crnn-msd --pool concat:3 -o parts.parquet",
        "three parts of each track, side by side",
    ),
    (
        "mt-spec ~/Music --preset choi2016 | mt-embed --model cnn-msd -o emb.parquet",
        "from features",
    ),
]


@declare(
    app,
    "mt-embed",
    inputs=Inputs("Folders, audio files, tables of tracks or features, or - for stdin."),
    examples=EXAMPLES,
)
def embed(
    inputs: list[str],
    settings: EmbedSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
    work: WorkSettings,
    device: DeviceSettings,
) -> int:
    """Turn tracks or features into one vector a track or segment."""
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.nets.device import choose, set_threads
    from mt_tools.nets.weights import resolve
    from mt_tools.report.terminal import TableView
    from mt_tools.stages import embed as stage

    how = stage.check_pool(settings.pool)
    with Run("mt-embed", run) as this:
        source = open_inputs(inputs, given, audio=True)
        name = settings.model or DEFAULT_MODEL
        set_threads(device.threads)
        model = resolve(name).to(choose(device.device))
        steps = lambda: this.step(  # noqa: E731
            result_settings(settings) | result_settings(device) | {"digest": model.digest},
            regular_inputs(inputs),
        )
        out = this.output(target, steps, terminal=TableView)
        batches = stage.run(
            this.read(source, given),
            source.columns,
            model,
            how=how,
            segment=settings.segment,
            chosen=settings.column,
            name=settings.as_,
            typed=name,
            keep=settings.keep,
            batch_size=device.batch_size,
            folders=source.folders,
            jobs=work.jobs,
            fail=this.fail,
        )
        for batch in this.progress(batches, None):
            out.write(batch)
        return this.finish()


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-embed")
