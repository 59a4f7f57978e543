"""What people say of the pieces of the made corpus: structure and noise are as they are described."""

from __future__ import annotations

import functools
import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest

from mt_tools.errors import UsageError
from mt_tools.sound.instruments import BASSES, KITS, MELODIC
from mt_tools.sound.sources import LISTENERS, Sources, draw
from mt_tools.sound.styles import STYLES
from mt_tools.sound.synthesis import Piece, plan

TRACKS = 480
SEEDS = (0, 1, 2)
INSTRUMENTS = {*KITS, *BASSES, *MELODIC}


@functools.cache
def corpus(seed: int) -> tuple[list[Piece], list[Sources]]:
    """Pieces, and what is said of them."""
    return plan(TRACKS, seed), draw(TRACKS, seed)


def test_more_tracks_change_nothing_of_the_first() -> None:
    """A larger corpus of one seed would contradict the smaller one.

    The 61 end within a block of 48 and within an album, whose terms must be those of all its pieces.
    """
    longer = draw(120, 4)
    for tracks in (1, 48, 61):
        assert draw(tracks, 4) == longer[:tracks]
    assert draw(48, 5) != longer[:48]
    with pytest.raises(UsageError, match="--tracks 1 or more"):
        draw(0, 4)


@pytest.mark.parametrize("seed", SEEDS)
def test_listeners_have_tastes(seed: int) -> None:
    """There would be nothing to learn from who likes what.

    A listener's pieces are of fewer styles, closer in energy and in year, than as many drawn by how
    often each is liked: popularity alone would explain those.
    """
    pieces, said = corpus(seed)
    liked = defaultdict(list)
    for number, one in enumerate(said):
        assert list(one.listeners) == sorted(set(one.listeners))
        for listener in one.listeners:
            liked[listener].append(number)
    assert 0.9 * LISTENERS < len(liked) <= LISTENERS
    rng = np.random.default_rng(seed)
    popular = np.array([len(one.listeners) for one in said], float)
    styles = np.array([piece.style for piece in pieces])
    energy = np.array([piece.energy for piece in pieces])
    year = np.array([piece.year for piece in pieces])
    theirs, chance = [], []
    for numbers in liked.values():
        if len(numbers) >= 8:
            drawn = rng.choice(TRACKS, len(numbers), replace=False, p=popular / popular.sum())
            for found, into in ((numbers, theirs), (drawn, chance)):
                most = max(Counter(styles[found]).values()) / len(found)
                into.append((most, energy[found].std(), year[found].std()))
    most, spread, years = np.mean(theirs, axis=0) / np.mean(chance, axis=0)
    assert most > 1.3
    assert spread < 0.9
    assert years < 0.9


def test_popularity_has_a_long_tail() -> None:
    """Recommenders and factors would meet an audience that likes all pieces alike."""
    likes = np.sort([len(one.listeners) for one in corpus(0)[1]])[::-1]
    assert likes[: TRACKS // 10].sum() > 0.25 * likes.sum()
    assert np.median(likes) < 0.8 * likes.mean()


@pytest.mark.parametrize("seed", SEEDS)
def test_crowd_tags_are_right_more_often_than_not_and_not_always(seed: int) -> None:
    """Tags would say nothing of the sound, or would be labels without the noise of a crowd."""
    pieces, said = corpus(seed)
    heard, right, by_style = 0, 0, 0.0
    chance = np.mean([len(piece.instruments) for piece in pieces]) / len(INSTRUMENTS)
    for piece, one in zip(pieces, said, strict=True):
        for tag in set(one.tags or ()) & INSTRUMENTS:
            heard += 1
            right += tag in piece.instruments
    assert chance < 0.35
    assert 0.7 < right / heard < 0.95
    tagged = [(p, one.tags) for p, one in zip(pieces, said, strict=True) if one.tags]
    for style in sorted(STYLES):
        own = np.mean([style in tags for piece, tags in tagged if piece.style == style])
        other = np.mean([style in tags for piece, tags in tagged if piece.style != style])
        assert own > 3 * other > 0, style
        by_style += own / len(STYLES)
    assert by_style < 0.9, "nobody would forget to tag a style"
    loud = [p.energy for p, tags in tagged if {"energetic", "loud"} & set(tags)]
    quiet = [p.energy for p, tags in tagged if {"calm", "mellow"} & set(tags)]
    assert np.mean(loud) > np.mean(quiet) + 0.2
    assert 0 < TRACKS - len(tagged) < 0.2 * TRACKS, "some pieces are tagged by nobody"
    words = Counter(tag for _, tags in tagged for tag in tags)
    assert words["seen live"] > 10, "personal tags"
    assert sum(count == 1 for count in words.values()) > 20, "misspelt tags are rare words"


@pytest.mark.parametrize("seed", SEEDS)
def test_library_terms_are_those_of_the_album(seed: int) -> None:
    """The professional source would differ within an album, or be wrong of what it says."""
    pieces, said = corpus(seed)
    albums = defaultdict(list)
    for piece, one in zip(pieces, said, strict=True):
        albums[piece.album].append((piece, one.library_tags))
    own = 0
    for album in albums.values():
        terms = album[0][1]
        assert all(other == terms for _, other in album)
        assert all(term == terms[0] or term.startswith(f"{terms[0]} / ") for term in terms)
        inside = [piece for piece, _ in album]
        styles = Counter(piece.style for piece in inside)
        assert styles[terms[0]] == max(styles.values())
        below = {term.split(" / ")[1] for term in terms[1:]}
        tempo = np.mean([piece.tempo for piece in inside])
        assert ("fast" in below) == (tempo > np.mean(STYLES[terms[0]].tempo))
        assert ("slow" in below) != ("fast" in below)
        for name in below & INSTRUMENTS:
            assert sum(name in piece.instruments for piece in inside) > len(inside) / 2
        own += styles[terms[0]]
    assert 0.7 * TRACKS < own < TRACKS, "some pieces are unlike their albums"


@pytest.mark.parametrize("seed", SEEDS)
def test_lyrics_follow_style_and_are_sung_over_a_lead(seed: int) -> None:
    """Lyrics would be the same everywhere, or be there where nobody sings.

    Of two halves of the corpus, each style's words are nearest to its own in the other half, once
    words that all sing are weighed down (as TF-IDF does).
    """
    pieces, said = corpus(seed)
    for piece, one in zip(pieces, said, strict=True):
        assert (one.lyrics is None) == ("lead" not in piece.parts)
    sung = [(p, one.lyrics) for p, one in zip(pieces, said, strict=True) if one.lyrics]
    vocabulary = sorted({word for _, words in sung for word in words})
    place = {word: number for number, word in enumerate(vocabulary)}
    counts = np.zeros((len(sung), len(vocabulary)))
    for row, (_, words) in enumerate(sung):
        for word in words:
            counts[row, place[word]] += 1
    total = np.sort(counts.sum(axis=0))[::-1]
    assert total[0] > 5 * total[9], "function words fall off as Zipf's law says"
    weights = counts * np.log(len(sung) / (counts > 0).sum(axis=0))
    styles = np.array([piece.style for piece, _ in sung])
    halves = []
    for half in (0, 1):
        rows = np.arange(len(sung)) % 2 == half
        means = np.array([weights[rows & (styles == name)].mean(axis=0) for name in STYLES])
        halves.append(means / np.linalg.norm(means, axis=1, keepdims=True))
    near = halves[0] @ halves[1].T
    assert near.argmax(axis=1).tolist() == list(range(len(STYLES)))
    assert max(near[a, b] for a, b in itertools.permutations(range(len(STYLES)), 2)) < 0.98
