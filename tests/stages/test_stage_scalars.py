"""mt-factor gmm, quantile and pca without their command: numbers and vectors, fitted and applied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import QuantileTransformer
from support import Shell

from mt_tools.errors import NoRows, SettingsMismatch, UsageError
from mt_tools.features.fitted import Fitted
from mt_tools.stages.factors.fitting import Made, read_fitted, write_fitted
from mt_tools.stages.factors.scalars import Gmm, Pca, Quantile
from mt_tools.stages.factors.settings import GmmSettings, PcaSettings, QuantileSettings
from mt_tools.stages.inputs import input_column
from mt_tools.stages.judging import embeddings_of
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.fitted import FittedOn
from mt_tools.tasks.kinds import make_task

MADE = {"model": "mfcc-stats", "digest": "a"}


def run(method: Any, batch: Batch, settings: Any, fitted: Fitted | None = None) -> Made:
    """Run a method on rows that come in three batches; to fit, it sees what it asked for alone."""
    cuts = np.array_split(np.arange(len(batch)), 3)
    pieces = [batch.take(cut) for cut in cuts if len(cut)]
    wanted = {"id", *method.needed(batch.columns, settings)}
    light = [piece.without([n for n in piece.names if n not in wanted]) for piece in pieces]
    return method.run(lambda: iter(light), iter(pieces), batch.columns, settings, fitted)


def made(*given: Any) -> Batch:
    """Run a method and return its rows as one."""
    return concatenate(list(run(*given).rows))


@pytest.fixture
def tempi(make_batch: Any) -> Batch:
    """Ninety tracks about three tempi, the last thirty of them for testing; two have none."""
    rng = np.random.default_rng(0)
    tempo = rng.normal(np.tile([90.0, 125.0, 174.0], 30), 2.0)
    tempo[[4, 88]] = np.nan
    return make_batch(
        tempo=tempo.tolist(),
        year=(1960 + rng.integers(0, 12, size=90)).tolist(),
        split=["train"] * 60 + ["test"] * 30,
    )


@pytest.fixture
def vectors(make_batch: Any) -> Batch:
    """Sixty embeddings of five numbers that vary in three directions; one track has none."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)) * [5, 2, 1] @ rng.normal(size=(3, 5)) + 7
    x[9] = np.nan
    return make_batch(MADE, embedding=x.astype(np.float32), split=["train"] * 40 + ["test"] * 20)


TEMPO = GmmSettings(column="tempo", components="3")


def test_a_number_becomes_a_distribution(tempi: Batch) -> None:
    """A tempo would be no target of the divergence, or factor 1 not the slowest."""
    result = run(Gmm, tempi, TEMPO)
    table = concatenate(list(result.rows))
    shares = table["gmm"]
    column = table.columns["gmm"]
    assert (column.role, column.kind, column.shape) == ("target", "vector", (3,))
    assert column.settings["digest"] == result.fitted.digest
    known = np.isfinite(tempi["tempo"])
    np.testing.assert_allclose(shares[known].sum(axis=1), 1.0, atol=1e-5)
    assert np.isnan(shares[~known]).all()
    assert result.notes[-1] == "2 of 90 rows have no tempo, and so no gmm"
    assert (shares[known].argmax(axis=1) == np.tile([0, 1, 2], 30)[known]).all()
    task = make_task("gmm", None, shares, known)
    assert len(task["vocabulary"]) == 3


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (Gmm, TEMPO),
        (Quantile, QuantileSettings(column="tempo")),
        (Quantile, QuantileSettings(column="embedding")),
        (Pca, PcaSettings(components=2)),
    ],
)
def test_the_test_rows_change_nothing(
    method: Any, settings: Any, tempi: Batch, vectors: Batch, make_batch: Any
) -> None:
    """What is learnt from would have seen the test rows, and nobody could tell."""
    batch = vectors if method is Pca or settings.column == "embedding" else tempi
    name = "embedding" if batch is vectors else "tempo"
    train = batch["split"] == "train"
    other = batch[name].copy()
    other[~train] = 1000.0 + np.arange((~train).sum()).reshape(-1, *[1] * (other.ndim - 1))
    described = batch.columns[name]
    changed = batch.replace(described, other)
    fitted = run(method, batch, settings).fitted
    assert run(method, changed, settings).fitted.to_bytes() == fitted.to_bytes()
    used = train & np.isfinite(batch[name].reshape(len(batch), -1)).all(axis=1)
    assert fitted.fitted_on == FittedOn.of(batch.ids[used], ["train"] * int(used.sum()))
    seen = run(method, batch, replace(settings, ignore_split=True)).fitted
    assert seen.fitted_on is not None
    assert seen.fitted_on.parts.keys() == {"train", "test"}
    assert seen.to_bytes() != fitted.to_bytes()


