"""The settings of the training loop, which are options of `mt-train`."""

from __future__ import annotations

from dataclasses import dataclass

from mt_tools.settings import setting

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "step", "cosine")
PRECISIONS = ("float32", "mixed")
TASK_SCHEDULES = ("all", "random")
WEIGHTINGS = ("fixed", "equal", "prior", "uncertainty", "dwa")


@dataclass(frozen=True)
class FitSettings:
    """How a model is fitted: its length, its steps, and when it stops."""

    epochs: int = setting(
        200, "Passes over the training rows, at most.", minimum=1, panel="Training"
    )
    samples: int = setting(
        0,
        "Stop once so many examples were seen, whatever --epochs says; 0 = by --epochs.",
        minimum=0,
        panel="Training",
    )
    # Batch norm has no variance to normalise by in a batch of one row.
    batch_size: int = setting(32, "Rows an update.", minimum=2, panel="Training")
    optimizer: str = setting(
        "adam",
        "Optimizer; sgd has Nesterov's momentum of 0.9.",
        choices=OPTIMIZERS,
        panel="Training",
    )
    learning_rate: float = setting(
        0.001, "Step size of the optimizer.", minimum=0.0, panel="Training"
    )
    weight_decay: float = setting(
        0.0, "L2 penalty (adam, sgd) or decoupled decay (adamw).", minimum=0.0, panel="Training"
    )
    schedule: str = setting(
        "constant",
        "How the learning rate falls: constant, step (see --lr-step) or cosine (to zero at the "
        "last update).",
        choices=SCHEDULES,
        panel="Training",
    )
    warmup: int = setting(
        0, "Updates during which the learning rate rises to its value.", minimum=0, panel="Training"
    )
    clip: float = setting(
        0.0, "Largest norm of the gradient; 0 = any.", minimum=0.0, panel="Training"
    )
    precision: str = setting(
        "float32",
        "mixed: 16-bit arithmetic where it is safe, which is faster on most GPUs.",
        choices=PRECISIONS,
        panel="Training",
    )
    patience: int = setting(
        20,
        "Stop after so many epochs without a better result on the valid rows; 0 = never.",
        minimum=0,
        panel="Training",
    )
    stop_on: str = setting(
        "loss",
        "What is better: a lower loss, or a metric of a task, such as genre.accuracy.",
        metavar="loss|TASK.METRIC",
        panel="Training",
    )
    task_schedule: str = setting(
        "all",
        "Tasks of an update: all, or random (one, drawn anew; an epoch then has as many times more "
        "updates as there are tasks).",
        choices=TASK_SCHEDULES,
        panel="Training",
    )
    weighting: str = setting(
        "fixed",
        "Weights of the tasks' losses: fixed (those of --task), equal, prior (over the loss of the "
        "constant predictor), uncertainty (learned) or dwa (by how fast each falls).",
        choices=WEIGHTINGS,
        panel="Training",
    )
    seed: int = setting(0, "Seed of every random draw.", minimum=0, panel="Training")
    threads: int = setting(
        0,
        "Threads on a CPU; 0 = one for the mlp, one a core for the rest.",
        minimum=0,
        panel="Training",
    )
    validate_every: int = setting(
        0,
        "Updates between two points of the learning curves within an epoch; 0 = one an epoch.",
        minimum=0,
        result=False,
        panel="Training",
    )
    checkpoint_every: int = setting(
        1000,
        "Updates that a killed run loses at most, if --resume follows; 0 = all.",
        minimum=0,
        result=False,
        panel="Training",
    )


