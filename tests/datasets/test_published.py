"""Published numbers and formats: what a researcher will compare with the papers."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt_tools.datasets import gtzan, magnatagatune, million_song, nsynth, tiny
from mt_tools.datasets.index import make_tiny, read
from mt_tools.datasets.philharmonia import pitch_of
from mt_tools.datasets.registry import DATASETS, dataset
from mt_tools.datasets.triplets import by_second, names_by_second
from mt_tools.errors import UsageError
from mt_tools.tables.batch import Batch, concatenate

COMMIT = "33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6"  # the last of ESC-50's repository


def whole(name: str, folder: Path, set_: str = "", split: str = "") -> Batch:
    """Return a data set as one table."""
    return concatenate(list(read(dataset(name), folder, set_, split)))


# --- GTZAN ---------------------------------------------------------------------------------------


def test_gtzan_fault_filtered_split_is_the_published_one() -> None:
    """Results on GTZAN could not be compared with those of others.

    443, 197 and 290 excerpts, as Kereliuk, Sturm and Larsen (2015) and torchaudio have them.
    """
    parts = gtzan.listed("gtzan-fault-filtered")
    assert Counter(parts.values()) == {"train": 443, "valid": 197, "test": 290}
    published = pytest.importorskip("torchaudio.datasets.gtzan")  # an independent copy of the lists
    for part in ("train", "valid", "test"):
        listed = getattr(published, f"filtered_{part}")
        assert {e for e, p in parts.items() if p == part} == set(listed)


def test_gtzan_fault_filtered_split_keeps_artists_apart() -> None:
    """The artist split that it is said to be would leak artists (Sturm 2012 names 919)."""
    artists = gtzan.listed("gtzan-artists")
    assert len(artists) == 919
    parts: dict[str, set[str]] = {}
    for excerpt, part in gtzan.listed("gtzan-fault-filtered").items():
        if excerpt in artists:
            parts.setdefault(artists[excerpt], set()).add(part)
    assert len(parts) > 200
    assert all(len(where) == 1 for where in parts.values())


def test_gtzan_leaves_out_what_is_at_fault() -> None:
    """A recording that is there twice would train and test."""
    parts = gtzan.listed("gtzan-fault-filtered")
    repetition, contradiction, _, left_out = DATASETS["gtzan"].faults
    for files in (*repetition.files, *contradiction.files):
        assert sum(file in parts for file in files) <= 1
    every = {f"{genre}.{number:05d}" for genre in gtzan.GENRES for number in range(100)}
    known = (*repetition.files, *contradiction.files, *left_out.files)
    assert every - set(parts) == {file for files in known for file in files} - set(parts)
    assert len(every - set(parts)) == 70


def test_gtzan_rows_outside_the_split_stay_with_a_null(tmp_path: Path) -> None:
    """Excerpts would vanish without being counted."""
    make_tiny(dataset("gtzan"), tmp_path)
    table = whole("gtzan", tmp_path, split="fault-filtered")
    split = dict(zip(table.ids, table["split"], strict=True))
    assert split["genres/hiphop/hiphop.00039.wav"] is None
    assert Counter(split.values()) == {"train": 20, "valid": 10, "test": 10, None: 1}


def test_gtzan_is_found_in_the_mirrored_layout(tmp_path: Path) -> None:
    """The copy that most people have would be refused."""
    for name in ("blues/blues.00012.wav", "blues/notes.wav", "rock/rock.00001.wav"):
        tiny.sound(tmp_path / "Data" / "genres_original" / name)
    table = whole("gtzan", tmp_path)
    assert table.ids.tolist() == [
        "Data/genres_original/blues/blues.00012.wav",
        "Data/genres_original/rock/rock.00001.wav",
    ]
    assert table["group"][0] == "Robert Johnson"


# --- MagnaTagATune, MTG-Jamendo ------------------------------------------------------------------


def test_magnatagatune_has_the_published_tags_and_counts() -> None:
    """The vocabulary would differ from everybody's (188 tags, the top 50 of musicnn and others)."""
    assert len(set(magnatagatune.TOP50)) == 50
    assert magnatagatune.TOP50[:5] == ("guitar", "classical", "slow", "techno", "strings")
    assert magnatagatune.TOP50[-5:] == ("weird", "country", "female voice", "metal", "choral")
    assert DATASETS["magnatagatune"].counts == {"top50": 25863, "all": 25863}


