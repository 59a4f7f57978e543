"""What is in a file, read by others: mutagen's own classes, ffprobe, ffmpeg; and its bytes."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import mutagen.aiff
import mutagen.apev2
import mutagen.asf
import mutagen.flac
import mutagen.id3
import mutagen.mp4
import mutagen.oggflac
import mutagen.oggopus
import mutagen.oggspeex
import mutagen.oggvorbis
import mutagen.wave

OURS = ("genre", "mood", "ENERGY", "MT_TOOLS")
"""The fields that the tests write, and the mark that goes along."""

Values = dict[str, list[str]]


def raw_fields(path: Path) -> tuple[Values, dict[str, str]]:
    """Return the values of the fields in `OURS`, and a digest of every other tag, by its key.

    The format is that of the first bytes, whatever the name says.
    """
    with open(path, "rb") as file:
        head = file.read(64)
        file.seek(0)
        body = _after_id3(path)
    if head.startswith(b"OggS"):
        return _vorbis(_ogg(path, head).tags)
    if head.startswith(b"fLaC") or body == b"fLaC":
        flac = mutagen.flac.FLAC(path)
        ours, others = _vorbis(flac.tags)
        blocks = [b for b in flac.metadata_blocks if b.code not in (1, 4)]  # padding, comments
        others |= {f"block {n} {b.code}": _digest(b.write()) for n, b in enumerate(blocks)}
        return ours, others
    if head[4:8] == b"ftyp":
        return _mp4(mutagen.mp4.MP4(path))
    if head.startswith(b"\x30\x26\xb2\x75"):
        return _asf(mutagen.asf.ASF(path).tags)
    if head.startswith(b"RIFF"):
        return _id3(mutagen.wave._WaveID3, path)
    if head.startswith(b"FORM"):
        return _id3(mutagen.aiff._IFFID3, path)
    if head.startswith((b"MAC ", b"wvpk", b"MP+", b"MPCK")):
        return _ape(path)
    return _id3(mutagen.id3.ID3, path)


def _after_id3(path: Path) -> bytes:
    with open(path, "rb") as file:
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            return head[:4]
        file.seek(10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]))
        return file.read(4)


def _ogg(path: Path, head: bytes) -> Any:
    for start, cls in (
        (b"\x01vorbis", mutagen.oggvorbis.OggVorbis), (b"OpusHead", mutagen.oggopus.OggOpus),
        (b"\x7fFLAC", mutagen.oggflac.OggFLAC), (b"Speex   ", mutagen.oggspeex.OggSpeex),
    ):  # fmt: skip
        if start in head:
            return cls(path)
    raise ValueError(f"{path}: an Ogg of no known codec")


def _digest(value: Any) -> str:
    data = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogateescape")
    return hashlib.sha256(data).hexdigest()


def _vorbis(tags: Any) -> tuple[Values, dict[str, str]]:
    ours: Values = {}
    others: dict[str, str] = {}
    for key, value in tags or []:
        name = _name_of(key)
        if name:
            ours.setdefault(name, []).append(value)
        else:
            others[key.lower()] = _digest((others.get(key.lower()), value))
    return ours, others


def _name_of(key: str) -> str | None:
    return next((name for name in OURS if name.casefold() == key.casefold()), None)


def _mp4(file: mutagen.mp4.MP4) -> tuple[Values, dict[str, str]]:
    ours: Values = {}
    others: dict[str, str] = {}
    for key, values in (file.tags or {}).items():
        name = "genre" if key == "\xa9gen" else _name_of(key.rpartition(":")[2])
        if name and (key == "\xa9gen" or key.startswith("----:com.apple.iTunes:")):
            texts = [v.decode() if isinstance(v, bytes) else v for v in values]
            ours.setdefault(name, []).extend(texts)
        else:
            others[key] = _digest(values)
    others["chapters"] = _digest([(c.start, c.title) for c in file.chapters or []])
    return ours, others


def _asf(tags: Any) -> tuple[Values, dict[str, str]]:
    names = {"WM/Genre": "genre", "WM/Mood": "mood"}
    ours: Values = {}
    others: dict[str, str] = {}
    for key, value in tags or []:
        if name := names.get(key) or _name_of(key):
            ours.setdefault(name, []).append(str(value))
        else:
            others[key] = _digest((others.get(key), str(value)))
    return ours, others


def _ape(path: Path) -> tuple[Values, dict[str, str]]:
    try:
        tags = mutagen.apev2.APEv2(path)
    except mutagen.apev2.error:
        return {}, {}
    ours: Values = {}
    others: dict[str, str] = {}
    for key in tags:
        if name := _name_of(key):
            ours[name] = list(tags[key])
        else:
            others[key.lower()] = _digest(tags[key])
    return ours, others


def _id3(cls: Any, path: Path) -> tuple[Values, dict[str, str]]:
    """Read ID3 without mutagen's translation to 2.4 and without ID3v1, and APEv2 behind it."""
    ours: Values = {}
    others: dict[str, str] = {}
    try:
        tags = cls(path, translate=False, load_v1=False)
    except mutagen.id3.error:
        tags = None
    for frame in tags.values() if tags else ():
        # 2.3 has no frame for moods.
        name = {"TCON": "genre", "TMOO": "mood"}.get(frame.FrameID)
        if frame.FrameID == "TXXX":
            name = _name_of(frame.desc)
        if name:
            ours.setdefault(name, []).extend(frame.text)
        else:
            others[frame.HashKey] = _digest(frame)
    for number, data in enumerate(tags.unknown_frames if tags else ()):
        others[f"unknown {number}"] = _digest(data)
    if cls is mutagen.id3.ID3:
        values, more = _ape(path)
        others |= {f"APE {key}": value for key, value in more.items()}
        ours = ours if tags else values
    return ours, others


