"""What a task that is trained alone has of the training of all tasks.

Goal: the single-task twin of a multitask training is told from it by its company alone: it begins
with the weights that its layers were given, and what was said of its layers holds for them.
"""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

import torch

from mt_tools.learn.groups import Groups, layer_tensors
from mt_tools.learn.settings import FitSettings, TransferSettings
from mt_tools.nets.body import SHARED, MultiTask


def route_of(net: MultiTask, task: str) -> list[str]:
    """Return the names of the layers that a task goes through, in order, its head last."""
    return [
        *(
            f"{owner if owner == SHARED else f'branches.{owner}'}.{name}"
            for owner in net.routes[task]
            for name, _ in net.layers(owner).named_children()
        ),
        f"heads.{task}",
    ]


def transfer_of(
    settings: TransferSettings, whole: MultiTask, renamed: Mapping[str, str]
) -> TransferSettings:
    """Return the settings for a task that is alone: patterns of its layers by their names there.

    What the patterns mean is looked up in the `whole` network. Of its layers those that the task
    goes through are in `renamed`, with their names in the network of the task alone.
    """
    layers = layer_tensors(whole)

    def own(texts: tuple[str, ...], valued: bool) -> Iterator[str]:
        for text in texts:
            pattern, equals, value = text.rpartition("=") if valued else (text, "", "")
            if valued and not equals:  # --lr-step of all layers
                yield text
                continue
            for layer, name in renamed.items():
                if fnmatchcase(layer, pattern):
                    yield f"{glob.escape(name)}{equals}{value}"
                    continue
                for tensor in layers[layer]:
                    if fnmatchcase(tensor, pattern):
                        inner = tensor.removeprefix(layer)
                        yield f"{glob.escape(name + inner)}{equals}{value}"

    return dataclasses.replace(
        settings,
        freeze=tuple(own(settings.freeze, valued=False)),
        unfreeze=tuple(own(settings.unfreeze, valued=True)),
        lr_scale=tuple(own(settings.lr_scale, valued=True)),
        lr_step=tuple(own(settings.lr_step, valued=True)),
    )


def copy_own(
    net: MultiTask,
    whole: MultiTask,
    copied: Mapping[str, torch.Tensor],
    renamed: Mapping[str, str],
) -> Iterator[str]:
    """Give a task that is alone what its layers in the `whole` network got of other models.

    `copied` are the tensors of that network that came from others, `renamed` as above. Yields what
    cannot be given: a head that others feed is wider, and `--select` may keep as many columns for
    all tasks as it does for one, or not.
    """
    places = net.named_tensors()
    for layer, tensors in layer_tensors(whole).items():
        for name in tensors:
            if layer not in renamed or name not in copied:
                continue
            there, tensor = renamed[layer] + name.removeprefix(layer), copied[name]
            if places[there].shape == tensor.shape:
                places[there].copy_(tensor)
            else:
                yield (
                    f"{there} is not copied: it is {list(places[there].shape)}, that of all tasks "
                    f"is {list(tensor.shape)}"
                )


def fitting_of(fitting: FitSettings, task: str, groups: Groups) -> FitSettings:
    """Return the settings for one task: there is none to weigh it against or to stop by.

    The steps of `--lr-step` may all be of others' layers.
    """
    watched = fitting.stop_on.rpartition(".")[0]
    constant = fitting.schedule == "step" and not any(group["step"] for group in groups.groups)
    return dataclasses.replace(
        fitting,
        task_schedule="all",
        weighting="fixed",
        stop_on=fitting.stop_on if watched == task else "loss",
        schedule="constant" if constant else fitting.schedule,
    )
