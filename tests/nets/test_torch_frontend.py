"""The torch twin of the features against the numpy ones, on sound."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mt_tools.errors import UsageError
from mt_tools.features.extract import extract, fit_length
from mt_tools.features.presets import PRESETS, preset
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.frontend import Frontend
from mt_tools.sound.decode import decode

TOLERANCE = 1e-4  # of the range of an example's features

VARIANTS = {
    "magnitude": FeatureSettings(exponent=1.0, mel_exponent=2.0, fmin=50.0, fmax=8000.0),
    "odd exponent": FeatureSettings(exponent=0.7, n_fft=1000, win_length=601, hop=173),
    "not centred": FeatureSettings(centre=False, win_length=1024),
    "relative to the maximum": FeatureSettings(reference="max", scale="log"),
    "padded with silence": FeatureSettings(frames=200, hop=1024),
    "cut": FeatureSettings(frames=20, top_db=0.0),
    "stereo cepstra": preset("rep"),
    "differences": FeatureSettings(kind="mfcc", deltas=2, delta_width=11, scale="log"),
    "differences alone": FeatureSettings(kind="mfcc", deltas=2, static=False),
    "plain differences": FeatureSettings(kind="mfcc", deltas=2, delta_width=2),
    "relative to a number": FeatureSettings(reference="0.01"),
    "compressed": FeatureSettings(scale="compressed", compression=1000.0),
    "spectrum": FeatureSettings(kind="stft", n_fft=1024),
    "magnitudes": FeatureSettings(kind="stft", exponent=1.0, scale="power", frames=200),
    # Single bins, unlike bands, are all rounding far below the loudest: the floor hides those.
    "some bins": FeatureSettings(kind="stft", fmin=200.0, fmax=4e3, scale="log", floor=1e-5),
    "stereo spectrum": FeatureSettings(kind="stft", channels="stereo", pad="reflect"),
    "chroma": FeatureSettings(kind="chroma"),
    "fine chroma": FeatureSettings(kind="chroma", n_chroma=24, tuning="0.3", chroma_norm="l2"),
    "stereo chroma": FeatureSettings(kind="chroma", channels="stereo", chroma_norm="l1"),
    "chroma as it is": FeatureSettings(kind="chroma", chroma_norm="none", exponent=1.0, frames=90),
    "wave": FeatureSettings(kind="wave"),
    "stereo wave": FeatureSettings(kind="wave", channels="stereo"),
}


def waves(corpus: Path, settings: FeatureSettings, seconds: float = 3.0) -> np.ndarray:
    """Return six pieces of the corpus [6, channels, samples] at the settings' rate."""
    files = sorted((corpus / "data").rglob("*.flac"))[:6]
    assert len(files) == 6
    return np.stack(
        [
            decode(
                str(file),
                duration=seconds,
                sample_rate=settings.sample_rate,
                channels=2 if settings.channels == "stereo" else 1,
            )[0]
            for file in files
        ]
    )


def compare(x: np.ndarray, settings: FeatureSettings) -> None:
    """Check every example, and each order of differences by itself, to the tolerance."""
    expected = np.stack([extract(wave, settings) for wave in x])
    found = Frontend(settings)(torch.from_numpy(x)).numpy()
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    blocks = settings.static + settings.deltas if settings.kind == "mfcc" else 1
    for part, want in zip(
        np.split(found, blocks, axis=-2), np.split(expected, blocks, axis=-2), strict=True
    ):
        axes = tuple(range(1, want.ndim))
        size = want.max(axes) - want.min(axes)
        assert (size > 0).all()
        assert (abs(part - want).max(axes) / size).max() < TOLERANCE


