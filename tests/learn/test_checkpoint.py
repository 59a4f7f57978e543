"""A run that is killed goes on to the same weights; another run's checkpoint is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fit_work import KILLED, Clips, Noting, Toy, same, weights

from mt_tools.errors import BrokenTable, UsageError
from mt_tools.learn.augment import augment_of
from mt_tools.learn.checkpoint import remove
from mt_tools.learn.feeds import ArrayFeed
from mt_tools.learn.groups import resolve
from mt_tools.learn.settings import FeedSettings, FitSettings, TransferSettings

WORK = Path(__file__).with_name("fit_work.py")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small only lose time to more threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs that were killed by signal 9 at several moments, and went on."""
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, WORK, "killed", folder],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert not done.stdout, done.stdout
    return folder


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_run_ends_as_if_it_had_not_been(killed: Path, name: str) -> None:
    """A night's training would be lost to a kill -9, or end in another model."""
    whole, resumed = (dict(np.load(killed / f"{name}.{how}.npz")) for how in ("whole", "resumed"))
    assert same(whole, resumed)
    texts = [(killed / f"{name}.{how}.txt").read_text() for how in ("whole", "resumed")]
    assert texts[0] == texts[1]
    # One kill came while the checkpoint was written.
    assert not list(killed.glob(".mt-*"))
    # It did go on, and not begin anew.
    assert int((killed / f"{name}.resumed.seen").read_text()) < int(
        (killed / f"{name}.whole.seen").read_text()
    )


def cut(toy: Toy, settings: FitSettings, path: Path, updates: int, **others: Any) -> None:
    """Train so many updates of a run, and stop as if killed."""

    class Stop(Exception):
        pass

    def before(number: int) -> None:
        if number == updates:
            raise Stop

    feed = Noting(ArrayFeed(toy.inputs, settings.seed), before)
    arguments: dict[str, Any] = {"net": toy.model(), "feed": feed, "checkpoint": path, **others}
    with pytest.raises(Stop):
        toy.fit(settings=settings, **arguments)


@pytest.mark.parametrize("updates", [1, 4, 5, 6, 9])
def test_every_moment_of_an_epoch_goes_on(tmp_path: Path, updates: int) -> None:
    """A kill around the end of an epoch would lose its validation, or count it twice."""
    toy, path = Toy(), tmp_path / "run.safetensors"
    settings = FitSettings(epochs=4, checkpoint_every=1, patience=2)  # 5 updates an epoch
    whole, resumed = toy.model(), toy.model()
    expected = toy.fit(whole, settings=settings)
    cut(toy, settings, path, updates)
    history = toy.fit(resumed, settings=settings, checkpoint=path, resume=True)
    assert same(weights(whole), weights(resumed))
    assert history == expected


def test_layers_that_wake_and_pairs_go_on(tmp_path: Path) -> None:
    """Gradual unfreezing or pairs would be drawn anew after a kill."""
    toy, path = Toy(), tmp_path / "run.safetensors"
    settings = FitSettings(epochs=4, checkpoint_every=3, schedule="step")
    how = TransferSettings(unfreeze=("shared.dense1=3",), lr_step=("heads.*=6",))
    nets = [toy.model() for _ in range(3)]
    groups = [resolve(net, how, settings.learning_rate) for net in nets]
    toy.fit(nets[0], settings=settings, groups=groups[0])
    cut(toy, settings, path, 13, net=nets[1], groups=groups[1])
    toy.fit(nets[2], settings=settings, groups=groups[2], checkpoint=path, resume=True)
    assert same(weights(nets[0]), weights(nets[2]))

    clips, path = Clips(), tmp_path / "pairs.safetensors"
    settings = FitSettings(samples=100, batch_size=16, checkpoint_every=4)
    nets = [clips.model() for _ in range(2)]
    clips.fit(nets[0], settings, checkpoint=path)
    # The checkpoint of update 4 is still there, of 7 updates in all.
    told: list[str] = []
    clips.fit(nets[1], settings, checkpoint=path, resume=True, say=told.append)
    assert told == ["resumed after update 4 of 7"]
    assert same(weights(nets[0]), weights(nets[1]))


def test_a_missing_checkpoint_starts_from_the_beginning(tmp_path: Path) -> None:
    """A line in a Makefile could not always say --resume."""
    toy, path = Toy(), tmp_path / "run.safetensors"
    nets = [toy.model() for _ in range(2)]
    settings = FitSettings(epochs=2, checkpoint_every=4)
    toy.fit(nets[0], settings=settings)
    toy.fit(nets[1], settings=settings, checkpoint=path, resume=True)
    assert same(weights(nets[0]), weights(nets[1]))
    assert path.exists()
    remove(path)
    remove(path)  # again does no harm
    assert not path.exists()


