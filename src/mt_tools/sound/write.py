"""Writing a wave to an audio file with embedded tags, whole or not at all.

The file is made in memory and written beside its place under a temporary name, so that a full disk
or a kill leaves nothing half written. The same wave and tags give the same bytes (given the
versions of libsndfile and mutagen); the random number that libsndfile gives an Ogg stream is
replaced.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from typing import Any

import mutagen.flac
import mutagen.id3
import mutagen.mp3
import mutagen.ogg
import mutagen.oggvorbis
import mutagen.wave
import numpy as np
import soundfile

from mt_tools.errors import RowError, UsageError
from mt_tools.tables.atomic import atomic

# Frames given to libsndfile at once: its Vorbis encoder holds all of them on the stack, and of some
# minutes there it crashes.
_BLOCK = 65_536
_OGG_SERIAL = 1  # RFC 3533 asks only that streams in one file differ

_ID3_FRAMES: dict[str, Callable[..., mutagen.id3.Frame]] = {
    "title": mutagen.id3.TIT2,
    "artist": mutagen.id3.TPE1,
    "albumartist": mutagen.id3.TPE2,
    "album": mutagen.id3.TALB,
    "genre": mutagen.id3.TCON,
    "date": mutagen.id3.TDRC,
    "bpm": mutagen.id3.TBPM,
}
_FORMATS: dict[str, tuple[str, str, Any]] = {
    ".flac": ("FLAC", "PCM_{bits}", mutagen.flac.FLAC),
    ".wav": ("WAV", "PCM_{bits}", mutagen.wave.WAVE),
    ".mp3": ("MP3", "MPEG_LAYER_III", mutagen.mp3.MP3),
    ".ogg": ("OGG", "VORBIS", mutagen.oggvorbis.OggVorbis),
}


def write_audio(
    path: str | os.PathLike[str],
    wave: np.ndarray,
    sample_rate: int,
    *,
    tags: Mapping[str, Any] | None = None,
    bits: int = 16,
) -> None:
    """Write `wave` [channels, samples] to FLAC, WAV, MP3 or Ogg Vorbis, by the name's ending.

    `tags` are embedded: title, artist, albumartist, album, genre, year or date, bpm; any other name
    becomes a custom field (TXXX in ID3). Values are text, numbers, or lists of them; None is left
    out. `bits` (16 or 24) is for FLAC and WAV; samples beyond ±1 are clipped.

    Raises `UsageError` for another ending, `RowError` for a wave that the format cannot hold (MP3
    above 48 kHz or two channels), and `OSError` when the disk refuses.
    """
    path = os.fspath(path)
    ending = os.path.splitext(path)[1].lower()
    if ending not in _FORMATS:
        raise UsageError(
            f"cannot write audio to {path!r}, expected a name that ends in {', '.join(_FORMATS)}"
        )
    content = _encode(wave, sample_rate, ending, tags or {}, bits)
    with atomic(path) as file:
        file.write(content)


def _encode(
    wave: np.ndarray, sample_rate: int, ending: str, tags: Mapping[str, Any], bits: int
) -> bytes:
    container, subtype, tagger = _FORMATS[ending]
    memory = io.BytesIO()
    try:
        with soundfile.SoundFile(
            memory,
            "w",
            sample_rate,
            wave.shape[0],
            format=container,
            subtype=subtype.format(bits=bits),
        ) as file:
            for first in range(0, wave.shape[1], _BLOCK):
                file.write(wave.T[first : first + _BLOCK])
    except (soundfile.LibsndfileError, ValueError) as error:
        raise RowError(
            f"cannot write {wave.shape[0]} channels at {sample_rate} Hz and {bits} bits as "
            f"{container} ({error}); try .flac or another sample rate",
            "unwritable",
        ) from error
    if texts := _texts(tags):
        memory.seek(0)
        tagged = tagger(memory)
        if tagged.tags is None:
            tagged.add_tags()
        for name, values in texts.items():
            if not isinstance(tagged.tags, mutagen.id3.ID3):
                tagged.tags[name] = values
            elif name in _ID3_FRAMES:
                tagged.tags.add(_ID3_FRAMES[name](encoding=3, text=values))
            else:
                tagged.tags.add(mutagen.id3.TXXX(encoding=3, desc=name, text=values))
        memory.seek(0)
        tagged.save(memory)
    return _with_fixed_serial(memory) if container == "OGG" else memory.getvalue()


def _texts(tags: Mapping[str, Any]) -> dict[str, list[str]]:
    texts = {}
    for name, value in tags.items():
        values = value if isinstance(value, list | tuple) else [value]
        written = [_text(item) for item in values if item is not None]
        if written:
            texts["date" if name == "year" else name] = written
    return texts


def _text(value: Any) -> str:
    return repr(float(value)).removesuffix(".0") if isinstance(value, float) else str(value)


def _with_fixed_serial(memory: io.BytesIO) -> bytes:
    memory.seek(0)
    fixed = io.BytesIO()
    while memory.tell() < len(memory.getbuffer()):
        page = mutagen.ogg.OggPage(memory)
        page.serial = _OGG_SERIAL
        fixed.write(page.write())
    return fixed.getvalue()
