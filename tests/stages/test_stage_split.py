"""mt-fetch split without its command."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mt_tools import splits
from mt_tools.errors import BrokenTable, UsageError
from mt_tools.stages import split
from mt_tools.stages.settings import SplitSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.source import source_of


def pieces(make_batch: Any) -> Batch:
    """Return forty tracks of ten artists with a copy each."""
    rows = [i for i in range(40) for _ in range(2)]
    return make_batch(
        id=[f"{i}.wav" + "#pitch=2" * (n % 2) for n, i in enumerate(rows)],
        origin=[f"{i}.wav" if n % 2 else None for n, i in enumerate(rows)],
        group=[f"artist {i // 4}" for i in rows],
        style=["ab"[i // 4 % 2] for i in rows],
    )


def run(batches: list[Batch], **options: Any) -> tuple[Batch, split.Drawn]:
    """Draw and mark, as the command does."""
    settings = SplitSettings(**options)
    source = source_of(batches)
    light = source.light(split.needed(source.columns, settings))
    drawn = split.drawn(light, settings)
    return concatenate(list(split.marked(source, drawn))), drawn


def held(table: Batch, column: str, part: Any) -> list[Any]:
    """Return the values of a column in one split."""
    return table[column][table["split"] == part].tolist()


@pytest.mark.parametrize("method", ["random", "stratified", "grouped", "stratified-grouped"])
@pytest.mark.parametrize("folds", [0, 5])
def test_no_split_separates_a_track_from_its_copy(make_batch: Any, method: str, folds: int) -> None:
    """Whatever the method, copies of one track stay together; grouped, artists do too."""
    by = ("style",) if "stratified" in method else ()
    table, drawn = run([pieces(make_batch)], method=method, by=by, folds=folds)
    parts = table["fold" if folds else "split"]
    assert len(set(parts)) == (folds or 3)
    said = [line for line in drawn.lines if line.startswith(("split ", "fold "))]
    assert len(said) >= len(set(parts))
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
    table, _ = run([batch])
    order = np.random.default_rng(0).permutation(len(batch))
    other, _ = run([batch.take(order)])
    assert dict(zip(other.ids, other["split"], strict=True)) == dict(
        zip(table.ids, table["split"], strict=True)
    )


def test_a_split_is_replaced_only_on_request(make_batch: Any) -> None:
    """A published split must not be lost to a second call."""
    table, _ = run([pieces(make_batch)])
    with pytest.raises(UsageError, match="--replace"):
        run([table], seed=1)
    again, _ = run([table], seed=1, replace=True)
    assert again.names == table.names
    assert again["split"].tolist() != table["split"].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "stratified"}, "needs a label: --by"),
        ({"by": ("style",)}, "no effect"),
        ({"method": "stratified", "by": ("nothing",)}, "no such column"),
        ({"method": "stratified", "by": ("empty",)}, "nothing to stratify by"),
        ({"method": "stratified", "by": ("mel",)}, "kind vector, expected classes, tags or"),
        ({"folds": 50}, "at most 10 folds"),
        ({"keep": "test"}, "no column 'split' to keep"),
    ],
)
def test_impossible_splits_are_refused(
    make_batch: Any, options: dict[str, Any], message: str
) -> None:
    """Each is one line that says what to do."""
    batch = make_batch(
        group=[f"artist {i // 4}" for i in range(40)],
        style=["ab"[i // 4 % 2] for i in range(40)],
        empty=[None] * 40,
        mel=np.zeros((40, 3)),
    )
    with pytest.raises(UsageError, match=message):
        run([batch], **options)


@pytest.mark.parametrize("folds", [0, 5])
def test_a_class_of_too_few_artists_is_refused(make_batch: Any, folds: int) -> None:
    """A class that some part cannot hold would show as a strange metric weeks later."""
    batch = make_batch(
        group=[f"artist {i // 4}" for i in range(80)],
        style=["polka" if i < 8 else "rock" if i % 2 else "house" for i in range(80)],
    )
    options = {"method": "stratified-grouped", "by": ("style",), "folds": folds}
    noun, parts = ("folds", 5) if folds else ("splits", 3)
    message = f"1 class has fewer groups than there are {noun} .{parts}.: polka .2 groups."
    with pytest.raises(UsageError, match=message):
        run([batch], **options)
    table, drawn = run([batch], allow_thin=True, **options)
    lacking = [line for line in drawn.lines if "lacks 1 of 3 labels: polka" in line]
    assert len(lacking) >= parts - 2
    if not folds:
        assert "polka" in held(table, "style", "train")
    # Without artists there are tracks enough.
    run([batch], method="stratified", by=("style",), folds=folds)


def test_grouping_needs_groups(make_batch: Any) -> None:
    """Without any group a grouped split would be a random one."""
    with pytest.raises(UsageError, match="needs a `group` column"):
        run([make_batch(path=["a", "b"])])


def test_copies_are_drawn_apart_on_request_only(make_batch: Any) -> None:
    """The leak of the DJ study could not be shown, or would happen to who did not ask for it."""
    columns = {
        "id": [f"{i // 3}#{i % 3}" for i in range(90)],
        "origin": [str(i // 3) for i in range(90)],
        "group": [f"artist {i // 9}" for i in range(90)],
    }
    batch = make_batch(**columns)

    def straddling(**options: Any) -> int:
        table, _ = run([batch], **options)
        pairs = zip(table.origins, table["split"], strict=True)
        return len({*pairs}) - len({*table.origins})

    assert straddling(method="random") == 0
    assert straddling(method="random", copies="apart") > 10
    with pytest.raises(UsageError, match="keeps the copies of a group together"):
        straddling(method="grouped", copies="apart")


def test_several_columns_and_numbers_are_balanced_at_once(make_batch: Any) -> None:
    """Genres would be balanced and loudness not, as the targets of the REG study are numbers."""
    rng = np.random.default_rng(0)
    energy = rng.gamma(2, 1, 400)
    energy[:20] = np.nan
    batch = make_batch(
        style=[f"s{i}" for i in rng.integers(4, size=400)],
        tags=[[t for t in "abc" if rng.random() < 0.3] for _ in range(400)],
        energy=energy,
    )
    options = {"by": ("style", "tags", "energy"), "bins": 4}
    table, drawn = run([batch], method="stratified", **options)
    fourths = np.nanquantile(energy, [0, 0.25, 0.5, 0.75, 1])
    for part, share in (("train", 0.8), ("valid", 0.1), ("test", 0.1)):
        counts, _ = np.histogram(held(table, "energy", part), fourths)
        assert counts == pytest.approx(95 * share, abs=4)
        for name in ("s0", "s3"):
            expected = share * table["style"].tolist().count(name)
            assert held(table, "style", part).count(name) == pytest.approx(expected, abs=3)
        tags = [tag for row in held(table, "tags", part) for tag in row]
        whole = [tag for row in table["tags"] for tag in row]
        assert tags.count("a") == pytest.approx(share * whole.count("a"), abs=4)
    report = drawn.report.rows()
    assert {row["column"] for row in report} == {None, "style", "tags", "energy"}
    tagged = [row for row in report if (row["split"], row["label"]) == ("test", "a")]
    assert [row["rows"] for row in tagged] == [
        sum("a" in row for row in held(table, "tags", "test"))
    ]


def test_a_report_holds_every_label_and_the_lines_a_few(make_batch: Any) -> None:
    """With 188 tags a line would be a screen, and without them nobody would see which is off."""
    rng = np.random.default_rng(0)
    tags = [[f"tag {t}" for t in set(rng.integers(188, size=3).tolist())] for _ in range(500)]
    batch = make_batch(
        group=[f"artist {i // 5}" for i in range(500)], tags=tags,
        origin=[f"track {i // 2}" for i in range(500)],
    )  # fmt: skip
    table, drawn = run([batch], method="stratified-grouped", by=("tags",))
    known = len({tag for row in tags for tag in row})
    assert len(drawn.lines) < 25
    assert max(map(len, drawn.lines)) < 130
    assert any(f"12 of {known} labels, farthest off first" in line for line in drawn.lines)
    rows = drawn.report.rows()
    assert len(rows) == 3 + 3 * known
    for row in rows[:3]:
        mine = table["split"] == row["split"]
        assert row["rows"] == mine.sum()
        assert row["tracks"] == len(set(table.origins[mine]))
        assert row["groups"] == len(set(table["group"][mine]))
    for row in rows[3::100]:
        mine = [
            i for i, own in enumerate(table["tags"])
            if row["label"] in own and table["split"][i] == row["split"]
        ]  # fmt: skip
        assert row["rows"] == len(mine)
        assert row["tracks"] == len(set(table.origins[mine]))
        assert row["groups"] == len(set(table["group"][mine]))


def test_the_draws_of_a_probe_can_be_drawn_again(make_batch: Any) -> None:
    """What mt-eval probe was judged on could not be trained on."""
    labels = np.array([f"s{i % 3}" for i in range(120)], object)
    groups = [f"artist {i // 4}" for i in range(120)]
    batch = make_batch(group=groups, style=labels.tolist())
    pairs = list(splits.repeats(batch.ids, 3, 0.2, groups, labels, seed=4))
    for number, (_, test) in enumerate(pairs, 1):
        table, _ = run(
            [batch], method="stratified-grouped", by=("style",), train=0.8, valid=0.0, test=0.2,
            repeat=number, seed=4,
        )  # fmt: skip
        assert np.flatnonzero(table["split"] == "test").tolist() == test.tolist()
    once, _ = run([batch], folds=3)
    again, _ = run([batch], folds=3, repeat=1)
    assert once["fold"].tolist() != again["fold"].tolist()


def given(make_batch: Any) -> Batch:
    """Return tracks of an official train and test split, of which an artist is in both."""
    return make_batch(
        group=[f"artist {i // 4}" for i in range(80)],
        split=["test" if i % 80 < 18 else "train" for i in range(80)],
    )


def test_validation_is_drawn_out_of_a_given_split(make_batch: Any) -> None:
    """The official test part would change, or there would be nothing to select on."""
    official = given(make_batch)
    table, drawn = run([official], keep="test", train=0.8, valid=0.2)
    was_test = official["split"] == "test"
    assert set(table["split"][was_test]) == {"test"}
    assert set(table["split"][~was_test]) == {"train", "valid"}
    assert held(table, "group", "valid")
    assert not {*held(table, "group", "train")} & {*held(table, "group", "valid")}
    assert any("2 rows that were drawn have a group that the kept test has" in line
               for line in drawn.lines)  # fmt: skip
    folded, _ = run([official], keep="test", folds=4)
    assert np.isnan(folded["fold"][was_test]).all()
    assert set(folded["fold"][~was_test]) == {0, 1, 2, 3}
    with pytest.raises(UsageError, match="no row has the split 'tset'"):
        run([official], keep="tset")
    with pytest.raises(UsageError, match="leaves 1 of train, valid and test"):
        run([official], keep="test", valid=0.0)
    with pytest.raises(UsageError, match="keeps every row"):
        run([official], keep="test,train")


def test_copies_of_a_kept_track_follow_it(make_batch: Any) -> None:
    """A copy of a test track would be trained on."""
    batch = make_batch(
        id=[f"{i // 2}#{i % 2}" for i in range(60)],
        origin=[str(i // 2) for i in range(60)],
        split=["test" if i in (0, 2, 4) else "train" for i in range(60)],
    )
    table, _ = run([batch], method="random", keep="test")
    assert table["split"][:6].tolist() == ["test"] * 6
    assert set(table["split"][6:]) == {"train", "valid"}


def test_a_library_that_grows_keeps_its_splits(make_batch: Any) -> None:
    """New tracks would move old ones, and new tracks of a test artist be trained on."""
    batch = make_batch(group=[f"artist {i // 4 % 30}" for i in range(240)])
    old, _ = run([batch.take(range(120))])
    parts = [*old["split"].tolist(), *[None] * 120]
    columns = {"group": batch["group"].tolist(), "split": parts}
    grown, drawn = run([make_batch(**columns)], keep="all")
    assert grown["split"][:120].tolist() == parts[:120]
    assert grown["split"][120:].tolist() == parts[:120]  # of the same thirty artists
    assert not any("kept out" in line for line in drawn.lines)


def test_sizes_that_one_artist_spoils_are_told(make_batch: Any) -> None:
    """A test part of half its size would go unnoticed."""
    batch = make_batch(group=["Various" if i < 95 else f"artist {i}" for i in range(100)])
    _, drawn = run([batch])
    (line,) = [line for line in drawn.lines if line.startswith("split test holds")]
    assert "10.0% was asked for; the largest group, Various, has 95.0%" in line


def test_rows_that_were_left_out_are_left_out_again(make_batch: Any) -> None:
    """Rows of another shard would get a part of a track they are not, or stop the run."""
    batch = pieces(make_batch)
    settings = SplitSettings()
    some = batch.take([i for i in range(len(batch)) if i % 3])
    drawn = split.drawn([some], settings)
    marked = concatenate(
        list(split.marked([batch.take(range(25)), batch.take(range(25, 80))], drawn))
    )
    assert marked.ids.tolist() == some.ids.tolist()
    assert marked["split"].tolist() == drawn.parts.tolist()
    with pytest.raises(BrokenTable, match="changed while it was read"):
        list(split.marked([batch.take(range(25))], drawn))
