"""Rekordbox's XML: by its documented attributes, by two readers, and added to byte for byte."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt_tools.errors import BrokenTable, UsageError
from mt_tools.library import rekordbox
from mt_tools.library.listing import Listed, Listing
from mt_tools.library.rekordbox_elements import location, with_mytags
from mt_tools.library.write_rekordbox import check, write

# "rekordbox xml format list": what each element may say.
DOCUMENTED = {
    "DJ_PLAYLISTS": {"Version"},
    "PRODUCT": {"Name", "Version", "Company"},
    "COLLECTION": {"Entries"},
    "TRACK": {
        "TrackID", "Name", "Artist", "Composer", "Album", "Grouping", "Genre", "Kind", "Size",
        "TotalTime", "DiscNumber", "TrackNumber", "Year", "AverageBpm", "DateModified", "DateAdded",
        "BitRate", "SampleRate", "Comments", "PlayCount", "LastPlayed", "Rating", "Location",
        "Remixer", "Tonality", "Label", "Mix", "Colour", "Key",
    },
    "PLAYLISTS": set(),
    "NODE": {"Type", "Name", "Count", "Entries", "KeyType"},
}  # fmt: skip
NUMBERS = ("TrackID", "Size", "TotalTime", "DiscNumber", "TrackNumber", "Year", "SampleRate")

FIRE = Listed(
    "/Music/Fire & <Ice> #1 100%.mp3", 215.6, 5_000_000, 44100,
    {
        "title": ['Fire & "Ice"'], "artist": ["Zoë", "Ann"], "album": ["Disc"], "genre": ["House"],
        "date": ["2003-05"], "bpm": ["127.98"], "key": ["8A"], "comment": ["great\nsong"],
        "tracknumber": ["3/12"], "label": ["Own"], "grouping": ["peak"], "remixer": ["Bob"],
    },
    ["Peak", "Vocal"],
)  # fmt: skip
BARE = Listed("/Music/b.m4a", None, tags=["Vocal"])


def listing(*tracks: Listed) -> Listing:
    """List tracks, the tags of which are of one task, the later ones more likely."""
    made = Listing({"mood": ["Peak", "Vocal"], "kind": ["x"]})
    for number, track in enumerate(tracks):
        made.add(track, {"mood": [(tag, number / 10) for tag in track.tags]})
    return made


def checked(path: Path) -> ElementTree.Element:
    """Parse a file by another parser, and hold it to the documented format."""
    root = ElementTree.parse(path).getroot()
    assert root.get("Version") == "1.0.0"
    assert [child.tag for child in root] == ["PRODUCT", "COLLECTION", "PLAYLISTS"]
    for element in root.iter():
        if element.tag in DOCUMENTED:
            assert set(element.keys()) <= DOCUMENTED[element.tag], element.tag
    tracks = root.findall("COLLECTION/TRACK")
    ids = [track.get("TrackID") for track in tracks]
    assert len(set(ids)) == len(ids) == int(root.find("COLLECTION").get("Entries"))  # type: ignore
    for track in tracks:
        assert (track.get("Location") or "").startswith("file://localhost/")
        assert all(str(track.get(name, "0")).isdigit() for name in NUMBERS)
    (top,) = root.findall("PLAYLISTS/NODE")
    assert (top.get("Name"), top.get("Type")) == ("ROOT", "0")
    for node in top.iter("NODE"):
        if node.get("Type") == "0":
            assert len(node) == int(node.get("Count", -1))
        else:
            assert len(node) == int(node.get("Entries", -1))
            if node.get("KeyType") == "0":
                assert {key.get("Key") for key in node} <= set(ids)
    return root


def test_a_new_library(tmp_path: Path) -> None:
    """Rekordbox would refuse the file, or a DJ's titles and tempos be blank after the import."""
    path = tmp_path / "tags.xml"
    assert write(str(path), listing(FIRE, BARE)) == (0, 2)
    root = checked(path)
    fire, bare = root.findall("COLLECTION/TRACK")
    assert dict(fire.items()) == {
        "TrackID": "1", "Name": 'Fire & "Ice"', "Artist": "Zoë; Ann", "Album": "Disc",
        "Genre": "House", "Year": "2003", "AverageBpm": "127.98", "Tonality": "8A",
        "TrackNumber": "3", "Label": "Own", "Grouping": "peak", "Remixer": "Bob",
        "Kind": "MP3 File", "Size": "5000000", "TotalTime": "216", "SampleRate": "44100",
        "Comments": "great\nsong /* Peak / Vocal */",
        "Location": "file://localhost/Music/Fire%20%26%20%3CIce%3E%20%231%20100%25.mp3",
    }  # fmt: skip
    assert dict(bare.items()) == {
        "TrackID": "2", "Name": "b", "Artist": "", "Kind": "M4A File", "Comments": "/* Vocal */",
        "Location": "file://localhost/Music/b.m4a",
    }  # fmt: skip


