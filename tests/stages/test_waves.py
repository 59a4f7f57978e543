"""Examples straight from sound: crops, recipes, failures, and the features made of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from mt_tools.errors import NoRows, RunError, UsageError
from mt_tools.features.extract import extract
from mt_tools.features.presets import preset
from mt_tools.features.settings import FeatureSettings
from mt_tools.learn.distributed import World
from mt_tools.learn.settings import FeedSettings
from mt_tools.recipes import parse
from mt_tools.sound.decode import decode
from mt_tools.stages.frontend import compute, tracks_of
from mt_tools.stages.waves import AudioFeed, example_shape, open_audio
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import reserved
from mt_tools.tables.source import Source

RATE = 22050  # of the corpus, so that nothing is resampled
SETTINGS = FeatureSettings(sample_rate=RATE, n_fft=512, hop=256, bands=32, excerpt="segment:0.5")
CROP = RATE // 2

Open = Callable[..., tuple[AudioFeed, Batch]]


@pytest.fixture
def eight(tracks: Source) -> Batch:
    """Eight pieces of the corpus, 3 s each."""
    return next(iter(tracks)).take(range(8))


@pytest.fixture
def opened(eight: Batch, corpus: Path, failures: Any) -> Open:
    """Open the feed of some rows, without workers where nothing else is said."""

    def opened(
        batch: Batch = eight, features: FeatureSettings = SETTINGS, jobs: int = 0, **options: Any
    ) -> tuple[AudioFeed, Batch]:
        in_workers = options.pop("in_workers", False)
        seed, world = options.pop("seed", 3), options.pop("world", None)
        made = open_audio(
            [batch], ["style"], features, FeedSettings(**options), seed=seed, folders=[str(corpus)],
            jobs=jobs, fail=failures, in_workers=in_workers, world=world,
        )  # fmt: skip
        assert isinstance(made.feed, AudioFeed)
        return made.feed, made.table

    return opened


@pytest.fixture
def sound(eight: Batch, corpus: Path) -> list[np.ndarray]:
    """The whole waves [1, samples] of the eight pieces."""
    return [decode(str(corpus / path), channels=1)[0] for path in eight["path"]]


def epoch(feed: AudioFeed, number: int = 1, size: int = 3, **options: Any) -> list[Any]:
    """Return the batches of one epoch."""
    return list(feed.train(np.arange(len(feed)), number, size, **options))


def by_row(batches: Sequence[Any], view: int = 0) -> dict[int, np.ndarray]:
    """Return the example of each row."""
    return {
        int(row): x.numpy()
        for rows, views in batches
        for row, x in zip(rows, views[view], strict=True)
    }


def place_of(crop: np.ndarray, wave: np.ndarray) -> int:
    """Return where a crop lies in the wave of its track; -1 where it does not."""
    windows = np.lib.stride_tricks.sliding_window_view(wave[0], crop.shape[-1])
    found = np.flatnonzero((windows[:, :16] == crop[0, :16]).all(axis=1))
    return next((int(at) for at in found if (windows[at] == crop[0]).all()), -1)


def test_crops_are_the_tracks_own_sound_at_drawn_places(
    opened: Open, sound: list[np.ndarray]
) -> None:
    """A network would be trained on the sound of other tracks, or always on their beginning."""
    feed, _ = opened()
    assert feed.random_crops
    assert feed.example_shape == (32, 44)
    places = []
    for number in (1, 2):
        batches = epoch(feed, number, views=2)
        assert [len(rows) for rows, _ in batches] == [3, 3, 2]
        for view in (0, 1):
            crops = by_row(batches, view)
            assert sorted(crops) == list(range(8))
            assert all(crop.shape == (1, CROP) for crop in crops.values())
            places += [place_of(crop, sound[row]) for row, crop in sorted(crops.items())]
    assert min(places) >= 0
    assert len(set(places)) > 28  # 32 draws out of 55,126 places
    assert max(places) > 2.5 * RATE / 2 > min(places)


def test_any_number_of_workers_gives_the_same_batches(opened: Open) -> None:
    """A training could not be repeated on a machine of other cores."""
    recipes = ("pitch=2", "stretch=1.25")
    here = epoch(opened(recipe=recipes)[0], views=2)
    there = epoch(opened(recipe=recipes, jobs=2)[0], views=2)
    assert [rows.tolist() for rows, _ in here] == [rows.tolist() for rows, _ in there]
    for (_, one), (_, other) in zip(here, there, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_skipped_batches_are_not_decoded(opened: Open, eight: Batch, failures: Any) -> None:
    """A resumed training would first decode all that it has seen, or see something else."""
    feed, _ = opened()
    whole = epoch(feed, 2)
    rest = epoch(feed, 2, skip=2)
    assert [rows.tolist() for rows, _ in rest] == [rows.tolist() for rows, _ in whole[2:]]
    assert torch.equal(rest[0][1][0], whole[2][1][0])
    skipped = {int(row) for rows, _ in whole[:2] for row in rows}
    paths = ["gone.flac" if row in skipped else path for row, path in enumerate(eight["path"])]
    broken, _ = opened(eight.replace(reserved("path"), paths))
    assert torch.equal(epoch(broken, 2, skip=2)[0][1][0], whole[2][1][0])
    assert not failures


def test_another_seed_draws_all_anew(opened: Open) -> None:
    """Repeats of a training would share their order, crops, recipes or masks."""
    options: dict[str, Any] = {"recipe": ("pitch=2",), "spec_augment": "8,8"}
    feed, made = (opened(seed=seed, **options)[0] for seed in (3, 4))
    other = feed.reseeded(4)
    for (rows, (x,)), (expected, (y,)) in zip(epoch(other), epoch(made), strict=True):
        assert rows.tolist() == expected.tolist()
        assert torch.equal(x, y)
        features = other.prepare(x, rows, 1)
        assert torch.equal(features, made.prepare(y, rows, 1))
        assert not torch.equal(features, feed.prepare(x, rows, 1))
    assert any(
        rows.tolist() != expected.tolist()
        for (rows, _), (expected, _) in zip(epoch(feed), epoch(made), strict=True)
    )


class Side(World):
    """One of two threads that train together; `table` is where both lay what they give."""

    table: ClassVar[list[Any]] = [None, None]
    both: ClassVar[Barrier] = Barrier(2, timeout=30)

    def gather(self, value: Any) -> list[Any]:
        """Return what both gave."""
        self.table[self.rank] = value
        self.both.wait()
        found = list(self.table)
        self.both.wait()
        return found


def test_processes_that_train_together_decode_a_part_each(
    opened: Open, eight: Batch, failures: Any
) -> None:
    """Two processes would take twice the time for sound, each decoding all; or hear other crops."""
    alone = epoch(opened()[0], views=2)
    mine: list[set[int]] = [set(), set()]
    for rows, _ in alone:
        for place, row in enumerate(rows.tolist()):
            mine[place % 2].add(row)

    def train(rank: int) -> list[Any]:
        # What the other one decodes is not there at all.
        paths = [
            path if row in mine[rank] else "gone.flac" for row, path in enumerate(eight["path"])
        ]
        feed, _ = opened(eight.replace(reserved("path"), paths), world=Side(rank, 2))
        return epoch(feed, views=2)

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(train, range(2)):
            assert [rows.tolist() for rows, _ in found] == [rows.tolist() for rows, _ in alone]
            for (_, views), (_, expected) in zip(found, alone, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(views, expected, strict=True))
    assert not failures


def test_tracks_are_read_as_consecutive_segments(
    opened: Open, sound: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A track's prediction would be the average over other parts than mt-tag's."""
    for seconds in (60.0, 1.0, 0.1):  # decoded at once, by two, one by one
        monkeypatch.setattr("mt_tools.stages.frontend._RUN_SECONDS", seconds)
        found = list(opened()[0].read(np.array([5, 0]), 4))
        rows = np.concatenate([rows for rows, _ in found])
        assert rows.tolist() == [5] * 6 + [0] * 6
        assert [len(x) for _, x in found] == [4, 4, 4]
        waves = torch.cat([x for _, x in found]).numpy()
        for place, row in ((0, 5), (6, 0)):
            joined = np.concatenate(waves[place : place + 6], axis=-1)
            np.testing.assert_array_equal(joined, sound[row][:, : 6 * CROP])


