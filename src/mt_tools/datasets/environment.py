"""ESC-50 and UrbanSound8K: environmental sounds in published folds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mt_tools.datasets import tiny
from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.rows import Row, below, need, table


def esc50(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the clips of `meta/esc50.csv`, or those of ESC-10 among them.

    The archive has it in a folder called after the commit or branch that it is of.
    """
    packed = sorted(folder.glob("ESC-50-*/meta/esc50.csv"))
    listed = packed[0] if packed else need(data, folder, "meta/esc50.csv", "ESC-50/meta/esc50.csv")
    audio = listed.parent.parent / "audio"
    for row in table(listed, "filename", "fold", "category", "esc10", "src_file"):
        if set_ == "esc-50" or row["esc10"] == "True":
            yield {
                "path": below(folder, audio / row["filename"]),
                "group": row["src_file"],
                "part": int(row["fold"]),
                "category": row["category"],
            }


def tiny_esc50(data: Dataset, folder: Path) -> None:
    """Write three clips a fold, two of them of one recording and of ESC-10."""
    root = folder / "ESC-50-33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6"
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for take, (target, category) in {"A": (0, "dog"), "B": (0, "dog"), "C": (7, "hen")}.items():
            source = 1000 * fold + target
            name = f"{fold}-{source}-{take}-{target}.wav"
            lines.append(f"{name},{fold},{target},{category},{target == 0},{source},{take}")
            tiny.sound(root / "audio" / name)
    tiny.text(root / "meta" / "esc50.csv", lines)


def urbansound8k(data: Dataset, folder: Path, set_: str, split: str) -> Iterator[Row]:
    """Yield the clips of `UrbanSound8K/metadata/UrbanSound8K.csv`."""
    name = "metadata/UrbanSound8K.csv"
    listed = need(data, folder, f"UrbanSound8K/{name}", name)
    audio = listed.parent.parent / "audio"
    columns = ("slice_file_name", "fsID", "salience", "fold", "class")
    for row in table(listed, *columns):
        yield {
            "path": below(folder, audio / f"fold{row['fold']}" / row["slice_file_name"]),
            "group": row["fsID"],
            "part": int(row["fold"]),
            "class": row["class"],
            "foreground": row["salience"] == "1",
        }


def tiny_urbansound8k(data: Dataset, folder: Path) -> None:
    """Write two clips of one recording a fold."""
    root = folder / "UrbanSound8K"
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in range(1, 11):
        label, name = (3, "dog_bark") if fold % 2 else (9, "street_music")
        for clip in range(2):
            file = f"{100000 + fold}-{label}-0-{clip}.wav"
            lines.append(
                f"{file},{100000 + fold},{clip}.0,{clip}.25,{clip + 1},{fold},{label},{name}"
            )
            tiny.sound(root / "audio" / f"fold{fold}" / file)
    tiny.text(root / "metadata" / "UrbanSound8K.csv", lines)
