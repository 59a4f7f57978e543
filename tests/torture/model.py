"""A small model with tasks of three kinds, of random weights: it knows nothing, and answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mt_tools.features.extract import extract
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.body import Head
from mt_tools.nets.build import build_multitask
from mt_tools.nets.model import Model, MultiTask
from mt_tools.tasks.kinds import head, make_task
from torture.sounds import wave

GENRES = ["Drum & Bass", "R&B/Soul", "Rock", "\u00d1and\u00fa", "\u97f3\u697d \U0001f3b5"]
MOODS = ["calm", "dark", "happy", "s\u00fc\u00df/sauer"]
FEATURES = FeatureSettings(
    sample_rate=8000, n_fft=512, hop=256, bands=24, scale="log", excerpt="first:0.7"
)


def make_model(path: Path, seed: int = 0) -> None:
    """Save a model with the tasks `genre`, `moods` and `energy`, whose answers differ by sound."""
    train = np.ones(len(GENRES), dtype=bool)
    moods = np.empty(len(GENRES), dtype=object)
    moods[:] = [MOODS] * len(GENRES)
    tasks = [
        make_task("genre", "multiclass", np.array(GENRES, dtype=object), train, vocabulary=GENRES),
        make_task("moods", "multilabel", moods, train, vocabulary=MOODS),
        make_task("energy", "regression", np.linspace(0, 10, len(GENRES)), train),
    ]
    tasks[1]["thresholds"] = [0.5] * len(MOODS)
    heads = {task["name"]: Head(**head(task)) for task in tasks}
    parameters = {"channels": [8, 8], "dropout": 0.0}
    net = build_multitask("cnn", parameters, (24, 22), heads, seed=seed)
    net.eval()
    _spread(net, seed)
    source = {"kind": "feature", "settings": FEATURES.to_json(), "shape": [24, 22]}
    model = Model.create(
        net, name="torture", arch="cnn", parameters=parameters, input=source, tasks=tasks
    )
    model.save(path)


def _spread(net: MultiTask, seed: int) -> None:
    """Make the answers to different sounds lie apart, on both sides of zero."""
    waves = [wave(seed + 1000 + n, rate=FEATURES.sample_rate)[:5632].T for n in range(60)]
    heard = np.stack([extract(one.astype(np.float32), FEATURES)[:, :22] for one in waves])
    with torch.no_grad():
        for name, found in net(torch.from_numpy(heard.astype(np.float32))).items():
            layer = net.head(name)
            layer.weight /= found.std(0)[:, None] / 3
            layer.bias -= found.mean(0)
            layer.bias *= 3 / found.std(0)
