"""The two parts of every network: a body, and a head a task.

A *body* turns an input into a vector, the embedding; linear *heads* turn that into the logits of
tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import cast
from urllib.parse import quote

from torch import Tensor, nn


class Body(nn.Module, ABC):
    """A network without heads; `width` is the length of its embedding."""

    width: int

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """Return the embeddings [n, width] of inputs [n, ...]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the embeddings [n, width]."""
        return self.embed(x)


class MultiTask(nn.Module):
    """A body with a linear head a task.

    `heads` maps `head_key(task)` to the layer; `tasks` are the names in order. Calling it gives
    the logits [n, outputs] by task name.
    """

    def __init__(self, body: Body, heads: Mapping[str, int]) -> None:
        super().__init__()
        self.body = body
        self.tasks = tuple(heads)
        self.heads = nn.ModuleDict(
            {head_key(task): nn.Linear(body.width, outputs) for task, outputs in heads.items()}
        )

    def head(self, task: str) -> nn.Linear:
        """Return the head of a task."""
        return cast(nn.Linear, self.heads[head_key(task)])

    @property
    def outputs(self) -> dict[str, int]:
        """Number of outputs of each task, in order."""
        return {task: self.head(task).out_features for task in self.tasks}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the logits [n, outputs] of each task."""
        embedding = self.body.embed(x)
        return {task: self.head(task)(embedding) for task in self.tasks}


def head_key(task: str) -> str:
    """Return the name of a task's head in `MultiTask.heads`.

    A column may be called anything, and a module neither `a.b` nor `keys`.
    """
    return "task:" + quote(task, safe=" ").replace(".", "%2E")


def as_images(x: Tensor) -> Tensor:
    """Return features [n, bands, frames] as [n, 1, bands, frames]; others have their channels."""
    return x.unsqueeze(1) if x.dim() == 3 else x


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (channels, bands, frames) of an input [bands, frames] or [channels, bands, frames]."""
    channels, bands, frames = (1, *shape) if len(shape) == 2 else shape
    return channels, bands, frames


def standardised(x: Tensor) -> Tensor:
    """Return each example of [n, ...] at mean 0 and deviation 1; a constant one becomes 0."""
    axes = tuple(range(1, x.dim()))
    x = x - x.mean(dim=axes, keepdim=True)
    deviation = x.square().mean(dim=axes, keepdim=True).sqrt()
    return x / deviation.clamp(min=1e-3)
