"""Odd tags, put into files by mutagen or as raw bytes, never by the code under test."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import mutagen
import mutagen.aiff
import mutagen.apev2
import mutagen.asf
import mutagen.flac
import mutagen.id3
import mutagen.monkeysaudio
import mutagen.mp3
import mutagen.mp4
import mutagen.musepack
import mutagen.oggflac
import mutagen.oggopus
import mutagen.oggspeex
import mutagen.oggvorbis
import mutagen.trueaudio
import mutagen.wave
import mutagen.wavpack
import numpy as np

Fields = Mapping[str, Sequence[str]]

_CLASSES: dict[str, Callable[[str], mutagen.FileType]] = {
    "mp3": mutagen.mp3.MP3, "mp2": mutagen.mp3.MP3, "flac": mutagen.flac.FLAC,
    "ogg": mutagen.oggvorbis.OggVorbis, "opus": mutagen.oggopus.OggOpus,
    "oga": mutagen.oggflac.OggFLAC, "spx": mutagen.oggspeex.OggSpeex,
    "m4a": mutagen.mp4.MP4, "m4b": mutagen.mp4.MP4, "mp4": mutagen.mp4.MP4,
    "wav": mutagen.wave.WAVE, "aiff": mutagen.aiff.AIFF, "aif": mutagen.aiff.AIFF,
    "aifc": mutagen.aiff.AIFF, "wma": mutagen.asf.ASF, "ape": mutagen.monkeysaudio.MonkeysAudio,
    "wv": mutagen.wavpack.WavPack, "mpc": mutagen.musepack.Musepack,
    "tta": mutagen.trueaudio.TrueAudio,
}  # fmt: skip
_MP4 = {"title": "\xa9nam", "artist": "\xa9ART", "genre": "\xa9gen", "comment": "\xa9cmt"}
_ASF = {"title": "Title", "artist": "Author", "genre": "WM/Genre", "comment": "Description"}
_ASF |= {"mood": "WM/Mood"}
_ID3 = {"title": "TIT2", "artist": "TPE1", "genre": "TCON", "mood": "TMOO"}


def opened(path: Path, ending: str) -> mutagen.FileType:
    """Open a file with mutagen's class for an ending, whatever the file is called."""
    return _CLASSES[ending](str(path))


def dress(path: Path, ending: str, fields: Fields, picture: bytes = b"", *, id3: int = 4) -> None:
    """Put text fields and a picture into a file, each in its format's own place."""
    file = opened(path, ending)
    if file.tags is None:
        file.add_tags()
    tags = file.tags
    if isinstance(tags, mutagen.id3.ID3):
        for name, values in fields.items():
            tags.add(_frame(name, values, id3))
        if picture:
            tags.add(mutagen.id3.APIC(encoding=3, mime="image/jpeg", type=3, data=picture))
        file.save(**{"v2_version": id3, "v23_sep": None})
        return
    if isinstance(tags, mutagen.mp4.MP4Tags):
        for name, values in fields.items():
            own = _MP4.get(name)
            free = [mutagen.mp4.MP4FreeForm(value.encode()) for value in values]
            tags[own or f"----:com.apple.iTunes:{name.upper()}"] = list(values) if own else free
        if picture:
            tags["covr"] = [mutagen.mp4.MP4Cover(picture)]
    elif isinstance(tags, mutagen.asf.ASFTags):
        for name, values in fields.items():
            tags[_ASF.get(name, name.upper())] = list(values)
        if picture:
            tags["WM/Picture"] = mutagen.asf.ASFByteArrayAttribute(picture)
    elif isinstance(tags, mutagen.apev2.APEv2):
        for name, values in fields.items():
            tags[name.title() if name.isalpha() else name] = list(values)
        if picture:
            value = mutagen.apev2.APEValue(b"cover.jpg\0" + picture, mutagen.apev2.BINARY)
            tags["Cover Art (Front)"] = value
    else:  # Vorbis comments
        for name, values in fields.items():
            tags[name] = list(values)
        if picture:
            block = mutagen.flac.Picture()
            block.data, block.type, block.mime = picture, 3, "image/jpeg"
            if isinstance(file, mutagen.flac.FLAC):
                file.add_picture(block)
            else:
                tags["metadata_block_picture"] = [base64.b64encode(block.write()).decode()]
    file.save()


