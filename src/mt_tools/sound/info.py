"""What an audio file says about itself: length, format and embedded tags, without decoding it.

Lengths are what decoding would give: libsndfile's, but for an MP3 without an index, where
libsndfile guesses and counts tags as audio, by its frame headers (see `sound.mpeg`). What only
ffmpeg decodes is measured by mutagen. Tags come from ID3 (in MP3, WAV and AIFF), Vorbis comments,
MP4, APEv2, ASF and RIFF INFO. Tags that cannot be read are no tags; only audio that cannot be
opened is an error.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import mutagen
import mutagen.apev2
import mutagen.flac
import mutagen.id3
import mutagen.mp3
import mutagen.oggopus
import mutagen.oggvorbis
import mutagen.wave

from mt_tools.sound import mpeg
from mt_tools.sound.fields import ID3_FRAMES, Fields, Named, fields_of, named, riff_info
from mt_tools.sound.foreign import open_foreign
from mt_tools.sound.opening import (
    READ_SIZE,
    ForeignFormatError,
    SndfileAudio,
    Source,
    resolve,
)

# Endings of names that a scan of a folder takes for audio: what libsndfile decodes, then what
# ffmpeg does.
AUDIO_ENDINGS = frozenset(
    {"mp3", "mp2", "flac", "wav", "wave", "w64", "rf64", "aif", "aiff", "aifc", "au", "snd"}
    | {"caf", "ogg", "oga", "opus"}
    | {"m4a", "m4b", "mp4", "aac", "wma", "ape", "wv", "mpc", "tta", "spx", "mka"}
)

VARIOUS = frozenset({"various artists", "various", "va"})
"""Names, folded, of artists that are none."""


@dataclass(frozen=True)
class AudioInfo:
    """The format of an audio file and its embedded tags; None where there is no such tag.

    `length` is in seconds, None where only decoding could tell; `bpm` in beats a minute. `tags`
    holds every text field with all its values (see `sound.fields`). `genre` has several values
    where the file has several or separates them by `;`; a slash is left alone, since it is part of
    names.
    """

    length: float | None
    sample_rate: int
    channels: int
    genre: list[str] | None = None
    artist: str | None = None
    albumartist: str | None = None
    album: str | None = None
    title: str | None = None
    year: int | None = None
    bpm: float | None = None
    tags: Fields = field(default_factory=dict)

    @classmethod
    def of(cls, length: float | None, sample_rate: int, channels: int, tags: Fields) -> AudioInfo:
        """Describe a file by its format and all its fields."""
        return cls(
            length=length,
            sample_rate=sample_rate,
            channels=channels,
            genre=split_values(tags.get("genre", []), ";") or None,
            artist=_first(tags, "artist"),
            albumartist=_first(tags, "albumartist"),
            album=_first(tags, "album"),
            title=_first(tags, "title"),
            year=year_of(tags.get("date", [])),
            bpm=bpm_of(tags.get("bpm", [])),
            tags=tags,
        )


def read_info(source: Source) -> AudioInfo:
    """Read length, format and tags of an audio file by its headers.

    `source` is a path, a table's text for one, or the bytes of a file. Raises `DecodeError` for a
    file that cannot be opened or is cut short.
    """
    source = resolve(source)
    try:
        with SndfileAudio(source) as audio:
            sample_rate, channels, length = audio.sample_rate, audio.channels, audio.seconds
            kind, subtype = audio.file.format, audio.file.subtype
            readers = _READERS.get((kind, None)) or _READERS.get((kind, subtype))
            told = {} if readers else audio.file.copy_metadata()
    except ForeignFormatError as error:
        return _foreign_info(source, str(error))
    given = [(name, [value], True) for name, value in told.items()]
    tags = fields_of(given, *_read_tags(source, readers or [_any_tags]))
    return AudioInfo.of(length, sample_rate, channels, tags)


def _foreign_info(source: str | bytes, what: str) -> AudioInfo:
    """Read what only ffmpeg decodes; `what` names the format."""
    length: float | None
    tagged = _open_tags(source)
    stream = getattr(tagged, "info", None)
    sample_rate = int(getattr(stream, "sample_rate", 0))
    channels = int(getattr(stream, "channels", 0))
    length = float(getattr(stream, "length", 0.0)) or None
    readers: list[Callable[[BinaryIO], Named]]
    readers = [_ape_tags, lambda _: named(getattr(tagged, "tags", None))]  # True Audio has either
    if isinstance(tagged, mutagen.mp3.MP3):
        readers = _READERS["MP3", None]
        with _file(source) as file:
            measured = mpeg.measure(file)
        length = (measured and measured.seconds) or length
    if not sample_rate or not channels:
        with open_foreign(source, what, READ_SIZE) as decoded:
            sample_rate, channels = decoded.sample_rate, decoded.channels
    tags = fields_of(*_read_tags(source, readers))
    return AudioInfo.of(length, sample_rate, channels, tags)


def group_of(info: AudioInfo, folder_name: str) -> str:
    """Name the group that must not be split: the artist, else the album, else the folder.

    "Various Artists", "Various" and "VA" count as missing.
    """
    for name in (info.artist, info.album):
        if name and name.casefold() not in VARIOUS:
            return name
    return folder_name


def _file(source: str | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")


def split_values(texts: Iterable[str], separators: str) -> list[str]:
    """Return the values that texts join by any of some characters, each once.

    >>> split_values(["Rock; Pop", "Rock"], ";"), split_values(["AC/DC"], "")
    (['Rock', 'Pop'], ['AC/DC'])
    """
    parts = [part for text in texts for part in _parts(text, separators)]
    return list(dict.fromkeys(filter(None, parts)))


def _parts(text: str, separators: str) -> list[str]:
    for separator in separators[1:]:
        text = text.replace(separator, separators[0])
    return [part.strip() for part in text.split(separators[0])] if separators else [text]


# --- tags ----------------------------------------------------------------------------------------


def _mp3_tags(file: BinaryIO) -> Named:
    return named(mutagen.id3.ID3(file, known_frames=ID3_FRAMES))


def _ape_tags(file: BinaryIO) -> Named:
    """Read the APEv2 tags that some programs put behind an MP3, before its ID3v1 tags if any."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 160))
    return named(mutagen.apev2.APEv2(file)) if b"APETAGEX" in file.read() else iter(())


