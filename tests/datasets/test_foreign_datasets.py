"""Data sets of mirdata and of the Hugging Face hub become tables like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mt_tools.datasets import tiny
from mt_tools.datasets.foreign import rows
from mt_tools.errors import UsageError
from mt_tools.stages.frontend import tracks_of
from mt_tools.tables.batch import Batch, concatenate


@pytest.fixture
def said() -> list[str]:
    """What was said to people."""
    return []


def whole(name: str, folder: Path, said: list[str], set_: str = "") -> Batch:
    """Return a data set as one table."""
    return concatenate(list(rows(name, folder, set_, "", said.append)))


# --- mirdata -------------------------------------------------------------------------------------


def index(name: str, folder: Path, tracks: dict[str, dict[str, str]]) -> None:
    """Write an index as mirdata publishes it, with the name that it looks for."""
    mirdata = pytest.importorskip("mirdata", reason="the extra mirdata is not installed")
    listed = {
        track: {kind: [path, "0" * 32] for kind, path in paths.items()}
        for track, paths in tracks.items()
    }
    named = folder / mirdata.initialize(name, str(folder))._index_data.filename
    named.write_text(json.dumps({"version": "1.0", "tracks": listed}))


def test_mirdata_labels_and_split(tmp_path: Path, said: list[str]) -> None:
    """The labels of a loader of mirdata, or its split, would be lost on the way."""
    train = "IRMAS-TrainingData/cla/[cla][dru][jaz_blu]0189__2.wav"
    test = "IRMAS-TestingData-Part1/Part1/a song-8"
    index(
        "irmas",
        tmp_path,
        {
            "0189__2": {"audio": train, "annotation": train},
            "1": {"audio": f"{test}.wav", "annotation": f"{test}.txt"},
        },
    )
    tiny.sound(tmp_path / train)
    tiny.text(tmp_path / f"{test}.txt", ["pia", "voi"])
    table = whole("mirdata:irmas", tmp_path, said)
    assert table.ids.tolist() == ["0189__2", "1"]
    assert table["path"].tolist() == [str(tmp_path / train), str(tmp_path / f"{test}.wav")]
    assert table["split"].tolist() == ["train", "test"]
    assert table["instrument"].tolist() == [["cla"], ["pia", "voi"]]
    assert table["genre"].tolist() == ["jaz_blu", None]
    assert table["drum"].tolist() == [True, None]
    assert said == ["mirdata:irmas: 1 tracks have no audio there"]


def test_mirdata_artist_is_the_group(tmp_path: Path, said: list[str]) -> None:
    """A split that is drawn would leak artists that mirdata knows."""
    name = "mtg_jamendo_autotagging_moodtheme"
    index(name, tmp_path, {"track_0001000": {"audio": "audio/00/1000.mp3"}})
    header = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
    track = "track_0001000 artist_1 album_1 00/1000.mp3 29.5 mood/theme---happy mood/theme---film"
    tiny.text(
        tmp_path / "data/autotagging_moodtheme.tsv", ["\t".join(header), "\t".join(track.split())]
    )
    for number in range(5):
        for part in ("train", "validation", "test"):
            listed = tmp_path / f"data/splits/split-{number}/autotagging_moodtheme-{part}.tsv"
            tiny.text(listed, ["TRACK_ID"])
    tiny.sound(tmp_path / "audio/00/1000.mp3")
    table = whole(f"mirdata:{name}", tmp_path, said)
    assert table["group"].tolist() == ["artist_1"]
    assert table["tags"].tolist() == [["happy", "film"]]
    assert "split" not in table
    assert "duration" not in table.names  # the wire's own word, for a part of a file
    assert said == []


def test_mirdata_attributes_that_cannot_be_read_are_named(tmp_path: Path, said: list[str]) -> None:
    """A label would be missing without a word where its file is."""
    paths = {"audio": "country.00000.wav", "beats": "none.beats", "tempo": "none.bpm"}
    index("gtzan_genre", tmp_path, {"country.00000": paths})
    tiny.sound(tmp_path / "country.00000.wav")
    table = whole("mirdata:gtzan_genre", tmp_path, said)
    assert table["genre"].tolist() == ["country"]
    assert "tempo" not in table
    assert any("left out tempo, which cannot be read" in line for line in said)


def test_a_wrong_loader_is_answered_with_the_right_ones(tmp_path: Path, said: list[str]) -> None:
    """A typing error would end in a traceback of mirdata."""
    pytest.importorskip("mirdata", reason="the extra mirdata is not installed")
    with pytest.raises(UsageError, match="mirdata:balroom: mirdata has .*ballroom, "):
        whole("mirdata:balroom", tmp_path, said)


def test_a_split_of_others_cannot_be_chosen(tmp_path: Path, said: list[str]) -> None:
    """--split would be ignored silently."""
    with pytest.raises(UsageError, match="comes with its own split"):
        rows("mirdata:irmas", tmp_path, "", "official", said.append)


# --- Hugging Face --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub() -> Any:
    """The package that reads data sets of the hub."""
    return pytest.importorskip("datasets", reason="the extra hf is not installed")


@pytest.fixture(scope="module")
def saved(hub: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that a data set of six sounds in three splits was saved to."""
    folder = tmp_path_factory.mktemp("hub")
    waves = []
    for number in range(6):
        waves.append(str(folder / f"{number}.wav"))
        soundfile.write(waves[-1], np.full(80, number / 10), 8000)
    words = hub.Value("string")
    features = hub.Features(
        {
            "audio": hub.Audio(),
            "genre": hub.ClassLabel(names=["rock", "jazz"]),
            "tags": hub.Sequence(hub.ClassLabel(names=["loud", "slow"])),
            "words": hub.Sequence(words),
            "bpm": hub.Value("float32"),
            "year": hub.Value("int64"),
            "live": hub.Value("bool"),
            "artist": words,
            "length": hub.Value("float32"),
            "nested": {"a": words},
        }
    )
    table = {
        "audio": waves,
        "genre": [0, 1, -1, 0, 1, 0],
        "tags": [[0, 1], [], [1], [0], [], [1]],
        "words": [["a"], [], ["b", "c"], [], [], []],
        "bpm": [120.5, None, 90, 91, 92, 93],
        "year": [1999, 2000, None, 2001, 2002, 2003],
        "live": [True, False, None, True, True, False],
        "artist": ["A", "B", "A", "C", "D", "D"],
        "length": [1.0] * 6,
        "nested": [{"a": "b"}] * 6,
    }
    data = hub.Dataset.from_dict(table, features=features)
    parts = {"train": [0, 1, 2], "validation": [3], "test": [4, 5]}
    hub.DatasetDict({part: data.select(rows) for part, rows in parts.items()}).save_to_disk(
        folder / "saved"
    )
    return folder / "saved"


