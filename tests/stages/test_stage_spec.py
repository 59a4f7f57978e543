"""mt-spec without its command: tracks in, features out, stored and transformed as asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from mt_tools.errors import RunError, SettingsMismatch, UsageError
from mt_tools.features.presets import PRESETS
from mt_tools.features.settings import FeatureSettings
from mt_tools.features.transforms import Transform
from mt_tools.nets.model import Model
from mt_tools.stages import spec, tag
from mt_tools.stages.check import checked
from mt_tools.stages.settings import SpecSettings, TagSettings
from mt_tools.stages.spec import (
    Fit,
    Storage,
    check_bands,
    fit_of,
    recorded,
    storage_of,
)
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column, reserved
from mt_tools.tables.fitted import KEY
from mt_tools.tables.levels import Levels
from mt_tools.tables.source import source_of

SETTINGS = FeatureSettings(sample_rate=22050, n_fft=1024, hop=512, bands=32, excerpt="first:2")
MADE = FeatureSettings(bands=6).to_json()
BYTES = Storage(levels=Levels.between(-80, 0))


def features(
    batches: Any, settings: FeatureSettings, corpus: Path, fail: Any, **options: Any
) -> Any:
    """Run the stage in this process; return the one batch that comes out."""
    options = {"name": "mel", "storage": Storage(), "jobs": 0} | options
    made = list(spec.run(batches, settings, folders=[str(corpus)], fail=fail, **options))
    return made[0] if len(made) == 1 else made


def test_the_column_is_what_librosa_computes(few: Any, corpus: Path, failures: Any) -> None:
    """The whole path from a FLAC to a column agrees with librosa on the same file."""
    batch = features(few, SETTINGS, corpus, failures)
    wave, rate = soundfile.read(corpus / str(batch["path"][1]), always_2d=True)
    assert rate == 22050
    power = librosa.feature.melspectrogram(
        y=wave[: 2 * rate].mean(axis=1), sr=rate, n_fft=1024, hop_length=512, n_mels=32
    )
    expected = librosa.power_to_db(power, top_db=80)
    np.testing.assert_allclose(batch["mel"][1], expected, atol=1e-2)
    assert batch.columns["mel"].settings == SETTINGS.to_json()
    assert batch.columns["mel"].role == "feature"


@pytest.mark.parametrize(
    ("excerpt", "starts", "duration"),
    [
        ("segment:1", [0, 1, 2], 1),
        ("segment:1:0.5", [0, 0.5, 1, 1.5, 2], 1),
        ("segment:1:2", [0, 2], 1),
        ("parts:3", [0, 1, 2], 1),
        ("parts:2:1", [0.25, 1.75], 1),
        ("crops:3:1:5", None, 1),
    ],
)
def test_parts_are_rows_that_say_where_they_are(
    few: Any, corpus: Path, failures: Any, excerpt: str, starts: Any, duration: float
) -> None:
    """ids get @start, the origin is the track, and start and duration select the sound again."""
    settings = dataclasses.replace(SETTINGS, excerpt=excerpt)
    batch = features(few, settings, corpus, failures)
    mine = [i for i, origin in enumerate(batch.origins) if origin == "synth-0001.flac"]
    found = batch["start"][mine]
    if starts is not None:
        np.testing.assert_allclose(found, starts, atol=1e-9)
    assert len(set(batch.ids)) == len(batch) == 4 * len(mine)
    assert batch.ids[mine].tolist() == [f"synth-0001.flac@{start:.10g}" for start in found]
    np.testing.assert_allclose(batch["duration"], duration)
    # A row of a segment, read again as a track, is the same sound.
    again = features(
        [batch.without(["mel"])], dataclasses.replace(SETTINGS, excerpt="first:1"), corpus, failures
    )
    np.testing.assert_allclose(again["mel"], batch["mel"], atol=1e-3)
    assert not failures


def test_tracks_of_unequal_length_are_refused_with_the_way_out(
    tmp_path: Path, make_batch: Any, failures: Any
) -> None:
    """One shape a column: the message says which options make the lengths equal."""
    for name, seconds in (("a", 1), ("b", 2)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(seconds * 22050), 22050)
    batch = make_batch(path=["a.wav", "b.wav"])
    for excerpt in ("whole", "parts:2"):
        whole = dataclasses.replace(SETTINGS, excerpt=excerpt)
        with pytest.raises(UsageError, match=r"t1.* gives .*--segment S, --first S or --centre S"):
            features([batch], whole, tmp_path, failures)
    padded = features([batch], SETTINGS, tmp_path, failures)
    assert padded["mel"].shape == (2, 32, 87)


def test_an_excerpt_of_a_stretched_copy_is_cut_from_what_is_heard(
    few: Any, corpus: Path, failures: Any
) -> None:
    """A copy 25 % slower has its first 2 s from the first 1.6 s of the track, at full length."""
    batch = next(few)
    slower = batch.replace(reserved("recipe"), ["stretch=1.25"] * len(batch))
    settings = dataclasses.replace(SETTINGS, excerpt="segment:1.2")
    rows = features([slower], settings, corpus, failures)
    mine = [i for i, origin in enumerate(rows.origins) if origin == batch.ids[0]]
    # 3 s become 3.75 s: three segments of 1.2 s, which last 0.96 s on the track's own timeline.
    assert rows["start"][mine].tolist() == pytest.approx([0, 0.96, 1.92])
    assert rows["duration"][mine].tolist() == pytest.approx([0.96] * 3)
    assert rows["mel"].shape[1:] == (32, 1 + int(1.2 * 22050) // 512)


# --- how features are stored ---------------------------------------------------------------------


def test_power_is_not_kept_in_float16() -> None:
    """A power STFT overflows float16 silently; once standardised it does not."""
    power = dataclasses.replace(SETTINGS, scale="power")
    with pytest.raises(UsageError, match="float16 overflows"):
        storage_of("float16", "", power)
    with pytest.raises(UsageError, match="float16 overflows"):
        storage_of("float16", "", power, "pca")
    assert storage_of("float16", "", power, "standardise").half
    assert storage_of("float16", "", SETTINGS).half


def test_decibels_in_float16_lose_less_than_a_tenth(few: Any, corpus: Path, failures: Any) -> None:
    """float16 halves the table and costs less than 0.05 dB."""
    batches = list(few)
    full = features(batches, SETTINGS, corpus, failures)["mel"]
    half = features(batches, SETTINGS, corpus, failures, storage=Storage(half=True))
    assert half.columns["mel"].half
    np.testing.assert_allclose(half["mel"], full, atol=0.05)


def test_decibels_in_bytes_lose_half_a_level(few: Any, corpus: Path, failures: Any) -> None:
    """A byte a value costs 0.16 dB of 80, and nothing is clipped that is not said."""
    batches = list(few)
    settings = dataclasses.replace(SETTINGS, reference="max")
    storage = storage_of("uint8", "", settings)
    full = features(batches, settings, corpus, failures)["mel"]
    coded = features(batches, settings, corpus, failures, storage=storage)
    assert coded.columns["mel"].levels == Levels.between(-80, 0)
    np.testing.assert_allclose(coded["mel"], full, atol=80 / 255 / 2 + 1e-4)
    assert storage.note() == ""
    narrow = storage_of("uint8", "-40,-10", settings)
    clipped = features(batches, settings, corpus, failures, storage=narrow)["mel"]
    half = 30 / 255 / 2
    outside = int(((full < -40 - half) | (full > -10 + half)).sum())
    assert narrow.clipped == outside > 0
    assert f"{outside:,} of {full.size:,} values lay outside --levels=-40,-10" in narrow.note()
    np.testing.assert_allclose(clipped, np.clip(full, -40, -10), atol=half + 1e-4)


@pytest.mark.parametrize(
    ("dtype", "levels", "settings", "message"),
    [
        ("uint8", "", {}, "--levels=-100,40, or take decibels below the maximum, --reference max"),
        ("uint8", "", {"reference": "max", "top_db": 0.0}, "needs the range of mel"),
        ("uint8", "", {"reference": "max", "kind": "mfcc"}, "needs the range of mfcc"),
        ("uint8", "", {"reference": "max", "summary": "mean+std"}, "needs the range"),
        ("uint8", "5", {}, "expected two numbers, the lower first"),
        ("uint8", "5,a", {}, "expected two numbers"),
        ("uint8", "5,5", {}, "expected two numbers"),
        ("float16", "-5,5", {}, "--levels is for --dtype uint8, got float16"),
    ],
)
def test_ranges_that_nobody_knows(
    dtype: str, levels: str, settings: dict[str, Any], message: str
) -> None:
    """Features would be clipped to a range that was guessed."""
    with pytest.raises(UsageError, match=message):
        storage_of(dtype, levels, dataclasses.replace(SETTINGS, **settings))


def test_the_range_after_a_transform_is_not_that_before() -> None:
    """Standardised features would be stored in the levels of decibels."""
    settings = dataclasses.replace(SETTINGS, reference="max")
    with pytest.raises(UsageError, match="--levels=-6,6"):
        storage_of("uint8", "", settings, "standardise")
    assert storage_of("uint8", "-6,6", settings, "standardise").levels == Levels.between(-6, 6)
    chroma = storage_of("uint8", "", FeatureSettings(kind="chroma"))
    assert chroma.levels == Levels.between(0, 1)


# --- transforms ----------------------------------------------------------------------------------


def library(rows: int = 9, **columns: Any) -> Batch:
    """Return tracks with six bands of mel, two in three of them for training."""
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(6, 6))
    mel = (mixing @ rng.normal(-3, 2, (rows, 6, 40))).astype(np.float32)
    described = [
        reserved("id"), reserved("path"), reserved("split"),
        Column("mel", "tensor", "feature", MADE, (6, 40)),
    ]  # fmt: skip
    values = {
        "id": [f"t{i}" for i in range(rows)],
        "path": [f"{i}.wav" for i in range(rows)],
        "split": [("train", "test", "train")[i % 3] for i in range(rows)],
        "mel": mel,
    }
    return Batch.build(described, values | columns)


def fitted(batches: Iterable[Batch], kind: str, fail: Any, **options: Any) -> tuple[Any, Transform]:
    """Fit to a table and transform it; return the rows as one batch, and the transform."""
    storage = options.pop("storage", Storage())
    as_ = options.pop("as_", "")
    rows, transform = spec.fit(batches, "mel", Fit(kind, **options))
    made = spec.transformed(rows, "mel", transform, as_=as_, storage=storage, fail=fail)
    (batch,) = made
    return batch, transform


def train_frames(batch: Batch) -> np.ndarray:
    """Return the frames [n, 6] of the train rows."""
    train = batch["mel"][batch["split"] == "train"]
    return np.moveaxis(train, 1, 2).reshape(-1, 6).astype(np.float64)


def test_a_standardiser_is_fitted_on_the_train_rows(failures: Any) -> None:
    """The mean of the test rows would be known before the test."""
    batch = library()
    made, transform = fitted([batch], "standardise", failures)
    scaler = StandardScaler().fit(train_frames(batch))
    frames = np.moveaxis(batch["mel"], 1, 2).reshape(-1, 6).astype(np.float64)
    expected = scaler.transform(frames).reshape(9, 40, 6)
    np.testing.assert_allclose(np.moveaxis(made["mel"], 1, 2), expected, atol=1e-5)
    assert transform.frames == 6 * 40
    assert transform.fitted_on is not None
    assert transform.fitted_on.parts == {"train": 6}
    settings = FeatureSettings.from_json(made.columns["mel"].settings)
    assert settings.transform == transform.label
    assert settings.untransformed.to_json() == MADE
    assert Transform.from_text(made.columns["mel"].transform, "it").label == transform.label


def test_whitening_is_fitted_on_all_rows_where_that_is_said(failures: Any) -> None:
    """--ignore-split would leave out the test rows all the same."""
    batch = library()
    made, _ = fitted([batch], "whiten", failures, components=4, ignore_split=True)
    assert made["mel"].shape == (9, 4, 40)
    frames = np.moveaxis(batch["mel"], 1, 2).reshape(-1, 6).astype(np.float64)
    exact = PCA(4, whiten=True).fit(frames)
    expected = np.moveaxis(exact.transform(frames).reshape(9, 40, 4), 2, 1)
    ours = made["mel"]
    signs = np.sign((ours * expected).sum(axis=(0, 2)))[None, :, None]
    np.testing.assert_allclose(ours, expected * signs, atol=1e-4)


def test_batches_do_not_change_what_is_fitted(failures: Any) -> None:
    """A stream of small batches would give other features than the file."""
    batch = library()
    whole, transform = fitted([batch], "whiten", failures)
    pieces = [batch.take([i]) for i in range(9)]
    rows, again = spec.fit(pieces, "mel", Fit("whiten"))
    assert again.label == transform.label
    made = list(spec.transformed(rows, "mel", again, storage=Storage(), fail=failures))
    assert len(made) == 9
    np.testing.assert_array_equal(np.concatenate([b["mel"] for b in made]), whole["mel"])


def test_rows_without_features_stay_and_broken_ones_are_reported(failures: Any) -> None:
    """A null would become a mean, or a NaN spoil the mean of all others."""
    batch = library()
    mel = batch["mel"].copy()
    mel[2] = np.nan
    mel[3, 1, 5] = np.inf
    broken = library(mel=mel)
    made, transform = fitted([broken], "standardise", failures)
    assert failures == [("t3", "not-finite")]
    assert made.ids.tolist() == [f"t{i}" for i in (0, 1, 2, 4, 5, 6, 7, 8)]
    assert np.isnan(made["mel"][2]).all()
    left = StandardScaler().fit(train_frames(library().take([0, 5, 6, 8])))
    np.testing.assert_allclose(transform.mean, left.mean_, rtol=1e-6)


def test_features_before_can_stay_beside(failures: Any) -> None:
    """--as would overwrite what it names, or the features that were there."""
    batch = library()
    made, _ = fitted([batch], "standardise", failures, as_="white", storage=Storage(half=True))
    np.testing.assert_array_equal(made["mel"], batch["mel"])
    assert made.columns["mel"].settings == MADE
    assert made.columns["white"].half
    assert made["white"].std() == pytest.approx(1, abs=0.1)
    with pytest.raises(UsageError, match="already has a column 'split'"):
        fitted([batch], "standardise", failures, as_="split")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (None, "no split, .*mt-fetch split, or say --ignore-split"),
        ([None] * 9, "no split, .*mt-fetch split, or say --ignore-split"),
        (["test", "valid", None] * 3, "no train rows to fit on, only test, valid"),
        (["train", "valid", None] * 3, None),
    ],
)
def test_what_may_be_fitted_on_must_be_known(split: Any, message: str | None) -> None:
    """Fitted on test rows without a word, the test would be too good."""
    batch = library()
    batch = batch.without(["split"]) if split is None else library(split=split)
    if message is None:
        return spec.check_split(source_of([batch]))
    with pytest.raises(UsageError, match=message):
        spec.check_split(source_of([batch]))


def test_nothing_to_fit_on_is_told(make_batch: Any) -> None:
    """A run whose tracks all failed would end in a traceback."""
    with pytest.raises(RunError, match="nothing to fit on: no row has features"):
        spec.fit([], "mel", Fit("pca", ignore_split=True))
    test = library(split=["test"] * 9)
    with pytest.raises(RunError, match="no train row has features"):
        spec.fit([test], "mel", Fit("pca"))


def test_check_sees_what_was_fitted_on_test_rows(failures: Any) -> None:
    """mt-eval check would call a table clean whose test rows were in the fit."""
    batch = library()
    for ignore in (False, True):
        made, transform = fitted([batch], "pca", failures, ignore_split=ignore)
        settings = SpecSettings(fit="pca", ignore_split=ignore)
        chosen = FeatureSettings.from_json(made.columns["mel"].settings)
        step = {"command": "mt-spec", "settings": recorded(settings, chosen, transform)}
        found = checked([made], made.columns, steps=[step])
        assert [finding.kind for finding in found] == ["fitted-on-test"] * ignore
    assert found[0].offenders == ("t1 (test)", "t4 (test)", "t7 (test)")
    # So it is where the transform was applied to a table with another split.
    other = library(split=["test"] * 3 + ["train"] * 6)
    said = recorded(SpecSettings(apply="pca.npz"), chosen, transform)
    (finding,) = checked([other], other.columns, steps=[{"command": "mt-spec", "settings": said}])
    assert "pca.npz in mt-spec was fitted on 3 tracks" in finding.message


def test_a_transform_is_for_features_made_alike(tmp_path: Path, failures: Any) -> None:
    """Decibels would be whitened by what was fitted to logarithms."""
    _, transform = fitted([library()], "whiten", failures)
    path = str(tmp_path / "white.npz")
    spec.write_transform(path, transform)
    again = spec.read_transform(path)
    assert again.label == transform.label
    cut = FeatureSettings(bands=6, excerpt="first:3")  # where it is cut does not matter
    assert spec.transformed_settings(cut, again).transform == transform.label
    other = FeatureSettings(bands=6, hop=256)
    with pytest.raises(SettingsMismatch, match=r"hop: got 256, expected 512; make them as those"):
        spec.transformed_settings(other, again)
    with pytest.raises(UsageError, match=r"--apply nowhere\.npz: No such file.*mt-spec --fitted"):
        spec.read_transform("nowhere.npz")


def test_tracks_go_through_a_transform_as_tables_do(
    few: Any, corpus: Path, failures: Any, tmp_path: Path
) -> None:
    """mt-spec --apply on tracks, or a model on sound, would give other features than the table."""
    batches = list(few)
    plain = features(batches, SETTINGS, corpus, failures)
    rows, transform = spec.fit([plain], "mel", Fit("whiten", 10, ignore_split=True))
    (table,) = spec.transformed(rows, "mel", transform, storage=Storage(), fail=failures)
    settings = spec.transformed_settings(SETTINGS, transform)
    sound = features(batches, settings, corpus, failures, transform=transform)
    np.testing.assert_array_equal(sound["mel"], table["mel"])
    assert sound.columns == table.columns
    with pytest.raises(UsageError, match="not at hand: make a table .* mt-spec --apply FILE"):
        features(batches, settings, corpus, failures)


def test_a_model_does_to_sound_what_was_done_to_the_table(
    few: Any, corpus: Path, failures: Any, fit_model: Any
) -> None:
    """A model that learned from whitened features could tag no folder, or would tag it wrongly."""
    batches = list(few)
    plain = features(batches, SETTINGS, corpus, failures)
    rows, transform = spec.fit([plain], "mel", Fit("whiten", 16, ignore_split=True))
    (table,) = spec.transformed(rows, "mel", transform, storage=Storage(), fail=failures)
    model = fit_model(table, "style", column="mel", net="cnn", param=("channels=4",), epochs=1)
    path = corpus / "white.safetensors"
    model.save(path)
    again = Model.load(path)
    assert again.document["input"][KEY]["tracks"] == 4

    def scores(batches: list[Batch]) -> np.ndarray:
        """Return the scores of rows, from features or sound, whichever they have."""
        settings = TagSettings(model=("m",))
        models = tag.taggers(settings, lambda name: again, lambda note: None)
        way = tag.Way(batch_size=4, folders=[str(corpus)])
        made = tag.run(batches, batches[0].columns, models, settings, way, failures)
        return np.concatenate([batch["style_score"] for batch in made])

    np.testing.assert_allclose(scores(batches), scores([table]), atol=1e-6)
    with pytest.raises(SettingsMismatch, match="transform: got '', .*mt-spec --apply FILE"):
        scores([plain])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fitted": "x.npz"}, "--fitted is of what is fitted: add --fit"),
        ({"components": "3"}, "--components is of what is fitted"),
        ({"epsilon": 1.0}, "--epsilon is of what is fitted"),
        ({"ignore_split": True}, "--ignore-split is of what is fitted"),
        ({"column": "mel"}, "add --fit or --apply"),
        ({"fit": "pca", "apply": "x.npz"}, "contradict"),
        ({"fit": "standardise", "components": "3"}, "none of"),
        ({"fit": "pca", "epsilon": 1.0}, "--epsilon is for --fit whiten"),
        ({"fit": "pca", "fitted": "x.parquet"}, r"call it FILE\.npz"),
        ({"fit": "pca", "fitted": "/nowhere/x.npz"}, "folder cannot be written to"),
        ({"fit": "pca", "components": "many"}, "such as 120, or a share"),
        ({"fit": "pca", "components": "2.5"}, "such as 120, or a share"),
        ({"fit": "pca", "components": "0"}, "such as 120, or a share"),
    ],
)
def test_options_that_do_not_go_together(settings: dict[str, Any], message: str) -> None:
    """An option without effect would look as if it had one."""
    with pytest.raises(UsageError, match=message):
        fit_of(SpecSettings(**settings))
    with pytest.raises(UsageError, match="--shard 1/2 leaves out rows"):
        fit_of(SpecSettings(fit="pca"), "1/2")
    assert fit_of(SpecSettings(fit="pca", components="0.5")) == Fit("pca", 0.5)


def test_features_that_cannot_be_fitted_are_refused_before_they_are_computed() -> None:
    """A library would be decoded for hours, or the covariance of 22,050 samples fill the memory."""
    mel, stereo = FeatureSettings(bands=40), FeatureSettings(channels="stereo", bands=40)
    vector = FeatureSettings(kind="mfcc", summary="mean+std")
    for features in (mel, stereo, vector):
        check_bands(Fit("pca", 40), features)
        with pytest.raises(UsageError, match="--components 41: the features have 40 bands"):
            check_bands(Fit("pca", 41), features)
    with pytest.raises(UsageError, match="have 12 bands"):
        check_bands(Fit("pca", 13), mel, (12, 7))
    with pytest.raises(UsageError, match="waveforms have none of"):
        check_bands(Fit("standardise"), FeatureSettings(kind="wave", excerpt="first:1"))


def test_which_column_is_transformed(failures: Any) -> None:
    """The wrong features would be transformed, or some twice."""
    batch = library()
    columns = batch.columns
    assert spec.feature_column(columns, "") == columns["mel"]
    assert spec.feature_column(batch.without(["mel"]).columns, "") is None
    with pytest.raises(UsageError, match="--column split: the input has the features mel"):
        spec.feature_column(columns, "split")
    two = batch.append(dataclasses.replace(columns["mel"], name="other"), batch["mel"]).columns
    with pytest.raises(UsageError, match="mel, other: choose one with --column NAME"):
        spec.feature_column(two, "")
    lost = {"mel": dataclasses.replace(columns["mel"], settings={})}
    with pytest.raises(SettingsMismatch, match="--assume PRESET"):
        spec.feature_column(lost, "")
    made, _ = fitted([batch], "pca", failures)
    with pytest.raises(SettingsMismatch, match="went through a transform already"):
        spec.feature_column(made.columns, "")


def test_a_model_says_what_its_features_lack() -> None:
    """Features as they were would be given to a network of whitened ones."""
    plain = PRESETS["seq"].settings
    white = dataclasses.replace(plain, transform="whiten:40:00ff")
    assert white.output_bands == 40
    assert plain.compatible(white) == [
        "transform: got '', expected 'whiten:40:00ff' (mt-spec --apply FILE applies what was "
        "fitted before)"
    ]
    assert white.compatible(plain) == ["transform: got 'whiten:40:00ff', expected ''"]
