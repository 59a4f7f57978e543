"""One example or more of every architecture, which the contract's tests are run on."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """An architecture as it is built: parameters, shape of one example, width of the embedding."""

    arch: str
    shape: tuple[int, ...]
    width: int
    parameters: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = "".join(f" {name}={value}" for name, value in self.parameters.items())
        return f"{self.arch} {'x'.join(map(str, self.shape))}{options}"


CASES = [
    Case("identity", (7,), 7),
    Case("bof", (9, 12), 6, {"words": 6}),
    Case("bof", (2, 9, 12), 6, {"words": 6}),
    Case("bow", (7,), 4, {"words": 4}),
    Case("mlp", (20,), 64),
    Case("mlp", (20,), 8, {"hidden": [16, 8], "batch_norm": True, "dropout": 0.1}),
    Case("mlp", (20,), 20, {"hidden": []}),
    Case("cnn", (40, 50), 128),
    Case("cnn", (2, 40, 50), 32, {"channels": [8, 16, 32]}),
    Case("cnn", (128, 1), 128),
    Case("crnn-choi", (96, 150), 32),
    Case("crnn-choi", (2, 200, 192), 32, {"standardise": True}),
    Case("cnn-choi", (96, 1280), 256),
    Case("cnn-choi", (2, 96, 1366), 256, {"standardise": True}),
    Case("compact-choi", (96, 1280), 32),
    Case("compact-choi", (2, 96, 1360), 32, {"per_clip": True}),
    Case("cnn-dj", (48, 1874), 128),
    Case("cnn-dj", (2, 96, 1824), 256, {"dropout": 0.0}),
    Case("cnn-agf", (128, 43), 256),
    Case("cnn-agf", (2, 32, 5), 128, {"width": 0.5}),
    Case("mlp-agf", (20,), 16, {"units": 16}),
    Case("cnn-seq", (96, 260), 1024),
    Case("cnn-seq", (2, 16, 40), 32, {"channels": [4, 4, 4, 4, 8], "initialise": "cosine"}),
    Case("cnn-lstm-seq", (16, 40), 7, {"channels": [4, 4, 4, 4, 8], "units": 5, "hidden": 7}),
    Case("mfcc-lstm-seq", (9, 12), 7, {"units": 5, "hidden": 7}),
    Case("mfcc-lstm-seq", (2, 9, 12), 7, {"units": 5, "hidden": 7}),
    Case("lenet5", (128, 61), 84),
    Case("lenet5", (2, 16, 3), 84),
    Case("resnet34", (40, 33), 512),
    Case("crnn-reg", (128, 200), 32),
    Case("crnn-reg", (2, 24, 290), 32),
    Case("cnn-reg", (32, 270), 128),
    Case("cnn-reg", (2, 4, 10), 6, {"channels": [4, 8], "units": 6}),
    Case("cnn-rep", (2, 128, 216), 256),
    Case("cnn-rep", (32, 10), 256),
    Case("musicnn", (96, 40), 200),
    Case("musicnn", (2, 20, 9), 10, {"filters": 8, "units": 10}),
    Case("short-chunk", (128, 140), 32, {"maps": 8}),
    Case("short-chunk", (2, 130, 10), 32, {"maps": 8}),
    Case("short-chunk-res", (128, 30), 16, {"maps": 4}),
]
