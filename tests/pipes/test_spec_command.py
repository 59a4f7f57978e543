"""mt-spec in a shell: excerpts, storage, and transforms that wait for the whole input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support import Shell

from mt_tools.features.transforms import Transform
from mt_tools.tables.source import Source, open_table

SMALL = "--sample-rate 8000 --n-fft 512 --hop 256 --bands 16"


def test_a_transform_is_fitted_to_a_stream_and_applied_to_a_folder(
    sh: Shell, corpus: Path, tmp_path: Path
) -> None:
    """Fitting would need a file where a pipe is, or the folder's features be other ones."""
    done = sh(
        f"mt-fetch split tracks.parquet | mt-spec {SMALL} --centre 2 --fit whiten --components 8 "
        f"--fitted {tmp_path}/white.npz --dtype uint8 --levels=-2,2 -o {tmp_path}/white.parquet && "
        f"mt-spec data --apply {tmp_path}/white.npz --jobs 2 -o {tmp_path}/again.parquet",
        ok=True,
        cwd=corpus,
    )
    assert b"whiten: 8 of 16 directions" in done.stderr
    assert b"values lay outside --levels=-2,2 and were clipped" in done.stderr
    white, again = (
        Source([open_table(str(tmp_path / name))]) for name in ("white.parquet", "again.parquet")
    )
    assert white.columns["mel"].settings == again.columns["mel"].settings
    assert white.columns["mel"].levels is not None
    step = white.provenance[-1]
    assert (step["settings"]["fit"], step["settings"]["components"]) == ("whiten", "8")
    transform = Transform.from_bytes((tmp_path / "white.npz").read_bytes(), "it")
    assert step["settings"]["fitted_on"]["parts"] == {"train": transform.fitted_on.parts["train"]}  # type: ignore[union-attr]
    assert again.provenance[-1]["settings"]["apply"] == "white.npz"
    ours = {id_: mel for batch in white for id_, mel in zip(batch.ids, batch["mel"], strict=True)}
    for batch in again:
        for id_, mel in zip(batch.ids, batch["mel"], strict=True):
            np.testing.assert_allclose(ours[id_], np.clip(mel, -2, 2), atol=4 / 255 / 2 + 1e-5)


def test_without_a_split_nothing_is_fitted_and_nothing_computed(
    sh: Shell, corpus: Path, tmp_path: Path
) -> None:
    """An hour of decoding would end in a refusal, or the test rows be fitted on."""
    done = sh(f"mt-spec {corpus}/tracks.parquet --fit pca -o out.parquet")
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 2
    assert "no split, so nothing says which rows may be fitted on" in line
    assert not (tmp_path / "out.parquet").exists()
