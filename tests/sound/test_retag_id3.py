"""Fields in ID3 tags, alone and beside APEv2: every other frame stays as it is."""

from __future__ import annotations

import contextlib
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import mutagen
import mutagen.apev2
import mutagen.id3
import pytest
from mutagen import id3
from tagged import ffprobe, heard

from mt_tools.errors import RowError
from mt_tools.sound.info import read_info
from mt_tools.sound.retag import read_fields, write_fields

pytestmark = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: most formats cannot be made"
)


def frame(name: bytes, data: bytes, flags: int = 0, version: int = 3) -> bytes:
    """Return a frame of ID3v2.3 or, with sizes of 7 bits, of 2.4; of 2.2 without flags."""
    size = len(data)
    if version == 2:
        return name + size.to_bytes(3, "big") + data
    sizes = (
        bytes(size >> n & 127 for n in (21, 14, 7, 0)) if version == 4 else struct.pack(">I", size)
    )
    return name + sizes + struct.pack(">H", flags) + data


def tag(body: bytes, version: int = 3, flags: int = 0) -> bytes:
    """Return a tag with a header."""
    size = bytes(len(body) >> n & 127 for n in (21, 14, 7, 0))
    return b"ID3" + bytes([version, 0, flags]) + size + body


def put_in_front(path: Path, raw: bytes) -> Path:
    """Put a tag in front of an MP3 instead of what it has."""
    mutagen.id3.delete(path)
    path.write_bytes(raw + path.read_bytes())
    return path


def raw_frames(path: Path) -> list[bytes]:
    """Return all frames of an MP3 as bytes, by mutagen, which is to know none of them."""
    return list(id3.ID3(path, known_frames={}, translate=False).unknown_frames)


# What mutagen would convert, drop, merge, sort or unpack.
STRANGE = [
    frame(b"TYER", b"\x001999"),
    frame(b"TDAT", b"\x003112"),
    frame(b"TSIZ", b"\x0012345"),
    frame(b"XYZ1", b"\x00\x01\x02unknown"),
    frame(b"IPLS", b"\x00producer\0Ann\0mix\0Bob"),
    frame(b"TSOT", b"\x00Song, A"),
    frame(b"TIT2", b"\x05" + bytes(range(40)), flags=0x0040),  # encrypted
    frame(b"PRIV", b"owner\0" + bytes(range(256))),
    frame(b"TXXX", b"\x00OTHER\x00one"),
    frame(b"TXXX", b"\x00OTHER\x00two"),
    frame(b"COMM", b"\x00engiTunNORM\x00 0000"),
    frame(b"TPE1", b"\x01\xfe\xff\x00A\x00n\x00n"),
    frame(b"POPM", b"a@b\0\xc4\0\0\0\x05"),
    frame(b"RVAD", bytes(range(12))),
    frame(b"TALB", b"\x00an\x00\x00"),
    frame(b"GEOB", b"\x00app/x\0name\0Serato Markers_\0" + bytes(300)),
    frame(b"APIC", b"\x00image/png\0\x03\0" + bytes(range(256)) * 5),
]


@pytest.mark.parametrize("padding", [0, 20, 4000])
def test_every_other_frame_stays_to_the_byte(make: Any, padding: int) -> None:
    """Cue points, dates, play counts and private frames of other programs would be lost."""
    path = put_in_front(make("mp3"), tag(b"".join(STRANGE) + bytes(padding)))
    assert raw_frames(path) == STRANGE
    sound = heard(path)
    write_fields(str(path), {"genre": ["Techno"], "energy": ["300"], "bpm": ["128.4"]})
    assert [one for one in raw_frames(path) if one in STRANGE] == STRANGE
    assert len(raw_frames(path)) == len(STRANGE) + 3
    assert path.read_bytes()[:5] == b"ID3\x03\0"
    assert id3.ID3(path)["TBPM"].text == ["128"]
    assert heard(path) == sound
    size = path.stat().st_size
    write_fields(str(path), {"genre": [], "energy": [], "bpm": []})
    assert raw_frames(path) == STRANGE
    # Padding is given back where there is any; where there is none, none comes.
    assert (path.stat().st_size == size) == bool(padding)


