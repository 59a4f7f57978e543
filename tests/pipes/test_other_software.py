"""Tags in other programs, with the real commands: beets, jq, our own reading of what we wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
import soundfile
from support import Shell
from torture.model import make_model

from mt_tools.library import playlists

CONFIG = """\
directory: {folder}/Music
library: {folder}/beets/library.db
import: {{copy: no, write: no}}
ui: {{color: no}}
plugins: mttools
mttools:
  fields: {fields}
  lists: mood
  numbers: energy
"""
NAMES = ["one.flac", "naïve #2.flac", os.fsdecode(b"caf\xe9.flac")]


def configured(folder: Path, fields: str = '{style: genres, "msd.mood": mood}') -> Path:
    """Write the configuration of a library in a folder."""
    config = CONFIG.format(folder=folder, fields=fields)
    (folder / "beets" / "config.yaml").write_text(config)
    return folder


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, bin_folder: Path) -> Path:
    """A library of beets with three tracks below `Music`, made by `beet import`."""
    pytest.importorskip("beets")
    folder = tmp_path_factory.mktemp("beets")
    for name in ("Music", "beets"):
        (folder / name).mkdir()
    for name in NAMES:
        path = folder / "Music" / name
        soundfile.write(os.fsencode(path), np.zeros(800), 8000, format="FLAC")
        tagged = mutagen.File(path)
        tagged["title"] = f"Song {len(name)}"
        tagged.save()
    subprocess.run(
        [bin_folder / "beet", "import", "-qAs", "Music"], cwd=configured(folder), check=True,
        env=os.environ | {"BEETSDIR": str(folder / "beets")},
    )  # fmt: skip
    return folder


@pytest.fixture
def beets(imported: Path, tmp_path: Path) -> Path:
    """A copy of that library; beets names what is below its folder as seen from there."""
    shutil.copytree(imported, tmp_path, dirs_exist_ok=True)
    return configured(tmp_path)


def rows(folder: Path, *said: dict[str, Any]) -> None:
    """Write JSON lines as mt-tag does."""
    (folder / "tags.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in said))


def beet(sh: Shell, line: str) -> str:
    """Run a line of beets and return what it prints."""
    done = sh(f"export BEETSDIR=$PWD/beets; {line}", ok=True)
    return str(done.stdout.decode())


FORMAT = "'$title|$genres|$mood|$energy'"  # beets leaves the name of what is not there


def test_tags_in_beets(beets: Path, sh: Shell) -> None:
    """A librarian's queries would not find the tags: by list, by number, by path as mt-tag says."""
    rows(
        beets,
        {
            "id": "one.flac", "path": "Music/one.flac", "style_pred": "House",
            "msd.mood_pred": ["calm", "dark; deep"], "energy_pred": 0.8125, "energy_score": {"a": 1},
        },
        {
            "id": "x", "path": "file:Music/caf%E9.flac", "style_pred": None, "msd.mood_pred": [],
            "energy_pred": 0.25,
        },
        {"id": "gone", "path": "Music/gone.flac", "style_pred": "House"},
    )  # fmt: skip
    pretended = beet(sh, "beet mttags -p tags.jsonl; beet ls energy::.")
    assert "  genres:\n    + House\n  mood: calm; dark; deep\n" in pretended
    assert "2 tracks would be changed, 0 as they should be, 1 not in the library" in pretended
    assert not pretended.endswith("Song 8\n")
    done = beet(sh, "cat tags.jsonl | beet -v mttags - 2>&1")
    assert "2 tracks changed" in done
    assert "not in the library: Music/gone.flac" in done
    listed = beet(sh, f"beet ls -f {FORMAT} title+; beet ls -f q:'$title' energy:0.5..1; "
                      "beet ls -f m:'$title' mood:=calm; beet ls -f g:'$title' genres:hous; "
                      "beet mttags tags.jsonl")  # fmt: skip
    assert listed.splitlines() == [
        "Song 13||$mood|$energy", "Song 8|House|calm; dark; deep|0.8", "Song 9||$mood|0.2",
        "q:Song 8", "m:Song 8", "g:Song 8",
        "0 tracks changed, 2 as they should be, 1 not in the library (-v names them)",
    ]  # fmt: skip


