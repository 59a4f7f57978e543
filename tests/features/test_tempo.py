"""Tempo and beats: librosa's, on clicks whose tempo is known."""

from __future__ import annotations

import sys

import librosa
import numpy as np
import pytest

from mt_tools.errors import UsageError
from mt_tools.features.extract import extract
from mt_tools.features.registry import TEMPO
from mt_tools.features.settings import FeatureSettings

SETTINGS = FeatureSettings(kind="tempo")


def clicks(bpm: float, seconds: float = 20.0, rate: int = 22050) -> np.ndarray:
    """Return short noises at a tempo, the first after half a second."""
    rng = np.random.default_rng(2)
    wave = 1e-3 * rng.standard_normal(int(seconds * rate))
    for beat in np.arange(0.5, seconds - 0.1, 60 / bpm):
        place = int(beat * rate)
        wave[place : place + 800] += 0.5 * rng.standard_normal(800) * np.exp(-np.arange(800) / 150)
    return wave.astype(np.float32)[None]


@pytest.mark.parametrize("bpm", [90, 124, 150])
def test_clicks_have_their_tempo(bpm: float) -> None:
    """A DJ would sort by a wrong tempo."""
    found = dict(zip(TEMPO, extract(clicks(bpm), SETTINGS).tolist(), strict=True))
    assert found["tempo"] == pytest.approx(bpm, rel=0.04)  # librosa's grid of lags
    assert 60 / found["interval"] == pytest.approx(bpm, rel=0.01)
    assert found["interval_std"] < 0.03
    assert found["first_beat"] == pytest.approx(0.5, abs=60 / bpm + 0.03)
    assert found["beats"] == pytest.approx(19.4 * bpm / 60, abs=3)


def test_beats_are_those_that_librosa_finds() -> None:
    """The curve that librosa is given would not be the one that it makes itself."""
    wave = clicks(110)
    tempo, beats = librosa.beat.beat_track(y=wave[0], sr=22050, units="time")
    found = extract(wave, SETTINGS)
    np.testing.assert_allclose(found[0], np.ravel(tempo)[0], rtol=1e-5)
    assert found[1] == len(beats)
    np.testing.assert_allclose(found[4], beats[0], atol=1e-5)


@pytest.mark.parametrize("samples", [1, 3000, 40000])
def test_what_has_no_beat_has_zeros(samples: int) -> None:
    """A silent track would end the run inside librosa."""
    np.testing.assert_array_equal(extract(np.zeros((1, samples), np.float32), SETTINGS), 0)
    assert np.isfinite(extract(np.ones((1, samples), np.float32), SETTINGS)).all()


def test_without_librosa_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback of a missing package would not say which extra brings it."""
    monkeypatch.setitem(sys.modules, "librosa.beat", None)
    with pytest.raises(UsageError, match=r"pip install 'mt-tools\[librosa\]'"):
        extract(clicks(120, 2), SETTINGS)