def test_a_tag_with_room_keeps_its_size(make: Any) -> None:
    """A six-hour mix would be copied to write one word, though the tag has room for it."""
    path = put_in_front(make("mp3"), tag(STRANGE[0] + bytes(2000)))
    size = path.stat().st_size
    write_fields(str(path), {"genre": ["Techno"]})
    assert path.stat().st_size == size
    write_fields(str(path), {"genre": ["Techno" * 400]})
    assert path.stat().st_size > size


def test_several_values_of_id3v23(make: Any) -> None:
    """Programs that know 2.3 alone would show one genre, or a NUL; ours would not split them."""
    path = put_in_front(make("mp3"), tag(STRANGE[0]))
    write_fields(str(path), {"genre": ["Rock", "R&B/Soul"], "mood": ["dark", "müde"]})
    tags = id3.ID3(path, translate=False)
    assert tags["TCON"].text == ["Rock; R&B/Soul"]
    assert tags["TXXX:MOOD"].text == ["dark; müde"]
    assert "TMOO" not in tags
    assert ffprobe(path)["genre"] == "Rock; R&B/Soul"
    assert read_info(path).genre == ["Rock", "R&B/Soul"]
    assert read_fields(str(path), ["genre", "mood"]) == {
        "genre": ["Rock", "R&B/Soul"], "mood": ["dark", "müde"],
    }  # fmt: skip
    with pytest.raises(RowError, match="--id3 2.4"):
        write_fields(str(path), {"genre": ["a;b"]})


def test_several_values_of_a_comment(make: Any) -> None:
    """A DJ's software would show the first of them: a comment is one text in ID3v2.4 too."""
    path = make("mp3")
    ape = mutagen.apev2.APEv2()
    ape["Comment"] = "nice;slow "
    ape.save(path)
    write_fields(str(path), {"comment": ["nice;slow ", "dark", "müde"]})
    assert id3.ID3(path)["COMM::eng"].text == ["nice; slow; dark; müde"]
    assert ffprobe(path)["comment"] == "nice; slow; dark; müde"
    assert read_fields(str(path), ["comment"]) == {"comment": ["nice", "slow", "dark", "müde"]}
    once = path.read_bytes()
    write_fields(str(path), {"comment": ["nice", "slow", "dark", "müde"]})
    assert path.read_bytes() == once


def test_id3v22_stays(make: Any) -> None:
    """Files tagged before 2000 would lose frames in a conversion nobody asked for."""
    old = [
        frame(b"TT2", b"\0Song", version=2), frame(b"TCO", b"\0(17)", version=2),
        frame(b"TYE", b"\x001999", version=2), frame(b"ZZ1", b"\0?", version=2),
        frame(b"PIC", b"\0PNG\x03\0" + b"p" * 99, version=2),
    ]  # fmt: skip
    path = put_in_front(make("mp3"), tag(b"".join(old) + bytes(30), version=2))
    assert read_fields(str(path), ["genre", "date"]) == {"genre": ["Rock"], "date": ["1999"]}
    new = {"genre": ["Techno"], "mood": ["dark"], "bpm": ["90"], "comment": ["ça va 🎧"]}
    write_fields(str(path), new)
    assert path.read_bytes()[3] == 2
    found = id3.ID3(path)
    assert read_fields(str(path), list(new)) == new
    assert found["TCON"].text == ["Techno"]
    assert found["TXXX:MOOD"].text == ["dark"]
    assert found["TBPM"].text == ["90"]
    assert found["COMM::eng"].text == ["ça va 🎧"]
    assert found["TIT2"].text == ["Song"]
    assert found["APIC:"].data == b"p" * 99
    raw = path.read_bytes()
    assert all(one in raw for one in old if one[:3] != b"TCO")


