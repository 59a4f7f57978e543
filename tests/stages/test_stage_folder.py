"""mt-fetch folder without its command: tags, groups, labels, what is scanned again."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
import soundfile
from mutagen import id3

from mt_tools.errors import UsageError
from mt_tools.library.entries import COLUMN, Entry, to_text
from mt_tools.library.plan import MARK, write_mark
from mt_tools.settings import result_settings
from mt_tools.sound.retag import write_fields
from mt_tools.sound.scan import folder_reader
from mt_tools.stages import fetch, folder, scan
from mt_tools.stages.settings import FolderSettings, SynthSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column, reserved
from mt_tools.tables.provenance import step
from mt_tools.tables.sink import to_file

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
    (row,) = folder.run([batch], folders=[str(tmp_path)], jobs=0, fail=failures)
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
    (rows,) = folder.run([batch], folders=[str(tmp_path)], jobs=0, fail=failures)
    assert rows["group"].tolist() == ["one", "Hits", "two", "Real"]
    assert rows["genre"].tolist() == [None] * 4


def test_labels_of_a_table_are_not_overwritten(
    make_batch: Any, failures: Any, tmp_path: Path
) -> None:
    """Scanning a table of hand-made genres must not replace them by what the files say."""
    batch = make_batch(path=["x"], genre=[["mine"]])
    with pytest.raises(UsageError, match="already has a column 'genre': give folders"):
        list(folder.run([batch], folders=[], jobs=0, fail=failures))


# Labels of one's own


@pytest.mark.parametrize("ending", ["flac", "mp3", "ogg", "wav", "m4a"])
def test_labels_of_the_made_corpus_come_back(tmp_path: Path, failures: Any, ending: str) -> None:
    """What a DJ stores in custom fields, levels and several tags a song, would not be learnt."""
    made = ending if ending != "m4a" else "flac"
    settings = SynthSettings(tracks=3, seconds=2, out=str(tmp_path / "data"), audio_format=made)
    truth = concatenate(list(fetch.synth(settings, 0)))
    if ending == "m4a":
        if shutil.which("ffmpeg") is None:
            pytest.skip("an M4A file is made with ffmpeg, which is not here")
        for path in sorted((tmp_path / "data").iterdir()):
            to_m4a(path)
    options = FolderSettings(
        tag=("energy=energy:regression", "instruments=INSTRUMENTS:multilabel", "tone=TXXX:key")
    )
    plan = scan.make_plan(options)
    reader = folder_reader(str(tmp_path / "data"), prefix=False)
    (rows,) = folder.run(reader, plan, folders=[], jobs=0, fail=failures)
    assert not failures
    assert [Path(name).stem for name in rows.ids] == [Path(name).stem for name in truth.ids]
    assert rows["energy"].tolist() == truth["energy"].tolist()
    assert rows["instruments"].tolist() == truth["instruments"].tolist()
    assert rows["tone"].tolist() == truth["key"].tolist()
    assert rows["bpm"].tolist() == pytest.approx(truth["tempo"].tolist(), abs=0.5)
    for name in ("artist", "album", "title", "year"):
        assert rows[name].tolist() == truth[name].tolist()
    assert rows["genre"].tolist() == [[style] for style in truth["style"]]


def to_m4a(path: Path) -> None:
    """Replace a FLAC file by an M4A file of the same labels, as iTunes would hold them."""
    copy = path.with_suffix(".m4a")
    command = ["ffmpeg", "-v", "error", "-i", path, "-map_metadata", "-1", "-c:a", "aac", copy]
    subprocess.run(command, check=True)
    said, tagged = mutagen.File(path), mutagen.File(copy)
    atoms = {"title": "nam", "artist": "ART", "album": "alb", "date": "day", "genre": "gen"}
    for name, values in said.tags.as_dict().items():
        if name in atoms:
            tagged[f"\xa9{atoms[name]}"] = values
        elif name == "bpm":
            tagged["tmpo"] = [round(float(values[0]))]
        else:
            tagged[f"----:com.apple.iTunes:{name.upper()}"] = [v.encode() for v in values]
    tagged.save()
    path.unlink()


@pytest.fixture
def mp3s(tmp_path: Path) -> Path:
    """Three MP3 files: a number, a word and nothing in the field `ENERGY`."""
    (tmp_path / "m").mkdir()
    for name, text in (("a", "300"), ("b", "high"), ("c", None)):
        path = tmp_path / "m" / f"{name}.mp3"
        soundfile.write(path, np.zeros(4000) + 0.01 * ord(name), 8000)
        tags = id3.ID3()
        tags.add(id3.TPE1(text=name.upper()))
        tags.add(id3.TXXX(desc="Set", text="warm-up/peak"))
        if text:
            tags.add(id3.TXXX(desc="Energy", text=text))
        tags.save(path)
    return tmp_path / "m"


Scan = Callable[..., Batch]


@pytest.fixture
def scanned(failures: Any) -> Iterator[Scan]:
    """Scan a folder with the options of `FolderSettings`; `tally` and `earlier` as in `run`."""

    def scanned(root: Path, **options: Any) -> Batch:
        given = {name: options.pop(name) for name in ("tally", "earlier") if name in options}
        jobs = options.pop("jobs", 0)
        plan = scan.make_plan(FolderSettings(**options))
        reader = folder_reader(str(root), prefix=False)
        return concatenate(
            list(folder.run(reader, plan, folders=[], jobs=jobs, fail=failures, **given))
        )

    return scanned


def test_words_where_numbers_are_expected(mp3s: Path, scanned: Scan) -> None:
    """A word would end the scan, or vanish without a line; so would a misspelt field."""
    tally = folder.Tally()
    tags = ("energy=ENERGY:regression", "tone=Tonality", "near=enrgy")
    rows = scanned(mp3s, tag=tags, tally=tally)
    assert np.array_equal(rows["energy"], [300, np.nan, np.nan], equal_nan=True)
    plan = scan.make_plan(FolderSettings(tag=tags))
    first, second, third = tally.lines(plan)
    assert first == "values of energy that are no numbers: 1, such as 'high'"
    assert second.startswith("nothing has a field 'tonality'; they have ")
    assert third.startswith("nothing has a field 'enrgy'; they have energy, ")


@pytest.mark.parametrize(
    ("separator", "sets"), [(";", ["warm-up/peak"]), (";/", ["warm-up", "peak"])]
)
def test_separators_are_those_told(
    mp3s: Path, scanned: Scan, separator: str, sets: list[str]
) -> None:
    """ID3v2.3 joins several values by a slash, which is part of names elsewhere."""
    rows = scanned(mp3s, tag=("sets=set:multilabel",), separator=separator)
    assert rows["sets"].tolist() == [sets] * 3


@pytest.mark.parametrize("version", ["2.3", "2.4"])
def test_what_mt_tag_wrote_is_no_label(mp3s: Path, scanned: Scan, version: str) -> None:
    """A model trained on its library would learn from its own mistakes, more of them each night."""
    for name, genres, written in (
        ("a", ["Rock", "Dub"], ["Dub"]),  # theirs, and merged into it ours
        ("b", ["Dub"], ["Dub"]),
        ("c", ["Rock", "Pop"], ["Jazz"]),  # somebody has replaced ours
    ):
        mark = {"task": "g", "field": "genre", "model": "m", "digest": "0" * 12, "values": written}
        path = str(mp3s / f"{name}.mp3")
        write_fields(path, {"genre": genres, MARK: [write_mark(mark)]}, id3=version)
    tally = folder.Tally()
    rows = scanned(mp3s, tally=tally)
    assert rows["genre"].tolist() == [["Rock"], None, ["Rock", "Pop"]]
    assert tally.predicted == 2
    everything = scanned(mp3s, predicted=True)["genre"].tolist()
    assert everything == [["Rock", "Dub"], ["Dub"], ["Rock", "Pop"]]


def test_a_label_may_replace_a_usual_one(mp3s: Path, scanned: Scan) -> None:
    """Who keeps genres in a field of their own would have to rename columns."""
    rows = scanned(mp3s, tag=("genre=Set",))
    assert rows["genre"].tolist() == ["warm-up/peak"] * 3


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (("a=x", "a=y"), "column 'a' is said 2 times"),
        (("file_size=x",), "the scan itself writes 'file_size'"),
    ],
)
def test_labels_that_cannot_be(tags: tuple[str, ...], message: str) -> None:
    """One of two labels would silently win."""
    with pytest.raises(UsageError, match=message):
        scan.make_plan(FolderSettings(tag=tags))


# Libraries


def listed(rows: list[tuple[str | None, bool, dict[str, list[str]]]], columns: list[str]) -> Batch:
    """Return tracks as the reader of a library gives them."""
    described = [
        reserved("id"), reserved("path"), Column(COLUMN, "string", "reserved", {"columns": columns})
    ]  # fmt: skip
    values = {
        "id": [path or f"x{number}" for number, (path, _, _) in enumerate(rows)],
        "path": [path for path, _, _ in rows],
        COLUMN: [to_text(Entry(path, "", fields), leads) for path, leads, fields in rows],
    }
    return Batch.build(described, values)


@pytest.mark.parametrize(("leads", "artist"), [(True, "Zoe"), (False, "A")])
def test_what_a_library_says(mp3s: Path, failures: Any, leads: bool, artist: str) -> None:
    """What a DJ corrected in Rekordbox would lose against the file; a playlist's guess would win."""
    fields = {"artist": ["Zoe"], "genre": ["House"], "playlists": ["One", "Two"], "energy": ["4"]}
    columns = ["playlists=playlists:multilabel", "rating=stars:regression"]
    batch = listed([(str(mp3s / "a.mp3"), leads, fields)], columns)
    plan = scan.make_plan(FolderSettings(tag=("energy=ENERGY:regression",)), batch.columns)
    (row,) = folder.run([batch], plan, folders=[], jobs=0, fail=failures)
    assert (row["artist"][0], row["group"][0]) == (artist, artist)
    assert (row["genre"][0], row["playlists"][0]) == (["House"], ["One", "Two"])
    assert row["energy"][0] == (4 if leads else 300)
    assert np.isnan(row["rating"][0])
    assert COLUMN not in row


