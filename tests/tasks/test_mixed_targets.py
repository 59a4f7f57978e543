"""Losses of mixed examples: what they are held against, and the loss of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mt_tools.tasks.losses import LOSSES, loss_count, masked_loss, mixed_targets

PARTNERS, WEIGHTS = torch.tensor([1, 2, 0]), torch.tensor([0.75, 1.0, 0.5], dtype=torch.float64)
LOGITS = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def task(kind: str, weights: list[float] | None = None) -> dict[str, Any]:
    """Return a task of four classes."""
    return {"name": "t", "kind": kind, "vocabulary": list("abcd"), "class_weights": weights}


TARGETS = {
    "multiclass": torch.tensor([3, 0, 1]),
    "ordinal": torch.tensor([3, 0, 1]),
    "multilabel": torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]]),
    "regression": torch.tensor([-1.0, 2.0, 0.5]),
    "distribution": torch.tensor([[0.5, 0.5, 0, 0], [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 0]]),
}


def mixed(kind: str) -> torch.Tensor:
    """Return the mixed targets of a kind."""
    return mixed_targets(task(kind), TARGETS[kind], PARTNERS, WEIGHTS)


def logits_of(kind: str) -> torch.Tensor:
    """Return logits of as many outputs as a kind has."""
    return LOGITS[:, : {"ordinal": 3, "regression": 1}.get(kind, 4)].clone().requires_grad_()


def test_targets_are_mixed_by_the_weights() -> None:
    """A mixture of three quarters rock would be called all rock, or half."""
    for kind in ("multiclass", "ordinal"):
        expected = torch.tensor([[0.25, 0, 0, 0.75], [1, 0, 0, 0], [0, 0.5, 0, 0.5]])
        assert torch.equal(mixed(kind), expected)
    torch.testing.assert_close(mixed("regression"), torch.tensor([-0.25, 2.0, -0.25]))
    assert torch.equal(mixed("multilabel")[0], torch.tensor([0.75, 0, 0.75, 0]))
    torch.testing.assert_close(mixed("distribution").sum(dim=1), torch.ones(3))


BALANCED = [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("kind", "weights"),
    [(kind, None) for kind in TARGETS]
    + [(kind, BALANCED) for kind in ("multiclass", "ordinal", "multilabel")],
)
def test_the_gradient_is_the_mean_of_both_losses(kind: str, weights: list[float] | None) -> None:
    """mixup is defined by it: lambda L(own) + (1 - lambda) L(other) (Zhang et al., equation 1).

    Squared errors and divergences differ by a constant, which has no gradient.
    """
    given = None if weights is None else torch.tensor(weights)
    logits = logits_of(kind)
    LOSSES[kind](logits, mixed(kind), given).sum().backward()
    expected = logits_of(kind)
    own, share = TARGETS[kind], WEIGHTS.float()
    both = (
        share * LOSSES[kind](expected, own, given)
        + (1 - share) * LOSSES[kind](expected, own[PARTNERS], given)
    ).sum()
    both.backward()
    assert logits.grad is not None
    assert expected.grad is not None
    torch.testing.assert_close(logits.grad, expected.grad, rtol=1e-5, atol=1e-6)


def test_the_ordinal_loss_of_certain_classes_is_that_of_classes() -> None:
    """The ordinal loss would be another one as soon as something is mixed."""
    logits = logits_of("ordinal")
    hot = torch.nn.functional.one_hot(TARGETS["ordinal"], 4).float()
    for weights in (None, torch.tensor(BALANCED)):
        torch.testing.assert_close(
            LOSSES["ordinal"](logits, hot, weights),
            LOSSES["ordinal"](logits, TARGETS["ordinal"], weights),
        )


def test_masked_mixtures_count_nowhere() -> None:
    """A mixture with an unlabelled track would teach what nobody said."""
    for kind in ("multiclass", "ordinal", "multilabel"):
        one = task(kind, BALANCED)
        logits, mask = logits_of(kind), torch.tensor([True, False, True])
        loss = masked_loss(one, logits, mixed(kind), mask)
        loss.backward()
        assert logits.grad is not None
        assert not logits.grad[1].any()
        kept = [0, 2]
        alone = masked_loss(one, logits_of(kind)[kept], mixed(kind)[kept], mask[kept])
        torch.testing.assert_close(loss, alone)


def test_the_mean_divides_by_the_mixed_weights() -> None:
    """Balanced losses of mixed batches would be larger than those of others."""
    one = task("multiclass", BALANCED)
    count = loss_count(one, mixed("multiclass"), torch.tensor([True, True, False]))
    assert float(count) == pytest.approx(0.25 * 0.5 + 0.75 * 4 + 0.5)
    np.testing.assert_allclose(mixed("multiclass").sum(dim=1).numpy(), 1)
