"""The settings of the training loop, which are options of `mt-train`."""

from __future__ import annotations

from dataclasses import dataclass

from mt_tools.settings import setting

OPTIMIZERS = ("adam", "adamw", "sgd")


@dataclass(frozen=True)
class FitSettings:
    """How a model is fitted: length, steps and early stopping."""

    epochs: int = setting(
        200, "Passes over the training rows, at most.", minimum=1, panel="Training"
    )
    # Batch norm has no variance to normalise by in a batch of one row.
    batch_size: int = setting(32, "Rows a step.", minimum=2, panel="Training")
    learning_rate: float = setting(
        0.001, "Step size of the optimizer.", minimum=0.0, panel="Training"
    )
    weight_decay: float = setting(
        0.0, "L2 penalty (adam, sgd) or decoupled decay (adamw).", minimum=0.0, panel="Training"
    )
    optimizer: str = setting(
        "adam",
        "Optimizer; sgd has a momentum of 0.9.",
        choices=OPTIMIZERS,
        panel="Training",
    )
    patience: int = setting(
        20,
        "Stop after so many epochs without a lower loss on the valid rows.",
        minimum=1,
        panel="Training",
    )
    seed: int = setting(0, "Seed of every random draw.", minimum=0, panel="Training")
    threads: int = setting(
        0,
        "Threads on a CPU; 0 = one for the mlp, one a core for the rest.",
        minimum=0,
        panel="Training",
    )