def test_hf_classes_are_names_and_splits_are_the_wire_s(saved: Path, said: list[str]) -> None:
    """Classes would be numbers, an unlabelled row the last class, and validation be unknown."""
    table = whole("hf:some/set", saved, said)
    assert table["split"].tolist() == ["train"] * 3 + ["valid"] + ["test"] * 2
    assert table["genre"].tolist() == ["rock", "jazz", None, "rock", "jazz", "rock"]
    assert table["tags"].tolist()[:3] == [["loud", "slow"], [], ["slow"]]
    assert table["words"].tolist()[:3] == [["a"], [], ["b", "c"]]
    assert table["bpm"][0] == 120.5
    assert np.isnan(table["bpm"][1])
    assert table["year"].tolist()[:2] == [1999, 2000]
    assert table["live"].tolist()[:3] == [True, False, None]
    assert table["group"].tolist() == ["A", "B", "A", "C", "D", "D"]
    assert len(set(table.ids)) == 6
    assert said == ["hf:some/set: left out length, nested: no label, or a name that tables reserve"]


def test_hf_audio_is_the_very_file_and_is_decoded(saved: Path, said: list[str]) -> None:
    """Sounds would be of another row, or decoded twice on the way."""
    table = whole("hf:some/set", saved, said)
    for number, (bytes_, name) in enumerate(table["audio"]):
        assert name == f"{number}.wav"
        assert bytes_ == (saved.parent / name).read_bytes()
    sources = [track.source() for track in tracks_of(table, [])]
    assert sources == [bytes_ for bytes_, _ in table["audio"]]


def test_hf_folder_of_audio(
    hub: Any, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in the hub's layout, which names classes by folders, would need a hub."""
    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "folder"
    for name in ("train/rock/a.wav", "train/jazz/b.wav", "test/jazz/c.wav"):
        tiny.sound(folder / name)
    table = whole("hf:some/set", folder, said)
    paths = [Path(path).relative_to(folder).as_posix() for _, path in table["audio"]]
    labels = dict(zip(paths, table["label"], strict=True))
    assert labels == {
        "train/rock/a.wav": "rock",
        "train/jazz/b.wav": "jazz",
        "test/jazz/c.wav": "jazz",
    }
    assert table["split"].tolist() == ["train", "train", "test"]


def test_hf_without_audio_is_refused(hub: Any, tmp_path: Path, said: list[str]) -> None:
    """A data set of texts would give a table that nothing can open."""
    hub.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "saved")
    with pytest.raises(UsageError, match="expected one column of audio, it has 0 among text"):
        whole("hf:some/set", tmp_path / "saved", said)
