"""Transforms fitted to frames: against scikit-learn, however the frames come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.preprocessing import StandardScaler

from mt_tools.errors import BrokenTable, UsageError
from mt_tools.features.transforms import Moments, Transform, fit, fitted_on, frames_of
from mt_tools.tables.fitted import FittedOn


def decibels(frames: int, bands: int = 24, seed: int = 0) -> np.ndarray:
    """Return frames [n, bands] as of a mel spectrogram: far from 0, neighbours alike."""
    rng = np.random.default_rng(seed)
    level = rng.normal(-40, 12, (frames, 1))
    tilt = rng.normal(0, 5, (frames, 1)) * np.linspace(-1, 1, bands)
    mixing = np.cumsum(rng.normal(0, 1, (frames, bands)), axis=1)
    return (level + tilt + mixing).astype(np.float32)


def moments_of(frames: np.ndarray, cuts: list[int], covariance: bool = True) -> Moments:
    """Return the moments of frames that come in pieces."""
    moments = Moments(frames.shape[1], covariance)
    for piece in np.split(frames.astype(np.float64), cuts):
        moments.add(piece)
    return moments


def tracks(frames: np.ndarray) -> np.ndarray:
    """Return frames [n, d] as features [d, n]."""
    return frames.T


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(2, 300),
    cuts=st.lists(st.integers(0, 300), max_size=6),
    offset=st.sampled_from([0.0, -80.0, 1e6]),
    seed=st.integers(0, 99),
)
def test_moments_do_not_depend_on_how_the_frames_come(
    frames: int, cuts: list[int], offset: float, seed: int
) -> None:
    """Tracks of unequal length, or far from 0, would be standardised otherwise than all at once."""
    x = np.random.default_rng(seed).normal(offset, 2, (frames, 5))
    for covariance in (False, True):
        found = moments_of(x, sorted(cuts), covariance)
        assert found.count == frames
        np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-12, atol=1e-12)
        expected = np.cov(x.T, bias=True) * frames
        if not covariance:
            expected = np.diag(expected)
        np.testing.assert_allclose(found.scatter, expected, rtol=1e-7, atol=1e-7 * frames)


def test_a_standardiser_is_scikit_learns() -> None:
    """Features would differ from those of everybody else's StandardScaler."""
    x = decibels(3000)
    scaler = StandardScaler()
    for piece in np.split(x.astype(np.float64), [17, 900, 901]):
        scaler.partial_fit(piece)
    found = fit(moments_of(x, [500, 2000], covariance=False), "standardise")
    np.testing.assert_allclose(found.mean, scaler.mean_, rtol=1e-10)
    np.testing.assert_allclose(found.divisors, scaler.scale_, rtol=1e-10)
    made = found.apply(tracks(x))
    assert made.dtype == np.float32
    np.testing.assert_allclose(made.T, scaler.transform(x.astype(np.float64)), atol=1e-5)
    np.testing.assert_allclose(made.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(made.std(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("kept", [1, 7, 24])
def test_principal_components_are_scikit_learns(whiten: bool, kept: int) -> None:
    """Directions or variances would differ from those of everybody else's PCA."""
    x = decibels(4000)
    found = fit(moments_of(x, [100, 101, 3000]), "whiten" if whiten else "pca", kept)
    made = found.apply(tracks(x)).T
    exact = PCA(kept, whiten=whiten, svd_solver="full").fit(x.astype(np.float64))
    # All components in one batch: what IncrementalPCA leaves out of a batch, it has lost.
    piecewise = IncrementalPCA(24, whiten=whiten, batch_size=1000).fit(x.astype(np.float64))
    for other in (exact, piecewise):
        expected = other.transform(x.astype(np.float64))[:, :kept]
        signs = np.sign(np.sum(other.components_[:kept] * found.directions, axis=1))
        np.testing.assert_allclose(made, expected * signs, rtol=1e-5, atol=1e-5 * expected.std())
        np.testing.assert_allclose(found.variances, other.explained_variance_[:kept], rtol=1e-6)
    assert found.share == pytest.approx(exact.explained_variance_ratio_.sum(), rel=1e-6)
    assert found.directions is not None
    largest = np.abs(found.directions).argmax(axis=1)
    assert (found.directions[np.arange(kept), largest] > 0).all()


def test_whitened_frames_have_the_covariance_of_noise() -> None:
    """The misprint of the SEQ study, Lambda^-1, gives variances of 1 / lambda."""
    x = decibels(5000)
    white = fit(moments_of(x, []), "whiten").apply(tracks(x))
    np.testing.assert_allclose(np.cov(white.astype(np.float64)), np.eye(24), atol=1e-4)
    damped = fit(moments_of(x, []), "whiten", epsilon=2.5)
    assert damped.directions is not None
    expected = damped.variances / (damped.variances + 2.5)
    np.testing.assert_allclose(
        np.diag(np.cov(damped.apply(tracks(x)).astype(np.float64))), expected, rtol=1e-3
    )


def test_components_by_their_share_of_the_variance() -> None:
    """Too many directions would be kept, or fewer than the share that was asked for."""
    x = decibels(2000)
    whole = fit(moments_of(x, []), "pca")
    shares = np.cumsum(whole.variances) / whole.total
    for share in (0.5, 0.9, 0.99):
        found = fit(moments_of(x, []), "pca", share)
        assert found.share >= share
        assert found.rows == 1 + int(np.argmax(shares >= share))


def test_what_does_not_vary_is_no_direction_and_divides_by_nothing() -> None:
    """A band of silence would become infinite, or noise."""
    x = decibels(500)
    x[:, 3] = -80.0
    x[:, 5] = x[:, 4]
    flat = fit(moments_of(x, [], covariance=False), "standardise")
    assert flat.divisors[3] == 1.0
    np.testing.assert_array_equal(flat.apply(tracks(x))[3], 0.0)
    white = fit(moments_of(x, []), "whiten")
    assert white.rows == 22
    assert np.isfinite(white.apply(tracks(x))).all()
    with pytest.raises(UsageError, match="vary in 22 directions of 24; ask for fewer"):
        fit(moments_of(x, []), "pca", 23)
    with pytest.raises(UsageError, match="all frames are the same"):
        fit(moments_of(np.ones((9, 4)), []), "pca")
    with pytest.raises(UsageError, match="two frames at least, got 1"):
        fit(moments_of(x[:1], []), "standardise")


@pytest.mark.parametrize("kind", ["standardise", "pca", "whiten"])
def test_stereo_and_vectors_are_frames_too(kind: str) -> None:
    """Left and right would be standardised apart, or a row of statistics be refused."""
    x = decibels(60, 6)
    found = fit(moments_of(x, [], kind != "standardise"), kind, 0 if kind == "standardise" else 4)
    stereo = np.stack([x[:30].T, x[30:].T])
    np.testing.assert_array_equal(frames_of(stereo), x.astype(np.float64))
    np.testing.assert_array_equal(frames_of(x[0]), x[:1].astype(np.float64))
    expected = found.apply(x.T)
    both = found.apply(stereo)
    assert both.shape == (2, found.rows, 30)
    np.testing.assert_allclose(np.concatenate(list(both), axis=1), expected, atol=1e-5)
    np.testing.assert_allclose(found.apply(x[7]), expected[:, 7], atol=1e-5)
    with pytest.raises(UsageError, match="features of 5 bands, the transform was fitted on 6"):
        found.apply(x[:, :5].T)


@pytest.mark.parametrize("kind", ["standardise", "whiten"])
def test_a_transform_is_the_same_when_read_again(kind: str) -> None:
    """A model would be trained on one transform and applied to another of the same name."""
    moments = moments_of(decibels(200, 6), [], kind != "standardise")
    on = FittedOn.of(["a", "b"], ["train", "train"])
    found = fitted_on(fit(moments, kind), {"kind": "mel", "bands": 6}, on)
    again = Transform.from_text(found.to_text(), "it")
    assert again.label == found.label
    assert again.label.startswith(f"{kind}:6:")
    assert again.settings == {"kind": "mel", "bands": 6}
    assert again.fitted_on == on
    assert again.to_bytes() == found.to_bytes()
    x = decibels(10, 6, seed=1).T
    np.testing.assert_array_equal(again.apply(x), found.apply(x))
    other: Any = fitted_on(found, {"kind": "mel", "bands": 6, "hop": 100}, on)
    assert other.label != found.label


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut"])
def test_what_is_no_transform_is_named(content: bytes) -> None:
    """A wrong file after --apply would end in a traceback."""
    with pytest.raises(BrokenTable, match=r"--apply x\.npz: not a fitted transform of mt-spec"):
        Transform.from_bytes(content, "--apply x.npz")
    with pytest.raises(BrokenTable, match="fit it again"):
        whole = fit(moments_of(decibels(9, 3), []), "pca").to_bytes()
        Transform.from_bytes(whole[: len(whole) // 2], "it")
