"""Trainings with mixtures: resumed to the same bits, in parts as at once, on what is labelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fit_work import Clips, Noting, Toy, same, weights
from torch import nn

from mt_tools.errors import UsageError
from mt_tools.learn.augment import augment_of
from mt_tools.learn.feeds import ArrayFeed, SequenceFeed
from mt_tools.learn.settings import FeedSettings, FitSettings
from mt_tools.learn.update import Updater
from mt_tools.tasks.kinds import Task


class Stopped(Exception):
    """Raised in the place of a kill."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small only lose time to more threads, on a busy machine a great deal."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def toy() -> Toy:
    """Return one toy problem for all tests, which leave it as it is."""
    return Toy()


def mixing_feed(toy: Toy, *recipes: str, seed: int = 0) -> ArrayFeed:
    """Return a feed whose rows are mixed."""
    settings = FeedSettings(recipe=recipes or ("mixup=beta0.4",), originals=False)
    return ArrayFeed(toy.inputs, seed, augment=augment_of(settings, seed, {}))


def fitted(toy: Toy, settings: FitSettings, feed: Any, tasks: Any = None, **options: Any) -> Any:
    """Return the weights after a fit."""
    tasks = toy.tasks if tasks is None else tasks
    net = toy.model(tasks, dropout=0.0, batch_norm=False)
    toy.fit(net, tasks, settings, feed=feed, **options)
    return weights(net)


def test_a_training_with_mixtures_resumes_to_the_same_bits(toy: Toy, tmp_path: Path) -> None:
    """A killed run would go on with other mixtures than it would have had."""
    settings = FitSettings(epochs=3, batch_size=16, checkpoint_every=2)
    whole = fitted(toy, settings, mixing_feed(toy))
    path = tmp_path / "run.safetensors"

    def kill(batch: int) -> None:
        if batch == 13:
            raise Stopped

    with pytest.raises(Stopped):
        fitted(toy, settings, Noting(mixing_feed(toy), kill), checkpoint=path)
    resumed = fitted(toy, settings, mixing_feed(toy), checkpoint=path, resume=True)
    assert same(whole, resumed)
    assert not same(whole, fitted(toy, settings, ArrayFeed(toy.inputs, 0)))
    with pytest.raises(UsageError, match=r"recipe: got \['mixup=0.7'\]"):
        fitted(toy, settings, mixing_feed(toy, "mixup=0.7"), checkpoint=path, resume=True)


def test_mixtures_in_parts_make_the_same_update(toy: Toy) -> None:
    """Where memory is short rows would be mixed with others, or lack them."""
    settings = FitSettings(samples=64, batch_size=32, optimizer="sgd", learning_rate=0.3)
    nets = [toy.model(dropout=0.0, batch_norm=False) for _ in range(2)]
    toy.fit(nets[0], settings=settings, feed=mixing_feed(toy))

    def short(_: nn.Module, given: tuple[Any, ...]) -> None:
        if len(given[0]) > 9 and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory.")

    nets[1].register_forward_pre_hook(short)
    told: list[str] = []
    toy.fit(nets[1], settings=settings, feed=mixing_feed(toy), say=told.append)
    assert "8 rows at a time" in told[0]
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


class Watched(Updater):
    """Keeps what batches were held against."""

    seen: list[tuple[Any, Any]]

    def _wanted(self, batch: Any) -> Any:
        wanted = super()._wanted(batch)
        self.seen.append((batch, wanted))
        return wanted


def test_a_mixture_is_labelled_where_both_halves_are(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is unknown of one of two tracks would be taught as if it were known."""
    monkeypatch.setattr("mt_tools.learn.fit.Updater", Watched)
    Watched.seen = []
    fitted(toy, FitSettings(epochs=1, batch_size=16), mixing_feed(toy, "mixup=0.6@0.5"))
    assert len(Watched.seen) > 5
    partial = 0
    for batch, wanted in Watched.seen:
        partners, own = wanted.mixing.partners, wanted.mixing.weights
        for name, (target, chosen) in wanted.targets.items():
            values, known = toy.targets[name]
            both = known[batch.rows] & (known[batch.rows][partners] | (own == 1))
            mask = np.ones(len(both), bool) if chosen is None else chosen.numpy()
            np.testing.assert_array_equal(mask, both)
            partial += int((~both & known[batch.rows]).sum())
            assert wanted.counts[name] == both.sum()
            if target.dim() == 2 and values.ndim == 1:
                np.testing.assert_allclose(target.sum(dim=1).numpy(), 1, rtol=1e-6)
                top = target[np.arange(len(own)), values[batch.rows]].numpy()
                assert (top >= np.float32(own) - 1e-6).all()
    assert partial > 10  # the toy lacks labels


def test_mixtures_are_learned_from(toy: Toy) -> None:
    """Training on mixtures would end in a network that knows nothing."""
    tasks: list[Task] = toy.only("genre")
    net = toy.model(tasks)
    history = toy.fit(net, tasks, FitSettings(epochs=30, learning_rate=0.01), feed=mixing_feed(toy))
    first, last = history.epochs[0].valid["genre"], history.epochs[-1].valid["genre"]
    assert last < 0.7 * first


def test_pairs_and_songs_cannot_be_mixed() -> None:
    """Two halves of a mixture belong to two tracks: the task of pairs would teach nonsense."""
    clips = Clips()
    mixing = augment_of(FeedSettings(recipe=("mixup=0.7",)), 0, {})
    with pytest.raises(UsageError, match="leave mixup and cutmix out of --recipe, or drop"):
        clips.fit(
            clips.model(), FitSettings(epochs=1),
            feed=ArrayFeed(clips.inputs, 0, crop=5, augment=mixing),
        )  # fmt: skip
    with pytest.raises(UsageError, match="unequal numbers of parts"):
        SequenceFeed(np.zeros((4, 3, 5), np.float32), [np.arange(4)], augment=mixing)
