"""Predictions in the tags of real files: planned, written, refused, counted."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mutagen
import mutagen.id3
import numpy as np
import pytest
from written_files import TOLD, digests, genres, predicted, sounds, undone, written

from mt_tools.errors import RunError, UsageError
from mt_tools.library.journal import Entry, Journal
from mt_tools.library.plan import MARK
from mt_tools.library.settings import WriteSettings
from mt_tools.stages.write import Told, check, preserved, run, targets, texts
from mt_tools.tables.batch import Batch

MakeBatch = Callable[..., Batch]


def fail(row: dict[str, Any], error: Exception) -> None:
    """Take no failed row."""
    pytest.fail(f"{row['id']}: {error}")


# --- into files ----------------------------------------------------------------------------------


def test_a_plan_changes_nothing(make_batch: MakeBatch, tmp_path: Path) -> None:
    """Whoever wants to see first what would be written would find it written."""
    paths = sounds(tmp_path)
    before = digests(paths)
    notes: list[str] = []
    rows = written([predicted(make_batch, paths)], fail=fail, say=notes.append)
    assert rows["changes"][1] == ["genre: + Pop", "mood: + calm; warm", "bpm: + 120"]
    assert not rows["written"].any()
    assert notes == ["5 files would be changed, 0 as they should be; --apply writes"]
    assert digests(paths) == before
    assert sorted(tmp_path.iterdir()) == paths


def test_what_was_planned_is_written(make_batch: MakeBatch, tmp_path: Path) -> None:
    """The files would say something else than the plan, or nothing, in some format."""
    paths = sounds(tmp_path)
    batch = predicted(make_batch, paths)
    plan = written([batch], fail=fail)
    notes: list[str] = []
    told: list[str] = []
    journal = tmp_path / "a journal.jsonl"
    rows = written([batch], journal=journal, fail=fail, say=notes.append, wrote=told.append)
    assert rows["changes"].tolist() == plan["changes"].tolist()
    assert rows["written"].all()
    assert rows["style_pred"].tolist() == batch["style_pred"].tolist()
    assert told == batch["path"].tolist()
    assert notes == [f"5 files changed, 0 as they should be; undo with: mt-tag --undo '{journal}'"]
    assert [genres(path) for path in paths] == [[style] for style in batch["style_pred"]]
    flac, mp3 = mutagen.File(paths[1]).tags, mutagen.id3.ID3(paths[0])  # type: ignore[attr-defined]
    assert (flac["mood"], flac["bpm"]) == (["calm", "warm"], ["120"])
    assert (list(mp3["TMOO"].text), list(mp3["TBPM"].text)) == (["calm", "warm"], ["120"])
    assert all('"model":"small","digest":"0123456789ab"' in text for text in flac[MARK])
    assert len(flac[MARK]) == len(mp3[f"TXXX:{MARK}"].text) == 3


def test_a_second_run_touches_no_file(make_batch: MakeBatch, tmp_path: Path) -> None:
    """Every night all files would be written anew, and every backup made anew."""
    paths = sounds(tmp_path)
    batch = predicted(make_batch, paths)
    written([batch], journal=tmp_path / "one", fail=fail)
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in paths]
    notes: list[str] = []
    rows = written([batch], journal=tmp_path / "two", fail=fail, say=notes.append)
    assert rows["changes"].tolist() == [[]] * 5
    assert not rows["written"].any()
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in paths] == before
    assert notes == ["0 files changed, 5 as they should be"]
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize("version", ["2.3", "2.4"])
def test_every_version_of_id3_knows_what_is_ours(
    make_batch: MakeBatch, tmp_path: Path, version: str
) -> None:
    """ID3v2.3 joins values: our own would look like somebody else's, and stay for ever."""
    paths = sounds(tmp_path, 3, ("mp3", "wav", "aiff"))
    batch = predicted(make_batch, paths, moods_pred=[["R&B/Soul", "größer", "静か"]] * 3)
    written([batch], journal=tmp_path / "j", fail=fail, id3=version)
    assert mutagen.id3.ID3(paths[0], translate=False).version[:2] == (2, int(version[-1]))
    again = written([batch], journal=tmp_path / "j", fail=fail, id3=version)
    assert again["changes"].tolist() == [[]] * 3
    fewer = predicted(make_batch, paths, moods_pred=[["静か"]] * 3)
    rows = written([fewer], journal=tmp_path / "j", fail=fail, id3=version)
    assert rows["changes"].tolist() == [["mood: - R&B/Soul; größer"]] * 3


