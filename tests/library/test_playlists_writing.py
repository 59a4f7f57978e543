"""Playlists a tag: what players, our own reader and people's other files see of them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt_tools.errors import RunError, UsageError
from mt_tools.library import playlists
from mt_tools.library.listing import Listed, Listing
from mt_tools.library.write_playlists import check, file_names, located, write

TASKS = {"mood": ["calm", "happy"], "msd.genre": ["drum/bass", "rock"]}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, with music in `Music`."""
    monkeypatch.chdir(tmp_path)
    Path("Music/Ann").mkdir(parents=True)
    return tmp_path


def listing(*tracks: tuple[str, dict[str, list[tuple[str, float]]]]) -> Listing:
    """List tracks by their paths and tags; each gets a file, a title and an artist."""
    made = Listing(TASKS)
    for number, (path, chosen) in enumerate(tracks):
        where = os.path.abspath(path)
        os.makedirs(os.path.dirname(where), exist_ok=True)
        Path(where).touch()
        fields = {"title": [f"Song {number}"], "artist": ["Ann"]}
        made.add(Listed(where, 60.4 + number, 1, 44100, fields), chosen)
    return made


def parsed(path: Path) -> list[tuple[float, str, str]]:
    """Read length, title and place of tracks as a plain player does, which knows nothing of us."""
    text = path.read_bytes().decode("utf-8")
    assert text.startswith("#EXTM3U\n")
    assert text.endswith("\n")
    found, info = [], (-1.0, "")
    for line in text.split("\n"):
        if match := re.fullmatch(r"#EXTINF:(-?\d+),(.*)", line):
            info = (float(match[1]), match[2])
        elif line and not line.startswith("#"):
            found.append((*info, line))
    return found


def test_best_first(home: Path) -> None:
    """A listener would hear the doubtful tracks first, or another track than the list names."""
    made = listing(
        ("Music/a.mp3", {"mood": [("happy", 0.5)]}),
        ("Music/b.mp3", {"mood": [("happy", 0.9), ("calm", 0.4)]}),
        ("Music/c.mp3", {"mood": [("happy", 0.5)], "msd.genre": [("drum/bass", 1.0)]}),
    )
    assert write("Music/Playlists", made) == (3, 0)
    assert parsed(Path("Music/Playlists/mood/happy.m3u8")) == [
        (61, "Ann - Song 1", "../../b.mp3"),
        (60, "Ann - Song 0", "../../a.mp3"),
        (62, "Ann - Song 2", "../../c.mp3"),
    ]
    found = {str(path): [] for path in Path("Music/Playlists").rglob("*.m3u8")}
    assert sorted(found) == [
        "Music/Playlists/mood/calm.m3u8",
        "Music/Playlists/mood/happy.m3u8",
        "Music/Playlists/msd.genre/drum_bass.m3u8",
    ]
    entries = list(playlists.library("Music/Playlists/msd.genre/drum_bass.m3u8").entries())
    assert [entry.path for entry in entries] == ["Music/c.mp3"]
    assert entries[0].fields == {
        "artist": ["Ann"], "title": ["Song 2"], "playlists": ["msd.genre/drum/bass"]
    }  # fmt: skip


def test_the_same_again(home: Path) -> None:
    """Every night all lists would look new to programs that copy what changed to a player."""
    made = listing(("Music/a.mp3", {"mood": [("happy", 0.5)]}))
    write("lists", made)
    path = Path("lists/mood/happy.m3u8")
    before = path.stat()
    assert write("lists", made) == (1, 0)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    write("lists", listing(("Music/b.mp3", {"mood": [("happy", 0.5)]})))
    assert [line for _, _, line in parsed(path)] == ["../../Music/b.mp3"]
    assert os.listdir("lists/mood") == ["happy.m3u8"]