def test_unsynchronised_tags(make: Any) -> None:
    """Old players would take a picture for sound, or pictures would break."""
    picture = b"\xff\xe0\xff\x00\xff\xff" * 50
    body = frame(b"APIC", b"\0image/png\0\x03\0" + picture) + frame(b"TCON", b"\x01\xff\xfeA\0")
    path = put_in_front(make("mp3"), tag(_unsynchronised(body), flags=0x80))
    sound = heard(path)
    write_fields(str(path), {"genre": ["müde"], "mood": ["🎧"]})
    found = id3.ID3(path)
    assert found["APIC:"].data == picture
    assert found["TCON"].text == ["müde"]
    size = found.size
    head = path.read_bytes()[10:size]
    assert not any(head[at] == 0xFF and head[at + 1] >= 0xE0 for at in range(len(head) - 1))
    assert heard(path) == sound


def _unsynchronised(raw: bytes) -> bytes:
    made = bytearray()
    for at, byte in enumerate(raw):
        made.append(byte)
        if byte == 0xFF and (at + 1 == len(raw) or raw[at + 1] >= 0xE0 or raw[at + 1] == 0):
            made.append(0)
    return bytes(made)


def test_unsynchronised_frames_of_id3v24(make: Any) -> None:
    """A picture that relies on the tag's flag alone would be read with zeros too many."""
    picture = b"\xff\xe0\xff\x00\xff\xff" * 50
    data = _unsynchronised(b"\0image/png\0\x03\0" + picture)
    body = frame(b"APIC", data, version=4) + frame(b"TIT2", b"\x03Song", version=4)
    path = put_in_front(make("mp3"), tag(body, version=4, flags=0x80))
    assert id3.ID3(path)["APIC:"].data == picture
    write_fields(str(path), {"genre": ["müde"]})
    assert id3.ID3(path)["APIC:"].data == picture
    assert id3.ID3(path)["TCON"].text == ["müde"]


def test_frames_with_plain_sizes_in_id3v24(make: Any) -> None:
    """Tags of old versions of iTunes would be cut to pieces at their picture."""
    picture = bytes(range(256)) * 3
    body = frame(b"TIT2", b"\x03Song") + frame(b"APIC", b"\0image/png\0\x03\0" + picture)
    path = put_in_front(make("mp3"), tag(body + frame(b"TALB", b"\x03Album"), version=4))
    write_fields(str(path), {"genre": ["Techno"]})
    found = id3.ID3(path)
    assert found["APIC:"].data == picture
    assert found["TALB"].text == ["Album"]
    assert found["TCON"].text == ["Techno"]


@pytest.mark.parametrize("version", [3, 4])
def test_extended_headers_and_compressed_frames(make: Any, version: int) -> None:
    """A checksum would be wrong, or a genre stand twice in the file."""
    text = b"\0" + b"A long genre" * 20
    packed = zlib.compress(text)
    size = len(text)
    if version == 3:
        extended = struct.pack(">IHI", 6, 0, 0)
        genre = frame(b"TCON", struct.pack(">I", size) + packed, flags=0x80)
    else:
        extended = bytes([0, 0, 0, 6, 1, 0])
        lengths = bytes(size >> n & 127 for n in (21, 14, 7, 0))
        genre = frame(b"TCON", lengths + packed, flags=0x09, version=4)
    body = extended + frame(b"TIT2", b"\0Song", version=version) + genre
    path = put_in_front(make("mp3"), tag(body, version=version, flags=0x40))
    assert read_fields(str(path), ["genre"]) == {"genre": ["A long genre" * 20]}
    write_fields(str(path), {"genre": ["Techno"]})
    found = id3.ID3(path)
    assert found["TCON"].text == ["Techno"]
    assert found["TIT2"].text == ["Song"]
    assert found.version[:2] == (2, version)
    assert len(raw_frames(path)) == 2


