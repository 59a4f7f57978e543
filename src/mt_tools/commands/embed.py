"""mt-embed: one vector a track or segment."""

from __future__ import annotations

from typing import NoReturn

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.settings import (
    DeviceSettings,
    FileWorkSettings,
    InputSettings,
    OutputSettings,
    RunSettings,
)
from mt_tools.engine.memory import keep_memory
from mt_tools.engine.pool import prepare
from mt_tools.errors import RunError, UsageError
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
        "mt-embed ~/Music --model cnn-msd --layer conv2 --layer conv5 -o layers.parquet",
        "an early and a late layer, side by side",
    ),
    (
        "mt-embed ~/Music -m a.safetensors -m b.safetensors --pool mean+std -o both.parquet",
        "two networks side by side (MSS-CR of the REP study)",
    ),
    (
        "mt-embed ~/Music --update emb.parquet -o emb.parquet",
        "only what is new since the last time, whatever was renamed or tagged",
    ),
    (
        "mt-embed ~/Music -m 'onnx:net.onnx?preset=choi2016' -o emb.parquet",
        "a network of another program",
    ),
    (
        "mt-embed ~/Music -m hf:facebook/hubert-base-ls960 --pool mean -o emb.parquet",
        "a model of the Hugging Face hub",
    ),
    (
        "mt-spec ~/Music --preset choi2016 | mt-embed --model cnn-msd -o emb.parquet",
        "from features",
    ),
    ("mt-embed --model crnn-msd --selftest", "does this machine compute what it should?"),
    (
        "mt-embed -m compact-msd --calibrate mels.parquet -o mine.safetensors",
        "fix a network's batch norms to your own music",
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
    work: FileWorkSettings,
    device: DeviceSettings,
) -> int:
    """Turn tracks or features into one vector a track or segment.

    With --update, a table of an earlier run, only sound that it does not hold is embedded: rows are
    known by the SHA-256 of their encoded sound without tags, the features' settings and the
    model's digest.
    """
    keep_memory()
    prepare("mt_tools.stages.frontend", work.jobs, work.timeout)
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.nets.device import choose, set_threads
    from mt_tools.nets.weights import resolve
    from mt_tools.report.terminal import TableView
    from mt_tools.stages import embed as stage

    stage.check_pool(settings.pool)
    if settings.selftest or settings.calibrate:
        return _about_models(settings, target, inputs, device)
    with Run("mt-embed", run) as this:
        source = open_inputs(inputs, given, audio=True)
        set_threads(device.threads)
        models = settings.model or (DEFAULT_MODEL,)
        made = stage.parse_models(models, settings.layer, settings.as_, resolve)
        for one in made:
            for model in one.models:
                model.to(choose(device.device))
        earlier = None
        if settings.update:
            earlier = stage.Earlier(stage.read_earlier(settings.update, made))
        steps = lambda: this.step(  # noqa: E731
            result_settings(settings)
            | result_settings(device)
            | {"digest": [model.digest for one in made for model in one.models]}
            | stage.fitted_on(made),
            regular_inputs(inputs),
        )
        out = this.output(target, steps, terminal=TableView)
        way = stage.Way(
            pool=settings.pool,
            segment=settings.segment,
            hop=settings.hop,
            precision=settings.precision,
            chosen=settings.column,
            keep=settings.keep,
            batch_size=device.batch_size,
            folders=source.folders,
            jobs=work.jobs,
        )
        batches = stage.run(this.read(source, given), source.columns, made, way, this.fail, earlier)
        for batch in this.progress(batches, None):
            out.write(batch)
        if earlier is not None:
            if earlier.note:
                this.say(f"{settings.update} was made otherwise: {earlier.note}")
            this.say(f"{earlier.taken} of {earlier.taken + earlier.new} tracks taken from before")
        return this.finish()


def _about_models(
    settings: EmbedSettings, target: OutputSettings, inputs: list[str], device: DeviceSettings
) -> int:
    """Test a model, or write a calibrated one."""
    import numpy as np

    from mt_tools.nets.device import choose, set_threads
    from mt_tools.nets.places import split_alias
    from mt_tools.nets.weights import resolve
    from mt_tools.stages import embed as stage
    from mt_tools.tables.source import Source, open_table

    option = "--selftest" if settings.selftest else "--calibrate"
    if settings.selftest and settings.calibrate:
        raise UsageError("--selftest and --calibrate are two runs: leave out one of them")
    if settings.update or settings.layer or settings.pool:
        raise UsageError(f"{option} embeds nothing: leave out --update, --layer and --pool")
    if inputs:
        raise UsageError(f"{option} embeds nothing: leave out {' '.join(inputs)}")
    set_threads(device.threads)
    names = settings.model or (DEFAULT_MODEL,)
    if settings.selftest:
        failed = []
        for name in names:
            model = resolve(split_alias(name)[1])
            checks = model.selftest(full=True)
            if not model.document["fingerprint"]:  # made on the spot, like `random`
                checks = [check for check in checks if np.isfinite(check.worst)]
            for check in checks:
                verdict = "ok" if check.ok else "FAILED"
                print(f"{verdict:6}  {check.worst:8.1e} <= {check.tolerance:g}  {check.what}")
                failed += [] if check.ok else [check.what]
        if failed:
            raise RunError(f"{'; '.join(failed)}: beyond the tolerance")
        return 0
    if len(names) != 1 or not target.output.endswith(".safetensors"):
        raise UsageError(
            "--calibrate takes one --model, and -o FILE.safetensors to write it to, such as: "
            f"mt-embed -m {names[0]} --calibrate {settings.calibrate} -o mine.safetensors"
        )
    model = resolve(split_alias(names[0])[1]).to(choose(device.device))
    table = Source([open_table(settings.calibrate)])
    stage.calibrated(model, table, device.batch_size).to("cpu").save(target.output)
    return 0


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-embed")
