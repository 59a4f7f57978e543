"""The payload: the same bytes before and after any change of tags, and all of the sound."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import mutagen
import mutagen.asf
import mutagen.flac
import mutagen.mp4
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from mutagen import apev2, id3

from mt_tools.sound.payload import payload, read_spans

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")

RATE = 22_050
NOISE = np.random.default_rng(1).standard_normal((RATE + 1, 2)).astype(np.float32) * 0.1
FORMATS = {
    "mp3": ["-c:a", "libmp3lame"],
    "mp2": ["-c:a", "mp2"],
    "flac": ["-c:a", "flac"],
    "ogg": ["-c:a", "libvorbis"],
    "opus": ["-c:a", "libopus", "-ar", "24000"],
    "spx": ["-c:a", "libspeex", "-ar", "16000", "-ac", "1"],
    "oga": ["-c:a", "flac", "-f", "ogg"],
    "wav": ["-c:a", "pcm_s16le"],
    "odd.wav": ["-c:a", "pcm_u8", "-ac", "1"],
    "rf64": ["-c:a", "pcm_s16le", "-f", "wav", "-rf64", "always"],
    "w64": ["-c:a", "pcm_s16le", "-f", "w64"],
    "aiff": ["-c:a", "pcm_s16be"],
    "odd.aiff": ["-c:a", "pcm_s8", "-ac", "1"],
    "m4a": ["-c:a", "aac"],
    "first.m4a": ["-c:a", "alac", "-movflags", "faststart"],
    "parts.m4a": [
        "-c:a",
        "aac",
        "-movflags",
        "frag_keyframe+empty_moov",
        "-frag_duration",
        "300000",
    ],
    "aac": ["-c:a", "aac", "-f", "adts"],
    "wma": ["-c:a", "wmav2"],
    "wv": ["-c:a", "wavpack"],
    "tta": ["-c:a", "tta"],
}
# Those whose frames stand in the payload without anything between them.
PLAIN = [name for name in FORMATS if name not in ("wma", "oga", "parts.m4a", "wv", "tta")]
Edit = Callable[[io.BytesIO], None]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return a second of noise in every format, with the few tags that an encoder writes."""
    folder = tmp_path_factory.mktemp("formats")
    soundfile.write(folder / "noise.wav", NOISE, RATE)
    found = {}
    for name, options in FORMATS.items():
        path = folder / f"x.{name}"
        line = ["ffmpeg", "-v", "error", "-i", str(folder / "noise.wav"), *options, str(path)]
        subprocess.run(line, check=True)
        found[name] = path.read_bytes()
    return found


class Named(io.BytesIO):
    """A file in memory with a name, by which mutagen tells some formats."""

    def __init__(self, raw: bytes, name: str) -> None:
        super().__init__(raw)
        self.name = f"x.{name}"


def sound(raw: bytes) -> bytes:
    """Return the payload of a file."""
    file = io.BytesIO(raw)
    return b"".join(read_spans(file, payload(file)))


def opened(file: io.BytesIO) -> Any:
    """Open a file for its tags, made where there are none; None for what holds none."""
    file.seek(0)
    if file.read(4) in (b"RF64", b"riff"):
        return None
    file.seek(0)
    found = mutagen.File(file)
    if found.tags is None:
        try:
            found.add_tags()
        except (NotImplementedError, mutagen.MutagenError):  # AAC
            return None
    return found


def put_text(size: int) -> Edit:
    """Return an edit that writes a title and a comment of so many letters."""

    def edit(file: io.BytesIO) -> None:
        found = opened(file)
        if found is None:
            return
        if isinstance(found.tags, id3.ID3):
            found.tags.add(id3.TIT2(encoding=3, text="title"))
            found.tags.add(id3.TXXX(encoding=3, desc="NOTE", text="x" * size))
        elif isinstance(found, mutagen.mp4.MP4):
            found["\xa9nam"], found["\xa9cmt"] = ["title"], ["x" * size]
        elif isinstance(found, mutagen.asf.ASF):
            found["Title"], found["Note"] = ["title"], ["x" * min(size, 30_000)]
        else:
            found["title"], found["note"] = "title", "x" * size
        file.seek(0)
        found.save(file)

    return edit


