"""mt-train: trains models of one or many tasks.

Also run as a module, by torchrun: `torchrun --nproc-per-node 2 -m mt_tools.commands.train ...`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence, Set
from typing import TYPE_CHECKING, Any, NoReturn

from mt_tools.commands import grid
from mt_tools.commands.app import Config, Inputs, declare, execute, make_app
from mt_tools.commands.settings import FileWorkSettings, InputSettings, RunSettings
from mt_tools.engine.memory import keep_memory
from mt_tools.engine.pool import prepare
from mt_tools.errors import EXIT_FAILED, EXIT_OK, NoRows, RunError, UsageError
from mt_tools.learn.settings import (
    FeedSettings,
    FitSettings,
    ProtocolSettings,
    TransferSettings,
)
from mt_tools.recipes import without_folders
from mt_tools.settings import result_settings
from mt_tools.stages.settings import Options, TrainOutputSettings, TrainSettings

if TYPE_CHECKING:
    from mt_tools.commands.run import Run
    from mt_tools.learn.distributed import World
    from mt_tools.stages.job import Job
    from mt_tools.stages.train import Outcome
    from mt_tools.tables.source import Source

app = make_app("Train a model of one or many tasks.")

EXAMPLES = [
    (
        "mt-train synth.parquet --task style --task energy --net mlp -o mine.safetensors",
        "a class and a number at once, from embeddings",
    ),
    (
        "mt-train mels.parquet -t genre -t mood:multilabel:0.5 --net cnn --param dropout=0.2 -o "
        "cnn.safetensors",
        "a convolutional network; the second task counts half",
    ),
    (
        "mt-train tracks.parquet --preset choi2016 --crop 5 --net cnn -t style -o s.safetensors",
        "straight from audio, on random crops of 5 s",
    ),
    (
        "mt-train mels.parquet -t genre -t subgenre --net cnn-dj --share block:2 "
        "--output-feature 'genre->subgenre' --baseline -o dj.safetensors",
        "two shared blocks; what does each task gain by company?",
    ),
    (
        "mt-train mels.parquet -t style --net crnn-choi.crnn-msd --lr-scale 'shared.*=0.1' "
        "-o tuned.safetensors",
        "pretrained weights, fine-tuned at a tenth of the rate; --freeze 'shared.*' leaves them",
    ),
    (
        "mt-train emb.parquet --task genre --test 0.2 --repeats 10 --retrain --patience 3 "
        "-o g.safetensors",
        "ten random splits by artist; train again for the mean of the best epochs",
    ),
    ("mt-train --config grid.toml", "every combination of [mt-train.grid], and a table of results"),
]

NOTES = """With --config FILE.toml one file says everything. [mt-train.grid] holds options with
lists of values; each combination is a run, named by its values (--runs lists them), -o is the
folder of their models, and runs that are done are skipped. [[mt-train.stage]] tables are trainings
after another: each has a name, its options, and may say init = "NAME" of an earlier one."""


@declare(
    app,
    "mt-train",
    inputs=Inputs("Tables of embeddings, features or tracks, with labels, or - for stdin."),
    examples=EXAMPLES,
    sections=("grid", "stage"),
    notes=NOTES,
)
def train(
    inputs: list[str],
    settings: TrainSettings,
    fitting: FitSettings,
    feeding: FeedSettings,
    transfer: TransferSettings,
    protocol: ProtocolSettings,
    target: TrainOutputSettings,
    given: InputSettings,
    run: RunSettings,
    work: FileWorkSettings,
    config: Config,
) -> int:
    """Train a model of one or many tasks, on embeddings, on features, or on audio.

    Rows that lack a task's label are masked for it. Splits come from the table, or are drawn by
    artist; test rows never train. The model is one file, with all that mt-tag needs. A run that was
    killed goes on with --resume.
    """
    keep_memory()
    prepare("mt_tools.stages.frontend", 0, work.timeout)  # not every training decodes
    arguments = {
        "inputs": inputs, "settings": settings, "fitting": fitting, "feeding": feeding,
        "transfer": transfer, "protocol": protocol, "target": target, "given": given, "run": run,
        "work": work,
    }  # fmt: skip
    tables = config.sections
    if "grid" not in tables:
        for option, asked in (("--runs", target.runs), ("--run", target.run),
                              ("--results", target.results and "stage" not in tables)):  # fmt: skip
            if asked:
                raise UsageError(f"{option} needs --config with [mt-train.grid]")
    if "grid" not in tables and "stage" not in tables:
        return _Training(arguments).run()
    return _several(config, target, run, arguments)


# --- grids and stages ----------------------------------------------------------------------------


def _several(
    config: Config, target: TrainOutputSettings, run: RunSettings, arguments: dict[str, Any]
) -> int:
    """Do the runs of a grid and their stages, or list them, or tell their results."""
    gridded = "grid" in config.sections
    runs = [grid.GridRun("", {})]
    if gridded:
        axes = _with_typed(config.sections["grid"], config.typed, arguments)
        runs = grid.chosen(grid.expand(axes), target.run)
    if target.runs:
        print("\n".join(one.name for one in runs))
        return EXIT_OK
    if "inputs" in config.typed and any("inputs" in s for s in _tables(config)):
        raise UsageError("the stages of --config name their inputs: name none on the command line")
    plans = []
    for one in runs:
        output = grid.run_output(target.output, one.name) if gridded else target.output
        stages = grid.stages_of(config.sections.get("stage"), output)
        plans.append((one, stages))
    if target.results:
        return _results(plans, target.results, run)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # joined once: torchrun's store is for one time
        from mt_tools.learn.distributed import joined

        with joined(_device(target.device)):
            return _each(config, target, run, plans, gridded)
    return _each(config, target, run, plans, gridded)


def _with_typed(axes: Any, typed: Set[str], arguments: dict[str, Any]) -> Any:
    """Return a grid whose options that were typed have the one value that was typed.

    They stay in the names of the runs: what is typed wins, and its models are its own.
    """
    if not isinstance(axes, dict):
        return axes
    groups = [group for group in arguments.values() if dataclasses.is_dataclass(group)]
    said = {field.name: getattr(g, field.name) for g in groups for field in dataclasses.fields(g)}
    found = {}
    for key, values in axes.items():
        value = said.get(key.replace("-", "_"))
        value = list(value) if isinstance(value, tuple) else value
        found[key] = [value] if key.replace("_", "-") in typed else values
    return found


def _each(
    config: Config,
    target: TrainOutputSettings,
    run: RunSettings,
    plans: Sequence[tuple[grid.GridRun, list[grid.Stage]]],
    gridded: bool,
) -> int:
    """Do the runs one after another; one whose loss diverges does not stop the others."""
    # All before the first: a slip in the last would else be told after hours.
    trainings = [(one, _trainings(config, target, run, one, stages)) for one, stages in plans]
    _check_files([training for _, ones in trainings for training in ones])
    failed, code = [], EXIT_OK
    for one, ones in trainings:
        try:
            for training in ones:
                code = max(code, training.run())
        except UsageError:
            raise
        except RunError as error:
            if not gridded:
                raise
            _say(f"run {one.name} failed: {error}", run, always=True)
            failed.append(one.name)
    done = any(os.path.exists(stages[-1].output) for _, stages in plans)
    if gridded and done and not target.run and not target.dry_run and _is_first():
        _results(plans, "-", run)
    return EXIT_FAILED if failed else code


def _trainings(
    config: Config,
    target: TrainOutputSettings,
    run: RunSettings,
    one: grid.GridRun,
    stages: Sequence[grid.Stage],
) -> list[_Training]:
    """Return the trainings of a run, their options checked."""
    found = []
    for stage in stages:
        where = f"[[mt-train.stage]] {stage.name}" if stage.name else "[mt-train.grid]"
        options = {**one.options, **stage.options}
        if target.dry_run:
            options = _without_missing(options, [other.output for other in stages], run)
        arguments = config.arguments({**options, "output": stage.output}, where)
        arguments["target"] = dataclasses.replace(arguments["target"], output=stage.output)
        title = ", ".join(name for name in (one.name, stage.name) if name)
        found.append(_Training(arguments, title, several=True))
    return found


def _check_files(trainings: Sequence[_Training]) -> None:
    """Refuse one log, or one table of failed rows, for trainings that would each write it anew."""
    for option, ending, files in (
        ("--log", "parquet", [training.target.log for training in trainings]),
        ("--errors", "csv", [training.how.errors for training in trainings]),
    ):
        for file in filter(None, files):
            if files.count(file) > 1:
                raise UsageError(
                    f"{option} {file}: {files.count(file)} trainings would write it, one over the "
                    "other; give each stage a file of its own, and do the runs of a grid one by "
                    f"one, with --run NAME {option} NAME.{ending}"
                )


def _without_missing(
    options: dict[str, Any], outputs: Sequence[str], run: RunSettings
) -> dict[str, Any]:
    """Leave out the models of stages before, which a dry run has not trained, and their maps."""
    missing = [
        text
        for text in options.get("init", [])
        if text.rpartition("=")[2] in outputs and not os.path.exists(text.rpartition("=")[2])
    ]
    if not missing:
        return options
    _say(f"{', '.join(missing)}: of a stage before, not trained yet, and left out here", run)
    left = [text for text in options["init"] if text not in missing]
    return {**options, "init": left, "map": []}


def _tables(config: Config) -> list[dict[str, Any]]:
    """Return the tables of the stages, of which `grid.stages_of` says what is wrong."""
    tables = config.sections.get("stage")
    return [t for t in tables if isinstance(t, dict)] if isinstance(tables, list) else []


def _results(
    plans: Sequence[tuple[grid.GridRun, list[grid.Stage]]], where: str, run: RunSettings
) -> int:
    """Write the table of what the finished runs reached."""
    from mt_tools.commands.run import Run
    from mt_tools.commands.settings import OutputSettings
    from mt_tools.report.terminal import TableView
    from mt_tools.stages.results import results
    from mt_tools.tables.document import read_document

    found = []
    with Run("mt-train", run) as this:
        for one, stages in plans:
            if os.path.exists(stages[-1].output):
                document, _ = read_document(stages[-1].output)
                found.append((one.name or stages[-1].name, one.options, document))
        if not found:
            raise NoRows("no run is done yet: there are no results")
        if len(found) < len(plans):
            this.say(f"{len(found)} of {len(plans)} runs are done")
        this.rows = len(found)
        out = this.output(
            OutputSettings(output=where), lambda: [], terminal=TableView, ends_chain=True
        )
        out.write(results(found))
        return this.finish()


def _is_first() -> bool:
    """Whether this process is the one that speaks, of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def _say(text: str, run: RunSettings, always: bool = False) -> None:
    from mt_tools.commands.run import Run

    if _is_first():
        Run("mt-train", dataclasses.replace(run, errors="")).say(text, always)


