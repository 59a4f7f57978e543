"""Data sets of genres and dances: GTZAN, GTZAN music/speech, FMA, Ballroom, Extended Ballroom."""

from __future__ import annotations

import re

from mt_tools.datasets.declaration import Dataset, Fault, Remote


def _sets(label: str, numbers: str) -> tuple[tuple[str, ...], ...]:
    """Return sets of files of a label: `39,45 76,78` are two sets of two."""
    return tuple(
        tuple(f"{label}.{int(number):05d}" for number in together.split(","))
        for together in numbers.split()
    )


# Bob L. Sturm, "The GTZAN dataset: Its contents, its faults, their effects on evaluation, and its
# future use" (2013, arXiv:1306.1461), counts 50 exact repetitions; these are fewer. Each set here
# was confirmed twice: the fault-filtered split of Kereliuk, Sturm and Larsen ("Deep learning
# and music adversaries", 2015; github.com/coreyker/dnn-mgr) leaves out all but one file of it, and
# a list of repetitions that others published leaves out the other. In the published features of
# Choi et al. (2017) 26 of these 45 sets hold a pair that is equal but for coding noise. Repetitions
# among country, which the split suggests (it leaves out two), could not be confirmed.
_REPEATED = (
    *_sets("disco", "50,51,70 55,60,89 71,74 98,99"),
    *_sets("hiphop", "39,45 76,78"),
    *_sets("jazz", "33,51 34,53 35,55 36,58 37,60 38,62 39,65 40,67 42,68 43,69 44,70 45,71 46,72"),
    *_sets("metal", "4,13 34,94 40,61 41,62 42,63 43,64 44,65 45,66"),
    *_sets("pop", "15,22 30,31 45,46 47,80 52,57 54,60 56,59 67,71 87,90"),
    *_sets("reggae", "3,54 5,56 8,57 10,60 13,58 41,69 73,74 75,91,92 80,81,82"),
)

# Why each is left out is not said there: distortions, versions, a few seconds only.
_LEFT_OUT = tuple(
    files
    for label, numbers in {
        "classical": "42",
        "country": "8 52",
        "disco": "38",
        "hiphop": "1 46 47 48 49 50",
        "pop": "21 37 48 51 68",
        "reggae": "7 33 86",
    }.items()
    for files in _sets(label, numbers)
)

GTZAN = Dataset(
    name="gtzan",
    title="GTZAN genre collection: 1,000 excerpts of 30 s, ten genres",
    home="http://marsyas.info/downloads/datasets.html",
    citation=(
        'G. Tzanetakis and P. Cook, "Musical genre classification of audio signals", IEEE '
        "Transactions on Speech and Audio Processing 10(5), 2002"
    ),
    licence="none stated; the recordings are copyrighted: for research only",
    index="mt_tools.datasets.gtzan:genres",
    tiny="mt_tools.datasets.gtzan:tiny_genres",
    labels={"genre": "one of ten, 100 excerpts each"},
    files=(
        # The copy of its makers' group, which states no checksum. The archive of 2001, at
        # opihi.cs.uvic.ca/sound/genres.tar.gz, cannot be reached since 2022; it has SHA-256
        # 24347e0223d2ba798e0a558c4c172d9d4a19c00bb7963fe055d183dadb4ef2c6 (torchaudio) and MD5
        # 5b3d6dddb579ab49814ab86dba69e7c7 (mirdata).
        Remote(
            "https://huggingface.co/datasets/marsyas/gtzan/resolve/main/data/genres.tar.gz",
            unpack=".",
        ),
    ),
    splits=("fault-filtered",),
    group="artist (of classical: composer), where it is known",
    apart=("fault-filtered",),
    counts={
        "": 1000,
        "fault-filtered:train": 443,
        "fault-filtered:valid": 197,
        "fault-filtered:test": 290,
    },
    notes={
        "": (
            "the artist is known of 919 excerpts (B. L. Sturm, 2012); a split that is drawn "
            "with these groups is an artist split"
        ),
        "fault-filtered": (
            "Kereliuk, Sturm and Larsen 2015: 443 to train, 197 to validate, 290 to test; no known "
            "artist is in two parts; 70 excerpts at fault are in none"
        ),
    },
    file=re.compile(
        r"\b(?:blues|classical|country|disco|hiphop|jazz|metal|pop|reggae|rock)\.\d{5}\b"
    ),
    faults=(
        Fault(
            "repetition",
            "the same recording",
            _REPEATED,
            "Sturm 2013; the fault-filtered split of Kereliuk et al. 2015",
        ),
        Fault(
            "contradiction",
            "one recording under two labels",
            (("metal.00058", "rock.00016"),),
            "Sturm 2013; equal in the published features of Choi et al. 2017",
        ),
        Fault(
            "damaged",
            "cannot be decoded in a copy that is widely mirrored",
            (("jazz.00054",),),
            "reported by many users of the WAV copy",
        ),
        Fault(
            "left-out",
            "left out of the fault-filtered split for other faults",
            _LEFT_OUT,
            "Kereliuk et al. 2015",
        ),
    ),
)

