"""Archives unpacked: whole, below their folder, within limits; or nothing."""

from __future__ import annotations

import io
import os
import random
import shutil
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt_tools.errors import ArchiveError, RunError
from mt_tools.unpack import Limits, Member, read_manifest, unpack, write_manifest

FILES = {
    "genres/blues/blues.00000.wav": bytes(range(256)) * 999,
    "genres/labels.csv": b"a,b\n",
    "genres/empty.txt": b"",
    "read me é.txt": b"x" * 511,
}


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a zip archive."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    """Write a tar archive."""
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o7777
            archive.addfile(info, io.BytesIO(data))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder."""
    files = (path for path in folder.rglob("*") if not path.is_dir())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def undo(archive: Path, folder: Path, **limits: float) -> list[Member]:
    """Unpack one archive into a folder."""
    return unpack(
        [archive], folder, folder.parent / "scratch", limits=Limits(**limits) if limits else None
    )


KINDS = {
    "stored.zip": lambda path: make_zip(path, FILES, zipfile.ZIP_STORED),
    "deflated.zip": lambda path: make_zip(path, FILES),
    "bzip2.zip": lambda path: make_zip(path, FILES, zipfile.ZIP_BZIP2),
    "lzma.zip": lambda path: make_zip(path, FILES, zipfile.ZIP_LZMA),
    "plain.tar": lambda path: make_tar(path, FILES),
    "small.tar.gz": lambda path: make_tar(path, FILES, "w:gz"),
    "small.tar.bz2": lambda path: make_tar(path, FILES, "w:bz2"),
    "small.tar.xz": lambda path: make_tar(path, FILES, "w:xz"),
    "name-without-ending": lambda path: make_tar(path, FILES, "w:gz"),
}


@pytest.mark.parametrize("name", KINDS)
def test_all_files_come_out_as_they_went_in(tmp_path: Path, name: str) -> None:
    """A data set would lack files, or hold damaged ones."""
    archive = KINDS[name](tmp_path / name)
    members = undo(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == FILES
    assert {member.path: member.size for member in members} == {
        name: len(data) for name, data in FILES.items()
    }
    assert not (tmp_path / "scratch").exists()
    mode = (tmp_path / "out" / "genres" / "labels.csv").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_ISGID | 0o111)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("cuts", [(5000, 5001), (1, 20000), (33000,)])
def test_pieces_are_read_as_one_archive(tmp_path: Path, kind: str, cuts: tuple[int, ...]) -> None:
    """MagnaTagATune comes as three files that are no archives by themselves."""
    data = random.Random(0).randbytes(40_000)
    files = {"mp3/a.mp3": data, "mp3/b.mp3": data[::-1]}
    make = make_zip if kind == "zip" else lambda path, files: make_tar(path, files, "w:gz")
    whole = make(tmp_path / "whole", files).read_bytes()
    pieces = []
    for number, (begin, end) in enumerate(zip((0, *cuts), (*cuts, len(whole)), strict=True)):
        pieces.append(tmp_path / f"mp3.00{number + 1}")
        pieces[-1].write_bytes(whole[begin:end])
    read: list[int] = []
    unpack(pieces, tmp_path / "out", tmp_path / "scratch", advance=read.append)
    assert tree(tmp_path / "out") == files
    assert sum(read) >= len(data)
    with pytest.raises(ArchiveError, match="is cut or broken"):
        unpack(pieces[:-1], tmp_path / "half", tmp_path / "scratch")
    assert not (tmp_path / "half").exists()


UNSAFE = [
    "../evil",
    "a/../../evil",
    "/tmp/evil",
    "//server/evil",
    "C:/evil",
    "c:evil",
    "a\\..\\..\\evil",
    "..\\evil",
    "a/b\x1b[2J",
    "a/../b",
]


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_no_path_leads_outside(tmp_path: Path, kind: str, name: str) -> None:
    """An archive could overwrite any file of the user."""
    files = {"good": b"1", name: b"2"}
    make = make_zip if kind == "zip" else make_tar
    with pytest.raises(ArchiveError, match="is not safe to unpack") as error:
        undo(make(tmp_path / "archive", files), tmp_path / "in" / "out")
    assert "\n" not in str(error.value)
    assert sorted(os.listdir(tmp_path)) == ["archive", "in"]
    assert list((tmp_path / "in").iterdir()) == []