@pytest.mark.parametrize("name", [name for name in PRESETS if preset(name).has_frames])
def test_the_presets_of_the_studies(name: str, corpus: Path) -> None:
    """A network trained from sound would tag features that it was not trained on."""
    settings = dataclasses.replace(preset(name), summary="none", excerpt="first:3", frames=0)
    compare(waves(corpus, settings), settings)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_setting_has_its_twin(name: str, corpus: Path) -> None:
    """A setting that the twin forgets changes features without a word."""
    settings = dataclasses.replace(VARIANTS[name], excerpt="whole")
    if name == "stereo cepstra":
        settings = dataclasses.replace(settings, kind="mfcc", deltas=1)
    compare(waves(corpus, settings), settings)


@pytest.mark.parametrize("pad", ["reflect", "constant"])
@pytest.mark.parametrize("samples", [1, 2, 700, 2100])
def test_sound_shorter_than_its_padding(samples: int, pad: str, corpus: Path) -> None:
    """A crop at the end of a short file would stop the training."""
    settings = FeatureSettings(kind="mfcc", deltas=1, pad=pad, top_db=0.0, scale="log")
    x = waves(corpus, settings)[..., 20_000 : 20_000 + samples]
    expected = np.stack([extract(wave, settings) for wave in x])
    found = Frontend(settings)(torch.from_numpy(np.ascontiguousarray(x))).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * float(np.ptp(expected)))


def test_channels_are_mixed_as_in_numpy(corpus: Path) -> None:
    """One channel, or six, would come out as other stereo than mt-spec's."""
    mono = preset("choi2016")
    stereo = dataclasses.replace(mono, channels="stereo")
    six = np.concatenate([waves(corpus, stereo)] * 3, axis=1)
    six *= np.arange(1, 7, dtype=np.float32)[:, None] / 6
    for settings in (mono, stereo):
        for channels in (1, 2, 6):
            compare(np.ascontiguousarray(six[:, :channels]), settings)


def test_an_example_does_not_depend_on_its_company(corpus: Path) -> None:
    """A quiet track beside a loud one would lose its quiet bands to the loud one's top_db."""
    settings = FeatureSettings()
    x = torch.from_numpy(waves(corpus, settings))
    x[0] *= 1e-3
    front = Frontend(settings)
    torch.testing.assert_close(front(x)[:1], front(x[:1]), rtol=0, atol=1e-3)


def test_excerpts_brought_to_length_agree(corpus: Path) -> None:
    """The zeros after a short file end would be heard differently on the device."""
    settings = dataclasses.replace(preset("agf"), excerpt="segment:4", frames=0)
    x = np.stack([fit_length(wave, settings) for wave in waves(corpus, settings)])
    compare(x, settings)


def test_a_summary_is_refused() -> None:
    """A vector a track would be passed off as frames."""
    with pytest.raises(UsageError, match="mean\\+std"):
        Frontend(preset("mfcc-rep"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (preset("loudness"), "kind loudness has no twin"),
        (FeatureSettings(kind="tempo"), "kind tempo has no twin"),
        (FeatureSettings(kind="descriptors"), "kind descriptors has no twin"),
        (preset("agf-essentia"), "kind essentia has no twin"),
        (FeatureSettings(kind="chroma", tuning="estimate"), "--tuning 0"),
    ],
)
def test_what_has_no_twin_is_refused(settings: FeatureSettings, message: str) -> None:
    """A network would be fed mel bands in the name of another kind, which no error told of."""
    with pytest.raises(UsageError, match=message):
        Frontend(settings)


def test_digital_silence_is_silent_on_the_device() -> None:
    """A pause in a song would give undefined gradients."""
    x = torch.zeros(2, 1, 4000)
    for settings in (
        FeatureSettings(kind="chroma"),
        FeatureSettings(kind="chroma", chroma_norm="l2"),
    ):
        assert (Frontend(settings)(x) == 0).all()


def test_the_module_holds_nothing_that_is_saved(corpus: Path) -> None:
    """The files of models would carry filters that their settings say already."""
    assert not Frontend(preset("seq")).state_dict()
    assert not list(Frontend(preset("seq")).parameters())
