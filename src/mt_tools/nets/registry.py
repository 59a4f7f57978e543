"""The tables of architectures, pretrained weights and other embedders, by name.

A name that is typed by a user is looked up here, and a wrong one is answered with the nearest
right ones. Standard library only, so that `--help` stays fast.

The compact CNN (`compact-msd`) stores no statistics: its batch norms took those of the batch at
hand, at inference too, so that the published features of a track depend on its company (batches of
256 songs in the order of the data set). Here they are those of a population, fixed once; see
`compact.STATISTICS`. `compact-msd-per-clip` takes those of each clip, which is what the authors'
script gives for single files.

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
    whether a network takes other numbers of frames than it was made for, `sequence` whether it
    takes songs of any length: [parts, ...], where the shape it is made for is that of one part.
    """

    path: str
    input: str
    description: str
    any_frames: bool = False
    sequence: bool = False


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
    "cnn-dj": Architecture(
        "mt_tools.nets.dj:DjCnn", "feature", "three convolutions, for 87 s (DJ study, Table 5.3)"
    ),
    "cnn-agf": Architecture(
        "mt_tools.nets.agf:AgfCnn",
        "feature",
        "seven convolutions, for 1 s, of any width (AGF study, Table 2)",
        any_frames=True,
    ),
    "mlp-agf": Architecture(
        "mt_tools.nets.agf:AgfMlp",
        "vector",
        "a hidden layer of 1,024 for the embeddings of several networks (AGF study, section 3.2.3)",
    ),
    "cnn-seq": Architecture(
        "mt_tools.nets.seq:SeqCnn",
        "feature",
        "five convolutions, for one part of 29 s (SEQ study, Algorithm 20)",
        any_frames=True,
    ),
    "cnn-lstm-seq": Architecture(
        "mt_tools.nets.seq:SeqCnnLstm",
        "feature",
        "five convolutions a part, two LSTMs over the parts of a song (SEQ study, Algorithm 25)",
        any_frames=True,
        sequence=True,
    ),
    "mfcc-lstm-seq": Architecture(
        "mt_tools.nets.seq:SeqMfccLstm",
        "feature",
        "an LSTM over the frames of a part, one over the parts of a song (SEQ study, Algorithm 24)",
        any_frames=True,
        sequence=True,
    ),
    "lenet5": Architecture(
        "mt_tools.nets.reg:LeNet5",
        "feature",
        "LeNet-5, its last maps pooled to 5 x 5 (REG study, section 3.4.3)",
        any_frames=True,
    ),
    "resnet34": Architecture(
        "mt_tools.nets.reg:ResNet34",
        "feature",
        "ResNet-34 (REG study, section 3.4.3; He et al. 2016)",
        any_frames=True,
    ),
    "crnn-reg": Architecture(
        "mt_tools.nets.reg:RegCrnn",
        "feature",
        "crnn-choi for any number of frames (REG study, section 3.4.3)",
        any_frames=True,
    ),
    "cnn-reg": Architecture(
        "mt_tools.nets.reg:RegCnn",
        "feature",
        "convolutions and a dense layer, for two tasks with --share block:4 (REG study, 3.4.3)",
        any_frames=True,
    ),
    "cnn-rep": Architecture(
        "mt_tools.nets.rep:RepCnn",
        "feature",
        "seven convolutions and a feature of 256, for 2.5 s of stereo (REP study, Table 3)",
        any_frames=True,
    ),
    "musicnn": Architecture(
        "mt_tools.nets.baselines:Musicnn",
        "feature",
        "filters of musical shapes, for 3 s (Pons and Serra 2019, arXiv:1909.06654)",
        any_frames=True,
    ),
    "short-chunk": Architecture(
        "mt_tools.nets.baselines:ShortChunkCnn",
        "feature",
        "seven convolutions, for 3.7 s (Won et al. 2020, arXiv:2006.00751)",
        any_frames=True,
    ),
    "short-chunk-res": Architecture(
        "mt_tools.nets.baselines:ShortChunkResNet",
        "feature",
        "seven residual blocks, for 3.7 s (Won et al. 2020, arXiv:2006.00751)",
        any_frames=True,
    ),
    "compact-choi": Architecture(
        "mt_tools.nets.compact:CompactCnn",
        "feature",
        "five convolutions of 32 maps, for 29 s at once (Choi et al. 2017, arXiv:1703.09179)",
    ),
    "bof": Architecture(
        "mt_tools.nets.bof:BagOfFrames",
        "feature",
        "bag of frames: shares of the words of an mt-factor dictionary, which is not trained",
        any_frames=True,
    ),
    "bow": Architecture(
        "mt_tools.nets.bof:BagOfFrames", "vector", "as bof, of the vectors of segments"
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

    Beside their own name they have that of their network, `arch.tag`.
    `statistics` is how the stored `running_std` is read: "variance" or "deviation" (see above), or
    where the norms' statistics come from if none are stored: "population" or "clip". The embedding
    is what `layers` give, side by side, or the end of the network. `published` holds what the
    authors report.
    """

    arch: str
    tag: str
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
    layers: tuple[str, ...] = ()


_CHOI = (
    "https://raw.githubusercontent.com/keunwoochoi/music-auto_tagging-keras/"
    "a3e105d0c4c529c512cc197ad8770ff1cc52aa32/"
)
_CRNN: dict[str, Any] = {
    "arch": "crnn-choi",
    "preset": "choi2016",
    "shape": (96, 1366),
    "url": _CHOI + "data/music_tagger_crnn_weights_theano.h5",
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
_COMPACT: dict[str, Any] = {
    "arch": "compact-choi",
    "preset": "choi2017",
    "shape": (96, 1360),
    "url": _CHOI + "compact_cnn/weights_theano.hdf5",
    "sha256": "caf89f811415691fbb245be7eef394b9cebd787d7e3f78e29695972141cf2a08",
    "task": "tags",
    "vocabulary": MSD_TAGS,
    "layers": ("conv1", "conv2", "conv3", "conv4", "conv5"),
    "licence": "MIT",
    "citation": (
        "K. Choi, G. Fazekas, M. Sandler, K. Cho. Transfer learning for music classification and "
        "regression tasks. ISMIR 2017. arXiv:1703.09179"
    ),
    "published": {"data": "Million Song Dataset, 50 tags of Last.fm", "auc": 0.849},
}

WEIGHTS: dict[str, Weights] = {
    "crnn-msd": Weights(
        **_CRNN,
        tag="msd",
        statistics="variance",
        description="Music Auto-Tagger, CRNN: 50 tags, 32-d; gives its published scores",
    ),
    "crnn-msd-corrected": Weights(
        **_CRNN,
        tag="msd-corrected",
        statistics="deviation",
        parameters={"standardise": True, "epsilon": 1e-6},
        description="Music Auto-Tagger, CRNN: 50 tags, 32-d; norms read as they were trained",
    ),
    "cnn-msd": Weights(
        arch="cnn-choi",
        tag="msd",
        preset="choi2016",
        shape=(96, 1366),
        url=_CHOI + "data/music_tagger_cnn_weights_theano.h5",
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
    "compact-msd": Weights(
        **_COMPACT,
        tag="msd",
        statistics="population",
        description="compact CNN: 160-d, normed by the statistics of free music or of your own",
    ),
    "compact-msd-per-clip": Weights(
        **_COMPACT,
        tag="msd-per-clip",
        statistics="clip",
        parameters={"per_clip": True},
        description="compact CNN: 160-d, each clip normed by its own statistics, to compare",
    ),
}


def architecture(name: str) -> Architecture:
    """Return an architecture; an unknown name raises `UsageError` with the nearest ones."""
    if name not in ARCHITECTURES:
        raise unknown("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]


def weights(name: str) -> Weights:
    """Return pretrained weights; an unknown name raises `UsageError` with the nearest ones."""
    return WEIGHTS[weights_name(name)]


def weights_name(name: str) -> str:
    """Return the own name of pretrained weights, which may be given as `arch.tag` too.

    An unknown name raises `UsageError` with the nearest ones.
    """
    names = {name: name for name in WEIGHTS} | _weights_of_networks()
    if name not in names:
        raise unknown("weights", name, names)
    return names[name]


def network(name: str) -> tuple[str, str]:
    """Return the architecture and the weights, "" for none, of a network `arch` or `arch.tag`.

    An unknown name raises `UsageError` with the nearest ones.
    """
    names = dict.fromkeys(ARCHITECTURES, "") | _weights_of_networks()
    if name not in names:
        raise unknown("network", name, names)
    return name.partition(".")[0], names[name]


def _weights_of_networks() -> dict[str, str]:
    """Map `arch.tag` to the name of the weights."""
    return {f"{row.arch}.{row.tag}": name for name, row in WEIGHTS.items()}


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Make the error of a wrong name: the nearest right ones, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(known)}"
    return UsageError(f"unknown {what} {name!r}: {hint}")
