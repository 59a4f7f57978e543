"""Fields inside audio files: written here, read back by mutagen's classes and by ffprobe."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import mutagen
import mutagen.mp4
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutagen import id3
from tagged import TAGGED, ffprobe, heard

from mt_tools.errors import DecodeError, RowError
from mt_tools.sound.info import read_info
from mt_tools.sound.retag import check_writable, read_fields, write_fields

pytestmark = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: most formats cannot be made"
)
FIELDS = {
    "genre": ["Techno", "Ambient Löffel"],
    "mood": ["happy", "שמח 🎧"],
    "bpm": ["128"],
    "key": ["8A"],
    "grouping": ["peak"],
    "comment": ["two\nlines"],
    "date": ["2001-02-03"],
    "TXXX:ENERGY": ["300"],
    "MT_TOOLS": ['{"task": "genre"}', '{"task": "mood"}'],
}


def held(path: Path, name: str) -> Any:
    """Return a field by mutagen, under the name that the format's specification has for it."""
    file = mutagen.File(path)
    tags = file.tags
    if isinstance(tags, id3.ID3):
        return [str(text) for text in tags[name].text]
    if isinstance(tags, mutagen.mp4.MP4Tags) and name.startswith("----"):
        return [bytes(value).decode() for value in tags[name]]
    return [str(value) for value in tags[name]]


NAMES: dict[str, dict[str, str]] = {
    "id3": {"genre": "TCON", "mood": "TMOO", "bpm": "TBPM", "key": "TKEY", "grouping": "TIT1",
            "comment": "COMM::eng", "date": "TDRC", "TXXX:ENERGY": "TXXX:ENERGY",
            "MT_TOOLS": "TXXX:MT_TOOLS"},
    "xiph": {name: name for name in FIELDS} | {"TXXX:ENERGY": "ENERGY", "key": "INITIALKEY"},
    "ape": {name: name for name in FIELDS}
    | {"TXXX:ENERGY": "ENERGY", "key": "INITIALKEY", "date": "Year"},
    "mp4": {"genre": "©gen", "mood": "----:com.apple.iTunes:MOOD", "bpm": "tmpo",
            "key": "----:com.apple.iTunes:initialkey", "grouping": "©grp", "comment": "©cmt",
            "date": "©day", "TXXX:ENERGY": "----:com.apple.iTunes:ENERGY",
            "MT_TOOLS": "----:com.apple.iTunes:MT_TOOLS"},
    "asf": {"genre": "WM/Genre", "mood": "WM/Mood", "bpm": "WM/BeatsPerMinute",
            "key": "WM/InitialKey", "grouping": "WM/ContentGroupDescription",
            "comment": "Description", "date": "WM/Year", "TXXX:ENERGY": "ENERGY",
            "MT_TOOLS": "MT_TOOLS"},
}  # fmt: skip
FAMILY = {"flac": "xiph", "ogg": "xiph", "opus": "xiph", "oga": "xiph", "spx": "xiph",
          "m4a": "mp4", "wma": "asf", "wv": "ape"}  # fmt: skip


# --- every format --------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", TAGGED)
def test_fields_stand_where_programs_look(make: Any, ending: str) -> None:
    """A player, a DJ's software or the next scan would not find what was written."""
    path = make(ending)
    sound = heard(path)
    assert read_fields(str(path), list(FIELDS)) == {name: [] for name in FIELDS}
    write_fields(str(path), FIELDS)
    assert read_fields(str(path), list(FIELDS)) == FIELDS
    names = NAMES[FAMILY.get(ending, "id3")]
    assert {name: held(path, names[name]) for name in FIELDS} == FIELDS
    told = read_info(path)
    assert (told.genre, told.bpm, told.year) == (FIELDS["genre"], 128.0, 2001)
    assert told.tags["mood"] == FIELDS["mood"]
    assert told.tags["energy"] == ["300"]
    shown = ffprobe(path)
    # ffprobe gives the first text of an ID3 frame and joins Vorbis comments.
    assert shown["genre"].split(";")[0] == "Techno"
    assert shown["energy"] == "300"
    assert shown["comment"] == "two\nlines"
    assert heard(path) == sound


