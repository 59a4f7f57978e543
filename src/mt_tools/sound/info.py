"""What an audio file says about itself: length, format and embedded tags, without decoding it.

Lengths are what decoding would give: libsndfile's, but for an MP3 without an index, where
libsndfile guesses and counts tags as audio, by its frame headers (see `sound.mpeg`). What only
ffmpeg decodes is measured by mutagen. Tags come from ID3 (in MP3, WAV and AIFF), Vorbis comments,
MP4, APEv2, ASF and RIFF INFO. Tags that cannot be read are no tags; only audio that cannot be
opened is an error.
"""

from __future__ import annotations

import io
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import mutagen
import mutagen.aiff
import mutagen.flac
import mutagen.id3
import mutagen.mp3
import mutagen.mp4
import mutagen.oggopus
import mutagen.oggvorbis
import mutagen.wave

from mt_tools.sound import mpeg
from mt_tools.sound.ffmpeg import open_with_ffmpeg
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

_VARIOUS = frozenset({"various artists", "various", "va"})

_OPENERS: dict[tuple[str, str | None], Any] = {
    ("MP3", None): mutagen.mp3.MP3,
    ("FLAC", None): mutagen.flac.FLAC,
    ("WAV", None): mutagen.wave.WAVE,
    ("WAVEX", None): mutagen.wave.WAVE,
    ("AIFF", None): mutagen.aiff.AIFF,
    ("OGG", "VORBIS"): mutagen.oggvorbis.OggVorbis,
    ("OGG", "OPUS"): mutagen.oggopus.OggOpus,
}

# What the formats call the same thing; every other name is kept in lower case.
_NAMES = {
    **{"tit2": "title", "tpe1": "artist", "tpe2": "albumartist", "talb": "album"},
    **{"tcon": "genre", "tdrc": "date", "tyer": "date", "tbpm": "bpm"},  # ID3
    **{"©nam": "title", "©art": "artist", "aart": "albumartist", "©alb": "album"},
    **{"©gen": "genre", "©day": "date", "tmpo": "bpm"},  # MP4
    **{"author": "artist", "wm/albumtitle": "album", "wm/albumartist": "albumartist"},
    **{"wm/genre": "genre", "wm/year": "date", "wm/beatsperminute": "bpm"},  # ASF
    **{"year": "date", "album artist": "albumartist", "tempo": "bpm"},  # APEv2, Vorbis
}
_PICTURES = frozenset({"metadata_block_picture", "coverart", "covr", "wm/picture"})


@dataclass(frozen=True)
class AudioInfo:
    """The format of an audio file and its embedded tags; None where there is no such tag.

    `length` is in seconds, None where only decoding could tell; `bpm` in beats a minute. `tags`
    holds every text field by its name in lower case (`genre`, `energy`, ...), with all its values.
    Text is NFC-normalised and stripped. `genre` has several values where the file has several or
    separates them by `;`; a slash is left alone, since it is part of names.
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
    tags: dict[str, list[str]] = field(default_factory=dict)


def read_info(source: Source) -> AudioInfo:
    """Read length, format and tags of an audio file by its headers.

    `source` is a path, a table's text for one, or the bytes of a file. Raises `DecodeError` for a
    file that cannot be opened or is cut short.
    """
    source = resolve(source)
    length: float | None
    try:
        with SndfileAudio(source) as audio:
            sample_rate, channels, length = audio.sample_rate, audio.channels, audio.seconds
            kind, subtype = audio.file.format, audio.file.subtype
            opener = _OPENERS.get((kind, None)) or _OPENERS.get((kind, subtype))
            tagged = _open_tags(source, opener or mutagen.File)
            chunks = {name: [value] for name, value in audio.file.copy_metadata().items()}
    except ForeignFormatError as error:
        tagged, chunks = _open_tags(source, mutagen.File), {}
        stream = getattr(tagged, "info", None)
        sample_rate = int(getattr(stream, "sample_rate", 0))
        channels = int(getattr(stream, "channels", 0))
        length = float(getattr(stream, "length", 0.0)) or None
        if isinstance(tagged, mutagen.mp3.MP3):
            with _file(source) as file:
                measured = mpeg.measure(file)
            length = (measured and measured.seconds) or length
        if not sample_rate or not channels:
            with open_with_ffmpeg(source, str(error), READ_SIZE) as decoded:
                sample_rate, channels = decoded.sample_rate, decoded.channels
    tags = _tidy([*chunks.items(), *_fields(getattr(tagged, "tags", None))])
    return AudioInfo(
        length=length,
        sample_rate=sample_rate,
        channels=channels,
        genre=_split(tags.get("genre", [])) or None,
        artist=_first(tags, "artist"),
        albumartist=_first(tags, "albumartist"),
        album=_first(tags, "album"),
        title=_first(tags, "title"),
        year=_year(tags.get("date", [])),
        bpm=_bpm(tags.get("bpm", [])),
        tags=tags,
    )


def group_of(info: AudioInfo, folder_name: str) -> str:
    """Name the group that must not be split: the artist, else the album, else the folder.

    "Various Artists", "Various" and "VA" count as missing.
    """
    for name in (info.artist, info.album):
        if name and name.casefold() not in _VARIOUS:
            return name
    return folder_name


def _file(source: str | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")


def _open_tags(source: str | bytes, opener: Any) -> Any:
    """Open a file with mutagen; None when mutagen cannot, for whatever reason.

    Broken tags raise far more than mutagen's own errors, and none of them concerns the audio.
    """
    try:
        with _file(source) as file:
            return opener(file)
    except Exception:
        return None


def _fields(tags: Any) -> Iterator[tuple[str, Iterable[Any]]]:
    """Yield every text field of mutagen's tags, by the format's own name."""
    if tags is None:
        return
    if isinstance(tags, mutagen.id3.ID3):
        for frame in tags.values():
            if frame.FrameID == "TXXX":
                yield frame.desc, frame.text
            elif frame.FrameID == "TCON":
                yield "genre", frame.genres  # resolves ID3v1's numbers, "(17)"
            elif frame.FrameID.startswith("T"):
                yield frame.FrameID, frame.text
        return
    for name in dict.fromkeys(tags.keys()):
        value = tags[name]
        if isinstance(value, str | int | float) or not isinstance(value, Iterable):
            value = [value]
        yield name.removeprefix("----:com.apple.iTunes:"), value


def _tidy(fields: Iterable[tuple[str, Iterable[Any]]]) -> dict[str, list[str]]:
    """Name the fields alike in all formats and clean their text; later fields win."""
    tidy: dict[str, list[str]] = {}
    for name, values in fields:
        name = _NAMES.get(name.lower(), name.lower())
        if name in _PICTURES:
            continue
        texts = [_clean(part) for value in values for part in _text(value).split("\0")]
        if texts := list(dict.fromkeys(filter(None, texts))):
            tidy[name] = texts
    return dict(sorted(tidy.items()))  # mutagen gives Vorbis comments in the order of a set


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _clean(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _first(tags: dict[str, list[str]], name: str) -> str | None:
    return next(iter(tags.get(name, [])), None)


def _split(genres: Iterable[str]) -> list[str]:
    parts = [part.strip() for genre in genres for part in genre.split(";")]
    return list(dict.fromkeys(filter(None, parts)))


def _year(dates: Iterable[str]) -> int | None:
    for date in dates:
        if match := re.match(r"\d{4}(?!\d)", date):
            return int(match.group()) or None
    return None


def _bpm(texts: Iterable[str]) -> float | None:
    for text in texts:
        try:
            value = float(text)
        except ValueError:
            continue
        if math.isfinite(value) and value > 0:
            return value
    return None