def test_tracks_that_are_not_here(tmp_path: Path, mp3s: Path) -> None:
    """A path of Windows, a stream, a track in the cloud: each says what to do about it."""
    paths = ["C:/Music/x.mp3", "https://x.example/live", None, "gone.mp3", str(mp3s / "c.mp3")]
    batch = listed([(path, True, {}) for path in paths], [])
    plan = scan.make_plan(FolderSettings(), batch.columns)
    messages: list[str] = []
    (row,) = folder.run(
        [batch], plan, folders=[], jobs=0, fail=lambda row, error: messages.append(str(error))
    )
    assert row.ids.tolist() == [str(mp3s / "c.mp3")]
    for message, words in zip(
        messages, ["ln -s /mnt/music C:", "on the net", "cloud", "run this in the folder"],
        strict=True,
    ):  # fmt: skip
        assert words in message


def test_a_drive_of_windows_is_a_link(
    tmp_path: Path, mp3s: Path, monkeypatch: pytest.MonkeyPatch, failures: Any
) -> None:
    """The way out that the message names must work."""
    monkeypatch.chdir(tmp_path)
    Path("C:").symlink_to(mp3s)
    batch = listed([("C:/a.mp3", True, {})], [])
    plan = scan.make_plan(FolderSettings(), batch.columns)
    (row,) = folder.run([batch], plan, folders=["."], jobs=0, fail=failures)
    assert row["artist"].tolist() == ["A"]


