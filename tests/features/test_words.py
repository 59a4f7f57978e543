"""Dictionaries: planted clusters are found."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

from mt_tools.errors import UsageError
from mt_tools.features.words import FrameSample, fit_words


@pytest.fixture(scope="module")
def clusters():
    """Return far centres and frames around them, of tracks that hold one or two clusters each."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 5)).astype(np.float32) * 20
    tracks = {}
    for number in range(60):
        mine = rng.choice(12, size=2)
        noise = rng.normal(size=(80, 5)).astype(np.float32)
        tracks[f"t{number}"] = centres[rng.choice(mine, size=80)] + noise
    return centres, tracks


def sampled(tracks, most, seed=0):
    """Return a sample of the frames of tracks."""
    sample = FrameSample(most, seed)
    for name, frames in tracks.items():
        sample.add(name, frames)
    return sample


def test_planted_clusters_are_found(clusters):
    """The words of a bag of frames would not be what the frames gather around."""
    centres, tracks = clusters
    found = fit_words(sampled(tracks, 4000).frames(), 12)
    distances = np.linalg.norm(found[:, None] - centres, axis=2)
    mine, theirs = linear_sum_assignment(distances)
    assert distances[mine, theirs].max() < 0.5  # noise of 1 over some 400 frames a cluster


def test_words_are_as_near_as_those_of_lloyd(clusters):
    """Mini-batches would give a worse dictionary than K-means itself (scikit-learn's Lloyd)."""
    rng = np.random.default_rng(3)
    frames = rng.normal(size=(3000, 4)).astype(np.float32)  # no clusters at all

    def spread(centres):
        return np.min(((frames[:, None] - centres) ** 2).sum(axis=2), axis=1).mean()

    lloyd = KMeans(20, n_init=3, random_state=0).fit(frames).cluster_centers_
    assert spread(fit_words(frames, 20)) < 1.05 * spread(lloyd)


def test_a_sample_is_fair_and_does_not_know_the_order(clusters):
    """A library sorted by genre would give words of its first genre alone."""
    _, tracks = clusters
    backwards = dict(reversed(tracks.items()))
    sample = sampled(tracks, 500)
    np.testing.assert_array_equal(sample.frames(), sampled(backwards, 500).frames())
    assert sample.seen == 60 * 80
    assert not np.array_equal(sample.frames(), sampled(tracks, 500, seed=1).frames())
    # Each of many tracks gives its share: 6000 of 60,000, 100 each with a deviation of 9.5.
    many = {str(n): np.full((1000, 1), n, np.float32) for n in range(60)}
    shares = np.bincount(sampled(many, 6000).frames()[:, 0].astype(int), minlength=60)
    assert shares.sum() == 6000
    assert abs(shares - 100).max() < 50
    everything = sampled(tracks, 10_000).frames()
    assert sorted(map(tuple, everything)) == sorted(
        map(tuple, np.concatenate(list(tracks.values())))
    )


def test_words_are_repeatable(clusters):
    """The same command would write another dictionary the next day."""
    frames = sampled(clusters[1], 4000).frames()
    np.testing.assert_array_equal(fit_words(frames, 12, 5), fit_words(frames, 12, 5))


def test_more_words_than_frames_are_refused(clusters):
    """A warning of scikit-learn and words that nothing is nearest to."""
    frames = np.zeros((50, 2), np.float32)
    frames[:3] = [[1, 1], [2, 2], [3, 3]]
    with pytest.raises(UsageError, match="4 different frames; ask for fewer"):
        fit_words(frames, 5)
    with pytest.raises(UsageError, match="no train rows"):
        FrameSample(10).frames()
