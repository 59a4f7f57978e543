"""Files that are no sound, or not whole, or cannot be reached; and those that only look so."""

from __future__ import annotations

import os
from pathlib import Path

from torture.sounds import Sounds
from torture.tags import frame, tag, text

Kinds = frozenset[str]
WRITTEN = frozenset({"written"})


def broken_bytes(sounds: Sounds) -> dict[str, tuple[bytes, Kinds]]:
    """Return files by their names, with the kinds of failure that may be reported of each."""
    made: dict[str, tuple[bytes, Kinds]] = {}

    def put(name: str, data: bytes, *kinds: str) -> None:
        made[name] = data, frozenset(kinds)

    cut = ("truncated", "unreadable", "empty", "not-audio", "too-short")
    endings = sorted({ending for ending, _ in sounds.values()})
    for ending in endings:
        put(f"empty.{ending}", b"", "empty")
    for ending in ("mp3", "flac", "ogg", "m4a", "wav", "wma"):
        put(f"zeros.{ending}", bytes(20_000), "not-audio", "unreadable", "truncated")
        put(f"text.{ending}", b"not a sound, but a text\n" * 400, "not-audio", "unreadable")
        put(f"html.{ending}", b"<!DOCTYPE html><title>404</title>" * 90, "not-audio", "unreadable")
    for form, (ending, data) in sounds.items():
        # A part of the samples of what has no index decodes, and is then tagged like any other.
        put(
            f"half {form}.{ending}",
            data[: len(data) // 2],
            *cut,
            "written",
            "no-tags",
            "broken-tags",
        )
        put(f"head {form}.{ending}", data[:20], *cut)
    mp3, flac, wav, m4a = (sounds[form][1] for form in ("mp3", "flac", "wav", "m4a"))
    title = frame("TIT2", text("A title"))
    put("tags alone.mp3", tag(title, padding=500), *cut)
    put("tags cut short.mp3", tag(title, padding=900)[:300], *cut)
    put(
        "tag to beyond the end.mp3",
        tag(title, size=10_000_000) + mp3,
        *cut,
        "written",
        "broken-tags",
    )
    put(
        "tag into the sound.mp3",
        tag(title, size=len(title) + 3000) + mp3,
        *cut,
        "written",
        "broken-tags",
    )
    put("tag shorter than its frames.mp3", tag(title, size=5) + mp3, *cut, "written", "broken-tags")
    put("block beyond the end.flac", flac[:4] + b"\x84\xff\xff\xff" + flac[8:], *cut)
    comments = flac.index(b"TITLE") if b"TITLE" in flac else 46
    put("comments that lie.flac", flac[:comments] + b"\xff" * 4 + flac[comments + 4 :],
        *cut, "written", "broken-tags")  # fmt: skip
    put("zeros inside.flac", flac[:20_000] + bytes(9000) + flac[29_000:], *cut, "written")
    put("size that lies.wav", wav[:40] + b"\0\0\0\x10" + wav[44:], *cut)
    put("no index.m4a", m4a[: m4a.index(b"moov") - 4] + m4a[m4a.index(b"mdat") - 4 :], *cut)
    return made


def wrong_names(sounds: Sounds) -> dict[str, tuple[str, bytes]]:
    """Return good sounds under the ending of another format, by name: form and bytes."""
    pairs = [
        ("flac", "mp3"), ("mp3", "flac"), ("ogg", "mp3"), ("opus", "ogg"), ("ogg", "opus"),
        ("wav", "mp3"), ("mp3", "wav"), ("aiff", "wav"), ("m4a", "mp3"), ("m4a", "aac"),
        ("wma", "mp3"), ("wavpack", "ape"), ("ape", "wv"), ("ogg-flac", "ogg"), ("speex", "ogg"),
        ("mp3", "m4a"), ("flac", "ogg"), ("alac", "m4b"), ("wav", "aif"), ("tta", "mp3"),
    ]  # fmt: skip
    return {f"{form} called {e}.{e}": (form, sounds[form][1]) for form, e in pairs}


def unreachable(folder: Path, sounds: Sounds) -> dict[bytes, Kinds]:
    """Make links, pipes and folders in a folder; return what becomes of each name."""
    mp3 = sounds["mp3"][1]
    made: dict[bytes, Kinds] = {}
    (folder / "links").mkdir()
    here = folder / "links"
    (here / "broken link.mp3").symlink_to("nowhere.mp3")
    (here / "loop.mp3").symlink_to("loop.mp3")
    (here / "one.flac").symlink_to("two.flac")
    (here / "two.flac").symlink_to("one.flac")
    for name in ("broken link.mp3", "loop.mp3", "one.flac", "two.flac"):
        made[f"links/{name}".encode()] = frozenset({"missing"})
    os.mkfifo(here / "pipe.mp3")
    made[b"links/pipe.mp3"] = frozenset({"unreadable"})
    (here / "a folder called song.mp3").mkdir()
    (here / "a folder called song.mp3" / "inside.mp3").write_bytes(mp3)
    made[b"links/a folder called song.mp3/inside.mp3"] = WRITTEN
    (here / "loop of folders").symlink_to(".")
    (here / "target.mp3").write_bytes(mp3)
    (here / "link to target.mp3").symlink_to("target.mp3")
    made[b"links/target.mp3"] = made[b"links/link to target.mp3"] = WRITTEN
    (here / ".hidden.mp3").write_bytes(mp3)
    (here / "to the hidden.mp3").symlink_to(".hidden.mp3")
    made[b"links/to the hidden.mp3"] = WRITTEN
    (here / "hard.mp3").write_bytes(mp3)
    (here / "hard too.mp3").hardlink_to(here / "hard.mp3")
    made[b"links/hard.mp3"] = made[b"links/hard too.mp3"] = frozenset({"hard-linked"})
    for name, mode in (("read-only", 0o444), ("mode 600", 0o600), ("mode 755", 0o755)):
        (here / f"{name}.mp3").write_bytes(mp3)
        (here / f"{name}.mp3").chmod(mode)
        kind = "read-only" if mode == 0o444 else "written"
        made[f"links/{name}.mp3".encode()] = frozenset({kind})
    return made
