"""Rows on their way to playlists and Rekordbox's library."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mutagen
import numpy as np
import pytest
import soundfile

from mt_tools.errors import RunError, UsageError
from mt_tools.library import playlists, rekordbox
from mt_tools.stages.exports import check, collect
from mt_tools.stages.settings import TagSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved

TASKS = {"genre": ["House", "Rock"], "a.mood": ["calm", "dark"], "energy": []}
BOTH = TagSettings(playlists="lists", rekordbox="tags.xml")


@pytest.fixture
def music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files below `Music` in the working folder; of the first, tags."""
    monkeypatch.chdir(tmp_path)
    Path("Music").mkdir()
    for name in ("a.flac", "b.wav", os.fsdecode(b"caf\xe9.wav")):
        soundfile.write(
            os.fsencode(f"Music/{name}"), np.zeros(16000), 8000, format=name[-4:].strip(".")
        )
    tagged = mutagen.File("Music/a.flac")
    tagged.update({"title": "One", "artist": "Ann", "bpm": "128", "genre": ["Mine", "Own"]})
    tagged.save()
    return tmp_path


def batch(*rows: dict[str, Any], scores: bool = True) -> Batch:
    """Make rows as `predicted` does, of tasks of classes, tags and numbers."""
    columns = [
        reserved("id"), reserved("path"), reserved("audio"), reserved("start"), reserved("recipe"),
        Column("genre_pred", "string", "prediction"),
        Column("a.mood_pred", "strings", "prediction"),
        Column("energy_pred", "number", "prediction"),
    ]  # fmt: skip
    values = {column.name: [row.get(column.name) for row in rows] for column in columns}
    made = Batch.build(columns, values)
    for name in ("genre", "a.mood") if scores else ():
        found = np.array([row.get(f"{name}_score", [0.5, 0.5]) for row in rows])
        said = {"vocabulary": TASKS[name]}
        made = made.append(Column(f"{name}_score", "vector", "prediction", said, (2,)), found)
    return made


ROWS = [
    {"id": "a", "path": "Music/a.flac", "genre_pred": "House", "genre_score": [0.6, 0.4],
     "a.mood_pred": ["dark", "calm"], "a.mood_score": [0.7, 0.8], "energy_pred": 0.5},
    {"id": "b", "path": "b.wav", "genre_pred": "House", "genre_score": [0.9, 0.1],
     "a.mood_pred": [], "a.mood_score": [0.1, 0.1], "energy_pred": 0.1},
    {"id": "c", "path": "file:Music/caf%E9.wav", "genre_pred": None, "a.mood_pred": ["calm"],
     "a.mood_score": [0.9, 0.2]},
    {"id": "d", "audio": (b"x", "d.wav"), "genre_pred": "Rock", "a.mood_pred": []},
]  # fmt: skip


def run(batches: Any, settings: TagSettings = BOTH) -> tuple[list[Batch], list[str]]:
    """Collect rows, with `Music` as the folder of their table; return them and what was said."""
    said: list[str] = []
    passed = collect(iter(batches), TASKS, settings, folders=["Music"], say=said.append)
    return list(passed), said


def test_both(music: Path) -> None:
    """A DJ would find other tracks in the playlists than in the tags, or titles be missing."""
    batches = [batch(*ROWS[:2]), batch(*ROWS[2:])]
    passed, said = run(batches)
    assert [one.ids.tolist() for one in passed] == [["a", "b"], ["c", "d"]]
    assert said == [
        "tracks without a file of their own, in no playlist: 1", "3 playlists in lists",
        "3 tracks in tags.xml",
    ]  # fmt: skip
    found = {
        str(path): [entry.path for entry in playlists.library(str(path)).entries()]
        for path in sorted(Path("lists").rglob("*.m3u8"))
    }
    cafe = str(music / "Music" / os.fsdecode(b"caf\xe9.wav"))
    assert found == {
        "lists/a.mood/calm.m3u8": [cafe, "Music/a.flac"],
        "lists/a.mood/dark.m3u8": ["Music/a.flac"],
        "lists/genre/House.m3u8": ["Music/b.wav", "Music/a.flac"],
    }
    assert "#EXTINF:2,Ann - One\n" in Path("lists/genre/House.m3u8").read_text()
    assert "#EXTINF:2,b\n" in Path("lists/genre/House.m3u8").read_text()
    one, two, three = rekordbox.library("tags.xml").entries()
    assert [entry.path for entry in (one, two, three)] == [
        str(music / "Music" / "a.flac"), str(music / "Music" / "b.wav"), cafe
    ]  # fmt: skip
    assert one.fields["mytags"] == ["House", "dark", "calm"]
    assert (one.fields["bpm"], one.fields["genre"]) == (["128.00"], ["Mine; Own"])
    assert sorted(one.fields["playlists"]) == [
        "mt-tools/a.mood/calm", "mt-tools/a.mood/dark", "mt-tools/genre/House"
    ]  # fmt: skip
    size = ElementTree.parse("tags.xml").getroot().find("COLLECTION/TRACK").get("Size")  # type: ignore
    assert size == str(os.path.getsize("Music/a.flac"))