def test_frames_that_mean_the_same(make: Any) -> None:
    """One program would show the old mood and another the new one."""
    path = make("mp3")
    tags = id3.ID3()
    for one in (
        id3.TXXX(desc="Mood", text=["dark"]), id3.TMOO(text=["calm"]),
        id3.COMM(lang="deu", desc="", text=["gut"]), id3.COMM(lang="eng", desc="", text=["good"]),
        id3.COMM(lang="eng", desc="iTunNORM", text=["0000"]), id3.GRP1(text=["set"]),
    ):  # fmt: skip
        tags.add(one)
    tags.save(path)
    assert read_fields(str(path), ["mood", "comment"]) == {
        "mood": ["calm", "dark"], "comment": ["gut", "good"],
    }  # fmt: skip
    write_fields(str(path), {"mood": ["new"], "comment": ["nice"], "grouping": ["peak"]})
    found = id3.ID3(path)
    assert found["TMOO"].text == found["TXXX:Mood"].text == ["new"]
    assert [one.text for one in found.getall("COMM")] == [["nice"], ["0000"]]
    assert found["GRP1"].text == found["TIT1"].text == ["peak"]
    write_fields(str(path), {"mood": []})
    assert {one.FrameID for one in id3.ID3(path).values()} == {"COMM", "GRP1", "TIT1"}


@pytest.mark.parametrize(("value", "stands"), [("Rock", ["Rock"]), ("(live)", ["(live)"])])
@pytest.mark.parametrize("version", [3, 4])
def test_genres_that_look_like_numbers(
    make: Any, version: int, value: str, stands: list[str]
) -> None:
    """ "17" is Rock for every reader of ID3: a genre of that name cannot be written."""
    path = put_in_front(make("mp3"), tag(frame(b"TIT2", b"\0S", version=version), version=version))
    write_fields(str(path), {"genre": [value]})
    assert id3.ID3(path)["TCON"].genres == stands
    with pytest.raises(RowError, match="by number"):
        write_fields(str(path), {"genre": ["17"]})


def test_id3v1_says_the_same(make: Any) -> None:
    """Players that read the end of a file would show last year's genre."""
    path = make("mp3")
    v1 = (b"TAG" + b"Song".ljust(30, b"\0") + b"Ann".ljust(30, b"\0") + bytes(30) + b"1999"
          + b"old".ljust(28, b"\0") + b"\0\x07" + bytes([17]))  # fmt: skip
    path.write_bytes(path.read_bytes() + v1)
    sound = heard(path)
    write_fields(str(path), {"mood": ["dark"]})
    # Programs show it as long as ID3v2 says nothing, so it is somebody's value.
    said = {"genre": ["Rock"], "comment": ["old"], "date": ["1999"], "key": []}
    assert read_fields(str(path), list(said)) == said
    write_fields(str(path), {"genre": ["Unheard of", "Techno"], "comment": ["new ü" * 9]})
    end = path.read_bytes()[-128:]
    assert end[:33] == v1[:33]
    assert end[127] == 18
    assert end[125:127] == b"\0\x07"
    assert end[97:125] == ("new ü" * 9).encode("latin-1")[:28]
    write_fields(str(path), {"genre": ["Unheard of"]})
    assert path.read_bytes()[-1] == 255
    assert heard(path) == sound


def test_id3v1_alone(make: Any) -> None:
    """Title and artist would vanish: programs that find ID3v2 do not look at ID3v1."""
    path = make("mp3")
    mutagen.id3.delete(path)
    v1 = (b"TAG" + b"Song".ljust(30, b"\0") + b"Ann".ljust(30, b"\0") + bytes(30) + b"1999"
          + bytes(30) + bytes([17]))  # fmt: skip
    path.write_bytes(path.read_bytes() + v1)
    for version, asked in ((4, "keep"), (3, "2.3")):
        copy = Path(shutil.copy(path, path.with_name(f"{version}.mp3")))
        assert read_fields(str(copy), ["genre", "title"]) == {"genre": ["Rock"], "title": ["Song"]}
        write_fields(str(copy), {"mood": ["dark"]}, id3=asked)
        assert copy.read_bytes()[3] == version
        told = read_info(copy)
        assert (told.title, told.artist, told.year, told.genre) == ("Song", "Ann", 1999, ["Rock"])


