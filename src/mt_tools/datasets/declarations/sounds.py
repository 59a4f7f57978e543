"""Data sets of instruments, notes, emotions and environmental sounds."""

from __future__ import annotations

import re

from mt_tools.datasets.declaration import Dataset, Fault, Remote

_IRMAS = "https://zenodo.org/record/1290750/files/"
# MD5 as mirdata has them.
_IRMAS_MD5 = {
    "IRMAS-TrainingData.zip": "4fd9f5ed5a18d8e2687e6360b5f60afe",
    "IRMAS-TestingData-Part1.zip": "5a2e65520dcedada565dff2050bb2a56",
    "IRMAS-TestingData-Part2.zip": "afb0c8ea92f34ee653693106be95c895",
    "IRMAS-TestingData-Part3.zip": "9b3fb2d0c89cdc98037121c25bd5b556",
}

IRMAS = Dataset(
    name="irmas",
    title="IRMAS: 6,705 excerpts of one predominant instrument, 2,874 of several",
    home="https://zenodo.org/record/1290750",
    citation=(
        'J. J. Bosch, J. Janer, F. Fuhrmann and P. Herrera, "A comparison of sound segregation '
        'techniques for predominant instrument recognition in musical audio signals", ISMIR 2012'
    ),
    licence="CC BY-NC-SA 3.0",
    index="mt_tools.datasets.irmas:index",
    tiny="mt_tools.datasets.irmas:make_tiny",
    labels={
        "instruments": "the predominant ones, of eleven: one in train, one or more in test",
        "genre": "of the excerpts to train: one of five",
        "drums": "of some excerpts to train: whether drums are heard",
    },
    kinds={"instruments": "strings", "drums": "boolean"},
    files=tuple(
        Remote(f"{_IRMAS}{name}?download=1", checksum=f"md5:{md5}", name=name, unpack=".")
        for name, md5 in _IRMAS_MD5.items()
    ),
    splits=("official",),
    official="official",
    group="song, as the name of the file has it",
    counts={"": 9579, "official:train": 6705, "official:test": 2874},
    notes={"official": "train: 3 s, one instrument; test: 5 to 20 s, one or more; no valid"},
)

_NSYNTH = "http://download.magenta.tensorflow.org/datasets/nsynth/"

NSYNTH = Dataset(
    name="nsynth",
    title="NSynth: 305,979 notes of 4 s, 1,006 instruments",
    home="https://magenta.tensorflow.org/datasets/nsynth",
    citation=(
        "J. Engel, C. Resnick, A. Roberts, S. Dieleman, D. Eck, K. Simonyan and M. Norouzi, "
        '"Neural audio synthesis of musical notes with WaveNet autoencoders", ICML 2017'
    ),
    licence="CC BY 4.0",
    index="mt_tools.datasets.nsynth:index",
    tiny="mt_tools.datasets.nsynth:make_tiny",
    labels={
        "instrument_family": "one of eleven",
        "instrument_source": "acoustic, electronic or synthetic",
        "pitch": "MIDI number, 0 to 127",
        "velocity": "MIDI velocity, 0 to 127",
        "qualities": "of ten, such as bright, dark, reverb; [] where none applies",
    },
    kinds={"pitch": "integer", "velocity": "integer", "qualities": "strings"},
    # Checksums are published of the TFRecords only (tensorflow_datasets), not of these.
    files=tuple(
        Remote(f"{_NSYNTH}nsynth-{part}.jsonwav.tar.gz", unpack=".")
        for part in ("train", "valid", "test")
    ),
    splits=("official",),
    official="official",
    group="instrument",
    counts={
        "": 305979,
        "official:train": 289205,
        "official:valid": 12678,
        "official:test": 4096,
    },
    notes={"official": "instruments of train are apart; valid and test share theirs"},
)

_ESC50_COMMIT = "33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6"

