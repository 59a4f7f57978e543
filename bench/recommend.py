"""Recommendation: an iteration by the number of likes, and the REP study's data by dimensions.

Likes are drawn. The first table doubles them while listeners and tracks stay: what depends on them
(two products with sparse matrices, or with --alpha one solution a listener and track) should double
too. The second is the size of ThisIsMyJam, 944 tracks, 993 listeners, r = 10, 40 iterations, 50
repeats, listeners with some 20 likes. Medians of several; seconds of the first table are those of
the processor, which a busy machine draws out less.

    python bench/recommend.py            # RUNS=3
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from mt_tools.engine.pool import cores
from mt_tools.evaluate.factorise import FeatureMap, Weights, factorise
from mt_tools.evaluate.probe import run
from mt_tools.evaluate.probe_splits import Labelled, drawn
from mt_tools.evaluate.recommend import Likes, Recommending
from mt_tools.evaluate.settings import RecommendSettings

RUNS = int(os.environ.get("RUNS", "3"))
RANK = 10


def drawn_likes(rng: np.random.Generator, users: int, items: int, number: int) -> csr_array:
    """Return about so many likes at random places, each counted one to five times."""
    places = np.unique(rng.integers(users * items, size=number))
    counts = rng.integers(1, 6, size=len(places)).astype(float)
    return csr_array((counts, np.divmod(places, items)), (users, items))


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the medians of how long it takes, and of the processor's seconds."""
    times = []
    for _ in range(RUNS):
        begin, began = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - begin, time.process_time() - began))
    wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
    return wall, cpu


def iterations() -> None:
    """Print what an iteration costs, and what of it is due to the likes."""
    rng = np.random.default_rng(0)
    users, items, d = 20_000, 10_000, 16
    features = FeatureMap(rng.normal(size=(items, d)), 0.01)
    start = rng.normal(size=(items, RANK))
    print(f"{users:,} listeners, {items:,} tracks, r = {RANK}, d = {d}, one core\n")
    print("| likes | alpha | ms an iteration | of it due to likes | times |")
    print("|---:|---:|---:|---:|---:|")
    for alpha in (0.0, 40.0):
        none = csr_array((users, items))

        def timed(likes: csr_array, alpha: float = alpha) -> float:
            """Return the seconds of an iteration, without what is done once."""
            whole = [
                seconds(lambda n=n: factorise(likes, features, start, Weights(alpha=alpha), n))[1]
                for n in (1, 6)
            ]
            return (whole[1] - whole[0]) / 5

        base, before = timed(none), 0.0
        for number in (1_000_000, 2_000_000, 4_000_000, 8_000_000):
            likes = drawn_likes(rng, users, items, number)
            took = timed(likes)
            times = f"{(took - base) / before:.2f}" if before else ""
            before = took - base
            print(
                f"| {likes.nnz:,} | {alpha:g} | {took * 1e3:.0f} | {before * 1e3:.0f} | {times} |"
            )
            sys.stdout.flush()


def study() -> None:
    """Print how long the REP study's protocol takes."""
    rng = np.random.default_rng(0)
    users, items = 993, 944
    likes = Likes(drawn_likes(rng, users, items, 20 * users), [f"u{i}" for i in range(users)])
    names = np.array([f"t{i}" for i in range(items)], object)
    known = Labelled(np.arange(items), None, None, names)
    print(f"\n{items} tracks, {users} listeners, 50 repeats, {cores()} cores\n")
    print("| d | alpha | jobs | s | CPU s |\n|---:|---:|---:|---:|---:|")
    for d, alpha in ((512, 0.0), (4096, 0.0), (512, 40.0)):
        x = rng.normal(size=(items, d)).astype(np.float32)
        settings = RecommendSettings(repeats=50, alpha=alpha)
        for jobs in (1, cores()):

            def work(x: np.ndarray = x, jobs: int = jobs) -> None:
                one = Recommending(likes, known, drawn(known, settings), settings, x)  # noqa: B023
                run([(one, split) for split in range(50)], jobs)

            wall, cpu = seconds(work)
            print(f"| {d} | {alpha:g} | {jobs} | {wall:.1f} | {cpu:.1f} |")
            sys.stdout.flush()


def main() -> None:
    """Print Markdown tables."""
    with threadpool_limits(1):
        iterations()
    study()


if __name__ == "__main__":
    main()
