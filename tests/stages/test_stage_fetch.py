"""mt-fetch without its commands: the made corpus, the list of names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mt_tools.sound.sources import draw
from mt_tools.stages import fetch, folder
from mt_tools.stages.settings import SynthSettings
from mt_tools.tables.batch import Batch, concatenate


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


def test_everything_that_has_a_name_is_listed() -> None:
    """mt-fetch list is where names are looked up."""
    table = fetch.listing()
    assert {"crnn-msd", "cnn-msd", "mfcc-stats", "random", "mlp", "cnn", "dj"} <= set(table.ids)
    assert {"choi2016", "agf", "seq", "reg", "rep", "gtzan", "fma"} <= set(table.ids)
    assert all(table["description"])


def test_the_files_of_the_corpus_carry_its_labels(
    tmp_path: Path, make_batch: Any, failures: Any
) -> None:
    """mt-fetch folder finds in the files what mt-fetch synth wrote in the table."""
    made = synth(tmp_path / "data", tracks=4)
    batch = make_batch(path=made["path"].tolist())
    (found,) = folder.run([batch], folders=[], jobs=0, fail=failures)
    assert found["genre"].tolist() == [[style] for style in made["style"]]
    assert found["artist"].tolist() == made["group"].tolist() == found["group"].tolist()
    for name in ("title", "album", "year", "length", "sample_rate", "channels"):
        assert found[name].tolist() == pytest.approx(made[name].tolist())
    assert found["bpm"].tolist() == pytest.approx(made["tempo"].tolist(), abs=0.01)


def test_sources_come_beside_the_same_corpus(tmp_path: Path) -> None:
    """--sources would change the sound or the labels of a published seed."""
    plain = synth(tmp_path / "a", tracks=34)  # more than one batch
    said = synth(tmp_path / "b", tracks=34, sources=True)
    assert said.names[: len(plain.names)] == plain.names
    assert said.names[len(plain.names) :] == ["tags", "listeners", "library_tags", "lyrics"]
    for name in plain.names:
        if name != "path":
            assert said[name].tolist() == plain[name].tolist()
    for name in plain.ids[:2]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    expected = draw(34, 0)
    for name in said.names[len(plain.names) :]:
        cells = [getattr(one, name) for one in expected]
        assert said[name].tolist() == [None if cell is None else list(cell) for cell in cells]
