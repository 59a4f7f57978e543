"""Dictionaries: planted clusters are found, and each frame has the word that is nearest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from mt_tools.errors import UsageError
from mt_tools.features import words
from mt_tools.features.words import (
    Dictionary,
    FrameSample,
    WordCounts,
    fit_words,
    frames_of,
    nearest,
    sample_size,
)


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


def test_a_sample_holds_little_more_than_it_gives(monkeypatch):
    """A library of any size would fill the memory before the dictionary is begun."""
    rng = np.random.default_rng(0)
    tracks = {str(number): rng.normal(size=(40, 3)).astype(np.float32) for number in range(300)}
    sample, held = FrameSample(1000), 0
    for name, frames in tracks.items():
        sample.add(name, frames)
        held = max(held, sum(piece.nbytes for piece in sample._frames))
    assert held <= 1.25 * 1000 * 12
    assert sample.frames().shape == (1000, 3)
    # What is let go on the way is what would not have been in the sample anyway.
    monkeypatch.setattr(FrameSample, "_settle", lambda self: None)
    everything = sampled(tracks, 1000).frames()
    np.testing.assert_array_equal(sample.frames(), everything[:1000])


def test_wide_frames_are_fewer():
    """2,048 words of the study's 4,374 descriptors would ask for 9 GB."""
    assert sample_size(2048, 25) == 2048 * 256
    assert sample_size(1024, 96) == 1024 * 256
    assert sample_size(2048, 4374) * 4374 * 4 <= words.SAMPLE_BYTES
    assert sample_size(2048, 4374) > 25_000  # all songs of the study
    assert sample_size(100, 10**9) == 100  # as many as words, at the least


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 300),
    size=st.integers(1, 40),
    width=st.integers(1, 12),
    middle=st.sampled_from([0.0, 1.0, -500.0, 1e4]),
)
def test_a_frame_has_the_word_that_is_nearest(seed, count, size, width, middle):
    """Counts would be of other words than the dictionary's, above all far from the origin."""
    rng = np.random.default_rng(seed)
    centres = (rng.normal(size=(size, width)) + middle).astype(np.float32)
    frames = (rng.normal(size=(count, width)) + middle).astype(np.float32)
    found = nearest(frames, centres)
    assert found.shape == (count,)
    if not count:
        return
    distances = cdist(frames.astype(np.float64), centres.astype(np.float64), "sqeuclidean")
    chosen = distances[np.arange(count), found]
    assert (chosen <= distances.min(axis=1) + 1e-4).all()  # frames that lie between two words


def test_of_equally_near_words_the_first(monkeypatch):
    """The same track would have other words in a table than in a network."""
    centres = np.array([[2, 0], [0, 2], [2, 0], [-2, 0], [0, -2]], np.float32)
    frames = np.array([[2, 0], [1, 1], [-1, -1], [0, 0], [0, 2]], np.float32)
    assert nearest(frames, centres).tolist() == [0, 0, 3, 0, 1]
    monkeypatch.setattr(words, "_BLOCK_BYTES", 40)  # two frames at a time
    assert nearest(frames, centres).tolist() == [0, 0, 3, 0, 1]
    with pytest.raises(UsageError, match=r"\[5, 2\], expected \[frames, 3\]"):
        nearest(frames, np.eye(3))


def test_frames_of_channels_stand_side_by_side():
    """Left and right would be two frames of half the width."""
    stereo = np.arange(24).reshape(2, 3, 4)
    assert frames_of(stereo).shape == (4, 6)
    assert frames_of(stereo)[1].tolist() == [1, 5, 9, 13, 17, 21]
    assert frames_of(stereo[0]).tolist() == stereo[0].T.tolist()
    assert frames_of(np.arange(3)).tolist() == [[0, 1, 2]]


def test_counts_add_up(monkeypatch):
    """Words of an artist would be lost, or counted for another."""
    monkeypatch.setattr(words, "_PENDING", 50)
    rng = np.random.default_rng(0)
    counts, expected = WordCounts(30), np.zeros((9, 30), int)
    for _ in range(40):
        owner, said = int(rng.integers(8)), rng.integers(30, size=rng.integers(25))
        counts.add(owner, said)
        np.add.at(expected[owner], said, 1)
        if rng.random() < 0.1:
            np.testing.assert_array_equal(counts.matrix(9).toarray(), expected)
    np.testing.assert_array_equal(counts.matrix(9).toarray(), expected)  # the ninth says nothing
    assert counts.matrix(9).nnz == (expected > 0).sum()
    assert WordCounts(3).matrix(0).shape == (0, 3)


def test_a_dictionary_is_known_again():
    """Counts by two dictionaries would be taken for counts of the same words."""
    one = Dictionary(np.eye(2, dtype=np.float32), {"kind": "embedding", "width": 2})
    kept = Dictionary.from_bytes(one.to_bytes([{"command": "mt-factor kmeans"}]), "d.npz")
    assert kept.digest == one.digest  # whoever made it
    assert kept.of == one.of
    np.testing.assert_array_equal(kept.centres, one.centres)
    other = Dictionary(2 * np.eye(2, dtype=np.float32), {"kind": "embedding", "width": 2})
    assert other.digest != one.digest
