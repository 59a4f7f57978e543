"""Nightly runs without a command: what is worked on, what is remembered, what is left out.

The network of most tests is a function that reads the sound of a WAV file and notes what it was
asked for; a row from the store must equal what it would say, to the last bit.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mutagen.wave
import numpy as np
import pytest
import soundfile
from mutagen.id3 import TCON

from mt_tools.errors import RowError, RunError, UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.library.settings import NightlySettings
from mt_tools.library.state import State, key_of
from mt_tools.nets.body import Head
from mt_tools.nets.build import build_multitask
from mt_tools.nets.identity import Identity, identity, run_key, work_key
from mt_tools.nets.model import Model
from mt_tools.nets.weights import resolve
from mt_tools.sound.paths import text_to_path
from mt_tools.sound.scan import PathReader, folder_reader
from mt_tools.stages import known, tag
from mt_tools.stages.frontend import Fail
from mt_tools.stages.settings import TagSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column, reserved
from mt_tools.tasks.kinds import head as task_head
from mt_tools.tasks.kinds import make_task

WORK, RUN = key_of("network"), key_of("options")


def write(path: Path, seed: int) -> Path:
    """Write a short sound of its own."""
    rng = np.random.default_rng(seed)
    soundfile.write(path, rng.uniform(-0.5, 0.5, 400), 8000)
    return path


def retag(path: Path, genre: str) -> None:
    """Write a genre into a WAV file."""
    file = mutagen.wave.WAVE(path)
    if file.tags is None:
        file.add_tags()
    file.tags.add(TCON(encoding=3, text=genre))
    file.save()


def said(path: str) -> dict[str, np.ndarray]:
    """Return what the network of these tests says of a file."""
    wave, _ = soundfile.read(os.fsencode(text_to_path(path)), dtype="float32")
    return {"genre": wave[:5] / np.float32(3), "mix.energy": wave[7] / np.float32(7)}


class Night:
    """One run after another over a folder, with one state."""

    def __init__(self, folder: Path, music: Path) -> None:
        self.folder, self.music = folder, music
        self.asked: list[str] = []
        self.failures: list[tuple[str, str]] = []
        self.broken: dict[str, RowError] = {}
        self.meanwhile: Callable[[str], None] = lambda path: None
        self.calls = 0

    def infer(
        self, batches: Iterable[Batch], fail: Fail
    ) -> Iterator[tuple[Batch, list[dict[str, np.ndarray]]]]:
        """Say what the sound of each row is, two rows at a time, as networks do."""
        self.calls += 1
        waiting: list[tuple[Batch, dict[str, np.ndarray]]] = []
        for batch in batches:
            for row, (id_, path) in enumerate(zip(batch.ids, batch["path"], strict=True)):
                self.asked.append(id_)
                if id_ in self.broken:
                    fail({"id": id_, "path": path}, self.broken[id_])
                    continue
                waiting.append((batch.take([row]), said(path)))
                self.meanwhile(path)
                if len(waiting) == 2:
                    yield from self._joined(waiting)
                    waiting = []
        yield from self._joined(waiting)

    @staticmethod
    def _joined(rows: list[Any]) -> Iterator[tuple[Batch, list[dict[str, np.ndarray]]]]:
        if rows:
            yield concatenate([batch for batch, _ in rows]), [scores for _, scores in rows]

    def fail(self, row: dict[str, Any], error: RowError) -> None:
        """Note a failed row."""
        self.failures.append((row["id"], error.kind))

    def run(
        self,
        batches: Iterable[Batch] | None = None,
        *,
        ends: bool = True,
        work: bytes = WORK,
        key: bytes = RUN,
        jobs: int = 0,
        began: float | None = None,
        **options: Any,
    ) -> tuple[list[str], known.Summary]:
        """Run once; return the ids that came out, in order, and the summary."""
        self.asked, self.failures = [], []
        settings = NightlySettings(state=str(self.folder), **options)
        came: list[str] = []
        with State(self.folder) as state:
            session = known.Known(
                state, settings, work=work, key=key, roots=[str(self.music)], jobs=jobs,
                batch_size=4, began=began,
            )  # fmt: skip
            rows = folder_reader(str(self.music), prefix=False) if batches is None else batches
            for batch, scores in session.run(rows, self.infer, self.fail):
                assert len(batch) == len(scores)
                for path, found in zip(batch["path"], scores, strict=True):
                    if os.path.exists(text_to_path(path)):
                        for name, expected in said(path).items():
                            assert found[name].dtype == np.float32
                            assert found[name].tobytes() == expected.tobytes()
                came += batch.ids.tolist()
                session.passed(batch)
            if ends:
                session.delivered()
        return came, session.summary()


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Twelve short sounds, `00.wav` to `11.wav`."""
    folder = tmp_path / "music"
    folder.mkdir()
    for number in range(12):
        write(folder / f"{number:02}.wav", number)
    return folder


