"""mt-embed without its command: every way to a vector gives the same vector."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
import torch

from mt_tools.errors import RunError, SettingsMismatch, UsageError
from mt_tools.features.presets import preset
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.build import build_multitask
from mt_tools.nets.model import Model
from mt_tools.nets.several import maker_of
from mt_tools.nets.weights import resolve
from mt_tools.sound.decode import decode
from mt_tools.stages import embed, spec
from mt_tools.tables.batch import Batch, concatenate
from mt_tools.tables.columns import Column
from mt_tools.tables.document import read_document, write_document
from mt_tools.tables.sink import Output, to_file
from mt_tools.tables.source import Source, open_table, source_of

FEATURES = FeatureSettings(
    sample_rate=8000, n_fft=512, hop=256, bands=24, scale="log", excerpt="segment:0.7"
)


@pytest.fixture(scope="module")
def small() -> Model:
    """An untrained convolutional network on segments of 0.7 s."""
    net = build_multitask("cnn", {"channels": [8, 8], "dropout": 0.0}, (24, 22), {}, seed=3)
    net.eval()
    source = {"kind": "feature", "settings": FEATURES.to_json(), "shape": [24, 22]}
    return Model.create(
        net, name="small", arch="cnn", parameters={"channels": [8, 8], "dropout": 0.0}, input=source
    )


def made_by(model: Model, column: str = "embedding") -> list[embed.Made]:
    """Return one column of one model."""
    return [embed.Made(column, (model.name,), (model,))]


def run(
    batches: Any,
    model: Model | list[embed.Made],
    fail: Any,
    folder: Path,
    earlier: embed.Earlier | None = None,
    **options: Any,
) -> Batch:
    """Embed in this process; return all rows as one batch."""
    batches = list(batches)
    made = model if isinstance(model, list) else made_by(model)
    settings: dict[str, Any] = {"batch_size": 5, "folders": [str(folder)]} | options
    way = embed.Way(**settings)
    return concatenate(list(embed.run(batches, batches[0].columns, made, way, fail, earlier)))


@pytest.mark.parametrize(("how", "factor"), [("mean", 1), ("mean+std", 2), ("concat:3", 3)])
def test_tracks_and_features_give_the_same_vectors(
    few: Any, corpus: Path, failures: Any, small: Model, how: str, factor: int
) -> None:
    """A pipeline with mt-spec in it and one without must agree, to 1e-5, ids and all."""
    tracks = list(few)
    direct = run(tracks, small, failures, corpus, pool=how)
    mels = list(
        spec.run(
            tracks,
            FEATURES,
            name="mel",
            storage=spec.Storage(),
            folders=[str(corpus)],
            jobs=0,
            fail=failures,
        )
    )
    assert len(mels[0]) == 16
    through = run(mels, small, failures, corpus, pool=how)
    assert (
        through.ids.tolist() == direct.ids.tolist() == [f"synth-000{i}.flac" for i in (1, 2, 3, 4)]
    )
    assert direct["embedding"].shape == (4, factor * small.width)
    np.testing.assert_allclose(through["embedding"], direct["embedding"], atol=1e-5)
    for batch in (direct, through):
        said = batch.columns["embedding"].settings
        assert said == {
            "model": "small", "digest": small.digest, "pooling": how, "excerpt": "segment:0.7",
        }  # fmt: skip
        assert "mel" not in batch


@pytest.mark.parametrize("how", ["", "none"])
def test_unpooled_segments_are_rows_each(
    few: Any, corpus: Path, failures: Any, small: Model, how: str
) -> None:
    """Without pooling every segment has its vector: none may be dropped on the way."""
    tracks = [next(few).take([0, 1])]
    direct = run(tracks, small, failures, corpus, pool=how)
    assert direct.ids[:4].tolist() == [f"synth-0001.flac@{s}" for s in ("0", "0.7", "1.4", "2.1")]
    mels = spec.run(
        tracks,
        FEATURES,
        name="mel",
        storage=spec.Storage(),
        folders=[str(corpus)],
        jobs=0,
        fail=failures,
    )
    through = run(mels, small, failures, corpus, pool=how)
    assert through.ids.tolist() == direct.ids.tolist()
    np.testing.assert_allclose(through["embedding"], direct["embedding"], atol=1e-5)
    # Pooled by hand they are the pooled vectors.
    pooled = run(tracks, small, failures, corpus, pool="mean+std")["embedding"][0]
    mine = direct["embedding"][:4]
    np.testing.assert_allclose(pooled, [*mine.mean(axis=0), *mine.std(axis=0)], atol=1e-5)


def test_batch_size_changes_nothing(few: Any, corpus: Path, failures: Any, small: Model) -> None:
    """Across batch sizes vectors agree to 1e-5."""
    tracks = list(few)
    one, many = (
        run(tracks, small, failures, corpus, pool="mean", batch_size=size) for size in (1, 100)
    )
    np.testing.assert_allclose(one["embedding"], many["embedding"], atol=1e-5)


def test_mfcc_statistics_are_those_of_the_frames(few: Any, corpus: Path, failures: Any) -> None:
    """The baseline is mean and deviation of 60 rows of librosa-like MFCC, 120 numbers."""
    tracks = [next(few).take([0])]
    found = run(tracks, resolve("mfcc-stats"), failures, corpus)["embedding"]
    settings = FeatureSettings(kind="mfcc", n_mfcc=20, deltas=2)
    (frames,) = spec.run(
        tracks,
        settings,
        name="mfcc",
        storage=spec.Storage(),
        folders=[str(corpus)],
        jobs=0,
        fail=failures,
    )
    rows = frames["mfcc"][0]
    expected = np.concatenate([rows.mean(axis=1), rows.std(axis=1)])
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-4)


def test_features_of_other_settings_are_refused_spelled_out(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """A network fed with foreign features gives numbers without meaning."""
    mel = np.zeros((1, 24, 22), np.float32)
    other = {**FEATURES.to_json(), "hop": 128, "mel_scale": "htk"}
    with pytest.raises(SettingsMismatch, match=r"hop: got 128, expected 256; mel_scale: got 'htk'"):
        run([make_batch(other, mel=mel)], small, failures, tmp_path)
    with pytest.raises(SettingsMismatch, match="does not say how it was made"):
        run([make_batch(mel=mel)], small, failures, tmp_path)
    with pytest.raises(UsageError, match="no column 'x'"):
        run([make_batch(FEATURES.to_json(), mel=mel)], small, failures, tmp_path, chosen="x")


def test_longer_features_are_cut_as_tracks_are(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """A model of short crops, fed with rows of 29 s, would see what it was never trained on."""
    rng = np.random.default_rng(0)
    settings = {**FEATURES.to_json(), "excerpt": "centre:2"}
    mel = rng.normal(size=(2, 24, 63)).astype(np.float32)
    given = {"start": [None, 10.0], "length": [4.0, 30.0], "mel": mel}
    rows = run([make_batch(settings, **given)], small, failures, tmp_path)
    pieces = np.stack([row[:, first : first + 22] for row in mel for first in (0, 22)])
    np.testing.assert_allclose(rows["embedding"], small.embed(pieces), atol=1e-6)
    # 22 frames last 0.704 s; the centre of 4 s begins at 1 s, that of 10 to 30 s at 19 s.
    assert rows.ids.tolist() == ["t0@1", "t0@1.704", "t1@19", "t1@19.704"]
    assert rows.origins.tolist() == ["t0", "t0", "t1", "t1"]
    np.testing.assert_allclose(rows["duration"], 0.704)
    assert rows.columns["embedding"].settings["excerpt"] == "segment:0.7"
    pooled = run([make_batch(settings, **given)], small, failures, tmp_path, pool="mean")
    expected = rows["embedding"].reshape(2, 2, -1).mean(axis=1)
    np.testing.assert_allclose(pooled["embedding"], expected, atol=1e-6)
    assert pooled.ids.tolist() == ["t0", "t1"]
    # Where no length is known, pooled vectors are, and places are not.
    given = {"start": [None, 10.0], "length": [None, 30.0], "mel": mel}
    again = run([make_batch(settings, **given)], small, failures, tmp_path, pool="mean")
    np.testing.assert_allclose(again["embedding"], expected, atol=1e-6)
    rows = run([make_batch(settings, **given)], small, failures, tmp_path)
    assert rows.ids.tolist() == ["t1@19", "t1@19.704"]
    assert failures == [("t0", "no-length")]


def test_features_of_another_length_fit_a_network_of_any_length(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """Excerpt and frames are no mismatch for a network that takes any number of frames."""
    rng = np.random.default_rng(0)
    settings = {**FEATURES.to_json(), "excerpt": "first:1.2"}
    mel = rng.normal(size=(2, 24, 38)).astype(np.float32)
    found = run([make_batch(settings, mel=mel)], small, failures, tmp_path)
    np.testing.assert_allclose(found["embedding"], small.embed(mel), atol=1e-6)
    assert found.columns["embedding"].settings["excerpt"] == "first:1.2"


def test_pooling_that_finds_nothing_to_pool_is_refused(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """--pool mean+std on rows that are whole would append zeros, and say it had pooled."""
    batch = mels_of(make_batch)
    with pytest.raises(UsageError, match=r"--pool mean\+std finds nothing.*first:0\.7.*mt-spec"):
        run([batch], small, failures, tmp_path, pool="mean+std")
    parameters = {"units": 5, "hidden": 7}
    net = build_multitask("mfcc-lstm-seq", parameters, (24, 22), {}, seed=0)
    songs = Model.create(
        net, name="songs", arch="mfcc-lstm-seq", parameters=parameters,
        input={"kind": "feature", "settings": FEATURES.to_json(), "shape": [24, 22]},
    )  # fmt: skip
    parts = make_batch(FEATURES.to_json(), mel=batch["mel"], origin=["a", "a", "b"])
    with pytest.raises(UsageError, match="takes whole songs"):
        run([parts], songs, failures, tmp_path, pool="mean")
    assert len(run([parts], songs, failures, tmp_path)) == 2


def test_a_row_whose_features_are_not_finite_is_reported(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """An infinite vector in an embedding table breaks every fit that reads it."""
    mel = np.zeros((3, 24, 22), np.float32)
    mel[1, 0, 0] = np.inf
    made = run([make_batch(FEATURES.to_json(), mel=mel)], small, failures, tmp_path)
    assert made.ids.tolist() == ["t0", "t2"]
    assert failures == [("t1", "not-finite")]


def test_an_existing_column_is_not_overwritten(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """Hours of embeddings must not be lost to a second call."""
    batch = make_batch(path=["x"], embedding=np.ones((1, 4), np.float32))
    with pytest.raises(UsageError, match="--as NAME"):
        run([batch], small, failures, tmp_path)


def test_lengths_of_segments(failures: Any, small: Model, make_batch: Any, tmp_path: Path) -> None:
    """--segment is asked for where nothing says how long, and refused where all is cut."""
    with pytest.raises(UsageError, match="--segment S"):
        run([make_batch(path=["x"])], resolve("mfcc-stats"), failures, tmp_path, pool="mean")
    mel = np.zeros((1, 24, 22), np.float32)
    with pytest.raises(UsageError, match="--segment has no effect"):
        run([make_batch(FEATURES.to_json(), mel=mel)], small, failures, tmp_path, segment=3.0)


@pytest.mark.parametrize("how", ["median", "concat:0", "mean+", "concat"])
def test_unknown_poolings_are_answered_with_the_known(how: str) -> None:
    """A typing error is met before anything is decoded."""
    with pytest.raises(UsageError, match=r"expected mean, mean\+std, max, gem, or concat:N.*none"):
        embed.check_pool(how)


def test_columns_of_a_batch_are_kept_on_request(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """--keep leaves the features, which are dropped otherwise; labels always pass."""
    mel = np.zeros((1, 24, 22), np.float32)
    batch = make_batch(FEATURES.to_json(), mel=mel, genre=["x"])
    assert "mel" not in run([batch], small, failures, tmp_path)
    kept = run([batch], small, failures, tmp_path, keep=True)
    assert {"mel", "genre", "embedding"} <= set(kept.names)
    assert isinstance(kept.columns["embedding"], Column)


# --- layers, models side by side -----------------------------------------------------------------


def mels_of(make_batch: Any, rows: int = 3) -> Batch:
    """Return rows of features that the small network takes."""
    mel = np.random.default_rng(0).normal(size=(rows, 24, 22)).astype(np.float32)
    return make_batch(FEATURES.to_json() | {"excerpt": "first:0.7"}, mel=mel)


def another() -> Model:
    """Another network on the same features."""
    parameters = {"channels": [4], "dropout": 0.0}
    net = build_multitask("cnn", parameters, (24, 22), {}, seed=8)
    net.eval()
    source = {"kind": "feature", "settings": FEATURES.to_json(), "shape": [24, 22]}
    return Model.create(net, name="another", arch="cnn", parameters=parameters, input=source)


def test_layers_stand_side_by_side(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """Early and late layers (DJ study) are the means of their maps, in the order asked for."""
    batch = mels_of(make_batch)
    (made,) = embed.parse_models(["x"], ["conv2", "conv1"], "embedding", lambda name: small)
    found = run([batch], [made], failures, tmp_path)
    layers = small.net.named_layers()
    with torch.inference_mode():
        one = layers["shared.conv1"](layers["shared.input"](torch.from_numpy(batch["mel"])))
        two = layers["shared.conv2"](one)
    expected = torch.cat([two.mean(dim=(2, 3)), one.mean(dim=(2, 3))], dim=1).numpy()
    np.testing.assert_allclose(found["embedding"], expected, atol=1e-5)
    said = found.columns["embedding"].settings
    assert said["layers"] == ["conv2", "conv1"]
    assert said["digest"] != small.digest
    with pytest.raises(UsageError, match=r"conv9.*conv"):
        embed.parse_models(["x"], ["conv9"], "embedding", lambda name: small)


def test_models_stand_side_by_side_or_in_columns(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """MSS-CR (REP study) is one column of several networks; an alias gives one of its own."""
    models = {"a": small, "b": another()}
    batch = mels_of(make_batch)
    alone = {name: run([batch], model, failures, tmp_path) for name, model in models.items()}
    made = embed.parse_models(["a", "x=b", "b"], [], "embedding", models.__getitem__)
    found = run([batch], made, failures, tmp_path)
    both = np.hstack([alone["a"]["embedding"], alone["b"]["embedding"]])
    np.testing.assert_allclose(found["embedding"], both, atol=1e-6)
    np.testing.assert_allclose(found["embedding.x"], alone["b"]["embedding"], atol=1e-6)
    assert found.names == ["id", "embedding", "embedding.x"]
    assert found.columns["embedding"].settings["model"] == ["a", "b"]
    one, two = (alone[n].columns["embedding"].settings for n in "ab")
    assert found.columns["embedding.x"].settings == two | {"model": "b"}
    assert found.columns["embedding"].settings["digest"] not in (one["digest"], two["digest"])


def test_what_was_made_side_by_side_is_a_backbone(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """A model that learns from two networks' embeddings carries both, and reads sound again."""
    small.save(tmp_path / "a.safetensors")
    another().save(tmp_path / "b.safetensors")
    batch = mels_of(make_batch)
    made = embed.parse_models(
        ["a.safetensors", "b.safetensors"], ["conv1"], "embedding",
        lambda name: resolve(str(tmp_path / name)),
    )  # fmt: skip
    vectors = run([batch], made, failures, tmp_path)
    settings = vectors.columns["embedding"].settings
    backbone = maker_of(settings, [str(tmp_path)])
    net = build_multitask("mlp", {"hidden": [5]}, (12,), {}, seed=1)
    net.eval()
    head = Model.create(
        net, name="head", arch="mlp", parameters={"hidden": [5]}, backbone=backbone,
        input={"kind": "embedding", "settings": settings, "width": 12},
    )  # fmt: skip
    head.save(tmp_path / "head.safetensors")
    again = Model.load(tmp_path / "head.safetensors")
    assert again.digest == head.digest
    assert all(check.ok for check in again.selftest())
    made = made_by(again, "embedding.head")
    found = [run([b], made, failures, tmp_path)["embedding.head"] for b in (batch, vectors)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    with pytest.raises(RunError, match="digest differs"):
        maker_of(settings | {"digest": "x"}, [str(tmp_path)])


@pytest.mark.parametrize("how", ["mean+std", "concat:2"])
def test_models_side_by_side_are_pooled_as_their_backbone_is(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path, how: str
) -> None:
    """A head on two pooled networks would get its numbers in another order when it hears sound."""
    small.save(tmp_path / "a.safetensors")
    another().save(tmp_path / "b.safetensors")
    mel = np.random.default_rng(0).normal(size=(4, 24, 22)).astype(np.float32)
    batch = make_batch(FEATURES.to_json(), mel=mel, origin=["x", "x", "y", "y"])
    made = embed.parse_models(
        ["a.safetensors", "b.safetensors"], [], "embedding",
        lambda name: resolve(str(tmp_path / name)),
    )  # fmt: skip
    vectors = run([batch], made, failures, tmp_path, pool=how)
    settings = vectors.columns["embedding"].settings
    width = vectors["embedding"].shape[1]
    assert width == 2 * (small.width + another().width)
    net = build_multitask("mlp", {"hidden": [5]}, (width,), {}, seed=1)
    net.eval()
    head = Model.create(
        net, name="head", arch="mlp", parameters={"hidden": [5]},
        input={"kind": "embedding", "settings": settings, "width": width},
        backbone=maker_of(settings, [str(tmp_path)]),
    )  # fmt: skip
    made = made_by(head, "embedding.head")
    found = [run([b], made, failures, tmp_path)["embedding.head"] for b in (batch, vectors)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_models_of_unlike_features_share_a_column(
    few: Any, corpus: Path, failures: Any, small: Model
) -> None:
    """A network beside MFCC statistics: each decodes what it needs, and the rows stay one."""
    models = {"net": small, "mfcc": resolve("mfcc-stats")}
    tracks = [next(few).take([0, 1])]
    options: dict[str, Any] = {"pool": "mean", "segment": 0.7}
    alone = [run(tracks, model, failures, corpus, **options) for model in models.values()]
    made = embed.parse_models(["net", "mfcc"], [], "embedding", models.__getitem__)
    found = run(tracks, made, failures, corpus, **options)
    both = np.hstack([batch["embedding"] for batch in alone])
    np.testing.assert_allclose(found["embedding"], both, rtol=1e-4, atol=1e-4)
    assert found.ids.tolist() == tracks[0].ids.tolist()
    for order in (["net", "mfcc"], ["mfcc", "net"]):
        made = embed.parse_models(order, [], "embedding", models.__getitem__)
        with pytest.raises(UsageError, match="say --pool mean"):
            run(tracks, made, failures, corpus)


def test_precision_is_asked_for_and_said(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """Half precision changes vectors a little: the column says so."""
    batch = mels_of(make_batch)
    exact, half = (
        run([batch], small, failures, tmp_path, precision=p) for p in ("float32", "bfloat16")
    )
    assert half.columns["embedding"].settings["precision"] == "bfloat16"
    assert "precision" not in exact.columns["embedding"].settings
    assert 0 < np.abs(exact["embedding"] - half["embedding"]).max() < 0.05


def test_overlapping_segments(few: Any, corpus: Path, failures: Any, small: Model) -> None:
    """--hop begins a segment every so many seconds; each is what it would be alone."""
    tracks = [next(few).take([0])]
    rows = run(tracks, small, failures, corpus, segment=0.7, hop=0.35)
    starts = rows["start"].tolist()
    np.testing.assert_allclose(starts, np.arange(len(starts)) * 0.35, atol=1e-9)
    assert len(starts) == 7  # (3 - 0.7) / 0.35 = 6.57: seven begin before it is too late
    plain = run(tracks, small, failures, corpus, segment=0.7)
    np.testing.assert_allclose(rows["embedding"][::2], plain["embedding"], atol=1e-5)
    assert rows.columns["embedding"].settings["excerpt"] == "segment:0.7:0.35"


# --- only what is new ----------------------------------------------------------------------------


@pytest.fixture
def library(corpus: Path, tmp_path: Path) -> Path:
    """A small folder of music of one's own."""
    folder = tmp_path / "music"
    folder.mkdir()
    for number in (1, 2, 3):
        shutil.copy(corpus / "data" / f"synth-000{number}.flac", folder / f"{number}.flac")
    return folder


def scanned(folder: Path, make_batch: Any) -> Batch:
    """Return the tracks of a folder, by name."""
    names = sorted(path.name for path in folder.iterdir())
    return make_batch(id=names, path=names)


@pytest.mark.parametrize("how", ["mean", "none"])
def test_only_new_sound_is_embedded(
    library: Path, corpus: Path, make_batch: Any, failures: Any, small: Model, how: str
) -> None:
    """A nightly run over a library costs what was added, not what was renamed or tagged."""
    first = embed.Earlier(None)
    old = run([scanned(library, make_batch)], small, failures, library, first, pool=how)
    assert (first.taken, first.new, first.note) == (0, 3, "")
    (library / "1.flac").rename(library / "4 - renamed.flac")
    tagged = mutagen.File(library / "2.flac")
    tagged["TITLE"] = "a title" * 999
    tagged.save()
    (library / "3.flac").unlink()
    shutil.copy(corpus / "data" / "synth-0004.flac", library / "3.flac")
    now = scanned(library, make_batch)
    # Vectors that no network gives, to know them again.
    marked = old.replace(old.columns["embedding"], old["embedding"] + 1000)
    earlier = embed.Earlier(marked)
    updated = run([now], small, failures, library, earlier, pool=how)
    assert (earlier.taken, earlier.new, earlier.note) == (2, 1, "")
    scratch = run([now], small, failures, library, embed.Earlier(None), pool=how)
    assert updated.ids.tolist() == scratch.ids.tolist()
    assert updated.names == scratch.names
    assert updated.columns == scratch.columns
    assert updated["audio_digest"].tolist() == scratch["audio_digest"].tolist()
    taken = np.array([1000 * ("3.flac" not in id_) for id_ in updated.ids])
    np.testing.assert_allclose(
        updated["embedding"] - taken[:, None], scratch["embedding"], atol=1e-3
    )
    if how == "none":
        assert updated["start"].tolist() == scratch["start"].tolist()
        assert len(updated) == 12


def test_nothing_new_and_everything_gone(
    library: Path, make_batch: Any, failures: Any, small: Model
) -> None:
    """A library that did not change gives the same table; a file that went takes its row along."""
    old = run(
        [scanned(library, make_batch)], small, failures, library, embed.Earlier(None), pool="mean"
    )
    (library / "2.flac").unlink()
    earlier = embed.Earlier(old)
    again = run([scanned(library, make_batch)], small, failures, library, earlier, pool="mean")
    assert (earlier.taken, earlier.new) == (2, 0)
    assert again.ids.tolist() == ["1.flac", "3.flac"]
    np.testing.assert_array_equal(again["embedding"], old["embedding"][[0, 2]])


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"pool": "max"}, "pooling: got 'mean', expected 'max'"),
        ({"segment": 0.5}, "excerpt: got 'segment:0.7', expected 'segment:0.5'"),
        ({"model": True}, "digest: got"),
        ({"content": True}, "no column 'audio_digest'"),
    ],
)
def test_vectors_that_were_made_otherwise_are_made_again(
    library: Path, make_batch: Any, failures: Any, small: Model, change: Any, note: str
) -> None:
    """Old vectors of other settings or weights would stand beside new ones."""
    tracks = [scanned(library, make_batch).take([0])]
    old = run(tracks, small, failures, library, embed.Earlier(None), pool="mean")
    options = {"pool": "mean"} | change
    if options.pop("content", False):
        old = old.without(["audio_digest"])
    model = another() if options.pop("model", False) else small
    earlier = embed.Earlier(old)
    run(tracks, model, failures, library, earlier, **options)
    assert (earlier.taken, earlier.new) == (0, 1)
    assert note in earlier.note