@pytest.mark.parametrize("name", ["rep", "seq", "agf"])
def test_features_are_those_that_mt_tag_computes(
    name: str, opened: Open, eight: Batch, corpus: Path
) -> None:
    """A model would be applied to other features than it was validated on.

    Resampled a segment at a time or at once, samples differ by 1e-5; a quiet band's logarithm moves
    by some hundredths then, so 2e-3 of the features' range is allowed, and 1e-4 on average.
    """
    settings = FeatureSettings(**(preset(name).to_json() | {"excerpt": "segment:1", "frames": 0}))
    feed, _ = opened(features=settings)
    rows, x = next(feed.read(np.array([2]), 8))
    found = feed.prepare(x, rows, None).numpy()
    track = tracks_of(eight.take([2]), [str(corpus)])[0]
    expected = np.stack([part.features for part in compute((track, settings))])
    assert found.shape == expected.shape == (3, *feed.example_shape)
    difference = abs(found - expected) / np.ptp(expected)
    assert difference.max() < 2e-3
    assert difference.mean() < 1e-4


def test_workers_and_device_make_the_same_features(opened: Open) -> None:
    """What a model learns would depend on where its features are computed."""
    device, workers = opened(spec_augment="4,8")[0], opened(in_workers=True, spec_augment="4,8")[0]
    for (rows, (a,)), (others, (b,)) in zip(epoch(device), epoch(workers), strict=True):
        assert rows.tolist() == others.tolist()
        assert b.shape[1:] == workers.example_shape == device.example_shape
        for number in (None, 1):
            one, other = device.prepare(a, rows, number), workers.prepare(b, rows, number)
            torch.testing.assert_close(one, other, rtol=0, atol=80 * 1e-4)
        assert not torch.equal(workers.prepare(b, rows, 1), b)


