"""mt-tag: applies a model to folders."""

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
from mt_tools.nets.registry import DEFAULT_MODEL
from mt_tools.settings import result_settings
from mt_tools.stages.settings import TagSettings

app = make_app("Tag tracks with a model.")

EXAMPLES = [
    ("mt-tag ~/Music", "the default model, a readable table"),
    (
        "find ~/Music -name '*.mp3' -print0 | mt-tag -0 - --model crnn-msd -o tags.jsonl",
        "a list of paths in, a line a track out",
    ),
    ("mt-tag ~/New --model mine.safetensors -o tags.csv", "your own model"),
    (
        "mt-tag ~/New --model mine.safetensors --precision 0.9",
        "only tags that are right nine times in ten, after mt-eval thresholds",
    ),
    ("mt-tag ~/Music | jq -r '[.id, .tags_pred[0]] | @tsv'", "off a terminal: JSON lines"),
]


@declare(
    app,
    "mt-tag",
    inputs=Inputs("Folders, audio files, tables of tracks, features or embeddings, or -."),
    examples=EXAMPLES,
)
def tag(
    inputs: list[str],
    settings: TagSettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
    work: FileWorkSettings,
    device: DeviceSettings,
) -> int:
    """Tag tracks: scores and chosen tags of every task of a model.

    On a terminal bars, into a pipe or file JSON lines, into -o FILE what its ending says.
    """
    keep_memory()
    prepare("mt_tools.stages.frontend", work.jobs, work.timeout)
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.nets.device import choose, set_threads
    from mt_tools.nets.weights import resolve
    from mt_tools.report.terminal import TagView
    from mt_tools.stages import tag as stage
    from mt_tools.stages.networks import split_alias
    from mt_tools.tasks.kinds import DEFAULT_TOP

    with Run("mt-tag", run) as this:
        set_threads(device.threads)
        alias, name = split_alias(settings.model or DEFAULT_MODEL)
        model = resolve(name).to(choose(device.device))
        source = open_inputs(inputs, given, audio=True)
        steps = lambda: this.step(  # noqa: E731
            result_settings(settings) | result_settings(device) | {"digest": model.digest},
            regular_inputs(inputs),
        )
        out = this.output(
            target, steps, terminal=lambda: TagView(settings.top or DEFAULT_TOP), ends_chain=True
        )
        batches = stage.run(
            this.read(source, given),
            source.columns,
            model,
            prefix=f"{alias}." if alias else "",
            top=settings.top or None,
            with_scores=settings.scores,
            batch_size=device.batch_size,
            folders=source.folders,
            jobs=work.jobs,
            fail=this.fail,
            precision=settings.precision,
            confidence=settings.confidence,
            say=this.say,
        )
        for batch in this.progress(batches, None):
            out.write(batch)
        return this.finish()


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-tag")
