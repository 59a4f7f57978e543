"""Models of other makers behind --model: onnx:, hf:, bof:, essentia."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mt_tools.errors import BrokenTable, RunError, SettingsMismatch, UsageError
from mt_tools.features.extract import extract
from mt_tools.features.presets import preset
from mt_tools.features.registry import ESSENTIA, KINDS
from mt_tools.features.settings import FeatureSettings
from mt_tools.nets.foreign import foreign, needed

RNG = np.random.default_rng(0)


def model_of(name: str) -> Any:
    """Return a model that must be there."""
    model = foreign(name)
    assert model is not None
    return model


def test_other_names_are_not_ours() -> None:
    """Registry names and files must not be caught by a prefix."""
    for name in ("crnn-msd", "mine.safetensors", "keras:x.h5", "C:/x.safetensors"):
        assert foreign(name) is None
    for name in ("onnx:", "hf:", "bof:"):
        with pytest.raises(UsageError, match=f"expected {name}"):
            foreign(name)


def test_a_missing_package_is_a_line_to_type() -> None:
    """Extras are not installed with mt-tools: a traceback of an import helps nobody."""
    with pytest.raises(UsageError, match=r"pip install 'mt-tools\[onnx\]'"):
        needed("no_such_package_anywhere", "onnx")


# --- onnx ----------------------------------------------------------------------------------------


@pytest.fixture
def graph(tmp_path: Path) -> Any:
    """Return what writes a graph: the means over its last axis, and their doubles."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT

    def write(shape: Sequence[Any], axis: int = -1, name: str = "net.onnx") -> Path:
        axes = helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [axis])
        two = helper.make_tensor("two", floats, [1], [2.0])
        nodes = [
            helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "two"], ["double"]),
        ]
        made = [s for i, s in enumerate(shape) if i != axis % len(shape)]
        outputs = [helper.make_tensor_value_info(n, floats, made) for n in ("mean", "double")]
        source = helper.make_tensor_value_info("x", floats, shape)
        content = helper.make_graph(nodes, "g", [source], outputs, [axes, two])
        opset = [helper.make_opsetid("", 18)]
        onnx.save(helper.make_model(content, opset_imports=opset, ir_version=8), tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("shape", [["n", 96, "t"], ["n", 1, 96, "t"], [2, 1, 96, "t"]])
def test_onnx_of_spectrograms(graph: Any, shape: list[Any]) -> None:
    """A graph gets the bands of the preset it is said to take; the batch it was made for holds."""
    model = model_of(f"onnx:{graph(shape)}?preset=choi2016")
    assert model.feature_settings == preset("choi2016")
    x = RNG.normal(size=(5, 96, 40)).astype(np.float32)
    got = model.embed(x, batch_size=3)
    # [n, 1, bands] has steps of one: their mean.
    np.testing.assert_allclose(got, x.mean(axis=2), atol=1e-6)
    assert model.width == 96
    both = model.embed(x, layers=["double", "mean"])
    np.testing.assert_allclose(both, np.hstack([2 * got, got]), atol=1e-6)


def test_onnx_of_frames_before_bands(graph: Any) -> None:
    """TensorFlow's graphs put time first: fed the other way round they give nonsense."""
    model = model_of(f"onnx:{graph(['n', 187, 96], axis=1)}?preset=choi2016")
    assert model.input_shape == (96, 187)
    settings = model.feature_settings
    assert (settings.frames, settings.excerpt) == (187, "centre:3.989333333")
    wave = RNG.normal(size=(1, 12000 * 5)).astype(np.float32)
    mel = extract(wave[:, : settings.excerpt_samples], settings)
    assert mel.shape == (96, 187)
    np.testing.assert_allclose(model.embed(mel[None])[0], mel.mean(axis=1), rtol=1e-5)


def test_onnx_of_waveforms(graph: Any) -> None:
    """A graph of samples is cut as long as it asks for, at the rate it is said to take."""
    model = model_of(f"onnx:{graph([None, 1, 16000])}?rate=8000")
    settings = model.feature_settings
    assert (settings.kind, settings.sample_rate, settings.excerpt) == ("wave", 8000, "centre:2")
    x = RNG.normal(size=(2, 16000)).astype(np.float32)
    np.testing.assert_allclose(model.embed(x), x.mean(axis=1, keepdims=True), atol=1e-6)
    with pytest.raises(SettingsMismatch, match="16000"):
        model.embed(x[:, :100])
    free = graph(["n", 2, "t"], name="free.onnx")
    stereo = model_of(f"onnx:{free}?rate=8000&seconds=1.5")
    assert stereo.feature_settings.channels == "stereo"
    assert stereo.feature_settings.excerpt == "centre:1.5"
    with pytest.raises(UsageError, match="&seconds=S"):
        foreign(f"onnx:{free}?rate=8000")


def test_onnx_digests_tell_graphs_and_settings_apart(graph: Any) -> None:
    """Embeddings of another graph would be taken for the same ones by --update and mt-tag."""
    one, two = graph(["n", 96, "t"]), graph(["n", 96, "t"], axis=2, name="two.onnx")
    digests = [
        model_of(f"onnx:{name}").digest
        for name in (
            f"{one}?preset=choi2016", f"{two}?preset=choi2016", f"{one}?preset=choi2016&seconds=5",
            f"{one}?preset=seq",
        )
    ]  # fmt: skip
    assert len({*digests}) == 4
    assert model_of(f"onnx:{one}?preset=choi2016").digest == digests[0]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", r"expected onnx:FILE\?preset=NAME or onnx:FILE\?rate=HZ"),
        ("?preset=choi2016&rate=8000", "expected onnx:FILE"),
        ("?presets=choi2016", "expected onnx:FILE"),
        ("?preset=choi", "unknown preset 'choi'"),
        ("?preset=rep", "say another preset"),
        ("?preset=dj", "not 48 bands"),
        ("?rate=fast", "a number above 0"),
        ("?rate=8000&seconds=0", "a number above 0"),
    ],
)
def test_onnx_refuses_what_does_not_fit(graph: Any, query: str, message: str) -> None:
    """What a graph's numbers mean cannot be guessed: the line to type is in the message."""
    with pytest.raises(UsageError, match=message):
        foreign(f"onnx:{graph(['n', 96, 40])}{query}")