def test_what_has_no_tracks_any_more(home: Path) -> None:
    """Lists of yesterday would stay for ever; what people keep beside them would go."""
    write("lists", listing(("Music/a.mp3", {"mood": [("happy", 1)], "msd.genre": [("rock", 1)]})))
    Path("lists/mood/mine.m3u8").write_text("#EXTM3U\n../../Music/a.mp3\n")
    Path("lists/mood/cover.jpg").touch()
    Path("lists/other").mkdir()
    Path("lists/mood/happy.m3u8").rename("lists/other/happy.m3u8")
    write("lists", listing(("Music/a.mp3", {"mood": [("happy", 1)]})))
    assert write("lists", listing(("Music/a.mp3", {"mood": [("calm", 1)]}))) == (1, 1)
    assert sorted(str(p) for p in Path("lists").rglob("*.*")) == [
        "lists/mood/calm.m3u8", "lists/mood/cover.jpg", "lists/mood/mine.m3u8",
        "lists/msd.genre", "lists/other/happy.m3u8",
    ]  # fmt: skip


def test_a_copy_of_a_list(home: Path) -> None:
    """A list of ours, copied to go on with by hand, would be removed by the next run."""
    tags = {"mood": ["happy", "sad/blue", "SAD/blue", "warm (2)", "calm"]}
    made = Listing(tags)
    of_row = {"mood": [(tag, 1.0) for tag in tags["mood"]]}
    made.add(Listed("Music/a.mp3"), of_row)
    write("lists", made)
    for name in ("mine", "happy copy"):
        shutil.copy("lists/mood/happy.m3u8", f"lists/mood/{name}.m3u8")
    assert len(os.listdir("lists/mood")) == 7
    calm = Listing(tags)
    calm.add(Listed("Music/a.mp3"), {"mood": [("calm", 1.0)]})
    assert write("lists", calm) == (1, 4)
    assert sorted(os.listdir("lists/mood")) == ["calm.m3u8", "happy copy.m3u8", "mine.m3u8"]


def test_a_list_of_somebody_else(home: Path) -> None:
    """A playlist that a person made would be replaced because a tag is called like it."""
    Path("lists/mood").mkdir(parents=True)
    mine = Path("lists/mood/happy.m3u8")
    mine.write_text("#EXTM3U\n../../Music/a.mp3\n")
    with pytest.raises(UsageError, match="happy.m3u8 was not made by mt-tag"):
        check("lists", TASKS.items())
    with pytest.raises(UsageError, match="move it, or name another folder"):
        write("lists", listing(("Music/a.mp3", {"mood": [("happy", 1)]})))
    assert mine.read_text() == "#EXTM3U\n../../Music/a.mp3\n"


@pytest.mark.parametrize("path", ["lists", "lists/mood"])
def test_a_file_in_the_way(home: Path, path: str) -> None:
    """A run of hours would end with nothing written."""
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).touch()
    with pytest.raises(UsageError, match="a file"):
        check("lists", TASKS.items())


def test_a_full_disk(home: Path, small_disk: Path) -> None:
    """Half a playlist would take the place of a whole one, and the error would be a traceback."""
    made = listing(*((f"Music/{'x' * 200}{n}.mp3", {"mood": [("calm", 1)]}) for n in range(3)))
    write(str(small_disk), made)
    whole = (small_disk / "mood" / "calm.m3u8").read_bytes()
    full = pytest.raises(OSError, match="No space")
    with open(small_disk / "full", "wb", buffering=0) as file, full:
        while True:
            file.write(bytes(1 << 12))
    more = listing(*((f"Music/{'y' * 200}{n}.mp3", {"mood": [("calm", 1)]}) for n in range(300)))
    with pytest.raises(RunError, match=r"cannot write .*calm.m3u8: No space left"):
        write(str(small_disk), more)
    assert (small_disk / "mood" / "calm.m3u8").read_bytes() == whole
    assert os.listdir(small_disk / "mood") == ["calm.m3u8"]


# --- how files are named -------------------------------------------------------------------------