def test_recipes_are_drawn_with_the_track_as_it_is(
    opened: Open, eight: Batch, corpus: Path
) -> None:
    """A track would always be heard as it is, or never, or with an effect nobody asked for.

    Of 8 tracks in 12 epochs each recipe is drawn 32 times on average; within 5 standard deviations
    (4.6) of that is allowed.
    """
    settings = FeatureSettings(
        **(SETTINGS.to_json() | {"sample_rate": 8000, "n_fft": 256, "excerpt": "first:0.2"})
    )
    feed, _ = opened(features=settings, recipe=("pitch=2", "pitch=-3,stretch=1.5"))
    assert not feed.random_crops
    known = [
        [
            decode(
                str(corpus / path), duration=0.2 / recipe.stretch, sample_rate=8000, channels=1,
                recipe=recipe,
            )[0]
            for recipe in map(parse, ("", "pitch=2", "pitch=-3,stretch=1.5"))
        ]
        for path in eight["path"]
    ]  # fmt: skip
    counts = np.zeros(3, dtype=int)
    for number in range(1, 13):
        for row, wave in by_row(epoch(feed, number)).items():
            same = [np.array_equal(wave, other) for other in known[row]]
            assert sum(same) == 1
            counts += same
    assert counts.sum() == 96
    assert abs(counts - 32).max() < 5 * 4.6


def test_ranges_are_drawn_anew_for_each_track_and_epoch(
    opened: Open, eight: Batch, corpus: Path
) -> None:
    """A range would be drawn once for all, or otherwise after a resume, or by the workers."""
    settings = FeatureSettings(**(SETTINGS.to_json() | {"excerpt": "first:0.2"}))
    options: dict[str, Any] = {
        "features": settings, "recipe": ("gain=-6..6,mask=0..4:0..3",), "originals": False,
    }  # fmt: skip
    feed, _ = opened(**options)
    gains = []
    for number in (1, 2):
        batches = epoch(feed, number)
        for row, wave in by_row(batches).items():
            plain = decode(str(corpus / eight["path"][row]), duration=0.2, channels=1)[0]
            gains.append(20 * np.log10(abs(wave).max() / abs(plain).max()))
            expected = decode(
                str(corpus / eight["path"][row]), duration=0.2, channels=1,
                recipe=parse(f"gain={gains[-1]:.1f}"),
            )[0]  # fmt: skip
            np.testing.assert_array_equal(wave, expected)
        for rows, (x,) in batches:
            assert not torch.equal(feed.prepare(x, rows, number), feed.prepare(x, rows, None))
    assert len({round(gain, 1) for gain in gains}) > 12
    assert -6 <= min(gains) < -2 < 2 < max(gains) <= 6
    workers = by_row(epoch(opened(jobs=2, **options)[0], 1))
    for row, wave in by_row(epoch(feed, 1)).items():
        np.testing.assert_array_equal(wave, workers[row])


