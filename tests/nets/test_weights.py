"""Pretrained weights: fetched, verified, converted, and giving the published scores."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from pyarrow.parquet import read_table
from scipy.signal import convolve2d, fftconvolve

from mt_tools.errors import DownloadError, RunError, UsageError
from mt_tools.features.mel import mel, mel_filterbank
from mt_tools.features.presets import preset
from mt_tools.nets.compact import STATISTICS
from mt_tools.nets.keras import import_keras
from mt_tools.nets.model import Model
from mt_tools.nets.registry import EMBEDDERS, MSD_TAGS, WEIGHTS
from mt_tools.nets.weights import cached_path, fetch_weights, resolve

CLIPS = ["cute", "actionable", "dubstep", "thejazzpiano"]

# README of github.com/keunwoochoi/music-auto_tagging-keras, section Result: the first ten tags.
PUBLISHED = {
    "cute": {
        "jazz": 0.444, "instrumental": 0.151, "folk": 0.103, "Hip-Hop": 0.103, "ambient": 0.077,
        "guitar": 0.068, "rock": 0.058, "acoustic": 0.054, "experimental": 0.051,
        "electronic": 0.042,
    },
    "actionable": {
        "jazz": 0.416, "instrumental": 0.181, "Hip-Hop": 0.085, "folk": 0.085, "rock": 0.081,
        "ambient": 0.068, "guitar": 0.062, "Progressive rock": 0.048, "experimental": 0.046,
        "acoustic": 0.046,
    },
    "dubstep": {
        "Hip-Hop": 0.245, "rock": 0.183, "alternative": 0.081, "electronic": 0.076,
        "alternative rock": 0.053, "metal": 0.051, "indie": 0.028, "instrumental": 0.027,
        "electronica": 0.024, "hard rock": 0.023,
    },
    "thejazzpiano": {
        "jazz": 0.299, "instrumental": 0.174, "electronic": 0.089, "ambient": 0.061,
        "chillout": 0.052, "rock": 0.044, "guitar": 0.044, "funk": 0.033, "chill": 0.032,
        "Progressive rock": 0.029,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def weights_folder(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The original files under the names of their addresses, which serve as a mirror."""
    folder = tmp_path_factory.mktemp("mirror")
    for file in (reference / "choi-msd").iterdir():
        (folder / file.name.removeprefix("compact_cnn_")).symlink_to(file)
    return folder


