"""Losses: right numbers, and nothing at all from a row that is not labelled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.special
import torch
from torch.nn import functional

from mt_tools.tasks.kinds import KINDS, constant_loss, encode, make_task, outputs, scores
from mt_tools.tasks.losses import LOSSES, loss_count, masked_loss, total_loss

TARGETS = {
    "multiclass": torch.tensor([2, 0, 1, 1]),
    "multilabel": torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]),
    "regression": torch.tensor([0.5, -1.0, 2.0, 0.0]),
    "ordinal": torch.tensor([3, 0, 1, 2]),
    "distribution": torch.tensor([[0.2, 0.8, 0], [1, 0, 0], [0.5, 0.25, 0.25], [0, 0, 1.0]]),
    "same-track": torch.tensor([0, 1, 1, 0]),
}
WIDTHS = {
    "multiclass": 3, "multilabel": 3, "regression": 1, "ordinal": 3, "distribution": 3,
    "same-track": 2,
}  # fmt: skip
MASK = torch.tensor([True, False, True, True])


def task_of(kind: str, class_weights: list[float] | None = None) -> dict[str, Any]:
    """Return what a loss needs to know of a task."""
    return {"name": kind, "kind": kind, "weight": 1.0, "class_weights": class_weights}


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
        # P(y > 0) = 3/4, P(y > 1 | y > 0) = 1/4: P(y = 1) = 9/16, P(y = 0) = 1/4
        (
            "ordinal",
            [[math.log(3), -math.log(3)], [math.log(3), 5.0]],
            torch.tensor([1, 0]),
            -(math.log(9 / 16) + math.log(1 / 4)) / 2,
        ),
        # 1/2 log((1/2) / (1/4)) + 1/2 log((1/2) / (3/4)); a distribution against itself
        (
            "distribution",
            [[0.0, math.log(3)], [0.0, math.log(3)]],
            torch.tensor([[0.5, 0.5], [0.25, 0.75]]),
            (0.5 * math.log(2) + 0.5 * math.log(2 / 3)) / 2,
        ),
    ],
)
def test_by_hand(
    kind: str, logits: list[list[float]], targets: torch.Tensor, by_hand: float
) -> None:
    """A loss would be of another scale than documented, and weights would lose their meaning."""
    both = torch.tensor([True, True])
    got = masked_loss(task_of(kind), torch.tensor(logits), targets, both)
    assert float(got) == pytest.approx(by_hand, abs=1e-6)


def test_against_torch_and_scipy() -> None:
    """A loss would differ from the standard one on the labelled rows."""

    def continuation(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        values = np.arange(4.0)
        task = make_task("t", "ordinal", values, np.ones(4, dtype=bool))
        chances = scores(task, logits.detach().numpy())
        return torch.tensor(-np.log(chances[np.arange(len(targets)), targets]).mean())

    def divergence(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        predicted = logits.detach().softmax(dim=1).numpy()
        return torch.tensor(scipy.special.rel_entr(targets.numpy(), predicted).sum(1).mean())

    references = {
        "multiclass": functional.cross_entropy,
        "multilabel": functional.binary_cross_entropy_with_logits,
        "regression": lambda logits, targets: functional.mse_loss(logits[:, 0], targets),
        "ordinal": continuation,
        "distribution": divergence,
        "same-track": functional.cross_entropy,
    }
    assert references.keys() == LOSSES.keys()
    for kind, reference in references.items():
        logits, targets = draw(kind), TARGETS[kind]
        expected = reference(logits[MASK], targets[MASK])
        got = masked_loss(task_of(kind), logits, targets, MASK)
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_class_weights_are_those_of_torch() -> None:
    """`--class-weight balanced` would weigh something else than in every other tool."""
    weights = [0.5, 2.0, 3.0]
    tensor = torch.tensor(weights)
    logits, targets = draw("multiclass"), TARGETS["multiclass"]
    got = masked_loss(task_of("multiclass", weights), logits, targets, MASK)
    torch.testing.assert_close(
        got, functional.cross_entropy(logits[MASK], targets[MASK], weight=tensor)
    )
    logits, targets = draw("multilabel"), TARGETS["multilabel"]
    got = masked_loss(task_of("multilabel", weights), logits, targets, MASK)
    torch.testing.assert_close(
        got,
        functional.binary_cross_entropy_with_logits(logits[MASK], targets[MASK], pos_weight=tensor),
    )
    # Ordinal: the same weighted mean of the rows' losses.
    weights = [1.0, 2.0, 3.0, 4.0]
    logits, targets = draw("ordinal").detach(), TARGETS["ordinal"]
    alone = [
        float(masked_loss(task_of("ordinal"), logits, targets, torch.arange(4) == row))
        for row in (0, 2, 3)
    ]
    got = masked_loss(task_of("ordinal", weights), logits, targets, MASK)
    assert float(got) == pytest.approx((4 * alone[0] + 2 * alone[1] + 3 * alone[2]) / 9, rel=1e-6)


@pytest.mark.parametrize("weights", [None, [0.2, 1.5, 3.0, 0.7]])
@pytest.mark.parametrize("kind", LOSSES)
def test_parts_of_a_batch_add_up_to_the_whole(kind: str, weights: list[float] | None) -> None:
    """A batch halved for want of memory, or spread over GPUs, would learn something else."""
    classes = {"multiclass": 3, "multilabel": 3, "ordinal": 4}.get(kind)
    task = task_of(kind, weights[:classes] if weights and classes else None)
    logits, targets = draw(kind), TARGETS[kind]
    whole = masked_loss(task, logits, targets, MASK)
    halves = (slice(0, 1), slice(1, 4))
    count = sum(loss_count(task, targets[half], MASK[half]) for half in halves)
    for number in (count, float(count)):
        parts = [
            masked_loss(task, logits[half], targets[half], MASK[half], count=number)
            for half in halves
        ]
        torch.testing.assert_close(sum(parts), whole)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_masked_row_changes_nothing(kind: str) -> None:
    """A row without the label, or the value that fills its place, would move the weights."""
    task = task_of(kind)
    logits = draw(kind)
    masked_loss(task, logits, TARGETS[kind], MASK).backward()
    other = draw(kind)
    changed = TARGETS[kind].clone()
    changed[1] = 1 - changed[1]
    with torch.no_grad():
        other[1] = math.inf
    loss = masked_loss(task, other, changed, MASK)
    loss.backward()
    without = draw(kind).detach()[MASK].requires_grad_()
    masked_loss(task, without, TARGETS[kind][MASK], torch.ones(3, dtype=torch.bool)).backward()
    assert torch.equal(logits.grad, other.grad)
    assert torch.equal(logits.grad[1], torch.zeros(WIDTHS[kind]))
    assert torch.equal(logits.grad[MASK], without.grad)


@pytest.mark.parametrize("count", [None, 0, torch.tensor(0)])
@pytest.mark.parametrize("kind", LOSSES)
def test_a_batch_without_labels_has_zero_loss_and_gradient(kind: str, count: Any) -> None:
    """One batch without a label would turn all weights into NaN."""
    logits = draw(kind)
    nobody = torch.zeros(4, dtype=torch.bool)
    loss = masked_loss(task_of(kind), logits, TARGETS[kind], nobody, count)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", LOSSES)
def test_losses_of_short_numbers_are_computed_in_long_ones(kind: str, dtype: torch.dtype) -> None:
    """Mixed precision would round a loss to three digits, or fail for want of a kernel."""
    logits = draw(kind).detach().to(dtype)
    got = masked_loss(task_of(kind), logits, TARGETS[kind], MASK)
    assert got.dtype == torch.float32
    torch.testing.assert_close(
        got, masked_loss(task_of(kind), logits.float(), TARGETS[kind], MASK), rtol=0, atol=0
    )


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "same-track"])
def test_no_constant_does_better_than_the_constant_loss(kind: str, class_weight: str) -> None:
    """Weighting by the prior would not bring the tasks to one scale."""
    rng = np.random.default_rng(0)
    classes = rng.choice(4, size=60, p=[0.6, 0.25, 0.1, 0.05])
    tags = np.empty(60, dtype=object)
    tags[:] = [[tag for tag, p in (("a", 0.1), ("b", 0.6)) if rng.random() < p] for _ in range(60)]
    values = {
        "multiclass": np.array([f"genre {c}" for c in classes], dtype=object),
        "multilabel": tags,
        "regression": rng.gamma(2.0, size=60),
        "ordinal": classes.astype(float),
        "distribution": rng.dirichlet([0.2, 1.0, 3.0], size=60).astype(np.float32),
    }[kind]
    task = make_task("t", kind, values, np.ones(60, dtype=bool), class_weight=class_weight)
    targets, mask = encode(task, values)
    constant = torch.zeros(outputs(task), requires_grad=True)
    optimizer = torch.optim.LBFGS([constant], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = constant.expand(60, -1)
        loss = masked_loss(task, logits, torch.from_numpy(targets), torch.from_numpy(mask))
        loss.backward()
        return loss

    optimizer.step(closure)
    assert constant_loss(task, targets, mask) == pytest.approx(closure().item(), rel=1e-4)


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
    # Weights that were learned stand in the place of the tasks' own, and learn from the losses.
    learned = torch.tensor(3.0, requires_grad=True)
    total, again = total_loss(
        logits, targets, tasks, {"genre": learned, "energy": 0.0}, {"genre": 6, "energy": 1}
    )
    total.backward()
    assert again["genre"].item() == pytest.approx(parts["genre"].item() / 2, rel=1e-6)
    assert learned.grad.item() == pytest.approx(again["genre"].item())
    assert torch.equal(logits["energy"].grad, torch.zeros(4, 1))