def test_onnx_refuses_what_is_no_graph(graph: Any, tmp_path: Path) -> None:
    """A missing or broken file, an unknown output, a precision that cannot be had."""
    with pytest.raises(UsageError, match="no file"):
        foreign(f"onnx:{tmp_path}/none.onnx?rate=8000")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(UsageError, match="no ONNX graph"):
        foreign(f"onnx:{tmp_path}/text.onnx?rate=8000")
    model = model_of(f"onnx:{graph(['n', 96, 40])}?preset=choi2016")
    x = np.zeros((1, 96, 40), np.float32)
    with pytest.raises(UsageError, match="did you mean double"):
        model.embed(x, layers=["doubel"])
    with pytest.raises(UsageError, match="--precision"):
        model.embed(x, precision="float16")
    with pytest.raises(UsageError, match="cannot be kept"):
        model.parts()


# --- Hugging Face --------------------------------------------------------------------------------

TINY: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what makes the folder of a small untrained model of transformers."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("hf")
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind in made:
            return made[kind]
        torch.manual_seed(0)
        if kind == "wav2vec2":
            config = transformers.Wav2Vec2Config(
                **TINY, conv_dim=[16, 16], conv_stride=[8, 8], conv_kernel=[16, 16],
                num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, vocab_size=8,
            )  # fmt: skip
            net = transformers.Wav2Vec2Model(config)
            extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000)
        elif kind == "ast":
            config = transformers.ASTConfig(
                **TINY, max_length=64, num_mel_bins=32, patch_size=16,
                frequency_stride=16, time_stride=16,
            )  # fmt: skip
            net = transformers.ASTModel(config)
            extractor = transformers.ASTFeatureExtractor(
                max_length=64, num_mel_bins=32, sampling_rate=16000
            )
        else:
            config = transformers.WhisperConfig(
                d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
                decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_mel_bins=16,
                max_source_positions=50, vocab_size=64, pad_token_id=0, bos_token_id=1,
                eos_token_id=2, decoder_start_token_id=1,
            )  # fmt: skip
            net = transformers.WhisperModel(config)
            extractor = transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=1)
        net.save_pretrained(folder / kind)
        extractor.save_pretrained(folder / kind)
        made[kind] = folder / kind
        return made[kind]

    return make


