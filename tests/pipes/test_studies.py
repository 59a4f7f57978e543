"""The studies of examples/studies and the lines of docs/training.md, run as they stand."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
from support import ROOT, Shell, run_page

from mt_tools.commands.train import app
from mt_tools.features.presets import preset
from mt_tools.features.settings import FeatureSettings
from mt_tools.learn.settings import (
    FeedSettings,
    FitSettings,
    ProtocolSettings,
    TransferSettings,
)
from mt_tools.sound import sources, synthesis
from mt_tools.stages.settings import TrainOutputSettings, TrainSettings
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import RESERVED, Column
from mt_tools.tables.sink import to_file

STUDIES = ROOT / "examples" / "studies"
FILES = sorted(STUDIES.glob("*.toml"))
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")

ROWS = 30
TRAIN = 24
STYLES, KEYS, TAGS = 6, 23, 8  # as many classes and tags as the DJ study's tasks have


def labels() -> dict[str, list[Any]]:
    """Columns of the made corpus, and targets of mt-factor; every class stands in train."""
    numbers = np.random.default_rng(0)
    return {
        "group": [f"artist {row}" for row in range(ROWS)],
        "split": ["train"] * TRAIN + ["valid"] * 3 + ["test"] * 3,
        "style": [f"style {row % STYLES}" for row in range(ROWS)],
        "key": [f"key {row % KEYS}" for row in range(ROWS)],
        "instruments": [[f"tag {row % TAGS}"] for row in range(ROWS)],
        "tempo": numbers.uniform(60, 180, ROWS).tolist(),
        "energy": numbers.uniform(0, 1, ROWS).tolist(),
        "year": numbers.uniform(1960, 2020, ROWS).tolist(),
    }


def write(path: str, column: Column | None, values: Any, **more: np.ndarray) -> None:
    """Write a table of `ROWS` rows with the labels and one column to learn from."""
    columns: dict[str, Any] = {"id": [f"t{row}" for row in range(ROWS)], **labels()}
    described = []
    for name, entries in columns.items():
        kind = "string" if isinstance(entries[0], str) else "number"
        kind = "strings" if isinstance(entries[0], list) else kind
        role = "reserved" if name in RESERVED else "label"
        described.append(Column(name, RESERVED.get(name, kind), role))
    for name, vectors in more.items():
        columns[name] = vectors
        described.append(Column(name, "vector", "target", {}, vectors.shape[1:]))
    if column is not None:
        columns[column.name] = values
        described.append(column)
    writer = to_file(path, None)([])
    writer.write(Batch.build(described, columns))
    writer.finish(ROWS, 0)


def features(
    path: str, settings: FeatureSettings, shape: tuple[int, ...], **more: np.ndarray
) -> None:
    """Write features of noise that say they were made with these settings."""
    noise = np.random.default_rng(1).standard_normal((ROWS, *shape)).astype(np.float32)
    write(
        path, Column(settings.kind, "tensor", "feature", settings.to_json(), shape), noise, **more
    )


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every table that the studies learn from, as small as the networks allow."""
    folder = tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("dj", "dj-augmented", "dj-source"):
            features(f"{name}.parquet", preset("dj"), (48, 1874))
        for name in ("seq", "seq-source"):
            features(f"{name}.parquet", preset("seq"), (96, 256))
            mfcc = dataclasses.replace(preset("seq"), kind="mfcc", n_mfcc=90)
            features(f"{name}-mfcc.parquet", mfcc, (90, 16))
        features("reg.parquet", preset("reg"), (128, 128))
        mixtures = np.random.default_rng(2).dirichlet(np.ones(50), (2, ROWS)).astype(np.float32)
        whole = dataclasses.replace(preset("rep"), excerpt="first:3")
        features(
            "rep.parquet", whole, (2, 128, 259),
            tag_factors=mixtures[0], artist_factors=mixtures[1],
        )  # fmt: skip
        widths = {
            "dj-embedding": 48, "dj-source-embedding": 48, "seq-bof": 64, "agf-embedding": 64,
        }  # fmt: skip
        for name, width in widths.items():
            noise = np.random.default_rng(3).standard_normal((ROWS, width)).astype(np.float32)
            write(
                f"{name}.parquet", Column("embedding", "vector", "embedding", {}, (width,)), noise
            )
        soundfile.write("noise.wav", np.random.default_rng(4).uniform(-0.5, 0.5, 44100), 44100)
        groups = np.random.default_rng(5).dirichlet(np.ones(40), ROWS).astype(np.float32)
        write("agf.parquet", Column("path", "string", "reserved"), ["noise.wav"] * ROWS, s=groups)
    return folder


