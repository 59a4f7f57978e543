"""mt-tag: applies models to folders, writes into files, goes on every night."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import shlex
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from mt_tools.commands.app import Config, Inputs, declare, execute, make_app
from mt_tools.commands.settings import (
    DeviceSettings,
    FileWorkSettings,
    InputSettings,
    OutputSettings,
    RunSettings,
)
from mt_tools.engine.memory import keep_memory
from mt_tools.engine.pool import prepare
from mt_tools.errors import EXIT_FAILED, Locked, RunError, UsageError
from mt_tools.library.settings import NightlySettings, WriteSettings
from mt_tools.nets.registry import DEFAULT_MODEL
from mt_tools.settings import result_settings
from mt_tools.stages.settings import TagSettings

if TYPE_CHECKING:
    from mt_tools.commands.run import Run
    from mt_tools.library.journal import Journal
    from mt_tools.library.state import State
    from mt_tools.nets.identity import Identity
    from mt_tools.nets.model import Model
    from mt_tools.stages.frontend import Fail
    from mt_tools.stages.known import Known
    from mt_tools.stages.tag import Scores, Tagger
    from mt_tools.stages.write import Target
    from mt_tools.tables.batch import Batch
    from mt_tools.tables.sink import Writer
    from mt_tools.tables.source import Source

app = make_app("Tag tracks with models.")

_NOT_WITH_UNDO = (
    *("apply", "write", "overwrite", "merge", "id3", "preserve", "journal"),
    *("state", "playlists", "rekordbox"),
)
"""Options that somebody could take for a part of --undo, which asks for nothing."""

EXAMPLES = [
    ("mt-tag ~/Music", "the default model, bars to read"),
    (
        "find ~/Music -name '*.mp3' -print0 | mt-tag -0 - --model crnn-msd -o tags.jsonl",
        "a list of paths in, a line a track out",
    ),
    (
        "mt-tag ~/New --model mine.safetensors --model msd=crnn-msd -o tags.csv",
        "your own model beside another, whose columns are msd.tags_pred and msd.tags_score",
    ),
    (
        "mt-tag ~/New --model mine.safetensors --precision 0.9",
        "only tags that are right nine times in ten, after mt-eval thresholds",
    ),
    ("mt-tag set.mp3 --segments --hop 10 --plot set.png", "what changes in the course of a mix"),
    (
        "mt-tag ~/New --model mine.safetensors --write genre --write moods=mood --dry-run",
        "what would be written into the files; human values are kept",
    ),
    (
        "mt-tag ~/New --model mine.safetensors --write genre --apply --journal new.journal",
        "write it",
    ),
    ("mt-tag --undo new.journal", "every byte of the files as it was"),
    (
        "mt-tag ~/Music --model mine.safetensors --state ~/.mt-tag --write genre --apply --nice 10",
        "every night: only what is new or changed",
    ),
    ("mt-tag ~/Music --model mine.safetensors --uncertain 20", "which tracks to tag by hand next"),
    ("mt-tag ~/Music --playlists ~/Playlists --rekordbox tags.xml -o tags.jsonl", "for players"),
    ("mt-tag ~/Music | jq -r '[.id, .tags_pred[0]] | @tsv'", "off a terminal: JSON lines"),
]


@declare(
    app,
    "mt-tag",
    inputs=Inputs(
        "Folders, audio files, playlists, libraries, tables of tracks, features or embeddings, or "
        "-; after --undo the files to restore."
    ),
    examples=EXAMPLES,
)
def tag(
    inputs: list[str],
    settings: TagSettings,
    writing: WriteSettings,
    nightly: NightlySettings,
    given: InputSettings,
    target: OutputSettings,
    run: RunSettings,
    work: FileWorkSettings,
    device: DeviceSettings,
    config: Config,
) -> int:
    """Tag tracks: scores and chosen tags of every task of the models.

    On a terminal bars, into a pipe or file JSON lines, into -o FILE what its ending says. With
    --write the tags go into the audio files: a plan first, --apply writes, --undo takes it back.
    With --state every run goes on from where the last one ended.
    """
    began = time.monotonic()
    _apart(
        output=target.output, journal=writing.journal, undo=writing.undo, errors=run.errors,
        summary=nightly.summary, rekordbox=settings.rekordbox, plot=settings.plot,
    )  # fmt: skip
    if writing.undo:
        return _undo(inputs, writing, config.typed, target, run)
    if nightly.nice:
        os.nice(nightly.nice)
    keep_memory()

    def begin() -> None:
        prepare("mt_tools.stages.frontend", work.jobs, work.timeout)

    if not nightly.state:  # with one there may be nothing to do
        begin()
    from mt_tools.commands.inputs import open_inputs
    from mt_tools.commands.run import Run, regular_inputs
    from mt_tools.library.state import State
    from mt_tools.nets.identity import run_key, work_key
    from mt_tools.stages import known, write
    from mt_tools.stages.settings import settled

    settings = settled(settings)
    write.check(writing, settings.segments)
    if writing.write and settings.uncertain:
        raise UsageError(
            "--uncertain gives the tracks that a model is least sure of: label them, and write "
            "without it"
        )
    with (
        Run("mt-tag", run) as this,
        _Ending(nightly, this, began) as ending,
        contextlib.ExitStack() as opened,
    ):
        source = open_inputs(inputs, given, audio=True)
        known.check(nightly, settings, source.columns)
        state = opened.enter_context(State(nightly.state)) if nightly.state else None
        models = _Models(settings, writing, device, this.say)
        own = result_settings(settings) | result_settings(device)
        if writing.write:
            own |= result_settings(writing)
        night = None
        if state is None:
            models.load()  # wrong names and options end the run before a file is opened
        else:
            identities = models.identities(state)
            ending.night = night = known.Known(
                state,
                nightly,
                work=work_key(identities),
                key=run_key(identities, own),
                folders=source.folders,
                roots=[path for path in inputs if os.path.isdir(path)],
                jobs=work.jobs,
                batch_size=device.batch_size,
                began=began,
                begin=begin,
                tell=this.say if run.verbose else lambda line: None,
            )
        steps = lambda: this.step(own | {"digest": models.digests}, regular_inputs(inputs))  # noqa: E731
        out = this.output(target, steps, terminal=lambda: _view(settings, writing), ends_chain=True)
        rows = _tagged(
            this.read(source, given), source, settings, models, work, device.batch_size, night,
            this,
        )  # fmt: skip
        if settings.plot:
            from mt_tools.stages import taggrams

            rows = taggrams.run(rows, settings.plot, this.say)
        if writing.write:
            rows = _if_any(
                rows,
                lambda some: _written(some, source, models, writing, nightly, ending, this),
            )
        if settings.playlists or settings.rekordbox:
            rows = _if_any(rows, lambda some: _listed(some, source, models, settings, this))
        for batch in this.progress(rows, None):
            out.write(batch)
            if night is not None:
                night.passed(batch)
        ending.code = this.finish()
        if night is not None:
            night.delivered()
        return ending.code


def _apart(**files: str) -> None:
    """Raise `UsageError` where two options name one file: the later would replace the earlier."""
    seen: dict[str, str] = {}
    for option, path in files.items():
        real = os.path.realpath(path) if path not in ("", "-") else ""
        if not real or (os.path.exists(real) and not os.path.isfile(real)):
            continue
        if real in seen:
            raise UsageError(
                f"--{seen[real]} and --{option} are one file, {path}, and one of them would "
                "replace the other: name two"
            )
        seen[real] = option


class _Models:
    """The models that were named, loaded when they are needed: a night without work loads none."""

    def __init__(
        self,
        settings: TagSettings,
        writing: WriteSettings,
        device: DeviceSettings,
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._writing, self._device, self._say = settings, writing, device, say
        self._loaded: dict[str, Model] = {}
        self._identities: list[tuple[str, Identity]] = []
        self.targets: list[Target] = []
        self.vocabularies: dict[str, list[str]] = {}

    @functools.cached_property
    def taggers(self) -> list[Tagger]:
        """The models with their tasks."""
        from mt_tools.nets.device import set_threads
        from mt_tools.stages import exports, taggers, write

        set_threads(self._device.threads)
        found = taggers.taggers(self._settings, self._load, self._say)
        told = [
            write.Told(name, one.model.name, one.model.digest, one.prefix)
            for one in found
            for name in one.columns
        ]
        self.targets = write.targets(self._writing.write, told)
        self.vocabularies = {
            name: task["vocabulary"] for one in found for name, task in one.columns.items()
        }
        exports.check(self._settings, self.vocabularies)
        return found

    def load(self) -> None:
        """Load the models now."""
        assert self.taggers

    def identities(self, state: State) -> list[tuple[str, Identity]]:
        """Return the prefix of each model's columns, and its digests."""
        from mt_tools.nets.identity import identity
        from mt_tools.nets.places import split_alias

        for text in self._settings.model or (DEFAULT_MODEL,):
            alias, name = split_alias(text)
            prefix = f"{alias}." if alias else ""
            said = identity(state, name, functools.partial(self._load, name))
            self._identities.append((prefix, said))
        return self._identities

    @property
    def digests(self) -> list[str]:
        """The digests of the models, in order."""
        if self._identities:
            return [said.digest for _, said in self._identities]
        return [tagger.model.digest for tagger in self.taggers]

    def _load(self, name: str) -> Model:
        from mt_tools.nets.device import choose
        from mt_tools.nets.weights import resolve

        if name not in self._loaded:
            self._loaded[name] = resolve(name).to(choose(self._device.device))
        return self._loaded[name]


