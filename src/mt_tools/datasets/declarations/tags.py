"""Data sets of tags and listeners: MagnaTagATune, MTG-Jamendo, the Million Song Dataset, jams."""

from __future__ import annotations

import re
from pathlib import Path

from mt_tools.datasets.declaration import Dataset, Fault, Remote

_MIRG = "https://mirg.city.ac.uk/datasets/magnatagatune/"
_SOI = "http://mi.soi.city.ac.uk/datasets/magnatagatune/"  # its old address

# MD5 as public loaders have them: those of the three pieces in several that agree, those of the
# tables in one.
_MTT_MD5 = {
    "mp3.zip.001": "179c91c8c2a6e9b3da3d4e69d306fd3b",
    "mp3.zip.002": "acf8265ff2e35c6ff22210e46457a824",
    "mp3.zip.003": "582dc649cabb8cd991f09e14b99349a5",
    "annotations_final.csv": "f04fa01752a8cc64f6e1ca142a0fef1d",
    "clip_info_final.csv": "03ef3cb8ddcfe53fdcdb8e0cda005be2",
}

MAGNATAGATUNE = Dataset(
    name="magnatagatune",
    title="MagnaTagATune: 25,863 clips of 29 s, 188 tags given by players of a game",
    home="https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset",
    citation=(
        "E. Law, K. West, M. Mandel, M. Bay and J. S. Downie, "
        '"Evaluation of algorithms using games: the case of music tagging", ISMIR 2009'
    ),
    licence="CC BY-NC-SA 3.0",
    index="mt_tools.datasets.magnatagatune:index",
    tiny="mt_tools.datasets.magnatagatune:make_tiny",
    labels={
        "tags": "the tags of the clip that are in the set; [] where none is",
        "artist": "name of the artist",
        "album": "title of the album",
        "title": "title of the song",
    },
    kinds={"tags": "strings"},
    files=tuple(
        Remote(
            _MIRG + name,
            checksum=f"md5:{md5}",
            mirrors=(_SOI + name,),
            unpack="mp3" if name.startswith("mp3") else None,
            piece_of="mp3.zip" if name.startswith("mp3") else "",
        )
        for name, md5 in _MTT_MD5.items()
    ),
    sets=("top50", "all"),
    splits=("folders", "won2020"),
    group="song: its clips are never in two parts; `artist` is a label, to group by if you like",
    apart=("folders", "won2020"),
    counts={"top50": 25863, "all": 25863},
    notes={
        "top50": "the fifty tags of most clips, the usual vocabulary",
        "all": "all 188 tags",
        "folders": (
            "folders 0 to b to train, c to validate, d to f to test, every clip (K. Choi, G. "
            "Fazekas and M. Sandler 2016 and most since); songs are apart, 45 artists are not: "
            "their tracks train and test"
        ),
        "won2020": (
            "the same folders (12:1:3), but a clip with none of the fifty tags is in no part (M. "
            "Won, A. Ferraro, D. Bogdanov and X. Serra 2020: 21,108 clips; the lists of J. Lee et "
            "al. 2017 have 15,244, 1,529 and 4,332 of them)"
        ),
    },
    file=re.compile(r"\b[0-9a-f]/[^/]+-\d+-\d+(?=\.\w+$|$)"),
    faults=(
        Fault(
            "damaged",
            "an empty file",
            (
                ("6/norine_braun-now_and_zen-08-gently-117-146",),
                (
                    "8/jacob_heringman-josquin_des_prez_lute_settings-19-gintzler__pater_noster-"
                    "204-233",
                ),
                (
                    "9/american_baroque-dances_and_suites_of_rameau_and_couperin-25-"
                    "le_petit_rien_xiveme_ordre_couperin-88-117",
                ),
            ),
            "reported by many users of the archive",
        ),
    ),
)

_JAMENDO = "https://cdn.freesound.org/mtg-jamendo/"
_JAMENDO_SLOW = "https://essentia.upf.edu/documentation/datasets/mtg-jamendo/"
_RAW_SETS = ("all", "top50tags", "genre", "instrument")


def _tars(folder: str, sets: tuple[str, ...]) -> tuple[Remote, ...]:
    """Return the hundred archives of a folder; SHA-256 as the data set's repository has them."""
    listed = Path(__file__).parent.parent / "data" / f"jamendo-{folder.replace('/', '_')}.sha256"
    return tuple(
        Remote(
            f"{_JAMENDO}{folder}/{name}",
            checksum=f"sha256:{digest}",
            mirrors=(f"{_JAMENDO_SLOW}{folder}/{name}",),
            unpack="audio",
            sets=sets,
        )
        for digest, name in map(str.split, listed.read_text().splitlines())
    )


