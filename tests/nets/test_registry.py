"""The tables of names: complete, consistent, and helpful about wrong names."""

import re
import subprocess
import sys

import pytest

from mt_tools.errors import UsageError
from mt_tools.features.presets import PRESETS
from mt_tools.nets.registry import (
    ARCHITECTURES,
    DEFAULT_MODEL,
    EMBEDDERS,
    MSD_TAGS,
    WEIGHTS,
    architecture,
    network,
    weights,
    weights_name,
)


def test_rows_name_things_that_exist() -> None:
    """A name shown by `mt-fetch list` would fail when it is used."""
    for row in [*WEIGHTS.values(), *EMBEDDERS.values()]:
        assert row.arch in ARCHITECTURES
        assert row.preset in PRESETS
    assert DEFAULT_MODEL in WEIGHTS
    assert not WEIGHTS.keys() & EMBEDDERS.keys()


def test_weights_are_pinned_and_credited() -> None:
    """A moved file would change results unseen, or a licence be left out."""
    for row in WEIGHTS.values():
        assert re.fullmatch(r"[0-9a-f]{64}", row.sha256)
        assert re.search(r"/[0-9a-f]{40}/", row.url), "the address must name a commit"
        assert row.licence
        assert row.citation
        assert len(set(row.vocabulary)) == len(row.vocabulary)


def test_the_fifty_tags_are_in_the_papers_order() -> None:
    """Every score would be printed beside another tag's name."""
    assert len(MSD_TAGS) == 50
    assert [MSD_TAGS[i] for i in (0, 9, 17, 23, 33, 43, 49)] == [
        "rock", "jazz", "Mellow", "instrumental", "Hip-Hop", "Progressive rock", "happy",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "hint"), [("crnn-mds", "crnn-msd"), ("cnnmsd", "cnn-msd"), ("zzz", "choose one of")]
)
def test_a_wrong_name_is_answered_with_right_ones(wrong: str, hint: str) -> None:
    """A typing mistake would send the user to the documentation."""
    with pytest.raises(UsageError, match=hint):
        weights(wrong)
    with pytest.raises(UsageError, match="did you mean mlp"):
        architecture("mpl")


def test_names_of_networks_and_their_weights() -> None:
    """`arch.weights` would not be understood, or give another network's weights."""
    assert network("crnn-choi") == ("crnn-choi", "")
    assert network("crnn-choi.msd") == ("crnn-choi", "crnn-msd")
    assert network("compact-choi.msd-per-clip") == ("compact-choi", "compact-msd-per-clip")
    assert weights_name("cnn-choi.msd") == weights_name("cnn-msd") == "cnn-msd"
    assert weights("cnn-choi.msd") is WEIGHTS["cnn-msd"]
    assert len({(row.arch, row.tag) for row in WEIGHTS.values()}) == len(WEIGHTS)
    with pytest.raises(
        UsageError, match=r"unknown network 'crnn-choi.mds': did you mean crnn-choi"
    ):
        network("crnn-choi.mds")
    with pytest.raises(UsageError, match=r"unknown network 'crnn-msd'"):
        network("crnn-msd")


def test_the_registry_loads_without_torch() -> None:
    """`--help` would take two seconds."""
    code = "import sys, mt_tools.nets.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