ESC50 = Dataset(
    name="esc-50",
    title="ESC-50: 2,000 environmental sounds of 5 s, 50 classes, five folds",
    home="https://github.com/karolpiczak/ESC-50",
    citation=(
        'K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015'
    ),
    licence="CC BY-NC 3.0; the clips of ESC-10 CC BY 3.0",
    index="mt_tools.datasets.environment:esc50",
    tiny="mt_tools.datasets.environment:tiny_esc50",
    labels={"category": "one of 50 (or 10), 40 clips each"},
    files=(
        # There is no release: the last commit stands for one. GitHub packs it on demand, which has
        # given other bytes over the years (md5 629e8e9ebc1592bcceb06da6bec40275,
        # 071b44018315e034b2c6e8064543d19c), of some 646 MB: no checksum and no size to hold to.
        Remote(
            f"https://github.com/karolpiczak/ESC-50/archive/{_ESC50_COMMIT}.zip",
            name="ESC-50.zip",
            unpack=".",
        ),
    ),
    sets=("esc-50", "esc-10"),
    splits=("folds",),
    official="folds",
    group="recording at Freesound that the clip is cut from",
    apart=("folds",),
    counts={"esc-50": 2000, "esc-10": 400},
    notes={"folds": "1 to 5; clips of one recording are in one fold"},
)

URBANSOUND8K = Dataset(
    name="urbansound8k",
    title="UrbanSound8K: 8,732 sounds of a city of up to 4 s, ten classes, ten folds",
    home="https://urbansounddataset.weebly.com/urbansound8k.html",
    citation=(
        'J. Salamon, C. Jacoby and J. P. Bello, "A Dataset and Taxonomy for Urban Sound Research", '
        "ACM Multimedia 2014"
    ),
    licence="CC BY-NC 4.0 as its page at Zenodo has it",
    index="mt_tools.datasets.environment:urbansound8k",
    tiny="mt_tools.datasets.environment:tiny_urbansound8k",
    labels={
        "class": "one of ten",
        "foreground": "whether the sound stands in the foreground",
    },
    kinds={"foreground": "boolean"},
    files=(
        # MD5 and size as Zenodo states them (soundata, PaddleAudio and others agree).
        Remote(
            "https://zenodo.org/record/1203745/files/UrbanSound8K.tar.gz?download=1",
            size=6023741708,
            checksum="md5:9aa69802bbf37fb986f71ec1483a196e",
            name="UrbanSound8K.tar.gz",
            unpack=".",
        ),
    ),
    splits=("folds",),
    official="folds",
    group="recording at Freesound that the clip is cut from",
    apart=("folds",),
    counts={"": 8732},
    notes={
        "folds": "1 to 10, to be used as they are: a fold drawn anew parts clips of a recording"
    },
)

_PHILHARMONIA = "https://philharmonia-assets.s3-eu-west-1.amazonaws.com/uploads/2020/02/12112005/"

PHILHARMONIA = Dataset(
    name="philharmonia",
    title="Philharmonia Orchestra sound samples: some 14,000 single notes and strokes",
    home="https://philharmonia.co.uk/resources/sound-samples/",
    citation="Philharmonia Orchestra, Sound samples, philharmonia.co.uk",
    licence="free to use, also commercially, but not to be sold or given on as samples",
    index="mt_tools.datasets.philharmonia:index",
    tiny="mt_tools.datasets.philharmonia:make_tiny",
    labels={
        "instrument": "such as cello, french-horn, snare-drum",
        "note": "such as C4 or As3 (A sharp); missing of percussion",
        "pitch": "the note's MIDI number, C4 = 60",
        "dynamics": "such as pianissimo, mezzo-forte, crescendo",
        "articulation": "such as normal, arco-tremolo, con-sord",
    },
    kinds={"pitch": "integer"},
    by_hand=(
        f"get {_PHILHARMONIA}all-samples.zip, unpack it, and unpack the archive of each instrument "
        'that it holds: unzip all-samples.zip && cd all-samples && for z in *.zip; do unzip "$z"; '
        "done"
    ),
    file=re.compile(r"[a-z-]+_[A-Gs\d]*_[a-z\d-]+_[a-z-]+_[a-z-]+"),
    faults=(
        Fault(
            "damaged",
            "an empty file",
            (("saxophone_Fs3_15_fortissimo_normal",), ("viola_D6_05_piano_arco-normal",)),
            "reported by many users of the archive",
        ),
    ),
)