def test_sound_is_mixed_on_the_device(opened: Open) -> None:
    """Mixtures of tracks would be of their waves, or of parts of a batch that are not there."""
    feed, _ = opened(recipe=("mixup=0.75",), originals=False)
    assert feed.mixes
    ((rows, (x,)), *_) = epoch(feed, 1, 4)
    mixing = feed.mixing(rows, 1)
    assert mixing is not None
    plain = feed.prepare(x, rows, None)
    made = feed.prepare(x, rows, 1, partners=mixing.partners)
    torch.testing.assert_close(
        made, 0.75 * plain + 0.25 * plain[mixing.partners], atol=1e-3, rtol=0
    )


def test_files_of_recipes_are_drawn(
    opened: Open, eight: Batch, corpus: Path, failures: Any, tmp_path: Path
) -> None:
    """Noise of a crowd would be the track's own sound, or stop the training where there is none."""
    only = tmp_path / "crowd"
    only.mkdir()
    (only / "a.flac").symlink_to(corpus / eight["path"][0])
    feed, _ = opened(
        eight.append(reserved("split"), ["train"] * 8), recipe=(f"mix={only}:10",),
        originals=False,
    )  # fmt: skip
    found = by_row(epoch(feed))
    assert sorted(found) == list(range(1, 8)), "the first has no other to be mixed with"
    assert len(failures) == 1


def test_stretched_crops_come_from_all_of_the_track(opened: Open, eight: Batch) -> None:
    """Crops of a stretched track would be of another length, or miss its end."""
    feed, _ = opened(recipe=("stretch=2",))
    for number in range(1, 4):
        for crop in by_row(epoch(feed, number)).values():
            assert crop.shape == (1, CROP)
            assert abs(crop[0, -200:]).max() > 0  # not filled up with zeros


def test_a_row_is_a_part_of_its_track(opened: Open, eight: Batch, sound: list[np.ndarray]) -> None:
    """Crops would come from outside of the part that the row selects."""
    part = eight.take([0, 1]).replace(reserved("start"), [1.0, 2.0])
    part = part.replace(reserved("duration"), [0.75, 0.75])
    feed, _ = opened(part)
    for number in range(1, 9):
        for row, crop in by_row(epoch(feed, number)).items():
            at = place_of(crop, sound[row])
            assert (row + 1) * RATE <= at <= (row + 1.25) * RATE
    ((rows, x),) = feed.read(np.arange(2), 8)
    assert rows.tolist() == [0, 1]
    assert [place_of(crop.numpy(), sound[row]) for row, crop in enumerate(x)] == [RATE, 2 * RATE]


def test_a_short_track_is_filled_up_with_silence(opened: Open, sound: list[np.ndarray]) -> None:
    """One short track would stop the training of all."""
    feed, _ = opened(crop=4.0)
    assert feed.example_shape == (32, 345)
    for row, wave in by_row(epoch(feed)).items():
        length = sound[row].shape[1]
        assert wave.shape == (1, 4 * RATE)
        np.testing.assert_array_equal(wave[:, :length], sound[row])
        assert not wave[:, length:].any()


def test_a_track_that_fails_is_reported_once_and_left_out(
    opened: Open, eight: Batch, failures: Any, tmp_path: Path
) -> None:
    """One bad file would stop the training, or be reported in every epoch."""
    (tmp_path / "text.flac").write_text("no music")
    bad = {1: str(tmp_path / "text.flac"), 4: "gone.flac"}
    paths = [bad.get(row, path) for row, path in enumerate(eight["path"])]
    good, _ = opened()
    feed, table = opened(eight.replace(reserved("path"), paths), jobs=1)
    assert len(table) == len(feed) == 8
    for number in (1, 2):
        expected, found = by_row(epoch(good, number, 4)), by_row(epoch(feed, number, 4))
        assert sorted(found) == [0, 2, 3, 5, 6, 7]
        assert all(np.array_equal(found[row], expected[row]) for row in found)
    read = np.concatenate([rows for rows, _ in feed.read(np.arange(8), 5)])
    assert sorted(set(read.tolist())) == [0, 2, 3, 5, 6, 7]
    assert sorted(id_ for id_, _ in failures) == sorted(table.ids[[1, 4]])