# Scanning again


def kept(table: Batch, path: Path, options: FolderSettings) -> folder.Earlier:
    """Write a scan as the command does, and read it for `--update`."""
    said = step("mt-fetch folder", result_settings(options))
    writer = to_file(str(path), None)([said])
    writer.write(table)
    writer.finish(len(table), 0)
    return folder.read_earlier(str(path), scan.make_plan(options), options, said)


def test_only_what_changed_is_opened(
    mp3s: Path, tmp_path: Path, scanned: Scan, failures: Any
) -> None:
    """Every night 100,000 files would be opened; or a file that was tagged would stay as it was."""
    options = FolderSettings(
        tag=("energy=energy:regression", "set=set:multilabel"), update="t.parquet"
    )
    said = dataclasses.asdict(options)
    earlier = kept(scanned(mp3s, **said), tmp_path / "t.parquet", options)
    # What is not opened may be anything, as long as size and time are the same.
    status = (mp3s / "a.mp3").stat()
    (mp3s / "a.mp3").write_bytes(bytes(status.st_size))
    os.utime(mp3s / "a.mp3", ns=(status.st_atime_ns, status.st_mtime_ns))
    tags = id3.ID3(mp3s / "b.mp3")
    tags.add(id3.TPE1(text="B2"))
    tags.save()
    shutil.copy(mp3s / "c.mp3", mp3s / "d.mp3")
    (mp3s / "c.mp3").unlink()
    tally = folder.Tally()
    rows = scanned(mp3s, **said, earlier=earlier, tally=tally)
    assert not failures
    assert rows.ids.tolist() == ["a.mp3", "b.mp3", "d.mp3"]
    assert rows["artist"].tolist() == ["A", "B2", "C"]
    assert rows["energy"][0] == 300
    assert rows["set"].tolist() == [["warm-up/peak"]] * 3
    assert tally.lines(scan.make_plan(options), earlier)[0] == (
        "files: 1 unchanged, 1 changed, 1 new, 1 gone"
    )