def test_without_resume_it_is_a_new_run(tmp_path: Path) -> None:
    """An old checkpoint would turn up in a run that did not ask for it."""
    toy, path = Toy(), tmp_path / "run.safetensors"
    nets = [toy.model() for _ in range(2)]
    settings = FitSettings(epochs=1, checkpoint_every=2)
    toy.fit(toy.model(seed=1), settings=settings, checkpoint=path)
    toy.fit(nets[0], settings=settings)
    toy.fit(nets[1], settings=settings, checkpoint=path)
    assert same(weights(nets[0]), weights(nets[1]))


def test_how_often_may_change(tmp_path: Path) -> None:
    """What does not change the result would forbid to go on."""
    toy, path = Toy(), tmp_path / "run.safetensors"
    settings = FitSettings(epochs=2, checkpoint_every=4)
    toy.fit(toy.model(), settings=settings, checkpoint=path)
    other = replace(settings, checkpoint_every=3, validate_every=2)
    toy.fit(toy.model(), settings=other, checkpoint=path, resume=True)


class TestRefused:
    """Checkpoints of another run."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Return the checkpoint of a run of two epochs."""
        path = tmp_path / "run.safetensors"
        toy = Toy()
        toy.fit(toy.model(), settings=FitSettings(epochs=2, checkpoint_every=4), checkpoint=path)
        return path

    def resumed(self, path: Path, toy: Toy, **changed: Any) -> None:
        """Go on with something changed."""
        arguments = {"net": toy.model(), "settings": FitSettings(epochs=2), **changed}
        toy.fit(**arguments, checkpoint=path, resume=True)

    def test_other_settings_are_spelled_out(self, path: Path) -> None:
        """Half of a run would be at another rate, and nobody would know."""
        settings = FitSettings(epochs=2, learning_rate=0.5, weighting="dwa")
        with pytest.raises(UsageError) as caught:
            self.resumed(path, Toy(), settings=settings)
        assert "learning_rate: got 0.5, expected 0.001" in str(caught.value)
        assert "weighting: got 'dwa', expected 'fixed'" in str(caught.value)
        assert "epochs" not in str(caught.value)
        assert "start anew without --resume" in str(caught.value)

    def test_other_rows_inputs_or_labels(self, path: Path) -> None:
        """A model would be of two tables."""
        toy = Toy()
        toy.inputs[toy.train[0], 3] += 1e-3
        with pytest.raises(UsageError, match="another table, labels or split"):
            self.resumed(path, toy)
        toy = Toy()
        toy.targets["genre"][0][toy.train[5]] += 1
        with pytest.raises(UsageError, match="another table, labels or split"):
            self.resumed(path, toy)
        toy = Toy()
        toy.valid = toy.valid[:-5]
        with pytest.raises(UsageError, match="another table, labels or split"):
            self.resumed(path, toy)

    def test_another_network(self, path: Path) -> None:
        """The tensors of another network would end in a traceback of torch."""
        toy = Toy()
        with pytest.raises(UsageError, match=r"\(another network; another set of first weights\)"):
            self.resumed(path, toy, net=toy.model(width=17))
        with pytest.raises(UsageError, match=r"\(another set of first weights\)"):
            self.resumed(path, toy, net=toy.model(seed=1))

    def test_other_groups(self, path: Path) -> None:
        """Layers would be frozen in the middle of a run."""
        toy = Toy()
        net = toy.model()
        groups = resolve(net, TransferSettings(freeze=("shared.dense1",)), 0.001)
        with pytest.raises(UsageError, match="shared.dense1"):
            self.resumed(path, toy, net=net, groups=groups)

    def test_other_draws_of_the_examples(self, tmp_path: Path) -> None:
        """Half of a run would be under masks, or shuffled otherwise, and nobody would know."""
        clips, path = Clips(), tmp_path / "run.safetensors"
        settings = FitSettings(epochs=1, checkpoint_every=1)
        clips.fit(clips.model(), settings, checkpoint=path)
        clips.fit(clips.model(), settings, checkpoint=path, resume=True)
        masks = augment_of(FeedSettings(spec_augment="2,1"), settings.seed, {})
        feed = ArrayFeed(clips.inputs, settings.seed, crop=5, augment=masks)
        with pytest.raises(UsageError, match="spec_augment: got '2,1', expected ''"):
            clips.fit(clips.model(), settings, checkpoint=path, resume=True, feed=feed)

    def test_something_else_than_a_checkpoint(self, tmp_path: Path) -> None:
        """A cut or foreign file would end in a traceback."""
        path = tmp_path / "run.safetensors"
        path.write_bytes(b"no tensors")
        with pytest.raises(BrokenTable):
            self.resumed(path, Toy())
