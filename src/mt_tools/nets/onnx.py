"""ONNX graphs as models: `onnx:FILE?preset=NAME` or `onnx:FILE?rate=HZ`.

A graph says how large its input is, but not what it means. So the name says it: `preset` is one of
mt-spec's, for graphs of mel spectrograms; `rate` is the sample rate, for graphs of waveforms.
`seconds` is the length of an excerpt where the graph leaves it open.

Conventions: the first axis of input and outputs is the batch. The input is a waveform [n, samples],
[n, 1, samples] or [n, 2, samples] (stereo), or a spectrogram [n, bands, frames], perhaps with
frames before bands or with an axis of one channel, which the number of bands tells. Outputs are
[n, d], [n, steps, d] or, as PyTorch has them, [n, d, bands, frames]; the last two are averaged to
[n, d]. The embedding is the first output; `layers` are outputs by name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import torch

from mt_tools.errors import UsageError
from mt_tools.features.presets import preset
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.body import pooled_vector
from mt_tools.nets.foreign import FOREIGN_FORMS, Foreign, needed
from mt_tools.nets.model import Array
from mt_tools.nets.registry import unknown

_KEYS = ("preset", "rate", "seconds")
# Where bands, frames and a single channel may stand behind the batch; the first that fits is taken.
_LAYOUTS = ("bf", "fb", "1bf", "1fb", "bf1", "fb1")


class Onnx(Foreign):
    """A graph that onnxruntime runs, on the CPU, or on a GPU where its package can."""

    def __init__(
        self, path: str, settings: FeatureSettings, session: Any, layout: str, digest: str
    ) -> None:
        self._path, self._session, self._layout = path, session, layout
        (source,) = session.get_inputs()
        self._input = source.name
        sizes = [size if isinstance(size, int) else 0 for size in source.shape]
        self._batch = sizes[0]
        if layout in ("s", "1s", "2s"):
            shape = [2, sizes[-1]] if layout == "2s" else [sizes[-1]]
        elif layout == "cbf":
            shape = [2, settings.output_bands, sizes[3]]
        elif layout == "d":
            shape = sizes[1:]
        else:
            shape = [settings.output_bands, sizes[1:][layout.index("f")]]
        super().__init__(f"onnx:{os.path.basename(path)}", settings, shape, digest)

    def to(self, device: torch.device | str) -> Onnx:
        """Move to a device, if onnxruntime was built for it; it stays on the CPU otherwise."""
        wanted = torch.device(device)
        runtime = needed("onnxruntime", "onnx")
        if wanted.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
            self._session = _session(self._path, wanted)
            self._device = wanted
        return self

    def layer_names(self) -> list[str]:
        """Return the names of the graph's outputs."""
        return [output.name for output in self._session.get_outputs()]

    def _vectors(self, x: Array, layers: Sequence[str], precision: str) -> Array:
        if precision != "float32":
            raise UsageError(
                f"{self.name} computes in the precision that it was exported in: leave out "
                "--precision"
            )
        known = self.layer_names()
        for name in layers:
            if name not in known:
                raise unknown(f"output of {self.name}", name, known)
        size = self._batch or len(x)
        made: list[Array] = []
        for start in range(0, len(x), size):
            part = x[start : start + size]
            if len(part) < size:  # a graph of a fixed batch takes no smaller one
                part = np.concatenate([part, np.zeros((size - len(part), *x.shape[1:]), x.dtype)])
            made.append(self._run(part, list(layers) or known[:1]))
        return np.concatenate(made)[: len(x)]

    def _run(self, x: Array, outputs: list[str]) -> Array:
        found = self._session.run(outputs, {self._input: _laid_out(x, self._layout)})
        vectors = [pooled_vector(torch.from_numpy(np.atleast_2d(array))) for array in found]
        return torch.cat(vectors, dim=1).float().numpy()