def test_what_a_librarian_typed_stays(beets: Path, sh: Shell) -> None:
    """Years of hand-made genres would be overwritten, or our own of last night never corrected."""
    one, two = {"path": "Music/one.flac"}, {"path": f"Music/{NAMES[1]}"}
    rows(beets, one | {"style_pred": "House", "msd.mood_pred": ["calm"]},
         two | {"style_pred": "Techno", "msd.mood_pred": ["calm"]})  # fmt: skip
    beet(sh, "beet modify -yW title:'Song 8' genres=Mine; beet mttags tags.jsonl; "
             "beet modify -yW title:'Song 13' mood='calm; mine'")  # fmt: skip
    rows(beets, one | {"style_pred": "Rock", "msd.mood_pred": []},
         two | {"style_pred": "Rock", "msd.mood_pred": ["dark"]})  # fmt: skip
    kept = beet(sh, f"beet mttags tags.jsonl && beet ls -f {FORMAT} title+")
    # Of one the genre is a person's and the mood was ours, of two it is the other way round.
    assert kept.splitlines()[-3:-1] == ["Song 13|Rock|calm; mine|$energy", "Song 8|Mine||$energy"]
    rows(beets, one | {"style_pred": "Rock"}, two | {"msd.mood_pred": []})
    # Even then nothing takes the place of nothing.
    forced = beet(sh, f"beet mttags -f tags.jsonl && beet ls -f {FORMAT} title+")
    assert forced.splitlines()[-3:-1] == ["Song 13|Rock|calm; mine|$energy", "Song 8|Rock||$energy"]


def test_into_the_files_by_beets(beets: Path, sh: Shell) -> None:
    """The tags would be in the library alone though --write was said, or in files without it."""
    rows(beets, {"path": "Music/one.flac", "style_pred": ["House", "Techno"]})
    beet(sh, "beet mttags tags.jsonl")
    assert "genre" not in mutagen.File(beets / "Music" / "one.flac")
    rows(beets, {"path": "Music/one.flac", "style_pred": ["House", "Dub"]})
    beet(sh, "beet mttags -w tags.jsonl")
    assert mutagen.File(beets / "Music" / "one.flac")["genre"] == ["House", "Dub"]


def test_paths_as_they_may_be(beets: Path, sh: Shell) -> None:
    """Tags of a run from another folder, or through a link, would find no track."""
    (beets / "link").symlink_to("Music")
    (beets / "elsewhere").mkdir()
    rows(beets, {"path": "link/one.flac", "energy_pred": 1},
         {"path": str(beets / "Music" / NAMES[1]), "energy_pred": 2.5},
         {"path": None, "energy_pred": 3})  # fmt: skip
    done = beet(sh, "cd elsewhere; beet mttags ../tags.jsonl; beet ls -f '$energy' title+")
    assert done.splitlines()[-3:] == ["2.5", "1.0", "$energy"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"path": "a.flac"}\nno json\n', "tags.jsonl, line 2: not a row of mt-tag"),
        ('{"id": "a"}\n', "line 1: not a row of mt-tag with its path"),
        (
            '{"path": "Music/one.flac", "length_pred": 3}\n',
            "'length' is what beets knows of the file",
        ),
    ],
)
def test_what_cannot_be_taken(beets: Path, sh: Shell, content: str, message: str) -> None:
    """A file of another program would end in a traceback, or harm the library half way."""
    (beets / "tags.jsonl").write_text('{"path": "Music/one.flac", "energy_pred": 1}\n' + content)
    if "line" in message:
        message = message.replace("line 2", "line 3").replace("line 1", "line 2")
    done = sh("export BEETSDIR=$PWD/beets; beet mttags tags.jsonl")
    assert done.returncode == 1
    assert message in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1
    assert beet(sh, "beet ls energy::.") == ""


