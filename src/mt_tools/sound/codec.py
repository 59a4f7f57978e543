"""Lossy codecs: a wave encoded and decoded again in memory, as it was and when it was.

MP3 (LAME), Ogg Vorbis and Opus, all through libsndfile. A codec takes some sample rates only: the
wave is resampled to the next one above its own that allows the bit rate, and back. Bit rates are
constant for MP3, on average for Opus; Vorbis has a quality, whose nominal bit rate is taken.

Waves are float32 [channels, samples]; samples beyond ±1 are kept (the codecs compute in floats).
"""

from __future__ import annotations

import io

import numpy as np
import soundfile
import soxr

from mt_tools.errors import RowError

# Rates, with the bit rates at their two ends, kbit/s: MPEG-1 audio (ISO/IEC 11172-3), MPEG-2
# (13818-3) and the unofficial MPEG-2.5.
_MP3_RATES = (
    *((rate, 8, 64) for rate in (8000, 11_025, 12_000)),
    *((rate, 8, 160) for rate in (16_000, 22_050, 24_000)),
    *((rate, 32, 320) for rate in (32_000, 44_100, 48_000)),
)
_OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)  # RFC 6716, Table 1
# Nominal bit rates of libvorbis for stereo at 44.1 kHz, qualities 0 to 10, kbit/s.
_VORBIS_RATES = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)
# libsndfile's range of Opus, kbit/s a channel.
_OPUS_LEAST, _OPUS_MOST = 6, 256

_FORMATS = {"mp3": ("MP3", "MPEG_LAYER_III"), "vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}

# Samples of a frame; Vorbis's longest. Those of Opus last 20 ms at every rate.
_FRAMES = {"mp3": 1152, "vorbis": 2048}
_OPUS_FRAMES = 50  # a second

# The delay of LAME's encoder, and of any decoder's filter bank: taken away by the decoder where the
# file says how much, for which frames of very low bit rates have no room.
_MP3_DELAY = 576 + 529


def round_trip(
    wave: np.ndarray, codec: str, kbps: float, sample_rate: int, position: int = 0
) -> np.ndarray:
    """Encode a wave at `kbps` kbit/s for all its channels together, and decode it.

    `wave` [channels, samples] -> the same shape, at the same time. `position` is the sample of the
    track that it begins with; coding begins at the next frame of the whole track, since a frame's
    errors depend on where it begins. Raises `RowError` for more channels than the codec takes.
    """
    begin = -position % _FRAMES.get(codec, sample_rate // _OPUS_FRAMES)
    if wave.shape[1] <= begin:
        return wave
    coded = _coded(wave[:, begin:], codec, kbps, sample_rate)
    return np.concatenate([wave[:, :begin], coded], axis=1)


def _coded(wave: np.ndarray, codec: str, kbps: float, sample_rate: int) -> np.ndarray:
    channels = len(wave)
    if codec == "mp3" and channels > 2:
        raise RowError(f"codec=mp3 takes 1 or 2 channels, the track has {channels}; use opus")
    rate, level = _rate_and_level(codec, kbps, sample_rate, channels)
    given = wave.T if rate == sample_rate else soxr.resample(wave.T, sample_rate, rate, "HQ")
    memory = io.BytesIO()
    container, subtype = _FORMATS[codec]
    constant = {"bitrate_mode": "CONSTANT"} if codec == "mp3" else {}
    soundfile.write(
        memory, given, rate, format=container, subtype=subtype, compression_level=level, **constant
    )
    memory.seek(0)
    decoded, _ = soundfile.read(memory, dtype="float32", always_2d=True)
    if codec == "mp3" and len(decoded) > len(given):
        decoded = decoded[_MP3_DELAY:]
    decoded = _fit(decoded, len(given))
    if rate != sample_rate:
        decoded = _fit(soxr.resample(decoded, rate, sample_rate, "HQ"), wave.shape[1])
    coded: np.ndarray = decoded.T
    return coded


def _rate_and_level(codec: str, kbps: float, sample_rate: int, channels: int) -> tuple[int, float]:
    """Return the rate to encode at, and libsndfile's compression level, 0 being the best."""
    if codec == "opus":
        rate = next((r for r in _OPUS_RATES if r >= sample_rate), _OPUS_RATES[-1])
        each = min(max(kbps / channels, _OPUS_LEAST), _OPUS_MOST)
        return rate, 1 - (each - _OPUS_LEAST) / (_OPUS_MOST - _OPUS_LEAST)
    if codec == "vorbis":
        quality = np.interp(kbps * 2 / channels, _VORBIS_RATES, np.arange(11)) / 10
        return min(max(sample_rate, 8000), 48_000), 1 - float(quality)
    rates = [row for row in _MP3_RATES if row[1] <= kbps <= row[2]]
    rate, least, most = next((row for row in rates if row[0] >= sample_rate), rates[-1])
    # Level 1 itself is refused.
    return rate, min((most - kbps) / (most - least), 0.999)


def _fit(samples: np.ndarray, length: int) -> np.ndarray:
    missing = length - len(samples)
    return np.pad(samples, ((0, missing), (0, 0))) if missing > 0 else samples[:length]
