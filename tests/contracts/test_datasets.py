"""What every declared data set has to be: whole, well formed, and readable in its tiny version."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mt_tools.datasets.declaration import Dataset
from mt_tools.datasets.index import make_tiny, read
from mt_tools.datasets.registry import DATASETS, dataset
from mt_tools.datasets.rows import FOLDS
from mt_tools.errors import UsageError
from mt_tools.sound.info import read_info
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import RESERVED

EVERY = pytest.mark.parametrize("data", DATASETS.values(), ids=list(DATASETS))
DIGESTS = {"sha256": 64, "sha1": 40, "md5": 32}
FAULTS = ("repetition", "contradiction", "damaged", "left-out")
LABEL_ONLY = ("million-song", "musixmatch", "this-is-my-jam")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Dataset], Path]:
    """Return the folder of the tiny version of a data set, made once."""
    made: dict[str, Path] = {}

    def make(data: Dataset) -> Path:
        if data.name not in made:
            made[data.name] = tmp_path_factory.mktemp(data.name)
            make_tiny(data, made[data.name])
        return made[data.name]

    return make


def tables(data: Dataset, folder: Path) -> list[tuple[str, str, Batch]]:
    """Return the table of every set and split, with their names."""
    return [
        (set_, split, concatenate(list(read(data, folder, set_, split))))
        for set_ in data.sets or ("",)
        for split in data.splits or ("",)
    ]


@EVERY
def test_what_has_to_be_said_is_said(data: Dataset) -> None:
    """A user could not tell under what terms the data are given, or whom to cite."""
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", data.name)
    for text in (data.title, data.home, data.citation, data.licence):
        assert text.strip()
    assert urlsplit(data.home).netloc
    assert data.files or data.by_hand
    assert data.labels
    assert all(meaning.strip() for meaning in data.labels.values())


@EVERY
def test_files_are_well_formed(data: Dataset) -> None:
    """A download would fail on a checksum that nobody can reach, or two files share a name."""
    places = set()
    for file in data.files:
        for url in (file.url, *file.mirrors):
            parts = urlsplit(url)
            assert parts.scheme in ("http", "https")
            assert parts.netloc
            assert " " not in url
        if file.checksum:
            algorithm, _, digest = file.checksum.partition(":")
            assert re.fullmatch(f"[0-9a-f]{{{DIGESTS[algorithm]}}}", digest)
        assert file.size >= 0
        assert set(file.sets) <= set(data.sets)
        places.add(file.name or urlsplit(file.url).path.rpartition("/")[2])
    assert len(places) == len(data.files)
    assert all(places)


@EVERY
def test_names_hang_together(data: Dataset) -> None:
    """A note, a count or a kind of a set that does not exist would never be seen."""
    assert set(data.kinds) <= set(data.labels)
    assert set(data.kinds.values()) <= {"strings", "number", "integer", "boolean"}
    assert not set(data.labels) & set(RESERVED)
    assert not data.official or data.official in data.splits
    assert set(data.apart) <= set(data.splits)
    assert not data.apart or data.group
    assert set(data.labels_of) <= set(data.sets)
    assert set(data.notes) <= {"", *data.sets, *data.splits}
    for name in data.counts:
        of, _, part = name.partition(":")
        assert of in ("", *data.sets, *data.splits)
        assert part in ("", "train", "valid", "test")
    named = {label for labels in data.labels_of.values() for label in labels}
    assert not data.labels_of or named == set(data.labels)


@EVERY
def test_the_tiny_version_is_read(data: Dataset, tiny: Callable[[Dataset], Path]) -> None:
    """The published layout, or a set or a split of it, could not be read."""
    folder = tiny(data)
    for set_, split, table in tables(data, folder):
        where = f"{data.name} {set_} {split}"
        ids = table.ids.tolist()
        assert len(ids) == len(set(ids)) > 1, where
        part = "fold" if split == FOLDS else "split"
        labels = list(data.labels_of.get(set_, tuple(data.labels)))
        expected = ["id", "path", *(["group"] if data.group else []), *([part] if split else [])]
        assert table.names == expected + labels, where
        for name in labels:
            column = table.columns[name]
            assert column.kind == data.kinds.get(name, "string"), where
            assert column.role == "label", where
            known = [value for value in table[name] if value is not None and value == value]
            assert known, f"{where}: no {name} at all"
            if column.kind == "strings":
                assert any(known), f"{where}: no {name} at all"
        if split and split != FOLDS:
            assert set(table["split"]) <= {"train", "valid", "test", None}, where
            assert {"train", "test"} <= set(table["split"]), where


@EVERY
def test_paths_lead_to_the_audio(data: Dataset, tiny: Callable[[Dataset], Path]) -> None:
    """Every row of a data set would fail for a path that is built wrongly."""
    folder = tiny(data)
    for set_, split, table in tables(data, folder):
        for id_, path in zip(table.ids, table["path"], strict=True):
            if data.name in LABEL_ONLY:
                assert path is None
            else:
                assert path == os.path.join(folder, id_), (set_, split)
                assert os.path.getsize(path) > 0
    if data.name not in LABEL_ONLY:
        assert read_info(table["path"][0]).length > 0.1


@EVERY
def test_a_split_that_keeps_groups_apart_does(
    data: Dataset, tiny: Callable[[Dataset], Path]
) -> None:
    """A published split would be called clean, and its groups be read so that they straddle it."""
    for _, split, table in tables(data, tiny(data)):
        if split in data.apart:
            parts = defaultdict(set)
            column = table["fold" if split == FOLDS else "split"]
            for group, part in zip(table["group"], column, strict=True):
                if group is not None and part is not None and part == part:
                    parts[group].add(part)
            assert parts
            assert all(len(where) == 1 for where in parts.values()), split


@EVERY
def test_rows_come_in_the_same_order(data: Dataset, tiny: Callable[[Dataset], Path]) -> None:
    """Two runs over one folder would write different tables."""
    once, again = ([batch.rows() for batch in read(data, tiny(data))] for _ in range(2))
    assert once == again


@EVERY
def test_faults_name_files_as_the_pattern_finds_them(
    data: Dataset, tiny: Callable[[Dataset], Path]
) -> None:
    """mt-eval check would never find a known fault, or take part of a name for another file."""
    for fault in data.faults:
        assert fault.kind in FAULTS
        assert fault.says.strip()
        assert fault.source.strip()
        for files in fault.files:
            assert len(files) > 1 or fault.kind in ("damaged", "left-out")
            for file in files:
                assert data.file_of(f"some/where/{file}.wav") == file
                assert data.file_of(file) == file
    if data.faults:
        (batch, *_) = read(data, tiny(data))
        assert all(data.file_of(id_) for id_ in batch.ids)


@EVERY
def test_wrong_names_are_answered_with_the_right_ones(
    data: Dataset, tiny: Callable[[Dataset], Path]
) -> None:
    """A typing error in --set or --split would give another table than was asked for."""
    for set_, split, known in (("wrong", "", data.sets), ("", "wrong", data.splits)):
        with pytest.raises(UsageError, match="wrong: no such") as caught:
            read(data, tiny(data), set_, split)
        assert all(name in str(caught.value) for name in known)


@EVERY
def test_a_folder_of_something_else_is_refused_in_one_line(data: Dataset, tmp_path: Path) -> None:
    """--from a wrong folder would end in a traceback, or in an empty table."""
    with pytest.raises(UsageError, match="no such folder"):
        read(data, tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("nothing\n")
    with pytest.raises(UsageError, match=data.name) as caught:
        list(read(data, tmp_path))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_wrong_data_set_is_answered_with_the_right_ones() -> None:
    """A user could not find out how a data set is called here."""
    with pytest.raises(UsageError, match="'gtzam' is declared: expected gtzan, .*hf:REPO"):
        dataset("gtzam")


def test_the_registry_is_light() -> None:
    """mt-fetch --help would load numpy to know the names of data sets."""
    code = "import sys, mt_tools.datasets.registry; print('numpy' in sys.modules, 'pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