def test_the_next_model_replaces_what_the_last_one_wrote(
    make_batch: MakeBatch, tmp_path: Path
) -> None:
    """Tags of last year's model would stay for ever, or be taken for somebody's own."""
    paths = sounds(tmp_path)
    written([predicted(make_batch, paths)], journal=tmp_path / "j", fail=fail)
    abstains = predicted(
        make_batch, paths, style_pred=["Dub", None] * 2 + ["Dub"], moods_pred=[["warm"]] * 5,
        tempo_pred=np.array([np.nan] * 5),
    )  # fmt: skip
    rows = written([abstains], journal=tmp_path / "j", fail=fail)
    assert rows["changes"][0] == ["genre: Rock -> Dub", "mood: - calm", "bpm: - 120"]
    assert rows["changes"][1] == ["genre: - Pop", "mood: - calm", "bpm: - 120"]
    assert [genres(path) for path in paths] == [["Dub"], [], ["Dub"], [], ["Dub"]]


@pytest.mark.parametrize("way", ["keep", "merge", "overwrite"])
def test_values_of_others_are_met_as_asked(make_batch: MakeBatch, tmp_path: Path, way: str) -> None:
    """A collector's genres would be lost, or --merge and --overwrite do nothing, in some format."""
    paths = sounds(tmp_path, formats=("mp3", "flac", "ogg"))
    for path in paths:
        file = mutagen.File(path, easy=True)  # type: ignore[attr-defined]
        if file.tags is None:
            file.add_tags()
        file["genre"], file["title"] = ["Mine"], ["A song"]
        file.save()
    before = digests(paths)
    batch = predicted(make_batch, paths)
    options = {way: True} if way != "keep" else {}
    notes: list[str] = []
    journal = tmp_path / "j"
    rows = written(
        [batch], ["style=genre"], journal=journal, fail=fail, say=notes.append, **options
    )
    new = batch["style_pred"].tolist()
    expected = {
        "keep": (["Mine"], "genre: Mine kept, {} not written (--overwrite or --merge)"),
        "merge": (["Mine", "{}"], "genre: Mine -> Mine; {}"),
        "overwrite": (["{}"], "genre: Mine -> {} (overwritten)"),
    }
    values, line = expected[way]
    for path, style, said in zip(paths, new, rows["changes"], strict=True):
        assert genres(path) == [value.format(style) for value in values]
        assert mutagen.File(path, easy=True)["title"] == ["A song"]  # type: ignore[attr-defined]
        assert said == [line.format(style)]
    assert rows["written"].tolist() == [way != "keep"] * 5
    if way == "keep":
        assert digests(paths) == before
        assert notes == [
            "0 files changed, 0 as they should be, 5 with values of others kept "
            "(--overwrite or --merge)"
        ]


def test_one_file_under_two_names_is_changed_once(make_batch: MakeBatch, tmp_path: Path) -> None:
    """A track that is in two playlists would be written, and taken back, twice."""
    paths = sounds(tmp_path / "music")
    link = tmp_path / "link.mp3"
    link.symlink_to(paths[0])
    batch = predicted(make_batch, [*paths, link, paths[0]], style_pred=["Rock"] * 7)
    rows = written([batch], journal=tmp_path / "j", fail=fail)
    assert rows["written"].tolist() == [True] * 5 + [False] * 2
    assert link.is_symlink()
    with Journal.existing(tmp_path / "j") as journal:
        assert len(journal.entries()) == 5