def test_it_comes_back(tmp_path: Path) -> None:
    """What we write would not be what `mt-fetch folder tags.xml` reads."""
    path = tmp_path / "tags.xml"
    write(str(path), listing(FIRE, BARE))
    one, two = rekordbox.library(str(path)).entries()
    assert (one.path, two.path) == (FIRE.path, BARE.path)
    assert one.fields["mytags"] == ["Peak", "Vocal"]
    assert one.fields["playlists"] == ["mt-tools/mood/Peak", "mt-tools/mood/Vocal"]
    assert two.fields["playlists"] == ["mt-tools/mood/Vocal"]
    assert (one.fields["bpm"], one.fields["key"]) == (["127.98"], ["8A"])


def test_as_pyrekordbox_reads_it(tmp_path: Path) -> None:
    """Programs made for Rekordbox would find other tracks, or none, in the playlists."""
    pytest.importorskip("pyrekordbox")
    from pyrekordbox.rbxml import RekordboxXml

    path = tmp_path / "tags.xml"
    write(str(path), listing(FIRE, BARE))
    library = RekordboxXml(path)
    assert library.num_tracks == 2
    fire = library.get_track(TrackID=1)
    assert fire["Name"] == 'Fire & "Ice"'
    assert fire["AverageBpm"] == 127.98
    # It leaves the first slash out: made for Windows.
    assert fire["Location"] == FIRE.path.removeprefix("/")
    assert library.get_playlist("mt-tools").get_playlists()[0].name == "mood"
    assert library.get_playlist("mt-tools", "mood", "Vocal").get_tracks() == [2, 1]


@pytest.mark.parametrize("name", [b"a.mp3", b"caf\xe9.mp3", b"50%.mp3", b"a+b;c?d.mp3", b"x\n.mp3"])
def test_addresses(name: bytes) -> None:
    """Files with odd names would be shown with an exclamation mark: not found."""
    path = os.fsdecode(b"/Music/" + name)
    assert rekordbox.local_path(location(path)) == path
    assert re.fullmatch(r"file://localhost/[\w./%-]+", location(path))


# --- added to what Rekordbox exported ------------------------------------------------------------

EXPORT = """\
<?xml version="1.0" encoding="UTF-8"?>

<DJ_PLAYLISTS Version="1.0.0">
  <PRODUCT Name="rekordbox" Version="6.7.4" Company="AlphaTheta"/>
  <COLLECTION Entries="3">
    <TRACK TrackID="11" Name="Fire &amp; &quot;Ice&quot;" Artist="Zo&#xEB;" Genre="Mine"
           Rating="204" Comments="great /* Late / vocal */ set" Colour="0xFF0000"
           Location="file://localhost/Music/Fire%20&amp;%20%3cIce%3E%20%231%20100%25.mp3">
      <TEMPO Inizio="0.025" Bpm="128.00" Metro="4/4" Battito="1"/>
      <POSITION_MARK Name="Drop > it" Type="0" Start="61.2" Num="0" Red="40"/>
    </TRACK>
    <TRACK TrackID="7" Name='a " Comments="no"' Artist="" Location="file://localhost/Music/other.mp3"/>
    <TRACK TrackID="12" Name="No comment" Location='file://localhost/Music/b.m4a' />
  </COLLECTION>
  <PLAYLISTS>
    <NODE Type="0" Name="ROOT" Count="1">
      <NODE Name="Friday" Type="1" KeyType="0" Entries="2">
        <TRACK Key="11"/>
        <TRACK Key="7"/>
      </NODE>
    </NODE>
  </PLAYLISTS>
</DJ_PLAYLISTS>
"""
NEW = Listed("/Music/new.flac", 10.0, tags=["Peak"])