def test_parts_and_recipes_are_sound_of_their_own(
    library: Path, make_batch: Any, failures: Any, small: Model
) -> None:
    """A pitched copy, or another part of the file, must not take the plain track's vector."""
    batch = make_batch(
        id=["a", "b", "c", "d"], path=["1.flac"] * 4, start=[np.nan, np.nan, 1.0, 1.0],
        recipe=[None, "pitch=2", None, None],
    )  # fmt: skip
    earlier = embed.Earlier(None)
    made = run([batch], small, failures, library, earlier, pool="mean")
    contents = made["audio_digest"].tolist()
    assert len({*contents[:3]}) == 3
    assert contents[3] == contents[2]


def test_a_file_that_went_missing_is_reported(
    library: Path, make_batch: Any, failures: Any, small: Model
) -> None:
    """A missing file is a failed row here as everywhere, and rows keep their order."""
    tracks = make_batch(id=["1.flac", "none", "3.flac"], path=["1.flac", "none.mp3", "3.flac"])
    made = run([tracks], small, failures, library, embed.Earlier(None), pool="mean")
    assert made.ids.tolist() == ["1.flac", "3.flac"]
    assert failures == [("none", "missing")]


def test_update_overwrites_no_column_of_ones_own(
    library: Path, make_batch: Any, failures: Any, small: Model
) -> None:
    """A label that happens to be called as the digest would be lost."""
    batch = make_batch(id=["a"], path=["1.flac"], audio_digest=["mine"])
    with pytest.raises(UsageError, match="rename it"):
        run([batch], small, failures, library, embed.Earlier(None), pool="mean")


