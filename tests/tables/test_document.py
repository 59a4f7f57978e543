"""The model file: the same bytes for the same content, and a clear word about anything else."""

import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from mt_tools.errors import BrokenTable, RunError, UsageError
from mt_tools.tables.document import digest, read_document, write_document

DOCUMENT = {"name": "tagger", "tasks": [{"name": "genre", "vocabulary": ["métal", "rock"]}]}


def tensors() -> dict[str, np.ndarray]:
    """Arrays of the kinds that networks have: a kernel, a counter, a flipped view."""
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    return {"b": values[:, ::-1], "a": np.array(7, dtype=np.int64), "c": np.zeros((0, 3))}


def test_a_document_and_its_tensors_come_back(tmp_path: Path) -> None:
    """A model would be loaded with other weights or vocabulary than it was saved with."""
    path = tmp_path / "m.safetensors"
    write_document(path, DOCUMENT, tensors())
    document, loaded = read_document(path)
    assert document == DOCUMENT
    assert loaded.keys() == tensors().keys()
    for name, array in tensors().items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype
        assert loaded[name].shape == array.shape


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    """Two equal trainings would differ in their digest, and a build would never be up to date."""
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    write_document(first, DOCUMENT, tensors())
    write_document(
        second, dict(reversed(DOCUMENT.items())), dict(reversed(list(tensors().items())))
    )
    assert first.read_bytes() == second.read_bytes()
    assert digest(first) == hashlib.sha256(second.read_bytes()).hexdigest()


def test_the_file_is_plain_safetensors_with_one_metadata_key(tmp_path: Path) -> None:
    """Other programs could not read our models, or the bytes would change with each run."""
    path = tmp_path / "m.safetensors"
    write_document(path, DOCUMENT, tensors())
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header["__metadata__"]) == ["mt"]
    assert json.loads(header["__metadata__"]["mt"]) == DOCUMENT
    assert safetensors.numpy.load(content)["a"] == 7


def test_numbers_of_numpy_and_beyond_are_plain_json(tmp_path: Path) -> None:
    """A metric that is NaN would lose a trained model, or make a file that strict JSON refuses."""
    path = tmp_path / "m.safetensors"
    values = {"f1": math.nan, "auc": np.float32(0.5), "n": np.int64(3), "ci": np.array([0.1, 0.2])}
    write_document(path, {"metrics": values, "shape": (96, 1366)}, {})
    document, _ = read_document(path)
    assert document == {
        "metrics": {"f1": None, "auc": 0.5, "n": 3, "ci": [0.1, 0.2]},
        "shape": [96, 1366],
    }


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 40, 0.5, 0.99])
def test_a_cut_file_is_refused(tmp_path: Path, kept: float) -> None:
    """A model whose copy broke off would be used in part, or end in a traceback."""
    path = tmp_path / "m.safetensors"
    write_document(path, DOCUMENT, tensors())
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(BrokenTable, match=r"m\.safetensors.*cut short"):
        read_document(path)


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    """A text file or another project's weights would fail somewhere far from their name."""
    text, foreign = tmp_path / "text.safetensors", tmp_path / "foreign.safetensors"
    text.write_text("not a model, only a page of text\n" * 40)
    foreign.write_bytes(safetensors.numpy.save({"w": np.zeros(2)}, metadata={"format": "pt"}))
    with pytest.raises(BrokenTable, match="something else"):
        read_document(text)
    with pytest.raises(BrokenTable, match=r"not a model of mt-tools: got the metadata keys \['for"):
        read_document(foreign)
    foreign.write_bytes(safetensors.numpy.save({"w": np.zeros(2)}, metadata={"mt": "[1]"}))
    with pytest.raises(BrokenTable, match="not a JSON object"):
        read_document(foreign)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    """A mistyped path would end in a traceback."""
    with pytest.raises(UsageError, match=r"nothing\.safetensors: no such model file"):
        read_document(tmp_path / "nothing.safetensors")
    with pytest.raises(RunError, match=str(tmp_path)):
        read_document(tmp_path)


def test_a_document_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """A table put into the JSON by mistake would make every later load slow."""
    path = tmp_path / "m.safetensors"
    with pytest.raises(RunError, match="store what is large as a tensor"):
        write_document(path, {"text": "x" * 10_000_001}, {})
    assert not path.exists()


def test_a_failed_write_keeps_the_old_model(tmp_path: Path) -> None:
    """A run that dies while saving would destroy the model of the night before."""
    path = tmp_path / "m.safetensors"
    write_document(path, DOCUMENT, tensors())
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_document(path, {"bad": object()}, {})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk_is_one_line() -> None:
    """A full disk would show a traceback instead of its reason."""
    with pytest.raises(RunError, match=r"cannot write /dev/full: No space left on device"):
        write_document("/dev/full", {}, {"a": np.zeros(100_000)})
