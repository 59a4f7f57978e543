"""Which rows of a table train, which stop the training, and which are reported on.

Option, else `fold`, else `split`, else a seeded draw that keeps artists together. Test
rows never train.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mt_tools import splits
from mt_tools.errors import UsageError
from mt_tools.evaluate.leaks import of_split
from mt_tools.nets.model import LEAK_ALLOWED
from mt_tools.stages.settings import TrainSettings
from mt_tools.tables.batch import Batch

COLUMNS = ("origin", "group", "recipe", "rendered", "split", "fold")
"""What the parts of a table are made from, beside its ids and what it is stratified by."""


@dataclass(frozen=True)
class Parts:
    """Row numbers of the parts of a training table; `notes` say how they came about.

    `copies` are rows of train's and valid's tracks that validate nothing: augmented ones. `drawn`
    tells whether chance had a part in it, so that another seed gives other parts.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    notes: list[str] = field(default_factory=list)
    drawn: bool = False
    copies: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.intp))

    def joined(self) -> np.ndarray:
        """Return the rows of train and valid together, copies of the latter's tracks included."""
        return np.sort(np.concatenate([self.train, self.valid, self.copies]))

    def rows(self) -> dict[str, np.ndarray]:
        """Return the row numbers by the name of the part."""
        return {"train": self.train, "valid": self.valid, "test": self.test}

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each part."""
        return {name: len(rows) for name, rows in self.rows().items()}


def parts_of(
    table: Batch, settings: TrainSettings, stratify: np.ndarray | None, seed: int
) -> Parts:
    """Return the rows to train on, to stop by and to report on.

    What the table does not mark is drawn from the train rows, stratified by the labels `stratify`
    [n] where the settings ask for it. Augmented copies train, and are neither validated nor tested
    on. Raises `UsageError` for a split that leaks, unless allowed.
    """
    part, notes = _marked(table, settings)
    if "train" not in part:
        raise UsageError("no train rows: mark some with split = train, or say --ignore-split")
    drawn = False
    for name, share in (("test", settings.test), ("valid", settings.valid)):
        if share and name not in part:
            part = _drawn(table, part, name, share, settings.split, stratify, seed)
            of = "rows" if name == "test" else "train rows"
            notes.append(f"{name} rows drawn: {share:g} of the {of}, {settings.split}")
            drawn = True
    copied = zip(table.get("recipe"), table.get("rendered"), strict=True)
    real = np.array([recipe is None and rendered is None for recipe, rendered in copied])
    valid, test = (np.flatnonzero((part == name) & real) for name in ("valid", "test"))
    copies = np.flatnonzero((part == "valid") & ~real)
    return Parts(np.flatnonzero(part == "train"), valid, test, notes, drawn, copies)


def _marked(table: Batch, settings: TrainSettings) -> tuple[np.ndarray, list[str]]:
    """Return the part of each row as the options and the table say, and notes."""
    part = np.full(len(table), "train", dtype=object)
    if settings.ignore_split:
        held = sum(value in ("valid", "test") for value in table.get("split"))
        held += sum(value >= 0 for value in table["fold"]) if "fold" in table else 0
        said = (
            f"{LEAK_ALLOWED}trained on all rows, {held} of them marked for testing (--ignore-split)"
        )
        return part, [said] * bool(held)
    if settings.fold >= 0:
        name = "fold"
        table.require(name)
        fold = table[name]
        part[fold == settings.fold] = "test"
        part[np.isnan(fold)] = None
        if not (part == "test").any():
            raise UsageError(f"--fold {settings.fold}: no row has this fold")
    elif any(value is not None for value in table.get("split")):
        name = "split"
        part = table[name].copy()
        unknown = sorted({*part} - {"train", "valid", "test", None})
        if unknown:
            raise UsageError(
                f"column 'split' has {', '.join(map(repr, unknown))}: expected train, valid, test "
                "or null"
            )
    else:
        return part, []
    left_out = sum(value is None for value in part)
    notes = [f"{left_out} rows have no {name} and are left out"] * bool(left_out)
    return part, notes + _leaks(table, part, name, settings.allow_leak)


def _leaks(table: Batch, part: np.ndarray, name: str, allowed: bool) -> list[str]:
    """Return what leaks between the parts as notes, or raise unless it is allowed."""
    leaks = of_split(
        ids=table.ids, origins=table.origins, groups=table.get("group"), part=part, name=name,
        allowed=allowed,
    )  # fmt: skip
    return [f"{LEAK_ALLOWED}{leak.message}" for leak in leaks]


def _drawn(
    table: Batch,
    part: np.ndarray,
    name: str,
    share: float,
    how: str,
    stratify: np.ndarray | None,
    seed: int,
) -> np.ndarray:
    """Move a share of the train rows to another part."""
    if how == "stratified" and stratify is None:
        raise UsageError("--split stratified needs a task of classes or tags: choose another")
    rows = np.flatnonzero(part == "train")
    drawn = splits.draw(
        table.origins[rows],
        table.get("group")[rows] if how == "grouped" else None,
        stratify[rows] if stratify is not None and how == "stratified" else None,
        ratios={"train": 1 - share, name: share},
        seed=seed,
        purpose=name,
    )
    part = part.copy()
    part[rows] = drawn
    return part