def _jamendo(name: str, kind: str, ending: str, size: str, moods: str) -> Dataset:
    return Dataset(
        name=name,
        title=f"MTG-Jamendo: 55,609 whole tracks, 195 tags, {kind}",
        home="https://github.com/MTG/mtg-jamendo-dataset",
        citation=(
            "D. Bogdanov, M. Won, P. Tovstogan, A. Porter and X. Serra, "
            '"The MTG-Jamendo Dataset for Automatic Music Tagging", ML4MD Workshop, ICML 2019'
        ),
        licence="metadata CC BY-NC-SA 4.0; each track under its own Creative Commons licence",
        index="mt_tools.datasets.jamendo:index",
        tiny="mt_tools.datasets.jamendo:make_tiny",
        labels={"tags": "category and tag, as `genre---rock`, `mood/theme---happy`"},
        kinds={"tags": "strings"},
        files=(
            # MD5 as mirdata has it.
            Remote(
                "https://zenodo.org/record/3826813/files/data.zip?download=1",
                checksum="md5:039ce10f267f6e4e9f72837c76d72b2f",
                name="data.zip",
                unpack=".",
            ),
            *_tars(f"raw_30s/audio{ending}", _RAW_SETS),
            *_tars(f"autotagging_moodtheme/audio{ending}", ("moodtheme",)),
        ),
        sets=(*_RAW_SETS, "moodtheme"),
        splits=tuple(f"split-{number}" for number in range(5)),
        official="split-0",
        group="artist",
        apart=tuple(f"split-{number}" for number in range(5)),
        counts={
            # README of the repository, and the lines of its lists.
            "all": 55525,
            "moodtheme:train": 9949,
            "moodtheme:valid": 3802,
            "moodtheme:test": 4231,
            "instrument:train": 14395,
            "instrument:valid": 5466,
            "instrument:test": 5115,
            "genre:train": 32572,
            "genre:valid": 11043,
            "genre:test": 11479,
            "top50tags:train": 32136,
            "top50tags:valid": 10888,
            "top50tags:test": 11356,
            "all:valid": 11101,
            "all:test": 11565,
        },
        notes={
            "all": f"87 genres, 40 instruments, 56 moods and themes ({size})",
            "top50tags": f"the fifty tags of most tracks ({size})",
            "genre": f"87 genres ({size})",
            "instrument": f"40 instruments ({size})",
            "moodtheme": f"56 moods and themes, as in MediaEval 2019 to 2021 ({moods})",
            "split-0": "the split that most report; tags and tracks as the lists of the split "
            "have them, artists apart; split-1 to split-4 are four more like it",
        },
    )


MTG_JAMENDO = _jamendo("mtg-jamendo", "MP3 at 320 kbit/s", "", "508 GB", "152 GB")
MTG_JAMENDO_LOW = _jamendo("mtg-jamendo-low", "mono MP3, small files", "-low", "156 GB", "46 GB")

_MSD = "http://millionsongdataset.com/sites/default/files/"
_LABROSA = "http://labrosa.ee.columbia.edu/millionsong/sites/default/files/"


_DPWE = "http://labrosa.ee.columbia.edu/~dpwe/tmp/"  # where the two largest moved to


def _msd(path: str, *sets: str, unpack: str | None = None, mirrors: tuple[str, ...] = ()) -> Remote:
    """Return a file of the data set's site; nobody states a checksum of any."""
    return Remote(_MSD + path, mirrors=(_LABROSA + path, *mirrors), unpack=unpack, sets=sets)


