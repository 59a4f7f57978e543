"""Probes: how much a simple model can tell from embeddings.

Goal: compare representations by a simple model over many splits, as the REP study and Choi et al.
(2017) do. The models and their constants are those of `evaluate.probes`, the splits those of
`evaluate.probe_splits`. Constants are fixed, or searched in each split by folds inside its train
part; the scaler (zero mean, unit variance) is fitted on what the model is fitted on. Neither ever
sees a test row.

Labels are the wire's, as in `score`; ordinal ones are numbers. Rows without a label, or with a
vector that is not finite, are left out and counted.

The interval of a mean over splits is corrected for overlapping train parts, that of a single given
split resamples the artists that it tests. With few examples the correction is still that of the
whole train part: of the two things it stands for, train parts that overlap do so less.

The unit of work is one split of one label of one embedding (`Probing.test`), in any order, thread
or process: what it draws is seeded by names.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mt_tools import metrics, splits
from mt_tools.engine.pool import ordered
from mt_tools.errors import RunError, UsageError
from mt_tools.evaluate import probe_splits
from mt_tools.evaluate.intervals import Interval, bootstrap
from mt_tools.evaluate.probe_labels import Target, target_notes, target_of
from mt_tools.evaluate.probe_results import Outcome, ProbeResult, choices_of, shortages, summary
from mt_tools.evaluate.probe_splits import Labelled, Pair, Plan, Rows
from mt_tools.evaluate.probes import (
    MAX_ITERATIONS,
    PROBES,
    Predicted,
    candidates,
    chosen_of,
    model_of,
)
from mt_tools.evaluate.score import present, single_classes
from mt_tools.evaluate.settings import ProbeSettings
from mt_tools.metrics import Score
from mt_tools.tasks.labels import is_distribution

Array = NDArray[Any]

PATIENCE_SECONDS = 5.0  # with splits in this process, before others are started

HEADLINES = {
    "multiclass": "accuracy",
    "multilabel": "roc_auc_macro",
    "regression": "r2",
    "ordinal": "mae",
    "distribution": "kl",
}
"""The metric of each kind that a search goes by."""


class Splitwise(Protocol):
    """What is fitted and tested split by split: in any order, thread or process."""

    @property
    def in_threads(self) -> bool:
        """Whether several splits are best tested in threads of this process."""

    def __len__(self) -> int: ...

    def test(self, split: int) -> Outcome:
        """Fit on the train part of one split and measure on its test part."""

    def key(self) -> str:
        """Return a digest of all that the outcomes depend on, beside the machine."""


@dataclass(frozen=True)
class Probing:
    """One label of one embedding, ready to be probed split by split."""

    x: Array
    target: Target
    known: Labelled
    plan: Plan
    settings: ProbeSettings
    shots: tuple[int, ...]
    unlabelled: int
    unusable: int
    notes: list[str]

    def __len__(self) -> int:
        return len(self.plan.pairs)

    @property
    def in_threads(self) -> bool:
        """Whether several splits are best tested in threads of this process."""
        return PROBES[self.settings.probe].in_threads

    def test(self, split: int) -> Outcome:
        """Fit on the train rows of one split and measure on its test rows."""
        train, test = self.plan.pairs[split]
        purpose = f"repeat {split}"
        parts = {"": (train, dict[str, int]())}
        drawn = probe_splits.few(self.known, train, self.shots, self.settings.seed, purpose)
        parts |= {f"@{count}": part for count, part in drawn.items()}
        scores: dict[str, Score] = {}
        ends: dict[str, Interval] = {}
        chosen: dict[str, str] = {}
        short: dict[str, dict[str, int]] = {}
        converged = True
        for mark, (rows, lacking) in parts.items():
            best = self._searched(rows)
            if self.settings.search or self.settings.grid:
                chosen[mark] = chosen_of(best, self.target.kind, self.x.shape[1])
            predicted = self._fitted(rows, test, best, split)
            converged &= predicted.converged
            found = self._measured(test, predicted)
            whole = found(None)
            if lacking:
                short[mark] = lacking
                if self.target.kind != "multilabel":  # where a tag has as many as there are
                    few = ", ".join(f"{label} ({have})" for label, have in lacking.items())
                    whole = dict.fromkeys(
                        whole, metrics.undefined(f"too few in the train part: {few}")
                    )
            scores |= {f"{name}{mark}": score for name, score in whole.items()}
            if len(self) == 1:
                ends |= {f"{n}{mark}": end for n, end in self._ends(test, whole, found).items()}
        return Outcome(scores, len(test), ends, chosen, short, converged)

    def key(self) -> str:
        """Return a digest of all that the outcomes depend on, beside the machine."""
        whole = hashlib.sha256()
        rows = self.known.rows
        made = [version(name) for name in ("mt-tools", "numpy", "scipy", "scikit-learn")]
        about = [self.target.kind, self.target.names, self.known.origins.tolist()]
        parts = [] if self.known.groups is None else self.known.groups.tolist()
        pairs = [[train.tolist(), test.tolist()] for train, test in self.plan.pairs]
        valid = None if self.plan.valid is None else self.plan.valid.tolist()
        text = json.dumps(
            [made, asdict(self.settings), about, parts, pairs, valid, rows.tolist()], default=str
        )
        whole.update(text.encode("utf-8", "surrogatepass"))
        for array in (self.x[rows], self.target.y[rows]):
            whole.update(f"{array.dtype.str}{array.shape}".encode())
            whole.update(np.ascontiguousarray(array).tobytes())
        return whole.hexdigest()

    def result(self, outcomes: Sequence[Outcome]) -> ProbeResult:
        """Summarise the outcomes of all splits, in their order."""
        settings, kind = self.settings, self.target.kind
        notes = [*self.plan.notes, *self.notes]
        if not all(outcome.converged for outcome in outcomes):
            notes.append(f"the logistic regression did not converge in {MAX_ITERATIONS} iterations")
        model = model_of(settings, kind, "").described(settings, kind)
        searched = settings.search or settings.grid
        if searched:
            how = "valid rows" if self.plan.valid is not None else "inner folds"
            model = f"{settings.probe}, constants searched by {HEADLINES[kind]} on {how}"
        choices = choices_of(outcomes)
        notes += [f"chosen {mark}".strip() + f": {told}" for mark, told in choices.items()]
        interval = ", bootstrap (BCa, 95 %)" if len(self) == 1 else ""
        notes += shortages(outcomes)
        tested = self.known.at(np.unique(np.concatenate([test for _, test in self.plan.pairs])))
        clusters = int(splits.units(tested.origins, tested.groups).max()) + 1
        return ProbeResult(
            kind=kind,
            metrics={
                name: summary(name, outcomes, self.plan.test_share, clusters)
                for name in dict.fromkeys(name for outcome in outcomes for name in outcome.scores)
            },
            n=len(self.known.rows),
            unlabelled=self.unlabelled,
            unusable=self.unusable,
            classes=self.target.counts,
            splits=len(self),
            grouped=self.plan.grouped,
            protocol=f"{model}, {self.plan.protocol}{interval}",
            tested=[outcome.tested for outcome in outcomes],
            chosen=[outcome.chosen for outcome in outcomes],
            choices=choices,
            notes=notes,
        )

    def _searched(self, rows: Rows) -> ProbeSettings:
        """Return the constants to fit these train rows with."""
        tried = candidates(self.settings, self.target.kind, self.x.shape[1])
        if len(tried) == 1:
            return tried[0]
        if self.plan.valid is not None:
            pairs = [(rows, self.plan.valid)]
        else:
            pairs = probe_splits.inner(self.known, rows, self.plan.grouped, self.settings.seed)
        headline = HEADLINES[self.target.kind]
        sign = -1.0 if headline in metrics.LOWER_IS_BETTER else 1.0
        best, most = tried[0], -np.inf
        for one in tried:
            found = [
                self._measured(held, self._fitted(rest, held, one, 0))(None)[headline].value
                for rest, held in pairs
            ]
            defined = [sign * value for value in found if np.isfinite(value)]
            # Not by less than rounding: equal ones are told apart by their order alone.
            if defined and (mean := float(np.mean(defined))) > most + 1e-12:
                best, most = one, mean
        return best

    def _fitted(self, train: Rows, test: Rows, settings: ProbeSettings, split: int) -> Predicted:
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler(copy=False)  # of copies already: memory is for the model
        x = scaler.fit_transform(self.x[train].astype(np.float64))
        x_test = scaler.transform(self.x[test].astype(np.float64))
        text = f"{settings.seed}\0probe\0{split}".encode()
        seed = int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")
        fit = model_of(settings, self.target.kind, "").fits[self.target.kind]
        return fit(x, self.target.y[train], x_test, settings, seed)

    def _measured(
        self, test: Rows, predicted: Predicted
    ) -> Callable[[Rows | None], dict[str, Score]]:
        """Return a function from some of the test rows (None: all) to every metric."""
        truth, (values, chances, classes, _) = self.target.y[test], predicted
        every = np.arange(len(test))

        def counted(rows: Rows | None) -> Any:
            return None if rows is None else np.bincount(rows, minlength=len(test))

        match self.target.kind:
            case "multiclass":
                of_classes = metrics.multiclass_measure(truth, values, chances, classes)
                return lambda rows: of_classes(counted(rows))
            case "multilabel":
                of_tags = metrics.multilabel_measure(truth, values)
                return lambda rows: of_tags(counted(rows))[0]
            case "ordinal":
                of_steps = metrics.ordinal_measure(truth, values, chances, classes)
                return lambda rows: of_steps(counted(rows))
        of_kind = metrics.regression if self.target.kind == "regression" else metrics.distribution
        return lambda rows: of_kind(
            truth[every if rows is None else rows], values[every if rows is None else rows]
        )

    def _ends(
        self,
        test: Rows,
        whole: Mapping[str, Score],
        found: Callable[[Rows | None], dict[str, Score]],
    ) -> dict[str, Interval]:
        """Return the intervals of the metrics of a single split."""
        tested = self.known.at(test)
        ends = bootstrap(
            lambda rows: np.array([score.value for score in found(rows).values()]),
            splits.units(tested.origins, tested.groups),
            rng=np.random.default_rng(self.settings.seed),
        )
        known = {name: np.isfinite(score.value) for name, score in whole.items()}
        return {
            name: end if known[name] else Interval(np.nan, np.nan)
            for name, end in zip(whole, ends, strict=True)
        }


def probe(
    x: Array,
    y: Array,
    kind: str,
    groups: splits.Column | None = None,
    origins: splits.Column | None = None,
    settings: ProbeSettings | None = None,
    *,
    jobs: int = 1,
    pairs: Sequence[Pair] | None = None,
    task: str = "the task",
) -> ProbeResult:
    """Fit and test a simple model on embeddings over repeated splits or folds.

    Inputs as for `prepare`; `jobs`: splits at a time, which never change the result.
    """
    probing = prepare(x, y, kind, groups, origins, settings, pairs=pairs, task=task)
    outcomes = run([(probing, split) for split in range(len(probing))], jobs)
    return probing.result(outcomes)


def prepare(
    x: Array,
    y: Array,
    kind: str,
    groups: splits.Column | None = None,
    origins: splits.Column | None = None,
    settings: ProbeSettings | None = None,
    *,
    pool: Rows | None = None,
    pairs: Sequence[Pair] | None = None,
    valid: Rows | None = None,
    given: str = "split",
    task: str = "the task",
) -> Probing:
    """Check everything that a probe needs, and draw its splits.

    `x`: [n, d] vectors; `y`: [n] labels of `kind` (multiclass, multilabel, regression, ordinal, or
    distribution: [n, components]); `groups`, `origins`: [n], None where unknown; `pool`: the rows
    that splits are drawn from, default all; `pairs`: (train rows, test rows) instead of drawn ones,
    for tables that carry their own, called `given`, with rows `valid` to search on; `task` names
    the label in messages. Raises `UsageError` when there is nothing to learn: no label, one class,
    a constant target, a model that cannot predict the kind, or splits that cannot be drawn.
    """
    settings = settings or ProbeSettings()
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or len(x) != len(y):
        raise UsageError(
            f"got vectors of shape {x.shape} for {len(y)} labels of {task}, expected "
            "[rows, dimensions]: pool features to one vector a row with mt-embed first"
        )
    if kind == "multiclass":
        y = single_classes(y)
    model_of(settings, kind, task)
    candidates(settings, kind, x.shape[1])
    labelled, usable = present(y), np.isfinite(x).all(axis=1)
    asked = np.zeros(len(y), bool)
    asked[slice(None) if pool is None else pool] = True
    rows = np.flatnonzero(labelled & usable & asked)
    if not len(rows):
        raise UsageError(
            f"nothing to probe for {task}: of {int(asked.sum())} rows "
            f"{int((labelled & asked).sum())} are labelled, {int((usable & asked).sum())} have a "
            "finite vector and none has both"
        )
    notes: list[str] = []
    if kind == "distribution":
        fine = is_distribution(y[rows].astype(np.float64))
        if not fine.all():
            notes.append(
                f"{int((~fine).sum())} rows are negative somewhere or do not sum to 1, and are "
                "left out"
            )
            rows = rows[fine]
    target, names = target_of(y, rows, kind, task)
    known = Labelled(
        rows,
        names,
        None if groups is None else np.asarray(groups, object)[rows],
        rows if origins is None else _own(origins)[rows],
    )
    if pairs is None:
        plan = probe_splits.drawn(known, settings)
    else:
        plan = probe_splits.given(known, pairs, given, valid)
    if plan.valid is not None and not len(plan.valid):
        raise UsageError(f"none of the valid rows has a label of {task} to search by")
    return Probing(
        x=x,
        target=target,
        known=known,
        plan=plan,
        settings=settings,
        shots=parse_shots(settings.shots),
        unlabelled=int((~labelled & asked).sum()),
        unusable=int((labelled & ~usable & asked).sum()),
        notes=notes + target_notes(y[rows], kind, settings),
    )


def _own(origins: splits.Column) -> Array:
    """Return origins [n] in which each missing one is its own, which no name can equal."""
    own = np.array(origins, object)
    missing = np.flatnonzero(~present(own))
    own[missing] = [f"\0{row}" for row in missing]
    return own


def run(
    units: Sequence[tuple[Splitwise, int]],
    jobs: int,
    done: Callable[[Splitwise, int, Outcome], object] = lambda probing, split, outcome: None,
) -> list[Outcome]:
    """Test splits by `jobs` of them at a time; return their outcomes in the order of the units.

    `done` is told of each, in that order, in the calling thread.
    """
    outcomes = []
    with _one_thread(), contextlib.closing(_tested(list(units), jobs)) as work:
        for (probing, split), outcome in zip(units, work, strict=True):
            outcomes.append(outcome)
            done(probing, split, outcome)
    return outcomes


def _tested(units: list[tuple[Splitwise, int]], jobs: int) -> Generator[Outcome]:
    """Yield the outcomes of splits: in threads where the model lets them run, else in processes.

    Processes take seconds to start, so that the first splits are tested in this one, and all of
    them where they are quick.
    """
    from threadpoolctl import threadpool_limits

    if jobs > 1 and units and not units[0][0].in_threads:
        begin, first = time.monotonic(), 0
        while first < len(units) and time.monotonic() - begin < PATIENCE_SECONDS:
            yield _test(units[first])
            first += 1
        for worked in ordered(_test_there, units[first:], jobs, patient=True):
            if worked.value is None:
                raise RunError(f"a split could not be probed: {worked.error}")
            yield worked.value
        return
    if jobs <= 1:
        yield from map(_test, units)
        return
    # OpenMP counts its threads for each thread that asks.
    threads = ThreadPoolExecutor(jobs, initializer=threadpool_limits, initargs=(1,))
    try:
        rest = iter(units)
        waiting = deque(threads.submit(_test, unit) for unit in islice(rest, 2 * jobs))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(threads.submit(_test, unit) for unit in islice(rest, 1))
    finally:  # who interrupts does not wait for the splits that are under way
        threads.shutdown(wait=False, cancel_futures=True)


def _test(unit: tuple[Splitwise, int]) -> Outcome:
    """Test one split."""
    probing, split = unit
    return probing.test(split)


def _test_there(unit: tuple[Splitwise, int]) -> Outcome:
    """Test one split in a worker."""
    with _one_thread():
        return _test(unit)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let BLAS and OpenMP work in one thread, so that sums do not depend on the jobs.

    Warnings are silent meanwhile: what matters of them is told as notes.
    """
    import sklearn.linear_model  # noqa: F401 - which loads the libraries that are to be held
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        yield


def parse_shots(text: str) -> tuple[int, ...]:
    """Return the numbers of examples of `--shots`, rising.

    >>> parse_shots("1,10,5")
    (1, 5, 10)
    """
    try:
        counts = tuple(sorted({int(part) for part in text.split(",")})) if text else ()
        if any(count < 1 for count in counts):
            raise ValueError
    except ValueError:
        raise UsageError(
            f"--shots {text}: expected numbers of examples a class from 1, such as 1,2,5,10"
        ) from None
    return counts