def _tagged(
    batches: Iterable[Batch],
    source: Source,
    settings: TagSettings,
    models: _Models,
    work: FileWorkSettings,
    batch_size: int,
    night: Known | None,
    this: Run,
) -> Iterator[Batch]:
    """Yield the rows with their predictions, or those to label next."""

    def infer(some: Iterable[Batch], fail: Fail) -> Iterator[tuple[Batch, list[Scores]]]:
        from mt_tools.stages import tag as stage

        way = stage.Way(
            batch_size=batch_size,
            folders=source.folders,
            jobs=work.jobs,
            segments=settings.segments,
            segment=settings.segment,
            hop=settings.hop,
            vectors=bool(settings.uncertain),
            together=0 if night is None else 1,  # what is finished is remembered at once
        )
        return stage.infer(some, source.columns, models.taggers, way, fail)

    through = infer if night is None else functools.partial(night.run, infer=infer)
    pairs = through(batches, fail=this.fail)
    if settings.uncertain:
        from mt_tools.stages import uncertain

        yield from uncertain.run(pairs, models.taggers, settings)
        return
    for batch, found in pairs:
        from mt_tools.stages.taggers import predicted

        yield predicted(batch, found, models.taggers, settings)


def _written(
    rows: Iterator[Batch],
    source: Source,
    models: _Models,
    writing: WriteSettings,
    nightly: NightlySettings,
    ending: _Ending,
    this: Run,
) -> Iterator[Batch]:
    """Yield the rows with what was or would be written into their files."""
    from mt_tools.library.journal import Journal, default_path
    from mt_tools.stages import write

    with contextlib.ExitStack() as opened:
        journal = None
        if writing.apply:
            place = writing.journal or default_path(nightly.state)
            # Of one that was named a script expects that it is there to be undone.
            journal = opened.enter_context(Journal(place, keep=bool(writing.journal)))
            ending.journal = journal
        yield from write.run(
            rows,
            models.targets,
            writing,
            folders=source.folders,
            journal=journal,
            fail=this.fail,
            wrote=ending.night.wrote if ending.night else lambda path: None,
            say=this.say,
        )