MILLION_SONG = Dataset(
    name="million-song",
    title="Million Song Dataset: labels of a million tracks by their ids; the audio is yours",
    home="http://millionsongdataset.com",
    citation=(
        "T. Bertin-Mahieux, D. P. W. Ellis, B. Whitman and P. Lamere, "
        '"The Million Song Dataset", ISMIR 2011'
    ),
    licence=(
        "metadata for research (terms of The Echo Nest); Last.fm tags, Taste Profile and "
        "musiXmatch words for non-commercial research"
    ),
    index="mt_tools.datasets.million_song:index",
    tiny="mt_tools.datasets.million_song:make_tiny",
    labels={
        "year": "year of release",
        "tempo": "beats per minute, as The Echo Nest's analysis estimated it",
        "tags": "tags of Last.fm",
        "listeners": "who played the song: users, numbered in the order of the file",
        "song": "the id of the track's song at The Echo Nest",
    },
    kinds={"year": "integer", "tempo": "number", "tags": "strings", "listeners": "strings"},
    files=(
        _msd("AdditionalFiles/tracks_per_year.txt", "year"),
        _msd("AdditionalFiles/msd_summary_file.h5", "tempo"),
        _msd(
            "lastfm/lastfm_tags.db",
            "lastfm",
            "lastfm-top50",
            mirrors=(_DPWE + "lastfm_tags.db",),
        ),
        _msd(
            "challenge/train_triplets.txt.zip",
            "taste-profile",
            unpack=".",
            mirrors=(_DPWE + "train_triplets.txt.zip",),
        ),
        _msd("challenge/taste_profile_song_to_tracks.txt", "taste-profile"),
        _msd("AdditionalFiles/unique_tracks.txt", "lastfm", "lastfm-top50", "taste-profile"),
    ),
    sets=("year", "tempo", "lastfm", "lastfm-top50", "taste-profile"),
    labels_of={
        "year": ("year",),
        "tempo": ("tempo",),
        "lastfm": ("tags",),
        "lastfm-top50": ("tags",),
        "taste-profile": ("song", "listeners"),
    },
    group="name of the artist",
    counts={
        "year": 515576,
        "tempo": 1000000,
        "lastfm": 505216,
        "taste-profile": 384546,
    },
    notes={
        "": (
            "no audio comes with it: `path` is empty, and rows are joined with yours by the track "
            "id (TR...). Some songs are matched with wrong tracks: see sid_mismatches.txt on the "
            "data set's page, which concerns lastfm and taste-profile"
        ),
        "tempo": "an estimate of a program, no annotation",
        "lastfm": "522,366 different tags; choose with mt-fetch join --top",
        "lastfm-top50": "the fifty tags of most tracks (K. Choi et al. 2016, and most since)",
        "taste-profile": (
            "48,373,586 triplets of 1,019,318 users and 384,546 songs; the number of plays is left "
            "out; needs about 0.6 GB of memory and 0.4 GB of disk"
        ),
    },
)

MUSIXMATCH = Dataset(
    name="musixmatch",
    title="musiXmatch: words of the lyrics of 237,662 tracks of the Million Song Dataset",
    home="http://millionsongdataset.com/musixmatch",
    citation=(
        "T. Bertin-Mahieux, D. P. W. Ellis, B. Whitman and P. Lamere, "
        '"The Million Song Dataset", ISMIR 2011, and its musiXmatch dataset'
    ),
    licence="for non-commercial research: see the data set's page",
    index="mt_tools.datasets.million_song:musixmatch",
    tiny="mt_tools.datasets.million_song:make_tiny",
    labels={"words": "words of the lyrics, stemmed, of the 5,000 that are most frequent"},
    kinds={"words": "strings"},
    files=(
        _msd("AdditionalFiles/mxm_dataset_train.txt.zip", unpack="."),
        _msd("AdditionalFiles/mxm_dataset_test.txt.zip", unpack="."),
        _msd("AdditionalFiles/unique_tracks.txt"),
    ),
    splits=("official",),
    official="official",
    group="name of the artist",
    apart=("official",),
    counts={"": 237662, "official:train": 210519, "official:test": 27143},
    notes={
        "": (
            "no audio comes with it: `path` is empty, and rows are joined with yours by the track "
            "id (TR...); that a word occurs is kept, how often is not"
        ),
        "official": "the artists of test are apart; no valid",
    },
)

THIS_IS_MY_JAM = Dataset(
    name="this-is-my-jam",
    title="This Is My Jam: the songs that users called their favourites, 2011 to 2015",
    home="https://archive.org/details/thisismyjam-datadump",
    citation=(
        'A. Jansson, C. Raffel and T. Weyde, "This is my Jam - Data Dump", ISMIR 2015 '
        "late-breaking session"
    ),
    licence="for non-commercial use: see the data set's page",
    index="mt_tools.datasets.jams:index",
    tiny="mt_tools.datasets.jams:make_tiny",
    labels={
        "listeners": "who called the song their jam, by the user's id",
        "artist": "name of the artist, as first written",
        "title": "title of the song, as first written",
    },
    kinds={"listeners": "strings"},
    files=(
        Remote(
            "https://archive.org/download/thisismyjam-datadump/thisismyjam-datadump.zip",
            unpack=".",
        ),
        Remote(
            _MSD + "thisismyjam/jam_to_msd.tsv",
            mirrors=(_LABROSA + "thisismyjam/jam_to_msd.tsv",),
            sets=("million-song",),
        ),
    ),
    sets=("million-song", "all"),
    group="name of the artist",
    notes={
        "": "no audio comes with it: `path` is empty",
        "million-song": "the songs that are in the Million Song Dataset, by its track ids",
        "all": "every song, by artist and title, whatever their case",
    },
)