EMOMUSIC = Dataset(
    name="emomusic",
    title="emoMusic (1000 songs): 744 clips of 45 s, arousal and valence",
    home="https://cvml.unige.ch/databases/emoMusic/",
    citation=(
        "M. Soleymani, M. N. Caro, E. M. Schmidt, C.-Y. Sha and Y.-H. Yang, "
        '"1000 songs for emotional analysis of music", ACM CrowdMM 2013'
    ),
    licence="annotations for academic research; the music under Creative Commons licences",
    index="mt_tools.datasets.emotion:emomusic",
    tiny="mt_tools.datasets.emotion:tiny_emomusic",
    labels={
        "arousal": "mean over the annotators, 1 (calm) to 9 (excited), of the whole clip",
        "valence": "mean over the annotators, 1 (negative) to 9 (positive), of the whole clip",
        "genre": "one of eight",
        "artist": "name of the artist",
        "title": "title of the song",
    },
    kinds={"arousal": "number", "valence": "number"},
    by_hand=(
        "fill in the form on the data set's page, get clips_45sec.tar.gz and annotations.tar.gz, "
        "and unpack both into one folder"
    ),
    splits=("mediaeval2013",),
    official="mediaeval2013",
    group="artist",
    counts={"": 744, "mediaeval2013:train": 619, "mediaeval2013:test": 125},
    notes={
        "": "the 256 songs that were repetitions are no longer in it",
        "mediaeval2013": "development is train, evaluation is test; no valid",
    },
)

_DEAM = "https://cvml.unige.ch/databases/DEAM/"

DEAM = Dataset(
    name="deam",
    title="DEAM: 1,744 excerpts of 45 s and 58 whole songs, arousal and valence",
    home=_DEAM,
    citation=(
        'A. Aljanaki, Y.-H. Yang and M. Soleymani, "Developing a benchmark for emotional analysis '
        'of music", PLoS ONE 12(3), 2017'
    ),
    licence="annotations for academic research; the music under Creative Commons licences",
    index="mt_tools.datasets.emotion:deam",
    tiny="mt_tools.datasets.emotion:tiny_deam",
    labels={
        "arousal": "mean over the annotators, 1 (calm) to 9 (excited), of the whole excerpt",
        "valence": "mean over the annotators, 1 (negative) to 9 (positive), of the whole excerpt",
        "artist": "name of the artist",
    },
    kinds={"arousal": "number", "valence": "number"},
    # SHA-256 and sizes as a published report of a download in 2026 has them; the size of the audio
    # agrees with a download script of others. The publisher states none.
    files=(
        Remote(
            _DEAM + "DEAM_audio.zip",
            size=1343203527,
            checksum="sha256:e2814325f573ade8caebc697f0efcfdf7207142b737d72558a416117ca591353",
            unpack=".",
        ),
        Remote(
            _DEAM + "DEAM_Annotations.zip",
            size=4735283,
            checksum="sha256:809b0feb4ba6196c1eda9b2b7b33b892b11fa71457cfceb0d47e832ed1a5f15f",
            unpack=".",
        ),
        Remote(
            _DEAM + "metadata.zip",
            size=344760,
            checksum="sha256:3d1d5ab42e852803a770f2cfbd685c6b464e1ebe76f26b0e10954597902b90f8",
            unpack=".",
        ),
    ),
    group="artist",
    counts={"": 1802},
    notes={"": "2 to 2000 are excerpts of 45 s, 2001 to 2058 whole songs"},
)
