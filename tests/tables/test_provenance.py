"""The history of a table: what made it, and nothing of where and when."""

from __future__ import annotations

from pathlib import Path

from mt_tools.tables import provenance


def test_inputs_are_named_with_their_digests(tmp_path: Path) -> None:
    """Two inputs of one name would be told as one, or a folder would be hashed."""
    for folder, content in (("a", b"1"), ("b", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.npz").write_bytes(content)
    paths = [tmp_path / "a" / "t.npz", tmp_path / "b" / "t.npz", tmp_path, tmp_path / "none"]
    files = provenance.step("mt-x", {}, paths)["inputs"]
    assert [file["name"] for file in files] == ["t.npz", "t.npz"]
    # sha256 of b"1"
    one = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert files[0]["sha256"] == one != files[1]["sha256"]


def test_no_paths_of_this_machine() -> None:
    """The same work in two homes would give different bytes, and tell a user's name."""
    settings = {
        "model": "/home/me/models/a.safetensors",
        "alias": "new=/home/me/b.safetensors",
        "relative": "models/a.safetensors",
        "expression": "a/b",
        "size": 3,
    }
    kept = provenance.step("mt-x", settings)["settings"]
    assert kept == settings | {"model": "a.safetensors", "alias": "new=b.safetensors"}


def test_same_step_same_bytes() -> None:
    """A clock time or an order of keys would change the bytes of equal work."""
    one = provenance.dump([provenance.step("mt-x", {"a": 1, "b": 2})])
    two = provenance.dump([provenance.step("mt-x", {"b": 2, "a": 1})])
    assert one == two
    assert provenance.load({provenance.KEY: one}) == provenance.load({provenance.KEY: two})
    assert provenance.load(None) == []
