"""mt-embed without its command: every way to a vector gives the same vector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import SettingsMismatch, UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.build import build_multitask
from mt_tools.nets.model import Model
from mt_tools.nets.weights import resolve
from mt_tools.stages import embed, spec
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

FEATURES = FeatureSettings(
    sample_rate=8000, n_fft=512, hop=256, bands=24, scale="log", excerpt="segment:0.7"
)


@pytest.fixture(scope="module")
def small() -> Model:
    """An untrained convolutional network on segments of 0.7 s."""
    net = build_multitask("cnn", {"channels": [8, 8], "dropout": 0.0}, (24, 22), {}, seed=3)
    net.eval()
    source = {"kind": "feature", "settings": FEATURES.to_json(), "shape": [24, 22]}
    return Model.create(
        net, name="small", arch="cnn", parameters={"channels": [8, 8], "dropout": 0.0}, input=source
    )


def run(batches: Any, model: Model, fail: Any, folder: Path, **options: Any) -> Batch:
    """Embed in this process; return all rows as one batch."""
    batches = list(batches)
    settings: dict[str, Any] = {
        "how": "", "segment": 0.0, "chosen": "", "name": "embedding", "typed": model.name,
        "keep": False, "batch_size": 5,
    } | options  # fmt: skip
    made = embed.run(
        batches, batches[0].columns, model, folders=[str(folder)], jobs=0, fail=fail, **settings
    )
    (batch,) = made
    return batch


@pytest.mark.parametrize(("how", "factor"), [("mean", 1), ("mean+std", 2), ("concat:3", 3)])
def test_tracks_and_features_give_the_same_vectors(
    few: Any, corpus: Path, failures: Any, small: Model, how: str, factor: int
) -> None:
    """A pipeline with mt-spec in it and one without must agree, to 1e-5, ids and all."""
    tracks = list(few)
    direct = run(tracks, small, failures, corpus, how=how)
    mels = list(
        spec.run(
            tracks, FEATURES, name="mel", half=False, folders=[str(corpus)], jobs=0, fail=failures
        )
    )
    assert len(mels[0]) == 16
    through = run(mels, small, failures, corpus, how=how)
    assert (
        through.ids.tolist() == direct.ids.tolist() == [f"synth-000{i}.flac" for i in (1, 2, 3, 4)]
    )
    assert direct["embedding"].shape == (4, factor * small.width)
    np.testing.assert_allclose(through["embedding"], direct["embedding"], atol=1e-5)
    for batch in (direct, through):
        said = batch.columns["embedding"].settings
        assert said == {
            "model": "small", "digest": small.digest, "pooling": how, "excerpt": "segment:0.7",
        }  # fmt: skip
        assert "mel" not in batch


@pytest.mark.parametrize("how", ["", "none"])
def test_unpooled_segments_are_rows_each(
    few: Any, corpus: Path, failures: Any, small: Model, how: str
) -> None:
    """Without pooling every segment has its vector: none may be dropped on the way."""
    tracks = [next(few).take([0, 1])]
    direct = run(tracks, small, failures, corpus, how=how)
    assert direct.ids[:4].tolist() == [f"synth-0001.flac@{s}" for s in ("0", "0.7", "1.4", "2.1")]
    mels = spec.run(
        tracks, FEATURES, name="mel", half=False, folders=[str(corpus)], jobs=0, fail=failures
    )
    through = run(mels, small, failures, corpus, how=how)
    assert through.ids.tolist() == direct.ids.tolist()
    np.testing.assert_allclose(through["embedding"], direct["embedding"], atol=1e-5)
    # Pooled by hand they are the pooled vectors.
    pooled = run(tracks, small, failures, corpus, how="mean+std")["embedding"][0]
    mine = direct["embedding"][:4]
    np.testing.assert_allclose(pooled, [*mine.mean(axis=0), *mine.std(axis=0)], atol=1e-5)


def test_batch_size_changes_nothing(few: Any, corpus: Path, failures: Any, small: Model) -> None:
    """Across batch sizes vectors agree to 1e-5."""
    tracks = list(few)
    one, many = (
        run(tracks, small, failures, corpus, how="mean", batch_size=size) for size in (1, 100)
    )
    np.testing.assert_allclose(one["embedding"], many["embedding"], atol=1e-5)


def test_mfcc_statistics_are_those_of_the_frames(few: Any, corpus: Path, failures: Any) -> None:
    """The baseline is mean and deviation of 60 rows of librosa-like MFCC, 120 numbers."""
    tracks = [next(few).take([0])]
    found = run(tracks, resolve("mfcc-stats"), failures, corpus)["embedding"]
    settings = FeatureSettings(kind="mfcc", n_mfcc=20, deltas=2)
    (frames,) = spec.run(
        tracks, settings, name="mfcc", half=False, folders=[str(corpus)], jobs=0, fail=failures
    )
    rows = frames["mfcc"][0]
    expected = np.concatenate([rows.mean(axis=1), rows.std(axis=1)])
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-4)


def test_features_of_other_settings_are_refused_spelled_out(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """A network fed with foreign features gives numbers without meaning."""
    mel = np.zeros((1, 24, 22), np.float32)
    other = {**FEATURES.to_json(), "hop": 128, "mel_scale": "htk"}
    with pytest.raises(SettingsMismatch, match=r"hop: got 128, expected 256; mel_scale: got 'htk'"):
        run([make_batch(other, mel=mel)], small, failures, tmp_path)
    with pytest.raises(SettingsMismatch, match="does not say how it was made"):
        run([make_batch(mel=mel)], small, failures, tmp_path)
    with pytest.raises(UsageError, match="no column 'x'"):
        run([make_batch(FEATURES.to_json(), mel=mel)], small, failures, tmp_path, chosen="x")


def test_features_of_another_length_fit_a_network_of_any_length(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """Excerpt and frames are no mismatch for a network that takes any number of frames."""
    rng = np.random.default_rng(0)
    settings = {**FEATURES.to_json(), "excerpt": "first:2"}
    batch = make_batch(settings, mel=rng.normal(size=(2, 24, 63)).astype(np.float32))
    assert run([batch], small, failures, tmp_path)["embedding"].shape == (2, small.width)


def test_a_row_whose_features_are_not_finite_is_reported(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """An infinite vector in an embedding table breaks every fit that reads it."""
    mel = np.zeros((3, 24, 22), np.float32)
    mel[1, 0, 0] = np.inf
    made = run([make_batch(FEATURES.to_json(), mel=mel)], small, failures, tmp_path)
    assert made.ids.tolist() == ["t0", "t2"]
    assert failures == [("t1", "not-finite")]


def test_an_existing_column_is_not_overwritten(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """Hours of embeddings must not be lost to a second call."""
    batch = make_batch(path=["x"], embedding=np.ones((1, 4), np.float32))
    with pytest.raises(UsageError, match="--as NAME"):
        run([batch], small, failures, tmp_path)


def test_lengths_of_segments(failures: Any, small: Model, make_batch: Any, tmp_path: Path) -> None:
    """--segment is asked for where nothing says how long, and refused where all is cut."""
    with pytest.raises(UsageError, match="--segment S"):
        run([make_batch(path=["x"])], resolve("mfcc-stats"), failures, tmp_path, how="mean")
    mel = np.zeros((1, 24, 22), np.float32)
    with pytest.raises(UsageError, match="--segment has no effect"):
        run([make_batch(FEATURES.to_json(), mel=mel)], small, failures, tmp_path, segment=3.0)


@pytest.mark.parametrize("how", ["max", "concat:0", "mean+", "concat"])
def test_unknown_poolings_are_answered_with_the_known(how: str) -> None:
    """A typing error is met before anything is decoded."""
    with pytest.raises(UsageError, match=r"expected mean, mean\+std, concat:N or none"):
        embed.check_pool(how)


def test_columns_of_a_batch_are_kept_on_request(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """--keep leaves the features, which are dropped otherwise; labels always pass."""
    mel = np.zeros((1, 24, 22), np.float32)
    batch = make_batch(FEATURES.to_json(), mel=mel, genre=["x"])
    assert "mel" not in run([batch], small, failures, tmp_path)
    kept = run([batch], small, failures, tmp_path, keep=True)
    assert {"mel", "genre", "embedding"} <= set(kept.names)
    assert isinstance(kept.columns["embedding"], Column)
