"""The plan of a training, as `mt-train --dry-run` shows it: for people, or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from mt_tools.report.terminal import ToStdout, clean, number


def print_plan(plan: Mapping[str, Any], title: str = "", *, as_json: bool = False) -> None:
    """Print a plan (see `learn.preview`) on stdout; as JSON it is one line."""
    if as_json:
        print(json.dumps({"run": title, **plan}, sort_keys=True, ensure_ascii=False))
        return
    console = ToStdout(soft_wrap=not sys.stdout.isatty())
    if title:
        console.print(Text(clean(title), style="bold"))
    settings = " ".join(f"{key}={_short(value)}" for key, value in plan["settings"].items())
    console.print(Text(f"{plan['net']} on {_shape(plan['input'])} {settings}".rstrip()))
    layers = _table("layer", "output", "trainable", "parameters")
    for layer in plan["layers"]:
        counts = [f"{layer[name]:,}" for name in ("trainable", "parameters")]
        layers.add_row(Text(clean(layer["name"])), _shape(layer["output"]), *counts)
    layers.add_row("", "", *(f"{plan['parameters'][name]:,}" for name in ("trainable", "all")))
    console.print(layers)
    console.print()
    tasks = _table("task", "kind", "outputs", "train", "valid", "test", "constant's loss")
    for task in plan["tasks"]:
        rows = [str(task["labelled"][part]) for part in ("train", "valid", "test")]
        name = Text(clean(task["name"]))
        tasks.add_row(
            name, task["kind"], str(task["outputs"]), *rows, number(task["constant_loss"])
        )
    console.print(tasks)
    console.print()
    rows, updates = plan["rows"], plan["updates"]
    console.print(
        f"rows: {rows['train']} train, {rows['valid']} valid, {rows['test']} test; updates: "
        f"{updates['epoch']} an epoch of batches of {plan['batch_size']}, at most "
        f"{updates['most']:,}; device: {plan['device']}"
    )
    for fits in plan.get("fits", []):
        console.print(clean(fits))
    for note in plan["notes"]:
        console.print(Text(clean(note), style="dim"))


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    text = ("layer", "task", "kind", "output")
    for name in names:
        table.add_column(name, justify="left" if name in text else "right", overflow="fold")
    return table


def _shape(shape: list[int]) -> str:
    return "×".join(map(str, shape)) or "–"


def _short(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
