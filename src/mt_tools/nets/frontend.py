"""Features on the device: the torch twin of `features.extract`.

Goal: the same mel bands, cepstra, spectra and chroma as `features` computes in numpy, from batches
of waveforms on any device, so that training from sound leaves the workers nothing but decoding.
What no network is trained on by frames has no twin and is computed by the workers: vectors of a
track, and chroma whose tuning each excerpt tells.

Source: the filters are those of `features.mel` and `features.chroma` themselves and the differences
are the Savitzky-Golay filter of `features.mfcc` taken as a matrix, so that the two cannot drift
apart; the transform is `torch.stft`, the cosine transform torchaudio's. Agreement is to 1e-4 of the
features' range (`tests/nets/test_torch_frontend.py`).

Conventions: as in `features`: waveforms [n, channels, samples] float32 at `settings.sample_rate`,
features [n, bands, frames], with two channels before the bands for `stereo`. Maxima (of
`reference` and `top_db`) are each example's own.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mt_tools.errors import UsageError
from mt_tools.features.chroma import chroma_filterbank
from mt_tools.features.mel import filterbank_of
from mt_tools.features.mfcc import delta
from mt_tools.features.settings import FeatureSettings

_TWINS = ("mel", "mfcc", "stft", "chroma", "wave")
_WINDOWS = {"hann": torch.hann_window, "hamming": torch.hamming_window}


class Frontend(nn.Module):
    """Computes the features of the settings; raises `UsageError` for those without a twin."""

    window: Tensor
    filters: Tensor
    cosines: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        if settings.summary != "none":
            raise UsageError(
                f"summary {settings.summary!r} gives a vector a track, which networks on features "
                "do not take: train on a table of such vectors, from mt-spec or mt-embed"
            )
        if settings.transform:
            raise UsageError(
                f"features of a fitted transform ({settings.transform}) have no twin in torch: "
                "train on a table of them, from mt-spec --apply FILE"
            )
        if settings.kind not in _TWINS:
            raise UsageError(
                f"kind {settings.kind} has no twin in torch: compute it with mt-spec, and train on "
                "the table"
            )
        if settings.kind == "chroma" and settings.tuning_bins is None:
            raise UsageError(
                "the tuning of each excerpt is not estimated in torch: say --tuning 0, or compute "
                "the chroma with mt-spec"
            )
        self.settings = settings
        if settings.kind == "wave":
            return
        window = _WINDOWS[settings.window](settings.resolved_win_length, periodic=True)
        self.register_buffer("window", window, persistent=False)
        filters = _filters(settings)
        if filters is not None:
            self.register_buffer("filters", filters, persistent=False)
        if settings.kind == "mfcc":
            from torchaudio.functional import create_dct

            cosines = create_dct(settings.n_mfcc, settings.bands, "ortho").T.contiguous()
            self.register_buffer("cosines", cosines, persistent=False)
            self.slopes = nn.ModuleList(
                _Delta(settings.delta_width, order) for order in range(1, settings.deltas + 1)
            )

    @torch.no_grad()
    def forward(self, wave: Tensor) -> Tensor:
        """Return the features of waveforms [n, channels, samples]; no gradient goes through."""
        mixed = self._mixed(wave)
        made = mixed if self.settings.kind == "wave" else self._features(self._bands(mixed))
        return made[:, 0] if self.settings.channels == "mono" else made

    def _features(self, bands: Tensor) -> Tensor:
        """Return what the kind makes of bands [n, channels, bands, frames] of the spectrum."""
        settings = self.settings
        if settings.kind == "chroma":
            return _normalised(bands, settings.chroma_norm)
        if settings.kind != "stft" and settings.mel_exponent != 1:
            bands = bands**settings.mel_exponent
        scaled = self._scaled(bands)
        if settings.kind != "mfcc":
            return scaled
        cepstrum = self.cosines @ scaled
        stack = [cepstrum] if settings.static else []
        return torch.cat([*stack, *(slope(cepstrum) for slope in self.slopes)], dim=-2)

    def _mixed(self, wave: Tensor) -> Tensor:
        """Return [n, 1 or 2, samples], as `features.mel.mix`."""
        channels = wave.shape[1]
        if self.settings.channels == "mono":
            return wave.mean(dim=1, keepdim=True)
        if channels <= 2:
            return wave.expand(-1, 2, -1)
        return (wave[:, :2] + wave[:, 2:].sum(dim=1, keepdim=True)) / (channels - 1)

    def _bands(self, wave: Tensor) -> Tensor:
        """Return bands, or bins, [n, channels, bands, frames] before the scale."""
        settings = self.settings
        n, channels, samples = wave.shape
        given = settings.frames_of(samples)
        frames = settings.frames or given
        padded = self._padded(wave.reshape(n * channels, samples))
        needed = (min(frames, given) - 1) * settings.hop + settings.n_fft
        spectrum = torch.stft(
            padded[:, :needed],
            settings.n_fft,
            settings.hop,
            settings.resolved_win_length,
            self.window,
            center=False,
            return_complex=True,
        )
        power = torch.view_as_real(spectrum).square().sum(dim=-1)
        if settings.exponent != 2:
            power = power.sqrt() if settings.exponent == 1 else power ** (settings.exponent / 2)
        first, last = settings.stft_bins
        bands = power[:, first:last] if settings.kind == "stft" else self.filters @ power
        bands = functional.pad(bands, (0, max(0, frames - given)))
        return bands.reshape(n, channels, bands.shape[1], frames)

    def _padded(self, wave: Tensor) -> Tensor:
        """Return [rows, samples] with what `centre` and `pad` put around."""
        settings = self.settings
        samples = wave.shape[-1]
        if not settings.centre:
            return functional.pad(wave, (0, max(0, settings.n_fft - samples)))
        half = settings.n_fft // 2
        if settings.pad == "constant":
            return functional.pad(wave, (half, half))
        # torch's own reflection refuses signals shorter than the padding.
        period = max(1, 2 * (samples - 1))
        index = torch.arange(-half, samples + half, device=wave.device) % period
        return wave[:, torch.minimum(index, period - index)]

    def _scaled(self, bands: Tensor) -> Tensor:
        """Return the bands in the scale of the settings, as `features.stft.to_scale`."""
        settings = self.settings
        if settings.scale == "power":
            return bands
        if settings.scale == "compressed":
            return (bands * settings.compression).log1p() / math.log(10)
        values = bands.clamp(min=settings.floor).log()
        reference = settings.reference_value
        if reference is None:
            values = values - values.amax(dim=(1, 2, 3), keepdim=True)
        elif reference != 1:
            values = values - math.log(max(reference, settings.floor))
        if settings.scale == "dB":
            values = values * (10 / math.log(10))
            if settings.top_db:
                loudest = values.amax(dim=(1, 2, 3), keepdim=True)
                values = torch.maximum(values, loudest - settings.top_db)
        return values


def _filters(settings: FeatureSettings) -> Tensor | None:
    """Return the filters over the bins of the spectrum [bands, bins]; None for all bins."""
    if settings.kind == "stft":
        return None
    if settings.kind == "chroma":
        filters = chroma_filterbank(
            settings.sample_rate, settings.n_fft, settings.n_chroma, settings.tuning_bins or 0.0
        )
    else:
        filters = filterbank_of(settings)
    return torch.from_numpy(filters.copy())


def _normalised(classes: Tensor, norm: str) -> Tensor:
    """Divide each frame of [..., bins, frames] by its norm, as `features.chroma.normalise`."""
    if norm == "none":
        return classes
    order = {"max": math.inf, "l1": 1, "l2": 2}[norm]
    size = torch.linalg.vector_norm(classes, order, dim=-2, keepdim=True)
    return classes / torch.where(size < torch.finfo(torch.float32).tiny, 1.0, size)


class _Delta(nn.Module):
    """Differences over time, as `features.mfcc.delta`: linear, so that a matrix says all of it."""

    fitted: Tensor

    def __init__(self, width: int, order: int) -> None:
        super().__init__()
        self.order = order
        # [width, width]: what each of `width` frames adds to the difference at each.
        fitted = delta(np.eye(width, dtype=np.float32), width, order)
        self.register_buffer("fitted", torch.from_numpy(fitted.copy()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the differences of [..., frames], of the same shape."""
        width = len(self.fitted)
        if width == 2:
            return x.diff(n=self.order, prepend=torch.cat([x[..., :1]] * self.order, dim=-1))
        half = width // 2
        short = x.shape[-1] < width
        if short:
            ends = x[..., :1], x[..., -1:]
            x = torch.cat([*[ends[0]] * half, x, *[ends[1]] * half], dim=-1)
        middle = x.unfold(-1, width, 1) @ self.fitted[:, half]
        if short:
            return middle
        first = x[..., :width] @ self.fitted[:, :half]
        last = x[..., -width:] @ self.fitted[:, half + 1 :]
        return torch.cat([first, middle, last], dim=-1)
