"""Features on the device: the torch twin of `features.extract`.

Goal: the same mel bands and cepstra as `features` computes in numpy, from batches of waveforms on
any device, so that training from sound leaves the workers nothing but decoding.

Source: the filters are those of `features.mel` themselves and the differences are its Savitzky-
Golay filter taken as a matrix, so that the two cannot drift apart; the transform is `torch.stft`,
the cosine transform torchaudio's. Agreement is to 1e-4 of the features' range
(`tests/nets/test_frontend.py`).

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
from mt_tools.features.mel import filterbank_of
from mt_tools.features.mfcc import delta
from mt_tools.features.settings import FeatureSettings

_WINDOWS = {"hann": torch.hann_window, "hamming": torch.hamming_window}


class Frontend(nn.Module):
    """Computes the features of the settings; raises `UsageError` for a `summary`."""

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
        self.settings = settings
        window = _WINDOWS[settings.window](settings.resolved_win_length, periodic=True)
        filters = torch.from_numpy(filterbank_of(settings).copy())
        self.register_buffer("window", window, persistent=False)
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
        scaled = self._scaled(self._bands(self._mixed(wave)))
        if self.settings.kind == "mfcc":
            cepstrum = self.cosines @ scaled
            scaled = torch.cat([cepstrum, *(slope(cepstrum) for slope in self.slopes)], dim=-2)
        return scaled[:, 0] if self.settings.channels == "mono" else scaled

    def _mixed(self, wave: Tensor) -> Tensor:
        """Return [n, 1 or 2, samples], as `features.mel.mix`."""
        channels = wave.shape[1]
        if self.settings.channels == "mono":
            return wave.mean(dim=1, keepdim=True)
        if channels <= 2:
            return wave.expand(-1, 2, -1)
        return (wave[:, :2] + wave[:, 2:].sum(dim=1, keepdim=True)) / (channels - 1)

    def _bands(self, wave: Tensor) -> Tensor:
        """Return mel bands [n, channels, bands, frames] before the scale."""
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
        bands = functional.pad(self.filters @ power, (0, max(0, frames - given)))
        return bands.view(n, channels, settings.bands, frames)

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
        """Return the bands in the scale of the settings, as `features.mel.to_scale`."""
        settings = self.settings
        values = bands if settings.mel_exponent == 1 else bands**settings.mel_exponent
        if settings.scale == "power":
            return values
        values = values.clamp(min=settings.floor).log()
        if settings.reference == "max":
            values = values - values.amax(dim=(1, 2, 3), keepdim=True)
        if settings.scale == "dB":
            values = values * (10 / math.log(10))
            if settings.top_db:
                loudest = values.amax(dim=(1, 2, 3), keepdim=True)
                values = torch.maximum(values, loudest - settings.top_db)
        return values


class _Delta(nn.Module):
    """Differences over time, as `features.mfcc.delta`: linear, so that a matrix says all of it."""

    fitted: Tensor

    def __init__(self, width: int, order: int) -> None:
        super().__init__()
        # [width, width]: what each of `width` frames adds to the difference at each.
        fitted = delta(np.eye(width, dtype=np.float32), width, order)
        self.register_buffer("fitted", torch.from_numpy(fitted.copy()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the differences of [..., frames], of the same shape."""
        width = len(self.fitted)
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
