"""Audio models of the Hugging Face hub, or of a folder: `hf:OWNER/NAME`, `hf:FOLDER`.

What `transformers` can load as an AutoModel with an AutoFeatureExtractor, such as Wav2Vec2, HuBERT,
MERT's relatives, AST, CLAP and the encoder of Whisper. Code that lies in a repository is not run.

Conventions: waveforms [n, samples] at the extractor's rate. The embedding is the output that the
model itself pools, where it has one, else the mean of its last layer over time. Layers are
`layer0`, what enters the first block, to `layerN`, what leaves the last; each is averaged over
time. An excerpt is as long as what the extractor pads or cuts to, 10 s where it takes any length.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mt_tools.errors import RunError, UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.body import pooled_vector
from mt_tools.nets.foreign import Foreign, needed
from mt_tools.nets.model import PRECISIONS, Array
from mt_tools.nets.registry import unknown

SECONDS = 10.0
"""Length of an excerpt for models that take any."""


class HuggingFace(Foreign):
    """A model of `transformers` with its feature extractor."""

    def __init__(self, name: str, settings: FeatureSettings, net: Any, extractor: Any) -> None:
        self._net, self._extractor = net, extractor
        super().__init__(name, settings, (0,), _digest(settings, net, extractor))

    def to(self, device: torch.device | str) -> HuggingFace:
        """Move the network to a device; returns the model itself."""
        self._device = torch.device(device)
        self._net.to(self._device)
        return self

    def layer_names(self) -> list[str]:
        """Return the names of the hidden states."""
        config = self._net.config
        depth = getattr(config, "num_hidden_layers", None)
        if depth is None:
            depth = getattr(getattr(config, "audio_config", None), "num_hidden_layers", 0)
        return [f"layer{number}" for number in range(depth + 1)] if depth else []

    @torch.inference_mode()
    def _vectors(self, x: Array, layers: Sequence[str], precision: str) -> Array:
        known = self.layer_names()
        for name in layers:
            if name not in known:
                raise unknown(f"layer of {self.name}", name, known)
        rate = self.feature_settings.sample_rate
        given = self._extractor(list(x), sampling_rate=rate, return_tensors="pt")
        inputs = {key: value.to(self._device) for key, value in given.items()}
        dtype = PRECISIONS[precision]
        with torch.autocast(self._device.type, dtype, enabled=dtype is not torch.float32):
            if layers:
                states = self._net(**inputs, output_hidden_states=True).hidden_states
                vectors = [pooled_vector(states[known.index(name)].float()) for name in layers]
                joined = torch.cat(vectors, dim=1)
            elif hasattr(self._net, "get_audio_features"):
                joined = _vector(self._net.get_audio_features(**inputs))
            else:
                joined = _vector(self._net(**inputs))
        return joined.float().cpu().numpy()


def _vector(output: Any) -> Tensor:
    """Return the vectors [n, d] of an output of `transformers`."""
    if isinstance(output, Tensor):
        return output
    pooled = getattr(output, "pooler_output", None)
    return pooled_vector(output.last_hidden_state.float()) if pooled is None else pooled


def read_hf(name: str) -> HuggingFace:
    """Return the model of a repository or folder.

    Raises `UsageError` for a missing package, or what is no audio model that can be loaded, and
    `RunError` where the hub cannot be reached.
    """
    transformers = needed("transformers", "hf")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(name)
        net = transformers.AutoModel.from_pretrained(name)
    except OSError as error:
        reason = str(error).split("\n")[0]
        raise RunError(f"--model hf:{name}: {reason}; check the name, or the network") from error
    except (ValueError, KeyError, ImportError) as error:
        reason = str(error).split("\n")[0]
        raise UsageError(
            f"--model hf:{name}: {reason}; expected an audio model with a feature extractor"
        ) from error
    rate = getattr(extractor, "sampling_rate", None)
    if rate is None:
        raise UsageError(f"--model hf:{name}: its extractor has no sampling rate: no audio model")
    if getattr(net.config, "is_encoder_decoder", False):
        net = net.get_encoder()
    net.eval()
    net.float()
    excerpt = f"centre:{_seconds(extractor):.10g}"
    settings = FeatureSettings(kind="wave", sample_rate=int(rate), excerpt=excerpt)
    shown = os.path.basename(os.path.normpath(name)) if os.path.isdir(name) else name
    return HuggingFace(f"hf:{shown}", settings, net, extractor)


def _seconds(extractor: Any) -> float:
    """Return how long an input the extractor makes of any sound."""
    for attribute in ("max_length_s", "chunk_length"):  # CLAP; Whisper
        if getattr(extractor, attribute, None):
            return float(getattr(extractor, attribute))
    if hasattr(extractor, "num_mel_bins") and getattr(extractor, "max_length", None):
        return float(extractor.max_length) / 100  # AST: frames of 10 ms
    return SECONDS


def _digest(settings: FeatureSettings, net: Any, extractor: Any) -> str:
    """Return the SHA-256 of weights, configuration and features; names and versions left out."""
    config = {
        key: value
        for key, value in net.config.to_dict().items()
        if key not in ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
    }
    said = [settings.to_json(), config, extractor.to_dict()]
    whole = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode())
    for key, tensor in sorted(net.state_dict().items()):
        whole.update(f"\0{key} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        whole.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    return whole.hexdigest()
