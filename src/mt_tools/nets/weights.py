"""Models by name or path, and pretrained weights brought into the user's cache (`nets.places`)."""

from __future__ import annotations

import os
from pathlib import Path

from mt_tools.download import file_name, retrieve
from mt_tools.errors import RunError, UsageError
from mt_tools.features.presets import preset
from mt_tools.nets.build import build_multitask
from mt_tools.nets.foreign import FOREIGN_FORMS, foreign
from mt_tools.nets.keras import describe, identify, import_keras
from mt_tools.nets.model import Model
from mt_tools.nets.places import cached_path
from mt_tools.nets.registry import EMBEDDERS, WEIGHTS, unknown, weights, weights_name


def resolve(name_or_path: str, *, cache: Path | None = None, seed: int = 0) -> Model:
    """Return the model of a name in the registry or in `FOREIGN`, of `keras:FILE.h5`, or of a file.

    `seed` draws the weights of an untrained network. Raises `RunError` for weights that are not in
    the cache, `UsageError` for a name or file that does not exist, `BrokenTable` for a cut file.
    """
    if name_or_path.startswith("keras:"):
        file = name_or_path.removeprefix("keras:")
        return Model.from_parts(*import_keras(file, identify(file)), where=file)
    made_elsewhere = foreign(name_or_path)
    if made_elsewhere is not None:
        return made_elsewhere
    if name_or_path in EMBEDDERS:
        return _made(name_or_path, seed)
    try:
        name = weights_name(name_or_path)
    except UsageError:
        if os.path.exists(name_or_path) or name_or_path.endswith(".safetensors"):
            return Model.load(name_or_path)
        known = [*WEIGHTS, *EMBEDDERS, *FOREIGN_FORMS.values(), "FILE.safetensors"]
        raise unknown("model", name_or_path, known) from None
    path = cached_path(name, cache)
    if not path.is_file():
        raise RunError(f"{name} is not in the cache ({path}): get it with: mt-fetch weights {name}")
    return Model.load(path)


def fetch_weights(
    name: str, mirror: str | None = None, progress: bool = False, cache: Path | None = None
) -> Path:
    """Bring pretrained weights into the cache, converted; return the path of the model file.

    Weights that are there, whole and giving the scores they were saved with, are left alone
    without a network. `mirror` is a folder or URL that holds the original file. Raises
    `UsageError` for an unknown name and `DownloadError` when the file cannot be had.
    """
    name = weights_name(name)
    spec = weights(name)
    target = cached_path(name, cache)
    if _is_valid(target, name):
        return target
    original = target.parent / file_name(spec.url)
    retrieve(spec.url, spec.sha256, original, mirror=mirror, progress=progress)
    Model.from_parts(*import_keras(original, name), where=name).save(target)
    original.unlink(missing_ok=True)
    return target


def _is_valid(path: Path, name: str) -> bool:
    """Tell whether a converted file is there, is what would be made of `name` now, and works."""
    if not path.is_file():
        return False
    try:
        model = Model.load(path)
    except RunError:
        return False
    if not all(check.ok for check in model.selftest()):
        return False
    return {**model.document, "fingerprint": {}} == describe(name)


def _made(name: str, seed: int) -> Model:
    """Make a model that needs no weights."""
    row = EMBEDDERS[name]
    net = build_multitask(row.arch, row.parameters, row.shape, {}, seed)
    net.eval()
    return Model.create(
        net,
        name=name,
        arch=row.arch,
        parameters=row.parameters,
        input={
            "kind": "feature",
            "settings": preset(row.preset).to_json(),
            "shape": list(row.shape),
        },
    )
