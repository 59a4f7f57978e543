"""mt-factor kmeans and bof without their commands: dictionaries of frames, and counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import BrokenTable, SettingsMismatch, UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.features.words import Dictionary
from mt_tools.nets.foreign import foreign
from mt_tools.stages.factors.settings import BofSettings, KmeansSettings
from mt_tools.stages.factors.words import (
    bof,
    needed,
    read_words,
    recorded,
    words,
    write_words,
)
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.fitted import FittedOn

FEATURES = FeatureSettings(bands=2).to_json()


def planted(make_batch: Any, **columns: Any) -> Batch:
    """Return eight tracks: frames at three places, the fourth only in the last two tracks."""
    rng = np.random.default_rng(0)
    places = np.array([[0, 0], [9, 0], [0, 9], [9, 9]])
    mel = [
        places[rng.integers(0, 3 if row < 6 else 4, size=40)].T + rng.normal(0, 0.1, size=(2, 40))
        for row in range(8)
    ]
    return make_batch(FEATURES, mel=np.array(mel, np.float32), **columns)


def test_a_dictionary_goes_from_factor_to_embed(make_batch: Any, tmp_path: Path) -> None:
    """What mt-factor kmeans writes is a model of mt-embed, which counts its words."""
    batch = planted(make_batch)
    centres, of, line = words([batch], batch.columns, KmeansSettings(words=4))
    assert line == "4 words from 320 of 320 frames"
    path = tmp_path / "words.npz"
    write_words(str(path), centres, of, [])
    model = foreign(f"bof:{path}")
    assert model is not None
    assert model.feature_settings == FeatureSettings(bands=2)
    shares = model.embed(batch["mel"])
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    corner = int(np.argmin(np.abs(centres - 9).sum(axis=1)))
    assert (shares[:6, corner] == 0).all()
    assert (shares[6:, corner] > 0.1).all()
    first = path.read_bytes()
    write_words(str(path), centres, of, [])
    assert path.read_bytes() == first


def test_words_are_of_train_rows_alone(make_batch: Any) -> None:
    """A dictionary that has seen the test rows makes them easier than they are."""
    marked = planted(make_batch, split=["train"] * 6 + ["test"] * 2)
    centres, _, line = words([marked], marked.columns, KmeansSettings(words=3))
    assert line == "3 words from 240 of 240 frames"
    assert np.abs(centres - 9).sum(axis=1).min() > 5  # the corner is the test rows' own
    whole = KmeansSettings(words=4, ignore_split=True)
    assert words([marked], marked.columns, whole)[2].endswith("of 320 frames")
    unmarked = planted(make_batch, split=[None] * 8)
    assert words([unmarked], unmarked.columns, KmeansSettings(words=4))[2].endswith("320 frames")


def test_words_of_vectors(make_batch: Any) -> None:
    """Segments' embeddings (the SEQ study's CNN) have words as well, one vector a segment."""
    vectors = np.array([[0, 0], [0, 0.1], [5, 5], [5, 5.1], [np.nan, np.nan]], np.float32)
    batch = make_batch({"digest": "x", "pooling": "none"}, embedding=vectors)
    centres, of, _ = words([batch], batch.columns, KmeansSettings(words=2))
    np.testing.assert_allclose(sorted(centres.tolist()), [[0, 0.05], [5, 5.05]], atol=1e-5)
    said = FittedOn.from_json(of.pop("fitted_on"))
    assert said == FittedOn.of(["t0", "t1", "t2", "t3"], [None] * 4)  # the last has no vector
    assert of == {
        "kind": "embedding", "width": 2, "settings": {"digest": "x", "pooling": "none"},
    }  # fmt: skip


def test_which_column_words_are_of(make_batch: Any) -> None:
    """Two columns, or none, are a line that says what to choose."""
    batch = planted(make_batch, embedding=np.zeros((8, 3), np.float32))
    with pytest.raises(UsageError, match="mel, embedding: choose one with --column"):
        words([batch], batch.columns, KmeansSettings())
    with pytest.raises(UsageError, match="--column x: the input has .* mel"):
        words([batch], batch.columns, KmeansSettings(column="x"))
    bare = make_batch(path=["a"])
    with pytest.raises(UsageError, match="mt-spec"):
        words([bare], bare.columns, KmeansSettings())


# --- counts --------------------------------------------------------------------------------------

CORNERS = np.array([[0, 0], [9, 0], [0, 9], [9, 9]], np.float32)
BOF = BofSettings(words="d.npz")


def counted(
    batch: Batch, settings: BofSettings = BOF, known: Dictionary | None = None, size: int = 3
) -> Batch:
    """Count the words of rows that come in pieces."""
    pieces = [batch.take(range(i, min(i + size, len(batch)))) for i in range(0, len(batch), size)]
    names = ["id", *needed(batch.columns, settings)]
    light = [piece.without(set(batch.names) - set(names)) for piece in pieces]
    known = known or Dictionary(
        CORNERS, {"kind": "feature", "shape": [2, 40], "settings": FEATURES}
    )
    return concatenate(list(bof(lambda: light, pieces, batch.columns, settings, known)))


def test_counts_are_those_of_the_network(make_batch: Any, tmp_path: Path) -> None:
    """Factors of counts, and shares that networks learn from, would be of different words."""
    batch = planted(make_batch, tags=[["a"]] * 8)
    path = str(tmp_path / "d.npz")
    write_words(path, CORNERS, {"kind": "feature", "shape": [2, 40], "settings": FEATURES}, [])
    known = read_words(path)
    table = counted(batch, known=known)
    model = foreign(f"bof:{path}")
    assert model is not None
    np.testing.assert_allclose(table["words"], 40 * model.embed(batch["mel"]), atol=1e-4)
    assert table["words"].sum(axis=1).tolist() == [40] * 8
    assert table.names == ["id", "tags", "words"]  # features are not carried on
    column = table.columns["words"]
    assert column.role == "label"
    assert column.settings == {"method": "bof", "dictionary": known.digest, "per": "track"}


def test_segments_of_a_track_are_counted_together(make_batch: Any) -> None:
    """Topics would be those of seconds, and a track cut in ten would have ten targets."""
    settings = FeatureSettings(bands=2, excerpt="segment:1").to_json()
    places = [0, 1, 1, 2, 2, 3, 3]
    mel = CORNERS[places][:, :, None].repeat(5, axis=2)
    batch = make_batch(
        settings,
        id=["t@0", "t@2.5", "t#pitch=1@0", "t#pitch=1@2.5", "u@0", "u@2.5", "u@5"],
        origin=["t"] * 4 + ["u"] * 3,
        recipe=[None, None, "pitch=1", "pitch=1", None, None, None],
        start=[0, 2.5, 0, 2.5, 0, 2.5, 5],
        duration=[2.5] * 7,
        mel=np.where(np.arange(7)[:, None, None] == 5, np.nan, mel).astype(np.float32),
        embedding=np.zeros((7, 3), np.float32),
        style=["a"] * 4 + ["b"] * 3,
    )
    for size in (1, 3, 7):
        table = counted(batch, BofSettings(words="d.npz", column="mel"), size=size)
        assert table.ids.tolist() == ["t", "t#pitch=1", "u"]
        assert table["words"].tolist() == [[5, 5, 0, 0], [0, 5, 5, 0], [0, 0, 5, 5]]
        assert table.names == ["id", "origin", "recipe", "style", "words"]


def test_groups_are_counted_within_their_part(make_batch: Any) -> None:
    """What train rows learn from would tell of the test rows of the same artist."""
    mel = CORNERS[[0, 0, 1, 2, 3, 3]][:, :, None].repeat(4, axis=2)
    mel[1, :, 0] = np.nan  # one frame that is no frame
    mel[5] = np.nan
    batch = make_batch(
        FEATURES, mel=mel, group=["g", "g", "g", None, None, None],
        split=["train", "train", "test", "train", "train", "train"],
    )  # fmt: skip
    table = counted(batch, BofSettings(words="d.npz", per="group"), size=2)
    got = table["words"]
    assert got[:5].tolist() == [
        [7, 0, 0, 0], [7, 0, 0, 0], [0, 4, 0, 0], [0, 0, 4, 0], [0, 0, 0, 4],
    ]  # fmt: skip
    assert np.isnan(got[5]).all()  # no features, no counts
    assert table.null_count("words") == 1
    with pytest.raises(UsageError, match="no column 'group'"):
        counted(batch.without(["group"]), BofSettings(words="d.npz", per="group"))


def test_words_of_other_features_are_refused(make_batch: Any, tmp_path: Path) -> None:
    """Frames of another hop or level would be counted as words that they are not."""
    other = FeatureSettings(bands=2, hop=256).to_json()
    mel = np.zeros((2, 2, 4), np.float32)
    with pytest.raises(SettingsMismatch, match=r"d\.npz: hop: got 256, expected 512; "):
        counted(make_batch(other, mel=mel))
    with pytest.raises(SettingsMismatch, match="--assume PRESET"):
        counted(make_batch(mel=mel))
    vectors = make_batch({"digest": "y", "pooling": "none"}, embedding=np.zeros((2, 2), np.float32))
    with pytest.raises(SettingsMismatch, match="got embeddings, expected words of features"):
        counted(vectors)
    of = {"kind": "embedding", "width": 2, "settings": {"digest": "x", "pooling": "none"}}
    with pytest.raises(SettingsMismatch, match="digest: got 'y', expected 'x'"):
        counted(vectors, known=Dictionary(CORNERS, of))
    with pytest.raises(SettingsMismatch, match="width: got 3, expected 2"):
        counted(
            make_batch(mel=np.zeros((2, 3, 4), np.float32)),
            known=Dictionary(CORNERS, {"kind": "feature", "shape": [2, 9], "settings": {}}),
        )
    with pytest.raises(UsageError, match="--as NAME"):
        counted(planted(make_batch, words=["x"] * 8))
    with pytest.raises(UsageError, match="say which words: --words FILE"):
        read_words("")
    with pytest.raises(UsageError, match="make it with mt-factor kmeans"):
        read_words(str(tmp_path / "none.npz"))
    np.savez(tmp_path / "other.npz", terms=np.eye(2))
    with pytest.raises(BrokenTable, match="not a dictionary of mt-factor kmeans"):
        read_words(str(tmp_path / "other.npz"))


def test_counts_say_what_their_words_were_fitted_on(make_batch: Any) -> None:
    """mt-eval check could not tell counts by a dictionary that has seen the test rows."""
    marked = planted(make_batch, split=["train"] * 6 + ["test"] * 2)
    centres, of, _ = words([marked], marked.columns, KmeansSettings(words=3))
    said = FittedOn.from_json(recorded(Dictionary(centres, of))["fitted_on"])
    assert said == FittedOn.of(marked.ids[:6], ["train"] * 6)
    assert recorded(Dictionary(CORNERS, {"kind": "embedding"})) == {}


def test_marks_that_come_late_are_heeded(make_batch: Any) -> None:
    """A table whose first rows have no split would fit on those instead of its train rows."""
    late = planted(make_batch, split=[None] * 3 + ["test"] * 3 + ["train"] * 2)
    pieces = [late.take([row]) for row in range(8)]
    centres, of, line = words(pieces, late.columns, KmeansSettings(words=4))
    assert line == "4 words from 80 of 80 frames"
    assert of["fitted_on"] == FittedOn.of(["t6", "t7"], ["train"] * 2).to_json()
    assert np.abs(centres - 9).sum(axis=1).min() < 1