def _any_tags(file: BinaryIO) -> Named:
    return named(getattr(mutagen.File(file), "tags", None))


def _tags_by(opener: Callable[[BinaryIO], Any]) -> Callable[[BinaryIO], Named]:
    return lambda file: named(opener(file).tags)


# By libsndfile's format and subtype: what reads the tags, of which the later wins.
_READERS: dict[tuple[str, str | None], list[Callable[[BinaryIO], Named]]] = {
    ("MP3", None): [_ape_tags, _mp3_tags],
    ("FLAC", None): [_tags_by(mutagen.flac.FLAC)],
    ("WAV", None): [riff_info, _tags_by(mutagen.wave.WAVE)],
    ("WAVEX", None): [riff_info, _tags_by(mutagen.wave.WAVE)],
    ("OGG", "VORBIS"): [_tags_by(mutagen.oggvorbis.OggVorbis)],
    ("OGG", "OPUS"): [_tags_by(mutagen.oggopus.OggOpus)],
}


def _read_tags(
    source: str | bytes, readers: Iterable[Callable[[BinaryIO], Named]]
) -> list[list[Any]]:
    """Return what each reader finds; nothing where it fails, for whatever reason.

    Broken tags raise far more than mutagen's own errors, and none of them concerns the audio.
    """
    found = []
    with _file(source) as file:
        for reader in readers:
            with contextlib.suppress(Exception):
                file.seek(0)
                found.append(list(reader(file)))
    return found


def _open_tags(source: str | bytes) -> Any:
    """Open a file with mutagen, whatever it is; None when mutagen cannot."""
    try:
        with _file(source) as file:
            return mutagen.File(file)
    except Exception:
        return None


def _first(tags: Fields, name: str) -> str | None:
    return next(iter(tags.get(name, [])), None)


def year_of(dates: Iterable[str]) -> int | None:
    """Return the first of some dates that begins with a year of four digits, as that year."""
    for date in dates:
        if match := re.match(r"\d{4}(?!\d)", date):
            return int(match.group()) or None
    return None


def bpm_of(texts: Iterable[str]) -> float | None:
    """Return the first of some texts that is a number of beats a minute above zero."""
    for text in texts:
        try:
            value = float(text)
        except ValueError:
            continue
        if math.isfinite(value) and value > 0:
            return value
    return None
