"""Losses: right numbers, and nothing at all from a row that is not labelled."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from mt_tools.tasks.losses import LOSSES, masked_loss, total_loss

TARGETS = {
    "multiclass": torch.tensor([2, 0, 1, 1]),
    "multilabel": torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]),
    "regression": torch.tensor([0.5, -1.0, 2.0, 0.0]),
}
WIDTHS = {"multiclass": 3, "multilabel": 3, "regression": 1}
MASK = torch.tensor([True, False, True, True])


def draw(kind: str) -> torch.Tensor:
    """Draw logits for four rows of a kind."""
    drawn = torch.randn(4, WIDTHS[kind], generator=torch.Generator().manual_seed(3))
    return drawn.requires_grad_()


@pytest.mark.parametrize(
    ("kind", "logits", "targets", "by_hand"),
    [
        # -log(3 / (1 + 2 + 3)) and -log(1/3)
        (
            "multiclass",
            [[0.0, math.log(2), math.log(3)], [7.0, 7.0, 7.0]],
            torch.tensor([2, 0]),
            (math.log(2) + math.log(3)) / 2,
        ),
        # sigmoid(log 3) = 3/4: -log(3/4), -log(1/4); sigmoid(0) = 1/2
        (
            "multilabel",
            [[math.log(3), math.log(3)], [0.0, 0.0]],
            torch.tensor([[1.0, 0.0], [1.0, 1.0]]),
            (-(math.log(3 / 4) + math.log(1 / 4)) / 2 + math.log(2)) / 2,
        ),
        ("regression", [[1.0], [-2.0]], torch.tensor([0.5, 1.0]), (0.25 + 9.0) / 2),
    ],
)
def test_by_hand(
    kind: str, logits: list[list[float]], targets: torch.Tensor, by_hand: float
) -> None:
    """A loss would be of another scale than documented, and weights would lose their meaning."""
    got = masked_loss(kind, torch.tensor(logits), targets, torch.tensor([True, True]))
    assert float(got) == pytest.approx(by_hand, abs=1e-6)


def test_against_torch() -> None:
    """A loss would differ from the standard one on the labelled rows."""
    references = {
        "multiclass": functional.cross_entropy,
        "multilabel": functional.binary_cross_entropy_with_logits,
        "regression": lambda logits, targets: functional.mse_loss(logits[:, 0], targets),
    }
    assert references.keys() == LOSSES.keys()
    for kind, reference in references.items():
        logits, targets = draw(kind), TARGETS[kind]
        expected = reference(logits[MASK], targets[MASK])
        torch.testing.assert_close(masked_loss(kind, logits, targets, MASK), expected)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_masked_row_changes_nothing(kind: str) -> None:
    """A row without the label, or the value that fills its place, would move the weights."""
    logits = draw(kind)
    masked_loss(kind, logits, TARGETS[kind], MASK).backward()
    other = draw(kind)
    changed = TARGETS[kind].clone()
    changed[1] = 1 - changed[1]
    with torch.no_grad():
        other[1] = math.inf
    loss = masked_loss(kind, other, changed, MASK)
    loss.backward()
    without = draw(kind).detach()[MASK].requires_grad_()
    masked_loss(kind, without, TARGETS[kind][MASK], torch.ones(3, dtype=torch.bool)).backward()
    assert torch.equal(logits.grad, other.grad)
    assert torch.equal(logits.grad[1], torch.zeros(WIDTHS[kind]))
    assert torch.equal(logits.grad[MASK], without.grad)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_batch_without_labels_has_zero_loss_and_gradient(kind: str) -> None:
    """One batch without a label would turn all weights into NaN."""
    logits = draw(kind)
    loss = masked_loss(kind, logits, TARGETS[kind], torch.zeros(4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_total_is_the_weighted_sum() -> None:
    """`--task genre:0.5` would not halve the task's pull."""
    tasks = [
        {"name": "genre", "kind": "multiclass", "weight": 0.5},
        {"name": "energy", "kind": "regression", "weight": 2.0},
    ]
    logits = {"genre": draw("multiclass"), "energy": draw("regression")}
    targets = {"genre": (TARGETS["multiclass"], MASK), "energy": (TARGETS["regression"], ~MASK)}
    total, parts = total_loss(logits, targets, tasks)
    expected = 0.5 * parts["genre"].item() + 2.0 * parts["energy"].item()
    assert total.item() == pytest.approx(expected, rel=1e-6)
    assert parts["energy"].item() == pytest.approx((logits["energy"][1, 0].item() + 1) ** 2)