def test_the_same_table_as_from_scratch(mp3s: Path, tmp_path: Path, scanned: Scan) -> None:
    """Numbers, lists and nulls would come back changed from the earlier table."""
    table = scanned(mp3s, update="t")
    for ending in ("parquet", "arrow", "npz"):
        earlier = kept(table, tmp_path / f"t.{ending}", FolderSettings(update="t"))
        again = scanned(mp3s, update="t", earlier=earlier)
        assert again.names == table.names
        for row, old in zip(again.rows(), table.rows(), strict=True):
            assert {k: v for k, v in row.items() if v == v} == {
                k: v for k, v in old.items() if v == v
            }
        assert again.integers("file_modified") == [
            (mp3s / name).stat().st_mtime_ns for name in table.ids
        ]


def test_a_library_may_change_while_files_do_not(mp3s: Path, tmp_path: Path, failures: Any) -> None:
    """A genre corrected in Rekordbox would never reach the table again."""
    columns = ["playlists=playlists:multilabel"]

    def tracks(genre: str) -> Batch:
        other = {"bpm": ["120"], "playcount": [genre]}  # of no column: it may change
        return listed(
            [(str(mp3s / "a.mp3"), True, {"genre": [genre]}), (str(mp3s / "b.mp3"), True, other)],
            columns,
        )

    def run(batch: Batch, earlier: folder.Earlier | None) -> tuple[Batch, folder.Tally]:
        plan, tally = scan.make_plan(FolderSettings(update="t"), batch.columns), folder.Tally()
        (rows,) = folder.run(
            [batch], plan, folders=[], jobs=0, fail=failures, earlier=earlier, tally=tally
        )
        return rows, tally

    first, _ = run(tracks("House"), None)
    second, tally = run(tracks("Techno"), folder.Earlier(first))
    assert second["genre"].tolist() == [["Techno"], None]
    assert (tally.unchanged, tally.changed) == (1, 1)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"tag": ("x=energy",)}, "--tag [], now ['x=energy']"),
        ({"id_": "hash"}, "--id 'path', now 'hash'"),
        ({"separator": "/"}, "--separator ';', now '/'"),
    ],
)
def test_other_settings_scan_everything(
    mp3s: Path, tmp_path: Path, scanned: Scan, change: dict[str, Any], note: str
) -> None:
    """Columns of an earlier scan would be mixed with those of other labels."""
    kept(scanned(mp3s, update="t"), tmp_path / "t.parquet", FolderSettings(update="t"))
    options = dataclasses.replace(FolderSettings(update="t"), **change)
    said = step("mt-fetch folder", result_settings(options))
    earlier = folder.read_earlier(
        str(tmp_path / "t.parquet"), scan.make_plan(options), options, said
    )
    assert (len(earlier), earlier.note) == (0, note)


