"""mt-fetch without its command: embedded tags, the made corpus, splits."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
import soundfile

from mt_tools.errors import UsageError
from mt_tools.recipes import Recipe
from mt_tools.stages import augment, fetch
from mt_tools.stages.settings import SplitSettings, SynthSettings
from mt_tools.tables.batch import Batch, concatenate

LABELS = {"title": "Tÿtle", "artist": "Ann O'Nym", "album": "Live\nThere"}


def tagged_file(path: Path) -> None:
    """Write half a second of noise with tags, by another program's means."""
    wave = np.random.default_rng(0).normal(size=(22050, 2)) * 0.1
    if path.suffix == ".m4a":
        subprocess.run(
            ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "sine=duration=0.5:r=44100",
             "-ac", "2", str(path)],
            check=True,
        )  # fmt: skip
    else:
        soundfile.write(path, wave, 44100)
    tags = mutagen.File(path, easy=path.suffix in (".mp3", ".m4a"))
    if path.suffix in (".wav", ".aiff"):
        tags.add_tags()
        for frame, value in (
            ("TIT2", LABELS["title"]), ("TPE1", LABELS["artist"]), ("TALB", LABELS["album"]),
            ("TCON", ["Jazz", "Soul"]), ("TDRC", "1999"), ("TBPM", "120"),
        ):  # fmt: skip
            tags.tags.add(getattr(mutagen.id3, frame)(encoding=3, text=value))
    else:
        if tags.tags is None:
            tags.add_tags()
        for key, text in LABELS.items():
            tags[key] = text
        tags["genre"] = ["Jazz", "Soul"]
        tags["date"] = "1999"
        tags["bpm"] = "120"
    tags.save()


@pytest.mark.parametrize("ending", ["mp3", "flac", "ogg", "wav", "aiff", "m4a"])
def test_tags_of_every_format_are_label_columns(
    tmp_path: Path, make_batch: Any, failures: Any, ending: str
) -> None:
    """A librarian's labels are in the files: genre as a list, year and BPM as numbers."""
    if ending == "m4a" and shutil.which("ffmpeg") is None:
        pytest.skip("an M4A file is made with ffmpeg, which is not here")
    tagged_file(tmp_path / f"x.{ending}")
    batch = make_batch(path=[f"x.{ending}"])
    (row,) = fetch.folder([batch], folders=[str(tmp_path)], jobs=0, fail=failures)
    assert not failures
    assert row["genre"][0] == ["Jazz", "Soul"]
    assert {name: row[name][0] for name in LABELS} == LABELS
    assert (row["year"][0], row["bpm"][0]) == (1999, 120)
    assert (row["sample_rate"][0], row["channels"][0]) == (44100, 2)
    assert row["length"][0] == pytest.approx(0.5, abs=0.1)
    assert row["group"][0] == "Ann O'Nym"


def test_without_tags_the_folder_is_the_group(
    tmp_path: Path, make_batch: Any, failures: Any
) -> None:
    """Artist, else album, else folder; "Various Artists" is nobody."""
    for name, tags in {
        "one/a.flac": {}, "one/b.flac": {"artist": "Various Artists", "album": "Hits"},
        "two/c.flac": {"artist": "VA"}, "two/d.flac": {"artist": "Real"},
    }.items():  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.zeros(2000), 8000)
        file = mutagen.File(path)
        file.update(tags)
        file.save()
    paths = ["one/a.flac", "one/b.flac", "two/c.flac", "two/d.flac"]
    batch = make_batch(id=paths, path=paths)
    (rows,) = fetch.folder([batch], folders=[str(tmp_path)], jobs=0, fail=failures)
    assert rows["group"].tolist() == ["one", "Hits", "two", "Real"]
    assert rows["genre"].tolist() == [None] * 4


def test_labels_of_a_table_are_not_overwritten(
    make_batch: Any, failures: Any, tmp_path: Path
) -> None:
    """Scanning a table of hand-made genres must not replace them by what the files say."""
    batch = make_batch(path=["x"], genre=[["mine"]])
    with pytest.raises(UsageError, match="already has a column 'genre': give folders"):
        list(fetch.folder([batch], folders=[], jobs=0, fail=failures))


def synth(folder: Path, **options: Any) -> Batch:
    """Make a corpus in this process."""
    settings = SynthSettings(out=str(folder), seconds=2.0, **options)
    return concatenate(list(fetch.synth(settings, options.pop("jobs", 0))))


@pytest.mark.parametrize("ending", ["flac", "wav", "mp3", "ogg"])
def test_the_made_corpus_is_the_same_bytes_twice(tmp_path: Path, ending: str) -> None:
    """A published seed must give everybody of one version the same corpus."""
    tables = [synth(tmp_path / n, tracks=2, seed=3, audio_format=ending) for n in "ab"]
    for name in tables[0].ids:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a" / tables[0].ids[0]).suffix == f".{ending}"
    columns = [n for n in tables[0].names if n != "path"]
    for name in columns:
        assert tables[0][name].tolist() == tables[1][name].tolist()


def test_any_number_of_workers_and_tracks_makes_the_same_pieces(tmp_path: Path) -> None:
    """--jobs never changes a result, and a longer corpus begins with the shorter one."""
    here = synth(tmp_path / "a", tracks=3)
    settings = SynthSettings(out=str(tmp_path / "b"), seconds=2.0, tracks=4)
    there = concatenate(list(fetch.synth(settings, 2)))
    assert there.ids[:3].tolist() == here.ids.tolist()
    for name in here.ids:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    for column in ("style", "instruments", "tempo", "energy", "key", "group"):
        assert there[column][:3].tolist() == here[column].tolist()
    other = synth(tmp_path / "c", tracks=3, seed=1)
    assert (tmp_path / "c" / other.ids[0]).read_bytes() != (
        tmp_path / "a" / here.ids[0]
    ).read_bytes()


