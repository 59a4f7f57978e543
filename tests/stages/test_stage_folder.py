"""mt-fetch folder without its command: embedded tags, groups."""

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
from mt_tools.stages import folder

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
