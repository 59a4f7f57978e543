"""Many trainings from one file: grids and stages of `mt-train`, named and in order.

A grid is a table of options with lists of values; every combination is a run with a name, so that
make can have one target each. Stages are trainings after another, of which a later one may start
from an earlier one's model. Standard library only: names are listed without loading a network.

    [mt-train]
    inputs = ["mels.parquet"]
    task = ["style"]
    output = "models"

    [mt-train.grid]
    net = ["lenet5", "resnet34"]
    learning-rate = [0.001, 0.0001]
"""

from __future__ import annotations

import difflib
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mt_tools.errors import UsageError

ENDING = ".safetensors"


@dataclass(frozen=True)
class GridRun:
    """One combination of a grid: its name and the options that it sets, as the file spells them."""

    name: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """One training of a run: its name, its options, and the model file that it writes."""

    name: str
    options: dict[str, Any]
    output: str


def expand(grid: Any) -> list[GridRun]:
    """Return the runs of a grid, the last option varying fastest.

    Names are the values in the order of the options, joined by `_`; a number or a truth value
    follows the name of its option: `resnet34_learning-rate-0.001`. Raises `UsageError` for what is
    no table of lists, and for an empty one.
    """
    if not isinstance(grid, Mapping) or not grid:
        raise UsageError(
            f"[mt-train.grid] is {grid!r}: a table of lists expected, such as "
            'net = ["lenet5", "resnet34"]'
        )
    for option, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UsageError(
                f"[mt-train.grid] has {option} = {values!r}: a list of values expected, such as "
                f"{option} = [{_toml(values)}]; one value for all runs belongs into [mt-train]"
            )
        if option in ("inputs", "output", "o", "config"):
            raise UsageError(f"[mt-train.grid] has {option!r}, which cannot vary; see [mt-train]")
    runs: list[GridRun] = []
    for values in itertools.product(*grid.values()):
        options = dict(zip(grid, values, strict=True))
        name = "_".join(_word(option, value) for option, value in options.items())
        if name in {run.name for run in runs}:
            raise UsageError(f"[mt-train.grid]: two runs would be called {name!r}; drop one value")
        runs.append(GridRun(name, options))
    return runs


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def _word(option: str, value: Any) -> str:
    """Return a value as a part of a name: safe in files, shells and makefiles."""
    if isinstance(value, list):
        return "+".join(_clean(str(item)) for item in value) or "none"
    if isinstance(value, str):
        return _clean(value)
    return f"{option.replace('_', '-')}-{_clean(str(value).lower())}"


def _clean(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip("-.") or "empty"


def chosen(runs: Sequence[GridRun], name: str) -> list[GridRun]:
    """Return the run of a name, or all without one; a wrong name is answered with the nearest."""
    if not name:
        return list(runs)
    names = [run.name for run in runs]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.3)
        right = f"did you mean {' or '.join(near)}?" if near else f"they are {', '.join(names)}"
        raise UsageError(f"--run {name}: no such run; {right} (--runs lists them)")
    return [runs[names.index(name)]]


def run_output(output: str, name: str) -> str:
    """Return the model file of a run: the grid's output is a folder."""
    if output.endswith(ENDING):
        raise UsageError(
            f"-o {output}: a grid writes a model a run; name a folder for them, such as -o models"
        )
    if not output:
        raise UsageError("-o (missing): name the folder of the grid's models, such as -o models")
    return os.path.join(output, name + ENDING)


def stages_of(tables: Any, output: str) -> list[Stage]:
    """Return the trainings that end in the model file `output`, in order.

    `tables` are the file's `[[mt-train.stage]]`, none meaning one training. The last stage writes
    `output`, an earlier one its own `output` or the file beside it that ends in `.NAME`. An `init`
    that is the name of an earlier stage, also after `ALIAS=`, becomes the file of its model, which
    maps then call by that name. Raises `UsageError` for what is no list of tables, and for names
    that are missing or stand twice.
    """
    if not tables:
        return [Stage("", {}, output)]
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise UsageError("stages are a list of tables: write [[mt-train.stage]] before each")
    stages: list[Stage] = []
    for number, table in enumerate(tables, 1):
        options = dict(table)
        name = options.pop("name", None)
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise UsageError(
                f"stage {number} of --config has the name {name!r}: each needs one of letters, "
                'digits, - and _, such as name = "source"'
            )
        files = {stage.name: stage.output for stage in stages}
        if name in files:
            raise UsageError(f"two stages of --config are called {name!r}")
        own = options.pop("output", "")
        if number == len(tables):
            if own:
                raise UsageError(f"stage {name!r} is the last: its model goes where -o says")
            own = output
        elif not own:
            own = f"{output.removesuffix(ENDING)}.{name}{ENDING}"
        inits = options.get("init", [])
        if inits:
            inits = [inits] if isinstance(inits, str) else inits
            options["init"] = [_found(text, files) for text in inits]
        stages.append(Stage(name, options, own))
    return stages


def _found(text: str, files: Mapping[str, str]) -> str:
    """Return an `--init` with the name of a stage made into its file, and into its alias."""
    alias, _, name = text.rpartition("=")
    return f"{alias or name}={files[name]}" if name in files else text
