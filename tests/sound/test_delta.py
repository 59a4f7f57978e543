"""Deltas: every byte of the old file comes back, and little is stored to that end."""

from __future__ import annotations

import base64
import contextlib
import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from mutagen import flac, id3

from mt_tools.errors import RowError
from mt_tools.sound.delta import delta, undelta

NOISE = np.random.default_rng(2).standard_normal((220_500, 2)).astype(np.float32) * 0.1
PICTURE = np.random.default_rng(3).bytes(5_000_000)
ENDINGS = ["mp3", "flac", "wav", "aiff", "ogg", "opus"]


def restored(old: bytes, new: bytes) -> int:
    """Go there and back, and return how many bytes that took."""
    packed = delta(io.BytesIO(old), io.BytesIO(new))
    back = io.BytesIO()
    undelta(packed, io.BytesIO(new), back)
    assert back.getvalue() == old
    return len(packed)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return five seconds of noise in every format that libsndfile writes, without tags."""
    folder = tmp_path_factory.mktemp("deltas")
    found = {}
    for ending in ENDINGS:
        path = folder / f"x.{ending}"
        rate, opus = (
            (24_000, {"format": "OGG", "subtype": "OPUS"}) if ending == "opus" else (22_050, {})
        )
        soundfile.write(path, NOISE, rate, **opus)
        found[ending] = path.read_bytes()
    return found


def tagged(raw: bytes, ending: str, genre: str, picture: bytes = b"") -> bytes:
    """Return the file with a genre, and with a picture."""
    file = io.BytesIO(raw)
    file.name = f"x.{ending}"
    found: Any = mutagen.File(file)
    if found.tags is None:
        found.add_tags()
    if isinstance(found.tags, id3.ID3):
        found.tags.add(id3.TCON(encoding=3, text=genre))
        if picture:
            found.tags.add(id3.APIC(encoding=0, mime="image/jpeg", type=3, data=picture))
    else:
        found["genre"] = genre
        if picture:
            cover = flac.Picture()
            cover.data = picture
            if isinstance(found, flac.FLAC):
                found.add_picture(cover)
            else:
                found["metadata_block_picture"] = base64.b64encode(cover.write()).decode()
    file.seek(0)
    found.save(file)
    return file.getvalue()


@settings(deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_two_files(old: bytes, new: bytes) -> None:
    """An undo that fails for some content loses a file."""
    restored(old, new)


@settings(deadline=None)
@given(
    st.sampled_from(ENDINGS), st.integers(0, 2**20), st.integers(0, 2**20), st.binary(max_size=40),
)  # fmt: skip
def test_files_of_which_a_part_was_lost(
    files: dict[str, bytes], ending: str, at: int, length: int, instead: bytes
) -> None:
    """A damaged file comes back as it was, also where its payload is not what the new one's is."""
    good = files[ending]
    at %= len(good)
    bad = good[:at] + instead + good[at + length :]
    restored(good, bad)
    restored(bad, good)


@pytest.mark.parametrize("old", ENDINGS)
def test_files_of_different_formats(files: dict[str, bytes], old: str) -> None:
    """Where the sound differs a delta is as long as that sound, and right all the same."""
    for new in ENDINGS:
        size = restored(files[old], files[new])
        assert size < len(files[old]) * 1.01 + 100


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_tag_costs_little(files: dict[str, bytes], ending: str) -> None:
    """A journal of 100,000 files must not take the room of the library."""
    raw = files[ending]
    small = tagged(raw, ending, "Dub")
    large = tagged(raw, ending, "Dub and Techno " * 1000)
    pages = raw.count(b"OggS")  # each is numbered anew, which changes its checksum
    for old, new in [(raw, small), (small, raw), (small, large), (large, small), (raw, large)]:
        assert restored(old, new) < 300 + 24 * pages + (5_000 if ending in ("ogg", "opus") else 0)


@pytest.mark.parametrize("ending", ENDINGS)
def test_cover_art_that_stays_costs_little(files: dict[str, bytes], ending: str) -> None:
    """Five megabytes an album track in the journal would fill the disk of who asked for a genre."""
    old = tagged(files[ending], ending, "Dub", PICTURE)
    new = tagged(old, ending, "Dub and Techno and other things" * 100)
    # In Ogg a picture is text on 1,600 pages, each with a number and a checksum.
    assert restored(old, new) < (100_000 if ending in ("ogg", "opus") else 2_000)


def test_cover_art_that_went_is_kept(files: dict[str, bytes]) -> None:
    """A picture that a write loses must come back."""
    old = tagged(files["flac"], "flac", "Dub", PICTURE)
    assert restored(old, files["flac"]) < len(PICTURE) * 1.01


def test_the_sound_is_never_in_memory(tmp_path: Path) -> None:
    """A set of six hours is 4 GB of WAV."""
    old, new = tmp_path / "old.wav", tmp_path / "new.wav"
    size = 120_000_000
    for path, tags in ((old, b"a tag"), (new, b"another one")):
        with open(path, "wb") as file:
            file.write(b"RIFF" + (size + 100).to_bytes(4, "little") + b"WAVE")
            file.write(b"fmt " + (16).to_bytes(4, "little") + bytes(16))
            file.write(b"LIST" + (20).to_bytes(4, "little") + tags.ljust(20))
            file.write(b"data" + size.to_bytes(4, "little"))
            file.truncate(file.tell() + size)
    with open(old, "rb") as one, open(new, "rb") as other, open(tmp_path / "back", "w+b") as back:
        tracemalloc.start()
        try:
            packed = delta(one, other)
            undelta(packed, other, back)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 10_000_000
        assert len(packed) < 200
        back.seek(0)
        one.seek(0)
        while block := one.read(1 << 24):
            assert back.read(len(block)) == block
        assert not back.read()


def without(size: int) -> Callable[[bytes], bytes]:
    """Return what cuts so many bytes off the end."""
    return lambda data: data[:-size]


@pytest.mark.parametrize(
    "damage",
    [without(1), without(20), without(100), lambda data: b"", lambda data: b"{}" + data],
    ids=["last byte", "20 bytes", "100 bytes", "all", "shifted"],
)
def test_a_damaged_delta_says_so(files: dict[str, bytes], damage: Callable[[bytes], bytes]) -> None:
    """A cut journal must not put half a file into the place of a whole one."""
    new = files["mp3"]
    packed = delta(io.BytesIO(b"ID3 and some text that is in no other file" + new), io.BytesIO(new))
    with pytest.raises(RowError, match="journal") as caught:
        undelta(damage(packed), io.BytesIO(new), io.BytesIO())
    assert caught.value.kind == "damaged"


@settings(deadline=None)
@given(st.integers(0, 2**20), st.integers(1, 255))
def test_a_delta_with_wrong_bytes(files: dict[str, bytes], at: int, flip: int) -> None:
    """Whatever stands in a journal: no crash, only an error of that row or other content."""
    old, new = tagged(files["flac"], "flac", "Dub"), files["flac"]
    packed = bytearray(delta(io.BytesIO(old), io.BytesIO(new)))
    packed[at % len(packed)] ^= flip
    with contextlib.suppress(RowError):
        undelta(bytes(packed), io.BytesIO(new), io.BytesIO())
