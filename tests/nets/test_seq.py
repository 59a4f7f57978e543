"""The SEQ study's networks: sizes, songs of any length, and kernels that are cosines."""

import copy
import itertools

import numpy as np
import pytest
import scipy.fft
import torch

from mt_tools.errors import UsageError
from mt_tools.nets.body import MultiTask
from mt_tools.nets.build import build_multitask
from mt_tools.nets.seq import Lstm, cosine_kernels, cosines
from mt_tools.nets.size import trainable

CNN = {"channels": [4, 6, 6, 6, 8], "units": 5, "hidden": 7}
MFCC = {"units": 5, "hidden": 7}
# A network of songs, with the shape of one part.
SONGS: list[tuple[str, dict, tuple[int, ...]]] = [
    ("cnn-lstm-seq", CNN, (16, 256)),
    ("mfcc-lstm-seq", MFCC, (9, 12)),
]
each_song_network = pytest.mark.parametrize(("arch", "parameters", "part"), SONGS)


def songs(*lengths: int, part: tuple[int, ...], longest: int = 0) -> torch.Tensor:
    """Return one song of each length in parts, filled up with NaN to the longest."""
    longest = max(longest, *lengths)
    x = np.full((len(lengths), longest, *part), np.nan, dtype=np.float32)
    for number, length in enumerate(lengths):
        x[number, :length] = np.random.default_rng(number).normal(0, 2, (length, *part))
    return torch.from_numpy(x)


def network(arch: str, parameters: dict, part: tuple[int, ...]) -> MultiTask:
    """Return a network for two tasks."""
    return build_multitask(arch, parameters, part, {"tags": 3, "energy": 1})


@torch.inference_mode()
def test_maps_of_algorithm_20() -> None:
    """The CNN would differ from the study's: 256 x 6 x 5 as printed, 1,024 values as stated."""
    net = build_multitask("cnn-seq", {}, (96, 1366), {"tags": 50}).eval()
    x = torch.zeros(1, 96, 1366)
    shapes = {}
    for name, layer in net.named_layers().items():
        x = layer(x)
        shapes[name.removeprefix("shared.")] = tuple(x.shape[1:])
    assert shapes == {
        "input": (1, 96, 1366),
        "conv1": (32, 48, 341),
        "conv2": (128, 24, 85),
        "conv3": (128, 12, 21),
        "conv4": (192, 6, 5),
        "conv5": (256, 6, 5),
        "pool": (1024,),
        "heads.tags": (50,),
    }


def test_sizes_of_algorithms_24_and_25() -> None:
    """An LSTM or the classifier would be missing, or of another size than Tables 4.3 and 4.4's."""

    def lstm(inputs: int) -> int:
        return 4 * 1024 * (inputs + 1024 + 2)  # torch has two biases

    with torch.device("meta"):
        mfcc = build_multitask("mfcc-lstm-seq", {}, (90, 1366), {"tags": 63})
        cnn = build_multitask("cnn-lstm-seq", {}, (96, 1366), {"tags": 63})
    classifier = 1024 * 1025 + 63 * 1025
    assert trainable(mfcc) == lstm(90) + lstm(1024) + classifier
    maps = (1, 32, 128, 128, 192, 256)
    convolutions = sum((9 * a + 3) * b for a, b in itertools.pairwise(maps))
    assert trainable(cnn) == 2 * 96 + convolutions + 2 * lstm(1024) + classifier


@each_song_network
@torch.inference_mode()
def test_a_song_does_not_depend_on_its_company(arch: str, parameters: dict, part: tuple) -> None:
    """A song's tags would change with the longest song that happened to be in its batch."""
    net = network(arch, parameters, part).eval()
    lengths = (2, 5, 1, 3)
    together = net.embed(songs(*lengths, part=part))
    padded = net.embed(songs(*lengths, part=part, longest=9))
    torch.testing.assert_close(padded, together, atol=1e-6, rtol=1e-5)
    for number, length in enumerate(lengths):
        x = songs(*lengths, part=part)[number : number + 1, :length]
        torch.testing.assert_close(net.embed(x)[0], together[number], atol=1e-6, rtol=1e-5)


@each_song_network
def test_padding_has_no_part_in_training(arch: str, parameters: dict, part: tuple) -> None:
    """Statistics and gradients would depend on how long a batch's longest song is."""
    states, gradients = [], []
    for longest in (3, 8):
        net = network(arch, {**parameters, "dropout": 0.0}, part).train()
        logits = net(songs(3, 1, 2, part=part, longest=longest))
        sum(value.square().sum() for value in logits.values()).backward()
        gradients.append({name: value.grad for name, value in net.named_parameters()})
        states.append(net.state_dict())
    for a, b in (states, gradients):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients[1].values())


@each_song_network
@torch.inference_mode()
def test_a_song_depends_on_each_part_and_their_order(
    arch: str, parameters: dict, part: tuple
) -> None:
    """A song would be judged by its first or last part alone, or as a bag of parts."""
    net = network(arch, parameters, part).eval()
    x = songs(3, part=part)
    whole = net.embed(x)
    for other in (x.flip(1), *(x[:, [i for i in range(3) if i != left]] for left in range(3))):
        assert (net.embed(other) - whole).abs().max() > 1e-4


