"""What embed and tag do with a model before they differ: inputs, excerpts, batches, songs."""

from __future__ import annotations

import threading
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.build import build_multitask
from mt_tools.nets.model import Model
from mt_tools.nets.places import split_alias
from mt_tools.stages.frontend import Part, Parts
from mt_tools.stages.networks import Segments, applied, front_settings, takes_songs
from mt_tools.tables.batch import Batch

FEATURES = FeatureSettings(bands=8, excerpt="segment:0.5")


def model_of(arch: str, shape: tuple[int, ...], **parameters: Any) -> Model:
    """Return an untrained model on features."""
    net = build_multitask(arch, parameters, shape, {}, seed=3)
    net.eval()
    source = {"kind": "feature", "settings": FEATURES.to_json(), "shape": list(shape)}
    return Model.create(net, name=arch, arch=arch, parameters=parameters, input=source)


@pytest.fixture(scope="module")
def songs() -> Model:
    """An untrained network of songs of any length."""
    return model_of("mfcc-lstm-seq", (8, 12), units=5, hidden=7)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("crnn-msd", ("", "crnn-msd")),
        ("b=crnn-msd", ("b", "crnn-msd")),
        ("b=/x/y=z.safetensors", ("b", "/x/y=z.safetensors")),
        ("/x=1/m.safetensors", ("", "/x=1/m.safetensors")),
        ("keras:a=b.h5", ("", "keras:a=b.h5")),
    ],
)
def test_an_alias_is_told_from_a_path(typed: str, expected: tuple[str, str]) -> None:
    """A folder with an equals sign in its name is no alias."""
    assert split_alias(typed) == expected


@pytest.mark.parametrize("typed", ["=x", "b="])
def test_half_an_alias_is_refused(typed: str) -> None:
    """An empty alias or model is a typing error."""
    with pytest.raises(UsageError, match="alias=FILE"):
        split_alias(typed)


@pytest.mark.parametrize(
    ("how", "segment", "hop", "excerpt"),
    [
        ("", 0, 0, "segment:0.5"),
        ("mean", 0, 0, "segment:0.5"),
        ("none", 2, 0, "segment:2"),
        ("max", 2, 1, "segment:2:1"),
        ("", 0, 0.25, "segment:0.5:0.25"),
        ("", 1.5, 1.5, "segment:1.5"),
    ],
)
def test_excerpts(how: str, segment: float, hop: float, excerpt: str) -> None:
    """--segment and --hop would cut otherwise than they say."""
    model = model_of("cnn", (8, 12), channels=[4])
    assert front_settings(model, how, segment, hop).excerpt == excerpt


def test_songs_are_not_pooled(songs: Model) -> None:
    """A network of songs gives one vector a song: pooling it would be a misunderstanding."""
    assert takes_songs(songs)
    assert not takes_songs(model_of("cnn", (8, 12), channels=[4]))
    with pytest.raises(UsageError, match="leave out --pool"):
        front_settings(songs, "mean")


def inputs(batch: Batch, arrays: list[np.ndarray]) -> Any:
    """Return tracks on their way."""
    return ((batch, row, array) for row, array in enumerate(arrays))