GTZAN_MUSIC_SPEECH = Dataset(
    name="gtzan-music-speech",
    title="GTZAN music/speech collection: excerpts of 30 s, half of them speech",
    home="http://marsyas.info/downloads/datasets.html",
    citation='G. Tzanetakis, "GTZAN Music/Speech Collection", 1999',
    licence="none stated; the recordings are copyrighted: for research only",
    index="mt_tools.datasets.gtzan:music_speech",
    tiny="mt_tools.datasets.gtzan:tiny_music_speech",
    labels={"class": "music or speech"},
    by_hand=(
        "its server cannot be reached since 2022: get http://opihi.cs.uvic.ca/sound/"
        "music_speech.tar.gz should it be back, or a copy of somebody's, such as "
        "gtzan-musicspeech-collection on Kaggle, and unpack it"
    ),
    counts={"": 128},
    notes={"": "its page counts 120 excerpts, the archive holds 128, 64 of each class"},
)

_FMA = "https://os.unil.cloud.switch.ch/fma/"
# SHA-1 as the README of github.com/mdeff/fma has them. Sizes but that of full
# as the server reports them (several public download scripts); the README's GiB agree.
_FMA_SHORT = "98565 98566 98567 98568 98569 108924"
_FMA_EMPTY = (
    "1486 5574 65753 80391 98558 98559 98560 98571 99134 105247 108925 126981 127336 133297 143992"
)


def _tracks(numbers: str) -> tuple[tuple[str, ...], ...]:
    return tuple((f"{int(number):06d}",) for number in numbers.split())


FMA = Dataset(
    name="fma",
    title="FMA: 106,574 tracks of the Free Music Archive, 161 genres, and three subsets",
    home="https://github.com/mdeff/fma",
    citation=(
        'M. Defferrard, K. Benzi, P. Vandergheynst and X. Bresson, "FMA: A Dataset for Music '
        'Analysis", ISMIR 2017'
    ),
    licence="metadata CC BY 4.0; each track under the licence its artist chose; for research",
    index="mt_tools.datasets.fma:index",
    tiny="mt_tools.datasets.fma:make_tiny",
    labels={
        "genre_top": "the one root of the track's genres; missing where there are several",
        "genres": "the genres that the artist gave",
        "genres_all": "those genres and all above them",
        "artist": "name of the artist",
        "album": "title of the album",
        "title": "title of the track",
    },
    kinds={"genres": "strings", "genres_all": "strings"},
    files=(
        Remote(
            _FMA + "fma_metadata.zip",
            size=358412441,
            checksum="sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733",
            unpack=".",
        ),
        Remote(
            _FMA + "fma_small.zip",
            size=7679594875,
            checksum="sha1:ade154f733639d52e35e32f5593efe5be76c6d70",
            unpack=".",
            sets=("small",),
        ),
        Remote(
            _FMA + "fma_medium.zip",
            size=23825005356,
            checksum="sha1:c67b69ea232021025fca9231fc1c7c1a063ab50b",
            unpack=".",
            sets=("medium",),
        ),
        Remote(
            _FMA + "fma_large.zip",
            size=100306112191,
            checksum="sha1:497109f4dd721066b5ce5e5f250ec604dc78939e",
            unpack=".",
            sets=("large",),
        ),
        Remote(
            _FMA + "fma_full.zip",
            checksum="sha1:0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab",
            unpack=".",
            sets=("full",),
        ),
    ),
    sets=("small", "medium", "large", "full"),
    splits=("official",),
    official="official",
    group="artist, by number",
    apart=("official",),
    counts={"small": 8000, "medium": 25000, "large": 106574, "full": 106574},
    notes={
        "small": "8 genres, 1,000 clips of 30 s each (7.2 GiB)",
        "medium": "16 genres of unequal size, clips of 30 s (22 GiB)",
        "large": "161 genres, clips of 30 s (93 GiB)",
        "full": "161 genres, whole tracks (879 GiB)",
        "official": "train, valid, test at 80, 10 and 10 %, artists apart",
    },
    file=re.compile(r"(?<!\d)\d{6}(?!\d)"),
    faults=(
        Fault(
            "damaged",
            "a clip without any sound (the length stated for the track was wrong)",
            _tracks(_FMA_EMPTY),
            "wiki and issues 4, 8 and 44 of github.com/mdeff/fma",
        ),
        Fault(
            "left-out",
            "a clip shorter than 30 s",
            _tracks(_FMA_SHORT),
            "wiki and issue 8 of github.com/mdeff/fma",
        ),
    ),
)