def test_an_export_is_added_to(tmp_path: Path) -> None:
    """Cue points, grids, colours, stars and playlists of years would be lost for some tags."""
    path = tmp_path / "collection.xml"
    path.write_text(EXPORT, encoding="utf-8")
    assert write(str(path), listing(FIRE, BARE, NEW)) == (2, 1)
    checked(path)
    after = path.read_text(encoding="utf-8")
    # Each change undone by hand gives the export back, byte for byte.
    for new, old in (
        ('<COLLECTION Entries="4">', '<COLLECTION Entries="3">'),
        ("/* Late / vocal / Peak */", "/* Late / vocal */"),
        (' Comments="/* Vocal */" />', " />"),
        ('Name="ROOT" Count="2"', 'Name="ROOT" Count="1"'),
    ):
        assert after.count(new) == 1
        after = after.replace(new, old)
    after, tracks = re.subn(r'    <TRACK TrackID="13".*?/>\n', "", after)
    after, folders = re.subn(
        r'      <NODE Type="0" Name="mt-tools".*\n      </NODE>\n', "", after, flags=re.DOTALL
    )
    assert (tracks, folders) == (1, 1)
    assert after == EXPORT
    by_path = {entry.path: entry.fields for entry in rekordbox.library(str(path)).entries()}
    assert by_path[FIRE.path]["mytags"] == ["Late", "vocal", "Peak"]
    assert by_path[FIRE.path]["playlists"] == [
        "Friday",
        "mt-tools/mood/Peak",
        "mt-tools/mood/Vocal",
    ]
    assert by_path[NEW.path]["playlists"] == ["mt-tools/mood/Peak"]
    assert by_path["/Music/other.mp3"] == {"title": ['a " Comments="no"'], "playlists": ["Friday"]}


def test_added_twice(tmp_path: Path) -> None:
    """Every night would add the same tags, tracks and folders again."""
    path = tmp_path / "collection.xml"
    path.write_text(EXPORT)
    write(str(path), listing(FIRE, BARE, NEW))
    once = path.read_bytes()
    assert write(str(path), listing(FIRE, BARE, NEW)) == (3, 0)
    assert path.read_bytes() == once


def test_playlists_of_other_tasks_stay(tmp_path: Path) -> None:
    """A second model would remove the playlists of the first, or a DJ's own from the folder."""
    path = tmp_path / "collection.xml"
    path.write_text(EXPORT)
    write(str(path), listing(FIRE, BARE))
    mine = (
        '<NODE Name="Best of &amp; more" Type="1" KeyType="0" Entries="1"><TRACK Key="7"/></NODE>'
    )
    text = path.read_text().replace(
        'Name="mt-tools" Count="1">', f'Name="mt-tools" Count="2">{mine}'
    )
    path.write_text(text)
    other = Listing({"genre": ["House"]})
    other.add(FIRE, {"genre": [("House", 1.0)]})
    write(str(path), other)
    checked(path)
    fields = {entry.path: entry.fields for entry in rekordbox.library(str(path)).entries()}
    assert fields[FIRE.path]["playlists"] == [
        "Friday", "mt-tools/mood/Peak", "mt-tools/mood/Vocal", "mt-tools/genre/House"
    ]  # fmt: skip
    assert fields["/Music/other.mp3"]["playlists"] == ["Friday", "mt-tools/Best of & more"]
    assert mine in path.read_text()
    write(str(path), listing(BARE))  # nothing is Peak any more
    fields = {entry.path: entry.fields for entry in rekordbox.library(str(path)).entries()}
    assert fields[FIRE.path]["playlists"] == ["Friday", "mt-tools/genre/House"]