def _frame(name: str, values: Sequence[str], version: int) -> mutagen.id3.Frame:
    if name == "comment":
        return mutagen.id3.COMM(encoding=1, lang="eng", desc="", text=list(values))
    own = _ID3.get(name)
    if own and not (version == 3 and own == "TMOO"):
        return getattr(mutagen.id3, own)(encoding=1, text=list(values))
    return mutagen.id3.TXXX(encoding=1, desc=name.upper(), text=list(values))


def jpeg(size: int, seed: int = 0) -> bytes:
    """Return bytes that begin and end as a JPEG does, and cannot be compressed."""
    noise = np.random.default_rng(seed).integers(0, 255, size - 4, dtype=np.uint8).tobytes()
    return b"\xff\xd8" + noise + b"\xff\xd9"


def _mark(*values: str) -> str:
    mark = {"task": "genre", "field": "genre", "model": "an older one", "digest": "0123456789ab"}
    return json.dumps(mark | {"values": list(values)})


NAMED = {"title": ["A title"], "artist": ["Somebody"]}
DRESSES: dict[str, tuple[Fields, int]] = {
    "no fields of ours": (NAMED, 0),
    "genre by hand": (NAMED | {"genre": ["Schlager"]}, 0),
    "genres and moods by hand": (NAMED | {"genre": ["Rock", "Pop"], "mood": ["calm", "blue"]}, 0),
    "emoji and right to left": (
        {"title": ["\U0001f3b5 \U0001f469\u200d\U0001f3a4"], "artist": ["\u0645\u0648\u0633\u064a\u0642\u0649"],
         "genre": ["\u202b\u0631\u0648\u0643\u202c", "\U0001f525"]}, 0),
    "decomposed letters": ({"title": ["Cafe\u0301"], "genre": ["Bole\u0301ro"]}, 0),
    "a text of a megabyte": (NAMED | {"comment": ["\xe4bc " * 250_000]}, 0),
    "a picture": (NAMED, 300_000),
    "a value twice": (NAMED | {"genre": ["Rock", "Rock", "rock"]}, 0),
    "empty values": ({"title": [""], "genre": [""], "mood": ["", "calm"]}, 0),
    "newlines": ({"title": ["one\ntwo\r\nthree"], "genre": ["Rock\nPop"]}, 0),
    "an older mark of ours": (NAMED | {"genre": ["Polka"], "MT_TOOLS": [_mark("Polka")]}, 0),
    "ours, edited by hand": (NAMED | {"genre": ["Polka!"], "MT_TOOLS": [_mark("Polka")]}, 0),
    "a garbled mark": (NAMED | {"genre": ["Polka"], "MT_TOOLS": ['{"task": "genre", "val']}, 0),
    "marks that are no marks": (
        NAMED | {"genre": ["Polka"], "MT_TOOLS": ["[]", "null", "7", '{"task": 5, "values": 6}',
                                                  '{"task": "genre"}', "[" * 2000]}, 0),
    "hundreds of fields": (NAMED | {f"field {n}": [f"value {n}"] for n in range(300)}, 0),
}  # fmt: skip
"""Fields, and the bytes of a picture, for every format that holds tags."""


# --- ID3 as bytes --------------------------------------------------------------------------------