_BALLROOM_REPEATED = (
    "Albums-AnaBelen_Veneo-11 Albums-Chrisanne2-12",
    "Albums-Latin_Jam2-05 Albums-Latin_Jam2-13",
    "Albums-Secret_Garden-01 Media-104705",
    "Albums-AnaBelen_Veneo-03 Albums-AnaBelen_Veneo-15",
    "Albums-Ballroom_Magic-03 Albums-Ballroom_Magic-18",
    "Albums-Latin_Jam-04 Albums-Latin_Jam-13",
    "Albums-Latin_Jam-08 Albums-Latin_Jam-14",
    "Albums-Latin_Jam-06 Albums-Latin_Jam-15",
    "Albums-Latin_Jam2-02 Albums-Latin_Jam2-14",
    "Albums-Latin_Jam2-07 Albums-Latin_Jam2-15",
    "Albums-Latin_Jam3-02 Media-103414",
    "Media-103402 Media-103415",
)
_STURM_BALLROOM = "B. L. Sturm 2014; README of github.com/CPJKU/BallroomAnnotations"

BALLROOM = Dataset(
    name="ballroom",
    title="Ballroom: 698 excerpts of 30 s, eight dances, tempo",
    home="http://mtg.upf.edu/ismir2004/contest/tempoContest/node5.html",
    citation=(
        "F. Gouyon, A. Klapuri, S. Dixon, M. Alonso, G. Tzanetakis, C. Uhle and P. Cano, "
        '"An experimental comparison of audio tempo induction algorithms", IEEE Transactions on '
        "Audio, Speech and Language Processing 14(5), 2006"
    ),
    licence="none stated; previews of a shop for dance music: for research only",
    index="mt_tools.datasets.ballroom:index",
    tiny="mt_tools.datasets.ballroom:make_tiny",
    labels={"genre": "one of eight dances; the three rumbas are one", "tempo": "beats per minute"},
    kinds={"tempo": "number"},
    files=(
        # MD5 as mirdata has them; that of data1 also stands in the README of CPJKU's annotations.
        Remote(
            "https://mtg.upf.edu/ismir2004/contest/tempoContest/data1.tar.gz",
            checksum="md5:2872a3e52070bc342a4510a95e2fa0b8",
            unpack=".",
        ),
        Remote(
            "https://mtg.upf.edu/ismir2004/contest/tempoContest/data2.tar.gz",
            checksum="md5:4a0ec5518bbb4dbf3ab02de0383b0994",
            unpack=".",
        ),
    ),
    group="album, as the name of the file has it",
    counts={"": 698},
    file=re.compile(r"\b(?:Albums-\w+-\d\d|Media-\d{6})\b"),
    faults=(
        Fault(
            "repetition",
            "the same recording",
            tuple(tuple(pair.split()) for pair in _BALLROOM_REPEATED),
            _STURM_BALLROOM,
        ),
        Fault(
            "contradiction",
            "one recording under two dances",
            (("Albums-Fire-08", "Albums-Fire-09"),),
            _STURM_BALLROOM,
        ),
    ),
)

EXTENDED_BALLROOM = Dataset(
    name="extended-ballroom",
    title="Extended Ballroom: 4,180 excerpts of 30 s, thirteen dances, tempo",
    home="http://anasynth.ircam.fr/home/media/ExtendedBallroom",
    citation=(
        'U. Marchand and G. Peeters, "The Extended Ballroom Dataset", ISMIR 2016 late-breaking '
        "session"
    ),
    licence="annotations for research; the audio is fetched from a shop's previews by a script",
    index="mt_tools.datasets.ballroom:extended",
    tiny="mt_tools.datasets.ballroom:tiny_extended",
    labels={
        "genre": "one of thirteen dances",
        "tempo": "beats per minute",
        "artist": "name of the artist",
        "album": "title of the album",
        "title": "title of the track",
    },
    kinds={"tempo": "number"},
    by_hand=(
        "get the archive with extendedballroom_v1.1.xml from the data set's page, and run the "
        "script beside it, getExtendedBallroomDataset.py, which fetches the audio"
    ),
    group="artist, and whatever repeats one of the artist's recordings",
    counts={"": 4180},
)