@pytest.mark.parametrize(
    ("method", "settings", "new"),
    [
        (Gmm, TEMPO, "gmm"),
        (Quantile, QuantileSettings(column="tempo"), "quantile"),
        (Quantile, QuantileSettings(column="embedding"), "embedding.quantile"),
        (Pca, PcaSettings(), "embedding.pca"),
    ],
)
def test_what_was_fitted_is_applied(
    method: Any, settings: Any, new: str, tempi: Batch, vectors: Batch, tmp_path: Path
) -> None:
    """New tracks would get other targets than the same tracks had."""
    batch = vectors if new.startswith("embedding") else tempi
    result = run(method, batch, settings)
    table = concatenate(list(result.rows))
    path = str(tmp_path / "fitted.npz")
    write_fitted(path, result.fitted)
    again = read_fitted(path, *method.METHODS)
    assert again.digest == result.fitted.digest
    rows = [50, 3, 9, 4]
    applied = made(method, batch.take(rows).without(["split"]), type(settings)(apply=path), again)
    np.testing.assert_allclose(applied[new], table[new][rows], rtol=1e-6, atol=1e-6)
    assert applied.columns[new].settings == table.columns[new].settings


def test_auto_keeps_all_criteria(tempi: Batch, make_batch: Any) -> None:
    """Nobody could see how clear the choice of -k auto was."""
    result = run(Gmm, tempi, GmmSettings(column="tempo", components="auto"))
    assert len(result.fitted.arrays["means"]) == 3
    criteria = result.fitted.arrays["bic"]
    assert criteria.argmin() == 2
    assert f"{criteria[2]:.1f} of 3, next" in result.notes[0]
    normal = make_batch(tempo=np.random.default_rng(0).normal(size=60).tolist())
    with pytest.raises(UsageError, match=r"a single component of tempo.*--task tempo"):
        run(Gmm, normal, GmmSettings(components="auto"))


def test_years_have_a_distribution(tempi: Batch) -> None:
    """A column of whole numbers, which repeat, would blow up or be refused."""
    shares = made(Gmm, tempi, GmmSettings(column="year", components="12"))["gmm"]
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-5)
    with pytest.raises(UsageError, match=r"12 different numbers in year; ask for so many"):
        run(Gmm, tempi, GmmSettings(column="year", components="13"))


def test_quantiles_are_scikit_learns(tempi: Batch, vectors: Batch) -> None:
    """A number would be another normal than scikit-learn's, or that of other rows."""
    table = made(Quantile, tempi, QuantileSettings(column="tempo"))
    column = table.columns["quantile"]
    assert (column.kind, column.role) == ("number", "target")
    x = tempi["tempo"][:, None]
    known = QuantileTransformer(n_quantiles=59, output_distribution="normal")
    known.fit(x[:60][np.isfinite(x[:60, 0])])
    np.testing.assert_allclose(table["quantile"], known.transform(x)[:, 0], atol=1e-6)

    table = made(Quantile, vectors, QuantileSettings(column="embedding"))
    x = vectors["embedding"].astype(np.float64)
    own = x[:40][np.isfinite(x[:40, 0])]
    theirs = QuantileTransformer(n_quantiles=39, output_distribution="normal").fit(own)
    np.testing.assert_allclose(table["embedding.quantile"], theirs.transform(x), atol=1e-4)


def test_components_are_scikit_learns(vectors: Batch) -> None:
    """Directions would not be those of the train rows, or vectors projected otherwise."""
    result = run(Pca, vectors, PcaSettings(components=2))
    table = concatenate(list(result.rows))
    x = vectors["embedding"].astype(np.float64)
    own = x[:40][np.isfinite(x[:40, 0])]
    theirs = PCA(2).fit(own)
    whole = np.isfinite(x[:, 0])
    expected = theirs.transform(x[whole])
    got = table["embedding.pca"]
    signs = np.sign((got[whole] * expected).sum(axis=0))
    np.testing.assert_allclose(got[whole] * signs, expected, atol=1e-4)
    assert np.isnan(got[9]).all()
    share = theirs.explained_variance_ratio_.sum()
    assert f"2 components of embedding with {share:.1%} of the variance" in result.notes[0]
    # They vary in three directions, of which two have 95 % of the variance.
    for components, width in ((0.0, 3), (0.95, PCA(0.95).fit(own).n_components_)):
        assert made(Pca, vectors, PcaSettings(components=components))["embedding.pca"].shape == (
            60, width,
        )  # fmt: skip


def test_what_becomes_of_vectors_is_an_embedding(vectors: Batch) -> None:
    """mt-eval probe and mt-train could not take it, or would try to learn it as a distribution."""
    table = made(Pca, vectors, PcaSettings(as_="small"))
    assert embeddings_of(table.columns, ["small"]) == ["small"]
    assert "small" in embeddings_of(table.columns, [])
    assert input_column(table.columns, "small", "mlp") == table.columns["small"]
    with pytest.raises(UsageError, match="none of the 59 labelled training rows is a distribution"):
        make_task("small", None, table["small"], np.ones(60, bool))


