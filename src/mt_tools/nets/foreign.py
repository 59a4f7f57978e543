"""Models that do not come from mt-train: other makers' networks, descriptors, dictionaries.

Goal: `--model` takes them like any other. What they are called by is in `FOREIGN`; the packages
that they need are extras, imported when they are asked for.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

import numpy as np
import torch
from numpy.typing import NDArray

from mt_tools.errors import SettingsMismatch, UsageError
from mt_tools.features.essentia import SAMPLE_RATE
from mt_tools.features.registry import ESSENTIA as DESCRIPTORS
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.build import build_multitask
from mt_tools.nets.model import FORMAT, Array, Check, Model

ESSENTIA = "essentia"


class Foreign(Model, ABC):
    """A model of another maker. It gives vectors, has no tasks, and is not stored in our files.

    `settings` and `shape` are those of its input, `digest` is that of all that decides what it
    gives. What makes the vectors is `_vectors`, of the subclasses.
    """

    storable = False

    def __init__(
        self, name: str, settings: FeatureSettings, shape: Sequence[int], digest: str
    ) -> None:
        source = {"kind": "feature", "settings": settings.to_json(), "shape": list(shape)}
        document: dict[str, Any] = {
            "format": FORMAT, "name": name, "arch": "foreign", "parameters": {}, "input": source,
            "heads": {}, "share": [], "layers": [], "tasks": [], "training": {}, "metrics": {},
            "licence": "", "citation": "", "fingerprint": {}, "backbone": None,
        }  # fmt: skip
        super().__init__(document, cast(Any, None))
        self._digest = digest
        self._device = torch.device("cpu")
        self._width: int | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of what the model is, and of the layers that are taken from it."""
        layers = self.document["layers"]
        if not layers:
            return self._digest
        return hashlib.sha256("\0".join([self._digest, *layers]).encode()).hexdigest()

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return self._device

    @property
    def width(self) -> int:
        """Length of the embedding, found by trying."""
        if self._width is None or self.document["layers"]:
            anything = self.feature_settings.excerpt_samples or 1  # for waveforms of any length
            shape = [size or anything for size in self.input_shape]
            self._width = self.embed(np.zeros((1, *shape), np.float32)).shape[1]
        return self._width

    def embed(
        self,
        x: NDArray[Any],
        batch_size: int = 32,
        kind: str | None = None,
        layers: Sequence[str] = (),
        precision: str = "float32",
    ) -> Array:
        """Return the embeddings [n, width] of n inputs, or of `layers` side by side.

        Raises `SettingsMismatch` for another shape, `UsageError` for an unknown layer and for a
        precision that the model cannot compute in.
        """
        expected = self.input_shape
        if len(x.shape) != 1 + len(expected) or any(
            size and size != got for size, got in zip(expected, x.shape[1:], strict=True)
        ):
            shown = [size or "any" for size in expected]
            raise SettingsMismatch(f"{self.name} takes arrays of shape {shown}, got {x.shape[1:]}")
        layers = layers or self.document["layers"]
        parts = [
            self._vectors(
                np.ascontiguousarray(x[i : i + batch_size], np.float32), layers, precision
            )
            for i in range(0, len(x), batch_size)
        ]
        return np.concatenate(parts)

    @abstractmethod
    def _vectors(self, x: Array, layers: Sequence[str], precision: str) -> Array:
        """Return the vectors [n, width] of one batch of inputs."""

    def logits(
        self, x: NDArray[Any], batch_size: int = 32, kind: str | None = None
    ) -> dict[str, Array]:
        """Return nothing: the model has no tasks."""
        return {}

    def selftest(self, full: bool = False) -> list[Check]:
        """Raise `UsageError`: no scores were stored with the model."""
        raise UsageError(
            f"{self.name} has no fingerprint to be tested against: --selftest is for models of "
            "mt-train and `mt-fetch weights`"
        )

    def parts(self) -> NoReturn:
        """Raise `UsageError`: the model lies in its own file."""
        raise UsageError(
            f"{self.name} cannot be kept in a model file of mt-tools: train on its embeddings "
            "without it"
        )


def foreign(name: str) -> Model | None:
    """Return the model of a name in `FOREIGN`, None for any other name.

    Raises `UsageError` for a file that does not fit, and for a missing package.
    """
    if name == ESSENTIA:
        return _essentia()
    prefix, colon, rest = name.partition(":")
    if not colon or prefix not in FOREIGN:
        return None
    if not rest:
        raise UsageError(f"--model {name}: expected {FOREIGN_FORMS[prefix]}")
    return FOREIGN[prefix](rest)


def needed(package: str, extra: str) -> Any:
    """Import a package of an extra; raises `UsageError` with the line that installs it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"{extra}: models need the package {package}: pip install 'mt-tools[{extra}]'"
        ) from error


def _onnx(rest: str) -> Model:
    from mt_tools.nets.onnx import read_onnx

    return read_onnx(rest)


def _hugging_face(rest: str) -> Model:
    from mt_tools.nets.hf import read_hf

    return read_hf(rest)


def _dictionary(rest: str) -> Model:
    from mt_tools.nets.bof import read_dictionary

    return read_dictionary(rest)


FOREIGN: dict[str, Callable[[str], Model]] = {
    "onnx": _onnx,
    "hf": _hugging_face,
    "bof": _dictionary,
}
FOREIGN_FORMS = {
    "onnx": "onnx:FILE?preset=NAME or onnx:FILE?rate=HZ",
    "hf": "hf:OWNER/NAME or hf:FOLDER",
    "bof": "bof:DICTIONARY.npz",
    ESSENTIA: ESSENTIA,
}
"""How each is typed after --model."""


def _essentia() -> Model:
    """Return the song descriptors of Essentia, which are features, behind the identity."""
    if importlib.util.find_spec("essentia") is None:
        needed("essentia", "essentia")
    settings = FeatureSettings(kind="essentia", sample_rate=SAMPLE_RATE, channels="stereo")
    net = build_multitask("identity", {}, (settings.output_bands,), {})
    net.eval()
    return Model.create(
        net,
        name=ESSENTIA,
        arch="identity",
        parameters={},
        input={
            "kind": "feature",
            "settings": settings.to_json(),
            "shape": [settings.output_bands],
            "descriptors": list(DESCRIPTORS.items()),
        },
    )