def elsewhere(path: Path) -> Values:
    """Return what a file says of our fields beside its own tags: APEv2 and ID3v1 after an MP3, INFO
    in a WAV."""
    data = path.read_bytes()
    found: Values = {}
    if data[:4] == b"RIFF":
        at = data.find(b"IGNR")
        if at >= 0:
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            found["genre"] = [data[at + 8 : at + 8 + size].rstrip(b"\0").decode("latin-1")]
    elif data[:4] not in (b"OggS", b"fLaC", b"FORM", b"MAC ", b"wvpk", b"MPCK"):
        if data[-128:-125] == b"TAG" and data[-1] < len(mutagen.id3.TCON.GENRES):
            found["genre"] = [mutagen.id3.TCON.GENRES[data[-1]]]
        found |= _ape(path)[0]
    return found


# --- ffmpeg --------------------------------------------------------------------------------------


def ffprobe(path: Path) -> dict[str, str] | None:
    """Return the tags of a file's container and of its first sound, by names in lower case.

    None where ffprobe says that it leaves ID3 tags out, as of a WAV with other texts.
    """
    line = ["ffprobe", "-v", "warning", "-show_format", "-show_streams", "-of", "json"]
    done = subprocess.run([*line, f"file:{path}"], capture_output=True, check=True)
    if b"Discarding ID3 tags" in done.stderr:
        return None
    said = json.loads(done.stdout.decode("utf-8", "surrogateescape"))
    sound = next(s for s in said["streams"] if s["codec_type"] == "audio")
    return {
        key.lower(): value
        for tags in (sound.get("tags", {}), said["format"].get("tags", {}))
        for key, value in tags.items()
    }


def decoded(paths: Sequence[Path], together: int = 24) -> dict[Path, str]:
    """Return the MD5 of each file's first sound as ffmpeg decodes it; "" where it cannot.

    Many a process, as starting takes longer than decoding; alone where one of them fails.
    """
    found: dict[Path, str] = {}
    for start in range(0, len(paths), together):
        some = paths[start : start + together]
        sums = _sums(some)
        if len(sums) != len(some) and len(some) > 1:
            found |= decoded(some, len(some) // 4 or 1)
        else:
            found |= dict(zip(some, sums or [""], strict=True))
    return found


def _sums(paths: Sequence[Path]) -> list[str]:
    line = ["ffmpeg", "-v", "error", "-nostdin"]
    for path in paths:
        line += ["-i", f"file:{path}"]
    for number in range(len(paths)):
        line += ["-map", f"{number}:a:0", "-f", "md5", "pipe:1"]
    done = subprocess.run(line, capture_output=True)
    return done.stdout.decode().split() if done.returncode == 0 else []


# --- bytes ---------------------------------------------------------------------------------------

State = tuple[str, int, int, int]
"""Digest of the content, mode, time of change, number of names."""


def states(folder: Path) -> dict[str, State | str]:
    """Return the state of everything below a folder, hidden files too; of a link where it leads."""
    found: dict[str, State | str] = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            key = os.path.relpath(path, folder)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                found[key] = f"-> {os.readlink(path)}"
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                found[key] = digest, status.st_mode, status.st_mtime_ns, status.st_nlink
            else:
                found[key] = oct(status.st_mode)
    return found


def differences(one: dict[str, Any], other: dict[str, Any]) -> Iterable[str]:
    """Return the names of what is not the same in two states."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
