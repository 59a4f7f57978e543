"""mt-spec without its command: tracks in, features out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile

from mt_tools.errors import UsageError
from mt_tools.features.settings import FeatureSettings
from mt_tools.recipes import Recipe
from mt_tools.stages import augment, spec

SETTINGS = FeatureSettings(sample_rate=22050, n_fft=1024, hop=512, bands=32, excerpt="first:2")


def features(
    batches: Any, settings: FeatureSettings, corpus: Path, fail: Any, **options: Any
) -> Any:
    """Run the stage in this process; return the one batch that comes out."""
    options = {"name": "mel", "half": False, "jobs": 0} | options
    made = list(spec.run(batches, settings, folders=[str(corpus)], fail=fail, **options))
    return made[0] if len(made) == 1 else made


def test_the_column_is_what_librosa_computes(few: Any, corpus: Path, failures: Any) -> None:
    """The whole path from a FLAC to a column agrees with librosa on the same file."""
    batch = features(few, SETTINGS, corpus, failures)
    wave, rate = soundfile.read(corpus / str(batch["path"][1]), always_2d=True)
    assert rate == 22050
    power = librosa.feature.melspectrogram(
        y=wave[: 2 * rate].mean(axis=1), sr=rate, n_fft=1024, hop_length=512, n_mels=32
    )
    expected = librosa.power_to_db(power, top_db=80)
    np.testing.assert_allclose(batch["mel"][1], expected, atol=1e-2)
    assert batch.columns["mel"].settings == SETTINGS.to_json()
    assert batch.columns["mel"].role == "feature"


def test_segments_are_rows_that_say_where_they_are(few: Any, corpus: Path, failures: Any) -> None:
    """ids get @start, the origin is the track, and start and duration select the sound again."""
    settings = dataclasses.replace(SETTINGS, excerpt="segment:1")
    batch = features(few, settings, corpus, failures)
    assert batch.ids[:4].tolist() == [
        "synth-0001.flac@0", "synth-0001.flac@1", "synth-0001.flac@2", "synth-0002.flac@0",
    ]  # fmt: skip
    assert batch.origins[:4].tolist() == ["synth-0001.flac"] * 3 + ["synth-0002.flac"]
    assert batch["start"][:3].tolist() == [0, 1, 2]
    assert batch["duration"][:3].tolist() == [1, 1, 1]
    # A row of a segment, read again as a track, is the same sound.
    again = features(
        [batch.without(["mel"])], dataclasses.replace(SETTINGS, excerpt="first:1"), corpus, failures
    )
    np.testing.assert_allclose(again["mel"], batch["mel"], atol=1e-3)


def test_tracks_of_unequal_length_are_refused_with_the_way_out(
    tmp_path: Path, make_batch: Any, failures: Any
) -> None:
    """One shape a column: the message says which options make the lengths equal."""
    for name, seconds in (("a", 1), ("b", 2)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(seconds * 22050), 22050)
    batch = make_batch(path=["a.wav", "b.wav"])
    whole = dataclasses.replace(SETTINGS, excerpt="whole")
    with pytest.raises(UsageError, match=r"t1 gives .*--segment S, --first S or --centre S"):
        features([batch], whole, tmp_path, failures)
    padded = features([batch], SETTINGS, tmp_path, failures)
    assert padded["mel"].shape == (2, 32, 87)


def test_power_is_not_kept_in_float16(few: Any, corpus: Path, failures: Any) -> None:
    """A power STFT overflows float16 silently."""
    power = dataclasses.replace(SETTINGS, scale="power")
    with pytest.raises(UsageError, match="float16"):
        features(few, power, corpus, failures, half=True)


def test_decibels_in_float16_lose_less_than_a_tenth(few: Any, corpus: Path, failures: Any) -> None:
    """float16 halves the table and costs less than 0.05 dB."""
    batches = list(few)
    full = features(batches, SETTINGS, corpus, failures)["mel"]
    half = features(batches, SETTINGS, corpus, failures, half=True)
    assert half.columns["mel"].half
    np.testing.assert_allclose(half["mel"], full, atol=0.05)


def test_an_excerpt_of_a_stretched_copy_is_cut_from_what_is_heard(
    few: Any, corpus: Path, failures: Any
) -> None:
    """A copy 25 % slower has its first 2 s from the first 1.6 s of the track, at full length."""
    batch = next(few)
    copies = list(augment.run([batch], [Recipe(stretch=1.25)], originals=False, splits=["train"]))
    settings = dataclasses.replace(SETTINGS, excerpt="segment:1.2")
    rows = features(copies, settings, corpus, failures)
    mine = [i for i, origin in enumerate(rows.origins) if origin == batch.ids[0]]
    # 3 s become 3.75 s: three segments of 1.2 s, which last 0.96 s on the track's own timeline.
    assert rows["start"][mine].tolist() == pytest.approx([0, 0.96, 1.92])
    assert rows["duration"][mine].tolist() == pytest.approx([0.96] * 3)
    assert rows["mel"].shape[1:] == (32, 1 + int(1.2 * 22050) // 512)