@pytest.fixture(scope="module")
def cache(weights_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with all weights, fetched from the reference folder."""
    cache = tmp_path_factory.mktemp("cache")
    for name in WEIGHTS:
        fetch_weights(name, mirror=str(weights_folder), cache=cache)
    return cache


@pytest.fixture(scope="module")
def melgrams(weights_folder: Path) -> np.ndarray:
    """The published features [4, 96, 1366] of the four clips."""
    files = [weights_folder / f"bensound-{clip}.melgram.npz" for clip in CLIPS]
    return np.stack([np.load(file)["melgram"] for file in files])


def scores(model: Model, features: np.ndarray) -> np.ndarray:
    """Return the scores of the tags: the sigmoid of the logits."""
    return 1 / (1 + np.exp(-model.logits(features)["tags"].astype(np.float64)))


def test_the_crnn_gives_its_published_scores(cache: Path, melgrams: np.ndarray) -> None:
    """`mt-tag --model crnn-msd` would not be the Music Auto-Tagger."""
    got = scores(resolve("crnn-msd", cache=cache), melgrams)
    for clip, row in zip(CLIPS, got, strict=True):
        ranked = [MSD_TAGS[i] for i in np.argsort(-row)[:10]]
        assert set(ranked) == set(PUBLISHED[clip])
        for tag, published in PUBLISHED[clip].items():
            assert row[MSD_TAGS.index(tag)] == pytest.approx(published, abs=1e-3), (clip, tag)


@pytest.mark.parametrize("name", ["crnn-msd-corrected", "cnn-msd"])
def test_the_corrected_networks_hear_what_the_clips_are(
    cache: Path, melgrams: np.ndarray, name: str
) -> None:
    """The CNN would give saturated scores, and the corrected CRNN call rock jazz."""
    got = scores(resolve(name, cache=cache), melgrams)
    best = dict(zip(CLIPS, [MSD_TAGS[i] for i in got.argmax(axis=1)], strict=True))
    assert best["actionable"] == "rock"
    assert best["dubstep"] == "electronic"
    assert best["thejazzpiano"] == "jazz"
    assert got.max() < 0.99


@pytest.mark.parametrize("name", ["crnn-msd-corrected", "cnn-msd"])
@torch.inference_mode()
def test_stored_statistics_are_deviations_of_standardised_inputs(
    cache: Path, melgrams: np.ndarray, name: str
) -> None:
    """The reading of the weights would rest on a guess: here real clips agree with it."""
    model = resolve(name, cache=cache)
    ratios = []

    def compare(norm: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        stored = norm.running_var.sqrt()
        ratios.append(float((inputs[0].std(dim=(0, 2, 3)) / stored).median()))

    convs = [layer for name, layer in model.net.named_layers().items() if ".conv" in name]
    for conv in convs:
        conv[1].register_forward_pre_hook(compare)
    model.embed(melgrams, batch_size=4)
    assert len(ratios) == len(convs)
    np.testing.assert_allclose(ratios, 1, atol=0.25)
    inputs = model.net.named_layers()["shared.input"].norm.batch_norm
    assert float(inputs.running_var.median()) == pytest.approx(1, abs=0.05)
    assert float(inputs.running_mean.median()) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("name", "width", "trainable", "with_statistics"),
    [
        ("crnn-msd", 32, 396_786, 400_562),
        ("crnn-msd-corrected", 32, 396_786, 400_562),
        ("cnn-msd", 256, 865_950, 870_154),
        # 320 and 4 x 9,248 of convolutions, 5 x 64 of norms, 33 x 50 of the output; 5 x 64 more.
        ("compact-msd", 160, 39_282, 39_602),
        ("compact-msd-per-clip", 160, 39_282, 39_282),
    ],
)
def test_sizes_and_embeddings(
    cache: Path,
    melgrams: np.ndarray,
    name: str,
    width: int,
    trainable: int,
    with_statistics: int,
) -> None:
    """Embeddings would come from another layer than the paper's."""
    model = resolve(name, cache=cache)
    frames = model.input_shape[-1]
    assert model.embed(melgrams[:1, :, :frames]).shape == (1, width)
    assert model.width == width
    count = sum(parameter.numel() for parameter in model.net.parameters())
    statistics = [b.numel() for b in model.net.buffers() if b.is_floating_point()]
    assert (count, count + sum(statistics)) == (trainable, with_statistics)
    assert model.feature_settings.sample_rate == 12000
    assert model.tasks[0]["vocabulary"] == list(MSD_TAGS)
    assert [check.ok for check in model.selftest()] == [True]


@torch.inference_mode()
def test_kernels_are_used_as_theano_used_them(weights_folder: Path, cache: Path) -> None:
    """Kernels that are not flipped give plausible and wrong tags."""
    import h5py

    image = np.random.default_rng(0).normal(size=(12, 20)).astype(np.float32)
    with h5py.File(weights_folder / "music_tagger_cnn_weights_theano.h5") as file:
        kernels, biases = file["conv1/conv1_W"][()], file["conv1/conv1_b"][()]
    expected = [
        convolve2d(image, kernel[0], mode="same") + bias
        for kernel, bias in zip(kernels, biases, strict=True)
    ]
    conv = resolve("cnn-msd", cache=cache).net.named_layers()["shared.conv1"][0]
    got = conv(torch.from_numpy(image)[None, None])[0].numpy()
    np.testing.assert_allclose(got, np.stack(expected), atol=1e-5)


@pytest.fixture(scope="module")
def decibels(weights_folder: Path) -> np.ndarray:
    """The four clips as `compact-msd` takes them, [4, 96, 1360]."""
    settings = preset("choi2017")
    features = []
    for clip in CLIPS:
        wave, rate = soundfile.read(weights_folder / f"bensound-{clip}.mp3", always_2d=True)
        wave = soxr.resample(wave.mean(axis=1), rate, settings.sample_rate)
        features.append(mel(wave[None, : settings.excerpt_samples].astype(np.float32), settings))
    return np.stack(features)


@pytest.fixture(scope="module")
def compact_layers(weights_folder: Path) -> dict[str, np.ndarray]:
    """The arrays of the compact network's file, by their short names."""
    import h5py

    with h5py.File(weights_folder / "weights_theano.hdf5") as file:
        return {name: data[()] for name, data in file["ConvBNEluDr"].items()}


@pytest.mark.parametrize("name", ["compact-msd", "compact-msd-per-clip"])
def test_the_compact_network_computes_what_its_authors_wrote(
    compact_layers: dict[str, np.ndarray], cache: Path, decibels: np.ndarray, name: str
) -> None:
    """The 160 features of the DJ and REP studies would be others, or in another order."""
    maps, expected = decibels[:1].astype(np.float64), []
    for block, (rows, columns) in enumerate([(2, 4), (3, 4), (2, 5), (2, 4), (4, 4)], 1):
        layer = {
            key.removeprefix(f"{kind}_{block}_"): value.astype(np.float64)
            for key, value in compact_layers.items()
            for kind in ("convolution2d", "batchnormalization")
            if key.startswith(f"{kind}_{block}_")
        }
        kernels = layer["W"]
        maps = np.stack(
            [
                sum(fftconvolve(m, k, mode="same") for m, k in zip(maps, kernel, strict=True))
                for kernel in kernels
            ]
        )
        maps += layer["b"][:, None, None]
        mean, variance = maps.mean(axis=(1, 2)), maps.var(axis=(1, 2))
        if name == "compact-msd":
            mean, variance = np.array(STATISTICS[f"shared.conv{block}.1"])
        scale = layer["gamma"] / np.sqrt(variance + 1e-3)
        maps = (maps - mean[:, None, None]) * scale[:, None, None] + layer["beta"][:, None, None]
        maps = np.where(maps > 0, maps, np.expm1(np.minimum(maps, 0)))
        height, width = maps.shape[1] // rows, maps.shape[2] // columns
        cut = maps[:, : height * rows, : width * columns]
        maps = cut.reshape(-1, height, rows, width, columns).max(axis=(2, 4))
        expected.append(maps.mean(axis=(1, 2)))
    got = resolve(name, cache=cache).embed(decibels[:1])[0]
    np.testing.assert_allclose(got, np.concatenate(expected), atol=2e-4)


def test_the_filters_of_the_compact_network_are_those_of_its_preset(weights_folder: Path) -> None:
    """The network would be fed other bands than it was trained on."""
    import h5py

    settings = preset("choi2017")
    filters = mel_filterbank(settings.sample_rate, settings.n_fft, settings.bands)
    with h5py.File(weights_folder / "weights_theano.hdf5") as file:
        np.testing.assert_allclose(filters.T, file["melgram/param_2"][()], atol=1e-8)
    assert settings.frames_for(29) == settings.frames_of(29 * 12000) == 1360


def test_default_statistics_give_features_like_the_published_ones(
    reference: Path, cache: Path, decibels: np.ndarray
) -> None:
    """A classifier trained on published features would meet values it has never seen.

    The clips were measured at .98 inside the range of GTZAN's features and .89 in correlation.
    """
    table = read_table(reference / "choi2017-features" / "gtzan_genre.choi160.parquet")
    published = np.stack(table["embedding"].to_numpy(zero_copy_only=False))
    model = resolve("compact-msd", cache=cache)
    features = model.embed(decibels)
    inside = (features >= published.min(axis=0)) & (features <= published.max(axis=0))
    assert inside.mean() > 0.95
    assert np.corrcoef(features.mean(axis=0), published.mean(axis=0))[0, 1] > 0.85
    z = (features.mean(axis=0) - published.mean(axis=0)) / published.std(axis=0)
    assert np.median(np.abs(z)) < 0.6

    tags = scores(model, decibels)
    best = [MSD_TAGS[i] for i in tags.argmax(axis=1)]
    assert best == ["soul", "rock", "electronic", "jazz"]


def test_features_do_not_depend_on_company(cache: Path, decibels: np.ndarray) -> None:
    """The published features of a track changed with the 255 others of its batch."""
    model = resolve("compact-msd", cache=cache)
    together = model.embed(decibels, batch_size=4)
    alone = np.concatenate([model.embed(clip[None]) for clip in decibels])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("name", list(WEIGHTS))
def test_conversion_gives_the_same_bytes_again(
    weights_folder: Path, cache: Path, tmp_path: Path, name: str
) -> None:
    """Embeddings of one machine would be refused on another as those of another model."""
    again = fetch_weights(name, mirror=str(weights_folder), cache=tmp_path)
    assert again.read_bytes() == cached_path(name, cache).read_bytes()
    assert [file.name for file in again.parent.iterdir()] == [f"{name}.safetensors"]


def test_fetched_weights_need_no_network(cache: Path, tmp_path: Path) -> None:
    """`mt-fetch weights` in a script would download each time, and fail without a network."""
    path = cached_path("crnn-msd", cache)
    before = path.stat().st_mtime_ns
    assert fetch_weights("crnn-msd", mirror=str(tmp_path / "nowhere"), cache=cache) == path
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damaged_weights_are_fetched_again(
    weights_folder: Path, cache: Path, tmp_path: Path, damage: str
) -> None:
    """A broken cache would have to be deleted by hand."""
    whole = cached_path("crnn-msd", cache).read_bytes()
    path = cached_path("crnn-msd", tmp_path)
    path.parent.mkdir()
    broken = bytearray(whole)
    broken[-4000:] = b"" if damage == "cut" else bytes(4000)
    path.write_bytes(broken)
    with pytest.raises(DownloadError):
        fetch_weights("crnn-msd", mirror=str(tmp_path / "nowhere"), cache=tmp_path)
    fetch_weights("crnn-msd", mirror=str(weights_folder), cache=tmp_path)
    assert path.read_bytes() == whole


def test_the_original_file_is_read_by_its_path(
    weights_folder: Path, cache: Path, tmp_path: Path
) -> None:
    """`keras:FILE.h5` would not work, or take a file that only looks like the weights."""
    file = weights_folder / "music_tagger_crnn_weights_theano.h5"
    assert resolve(f"keras:{file}").digest == resolve("crnn-msd", cache=cache).digest
    other = tmp_path / "other.h5"
    other.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UsageError, match="none of the Keras files that can be read"):
        resolve(f"keras:{other}")
    with pytest.raises(UsageError, match="is not the file of crnn-msd: got SHA-256"):
        import_keras(other, "crnn-msd")


