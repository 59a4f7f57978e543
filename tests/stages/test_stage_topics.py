"""mt-factor plsa and lda without their commands: targets out of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt_tools.errors import BrokenTable, NoRows, SettingsMismatch, UsageError
from mt_tools.features.counts import idf, tfidf
from mt_tools.features.fitted import Fitted
from mt_tools.features.topics import Plsa
from mt_tools.stages.factors.fitting import read_fitted, write_fitted
from mt_tools.stages.factors.settings import LdaSettings, PlsaSettings
from mt_tools.stages.factors.topics import LDA, PLSA, Topics
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column
from mt_tools.tables.fitted import FittedOn

SETTINGS = PlsaSettings(factors=2, iterations=50)
ARTISTS = LdaSettings(factors=2, passes=5)
BOTH = [(PLSA, SETTINGS), (LDA, ARTISTS)]


@pytest.fixture
def bags(make_batch: Any) -> Batch:
    """Two kinds of tracks with words of their own, one without words, one unlabelled."""
    words = [["guitar", "drums", "loud"], ["synth", "quiet", "pad"]]
    tags = [words[i % 2][: 2 + i % 2] for i in range(12)]
    return make_batch(
        tags=[*tags, [], None],
        split=["train"] * 8 + ["test"] * 6,
        group=[f"artist {i % 4}" for i in range(12)] + [None, None],
    )


def made(
    method: Topics,
    batches: Sequence[Batch],
    settings: PlsaSettings | LdaSettings,
    fitted: Fitted | None = None,
) -> tuple[Batch, Fitted, list[str]]:
    """Return the rows, what was fitted, and the notes."""
    columns = batches[0].columns
    names = [name for name in method.needed(columns, settings) if name in columns]

    def read() -> list[Batch]:
        gone = [name for name in columns if name not in ("id", *names)]
        return [batch.without(gone) for batch in batches]

    found = method.run(read, iter(batches), columns, settings, fitted)
    return concatenate(list(found.rows)), found.fitted, found.notes


def plsa(
    batches: Sequence[Batch], settings: PlsaSettings, fitted: Fitted | None = None
) -> tuple[Batch, Fitted]:
    """Return the rows, and what was fitted."""
    table, fitted, _ = made(PLSA, batches, settings, fitted)
    return table, fitted


def test_mixes_sum_to_one_and_tell_the_kinds_apart(bags: Batch) -> None:
    """A target is a distribution over factors; tracks of one kind have one factor."""
    table, factors = plsa([bags], SETTINGS)
    mixes = table["plsa"]
    assert mixes.shape == (14, 2)
    np.testing.assert_allclose(mixes[:12].sum(axis=1), 1, atol=1e-6)
    assert np.isnan(mixes[12:]).all()  # no word, no target
    kinds = mixes[:12].argmax(axis=1)
    assert len({*kinds[0::2]}) == len({*kinds[1::2]}) == 1
    assert kinds[0] != kinds[1]
    np.testing.assert_allclose(factors.arrays["terms"].sum(axis=1), 1, atol=1e-6)
    assert factors.vocabulary == sorted({w for bag in bags["tags"][:12] for w in bag})
    assert table.columns["plsa"].role == "target"


@pytest.mark.parametrize(("method", "settings"), BOTH)
def test_batches_are_one_table(bags: Batch, method: Topics, settings: Any) -> None:
    """Targets would depend on how a table is cut on the wire."""
    parts = [bags.take(range(start, min(start + 3, 14))) for start in range(0, 14, 3)]
    for per in ("track", "group"):
        how = replace(settings, per=per)
        whole, one, notes = made(method, [bags], how)
        table, two, again = made(method, parts, how)
        assert one.to_bytes() == two.to_bytes()
        assert notes == again
        np.testing.assert_array_equal(whole[how.as_], table[how.as_])
        assert table.columns[how.as_] == whole.columns[how.as_]


def test_lda_gives_mixtures_and_their_perplexity(bags: Batch) -> None:
    """Topics of LDA would be no target, or nobody could choose their number."""
    valid = bags.replace(bags.columns["split"], ["train"] * 8 + ["valid"] * 4 + ["test"] * 2)
    table, fitted, notes = made(LDA, [valid], ARTISTS)
    mixes = table["lda"]
    np.testing.assert_allclose(mixes[:12].sum(axis=1), 1, atol=1e-5)
    assert np.isnan(mixes[12:]).all()
    assert mixes[0].argmax() != mixes[1].argmax()
    assert table.columns["lda"].settings["digest"] == fitted.digest
    assert any(" on 4 valid tracks (5 where" in note for note in notes)
    notes = made(LDA, [bags], replace(ARTISTS, per="group"))[2]
    assert any(" on the 4 groups that were fitted on (5 where" in note for note in notes)


def test_factors_are_fitted_on_train_rows_alone(bags: Batch, make_batch: Any) -> None:
    """Words and counts of the test rows must not shape the targets."""
    tags = bags["tags"].tolist()
    tags[9] = ["never", "heard"]
    other = make_batch(tags=tags, split=bags["split"].tolist())
    _, one = plsa([bags], SETTINGS)
    table, two, notes = made(PLSA, [other], SETTINGS)
    assert one.vocabulary == two.vocabulary
    np.testing.assert_array_equal(one.arrays["terms"], two.arrays["terms"])
    assert np.isnan(table["plsa"][9]).all()
    assert "2 of 29 words in tags are unknown to the topics and left out" in notes
    assert "3 of 14 rows have no known word, and so no plsa" in notes
    _, all_rows = plsa([other], replace(SETTINGS, ignore_split=True))
    assert "never" in all_rows.vocabulary


def test_factors_say_what_they_were_fitted_on(bags: Batch, tmp_path: Path) -> None:
    """Nobody could tell factors that have seen the test rows from those that have not."""
    _, factors = plsa([bags], SETTINGS)
    assert factors.fitted_on == FittedOn.of(bags.ids[:8], ["train"] * 8)
    path = str(tmp_path / "f.npz")
    write_fitted(path, factors)
    _, applied = plsa([bags], SETTINGS, read_fitted(path, "plsa"))
    assert applied.recorded() == factors.recorded()
    _, seen = plsa([bags], replace(SETTINGS, ignore_split=True))
    assert seen.fitted_on is not None
    assert seen.fitted_on.parts == {"train": 8, "test": 4}  # two of six have no words


@pytest.mark.parametrize(("method", "settings"), BOTH)
def test_what_was_fitted_is_applied_to_other_tables(
    bags: Batch, tmp_path: Path, method: Topics, settings: Any
) -> None:
    """--apply folds new tracks into old factors: the same words get the same mix."""
    table, factors, _ = made(method, [bags], settings)
    path = str(tmp_path / "f.npz")
    write_fitted(path, factors)
    again = read_fitted(path, *method.METHODS)
    assert again.vocabulary == factors.vocabulary
    np.testing.assert_array_equal(again.arrays["terms"], factors.arrays["terms"])
    new = bags.take([1, 0, 13]).without(["split"])
    folded, _, _ = made(method, [new], settings, again)
    np.testing.assert_array_equal(folded[settings.as_], table[settings.as_][[1, 0, 13]])


def test_the_column_that_was_fitted_on_is_applied_to(bags: Batch, make_batch: Any) -> None:
    """A table with more lists than that of the fit would need --column every night."""
    _, factors = plsa([bags], SETTINGS)
    new = make_batch(moods=[["calm"]], tags=[["guitar"]])
    table, _ = plsa([new], SETTINGS, factors)
    assert table.columns["plsa"].settings["column"] == "tags"
    np.testing.assert_allclose(table["plsa"].sum(axis=1), 1, atol=1e-6)


def test_tracks_of_one_artist_share_a_mix(bags: Batch) -> None:
    """Artist factors (AGF) count the words of an artist together."""
    table, _ = plsa([bags], PlsaSettings(factors=2, iterations=50, per="group"))
    mixes = table["plsa"]
    for row in range(12):
        np.testing.assert_array_equal(mixes[row], mixes[row % 4])
    assert np.isnan(mixes[12:]).all()


def test_words_of_test_rows_are_not_in_an_artists_mix(bags: Batch) -> None:
    """Targets of train rows would hold labels of the test rows of the same artist."""
    group = replace(SETTINGS, per="group")
    tags = bags["tags"].tolist()
    tags[8] = ["synth", "pad"]  # artist 0, whose train rows have a guitar
    tags[9] = ["guitar"]
    other = bags.replace(bags.columns["tags"], tags)
    one, _ = plsa([bags], group)
    two, _ = plsa([other], group)
    np.testing.assert_array_equal(one["plsa"], two["plsa"])


def test_words_are_weighted_by_tfidf(bags: Batch) -> None:
    """--tfidf would be forgotten when new tracks are folded in."""
    table, fitted = plsa([bags], replace(SETTINGS, tfidf=True))
    words = list(fitted.vocabulary)
    counts = np.array([[(bag or []).count(word) for word in words] for bag in bags["tags"]])
    np.testing.assert_allclose(fitted.arrays["idf"], idf(counts[:8]))
    weighted = tfidf(counts, fitted.arrays["idf"])
    expected = Plsa(fitted.arrays["terms"]).transform(weighted)
    np.testing.assert_allclose(table["plsa"], expected, atol=1e-6)
    again, _ = plsa([bags], SETTINGS, fitted)  # what was fitted decides, not the option
    np.testing.assert_array_equal(again["plsa"], table["plsa"])


def test_rare_words_are_left_out(bags: Batch) -> None:
    """A vocabulary of a million words that one track has each would fill the memory."""
    tags = bags["tags"].tolist()
    tags[0] = [*tags[0], "once"]
    rare = bags.replace(bags.columns["tags"], tags)
    _, kept, notes = made(PLSA, [rare], replace(SETTINGS, min_documents=2))
    assert "once" not in kept.vocabulary
    assert "left out 1 words that fewer than 2 tracks have" in notes
    assert "once" in plsa([rare], SETTINGS)[1].vocabulary
    with pytest.raises(UsageError, match=r"0 different words in tags that 9 or more tracks have"):
        plsa([rare], replace(SETTINGS, min_documents=9))


def counted(bags: Batch, words: Sequence[str], **settings: Any) -> Batch:
    """Return the bags with their words as a column of counts."""
    rows = [[bag.count(w) for w in words] if bag is not None else [np.nan] * len(words)
            for bag in bags["tags"]]  # fmt: skip
    column = Column("counts", "vector", "label", settings, (len(words),))
    return bags.without(["tags"]).append(column, np.array(rows, np.float32))


@pytest.mark.parametrize(("method", "settings"), BOTH)
def test_counts_are_words_too(bags: Batch, method: Topics, settings: Any) -> None:
    """Words of sound (mt-factor bof) would give other factors than the same words by name."""
    words = sorted({w for bag in bags["tags"][:12] for w in bag})
    vectors = counted(bags, words, vocabulary=words)
    named, one, _ = made(method, [bags], settings)
    table, two, _ = made(method, [vectors], settings)
    assert two.vocabulary == words
    np.testing.assert_array_equal(one.arrays["terms"], two.arrays["terms"])
    np.testing.assert_array_equal(named[settings.as_], table[settings.as_])
    mixed, _, _ = made(method, [vectors], settings, one.__class__.from_bytes(one.to_bytes(), "f"))
    np.testing.assert_array_equal(mixed[settings.as_], table[settings.as_])


def test_counts_of_another_dictionary_are_refused(bags: Batch) -> None:
    """Word 7 of one dictionary would be taken for word 7 of another."""
    words = sorted({w for bag in bags["tags"][:12] for w in bag})
    first, other = (counted(bags, words, dictionary=digest) for digest in ("abc", "def"))
    _, fitted = plsa([first], SETTINGS)
    assert fitted.vocabulary[:2] == ["word 1", "word 2"]
    with pytest.raises(SettingsMismatch, match=r"dictionary abc, got counts of def"):
        plsa([other], SETTINGS, fitted)
    with pytest.raises(SettingsMismatch, match="none of the 5 words of counts"):
        plsa([counted(bags, words, vocabulary=words)], SETTINGS, fitted)
    negative = counted(bags, words, dictionary="abc")
    column = negative.columns["counts"]
    with pytest.raises(UsageError, match="no counts"):
        plsa([negative.replace(column, -negative["counts"])], SETTINGS)


def test_what_cannot_be_factored_is_refused(bags: Batch, make_batch: Any, tmp_path: Path) -> None:
    """Each mistake is one line that says what to do."""
    with pytest.raises(UsageError, match=r"5 different words.*fewer factors"):
        plsa([bags], PlsaSettings(factors=50))
    few = make_batch(tags=[["a", "b", "c"], ["d", "e"]])
    with pytest.raises(UsageError, match=r"2 tracks with words in tags; ask for fewer factors"):
        plsa([few], PlsaSettings(factors=3))
    with pytest.raises(UsageError, match="expected lists of words"):
        plsa([bags], PlsaSettings(column="split"))
    with pytest.raises(UsageError, match=r"lists of words.*are none"):
        plsa([make_batch(style=["a"])], SETTINGS)
    two = make_batch(tags=[["a", "b"]], genre=[["x"]])
    with pytest.raises(UsageError, match=r"are tags, genre: choose one with --column"):
        plsa([two], SETTINGS)
    with pytest.raises(UsageError, match="no train row has a word in tags"):
        plsa([make_batch(tags=[[], None])], SETTINGS)
    with pytest.raises(UsageError, match="no train row has a word in tags"):
        plsa([make_batch(tags=[["a"], []], split=["test", "train"])], SETTINGS)
    with pytest.raises(UsageError, match="no column 'group'"):
        plsa([two.without(["genre"])], replace(SETTINGS, per="group"))
    with pytest.raises(NoRows):
        plsa([bags.take([])], SETTINGS)
    with pytest.raises(UsageError, match="--as NAME"):
        plsa([plsa([bags], SETTINGS)[0]], SETTINGS)
    with pytest.raises(UsageError, match="no such file"):
        read_fitted(str(tmp_path / "none.npz"), "plsa")
    (tmp_path / "cut.npz").write_bytes(b"PK\3\4 and nothing more")
    with pytest.raises(BrokenTable, match="fit it again"):
        read_fitted(str(tmp_path / "cut.npz"), "plsa")
    write_fitted(str(tmp_path / "lda.npz"), made(LDA, [bags], ARTISTS)[1])
    with pytest.raises(UsageError, match=r"by mt-factor lda, expected plsa: apply it with mt-f"):
        read_fitted(str(tmp_path / "lda.npz"), *PLSA.METHODS)