def test_the_files_of_the_corpus_carry_its_labels(
    tmp_path: Path, make_batch: Any, failures: Any
) -> None:
    """mt-fetch folder finds in the files what mt-fetch synth wrote in the table."""
    made = synth(tmp_path / "data", tracks=4)
    batch = make_batch(path=made["path"].tolist())
    (found,) = fetch.folder([batch], folders=[], jobs=0, fail=failures)
    assert found["genre"].tolist() == [[style] for style in made["style"]]
    assert found["artist"].tolist() == made["group"].tolist() == found["group"].tolist()
    for name in ("title", "album", "year", "length", "sample_rate", "channels"):
        assert found[name].tolist() == pytest.approx(made[name].tolist())
    assert found["bpm"].tolist() == pytest.approx(made["tempo"].tolist(), abs=0.01)


def pieces(make_batch: Any) -> Batch:
    """Return forty tracks of ten artists with a copy each."""
    batch = make_batch(
        path=[f"{i}.wav" for i in range(40)],
        group=[f"artist {i // 4}" for i in range(40)],
        style=["ab"[i // 4 % 2] for i in range(40)],
    )
    (both,) = augment.run([batch], [Recipe(pitch=2)], originals=True, splits=["train"])
    return both


@pytest.mark.parametrize("method", ["random", "stratified", "grouped", "stratified-grouped"])
@pytest.mark.parametrize("folds", [0, 5])
def test_no_split_separates_a_track_from_its_copy(make_batch: Any, method: str, folds: int) -> None:
    """Whatever the method, copies of one track stay together; grouped, artists do too."""
    by = "style" if "stratified" in method else ""
    settings = SplitSettings(method=method, by=by, folds=folds)
    table, lines = fetch.split([pieces(make_batch)], settings)
    parts = table["fold" if folds else "split"]
    assert len(set(parts)) == (folds or 3)
    assert len(lines) == len(set(parts))
    keys = ["origin"] + ["group"] * ("grouped" in method)
    for key in keys:
        values = table.origins if key == "origin" else table["group"]
        where: dict[str, set[Any]] = {}
        for value, part in zip(values, parts, strict=True):
            where.setdefault(value, set()).add(part)
        assert all(len(found) == 1 for found in where.values())
    if method == "stratified":
        # Where artists may be parted, each part has its share of each style.
        rows = parts == ("test" if not folds else 0)
        styles = table["style"][rows].tolist()
        assert abs(styles.count("a") - styles.count("b")) <= 2


def test_a_split_does_not_depend_on_the_order_of_the_rows(make_batch: Any) -> None:
    """The same tracks get the same split, however they were listed."""
    batch = pieces(make_batch)
    table, _ = fetch.split([batch], SplitSettings())
    order = np.random.default_rng(0).permutation(len(batch))
    other, _ = fetch.split([batch.take(order)], SplitSettings())
    assert dict(zip(other.ids, other["split"], strict=True)) == dict(
        zip(table.ids, table["split"], strict=True)
    )


def test_a_split_is_replaced_only_on_request(make_batch: Any) -> None:
    """A published split must not be lost to a second call."""
    table, _ = fetch.split([pieces(make_batch)], SplitSettings())
    with pytest.raises(UsageError, match="--replace"):
        fetch.split([table], SplitSettings(seed=1))
    again, _ = fetch.split([table], SplitSettings(seed=1, replace=True))
    assert again.names == table.names
    assert again["split"].tolist() != table["split"].tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SplitSettings(method="stratified"), "needs a label: --by"),
        (SplitSettings(by="style"), "no effect"),
        (SplitSettings(method="stratified", by="nothing"), "no column 'nothing'"),
        (SplitSettings(folds=50), "at most 10 folds"),
    ],
)
def test_impossible_splits_are_refused(
    make_batch: Any, settings: SplitSettings, message: str
) -> None:
    """Each is one line that says what to do."""
    with pytest.raises(UsageError, match=message):
        fetch.split([pieces(make_batch)], settings)


def test_grouping_needs_groups(make_batch: Any) -> None:
    """Without any group a grouped split would be a random one."""
    with pytest.raises(UsageError, match="needs a `group` column"):
        fetch.split([make_batch(path=["a", "b"])], SplitSettings())


def test_everything_that_has_a_name_is_listed() -> None:
    """mt-fetch list is where names are looked up."""
    table = fetch.listing()
    assert {"crnn-msd", "cnn-msd", "mfcc-stats", "random", "mlp", "cnn", "dj"} <= set(table.ids)
    assert {"choi2016", "agf", "seq", "reg", "rep"} <= set(table.ids)
    assert all(table["description"])


def test_copies_are_drawn_apart_on_request_only(make_batch: Any) -> None:
    """The leak of the DJ study could not be shown, or would happen to who did not ask for it."""
    columns = {
        "id": [f"{i // 3}#{i % 3}" for i in range(90)],
        "origin": [str(i // 3) for i in range(90)],
        "group": [f"artist {i // 9}" for i in range(90)],
    }
    batch = make_batch(**columns)

    def straddling(settings: SplitSettings) -> int:
        table, _ = fetch.split([batch], settings)
        pairs = zip(table.origins, table["split"], strict=True)
        return len({*pairs}) - len({*table.origins})

    assert straddling(SplitSettings(method="random")) == 0
    assert straddling(SplitSettings(method="random", copies="apart")) > 10
    with pytest.raises(UsageError, match="keeps the copies of a group together"):
        straddling(SplitSettings(method="grouped", copies="apart"))