@pytest.fixture
def night(tmp_path: Path, music: Path) -> Night:
    """Nothing is known yet."""
    return Night(tmp_path / "state", music)


NAMES = [f"{number:02}.wav" for number in range(12)]


def counts(summary: known.Summary) -> dict[str, int]:
    """Return the counts that are not nought."""
    return {k: v for k, v in vars(summary).items() if v and k != "seconds"}


@pytest.mark.parametrize("jobs", [0, 2])
def test_the_second_night_does_nothing(night: Night, jobs: int) -> None:
    """Every night would take as long as the first."""
    came, summary = night.run(jobs=jobs)
    assert came == NAMES == night.asked
    assert counts(summary) == {"seen": 12, "new": 12, "tagged": 12}
    night.calls = 0
    came, summary = night.run(jobs=jobs)
    assert (came, night.asked, night.calls) == ([], [], 0)
    assert counts(summary) == {"seen": 12, "unchanged": 12}


def test_only_new_sounds_go_through_the_network(night: Night, music: Path) -> None:
    """Retagging or renaming a library would cost a night of computing; its order be lost."""
    night.run()
    retag(music / "03.wav", "Jazz")
    write(music / "05.wav", 105)
    os.utime(music / "06.wav", ns=(1, 1))
    (music / "08.wav").rename(music / "zz.wav")
    shutil.copy(music / "00.wav", music / "07b.wav")
    write(music / "04b.wav", 104)
    (music / "11.wav").unlink()
    came, summary = night.run()
    assert came == ["03.wav", "04b.wav", "05.wav", "06.wav", "07b.wav", "zz.wav"]
    assert night.asked == ["04b.wav", "05.wav"]
    assert counts(summary) == {
        "seen": 13, "new": 1, "changed": 1, "retagged": 2, "moved": 2, "unchanged": 7,
        "tagged": 2, "remembered": 4, "gone": 2,
    }  # fmt: skip
    came, summary = night.run()
    assert came == []
    assert counts(summary) == {"seen": 13, "unchanged": 13}


def test_rows_that_never_went_out_are_given_again(night: Night) -> None:
    """An output that was cut off, or a file that could not be written, would be missing for ever."""
    came, _ = night.run(ends=False)
    assert came == NAMES
    came, summary = night.run()
    assert (came, night.asked) == (NAMES, [])
    assert counts(summary) == {"seen": 12, "waiting": 12, "remembered": 12}
    assert night.run()[0] == []


def test_other_options_need_no_network_and_another_network_does(night: Night) -> None:
    """New thresholds would cost a night of computing, or a new model's tags never be seen."""
    night.run()
    came, _ = night.run(key=key_of("other thresholds"))
    assert (came, night.asked) == (NAMES, [])
    came, summary = night.run(work=key_of("other network"), key=key_of("other network"))
    assert came == NAMES == night.asked
    assert counts(summary) == {"seen": 12, "waiting": 12, "tagged": 12}


def test_all_rows_on_request(night: Night, music: Path) -> None:
    """--all would compute again, or leave the files out that are done."""
    night.run()
    write(music / "04b.wav", 104)
    came, summary = night.run(all_=True)
    assert came == sorted([*NAMES, "04b.wav"])
    assert night.asked == ["04b.wav"]
    assert counts(summary) == {
        "seen": 13, "new": 1, "unchanged": 12, "tagged": 1, "remembered": 12,
    }  # fmt: skip


