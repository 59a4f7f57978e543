"""Fields in FLAC, Ogg, MP4 and ASF: what lies around them stays where and as it was."""

from __future__ import annotations

import base64
import io
import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import mutagen.asf
import mutagen.flac
import mutagen.id3
import mutagen.mp4
import mutagen.ogg
import mutagen.oggopus
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from tagged import ffmpeg, ffprobe, heard

from mt_tools.errors import RowError
from mt_tools.sound.info import read_info
from mt_tools.sound.retag import read_fields, write_fields
from mt_tools.sound.retag.splice import splice

PICTURE = np.random.default_rng(0).bytes(100_000)


@given(
    data=st.binary(max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    new=st.lists(st.binary(max_size=20), min_size=4, max_size=4),
)
def test_pieces_of_a_file(data: bytes, cuts: list[int], new: list[bytes]) -> None:
    """Sound behind a tag would be overwritten or doubled when the tag changes its length."""
    cuts = sorted(min(cut, len(data)) for cut in cuts)
    edits = [(*pair, text) for pair, text in zip(zip(cuts[::2], cuts[1::2], strict=False), new)]  # noqa: B905
    expected, position = b"", 0
    for start, end, text in edits:
        expected += data[position:start] + text
        position = end
    file = io.BytesIO(data)
    splice(file, edits)
    assert file.getvalue() == expected + data[position:]


# --- FLAC ----------------------------------------------------------------------------------------


def blocks(path: Path) -> list[tuple[int, bytes]]:
    """Return the metadata blocks of a FLAC: kind and content, and last the sound itself."""
    raw = path.read_bytes()
    at, found, last = raw.index(b"fLaC") + 4, [], 0
    while not last:
        last, kind = raw[at] >> 7, raw[at] & 127
        size = int.from_bytes(raw[at + 1 : at + 4], "big")
        found.append((kind, raw[at + 4 : at + 4 + size]))
        at += 4 + size
    return [*found, (-1, raw[at:])]


def comments(*texts: bytes) -> bytes:
    """Return a block of Vorbis comments."""
    sized = [struct.pack("<I", len(text)) + text for text in (b"someone", *texts)]
    return sized[0] + struct.pack("<I", len(texts)) + b"".join(sized[1:])


def flac(path: Path, *inner: tuple[int, bytes]) -> Path:
    """Give a FLAC these blocks behind its STREAMINFO."""
    found = blocks(path)
    parts = [found[0], *inner]
    raw = b"fLaC"
    for number, (kind, data) in enumerate(parts):
        raw += bytes([kind | (number == len(parts) - 1) << 7]) + len(data).to_bytes(3, "big") + data
    path.write_bytes(raw + found[-1][1])
    return path


SEEK = (3, struct.pack(">QQH", 0, 0, 4096) + b"\xff" * 8 + bytes(10))
COVER = struct.pack(">II9sIIIIII", 3, 9, b"image/png", 0, 1, 1, 24, 0, 400) + bytes(400)
CUES = (
    struct.pack(">128sQ?258xB", b"1234", 88_200, True, 2)
    + struct.pack(">QB12s14xBQB3x", 0, 1, b"", 1, 0, 1)
    + struct.pack(">QB12s14xB", 8000, 170, b"", 0)
)
OTHERS = [SEEK, (2, b"appl" + bytes(range(99))), (6, COVER), (99, b"?" * 50), (5, CUES)]
TOLD = (
    4,
    comments(b"Genre=Rock", b"TITLE=Song", b"genre=Pop", b"COVERART=xx", b"bad\xff=\xfe", b"?"),
)


@pytest.mark.parametrize("padding", [None, 0, 3, 4000])
def test_blocks_of_flac(make: Any, padding: int | None) -> None:
    """Cue sheets, seek tables and what other programs keep in a FLAC would be lost or changed."""
    room = [] if padding is None else [(1, bytes(padding))]
    path = flac(make("flac"), OTHERS[0], TOLD, *OTHERS[1:3], *room, *OTHERS[3:])
    size, sound, frames = path.stat().st_size, heard(path), blocks(path)[-1]
    assert read_fields(str(path), ["genre"]) == {"genre": ["Rock", "Pop"]}
    write_fields(str(path), {"genre": ["Techno", "Ambient Löffel", "x" * 99], "mood": ["dark"]})
    found = blocks(path)
    new = ["Genre=Techno", "TITLE=Song", "COVERART=xx", "?", "MOOD=dark"]
    assert all(text.encode() in found[2][1] for text in new)
    assert b"genre=" not in found[2][1]
    assert b"bad\xff=\xfe" in found[2][1]
    assert found[2][1].startswith(b"\x07\0\0\0someone")
    kept = [block for block in found if block[0] not in (0, 1, 4)]
    assert kept == [*OTHERS, frames]
    assert (path.stat().st_size == size) == (padding == 4000)
    assert heard(path) == sound
    assert soundfile.info(str(path)).frames
    write_fields(str(path), {"genre": ["Rock", "Pop"], "mood": []})
    if padding in (None, 4000):
        assert path.stat().st_size == size


@pytest.mark.parametrize("alone", [True, False])
def test_flac_without_comments(make: Any, alone: bool) -> None:
    """The first tag of a file would come after the last block, where nobody looks."""
    path = flac(make("flac"), *([] if alone else OTHERS))
    sound = heard(path)
    write_fields(str(path), {"genre": ["Techno"]})
    assert ffprobe(path)["genre"] == "Techno"
    assert mutagen.flac.FLAC(path)["genre"] == ["Techno"]
    assert [block for block in blocks(path)[:-1] if block[0] not in (0, 4)] == OTHERS * (not alone)
    assert heard(path) == sound


def test_flac_with_id3_around(make: Any) -> None:
    """ffmpeg reads ID3 in front of a FLAC: it would show the old genre."""
    path = flac(make("flac"), TOLD)
    tags = mutagen.id3.ID3()
    tags.add(mutagen.id3.TCON(text=["Rock"]))
    tags.add(mutagen.id3.APIC(data=PICTURE))
    plain = path.read_bytes()
    held = io.BytesIO()
    tags.save(held)
    path.write_bytes(held.getvalue() + plain + b"TAG" + bytes(124) + b"\x11")
    sound = heard(path)
    write_fields(str(path), {"genre": ["Techno"], "mood": ["dark"]})
    found = mutagen.id3.ID3(path)
    assert found["TCON"].text == ["Techno"]
    assert found["APIC:"].data == PICTURE
    assert "TMOO" not in found
    assert path.read_bytes()[-1] == 18
    assert mutagen.flac.FLAC(path)["genre"] == ["Techno"]
    assert heard(path) == sound


def test_names_keep_their_spelling(make: Any) -> None:
    """A library program that looks for `Genre` or for TEMPO would find nothing, or the old one."""
    path = flac(make("flac"), (4, comments(b"Genre=Rock", b"TEMPO=120", b"Energy=3")))
    assert read_fields(str(path), ["bpm"]) == {"bpm": ["120"]}
    write_fields(str(path), {"genre": ["Techno"], "bpm": ["128.5"], "TXXX:ENERGY": ["5"]})
    told = mutagen.flac.FLAC(path).tags
    assert [*told] == [
        ("Genre", "Techno"), ("TEMPO", "128.5"), ("Energy", "5"), ("BPM", "128.5"),
    ]  # fmt: skip
    with pytest.raises(RowError, match="ASCII"):
        write_fields(str(path), {"Stimmung=x": ["a"]})


def test_two_blocks_of_comments(make: Any) -> None:
    """Which of them a program reads is anybody's guess: one would keep the old genre."""
    path = flac(make("flac"), TOLD, TOLD)
    with pytest.raises(RowError, match="two blocks") as caught:
        write_fields(str(path), {"genre": ["Techno"]})
    assert caught.value.kind == "broken-tags"


# --- Ogg -----------------------------------------------------------------------------------------


def pages(path: Path) -> list[Any]:
    """Return all pages of an Ogg file; each must have the checksum that libogg computes."""
    raw, found = path.read_bytes(), []
    file = io.BytesIO(raw)
    while file.tell() < len(raw):
        start = file.tell()
        found.append(mutagen.ogg.OggPage(file))
        assert found[-1].write() == raw[start : file.tell()]
    return found


def packets(path: Path) -> dict[int, list[bytes]]:
    """Return the packets of each stream; pages must be numbered without a gap."""
    streams: dict[int, list[Any]] = {}
    for page in pages(path):
        streams.setdefault(page.serial, []).append(page)
    for numbered in streams.values():
        assert [page.sequence for page in numbered] == list(range(len(numbered)))
    return {serial: mutagen.ogg.OggPage.to_packets(of) for serial, of in streams.items()}


@pytest.mark.parametrize("ending", ["ogg", "opus", "oga", "spx"])
@pytest.mark.parametrize("size", [10, 4000, 70_000, 700_000])
def test_pages_of_ogg(make: Any, ending: str, size: int) -> None:
    """Players would stop at a page with a wrong number or checksum, or at a lost packet."""
    path = make(ending)
    sound, before = heard(path), packets(path)
    for text in ("x" * size, "y", "z" * 2 * size):
        write_fields(str(path), {"TXXX:LONG": [text], "genre": ["Techno"]})
        after = packets(path)
        assert {serial: of[:1] + of[2:] for serial, of in before.items()} == {
            serial: of[:1] + of[2:] for serial, of in after.items()
        }
        assert read_fields(str(path), ["long", "genre"]) == {"long": [text], "genre": ["Techno"]}
    assert heard(path) == sound
    granules = [page.position for page in pages(path) if page.position > 0]
    assert granules == sorted(granules)


@pytest.mark.parametrize("same", [True, False], ids=["same-serial", "own-serial"])
def test_chained_ogg(make: Any, same: bool) -> None:
    """Radio recordings are several songs in a row: the second would no longer play."""
    first, second = make("ogg"), make("ogg", "second")
    if not same:
        changed = pages(second)
        for page in changed:
            page.serial += 1
        second.write_bytes(b"".join(page.write() for page in changed))
    start, chained = first.read_bytes(), second.read_bytes()
    first.write_bytes(start + chained)
    sound = heard(first)
    write_fields(str(first), {"TXXX:LONG": ["x" * 200_000]})
    assert first.read_bytes().endswith(chained)
    assert heard(first) == sound
    assert read_fields(str(first), ["long"]) == {"long": ["x" * 200_000]}


def test_ogg_with_a_picture_stream(make: Any, tmp_path: Path) -> None:
    """A video beside the sound would lose its pages."""
    path = tmp_path / "v.ogg"
    ffmpeg("-i", make("wav"), "-f", "lavfi", "-i", "color=s=64x64:d=0.5:r=5", "-c:a", "libvorbis",
           "-c:v", "libtheora", "-bitexact", path)  # fmt: skip
    before, sound = packets(path), heard(path)
    assert len(before) == 2
    write_fields(str(path), {"TXXX:LONG": ["x" * 9000]})
    after = packets(path)
    changed = [
        (serial, at)
        for serial in before
        for at, (old, new) in enumerate(zip(before[serial], after[serial], strict=True))
        if old != new
    ]
    assert len(changed) == 1
    assert changed[0][1] == 1
    assert heard(path) == sound


def test_comments_between_pages_of_another_stream(make: Any) -> None:
    """The page of the other stream would be thrown away with the old comments."""
    path = make("ogg")
    write_fields(str(path), {"TXXX:LONG": ["x" * 100_000]})
    found = pages(path)
    foreign = mutagen.ogg.OggPage()
    foreign.serial, foreign.packets, foreign.first = 7, [b"fishead\0"], True
    path.write_bytes(b"".join(page.write() for page in [*found[:2], foreign, *found[2:]]))
    before = path.read_bytes()
    with pytest.raises(RowError, match="another stream") as caught:
        write_fields(str(path), {"genre": ["Techno"]})
    assert caught.value.kind == "broken-tags"
    assert path.read_bytes() == before


def test_padding_of_opus(make: Any) -> None:
    """What an encoder keeps behind the comments would be lost; zeros there give and take."""
    for rest in (bytes(900), b"\x01binary" + bytes(range(200))):
        path = make("opus")
        found = pages(path)
        (old,) = found[1].packets
        found[1].packets = [old + rest]
        path.write_bytes(b"".join(page.write() for page in found))
        size, sound = path.stat().st_size, heard(path)
        write_fields(str(path), {"genre": ["Techno"]})
        (packet,) = next(iter(packets(path).values()))[1:2]
        assert (path.stat().st_size == size) == (rest[0] == 0)
        assert packet.endswith(rest if rest[0] else bytes(800))
        assert mutagen.oggopus.OggOpus(path)["genre"] == ["Techno"]
        assert heard(path) == sound


# --- MP4 -----------------------------------------------------------------------------------------


def m4a(make: Any, path: Path, *words: Any) -> Path:
    """Make an M4A of a second and a half whose sound lies in several places."""
    wave = 0.3 * np.sin(np.arange(24_000) * 0.2)
    soundfile.write(path.with_suffix(".src.wav"), wave, 16_000)
    ffmpeg("-i", path.with_suffix(".src.wav"), "-c:a", "aac", *words, path)
    return path


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("-movflags", "+faststart"),
        ("-movflags", "+faststart", "-metadata", "title=Song", "-metadata", "genre=Rock"),
        ("-movflags", "+frag_keyframe+empty_moov", "-frag_duration", "500000"),
        ("-movflags", "+frag_keyframe+empty_moov+omit_tfhd_offset", "-frag_duration", "500000"),
    ],
    ids=["index-last", "index-first", "tagged", "fragments", "fragments-without-places"],
)
@pytest.mark.parametrize("text", ["x", "x" * 100_000])
def test_places_in_mp4(make: Any, tmp_path: Path, words: tuple[str, ...], text: str) -> None:
    """Players would look for the sound where it was before the tags grew: noise, or silence."""
    path = m4a(make, tmp_path / "x.m4a", *words)
    sound = heard(path)
    tagged = "title=Song" in words
    for _ in range(2):
        write_fields(str(path), {"TXXX:LONG": [text], "genre": ["Techno", "House"], "bpm": ["128"]})
        assert heard(path) == sound
        found = mutagen.mp4.MP4(path)
        assert found["©gen"] == ["Techno", "House"]
        assert found["tmpo"] == [128]
        assert bytes(found["----:com.apple.iTunes:LONG"][0]).decode() == text
        assert found.get("©nam") == (["Song"] if tagged else None)
        assert ffprobe(path)["genre"] == "Techno"
        text = text[: len(text) // 2 + 1]
    write_fields(str(path), {"TXXX:LONG": [], "genre": [], "bpm": []})
    assert heard(path) == sound
    random_access = path.read_bytes().find(b"tfra")
    if random_access > 0:  # the index at the end names where each fragment begins
        raw = path.read_bytes()
        assert raw[random_access + 4] == 1
        at = random_access + 20 + 8
        place = int.from_bytes(raw[at : at + 8], "big")
        assert raw[place + 4 : place + 8] == b"moof"


def items(path: Path) -> list[bytes]:
    """Return the atoms of the tags of an MP4 as bytes."""
    raw = path.read_bytes()
    at = raw.index(b"ilst") + 4
    end = at - 8 + int.from_bytes(raw[at - 8 : at - 4], "big")
    found = []
    while at < end:
        size = int.from_bytes(raw[at : at + 4], "big")
        found.append(raw[at : at + size])
        at += size
    return found


def test_every_other_atom_stays_to_the_byte(make: Any) -> None:
    """Ratings, cue points and what iTunes bought would be changed or lost."""
    path = make("m4a")
    tags = mutagen.mp4.MP4(path)
    tags["©nam"], tags["cpil"], tags["trkn"] = "Song", True, [(3, 9)]
    tags["covr"] = [mutagen.mp4.MP4Cover(PICTURE)]
    tags["----:com.serato.dj:markersv2"] = [mutagen.mp4.MP4FreeForm(bytes(range(256)), 0)]
    tags["xyz1"] = "unknown"
    tags.save()

    def data(kind: int, value: bytes) -> bytes:
        return struct.pack(">I4sII", 16 + len(value), b"data", kind, 7) + value

    # A number of ID3v1 as genre, a tempo of four bytes, an atom of no known form.
    strange = [struct.pack(">I", 8 + len(content)) + name + content for name, content in [
        (b"gnre", data(0, b"\0\x12")), (b"tmpo", data(21, b"\0\0\0\x80")), (b"abcd", b"\x01\x02\x03"),
        (b"rate", data(1, b"80")),
    ]]  # fmt: skip
    raw = path.read_bytes()
    inside = raw.index(b"ilst") + 4
    grown = sum(map(len, strange))
    for name in (b"ilst", b"meta", b"udta", b"moov"):
        at = raw.index(name) - 4
        size = int.from_bytes(raw[at : at + 4], "big") + grown
        raw = raw[:at] + size.to_bytes(4, "big") + raw[at + 4 :]
    path.write_bytes(raw[:inside] + b"".join(strange) + raw[inside:])
    before, sound = items(path), heard(path)
    assert strange == before[:4]
    assert read_fields(str(path), ["genre", "bpm"]) == {"genre": ["Rock"], "bpm": ["128"]}
    write_fields(str(path), {"mood": ["dark"]})
    assert items(path)[:-1] == before
    write_fields(str(path), {"genre": ["Techno"], "bpm": ["128"]})
    kept = [one for one in before if one != strange[0]]
    assert items(path)[: len(kept)] == kept
    assert mutagen.mp4.MP4(path)["©gen"] == ["Techno"]
    assert heard(path) == sound


def test_chapters_of_an_audiobook(make: Any, tmp_path: Path) -> None:
    """A book would have lost its chapters, or they would begin elsewhere."""
    told = tmp_path / "chapters.txt"
    told.write_text(";FFMETADATA1\ntitle=Book\n" + "".join(
        f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={n * 500}\nEND={n * 500 + 500}\ntitle=Part {n} ü\n"
        for n in range(3)
    ))  # fmt: skip
    path = m4a(
        make, tmp_path / "x.m4b", "-i", told, "-map_metadata", "1", "-movflags", "+faststart"
    )

    def chapters() -> Any:
        said = subprocess.run(
            ["ffprobe", "-v", "error", "-show_chapters", "-of", "json", path],
            check=True, capture_output=True,
        )  # fmt: skip
        return json.loads(said.stdout)

    before, sound = chapters(), heard(path)
    assert len(before["chapters"]) == 3
    write_fields(str(path), {"genre": ["Novel"], "comment": ["x" * 50_000]})
    assert chapters() == before
    assert heard(path) == sound
    assert ffprobe(path)["title"] == "Book"


def test_several_values_of_an_mp4_comment(make: Any) -> None:
    """Players show the first of several: the other tags would be in no DJ's software."""
    path = make("m4a")
    write_fields(str(path), {"comment": ["nice;slow ", "dark"], "genre": ["Techno", "House"]})
    tags = mutagen.File(path).tags  # type: ignore[attr-defined]
    assert (tags["\xa9cmt"], tags["\xa9gen"]) == (["nice; slow; dark"], ["Techno", "House"])
    assert ffprobe(path)["comment"] == "nice; slow; dark"
    assert read_fields(str(path), ["comment"]) == {"comment": ["nice", "slow", "dark"]}
    once = path.read_bytes()
    write_fields(str(path), {"comment": ["nice", "slow", "dark"]})
    assert path.read_bytes() == once


@pytest.mark.parametrize("key", ["ENERGY", "Energy"])
def test_freeform_atoms(make: Any, key: str) -> None:
    """A field of another program would stand twice, in two spellings."""
    path = make("m4a")
    tags = mutagen.mp4.MP4(path)
    tags[f"----:com.serato.dj:{key}"] = [b"3"]
    tags["----:com.apple.iTunes:initialkey"] = [b"8A"]
    tags.save()
    assert read_fields(str(path), ["energy", "key"]) == {"energy": ["3"], "key": ["8A"]}
    write_fields(str(path), {f"----:com.serato.dj:{key.lower()}": ["5"], "key": ["9A", "10A"]})
    found = mutagen.mp4.MP4(path)
    assert found[f"----:com.serato.dj:{key}"] == [b"5"]
    assert found["----:com.apple.iTunes:initialkey"] == [b"9A", b"10A"]
    assert sum(name.lower().endswith(":energy") for name in found) == 1


# --- ASF -----------------------------------------------------------------------------------------


def test_attributes_of_asf(make: Any) -> None:
    """Pictures, numbers and what belongs to a stream would be lost from a WMA."""
    path = make("wma")
    tags = mutagen.asf.ASF(path)
    tags["Title"], tags["WM/TrackNumber"], tags["WM/Genre"] = "Song", 3, ["Rock", "Pop"]
    tags["WM/IsCompilation"] = True
    tags["WM/Picture"] = mutagen.asf.ASFByteArrayAttribute(PICTURE)
    tags["Aspect"] = mutagen.asf.ASFUnicodeAttribute("x", stream=1, language=0)
    tags.save()
    sound = heard(path)
    assert read_fields(str(path), ["genre"]) == {"genre": ["Rock", "Pop"]}
    write_fields(str(path), {"genre": ["Techno", "House", "Pop"], "comment": ["hi"]})
    found = mutagen.asf.ASF(path)
    assert [str(value) for value in found["WM/Genre"]] == ["Techno", "House", "Pop"]
    assert found["WM/Picture"][0].value == PICTURE
    assert found["WM/TrackNumber"][0].value == 3
    assert found["Aspect"][0].stream == 1
    assert found["WM/IsCompilation"][0].value is True
    shown = ffprobe(path)
    assert shown["title"] == "Song"
    assert shown["comment"] == "hi"
    assert read_info(path).tags["comment"] == ["hi"]
    assert heard(path) == sound


# --- APEv2 ---------------------------------------------------------------------------------------


def test_items_of_apev2(make: Any) -> None:
    """Pictures, links and values that are read-only would be changed."""
    path = make("wv")
    picture = b"Cover.png\0" + PICTURE
    parts = [(0, b"Title", b"Song"), (2, b"Cover Art (Front)", picture), (4, b"Related", b"http://x"),
             (1, b"Fixed", b"read-only"), (0, b"GENRE", b"Rock\0Pop")]  # fmt: skip
    body = b"".join(struct.pack("<II", len(v), flags) + k + b"\0" + v for flags, k, v in parts)
    footer = b"APETAGEX" + struct.pack("<IIII", 2000, len(body) + 32, len(parts), 0) + bytes(8)
    path.write_bytes(path.read_bytes() + body + footer)
    sound = heard(path)
    assert read_fields(str(path), ["genre"]) == {"genre": ["Rock", "Pop"]}
    write_fields(str(path), {"genre": ["Techno"], "mood": ["dark", "calm"]})
    raw = path.read_bytes()
    for flags, key, value in parts[:4]:
        assert struct.pack("<II", len(value), flags) + key + b"\0" + value in raw
    found = mutagen.apev2.APEv2(path)
    assert list(found["Genre"]) == ["Techno"]
    assert list(found["Mood"]) == ["dark", "calm"]
    assert b"GENRE" in raw
    assert heard(path) == sound
    with pytest.raises(RowError, match="2 to 255"):
        write_fields(str(path), {"x": ["1"]})


@pytest.mark.parametrize(
    ("ending", "head"),
    [("ape", b"MAC " + struct.pack("<HH", 3990, 0) + bytes(200)), ("mpc", b"MPCK" + bytes(200))],
)
def test_formats_that_only_others_write(tmp_path: Path, ending: str, head: bytes) -> None:
    """Monkey's Audio and Musepack would be left out; ID3v1 there would say something else."""
    path = tmp_path / f"x.{ending}"
    v1 = b"TAG" + bytes(124) + b"\x11"
    path.write_bytes(head + v1)
    write_fields(str(path), {"genre": ["Techno"], "mood": ["dark"]})
    assert mutagen.apev2.APEv2(path)["Genre"] == "Techno"
    raw = path.read_bytes()
    assert raw.startswith(head)
    assert raw.endswith(b"TAG" + bytes(124) + b"\x12")
    write_fields(str(path), {"genre": [], "mood": []})
    assert path.read_bytes() == head + v1[:-1] + b"\xff"


def test_a_picture_in_vorbis_comments_stays(make: Any) -> None:
    """Covers in Ogg files are comments of a megabyte."""
    path = make("ogg")
    tags = mutagen.File(path)
    tags["metadata_block_picture"] = [base64.b64encode(PICTURE * 9).decode()]
    tags.save()
    sound = heard(path)
    write_fields(str(path), {"genre": ["Techno"]})
    assert mutagen.File(path)["metadata_block_picture"] == [base64.b64encode(PICTURE * 9).decode()]
    assert heard(path) == sound