def test_magnatagatune_splits_are_by_folder(tmp_path: Path) -> None:
    """The two splits in use would be taken for each other."""
    make_tiny(dataset("magnatagatune"), tmp_path)
    for split, counts in {
        "folders": {"train": 24, "valid": 2, "test": 6},
        "won2020": {"train": 12, "valid": 1, "test": 3, None: 16},
    }.items():
        table = whole("magnatagatune", tmp_path, "top50", split)
        assert Counter(table["split"]) == counts
        for path, tags, part in zip(table["path"], table["tags"], table["split"], strict=True):
            folder = Path(path).parent.name
            expected = "train" if folder < "c" else "valid" if folder == "c" else "test"
            assert part == (expected if split == "folders" or tags else None)
    assert ["duet"] in whole("magnatagatune", tmp_path, "all")["tags"].tolist()


def test_magnatagatune_clips_of_a_song_are_a_group(tmp_path: Path) -> None:
    """A drawn split would train on a song and test on it; a clip's own tags must not be pooled."""
    make_tiny(dataset("magnatagatune"), tmp_path)
    table = whole("magnatagatune", tmp_path)
    assert set(Counter(table["group"]).values()) == {2}
    assert "origin" not in table


def test_jamendo_counts_are_the_repository_s() -> None:
    """The official split would be another (README and lists of MTG/mtg-jamendo-dataset)."""
    counts = DATASETS["mtg-jamendo"].counts
    assert counts["all"] == 55525
    assert [counts[f"moodtheme:{p}"] for p in ("train", "valid", "test")] == [9949, 3802, 4231]
    files = DATASETS["mtg-jamendo"].files
    assert len([file for file in files if "moodtheme" in file.sets]) == 100
    assert len([file for file in files if "genre" in file.sets]) == 100
    assert len({file.checksum for file in files}) == 201


def test_jamendo_without_one_of_its_lists_is_refused(tmp_path: Path) -> None:
    """A split that lost its test part would look like one without."""
    make_tiny(dataset("mtg-jamendo"), tmp_path)
    (tmp_path / "data/splits/split-0/autotagging-test.tsv").unlink()
    with pytest.raises(UsageError, match="autotagging-test.tsv: missing"):
        whole("mtg-jamendo", tmp_path)


# --- FMA -----------------------------------------------------------------------------------------


def test_fma_smaller_sets_are_part_of_larger_ones(tmp_path: Path) -> None:
    """fma_medium would miss the tracks of fma_small (8,000 of 25,000 of 106,574)."""
    make_tiny(dataset("fma"), tmp_path)
    small, medium, large = (
        set(whole("fma", tmp_path, set_)["title"]) for set_ in ("small", "medium", "large")
    )
    assert small < medium < large
    assert [len(titles) for titles in (small, medium, large)] == [6, 12, 18]
    counts = DATASETS["fma"].counts
    assert [counts[set_] for set_ in ("small", "medium", "large")] == [8000, 25000, 106574]


def test_fma_small_is_read_from_a_larger_archive(tmp_path: Path) -> None:
    """Whoever has fma_large would have to download fma_small as well."""
    make_tiny(dataset("fma"), tmp_path)
    (tmp_path / "fma_small").rename(tmp_path / "elsewhere")
    table = whole("fma", tmp_path, "small")
    assert all(id_.startswith("fma_medium/") for id_ in table.ids)
    assert len(table) == 6