NAMES = st.lists(
    st.sampled_from(["..", ".", "", "a", "b", "A", "\\", "C:", "~", "é", "a.", " "]), min_size=1
).map("/".join)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=4), st.booleans())
def test_whatever_the_names_nothing_is_written_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, bool]], zipped: bool
) -> None:
    """A way out that nobody thought of would be open."""
    base = tmp_path_factory.mktemp("any")
    buffer = base / "archive"
    if zipped:
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, _ in names:
                info = zipfile.ZipInfo("x")
                info.filename = name
                archive.writestr(info, b"data")
    else:
        with tarfile.open(buffer, "w") as archive:
            for name, is_folder in names:
                info = tarfile.TarInfo(name)
                info.type = tarfile.DIRTYPE if is_folder else tarfile.REGTYPE
                archive.addfile(info, io.BytesIO())
    try:
        members = undo(buffer, base / "deep" / "out")
    except ArchiveError:
        members = None
    assert sorted(os.listdir(base)) in (["archive"], ["archive", "deep"])
    assert set(os.listdir(base / "deep")) <= {"out"} if (base / "deep").exists() else True
    if members is None:
        assert not (base / "deep" / "out").exists()
    else:
        assert tree(base / "deep" / "out").keys() == {member.path for member in members}


def make_links(path: Path, links: dict[str, str], type_: bytes = tarfile.SYMTYPE) -> Path:
    """Write links, and after them the files that they may lead to: into a zip or a tar."""
    files = {"data/raw.tsv": b"tracks", "data/splits/train.tsv": b"lists"}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, target in links.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(info, target)
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w") as archive:
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = type_, target
            archive.addfile(info)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_links_to_files_of_the_archive_become_copies(tmp_path: Path, name: str) -> None:
    """MTG-Jamendo's lists, one of which is a link to another, would be refused as a whole."""
    links = {
        "data/autotagging.tsv": "raw.tsv",
        "data/splits/all.tsv": "../autotagging.tsv",
        "train.tsv": "./data//splits/train.tsv",
    }
    members = undo(make_links(tmp_path / name, links), tmp_path / "out")
    assert tree(tmp_path / "out") == {
        "data/raw.tsv": b"tracks",
        "data/autotagging.tsv": b"tracks",
        "data/splits/all.tsv": b"tracks",
        "data/splits/train.tsv": b"lists",
        "train.tsv": b"lists",
    }
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    assert {member.path for member in members} == tree(tmp_path / "out").keys()


def test_a_hard_link_is_named_from_the_top(tmp_path: Path) -> None:
    """GNU tar writes a file that has two names as a link to the first."""
    path = make_links(tmp_path / "a.tar", {"data/b.tsv": "data/raw.tsv"}, tarfile.LNKTYPE)
    undo(path, tmp_path / "out")
    assert tree(tmp_path / "out")["data/b.tsv"] == b"tracks"


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ({"data/link": "/etc/passwd"}, "outside of the archive"),
        ({"data/link": "../../x"}, "outside of the archive"),
        ({"link": "../../data/raw.tsv"}, "outside of the archive"),
        ({"link": "data"}, "'data', which is no file of it"),
        ({"link": "data/none"}, "'data/none', which is no file of it"),
        ({"one": "two", "two": "one"}, "which is no file of it"),
        ({"link": "link"}, "which is no file of it"),
        ({"data": "/etc"}, "outside of the archive"),
        ({"data/splits": "raw.tsv"}, "cannot be written"),
        ({"DATA/raw.tsv": "../data/raw.tsv"}, "stands twice"),
        ({"../link": "data/raw.tsv"}, "leads outside of its folder"),
    ],
)
@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_other_links_are_refused(
    tmp_path: Path, name: str, links: dict[str, str], said: str
) -> None:
    """A link could lead a later file, or who reads it, out of the folder."""
    path = make_links(tmp_path / name, links)
    with pytest.raises(ArchiveError, match=said):
        undo(path, tmp_path / "out")
    assert os.listdir(tmp_path) == [name]