def test_hugging_face_of_waveforms(tiny: Any) -> None:
    """The vectors are those of transformers itself: the mean over time of the last layer."""
    transformers = pytest.importorskip("transformers")
    path = tiny("wav2vec2")
    model = model_of(f"hf:{path}")
    assert model.feature_settings.sample_rate == 8000
    assert model.feature_settings.excerpt == "centre:10"
    assert model.layer_names() == ["layer0", "layer1", "layer2"]
    x = RNG.normal(size=(3, 4000)).astype(np.float32)
    net = transformers.Wav2Vec2Model.from_pretrained(path).eval()
    normal = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-7)
    with torch.inference_mode():
        out = net(torch.from_numpy(normal), output_hidden_states=True)
    expected = out.last_hidden_state.mean(dim=1).numpy()
    np.testing.assert_allclose(model.embed(x, batch_size=2), expected, atol=1e-5)
    assert model.width == 16
    states = [out.hidden_states[number].mean(dim=1).numpy() for number in (0, 2)]
    layers = model.embed(x, layers=["layer0", "layer2"])
    np.testing.assert_allclose(layers, np.hstack(states), atol=1e-5)
    np.testing.assert_allclose(model.embed(x, precision="bfloat16"), expected, atol=0.1)
    with pytest.raises(UsageError, match="did you mean layer"):
        model.embed(x, layers=["layer7"])


@pytest.mark.parametrize(("kind", "rate", "excerpt"), [("ast", 16000, 0.64), ("whisper", 16000, 1)])
def test_hugging_face_of_spectrograms(tiny: Any, kind: str, rate: int, excerpt: float) -> None:
    """Extractors that make spectrograms say how long the sound is that they take."""
    model = model_of(f"hf:{tiny(kind)}")
    settings = model.feature_settings
    assert (settings.sample_rate, settings.excerpt_seconds) == (rate, excerpt)
    assert settings.excerpt_samples is not None
    tone = np.sin(2 * np.pi * 440 / rate * np.arange(settings.excerpt_samples))
    noise = np.random.default_rng(0).normal(size=len(tone))  # two noises are nearly one spectrum
    x = np.stack([tone, noise]).astype(np.float32)
    found = model.embed(x)
    assert found.shape == (2, 16)
    assert np.abs(found[0] - found[1]).max() > 1e-4
    assert model.embed(x, layers=model.layer_names()).shape == (2, 16 * 3)


def test_hugging_face_digest_is_that_of_the_weights(tiny: Any) -> None:
    """The same model in another folder is the same; other weights are another."""
    transformers = pytest.importorskip("transformers")
    path = tiny("wav2vec2")
    digest = model_of(f"hf:{path}").digest
    moved = path.parent / "elsewhere"
    net = transformers.Wav2Vec2Model.from_pretrained(path)
    transformers.Wav2Vec2FeatureExtractor.from_pretrained(path).save_pretrained(moved)
    net.save_pretrained(moved)
    assert model_of(f"hf:{moved}").digest == digest
    with torch.no_grad():
        next(net.parameters()).mul_(1.5)
    net.save_pretrained(moved)
    assert model_of(f"hf:{moved}").digest != digest


def test_hugging_face_of_what_is_no_audio_model(tmp_path: Path) -> None:
    """A folder without a model, or with a model of text, is a line and no traceback."""
    transformers = pytest.importorskip("transformers")
    with pytest.raises(RunError, match="check the name"):
        foreign(f"hf:{tmp_path}")
    config = transformers.BertConfig(**TINY, vocab_size=8)
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(RunError, match=f"--model hf:{tmp_path}"):
        foreign(f"hf:{tmp_path}")