def put_picture(size: int) -> Edit:
    """Return an edit that puts a picture of so many bytes in, where the format has them."""

    def edit(file: io.BytesIO) -> None:
        found = opened(file)
        data = b"\xff\xd8" + bytes(size)
        if found is None:
            return
        if isinstance(found.tags, id3.ID3):
            found.tags.add(id3.APIC(encoding=3, mime="image/jpeg", type=3, data=data))
        elif isinstance(found, mutagen.mp4.MP4):
            found["covr"] = [mutagen.mp4.MP4Cover(data)]
        elif isinstance(found, mutagen.flac.FLAC):
            picture = mutagen.flac.Picture()
            picture.data = data[: 2**24 - 100]
            found.add_picture(picture)
        elif isinstance(found, apev2.APEv2File):
            found["Cover Art (Front)"] = apev2.APEValue(data, apev2.BINARY)
        elif not isinstance(found, mutagen.asf.ASF):
            found["METADATA_BLOCK_PICTURE"] = "A" * size
        file.seek(0)
        found.save(file)

    return edit


def drop_all(file: io.BytesIO) -> None:
    """Remove every tag."""
    found = opened(file)
    if found is not None:
        file.seek(0)
        found.delete(file)


def repad(amount: int) -> Edit:
    """Return an edit that leaves so much room behind the tags."""

    def edit(file: io.BytesIO) -> None:
        found = opened(file)
        if found is None or isinstance(found, apev2.APEv2File):
            return
        file.seek(0)
        found.save(file, padding=lambda info: amount)

    return edit


def append_id3v1(file: io.BytesIO) -> None:
    """Put an ID3v1 tag behind everything, as old programs do to streams of frames."""
    if file.getvalue()[:4] in (b"RIFF", b"FORM", b"OggS") or file.getvalue()[4:8] == b"ftyp":
        return
    file.seek(0, io.SEEK_END)
    file.write(b"TAG" + b"title".ljust(125, b"\0"))


def append_ape(file: io.BytesIO) -> None:
    """Put APEv2 at the end, as ReplayGain scanners do."""
    if file.getvalue()[:4] in (b"RIFF", b"FORM", b"OggS") or file.getvalue()[4:8] == b"ftyp":
        return
    tags = apev2.APEv2()
    tags["REPLAYGAIN_TRACK_GAIN"] = "-6.5 dB"
    file.seek(0)
    tags.save(file)


EDITS = st.one_of(
    st.integers(0, 70_000).map(put_text),
    st.sampled_from([1, 100, 65_025, 200_000]).map(put_picture),
    st.sampled_from([0, 1, 100, 10_000]).map(repad),
    st.sampled_from([drop_all, append_id3v1, append_ape]),
)


@pytest.mark.parametrize("name", FORMATS)
def test_no_change_of_tags_touches_it(files: dict[str, bytes], name: str) -> None:
    """A write would be refused as one that changes the sound, or one that does would pass."""
    before = sound(files[name])
    assert 0 < len(before) < len(files[name]) or name in ("aac", "mp2", "tta")

    @settings(max_examples=15, deadline=None)
    @given(st.lists(EDITS, min_size=1, max_size=4))
    def check(edits: list[Edit]) -> None:
        file = Named(files[name], name)
        for edit in edits:
            edit(file)
            assert sound(file.getvalue()) == before

    check()


@pytest.mark.parametrize(
    "name", ["mp3", "flac", "ogg", "oga", "wav", "odd.aiff", "first.m4a", "m4a", "wma", "wv"]
)
def test_cover_art_of_five_megabytes(files: dict[str, bytes], name: str) -> None:
    """Large covers are what files of shops carry; they fill many pages of an Ogg stream."""
    file = Named(files[name], name)
    before = len(file.getvalue())
    put_picture(5_000_000)(file)
    assert len(file.getvalue()) > before + 4_000_000 or name == "wma"
    assert sound(file.getvalue()) == sound(files[name])
    put_text(10)(file)
    drop_all(file)
    assert sound(file.getvalue()) == sound(files[name])