def test_the_plugin_alone(beets: Path, sh: Shell) -> None:
    """A beets that was installed apart would need all of mt-tools, with torch, for one file."""
    (beets / "plugins").mkdir()
    shutil.copy(Path(__file__).parents[2] / "src" / "beetsplug" / "mttools.py", beets / "plugins")
    with open(beets / "beets" / "config.yaml", "a") as config:
        config.write(f"pluginpath: {beets}/plugins\n")
    rows(beets, {"path": f"file://{beets}/Music/caf%E9.flac", "energy_pred": 3})
    alone = (
        "import sys; sys.modules['mt_tools'] = None; sys.path[:] = [p for p in sys.path if "
        "not p.endswith('/src')]; from beets.ui import main; main(['mttags', 'tags.jsonl']); "
        "import beetsplug.mttools as m; print(m.__file__)"
    )
    done = beet(sh, f'python -c "{alone}"; beet ls energy:3').splitlines()
    assert done[-3] == "1 tracks changed, 0 as they should be, 0 not in the library"
    assert done[-2] == str(beets / "plugins" / "mttools.py")
    assert done[-1].endswith("Song 9")


def test_from_one_run_to_all(sh: Shell, corpus: Path, tmp_path: Path) -> None:
    """The parts would fit as tested, but not what mt-tag writes: lists, libraries, lines for jq."""
    make_model(tmp_path / "m.safetensors")
    for name, sources in (("Music", sorted((corpus / "data").iterdir())[:4]), ("beets", [])):
        (tmp_path / name).mkdir()
        for source in sources:
            shutil.copy(source, tmp_path / name)
    mine = tmp_path / "Music" / "Playlists" / "moods" / "mine.m3u8"
    mine.parent.mkdir(parents=True)
    mine.write_text("#EXTM3U\n")
    sh("mt-tag Music --model m.safetensors --top 2 -o tags.jsonl --playlists Music/Playlists "
       "--rekordbox tags.xml -q", ok=True)  # fmt: skip
    said = [json.loads(line) for line in (tmp_path / "tags.jsonl").read_text().splitlines()]
    assert len(said) == 4
    by_tag: dict[str, list[tuple[float, str]]] = {}
    for row in said:
        for task, tags in (("genre", [row["genre_pred"]]), ("moods", row["moods_pred"])):
            for tag in filter(None, tags):
                by_tag.setdefault(f"{task}/{tag}", []).append(
                    (-row[f"{task}_score"][tag], row["path"])
                )
    best = {tag: [path for _, path in sorted(tracks)] for tag, tracks in by_tag.items()}
    assert best
    # The playlists, by our own reading.
    for tag, paths in best.items():
        task, _, name = tag.partition("/")
        path = tmp_path / "Music" / "Playlists" / task / f"{name.replace('/', '_')}.m3u8"
        entries = list(playlists.library(str(path)).entries())
        assert [os.path.relpath(entry.path or "", tmp_path) for entry in entries] == paths
        assert all(entry.fields["playlists"] == [tag] for entry in entries)
    # Rekordbox's library, by our own reading.
    read = sh("mt-fetch folder tags.xml --format jsonl -q", ok=True).stdout.splitlines()
    for row, back in zip(said, map(json.loads, read), strict=True):
        chosen = [row["genre_pred"], *row["moods_pred"]]
        assert os.path.relpath(back["path"], tmp_path) == row["path"]
        assert back["mytags"] == list(dict.fromkeys(filter(None, chosen)))
        assert sorted(back["playlists"]) == sorted(
            f"mt-tools/{tag}" for tag, tracks in best.items() if row["path"] in tracks
        )
    # Whatever reads JSON.
    if shutil.which("jq"):
        line = "jq -r '[.path, .genre_pred, .genre_score[.genre_pred // \"\"]] | @tsv' tags.jsonl"
        assert len(sh(line, ok=True).stdout.splitlines()) == 4
    # beets.
    pytest.importorskip("beets")
    configured(tmp_path, "{moods: mood}")
    beet(sh, "beet import -qAs Music && beet mttags -f tags.jsonl")
    found = beet(sh, "beet ls -f '$path|$genres|$mood' path+").splitlines()
    assert found == [
        f"{tmp_path / row['path']}|{row['genre_pred'] or ''}|{'; '.join(row['moods_pred']) or '$mood'}"
        for row in said
    ]
    assert mine.read_text() == "#EXTM3U\n"