def _listed(
    rows: Iterator[Batch], source: Source, models: _Models, settings: TagSettings, this: Run
) -> Iterator[Batch]:
    """Pass the rows on, and list them for other programs."""
    from mt_tools.stages import exports

    yield from exports.collect(
        rows, models.vocabularies, settings, folders=source.folders, say=this.say
    )


def _if_any(
    rows: Iterator[Batch], then: Callable[[Iterator[Batch]], Iterator[Batch]]
) -> Iterator[Batch]:
    """Yield what `then` makes of the rows; nothing of none: no model is loaded, no file made."""
    first = next(rows, None)
    if first is not None:
        yield from then(itertools.chain([first], rows))


class _Ending:
    """Says what a run did that broke off, and of one with a state however it ended.

    A run that found nothing to begin with, such as a disk that was not mounted, has its summary
    too: whoever looks at it in the morning must not take yesterday's for today's. Where another run
    has the state, the summary is that one's.
    """

    def __init__(self, nightly: NightlySettings, this: Run, began: float) -> None:
        self._nightly, self._this, self._began = nightly, this, began
        self.night: Known | None = None
        self.journal: Journal | None = None
        self.code: int | None = None

    def __enter__(self) -> _Ending:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and self.journal is not None and self.journal.written:
            place = shlex.quote(str(self.journal.path))
            self._this.say(f"what was written until then is undone by: mt-tag --undo {place}")
        if not self._nightly.state or isinstance(error, Locked):
            return
        from mt_tools.library.summary import Summary, save_summary

        if isinstance(error, Exception):
            self.code = error.exit_code if isinstance(error, RunError) else EXIT_FAILED
        summary = Summary(seconds=round(time.monotonic() - self._began, 3))
        if self.night is not None:
            summary = dataclasses.replace(self.night.summary(), failed=self._this.failed)
            self._this.say(summary.line())
        if self._nightly.summary:
            save_summary(self._nightly.summary, summary, self.code)


def _view(settings: TagSettings, writing: WriteSettings) -> Writer:
    """Return what shows the rows on a terminal."""
    from mt_tools.report.changes import ChangesView
    from mt_tools.report.tagview import TagView
    from mt_tools.report.terminal import TableView
    from mt_tools.tasks.words import DEFAULT_TOP

    if writing.write:
        return ChangesView()
    if settings.uncertain:
        return TableView()
    return TagView(settings.top or DEFAULT_TOP, segments=settings.segments)


def _undo(
    inputs: list[str],
    writing: WriteSettings,
    typed: Collection[str],
    target: OutputSettings,
    run: RunSettings,
) -> int:
    """Give files the bytes back that they had before."""
    from mt_tools.commands.run import Run
    from mt_tools.report.changes import UndoView
    from mt_tools.stages import undo

    for option in _NOT_WITH_UNDO:
        if option in typed:
            said = "--apply and --dry-run" if option == "apply" else f"--{option}"
            raise UsageError(
                f"--undo gives files their old bytes back at once, all or those that are named: "
                f"leave out {said}"
            )
    with Run("mt-tag", run) as this:
        out = this.output(
            target, lambda: this.step({"undo": True}), terminal=UndoView, ends_chain=True
        )
        restored = undo.run(writing.undo, inputs, this.fail, this.say, writing.break_links)
        for batch in this.progress(restored, None):
            this.rows += len(batch)
            out.write(batch)
        this.rows += this.failed  # each row is a file of the journal, restored or not
        return this.finish(left=False)


def main() -> NoReturn:
    """Run the command."""
    execute(app, "mt-tag")