def test_fma_genres_are_titles_and_a_missing_root_is_null(tmp_path: Path) -> None:
    """Numbers would stand for genres, and an empty root genre would be a class of its own."""
    make_tiny(dataset("fma"), tmp_path)
    table = whole("fma", tmp_path)
    assert table["genre_top"].tolist()[:3] == ["Rock", "Hip-Hop", None]
    assert table["genres"].tolist()[:3] == [
        ["Rock"],
        ["Hip-Hop", "Alternative Hip-Hop"],
        ["Rock", "Hip-Hop"],
    ]


def test_fma_faults_are_the_21_tracks_of_its_wiki() -> None:
    """Clips without sound would be embedded as silence."""
    empty, short = DATASETS["fma"].faults
    assert (len(empty.files), len(short.files)) == (15, 6)
    assert {("099134",), ("108925",), ("133297",)} <= set(empty.files)  # of the small set


# --- dances, instruments, notes ------------------------------------------------------------------


def test_ballroom_rumbas_are_one_dance_and_discs_are_groups(tmp_path: Path) -> None:
    """Eight classes would be ten, and tracks of one album train and test."""
    make_tiny(dataset("ballroom"), tmp_path)
    table = whole("ballroom", tmp_path)
    assert set(table["genre"]) == {"ChaChaCha", "Rumba", "Waltz", "Jive"}
    groups = dict(zip(table.ids, table["group"], strict=True))
    assert groups["BallroomData/Waltz/Media-105901.wav"] == "Media-1059"
    assert np.isnan(table["tempo"]).sum() == 1


def test_extended_ballroom_unites_an_artist_with_repetitions(tmp_path: Path) -> None:
    """A recording under two names of artists would train and test."""
    make_tiny(dataset("extended-ballroom"), tmp_path)
    table = whole("extended-ballroom", tmp_path)
    assert table["group"].tolist() == ["Artist A", "Artist B", "Artist B", "Artist B"]


def test_irmas_names_are_read(tmp_path: Path) -> None:
    """Instrument, drums and genre stand in brackets, in files with and without a prefix."""
    train = tmp_path / "IRMAS-TrainingData" / "cel"
    for name in ("008__[cel][nod][cla]0058__1.wav", "[cel][jaz_blu]0058__2.wav"):
        tiny.sound(train / name)
    table = whole("irmas", tmp_path)
    assert table["instruments"].tolist() == [["cello"], ["cello"]]
    assert table["drums"].tolist() == [False, None]
    assert table["genre"].tolist() == ["classical", "jazz-blues"]
    assert table["group"].tolist() == ["0058", "0058"]


@pytest.mark.parametrize(
    ("note", "midi"),
    [("A4", 69), ("C4", 60), ("As4", 70), ("B3", 59), ("G0", 19), ("Cs7", 97), ("", None)],
)
def test_philharmonia_notes_have_their_midi_numbers(note: str, midi: int | None) -> None:
    """Pitches would be an octave off (A4 is 69, 440 Hz)."""
    assert pitch_of(note) == midi


@settings(max_examples=40, deadline=None)
@given(
    notes=st.dictionaries(
        st.text(max_size=8),
        st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9)),
        max_size=6,
    ),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 4]),
)
def test_a_json_object_is_read_in_pieces_as_in_one(notes, chunk, indent, tmp_path_factory):
    """A note of NSynth that lies on the border of two chunks would be lost or broken."""
    path = tmp_path_factory.mktemp("json") / "examples.json"
    path.write_text(json.dumps(notes, indent=indent), encoding="utf-8")
    assert dict(nsynth.members(path, chunk)) == notes


def test_a_cut_json_object_is_refused(tmp_path: Path) -> None:
    """Half of NSynth would be taken for the whole."""
    make_tiny(dataset("nsynth"), tmp_path)
    path = tmp_path / "nsynth-train" / "examples.json"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(UsageError, match="cut short"):
        whole("nsynth", tmp_path)


