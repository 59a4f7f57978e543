"""Files to tag, for the tests that write into them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tagged import make_sounds


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of a tone in every format that ffmpeg writes, without tags."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed: most formats cannot be made")
    folder = tmp_path_factory.mktemp("sounds")
    make_sounds(folder)
    return folder


@pytest.fixture
def make(sounds: Path, tmp_path: Path) -> Callable[..., Path]:
    """Give a new file in a format."""

    def copy(ending: str, name: str = "song") -> Path:
        return Path(shutil.copy(sounds / f"x.{ending}", tmp_path / f"{name}.{ending}"))

    return copy