def test_apev2_beside_id3(make: Any) -> None:
    """foobar2000 reads APEv2 first: it would show the old genre for ever."""
    path = make("mp3")
    write_fields(str(path), {"title": ["Song"], "genre": ["Rock"]})
    ape = mutagen.apev2.APEv2()
    ape["GENRE"], ape["MP3GAIN_MINMAX"], ape["Mood"] = "Pop", "100,200", ["dark", "calm"]
    ape["Cover Art (front)"] = mutagen.apev2.APEValue(b"x.png\0\x89PNG", mutagen.apev2.BINARY)
    ape.save(path)
    sound = heard(path)
    assert read_fields(str(path), ["genre", "mood"]) == {
        "genre": ["Rock", "Pop"], "mood": ["dark", "calm"],
    }  # fmt: skip
    write_fields(str(path), {"genre": ["Techno", "House"], "mood": [], "energy": ["3"]})
    found = mutagen.apev2.APEv2(path)
    assert set(found) == {"GENRE", "MP3GAIN_MINMAX", "Cover Art (front)"}
    assert list(found["GENRE"]) == ["Techno", "House"] == id3.ID3(path)["TCON"].text
    assert bytes(found["Cover Art (front)"].value) == b"x.png\0\x89PNG"
    assert heard(path) == sound


@pytest.mark.parametrize("ending", ["mp3", "tta"])
def test_apev2_alone(make: Any, ending: str) -> None:
    """New ID3 tags would hide title and artist from programs that look at one kind alone."""
    path = make(ending)
    with contextlib.suppress(mutagen.MutagenError):
        mutagen.id3.delete(path)
    ape = mutagen.apev2.APEv2()
    ape["Title"], ape["Artist"], ape["Track"], ape["Year"] = "Song", ["Ann", "Bob"], "3/9", "1999"
    ape.save(path)
    write_fields(str(path), {"genre": ["Techno"]})
    shown = ffprobe(path)
    assert (shown["title"], shown["genre"], shown["track"]) == ("Song", "Techno", "3/9")
    found = id3.ID3(path)
    assert found["TPE1"].text == ["Ann", "Bob"]
    assert str(found["TDRC"]) == "1999"
    assert mutagen.apev2.APEv2(path)["Genre"] == "Techno"
    told = read_info(path)
    assert (told.title, told.genre, told.year) == ("Song", ["Techno"], 1999)


def test_apev2_of_a_volume_alone(make: Any) -> None:
    """Programs that measure the volume would make all others pass over the tags."""
    path = make("mp3")
    mutagen.id3.delete(path)
    ape = mutagen.apev2.APEv2()
    ape["REPLAYGAIN_TRACK_GAIN"] = "-6 dB"
    ape.save(path)
    write_fields(str(path), {"genre": ["Techno"]})
    assert id3.ID3(path)["TCON"].text == ["Techno"]
    assert list(mutagen.apev2.APEv2(path)) == ["REPLAYGAIN_TRACK_GAIN"]


def test_two_tags_and_lyrics(make: Any) -> None:
    """The second tag would say another genre, or the lyrics between tags be lost."""
    first = tag(frame(b"TCON", b"\0Rock") + bytes(50))
    second = tag(frame(b"TCON", b"\0Pop") + frame(b"TIT2", b"\0Song"))
    path = put_in_front(make("mp3"), first + second)
    lyrics = b"LYRICSBEGININD0000200LYR00005la la000039LYRICS200"
    path.write_bytes(path.read_bytes() + lyrics)
    mutagen.apev2.APEv2().save(path)
    write_fields(str(path), {"genre": ["Techno"]})
    raw = path.read_bytes()
    assert raw.count(b"Techno") == 2
    assert b"Rock" not in raw
    assert b"Pop" not in raw
    assert lyrics in raw
    assert b"Song" in raw


