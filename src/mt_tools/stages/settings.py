"""What each command can be told: its options, defined once. Standard library only.

Features, probes and fitting have their own settings in their rooms; these are the rest.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from mt_tools.errors import UsageError
from mt_tools.learn.settings import (
    FeedSettings,
    FitSettings,
    ProtocolSettings,
    TransferSettings,
)
from mt_tools.settings import setting

_EXCERPT = "Excerpt and shape"
_STORAGE = "Storage"
_FITTED = "Fitted transforms"
_LABELS = "Labels"
_SHAPE = "Choice of labels and tracks"
_TAGGRAM = "Taggrams"
_ELSEWHERE = "For people and other programs"


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
    sources: bool = setting(
        False,
        "Add what people say of the pieces, as noisy as they are: crowd tags, listeners, a "
        "library's terms, words of lyrics.",
        flags=("--sources",),
    )


@dataclass(frozen=True)
class FolderSettings:
    """`mt-fetch folder`."""

    tag: tuple[str, ...] = setting(
        (),
        "Read this field of the files, or of the library, as a label; again for each. The name is "
        "that of any format, whatever the case: ENERGY is TXXX:ENERGY of an MP3, "
        "----:com.apple.iTunes:ENERGY of an M4A and the comment ENERGY= of a FLAC. Kinds: "
        "multiclass (a text; the default), multilabel (a list of them), regression and ordinal (a "
        "number).",
        metavar="COLUMN=FIELD[:kind]",
    )
    separator: str = setting(
        ";",
        "Characters that part several values inside one text, for lists such as genre; ';/' also "
        "parts what ID3v2.3 joins by a slash, '' parts nothing.",
        metavar="CHARS",
    )
    predicted: bool = setting(
        False,
        "Take values that mt-tag wrote into the files as labels too. They are marked, and left out "
        "otherwise: no model should learn from itself.",
    )
    id_: str = setting(
        "path",
        "Name tracks by their paths, or by a digest of their sound, which moving and tagging do "
        "not change; of files of the same sound the first is kept.",
        flags=("--id",), choices=("path", "hash"),
    )  # fmt: skip
    update: str = setting(
        "",
        "Take from this table, a scan made with the same settings, what it says of files whose "
        "size and time of change are the same; it need not exist yet, and may be the output. Keeps "
        "both in columns, file_size and file_modified, for the next time.",
        metavar="TABLE",
        result=False,
    )
    audio: str = setting(
        "path",
        "Refer to the files, or put their bytes into the table, which then needs no files.",
        choices=("path", "bytes"),
    )


@dataclass(frozen=True)
class SplitSettings:
    """`mt-fetch split`."""

    method: str = setting(
        "grouped",
        "random, stratified by --by, grouped by `group`, or both at once.",
        choices=("random", "stratified", "grouped", "stratified-grouped"),
    )
    by: tuple[str, ...] = setting(
        (),
        "Label column to stratify by: classes, tags, or numbers in quantile bins; again for each.",
        metavar="COLUMN",
    )
    bins: int = setting(10, "Bins of a column of numbers.", minimum=2)
    train: float = setting(0.8, "Share of the train split.", minimum=0.0, maximum=1.0)
    valid: float = setting(0.1, "Share of the valid split.", minimum=0.0, maximum=1.0)
    test: float = setting(0.1, "Share of the test split.", minimum=0.0, maximum=1.0)
    folds: int = setting(0, "Write a `fold` column of so many folds instead.", minimum=0)
    repeat: int = setting(
        0,
        "Draw the Ith of repeated splits, I from 1; of stratified ones the Ith that mt-eval probe "
        "--repeats draws from the same seed.",
        metavar="I",
        minimum=0,
    )
    keep: str = setting(
        "",
        "Rows of these given splits keep theirs, to which none are added; the other rows are drawn "
        "for the other splits. With all, rows without a split are drawn for every one, and those "
        "of a known track or artist follow it.",
        metavar="LIST|all",
    )
    copies: str = setting(
        "together",
        "apart draws each copy of a track by itself, which leaks: to show what that does, as in "
        "examples/leak. What is trained or scored on it wants --allow-leak.",
        choices=("together", "apart"),
    )
    allow_thin: bool = setting(
        False,
        "Stratify although a class has fewer artists, or tracks, than there are parts: some parts "
        "lack it.",
    )
    replace: bool = setting(False, "Draw again where the table has a split already.")
    seed: int = setting(0, "Seed of the draw.", minimum=0)
    report: str = setting(
        "", "Write how many rows, tracks and groups of each label each part holds to this table.",
        metavar="FILE", result=False,
    )  # fmt: skip


@dataclass(frozen=True)
class DescribeSettings:
    """`mt-fetch describe`."""

    column: tuple[str, ...] = setting(
        (), "Describe these columns alone; again for each.", metavar="NAME"
    )
    top: int = setting(
        0,
        "Labels listed of a column at most, the most frequent first; 0 = 1000, of which a terminal "
        "shows 10.",
        minimum=0,
    )
    plot: str = setting(
        "", "Draw distributions, counts and correlations into this .png, .svg or .pdf file.",
        metavar="FILE", result=False,
    )  # fmt: skip


@dataclass(frozen=True)
class JoinSettings:
    """`mt-fetch join`."""

    on: str = setting(
        "", "Column whose values both tables have, or the two columns that have them.",
        metavar="KEY|LEFT=RIGHT", panel=_LABELS,
    )  # fmt: skip
    key: str = setting(
        "",
        "Compare a part of the keys only: name (what follows the last slash), stem (without the "
        "ending of an audio file either), or what the (group) of a regular expression matches. A "
        "key that it does not match is compared as it is.",
        metavar="PART", panel=_LABELS,
    )  # fmt: skip
    header: str = setting(
        "", "Names of the columns of LABELS, where its first line is none.",
        metavar="NAMES", panel=_LABELS,
    )  # fmt: skip
    columns: str = setting(
        "",
        "Take these columns, under these names; all but the key without it, and of the wire's own "
        "names only group, split and fold.",
        metavar="[NEW=]COLUMN,...", panel=_LABELS,
    )  # fmt: skip
    multilabel: tuple[str, ...] = setting(
        (),
        "Make a list of tags of columns of 0 and 1, such as tags=rock,jazz or tags=tag_*: the tag "
        "is what * stands for, and * alone is every column of nothing but 0 and 1.",
        metavar="NEW=COLUMNS", panel=_LABELS,
    )  # fmt: skip
    collect: tuple[str, ...] = setting(
        (),
        "Make a list of what several rows of a key say: of a row a track and tag. Other columns "
        "are then taken only where --columns names them.",
        metavar="[NEW=]COLUMN", panel=_LABELS,
    )  # fmt: skip
    missing: str = setting(
        "keep",
        "Rows that LABELS does not have: keep them unlabelled, drop them, or fail: report each.",
        choices=("keep", "drop", "fail"), panel=_LABELS,
    )  # fmt: skip
    replace: bool = setting(
        False, "Overwrite columns that the table has already, in the rows that LABELS has.",
        panel=_LABELS,
    )  # fmt: skip
    lists: tuple[str, ...] = setting(
        (), "Split the texts of a column into lists of tags, such as tags=; (blanks are trimmed).",
        metavar="COLUMN=SEPARATOR", panel=_SHAPE,
    )  # fmt: skip
    relabel: tuple[str, ...] = setting(
        (),
        "Give classes or tags other names, several of them one: MAP.csv holds a line from,to for "
        "each; an empty one is no label.",
        metavar="COLUMN=MAP.csv", panel=_SHAPE,
    )  # fmt: skip
    unmapped: str = setting(
        "fail",
        "Labels that MAP.csv does not have: fail at the first, keep them, or drop them (the label, "
        "not the row).",
        choices=("fail", "keep", "drop"), panel=_SHAPE,
    )  # fmt: skip
    of: str = setting(
        "",
        "Column that the options below are about, where there are several.",
        metavar="COLUMN", panel=_SHAPE,
    )  # fmt: skip
    single_label_only: bool = setting(
        False, "Drop rows that have no label or several; a list becomes a class.", panel=_SHAPE
    )
    one_per: str = setting(
        "", "Keep one track, drawn, of those that agree in these columns: the versions of a song.",
        metavar="COLUMN,...", panel=_SHAPE,
    )  # fmt: skip
    top: int = setting(
        0, "Keep the N labels of most tracks, and of the others none.",
        metavar="N", minimum=0, panel=_SHAPE,
    )  # fmt: skip
    min_count: int = setting(
        0, "Keep the labels of N tracks or more.", metavar="N", minimum=0, panel=_SHAPE
    )
    cap: int = setting(
        0, "Keep N tracks a class, drawn; N in each split, where the table has splits.",
        metavar="N", minimum=0, panel=_SHAPE,
    )  # fmt: skip
    labelled_only: bool = setting(False, "Drop rows that have no label in the end.", panel=_SHAPE)
    seed: int = setting(0, "Another seed, other draws.", minimum=0, panel=_SHAPE)


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
class DatasetSettings:
    """`mt-fetch dataset`."""

    name: str = setting(
        "",
        "Name of the data set; `mt-fetch list` shows them. mirdata:NAME and hf:REPO reach those of "
        "mirdata and of Hugging Face.",
        argument=True,
    )
    to: str = setting(
        "",
        "Folder of this data set; where none is said it is NAME in the folder MT_TOOLS_DATA, else "
        "in mt-tools/datasets of your data folder (~/.local/share on Linux).",
        metavar="DIR", result=False,
    )  # fmt: skip
    from_: str = setting(
        "", "Download nothing: the data set is in this folder already.",
        flags=("--from",), metavar="DIR", result=False,
    )  # fmt: skip
    set_: str = setting(
        "", "Label set, where there are several; a wrong name is answered with the right ones.",
        flags=("--set",), metavar="NAME",
    )  # fmt: skip
    split: str = setting(
        "", "Published split, where there are several or one is an option.", metavar="NAME"
    )
    mirror: str = setting(
        "",
        "Folder or address that holds the files; the variable MT_TOOLS_MIRROR does the same.",
        metavar="DIR|URL", result=False,
    )  # fmt: skip
    connections: int = setting(
        4, "Files downloaded at the same time.", minimum=1, maximum=32, result=False
    )
    keep: bool = setting(
        True, "Keep the archives once they are unpacked; they are not needed then.", result=False
    )
    dry_run: bool = setting(
        False,
        "List the files, their sizes and what is here already, licence and citation; no network.",
        result=False,
    )
    verify: bool = setting(
        False, "Read every file again: exit 4 where one is missing, changed or extra.",
        result=False,
    )  # fmt: skip


@dataclass(frozen=True)
class SpecSettings:
    """`mt-spec`, beside the feature settings themselves."""

    preset: str = setting("", "Settings of a study to start from; see below.", metavar="NAME")
    whole: bool = setting(False, "Take whole tracks (they must be equally long).", panel=_EXCERPT)
    first: float = setting(
        0.0, "Take the first S seconds.", metavar="S", minimum=0.0, panel=_EXCERPT
    )
    middle: float = setting(
        0.0, "Take the middle S seconds.", flags=("--centre",), metavar="S", minimum=0.0,
        panel=_EXCERPT,
    )  # fmt: skip
    range: str = setting(
        "", "Take what lies between two times, in seconds: 29,58.", metavar="FROM,TO",
        panel=_EXCERPT,
    )  # fmt: skip
    segment: float = setting(
        0.0, "A row for every S seconds, end to end; ids get @start.", metavar="S", minimum=0.0,
        panel=_EXCERPT,
    )  # fmt: skip
    every: float = setting(
        0.0,
        "Begin a segment every S seconds: less than --segment overlaps, more leaves gaps.",
        metavar="S", minimum=0.0, panel=_EXCERPT,
    )  # fmt: skip
    crops: int = setting(
        0, "A row for each of N random places, as long as --seconds says.", metavar="N",
        minimum=0, panel=_EXCERPT,
    )  # fmt: skip
    parts: int = setting(
        0,
        "A row for each of N equal parts of the track, or for the middle --seconds of each.",
        metavar="N", minimum=0, panel=_EXCERPT,
    )  # fmt: skip
    seconds: float = setting(
        0.0, "Length of --crops and --parts.", metavar="S", minimum=0.0, panel=_EXCERPT
    )
    seed: int = setting(0, "Another seed, other --crops.", minimum=0, panel=_EXCERPT)
    dtype: str = setting(
        "float32",
        "float16 halves the table (only for logarithms); uint8 keeps 256 levels, a quarter.",
        choices=("float32", "float16", "uint8"), panel=_STORAGE,
    )  # fmt: skip
    levels: str = setting(
        "",
        "Values that the levels of uint8 lie between; what lies outside is clipped, and counted. "
        "Known for decibels below the maximum (--reference max).",
        metavar="LOW,HIGH", panel=_STORAGE,
    )  # fmt: skip
    as_: str = setting("", "Name of the new column.", flags=("--as",), metavar="NAME")
    fit: str = setting(
        "none",
        "Bring every band to mean 0 and deviation 1, or turn the bands to the directions in which "
        "frames vary most (pca), also to deviation 1 each (whiten). Fitted on the train rows.",
        choices=("none", "standardise", "pca", "whiten"), panel=_FITTED,
    )  # fmt: skip
    components: str = setting(
        "", "Directions kept: a number, or a share of the variance such as 0.95; all without it.",
        metavar="K|SHARE", panel=_FITTED,
    )  # fmt: skip
    epsilon: float = setting(
        0.0, "Added to each variance that --fit whiten divides by, so that little is not blown up.",
        metavar="X", minimum=0.0, panel=_FITTED,
    )  # fmt: skip
    fitted: str = setting(
        "", "Write the fitted transform to this .npz file.", metavar="FILE", result=False,
        panel=_FITTED,
    )  # fmt: skip
    apply: str = setting(
        "", "Apply a transform fitted before, to features made as it was; nothing is fitted.",
        metavar="FILE", panel=_FITTED,
    )  # fmt: skip
    column: str = setting(
        "", "Features of the table to transform, where there are several.", metavar="NAME",
        panel=_FITTED,
    )  # fmt: skip
    ignore_split: bool = setting(False, "Fit on all rows, the test rows too.", panel=_FITTED)


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
    recipe: tuple[str, ...] = setting(
        (),
        "Effects on a copy, in this order, such as pitch=-2..2,noise=pink:10..30: a range draws; "
        "again for each recipe. See below.",
        metavar="RECIPE",
    )
    copies: int = setting(1, "Copies of each track by each recipe, all drawn anew.", minimum=1)
    p: float = setting(
        1.0,
        "Chance of each effect to be applied to a copy; EFFECT@P in a recipe says it for one.",
        metavar="P", minimum=0.0, maximum=1.0,
    )  # fmt: skip
    seed: int = setting(0, "Another seed, other draws.", minimum=0)
    column: str = setting(
        "", "Features or embedding to augment, where the table has several.", metavar="NAME"
    )
    labels: str = setting(
        "",
        "Labels that mixup and cutmix mix: classes become distributions over those of the copied "
        "splits, numbers are averaged. Labels that are not named are null in a mixture.",
        metavar="LIST|none",
    )
    originals: bool = setting(True, "Keep the tracks as they were beside their copies.")
    only_split: str = setting(
        "train", "Copy the tracks of these splits only, where the table has splits.", metavar="LIST"
    )
    render: str = setting(
        "", "Write the copies as audio files (FLAC) into this folder.", metavar="DIR", result=False
    )


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
    """`mt-tag`: what is predicted, and how tags are chosen of scores."""

    model: tuple[str, ...] = setting(
        (),
        "Model of mt-train, or pretrained weights; crnn-msd where none is said. With an alias its "
        "columns are called alias.TASK_pred; again for several models, each with its alias.",
        flags=("--model", "-m"), metavar="[ALIAS=]NAME|FILE",
    )  # fmt: skip
    top: int = setting(
        0,
        "At most so many tags a track; 0 = all above the model's thresholds, 5 without them.",
        minimum=0,
    )
    probability: float = setting(
        0.0,
        "Write the tags whose score is at least this, whatever the model's thresholds; of classes "
        "see --confidence.",
        metavar="P", minimum=0.0, maximum=1.0,
    )  # fmt: skip
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
    segments: bool = setting(
        False,
        "Write a row a segment, a taggram, instead of a row a track.",
        panel=_TAGGRAM,
    )
    segment: float = setting(
        0.0, "Length of a segment, seconds; 0 = what the model was trained on.",
        metavar="S", minimum=0.0, panel=_TAGGRAM,
    )  # fmt: skip
    hop: float = setting(
        0.0, "Begin a segment every so many seconds; 0 = end to end.",
        metavar="S", minimum=0.0, panel=_TAGGRAM,
    )  # fmt: skip
    plot: str = setting(
        "",
        "Draw the taggrams: FILE.png, .svg or .pdf for one track, a folder for several. Implies "
        "--segments.",
        metavar="FILE|DIR", result=False, panel=_TAGGRAM,
    )  # fmt: skip
    uncertain: int = setting(
        0,
        "Give only the N tracks to label next: those that the model is least sure of, unlike each "
        "other.",
        metavar="N", minimum=0, panel=_ELSEWHERE,
    )  # fmt: skip
    playlists: str = setting(
        "",
        "Write playlists into this folder, DIR/TASK/TAG.m3u8, the surest tracks first (but "
        "with --no-scores); those of earlier runs are replaced, a playlist of yours never.",
        metavar="DIR", result=False, panel=_ELSEWHERE,
    )  # fmt: skip
    rekordbox: str = setting(
        "",
        "Write a library for Rekordbox: the tags as My Tags in comments, and as playlists. To one "
        "that Rekordbox exported they are added, and nothing else of it changes.",
        metavar="FILE.xml", result=False, panel=_ELSEWHERE,
    )  # fmt: skip


def settled(settings: TagSettings) -> TagSettings:
    """Return the settings of `mt-tag` with what follows from others: `--plot` draws segments.

    Raises `UsageError` for those that contradict each other.
    """
    if settings.probability and settings.precision:
        raise UsageError(
            f"--probability {settings.probability:g} and --precision {settings.precision:g} both "
            "choose the thresholds of tags: give one of them"
        )
    if settings.plot and settings.uncertain:
        raise UsageError(
            "--plot draws tracks from end to end, and --uncertain gives a few rows in another "
            "order: leave one out"
        )
    if settings.plot and not settings.segments:
        return dataclasses.replace(settings, segments=True)
    return settings
