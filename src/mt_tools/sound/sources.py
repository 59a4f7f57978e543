"""What people say of the pieces of the made corpus: sources to learn representations from.

Goal: the kinds of label that J. Kim, J. Urbano, C. Liem and A. Hanjalic ("One deep music
representation to rule them all?", Neural Computing and Applications 32, 2020, section 2.2) learn
from, as noisy as they are known to be, with a structure that can be found again. Each says some of
what is audible, and none says all:

- Crowd tags (`tags`) come of a few listeners a piece, more of a popular one, who each say one to
  three things: its style (`CONFUSED` of them another one), its mood by the energy that they
  perceive or by its mode, an instrument (any, in `MISHEARD` of them), its decade. Some misspell it,
  some tag for themselves. A piece that nobody has tagged is unlabelled (null).
- Listeners (`listeners`) like pieces by taste: a mixture of styles, an energy and an era that they
  like best. What is popular is liked more, whoever listens: popularity has a long tail and is not
  audible; nor is what they like for no reason, `WHIMS` of it.
- The library's terms (`library_tags`) are one expert's, without an error, but of albums: the style
  of most pieces and below it the pace (in the style's own range of tempo), the mode of most, and
  each instrument that leads or plays chords on most. A piece may be unlike its album.
- Words of lyrics (`lyrics`) are sung where there is a lead; the others have none (null). Themes go
  with style, energy and mode; three words in five are function words, by Zipf's law.

Conventions: what is drawn for piece i depends on the corpus' seed, the purpose and i alone, for any
number of tracks. Another seed is another audience: its listener 0417 is somebody else.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mt_tools.sound.instruments import BASSES, KITS, MELODIC
from mt_tools.sound.styles import STYLES
from mt_tools.sound.synthesis import (
    ARTISTS_PER_BLOCK,
    PIECES_PER_ARTIST,
    Piece,
    generator,
    plan,
)

LISTENERS = 1000
LIKES = 25.0
"""Likes of a piece of middle popularity by an audience that takes it as it takes others."""
WHIMS = 0.15

TAGGERS = 4.0
CONFUSED = 0.1
MISHEARD = 0.15
MISSPELT = 0.04
PERSONAL = 0.1
PERCEPTION = 0.12
"""Deviation of the energy that a tagger perceives."""

SUNG = 90
"""Words sung in a piece of middle energy."""
FUNCTION_WORDS = 0.6


@dataclass(frozen=True)
class Sources:
    """What is said of one piece: columns of `mt-fetch synth --sources` by their names."""

    tags: tuple[str, ...] | None
    listeners: tuple[str, ...]
    library_tags: tuple[str, ...]
    lyrics: tuple[str, ...] | None


# --- crowd tags ---------------------------------------------------------------------------------

# The first is what most people say.
_STYLE_TAGS = {
    "ambient": ("ambient", "atmospheric", "drone", "chillout"),
    "folk": ("folk", "singer-songwriter", "acoustic", "americana"),
    "hip-hop": ("hip-hop", "hip hop", "rap", "beats"),
    "house": ("house", "dance", "electronic", "club"),
    "jazz": ("jazz", "swing", "bebop", "smooth jazz"),
    "rock": ("rock", "indie rock", "alternative", "hard rock"),
}
_QUIET = ("calm", "mellow", "relaxing", "quiet")
_LOUD = ("energetic", "loud", "party", "powerful")
_MINOR = ("sad", "dark", "melancholic")
_MAJOR = ("happy", "uplifting", "sunny")
_PERSONAL = (
    "seen live", "favourites", "awesome", "albums i own", "to buy", "check out", "my list",
    "good one", "cd", "for the car", "from a friend", "to hear again",
)  # fmt: skip
_INSTRUMENTS = tuple(sorted({*KITS, *BASSES, *MELODIC}))


def _by_rank(names: Sequence[str], rng: np.random.Generator) -> str:
    """Draw one, the first most often: chances fall as 1, 1/2, 1/3 (Zipf)."""
    chances = 1 / np.arange(1, len(names) + 1)
    return names[int(rng.choice(len(names), p=chances / chances.sum()))]


def _misspelt(word: str, rng: np.random.Generator) -> str:
    """Swap two letters that stand side by side."""
    place = int(rng.integers(len(word) - 1))
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _style_tag(piece: Piece, rng: np.random.Generator) -> str:
    style = piece.style
    if rng.random() < CONFUSED:
        style = str(rng.choice([name for name in sorted(STYLES) if name != style]))
    return _by_rank(_STYLE_TAGS[style], rng)


def _mood_tag(piece: Piece, rng: np.random.Generator) -> str:
    energy = rng.normal(piece.energy, PERCEPTION)
    if energy < 0.35:
        return _by_rank(_QUIET, rng)
    if energy > 0.65:
        return _by_rank(_LOUD, rng)
    return _by_rank(_MINOR if piece.key.endswith("minor") else _MAJOR, rng)


def _instrument_tag(piece: Piece, rng: np.random.Generator) -> str:
    return str(rng.choice(_INSTRUMENTS if rng.random() < MISHEARD else piece.instruments))


def _era_tag(piece: Piece, rng: np.random.Generator) -> str:
    year = rng.normal(piece.year, 4.0)
    return f"{int(year) // 10 * 10 % 100:02d}s"


def _tags(piece: Piece) -> tuple[str, ...] | None:
    """Tags of a piece, what most people say first; None where nobody has said anything."""
    rng = generator(piece.seed, "tags")
    said: Counter[str] = Counter()
    kinds = (_style_tag, _mood_tag, _instrument_tag, _era_tag)
    for _ in range(int(rng.poisson(TAGGERS * math.sqrt(_popularity(piece))))):
        for _ in range(int(rng.integers(1, 4))):
            if rng.random() < PERSONAL:
                said[_by_rank(_PERSONAL, rng)] += 1
                continue
            tag = kinds[int(rng.choice(len(kinds), p=(0.4, 0.25, 0.2, 0.15)))](piece, rng)
            said[_misspelt(tag, rng) if rng.random() < MISSPELT else tag] += 1
    return tuple(sorted(said, key=lambda tag: (-said[tag], tag))) or None


# --- listeners ----------------------------------------------------------------------------------


def _popularity(piece: Piece) -> float:
    """How well known a piece is: 1 in the middle, a hundredth part of the pieces over 10."""
    return float(generator(piece.seed, "popularity").lognormal(0.0, 1.0))


@dataclass(frozen=True)
class _Audience:
    """Tastes of the listeners: `styles` [listeners, styles]; the others [listeners]."""

    styles: np.ndarray
    energy: np.ndarray
    year: np.ndarray
    activity: np.ndarray

    def chances(self, piece: Piece) -> np.ndarray:
        """The chance [listeners] that each likes a piece."""
        share = self.styles[:, sorted(STYLES).index(piece.style)] * len(STYLES)
        energy = 2.0 * np.exp(-0.5 * ((piece.energy - self.energy) / 0.2) ** 2)
        era = 2.0 * np.exp(-0.5 * ((piece.year - self.year) / 12.0) ** 2)
        likes = LIKES / LISTENERS * self.activity * _popularity(piece)
        return np.minimum(0.9, likes * ((1 - WHIMS) * share * energy * era + WHIMS))


@functools.lru_cache(maxsize=2)
def _audience(seed: int) -> _Audience:
    rng = generator(seed, "audience")
    return _Audience(
        styles=rng.dirichlet(np.full(len(STYLES), 0.4), LISTENERS),
        energy=rng.uniform(0.1, 0.9, LISTENERS),
        year=rng.uniform(1970, 2022, LISTENERS),
        activity=rng.lognormal(-0.32, 0.8, LISTENERS),  # mean 1
    )


def _listeners(piece: Piece, seed: int) -> tuple[str, ...]:
    chances = _audience(seed).chances(piece)
    liked = generator(piece.seed, "listeners").random(LISTENERS) < chances
    return tuple(f"listener {number + 1:04d}" for number in np.flatnonzero(liked))


# --- the library --------------------------------------------------------------------------------


def _most(values: Sequence[str]) -> str:
    """Return the value that stands most often; of equally many the first."""
    return Counter(values).most_common(1)[0][0]


def _library_tags(album: Sequence[Piece]) -> tuple[str, ...]:
    """Hierarchical terms of an album: its style, and what is special of it below that."""
    style = _most([piece.style for piece in album])
    middle = sum(STYLES[style].tempo) / 2
    below = [
        "fast" if np.mean([piece.tempo for piece in album]) > middle else "slow",
        _most([piece.key.split()[1] for piece in album]),
    ]
    heard = Counter(
        name
        for piece in album
        for name in {piece.parts[part] for part in ("chords", "lead") if part in piece.parts}
    )
    below += sorted(name for name, pieces in heard.items() if pieces > len(album) / 2)
    return (style, *(f"{style} / {term}" for term in below))


# --- lyrics -------------------------------------------------------------------------------------

_FUNCTION_WORDS = (
    "the you i and to a me my in it of your on that is all we for be so with this no now but just "
    "when what can do like up never are if was one go know will from there down at they as or"
)
_THEMES = {
    "love": "love heart kiss hold touch baby eyes arms sweet darling forever yours lips tender",
    "loss": "tears gone cry alone goodbye sorrow broken grave cold empty lost winter ashes mourn",
    "night": "dance night floor lights music move body tonight beat party club feel rhythm",
    "nature": "river sea mountain sky wind moon stars sun rain field bird tree ocean morning",
    "street": "street money city game hustle block police real crew fame mic corner cash king",
    "road": "road train highway home mile town engine drive station leaving travel suitcase bus",
    "revolt": "fight fire burn scream rage war power blood break chains wild storm rebel thunder",
    "dream": "dream sleep float silence breathe slow light fade drift whisper shadow mist echo",
    "bar": "whiskey smoke blues piano glass moonlight lonely melody waltz barroom saloon gin",
    "faith": "god lord pray heaven soul angel bless glory church spirit mercy grace holy amen",
}  # fmt: skip
_SINGS = {
    "ambient": {"dream": 4, "nature": 3, "faith": 1},
    "folk": {"nature": 2, "road": 4, "love": 2, "faith": 1},
    "hip-hop": {"street": 5, "night": 1, "faith": 1},
    "house": {"night": 5, "love": 2, "dream": 1},
    "jazz": {"bar": 4, "love": 3, "dream": 1},
    "rock": {"revolt": 4, "road": 2, "love": 1, "night": 1},
}
_FUNCTION = tuple(_FUNCTION_WORDS.split())
_WORDS = {theme: tuple(words.split()) for theme, words in _THEMES.items()}


def _themes(piece: Piece) -> dict[str, float]:
    """Weights of the themes that a piece may sing of."""
    weights = {theme: 0.25 + _SINGS[piece.style].get(theme, 0.0) for theme in sorted(_WORDS)}
    weights["revolt"] += 3 * max(0.0, piece.energy - 0.5)
    weights["night"] += 3 * max(0.0, piece.energy - 0.5)
    weights["dream"] += 3 * max(0.0, 0.5 - piece.energy)
    weights["loss" if piece.key.endswith("minor") else "love"] += 2.0
    return weights


def _lyrics(piece: Piece) -> tuple[str, ...] | None:
    """Words as they are sung, repeated ones repeated; None for a piece without a lead.

    A song has few themes: its mixture is drawn around the weights (Dirichlet, a total of 4).
    """
    if "lead" not in piece.parts:
        return None
    rng = generator(piece.seed, "lyrics")
    weights = _themes(piece)
    around = np.array(list(weights.values()))
    mixture = rng.dirichlet(4 * around / around.sum())
    names = list(weights)
    words = []
    for _ in range(int(rng.poisson(SUNG * (0.6 + 0.8 * piece.energy)))):
        if rng.random() < FUNCTION_WORDS:
            words.append(_by_rank(_FUNCTION, rng))
        else:
            words.append(_by_rank(_WORDS[names[int(rng.choice(len(names), p=mixture))]], rng))
    return tuple(words)


# --- all of them --------------------------------------------------------------------------------


def draw(tracks: int, seed: int) -> list[Sources]:
    """Return what is said of the first `tracks` pieces of the corpus that `plan` makes of `seed`.

    Piece i depends on `seed` and i alone: albums are judged whole, also where the table ends within
    one. Raises `UsageError` when `tracks` is below one.
    """
    plan(tracks, seed)  # a wrong number is refused in its words
    block = ARTISTS_PER_BLOCK * PIECES_PER_ARTIST
    pieces = plan(math.ceil(tracks / block) * block, seed)
    albums: dict[str, list[Piece]] = {}
    for piece in pieces:
        albums.setdefault(piece.album, []).append(piece)
    terms = {name: _library_tags(album) for name, album in albums.items()}
    return [
        Sources(_tags(piece), _listeners(piece, seed), terms[piece.album], _lyrics(piece))
        for piece in pieces[:tracks]
    ]
