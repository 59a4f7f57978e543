"""A model: a network with everything that is needed to apply it, in one file.

Goal: what a stage works with. A `Model` takes features or vectors as numpy arrays and gives
embeddings and logits as numpy arrays, on whatever device it lies.

Conventions: the document is

    {"format": 2, "name", "arch", "parameters",
     "input": {"kind": "feature", "settings": {...}, "shape": [...]}
           or {"kind": "embedding", "settings": {..., "pooling"}, "width": n},
     "heads": {task: {"outputs", "activation", "feeds", "pair"}},
     "share": [{"blocks", "tasks"}, ...], "layers": [name, ...], "tasks": [...],
     "training": {...}, "metrics": {...}, "licence", "citation", "fingerprint": {...},
     "backbone": a document or null}

The embedding is what the `layers` give, side by side, or the end of the network where none are
named. Tensors are called as `MultiTask.tensor_names` says: `shared.conv1.0.weight`,
`branches.genre.conv3.0.weight`, `heads.genre.weight`. A model that was trained on the embeddings of
another carries that one whole, as its backbone: its document under `backbone`, its tensors with the
prefix `backbone.`. Pooling over segments lies between the two and is the stages' work.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mt_tools.errors import BrokenTable, SettingsMismatch, UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.body import Head, MultiTask, Share, Standardise, pooled_vector
from mt_tools.nets.build import build_multitask
from mt_tools.nets.device import available, choose
from mt_tools.nets.registry import architecture, unknown
from mt_tools.nets.select import Select
from mt_tools.nets.statistics import fix_statistics
from mt_tools.tables.document import dumps, read_document, write_document

__all__ = ["FORMAT", "LEAK_ALLOWED", "Check", "Model", "MultiTask"]

FORMAT = 2
LEAK_ALLOWED = "leak allowed: "
"""What a note of the training begins with that tells of a leak."""

CONCATENATED = "concatenated"
"""The architecture of several models side by side: see `nets.several`."""

ACROSS_MACHINES = 1e-4
"""How far scores may lie apart on two devices or machines, relative to 1 + the score."""

ACROSS_BATCHES = 1e-5
"""How far scores may lie apart in batches of another size on one device."""

BATCHES = (1, 3, 8)
"""The sizes of batches that a full selftest compares."""

_CPU_BYTES = 2_500_000
"""Bytes of input that a CPU works on at a time, whatever the size of a batch.