def test_a_vector_that_lacks_numbers_keeps_the_others(make_batch: Any) -> None:
    """A song with one descriptor that failed would lose all."""
    x = np.arange(24, dtype=np.float32).reshape(8, 3)
    x[2, 1] = np.nan
    x[:, 2] = 5
    batch = make_batch(embedding=x)
    result = run(Quantile, batch, QuantileSettings())
    got = concatenate(list(result.rows))["embedding.quantile"]
    assert np.isnan(got[2]).tolist() == [False, True, False]
    assert np.isfinite(np.delete(got, 2, axis=0)).all()
    assert "1 of 3 numbers do not vary and become 0" in result.notes[0]
    assert (got[:, 2] == 0).all()


def test_other_vectors_are_refused(vectors: Batch, make_batch: Any) -> None:
    """Directions of one network's embeddings would be applied to another's."""
    fitted = run(Pca, vectors, PcaSettings()).fitted
    settings = PcaSettings(apply="pca.npz")
    other = make_batch(MADE | {"digest": "b"}, embedding=vectors["embedding"])
    with pytest.raises(SettingsMismatch, match="--apply pca.npz: .*digest: got 'b', expected 'a'"):
        run(Pca, other, settings, fitted)
    narrow = make_batch(MADE, embedding=vectors["embedding"][:, :2])
    with pytest.raises(SettingsMismatch, match="width: got 2, expected 5"):
        run(Pca, narrow, settings, fitted)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        (Gmm, GmmSettings(), "tempo, year: choose one with --column"),
        (Gmm, GmmSettings(column="embedding"), "expected columns of numbers, got a vector column"),
        (Gmm, GmmSettings(column="speed"), "--column speed: no such column"),
        (Gmm, GmmSettings(column="tempo", components="1"), "expected 2 or more, such as 50, or"),
        (Gmm, GmmSettings(column="tempo", components="many"), "expected 2 or more, such as 50, or"),
        (Gmm, GmmSettings(column="tempo", as_="year"), "'year': name the new one with --as NAME"),
        (Gmm, GmmSettings(column="length"), "1 different numbers in length; choose another"),
        (Quantile, QuantileSettings(), "tempo, year, embedding: choose one"),
        (Quantile, QuantileSettings(column="length"), "is the same in all 9 train rows"),
        (Quantile, QuantileSettings(column="bare"), "no train row has a value in bare"),
        (Pca, PcaSettings(column="tempo"), "expected columns of vectors, got a number column"),
        (Pca, PcaSettings(components=2.5), "expected a number of components such as 20"),
        (Pca, PcaSettings(components=9), "vary in 3 directions of 3; ask for fewer"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    method: Any, settings: Any, message: str, make_batch: Any
) -> None:
    """Each mistake is one line that says what to do."""
    rng = np.random.default_rng(0)
    batch = make_batch(
        tempo=rng.normal(size=9).tolist(),
        year=[2000 + i for i in range(9)],
        embedding=rng.normal(size=(9, 3)).astype(np.float32),
        length=[30.0] * 9,
    )
    if settings.column == "bare":
        batch = batch.append(batch.columns["tempo"].renamed("bare"), [None] * 9)
    with pytest.raises(UsageError, match=message) as raised:
        run(method, batch, settings)
    assert "\n" not in str(raised.value)


def test_no_rows_are_no_fit(make_batch: Any) -> None:
    """An empty table would end in an error about numbers, not in exit 5."""
    batch = make_batch(tempo=[1.0]).take([])
    with pytest.raises(NoRows):
        Gmm.run(lambda: iter([]), iter([]), batch.columns, GmmSettings(), None)


@pytest.mark.slow
def test_the_commands_chain(sh: Shell, corpus: Path) -> None:
    """In a shell, targets come through a pipe, what saw the test rows shows, and is applied."""
    sh(f"mt-fetch split {corpus}/tracks.parquet -o split.parquet", ok=True)
    sh(
        "mt-factor gmm split.parquet --column tempo -k 3 --as bpm --fitted bpm.npz"
        " | mt-factor quantile - --column year --as when -o targets.parquet",
        ok=True,
    )
    again = "mt-factor gmm targets.parquet --apply bpm.npz --as again --format jsonl"
    done = sh(f"{again} | python3 -c 'import json, sys\nfor line in sys.stdin: row = "
              "json.loads(line); assert row[\"bpm\"] == row[\"again\"], row'")  # fmt: skip
    assert done.returncode == 0, done.stderr
    fair = sh("mt-eval check targets.parquet").stdout
    assert b"fitted-on-test" not in fair
    sh("mt-factor gmm split.parquet --column tempo -k 3 --ignore-split -o seen.parquet", ok=True)
    seen = sh("mt-eval check seen.parquet")
    assert seen.returncode == 4
    assert b"fitted-on-test" in seen.stdout