def test_a_table_of_another_kind_is_no_scan(tmp_path: Path, make_batch: Any) -> None:
    """Any table with paths would be taken for what the files say."""
    writer = to_file(str(tmp_path / "t.parquet"), None)([])
    writer.write(make_batch(path=["x"]))
    writer.finish(1, 0)
    options = FolderSettings(update="t")
    said = step("mt-fetch folder", result_settings(options))
    args = (scan.make_plan(options), options, said)
    assert "no scan" in folder.read_earlier(str(tmp_path / "t.parquet"), *args).note
    assert folder.read_earlier(str(tmp_path / "none.parquet"), *args).note == ""


# Names by sound


def test_ids_by_sound_outlive_tags_and_names(mp3s: Path, scanned: Scan, failures: Any) -> None:
    """A file that is tagged or moved would be another track, and its embedding computed again."""
    before = scanned(mp3s, id_="hash").ids.tolist()
    for path in mp3s.iterdir():
        tags = id3.ID3(path)
        tags.add(id3.TIT2(text="now it has one" * 50))
        tags.save(path)
    (mp3s / "c.mp3").rename(mp3s / "0.mp3")
    after = scanned(mp3s, id_="hash").ids.tolist()
    assert after == [before[2], *before[:2]]
    assert all(len(id_) == 64 for id_ in before)


def test_ids_by_sound_are_kept_too(mp3s: Path, tmp_path: Path, scanned: Scan) -> None:
    """Every night all files would be read whole; or a copy of a known sound be a second track."""
    options = FolderSettings(id_="hash", update="t")
    first = scanned(mp3s, id_="hash", update="t")
    earlier = kept(first, tmp_path / "t.parquet", options)
    shutil.copy(mp3s / "a.mp3", mp3s / "z.mp3")
    tally = folder.Tally()
    again = scanned(mp3s, id_="hash", update="t", earlier=earlier, tally=tally)
    assert again.ids.tolist() == first.ids.tolist()
    assert (tally.unchanged, tally.new, tally.copies) == (3, 0, 1)


def test_the_same_sound_is_one_track(mp3s: Path, failures: Any) -> None:
    """Two copies would have one id, which no later command takes; each copy is told."""
    shutil.copy(mp3s / "a.mp3", mp3s / "z.mp3")
    id3.ID3(mp3s / "z.mp3").delete(mp3s / "z.mp3")
    told: list[str] = []
    tally = folder.Tally()
    plan = scan.make_plan(FolderSettings(id_="hash"))
    reader = folder_reader(str(mp3s), prefix=False)
    (rows,) = folder.run(
        reader, plan, folders=[], jobs=0, fail=failures, say=told.append, tally=tally
    )
    assert [Path(path).name for path in rows["path"]] == ["a.mp3", "b.mp3", "c.mp3"]
    assert told == [f"{mp3s}/z.mp3: the same sound as {mp3s}/a.mp3, which is kept"]
    assert "copies of the same sound, left out: 1" in tally.lines(plan)


def test_parts_of_tracks_have_no_name_of_their_own(make_batch: Any, failures: Any) -> None:
    """All segments of a track would get the same id."""
    batch = make_batch(path=["x.mp3"], origin=["x"])
    plan = scan.make_plan(FolderSettings(id_="hash"))
    with pytest.raises(UsageError, match="--id hash names whole tracks"):
        list(folder.run([batch], plan, folders=[], jobs=0, fail=failures))


# Whole files in the table


