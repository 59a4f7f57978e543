"""mt-factor explain: predicted factors become words again, track by track and region by region."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import Shell

from mt_tools.errors import RowError, UsageError
from mt_tools.features.fitted import Fitted
from mt_tools.nets.model import Model
from mt_tools.report.settings import PlotSettings
from mt_tools.stages import tag
from mt_tools.stages.factors import explain
from mt_tools.stages.factors.fitting import target, write_fitted
from mt_tools.stages.factors.settings import ExplainSettings
from mt_tools.stages.pictures import Given
from mt_tools.stages.plot import plotted
from mt_tools.stages.settings import TagSettings
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column
from mt_tools.tables.sink import to_file

TAGS = (("indie", "british"), ("soul", "funk"), ("metal", "doom"))
LYRICS = (("love", "heart"), ("night", "dance"), ("blood", "fire"))
ROWS = 60


def topics(words: tuple[tuple[str, ...], ...]) -> Fitted:
    """Return topics of which each has two words of its own, and a tenth of one that all have."""
    names = [word for topic in words for word in topic] + ["the"]
    terms = np.zeros((len(words), len(names)))
    for place, topic in enumerate(words):
        terms[place, [names.index(word) for word in topic]] = 0.5, 0.4
        terms[place, -1] = 0.1
    return Fitted("plsa", {"terms": terms}, names, {}, {"column": "words"})


def planted(seed: int = 0) -> np.ndarray:
    """Return mixtures [rows, 3], most of each in the factor of the row's number modulo 3."""
    rng = np.random.default_rng(seed)
    mixtures = 0.1 * rng.dirichlet(np.ones(3), ROWS)
    mixtures[np.arange(ROWS), np.arange(ROWS) % 3] += 0.9
    return mixtures.astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Fitted files by name."""
    folder = tmp_path_factory.mktemp("fitted")
    made = {"tags": topics(TAGS), "lyrics": topics(LYRICS), "two": topics(TAGS[:2])}
    made["bpm"] = Fitted(
        "gmm",
        {
            "means": np.array([90.0, 120.0, 150.0]),
            "deviations": np.array([3.0, 5.0, 8.0]),
            "weights": np.array([0.2, 0.3, 0.5]),
        },
    )
    made["pca"] = Fitted("pca", {"directions": np.eye(3, 5)})
    for name, fitted in made.items():
        write_fitted(str(folder / f"{name}.npz"), fitted)
    return {name: str(folder / f"{name}.npz") for name in made}


@pytest.fixture(scope="module")
def table(make_batch: Any) -> Batch:
    """Clusters of vectors, each of a style, with a target of tags and one of lyrics."""
    rng = np.random.default_rng(0)
    part = np.arange(ROWS) % 3
    batch: Batch = make_batch(
        embedding=(6 * np.eye(3)[part] + rng.normal(size=(ROWS, 3))).astype(np.float32),
        style=[["rock", "pop", "metal"][p] for p in part],
        group=[f"artist {i // 3}" for i in range(ROWS)],
        split=["train"] * 36 + ["valid"] * 12 + ["test"] * 12,
    )
    batch = batch.append(target("tags", 3, topics(TAGS)), planted())
    shifted = np.roll(planted(), 1, axis=1)  # of the style's number, the factor after it
    return batch.append(target("lyrics", 3, topics(LYRICS)), shifted)


def refuse(row: dict[str, Any], error: RowError) -> None:
    """Take no failed row."""
    pytest.fail(f"{row['id']}: {error}")


def explained(batch: Batch, fitted: str = "", **options: Any) -> Batch:
    """Return the rows with their terms."""
    settings = ExplainSettings(**options)
    found = explain.sources(fitted, batch.columns, settings)
    return concatenate(list(explain.run([batch], found, settings, refuse)))


def test_tracks_get_the_words_of_their_factors(files: dict[str, str], table: Batch) -> None:
    """Predictions of factors would stay numbers that nobody can read."""
    made = explained(table, files["tags"], column="tags", top=2, weights=True)
    column = made.columns["tags_terms"]
    assert (column.kind, column.role) == ("strings", "prediction")
    for row in range(ROWS):
        assert {*made["tags_terms"][row]} == {*TAGS[row % 3]}
    weights = made["tags_terms_weight"]
    assert weights.shape == (ROWS, 2)
    assert (weights[:, 0] >= weights[:, 1]).all()
    assert (weights > 2).all()  # lifts: each word is of one factor among three
    by_weight = explained(table, files["tags"], column="tags", top=9, by="weight", weights=True)
    z = table["tags"].astype(float)
    chance = z @ topics(TAGS).arrays["terms"]
    np.testing.assert_allclose(
        by_weight["tags_terms_weight"][:, :7], -np.sort(-chance, axis=1), atol=1e-6
    )


def test_several_sources_side_by_side(files: dict[str, str], table: Batch) -> None:
    """The facets of a track would have to be pieced together from several tables."""
    pairs = (f"tags={files['tags']}", f"lyrics={files['lyrics']}")
    made = explained(table, source=pairs, top=2)
    for row in range(ROWS):
        assert {*made["tags_terms"][row]} == {*TAGS[row % 3]}
        assert {*made["lyrics_terms"][row]} == {*LYRICS[(row + 1) % 3]}
    assert made.names[: len(table.names)] == table.names


def test_unlabelled_rows_stay_and_others_do_not_change(files: dict[str, str], table: Batch) -> None:
    """A track without factors would vanish, or words depend on the batch that a row is in."""
    z = table["tags"].copy()
    z[4] = np.nan
    gaps = table.replace(table.columns["tags"], z)
    made = explained(gaps, files["tags"], column="tags")
    assert len(made) == ROWS
    assert made["tags_terms"][4] is None
    whole = explained(table, files["tags"], column="tags")["tags_terms"]
    for rows in ([7], [5, 6, 9]):
        alone = explained(table.take(rows), files["tags"], column="tags")["tags_terms"]
        assert alone.tolist() == whole[rows].tolist()


def test_rows_that_are_no_distribution_fail(
    files: dict[str, str], table: Batch, failures: Any
) -> None:
    """Logits or counts would be explained as if they were shares."""
    z = table["tags"].copy()
    z[3] = 5.0
    settings = ExplainSettings(source=(f"tags={files['tags']}", f"lyrics={files['lyrics']}"))
    broken = table.replace(table.columns["tags"], z).replace(table.columns["lyrics"], z)
    found = explain.sources("", broken.columns, settings)
    made = concatenate(list(explain.run([broken], found, settings, failures)))
    assert [id_ for id_, _ in failures] == ["t3"]
    assert "t3" not in made.ids
    assert len(made) == ROWS - 1


def test_numbers_become_ranges(files: dict[str, str], make_batch: Any) -> None:
    """A predicted tempo would be the number of a component."""
    batch = make_batch(bpm=np.array([[0.9, 0.1, 0], [0, 0.2, 0.8]], np.float32))
    made = explained(batch, files["bpm"], top=1)
    assert made["bpm_terms"].tolist() == [["87 to 93"], ["142 to 158"]]
    rows, says = explain.factor_rows(files["bpm"], ExplainSettings())
    assert says == "share"
    assert rows["term"].tolist() == ["87 to 93", "115 to 125", "142 to 158"]
    assert rows["mean"].tolist() == [90, 120, 150]
    assert rows["deviation"].tolist() == [3, 5, 8]


def test_predictions_know_what_they_are_of(
    files: dict[str, str], table: Batch, fit_model: Callable[..., Model]
) -> None:
    """What a model learnt as factors of tags could be explained by the words of lyrics.

    What the target was made with goes from mt-factor through mt-train into the column of mt-tag.
    """
    model = fit_model(table, "tags", "lyrics", epochs=25, learning_rate=0.01)
    settings = TagSettings(model=("m",))
    taggers = tag.taggers(settings, lambda name: model, lambda note: None)
    found = tag.run([table], table.columns, taggers, settings, tag.Way(), refuse)
    predicted = concatenate(list(found))
    test = predicted.take(np.flatnonzero(table["split"] == "test"))
    made = explained(test, files["tags"], top=1)  # the prediction, since there is one
    assert "tags_score_terms" in made
    pairs = zip(made.ids, made["tags_score_terms"], strict=True)
    right = [terms[0] in TAGS[int(id_[1:]) % 3] for id_, terms in pairs]
    assert np.mean(right) == 1  # three clusters, six deviations apart
    with pytest.raises(UsageError, match=r"'lyrics_score' was made with another fit \(\w{12}\)"):
        explained(test, files["tags"], column="lyrics_score")


def test_a_column_of_another_fit_is_refused(
    files: dict[str, str], table: Batch, make_batch: Any
) -> None:
    """Words of other factors would stand beside a track, and nobody would notice."""
    tags = files["tags"]
    for column, said in (
        ("lyrics", "made with another fit"),
        ("style", "is of the kind string, expected factors"),
        ("embedding", "is of the kind embedding, expected factors"),
        ("mood", "no column 'mood' in the table: its columns of factors are tags, lyrics"),
    ):
        with pytest.raises(UsageError, match=said):
            explained(table, tags, column=column)
    with pytest.raises(UsageError, match=r"'tags' has 3 factors, .*two.npz has 2: name the file"):
        explained(table, files["two"], column="tags")
    with pytest.raises(UsageError, match="are none of id, embedding"):
        explained(table, files["two"])
    plain = make_batch(a=planted(), b=planted())  # of other software: nothing says what made them
    with pytest.raises(UsageError, match="are a, b of id, a, b: choose one with --column"):
        explained(plain, tags)
    assert "a_terms" in explained(plain, tags, column="a")
    with pytest.raises(UsageError, match="--source tags: expected COLUMN=FITTED"):
        explained(table, source=("tags",))
    with pytest.raises(UsageError, match="the column is named twice"):
        explained(plain, source=(f"a={tags}", f"a={files['lyrics']}"))
    with pytest.raises(UsageError, match="components of pca are no distribution"):
        explained(plain, files["pca"], column="a")
    with pytest.raises(UsageError, match="the table has 'tags_terms' already"):
        explained(explained(table, tags, column="tags"), tags, column="tags")
    with pytest.raises(UsageError, match=r"none\.npz: no such file"):
        explained(table, "none.npz")
    with pytest.raises(UsageError, match="--labels is of a table: name one after"):
        explain.factor_rows(tags, ExplainSettings(labels="style"))
    with pytest.raises(UsageError, match="--by lift: the factors of pca share no terms"):
        explain.factor_rows(files["pca"], ExplainSettings(by="lift"))


def test_a_table_in_place_of_what_was_fitted(table: Batch, tmp_path: Path) -> None:
    """Whoever names the files in the other order would be told of pickles."""
    path = str(tmp_path / "t.parquet")
    out = to_file(path, None)([])
    out.write(table)
    out.finish(ROWS, 0)
    with pytest.raises(UsageError, match="name that file first, and tables after it"):
        explain.factor_rows(path, ExplainSettings())


def test_factors_by_labels(files: dict[str, str], table: Batch) -> None:
    """Factors of sound, of which words say little, could not be told apart."""
    settings = ExplainSettings(column="tags", labels="style", top=1)
    found = explain.sources(files["tags"], table.columns, settings)
    rows = explain.label_rows([table.take(range(20)), table.take(range(20, ROWS))], found, settings,
                              refuse)  # fmt: skip
    assert rows["factor"].tolist() == [0, 1, 2]
    assert rows["term"].tolist() == ["rock", "pop", "metal"]
    assert (rows["lift"] > 2).all()
    for column, kind in (("embedding", "vector"), ("tags", "vector")):
        with pytest.raises(UsageError, match=f"--labels {column}: got a {kind} column"):
            explain.label_rows([table], found, dataclasses.replace(settings, labels=column), refuse)
    with pytest.raises(UsageError, match="no column 'genre'"):
        explain.label_rows([table], found, dataclasses.replace(settings, labels="genre"), refuse)


def test_regions_of_planted_clusters(files: dict[str, str], table: Batch) -> None:
    """A region of the map would be described by what is elsewhere, in one source or in all."""
    pairs = (f"tags={files['tags']}", f"lyrics={files['lyrics']}")
    settings = ExplainSettings(source=pairs, regions=3, map="pca", top=2)
    found = explain.sources("", table.columns, settings)
    embedding = explain.embedding_of(table.columns, "")
    halves = [table.take(range(25)), table.take(range(25, ROWS))]
    rows = explain.region_rows(halves, embedding, found, settings, refuse).rows()
    assert {(row["region"], row["n"]) for row in rows} == {(0, 20), (1, 20), (2, 20)}
    facets: dict[int, dict[str, set[str]]] = {}
    for row in rows:
        facets.setdefault(row["region"], {}).setdefault(row["source"], set()).add(row["term"])
    seen = []
    for region in facets.values():
        (style,) = [p for p in range(3) if region["tags"] == {*TAGS[p]}]
        assert region["lyrics"] == {*LYRICS[(style + 1) % 3]}
        seen.append(style)
    assert sorted(seen) == [0, 1, 2]
    assert len({row["id"] for row in rows}) == len(rows)


def test_facets_in_a_picture(files: dict[str, str], table: Batch) -> None:
    """REP's Fig. 14 could not be drawn: a map that says of each place what every source hears."""
    pairs = (f"tags={files['tags']}", f"lyrics={files['lyrics']}")
    made = explained(table, source=pairs, top=2)
    given = Given("t", "t.parquet", made.columns, [made])
    terms = ("tags_terms", "lyrics_terms")
    figure, _ = plotted([given], PlotSettings(kind="map", map="pca", terms=terms))
    boxes = [text.get_text().splitlines() for text in figure.axes[0].texts]
    assert len(boxes) == 8
    for tags, lyrics in boxes:
        (style,) = [p for p in range(3) if tags == f"tags: {', '.join(TAGS[p])}"]
        assert lyrics == f"lyrics: {', '.join(LYRICS[(style + 1) % 3])}"
    with pytest.raises(UsageError, match="--terms mood: no such column"):
        plotted([given], PlotSettings(kind="map", terms=("tags_terms", "mood")))