# --- one training --------------------------------------------------------------------------------


class _Training:
    """One training: its arguments, checked as far as they can be before anything is read."""

    def __init__(self, arguments: dict[str, Any], title: str = "", several: bool = False) -> None:
        self.inputs: list[str] = arguments["inputs"]
        self.settings: TrainSettings = arguments["settings"]
        self.fitting: FitSettings = arguments["fitting"]
        self.feeding: FeedSettings = arguments["feeding"]
        self.transfer: TransferSettings = arguments["transfer"]
        self.protocol: ProtocolSettings = arguments["protocol"]
        self.target: TrainOutputSettings = arguments["target"]
        self.given: InputSettings = arguments["given"]
        self.how: RunSettings = arguments["run"]
        self.jobs: int = arguments["work"].jobs
        self.title = title
        self.several = several
        self.processes = int(os.environ.get("WORLD_SIZE", "1"))
        if not _is_first():
            self.how = dataclasses.replace(self.how, quiet=True, progress=False, errors="")
        self._check()

    def run(self) -> int:
        """Train, or say what would be done; return the exit code."""
        from mt_tools.commands.run import Run

        if self.several and not self.target.dry_run:
            os.makedirs(os.path.dirname(self.target.output) or ".", exist_ok=True)
        with Run("mt-train", self.how) as this:
            if not self.several or self.target.dry_run or self.processes > 1:
                return self._run(this)
            # Two runs of a grid that make starts at once may begin with the same stage.
            with _held(self.target.output, this.say):
                return EXIT_OK if self._done(this) else self._run(this)

    def _check(self) -> None:
        """Raise `UsageError` for what cannot be, before anything is loaded."""
        target = self.target
        if not self.settings.task:
            raise UsageError("no --task: say which label column to learn, such as --task genre")
        if target.json and not target.dry_run:
            raise UsageError("--json prints the plan of --dry-run: say both")
        if not (target.dry_run and not target.output):
            self._check_output()
        if target.log:
            from mt_tools.tables.sink import to_file

            to_file(target.log, None)
        if "-" in self.inputs and (self.several or self.processes > 1):
            raise UsageError("stdin can be read once: name files for several runs or processes")
        if not self.inputs and self.several:
            raise UsageError('no input: name the tables, or say inputs = ["FILE"] in --config')

    def _check_output(self) -> None:
        output = self.target.output
        if not output.endswith(grid.ENDING):
            raise UsageError(
                f"-o {output or '(missing)'}: name the model file, such as -o mine.safetensors"
            )
        folder = os.path.dirname(output) or "."
        if not os.path.isdir(folder) and not self.several:
            raise UsageError(f"-o {output}: its folder does not exist")

    def _said(self) -> dict[str, Any]:
        """Return the options that can change the model, for its provenance."""
        groups = (self.settings, self.fitting, self.feeding, self.transfer, self.protocol)
        said = {name: value for group in groups for name, value in result_settings(group).items()}
        return said | {"recipe": [without_folders(text) for text in self.feeding.recipe]}

    def _files(self) -> list[str]:
        """Return the files that are read, whose digests belong into the provenance."""
        from mt_tools.commands.run import regular_inputs
        from mt_tools.learn.transfer import parse_init

        vocabularies = [text.partition("=")[2] for text in self.protocol.vocab]
        models = parse_init(self.transfer.init).values()
        return regular_inputs([*self.inputs, *vocabularies, *models])

    def _done(self, this: Run) -> bool:
        """Whether the model is there, made with the same options of the same inputs."""
        from mt_tools.errors import BrokenTable
        from mt_tools.tables.document import read_document

        output = self.target.output
        if self.target.dry_run or not os.path.exists(output):
            return False
        try:
            steps = read_document(output)[0]["training"]["provenance"]
        except (BrokenTable, KeyError):
            return False
        ours = this.step({**self._said(), **_named(self.given)}, self._files())[-1]
        if not steps or steps[-1] != ours:
            this.say(f"{output} was made with other options or inputs: it is made again")
            return False
        os.utime(output)  # make sees that it is no older than what it is made from
        this.say(f"{self.title or output}: done before, left as it is")
        return True

    def _run(self, this: Run) -> int:
        from mt_tools.learn.distributed import joined

        device = _device(self.target.device)
        with joined(device) as world:
            several = self.several and self.processes > 1
            if several and world.from_first(self._done(this) if world.first else None):
                return EXIT_OK
            return self._trained(this, device, world)

    def _trained(self, this: Run, device: Any, world: World) -> int:
        from pathlib import Path

        from mt_tools.report.live import LiveView
        from mt_tools.stages.train import run
        from mt_tools.tables.atomic import sweep

        if self.title and not self.target.dry_run:
            this.say(self.title)
        job = self._job(this, device, world)
        target, total = self.target, self.fitting.epochs
        if target.dry_run:
            return self._plan(this, job)
        view = LiveView(total, self.fitting.stop_on, _console(self.how))
        log = _Log(target.log if world.first else "", self.fitting.checkpoint_every)
        observe = _observer(view, log)
        checkpoints = Path(f"{target.output}.checkpoint")
        if world.first:
            sweep(target.output)
            if target.log:
                sweep(target.log)
        if target.resume and not checkpoints.exists() and not self.several:
            this.say(f"there is no checkpoint of {target.output}: it begins at the beginning")
        if not target.resume and world.first:
            _clear(checkpoints)
        job = dataclasses.replace(
            job, observe=observe, recall=log.recall, checkpoints=checkpoints, resume=target.resume
        )
        try:
            with view:
                outcome = run(job, this.step({**self._said(), **_named(self.given)}, self._files()))
        finally:
            with contextlib.suppress(OSError):  # unless there is something to resume from
                checkpoints.rmdir()
        if world.first:
            outcome.model.save(target.output)
            log.end(outcome.curves)
            _clear(checkpoints)
        world.from_first(None)  # the others wait: the next stage may begin with this model
        self._report(this, outcome)
        return this.finish() if world.first else EXIT_OK

    def _job(self, this: Run, device: Any, world: World) -> Job:
        """Read the inputs and describe the training; `UsageError` for what does not fit."""
        from mt_tools.commands.inputs import open_inputs
        from mt_tools.learn.transfer import parse_init
        from mt_tools.stages import inputs
        from mt_tools.stages.job import PAIRED, Job

        options = Options(self.settings, self.fitting, self.feeding, self.transfer, self.protocol)
        notes: list[str] = []  # a mistake is one line: these wait until there is none
        source = open_inputs(self.inputs, self.given, audio=False)
        _, labels = inputs.kept_columns(self.settings.task)
        source.require(*(label for label in labels if label != PAIRED))
        net = self.settings.net.partition(".")[0]
        column = None
        if not self.settings.preset:
            column = inputs.input_column(source.columns, self.settings.input, net)
        arch, weights = inputs.network(self.settings.net, column)
        if column is None:
            examples = self._heard(this, source, options, arch, weights, device, world)
        else:
            examples = inputs.from_table(
                source,
                lambda opened: this.read(opened, self.given),
                self.inputs,
                column,
                options,
                arch=arch,
                say=notes.append,
            )
        if source.failed:
            notes.append(f"{source.failed} rows failed before this command and are not trained on")
        sources, parameters = inputs.sources_of(
            options, arch, weights, parse_init(self.transfer.init), examples, notes.append
        )
        backbone = inputs.backbone_of(column, source.folders, notes.append)
        return Job(
            examples, column, arch, parameters, sources, options, backbone, device, this.say,
            world=world, notes=notes,
        )  # fmt: skip

    def _heard(
        self,
        this: Run,
        source: Source,
        options: Options,
        arch: str,
        weights: str,
        device: Any,
        world: World,
    ) -> Any:
        """Return the examples that are decoded from the tracks themselves."""
        from mt_tools.stages import inputs
        from mt_tools.stages.waves import open_audio

        kept, labels = inputs.kept_columns(self.settings.task)
        return open_audio(
            this.read(source, self.given),
            [*kept, *labels],
            inputs.audio_settings(self.settings.preset, arch, weights),
            options.feed,
            seed=self.fitting.seed,
            folders=source.folders,
            jobs=self.jobs,
            fail=this.fail if world.first else lambda row, error: None,
            in_workers=device.type == "cpu",
            world=world,
        )

    def _plan(self, this: Run, job: Job) -> int:
        """Print what would be done."""
        from mt_tools.report.plan import print_plan
        from mt_tools.stages.train import planned

        plan = planned(job) | {"device": str(job.device)}
        if job.world.first:
            print_plan(plan, self.title, as_json=self.target.json)
        return this.finish()

    def _report(self, this: Run, outcome: Outcome) -> None:
        """Say what was reached."""
        from mt_tools.evaluate import measure

        model, history = outcome.model, outcome.history
        counts, metrics = model.document["training"]["rows"], model.document["metrics"]
        this.say(
            f"{model.document['arch']}, {counts['train']} train / {counts['valid']} valid / "
            f"{counts['test']} test rows, best of {len(history.epochs)} epochs: "
            f"{history.best_epoch}"
        )
        spreads = metrics.get("repeats", {}).get("summary", {})
        gains = metrics.get("baseline", {})
        for part in ("valid", "test"):
            for task in model.tasks if part in metrics else []:
                line = measure.headline(task, metrics[part])
                if part in spreads:
                    line = measure.spread_line(task, spreads[part])
                this.say(f"{part} {task['name']}: {line}")
                if part in gains:
                    this.say(f"{part} {task['name']}: {measure.gain_line(task, gains[part])}")


