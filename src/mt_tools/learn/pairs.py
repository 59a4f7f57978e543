"""Pairs of examples that belong together or not, made of two views of a batch.

Source: the "self" of the REP study (eqs. 5 and 6): are two crops from the same track? Half of a
batch's pairs are (section 3.1, "equal numbers of songs for both membership categories").
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def partners(
    codes: NDArray[Any], mask: NDArray[np.bool_], seed: int
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return for each row of a batch whose second view it is compared with, and whether they match.

    `codes` [m] say what belongs together, `mask` [m] which of them are known. Every other labelled
    row keeps its own second view, so that any part of a batch has as many of both. The rest get
    that of another labelled row whose code differs, drawn by `seed`; where there is none, a row
    keeps its own. Returns positions in the batch, [m], and 1 where both belong together, else 0,
    [m].
    """
    chosen = np.arange(len(codes))
    labelled = np.flatnonzero(mask)
    second = labelled[1::2]
    if len(second):
        others = codes[second][:, None] != codes[labelled][None, :]
        keys = np.random.default_rng(seed).random(others.shape)
        best = np.where(others, keys, -1.0).argmax(axis=1)
        found = others.any(axis=1)
        chosen[second[found]] = labelled[best[found]]
    return chosen, (codes == codes[chosen]).astype(np.int64)
