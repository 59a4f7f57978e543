"""What a training would do: its layers, parameters, tasks, rows and updates, before it does it.

Everything is computed as the training itself would compute it, on the same objects; nothing is
estimated, but for the last update of a run that may stop early.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mt_tools.learn.feeds import Feed
from mt_tools.learn.plan import Plan
from mt_tools.learn.settings import FitSettings
from mt_tools.nets.body import MultiTask
from mt_tools.nets.size import total, trainable
from mt_tools.tasks.kinds import Task, constant_loss, outputs

Targets = Mapping[str, tuple[np.ndarray, np.ndarray]]


def described(
    net: MultiTask,
    feed: Feed,
    parts: Mapping[str, np.ndarray],
    tasks: Sequence[Task],
    targets: Targets,
    fitting: FitSettings,
    *,
    sequence: bool,
) -> dict[str, Any]:
    """Return the plan of one fit as JSON values; see `layers` for those of the network.

    `parts` are the rows of train, valid and test.
    """
    updates = Plan(feed, parts["train"], targets, tasks, fitting)
    return {
        "input": list(feed.example_shape),
        "layers": layers(net, feed.example_shape, sequence=sequence),
        "parameters": {"trainable": trainable(net), "all": total(net)},
        "tasks": [task_plan(task, parts, targets[task["name"]]) for task in tasks],
        "rows": {name: len(rows) for name, rows in parts.items()},
        "updates": {"epoch": updates.epoch_updates, "most": updates.updates},
        "batch_size": fitting.batch_size,
    }


def layers(
    net: MultiTask, example_shape: Sequence[int], *, sequence: bool = False
) -> list[dict[str, Any]]:
    """Return each layer's name, output shape, and parameters: those that learn, and all.

    The shapes are those that an example of zeros has on its way, without the batch axis; a song is
    one part long. Of a layer with running statistics these count among all. The network is left as
    it was.
    """
    shapes: dict[str, list[int]] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            shapes.setdefault(name, list(output.shape[1:]))

        return hook

    modules = net.named_layers()
    hooks = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    states = {module: module.training for module in net.modules()}
    device = next(iter([*net.parameters(), *net.buffers()]), torch.zeros(1)).device
    # Two examples: a network of pairs compares them.
    x = torch.zeros(2, *([1] * sequence), *example_shape, device=device)
    net.eval()
    try:
        with torch.no_grad():
            net(x)
            net.embed(x)
            for task, head in net.specs.items():
                if head.pair:
                    net.compare(task, x, x)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in states.items():
            module.training = training
    return [
        {
            "name": name,
            "output": shapes.get(name, []),
            "trainable": trainable(module),
            "parameters": total(module),
        }
        for name, module in modules.items()
    ]


def task_plan(
    task: Task, parts: Mapping[str, np.ndarray], encoded: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """Return what is known of a task: outputs, labelled rows, the loss of the best constant."""
    values, mask = encoded
    train = np.zeros(len(mask), dtype=bool)
    train[parts["train"]] = True
    return {
        "name": task["name"],
        "kind": task["kind"],
        "weight": task["weight"],
        "outputs": outputs(task),
        "vocabulary": task["vocabulary"],
        "labelled": {name: int(mask[rows].sum()) for name, rows in parts.items()},
        "constant_loss": round(constant_loss(task, values, mask & train), 6),
    }