def test_update_wants_tracks(make_batch: Any, failures: Any, small: Model, tmp_path: Path) -> None:
    """A table of features has no sound to compare."""
    with pytest.raises(UsageError, match="give it the tracks"):
        run([mels_of(make_batch)], small, failures, tmp_path, embed.Earlier(None))


# --- models of others, and models themselves -----------------------------------------------------


def test_networks_of_waveforms_get_the_sound(
    few: Any, corpus: Path, failures: Any, tmp_path: Path
) -> None:
    """An ONNX or Hugging Face network takes samples at its own rate, segment by segment."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    floats = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("ReduceL2", ["x", "axes"], ["y"], keepdims=1)], "g",
        [onnx.helper.make_tensor_value_info("x", floats, ["n", 8000])],
        [onnx.helper.make_tensor_value_info("y", floats, ["n", 1])],
        [onnx.helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [1])],
    )  # fmt: skip
    opset = [onnx.helper.make_opsetid("", 18)]
    path = str(tmp_path / "net.onnx")
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    tracks = [next(few).take([0, 1])]
    made = embed.parse_models([f"onnx:{path}?rate=8000"], [], "embedding", resolve)
    found = run(tracks, made, failures, corpus, pool="concat:3")["embedding"]
    for row, name in enumerate(tracks[0]["path"]):
        wave, _ = decode(corpus / name, sample_rate=8000, channels=1)
        parts = wave[0][:24000].reshape(3, 8000)
        np.testing.assert_allclose(found[row], np.linalg.norm(parts, axis=1), rtol=1e-3)


def test_calibration_reads_the_features_of_a_table(
    make_batch: Any, small: Model, tmp_path: Path
) -> None:
    """--calibrate sets a network's norms from one's own music; rows without features do not count."""
    mel = np.random.default_rng(0).normal(3, 2, size=(7, 24, 22)).astype(np.float32)
    mel[4] = np.nan
    table = source_of([make_batch(FEATURES.to_json(), mel=mel)])
    fixed = embed.calibrated(small, table, 3)
    assert fixed.document["training"]["calibrated"] == {"inputs": 6}
    norms = [m for m in fixed.net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    seen = []
    norms[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    fixed.embed(np.delete(mel, 4, axis=0))
    (normal,) = seen
    np.testing.assert_allclose(normal.mean(dim=(0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(normal.std(dim=(0, 2, 3)), 1, atol=1e-2)
    with pytest.raises(UsageError, match="no features that small takes"):
        embed.calibrated(small, source_of([make_batch(path=["x"])]), 3)


def test_update_in_place_and_models_by_the_command(
    sh: Any, corpus: Path, make_batch: Any, tmp_path: Path
) -> None:
    """The lines of the help: a nightly update of a table, a selftest, a calibrated model."""
    for name in ("1", "2"):
        shutil.copy(corpus / "data" / f"synth-000{name}.flac", tmp_path / f"{name}.flac")
    line = "mt-embed . -m mfcc-stats --jobs 0 --update emb.parquet -o emb.parquet"
    assert b"0 of 2 tracks taken" in sh(line, ok=True).stderr
    (tmp_path / "1.flac").rename(tmp_path / "0.flac")
    assert b"2 of 2 tracks taken" in sh(line, ok=True).stderr
    (batch,) = Source([open_table(str(tmp_path / "emb.parquet"))])
    assert batch.ids.tolist() == ["0.flac", "2.flac"]
    small = build_multitask("cnn", {"channels": [4]}, (96, 40), {}, seed=0)
    source = {"kind": "feature", "settings": preset("choi2016").to_json(), "shape": [96, 40]}
    model = Model.create(small, name="s", arch="cnn", parameters={"channels": [4]}, input=source)
    model.save(tmp_path / "s.safetensors")
    tested = sh("mt-embed -m s.safetensors --selftest", ok=True).stdout.decode()
    assert "s: scores as stored" in tested
    assert "batches of 1 on cpu" in tested
    mel = np.random.default_rng(0).normal(size=(6, 96, 40)).astype(np.float32)
    table = Output(lambda: to_file(str(tmp_path / "mels.parquet"), None)([]))
    table.write(make_batch(preset("choi2016").to_json(), mel=mel))
    table.finish(0)
    sh("mt-embed -m s.safetensors --calibrate mels.parquet -o mine.safetensors", ok=True)
    assert Model.load(tmp_path / "mine.safetensors").digest != model.digest
    # A network whose numbers changed under its fingerprint fails its test.
    document, tensors = read_document(tmp_path / "s.safetensors")
    name = "shared.conv1.0.weight"
    write_document(tmp_path / "s.safetensors", document, tensors | {name: tensors[name] * 2})
    failed = sh("mt-embed -m s.safetensors --selftest")
    assert (failed.returncode, b"FAILED" in failed.stdout) == (1, True)
    for line, expected in (
        ("--selftest --calibrate mels.parquet", b"leave out one"),
        ("--selftest --layer conv1", b"leave out --update, --layer and --pool"),
        ("--calibrate mels.parquet", b"-o mine.safetensors"),
    ):
        refused = sh(f"mt-embed -m mine.safetensors {line}")
        assert (refused.returncode, expected in refused.stderr) == (2, True)


def test_the_precision_is_that_of_the_backbone_too(
    make_batch: Any, failures: Any, small: Model, tmp_path: Path
) -> None:
    """The half of a model that takes the time would be computed in full precision."""
    batch = mels_of(make_batch)
    vectors = run([batch], small, failures, tmp_path)
    settings = vectors.columns["embedding"].settings
    width = vectors["embedding"].shape[1]
    net = build_multitask("identity", {}, (width,), {})
    net.eval()
    head = Model.create(
        net, name="head", arch="identity", parameters={}, backbone=small,
        input={"kind": "embedding", "settings": settings, "width": width},
    )  # fmt: skip
    half, through = (
        run([batch], m, failures, tmp_path, precision="bfloat16")["embedding"]
        for m in (small, head)
    )
    np.testing.assert_array_equal(through, half)
    assert (through != vectors["embedding"]).any()
