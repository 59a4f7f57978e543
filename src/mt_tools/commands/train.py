"""mt-train: trains models of one or many tasks."""

from __future__ import annotations

from typing import NoReturn

from mt_tools.commands.app import Inputs, declare, execute, make_app
from mt_tools.commands.settings import InputSettings, RunSettings
from mt_tools.errors import UsageError
from mt_tools.learn.settings import FitSettings
from mt_tools.settings import result_settings
from mt_tools.stages.settings import TrainOutputSettings, TrainSettings

app = make_app("Train a model of one or many tasks.")

EXAMPLES = [
    (
        "mt-train synth.parquet --task style --task energy --net mlp -o mine.safetensors",
        "a class and a number at once, from embeddings",
    ),
    (
        "mt-train mels.parquet -t genre -t mood:multilabel:0.5 --net cnn -o cnn.safetensors",
        "a convolutional network; the second task counts half",
    ),
    (
        "mt-train emb.parquet --task genre --split stratified --test 0.2 -o g.safetensors",
        "a fifth held out and reported",
    ),
]


@declare(
    app,
    "mt-train",
    inputs=Inputs("Tables of embeddings or features with labels, or - for stdin."),
    examples=EXAMPLES,
)
def train(
    inputs: list[str],
    settings: TrainSettings,
    fitting: FitSettings,
    target: TrainOutputSettings,
    given: InputSettings,
    run: RunSettings,
) -> int:
    """Train a model of one or many tasks, on embeddings (mlp) or features (cnn).

    Rows that lack a task's label are masked for it. Splits come from the table, or are drawn by
    artist; test rows never train. The model is one file, with all that mt-tag needs.
    """
    import os

    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.stages import train as stage
    from mt_tools.tasks.kinds import parse_task

    if not settings.task:
        raise UsageError("no --task: say which label column to learn, such as --task genre")
    if not target.output.endswith(".safetensors"):
        raise UsageError(
            f"-o {target.output or '(missing)'}: name the model file, such as -o mine.safetensors"
        )
    if not os.path.isdir(os.path.dirname(target.output) or "."):
        raise UsageError(f"-o {target.output}: its folder does not exist")
    with Run("mt-train", run) as this:
        source = open_inputs(inputs, given, audio=False)
        labels = [parse_task(text)[0] for text in settings.task]
        source.require(*labels)
        column, net = stage.input_column(source.columns, settings.input, settings.net)
        table = stage.collect(this.read(source, given), column, labels, this.say)
        if source.failed:
            this.say(f"{source.failed} rows failed before this command and are not trained on")
        with this.bar(fitting.epochs, "epoch") as advance:
            model, history = stage.run(
                table,
                column,
                net,
                settings,
                fitting,
                device=target.device,
                folders=source.folders,
                provenance=this.step(
                    result_settings(settings) | result_settings(fitting), regular_inputs(inputs)
                ),
                say=this.say,
                on_epoch=lambda epoch: advance(),
            )
        model.save(target.output)
        counts = model.document["training"]["rows"]
        this.say(
            f"{net}, {counts['train']} train / {counts['valid']} valid / {counts['test']} test "
            f"rows, best of {len(history.epochs)} epochs: {history.best_epoch}"
        )
        for part, measured in model.document["metrics"].items():
            for task in model.tasks:
                this.say(f"{part} {task['name']}: {stage.headline(task, measured)}")
        return this.finish()


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-train")
