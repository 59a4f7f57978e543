"""Filters of networks: their decomposition against numpy's definitions, and the figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mt_tools.errors import UsageError
from mt_tools.report.filters import (
    MOST_LAYERS,
    convolutions,
    draw_filters,
    filters_figure,
    spectrum,
)
from mt_tools.report.style import ENDINGS


def network(seed: int = 0) -> dict[str, np.ndarray]:
    """Return the weights of two convolutions, a batch normalisation and a dense layer."""
    rng = np.random.default_rng(seed)
    return {
        "conv1.weight": rng.normal(size=(20, 1, 3, 5)),
        "conv1.bias": rng.normal(size=20),
        "bn.weight": np.ones(20),
        "conv2.weight": rng.normal(size=(8, 20, 3, 3)),
        "dense.weight": rng.normal(size=(10, 8)),
    }


def test_the_decomposition_is_one() -> None:
    """Singular values that do not make the filters again are no numbers about them."""
    weights = network()["conv2.weight"]
    found = spectrum("conv2", weights)
    flat = weights.reshape(8, -1)
    vectors = found.vectors.reshape(8, -1)
    np.testing.assert_allclose(found.values**2, np.linalg.eigvalsh(flat @ flat.T)[::-1], rtol=1e-9)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(8), atol=1e-12)
    np.testing.assert_allclose(flat @ vectors.T @ vectors, flat, atol=1e-12)
    assert found.energy.sum() == pytest.approx(1)
    assert found.energy[: found.enough].sum() >= 0.9 > found.energy[: found.enough - 1].sum()
    assert found.shape == (8, 20, 3, 3)
    assert found.patterns.shape == (8, 3, 3)
    for vector in vectors:
        assert vector[np.abs(vector).argmax()] > 0


def test_the_effective_rank_counts_directions() -> None:
    """A layer that has collapsed onto one filter would look like a rich one."""
    rng = np.random.default_rng(0)
    one = np.outer(rng.normal(size=16), rng.normal(size=9)).reshape(16, 1, 3, 3)
    assert spectrum("one", one).rank == pytest.approx(1, abs=1e-6)
    assert spectrum("one", one).enough == 1
    four = np.zeros((4, 1, 2, 2))
    four.reshape(4, 4)[...] = np.eye(4) * 3
    assert spectrum("four", four).rank == pytest.approx(4)


def test_cosines_are_found() -> None:
    """SEQ's question, whether filters become cosines, would get the wrong answer.

    Filters are scaled copies of two orthogonal cosines over 8 bands and 6 frames, written out from
    the definition of DCT-II, and little noise.
    """
    rng = np.random.default_rng(0)
    bands, frames = np.meshgrid(np.arange(8) + 0.5, np.arange(6) + 0.5, indexing="ij")
    wave = {(2, 0): np.cos(2 * np.pi * bands / 8), (1, 3): np.cos(np.pi * bands / 8) *
            np.cos(3 * np.pi * frames / 6)}  # fmt: skip
    unit = [w / np.linalg.norm(w) for w in wave.values()]
    mixture = rng.normal(size=(30, 2)) * [5, 2]
    filters = np.einsum("om,mhw->ohw", mixture, unit)[:, None]
    found = spectrum("conv1", filters + 1e-3 * rng.normal(size=filters.shape))
    assert found.enough <= 2
    # The two mix where their gains are correlated by chance; most of each stays.
    assert found.cosines[:2] == [(2, 0), (1, 3)]
    assert (found.cosine_shares[:2] > 0.8).all()
    white = spectrum("noise", rng.normal(size=(500, 1, 8, 6)))
    assert white.cosine_shares.mean() < 0.3


def test_the_pattern_is_what_all_channels_share() -> None:
    """A deep filter would be drawn as one of its channels, which may hold nothing."""
    rng = np.random.default_rng(0)
    shape = rng.normal(size=(3, 3))
    shape /= np.linalg.norm(shape)
    gains, channels = rng.normal(size=6), rng.normal(size=10)
    weights = gains[:, None, None, None] * channels[None, :, None, None] * shape
    pattern = spectrum("conv", weights).patterns[0]
    assert abs((pattern * shape).sum()) == pytest.approx(1)


def test_convolutions_are_found_among_weights() -> None:
    """Biases and dense layers would be drawn as filters, or a convolution in time left out."""
    found = convolutions(network() | {"time.weight": np.ones((4, 3, 7))})
    assert {name: w.shape for name, w in found.items()} == {
        "conv1": (20, 1, 3, 5), "conv2": (8, 20, 3, 3), "time": (4, 3, 1, 7),
    }  # fmt: skip
    with pytest.raises(UsageError, match="the model has no convolutions"):
        convolutions({"dense.weight": np.ones((4, 3)), "bias": np.ones(4)})


@pytest.mark.parametrize("ending", ENDINGS)
def test_equal_weights_give_equal_files(tmp_path: Path, ending: str) -> None:
    """A picture in a repository would change every time that it is made."""
    for name in ("a", "b"):
        spectra = draw_filters(network(), str(tmp_path / (name + ending)), title="mine")
    one, two = ((tmp_path / (name + ending)).read_bytes() for name in ("a", "b"))
    assert one == two
    assert one.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[ending])
    assert [str(found).partition(":")[0] for found in spectra] == ["conv1", "conv2"]


def test_the_first_filters_are_drawn_as_they_are(tmp_path: Path) -> None:
    """Low bands would be at the top, zero another grey in each filter, or filters be missing."""
    weights = network()
    figure = filters_figure(weights)
    pictures = [axes.images[0] for axes in figure.axes if axes.images]
    limit = np.abs(weights["conv1.weight"]).max()
    for number in range(20):
        picture = pictures[number]
        np.testing.assert_array_equal(picture.get_array(), weights["conv1.weight"][number, 0])
        assert picture.get_clim() == (-limit, limit)
        assert picture.origin == "lower"
    assert len(pictures) == 20 + 6 + 6  # six singular vectors a layer
    text = "\n".join(
        label.get_text() for part in figure.subfigs for label in part.findobj() if
        hasattr(label, "get_text")
    )  # fmt: skip
    for found in (spectrum(name, w) for name, w in convolutions(weights).items()):
        assert str(found) in text


def test_many_layers_and_filters_are_thinned_out() -> None:
    """A residual network would make a figure of two metres."""
    rng = np.random.default_rng(0)
    weights = {f"c{i}": rng.normal(size=(4, 2, 1, 1)) for i in range(MOST_LAYERS + 5)}
    weights = {"c": rng.normal(size=(200, 1, 3, 3))} | weights
    figure = filters_figure(weights)
    assert len(figure.subfigs) == 1 + MOST_LAYERS
    title = figure.get_suptitle()
    assert title == f"{MOST_LAYERS} of {MOST_LAYERS + 6} layers"
    assert figure.subfigs[0].get_suptitle() == "c: 64 of 200 filters"
    # The first and the last are among them.
    assert figure.subfigs[1].get_suptitle().startswith("c: 200 filters")
    assert figure.subfigs[-1].get_suptitle().startswith(f"c{MOST_LAYERS + 4}: 4 filters")


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    """A traceback instead of what to do."""
    with pytest.raises(UsageError, match="the model has no convolutions"):
        filters_figure({"dense.weight": np.ones((4, 3))})
    with pytest.raises(UsageError, match="the filters of conv are all zero or not finite"):
        filters_figure({"conv.weight": np.zeros((4, 1, 3, 3))})
    with pytest.raises(UsageError, match=r"expected one of \.png \.svg \.pdf"):
        draw_filters(network(), str(tmp_path / "f.gif"))
