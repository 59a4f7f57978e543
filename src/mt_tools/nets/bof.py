"""Bag of frames: how often each word of a dictionary is the nearest to a frame of the track.

Goal: the temporal approximation of the SEQ study that learns from no label (T of its pipeline), in
the form of a network without parameters, so that it is applied, combined and stored like one.

Source: SEQ study, section 2.3.1 (J.-J. Aucouturier, B. Defreville, F. Pachet, "The bag-of-frames
approach to audio pattern recognition", 2007). The study counts; ours divides by the number of
frames, so that tracks of any length compare.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from mt_tools.errors import BrokenTable, UsageError
from mt_tools.features.words import Dictionary
from mt_tools.nets.body import Body
from mt_tools.nets.build import build_multitask
from mt_tools.nets.model import Model


class NearestWord(nn.Module):
    """The shares of frames to which each word is the nearest.

    Shape: [n, d] (one frame), [n, d, frames] or [n, channels, d, frames] -> [n, words]. Of equally
    near words the first counts. `centres` [words, width] are the words, zeros until they are set.
    """

    centres: Tensor

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(words, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the shares."""
        frames = x.flatten(1, -2) if x.dim() > 2 else x.unsqueeze(2)
        lengths = self.centres.square().sum(dim=1)[:, None]
        shares = []
        with torch.autocast(x.device.type, enabled=False):  # half precision moves frames
            # One at a time: the distances of a batch would fill the memory.
            for track in frames.float():
                nearest = (lengths - 2 * self.centres @ track).argmin(dim=0)
                counts = torch.bincount(nearest, minlength=len(self.centres))
                shares.append(counts / track.shape[1])
        return torch.stack(shares) if shares else x.new_zeros(0, len(self.centres))


class BagOfFrames(Body):
    """The body of a dictionary of `words` words, for frames or for vectors. Layers: words."""

    def __init__(self, input_shape: tuple[int, ...], words: int = 1024) -> None:
        width = input_shape[0]
        for axis in input_shape[1:-1]:
            width *= axis
        super().__init__({"words": NearestWord(words, width)}, words)


def read_dictionary(path: str | os.PathLike[str]) -> Model:
    """Return the model of a dictionary that `mt-factor kmeans` wrote.

    The file is that of `features.words.Dictionary`. Raises `UsageError` where there is no such
    file, `BrokenTable` for one that is no dictionary.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError as error:
        raise UsageError(f"{name}: no such file; make it with mt-factor kmeans") from error
    except OSError as error:
        raise BrokenTable(
            f"{name}: not a dictionary of mt-factor kmeans ({error}); make it again"
        ) from error
    dictionary = Dictionary.from_bytes(content, name)
    centres, source = dictionary.centres, dict(dictionary.of)
    embeddings = source["kind"] == "embedding"
    shape = (source["width"],) if embeddings else tuple(source["shape"])
    arch, parameters = "bow" if len(shape) == 1 else "bof", {"words": len(centres)}
    net = build_multitask(arch, parameters, shape, {})
    net.load_state_dict({"shared.words.centres": torch.from_numpy(centres)})
    net.eval()
    return Model.create(
        net, name=f"bof-{len(centres)}", arch=arch, parameters=parameters, input=source
    )