def test_broken_tags_are_left_alone(make: Any) -> None:
    """What no reader can read would be rewritten without it."""
    body = frame(b"TIT2", b"\0Song") + b"\x01\x02garbage that is no frame"
    path = put_in_front(make("mp3"), tag(body))
    before = path.read_bytes()
    with pytest.raises(RowError, match="left alone") as caught:
        write_fields(str(path), {"genre": ["Techno"]})
    assert caught.value.kind == "broken-tags"
    assert path.read_bytes() == before


# From one version to another


def test_id3_brought_to_24(make: Any) -> None:
    """A collection in one version would have lost dates, people or private frames on the way."""
    path = put_in_front(make("mp3"), tag(b"".join(STRANGE[:6] + STRANGE[7:]) + bytes(10)))
    write_fields(str(path), {"genre": ["Rock", "Pop"]}, id3="2.4")
    found = id3.ID3(path, translate=False)
    assert found.version[:2] == (2, 4)
    assert str(found["TDRC"].text[0]) == "1999-12-31"
    assert "TYER" not in found
    assert found["TIPL"].people == [["producer", "Ann"], ["mix", "Bob"]]
    assert found["TCON"].text == ["Rock", "Pop"]
    assert found["TPE1"].text == ["Ann"]
    assert found.getall("PRIV")[0].data == bytes(range(256))
    assert found.getall("APIC")[0].data == bytes(range(256)) * 5
    raw = path.read_bytes()
    for kept in (b"XYZ1", b"TSIZ", b"RVAD", b"Serato Markers_", b"iTunNORM", b"TSOT"):
        assert kept in raw
    assert raw.count(b"OTHER") == 2


def test_id3_brought_to_23(make: Any) -> None:
    """Programs that know 2.3 alone would show no text: it has no UTF-8, and other dates."""
    path = make("mp3")
    tags = id3.ID3()
    for one in (
        id3.TIT2(encoding=3, text=["Süß 🎧"]), id3.TDRC(text=["1999-12-31T10:20"]),
        id3.TDOR(text=["1970-01-01"]), id3.TMOO(text=["dark", "calm"]),
        id3.TIPL(people=[["mix", "Bob"]]), id3.TMCL(people=[["bass", "Zoë"]]),
        id3.TSOT(text=["Sort"]), id3.TXXX(encoding=3, desc="Ü", text=["a", "b"]),
        id3.USLT(encoding=3, lang="eng", desc="", text="la ü"), id3.APIC(data=b"\xff\xe0" * 9),
        id3.CHAP(element_id="c1", start_time=0, end_time=9, start_offset=0, end_offset=0,
                 sub_frames=[id3.TIT2(encoding=3, text=["Chapter ü"])]),
    ):  # fmt: skip
        tags.add(one)
    tags.save(path)
    write_fields(str(path), {"genre": ["Techno"]}, id3="2.3")
    found = id3.ID3(path, translate=False)
    assert found.version[:2] == (2, 3)
    assert found["TIT2"].text == ["Süß 🎧"]
    assert found["TIT2"].encoding == 1
    said = {name: str(found[name]) for name in ("TYER", "TDAT", "TIME", "TORY", "TSOT")}
    assert said == {"TYER": "1999", "TDAT": "3112", "TIME": "1020", "TORY": "1970", "TSOT": "Sort"}
    assert found["IPLS"].people == [["mix", "Bob"], ["bass", "Zoë"]]
    assert found["TXXX:MOOD"].text == ["dark; calm"]
    assert found["TXXX:Ü"].text == ["a; b"]
    assert found["USLT::eng"].text == "la ü"
    assert found["APIC:"].data == b"\xff\xe0" * 9
    chapter = found["CHAP:c1"].sub_frames["TIT2"]
    assert chapter.text == ["Chapter ü"]
    assert chapter.encoding == 1
    write_fields(str(path), {"genre": ["Techno"]}, id3="2.4")
    back = id3.ID3(path, translate=False)
    assert str(back["TDRC"].text[0]) == "1999-12-31 10:20"