def test_failures_are_not_tried_again_until_the_file_changes(night: Night, music: Path) -> None:
    """A broken file would take its time every night, or one that was mended stay out."""
    night.broken = {"02.wav": RowError("too short", "too-short")}
    (music / "text.wav").write_text("no sound")
    night.broken["text.wav"] = RowError("text, expected audio", "not-audio")
    os.symlink("nowhere", music / "gone.wav")
    came, summary = night.run()
    assert came == [name for name in NAMES if name != "02.wav"]
    assert night.failures == [
        ("02.wav", "too-short"), ("gone.wav", "missing"), ("text.wav", "not-audio"),
    ]  # fmt: skip
    assert counts(summary) == {"seen": 14, "new": 14, "tagged": 11, "failed": 3}
    came, summary = night.run()
    assert (came, night.failures, night.asked) == ([], [], [])
    assert counts(summary) == {"seen": 14, "unchanged": 11, "failed_before": 3}
    night.broken = {}
    write(music / "text.wav", 77)
    (music / "nowhere").write_bytes((music / "00.wav").read_bytes())
    came, summary = night.run()
    assert came == ["gone.wav", "text.wav"]
    assert night.asked == ["text.wav"]
    assert counts(summary) == {
        "seen": 14, "unchanged": 11, "failed_before": 1, "changed": 2, "tagged": 1,
        "remembered": 1,
    }  # fmt: skip
    came, summary = night.run(retry_failed=True)
    assert came == night.asked == ["02.wav"]
    assert counts(summary)["retried"] == 1


def test_another_model_tries_again_what_failed(night: Night) -> None:
    """A file that was too short for the old model would stay out of the new one's tags."""
    night.broken = {"02.wav": RowError("too short", "too-short")}
    night.run()
    night.broken = {}
    came, _ = night.run(work=key_of("other"), key=key_of("other"))
    assert "02.wav" in came


def test_a_busy_machine_does_not_blacklist_a_file(night: Night) -> None:
    """A file whose worker was killed once would be out for ever, or tried every night for ever."""
    night.broken = {"02.wav": RowError("no result after 900 s", "timeout")}
    for _ in range(3):
        night.run()
        assert night.failures == [("02.wav", "timeout")]
    _, summary = night.run()
    assert night.asked == []
    assert counts(summary) == {"seen": 12, "unchanged": 11, "failed_before": 1}
    night.broken = {"03.wav": RowError("disk is full", "no-space")}
    (night.music / "03.wav").touch()
    os.utime(night.music / "02.wav", ns=(5, 5))  # it changed: tried anew
    night.broken["02.wav"] = RowError("killed", "crashed")
    write(night.music / "03.wav", 33)
    for _ in range(2):
        night.run()
        assert night.failures == [("02.wav", "crashed"), ("03.wav", "no-space")]
    night.broken = {}
    assert night.run()[0] == ["02.wav", "03.wav"]


def test_a_file_that_changes_while_it_is_read_is_not_done(night: Night, music: Path) -> None:
    """A download that was still under way would be tagged by its first half for ever."""
    once: list[str] = []

    def grow(path: str) -> None:
        if path.endswith("04.wav") and not once:
            once.append(path)
            write(Path(path), 400)
        if path.endswith("05.wav") and len(once) == 1:
            once.append(path)
            retag(Path(path), "Jazz")  # the sound stays

    night.meanwhile = grow
    came, summary = night.run()
    assert came == [name for name in NAMES if name != "04.wav"]
    assert night.failures == [("04.wav", "changed")]
    assert counts(summary) == {"seen": 12, "new": 12, "tagged": 11, "failed": 1}
    came, summary = night.run()
    assert came == night.asked == ["04.wav"]


def test_files_that_we_changed_are_unchanged_tomorrow(night: Night, music: Path) -> None:
    """Writing tags into a library would make all of it new the next night."""
    with State(night.folder) as state:
        session = known.Known(
            state, NightlySettings(state="x"), work=WORK, key=RUN, roots=[str(music)]
        )
        rows = folder_reader(str(music), prefix=False)
        for batch, _ in session.run(rows, night.infer, night.fail):
            for path in batch["path"]:
                retag(Path(path), "Rock")
                session.wrote(path)
            session.passed(batch)
        session.delivered()
        assert session.summary().written == 12
    came, summary = night.run()
    assert came == []
    assert counts(summary) == {"seen": 12, "unchanged": 12}


def test_a_row_that_could_not_be_written_comes_again(night: Night, music: Path) -> None:
    """A file that another program held locked would never get its tags."""
    with State(night.folder) as state:
        session = known.Known(state, NightlySettings(state="x"), work=WORK, key=RUN)
        for batch, _ in session.run(
            folder_reader(str(music), prefix=False), night.infer, night.fail
        ):
            session.passed(batch.take([row for row, i in enumerate(batch.ids) if i != "07.wav"]))
        session.delivered()
    came, _ = night.run()
    assert (came, night.asked) == (["07.wav"], [])


