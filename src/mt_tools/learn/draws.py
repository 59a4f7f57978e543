"""Random draws by name: the same for a row whatever stands before it, beside it or in its batch.

Goal: shuffles, crops, masks and recipes that depend on the seed, the purpose, the epoch and the
row's name alone, so that a resumed run, another order of the table, another batch size or another
number of workers draws the same. What is drawn once for an update, and not for each row, has its
own seed (`seed_of`).

Source: splitmix64's finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014) over the exclusive or of two BLAKE2 hashes, one of the row's name (taken
once) and one of the seed and purpose (taken once a call): a counter-based generator, vectorised.

Conventions: `keys` are uint64 [n], one a row. numpy only: workers load this module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]


def keys_of(names: Iterable[Any]) -> Keys:
    """Return a key for each name [n]: the first 64 bits of its hash."""
    digests = b"".join(_hash(str(name)) for name in names)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def bits(keys: Keys, seed: int, *purpose: object) -> Keys:
    """Return 64 random bits for each key, the same whenever seed and purpose are."""
    salt = np.frombuffer(_hash("/".join(map(str, (seed, *purpose)))), dtype="<u8")
    mixed = keys ^ salt
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def uniform(keys: Keys, seed: int, *purpose: object) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each key."""
    return (bits(keys, seed, *purpose) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(keys: Keys, count: Any, seed: int, *purpose: object) -> NDArray[np.int64]:
    """Return a whole number from 0 to before `count` (one number, or one a key) for each key."""
    return (uniform(keys, seed, *purpose) * count).astype(np.int64)


def shuffled(rows: NDArray[np.intp], keys: Keys, seed: int, *purpose: object) -> NDArray[np.intp]:
    """Return row numbers in a drawn order; `keys` are those of all rows, `rows` index them."""
    rows = np.asarray(rows, dtype=np.intp)
    return rows[np.argsort(bits(keys[rows], seed, *purpose), kind="stable")]


def cut(rows: NDArray[np.intp], size: int) -> list[NDArray[np.intp]]:
    """Return `rows` in batches of `size`; a last batch of one row joins the one before.

    Batch norm has no variance to normalise by in a batch of one row.
    """
    starts = list(range(0, len(rows), size))
    if len(starts) > 1 and len(rows) - starts[-1] == 1:
        starts.pop()
    return np.split(rows, starts[1:]) if starts else []


def seed_of(seed: int, purpose: str, *names: object) -> int:
    """Return the seed of one draw, by the run's seed, the purpose and the draw's names.

    It is a whole number of 63 bits, which numpy and torch take.
    """
    text = "/".join(map(str, (seed, purpose, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
