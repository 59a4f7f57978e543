"""Grids and stages of mt-train: names, order and files, from the tables of `--config`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from mt_tools.commands import grid
from mt_tools.commands.app import Config, Inputs, declare, make_app
from mt_tools.commands.settings import RunSettings
from mt_tools.errors import UsageError
from mt_tools.learn.settings import FitSettings


def test_every_combination_has_a_name() -> None:
    """make could not have one target a run, or two runs would write one file."""
    axes: dict[str, list[Any]] = {
        "net": ["lenet5", "resnet34"], "learning-rate": [0.001, 0.0001], "retrain": [True],
        "share": ["block:2:a+b"], "task": [["style", "energy"], "style"],
    }  # fmt: skip
    runs = grid.expand(axes)
    assert len(runs) == 8
    assert runs[0].name == "lenet5_learning-rate-0.001_retrain-true_block-2-a+b_style+energy"
    assert runs[0].options == {key: values[0] for key, values in axes.items()}
    assert len({run.name for run in runs}) == 8
    assert [run.options["net"] for run in runs] == ["lenet5"] * 4 + ["resnet34"] * 4


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ("x", "a table of lists expected"),
        ({}, "a table of lists expected"),
        ({"net": "lenet5"}, r'net = \["lenet5"\]; one value for all runs belongs into'),
        ({"net": []}, "a list of values expected"),
        ({"output": ["a", "b"]}, "'output', which cannot vary"),
        ({"share": ["block:2", "block-2"]}, "two runs would be called 'block-2'"),
    ],
)
def test_grids_that_cannot_be(axes: Any, said: str) -> None:
    """A slip in the file would train half of what was meant."""
    with pytest.raises(UsageError, match=said):
        grid.expand(axes)


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    """Someone who types the name of a run by hand would not find it."""
    runs = grid.expand({"net": ["lenet5", "resnet34"]})
    assert [run.name for run in grid.chosen(runs, "resnet34")] == ["resnet34"]
    assert len(grid.chosen(runs, "")) == 2
    with pytest.raises(UsageError, match="did you mean resnet34"):
        grid.chosen(runs, "resnet-34")


def test_where_the_models_of_a_grid_go() -> None:
    """All runs would write one file."""
    assert grid.run_output("models", "a_b") == "models/a_b.safetensors"
    with pytest.raises(UsageError, match="name a folder"):
        grid.run_output("m.safetensors", "a")
    with pytest.raises(UsageError, match="-o models"):
        grid.run_output("", "a")


def test_stages_begin_where_others_ended() -> None:
    """Pre-training and fine-tuning in one file: init = "source" is that stage's model."""
    tables = [
        {"name": "genre", "epochs": 3},
        {"name": "energy", "output": "e.safetensors"},
        {"name": "all", "init": ["g=genre", "energy", "other.safetensors"]},
    ]
    first, second, last = grid.stages_of(tables, "m/final.safetensors")
    assert first.output == "m/final.genre.safetensors"
    assert first.options == {"epochs": 3}
    assert second.output == "e.safetensors"
    assert last.output == "m/final.safetensors"
    assert last.options["init"] == [
        "g=m/final.genre.safetensors", "energy=e.safetensors", "other.safetensors",
    ]  # fmt: skip
    assert grid.stages_of(None, "m.safetensors") == [grid.Stage("", {}, "m.safetensors")]


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"name": "a"}, r"write \[\[mt-train.stage\]\]"),
        ([{"epochs": 3}], "stage 1 .* has the name None"),
        ([{"name": "a b"}], "each needs one of letters"),
        ([{"name": "a"}, {"name": "a"}], "two stages .* 'a'"),
        ([{"name": "a", "output": "x.safetensors"}], "is the last"),
    ],
)
def test_stages_that_cannot_be(tables: Any, said: str) -> None:
    """A stage without a name could not be begun from."""
    with pytest.raises(UsageError, match=said):
        grid.stages_of(tables, "m.safetensors")


def arguments(path: Path, *typed: str) -> tuple[Config, FitSettings]:
    """Return the sections and settings that mt-train gets from a file and a command line."""
    app = make_app("A command.")
    got: list[Any] = []

    @declare(
        app, "mt-train", inputs=Inputs("Tables."), examples=[("mt-train x", "trains")],
        sections=("grid", "stage"),
    )  # fmt: skip
    def train(inputs: list[str], fitting: FitSettings, run: RunSettings, config: Config) -> int:
        """Train."""
        got.extend((config, fitting))
        return 0

    line = ["--config", str(path), *typed]
    typer.main.get_command(app).main(line, "mt-train", standalone_mode=False)
    return got[0], got[1]


def test_options_of_a_run_are_checked_and_what_is_typed_wins(tmp_path: Path) -> None:
    """A run of the grid would take wrong values, or overrule the command line."""
    path = tmp_path / "grid.toml"
    path.write_text(
        "[mt-train]\nepochs = 5\nbatch-size = 8\n[mt-train.grid]\noptimizer = ['adam', 'sgd']\n"
        "[[mt-train.stage]]\nname = 'a'\n"
    )
    config, fitting = arguments(path, "--epochs", "7")
    assert fitting.epochs == 7
    assert config.sections == {"grid": {"optimizer": ["adam", "sgd"]}, "stage": [{"name": "a"}]}
    assert config.typed == {"config", "epochs"}
    changed = config.arguments({"optimizer": "sgd", "epochs": 3, "batch_size": 4}, "[grid]")
    expected = FitSettings(epochs=7, batch_size=4, optimizer="sgd")
    assert changed["fitting"] == expected
    for options, said in (
        ({"optimizer": "lion"}, "adam"),
        ({"batch-size": 1}, "equal to 2"),
        ({"epochs": [1, 2]}, "one value expected"),
        ({"epoch": 1}, "did you mean epochs"),
    ):
        with pytest.raises((UsageError, typer.TyperException), match=said):
            config.arguments(options, "[grid]")