def synchsafe(number: int) -> bytes:
    """Write a number in four bytes of seven bits each."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def frame(name: str, data: bytes, version: int = 4, flags: int = 0) -> bytes:
    """Return a frame of ID3v2.2, 2.3 or 2.4."""
    if version == 2:
        return name.encode() + len(data).to_bytes(3, "big") + data
    size = synchsafe(len(data)) if version == 4 else len(data).to_bytes(4, "big")
    return name.encode() + size + flags.to_bytes(2, "big") + data


def tag(frames: bytes, version: int = 4, flags: int = 0, padding: int = 0, size: int = -1) -> bytes:
    """Return an ID3v2 tag around frames; `size` lies about its length."""
    body = frames + bytes(padding)
    return b"ID3" + bytes([version, 0, flags]) + synchsafe(len(body) if size < 0 else size) + body


def text(value: str, encoding: int = 3) -> bytes:
    """Return the content of a text frame."""
    codec = ["latin-1", "utf-16", "utf-16-be", "utf-8"][encoding]
    return bytes([encoding]) + value.encode(codec)


def id3v1(genre: int = 255, title: bytes = b"A title") -> bytes:
    """Return the 128 bytes of ID3v1.1."""
    return b"TAG" + title.ljust(30, b"\0") + bytes(30 + 30 + 4 + 28) + b"\0\x05" + bytes([genre])


def lyrics3() -> bytes:
    """Return a Lyrics3v2 tag, which stands before ID3v1."""
    body = b"LYRICSBEGIN" + b"IND0000200" + b"LYR00007la la l"
    return body + b"%06d" % len(body) + b"LYRICS200"


def apev2(items: dict[str, str], *, header: bool = True) -> bytes:
    """Return an APEv2 tag."""
    body = b"".join(
        len(value.encode()).to_bytes(4, "little") + bytes(4) + key.encode() + b"\0" + value.encode()
        for key, value in items.items()
    )
    numbers = [2000, len(body) + 32, len(items)]
    fixed = b"APETAGEX" + b"".join(number.to_bytes(4, "little") for number in numbers)
    flag = 0x80000000 if header else 0
    ends = [fixed + (flag | top).to_bytes(4, "little") + bytes(8) for top in (0x20000000, 0)]
    return (ends[0] if header else b"") + body + ends[1]


def unsynchronised(data: bytes) -> bytes:
    """Put a zero behind every 0xFF, as the tag's highest flag says (ID3v2.3, section 5)."""
    return data.replace(b"\xff", b"\xff\x00")


_TITLE = frame("TIT2", text("A title"))
_TITLE3 = frame("TIT2", text("A title", 1), 3)
_TITLE2 = frame("TT2", text("A title", 0), 2)
_PRIV = frame("PRIV", b"somebody@example.org\0\xff\xfe\xff\xfb\x00" + bytes(range(256)))
_PRIV3 = frame("PRIV", b"somebody@example.org\0\xff\xfe\xff\xfb\x00" + bytes(range(256)), 3)
_OTHERS = b"".join([
    frame("TSOT", text("title, A")), frame("TDRC", text("1999-05-01T12:00")),
    frame("TDOR", text("1987")), frame("TIPL", text("producer\0Somebody")),
    frame("TMCL", text("drums\0Nobody\0bass\0Anybody")), frame("TSST", text("a disc")),
    frame("POPM", b"somebody@example.org\0\xc4\0\0\0\x07"), frame("PCNT", b"\0\0\0\x09"),
    frame("USLT", b"\x03engwords\0la la la"), frame("COMM", b"\x03engiTunNORM\0 00000AB 00000CD"),
    frame("COMM", b"\x03deu\0ein Kommentar"), frame("COMM", b"\x03eng\0a comment"),
    frame("SYLT", b"\x03eng\x02\x01\0la\0\0\0\0\x05"), frame("UFID", b"http://example.org\0id"),
    frame("GEOB", b"\x03application/octet-stream\0cues\0Serato Markers_\0" + bytes(range(256))),
    frame("CHAP", b"c1\0" + bytes(4) + b"\0\0\1\0" + b"\xff" * 8 + _TITLE),
    frame("CTOC", b"toc\0\x03\x01c1\0"), frame("RVA2", b"track\0\x01\x00\x10\x00"),
    frame("MCDI", bytes(100)), frame("WXXX", b"\x03a page\0http://example.org"),
    frame("TXXX", b"\x03MOOD\0theirs"), frame("TXXX", b"\x03initialkey\x008A"), frame("TKEY", text("Am")),
    frame("APIC", b"\x03image/png\0\x03\0" + jpeg(2000)), frame("APIC", b"\x03image/png\0\x04back\0" + jpeg(900, 1)),
])  # fmt: skip
_OTHERS3 = b"".join([
    frame("TYER", text("1999", 0), 3), frame("TDAT", text("0105", 0), 3),
    frame("TIME", text("1200", 0), 3), frame("TORY", text("1987", 0), 3),
    frame("IPLS", text("producer\0Somebody", 0), 3), frame("TSOT", text("title, A", 1), 3),
    frame("TSIZ", text("12345", 0), 3), frame("TRDA", text("1st May", 0), 3),
    frame("RVAD", b"\x03\x10" + bytes(8), 3), frame("EQUA", b"\x10\x80\x01\x00\x02", 3),
    frame("COMM", b"\x00engiTunNORM\x00 00000AB 00000CD", 3), frame("COMM", b"\x00eng\x00a comment", 3),
    frame("NCON", b"whatever MusicMatch writes", 3), frame("XYZZ", b"\0unknown", 3),
    frame("APIC", b"\x00image/png\0\x03\0" + jpeg(2000), 3),
    frame("GEOB", b"\x00application/octet-stream\0\0Serato Overview\0" + bytes(range(256)), 3),
])  # fmt: skip


