"""Weights of Choi's networks, from the HDF5 files of Keras 1 to a document and tensors.

Source: github.com/keunwoochoi/music-auto_tagging-keras (MIT licence).

Conventions of those files: a dense or recurrent weight is [inputs, outputs]; a kernel was used by
Theano, which convolves where torch correlates, so it is flipped in both axes; the gates of a GRU
are stored apart, z (update), r (reset), h (candidate). What `running_std` holds is told in the
registry.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from mt_tools.errors import BrokenTable, RunError, UsageError
from mt_tools.features.presets import preset
from mt_tools.nets.body import Head, Share
from mt_tools.nets.compact import POPULATION, STATISTICS
from mt_tools.nets.model import FORMAT
from mt_tools.nets.registry import WEIGHTS, Weights, weights

Layers = dict[str, dict[str, np.ndarray]]


def import_keras(
    path: str | os.PathLike[str], name: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the document and tensors of the registry's weights `name`, read from their HDF5 file.

    Raises `UsageError` when the file is another one (by SHA-256), `RunError` without h5py.
    """
    spec = weights(name)
    got = _sha256(path)
    if got != spec.sha256:
        raise UsageError(
            f"{os.fspath(path)} is not the file of {name}: got SHA-256 {got}, expected "
            f"{spec.sha256}; get it with: mt-fetch weights {name}"
        )
    return describe(name), _tensors(_read(path), spec)


def identify(path: str | os.PathLike[str]) -> str:
    """Return the name under which the registry knows a Keras file.

    Raises `UsageError` for a file it does not know.
    """
    got = _sha256(path)
    for name, spec in WEIGHTS.items():
        if spec.sha256 == got:
            return name
    raise UsageError(
        f"{os.fspath(path)} (SHA-256 {got}) is none of the Keras files that can be read: "
        f"{', '.join(Path(spec.url).name for spec in WEIGHTS.values())}"
    )


def describe(name: str) -> dict[str, Any]:
    """Return the document of the registry's weights `name`, without a fingerprint."""
    spec = weights(name)
    task = {
        "name": spec.task,
        "kind": "multilabel",
        "vocabulary": list(spec.vocabulary),
        "thresholds": None,
        "mean": 0.0,
        "std": 1.0,
        "scale": "raw",
        "class_weights": None,
        "weight": 1.0,
    }
    return {
        "format": FORMAT,
        "name": name,
        "arch": spec.arch,
        "parameters": dict(spec.parameters),
        "input": {
            "kind": "feature",
            "settings": preset(spec.preset).to_json(),
            "shape": list(spec.shape),
        },
        "heads": {spec.task: Head(len(spec.vocabulary), "sigmoid").to_json()},
        "share": [Share().to_json()],
        "layers": list(spec.layers),
        "tasks": [task],
        "training": {
            "url": spec.url,
            "sha256": spec.sha256,
            "published": dict(spec.published),
            "statistics": POPULATION if spec.statistics == "population" else spec.statistics,
        },
        "metrics": {},
        "licence": spec.licence,
        "citation": spec.citation,
        "fingerprint": {},
        "backbone": None,
    }


def _read(path: str | os.PathLike[str]) -> Layers:
    """Return the arrays of a Keras file by layer and weight, without the layer's name before it."""
    try:
        import h5py
    except ImportError as error:
        raise RunError("reading Keras weights needs h5py: pip install 'mt-tools[keras]'") from error
    try:
        with h5py.File(path) as file:
            return {
                layer: {name.removeprefix(f"{layer}_"): data[()] for name, data in group.items()}
                for layer, group in file.items()
            }
    except OSError as error:
        raise BrokenTable(f"{os.fspath(path)} is not a whole HDF5 file: fetch it again") from error


def _compact(layers: Layers) -> Layers:
    """Name the layers of the compact CNN, five of which lie in one, as those of the others."""
    inner = layers["ConvBNEluDr"]
    named: Layers = {"output": layers["dense_1"]}
    for whole, array in inner.items():
        kind, number, name = whole.split("_", 2)
        layer = {"convolution2d": "conv", "batchnormalization": "bn"}[kind] + number
        named.setdefault(layer, {})[name] = array
    return named


def _tensors(layers: Layers, spec: Weights) -> dict[str, np.ndarray]:
    """Return the layers under the names and in the layout of the architecture."""
    if "ConvBNEluDr" in layers:
        layers = _compact(layers)
    tensors: dict[str, np.ndarray] = {}

    def norm(target: str, layer: dict[str, np.ndarray]) -> None:
        tensors[f"{target}.weight"] = layer["gamma"]
        tensors[f"{target}.bias"] = layer["beta"]
        if spec.statistics == "clip":
            return
        mean, variance = layer["running_mean"], layer["running_std"]
        if spec.statistics == "deviation":
            variance = variance * variance
        elif spec.statistics == "population":
            mean, variance = np.array(STATISTICS[target], dtype=np.float32)
        tensors[f"{target}.running_mean"] = mean
        tensors[f"{target}.running_var"] = variance
        tensors[f"{target}.num_batches_tracked"] = np.array(0, dtype=np.int64)

    if "bn_0_freq" in layers:
        norm("shared.input.norm.batch_norm", layers["bn_0_freq"])
    for block in range(1, 1 + sum(layer.startswith("conv") for layer in layers)):
        conv = layers[f"conv{block}"]
        tensors[f"shared.conv{block}.0.weight"] = conv["W"][:, :, ::-1, ::-1]
        tensors[f"shared.conv{block}.0.bias"] = conv["b"]
        norm(f"shared.conv{block}.1", layers[f"bn{block}"])
    for name, target in (("gru1", "shared.gru1.1"), ("gru2", "shared.gru2.0")):
        if name in layers:
            gru = layers[name]
            tensors[f"{target}.input_weight"] = np.vstack([gru[f"W_{g}"].T for g in "zrh"])
            tensors[f"{target}.recurrent_weight"] = np.vstack([gru[f"U_{g}"].T for g in "zrh"])
            tensors[f"{target}.bias"] = np.concatenate([gru[f"b_{g}"] for g in "zrh"])
    tensors[f"heads.{spec.task}.weight"] = layers["output"]["W"].T
    tensors[f"heads.{spec.task}.bias"] = layers["output"]["b"]
    return {name: np.require(tensor, requirements="C") for name, tensor in tensors.items()}


def _sha256(path: str | os.PathLike[str]) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {os.fspath(path)}: {error.strerror}") from error