@torch.inference_mode()
def test_the_lstm_follows_the_studys_equations() -> None:
    """Gates would be mixed up, or the state taken from where a song is filled up."""
    rng = np.random.default_rng(2)
    units, features, lengths = 3, 4, (5, 2)
    # Input, forget, cell and output: torch's order of rows.
    w, u = rng.normal(0, 1, (4, units, features)), rng.normal(0, 1, (4, units, units))
    b = rng.normal(0, 1, (4, units))
    x = songs(*lengths, part=(features,))
    every, last = Lstm(features, units), Lstm(features, units, last=True)
    for module in (every.lstm, last.lstm):
        for name, value in (
            ("weight_ih_l0", w),
            ("weight_hh_l0", u),
            ("bias_ih_l0", b),
            ("bias_hh_l0", 0 * b),
        ):
            parameter = getattr(module, name)
            parameter.copy_(torch.from_numpy(value.reshape(parameter.shape)))
    states, ends = every(x).numpy(), last(x).numpy()
    for song, length in enumerate(lengths):
        h = c = np.zeros(units)
        for step in range(length):
            i, g, cell, o = (w[k] @ x[song, step].numpy() + b[k] + u[k] @ h for k in range(4))
            c = c / (1 + np.exp(-g)) + np.tanh(cell) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
            np.testing.assert_allclose(states[song, step], h, atol=1e-6)
        np.testing.assert_allclose(ends[song], h, atol=1e-6)
        assert np.isnan(states[song, length:]).all()


def test_cosines_are_those_of_the_mfcc() -> None:
    """Filters that are called cosines would be another basis than the MFCC's."""
    x = np.random.default_rng(0).normal(size=96)
    expected = scipy.fft.dct(x, norm="ortho")
    np.testing.assert_allclose(cosines(96).numpy() @ x, expected, atol=1e-5)


@pytest.mark.parametrize(("outputs", "inputs", "made"), [(32, 1, 9), (128, 32, 128), (4, 2, 4)])
def test_kernels_are_cosines_of_rising_frequency(outputs: int, inputs: int, made: int) -> None:
    """A CNN "initialised with cosines" would start from something else, or from doubles."""
    kernels = cosine_kernels(outputs, inputs).double().numpy()
    assert kernels.shape == (made, inputs, 3, 3)
    rows = kernels.reshape(made, -1)
    np.testing.assert_allclose(rows @ rows.T, np.eye(made), atol=1e-6)
    frequencies = []
    for kernel in kernels:
        spectrum = scipy.fft.dctn(kernel, norm="ortho")
        peak = np.unravel_index(np.abs(spectrum).argmax(), spectrum.shape)
        expected = np.zeros(kernel.shape)
        expected[peak] = 1
        np.testing.assert_allclose(spectrum, expected, atol=1e-6)
        frequencies.append(sum((u / n) ** 2 for u, n in zip(peak, kernel.shape, strict=True)))
    assert frequencies == sorted(frequencies)
    assert frequencies[0] == 0


def test_cosines_change_the_kernels_alone() -> None:
    """Comparing the two ways to start would compare two draws of everything else."""
    channels = {"channels": [12, 6, 6, 6, 8]}
    plain, cosine = (
        build_multitask("cnn-seq", {**channels, "initialise": way}, (16, 256), {"tags": 2})
        for way in ("random", "cosine")
    )
    changed = {
        name
        for name, value in plain.state_dict().items()
        if not torch.equal(value, cosine.state_dict()[name])
    }
    assert changed == {f"shared.conv{number}.0.weight" for number in range(1, 6)}
    first, first_plain = (net.get_parameter("shared.conv1.0.weight") for net in (cosine, plain))
    assert torch.equal(first[9:], first_plain[9:])
    torch.testing.assert_close(first[:9], cosine_kernels(9, 1))


def test_kernels_lie_where_the_pretrained_ones_do() -> None:
    """`--init cnn-msd` could not give the CNN the weights that the study starts from."""
    with torch.device("meta"):
        source = build_multitask("cnn-choi", {}, (96, 1366), {"tags": 50}).state_dict()
        nets = [
            build_multitask(arch, {}, (96, 1366), {"tags": 63}).state_dict()
            for arch in ("cnn-seq", "cnn-lstm-seq")
        ]
    for state in nets:
        for name, value in source.items():
            if name.startswith("shared.conv"):
                assert state[name].shape == value.shape, name


def test_a_network_of_songs_can_be_copied_and_has_no_state_between_batches() -> None:
    """A long song would leave something behind in the network that the next one meets."""
    arch, parameters, part = SONGS[0]
    net = network(arch, parameters, part).eval()
    twin = copy.deepcopy(net)
    x = songs(2, part=part)
    net.embed(songs(6, 4, part=part))
    torch.testing.assert_close(net.embed(x), twin.embed(x))


@pytest.mark.parametrize(
    ("arch", "parameters", "shape", "message"),
    [
        ("cnn-seq", {"initialise": "cos"}, (96, 1366), "got initialise 'cos'.*random or cosine"),
        ("cnn-lstm-seq", {"channels": [4, 4]}, (96, 1366), "got 2 channels.*32,128,128,192,256"),
        ("cnn-lstm-seq", {}, (12, 1366), "got 12 bands.*--preset seq"),
    ],
)
def test_what_does_not_fit_is_said(arch: str, parameters: dict, shape: tuple, message: str) -> None:
    """A mistake on the command line would end in a traceback of torch."""
    with pytest.raises(UsageError, match=message):
        build_multitask(arch, parameters, shape, {"genre": 2})
