"""What the tests of the stages share: rows without a shell, and models made in this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import RowError
from mt_tools.learn.settings import FitSettings
from mt_tools.nets.model import Model
from mt_tools.stages import train
from mt_tools.stages.settings import TrainSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import RESERVED, Column, guess_role
from mt_tools.tables.source import Source, open_table

MakeBatch = Callable[..., Batch]


def _kind(values: Any) -> str:
    if isinstance(values, np.ndarray) and values.ndim > 1:
        return "vector" if values.ndim == 2 else "tensor"
    given = [value for value in values if value is not None]
    if given and isinstance(given[0], list):
        return "strings"
    return "string" if not given or isinstance(given[0], str) else "number"


@pytest.fixture(scope="session")
def make_batch() -> MakeBatch:
    """Build rows from lists and arrays; ids are counted where none are given."""

    def make(settings: dict[str, Any] | None = None, **values: Any) -> Batch:
        length = len(next(iter(values.values())))
        values = {"id": [f"t{number}" for number in range(length)]} | values
        columns = []
        for name, column in values.items():
            kind = RESERVED.get(name) or _kind(column)
            heavy = kind in ("vector", "tensor")
            shape = column.shape[1:] if heavy else ()
            described = settings or {} if heavy else {}
            columns.append(Column(name, kind, guess_role(name, kind), described, shape))
        return Batch.build(columns, values)

    return make


class Failures(list[tuple[str, str]]):
    """Collects the failed rows of a stage as (id, kind)."""

    def __call__(self, row: dict[str, Any], error: RowError) -> None:
        """Take one failure."""
        self.append((row["id"], error.kind))


@pytest.fixture
def failures() -> Failures:
    """The failed rows of one test."""
    return Failures()


@pytest.fixture
def tracks(corpus: Path) -> Source:
    """The made corpus as a source of rows."""
    return Source([open_table(str(corpus / "tracks.parquet"))], [str(corpus)])


@pytest.fixture
def few(tracks: Source) -> Iterator[Batch]:
    """The first four tracks of the corpus."""
    return iter([next(iter(tracks)).take(range(4))])


@pytest.fixture(scope="session")
def fit_model() -> Callable[..., Model]:
    """Train on the rows of a batch, in this process; options are those of mt-train."""

    def fit_model(
        batch: Batch,
        *tasks: str,
        column: str = "embedding",
        folders: tuple[str, ...] = (),
        say: Callable[[str], None] = lambda note: None,
        **options: Any,
    ) -> Model:
        names = {field.name for field in dataclasses.fields(FitSettings)}
        fitting = {"epochs": 30, "seed": 0} | {k: v for k, v in options.items() if k in names}
        others = {k: v for k, v in options.items() if k not in names}
        labels = [task.split(":")[0] for task in tasks]
        chosen, net = train.input_column(batch.columns, column, "")
        model, _ = train.run(
            train.collect([batch], chosen, labels, say), chosen, net,
            TrainSettings(task=tasks, **({"hidden": "16"} | others)), FitSettings(**fitting),
            device="cpu", folders=folders, provenance=[], say=say, on_epoch=lambda epoch: None,
        )  # fmt: skip
        return model

    return fit_model