def runs(text: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the names of a file's runs; one without a grid has one without a name."""
    path = STUDIES / text
    if "grid" not in tomllib.loads(path.read_text(encoding="utf-8"))["mt-train"]:
        return [""]
    train("--config", str(path), "--runs")
    return capsys.readouterr().out.split()


def train(*arguments: str) -> None:
    """Run mt-train in this process, which has torch loaded: there are a hundred runs to look at."""
    code = typer.main.get_command(app).main(
        list(arguments), prog_name="mt-train", standalone_mode=False
    )
    assert not code


@pytest.fixture(scope="module")
def plans(tables: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """What `--dry-run --json` has printed, by file and run: filled as the tests go."""
    return {}


@pytest.fixture
def planned(
    tables: Path,
    plans: dict[str, dict[str, list[dict[str, Any]]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Any:
    """Return the plans of a file's runs, a plan a stage, each made once."""
    monkeypatch.chdir(tables)

    def plan(name: str) -> dict[str, list[dict[str, Any]]]:
        if name not in plans:
            plans[name] = {}
            for run in runs(name, capsys):
                chosen = ("--run", run) if run else ()
                train("--config", str(STUDIES / name), *chosen, "--dry-run", "--json")
                lines = capsys.readouterr().out.splitlines()
                plans[name][run] = [json.loads(line) for line in lines]
        return plans[name]

    return plan


@pytest.mark.parametrize("name", [path.name for path in FILES])
def test_every_run_of_every_study_can_be_planned(planned: Any, tables: Path, name: str) -> None:
    """A study's file would stop, after hours, at a run whose options do not go together."""
    before = sorted(tables.iterdir())
    stages = len(tomllib.loads((STUDIES / name).read_text())["mt-train"].get("stage", [0]))
    for run, plan in planned(name).items():
        assert len(plan) == stages, run
        for stage in plan:
            assert stage["rows"] == {"train": TRAIN, "valid": 3, "test": 3}, run
            assert stage["parameters"]["trainable"] > 0, run
            assert stage["updates"]["most"] >= stage["updates"]["epoch"] > 0, run
    assert sorted(tables.iterdir()) == before, "a dry run has written something"


def trainable(plan: list[dict[str, Any]]) -> int:
    """Return how many parameters of the last stage learn."""
    return int(plan[-1]["parameters"]["trainable"])


def test_dj_has_the_published_size(planned: Any) -> None:
    """The DJ study's file would train another network than Table 6.5's.

    Tempo, one number, stands for its intro version of five classes: 4 x 129 parameters less.
    """
    dj = planned("dj.toml")
    assert trainable(dj["none_none"]) == 471_147 - 4 * 129
    assert trainable(dj["block-2_none"]) == 395_115 - 4 * 129
    # Six genres beside the embedding of subgenre's head, six and energy beside situation's.
    fed = dj["none_style--key-style+energy--instruments"]
    assert trainable(fed) - trainable(dj["none_none"]) == 6 * KEYS + (6 + 1) * TAGS


def test_dj_transfer_rests_what_the_table_says(planned: Any) -> None:
    """Table 5.7's row would fine-tune main genre's branch as well, or freeze subgenre's."""
    (plan,) = planned("dj-transfer.toml").values()
    layers = {layer["name"]: layer for layer in plan[-1]["layers"]}
    resting = {n for n, layer in layers.items() if layer["parameters"] and not layer["trainable"]}
    assert resting == {f"branches.style.conv{number}" for number in (1, 2, 3)}
    (combined,) = planned("dj-combined.toml").values()
    # In the combined model everything learns; with two shared blocks it is the network above.
    assert trainable(combined) == trainable(planned("dj.toml")["block-2_none"])


def test_wide_networks_have_the_size_of_several(planned: Any) -> None:
    """AGF's control for size would be of another size: 0.2 % is the width's third decimal."""
    for run, plan in planned("agf-wide.toml").items():
        assert trainable(plan) == pytest.approx(int(run.rpartition("-")[2]), rel=2e-3)


def test_branches_grow_as_in_the_rep_study(planned: Any) -> None:
    """MS-CR@2 would share more than the first convolution, or MS-SR@FC less than all.

    Without heads, m branches from block k on have m times the parameters of the blocks from k on.
    """

    def body(plan: list[dict[str, Any]]) -> int:
        layers = plan[-1]["layers"]
        return sum(one["trainable"] for one in layers if not one["name"].startswith("heads."))

    rep = planned("rep.toml")
    layers = {layer["name"]: layer["trainable"] for layer in rep["all"][-1]["layers"]}
    sizes = [layers[f"shared.conv{number}"] for number in range(1, 7)] + [layers["shared.feature"]]
    for run, shared in (("block-1", 1), ("block-3", 3), ("block-5", 5), ("all", 7)):
        assert body(rep[run]) == sum(sizes[:shared]) + 5 * sum(sizes[shared:])
    single = planned("rep-single.toml")["tempo"]
    assert body(single) == sum(sizes)


def test_black_boxes_learn_their_classifier_alone(planned: Any) -> None:
    """SEQ's levels of supervision would all be the same one."""
    seq = {run: plan[-1]["layers"] for run, plan in planned("seq.toml").items()}
    learning = {
        run: {layer["name"].partition(".")[2] for layer in layers if layer["trainable"]}
        for run, layers in seq.items()
    }
    classifier = {"dense1", "instruments"}
    convolutions = {f"conv{number}" for number in range(1, 6)}
    assert learning == {
        "shared.input+shared.conv+shared.lstm": classifier,
        "shared.input+shared.conv": classifier | {"lstm1", "lstm2"},
        "shared.input+shared.conv-12": (
            classifier | {"lstm1", "lstm2"} | convolutions - {"conv1", "conv2"}
        ),
        "none": classifier | {"lstm1", "lstm2", "input"} | convolutions,
    }


def test_reg_has_twelve_models_a_target(planned: Any) -> None:
    """The grid of the REG study would miss some of its 12 models of each target."""
    assert len(planned("reg.toml")) == 3 * 12
    assert {plan[-1]["net"] for plan in planned("reg.toml").values()} == {
        "lenet5", "resnet34", "crnn-reg",
    }  # fmt: skip


def test_labels_have_as_many_words_as_factors_at_full_size() -> None:
    """SIZE=study would stop, days after it began: 40 factors of 20 instruments are refused."""
    text = (STUDIES / "Makefile").read_text(encoding="utf-8")
    _, _, full = text.partition("ifeq ($(SIZE),study)")
    factors = int(re.findall(r"FACTORS \?= (\d+)", full)[0])
    made = zip(synthesis.plan(300, 2), sources.draw(300, 2), strict=True)
    pieces = [vars(piece) | vars(said) for piece, said in made]
    columns = re.findall(r"mt-factor (?:plsa|agf) .*?--column (\w+)", text)
    assert len(columns) == 3
    for column in columns:
        assert len({word for piece in pieces for word in piece[column] or ()}) >= factors, column


def test_every_option_has_a_use() -> None:
    """An option that no example needs is a cost to everybody: delete it, or show it."""
    texts = [PAGE, *(path.read_text(encoding="utf-8") for path in FILES)]
    texts += [(ROOT / "README.md").read_text(), (STUDIES / "Makefile").read_text()]
    texts.append((ROOT / "src" / "mt_tools" / "commands" / "train.py").read_text())
    said = "\n".join(texts)
    unused = []
    for group in (
        TrainSettings, TrainOutputSettings, FitSettings, FeedSettings, TransferSettings,
        ProtocolSettings,
    ):  # fmt: skip
        for field in dataclasses.fields(group):
            flags = field.metadata["flags"] or (f"--{field.name.replace('_', '-')}",)
            in_file = rf"^{re.escape(flags[0].lstrip('-'))} = "
            typed = "|".join(rf"(?<![\w-]){re.escape(flag)}(?![\w-])" for flag in flags)
            if not re.search(rf"{in_file}|{typed}", said, re.MULTILINE):
                unused.append(flags[0])
    assert not unused


@pytest.mark.slow
def test_all_studies_at_a_small_size(sh: Shell, tmp_path: Path) -> None:
    """One of the studies' trainings would not end, or not be scored, on the made corpus."""
    line = f"make -f '{STUDIES / 'Makefile'}'"
    sh(line, ok=True, timeout=3600)
    for path in FILES:
        table = tmp_path / f"{path.stem}.csv"
        assert len(table.read_text().splitlines()) > 1, table.name
    # Nothing is left to do, and nothing is left over of a run.
    assert "Nothing to be done" in sh(line, ok=True).stdout.decode()
    assert not list(tmp_path.rglob("*.checkpoint"))


@pytest.mark.slow
def test_the_lines_of_the_page_on_training(sh: Shell, tmp_path: Path) -> None:
    """Someone who reads docs/training.md line by line would be stuck."""
    (grid,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "grid.toml").write_text(grid, encoding="utf-8")
    run_page(sh, "docs/training.md")