@pytest.mark.parametrize("ending", TAGGED)
def test_writing_again_and_removing(make: Any, ending: str) -> None:
    """Each night would change files in which nothing changes, or leave empty tags behind."""
    path = make(ending)
    sound = heard(path)
    write_fields(str(path), {"TXXX:KEPT": ["yes"], "genre": ["Rock"]})
    write_fields(str(path), FIELDS)
    once = path.read_bytes()
    write_fields(str(path), FIELDS)
    assert path.read_bytes() == once
    write_fields(str(path), {name: [] for name in FIELDS})
    assert read_fields(str(path), [*FIELDS, "kept"]) == {name: [] for name in FIELDS} | {
        "kept": ["yes"]
    }
    assert heard(path) == sound


TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30
).filter(str.strip)


@pytest.mark.parametrize("ending", ["mp3", "flac", "ogg", "m4a", "wv", "wma"])
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=st.lists(TEXTS, min_size=1, max_size=4, unique=True))
def test_any_text_comes_back(sounds: Path, tmp_path: Path, ending: str, values: list[str]) -> None:
    """A tag with an accent, a quote or an emoji would be another one in the file."""
    path = Path(shutil.copy(sounds / f"x.{ending}", tmp_path / f"x.{ending}"))
    write_fields(str(path), {"mood": values, "TXXX:Any": values})
    names = NAMES[FAMILY.get(ending, "id3")]
    assert held(path, names["mood"]) == values
    assert held(path, names["TXXX:ENERGY"].replace("ENERGY", "Any")) == values


@pytest.mark.parametrize("ending", ["mp3", "wav", "flac", "ogg", "m4a", "wma", "wv"])
def test_a_text_of_a_megabyte(make: Any, ending: str) -> None:
    """Long texts (lyrics, a list of models) would be cut, or break the file."""
    path = make(ending)
    sound = heard(path)
    long = "ü" * (1 << 19)
    write_fields(str(path), {"TXXX:LONG": [long], "genre": ["Rock"]})
    assert read_fields(str(path), ["LONG", "genre"]) == {"LONG": [long], "genre": ["Rock"]}
    assert heard(path) == sound
    write_fields(str(path), {"TXXX:LONG": ["short"]})
    assert heard(path) == sound


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"mood": ["a\0b"]}, "NUL"),
        ({"mood": [""]}, "empty"),
        ({"mood": ["\udc80"]}, "no Unicode"),
        ({"bpm": ["fast"]}, "beats a minute"),
        ({"date": ["some day"]}, "expected a date"),
        ({"rating": ["5"]}, "choose another field"),
        ({"covr": ["x"]}, "choose another field"),
        ({"TXXX:": ["x"]}, "names no field"),
    ],
)
@pytest.mark.parametrize("ending", ["mp3", "m4a"])
def test_what_cannot_be_held_is_refused(
    make: Any, ending: str, fields: dict[str, list[str]], why: str
) -> None:
    """Part of a value would be written, and nobody would know."""
    path = make(ending)
    before = path.read_bytes()
    with pytest.raises(RowError, match=why) as caught:
        write_fields(str(path), fields)
    assert caught.value.kind == "unwritable"
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("ending", TAGGED)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(places=st.lists(st.tuples(st.integers(-700, 1500), st.binary(max_size=3)), max_size=3))
def test_damaged_tags(
    sounds: Path, tmp_path: Path, ending: str, places: list[tuple[int, bytes]]
) -> None:
    """One damaged file among 100,000 would end the night's run with a traceback."""
    path = Path(shutil.copy(sounds / f"x.{ending}", tmp_path / f"x.{ending}"))
    write_fields(str(path), FIELDS)
    raw = bytearray(path.read_bytes())
    for place, wrong in places:
        raw[place % len(raw) : place % len(raw) + 2] = wrong
    path.write_bytes(raw)
    with contextlib.suppress(RowError):
        assert set(read_fields(str(path), list(FIELDS))) == set(FIELDS)
    with contextlib.suppress(RowError):
        write_fields(str(path), FIELDS)
        assert read_fields(str(path), list(FIELDS)) == FIELDS


@pytest.mark.parametrize("ending", ["au", "w64", "caf", "aac", "mka"])
def test_formats_without_tags(make: Any, ending: str) -> None:
    """Tags would be put where no program reads them, or in front of the sound."""
    path = make(ending)
    for attempt in (check_writable, lambda path: write_fields(path, {"genre": ["x"]})):
        with pytest.raises(RowError, match="convert it") as caught:
            attempt(str(path))
        assert caught.value.kind == "no-tags"
    with pytest.raises(DecodeError, match="no such file"):
        check_writable(str(path) + "x")


def test_every_writable_format_is_told_so(make: Any) -> None:
    """A file would be left out of a run that could be tagged."""
    for ending in TAGGED:
        check_writable(str(make(ending)))
