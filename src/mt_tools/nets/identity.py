"""What a model is, known without loading it: the digests that say what may be remembered.

Reading the weights of a network and loading torch takes seconds, which a run that finds nothing
new need not spend: a state (`library.state`) keeps the digests of a model file while it is as it
was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mt_tools.library.state import State, key_of
from mt_tools.nets.places import model_file

if TYPE_CHECKING:
    from mt_tools.nets.model import Model

_INDIFFERENT = frozenset({"model", "batch_size", "threads"})
_VERSION = 1  # of how scores are computed: a change makes all of them anew


@dataclass(frozen=True)
class Identity:
    """A model without loading it: the digests of all of it, and of what decides its raw scores."""

    digest: str
    network: str


def identity(state: State, name: str, load: Callable[[], Model]) -> Identity:
    """Return the digests of a model; `load` is called where its file is new to the state."""

    def make() -> str:
        model = load()
        return json.dumps(asdict(Identity(model.digest, network_digest(model))))

    file = model_file(name)
    return Identity(**json.loads(state.note(file, make) if file else make()))


def network_digest(model: Model) -> str:
    """Return the SHA-256 of all that decides a model's scores before they are calibrated.

    Names, notes and metrics do not, nor thresholds and calibration, which may be fitted anew.
    """
    if not model.tasks:
        return model.digest
    document, tensors = model.parts()
    whole = hashlib.sha256(json.dumps(_deciding(document), sort_keys=True).encode())
    for name in sorted(tensors):
        whole.update(f"\0{name} {tensors[name].dtype} {tensors[name].shape}\0".encode())
        whole.update(tensors[name].tobytes())
    return whole.hexdigest()


def _deciding(document: Any) -> Any:
    """Leave out what a model's document says that its scores do not depend on."""
    if not isinstance(document, dict) or "arch" not in document:
        return document
    notes = {"name", "training", "metrics", "licence", "citation", "fingerprint"}
    fitted = {"thresholds", "calibration", "abstain", "precision", "weight"}
    kept = {key: value for key, value in document.items() if key not in notes}
    tasks = [
        {k: v for k, v in task.items() if k not in fitted} for task in document.get("tasks", [])
    ]
    return {**kept, "tasks": tasks, "backbone": _deciding(document.get("backbone"))}


def work_key(models: Sequence[tuple[str, Identity]]) -> bytes:
    """Return the key of predictions: of the models, each with the prefix of its columns."""
    return key_of(_VERSION, [[prefix, model.network] for prefix, model in models])


def run_key(models: Sequence[tuple[str, Identity]], *settings: Mapping[str, Any]) -> bytes:
    """Return the key under which a file is done: of the models, and of settings of the result.

    What the models are called does not count, nor what changes scores by 1e-5 alone.
    """
    chosen = [{k: v for k, v in one.items() if k not in _INDIFFERENT} for one in settings]
    return key_of([[prefix, model.digest] for prefix, model in models], *chosen)