def _device(name: str) -> Any:
    """Return the device to train on: of several GPUs the one that torchrun gave this process."""
    from mt_tools.nets.device import choose

    device = choose(name)
    if "LOCAL_RANK" in os.environ and device.type == "cuda" and ":" not in name:
        device = choose(f"cuda:{os.environ['LOCAL_RANK']}")
    return device


def _named(given: InputSettings) -> dict[str, Any]:
    """Return what the input options add to the provenance."""
    return {name: value for name, value in result_settings(given).items() if value}


def _console(how: RunSettings) -> Any:
    """Return where the live table goes: stderr, which shows nothing off a terminal."""
    from rich.console import Console

    return Console(
        stderr=True,
        highlight=False,
        quiet=how.quiet,
        force_terminal=True if how.progress and not how.quiet else None,
    )


def _observer(view: Any, log: _Log) -> Callable[[str, Any], None]:
    """Return who is told each point of the curves: the terminal, and the log."""
    now = [""]

    def observe(run: str, record: Any) -> None:
        if run != now[0]:
            now[0] = run
            view.begin(run if run != "train" else "")
        view(record)
        log.take(run, record)

    return observe


@contextlib.contextmanager
def _held(output: str, say: Callable[[str], object]) -> Iterator[None]:
    """Let no other process of this machine make the same model meanwhile; wait for one that does.

    The file that stands for it is removed at the end, so one that is waited for may be another by
    then.
    """
    import fcntl

    path = f"{output}.lock"
    while True:
        with open(path, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"waits for another run that makes {output}")
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                mine = os.path.samestat(os.stat(path), os.fstat(file.fileno()))
            except FileNotFoundError:
                mine = False
            if not mine:
                continue
            try:
                yield
            finally:
                os.unlink(path)
            return


