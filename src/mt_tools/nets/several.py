"""Several models as one, and one model by other layers: what an embedding column is made by.

Goal: the concatenated representations of the REP study (MSS-CR: independent networks, their
embeddings side by side), in a form that is applied, described and kept as a backbone like a single
model; and the way back from a column's settings to the model that made it.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from mt_tools.errors import RunError, UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.model import CONCATENATED, FORMAT, Array, Check, Model
from mt_tools.nets.weights import resolve


class Concatenated(Model):
    """Models of the same features, whose embeddings stand side by side.

    Its document is that of a model without tasks, and holds theirs under `members`; its tensors are
    theirs with the prefix `members.N.`. Raises `UsageError` for models of unlike features, and for
    one that pools segments by itself.
    """

    def __init__(self, members: Sequence[Model], fingerprint: Any = None) -> None:
        front = members[0].front.document["input"]
        for member in members[1:]:
            differ = FeatureSettings.compatible(
                member.feature_settings, members[0].feature_settings
            )
            if differ:
                raise UsageError(
                    f"{members[0].name} and {member.name} take different features "
                    f"({'; '.join(differ)}), so they are not one model"
                )
        for member in members:
            if member.backbone is not None:
                how = member.document["input"]["settings"].get("pooling", "none")
                if how not in ("", "none"):
                    raise UsageError(
                        f"{member.name} pools segments by {how} itself, so it cannot be joined to "
                        "others: give it a column of its own, --model ALIAS=FILE"
                    )
        document: dict[str, Any] = {
            "format": FORMAT, "name": "+".join(member.name for member in members),
            "arch": CONCATENATED, "parameters": {}, "input": front, "heads": {}, "share": [],
            "layers": [], "tasks": [], "training": {}, "metrics": {}, "licence": "",
            "citation": "", "fingerprint": fingerprint or {}, "backbone": None,
        }  # fmt: skip
        super().__init__(document, cast(Any, None))
        self.members = list(members)

    @classmethod
    def from_parts(
        cls, document: dict[str, Any], tensors: Mapping[str, np.ndarray], where: str = "model"
    ) -> Concatenated:
        """Make the model of its document and tensors."""
        members = [
            Model.from_parts(
                member,
                {
                    name.removeprefix(f"members.{number}."): tensor
                    for name, tensor in tensors.items()
                    if name.startswith(f"members.{number}.")
                },
                where=f"{where}, member {number + 1}",
            )
            for number, member in enumerate(document["members"])
        ]
        return cls(members, document["fingerprint"])

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the whole document and the tensors of all members; the fingerprint is one."""
        documents: list[dict[str, Any]] = []
        tensors: dict[str, np.ndarray] = {}
        for number, member in enumerate(self.members):
            inner, values = member.parts()
            documents.append({**inner, "fingerprint": {}})
            tensors |= {f"members.{number}.{name}": value for name, value in values.items()}
        return {**self.document, "members": documents}, tensors

    @property
    def digest(self) -> str:
        """SHA-256 of the members' digests."""
        return digest_of(self.members)

    @property
    def width(self) -> int:
        """Length of the embedding."""
        return sum(member.width for member in self.members)

    @property
    def storable(self) -> bool:
        """Whether every member can be kept in a model file."""
        return all(storable(member) for member in self.members)

    @property
    def device(self) -> torch.device:
        """Where the networks lie."""
        return self.members[0].device

    def to(self, device: torch.device | str) -> Concatenated:
        """Move all members to a device; returns the model itself."""
        for member in self.members:
            member.to(device)
        return self

    def layer_names(self) -> list[str]:
        """Return the names of layers that every member has."""
        first, *rest = (member.layer_names() for member in self.members)
        return [name for name in first if all(name in names for names in rest)]

    def embed(
        self,
        x: NDArray[Any],
        batch_size: int = 32,
        kind: str | None = None,
        layers: Sequence[str] = (),
        precision: str = "float32",
    ) -> Array:
        """Return the embeddings [n, width] of n inputs."""
        parts = [
            member.embed(x, batch_size, "feature", layers, precision) for member in self.members
        ]
        return np.concatenate(parts, axis=1)

    def logits(
        self, x: NDArray[Any], batch_size: int = 32, kind: str | None = None
    ) -> dict[str, Array]:
        """Return nothing: there are no tasks."""
        return {}

    def selftest(self, full: bool = False) -> list[Check]:
        """Compare the scores with those that were stored; with `full`, also each member's."""
        members = [check for member in self.members for check in member._compared()] if full else []
        return super().selftest() + members

    def _examples(self, count: int) -> Array:
        return self.members[0].front._examples(count)


def digest_of(models: Sequence[Model]) -> str:
    """Return the digest of what models make side by side: a single one's own."""
    if len(models) == 1:
        return models[0].digest
    return hashlib.sha256("+".join(model.digest for model in models).encode()).hexdigest()


def storable(model: Model) -> bool:
    """Say whether a model can be kept in a model file, as a backbone: models of others cannot."""
    return bool(getattr(model, "storable", True))


def with_layers(model: Model, layers: Sequence[str]) -> Model:
    """Return a model whose embedding is what these layers give, side by side.

    The network is the same object. Raises `UsageError` for a layer that it does not have.
    """
    if not layers:
        return model
    chosen = copy.copy(model)
    chosen.document = {**model.document, "layers": list(layers)}
    assert chosen.width  # asks for each layer
    return chosen


def side_by_side(models: Sequence[Model]) -> Model:
    """Return one model for several: itself if there is one."""
    return models[0] if len(models) == 1 else Concatenated(models)


def maker_of(settings: Mapping[str, Any], folders: Sequence[str] = ()) -> Model:
    """Return the model that made an embedding column of these settings.

    Its files are looked for where they were named, then in `folders`. Raises `RunError` where it
    cannot be had, has changed since, or cannot be kept in a model file.
    """
    names = settings.get("model")
    if not names:
        raise RunError("the embeddings do not say what made them")
    names = [names] if isinstance(names, str) else names
    members = [_found(name, folders) for name in names]
    model = side_by_side([with_layers(member, settings.get("layers", ())) for member in members])
    shown = " + ".join(names)
    if model.digest != settings.get("digest"):
        raise RunError(f"{shown} is not what made the embeddings (its digest differs)")
    if not storable(model):
        raise RunError(f"{shown} cannot be kept in a model file of mt-tools")
    return model


def _found(name: str, folders: Sequence[str]) -> Model:
    first: RunError | None = None
    for candidate in (name, *(os.path.join(folder, name) for folder in folders)):
        try:
            return resolve(candidate)
        except RunError as error:
            first = first or error
    assert first is not None
    raise first
