"""Settings of `mt-eval`: fields become its options. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from mt_tools.settings import setting


@dataclass(frozen=True)
class ProbeSettings:
    """How a simple model is fitted to embeddings, and on which splits it is tested.

    The defaults are the constants of the REP study: a linear SVM with C = 1 for classes, an SVM
    with an RBF kernel, C = 1 and gamma = 1/d on the target as it is for regression.
    """

    probe: str = setting(
        "svm",
        "The model: support vector machine, logistic or ridge regression, nearest neighbours, or a "
        "perceptron of one hidden layer. Numbers: not logistic; distributions: logistic or knn.",
        choices=("svm", "logistic", "ridge", "knn", "mlp"),
    )
    kernel: str = setting(
        "auto",
        "The SVM's kernel; auto is linear for classes and tags, RBF for regression.",
        choices=("auto", "linear", "rbf"),
    )
    C: float = setting(
        1.0, "Inverse strength of the regularisation (ridge, mlp: alpha = 1/C).", minimum=1e-9
    )
    gamma: float = setting(0.0, "Width of the RBF kernel; 0 is 1/d for d dimensions.", minimum=0.0)
    k: int = setting(5, "Neighbours of knn.", minimum=1)
    search: bool = setting(
        False,
        "Choose the constants in each split, by five folds inside its train part (by the valid "
        "rows of the table's own split), never by the test part: C of svm (with an RBF kernel "
        "gamma too), logistic, ridge and mlp, k of knn.",
    )
    grid: tuple[str, ...] = setting(
        (),
        "Search these values instead: C=0.01,0.1,1; again for each constant.",
        metavar="NAME=LIST",
    )
    target: str = setting(
        "raw",
        "Regression by SVM: the target as it is, or standardised over the train part. C and the "
        "tube of 0.1 are in the target's unit: standardise what is not about 0 to 1.",
        choices=("raw", "standard"),
    )
    repeats: int = setting(0, "Test on this many random splits; 0 is none.", minimum=0)
    folds: int = setting(
        0,
        "Test by this many drawn folds. Without this and --repeats: the table's column fold, else "
        "its split, else 10 folds.",
        minimum=0,
    )
    test: float = setting(0.1, "The test share of each of the --repeats.", minimum=0.0, maximum=1.0)
    grouped: str = setting(
        "auto",
        "Keep groups (artists) on one side of each split; auto does where groups are known.",
        choices=("auto", "yes", "no"),
    )
    shots: str = setting(
        "",
        "Fit also on so few examples of each class or tag (of numbers: in all), drawn from the "
        "train part: metrics are called accuracy@5.",
        metavar="LIST",
    )
    seed: int = setting(0, "Seed of the splits, the few examples and the perceptron.")


@dataclass(frozen=True)
class ScoreSettings:
    """`mt-eval score`."""

    task: tuple[str, ...] = setting(
        (), "Label to score: COLUMN[:kind]; all that have predictions where none is said.",
        flags=("--task", "-t"), metavar="COLUMN[:kind]",
    )  # fmt: skip
    splits: str = setting(
        "", "Score only rows of these splits, such as test or valid,test.", metavar="LIST"
    )
    allow_leak: bool = setting(
        False, "Score although the split leaks; every line of the result then says so."
    )
    confusion: str = setting(
        "", "Write the confusion matrices of tasks of classes to this table.",
        metavar="FILE", result=False,
    )  # fmt: skip
    seed: int = setting(0, "Seed of the bootstrap.", minimum=0)
    require: tuple[str, ...] = setting(
        (), "Exit 4 unless this holds, such as 'accuracy>=0.5'.", metavar="CONDITION", result=False
    )


@dataclass(frozen=True)
class ProbeTaskSettings:
    """`mt-eval probe`, beside the settings of the probe itself."""

    task: tuple[str, ...] = setting(
        (), "Label to predict: COLUMN[:kind]; again for each.",
        flags=("--task", "-t"), metavar="COLUMN[:kind]",
    )  # fmt: skip
    column: tuple[str, ...] = setting(
        (), "Embedding column; all of them where none is said.", metavar="NAME"
    )
    each: bool = setting(
        False, "Write also a row for every split, with its number as repeat, for mt-eval compare."
    )
    ignore_split: bool = setting(
        False, "Use all rows, those that the column split marks as test or leaves out too."
    )
    allow_leak: bool = setting(
        False, "Probe although the table's own fold or split leaks; every row then says so."
    )
    resume: bool = setting(
        False,
        "Go on from the checkpoint (FILE.checkpoint) of a run that was stopped, if there is one.",
        result=False,
    )
    require: tuple[str, ...] = setting(
        (), "Exit 4 unless this holds, such as 'accuracy>=0.5'.", metavar="CONDITION", result=False
    )


@dataclass(frozen=True)
class RecommendSettings:
    """How tracks that nobody has heard are recommended, and on which splits that is tested.

    The defaults are the constants of the REP study (section 4.3.2).
    """

    factors: int = setting(10, "Factors of a listener and a track.", minimum=1)
    iterations: int = setting(40, "Iterations of alternating least squares.", minimum=1)
    lambda_u: float = setting(1.0, "Penalty of the listeners' factors.", minimum=1e-9)
    lambda_v: float = setting(
        100.0, "Penalty of the tracks' factors where they differ from what the embedding says.",
        minimum=1e-9,
    )  # fmt: skip
    lambda_w: float = setting(
        1.0, "Penalty of the map from the embedding to factors.", minimum=1e-9
    )
    alpha: float = setting(
        0.0,
        "Trust a like the more the more often it was counted, 1 + ALPHA x count times as much as "
        "its absence (Hu, Koren and Volinsky); 0 trusts both alike.",
        minimum=0.0,
    )
    candidates: str = setting(
        "all",
        "What is ranked for a listener: all tracks but those liked in training, as in REP, or the "
        "held-out tracks alone, which gives larger numbers.",
        choices=("all", "held-out"),
    )
    at: int = setting(20, "Length of the list that ap@20 and ndcg@20 look at.", minimum=1)
    min_likes: int = setting(
        1, "Leave out listeners who like fewer of the tracks.", minimum=1, metavar="N"
    )
    repeats: int = setting(0, "Test on this many random splits of tracks; 0 is none.", minimum=0)
    folds: int = setting(
        0,
        "Test by this many drawn folds. Without this and --repeats: the table's column fold, else "
        "its split, else 10 folds.",
        minimum=0,
    )
    test: float = setting(
        0.1, "The share of tracks held out in each of the --repeats.", minimum=0.0, maximum=1.0
    )
    grouped: str = setting(
        "auto",
        "Keep groups (artists) on one side of each split; auto does where groups are known.",
        choices=("auto", "yes", "no"),
    )
    seed: int = setting(0, "Seed of the splits and of the factors to begin with.")


@dataclass(frozen=True)
class RecommendTaskSettings:
    """`mt-eval recommend`, beside how is recommended."""

    likes: str = setting(
        "",
        "Who likes what: a column that lists the listeners of each track, or a file of a row a "
        "listener and track (CSV, TSV, JSON lines, or a table).",
        metavar="COLUMN|FILE",
    )
    users: str = setting("user", "Column of listeners in the file of --likes.", metavar="COLUMN")
    items: str = setting(
        "track", "Column of the tracks in the file of --likes, as id or origin names them.",
        metavar="COLUMN",
    )  # fmt: skip
    count: str = setting(
        "", "Column of how often, in the file of --likes; rows count once each without it.",
        metavar="COLUMN",
    )  # fmt: skip
    column: tuple[str, ...] = setting(
        (), "Embedding column; all of them where none is said.", metavar="NAME"
    )
    baselines: bool = setting(
        False, "Add what needs no embedding: the most liked tracks, and a random order."
    )
    each: bool = setting(
        False, "Write also a row for every split, with its number as repeat, for mt-eval compare."
    )
    ignore_split: bool = setting(
        False, "Use all tracks, those that the column split marks as test or leaves out too."
    )
    allow_leak: bool = setting(
        False, "Go on although the table's own fold or split leaks; every row then says so."
    )
    resume: bool = setting(
        False,
        "Go on from the checkpoint (FILE.checkpoint) of a run that was stopped, if there is one.",
        result=False,
    )
    require: tuple[str, ...] = setting(
        (), "Exit 4 unless this holds, such as 'ap@20>=0.05'; baselines need not.",
        metavar="CONDITION", result=False,
    )  # fmt: skip


@dataclass(frozen=True)
class NoiseSettings:
    """How the labels that the rest of the data does not predict are found."""

    folds: int = setting(5, "Judge each of so many folds by the others.", minimum=2)
    C: float = setting(
        0.0,
        "Inverse strength of the regularisation; 0 takes of 0.001 to 10 what predicts best.",
        minimum=0.0,
    )
    grouped: str = setting(
        "auto",
        "Judge groups (artists) by others only; auto does where groups are known.",
        choices=("auto", "yes", "no"),
    )
    seed: int = setting(0, "Seed of the folds.")


@dataclass(frozen=True)
class NoiseTaskSettings:
    """`mt-eval noise`, beside how noise is found."""

    task: tuple[str, ...] = setting(
        (), "Label to judge: COLUMN[:kind]; again for each.",
        flags=("--task", "-t"), metavar="COLUMN[:kind]",
    )  # fmt: skip
    column: str = setting("", "Embedding column, where there are several.", metavar="NAME")
    top: int = setting(0, "List only so many of each task; 0 is all.", minimum=0, metavar="N")
    summary: str = setting(
        "", "Write the estimates by class to this file, as a table of metrics.",
        metavar="FILE", result=False,
    )  # fmt: skip


@dataclass(frozen=True)
class CompareSettings:
    """`mt-eval compare`."""

    against: str = setting(
        "",
        "Compare every run with this one alone, and exit 4 where one is worse.",
        metavar="[NAME=]FILE",
    )
    task: tuple[str, ...] = setting(
        (), "Task to compare; all that the runs share where none is said.",
        flags=("--task", "-t"), metavar="NAME",
    )  # fmt: skip
    metric: tuple[str, ...] = setting(
        (), "Metric to compare, of each label where it is of labels; the main one of each task "
        "where none is said.", metavar="NAME",
    )  # fmt: skip
    rope: float = setting(
        0.01,
        "Differences of so much or less make no difference in practice, in the metric's unit.",
        minimum=0.0,
    )
    unpaired: bool = setting(
        False, "Compare by the interval of each run alone, although splits differ or none are kept."
    )
    splits: str = setting(
        "", "Compare predictions on rows of these splits, such as test or valid,test.",
        metavar="LIST",
    )  # fmt: skip
    allow_leak: bool = setting(
        False, "Compare predictions although the split leaks; every row of the result says so."
    )
    plot: str = setting(
        "", "Draw mean ranks over tasks with their critical difference, of three runs or more.",
        metavar="FILE", result=False,
    )  # fmt: skip
    design: str = setting(
        "",
        "Say instead what sources and strategies do, by averages, spread and a multilevel model: "
        "a table of mt-eval design with the columns run, sources (a list: a|b) and, if it varies, "
        "strategy.",
        metavar="FILE",
    )
    seed: int = setting(0, "Seed of the bootstrap and the signed-rank test.", minimum=0)


@dataclass(frozen=True)
class DesignSettings:
    """`mt-eval design`."""

    source: tuple[str, ...] = setting(
        (), "A learning source, that a run learns from or not; again for each.", metavar="NAME"
    )
    strategy: tuple[str, ...] = setting(
        (),
        "How a run learns from its sources, and how many it takes: block:1 takes any number, "
        "MTN:2.. two or more, SS-R:1..1 one; again for each.",
        metavar="NAME[:FEWEST..MOST]",
    )
    runs: int = setting(
        0, "Take so many of all runs, chosen to tell main effects apart.", minimum=0, metavar="N"
    )
    full: bool = setting(
        False,
        "Take every set of sources with every strategy; so where neither --runs nor --own is said.",
        flags=("--full",),
    )
    own: str = setting(
        "",
        "Check and name the runs of this table, with the columns sources (a list: a|b) and, if it "
        "varies, strategy.",
        metavar="FILE",
    )
    add_full: bool = setting(
        False, "With --runs: add the run with all sources of each strategy.", flags=("--add-full",)
    )
    also: tuple[str, ...] = setting(
        (),
        "A further strategy for every set of sources that the design has, and every source alone, "
        "as far as it takes them: SS-R:1..1, or MSS-CR:2.., which costs no training.",
        metavar="NAME[:FEWEST..MOST]",
    )
    confounding: str = setting(
        "", "Write correlations and aliases of effects to this table.", metavar="FILE", result=False
    )
    seed: int = setting(0, "Seed of the search with --runs.", minimum=0)


@dataclass(frozen=True)
class CheckSettings:
    """`mt-eval check`."""

    warn: bool = setting(False, "Exit 0 although there are findings.", result=False)
    audio: bool = setting(
        False,
        "Open the files too: find identical sound, and by fingerprints of the first minute copies "
        "that were encoded anew, made louder or cut.",
    )
    near: float = setting(
        0.35,
        "Embeddings nearer than this share of the distance to other tracks around are "
        "near-duplicates; 0 finds identical ones only.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    task: tuple[str, ...] = setting(
        (),
        "Label that must not tell the group; all but artist, album and title where none is said.",
        flags=("--task", "-t"), metavar="COLUMN",
    )  # fmt: skip
    dataset: str = setting("", "Look for the known faults of this data set: gtzan.", metavar="NAME")
    model: str = setting(
        "", "Compare vocabularies and settings with this model.", metavar="NAME|FILE"
    )


@dataclass(frozen=True)
class ThresholdSettings:
    """`mt-eval thresholds`."""

    model: str = setting(
        "", "The model that made the predictions.", flags=("--model", "-m"), metavar="NAME|FILE"
    )
    output: str = setting(
        "", "Write the model with what was fitted to this .safetensors file; without it nothing is "
        "kept but the report.", flags=("--output", "-o"), metavar="FILE", result=False,
    )  # fmt: skip
    task: tuple[str, ...] = setting(
        (), "Task of the model; all that have labels where none is said.",
        flags=("--task", "-t"), metavar="TASK",
    )  # fmt: skip
    goal: tuple[str, ...] = setting(
        (),
        "What thresholds are for: f1, precision:P, recall:R or cost:FP,FN of tags (f1 where none "
        "is said), precision:P or coverage:C of classes, which are left open below it; again for "
        "another task.",
        flags=("--for",), metavar="[TASK=]GOAL",
    )  # fmt: skip
    calibrate: str = setting(
        "none",
        "Make scores say how often they are right: by one temperature a task, or by a rising curve "
        "a tag or class, which wants some 200 rows of each.",
        choices=("none", "temperature", "isotonic"),
    )
    sure: float = setting(
        0.5,
        "How sure it is to be that precision or recall is reached: 0.5 is as likely as not, 0.95 "
        "nearly certain and out of reach with few rows.",
        minimum=0.01, maximum=0.999,
    )  # fmt: skip
    splits: str = setting("valid", "Fit on rows of these splits.", metavar="LIST")
    allow_leak: bool = setting(
        False, "Fit on train or test rows, or across a leaking split; the model says so ever after."
    )
    seed: int = setting(0, "Seed of the folds and the bootstrap.", minimum=0)
    report: str = setting(
        "", "Write the report to this file, by its ending, and not to stdout.",
        metavar="FILE", result=False,
    )  # fmt: skip
    require: tuple[str, ...] = setting(
        (), "Exit 4 unless this holds, such as 'f1_macro>=0.4'.", metavar="CONDITION", result=False
    )
