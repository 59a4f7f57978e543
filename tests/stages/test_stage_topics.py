"""mt-factor without its command: targets out of labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import BrokenTable, UsageError
from mt_tools.settings import result_settings
from mt_tools.stages.factors.topics import plsa, read_fitted, write_fitted
from mt_tools.stages.settings import FactorSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.fitted import FittedOn

SETTINGS = FactorSettings(factors=2, iterations=50)


@pytest.fixture
def bags(make_batch: Any) -> Batch:
    """Two kinds of tracks with words of their own, one without words, one unlabelled."""
    words = [["guitar", "drums", "loud"], ["synth", "quiet", "pad"]]
    tags = [words[i % 2][: 2 + i % 2] for i in range(12)]
    return make_batch(
        tags=[*tags, [], None],
        split=["train"] * 8 + ["test"] * 6,
        group=[f"artist {i % 4}" for i in range(12)] + [None, None],
    )


def test_mixes_sum_to_one_and_tell_the_kinds_apart(bags: Batch) -> None:
    """A target is a distribution over factors; tracks of one kind have one factor."""
    table, factors = plsa([bags], SETTINGS)
    mixes = table["plsa"]
    assert mixes.shape == (14, 2)
    np.testing.assert_allclose(mixes[:12].sum(axis=1), 1, atol=1e-6)
    assert np.isnan(mixes[12:]).all()  # no word, no target
    kinds = mixes[:12].argmax(axis=1)
    assert len({*kinds[0::2]}) == len({*kinds[1::2]}) == 1
    assert kinds[0] != kinds[1]
    np.testing.assert_allclose(factors.plsa.terms.sum(axis=1), 1, atol=1e-6)
    assert factors.vocabulary == sorted({w for bag in bags["tags"][:12] for w in bag})
    assert table.columns["plsa"].role == "target"


def test_factors_are_fitted_on_train_rows_alone(bags: Batch, make_batch: Any) -> None:
    """Words and counts of the test rows must not shape the targets."""
    tags = bags["tags"].tolist()
    tags[9] = ["never", "heard"]
    other = make_batch(tags=tags, split=bags["split"].tolist())
    _, one = plsa([bags], SETTINGS)
    table, two = plsa([other], SETTINGS)
    assert one.vocabulary == two.vocabulary
    np.testing.assert_array_equal(one.plsa.terms, two.plsa.terms)
    assert np.isnan(table["plsa"][9]).all()
    _, all_rows = plsa([other], replace(SETTINGS, ignore_split=True))
    assert "never" in all_rows.vocabulary


def test_factors_say_what_they_were_fitted_on(bags: Batch, tmp_path: Path) -> None:
    """Nobody could tell factors that have seen the test rows from those that have not."""
    _, factors = plsa([bags], SETTINGS)
    assert factors.fitted_on == FittedOn.of(bags.ids[:8], ["train"] * 8)
    path = str(tmp_path / "f.npz")
    write_fitted(path, factors, {})
    _, applied = plsa([bags], replace(SETTINGS, apply=path))
    assert applied.recorded() == factors.recorded()
    _, seen = plsa([bags], replace(SETTINGS, ignore_split=True))
    assert seen.fitted_on is not None
    assert seen.fitted_on.parts == {"train": 8, "test": 4}  # two of six have no words


def test_what_was_fitted_is_applied_to_other_tables(bags: Batch, tmp_path: Path) -> None:
    """--apply folds new tracks into old factors: the same words get the same mix."""
    table, factors = plsa([bags], SETTINGS)
    path = str(tmp_path / "f.npz")
    write_fitted(path, factors, result_settings(SETTINGS))
    again = read_fitted(path)
    assert again.vocabulary == factors.vocabulary
    np.testing.assert_array_equal(again.plsa.terms, factors.plsa.terms)
    new = bags.take([1, 0, 13]).without(["split"])
    folded, _ = plsa([new], FactorSettings(factors=2, iterations=50, apply=path))
    np.testing.assert_allclose(folded["plsa"], table["plsa"][[1, 0, 13]], atol=1e-6)


def test_tracks_of_one_artist_share_a_mix(bags: Batch) -> None:
    """Artist factors (AGF) count the words of an artist together."""
    table, _ = plsa([bags], FactorSettings(factors=2, iterations=50, per="group"))
    mixes = table["plsa"]
    for row in range(12):
        np.testing.assert_array_equal(mixes[row], mixes[row % 4])
    assert np.isnan(mixes[12:]).all()


def test_what_cannot_be_factored_is_refused(bags: Batch, make_batch: Any, tmp_path: Path) -> None:
    """Each mistake is one line that says what to do."""
    with pytest.raises(UsageError, match=r"5 different words.*fewer factors"):
        plsa([bags], FactorSettings(factors=50))
    with pytest.raises(UsageError, match="expected lists of words"):
        plsa([bags], FactorSettings(column="split"))
    with pytest.raises(UsageError, match="0 multilabel columns"):
        plsa([make_batch(style=["a"])], SETTINGS)
    two = make_batch(tags=[["a", "b"]], genre=[["x"]])
    with pytest.raises(UsageError, match="choose the words with --column"):
        plsa([two], SETTINGS)
    with pytest.raises(UsageError, match="--as NAME"):
        plsa([plsa([bags], SETTINGS)[0]], SETTINGS)
    with pytest.raises(UsageError, match="no such file"):
        plsa([bags], FactorSettings(apply=str(tmp_path / "none.npz")))
    (tmp_path / "cut.npz").write_bytes(b"PK\3\4 and nothing more")
    with pytest.raises(BrokenTable, match="fit them again"):
        plsa([bags], FactorSettings(apply=str(tmp_path / "cut.npz")))
