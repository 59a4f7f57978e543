"""A model: a network with everything that is needed to apply it, in one file.

Goal: what a stage works with. A `Model` takes features or vectors as numpy arrays and gives
embeddings and logits as numpy arrays, on whatever device it lies.

Source: DESIGN, "A model is one `.safetensors` file".

Conventions: the document is

    {"format": 1, "name", "arch", "parameters",
     "input": {"kind": "feature", "settings": {...}, "shape": [...]}
           or {"kind": "embedding", "settings": {..., "pooling"}, "width": n},
     "heads": {task: outputs}, "tasks": [...], "training": {...}, "metrics": {...},
     "licence", "citation", "fingerprint": {...}, "backbone": a document or null}

and its tensors are called `body.*` and `heads.<task>.*`. A model that was trained on the embeddings
of another carries that one whole, as its backbone: its document under `backbone`, its tensors with
the prefix `backbone.`. Pooling over segments lies between the two and is the stages' work.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mt_tools.errors import BrokenTable, RunError, SettingsMismatch, UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.body import MultiTask, head_key
from mt_tools.nets.build import build_multitask
from mt_tools.nets.registry import architecture
from mt_tools.tables.document import dumps, read_document, write_document

__all__ = ["FORMAT", "Model", "MultiTask"]

FORMAT = 1
SELFTEST_TOLERANCE = 1e-4

Array = NDArray[np.float32]


class Model:
    """A network, its document and, if it was trained on embeddings, the model that makes them.

    `document` is described above, `net` is the network on its device, `backbone` the model that the
    embeddings of the input came from, or None.
    """

    def __init__(
        self, document: dict[str, Any], net: MultiTask, backbone: Model | None = None
    ) -> None:
        self.document = document
        self.net = net
        self.backbone = backbone

    @classmethod
    def create(
        cls,
        net: MultiTask,
        *,
        name: str,
        arch: str,
        parameters: Mapping[str, Any],
        input: Mapping[str, Any],
        tasks: Sequence[Mapping[str, Any]] = (),
        training: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        licence: str = "",
        citation: str = "",
        backbone: Model | None = None,
    ) -> Model:
        """Describe a network that `build_multitask(arch, parameters, ...)` made.

        `tasks` describe the heads, in their order. Raises `ValueError` when they name others.
        """
        if [task["name"] for task in tasks] != list(net.tasks):
            raise ValueError(f"tasks {tasks} do not describe the heads {net.tasks}")
        document = {
            "format": FORMAT,
            "name": name,
            "arch": arch,
            "parameters": parameters,
            "input": input,
            "heads": net.outputs,
            "tasks": tasks,
            "training": training or {},
            "metrics": metrics or {},
            "licence": licence,
            "citation": citation,
            "fingerprint": {},
            "backbone": None,
        }
        return cls(json.loads(dumps(document)), net, backbone)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Read a model file, on the CPU.

        Raises `UsageError` where there is none and `BrokenTable` where it is not a whole one.
        """
        return cls.from_parts(*read_document(path), where=os.fspath(path))

    @classmethod
    def from_parts(
        cls, document: dict[str, Any], tensors: Mapping[str, np.ndarray], where: str = "model"
    ) -> Model:
        """Make the model of a document and its tensors; `where` names it in errors.

        Raises `BrokenTable` when the two do not fit.
        """
        if document.get("format") != FORMAT:
            raise BrokenTable(
                f"{where}: got model format {document.get('format')!r}, expected {FORMAT}; "
                "it was written by another version of mt-tools: install that one"
            )
        try:
            inner = document["backbone"]
            backbone = inner and cls.from_parts(
                inner,
                {k.removeprefix("backbone."): v for k, v in tensors.items() if _in_backbone(k)},
                where=f"{where}, backbone",
            )
            names = [task["name"] for task in document["tasks"]]
            net = build_multitask(
                document["arch"],
                document["parameters"],
                _input_shape(document["input"]),
                {name: document["heads"][name] for name in names},
            )
        except (KeyError, TypeError) as error:
            raise BrokenTable(
                f"{where}: the model's document is incomplete ({error!r}); train or fetch it again"
            ) from error
        _fill(net, {k: v for k, v in tensors.items() if not _in_backbone(k)}, where)
        net.eval()
        return cls({**document, "backbone": None}, net, backbone)

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the whole document and all tensors, those of the backbone included."""
        tensors = {
            name: self.net.state_dict()[key].detach().cpu().contiguous().numpy()
            for name, key in _tensor_names(self.net).items()
        }
        document = self.document
        if self.backbone is not None:
            inner, inner_tensors = self.backbone.parts()
            document = {**document, "backbone": inner}
            tensors |= {f"backbone.{name}": tensor for name, tensor in inner_tensors.items()}
        return document, tensors

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file with a fresh fingerprint, whole or not at all."""
        model: Model | None = self
        while model is not None:
            model.document["fingerprint"] = model._fingerprint()
            model = model.backbone
        write_document(path, *self.parts())

    @property
    def digest(self) -> str:
        """SHA-256 of what the model is: document and tensors, without the fingerprint.

        It is the same on every machine, on which the fingerprint's last digits differ.
        """
        document, tensors = self.parts()
        whole = hashlib.sha256(dumps(_without_fingerprint(document)).encode())
        for name in sorted(tensors):
            tensor = tensors[name]
            whole.update(f"\0{name} {tensor.dtype} {tensor.shape}\0".encode())
            whole.update(tensor.tobytes())
        return whole.hexdigest()

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.document["name"]

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The tasks of the heads, in order."""
        return self.document["tasks"]

    @property
    def width(self) -> int:
        """Length of the embedding."""
        return self.net.body.width

    @property
    def input_kind(self) -> str:
        """What this model's own network takes: "feature" or "embedding"."""
        return self.document["input"]["kind"]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example of the network's own input."""
        return _input_shape(self.document["input"])

    @property
    def front(self) -> Model:
        """The model that stands first: the innermost backbone, or this one."""
        return self if self.backbone is None else self.backbone.front

    @property
    def feature_settings(self) -> FeatureSettings:
        """Settings of the features that the whole model takes, which a backbone defines.

        Raises `UsageError` for a model that takes vectors made elsewhere.
        """
        source = self.front.document["input"]
        if source["kind"] != "feature" or not source["settings"]:
            raise UsageError(
                f"model {self.name} was trained on a column of vectors or features whose origin it "
                "does not know, so it cannot read audio: give it a table with that column"
            )
        return FeatureSettings.from_json(source["settings"])

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        tensors = [*self.net.parameters(), *self.net.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")

    def to(self, device: torch.device | str) -> Model:
        """Move the network and its backbone to a device; returns the model itself."""
        self.net.to(device)
        if self.backbone is not None:
            self.backbone.to(device)
        return self

    def embed(self, x: NDArray[Any], batch_size: int = 32, kind: str | None = None) -> Array:
        """Return the embeddings [n, width] of n inputs.

        `kind` says what `x` holds: "feature" [n, ...] goes through the backbone, if there is one,
        "embedding" [n, d] straight into the network. The default is "feature", except for a model
        of vectors that has no backbone. Raises `SettingsMismatch` for another shape and
        `UsageError` for a kind that the model does not take, or where pooling lies in between.
        """
        x = self._own_input(x, batch_size, kind)
        parts = [part.cpu().numpy() for part in self._apply(self.net.body, x, batch_size)]
        return np.concatenate(parts)

    def logits(
        self, x: NDArray[Any], batch_size: int = 32, kind: str | None = None
    ) -> dict[str, Array]:
        """Return the logits [n, outputs] of each task for n inputs; as `embed` otherwise."""
        x = self._own_input(x, batch_size, kind)
        parts = list(self._apply(self.net, x, batch_size))
        return {
            task: np.concatenate([part[task].cpu().numpy() for part in parts])
            for task in self.net.tasks
        }

    def selftest(self) -> None:
        """Check that network and backbone give the scores that were stored when they were saved.

        Raises `RunError` when they differ by more than 1e-4.
        """
        if self.backbone is not None:
            self.backbone.selftest()
        stored, now = self.document["fingerprint"], self._fingerprint()
        for name in stored:
            expected = np.asarray(stored[name], dtype=np.float64)
            got = np.asarray(now.get(name, []), dtype=np.float64)
            if got.shape != expected.shape or not np.allclose(
                got, expected, rtol=SELFTEST_TOLERANCE, atol=SELFTEST_TOLERANCE
            ):
                raise RunError(
                    f"model {self.name} does not give the scores it was saved with ({name}): its "
                    "file was changed, or this machine computes wrongly; fetch or train it again"
                )

    def _own_input(self, x: NDArray[Any], batch_size: int, kind: str | None) -> NDArray[Any]:
        """Return the input of this model's own network, with its shape checked."""
        if kind is None:
            kind = "feature" if self.backbone is not None else self.input_kind
        if kind != self.input_kind:
            if self.backbone is None or kind != "feature":
                raise UsageError(
                    f"model {self.name} takes a column of kind {self.input_kind}, got {kind}; "
                    "choose another column, or a model trained on this one"
                )
            pooling = self.document["input"]["settings"].get("pooling", "none")
            if pooling not in ("", "none"):
                raise UsageError(
                    f"model {self.name} takes embeddings pooled by {pooling}: embed with its "
                    "backbone, pool, and give it the result as embeddings"
                )
            x = self.backbone.embed(x, batch_size)
        got, expected = x.shape[1:], self.input_shape
        if architecture(self.document["arch"]).any_frames and len(got) == len(expected):
            got, expected = got[:-1], expected[:-1]
        if got != expected:
            raise SettingsMismatch(
                f"model {self.name} takes arrays of shape {list(self.input_shape)}, "
                f"got {list(x.shape[1:])}; compute the features with the model's settings"
            )
        return x

    @torch.inference_mode()
    def _apply(
        self, function: Callable[[Tensor], Any], x: NDArray[Any], batch_size: int
    ) -> Iterator[Any]:
        """Yield what a part of the network gives for each batch; one empty batch if x is empty."""
        self.net.eval()
        for start in range(0, max(len(x), 1), batch_size):
            batch = np.ascontiguousarray(x[start : start + batch_size], dtype=np.float32)
            yield function(torch.from_numpy(batch).to(self.device))

    def _fingerprint(self) -> dict[str, list[float]]:
        """Return embedding and logits of a fixed input, made by a formula, to six decimals."""
        size = np.prod(self.input_shape, dtype=int)
        position = np.arange(size, dtype=np.float64)
        wave = np.sin(0.37 * position) * np.cos(0.0011 * position)
        # Decibels and log features spread over tens, vectors over ones.
        wave = 20 * wave if self.input_kind == "feature" else wave
        x = wave.reshape(1, *self.input_shape).astype(np.float32)
        values = {"embedding": self.embed(x, kind=self.input_kind)}
        for task, logits in self.logits(x, kind=self.input_kind).items():
            values[f"logits of {task}"] = logits
        return {name: [round(float(v), 6) for v in value[0]] for name, value in values.items()}


def _input_shape(source: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of one example of a document's input."""
    return tuple(source["shape"]) if source["kind"] == "feature" else (source["width"],)


def _in_backbone(name: str) -> bool:
    return name.startswith("backbone.")


def _tensor_names(net: MultiTask) -> dict[str, str]:
    """Map the names of tensors in the file to those in the network's state."""
    names = {f"body.{key}": f"body.{key}" for key in net.body.state_dict()}
    for task in net.tasks:
        for part in ("weight", "bias"):
            names[f"heads.{task}.{part}"] = f"heads.{head_key(task)}.{part}"
    return names


def _fill(net: MultiTask, tensors: Mapping[str, np.ndarray], where: str) -> None:
    """Copy tensors into a network; raises `BrokenTable` unless each has its place and shape."""
    names, state = _tensor_names(net), net.state_dict()
    wrong = sorted(names.keys() ^ tensors.keys()) or [
        name for name, key in names.items() if tensors[name].shape != tuple(state[key].shape)
    ]
    if wrong:
        raise BrokenTable(
            f"{where}: the tensors do not fit the model's document ({', '.join(wrong[:3])}"
            f"{', ...' if len(wrong) > 3 else ''}); train or fetch it again"
        )
    net.load_state_dict({key: torch.from_numpy(tensors[name]) for name, key in names.items()})


def _without_fingerprint(document: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what differs between machines, in the backbone too."""
    inner = document["backbone"]
    kept = {key: value for key, value in document.items() if key != "fingerprint"}
    return {**kept, "backbone": inner and _without_fingerprint(inner)}