def mp3s(sound: bytes) -> dict[str, bytes]:
    """Return MP3 files with every sort of tag, by what is odd about them."""
    v24, v23, v22 = tag(_TITLE), tag(_TITLE3, 3), tag(_TITLE2, 2)
    packed = zlib.compress(text("compressed", 0))
    made = {
        "v1": sound + id3v1(17),
        "v1 of genre none": sound + id3v1(),
        "v2.2": v22 + sound,
        "v2.2 genre by number": tag(_TITLE2 + frame("TCO", text("(17)", 0), 2), 2) + sound,
        "v2.2 picture": tag(_TITLE2 + frame("PIC", b"\0PNG\x03\0" + jpeg(500), 2), 2) + sound,
        "v2.2 and v1": v22 + sound + id3v1(17),
        "v2.3": v23 + sound,
        "v2.3 and v1": tag(_TITLE3 + frame("TCON", text("(17)Rock", 0), 3), 3) + sound + id3v1(17),
        "v2.3 genres by number": tag(frame("TCON", text("(17)(18)", 0), 3), 3) + sound,
        "v2.3 genre remix": tag(frame("TCON", text("(RX)(CR)((mine)", 0), 3), 3) + sound,
        "v2.3 and frames of all sorts": tag(_TITLE3 + _OTHERS3 + _PRIV3, 3, padding=99) + sound,
        "v2.3 genres by slash": tag(frame("TCON", text("Rock/Pop", 1), 3), 3) + sound,
        "v2.3 genres by null": tag(frame("TCON", text("Rock\0Pop", 1), 3), 3) + sound,
        "v2.3 compressed frame": tag(_TITLE3 + frame("TPE1", (11).to_bytes(4, "big") + packed, 3, 0x80), 3) + sound,
        "v2.3 encrypted frame": tag(_TITLE3 + frame("TPE1", b"\x80secret", 3, 0x40), 3) + sound,
        "v2.3 grouped frame": tag(_TITLE3 + frame("TPE1", b"\x81" + text("A", 0), 3, 0x20), 3) + sound,
        "v2.3 read-only frame": tag(_TITLE3 + frame("TPE1", text("A", 0), 3, 0x2000), 3) + sound,
        "v2.3 unsynchronised": tag(unsynchronised(_TITLE3 + _PRIV3), 3, 0x80) + sound,
        "v2.3 extended header": tag(b"\0\0\0\x06" + bytes(6) + _TITLE3, 3, 0x40) + sound,
        "v2.3 extended header with a sum": tag(
            b"\0\0\0\x0a\x80\0" + bytes(4) + zlib.crc32(_TITLE3).to_bytes(4, "big") + _TITLE3, 3, 0x40) + sound,
        "v2.4 and frames of all sorts": tag(_TITLE + _OTHERS + _PRIV) + sound,
        "v2.4 and v1": tag(_TITLE + frame("TCON", text("Rock"))) + sound + id3v1(17),
        "v2.4 genre number": tag(frame("TCON", text("17\0RX\0My own"))) + sound,
        "v2.4 in every encoding": tag(b"".join([
            frame("TIT2", text("title", 1)), frame("TPE1", text("artist", 2)),
            frame("TALB", text("alb\xfcm", 0)), frame("TCON", text("R\xf6ck", 2))])) + sound,
        "v2.4 unsynchronised": tag(
            frame("TIT2", text("A title"), 4, 0x02)
            + frame("PRIV", unsynchronised(b"x\0\xff\xfe\xff\xe0"), 4, 0x02), 4, 0x80) + sound,
        "v2.4 length indicator": tag(_TITLE + frame("TPE1", synchsafe(2) + text("A"), 4, 0x01)) + sound,
        "v2.4 compressed frame": tag(_TITLE + frame("TPE1", synchsafe(11) + packed, 4, 0x09)) + sound,
        "v2.4 encrypted frame": tag(_TITLE + frame("TPE1", b"\x80secret", 4, 0x04)) + sound,
        "v2.4 extended header": tag(synchsafe(6) + b"\x01\0" + _TITLE, 4, 0x40) + sound,
        "v2.4 footer": b"ID3\x04\0\x10" + synchsafe(len(_TITLE)) + _TITLE + b"3DI\x04\0\x10" + synchsafe(len(_TITLE)) + sound,
        "v2.4 padding of 100 kB": tag(_TITLE, padding=100_000) + sound,
        "v2.4 sizes as iTunes": tag(_TITLE + b"TPE1" + (201).to_bytes(4, "big") + bytes(2) + text("A" * 200) + frame("TALB", text("B"))) + sound,
        "v2.4 a frame twice": tag(_TITLE + frame("TCON", text("One")) + frame("TCON", text("Two")) + frame("TXXX", b"\x03ENERGY\x001") + frame("TXXX", b"\x03Energy\x002")) + sound,
        "v2.4 unknown frames": tag(_TITLE + frame("ZZZZ", b"\0something") + frame("XSOP", text("sort"))) + sound,
        "v2.4 mood here and there": tag(_TITLE + frame("TMOO", text("one")) + frame("TXXX", b"\x03MOOD\0two")) + sound,
        "v2.4 frame of nothing": tag(_TITLE + frame("TCON", b"")) + sound,
        "v2.4 wrong encoding byte": tag(_TITLE + frame("TCON", b"\x09Rock")) + sound,
        "v2.4 UTF-8 called Latin-1": tag(_TITLE + frame("TCON", b"\x00" + "R\xf6ck".encode())) + sound,
        "v2.4 broken UTF-8": tag(_TITLE + frame("TCON", b"\x03R\xf6ck")) + sound,
        "v2.4 UTF-16 without mark": tag(_TITLE + frame("TCON", b"\x01R\0o\0c\0k\0")) + sound,
        "v2.4 half a UTF-16": tag(_TITLE + frame("TCON", b"\x01\xff\xfeR\0o")) + sound,
        "v2.4 frame longer than the tag": tag(_TITLE + b"TPE1" + synchsafe(5000) + bytes(2) + b"\x03A") + sound,
        "v2.4 no padding": tag(_TITLE + frame("TPE1", text("A"))) + sound,
        "v2.5": b"ID3\x05\0\0" + synchsafe(len(_TITLE)) + _TITLE + sound,
        "empty tag": b"ID3\x04\0\0\0\0\0\0" + sound,
        "two ID3v2": v24 + tag(frame("TIT2", text("another"))) + sound,
        "two ID3v2 of two versions": v23 + v24 + sound,
        "APEv2": sound + apev2({"Title": "A title", "Genre": "Krautrock"}),
        "APEv2 without header": sound + apev2({"Title": "A title"}, header=False),
        "APEv2 and v1": sound + apev2({"GENRE": "Rock\0Pop", "MP3GAIN_MINMAX": "1,2"}) + id3v1(17),
        "APEv2, v2.4 and v1": v24 + sound + apev2({"Genre": "Theirs", "Mood": "sour"}) + id3v1(17),
        "APEv2 of ReplayGain alone and v2.3": v23 + sound + apev2({"REPLAYGAIN_TRACK_GAIN": "-3 dB"}),
        "Lyrics3 and v1": sound + lyrics3() + id3v1(17),
        "Lyrics3, v2.3 and v1": v23 + sound + lyrics3() + id3v1(17),
        "Lyrics3, APEv2 and v1": sound + apev2({"Title": "A"}) + lyrics3() + id3v1(17),
        "zeros before the sound": v24 + bytes(2000) + sound,
        "text after the sound": v24 + sound + b"downloaded from example.org\r\n" * 9,
        "zeros after the sound": v23 + sound + bytes(5000) + id3v1(17),
    }  # fmt: skip
    appended = b"ID3\x04\0\x10" + synchsafe(len(_TITLE)) + _TITLE
    appended += b"3DI" + appended[3:10]
    return made | {"v2.4 at the end": sound + appended}
