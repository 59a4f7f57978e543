"""Label noise: the tracks whose label the rest of the data does not predict.

Goal: a list of labels to listen to again, most suspicious first, each with the label that the other
tracks suggest, and how much of each class is mislabelled by estimate.

Source: C. Northcutt, L. Jiang, I. Chuang, "Confident learning: estimating uncertainty in dataset
labels", JAIR 70, 2021. A logistic regression gives each track the probabilities p of its classes,
out of fold: it has not seen the track. A class j is confident where p[j] reaches the threshold
t[j], the mean of p[j] over the tracks labelled j; the confident joint counts tracks by given and
by confident class; calibrated, it estimates how many tracks labelled i are of class j in truth. So
many are candidates, those of the largest margin p[j] - p[i] (the paper's "prune by noise rate"),
unless the given label is the most probable one. The numbers are those of the library cleanlab.
Tags are one such problem each, with the classes absent and present. For numbers, which have no
classes, a candidate is one whose out-of-fold residual of a ridge regression is further from the
median than 3.5 robust standard deviations: B. Iglewicz, D. Hoaglin, "How to detect and handle
outliers", 1993.

Conventions. Labels are the wire's: see `tasks.labels`. The unit is a track with a label: the rows
of one origin (segments, copies) that are labelled alike are weighted to count as one and pooled by
the mean of their probabilities. Folds never separate an origin, nor a group where they are known.
What the rest of the data cannot judge is left out and said: a class or tag of one track or group,
and one that the vectors do not tell, all of whose tracks would look mislabelled.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mt_tools import splits
from mt_tools.errors import UsageError
from mt_tools.evaluate.settings import NoiseSettings
from mt_tools.tasks.kinds import encode, make_task
from mt_tools.tasks.labels import content, labelled

Array = NDArray[Any]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

FAR = 3.5  # robust standard deviations, Iglewicz and Hoaglin (1993)
MAD_SCALE = 1.4826  # makes the median absolute deviation of a normal distribution its sd
MAX_ITERATIONS = 2000
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # the C that are tried where none is given
TINY = 1e-12  # the least probability whose logarithm counts
TOLERANCE = 1e-6  # the mean of equal probabilities is not always that probability
HEARD = 0.6
"""The ROC-AUC from which labels are told well enough to be doubted: chance is 0.5."""

SHOWN = 5

CAVEAT = (
    "a candidate is a label that the other tracks do not predict: it may be wrong, or its track "
    "hard or rare, so listen before changing it. Mistakes that a whole class shares stay hidden, "
    "and so do all that the embedding was itself trained on"
)
UNGROUPED = (
    "ungrouped: tracks of one artist that share a mistake vouch for each other; give a group column"
)


@dataclass(frozen=True)
class Candidate:
    """A label that the rest of the data does not predict.

    `row` is the first of its rows in the input. `label` is as given and `suggested` what stands
    against it; of tags one of them is None: a tag to take off has no suggestion, and one to add no
    label. `p_label`, `p_suggested` are their probabilities, NaN for numbers. `score` is the margin
    p_suggested - p_label, 0 to 1, and for numbers the distance in robust standard deviations.
    """

    row: int
    finding: str
    label: str | None
    suggested: str | None
    p_label: float
    p_suggested: float
    score: float


@dataclass(frozen=True)
class Share:
    """Estimates for one class or tag of which `n` tracks carry the label.

    `noise`: share of these whose label is wrong; `missed`: share of the true members of the class
    that carry another label, or lack the tag; NaN where nothing can be said. `roc_auc`: how well
    the rest of the data tells who carries the label; what is below `HEARD` is not judged.
    """

    n: int
    noise: float
    missed: float
    roc_auc: float

    @property
    def unheard(self) -> bool:
        """Whether the vectors tell too little of the label for it to be judged."""
        return self.roc_auc < HEARD


@dataclass(frozen=True)
class NoiseReport:
    """What was found: `candidates`, most suspicious first, and estimates over all and by class.

    `noise` is the estimated share of wrong labels (of tags: of pairs of track and tag; of numbers:
    of far residuals). `fit` is how well the rest of the data predicts the labels as they are
    given, by the metric `measure`: accuracy, roc_auc_macro or r2. `n` are the tracks judged,
    `unlabelled` and `unusable` (vector not finite) rows left out.
    """

    kind: str
    candidates: list[Candidate]
    noise: float
    fit: float
    measure: str
    shares: dict[str, Share]
    n: int
    unlabelled: int
    unusable: int
    grouped: bool
    protocol: str
    notes: list[str] = field(default_factory=list)


def noise(
    x: Array,
    y: Array,
    kind: str,
    groups: splits.Column | None = None,
    origins: splits.Column | None = None,
    settings: NoiseSettings | None = None,
    *,
    jobs: int = 1,
    task: str = "the task",
) -> NoiseReport:
    """Find the labels that the rest of the data does not predict.

    `x`: [n, d] vectors; `y`: [n] labels of `kind` (multiclass, ordinal, multilabel, regression);
    `groups`, `origins`: [n], None where unknown; `jobs`: threads, which never change the result;
    `task` names the label in messages. Raises `UsageError` for other kinds, and when there is
    nothing to judge: no label, one class, too few tracks for the folds.
    """
    settings = settings or NoiseSettings()
    x, y = np.asarray(x, np.float64), np.asarray(y)
    if x.ndim != 2 or len(x) != len(y):
        raise UsageError(
            f"got vectors of shape {x.shape} for {len(y)} labels of {task}, expected "
            "[rows, dimensions]: pool features to one vector a row with mt-embed first"
        )
    if kind not in _JUDGES:
        raise UsageError(
            f"task {task!r} is of the kind {kind}: label noise is found in {', '.join(_JUDGES)}"
        )
    has_label, usable = labelled(y), np.isfinite(x).all(axis=1)
    if not (has_label & usable).any():
        raise UsageError(
            f"nothing to judge for {task}: of {len(y)} rows {int(has_label.sum())} are labelled, "
            f"{int(usable.sum())} have a finite vector and none has both"
        )
    if kind == "ordinal" and content(task, y) == "strings":
        kind = "multiclass"  # the order of the words makes no difference here
    definition = make_task(task, kind, y, has_label & usable)
    codes, encoded = encode(definition, y)
    if kind == "regression":
        codes = np.where(encoded, y, np.nan)  # in the label's own unit
    rows = np.flatnonzero(encoded & usable)
    names = definition["vocabulary"]
    origin = rows if origins is None else np.asarray(origins, object)[rows]
    group = None if groups is None else np.asarray(groups, object)[rows]
    data = _Data(x[rows], codes[rows], names, rows, *_units(origin, codes[rows]))
    plan = _plan(data, kind, origin, group, settings)
    verdict = _JUDGES[kind](data, plan, settings, max(1, jobs))
    ranked = sorted(verdict.candidates, key=lambda found: (-found.score, found.row))
    return NoiseReport(
        kind=kind,
        candidates=ranked,
        noise=verdict.noise,
        fit=verdict.fit,
        measure=verdict.measure,
        shares=verdict.shares,
        n=verdict.n,
        unlabelled=int(len(y) - encoded.sum()),
        unusable=int((encoded & ~usable).sum()),
        grouped=plan.grouped,
        protocol=", ".join([verdict.model, *plan.how]),
        notes=[*plan.notes, *verdict.notes],
    )


# --- confident learning --------------------------------------------------------------------------


def confident_joint(y: Array, p: Array) -> Integers:
    """Return how many rows labelled i are of class j in truth, by estimate: integers [k, k].

    `y`: [n] given classes, 0 to k - 1; `p`: [n, k] out-of-fold probabilities. Row i sums to the
    number of rows labelled i. Where several classes are confident the most probable class counts.
    """
    k = p.shape[1]
    counts = np.bincount(y, minlength=k)
    # A class that no row is labelled with has no threshold, and nobody is confident of it.
    sums = np.array([p[y == j, j].sum() for j in range(k)])
    threshold = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    confident = p >= np.maximum(threshold, 2 * TOLERANCE) - TOLERANCE
    several = confident.sum(axis=1) > 1
    truth = np.where(several, p.argmax(axis=1), confident.argmax(axis=1))
    sure = confident.any(axis=1)
    joint = np.zeros((k, k), np.int64)
    np.add.at(joint, (y[sure], truth[sure]), 1)
    # A class never loses all of its rows.
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    calibrated = joint / joint.sum(axis=1, keepdims=True) * counts[:, None]
    return np.array([_rounded(row) for row in calibrated])


def _rounded(row: Floats) -> Integers:
    """Round numbers to integers of the same sum, by the largest remainders."""
    whole = np.rint(row)
    short = round(row.sum() - whole.sum())
    order = np.argsort(row - whole, kind="stable")
    if short > 0:
        whole[order[::-1][:short]] += 1
    elif short < 0:
        whole[order[:-short]] -= 1
    return whole.astype(np.int64)


def mislabelled(y: Array, p: Array, joint: Integers) -> Mask:
    """Return the rows [n] that are candidates: of each pair of classes as many as `joint` says.

    `y`: [n], `p`: [n, k] and `joint`: [k, k] as for and from `confident_joint`.
    """
    found = np.zeros(len(y), bool)
    for given, truth in zip(*np.nonzero(joint), strict=True):
        if given != truth:
            rows = np.flatnonzero(y == given)
            margin = p[rows, truth] - p[rows, given]
            found[rows[np.argsort(-margin, kind="stable")[: joint[given, truth]]]] = True
    return found & (p[np.arange(len(y)), y] < p.max(axis=1))


# --- units and folds -----------------------------------------------------------------------------


class _Data(NamedTuple):
    """The rows used: vectors, codes of their labels ([n], of tags [n, tags]) and class names.

    `rows` are their places in the input; `unit` [n] numbers the tracks, `first` [units] is the
    first of the rows of each and `weight` [n] makes the rows of a unit sum to 1.
    """

    x: Floats
    y: Array
    names: list[str]
    rows: Integers
    unit: Integers
    first: Integers
    weight: Floats

    def pooled(self, values: Array) -> Floats:
        """Return the mean of [n, m] over the rows of each unit, [units, m]."""
        sums = np.zeros((len(self.first), values.shape[1]))
        np.add.at(sums, self.unit, values * self.weight[:, None])
        return sums


def _units(origin: Array, y: Array) -> tuple[Integers, Integers, Floats]:
    """Tie the rows that share an origin and a label; return number, first row and weight."""
    places: dict[Any, int] = {}
    first: list[int] = []
    unit = np.empty(len(y), np.int64)
    for row, (name, label) in enumerate(zip(origin, y, strict=True)):
        # A missing origin is that of no other row, and a tuple cannot equal a name.
        missing = name is None or name != name
        key = (("row", row) if missing else name, np.asarray(label).tobytes())
        if key not in places:
            places[key] = len(first)
            first.append(row)
        unit[row] = places[key]
    return unit, np.array(first), 1.0 / np.bincount(unit)[unit]


class _Plan(NamedTuple):
    """The folds, as (train rows, test rows) among the rows used, and what to say about them."""

    pairs: list[tuple[Integers, Integers]]
    grouped: bool
    how: list[str]
    notes: list[str]


def _plan(
    data: _Data, kind: str, origin: Array, group: Array | None, settings: NoiseSettings
) -> _Plan:
    known = group is not None and bool(labelled(group).any())
    if settings.grouped == "yes" and not known:
        raise UsageError("got --grouped yes but no row has a group: give a group column")
    grouped = known and settings.grouped != "no"
    tied = group if grouped else None
    labels: Any = None
    if kind == "multilabel":
        labels = [[data.names[tag] for tag in np.flatnonzero(tags)] for tags in data.y]
    elif kind != "regression":
        labels = np.array(data.names, object)[data.y]
    fold = splits.folds(origin, settings.folds, tied, labels, seed=settings.seed)
    how = [f"{settings.folds} folds"] + ["stratified"] * (labels is not None)
    notes = [] if grouped else [UNGROUPED]
    return _Plan(list(splits.fold_pairs(fold)), grouped, how + ["grouped"] * grouped, notes)


Fit = Callable[[float, Floats, Array, Floats, Floats], tuple[Array, Mask, bool]]


class _Predicted(NamedTuple):
    """Out-of-fold values [units, m], whether the other folds can judge [units, m], what to say."""

    values: Floats
    known: Mask
    model: str
    notes: list[str]


def _predict(
    name: str,
    fit: Fit,
    loss: Callable[[Floats, Mask], Floats],
    data: _Data,
    plan: _Plan,
    settings: NoiseSettings,
    jobs: int,
) -> _Predicted:
    """Predict each fold from the others.

    `fit(C, x, y, weight, x_test)` returns values [test, m], which of the m outputs the train part
    has anything to say about [m], and whether it converged. Without a C the one of least
    `loss(values, known)` is taken, for each output ([m]) or for all ([1]). That chooses a single
    number by all labels, and no track has ever seen its own.
    """
    tried = (settings.C,) if settings.C else STRENGTHS
    outcomes = [_over_folds(fit, strength, data, plan, jobs) for strength in tried]
    losses = np.array([loss(values, known) for values, known, _ in outcomes])  # [tried, m or 1]
    best = losses.argmin(axis=0)
    values, known = np.array([o[0] for o in outcomes]), outcomes[0][1]
    place = np.broadcast_to(best, values.shape[2:])
    chosen = values[place, :, np.arange(values.shape[2])].T
    slow = not all(outcomes[i][2] for i in best)
    note = f"the logistic regression did not converge in {MAX_ITERATIONS} iterations"
    strengths = sorted({tried[i] for i in best})
    ends = " to ".join(f"{end:g}" for end in dict.fromkeys((strengths[0], strengths[-1])))
    how = "" if settings.C else f" of {len(tried)} tried"
    return _Predicted(chosen, known, f"{name} C={ends}{how}", [note] * slow)


def _over_folds(
    fit: Fit, strength: float, data: _Data, plan: _Plan, jobs: int
) -> tuple[Floats, Mask, bool]:
    """Return the values and what is known [units, m], and whether all folds converged."""
    from joblib import Parallel, delayed  # type: ignore[import-untyped]
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    def run(train: Integers, test: Integers) -> tuple[Array, Mask, bool]:
        scaler = StandardScaler().fit(data.x[train], sample_weight=data.weight[train])
        x, x_test = scaler.transform(data.x[train]), scaler.transform(data.x[test])
        return fit(strength, x, data.y[train], data.weight[train], x_test)

    # One BLAS thread a fold: the sums, and so the results, do not depend on `jobs`.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # which is told as a note
        warnings.simplefilter("ignore", UserWarning)  # of as many classes as rows
        work = (delayed(run)(*pair) for pair in plan.pairs)
        outcomes = list(Parallel(n_jobs=jobs, prefer="threads")(work))
    width = outcomes[0][0].shape[1]
    values, known = np.zeros((len(data.y), width)), np.zeros((len(data.y), width), bool)
    for (_, test), (found, judged, _) in zip(plan.pairs, outcomes, strict=True):
        values[test], known[test] = found, judged
    converged = all(converged for _, _, converged in outcomes)
    return data.pooled(values), known[data.first], converged


# --- kinds ---------------------------------------------------------------------------------------


class _Verdict(NamedTuple):
    candidates: list[Candidate]
    noise: float
    fit: float
    measure: str
    shares: dict[str, Share]
    n: int
    model: str
    notes: list[str]


def _judge_classes(data: _Data, plan: _Plan, settings: NoiseSettings, jobs: int) -> _Verdict:
    from sklearn.linear_model import LogisticRegression

    k = len(data.names)
    given = data.y[data.first]
    units = np.arange(len(given))

    def fit(
        C: float, x: Floats, y: Array, weight: Floats, x_test: Floats
    ) -> tuple[Array, Mask, bool]:
        values, known = np.zeros((len(x_test), k)), np.zeros(k, bool)
        classes = np.unique(y)
        known[classes] = True
        if len(classes) == 1:
            values[:, classes[0]] = 1.0
            return values, known, True
        model = LogisticRegression(C=C, max_iter=MAX_ITERATIONS)
        values[:, classes] = model.fit(x, y, sample_weight=weight).predict_proba(x_test)
        return values, known, bool(np.max(model.n_iter_) < MAX_ITERATIONS)

    def loss(values: Floats, known: Mask) -> Floats:
        own = values[units, given][known[units, given]]
        return np.array([-np.log(np.maximum(own, TINY)).sum()])

    predicted = _predict("logistic", fit, loss, data, plan, settings, jobs)
    # Without its own class among the choices every track of it would look mislabelled.
    judged = np.flatnonzero(predicted.known[units, given])
    notes = predicted.notes + _unjudged([data.names[c] for c in np.delete(given, judged)], plan)
    if not len(judged):
        raise UsageError(
            "no class stands in two folds, so that nothing can be judged: give more tracks or "
            "artists a class, or fewer --folds"
        )
    p, y = predicted.values[judged], given[judged]
    joint = confident_joint(y, p)
    shares = {
        name: _share(joint, c, y == c, p[:, c])
        for c, name in enumerate(data.names)
        if joint[c].sum()
    }
    found = np.flatnonzero(mislabelled(y, p, joint))
    others = p.copy()
    others[np.arange(len(y)), y] = -1.0
    best = others.argmax(axis=1)
    candidates = [
        Candidate(
            row=int(data.rows[data.first[judged[i]]]),
            finding="other class",
            label=data.names[y[i]],
            suggested=data.names[best[i]],
            p_label=float(p[i, y[i]]),
            p_suggested=float(p[i, best[i]]),
            score=float(p[i, best[i]] - p[i, y[i]]),
        )
        for i in found
        if not shares[data.names[y[i]]].unheard
    ]
    heard = np.array([name in shares and not shares[name].unheard for name in data.names])
    total = joint[heard].sum()
    wrong = float(total - joint.diagonal()[heard].sum()) / total if total else np.nan
    right = float((p.argmax(axis=1) == y).mean())
    notes += _unheard(shares)
    return _Verdict(candidates, wrong, right, "accuracy", shares, len(y), predicted.model, notes)


def _judge_tags(data: _Data, plan: _Plan, settings: NoiseSettings, jobs: int) -> _Verdict:
    from sklearn.linear_model import LogisticRegression

    given = data.y[data.first].astype(np.int64)

    def fit(
        C: float, x: Floats, y: Array, weight: Floats, x_test: Floats
    ) -> tuple[Array, Mask, bool]:
        share = y.mean(axis=0)
        known = (share > 0) & (share < 1)
        values, converged = np.zeros((len(x_test), y.shape[1])), True
        for tag in np.flatnonzero(known):
            model = LogisticRegression(C=C, max_iter=MAX_ITERATIONS)
            model.fit(x, y[:, tag], sample_weight=weight)
            values[:, tag] = model.predict_proba(x_test)[:, 1]
            converged &= bool(model.n_iter_[0] < MAX_ITERATIONS)
        return values, known, converged

    def loss(values: Floats, known: Mask) -> Floats:
        own = np.where(given > 0, values, 1.0 - values)
        return -(np.log(np.maximum(own, TINY)) * known).sum(axis=0)

    predicted = _predict("logistic", fit, loss, data, plan, settings, jobs)
    known = predicted.known
    candidates: list[Candidate] = []
    shares: dict[str, Share] = {}
    wrong = cells = 0
    left: list[str] = []
    for tag, name in enumerate(data.names):
        judged = np.flatnonzero(known[:, tag])
        left += [name] * (len(known) - len(judged))
        y = given[judged, tag]
        if not 0 < y.sum() < len(y):
            continue
        present = predicted.values[judged, tag]
        p = np.column_stack([1.0 - present, present])
        joint = confident_joint(y, p)
        shares[name] = _share(joint, 1, y == 1, present)
        if shares[name].unheard:
            continue
        wrong += int(joint[0, 1] + joint[1, 0])
        cells += len(y)
        for i in np.flatnonzero(mislabelled(y, p, joint)):
            has = bool(y[i])
            candidates.append(
                Candidate(
                    row=int(data.rows[data.first[judged[i]]]),
                    finding="wrong tag" if has else "missing tag",
                    label=name if has else None,
                    suggested=None if has else name,
                    p_label=float(p[i, y[i]]),
                    p_suggested=float(p[i, 1 - y[i]]),
                    score=float(p[i, 1 - y[i]] - p[i, y[i]]),
                )
            )
    if not shares:
        raise UsageError(
            "no tag stands in two folds and is absent in two, so that nothing can be judged: give "
            "more tracks or artists a tag, or fewer --folds"
        )
    fit_ = float(np.mean([share.roc_auc for share in shares.values()]))
    return _Verdict(
        candidates,
        wrong / cells if cells else np.nan,
        fit_,
        "roc_auc_macro",
        shares,
        len(given),
        predicted.model,
        predicted.notes + _unjudged(left, plan) + _unheard(shares),
    )


def _judge_numbers(data: _Data, plan: _Plan, settings: NoiseSettings, jobs: int) -> _Verdict:
    from sklearn.linear_model import Ridge

    given = data.y[data.first]

    def fit(
        C: float, x: Floats, y: Array, weight: Floats, x_test: Floats
    ) -> tuple[Array, Mask, bool]:
        model = Ridge(alpha=1 / C).fit(x, y, sample_weight=weight)
        return model.predict(x_test)[:, None], np.ones(1, bool), True

    def loss(values: Floats, known: Mask) -> Floats:
        return np.square(values[:, 0] - given).sum(keepdims=True)

    predicted = _predict("ridge", fit, loss, data, plan, settings, jobs)
    residual = given - predicted.values[:, 0]
    off = residual - np.median(residual)
    spread = MAD_SCALE * float(np.median(np.abs(off)))
    if spread <= 0:
        raise UsageError(
            "more than half of the numbers are predicted equally well: their residuals have no "
            "spread to measure the others by; name another task"
        )
    far = np.abs(off) / spread
    candidates = [
        Candidate(
            row=int(data.rows[data.first[i]]),
            finding="far off",
            label=f"{given[i]:.6g}",
            suggested=f"{predicted.values[i, 0]:.6g}",
            p_label=np.nan,
            p_suggested=np.nan,
            score=float(far[i]),
        )
        for i in np.flatnonzero(far > FAR)
    ]
    r2 = float(1.0 - np.square(residual).sum() / np.square(given - given.mean()).sum())
    share = len(candidates) / len(given)
    return _Verdict(candidates, share, r2, "r2", {}, len(given), predicted.model, predicted.notes)


def _share(joint: Integers, c: int, carries: Mask, p: Floats) -> Share:
    """Return the estimates of class `c` from a confident joint [given, truth]."""
    from sklearn.metrics import roc_auc_score

    auc = float(roc_auc_score(carries, p)) if not carries.all() else np.nan
    given, truth, right = joint[c].sum(), joint[:, c].sum(), joint[c, c]
    found = Share(int(given), np.nan, np.nan, auc)
    if found.unheard:
        return found
    noise = (given - right) / given if given else np.nan
    missed = (truth - right) / truth if truth else np.nan
    return replace(found, noise=float(noise), missed=float(missed))


def _unheard(shares: Mapping[str, Share]) -> list[str]:
    """Say which classes or tags the vectors do not tell."""
    tags = [name for name, share in shares.items() if share.unheard]
    if not tags:
        return []
    shown = ", ".join(tags[:SHOWN]) + ", ..." * (len(tags) > SHOWN)
    return [f"not judged, as the vectors hardly tell them (ROC-AUC below {HEARD:g}): {shown}"]


def _unjudged(labels: Sequence[str], plan: _Plan) -> list[str]:
    """Say which labels stand in one fold only, of which the other folds know nothing."""
    if not labels:
        return []
    names = sorted(set(labels))
    shown = ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)
    unit = "group" if plan.grouped else "track"
    return [f"not judged, {len(labels)} labels, as no other {unit} tells of theirs: {shown}"]


_JUDGES: dict[str, Callable[[_Data, _Plan, NoiseSettings, int], _Verdict]] = {
    "multiclass": _judge_classes,
    "ordinal": _judge_classes,
    "multilabel": _judge_tags,
    "regression": _judge_numbers,
}
