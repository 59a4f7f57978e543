"""The XML that Rekordbox exports."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from mt_tools.errors import BrokenTable, UsageError
from mt_tools.library import rekordbox
from mt_tools.library.entries import Entry


def collection(path: Path, tracks: list[dict[str, str]], playlists: str) -> list[Entry]:
    """Write a collection by another writer of XML, with playlists as typed, and read it."""
    root = ElementTree.Element("DJ_PLAYLISTS", Version="1.0.0")
    ElementTree.SubElement(root, "PRODUCT", Name="rekordbox", Version="6.7.4")
    held = ElementTree.SubElement(root, "COLLECTION", Entries=str(len(tracks)))
    for said in tracks:
        track = ElementTree.SubElement(held, "TRACK", said)
        ElementTree.SubElement(track, "TEMPO", Inizio="0.1", Bpm="128.00", Metro="4/4")
        ElementTree.SubElement(track, "POSITION_MARK", Name="Name", Type="0", Num="-1")
    root.append(ElementTree.fromstring(f"<PLAYLISTS>{playlists}</PLAYLISTS>"))
    ElementTree.ElementTree(root).write(path, encoding="UTF-8", xml_declaration=True)
    return list(rekordbox.library(str(path)).entries())


def test_a_collection(tmp_path: Path) -> None:
    """A DJ's hand-made labels would be lost: genre, key, stars, My Tags, the sets themselves."""
    one, two = collection(
        tmp_path / "r.xml",
        [
            {
                "TrackID": "7", "Name": "Fire & <Ice>", "Artist": "Zoë", "Album": "Disc",
                "Genre": "House", "Year": "2003", "AverageBpm": "127.98", "Tonality": "8A",
                "Rating": "204", "Comments": "great /* Peak / Vocal */", "Label": "Own",
                "Location": "file://localhost/C:/Music/Fire%20%26.mp3", "Colour": "0xFF0000",
            },
            {
                "TrackID": "8", "Name": "", "Artist": "", "Year": "0", "AverageBpm": "0.00",
                "Rating": "0", "Comments": "", "Location": "file://localhost/music/b.mp3",
            },
        ],
        '<NODE Type="0" Name="ROOT" Count="2">'
        '<NODE Type="0" Name="2024" Count="1">'
        '<NODE Type="1" Name="Opening" KeyType="0" Entries="2"><TRACK Key="7"/><TRACK Key="8"/>'
        "</NODE></NODE>"
        '<NODE Type="1" Name="By place" KeyType="1" Entries="1">'
        '<TRACK Key="file://localhost/C:/Music/Fire%20%26.mp3"/></NODE></NODE>',
    )  # fmt: skip
    assert one.path == "C:/Music/Fire &.mp3"
    assert one.fields == {
        "title": ["Fire & <Ice>"], "artist": ["Zoë"], "album": ["Disc"], "genre": ["House"],
        "date": ["2003"], "bpm": ["127.98"], "key": ["8A"], "stars": ["4"],
        "comment": ["great /* Peak / Vocal */"], "mytags": ["Peak", "Vocal"], "label": ["Own"],
        "colour": ["0xFF0000"], "playlists": ["2024/Opening", "By place"],
    }  # fmt: skip
    assert (two.path, two.fields) == ("/music/b.mp3", {"playlists": ["2024/Opening"]})


def test_a_track_without_a_file(tmp_path: Path) -> None:
    """A track of a streaming service would end the scan of all others."""
    (entry,) = collection(
        tmp_path / "r.xml", [{"TrackID": "1", "Name": "Far", "Location": ""}],
        '<NODE Type="0" Name="ROOT"/>',
    )  # fmt: skip
    assert (entry.path, entry.name) == (None, "Far (Rekordbox 1)")


def test_declared_entities_are_refused(tmp_path: Path) -> None:
    """A file of a kilobyte would fill the memory, or read other files into the table."""
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><DJ_PLAYLISTS>&b;</DJ_PLAYLISTS>'
    (tmp_path / "bomb.xml").write_text(bomb)
    with pytest.raises(UsageError, match="declares the entity 'a'"):
        list(rekordbox.library(str(tmp_path / "bomb.xml")).entries())
    outside = '<!DOCTYPE x [<!ENTITY p SYSTEM "/etc/passwd">]><DJ_PLAYLISTS>&p;</DJ_PLAYLISTS>'
    (tmp_path / "outside.xml").write_text(outside)
    with pytest.raises(UsageError, match="declares the entity 'p'"):
        list(rekordbox.library(str(tmp_path / "outside.xml")).entries())


def test_half_an_export(tmp_path: Path) -> None:
    """A disk that was full while exporting would silently shorten the collection."""
    (tmp_path / "r.xml").write_text('<DJ_PLAYLISTS><COLLECTION><TRACK TrackID="1" Loc')
    with pytest.raises(BrokenTable, match=r"r\.xml: not whole XML \(line 1: "):
        list(rekordbox.library(str(tmp_path / "r.xml")).entries())