def read_onnx(name: str) -> Onnx:
    """Return the model of `FILE?preset=NAME`, `FILE?rate=HZ`, either with `&seconds=S`.

    Raises `UsageError` for a missing package or file, and a graph that does not fit its settings.
    """
    needed("onnxruntime", "onnx")
    path, _, query = name.partition("?")
    said = dict(parse_qsl(query, keep_blank_values=True))
    if (set(said) - set(_KEYS)) or ("preset" in said) == ("rate" in said):
        raise UsageError(f"--model onnx:{name}: expected {FOREIGN_FORMS['onnx']}, and &seconds=S")
    if not os.path.isfile(path):
        raise UsageError(f"--model onnx:{name}: no file {path}; check the path")
    seconds = _number(name, said, "seconds") if "seconds" in said else None
    if "preset" in said:
        settings = preset(said["preset"])
    else:
        rate = round(_number(name, said, "rate"))
        settings = FeatureSettings(kind="wave", sample_rate=rate)
    session = _session(path, torch.device("cpu"))
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        kinds = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        raise UsageError(f"{path} takes {kinds}: expected one input of tensor(float)")
    sizes = list(inputs[0].shape)
    layout = _layout(sizes, settings)
    if layout is None:
        expected = "a waveform" if settings.kind == "wave" else f"{settings.output_bands} bands"
        raise UsageError(f"{path} takes {sizes}, which is not {expected}: say another preset")
    if layout == "2s":
        settings = dataclasses.replace(settings, channels="stereo")
    settings = _cut(path, settings, sizes, layout, seconds)
    whole = hashlib.sha256(repr(sorted(settings.to_json().items())).encode())
    for file in (path, f"{path}.data"):  # large weights lie beside the graph
        if os.path.isfile(file):
            with open(file, "rb") as content:
                whole.update(hashlib.file_digest(content, "sha256").digest())
    return Onnx(path, settings, session, layout, whole.hexdigest())


def _number(name: str, said: dict[str, str], key: str) -> float:
    try:
        value = float(said[key])
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"--model onnx:{name}: {key} is {said[key]!r}, expected a number above 0")
    return value


def _session(path: str, device: torch.device) -> Any:
    runtime = needed("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    try:
        return runtime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # of its own hierarchy, which it does not export
        reason = " ".join(str(error).split())
        raise UsageError(f"{path} is no ONNX graph that can be run: {reason}") from error


def _layout(sizes: list[Any], settings: FeatureSettings) -> str | None:
    """Return how an example lies in the input behind the batch, None where it cannot."""
    behind = sizes[1:]
    if settings.kind == "wave":
        return {1: "s", 2: {1: "1s", 2: "2s"}.get(behind[0])}.get(len(behind))
    if settings.is_vector:
        return "d" if len(behind) == 1 else None
    if settings.channels == "stereo":
        fits = len(behind) == 3 and behind[0] in (2, None)
        return "cbf" if fits and behind[1] == settings.output_bands else None
    for layout in _LAYOUTS:
        expected = {"b": settings.output_bands, "1": 1}
        if len(layout) == len(behind) and all(
            axis == "f" or not isinstance(size, int) or size == expected[axis]
            for axis, size in zip(layout, behind, strict=True)
        ):
            return layout
    return None


def _cut(
    path: str, settings: FeatureSettings, sizes: list[Any], layout: str, seconds: float | None
) -> FeatureSettings:
    """Return the settings with an excerpt that is as long as the input asks for."""
    time = {"s": -1, "1s": -1, "2s": -1, "cbf": 3}.get(layout)
    if time is None and "f" in layout:
        time = 1 + layout.index("f")
    size = sizes[time] if time is not None else None
    if not isinstance(size, int):
        if seconds is not None:
            return dataclasses.replace(settings, excerpt=f"centre:{seconds:.10g}", frames=0)
        if settings.kind == "wave":
            raise UsageError(f"{path} takes waveforms of any length: say &seconds=S")
        return settings
    if settings.kind == "wave":
        excerpt = f"centre:{size / settings.sample_rate:.10g}"
        return dataclasses.replace(settings, excerpt=excerpt)
    samples = settings.excerpt_samples
    if samples is not None and size == (settings.frames or settings.frames_of(samples)):
        return settings
    excerpt = f"centre:{size * settings.hop / settings.sample_rate:.10g}"
    return dataclasses.replace(settings, excerpt=excerpt, frames=size)


def _laid_out(x: Array, layout: str) -> Array:
    """Return examples as the graph takes them."""
    if layout == "1s":
        return x[:, None]
    if layout.strip("1") == "fb":
        x = x.transpose(0, 2, 1)
    if layout.startswith("1"):
        x = x[:, None]
    if layout.endswith("1"):
        x = x[..., None]
    return np.ascontiguousarray(x)