@pytest.mark.parametrize("folder", [f"ESC-50-{COMMIT}", "ESC-50-master", "ESC-50", "."])
def test_esc50_is_found_in_every_layout(tmp_path: Path, folder: str) -> None:
    """A clone, or the archive of a branch, would be refused although all is there."""
    make_tiny(dataset("esc-50"), tmp_path / "made")
    (tmp_path / "made" / f"ESC-50-{COMMIT}").rename(tmp_path / "esc")
    (tmp_path / "data").mkdir()
    if folder == ".":
        (tmp_path / "data").rmdir()
    (tmp_path / "esc").rename(tmp_path / "data" / folder)
    table = whole("esc-50", tmp_path / "data")
    assert len(table) == 15
    assert all(Path(path).is_file() for path in table["path"])


# --- the Million Song Dataset, jams --------------------------------------------------------------


def test_last_fm_tags_are_ordered_and_restricted(tmp_path: Path) -> None:
    """The fifty tags would not be those of the studies, or a track's lose their weight's order."""
    assert len(set(million_song.TOP50)) == 50
    make_tiny(dataset("million-song"), tmp_path)
    everything = whole("million-song", tmp_path, "lastfm")
    restricted = whole("million-song", tmp_path, "lastfm-top50")
    assert "my own" in {tag for tags in everything["tags"] for tag in tags}
    assert {tag for tags in restricted["tags"] for tag in tags} == {"rock", "pop"}
    assert everything["tags"].tolist()[0] == ["rock", "pop"]


def test_the_base_of_tags_is_not_written_to(tmp_path: Path) -> None:
    """Reading would change a published file, which --verify then calls broken."""
    make_tiny(dataset("million-song"), tmp_path)
    base = tmp_path / "lastfm_tags.db"
    before = base.read_bytes()
    base.chmod(0o444)
    whole("million-song", tmp_path, "lastfm")
    assert base.read_bytes() == before
    assert not list(tmp_path.glob("lastfm_tags.db-*"))


def test_artists_are_found_by_track(tmp_path: Path) -> None:
    """Groups would be those of other tracks: the list is not in the order of the ids."""
    path = tmp_path / "unique_tracks.txt"
    known = {f"TR{number:016d}": f"Artist {number % 3}" for number in (5, 1, 9, 3)}
    tiny.text(path, (f"{track}<SEP>SO1<SEP>{name}<SEP>a<SEP>b" for track, name in known.items()))
    artists = million_song.Artists(path)
    assert {track: artists.of(track) for track in known} == known
    assert [artists.of(f"TR{number:016d}") for number in (0, 4, 10)] == [None] * 3


def test_listeners_are_those_of_the_triplets(tmp_path: Path) -> None:
    """A user's plays would stand beside another song."""
    make_tiny(dataset("million-song"), tmp_path)
    table = whole("million-song", tmp_path, "taste-profile")
    users: dict[str, int] = {}
    expected: dict[str, set[str]] = {}
    for line in (tmp_path / "train_triplets.txt").read_text().splitlines():
        user, song, _ = line.split("\t")
        expected.setdefault(song, set()).add(str(users.setdefault(user, len(users))))
    got = dict(zip(table["song"], map(set, table["listeners"]), strict=True))
    assert got == expected
    tracks = dict(
        line.split("\t")
        for line in (tmp_path / "taste_profile_song_to_tracks.txt").read_text().splitlines()
        if "\t" in line
    )
    rows = zip(table.ids, table["song"], strict=True)
    assert all(id_ == tracks.get(song, song) for id_, song in rows)


@settings(max_examples=50, deadline=None)
@given(pairs=st.lists(st.tuples(st.sampled_from("abcde"), st.text("xyz", max_size=3)), max_size=60))
def test_pairs_are_grouped_as_a_dictionary_groups_them(pairs):
    """Pairs would be lost, doubled or mixed between the temporary files."""
    expected: dict[str, list[str]] = {}
    for first, second in pairs:
        expected.setdefault(second, []).append(first)
    got = dict(names_by_second(pairs, files=3))
    assert {song: set(users) for song, users in expected.items()} == {
        song: set(users) for song, users in got.items()
    }
    assert all(len(users) == len(set(users)) for users in got.values())
    assert [song for song, _ in by_second(pairs, files=3)] == list(got)