def test_songs_of_unequal_length_go_together(make_batch: Any, songs: Model, failures: Any) -> None:
    """A song's vector would depend on the longest song of its batch."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(1, n, 8, 12)).astype(np.float32) for n in (3, 1, 4, 2)]
    batch = make_batch(path=["a", "b", "c", "d"])
    seen = []

    def network(x: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(x.shape[:2])
        return {"vectors": songs.embed(x, kind="feature")}

    made = [
        values["vectors"]
        for _, _, values in applied(inputs(batch, arrays), network, 8, failures, songs=True)
    ]
    assert seen == [(3, 4), (1, 2)]
    alone = [songs.embed(array, kind="feature") for array in arrays]
    np.testing.assert_allclose(made, alone, atol=1e-5)


def test_order_and_batches(make_batch: Any, failures: Any) -> None:
    """Vectors would go to the wrong track, or a batch's company change with the machine's load."""
    arrays = [np.full((n, 2), row, np.float32) for row, n in enumerate([2, 1, 3, 1, 1, 1])]
    batch = make_batch(path=list("abcdef"))
    sizes = []

    def network(x: np.ndarray) -> dict[str, np.ndarray]:
        sizes.append(len(x))
        return {"vectors": x, "doubles": 2 * x}

    found = list(applied(inputs(batch, arrays), network, 3, failures))
    assert sizes == [3, 3, 3]
    assert [row for _, row, _ in found] == [0, 1, 2, 3, 4, 5]
    for (_, row, made), array in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(made["vectors"], array, err_msg=str(row))
        np.testing.assert_array_equal(made["doubles"], 2 * array)


def test_a_long_track_goes_through_the_network_in_batches(make_batch: Any, failures: Any) -> None:
    """A mix of six hours would be in memory whole, with all that a network makes of it."""
    arrays = [np.arange(2 * n, dtype=np.float32).reshape(n, 2) for n in (2, 8, 1)]
    batch = make_batch(path=list("abc"))
    sizes = []

    def network(x: np.ndarray) -> dict[str, np.ndarray]:
        sizes.append(len(x))
        return {"vectors": 2 * x}

    found = list(applied(inputs(batch, arrays), network, 3, failures))
    assert sizes == [3, 3, 3, 1, 1]
    for (_, _, made), array in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(made["vectors"], 2 * array)


def test_the_memory_of_a_long_track_is_bounded(make_batch: Any, failures: Any) -> None:
    """Mixes would be read back at once from where they wait; theirs here are 32 MB, a batch 2."""
    parts = Parts(Part(float(i), 1.0, np.full((64, 2048), i, np.float32)) for i in range(64))
    batch = make_batch(path=["a"])
    rows = [(batch, 0, Segments(parts))]

    def network(x: np.ndarray) -> dict[str, np.ndarray]:
        return {"first": x[:, 0, :1].copy()}

    tracemalloc.start()
    try:
        ((_, _, made),) = applied(iter(rows), network, 4, failures)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert made["first"][:, 0].tolist() == list(range(64))
    assert 2e6 < peak < 8e6


def test_a_cpu_takes_few_large_inputs_at_a_time() -> None:
    """A batch of 32 half-minutes would need a gigabyte, in a small network of convolutions."""
    model = model_of("cnn", (8, 20_000), channels=[4])  # 0.64 MB an input
    x = np.random.default_rng(1).normal(size=(9, 8, 20_000)).astype(np.float32)
    sizes = []
    body = next(module for module in model.net.modules() if type(module).__name__ == "MapMeans")
    body.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    found = model.embed(x, 32)
    assert sum(sizes) == 9
    assert max(sizes) * x[0].nbytes <= 2.5e6
    alone = np.concatenate([model.embed(one[None]) for one in x])
    np.testing.assert_allclose(found, alone, atol=1e-5)


def test_an_interrupted_run_does_not_wait_for_a_long_track(make_batch: Any, failures: Any) -> None:
    """Ctrl-C would be answered when the network is through with six hours."""
    computing = threading.Event()
    batches = 0

    def tracks() -> Any:
        yield make_batch(path=["a"]), 0, np.zeros((20_000, 2), np.float32)
        assert computing.wait(20)
        raise KeyboardInterrupt

    def network(x: np.ndarray) -> dict[str, np.ndarray]:
        nonlocal batches
        batches += 1
        computing.set()
        time.sleep(0.001)
        return {"vectors": x}

    with pytest.raises(KeyboardInterrupt):
        list(applied(tracks(), network, 1, failures))
    assert batches < 10_000


def test_the_next_batch_is_gathered_while_one_computes(make_batch: Any, failures: Any) -> None:
    """Decoding and computing would take turns, and the run last as long as both together."""
    computing, gathered = threading.Event(), threading.Event()

    def tracks() -> Any:
        yield make_batch(path=["a"]), 0, np.zeros((1, 2), np.float32)
        assert computing.wait(20)
        gathered.set()
        yield make_batch(path=["b"]), 0, np.ones((1, 2), np.float32)

    def network(x: np.ndarray) -> dict[str, np.ndarray]:
        computing.set()
        assert gathered.wait(20)
        return {"vectors": x}

    assert len(list(applied(tracks(), network, 1, failures))) == 2


def test_an_error_of_the_network_ends_the_run(make_batch: Any, failures: Any) -> None:
    """An error in the thread that computes would be lost, and rows with it."""

    def network(x: np.ndarray) -> dict[str, np.ndarray]:
        raise UsageError("no memory")

    array = np.zeros((1, 2), np.float32)
    with pytest.raises(UsageError, match="no memory"):
        list(applied(inputs(make_batch(path=["a"]), [array]), network, 1, failures))
