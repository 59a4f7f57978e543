"""mt-fetch split without its command."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mt_tools.errors import UsageError
from mt_tools.recipes import Recipe
from mt_tools.stages import augment, split
from mt_tools.stages.settings import SplitSettings
from mt_tools.tables.batch import Batch


def pieces(make_batch: Any) -> Batch:
    """Return forty tracks of ten artists with a copy each."""
    batch = make_batch(
        path=[f"{i}.wav" for i in range(40)],
        group=[f"artist {i // 4}" for i in range(40)],
        style=["ab"[i // 4 % 2] for i in range(40)],
    )
    (both,) = augment.run([batch], [Recipe(pitch=2)], originals=True, splits=["train"])
    return both


@pytest.mark.parametrize("method", ["random", "stratified", "grouped", "stratified-grouped"])
@pytest.mark.parametrize("folds", [0, 5])
def test_no_split_separates_a_track_from_its_copy(make_batch: Any, method: str, folds: int) -> None:
    """Whatever the method, copies of one track stay together; grouped, artists do too."""
    by = "style" if "stratified" in method else ""
    settings = SplitSettings(method=method, by=by, folds=folds)
    table, lines = split.run([pieces(make_batch)], settings)
    parts = table["fold" if folds else "split"]
    assert len(set(parts)) == (folds or 3)
    assert len(lines) == len(set(parts))
    keys = ["origin"] + ["group"] * ("grouped" in method)
    for key in keys:
        values = table.origins if key == "origin" else table["group"]
        where: dict[str, set[Any]] = {}
        for value, part in zip(values, parts, strict=True):
            where.setdefault(value, set()).add(part)
        assert all(len(found) == 1 for found in where.values())
    if method == "stratified":
        # Where artists may be parted, each part has its share of each style.
        rows = parts == ("test" if not folds else 0)
        styles = table["style"][rows].tolist()
        assert abs(styles.count("a") - styles.count("b")) <= 2


def test_a_split_does_not_depend_on_the_order_of_the_rows(make_batch: Any) -> None:
    """The same tracks get the same split, however they were listed."""
    batch = pieces(make_batch)
    table, _ = split.run([batch], SplitSettings())
    order = np.random.default_rng(0).permutation(len(batch))
    other, _ = split.run([batch.take(order)], SplitSettings())
    assert dict(zip(other.ids, other["split"], strict=True)) == dict(
        zip(table.ids, table["split"], strict=True)
    )


def test_a_split_is_replaced_only_on_request(make_batch: Any) -> None:
    """A published split must not be lost to a second call."""
    table, _ = split.run([pieces(make_batch)], SplitSettings())
    with pytest.raises(UsageError, match="--replace"):
        split.run([table], SplitSettings(seed=1))
    again, _ = split.run([table], SplitSettings(seed=1, replace=True))
    assert again.names == table.names
    assert again["split"].tolist() != table["split"].tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SplitSettings(method="stratified"), "needs a label: --by"),
        (SplitSettings(by="style"), "no effect"),
        (SplitSettings(method="stratified", by="nothing"), "no column 'nothing'"),
        (SplitSettings(folds=50), "at most 10 folds"),
    ],
)
def test_impossible_splits_are_refused(
    make_batch: Any, settings: SplitSettings, message: str
) -> None:
    """Each is one line that says what to do."""
    with pytest.raises(UsageError, match=message):
        split.run([pieces(make_batch)], settings)


def test_grouping_needs_groups(make_batch: Any) -> None:
    """Without any group a grouped split would be a random one."""
    with pytest.raises(UsageError, match="needs a `group` column"):
        split.run([make_batch(path=["a", "b"])], SplitSettings())


def test_copies_are_drawn_apart_on_request_only(make_batch: Any) -> None:
    """The leak of the DJ study could not be shown, or would happen to who did not ask for it."""
    columns = {
        "id": [f"{i // 3}#{i % 3}" for i in range(90)],
        "origin": [str(i // 3) for i in range(90)],
        "group": [f"artist {i // 9}" for i in range(90)],
    }
    batch = make_batch(**columns)

    def straddling(settings: SplitSettings) -> int:
        table, _ = split.run([batch], settings)
        pairs = zip(table.origins, table["split"], strict=True)
        return len({*pairs}) - len({*table.origins})

    assert straddling(SplitSettings(method="random")) == 0
    assert straddling(SplitSettings(method="random", copies="apart")) > 10
    with pytest.raises(UsageError, match="keeps the copies of a group together"):
        straddling(SplitSettings(method="grouped", copies="apart"))
