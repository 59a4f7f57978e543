"""Topics of a made bag of words: time, peak memory, and how well planted topics are found.

Topics are drawn from a Dirichlet distribution of 0.05 over all words, so that each has most of its
mass in some thousands of them and all share them, the mixtures of documents from one of 0.1, and
as many words as a Poisson distribution of LENGTH says from these. Found and planted topics are
matched one to one; a cosine of 1 is equality. Each row is a process of its own, one thread; the
command reads a Parquet table of lists of words, and folds all rows in after the fit. scikit-learn's
row is ten updates, from which it goes on alike. CPU seconds are what a machine with nothing else
to do takes.

    python bench/factor.py    # DOCUMENTS=100000 WORDS=50000 TOPICS=50 LENGTH=100 PASSES=1
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

DOCUMENTS = int(os.environ.get("DOCUMENTS", "100000"))
WORDS = int(os.environ.get("WORDS", "50000"))
TOPICS = int(os.environ.get("TOPICS", "50"))
LENGTH = int(os.environ.get("LENGTH", "100"))
PASSES = int(os.environ.get("PASSES", "1"))
UPDATES = 10
BIN = Path(sys.executable).parent


def planted(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return topics [k, words], and of every word that is drawn its document and its number."""
    topics = rng.gamma(0.05, size=(TOPICS, WORDS))
    topics /= topics.sum(axis=1, keepdims=True)
    mixtures = rng.dirichlet(np.full(TOPICS, 0.1), size=DOCUMENTS)
    lengths = np.maximum(rng.poisson(LENGTH, size=DOCUMENTS), 1)
    counts = rng.multinomial(lengths, mixtures)
    documents, words = [], []
    for count, topic in zip(counts.T, topics, strict=True):
        owners = np.repeat(np.arange(DOCUMENTS, dtype=np.int32), count)
        places = np.searchsorted(np.cumsum(topic), rng.random(len(owners)) * topic.sum())
        documents.append(owners)
        words.append(np.minimum(places, WORDS - 1).astype(np.int32))
    owners, drawn = np.concatenate(documents), np.concatenate(words)
    order = np.argsort(owners, kind="stable")
    return topics, owners[order], drawn[order]


def write(folder: Path) -> int:
    """Write counts, planted topics and the table; return how many counts are not zero."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from scipy import sparse

    topics, documents, words = planted(np.random.default_rng(0))
    ones = np.ones(len(words), np.float32)
    counts = sparse.coo_array((ones, (documents, words)), shape=(DOCUMENTS, WORDS)).tocsr()
    sparse.save_npz(folder / "counts.npz", counts, compressed=False)
    np.save(folder / "topics.npy", topics.astype(np.float32))
    ends = np.searchsorted(documents, np.arange(DOCUMENTS + 1)).astype(np.int32)
    names = pa.array([f"{number:06d}" for number in range(WORDS)])
    bags = pa.ListArray.from_arrays(ends, names.take(pa.array(words)))
    ids = pa.array([f"track {number}" for number in range(DOCUMENTS)])
    pq.write_table(pa.table({"id": ids, "tags": bags}), folder / "tracks.parquet")
    return int(counts.nnz)


def cosines(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the cosine of each planted topic with the found one that it is matched to."""
    from scipy.optimize import linear_sum_assignment

    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (found, truth))
    return (a @ b.T)[linear_sum_assignment(a @ b.T, maximize=True)]


def fit(what: str, folder: Path) -> None:
    """Fit, and print seconds and the topics' cosines: the part that a process of its own does."""
    from scipy import sparse

    from mt_tools.features.lda import fit_lda
    from mt_tools.features.topics import fit_plsa

    counts: Any = sparse.csr_array(sparse.load_npz(folder / "counts.npz"))
    start, before = time.perf_counter(), time.process_time()
    if what == "plsa":
        terms = fit_plsa(counts, TOPICS).terms
    elif what == "lda":
        terms = fit_lda(counts, TOPICS, passes=PASSES).terms
    else:
        from sklearn.decomposition import NMF

        shares = counts / counts.sum(axis=1)[:, None]
        model = NMF(
            TOPICS, init="nndsvda", solver="mu", beta_loss="kullback-leibler", max_iter=UPDATES,
            tol=0, random_state=0,
        )  # fmt: skip
        terms = model.fit(shares.tocsr().astype(np.float32)).components_
    seconds, cpu = time.perf_counter() - start, time.process_time() - before
    found = cosines(terms, np.load(folder / "topics.npy"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(seconds, cpu, found.mean(), found.min(), peak)


def command(folder: Path) -> list[float]:
    """Run mt-factor plsa on the table; return what `fit` prints."""
    measure = (
        "import resource, subprocess, sys, time; start = time.perf_counter();"
        " subprocess.run(sys.argv[1:], check=True); seconds = time.perf_counter() - start;"
        " used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        " print(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    line = f"plsa tracks.parquet -k {TOPICS} --fitted tags.npz -o targets.parquet -q"
    done = run([sys.executable, "-c", measure, str(BIN / "mt-factor"), *line.split()], folder)
    with np.load(folder / "tags.npz") as file:  # without words that no document has
        places = np.array([int(word) for word in file["vocabulary"]])
        found = cosines(file["terms"], np.load(folder / "topics.npy")[:, places])
    return [*done[:2], float(found.mean()), float(found.min()), done[2]]


def run(line: list[str], folder: Path) -> list[float]:
    """Run a process of one thread and return the numbers that it prints."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        line, cwd=folder, env=os.environ | one, check=True, capture_output=True, text=True
    )
    return [float(number) for number in done.stdout.split()]


def main() -> None:
    """Print a Markdown table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        counts = write(folder)
        print(f"{DOCUMENTS:,} x {WORDS:,}, {counts / 1e6:.1f} million counts, {TOPICS} topics\n")
        print("| what | s | CPU s | peak, GB | matched cosine, mean | least |")
        print("|---|---:|---:|---:|---:|---:|")
        here = [sys.executable, os.path.abspath(__file__)]
        for title, made in (
            ("pLSA", lambda: run([*here, "plsa", name], folder)),
            ("mt-factor plsa, whole command", lambda: command(folder)),
            (f"LDA, passes: {PASSES}", lambda: run([*here, "lda", name], folder)),
            (f"scikit-learn's NMF, {UPDATES} updates", lambda: run([*here, "nmf", name], folder)),
        ):
            seconds, cpu, mean, least, peak = made()
            size = f"{peak * 1024 / 1e9:.2f}"
            print(f"| {title} | {seconds:.0f} | {cpu:.0f} | {size} | {mean:.3f} | {least:.3f} |")
            sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        fit(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
