"""What a fitted file says of the rows it was fitted on."""

from __future__ import annotations

import json

from mt_tools.tables.fitted import KEPT, FittedOn


def test_tracks_are_known_again() -> None:
    """A dictionary that has seen a test row could not be told, or one that has not be accused."""
    on = FittedOn.of(["a", "b", "b", "c"], ["train", "train", "train", None])
    again = FittedOn.from_json(json.loads(json.dumps(on.to_json())))
    assert again == on
    assert on.complete
    assert on.among(["x", "c", "a"]) == ["c", "a"]
    assert on.described() == "4 rows: 1 unmarked, 3 train"
    assert (on.tracks, on.parts) == (3, {"": 1, "train": 3})


def test_order_and_repetition_do_not_matter() -> None:
    """The same rows in another order would give another file."""
    tracks = [f"track {i}" for i in range(5 * KEPT)]
    one = FittedOn.of(tracks, [None] * len(tracks))
    other = FittedOn.of(tracks[::-1], [None] * len(tracks))
    assert one == other
    assert not one.complete
    assert len(one.hashes) == KEPT


def test_a_sample_shows_an_overlap_in_proportion() -> None:
    """A dictionary of a large library would hide that it has seen the test rows."""
    tracks = [f"track {i}" for i in range(10 * KEPT)]
    on = FittedOn.of(tracks, [None] * len(tracks))
    seen = on.among(tracks[:KEPT])  # a tenth of them: 205 expected, standard deviation 14
    assert 0.07 * KEPT < len(seen) < 0.13 * KEPT
    assert on.among(f"other {i}" for i in range(KEPT)) == []


def test_what_is_no_such_record_is_none() -> None:
    """A table of another version would end in a traceback."""
    for value in (None, "x", {}, {"parts": 1}, {"parts": {"train": 1}, "tracks": 1}, [1]):
        assert FittedOn.from_json(value) is None
