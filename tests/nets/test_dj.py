"""The DJ study's CNN has the shapes and sizes of Table 5.3 and of the text around it."""

import pytest
import torch

from mt_tools.errors import UsageError
from mt_tools.nets.body import Share
from mt_tools.nets.build import build_multitask
from mt_tools.nets.size import total, trainable

SHAPE = (48, 1874)
TASKS = {"genre": 6, "subgenre": 23, "intro": 5, "energy": 1, "situation": 8}


def test_size_of_table_5_3() -> None:
    """The study's network could not be recognised: 94,342 parameters, 448 of them statistics."""
    net = build_multitask("cnn-dj", {}, SHAPE, {"genre": 6})
    assert total(net) == 94_342
    assert trainable(net) == 93_894


@pytest.mark.parametrize(("blocks", "expected"), [(0, 471_147), (2, 395_115)])
def test_sizes_of_the_five_task_models(blocks: int, expected: int) -> None:
    """Table 6.5's comparison of independent and shared branches would be of other networks."""
    net = build_multitask("cnn-dj", {}, SHAPE, TASKS, share=(Share(blocks),))
    assert trainable(net) == expected


@torch.inference_mode()
def test_maps_of_table_5_3() -> None:
    """A pool would stand elsewhere than in the study, and the embedding mean other seconds."""
    net = build_multitask("cnn-dj", {}, SHAPE, {}).eval()
    x = torch.zeros(1, *SHAPE)
    shapes = {}
    for name, layer in net.named_layers().items():
        x = layer(x)
        shapes[name.removeprefix("shared.")] = tuple(x.shape[1:])
    assert shapes == {
        "input": (1, 48, 1874),
        "conv1": (32, 24, 312),
        "conv2": (64, 6, 19),
        "conv3": (128, 1, 1),
        "flatten": (128,),
    }


def test_blocks_have_the_order_of_table_5_3() -> None:
    """Batch norm before the pool would be another network of the same size."""
    net = build_multitask("cnn-dj", {}, SHAPE, {})
    kinds = ["Conv2d", "ReLU", "MaxPool2d", "Dropout", "BatchNorm2d"]
    for name in ("conv1", "conv2", "conv3"):
        assert [
            type(part).__name__ for part in net.named_layers()[f"shared.{name}"].children()
        ] == kinds


@pytest.mark.parametrize("shape", [(47, 1874), (48, 1823)])
def test_a_clip_that_is_too_short_is_said(shape: tuple[int, int]) -> None:
    """A shorter excerpt would end in a traceback about a pool's output size."""
    with pytest.raises(UsageError, match=r"48 bands or more and 1,824 frames.*--preset dj"):
        build_multitask("cnn-dj", {}, shape, {"genre": 6})
