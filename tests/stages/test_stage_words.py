"""mt-factor kmeans without its command: dictionaries of frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.foreign import foreign
from mt_tools.stages.factors.words import words, write_words
from mt_tools.stages.settings import WordsSettings
from mt_tools.tables.batch import Batch
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
    centres, of, line = words([batch], batch.columns, WordsSettings(words=4))
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
    centres, _, line = words([marked], marked.columns, WordsSettings(words=3))
    assert line == "3 words from 240 of 240 frames"
    assert np.abs(centres - 9).sum(axis=1).min() > 5  # the corner is the test rows' own
    whole = WordsSettings(words=4, ignore_split=True)
    assert words([marked], marked.columns, whole)[2].endswith("of 320 frames")
    unmarked = planted(make_batch, split=[None] * 8)
    assert words([unmarked], unmarked.columns, WordsSettings(words=4))[2].endswith("320 frames")


def test_words_of_vectors(make_batch: Any) -> None:
    """Segments' embeddings (the SEQ study's CNN) have words as well, one vector a segment."""
    vectors = np.array([[0, 0], [0, 0.1], [5, 5], [5, 5.1], [np.nan, np.nan]], np.float32)
    batch = make_batch({"digest": "x", "pooling": "none"}, embedding=vectors)
    centres, of, _ = words([batch], batch.columns, WordsSettings(words=2))
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
        words([batch], batch.columns, WordsSettings())
    with pytest.raises(UsageError, match="--column x: the input has .* mel"):
        words([batch], batch.columns, WordsSettings(column="x"))
    bare = make_batch(path=["a"])
    with pytest.raises(UsageError, match="mt-spec"):
        words([bare], bare.columns, WordsSettings())
