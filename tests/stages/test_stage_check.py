"""mt-eval check without its command: planted leaks are found, honest tables are clean."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support import Shell

from mt_tools.errors import NoRows, UsageError
from mt_tools.evaluate.settings import CheckSettings
from mt_tools.nets.model import Model
from mt_tools.sound.decode import decode
from mt_tools.stages import augment
from mt_tools.stages.check import FINDING_COLUMNS, Hearing, checked, finding_rows
from mt_tools.stages.settings import AugmentSettings, SplitSettings
from mt_tools.stages.split import drawn, marked
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column
from mt_tools.tables.fitted import FittedOn
from mt_tools.tables.source import Source


def library(make_batch: Any, **columns: Any) -> Batch:
    """Return forty tracks of ten artists, two albums each, with a vector each."""
    rng = np.random.default_rng(0)
    return make_batch(
        **(
            {"path": [f"{i}.wav" for i in range(40)]}
            | {"group": [f"artist {i // 4}" for i in range(40)]}
            | {"artist": [f"artist {i // 4}" for i in range(40)]}
            | {"album": [f"album {i // 2}" for i in range(40)]}
            | {"style": ["ab"[i // 4 % 2] for i in range(40)]}
            | {"embedding": rng.normal(size=(40, 24)).astype(np.float32)}
            | columns
        )
    )


def kinds(batch: Batch, **asked: Any) -> list[str]:
    """Return the kinds of what mt-eval check finds."""
    return [found.kind for found in checked([batch], batch.columns, CheckSettings(**asked))]


def test_an_honest_split_is_clean(make_batch: Any) -> None:
    """Artists and albums stand on one side by intention: that is no finding."""
    settings = SplitSettings(
        method="stratified-grouped", by=("style",), train=0.6, valid=0.2, test=0.2
    )
    batch = library(make_batch)
    (table,) = marked([batch], drawn([batch], settings))
    assert kinds(table) == []
    (table,) = marked([batch], drawn([batch], SplitSettings(folds=3)))
    assert kinds(table) == []


def test_planted_leaks_are_found(make_batch: Any) -> None:
    """Artist, track and identical sound: each planted leak is found by its name."""
    clean = ["train"] * 24 + ["valid"] * 8 + ["test"] * 8
    assert kinds(library(make_batch, split=clean)) == []
    crossed = ["train"] * 22 + ["valid"] * 10 + ["test"] * 8
    found = checked([b := library(make_batch, split=crossed)], b.columns)
    assert [f.kind for f in found] == ["group"]
    assert found[0].offenders == ("artist 5 (train, valid)",)
    vectors = library(make_batch)["embedding"].copy()
    vectors[39] = vectors[0]
    assert kinds(library(make_batch, split=clean, embedding=vectors)) == ["identical-rows"]
    assert kinds(library(make_batch, embedding=vectors)) == ["identical-rows"]
    vectors[39] += 0.01
    near = library(make_batch, split=clean, embedding=vectors)
    assert kinds(near) == ["near-duplicate"]
    assert kinds(near, near=0.0) == []
    copies = augment.run([library(make_batch).without(["embedding"])],
                         AugmentSettings(pitch="1"), fail=lambda *_: None)  # fmt: skip
    both = next(iter(copies)).without(["group"])
    split_after = both.append(Column("split", "string", "reserved"), ["train", "test"] * 40)
    assert "origin" in kinds(split_after)


def test_labels_are_compared_with_groups(make_batch: Any) -> None:
    """A style that one artist alone has passes for one that was learnt; an artist is no style."""
    own = ["c" if i // 4 == 3 else "ab"[i // 4 % 2] for i in range(40)]
    table = library(make_batch, style=own)
    found = checked([table], table.columns)
    assert [(f.kind, f.offenders) for f in found] == [("label-of-group", ("c (artist 3)",))]
    assert kinds(table, task=("artist",)) == ["label-of-group"]
    with pytest.raises(UsageError, match="artist, album, style"):
        kinds(table, task=("embedding",))


def test_what_the_table_was_made_with(make_batch: Any) -> None:
    """Targets that have seen the test rows go unseen; the step says which rows they were."""
    table = library(make_batch, split=["train"] * 24 + ["test"] * 16)
    for rows, expected in ((24, []), (40, ["fitted-on-test"])):
        on = FittedOn.of(table.ids[:rows], table["split"][:rows]).to_json()
        for value in (on, [on]):
            steps = [{"command": "mt-factor plsa", "settings": {"as_": "plsa", "fitted_on": value}}]
            found = checked([table], table.columns, steps=steps)
            assert [f.kind for f in found] == expected
    assert found[0].message.startswith("plsa in mt-factor plsa was fitted on 16 tracks")


def test_a_data_set_is_named_or_known_from_the_table(make_batch: Any) -> None:
    """Known faults would be looked for only where somebody thinks of it."""
    table = make_batch(path=["jazz.00033.wav", "jazz.00051.wav"], style=["jazz", "jazz"])
    assert kinds(table) == []
    assert kinds(table, dataset="gtzan") == ["known-fault"]
    steps = [{"command": "mt-fetch dataset", "settings": {"name": "gtzan"}}]
    assert [f.kind for f in checked([table], table.columns, steps=steps)] == ["known-fault"]
    with pytest.raises(UsageError, match="expected gtzan"):
        kinds(table, dataset="gtzam")
    damaged = make_batch(path=["jazz.00054.wav"])
    assert kinds(damaged, dataset="gtzan") == ["known-fault"]
    assert kinds(make_batch(path=["jazz.00054.wav"], length=[30.0]), dataset="gtzan") == []


@pytest.mark.parametrize("jobs", [0, 2])
def test_files_are_listened_to(
    tracks: Source, corpus: Path, tmp_path: Path, failures: Any, jobs: int
) -> None:
    """A copied and a re-encoded file go unseen, or a missing one ends the run."""
    few = next(iter(tracks)).take(range(5))
    paths = few["path"].tolist()
    shutil.copy(corpus / paths[0], tmp_path / "again.flac")
    wave = np.concatenate([decode(str(corpus / path))[0][0] for path in paths[:4]])
    soundfile.write(tmp_path / "long.flac", wave, 22050)
    soundfile.write(tmp_path / "coded.ogg", 0.5 * wave[10_007:], 22050)
    names = ("long.flac", "again.flac", "coded.ogg", "gone.flac")
    paths[1:] = [str(tmp_path / name) for name in names]
    table = few.replace(Column("path", "string", "reserved"), paths).without(["group"])
    found = checked(
        [table.take([0, 1, 2]), table.take([3, 4])],
        table.columns,
        hearing=Hearing([str(corpus)], jobs, failures),
    )
    ids = table.ids
    assert [(f.kind, f.offenders) for f in found] == [
        ("identical-audio", (f"{ids[0]} = {ids[2]}",)),
        ("same-recording", (f"{ids[1]} ~ {ids[3]}",)),
    ]
    assert failures == [(ids[4], "missing")]


def test_sound_inside_the_table(corpus: Path, make_batch: Any, failures: Any) -> None:
    """A self-contained table (a Hugging Face data set) could not be checked."""
    files = sorted((corpus / "data").iterdir())[:2]
    sounds = [(file.read_bytes(), file.name) for file in (*files, files[0])]
    table = make_batch(audio=sounds, split=["train", "train", "test"])
    found = checked([table], table.columns, hearing=Hearing((), 0, failures))
    assert [(f.kind, f.offenders) for f in found] == [("identical-audio", ("t0 = t2",))]
    assert failures == []


def test_a_table_is_compared_with_a_model(make_batch: Any, fit_model: Callable[..., Model]) -> None:
    """Labels that a model does not know and vectors of another one are named."""
    batch = library(make_batch)
    model = fit_model(batch, "style", epochs=1)
    assert checked([batch], batch.columns, model=model) == []
    other = library(make_batch, style=["new" if i % 8 == 0 else "ab"[i % 2] for i in range(40)])
    found = checked([other], other.columns, model=model)
    assert [(f.kind, f.offenders) for f in found] == [("vocabulary", ("new",))]


def test_findings_are_rows(make_batch: Any) -> None:
    """Findings go down a pipe as rows with all their offenders."""
    crossed = ["train", "test"] * 20
    batch = library(make_batch, split=crossed)
    table = finding_rows(checked([batch], batch.columns))
    assert table.ids.tolist() == ["1.group"]
    assert len(table["offenders"][0]) == table["count"][0] == 10
    assert len(finding_rows([])) == 0
    with pytest.raises(NoRows):
        checked([], batch.columns)


def test_results_are_no_tracks(make_batch: Any) -> None:
    """A job that names the wrong file would pass for ever: there is nothing in it that could leak."""
    batch = make_batch(task=["style"], metric=["accuracy"], label=[None], value=[0.5], low=[0.4],
                       high=[0.6], n=[10])  # fmt: skip
    with pytest.raises(UsageError, match="holds metrics and no tracks, so there is nothing to"):
        checked([batch], batch.columns)
    with pytest.raises(UsageError, match="holds findings and no tracks"):
        checked([], {column.name: column for column in FINDING_COLUMNS})


def test_check_from_a_shell(sh: Shell, corpus: Path, tmp_path: Path) -> None:
    """Bags of frames that have seen the test rows, and files that are gone, would pass in CI."""
    sh(
        f"mt-spec {corpus}/tracks.parquet --bands 8 --whole -q | "
        "mt-fetch split --method grouped --seed 1 -q -o mel.parquet && "
        "mt-factor kmeans mel.parquet -k 20 -o fair.npz -q && "
        "mt-factor kmeans mel.parquet -k 20 --ignore-split -o seen.npz -q && "
        "mt-embed mel.parquet -m bof:fair.npz -o fair.parquet -q && "
        "mt-embed mel.parquet -m bof:seen.npz -o seen.parquet -q",
        ok=True,
    )
    fair = sh("mt-eval check fair.parquet --task key", ok=True)
    assert b"nothing found" in fair.stderr
    assert b"was fitted on" in fair.stderr
    seen = sh("mt-eval check seen.parquet")
    assert seen.returncode == 4
    assert b'"kind": "fitted-on-test"' in seen.stdout
    assert sh("mt-eval check seen.parquet --warn -q").returncode == 0
    lost = sh("mt-eval check fair.parquet --task key --audio --errors e.csv -j 1 -q")
    assert lost.returncode == 3  # the paths are those of another folder
    assert len((tmp_path / "e.csv").read_text().splitlines()) == 37