ODD = [
    b"a.mp3", b"#1 hit.mp3", b" leading.mp3", b"trailing ", b"50% off.mp3", b"%41.mp3",
    "é.mp3".encode(), "é.mp3".encode(), "👩‍🎤.mp3".encode(), b"latin-\xe9.mp3", b"two\nlines.mp3",
    b"car\rriage.mp3", b"back\\slash.mp3", b"file:x.mp3", b"http:", b"C:x.mp3", b'"quoted".mp3',
    "line\u2028separator.mp3".encode(), b"tab\t.mp3", b"x" * 250 + b".mp3",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("music", ["Music", "Lists/mood", "Lists/mood/http:"])
def test_odd_names_come_back(home: Path, name: bytes, music: str) -> None:
    """A file would be in the list under a name that leads to no file, or to another."""
    path = os.path.join(music, os.fsdecode(name))
    write("Lists", listing((path, {"mood": [("happy", 1)]})))
    (entry,) = playlists.library("Lists/mood/happy.m3u8").entries()
    assert os.path.samefile(entry.path or "", path)
    # A player that knows nothing but paths and file addresses.
    line = next(
        line for line in Path("Lists/mood/happy.m3u8").read_bytes().split(b"\n")
        if line and not line.startswith(b"#")
    )  # fmt: skip
    if line.startswith(b"file://"):
        found = unquote_to_bytes(line.removeprefix(b"file://"))
    else:
        found = os.path.join(b"Lists/mood", line)
        assert re.match(rb"[a-zA-Z][\w+.-]*://", line) is None
    assert os.path.samefile(found, path)


def test_far_files_are_named_whole(home: Path) -> None:
    """A list that is copied elsewhere would lose music that lies elsewhere anyway."""
    far = home / "lists" / "mood"
    assert located("/elsewhere/a.mp3", str(far)) == "/elsewhere/a.mp3"
    assert located(f"{home}/Music/a.mp3", str(far)) == "../../Music/a.mp3"
    assert located(f"{home}2/a.mp3", str(far)) == f"{home}2/a.mp3"
    assert located("/Music/a.mp3", "/lists/mood") == "/Music/a.mp3"
    assert located("/lists/a.mp3", "/lists/mood") == "../a.mp3"


def test_links_to_folders(home: Path) -> None:
    """Behind a link `..` is not where it seems: the list would lead nowhere."""
    Path("disk/deep/lists").mkdir(parents=True)
    Path("Music/lists").symlink_to("../disk/deep/lists")
    Path("link").symlink_to("disk")
    made = listing(
        ("Music/a.mp3", {"mood": [("calm", 1)]}), ("link/deep/b.mp3", {"mood": [("calm", 1)]})
    )
    write("Music/lists", made)
    lines = [line for _, _, line in parsed(Path("disk/deep/lists/mood/calm.m3u8"))]
    assert lines == [str(home / "Music" / "a.mp3"), "../../b.mp3"]


def test_a_file_of_two_rows_is_listed_once(home: Path) -> None:
    """A song would be played twice because it was named twice."""
    made = listing(
        ("Music/a.mp3", {"mood": [("calm", 1)]}), ("Music/../Music/a.mp3", {"mood": [("calm", 1)]})
    )
    write("lists", made)
    assert len(parsed(Path("lists/mood/calm.m3u8"))) == 1


def test_what_would_end_the_line(home: Path) -> None:
    """A title of two lines would be taken for a file; one without UTF-8 would make the list none."""
    made = Listing(TASKS)
    path = str(home / "Music" / os.fsdecode(b"\xff.mp3"))
    made.add(Listed(path, None, fields={"artist": ["A\nB"]}), {"mood": [("calm", 1)]})
    write("lists", made)
    assert [(seconds, title) for seconds, title, _ in parsed(Path("lists/mood/calm.m3u8"))] == [
        (-1, "A B - ?")
    ]


@given(st.lists(st.text(max_size=300), unique=True, max_size=8))
def test_names_of_files(tags: list[str]) -> None:
    """A tag would make no file, one in another folder, one that is hidden, or another tag's."""
    names = file_names(tags)
    assert list(names) == tags
    assert len({name.casefold() for name in names.values()}) == len(tags)
    for name in names.values():
        assert 0 < len(f"{name}.m3u8".encode()) <= 255
        assert not re.search(r'[\x00-\x1f/\\:*?"<>|]', name)
        assert not name.startswith(".")
        assert not name.endswith((".", " "))
        assert name.partition(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}


def test_names_stay_as_they_are() -> None:
    """People would not find their tags again under names that need not differ."""
    assert list(file_names(["Drum & Bass", "90's", "Électro", "日本"]).values()) == [
        "Drum & Bass", "90's", "Électro", "日本"
    ]  # fmt: skip
    assert file_names(["COM1.x", "..", "a/b", "A_B", "..hid"]) == {
        "COM1.x": "COM1.x_", "..": "_", "a/b": "a_b", "A_B": "A_B (2)", "..hid": "_hid"
    }  # fmt: skip
