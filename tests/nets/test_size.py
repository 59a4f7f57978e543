"""Counts of parameters, and networks that are matched to a number of them."""

import pytest
from torch import nn

from mt_tools.errors import UsageError
from mt_tools.nets.build import build_multitask
from mt_tools.nets.size import match_parameters, total, trainable


def test_counts_tell_apart_what_is_trained_frozen_and_measured() -> None:
    """A plan or a report would state a size that is not the study's way of counting."""
    net = nn.Sequential(nn.Conv1d(3, 5, 2), nn.BatchNorm1d(5), nn.Linear(4, 6))
    assert trainable(net) == (3 * 2 * 5 + 5) + 2 * 5 + (4 * 6 + 6)
    assert total(net) == trainable(net) + 2 * 5  # not the number of batches seen
    net[0].requires_grad_(False)
    assert trainable(net) == 2 * 5 + (4 * 6 + 6)
    assert total(net) == 35 + 20 + 30


def test_matching_gives_the_nearest_width() -> None:
    """A neighbouring width would fit better than the one that is said to be matched."""
    heads = {"genre": 3}
    for wanted in (20_000, 300_000):
        width = match_parameters("cnn-agf", {}, (32, 16), heads, wanted)["width"]
        distances = [abs(size(width + step / 1000, heads) - wanted) for step in range(-20, 21)]
        assert distances[20] == min(distances)


def size(width: float, heads: dict[str, int]) -> int:
    """Return the parameters of the study's network at a width."""
    return trainable(build_multitask("cnn-agf", {"width": width}, (32, 16), heads))


@pytest.mark.parametrize(
    ("arch", "wanted", "message"),
    [
        ("cnn", 10_000, "cnn has no parameter width; it has channels, dropout"),
        ("cnn-agf", 10, r"cnn-agf has \d+ parameters at least: got a total of 10"),
    ],
)
def test_what_cannot_be_matched_is_said(arch: str, wanted: int, message: str) -> None:
    """The search would go on for ever, or end in a traceback."""
    with pytest.raises(UsageError, match=message):
        match_parameters(arch, {}, (32, 16), {"genre": 3}, wanted)
