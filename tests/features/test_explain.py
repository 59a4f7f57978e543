"""Factors in words: the terms of planted topics, of mixtures, of labels and of regions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mt_tools.errors import UsageError
from mt_tools.features.explain import (
    LabelShares,
    Said,
    Terms,
    dimension_names,
    factor_terms,
    mixture_terms,
    range_names,
    region_terms,
    strongest,
    terms_of,
    word_names,
)
from mt_tools.features.fitted import Fitted
from mt_tools.features.maps import PRIOR
from mt_tools.features.registry import DESCRIPTORS, ESSENTIA
from mt_tools.features.topics import fit_plsa

TOPICS = (
    ("indie rock", "indie", "british", "Scottish"),
    ("soul", "rnb", "funk", "Neo-Soul"),
    ("Melodic Death Metal", "black metal", "doom metal", "Gothic Metal"),
)
EVERYWHERE = "favourite"


def words(said: list[Said]) -> list[str]:
    """Return terms alone."""
    return [one.term for one in said]


def planted(seed: int) -> tuple[Terms, np.ndarray, np.ndarray]:
    """Return the terms of a pLSA of made counts, its mixtures, and the planted topic of each row.

    A track has six words of its topic, and three times the word that all have.
    """
    rng = np.random.default_rng(seed)
    vocabulary = sorted({word for topic in TOPICS for word in topic} | {EVERYWHERE})
    part = np.arange(90) % 3
    counts = np.zeros((90, len(vocabulary)))
    counts[:, vocabulary.index(EVERYWHERE)] = 3
    for row, topic in enumerate(part):
        for word in rng.choice(TOPICS[topic], 6):
            counts[row, vocabulary.index(word)] += 1
    plsa = fit_plsa(counts, 3)
    found = terms_of(Fitted("plsa", {"terms": plsa.terms}, vocabulary))
    return found, plsa.transform(counts), part


@pytest.mark.parametrize("seed", range(3))
def test_planted_terms_come_back(seed: int) -> None:
    """The table of factors would show the words of others, or of none.

    By weight the word that all tracks have leads each factor, by lift it is in none.
    """
    terms, mixtures, part = planted(seed)
    by_weight = [words(said) for said in factor_terms(terms, 5)]
    by_lift = [words(said) for said in factor_terms(terms, 4, "lift")]
    factors = [int(mixtures[part == topic].mean(axis=0).argmax()) for topic in range(3)]
    assert sorted(factors) == [0, 1, 2]
    for topic, factor in enumerate(factors):
        assert by_weight[factor][0] == EVERYWHERE
        assert {*by_weight[factor][1:]} == {*TOPICS[topic]}
        assert {*by_lift[factor]} == {*TOPICS[topic]}
    for row in (0, 1, 2, 44):
        (said,) = mixture_terms(mixtures[row : row + 1], terms, 4, "lift")
        assert {*words(said)} == {*TOPICS[part[row]]}


def test_weights_and_lifts_are_those_of_the_definition() -> None:
    """Numbers beside the terms would not be what the page says that they are."""
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.full(9, 0.3), 4)
    terms = terms_of(Fitted("plsa", {"terms": weights}, [f"w{i}" for i in range(9)]))
    z = rng.dirichlet(np.ones(4), 5)
    found = mixture_terms(z, terms, 9, "weight")
    drawn = 0.1 / 9
    for row, said in enumerate(found):
        chance = sum(z[row, k] * weights[k] for k in range(4))
        assert sum(one.weight for one in said) == pytest.approx(1)
        assert [one.rank for one in said] == list(range(1, 10))
        assert [one.weight for one in said] == sorted((one.weight for one in said), reverse=True)
        for one in said:
            place = int(one.term[1:])
            assert one.weight == pytest.approx(chance[place])
            mean = weights[:, place].mean()
            assert one.lift == pytest.approx((chance[place] + drawn) / (mean + drawn))


def test_the_mean_of_topics_is_by_their_size() -> None:
    """Lifts would be over a mean in which a topic of ten words weighs as much as one of a million.

    What LDA found with its topics makes the mean that of all words it was fitted to.
    """
    weights = np.array([[0.5, 0.5, 0.0], [0.0, 0.2, 0.8]])
    arrays_ = {"terms": weights, "mass": np.array([300.0, 100.0])}
    terms = terms_of(Fitted("lda", arrays_, ["a", "b", "c"]))
    np.testing.assert_allclose(terms.mean, [0.375, 0.425, 0.2])


def test_lift_brings_rare_terms_up_but_not_the_rarest() -> None:
    """A style of few tracks would never be seen behind "rock", or a typo lead the list.

    `cumbia` is a twentieth as frequent in its factor as `rock`, but of that factor alone; `rokc`
    is a hundred times rarer than the average term.
    """
    names = ["rock", "cumbia", "rokc", *(f"filler {i}" for i in range(17))]
    weights = np.full((4, 20), 0.02)
    weights[:, 0] = 0.4, 0.2, 0.2, 0.2
    weights[:, 1] = 0.02, 0, 0, 0
    weights[:, 2] = 0.0005, 0, 0, 0
    weights /= weights.sum(axis=1, keepdims=True)
    terms = terms_of(Fitted("plsa", {"terms": weights}, names))
    by_weight = next(factor_terms(terms, 3))
    by_lift = next(factor_terms(terms, 3, "lift"))
    assert words(by_weight)[0] == "rock"
    assert words(by_lift)[:2] == ["cumbia", "rock"]
    assert by_lift[0].lift > 2


def test_unknown_mixtures_have_no_terms_and_rows_no_company() -> None:
    """A track without a target would get words, or those of its neighbours in the table."""
    terms, mixtures, _ = planted(0)
    gaps = mixtures[:6].copy()
    gaps[2] = np.nan
    found = mixture_terms(gaps, terms, 3, "lift")
    assert found[2] == []
    assert words(found[4]) == words(mixture_terms(mixtures[4:5], terms, 3, "lift")[0])
    assert mixture_terms(np.full((3, 3), 1 / 3), terms, 5, "lift") == [[], [], []]


@given(arrays(np.float32, (4, 7), elements=st.integers(0, 3).map(float)), st.integers(1, 9))
def test_the_strongest_are_those_of_a_stable_sort(values: np.ndarray, count: int) -> None:
    """Of equal terms others would come up at every call."""
    expected = np.argsort(-values, axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(strongest(values, count), expected)


def test_components_are_ranges() -> None:
    """A tempo would be "factor 17" to its reader."""
    arrays_ = {
        "means": np.array([94.5, 120.2, 160.0]),
        "deviations": np.array([2.6, 4.9, 12.0]),
        "weights": np.array([0.5, 0.3, 0.2]),
    }
    terms = terms_of(Fitted("gmm", arrays_))
    found = list(factor_terms(terms, 5))
    assert [words(said) for said in found] == [["92 to 97"], ["115 to 125"], ["148 to 172"]]
    assert [said[0].weight for said in found] == [0.5, 0.3, 0.2]
    (said,) = mixture_terms(np.array([[0.1, 0.2, 0.7]]), terms, 1, "lift")
    assert words(said) == ["148 to 172"]


@pytest.mark.parametrize(
    ("low", "high", "names"),
    [
        ([1993.6, 1999.9], [1996.4, 2010.1], ["1994 to 1996", "2000 to 2010"]),
        ([0.11, 0.12], [0.14, 0.18], ["0.11 to 0.14", "0.12 to 0.18"]),
        ([-0.3, 5.0], [1.2, 9.0], ["0 to 1", "5 to 9"]),
        ([1990.0, 1990.2], [1991.0, 1991.2], ["1990.0 to 1991.0", "1990.2 to 1991.2"]),
        ([2001.0, 2003.0], [2001.0, 2003.0], ["2001", "2003"]),
    ],
)
def test_ranges_are_written_as_people_write_them(
    low: list[float], high: list[float], names: list[str]
) -> None:
    """Years would have decimals, shares none, or two components the same name."""
    assert range_names(np.array(low), np.array(high)) == names


def test_loadings_of_components_have_signs() -> None:
    """What a component falls with would be taken for what it grows with."""
    directions = np.array([[0.6, -0.8, 0.0], [0.0, 0.1, 0.99]])
    terms = terms_of(Fitted("pca", {"directions": directions}))
    first, second = factor_terms(terms, 3)
    assert [(one.term, one.weight) for one in first] == [
        ("dimension 1", -0.8),
        ("dimension 0", 0.6),
    ]
    assert words(second) == ["dimension 2", "dimension 1"]


def test_words_of_sound_are_named_after_what_is_high_or_low() -> None:
    """A factor of MFCC would be a list of numbers."""
    centres = np.zeros((5, 4))
    centres[0, 2], centres[0, 1], centres[3, 0] = 5.0, -9.0, 2.0
    centres[:, 3] = np.arange(5) * 1e-3
    said = word_names(centres, ["a", "b", "c", "d"])
    assert said[0] in ("word 0 (b low, c high)", "word 0 (c high, b low)")
    assert said[3].startswith("word 3 (a high")
    settings = {"kind": "mfcc", "n_mfcc": 2, "static": True, "deltas": 1}
    fitted = Fitted(
        "agf",
        {"terms": np.eye(2, 5), "centres": centres},
        of={"kind": "feature", "settings": settings},
    )
    names = terms_of(fitted).names
    assert "delta mfcc 0 high" in names[0]
    assert "mfcc 1 low" in names[0]


def test_only_numbers_that_were_kept_name_words_of_songs() -> None:
    """Descriptors that were left out for their gaps would shift the names of all after them."""
    kept = np.ones(len(DESCRIPTORS), bool)
    kept[0] = False
    centres = np.zeros((3, kept.sum()))
    centres[1, 0] = 1.0
    fitted = Fitted(
        "agf",
        {"terms": np.eye(3), "centres": centres, "kept": kept},
        of={"kind": "feature", "settings": {"kind": "descriptors"}},
    )
    assert terms_of(fitted).names[1].startswith(f"word 1 ({DESCRIPTORS[1]} high")


def test_dimensions_have_the_names_of_their_features() -> None:
    """A factor would be explained by a dimension that nobody can look up."""
    assert dimension_names({"kind": "descriptors"}, len(DESCRIPTORS)) == list(DESCRIPTORS)
    essentia = dimension_names({"kind": "essentia"}, sum(ESSENTIA.values()))
    assert len({*essentia}) == len(essentia)
    assert "rhythm.bpm" in essentia
    mfcc = {"kind": "mfcc", "n_mfcc": 20, "static": True, "deltas": 2}
    names = dimension_names(mfcc, 120)  # REP's baseline: mean and deviation
    assert names[0] == "mean of mfcc 0"
    assert names[119] == "deviation of delta 2 mfcc 19"
    assert dimension_names({"kind": "mfcc", "n_mfcc": 3}, 4) == [f"dimension {i}" for i in range(4)]
    assert dimension_names({}, 2) == ["dimension 0", "dimension 1"]


def test_labels_of_factors() -> None:
    """Factors of sound, which have no words, could not be read at all."""
    z = np.zeros((60, 2))
    z[:30, 0] = z[30:, 1] = 0.9
    z[:30, 1] = z[30:, 0] = 0.1
    labels: list[list[str] | None] = [["ambient", "long"]] * 30 + [["drone", "long"]] * 30
    labels[5] = None
    z[6] = np.nan
    shares = LabelShares(2)
    shares.add(z[:20], labels[:20])
    shares.add(z[20:], labels[20:])
    first, second = shares.strongest(3)
    assert words(first) == ["ambient"]  # `long` is everywhere
    assert words(second) == ["drone"]
    # 28 tracks of ambient, 30 of drone; the first factor has .9 of those and .1 of these.
    tracks, ambient = 0.9 * 28 + 0.1 * 30, 0.9 * 28
    assert first[0].weight == pytest.approx(ambient / tracks)
    share = tracks / 58
    assert first[0].lift == pytest.approx((ambient + PRIOR * share) / (28 + PRIOR) / share)
    assert words(shares.strongest(1, "weight")[0]) == ["long"]
    with pytest.raises(UsageError, match="no row has both a label and factors"):
        LabelShares(2).strongest(3)


def test_a_label_of_one_track_does_not_lead() -> None:
    """Each factor would be described by artists of whom there is one song."""
    z = np.tile([0.05, 0.95], (40, 1))
    z[:10] = 0.9, 0.1
    labels = [["ambient"]] * 9 + [["one hit"]] + [["drone"]] * 30
    shares = LabelShares(2)
    shares.add(z, labels)
    first, _ = shares.strongest(2)
    assert words(first) == ["ambient", "one hit"]
    assert first[0].lift > 1.5 * first[1].lift


def test_regions_have_the_terms_of_their_tracks() -> None:
    """A part of the map would be labelled with what is in another."""
    terms, mixtures, part = planted(1)
    parts = [np.flatnonzero(part == topic) for topic in (2, 0, 1)]
    found = region_terms(mixtures, parts, terms, 4, "lift")
    for topic, said in zip((2, 0, 1), found, strict=True):
        assert {*words(said)} == {*TOPICS[topic]}
    mixtures[part == 0] = np.nan
    assert region_terms(mixtures, parts, terms, 4, "lift")[1] == []
    assert region_terms(np.full((90, 3), np.nan), parts, terms, 4, "lift") == [[], [], []]


def test_one_track_is_no_region() -> None:
    """A region of one odd track would outshine all others by its lift."""
    terms, mixtures, part = planted(2)
    few, many = np.flatnonzero(part == 0)[:1], np.flatnonzero(part == 1)
    rest = np.setdiff1d(np.arange(90), np.concatenate([few, many]))
    alone, together, _ = region_terms(mixtures, [few, many, rest], terms, 1, "lift")
    assert 1 < alone[0].lift < together[0].lift


def test_what_has_no_factors_is_refused() -> None:
    """A traceback instead of what to give."""
    with pytest.raises(UsageError, match="mt-factor quantile finds no factors to explain"):
        terms_of(Fitted("quantile", {"quantiles": np.zeros((3, 2))}))
