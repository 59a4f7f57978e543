"""Names of models and where their files lie, found without loading torch.

The cache is the user's cache folder, or the folder in `MT_TOOLS_CACHE`. It holds one converted
model file a name, under `weights`.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from mt_tools.errors import UsageError
from mt_tools.nets.registry import weights_name

CACHE_VARIABLE = "MT_TOOLS_CACHE"


def cache_folder() -> Path:
    """Return the folder that fetched weights are kept in; it need not exist."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_cache_path("mt-tools")


def cached_path(name: str, cache: Path | None = None) -> Path:
    """Return where the converted weights `name` are kept."""
    return (cache or cache_folder()) / "weights" / f"{name}.safetensors"


def model_file(name_or_path: str) -> str:
    """Return the file that holds a model as `nets.weights.resolve` finds it; it need not exist.

    Empty for models that are not one file: those of other makers, and those that need no weights.
    """
    if name_or_path.startswith("keras:"):
        return name_or_path.removeprefix("keras:")
    try:
        return str(cached_path(weights_name(name_or_path)))
    except UsageError:
        return name_or_path if os.path.isfile(name_or_path) else ""


def split_alias(text: str) -> tuple[str, str]:
    """Split `alias=FILE` into the alias, empty where there is none, and the model's name."""
    alias, equals, name = text.partition("=")
    if not equals or any(mark in alias for mark in "/:?"):
        return "", text
    if not alias or not name:
        raise UsageError(f"--model {text}: expected NAME, FILE or alias=FILE")
    return alias, name
