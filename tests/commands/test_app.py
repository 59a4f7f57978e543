"""Options from settings, and `--config`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from mt_tools.commands.app import Inputs, declare, make_app
from mt_tools.commands.settings import RunSettings
from mt_tools.errors import UsageError
from mt_tools.settings import setting

Shell = Callable[..., subprocess.CompletedProcess[bytes]]


@dataclass(frozen=True)
class Settings:
    """One field of every kind."""

    task: tuple[str, ...] = setting((), "Repeated.", flags=("--task", "-t"))
    hop: int = setting(512, "A number.", minimum=1)
    share: float = setting(0.5, "A share.")
    net: str = setting("", "A choice.", choices=("mlp", "cnn"))
    keep: bool = setting(False, "A flag.")
    batch_norm: bool = setting(True, "A flag that is on.")
    as_: str = setting("", "A name.", flags=("--as",))


DEFAULTS = {
    "task": (), "hop": 512, "share": 0.5, "net": "", "keep": False, "batch_norm": True, "as_": "",
}  # fmt: skip


def run(*args: str) -> tuple[dict[str, Any], list[str]]:
    """Return the settings and inputs that mt-train would get if these were its settings."""
    app = make_app("A command.")
    got: list[Any] = []

    @declare(app, "mt-train", inputs=Inputs("Tables."), examples=[("mt-train x", "trains")])
    def train(inputs: list[str], settings: Settings, run: RunSettings) -> int:
        """Train."""
        got.extend((asdict(settings), inputs))
        return 0

    typer.main.get_command(app).main(list(args), "mt-train", standalone_mode=False)
    settings, inputs = got
    return settings, inputs


def test_every_kind_of_option() -> None:
    """An option would be ignored, or reach the stage as another type."""
    assert run() == (DEFAULTS, [])
    line = "a.npz -t x --task y --hop 3 --share 1 --net mlp --keep --no-batch-norm --as n b.npz"
    assert run(*line.split()) == (
        {
            "task": ("x", "y"), "hop": 3, "share": 1.0, "net": "mlp", "keep": True,
            "batch_norm": False, "as_": "n",
        },
        ["a.npz", "b.npz"],
    )  # fmt: skip


def test_config(tmp_path: Path) -> None:
    """An experiment's file would not say what the command line says, or overrule it."""
    path = tmp_path / "run.toml"
    path.write_text(
        '[mt-train]\ntask = ["x", "y"]\nhop = 3\nshare = 1\nkeep = true\nbatch-norm = false\n'
        'as = "n"\nnet = "cnn"\n[mt-fetch.synth]\ntracks = 7\n[mt-spec]\npreset = "dj"\n'
    )
    expected = {
        "task": ("x", "y"), "hop": 3, "share": 1.0, "net": "cnn", "keep": True,
        "batch_norm": False, "as_": "n",
    }  # fmt: skip
    assert run("--config", str(path)) == (expected, [])
    found, _ = run("--hop", "4", "t.npz", "--config", str(path), "--task", "z", "--batch-norm")
    assert found == expected | {"hop": 4, "task": ("z",), "batch_norm": True}
    path.write_text('[mt-train]\ntask = "style"\nbatch_norm = false\n')  # a repeated option, once
    found, _ = run("--config", str(path))
    assert found == DEFAULTS | {"task": ("style",), "batch_norm": False}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[mt-train]\nhopp = 3", r"\[mt-train\] has 'hopp', which is no option of mt-train"),
        ("[mt-trian]\nhop = 3", "mt-trian is no table of a command; those are mt-augment,"),
        ("hop = 3", "hop is no table of a command"),
        ("[mt-train]\nhop = [3, 4]", r"has hop = \[3, 4\]: one value expected"),
        ("[mt-train.hop]\na = 1", "one value expected"),
        ("[mt-train]\nconfig = 'x'", "has 'config', which is no option"),
        ("[mt-train", "not TOML"),
    ],
)
def test_config_that_does_not_fit(tmp_path: Path, text: str, said: str) -> None:
    """A misspelt option in a file would be ignored for months."""
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        run("--config", str(path))
    with pytest.raises(UsageError, match="No such file"):
        run("--config", str(tmp_path / "none.toml"))


def test_config_values_are_checked_like_options(tmp_path: Path) -> None:
    """A wrong value in a file would end in a traceback."""
    path = tmp_path / "run.toml"
    for text, said in (("hop = 0", "1"), ("hop = 'many'", "integer"), ("net = 'svm'", "mlp")):
        path.write_text(f"[mt-train]\n{text}\n")
        with pytest.raises(typer.TyperException, match=said):
            run("--config", str(path))


def test_config_of_a_subcommand(sh: Shell, tmp_path: Path) -> None:
    """`[mt-fetch.synth]` would be looked up as `[synth]`, or not at all."""
    (tmp_path / "run.toml").write_text(
        '[mt-fetch.synth]\ntracks = 2\nseconds = 2\nout = "data"\n[mt-fetch.split]\nseed = 3\n'
    )
    done = sh("mt-fetch synth --config run.toml --tracks 3 --format jsonl", ok=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 3
    assert {row["length"] for row in rows} == {2.0}
    (tmp_path / "run.toml").write_text("[mt-fetch.sinth]\ntracks = 2\n")
    done = sh("mt-fetch synth --config run.toml")
    assert done.returncode == 2
    assert b"mt-fetch.sinth is no table of a command; those are folder, synth," in done.stderr
