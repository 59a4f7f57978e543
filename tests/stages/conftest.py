"""What the tests of the stages share: rows without a shell, and models made in this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mt_tools.errors import RowError
from mt_tools.learn.settings import (
    FeedSettings,
    FitSettings,
    ProtocolSettings,
    TransferSettings,
)
from mt_tools.learn.transfer import parse_init
from mt_tools.nets.model import Model
from mt_tools.stages import inputs
from mt_tools.stages.job import Job
from mt_tools.stages.settings import Options, TrainSettings
from mt_tools.stages.train import run
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
def make_job() -> Callable[..., Job]:
    """Describe a training on the rows of a batch; options are those of mt-train."""

    def make_job(
        batch: Batch,
        *tasks: str,
        column: str = "embedding",
        folders: tuple[str, ...] = (),
        say: Callable[[str], None] = lambda note: None,
        **options: Any,
    ) -> Job:
        given: dict[str, Any] = {
            "epochs": 30,
            "seed": 0,
            "task": tasks,
            "param": ("hidden=16",) * (batch.columns[column].kind == "vector"),
        } | options
        groups: list[Any] = [
            cls(**{f.name: given.pop(f.name) for f in dataclasses.fields(cls) if f.name in given})
            for cls in (TrainSettings, FitSettings, FeedSettings, TransferSettings,
                        ProtocolSettings)
        ]  # fmt: skip
        said = Options(*groups)
        chosen = inputs.input_column(batch.columns, column, "")
        assert chosen is not None
        arch, weights = inputs.network(said.train.net, chosen)
        examples = inputs.collect([batch], chosen, said, arch=arch, say=say)
        inits = parse_init(said.transfer.init)
        sources, parameters = inputs.sources_of(said, arch, weights, inits, examples, say)
        backbone = inputs.backbone_of(chosen, folders, say)
        return Job(
            examples, chosen, arch, parameters, sources, said, backbone, torch.device("cpu"), say,
            **given,
        )  # fmt: skip

    return make_job


@pytest.fixture(scope="session")
def fit_model(make_job: Callable[..., Job]) -> Callable[..., Model]:
    """Train on the rows of a batch, in this process; options are those of mt-train."""

    def fit_model(batch: Batch, *tasks: str, **options: Any) -> Model:
        return run(make_job(batch, *tasks, **options), []).model

    return fit_model
