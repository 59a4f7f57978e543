"""The tables of architectures, pretrained weights and other embedders, by name.

A name that is typed by a user is looked up here, and a wrong one is answered with the nearest
right ones. Standard library only, so that `--help` stays fast.

The Music Auto-Tagger's two files of weights can be read in two ways, since the meaning of a
stored number changed between the versions of Keras that trained them and that published their
scores. The stored `running_std` of the batch norms is taken:

- as a *variance*, with decibels fed as they are. So were the project's published scores made, and
  `crnn-msd` agrees with them. The CNN's scores saturate when it is read so.
- as a standard *deviation*, with a standardised input, by `crnn-msd-corrected` and `cnn-msd`. So
  were the networks trained: the input norm's own statistics are a mean of 0 and a deviation of 1,
  those of the padding, which is constant, are 1e-3 = sqrt(0 + 1e-6), and those of every layer agree
  with what real clips give. The data set's mean and deviation were not published, so each clip is
  standardised by its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mt_tools.errors import UsageError

DEFAULT_MODEL = "crnn-msd"


@dataclass(frozen=True)
class Architecture:
    """One kind of network: where its body is made, what it takes, what and whose it is.

    `path` is `module:class`; the class takes the input's shape and the parameters by name. `input`
    is "feature" (`[bands, frames]` or `[channels, bands, frames]`) or "vector". `any_frames` tells
    whether a network takes other numbers of frames than it was made for.
    """

    path: str
    input: str
    description: str
    any_frames: bool = False


ARCHITECTURES: dict[str, Architecture] = {
    "mlp": Architecture(
        "mt_tools.nets.mlp:Mlp", "vector", "fully connected layers with ReLU, for embeddings"
    ),
    "cnn": Architecture(
        "mt_tools.nets.cnn:Cnn",
        "feature",
        "small network of 3x3 convolutions and global average pooling, for any number of frames",
        any_frames=True,
    ),
    "crnn-choi": Architecture(
        "mt_tools.nets.crnn:ChoiCrnn",
        "feature",
        "four convolutions and two GRUs, for 29 s at once (Choi et al. 2017, arXiv:1609.04243)",
    ),
    "cnn-choi": Architecture(
        "mt_tools.nets.cnn:ChoiCnn",
        "feature",
        "five convolutions, for 29 s at once (Choi et al. 2016, arXiv:1606.00298)",
    ),
    "identity": Architecture(
        "mt_tools.nets.mlp:Identity", "vector", "the vector itself, for features that are summaries"
    ),
}


@dataclass(frozen=True)
class Embedder:
    """A model that needs no weights: an architecture on the features of a preset."""

    arch: str
    preset: str
    shape: tuple[int, ...]
    description: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


EMBEDDERS: dict[str, Embedder] = {
    "mfcc-stats": Embedder(
        "identity",
        "mfcc-rep",
        (120,),
        "mean and deviation of 20 MFCCs and their differences: the baseline of the REP study",
    ),
    "random": Embedder(
        "crnn-choi",
        "choi2016",
        (96, 1366),
        "an untrained network, as a control (REP study, section 4.2)",
        {"standardise": True},
    ),
}

# In the order of the output layer.
MSD_TAGS = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s",
    "alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock",
    "soul", "indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill", "instrumental",
    "punk", "oldies", "blues", "hard rock", "ambient", "acoustic", "experimental",
    "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country", "easy listening", "sexy",
    "catchy", "funk", "electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop",
    "sad", "House", "happy",
)  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """Pretrained weights at a public address: what they are, and how their bytes are known.

    `statistics` is how the stored `running_std` is read: "variance" or "deviation" (see above).
    `published` holds what the authors report.
    """

    arch: str
    preset: str
    shape: tuple[int, ...]
    url: str
    sha256: str
    task: str
    vocabulary: tuple[str, ...]
    statistics: str
    description: str
    licence: str
    citation: str
    published: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)


_CHOI = (
    "https://raw.githubusercontent.com/keunwoochoi/music-auto_tagging-keras/"
    "a3e105d0c4c529c512cc197ad8770ff1cc52aa32/data/"
)
_CRNN: dict[str, Any] = {
    "arch": "crnn-choi",
    "preset": "choi2016",
    "shape": (96, 1366),
    "url": _CHOI + "music_tagger_crnn_weights_theano.h5",
    "sha256": "783d8198417fd5d6ceee551dea5ec3e7f0210ec743af4819172b5c943044081c",
    "task": "tags",
    "vocabulary": MSD_TAGS,
    "licence": "MIT",
    "citation": (
        "K. Choi, G. Fazekas, M. Sandler, K. Cho. Convolutional recurrent neural networks for "
        "music classification. ICASSP 2017. arXiv:1609.04243"
    ),
    "published": {"data": "Million Song Dataset, 50 tags of Last.fm", "auc": 0.8662},
}

WEIGHTS: dict[str, Weights] = {
    "crnn-msd": Weights(
        **_CRNN,
        statistics="variance",
        description="Music Auto-Tagger, CRNN: 50 tags, 32-d; gives its published scores",
    ),
    "crnn-msd-corrected": Weights(
        **_CRNN,
        statistics="deviation",
        parameters={"standardise": True, "epsilon": 1e-6},
        description="Music Auto-Tagger, CRNN: 50 tags, 32-d; norms read as they were trained",
    ),
    "cnn-msd": Weights(
        arch="cnn-choi",
        preset="choi2016",
        shape=(96, 1366),
        url=_CHOI + "music_tagger_cnn_weights_theano.h5",
        sha256="36184d9fde3e95957bfbf63ee6685258f613ce8cf2f0373c641b1a448c14874b",
        task="tags",
        vocabulary=MSD_TAGS,
        statistics="deviation",
        parameters={"standardise": True, "epsilon": 1e-6},
        description="Music Auto-Tagger, CNN: 50 tags, 256-d; norms read as they were trained",
        licence="MIT",
        citation=(
            "K. Choi, G. Fazekas, M. Sandler. Automatic tagging using deep convolutional neural "
            "networks. ISMIR 2016. arXiv:1606.00298"
        ),
        published={"data": "Million Song Dataset, 50 tags of Last.fm", "auc": 0.8654},
    ),
}


def architecture(name: str) -> Architecture:
    """Return an architecture; an unknown name raises `UsageError` with the nearest ones."""
    if name not in ARCHITECTURES:
        raise unknown("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]


def weights(name: str) -> Weights:
    """Return pretrained weights; an unknown name raises `UsageError` with the nearest ones."""
    if name not in WEIGHTS:
        raise unknown("weights", name, WEIGHTS)
    return WEIGHTS[name]


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Make the error of a wrong name: the nearest right ones, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(known)}"
    return UsageError(f"unknown {what} {name!r}: {hint}")