def test_without_scores_in_the_order_of_the_input(music: Path) -> None:
    """--no-scores would end in an error, or shuffle the lists."""
    run([batch(*ROWS, scores=False)])
    entries = playlists.library("lists/genre/House.m3u8").entries()
    assert [entry.path for entry in entries] == ["Music/a.flac", "Music/b.wav"]


def test_nothing_asked_for(music: Path) -> None:
    """Every run would read all files once more, and refuse tables of parts."""
    part = ROWS[0] | {"start": 1.0}
    (passed,), said = run([batch(part)], TagSettings())
    assert (passed.ids.tolist(), said) == (["a"], [])
    assert os.listdir(".") == ["Music"]


def test_a_run_that_breaks_off(music: Path) -> None:
    """Yesterday's playlists would be replaced by half of today's."""
    run([batch(*ROWS)])
    before = {path: path.read_bytes() for path in Path("lists").rglob("*.m3u8")}
    library = Path("tags.xml").read_bytes()

    def broken() -> Iterator[Batch]:
        yield batch(ROWS[1])
        raise RunError("the disk is gone")

    with pytest.raises(RunError, match="the disk is gone"):
        run(broken())
    taken = collect([batch(ROWS[1])], TASKS, BOTH, folders=["Music"], say=print)
    next(taken)
    taken.close()  # type: ignore[attr-defined]
    assert {path: path.read_bytes() for path in Path("lists").rglob("*.m3u8")} == before
    assert Path("tags.xml").read_bytes() == library


def test_a_file_that_went_away(music: Path) -> None:
    """One track that was moved meanwhile would cost the lists of all others."""
    os.unlink("Music/b.wav")
    run([batch(ROWS[0], ROWS[1] | {"path": "Music/b.wav"})])
    entries = list(playlists.library("lists/genre/House.m3u8").entries())
    assert [entry.path for entry in entries] == ["Music/b.wav", "Music/a.flac"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TagSettings(playlists="l", segments=True), "leave --segments out"),
        (TagSettings(rekordbox="x.xml", plot="p.png"), "leave --plot out"),
        (TagSettings(playlists="l", uncertain=5), "the few tracks of --uncertain"),
        (TagSettings(playlists="Music/a.flac"), "a file; name a folder"),
        (TagSettings(rekordbox="Music"), "a folder; name a file"),
        (TagSettings(rekordbox="none/x.xml"), "no folder .*none; make it"),
        (TagSettings(rekordbox="Music/a.flac"), "no Rekordbox library"),
    ],
)
def test_refused_before_anything_is_decoded(
    music: Path, settings: TagSettings, message: str
) -> None:
    """A night of work would end with a message that was due in the evening."""

    def untouched() -> Iterator[Batch]:
        raise AssertionError("a row was asked for")
        yield

    with pytest.raises(UsageError, match=message):
        run(untouched(), settings)


def test_models_of_numbers(music: Path) -> None:
    """A folder would be made in which there is never a playlist."""
    with pytest.raises(UsageError, match="the model says energy in numbers alone"):
        check(BOTH, {"energy": []})


@pytest.mark.parametrize("part", [{"start": 1.0}, {"recipe": "pitch:1"}])
def test_parts_and_copies(music: Path, part: dict[str, Any]) -> None:
    """A song would be listed for what its first seconds, or a copy that is nowhere, sound like."""
    with pytest.raises(UsageError, match="is a part or a changed copy of a file"):
        run([batch(ROWS[0] | part)])
    assert os.listdir(".") == ["Music"]


def test_memory(music: Path) -> None:
    """A library of hundreds of thousands would not fit into memory as text."""
    import tracemalloc

    from mt_tools.library.listing import Listed, Listing

    listing = Listing({"mood": ["calm"]})
    fields = {"comment": ["x" * 10_000]}
    tracemalloc.start()
    for number in range(2000):
        listing.add(Listed(f"/m/{number}.mp3", 1.0, fields=fields), {"mood": [("calm", number)]})
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2000 * 400
    assert listing[1234].path == "/m/1234.mp3"
    ((_, ((_, numbers),)),) = listing.playlists()
    assert numbers[:2] == [1999, 1998]