def test_links_are_counted_as_what_they_lead_to(tmp_path: Path) -> None:
    """A small archive of many links to one large file would fill the disk."""
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        large = tarfile.TarInfo("large")
        large.size = 100_000
        archive.addfile(large, io.BytesIO(bytes(large.size)))
        for number in range(20):
            info = tarfile.TarInfo(f"link{number}")
            info.type, info.linkname = tarfile.SYMTYPE, "large"
            archive.addfile(info)
    assert (tmp_path / "a.tar").stat().st_size < 200_000
    with pytest.raises(ArchiveError, match="a bomb"):
        undo(tmp_path / "a.tar", tmp_path / "out", ratio=0.0, allowance=1_000_000)
    undo(tmp_path / "a.tar", tmp_path / "out", ratio=0.0, allowance=2_100_000)


@pytest.mark.parametrize("type_", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_in_a_tar_are_refused(tmp_path: Path, type_: bytes) -> None:
    """A FIFO would hang who reads it."""
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("pipe")
        info.type = type_
        archive.addfile(info)
    with pytest.raises(ArchiveError, match=r"'pipe' is a device or sparse"):
        undo(tmp_path / "a.tar", tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.tar"]


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_bombs_are_stopped_as_they_unpack(tmp_path: Path, kind: str) -> None:
    """An archive of some kilobytes could fill the disk."""
    zeros = bytes(12 << 20)
    path = tmp_path / f"bomb.{kind}"
    if kind == "zip":
        make_zip(path, {"zeros": zeros})
    else:
        make_tar(path, {"zeros": zeros}, f"w:{kind.partition('.')[2]}")
    assert path.stat().st_size * 100 < len(zeros)
    with pytest.raises(ArchiveError, match="more than 1,048,576 bytes"):
        undo(path, tmp_path / "out", allowance=1 << 20, ratio=2.0)
    with pytest.raises(ArchiveError, match="more than 10,000,000 bytes"):
        undo(path, tmp_path / "out", total=10_000_000)
    assert os.listdir(tmp_path) == [path.name]
    undo(path, tmp_path / "out")  # silence is packed as tightly, in a small archive


def test_sizes_in_the_headers_are_not_believed(tmp_path: Path) -> None:
    """A bomb would state small sizes."""
    path = make_zip(tmp_path / "lie.zip", {"zeros": bytes(8 << 20)})
    data = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = data.index(signature) + place
        data[at : at + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="cut or broken"):
        undo(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_members_that_share_their_bytes_are_counted_each(tmp_path: Path) -> None:
    """Overlapping members (Fifield 2019) unpack to a thousand times what a header can tell."""
    path = make_zip(tmp_path / "a.zip", {"zeros": bytes(2 << 20)})
    with zipfile.ZipFile(path) as archive:
        entry = archive.infolist()[0]
        begin = archive.start_dir
    data = path.read_bytes()
    central, end = data[begin : data.rindex(b"PK\x05\x06")], data[data.rindex(b"PK\x05\x06") :]
    assert entry.header_offset == 0
    count = 20
    end = bytearray(end)
    end[8:10] = end[10:12] = count.to_bytes(2, "little")
    end[12:16] = (len(central) * count).to_bytes(4, "little")
    path.write_bytes(data[:begin] + central * count + end)
    with pytest.raises(ArchiveError, match="not safe to unpack|cut or broken"):
        undo(path, tmp_path / "out", allowance=8 << 20, ratio=2.0)
    assert not (tmp_path / "out").exists()


def test_a_header_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    """A tar header may state any length, and tarfile reads it at once."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(ArchiveError, match="a header of 1,099,511,627,776 bytes"):
        undo(tmp_path / "a.tar", tmp_path / "out")


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    """Empty files fill a file system as well: it has only so many inodes."""
    make_tar(tmp_path / "a.tar", {f"f{n}": b"" for n in range(11)})
    with pytest.raises(ArchiveError, match="more than 10 files"):
        undo(tmp_path / "a.tar", tmp_path / "out", members=10)


@pytest.mark.parametrize(
    "names",
    [("a/x", "a/x"), ("a/x", "./a//x"), ("Blues/x", "blues/X"), ("e\u0301", "é"), ("a", "a/b")],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_are_one_file_somewhere_are_refused(
    tmp_path: Path, kind: str, names: tuple[str, str]
) -> None:
    """One file would silently replace another: here, or on a Mac, where capitals do not count."""
    path = tmp_path / "archive"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, name)
    else:
        with tarfile.open(path, "w") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(ArchiveError, match="stands twice|cannot be written"):
        undo(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", KINDS)
def test_a_cut_archive_is_never_a_whole_one(tmp_path: Path, name: str) -> None:
    """Half a data set would be taken for all of it."""
    whole = KINDS[name](tmp_path / name).read_bytes()
    cut = tmp_path / "cut"
    marks = 0 if name != "plain.tar" else 10240  # the zeros at the end of a tar may be missing
    for share in (0.0, 0.1, 0.5, 0.9):
        cut.write_bytes(whole[: int((len(whole) - marks) * share)])
        with pytest.raises(ArchiveError, match="cut is cut or broken.*delete it and run again"):
            undo(cut, tmp_path / "out")
    cut.write_bytes(whole[:-1] if name != "plain.tar" else whole[: -len(whole) % 512 - 10240])
    with pytest.raises(ArchiveError, match="cut or broken"):
        undo(cut, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["deflated.zip", "small.tar.gz", "small.tar.bz2", "small.tar.xz"])
def test_damage_is_an_error_or_harmless(tmp_path: Path, name: str) -> None:
    """A flipped bit would go into the audio, or end the command with a traceback."""
    whole = KINDS[name](tmp_path / name).read_bytes()
    rng = random.Random(1)
    for trial in range(40):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (tmp_path / "bent").write_bytes(data)
        try:
            undo(tmp_path / "bent", tmp_path / f"out{trial}")
        except ArchiveError:
            assert not (tmp_path / f"out{trial}").exists()
        else:
            assert set(tree(tmp_path / f"out{trial}").values()) == set(FILES.values())


def test_what_is_no_archive_is_said(tmp_path: Path) -> None:
    """A web page under the name of an archive would be a traceback."""
    (tmp_path / "a.zip").write_bytes(b"<html>log in</html>" * 100)
    with pytest.raises(ArchiveError, match=r"a\.zip is cut or broken"):
        undo(tmp_path / "a.zip", tmp_path / "out")


def test_what_is_there_already_is_never_replaced(tmp_path: Path) -> None:
    """The user's own file of the same name would be lost."""
    archive = make_zip(tmp_path / "a.zip", FILES)
    mine = tmp_path / "out" / "genres" / "labels.csv"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(ArchiveError, match=r"labels\.csv is there already and is not what a\.zip"):
        undo(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == {"genres/labels.csv": b"mine"}
    mine.write_bytes(FILES["genres/labels.csv"])
    (tmp_path / "out" / "own.txt").write_bytes(b"kept")
    undo(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == FILES | {"own.txt": b"kept"}


def test_a_full_disk_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    """The disk would stay full, and half of an archive lie there."""
    data = random.Random(2).randbytes(3 << 20)
    for archive in (
        make_zip(tmp_path / "a.zip", {"a": data}),
        make_tar(tmp_path / "a.tar", {"a": data}),
    ):
        with pytest.raises(RunError, match="make room and run again"):
            unpack([archive], small_disk / "out", small_disk / "scratch")
        assert os.listdir(small_disk) == []


def test_names_in_utf8_that_a_zip_does_not_declare(tmp_path: Path) -> None:
    """Files of a zip made on a Mac would not be found under the names of the label file."""
    path = make_zip(tmp_path / "a.zip", {"ä.wav": b"1"})
    data = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = data.index(signature) + place
        data[at : at + 2] = bytes(2)
    path.write_bytes(data)
    (member,) = undo(path, tmp_path / "out")
    assert member.path == "ä.wav"


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum of coreutils")
def test_the_manifest_can_be_checked_without_us(tmp_path: Path) -> None:
    """What is written down could only be believed."""
    members = undo(make_zip(tmp_path / "a.zip", FILES), tmp_path / "out" / "audio")
    write_manifest(tmp_path / "a.zip.sha256", "md5:" + "0" * 32, "audio", members)
    check = ["sha256sum", "--check", "--strict", "../a.zip.sha256"]
    done = subprocess.run(check, cwd=tmp_path / "out", capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b": OK") == len(FILES)
    manifest = read_manifest(tmp_path / "a.zip.sha256")
    assert manifest is not None
    assert manifest.checksum == "md5:" + "0" * 32
    assert manifest.files == {f"audio/{m.path}": m.sha256 for m in members}
    assert read_manifest(tmp_path / "none") is None