A convolution's maps take some hundred times as much; a GPU fills itself with many examples, a CPU's
cores gain nothing by more than a few (`bench/tag.py`).
"""

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What networks may compute in; vectors are returned in float32."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Check:
    """One comparison of a selftest: what, the tolerance, and the worst difference found."""

    what: str
    tolerance: float
    worst: float

    @property
    def ok(self) -> bool:
        """Whether the difference lies within the tolerance."""
        return self.worst <= self.tolerance


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
        share: Sequence[Share] = (Share(),),
        tasks: Sequence[Mapping[str, Any]] = (),
        training: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        licence: str = "",
        citation: str = "",
        backbone: Model | None = None,
    ) -> Model:
        """Describe a network that `build_multitask(arch, parameters, ..., share=share)` made.

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
            "heads": {task: head.to_json() for task, head in net.specs.items()},
            "share": [rule.to_json() for rule in share],
            "layers": [],
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
        if document.get("arch") == CONCATENATED:
            from mt_tools.nets.several import Concatenated

            return Concatenated.from_parts(document, tensors, where)
        try:
            inner = document["backbone"]
            backbone = inner and cls.from_parts(
                inner,
                {k.removeprefix("backbone."): v for k, v in tensors.items() if _in_backbone(k)},
                where=f"{where}, backbone",
            )
            names = [task["name"] for task in document["tasks"]]
            document = {**document, "layers": list(document["layers"]), "backbone": None}
            net = build_multitask(
                document["arch"],
                document["parameters"],
                _input_shape(document["input"]),
                {name: Head.from_json(document["heads"][name]) for name in names},
                share=[Share.from_json(rule) for rule in document["share"]],
            )
        except (KeyError, TypeError) as error:
            raise BrokenTable(
                f"{where}: the model's document is incomplete ({error!r}); train or fetch it again"
            ) from error
        _fill(net, {k: v for k, v in tensors.items() if not _in_backbone(k)}, where)
        net.eval()
        return cls(document, net, backbone)

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the whole document and all tensors, those of the backbone included."""
        tensors = {
            name: tensor.cpu().contiguous().numpy()
            for name, tensor in self.net.named_tensors().items()
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
    def leaks(self) -> list[str]:
        """What leaked between the rows that trained the model and those that judged it."""
        notes = self.document.get("training", {}).get("notes", [])
        return [note.removeprefix(LEAK_ALLOWED) for note in notes if note.startswith(LEAK_ALLOWED)]

    @property
    def width(self) -> int:
        """Length of the embedding."""
        if not self.document["layers"]:
            return self.net.width
        none = np.zeros((0, *self._example_shape()), dtype=np.float32)
        return self.embed(none, kind=self.input_kind).shape[1]

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

    def layer_names(self) -> list[str]:
        """Return the names of the layers that `embed` can give, in order.

        Layers of the same name in several branches are one.
        """
        return list(dict.fromkeys(name.rpartition(".")[2] for name in self._layers()))

    def embed(
        self,
        x: NDArray[Any],
        batch_size: int = 32,
        kind: str | None = None,
        layers: Sequence[str] = (),
        precision: str = "float32",
    ) -> Array:
        """Return the embeddings [n, width] of n inputs.

        `kind` says what `x` holds: "feature" [n, ...] goes through the backbone, if there is one,
        "embedding" [n, d] straight into the network. The default is "feature", except for a model
        of vectors that has no backbone. A network of songs of any length takes [n, parts, ...],
        filled up with NaN. `layers` names layers whose outputs are given instead, as vectors
        (`pooled_vector`) side by side: `conv2` for all layers of that name, or one by its whole
        name, `branches.genre.conv2`. `precision` is a key of `PRECISIONS`. Raises
        `SettingsMismatch` for another shape and `UsageError` for an unknown layer, for a kind that
        the model does not take, or where pooling lies in between.
        """
        modules = self._found(layers or self.document["layers"])
        x = self._own_input(x, batch_size, kind, precision)
        if not modules:
            return self._joined(self._apply(self.net.embed, x, batch_size, precision))
        kept: dict[str, Tensor] = {}

        songs = architecture(self.document["arch"]).sequence

        def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
            def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
                if songs and output.dim() == 4:  # parts of coefficients: maps of one row each
                    output = output.unsqueeze(3)
                kept[name] = pooled_vector(output)

            return hook

        def vectors(batch: Tensor) -> Tensor:
            self.net.embed(batch)
            return torch.cat([kept[name].float() for name in modules], dim=1)

        hooks = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
        try:
            return self._joined(self._apply(vectors, x, batch_size, precision))
        finally:
            for hook in hooks:
                hook.remove()

    def logits(
        self, x: NDArray[Any], batch_size: int = 32, kind: str | None = None
    ) -> dict[str, Array]:
        """Return the logits [n, outputs] of each task for n inputs; as `embed` otherwise.

        Tasks of pairs are left out.
        """
        x = self._own_input(x, batch_size, kind)
        parts = list(self._apply(self.net, x, batch_size))
        return {task: self._joined(part[task] for part in parts) for task in parts[0]}

    def calibrated(
        self, batches: Callable[[], Iterable[NDArray[Any]]], batch_size: int = 32
    ) -> Model:
        """Return a copy whose batch norms hold the statistics of a user's own inputs.

        `batches` gives the inputs [n, ...] from the beginning each time it is called, which is once
        for every norm (`fix_statistics`). Raises `SettingsMismatch` for another shape and
        `UsageError` for a network without batch norms, or without inputs.
        """
        model = Model(copy.deepcopy(self.document), copy.deepcopy(self.net), self.backbone)
        given = 0

        def inputs() -> Iterator[Tensor]:
            nonlocal given
            given = 0
            for x in batches():
                given += len(x)
                for start in range(0, len(x), batch_size):
                    part = self._own_input(x[start : start + batch_size], batch_size, None)
                    yield _on_device(part, self.device)

        norms = fix_statistics(model.net, inputs)
        if not given:
            raise UsageError(f"nothing to calibrate {self.name} on: the input has no rows")
        if not norms:
            raise UsageError(
                f"model {self.name} has no batch norms to calibrate: its embedding of a track does "
                "not depend on other tracks"
            )
        model.document["training"]["calibrated"] = {"inputs": given}
        return model

    def selftest(self, full: bool = False) -> list[Check]:
        """Compare the scores of a made example with those stored when the model was saved.

        With `full`, several examples go through every device of this machine as well, in batches of
        several sizes and in two calls. Tolerances are `ACROSS_MACHINES` and `ACROSS_BATCHES`. The
        checks of a backbone come first.
        """
        checks = [] if self.backbone is None else self.backbone.selftest(full)
        worst = _worst(self._fingerprint(), self.document["fingerprint"])
        checks.append(Check(f"{self.name}: scores as stored", ACROSS_MACHINES, worst))
        return checks + (self._compared() if full else [])

    def _compared(self) -> list[Check]:
        """Compare devices with the CPU; on each, small batches and two calls with one batch."""
        checks = []
        x = self._examples(max(BATCHES))
        reference: dict[str, Array] = {}
        for name in reversed(available()):
            model = Model(self.document, copy.deepcopy(self.net)).to(choose(name))
            whole = model._scores(x, len(x))
            halves = [model._scores(half, len(x)) for half in (x[: len(x) // 2], x[len(x) // 2 :])]
            others = {f"batches of {size}": model._scores(x, size) for size in BATCHES[:-1]}
            others["two calls"] = {
                key: np.concatenate([half[key] for half in halves]) for key in whole
            }
            for what, scores in others.items():
                what = f"{self.name}: {what} on {name}"
                checks.append(Check(what, ACROSS_BATCHES, _worst(scores, whole)))
            if reference:
                what = f"{self.name}: {name} against cpu"
                checks.append(Check(what, ACROSS_MACHINES, _worst(whole, reference)))
            reference = reference or whole
        return checks

    def _layers(self) -> dict[str, nn.Module]:
        """Return the layers of the network by their whole names, without the heads."""
        layers = self.net.named_layers()
        return {name: layer for name, layer in layers.items() if not name.startswith("heads.")}

    def _found(self, names: Sequence[str]) -> dict[str, nn.Module]:
        """Return the layers that are meant by whole or short names."""
        layers = self._layers()
        found = {}
        for name in names:
            meant = [n for n in layers if name in (n, n.rpartition(".")[2])]
            if not meant:
                raise unknown(f"layer of {self.name}", name, self.layer_names())
            found.update({n: layers[n] for n in meant})
        return found

    def _own_input(
        self, x: NDArray[Any], batch_size: int, kind: str | None, precision: str = "float32"
    ) -> NDArray[Any]:
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
            x = self.backbone.embed(x, batch_size, precision=precision)
        row = architecture(self.document["arch"])
        got, expected = x.shape[2 if row.sequence else 1 :], self.input_shape
        if row.any_frames and len(got) == len(expected):
            got, expected = got[:-1], expected[:-1]
        if got != expected:
            shown = ", ".join(["parts"] * row.sequence + [str(size) for size in self.input_shape])
            raise SettingsMismatch(
                f"model {self.name} takes arrays of shape [{shown}], "
                f"got {list(x.shape[1:])}; compute the features with the model's settings"
            )
        return x

    @torch.inference_mode()
    def _apply(
        self,
        function: Callable[[Tensor], Any],
        x: NDArray[Any],
        batch_size: int,
        precision: str = "float32",
    ) -> Iterator[Any]:
        """Yield what a part of the network gives for each batch; one empty batch if x is empty.

        Results stay on the device, so that a GPU works on while the next batch is prepared.
        """
        self.net.eval()
        device, dtype = self.device, PRECISIONS[precision]
        if device.type == "cpu" and len(x):
            batch_size = min(batch_size, max(1, _CPU_BYTES // max(x[0].nbytes, 1)))
        for start in range(0, max(len(x), 1), batch_size):
            batch = _on_device(x[start : start + batch_size], device)
            with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
                result = function(batch)
            yield result

    def _joined(self, parts: Iterable[Tensor]) -> Array:
        """Return the results of all batches as one array."""
        return torch.cat(list(parts)).float().cpu().numpy()

    def _fingerprint(self) -> dict[str, list[float]]:
        """Return embedding and logits of a made example, to six decimals."""
        scores = self._scores(self._examples(1))
        return {name: [round(float(v), 6) for v in value[0]] for name, value in scores.items()}

    def _scores(self, x: NDArray[Any], batch_size: int = 32) -> dict[str, Array]:
        """Return embeddings and logits of the network's inputs, named as in a fingerprint."""
        logits = self.logits(x, batch_size, self.input_kind)
        named = {f"logits of {task}": value for task, value in logits.items()}
        return {"embedding": self.embed(x, batch_size, self.input_kind), **named}

    def _example_shape(self, parts: int = 1) -> tuple[int, ...]:
        """Return the shape of one example; a song of any length has so many parts."""
        songs = architecture(self.document["arch"]).sequence
        return (parts,) * songs + self.input_shape

    def _examples(self, count: int) -> Array:
        """Return inputs that a formula makes; songs of any length have two parts."""
        shape = (count, *self._example_shape(2))
        position = np.arange(np.prod(shape, dtype=int), dtype=np.float64)
        wave = np.sin(0.37 * position) * np.cos(0.0011 * position)
        wave = wave.reshape(shape)
        known = next(
            (layer for layer in self.net.modules() if isinstance(layer, Standardise)), None
        )
        if known is not None:
            # As the training rows lie: far from them, where a number hardly varied, a difference in
            # the last digit of an input would be multiplied by thousands.
            chosen = next((one for one in self.net.modules() if isinstance(one, Select)), None)
            at = slice(None) if chosen is None else chosen.columns.cpu().numpy()
            wave[..., at] = wave[..., at] * known.std.cpu().numpy() + known.mean.cpu().numpy()
        elif self.input_kind == "feature":
            wave = 20 * wave  # decibels and log features spread over tens, vectors over ones
        return wave.astype(np.float32)


