"""The data sets that have a name here. Standard library only.

A declaration says where the files of a data set are, how they are called and which of them are at
fault, each with its source. Of faults only what at least two independent sources agree on is
declared; what a list leaves out is said where it stands.
"""

from __future__ import annotations

from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.declarations import genre, sounds, tags
from mt_tools.errors import UsageError


def dataset(name: str) -> Dataset:
    """Return a data set; a wrong name raises `UsageError` with the right ones."""
    if name not in DATASETS:
        raise UsageError(
            f"no data set {name!r} is declared: expected {', '.join(DATASETS)}, mirdata:NAME or "
            "hf:REPO"
        )
    return DATASETS[name]


DATASETS: dict[str, Dataset] = {
    data.name: data
    for data in (
        genre.GTZAN,
        genre.GTZAN_MUSIC_SPEECH,
        genre.FMA,
        genre.BALLROOM,
        genre.EXTENDED_BALLROOM,
        tags.MAGNATAGATUNE,
        tags.MTG_JAMENDO,
        tags.MTG_JAMENDO_LOW,
        tags.MILLION_SONG,
        tags.MUSIXMATCH,
        tags.THIS_IS_MY_JAM,
        sounds.IRMAS,
        sounds.NSYNTH,
        sounds.PHILHARMONIA,
        sounds.EMOMUSIC,
        sounds.DEAM,
        sounds.ESC50,
        sounds.URBANSOUND8K,
    )
}
"""Every declared data set, by name."""