def test_without_h5py_the_remedy_is_said(
    weights_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user without the extra would see an ImportError."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(RunError, match=re.escape("pip install 'mt-tools[keras]'")):
        fetch_weights("crnn-msd", mirror=str(weights_folder), cache=tmp_path)
    assert not cached_path("crnn-msd", tmp_path).exists()


def test_weights_that_are_not_there_say_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run of `mt-tag` would not say what to type next."""
    monkeypatch.setenv("MT_TOOLS_CACHE", str(tmp_path))
    with pytest.raises(RunError) as error:
        resolve("crnn-msd")
    path = tmp_path / "weights" / "crnn-msd.safetensors"
    assert str(error.value) == (
        f"crnn-msd is not in the cache ({path}): get it with: mt-fetch weights crnn-msd"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crnn-mds", "did you mean crnn-msd"),
        ("randm", "did you mean random"),
        ("mine.safetensors", "mine.safetensors: no such model file"),
        ("keras:no.h5", "cannot read no.h5: No such file"),
    ],
)
def test_wrong_names_are_answered(name: str, message: str) -> None:
    """A mistyped model would end in a traceback."""
    with pytest.raises(UsageError, match=message):
        resolve(name)


def test_models_without_weights() -> None:
    """The baseline and the control of the REP study would not run on a fresh machine."""
    assert set(EMBEDDERS) == {"mfcc-stats", "random"}
    vectors = np.random.default_rng(0).normal(size=(3, 120)).astype(np.float32)
    baseline = resolve("mfcc-stats")
    np.testing.assert_array_equal(baseline.embed(vectors), vectors)
    assert baseline.feature_settings.kind == "mfcc"
    assert baseline.logits(vectors) == {}

    features = np.random.default_rng(1).normal(-20, 15, (2, 96, 1366)).astype(np.float32)
    control = resolve("random")
    embedding = control.embed(features)
    assert embedding.shape == (2, 32)
    assert np.abs(embedding).max() < 0.99, "a saturated control is no control"
    np.testing.assert_array_equal(resolve("random").embed(features), embedding)
    assert resolve("random", seed=1).digest != control.digest == resolve("random").digest


def test_weights_are_found_by_their_networks_name(cache: Path) -> None:
    """`arch.weights`, the other form of a name, would not be found in the cache."""
    assert resolve("crnn-choi.msd", cache=cache).name == "crnn-msd"
    assert fetch_weights("crnn-choi.msd", mirror="nowhere", cache=cache).stem == "crnn-msd"


def test_a_model_file_is_found_by_its_path(tmp_path: Path) -> None:
    """`--model mine.safetensors` would be taken for a name."""
    path = tmp_path / "my model.safetensors"
    resolve("mfcc-stats").save(path)
    assert resolve(str(path)).name == "mfcc-stats"