def test_a_file_that_cannot_be_written_is_one_failed_row(
    make_batch: MakeBatch, tmp_path: Path
) -> None:
    """One file without rights would end the night, or be left out without a word."""
    paths = sounds(tmp_path, 6)
    paths[1].chmod(0o444)
    paths[2].unlink()
    os.link(paths[3], tmp_path / "other name.wav")
    paths[4].write_bytes(b"FORM")
    paths += sounds(tmp_path / "untagged", 1, ("au",))
    batch = predicted(make_batch, paths)
    found: dict[str, str] = {}

    def take(row: dict[str, Any], error: Any) -> None:
        found[row["id"]] = error.kind
        assert row["path"] == os.fspath(paths[int(row["id"][1:])])
        assert str(tmp_path) not in str(error)

    rows = written([batch], journal=tmp_path / "j", fail=take)
    assert rows.ids.tolist() == ["t0", "t5"]
    assert genres(paths[5]) == ["Pop"]
    assert found.pop("t4")  # however it is called: the file is no sound
    assert found == {
        "t1": "read-only", "t2": "missing", "t3": "hard-linked", "t6": "no-tags",
    }  # fmt: skip


def test_a_plan_tells_of_files_that_cannot_be_written(
    make_batch: MakeBatch, tmp_path: Path
) -> None:
    """It would show after --apply only which files were left out."""
    paths = sounds(tmp_path, 3)
    paths[0].chmod(0o444)
    paths[1].unlink()
    found: list[tuple[str, str]] = []
    batch = predicted(make_batch, paths)
    rows = written([batch], fail=lambda row, error: found.append((row["id"], error.kind)))
    assert rows.ids.tolist() == ["t2"]
    assert found == [("t0", "read-only"), ("t1", "missing")]


def test_files_are_found_where_tables_look_for_them(make_batch: MakeBatch, tmp_path: Path) -> None:
    """Paths that are relative to their table, and names that are no UTF-8, would be missing."""
    paths = sounds(tmp_path / "data", 2)
    odd = os.fsdecode(os.fsencode(tmp_path / "data") + b"/caf\xe9.flac")
    try:
        os.rename(paths[1], odd)
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    batch = predicted(make_batch, ["data/00.mp3", "file:data/caf%E9.flac"])
    told: list[str] = []
    rows = written(
        [batch], journal=tmp_path / "j", fail=fail, folders=[str(tmp_path)], wrote=told.append
    )
    assert rows["written"].all()
    assert told == ["data/00.mp3", "file:data/caf%E9.flac"]
    assert genres(Path(odd)) == ["Pop"]
    undone(tmp_path / "j", fail=fail)
    assert genres(Path(odd)) == []


def test_rows_that_are_not_whole_files_are_refused(make_batch: MakeBatch, tmp_path: Path) -> None:
    """Tags of the last segment, or of a copy in another pitch, would be those of the file."""
    paths = sounds(tmp_path, 2)
    before = digests(paths)
    for column in ({"start": [0.0, 30.0]}, {"recipe": ["", "pitch=2"]}, {"duration": [1.0, 1.0]}):
        batch = predicted(make_batch, paths, **column)
        with pytest.raises(UsageError, match="about whole files"):
            written([batch], journal=tmp_path / "j", fail=fail)
    with pytest.raises(UsageError, match="no column 'path'"):
        written([predicted(make_batch, paths).without(["path"])], fail=fail)
    found: list[tuple[str, str]] = []
    late = predicted(make_batch, paths, start=np.array([np.nan, 30.0]))
    whole = predicted(make_batch, paths, start=np.array([np.nan, np.nan]))
    rows = written([whole, late], fail=lambda row, error: found.append((row["id"], error.kind)))
    assert len(rows) == 3
    assert found == [("t1", "part")]
    assert digests(paths) == before