def test_bytes_of_the_files(mp3s: Path, tmp_path: Path, scanned: Scan, failures: Any) -> None:
    """A self-contained table would hold other bytes than the files, also after an update."""
    rows = scanned(mp3s, audio="bytes", update="t")
    expected = [((mp3s / name).read_bytes(), name) for name in ("a.mp3", "b.mp3", "c.mp3")]
    assert rows["audio"].tolist() == expected
    earlier = kept(rows, tmp_path / "t.parquet", FolderSettings(audio="bytes", update="t"))
    tally = folder.Tally()
    again = scanned(mp3s, audio="bytes", update="t", earlier=earlier, tally=tally)
    assert (again["audio"].tolist(), tally.unchanged) == (expected, 3)
    # What is in the table already needs no file any more.
    for path in mp3s.iterdir():
        path.unlink()
    plan = scan.make_plan(FolderSettings(audio="bytes"))
    bare = rows.without(set(rows.names) - {"id", "path", "audio"})
    (from_table,) = folder.run([bare], plan, folders=[], jobs=0, fail=failures)
    assert from_table["audio"].tolist() == expected
    assert from_table["artist"].tolist() == ["A", "B", "C"]


def test_batches_are_cut_by_their_bytes(tmp_path: Path, failures: Any) -> None:
    """A table of whole albums would be held in memory, row group by row group of 256 files."""
    (tmp_path / "m").mkdir()
    noise = np.random.default_rng(0).uniform(-1, 1, 1_500_000)
    soundfile.write(tmp_path / "first.wav", noise, 44100)  # 3 MB
    for number in range(8):
        os.link(tmp_path / "first.wav", tmp_path / "m" / f"{number}.wav")
    plan = scan.make_plan(FolderSettings(audio="bytes"))
    reader = folder_reader(str(tmp_path / "m"), prefix=False)
    batches = list(folder.run(reader, plan, folders=[], jobs=0, fail=failures))
    assert [len(batch) for batch in batches] == [3, 3, 2]
    assert all(batch.nbytes < 16 << 20 for batch in batches)


# Rows that fail


def test_failing_files_fail_alone(mp3s: Path, scanned: Scan, failures: Any) -> None:
    """A broken file would take those with it that are handed to a worker at the same time."""
    (mp3s / "aa.mp3").write_text("no music")
    (mp3s / "bb.mp3").write_bytes(b"")
    (mp3s / "cc.mp3").symlink_to("nowhere")
    rows = scanned(mp3s, jobs=2)
    assert rows.ids.tolist() == ["a.mp3", "b.mp3", "c.mp3"]
    assert failures == [("aa.mp3", "not-audio"), ("bb.mp3", "empty"), ("cc.mp3", "missing")]


def test_the_same_rows_for_any_jobs(mp3s: Path, scanned: Scan) -> None:
    """Order and content would depend on which worker is faster."""
    for number in range(70):
        os.link(mp3s / "a.mp3", mp3s / f"n{number:02}.mp3")
    alone, together = scanned(mp3s, jobs=0), scanned(mp3s, jobs=2)
    assert len(alone) == 73
    assert alone.rows()[:1] != alone.rows()[1:2]
    assert str(alone.rows()) == str(together.rows())


def test_a_file_that_changes_meanwhile(mp3s: Path, make_batch: Any) -> None:
    """A row would hold the tags of one version of a file and the bytes of another."""
    paths = [str(mp3s / name) for name in ("gone.mp3", "b.mp3", "c.mp3")]
    failed = []

    def fail(row: dict[str, Any], error: Any) -> None:
        failed.append((Path(row["path"]).name, error.kind))
        (mp3s / "b.mp3").write_bytes((mp3s / "a.mp3").read_bytes())  # read already, not yet loaded

    plan = scan.make_plan(FolderSettings(audio="bytes"))
    batch = make_batch(path=paths)
    (rows,) = folder.run([batch], plan, folders=[], jobs=0, fail=fail)
    assert failed == [("gone.mp3", "missing"), ("b.mp3", "changed")]
    assert rows["artist"].tolist() == ["C"]