@pytest.mark.parametrize("name", ["rf64", "w64"])
def test_chunks_of_waves_beyond_4_gigabytes(files: dict[str, bytes], name: str) -> None:
    """Recordings of many hours hold their chunks by sizes of 64 bits."""
    raw, note = files[name], b"a note, not sound"
    if name == "rf64":
        longer = raw + b"note" + len(note).to_bytes(4, "little") + note
    else:
        guid = bytes(range(16))
        longer = raw + guid + (24 + len(note)).to_bytes(8, "little") + note + bytes(7)
    assert note not in sound(longer)
    assert sound(longer) == sound(raw)
    with soundfile.SoundFile(io.BytesIO(raw)) as file:
        assert len(sound(raw)) - file.frames * file.channels * 2 in (16, 18, 40)  # of `fmt `


@pytest.mark.parametrize("name", PLAIN)
def test_all_of_the_sound_is_in_it(files: dict[str, bytes], tmp_path: Path, name: str) -> None:
    """Sound outside of the payload could be lost without a word; ffmpeg says what the sound is."""
    path = tmp_path / f"x.{name}"
    path.write_bytes(files[name])
    line = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(path),
        "-map",
        "0:a",
        "-c",
        "copy",
        "-f",
        "data",
        "-",
    ]
    frames = subprocess.run(line, check=True, capture_output=True).stdout
    assert len(frames) > 2000
    assert frames in sound(files[name])


@pytest.mark.parametrize("name", FORMATS)
def test_spans_lie_inside_and_apart(files: dict[str, bytes], name: str) -> None:
    """Spans that overlap or leave the file would make a delta of other bytes."""
    raw = files[name]
    spans = sorted(payload(io.BytesIO(raw)))
    assert all(begin < end for begin, end in spans)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
    assert spans[-1][1] <= len(raw)


@pytest.mark.parametrize("name", ["flac", "ogg", "wav", "rf64", "w64", "aiff", "m4a", "wma"])
@pytest.mark.parametrize("kept", [3, 13, 45, 70, 200])
def test_what_is_cut_counts_whole_or_within(files: dict[str, bytes], name: str, kept: int) -> None:
    """A damaged file must not stop a run, nor seem to have no sound that could be lost."""
    raw = files[name][:kept]
    spans = payload(io.BytesIO(raw))
    assert spans
    assert all(0 <= begin < end <= kept for begin, end in spans)


def test_sound_of_unknown_length_goes_to_the_end(files: dict[str, bytes]) -> None:
    """Programs that write WAV into a pipe leave its size out; that file has sound all the same."""
    raw = files["wav"]
    at = raw.index(b"data") + 4
    for size in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
        streamed = raw[:at] + size + raw[at + 4 :]
        assert sound(streamed).endswith(raw[at + 4 :])


def test_what_is_no_chunk_counts_as_sound(files: dict[str, bytes]) -> None:
    """Sound beyond 4 GiB stands behind what the header of a WAV file can count."""
    file = Named(files["wav"] + bytes(5000), "wav")
    before = sound(file.getvalue())
    assert before == sound(files["wav"]) + bytes(5000)
    put_text(1000)(file)
    assert len(file.getvalue()) > len(files["wav"]) + 6000
    assert sound(file.getvalue()) == before


def test_streams_beside_each_other_and_in_a_chain(files: dict[str, bytes]) -> None:
    """Radio recordings chain Ogg streams; each has comments of its own that may change."""
    one, other = files["ogg"], files["opus"]
    assert sound(one + other) == sound(one) + sound(other)
    changed = Named(one, "ogg")
    put_text(100_000)(changed)
    assert sound(changed.getvalue() + other) == sound(one + other)


def test_no_bytes_have_no_payload() -> None:
    """An empty file must not stop a run."""
    assert payload(io.BytesIO(b"")) == []
