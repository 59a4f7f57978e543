"""What each command can be told: its options, defined once. Standard library only.

Features, probes and fitting have their own settings in their rooms; these are the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from mt_tools.learn.settings import (
    FeedSettings,
    FitSettings,
    ProtocolSettings,
    TransferSettings,
)
from mt_tools.settings import setting


@dataclass(frozen=True)
class SynthSettings:
    """`mt-fetch synth`."""

    tracks: int = setting(120, "Number of pieces.", minimum=1)
    out: str = setting(
        "synth", "Folder that the audio files are written to.", metavar="DIR", result=False
    )
    seconds: float = setting(10.0, "Length of a piece, seconds.", minimum=2.0, maximum=600.0)
    seed: int = setting(0, "Another seed, another corpus.", minimum=0)
    sample_rate: int = setting(22050, "Rate of the files, Hz.", minimum=8000, maximum=48000)
    audio_format: str = setting("flac", "Kind of the files.", choices=("flac", "wav", "mp3", "ogg"))


@dataclass(frozen=True)
class SplitSettings:
    """`mt-fetch split`."""

    method: str = setting(
        "grouped",
        "random, stratified by --by, grouped by `group`, or both at once.",
        choices=("random", "stratified", "grouped", "stratified-grouped"),
    )
    by: str = setting("", "Label column to stratify by.", metavar="COLUMN")
    train: float = setting(0.8, "Share of the train split.", minimum=0.0, maximum=1.0)
    valid: float = setting(0.1, "Share of the valid split.", minimum=0.0, maximum=1.0)
    test: float = setting(0.1, "Share of the test split.", minimum=0.0, maximum=1.0)
    folds: int = setting(0, "Write a `fold` column of so many folds instead.", minimum=0)
    copies: str = setting(
        "together",
        "apart draws each copy of a track by itself, which leaks: to show what that does, as in "
        "examples/leak. What is trained or scored on it wants --allow-leak.",
        choices=("together", "apart"),
    )
    replace: bool = setting(False, "Draw again where the table has a split already.")
    seed: int = setting(0, "Seed of the draw.", minimum=0)


@dataclass(frozen=True)
class WeightsSettings:
    """`mt-fetch weights`."""

    name: str = setting("", "Name of the weights; `mt-fetch list` shows them.", argument=True)
    mirror: str = setting(
        "",
        "Folder or address that holds the file; the variable MT_TOOLS_MIRROR does the same.",
        metavar="DIR|URL",
    )


@dataclass(frozen=True)
class SpecSettings:
    """`mt-spec`, beside the feature settings themselves."""

    preset: str = setting("", "Settings of a study to start from; see below.", metavar="NAME")
    whole: bool = setting(False, "Take whole tracks (they must be equally long).")
    first: float = setting(0.0, "Take the first S seconds.", metavar="S", minimum=0.0)
    middle: float = setting(
        0.0, "Take the middle S seconds.", flags=("--centre",), metavar="S", minimum=0.0
    )
    segment: float = setting(
        0.0, "A row for every S seconds, end to end; ids get @start.", metavar="S", minimum=0.0
    )
    dtype: str = setting(
        "float32", "float16 halves the table; only for log and dB.", choices=("float32", "float16")
    )
    as_: str = setting("", "Name of the new column.", flags=("--as",), metavar="NAME")


@dataclass(frozen=True)
class AugmentSettings:
    """`mt-augment`."""

    pitch: str = setting(
        "", "Semitones, a copy for each value: -2,2.", metavar="LIST",
    )  # fmt: skip
    stretch: str = setting(
        "", "Factors of the length, a copy for each value: 0.9,1.1 (1.1 lasts longer).",
        metavar="LIST",
    )  # fmt: skip
    originals: bool = setting(True, "Keep the tracks as they were beside their copies.")
    splits: str = setting(
        "train", "Copy the tracks of these splits only, where the table has splits.", metavar="LIST"
    )
    render: str = setting(
        "", "Write the copies as audio files (FLAC) into this folder.", metavar="DIR", result=False
    )


@dataclass(frozen=True)
class FactorSettings:
    """`mt-factor plsa`."""

    column: str = setting("", "Multilabel column that holds the words.", metavar="COLUMN")
    factors: int = setting(50, "Number of factors.", flags=("--factors", "-k"), minimum=1)
    per: str = setting(
        "track", "Mix of each track, or of all tracks of its group.", choices=("track", "group")
    )
    iterations: int = setting(200, "Updates at most.", minimum=1)
    seed: int = setting(0, "Seed of the start.", minimum=0)
    fitted: str = setting(
        "", "Write the fitted factors to this .npz file.", metavar="FILE", result=False
    )
    apply: str = setting(
        "", "Fold the tracks into factors fitted before; nothing is fitted.", metavar="FILE"
    )
    ignore_split: bool = setting(False, "Fit on all rows, the test rows too.")
    as_: str = setting("plsa", "Name of the new column.", flags=("--as",), metavar="NAME")


@dataclass(frozen=True)
class WordsSettings:
    """`mt-factor kmeans`."""

    column: str = setting("", "Features or embeddings, where there are several.", metavar="COLUMN")
    words: int = setting(1024, "Number of words.", flags=("--words", "-k"), minimum=2)
    seed: int = setting(0, "Seed of the frames drawn, and of the start.", minimum=0)
    ignore_split: bool = setting(False, "Fit on all rows, the test rows too.")
    output: str = setting(
        "", "Write the dictionary to this .npz file.", flags=("--output", "-o"),
        metavar="FILE", result=False,
    )  # fmt: skip


@dataclass(frozen=True)
class EmbedSettings:
    """`mt-embed`."""

    model: tuple[str, ...] = setting(
        (),
        "mfcc-stats, random, essentia, pretrained weights (`mt-fetch list`), a model file, "
        "onnx:FILE, hf:REPO or bof:DICTIONARY; again for several side by side, or, with an alias, "
        "in columns of their own.",
        flags=("--model", "-m"),
        metavar="[ALIAS=]NAME|FILE",
    )
    layer: tuple[str, ...] = setting(
        (),
        "Take the output of this layer, averaged over its map; again for several side by side. A "
        "wrong name is answered with the right ones.",
        metavar="NAME",
    )
    pool: str = setting(
        "",
        "Segments to one vector: mean, mean+std, max, gem, concat:N (N parts of the track), or "
        "none: a row a segment. Without it the track is taken as the model's features say.",
        metavar="HOW",
    )
    segment: float = setting(
        0.0,
        "Length of a segment, seconds; 0 = what the model was made for.",
        metavar="S",
        minimum=0.0,
    )
    hop: float = setting(
        0.0,
        "Seconds from the start of a segment to that of the next; 0 = its length.",
        metavar="S",
        minimum=0.0,
    )
    precision: str = setting(
        "float32",
        "What the network computes in; half precision is for GPUs.",
        choices=("float32", "bfloat16", "float16"),
    )
    update: str = setting(
        "",
        "Take what this table holds of the same sound, made with the same settings; it need not "
        "exist yet, and may be the output.",
        metavar="TABLE",
        result=False,
    )
    column: str = setting("", "Column to embed, where there are several.", metavar="NAME")
    keep: bool = setting(False, "Keep the feature columns.")
    as_: str = setting("embedding", "Name of the new column.", flags=("--as",), metavar="NAME")
    selftest: bool = setting(
        False,
        "Embed nothing: compare devices, batch sizes and the scores stored with the model.",
        result=False,
        panel="Models",
    )
    calibrate: str = setting(
        "",
        "Embed nothing: write the model to -o FILE.safetensors, its batch norms set from the "
        "features in this table.",
        metavar="TABLE",
        panel="Models",
    )


@dataclass(frozen=True)
class TrainSettings:
    """`mt-train`, beside the settings of the fitting loop."""

    task: tuple[str, ...] = setting(
        (),
        "Label to learn: COLUMN[:kind][:weight]; again for each task. Kinds: multiclass, "
        "multilabel, regression, ordinal, distribution, same-track; the column's type decides "
        "where none is said.",
        flags=("--task", "-t"),
        metavar="COLUMN[:kind][:weight]",
    )
    net: str = setting(
        "",
        "Network, or NETWORK.WEIGHTS to begin with pretrained ones (crnn-choi.crnn-msd); mlp on "
        "embeddings and cnn on features where none is said.",
        metavar="NAME",
    )
    param: tuple[str, ...] = setting(
        (),
        "Parameter of the network: hidden=128,64, dropout=0.2, batch_norm=false; again for each. "
        "A wrong name is answered with the right ones.",
        metavar="NAME=VALUE",
    )
    match_parameters: int = setting(
        0,
        "Choose the network's width so that it has so many trainable parameters, such as those of "
        "the networks it is compared with; 0 = as it is.",
        metavar="N",
        minimum=0,
    )
    input: str = setting("", "Column to learn from, where there are several.", metavar="COLUMN")
    preset: str = setting(
        "", "Learn straight from audio, by features of this preset of mt-spec.", metavar="NAME"
    )
    valid: float = setting(
        0.15, "Share of the train rows drawn for validation, where none are marked.",
        minimum=0.0, maximum=0.9, panel="Protocol",
    )  # fmt: skip
    test: float = setting(
        0.0, "Share of the rows held out and reported, where none are marked.",
        minimum=0.0, maximum=0.9, panel="Protocol",
    )  # fmt: skip
    split: str = setting(
        "grouped",
        "How valid and test are drawn where the table has no split.",
        choices=("grouped", "stratified", "random"), panel="Protocol",
    )  # fmt: skip
    fold: int = setting(
        -1, "Fold to test on, where the table has folds.", metavar="N", panel="Protocol"
    )
    ignore_split: bool = setting(False, "Train on all rows, the test rows too.", panel="Protocol")
    allow_leak: bool = setting(
        False, "Train although the split leaks; the model says so ever after.", panel="Protocol"
    )


@dataclass(frozen=True)
class Options:
    """All that was said about how to train."""

    train: TrainSettings
    fit: FitSettings
    feed: FeedSettings
    transfer: TransferSettings
    protocol: ProtocolSettings


@dataclass(frozen=True)
class TrainOutputSettings:
    """Where the model of `mt-train` goes, what trains it, and what is told of it."""

    output: str = setting(
        "", "Write the model to this .safetensors file; with a grid, to a folder of them.",
        flags=("--output", "-o"), metavar="FILE|DIR", result=False,
    )  # fmt: skip
    device: str = setting(
        "auto", "auto, cpu, cuda, cuda:N or mps; auto takes a GPU when there is one.",
        metavar="NAME", result=False,
    )  # fmt: skip
    log: str = setting(
        "", "Write the learning curves to this table, for mt-eval plot.",
        metavar="FILE", result=False,
    )  # fmt: skip
    resume: bool = setting(
        False, "Go on from the checkpoint of a run that was stopped, if there is one.",
        result=False,
    )  # fmt: skip
    dry_run: bool = setting(
        False, "Check everything, print layers, parameters, tasks and rows, and write nothing.",
        result=False,
    )  # fmt: skip
    json: bool = setting(False, "Print the plan of --dry-run as JSON.", result=False)
    runs: bool = setting(
        False, "List the names of the runs of [mt-train.grid] in --config, one a line.",
        result=False, panel="Grid",
    )  # fmt: skip
    run: str = setting(
        "", "Do this run of the grid alone, as a target of make does.",
        metavar="NAME", result=False, panel="Grid",
    )  # fmt: skip
    results: str = setting(
        "", "Write the results of the runs that are done as a table, a row a run, and train "
        "nothing; - prints it.",
        metavar="FILE", result=False, panel="Grid",
    )  # fmt: skip


@dataclass(frozen=True)
class TagSettings:
    """`mt-tag`."""

    model: str = setting(
        "",
        "Model of mt-train, or pretrained weights; crnn-msd where none is said. With an alias its "
        "columns are called alias.TASK_pred.",
        flags=("--model", "-m"), metavar="[ALIAS=]NAME|FILE",
    )  # fmt: skip
    top: int = setting(
        0,
        "At most so many tags a track; 0 = all above the model's thresholds, 5 without them.",
        minimum=0,
    )
    precision: float = setting(
        0.0,
        "Write what is right so often, such as 0.9, by the thresholds that mt-eval thresholds put "
        "into the model: fewer tags, and no class where it is less sure.",
        metavar="P", minimum=0.0, maximum=1.0,
    )  # fmt: skip
    confidence: float = setting(
        0.0, "Write no class whose score is below this; 0 = as the model says.",
        metavar="SCORE", minimum=0.0, maximum=1.0,
    )  # fmt: skip
    scores: bool = setting(True, "Write the score of every tag beside the chosen ones.")