def test_the_embedding_of_a_map(table: Batch) -> None:
    """A map of the wrong one of two embeddings, or a traceback where there is none."""
    assert explain.embedding_of(table.columns, "") == "embedding"
    second = Column("embedding.b", "vector", "embedding", {}, (3,))
    both = table.append(second, table["embedding"])
    with pytest.raises(UsageError, match=r"has the embeddings embedding, embedding\.b: choose"):
        explain.embedding_of(both.columns, "")
    assert explain.embedding_of(both.columns, "embedding.b") == "embedding.b"
    with pytest.raises(UsageError, match="--embedding tags: no such embedding; there are embed"):
        explain.embedding_of(table.columns, "tags")
    with pytest.raises(UsageError, match="no embedding: add one"):
        explain.embedding_of(table.without(["embedding"]).columns, "")


def test_the_command(sh: Shell, tmp_path: Path, files: dict[str, str], table: Batch) -> None:
    """Factors would not come out of a pipe as rows, or words not stand beside tracks in a file."""
    out = to_file(str(tmp_path / "t.parquet"), None)([])
    out.write(table)
    out.finish(ROWS, 0)
    tags, lyrics = files["tags"], files["lyrics"]
    silent, end = os.pipe()  # it does not wait for what it does not need
    done = sh(f"mt-factor explain {tags} --top 2", ok=True, stdin=silent, timeout=60)
    os.close(silent), os.close(end)
    lines = done.stdout.decode().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["factor"], row["rank"], row["term"]) for row in rows] == [
        (place, rank, word)
        for place, topic in enumerate(TAGS)
        for rank, word in enumerate(topic, start=1)
    ]
    chain = (
        f"cat t.parquet | mt-factor explain {tags} - --column tags "
        f"| mt-factor explain {lyrics} - --column lyrics -o w.jsonl"
    )
    sh(f"set -o pipefail; {chain}", ok=True)
    first = json.loads((tmp_path / "w.jsonl").read_text().splitlines()[0])
    assert {*first["tags_terms"]} == {*TAGS[0]}
    assert {*first["lyrics_terms"]} == {*LYRICS[1]}
    done = sh(f"mt-factor explain {tags} t.parquet --labels style --regions 3")
    assert done.returncode == 2
    assert b"contradict" in done.stderr
