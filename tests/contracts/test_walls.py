"""The rooms of the house and the walls between them (CONTRIBUTING, "Where things live")."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mt_tools

PACKAGE = Path(mt_tools.__file__).parent
FLOORS = [
    {"errors", "settings"},
    {"tables", "download", "unpack", "recipes"},
    {"features", "sound", "library", "engine", "metrics", "splits"},
    {"tasks", "nets", "datasets"},
    {"learn", "evaluate", "report"},
    {"stages"},
    {"commands"},
]
# What several stages begin with is shared inside the room, and what train is made of.
SHARED_STAGES = {
    "factors", "frontend", "inputs", "job", "judging", "labels", "networks", "parts", "pictures", "recipes",
    "results", "runs", "scan", "score", "settings", "splitwise", "taggers", "waves",
}  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """Return the room that a module lives in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor_of(room: str) -> int:
    """Return the floor of a room, 0 being the ground."""
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the dotted names of all that a module imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_fall_from_floor_to_floor(path: Path) -> None:
    """A room that imports upwards or sideways cannot be understood or replaced alone."""
    room = room_of(path)
    if room == "__init__":
        return
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "mt_tools" or len(parts) < 2:
            continue
        if parts[1] == room:
            if room == "stages":
                assert parts[2] in SHARED_STAGES, f"{path}: stages meet only in a table ({name})"
            continue
        assert floor_of(parts[1]) < floor_of(room), f"{path} ({room}) imports {name}"


@pytest.mark.parametrize(
    ("package", "allowed"),
    [("pyarrow", {"tables"}), ("typer", {"commands"}), ("soundfile", {"sound"})],
)
def test_a_package_lives_in_one_room(package: str, allowed: set[str]) -> None:
    """Arrow, typer and audio files are met in one room only, so that they can be replaced there."""
    for path in MODULES:
        for name in imports_of(path):
            if name.split(".")[0] == package:
                assert room_of(path) in allowed, f"{path} imports {name}"


def test_a_device_is_chosen_in_nets_alone() -> None:
    """A second place that chooses a device would ignore --device."""
    for path in MODULES:
        text = path.read_text()
        if "cuda.is_available" in text or "cuda.device_count" in text or "mps.is_available" in text:
            assert room_of(path) == "nets", path


@pytest.mark.parametrize(
    "path",
    [
        p
        for p in MODULES
        if p.name in ("settings.py", "registry.py", "declaration.py", "presets.py")
        or p.parent.name == "declarations"
    ],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_settings_and_registries_import_only_the_standard_library(path: Path) -> None:
    """An import of numpy in a settings module makes every --help slow."""
    light = ("mt_tools.errors", "mt_tools.settings")
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "mt_tools":
            known = (".settings", ".registry", ".declaration", ".presets")
            assert name.startswith(light) or any(part in name for part in known), name
        else:
            assert parts[0] in sys.stdlib_module_names, f"{path} imports {name}"