def test_what_an_interrupted_run_finished_is_not_repeated(night: Night) -> None:
    """An error, --strict or Ctrl-C would cost all that was computed until then."""

    class Stop(BaseException):
        pass

    def stop(path: str) -> None:
        if path.endswith("07.wav"):
            raise Stop

    night.meanwhile = stop
    with pytest.raises(Stop):
        night.run()
    finished = night.asked[:6]
    night.meanwhile = lambda path: None
    came, summary = night.run()
    assert came == NAMES
    assert finished == NAMES[:6]
    assert night.asked == NAMES[6:]
    assert (summary.remembered, summary.tagged) == (6, 6)


def test_no_file_is_begun_after_the_deadline(
    night: Night, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night's run would go on into the day, or its leftovers not be told."""
    clock = [1000.0]
    monkeypatch.setattr(known, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    came, summary = night.run(max_time="1h", began=-2600.0)
    assert (came, night.asked, night.calls) == ([], [], 0)
    assert counts(summary) == {"seen": 12, "left": 12}

    def late(path: str) -> None:
        clock[0] += 3600 * path.endswith("02.wav")

    night.meanwhile = late
    came, summary = night.run(max_time="59m")
    begun = len(came)
    assert came == night.asked == NAMES[:begun]
    assert 3 <= begun < 12  # what was begun together with the third ended
    assert counts(summary) == {"seen": 12, "new": begun, "tagged": begun, "left": 12 - begun}
    night.meanwhile = lambda path: None
    rest, _ = night.run()
    assert came + rest == NAMES


def test_places_do_not_matter(
    night: Night, music: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A cron job runs in another folder than a person, and would do everything again."""
    night.run()
    monkeypatch.chdir(music)
    assert night.run(folder_reader(".", prefix=False))[0] == []
    os.symlink(music, tmp_path / "link")
    os.symlink(music / "00.wav", music / "again.wav")
    came, summary = night.run(folder_reader(str(tmp_path / "link"), prefix=True))
    assert came == []
    assert counts(summary) == {"seen": 13, "unchanged": 13}


def test_names_that_are_not_utf8(night: Night, music: Path) -> None:
    """A name from an old computer would be new every night, or stop the run."""
    odd = os.fsencode(music) + b"/caf\xe9.wav"
    shutil.copy(music / "00.wav", odd)
    for expected in (1, 0):
        assert len(night.run(PathReader(io.BytesIO(odd), null=True))[0]) == expected


def test_an_unmounted_disk_is_not_forgotten(night: Night, music: Path, tmp_path: Path) -> None:
    """A disk that was not there for a night would be computed again, or told as gone every night."""
    night.run()
    (first,) = folder_reader(str(music), prefix=False)
    assert counts(night.run([first.take([0])])[1]) == {"seen": 1, "unchanged": 1}
    write(tmp_path / "other.wav", 50)
    music.rename(tmp_path / "away")
    music.mkdir()
    shutil.copy(tmp_path / "other.wav", music / "other.wav")
    _, summary = night.run()
    assert counts(summary) == {"seen": 1, "new": 1, "tagged": 1, "gone": 12}
    _, summary = night.run()
    assert counts(summary) == {"seen": 1, "unchanged": 1}
    (music / "other.wav").unlink()
    music.rmdir()
    (tmp_path / "away").rename(music)
    came, summary = night.run()
    assert came == []
    assert counts(summary) == {"seen": 12, "unchanged": 12, "gone": 1}


@pytest.mark.parametrize("ahead", [3, 100])
def test_few_new_files_among_many_known_ones(
    night: Night, music: Path, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    """Rows would lose their order, or all of them wait in memory for one that is computed."""
    night.run(ends=False)
    new = ["00a.wav", "02a.wav", "08a.wav"]
    for number, name in enumerate(new):
        write(music / name, 1000 + number)
    monkeypatch.setattr(known, "_AHEAD", ahead)
    night.calls = 0
    came, _ = night.run(jobs=2)
    assert came == sorted([*NAMES, *new])
    assert night.asked == new
    assert (night.calls > 1) == (ahead == 3)


def test_scores_come_back_to_the_last_bit() -> None:
    """A row from the store would differ from the network's in its last digits, and so its tags."""
    rng = np.random.default_rng(0)
    scores = {
        "a.genre": rng.normal(size=7).astype(np.float32),
        "tempo": np.float32(rng.normal()).reshape(()),
        "wide": rng.normal(size=(2, 3)),
        "none": np.zeros(0, np.float32),
        "odd\n\"name": np.array([np.nan, -0.0, np.inf, 1e-45], np.float32),
    }  # fmt: skip
    again = known.unpack(known.pack(scores))
    assert list(again) == list(scores)
    for name, value in scores.items():
        assert (again[name].dtype, again[name].shape) == (value.dtype, value.shape)
        assert again[name].tobytes() == value.tobytes()


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (reserved("start"), [None, 3.0]),
        (reserved("recipe"), ["", "pitch:2"]),
        (reserved("audio"), [None, (b"RIFF", "x.wav")]),
        (reserved("origin"), [None, "t"]),
    ],
)
def test_rows_that_are_not_files_are_refused(night: Night, column: Column, values: Any) -> None:
    """The tags of a minute would be remembered as those of the whole file."""
    columns = [reserved("id"), reserved("path"), column]
    batch = Batch.build(
        columns, {"id": ["a", "b"], "path": ["a.wav", "b.wav"], column.name: values}
    )
    with pytest.raises(UsageError, match=rf"whole files.*\({column.name}\)"):
        night.run([batch])


def test_columns_that_say_nothing_are_no_parts(night: Night, music: Path) -> None:
    """A table that once went through another program would be refused for its empty columns."""
    columns = [reserved(name) for name in ("id", "path", "start", "recipe", "origin")]
    cells = {
        "id": ["a"], "path": [str(music / "00.wav")], "start": [None], "recipe": [""],
        "origin": ["a"],
    }  # fmt: skip
    assert night.run([Batch.build(columns, cells)])[0] == ["a"]


def test_a_track_that_has_no_file(night: Night) -> None:
    """A library's tracks in the cloud would be reported every night."""
    columns = [reserved("id"), reserved("path")]
    rows = [Batch.build(columns, {"id": ["cloud (Rekordbox 7)"], "path": [None]})]
    night.broken = {"cloud (Rekordbox 7)": RowError("the row has no path", "missing")}
    night.run(rows)
    assert night.failures == [("cloud (Rekordbox 7)", "missing")]
    _, summary = night.run(rows)
    assert (night.failures, summary.failed_before) == ([], 1)


def test_options_that_contradict_each_other() -> None:
    """Playlists of the last night alone, taggrams that are not remembered: one line says so."""
    on = NightlySettings(state="x")
    plain = TagSettings()
    known.check(on, plain, {})
    known.check(NightlySettings(), TagSettings(segments=True), {})
    for nightly, settings, message in (
        (NightlySettings(all_=True), plain, "--all is for runs that remember: add --state"),
        (NightlySettings(retry_failed=True), plain, "--retry-failed is for"),
        (NightlySettings(max_time="8h"), plain, "--max-time is for"),
        (NightlySettings(state="x", max_time="soon"), plain, "expected a time such as"),
        (on, TagSettings(segments=True), "run --segments without it"),
        (on, TagSettings(plot="x.png"), "run --plot without it"),
        (on, TagSettings(uncertain=5), "run --uncertain without it"),
        (on, TagSettings(playlists="dir"), "add --all"),
        (on, TagSettings(rekordbox="x.xml"), "add --all"),
    ):
        with pytest.raises(UsageError, match=message):
            known.check(nightly, settings, {})
    known.check(NightlySettings(state="x", all_=True), TagSettings(playlists="dir"), {})
    columns = {"mel": Column("mel", "tensor", "feature", {}, (2, 2))}
    with pytest.raises(UsageError, match=r"this table holds mel"):
        known.check(on, plain, columns)


# --- with real models ----------------------------------------------------------------------------

FEATURES = FeatureSettings(
    sample_rate=8000, n_fft=512, hop=256, bands=24, scale="log", excerpt="segment:0.7"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small untrained network on segments, with classes and a number."""
    rows = np.ones(4, dtype=bool)
    tasks = [
        make_task("style", "multiclass", np.array(["a", "b", "c", "a"], dtype=object), rows),
        make_task("tempo", "regression", np.array([90.0, 100.0, 120.0, 130.0]), rows),
    ]
    heads = {task["name"]: Head(**task_head(task)) for task in tasks}
    parameters = {"channels": [8, 8], "dropout": 0.0}
    net = build_multitask("cnn", parameters, (24, 22), heads, seed=3)
    net.eval()
    source = {"kind": "feature", "settings": FEATURES.to_json(), "shape": [24, 22]}
    made = Model.create(
        net, name="small", arch="cnn", parameters=parameters, input=source, tasks=tasks
    )
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    made.save(path)
    return path


def test_rows_of_the_store_equal_those_of_the_network(
    model: Path, corpus: Path, tmp_path: Path
) -> None:
    """Tags would depend on which night a file was found."""
    settings = TagSettings(model=(str(model),))
    taggers = tag.taggers(settings, resolve, lambda note: None)

    def infer(batches: Iterable[Batch], fail: Fail) -> Any:
        way = tag.Way(batch_size=4, together=1)
        return tag.infer(
            batches, {"id": reserved("id"), "path": reserved("path")}, taggers, way, fail
        )

    found = []
    for all_ in (False, True):
        with State(tmp_path) as state:
            session = known.Known(
                state, NightlySettings(state="x", all_=all_), work=WORK, key=RUN, batch_size=4
            )
            rows = folder_reader(str(corpus / "data"), prefix=False)
            batches = []
            for batch, scores in session.run(rows, infer, lambda row, e: pytest.fail(str(e))):
                batches.append(tag.predicted(batch, scores, taggers, settings))
                session.passed(batch)
            session.delivered()
            found.append(batches)
            assert session.summary().tagged == (0 if all_ else 36)
    assert len(found[0]) == len(found[1]) > 1
    for one, other in zip(*found, strict=True):
        assert one.schema.equals(other.schema, check_metadata=True)
        assert one.rows() == other.rows()


def test_a_model_is_known_without_loading_it(model: Path, tmp_path: Path) -> None:
    """Every night would load torch to find that there is nothing to do."""
    loads: list[str] = []

    def load() -> Model:
        loads.append("")
        return resolve(str(path))

    path = tmp_path / "m.safetensors"
    shutil.copy(model, path)
    with State(tmp_path / "state") as state:
        first = identity(state, str(path), load)
        assert first == identity(state, str(path), load)
    with State(tmp_path / "state") as state:
        assert identity(state, str(path), load) == first
    assert len(loads) == 1
    assert first.digest == resolve(str(path)).digest


def test_thresholds_are_no_part_of_the_network(model: Path, tmp_path: Path) -> None:
    """Fitting thresholds anew would cost a night of computing; another weight would not."""

    def of(change: Callable[[Model], Any]) -> tuple[str, Identity]:
        loaded = resolve(str(model))
        change(loaded)
        with State(tmp_path) as state:
            return "", identity(state, "made here", lambda: loaded)

    def thresholds(loaded: Model) -> None:
        loaded.document["tasks"][0] |= {"abstain": 0.5, "precision": {"0.9": 0.7}}
        loaded.document["name"] = "new"
        loaded.document["metrics"] = {"x": 1}

    def weights(loaded: Model) -> None:
        loaded.net.load_state_dict({k: v * 1.01 for k, v in loaded.net.state_dict().items()})

    def scale(loaded: Model) -> None:
        loaded.document["tasks"][1]["mean"] += 1

    plain = of(lambda loaded: None)
    fitted, heavier, scaled = of(thresholds), of(weights), of(scale)
    assert work_key([plain]) == work_key([fitted])
    assert run_key([plain]) != run_key([fitted])
    assert len({work_key([one]) for one in (plain, heavier, scaled)}) == 3
    assert work_key([("a.", plain[1])]) != work_key([plain])
    same = [{"model": ["x.safetensors"], "batch_size": 32, "top": 3}, {"write": ["genre"]}]
    assert run_key([plain], *same) == run_key([plain], {"model": ["y"], "top": 3}, same[1])
    assert run_key([plain], *same) != run_key([plain], {"top": 4}, same[1])


def test_a_strict_run_keeps_what_it_computed(night: Night) -> None:
    """--strict would throw away what the night had found until then."""
    night.broken = {"06.wav": RowError("broken", "unreadable")}

    def strict(row: dict[str, Any], error: RowError) -> None:
        raise RunError("stopped at the first failed row")

    night.fail = strict  # type: ignore[method-assign]
    with pytest.raises(RunError, match="stopped"):
        night.run()
    night.broken, night.asked = {}, []
    came, summary = night.run()
    assert summary.failed_before == 1
    assert summary.remembered >= 4
    assert came == [name for name in NAMES if name != "06.wav"]