# --- bag of frames -------------------------------------------------------------------------------


def write_dictionary(path: Path, centres: np.ndarray, source: dict[str, Any]) -> None:
    """Write a dictionary as mt-factor kmeans does."""
    np.savez(path, centres=centres, __meta__=np.array(json.dumps({"input": source})))


def test_bag_of_frames_counts_nearest_words(tmp_path: Path) -> None:
    """A track's vector is the share of frames nearest to each word, by hand."""
    centres = np.array([[0, 0], [10, 0], [0, 10]], np.float32)
    settings = FeatureSettings(bands=2).to_json()
    source = {"kind": "feature", "settings": settings, "shape": [2, 5]}
    write_dictionary(tmp_path / "d.npz", centres, source)
    model = model_of(f"bof:{tmp_path}/d.npz")
    frames = np.array([[1, 9, 1, 4.9, 0], [1, 1, 8, 0, 5.1]], np.float32)
    np.testing.assert_allclose(model.embed(frames[None]), [[0.4, 0.2, 0.4]])
    # Any number of frames, and many tracks, against distances in float64.
    x = RNG.normal(5, 5, size=(4, 2, 300)).astype(np.float32)
    distances = ((x[:, None].astype(float) - centres[None, :, :, None]) ** 2).sum(axis=2)
    expected = [np.bincount(d.argmin(axis=0), minlength=3) / 300 for d in distances]
    np.testing.assert_allclose(model.embed(x), expected, atol=1e-6)
    assert model.width == 3
    model.save(tmp_path / "m.safetensors")  # it can be a backbone


def test_bag_of_vectors(tmp_path: Path) -> None:
    """Words of segments' embeddings: one word a segment."""
    source = {"kind": "embedding", "settings": {"digest": "x", "pooling": "none"}, "width": 2}
    write_dictionary(tmp_path / "d.npz", np.eye(2, dtype=np.float32), source)
    model = model_of(f"bof:{tmp_path}/d.npz")
    assert model.input_kind == "embedding"
    np.testing.assert_array_equal(
        model.embed(np.array([[2, 0], [0, 3]], np.float32)), [[1, 0], [0, 1]]
    )


def test_what_is_no_dictionary(tmp_path: Path) -> None:
    """A file of factors, or none at all, is a line that says what makes one."""
    with pytest.raises(UsageError, match="mt-factor kmeans"):
        foreign(f"bof:{tmp_path}/none.npz")
    np.savez(tmp_path / "other.npz", terms=np.eye(2))
    with pytest.raises(BrokenTable, match="not a dictionary"):
        foreign(f"bof:{tmp_path}/other.npz")


# --- essentia ------------------------------------------------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec("essentia") is None, reason="essentia not installed")
def test_essentia_describes_songs() -> None:
    """Descriptors are in the order of their names: tempo, loudness and key of a made piece."""
    model = model_of("essentia")
    settings = model.feature_settings
    rate, seconds = settings.sample_rate, 8
    time = np.arange(rate * seconds) / rate
    pulses = (time % 0.5 < 0.05) * np.sin(2 * np.pi * 220 * time)  # 120 beats a minute
    wave = np.stack([pulses, pulses]).astype(np.float32) * 0.5
    vector = extract(wave, settings)
    assert vector.shape == (KINDS["essentia"].width,) == model.input_shape
    places = dict(zip(ESSENTIA, np.cumsum([0, *ESSENTIA.values()]), strict=False))
    assert vector[places["rhythm.bpm"]] == pytest.approx(120, abs=2)
    assert vector[places["rhythm.onset_rate"]] == pytest.approx(2, abs=0.3)
    louder = extract(2 * wave, settings)
    place = places["lowlevel.loudness_ebu128.integrated"]
    assert louder[place] - vector[place] == pytest.approx(20 * np.log10(2), abs=0.1)
    np.testing.assert_array_equal(model.embed(vector[None])[0], vector)
    with pytest.raises(Exception, match="silent"):
        extract(0 * wave, settings)