def test_a_batch_without_examples_borrows_the_first(
    opened: Open, eight: Batch, failures: Any
) -> None:
    """Batch norm would stop at an example alone, and one batch less make a resumed run another."""
    paths = [path if row < 3 else "gone.flac" for row, path in enumerate(eight["path"])]
    feed, _ = opened(eight.replace(reserved("path"), paths))
    for number in range(4):
        batches = epoch(feed, number, size=2)
        assert [len(set(rows.tolist())) for rows, _ in batches] == [2, 2, 2, 2]
        assert {int(row) for rows, _ in batches for row in rows} == {0, 1, 2}
        rest = epoch(feed, number, size=2, skip=2)
        assert [rows.tolist() for rows, _ in rest] == [rows.tolist() for rows, _ in batches[2:]]
    assert len(failures) == 5
    feed, _ = opened(eight.replace(reserved("path"), [eight["path"][0], *["gone.flac"] * 7]))
    with pytest.raises(RunError, match="1 of 8 training tracks"):
        epoch(feed, 1)


def test_lengths_that_the_table_lacks_are_looked_up(opened: Open, eight: Batch) -> None:
    """A list of paths alone, without lengths, could not be cropped."""
    unknown = eight.without(["length"])
    for jobs in (0, 1):
        feed, _ = opened(unknown, jobs=jobs)
        expected = by_row(epoch(opened()[0]))
        assert all(np.array_equal(x, expected[row]) for row, x in by_row(epoch(feed)).items())
    assert sum(len(rows) for rows, _ in opened(unknown)[0].read(np.arange(8), 8)) == 48


def test_a_summary_is_computed_by_the_workers(opened: Open, sound: list[np.ndarray]) -> None:
    """What the device cannot compute would not be trained on at all."""
    settings = preset("mfcc-rep")
    feed, _ = opened(features=settings)
    assert feed.example_shape == (120,)
    rows, x = next(feed.read(np.array([3]), 1))
    np.testing.assert_allclose(
        feed.prepare(x, rows, None)[0].numpy(), extract(sound[3], settings), rtol=1e-6, atol=1e-5
    )


@pytest.mark.parametrize("name", ["choi2016", "dj", "agf", "seq", "reg", "rep"])
def test_shapes_are_those_of_the_studies(name: str) -> None:
    """A network would be built for another input than its examples."""
    expected = {
        "choi2016": (96, 1366), "dj": (48, 1874), "agf": (128, 43), "seq": (96, 1366),
        "reg": (128, 6616), "rep": (2, 128, 216),
    }  # fmt: skip
    assert example_shape(preset(name)) == expected[name]


def test_what_cannot_be_learned_from_is_answered(opened: Open, eight: Batch, failures: Any) -> None:
    """Whole tracks, double recipes or empty tables would end in a traceback."""
    whole = FeatureSettings(sample_rate=RATE)
    with pytest.raises(UsageError, match="--crop S"):
        opened(features=whole)
    assert opened(features=whole, crop=0.5)[0].random_crops
    with pytest.raises(UsageError, match="changes nothing"):
        opened(recipe=("pitch=0",))
    with pytest.raises(UsageError, match="unknown effect"):
        opened(recipe=("speed=2",))
    copies = eight.replace(reserved("recipe"), ["pitch=+2"] * 8)
    with pytest.raises(UsageError, match="recipes already"):
        opened(copies, recipe=("pitch=2",))
    with pytest.raises(UsageError, match="no column 'path'"):
        opened(eight.without(["path"]))
    with pytest.raises(UsageError, match="32 bands and 44 frames"):
        opened(spec_augment="33,8")
    with pytest.raises(NoRows):
        open_audio(
            [], [], SETTINGS, FeedSettings(), folders=[], jobs=0, fail=failures, in_workers=False
        )


def test_rows_with_recipes_are_heard_with_them(opened: Open, eight: Batch, corpus: Path) -> None:
    """Copies made by mt-augment would be trained on as if they were the originals."""
    settings = FeatureSettings(**(SETTINGS.to_json() | {"excerpt": "first:0.5"}))
    copies = eight.take([0, 1]).replace(reserved("recipe"), ["pitch=+2", None])
    expected = [
        decode(str(corpus / eight["path"][row]), duration=0.5, channels=1, recipe=parse(text))[0]
        for row, text in enumerate(("pitch=2", ""))
    ]
    for row, wave in by_row(epoch(opened(copies, features=settings)[0])).items():
        np.testing.assert_array_equal(wave, expected[row])


def test_workers_load_no_torch() -> None:
    """Each worker would take two seconds and 300 MB before it decodes anything."""
    code = "import sys, mt_tools.stages.waves; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