def test_a_table_of_an_earlier_plan_is_refused(make_batch: MakeBatch, tmp_path: Path) -> None:
    """Two columns of changes would contradict each other."""
    rows = written([predicted(make_batch, sounds(tmp_path, 1))], fail=fail)
    with pytest.raises(UsageError, match="'changes'"):
        written([rows], fail=fail)


def test_what_a_file_keeps_is_chosen(make_batch: MakeBatch, tmp_path: Path) -> None:
    """A player that sorts by date, or a group's rights, would be upset by every night."""
    paths = sounds(tmp_path, 2, ("flac",))
    for path in paths:
        path.chmod(0o640)
        os.utime(path, ns=(10**18, 10**18 + 1))
    batch = predicted(make_batch, paths)
    written([batch.take([0])], journal=tmp_path / "j", fail=fail, preserve="all")
    written([batch.take([1])], journal=tmp_path / "j", fail=fail, preserve="mode")
    times = [path.stat().st_mtime_ns for path in paths]
    assert times[0] == 10**18 + 1 < times[1]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o640}


# --- crashes and company -------------------------------------------------------------------------

RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved
from written_files import TOLD
from mt_tools.library.journal import Journal
from mt_tools.library.settings import WriteSettings
from mt_tools.stages import write
paths = sys.argv[3:]
columns = [reserved("id"), reserved("path"), Column("style_pred", "string")]
batch = Batch.build(columns, {"id": paths, "path": paths, "style_pred": ["Rock"] * len(paths)})
settings = WriteSettings(write=("style=genre",), apply=True)
with Journal(sys.argv[2], []) as journal:
    for rows in write.run(
        [batch], write.targets(settings.write, TOLD), settings, folders=[], journal=journal,
        fail=lambda row, error: print(row["id"], error.kind),
    ):
        print(sum(rows["written"]), "written")
