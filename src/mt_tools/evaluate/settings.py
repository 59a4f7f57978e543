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
        "The model: support vector machine, logistic regression or ridge regression.",
        choices=("svm", "logistic", "ridge"),
    )
    kernel: str = setting(
        "auto",
        "The SVM's kernel; auto is linear for classes and tags, RBF for regression.",
        choices=("auto", "linear", "rbf"),
    )
    C: float = setting(
        1.0, "Inverse strength of the regularisation (ridge: alpha = 1/C).", minimum=1e-9
    )
    gamma: float = setting(0.0, "Width of the RBF kernel; 0 is 1/d for d dimensions.", minimum=0.0)
    target: str = setting(
        "raw",
        "Regression by SVM: the target as it is, or standardised over the train part. C and the "
        "tube of 0.1 are in the target's unit: standardise what is not about 0 to 1.",
        choices=("raw", "standard"),
    )
    repeats: int = setting(0, "Test on this many random splits; 0 is none.", minimum=0)
    folds: int = setting(
        0, "Test by this many folds; without --repeats the default is 10.", minimum=0
    )
    test: float = setting(0.1, "The test share of each of the --repeats.", minimum=0.0, maximum=1.0)
    grouped: str = setting(
        "auto",
        "Keep groups (artists) on one side of each split; auto does where groups are known.",
        choices=("auto", "yes", "no"),
    )
    seed: int = setting(0, "Seed of the splits.")


@dataclass(frozen=True)
class ScoreSettings:
    """`mt-eval score`."""

    task: tuple[str, ...] = setting(
        (), "Label to score: COLUMN[:kind]; all that have predictions where none is said.",
        flags=("--task", "-t"), metavar="COLUMN[:kind]",
    )  # fmt: skip
    splits: str = setting("", "Score only rows of these splits.", metavar="LIST")
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
    require: tuple[str, ...] = setting(
        (), "Exit 4 unless this holds, such as 'accuracy>=0.5'.", metavar="CONDITION", result=False
    )


@dataclass(frozen=True)
class CheckSettings:
    """`mt-eval check`."""

    warn: bool = setting(False, "Exit 0 although there are findings.", result=False)
    model: str = setting(
        "", "Compare vocabularies and settings with this model.", metavar="NAME|FILE"
    )