@dataclass(frozen=True)
class ProtocolSettings:
    """What is learned together, and how often: `learn.protocol` reads these."""

    class_weight: str = setting(
        "none",
        "balanced: rare classes and tags weigh as much as frequent ones.",
        choices=("none", "balanced"),
        panel="Tasks",
    )
    target_scale: str = setting(
        "standard",
        "Scale that numbers are learned on: standard (mean 0, deviation 1), minmax (0 to 1) or "
        "raw; predictions are in the column's own units.",
        choices=("standard", "minmax", "raw"),
        panel="Tasks",
    )
    vocab: tuple[str, ...] = setting(
        (),
        "Classes or tags of a task, in this order, from a text file with one a line.",
        metavar="TASK=FILE",
        panel="Tasks",
    )
    share: tuple[str, ...] = setting(
        (),
        "Layers that tasks have in common: all (the default), none (a network a task) or block:K "
        "(the first K blocks); of some tasks only: block:2:genre+subgenre.",
        metavar="none|block:K|all[:TASK+TASK]",
        panel="Tasks",
    )
    output_feature: tuple[str, ...] = setting(
        (),
        "Feed the outputs of tasks to the head of another, without a gradient: "
        "'genre->subgenre,genre+energy->situation'.",
        metavar="TASK[+TASK]->TASK",
        panel="Tasks",
    )
    repeats: int = setting(
        1,
        "Train so often, each time with other random draws of valid, test and weights; reports "
        "means and deviations. The model is that of the first time.",
        minimum=1,
        panel="Protocol",
    )
    retrain: bool = setting(
        False,
        "Train again on train and valid together, for the mean of the best epochs.",
        panel="Protocol",
    )
    baseline: bool = setting(
        False,
        "Train every task alone as well, and report what it gains or loses by company.",
        panel="Protocol",
    )


@dataclass(frozen=True)
class FeedSettings:
    """What of each track is an example while training, and how it is varied."""

    crop: float = setting(
        0.0,
        "Learn from random crops of S seconds; 0 = whole examples. What the model says of a track "
        "is then the average over consecutive segments of S seconds.",
        metavar="S",
        minimum=0.0,
        panel="Examples",
    )
    recipe: tuple[str, ...] = setting(
        (),
        "Take each example as it is or with this recipe, drawn anew every epoch, such as "
        "mixup=beta0.2, or of audio pitch=-2..2,mask=0..8:0..20; again for each recipe. See "
        "mt-augment --help for what there is.",
        metavar="RECIPE",
        panel="Examples",
    )
    originals: bool = setting(
        True, "With --recipe, take examples as they are too.", panel="Examples"
    )
    spec_augment: str = setting(
        "",
        "Cover up to so many bands and frames of each example, drawn anew every epoch; the masks "
        "of mask=0..BANDS:0..FRAMES, on all examples.",
        metavar="BANDS,FRAMES",
        panel="Examples",
    )
    buffer: int = setting(
        1024,
        "Rows shuffled among each other at a time, where a table is larger than memory.",
        minimum=2,
        panel="Examples",
    )


@dataclass(frozen=True)
class TransferSettings:
    """What is taken over from other models, and what of the network learns how fast.

    A PATTERN is the name of a layer or a tensor, in which `*`, `?` and `[12]` match as in a shell:
    `shared.conv[12]`, `branches.genre.*`, `heads.*`. Of several that match, the last counts.
    """

    init: tuple[str, ...] = setting(
        (),
        "Start from the weights of this model: its layers of the same name and shape, or what "
        "--map says; again for each model.",
        metavar="[ALIAS=]NAME|FILE",
        panel="Transfer",
    )
    map: tuple[str, ...] = setting(
        (),
        "Layers to copy from a model of --init, and where to: "
        "'genre:shared.conv*->branches.genre.conv*'; again for each.",
        metavar="[ALIAS:]PATTERN->PATTERN",
        panel="Transfer",
    )
    freeze: tuple[str, ...] = setting(
        (),
        "Layers that stay as they are, dropout and batch norm included, such as 'shared.conv[12]'.",
        metavar="PATTERN",
        panel="Transfer",
    )
    unfreeze: tuple[str, ...] = setting(
        (),
        "Layers that stay as they are until this epoch and learn from it on: 'shared.conv5=10'.",
        metavar="PATTERN=EPOCH",
        panel="Transfer",
    )
    lr_scale: tuple[str, ...] = setting(
        (),
        "Learning rate of these layers, over that of the rest: 'shared.*=0.1'.",
        metavar="PATTERN=X",
        panel="Transfer",
    )
    lr_step: tuple[str, ...] = setting(
        (),
        "Multiply the learning rate by --lr-decay after every N updates, of these layers or all.",
        metavar="[PATTERN=]N",
        panel="Transfer",
    )
    lr_decay: float = setting(
        0.1, "Factor of each --lr-step.", minimum=0.0, maximum=1.0, panel="Transfer"
    )
    lr_floor: float = setting(
        1e-6, "Learning rate below which --lr-step does not go.", minimum=0.0, panel="Transfer"
    )
    select: str = setting(
        "",
        "Keep only the useful columns of an embedding, found in the train rows: steps of variance, "
        "correlation, rfecv, f:K and mi:K (K columns, or K%), in order.",
        metavar="LIST",
        panel="Transfer",
    )