"""


def started(journal: Path, paths: list[Path]) -> subprocess.Popen[str]:
    """Start a process that writes into files."""
    line = [sys.executable, "-c", RUN, str(Path(__file__).parent), str(journal), *map(str, paths)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, text=True)


def test_a_killed_run_leaves_old_or_new_files_that_can_be_undone(tmp_path: Path) -> None:
    """kill -9, or a power cut, would leave half a file, or a changed one that nothing restores."""
    draw = random.Random(1)
    paths = sounds(tmp_path / "music", 20)
    before = digests(paths)
    journal = tmp_path / "j"
    for _ in range(3):
        known = journal.stat().st_size if journal.exists() else 0
        run = started(journal, paths)
        # A header, a file, and something of the next.
        while not journal.exists() or journal.stat().st_size < known + 2000:
            assert run.poll() is None
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.05))
        run.send_signal(signal.SIGKILL)
        run.communicate()
        assert {tuple(genres(path)) for path in paths} <= {(), ("Rock",)}
        new = {path for path in paths if genres(path)}
        assert new
        assert digests([p for p in paths if p not in new]).items() <= before.items()
        assert set(undone(journal, fail=fail)) >= {str(path.resolve()) for path in new}
        assert digests(paths) == before
    assert started(journal, paths).communicate()[0] == "20 written\n"
    assert sorted((tmp_path / "music").iterdir()) == paths  # nothing is left of the killed ones


def test_two_runs_at_once_change_a_file_once(tmp_path: Path) -> None:
    """A file that two runs write at once would have the tags of neither, or two entries."""
    paths = sounds(tmp_path / "music", 20)
    before = digests(paths)
    journals = [tmp_path / "one", tmp_path / "two"]
    runs = [started(journal, paths) for journal in journals]
    said = [run.communicate()[0] for run in runs]
    entries = []
    for journal in journals:
        if journal.exists():
            with Journal.existing(journal) as opened:
                entries += [entry.path for entry in opened.entries()]
    assert sorted(entries) == [str(path.resolve()) for path in paths], said
    assert {tuple(genres(path)) for path in paths} == {("Rock",)}
    assert set("".join(said).split()) <= {
        *map(str, range(21)),
        "written",
        "locked",
        "changed",
        *map(str, paths),
    }
    for journal in journals:
        if journal.exists():
            undone(journal, fail=fail)
    assert digests(paths) == before


def test_a_full_disk_ends_the_run_before_a_file_is_lost(
    make_batch: MakeBatch, tmp_path: Path, small_disk: Path
) -> None:
    """A file would be changed and its undoing not written down."""
    paths = sounds(small_disk, 5, ("wav",))
    before = digests(paths)
    room = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(b"\0" * (room.f_bavail * room.f_bsize))
    found: list[str] = []
    written(
        [predicted(make_batch, paths)], journal=tmp_path / "j",
        fail=lambda row, error: found.append(error.kind),
    )  # fmt: skip
    assert found == ["no-space"] * 5
    assert digests(paths) == before
    assert len(list(small_disk.iterdir())) == 6


def test_a_journal_that_cannot_grow_ends_the_run(
    make_batch: MakeBatch, tmp_path: Path, small_disk: Path
) -> None:
    """Every file would fail for want of space beside it, where there is plenty."""
    paths = sounds(tmp_path / "music", 2, ("wav",))
    before = digests(paths)
    journal = small_disk / "j.jsonl"
    with Journal(journal, []) as opened:  # which leaves little of its page
        opened.append({"path": "/gone", "before": "", "after": "", "delta": "A" * 3_500})
    room = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(b"\0" * (room.f_bavail * room.f_bsize))
    with pytest.raises(RunError, match="cannot write the journal .* make room"):
        written([predicted(make_batch, paths)], journal=journal, fail=fail)
    assert digests(paths) == before
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["00.wav", "01.wav"]


def test_what_did_not_come_to_be_is_not_in_the_journal(
    make_batch: MakeBatch, tmp_path: Path
) -> None:
    """--undo would fail for a file that was never changed, or count it as restored."""
    (path,) = sounds(tmp_path / "music", 1, ("flac",))

    class Meanwhile(Journal):
        """Another program writes into the file between its entry and its change."""

        def append(self, change: Mapping[str, Any]) -> Entry:
            entry = super().append(change)
            file = mutagen.File(path)
            file["artist"] = "Somebody"
            file.save()
            return entry

    targets_ = targets(["style=genre"], TOLD)
    settings = WriteSettings(write=("style=genre",), apply=True)
    found: list[str] = []
    with Meanwhile(tmp_path / "j", []) as journal:
        rows = run(
            [predicted(make_batch, [path])], targets_, settings, folders=[], journal=journal,
            fail=lambda row, error: found.append(error.kind),
        )  # fmt: skip
        assert sum(map(len, rows)) == 0
    assert found == ["changed"]
    assert mutagen.File(path)["artist"] == ["Somebody"]
    with Journal.existing(tmp_path / "j") as journal:
        assert journal.entries() == []


# --- what is asked for ---------------------------------------------------------------------------


def asked(*lines: str, told: list[Told] = TOLD) -> list[tuple[str, str]]:
    """Return the task and field of each target."""
    return [(one.told.task, one.field) for one in targets(lines, told)]


SEVERAL = [Told("a.genre", "a", "1" * 16), Told("b.genre", "b", "2" * 16), Told("b.mood", "b", "2" * 16)]  # fmt: skip


def test_tasks_and_fields_are_named() -> None:
    """--write genre or TASK=FIELD would go elsewhere than it says."""
    assert asked("style") == [("style", "style")]
    assert asked("style=genre", "moods=mood") == [("style", "genre"), ("moods", "mood")]
    assert asked("style=TCON") == asked("style=©gen") == [("style", "genre")]
    assert asked("style=Energy") == [("style", "Energy")]
    assert asked("style=TXXX:Energy") == [("style", "TXXX:Energy")]
    assert asked("style=genre", "style=genre") == [("style", "genre")]
    assert asked("style=Energy", "moods=ENERGY") == [("style", "Energy"), ("moods", "Energy")]
    assert asked("style=genre", "style=grouping") == [("style", "genre"), ("style", "grouping")]
    odd = [Told("b.mood.happy", "m", "1" * 16, "b."), Told("a=b", "m", "1" * 16, "")]
    assert asked("mood.happy", "a=b=grouping", told=odd) == [
        ("b.mood.happy", "mood.happy"), ("a=b", "grouping"),
    ]  # fmt: skip
    assert asked("a.genre", "mood", told=SEVERAL) == [("a.genre", "genre"), ("b.mood", "mood")]


@pytest.mark.parametrize(
    ("line", "told", "said"),
    [
        (
            "stile",
            TOLD,
            "no model has a task 'stile'; did you mean style? expected TASK[=FIELD], the task one of style, moods, tempo",
        ),
        ("x", TOLD, "one of style, moods, tempo"),
        ("genre", SEVERAL, "'genre' may be a.genre, b.genre: say which"),
        ("style=", TOLD, "names no field"),
        ("style=a=b", TOLD, "cannot be the name of a field"),
        ("style=ключ", TOLD, "cannot be the name of a field"),
        ("style=mt_tools", TOLD, "choose another one"),
        ("style=TXXX:MT_TOOLS", TOLD, "choose another one"),
        ("style=rating", TOLD, "choose another field"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(line: str, told: list[Told], said: str) -> None:
    """A misspelt task would be found after hours, or be written into a field of no meaning."""
    with pytest.raises(UsageError) as caught:
        asked(line, told=told)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"--write {line}: ")


@pytest.mark.parametrize(
    ("settings", "segments", "said"),
    [
        ({"overwrite": True, "merge": True, "write": ("style",)}, False, "choose one of the two"),
        ({"apply": True}, False, "--write TASK"),
        ({"overwrite": True}, False, "--overwrite writes nothing by itself"),
        ({"merge": True}, False, "--merge writes nothing by itself"),
        ({"journal": "tags.journal"}, False, "--journal writes nothing by itself"),
        ({"write": ("style",)}, True, "a row a segment"),
        ({"preserve": "mode,size"}, False, "'size' is none of mode, owner, times, xattr"),
        ({"preserve": "all,mode"}, False, "'all' is none of"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    settings: dict[str, Any], segments: bool, said: str
) -> None:
    """One of the two would win, and nobody know which."""
    with pytest.raises(UsageError) as caught:
        check(WriteSettings(**settings), segments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_preserved_is_a_list() -> None:
    """`--preserve mode, times` would keep what it names and no more."""
    assert preserved(" mode, times") == {"mode", "times"}
    assert preserved("all") == {"mode", "owner", "times", "xattr"}
    assert preserved("none") == preserved("") == frozenset()


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        ("Rock", "genre", ("Rock",)),
        (["b", "a"], "mood", ("b", "a")),
        ([], "mood", ()),
        (None, "genre", ()),
        (np.float64("nan"), "energy", ()),
        (float("inf"), "energy", ()),
        (np.float64(0.123456), "energy", ("0.1235",)),
        (0.5, "energy", ("0.5",)),
        (-0.0, "energy", ("0",)),
        (1987.6, "year", ("1988",)),
        (9999.7, "x", ("10000",)),
        (44100.0, "x", ("44100",)),
        (120.4, "bpm", ("120",)),
        (120.4, "BPM", ("120",)),
        (87.25, "tempo", ("87.25",)),
    ],
)
def test_predictions_are_texts(value: Any, field: str, expected: tuple[str, ...]) -> None:
    """Files would say "1.2e+02", "nan" or "['calm']"."""
    assert texts(value, field) == expected