def test_words_are_those_of_the_index(tmp_path: Path) -> None:
    """Words would be one off: the counts are numbered from 1."""
    make_tiny(dataset("musixmatch"), tmp_path)
    table = whole("musixmatch", tmp_path)
    assert table["words"].tolist()[:2] == [["i", "the"], ["i", "you"]]
    assert Counter(table["split"]) == {"train": 4, "test": 2}
    counts = DATASETS["musixmatch"].counts
    assert counts["official:train"] + counts["official:test"] == counts[""] == 237662


def test_jams_of_one_song_are_one_row_whatever_their_case(tmp_path: Path) -> None:
    """A song would be as many rows as there are ways to spell it, or a quote swallow lines."""
    make_tiny(dataset("this-is-my-jam"), tmp_path)
    table = whole("this-is-my-jam", tmp_path, "all")
    assert table.ids.tolist() == ["the artist - a song", 'other - a "title']
    assert len(table["listeners"][0]) == 2
    matched = whole("this-is-my-jam", tmp_path)
    assert all(id_.startswith("TR") for id_ in matched.ids)


def test_lines_of_jams_that_are_cut_are_passed_over(tmp_path: Path) -> None:
    """One title with a line end in it would make millions of jams unreadable."""
    make_tiny(dataset("this-is-my-jam"), tmp_path)
    before = whole("this-is-my-jam", tmp_path, "all").rows()
    with open(tmp_path / "archive" / "jams.tsv", "a") as file:
        file.write("half a title\n\nanother\thalf\n")
    assert whole("this-is-my-jam", tmp_path, "all").rows() == before


# --- what is broken ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "set_", "file", "content"),
    [
        ("million-song", "year", "tracks_per_year.txt", "1999<SEP>TRAAA\n"),
        ("million-song", "tempo", "msd_summary_file.h5", "<html>log in</html>"),
        ("million-song", "lastfm", "lastfm_tags.db", "<html>log in</html>" * 100),
        ("million-song", "taste-profile", "train_triplets.txt", "user song 3\n"),
        ("musixmatch", "", "mxm_dataset_train.txt", "%i,the\nTRAAA,1,7:1\n"),
        ("fma", "", "fma_metadata/tracks.csv", "a,b\nc,d\ne,f\n"),
        ("fma", "", "fma_metadata/tracks.csv", "a"),
        ("magnatagatune", "", "annotations_final.csv", "clip_id\tguitar\tmp3_path\n"),
        ("extended-ballroom", "", "extendedballroom_v1.1.xml", "<root><Waltz>"),
        ("esc-50", "", f"ESC-50-{COMMIT}/meta/esc50.csv", "filename,fold\n"),
        ("esc-50", "", f"ESC-50-{COMMIT}/meta/esc50.csv", "filename,fold,category,esc10,src_file\na,b,c,d,e\n"),
        ("emomusic", "", "annotations/songs_info.csv", ""),
        ("nsynth", "", "nsynth-train/examples.json", '{"a": {"pitch": 3}}'),
    ],
)  # fmt: skip
def test_a_label_file_that_is_another_is_one_clear_line(
    name: str, set_: str, file: str, content: str, tmp_path: Path
) -> None:
    """A file cut short, or a page served in its place, would end in a traceback."""
    make_tiny(dataset(name), tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(UsageError) as caught:
        whole(name, tmp_path, set_)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_the_list_has_and_the_folder_lacks_keeps_its_row(tmp_path: Path) -> None:
    """A missing clip would vanish instead of being reported."""
    make_tiny(dataset("magnatagatune"), tmp_path)
    before = whole("magnatagatune", tmp_path)
    Path(before["path"][3]).unlink()
    assert whole("magnatagatune", tmp_path).ids.tolist() == before.ids.tolist()