@pytest.mark.parametrize(
    ("collection", "root"),
    [
        ('<COLLECTION Entries="0"/>', '<NODE Type="0" Name="ROOT" Count="0"/>'),
        ('<COLLECTION Entries="0" />', '<NODE Type="0" Name="ROOT"></NODE>'),
        ("<COLLECTION></COLLECTION>", '<NODE Type="0" Name="ROOT" Count="0">\n</NODE>'),
    ],
)
def test_an_empty_library(tmp_path: Path, collection: str, root: str) -> None:
    """A DJ who begins could not begin with tags."""
    path = tmp_path / "collection.xml"
    path.write_text(
        f'\ufeff<DJ_PLAYLISTS Version="1.0.0"><PRODUCT Name="rekordbox"/>{collection}'
        f"<PLAYLISTS>{root}</PLAYLISTS></DJ_PLAYLISTS>",
        encoding="utf-8",
    )
    assert write(str(path), listing(FIRE)) == (0, 1)
    (entry,) = rekordbox.library(str(path)).entries()
    assert entry.fields["playlists"] == ["mt-tools/mood/Peak", "mt-tools/mood/Vocal"]
    top = ElementTree.parse(path).getroot().find("PLAYLISTS/NODE")
    assert top is not None
    assert top.get("Count", "1") == "1"


def test_ours_is_replaced(tmp_path: Path) -> None:
    """Tracks that are gone would stay in the library for ever."""
    path = tmp_path / "tags.xml"
    write(str(path), listing(FIRE, BARE))
    write(str(path), listing(BARE))
    assert [entry.path for entry in rekordbox.library(str(path)).entries()] == [BARE.path]
    fresh = tmp_path / "fresh.xml"
    write(str(fresh), listing(BARE))
    assert fresh.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("a letter", UsageError, "no Rekordbox library, and it would be replaced"),
        ("<plist></plist>", UsageError, "no Rekordbox library"),
        (EXPORT[:900], BrokenTable, "not whole XML"),
        (EXPORT.replace("UTF-8", "ISO-8859-1"), UsageError, "ISO-8859-1, expected UTF-8"),
        ("<DJ_PLAYLISTS><COLLECTION/></DJ_PLAYLISTS>", BrokenTable, "without PLAYLISTS"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><DJ_PLAYLISTS/>', UsageError, "declares the entity"),
    ],
)
def test_what_is_not_added_to(
    tmp_path: Path, content: str, error: type[Exception], message: str
) -> None:
    """A letter that is called like the option would be gone, or half an export pass for whole."""
    path = tmp_path / "x.xml"
    path.write_text(content)
    for act in (lambda: check(str(path)), lambda: write(str(path), listing(FIRE))):
        with pytest.raises(error, match=message):
            act()
    assert path.read_text() == content
    assert os.listdir(tmp_path) == ["x.xml"]


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)


@given(words, st.lists(words, max_size=5))
def test_my_tags(comment: str, tags: list[str]) -> None:
    """A comment would lose what a DJ wrote, or grow with every run, or tags come back as others."""
    after = with_mytags(comment, tags)
    assert with_mytags(after, tags) == after
    assert set(rekordbox.mytags(comment)) <= set(rekordbox.mytags(after))
    found = {tag.casefold() for tag in rekordbox.mytags(after)}
    for tag in tags:
        plain = not re.search(r"\*/|/\*|^/|/$|\s/|/\s|\*$", " ".join(tag.split()))
        if plain and tag.strip():
            assert " ".join(tag.split()).casefold() in found
    for word in re.sub(r"/\*.*?\*/", " ", comment).split():
        assert word in after


@given(
    title=st.text(max_size=20), path=st.text(st.characters(exclude_characters="\0/"), min_size=1)
)
def test_any_text_makes_whole_xml(
    tmp_path_factory: pytest.TempPathFactory, title: str, path: str
) -> None:
    """One track's odd title would make the library of all unreadable."""
    try:
        path = "/m/" + os.fsdecode(os.fsencode(path))
    except UnicodeEncodeError:  # no name of a file
        path = "/m/x"
    folder = tmp_path_factory.mktemp("xml")
    write(
        str(folder / "x.xml"), listing(Listed(path, 1.0, fields={"title": [title]}, tags=[title]))
    )
    checked(folder / "x.xml")
    (entry,) = rekordbox.library(str(folder / "x.xml")).entries()
    assert entry.path == os.path.abspath(path)