def _clear(checkpoints: Any) -> None:
    """Remove the checkpoints of a run that is done, or that is not gone on with."""
    import shutil

    shutil.rmtree(checkpoints, ignore_errors=True)


class _Log:
    """The table of the learning curves: whole at the end, and so far at every checkpoint.

    It holds no point that the checkpoint has not, so that what a resumed run writes is never less.
    """

    def __init__(self, path: str, every: int) -> None:
        from mt_tools.tables.sink import to_file

        self._open = to_file(path, None) if path else None
        self._every = every
        self._points: list[tuple[str, Any]] = []

    def recall(self, run: str, records: Sequence[Any]) -> None:
        """Take points that were made before a kill: they come again with the next that are new."""
        self._points += [(run, record) for record in records]

    def take(self, run: str, record: Any) -> None:
        """Take a point."""
        if self._open is None:
            return
        if self._every and self._points:
            before, last = self._points[-1]
            # A checkpoint is written after the points of its update, before those of the next.
            passed = (record.step - 1) // self._every > (last.step - 1) // self._every
            if passed or run != before:
                self._write()
        self._points.append((run, record))

    def end(self, curves: Sequence[tuple[str, list[Any]]]) -> None:
        """Write the points of all runs."""
        if self._open is not None:
            self._points = [(run, record) for run, records in curves for record in records]
            self._write()

    def _write(self) -> None:
        from mt_tools.stages.results import log_rows

        assert self._open is not None
        writer = self._open([])
        batch = log_rows(self._points)
        writer.write(batch)
        writer.finish(len(batch), 0)


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-train")


if __name__ == "__main__":
    main()