def _input_shape(source: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of one example of a document's input."""
    return tuple(source["shape"]) if source["kind"] == "feature" else (source["width"],)


def _on_device(x: NDArray[Any], device: torch.device) -> Tensor:
    """Return an array as a float32 tensor on a device; half precision travels as it is."""
    dtype = x.dtype if x.dtype in (np.float16, np.float32) else np.dtype(np.float32)
    if device.type != "cuda":
        # Copied where it may not be written to, as the columns of a table, which torch warns of.
        return torch.from_numpy(np.require(x, dtype, ["C", "W"])).to(device).float()
    # From pinned memory a copy runs beside the computation of the batch before.
    pinned = torch.empty(x.shape, dtype=getattr(torch, dtype.name), pin_memory=True)
    pinned.numpy()[...] = x
    return pinned.to(device, non_blocking=True).float()


def _worst(scores: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    """Return the largest difference, relative to 1 + the expected value; infinite for others."""
    if scores.keys() != expected.keys():
        return np.inf
    worst = 0.0
    for name, value in scores.items():
        got, known = np.asarray(value, np.float64), np.asarray(expected[name], np.float64)
        if got.shape != known.shape or not (np.isfinite(got) & np.isfinite(known)).all():
            return np.inf
        worst = max(worst, float((np.abs(got - known) / (1 + np.abs(known))).max(initial=0)))
    return worst


def _in_backbone(name: str) -> bool:
    return name.startswith("backbone.")


def _fill(net: MultiTask, tensors: Mapping[str, np.ndarray], where: str) -> None:
    """Copy tensors into a network; raises `BrokenTable` unless each has its place and shape."""
    places = net.named_tensors()
    wrong = sorted(places.keys() ^ tensors.keys()) or [
        name for name, place in places.items() if tensors[name].shape != tuple(place.shape)
    ]
    if wrong:
        raise BrokenTable(
            f"{where}: the tensors do not fit the model's document ({', '.join(wrong[:3])}"
            f"{', ...' if len(wrong) > 3 else ''}); train or fetch it again"
        )
    for name, place in places.items():
        place.copy_(torch.from_numpy(tensors[name]))


def _without_fingerprint(document: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what differs between machines, in the backbone too."""
    inner = document["backbone"]
    kept = {key: value for key, value in document.items() if key != "fingerprint"}
    return {**kept, "backbone": inner and _without_fingerprint(inner)}
