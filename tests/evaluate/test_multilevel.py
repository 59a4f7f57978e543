"""The multilevel model of REP: planted effects come out, and other routes give the same numbers."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import linregress, ttest_1samp

from mt_tools.errors import RunError, UsageError
from mt_tools.evaluate.multilevel import Effect, effects, source_components

Planted = tuple[NDArray[np.float64], list[str], list[int], list[str]]


def planted(seed: int, tasks: int = 7, strategies: int = 5, runs: int = 8) -> Planted:
    """Return values of runs on tasks: slope 0.02 a source, tasks differ in both, strategies in level."""
    rng = np.random.default_rng(seed)
    level, slope = rng.normal(0, 0.15, tasks), rng.normal(0, 0.008, tasks)
    gain = rng.normal(0, 0.03, strategies)
    rows = [
        (task, 1 + number % 8, strategy)
        for strategy in range(strategies)
        for number in range(runs)
        for task in range(tasks)
    ]
    values = [
        0.6 + level[t] + (0.02 + slope[t]) * (m - 4.5) + gain[s] + rng.normal(0, 0.02)
        for t, m, s in rows
    ]
    return np.array(values), [f"t{t}" for t, _, _ in rows], [m for _, m, _ in rows], [
        f"s{s}" for _, _, s in rows
    ]  # fmt: skip


def one(found: list[Effect], kind: str, name: str, term: str = "") -> Effect:
    """Return the one line of these."""
    (line,) = [e for e in found if (e.kind, e.name, e.term) == (kind, name, term)]
    return line


def profiled(
    y: NDArray[np.float64], x: NDArray[np.float64], blocks: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Fit by REML on another route: lme4's profiled deviance, over relative variances.

    Bates, Maechler, Bolker and Walker, "Fitting linear mixed-effects models using lme4", 2015,
    eq. 42. Returns fixed effects, deviations of the random ones, residual.
    """
    z = np.hstack(blocks)
    of_block = np.repeat(np.arange(len(blocks)), [b.shape[1] for b in blocks])
    free = len(y) - x.shape[1]

    def solved(ratios: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], float]:
        zl = z * np.sqrt(ratios)[of_block]
        factor = np.linalg.cholesky(zl.T @ zl + np.eye(z.shape[1]))
        rx, ry = np.linalg.solve(factor, zl.T @ x), np.linalg.solve(factor, zl.T @ y)
        inner = x.T @ x - rx.T @ rx
        beta = np.linalg.solve(inner, x.T @ y - rx.T @ ry)
        penalised = y @ y - ry @ ry - beta @ (x.T @ y - rx.T @ ry)
        deviance = 2 * np.log(np.diag(factor)).sum() + np.linalg.slogdet(inner)[1]
        return deviance + free * np.log(penalised), beta, penalised / free

    at = np.full(len(blocks), 1.0)
    bounds = [(0, None)] * len(blocks)
    for method in ("L-BFGS-B", "Nelder-Mead"):
        options = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 1000} if method[0] == "N" else {}
        at = minimize(lambda r: solved(r)[0], at, method=method, bounds=bounds, options=options).x
    _, beta, variance = solved(at)
    return beta, np.sqrt(at * variance), variance**0.5


def test_the_model_is_that_of_another_route() -> None:
    """An optimiser that stops early, as statsmodels' own does here, would print other effects."""
    values, tasks, counts, strategies = planted(0, tasks=5, strategies=4)
    found = effects(values, tasks, counts, strategies)
    m = np.array(counts) - np.mean(counts)
    blocks = []
    pairs = [f"{t} x {s}" for t, s in zip(tasks, strategies, strict=True)]
    for names in (tasks, strategies, pairs):
        matrix = (np.array(names)[:, None] == np.unique(names)).astype(float)
        blocks += [matrix, matrix * m[:, None]]
    beta, sd, residual = profiled(values, np.column_stack([np.ones(len(m)), m]), blocks)
    assert one(found, "fixed", "", "intercept").value == pytest.approx(beta[0], abs=1e-4)
    assert one(found, "fixed", "", "sources").value == pytest.approx(beta[1], abs=1e-5)
    assert one(found, "sd", "residual").value == pytest.approx(residual, rel=1e-3)
    kinds = itertools.product(("task", "strategy", "pair"), ("intercept", "sources"))
    for (kind, term), expected in zip(kinds, sd, strict=True):
        assert one(found, "sd", kind, term).value == pytest.approx(expected, rel=0.01, abs=4e-4)


def test_planted_effects_are_found() -> None:
    """A study would report that sources help where they do not, or not where they do."""
    values, tasks, counts, strategies = planted(3, tasks=8, strategies=3, runs=16)
    found = effects(values, tasks, counts, strategies)
    slope = one(found, "fixed", "", "sources")
    assert slope.low < 0.02 < slope.high
    assert slope.p < 1e-3
    # Eight tasks give the deviation of their slopes within about half of it either way.
    assert 0.004 < one(found, "sd", "task", "sources").value < 0.012
    assert one(found, "sd", "task", "sources").p < 1e-6
    # Strategies were planted to differ in level and not in slope.
    assert one(found, "sd", "strategy", "intercept").p < 1e-6
    assert one(found, "sd", "strategy", "sources").p > 0.01
    assert one(found, "sd", "residual").value == pytest.approx(0.02, rel=0.1)
    mean = {s: values[np.array(strategies) == s].mean() for s in set(strategies)}
    ordered = sorted(mean, key=mean.__getitem__)
    assert ordered == sorted(mean, key=lambda s: one(found, "strategy", s, "intercept").value)
    for s, level in mean.items():
        line = one(found, "strategy", s, "intercept")
        assert line.low < level - values.mean() < line.high


def test_units_and_order_do_not_matter() -> None:
    """Per cent, or a table sorted in another way, would give another conclusion."""
    values, tasks, counts, strategies = planted(2, tasks=3, strategies=2)
    found = effects(values, tasks, counts, strategies)
    order = np.random.default_rng(0).permutation(len(values))
    turned = effects(
        100 * values[order],
        [tasks[i] for i in order],
        [counts[i] for i in order],
        [strategies[i] for i in order],
    )
    for a, b in zip(found, turned, strict=True):
        assert a[:3] == b[:3]
        assert b.value == pytest.approx(100 * a.value, rel=1e-3, abs=0.05)


def test_one_strategy_leaves_its_terms_out() -> None:
    """A table without strategies would be refused, or give effects that cannot be told apart."""
    values, tasks, counts, strategies = planted(0, tasks=5, strategies=1)
    for given in (None, strategies):
        found = effects(values, tasks, counts, given)
        assert {e.kind for e in found} == {"fixed", "sd", "task"}
    alone = effects(values, ["t"] * 40, counts)
    plain = np.polyfit(np.array(counts, float), values, 1)
    assert one(alone, "fixed", "", "sources").value == pytest.approx(plain[0])
    assert one(alone, "fixed", "", "intercept").value == pytest.approx(values.mean())
    assert one(alone, "fixed", "", "sources").p == pytest.approx(linregress(counts, values).pvalue)


def crossed(seed: int, effect: list[float]) -> tuple[NDArray[np.float64], list[list[str]]]:
    """Return values of all combinations of sources, twice; half the effect is the deviation."""
    rng = np.random.default_rng(seed)
    names = "abcdefgh"[: len(effect)]
    rows = list(itertools.product([0, 1], repeat=len(effect))) * 2
    values = np.array([0.5 + np.dot(row, effect) for row in rows]) + rng.normal(0, 0.02, len(rows))
    return values, [[n for n, has in zip(names, row, strict=True) if has] for row in rows]


def test_components_of_a_balanced_design_are_those_of_the_analysis_of_variance() -> None:
    """The table of sources would rank them by an artefact of the optimiser.

    In a balanced design whose components are positive, restricted maximum likelihood gives the
    mean squares' own estimates: (MS of the source - MS of the error) / (runs / 2).
    """
    values, sources = crossed(0, [0.2, 0.05, 0.1, 0.03])
    runs = len(values)
    found = source_components(values, sources)
    explained, expected = 0.0, {}
    for name in "abcd":
        has = np.array([name in row for row in sources])
        expected[name] = runs / 4 * (values[has].mean() - values[~has].mean()) ** 2
        explained += expected[name]
    error = (np.square(values - values.mean()).sum() - explained) / (runs - 1 - 4)
    for name, square in expected.items():
        assert square > error
        sd = np.sqrt((square - error) / (runs / 2))
        assert one(found, "source", name).value == pytest.approx(sd, rel=5e-3)
    assert one(found, "source", "residual").value == pytest.approx(np.sqrt(error), rel=1e-3)


def test_a_source_without_effect_has_no_component() -> None:
    """Noise would look like a source that matters; one that every run has would break the fit."""
    values, sources = crossed(1, [0.2, 0.0, 0.0, 0.04])
    found = source_components(values, [[*row, "always"] for row in sources])
    assert [e.name for e in found] == ["a", "b", "c", "d", "residual"]
    sd = {e.name: e.value for e in found}
    # A difference of d between two levels is a deviation of d / sqrt(2).
    assert sd["a"] == pytest.approx(0.2 / 2**0.5, rel=0.1)
    assert sd["d"] == pytest.approx(0.04 / 2**0.5, rel=0.4)
    assert max(sd["b"], sd["c"]) < 0.01
    assert min(sd.values()) == 0  # and not a small number that looks like a finding


def test_what_cannot_be_fitted_is_refused() -> None:
    """A singular matrix would be the message."""
    with pytest.raises(UsageError, match="same number of sources"):
        effects(np.arange(9.0), list("aabbccddd"), [2] * 9)
    with pytest.raises(UsageError, match="give more runs"):
        effects(np.arange(4.0), list("aabb"), [1, 2, 1, 2])
    with pytest.raises(UsageError, match="nothing to explain"):
        effects(np.ones(40), list("ab") * 20, [1, 1, 2, 2] * 10)
    with pytest.raises(UsageError, match="no source is in some runs"):
        source_components(np.arange(9.0), [["a"]] * 9)
    with pytest.raises(UsageError, match="expected 4 or more"):
        source_components(np.arange(3.0), [["a"], ["b"], ["a", "b"]])


def test_without_statsmodels_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback of an import would end the run."""
    monkeypatch.setitem(sys.modules, "statsmodels.regression.mixed_linear_model", None)
    with pytest.raises(RunError, match=r"pip install 'mt-tools\[stats\]'"):
        effects(*planted(0, tasks=2, strategies=1))


def test_few_tasks_do_not_make_an_effect() -> None:
    """Runs on four tasks that differ in their slopes would show one that is not there too often."""
    rng = np.random.default_rng(4)
    p = []
    for _ in range(80):
        level, slope = rng.normal(0, 0.1, 4), rng.normal(0, 0.02, 4)
        rows = [(task, m) for task in range(4) for m in range(1, 9)]
        values = np.array([level[t] + slope[t] * m + rng.normal(0, 0.02) for t, m in rows])
        found = effects(values, [f"t{t}" for t, _ in rows], [m for _, m in rows])
        p.append(one(found, "fixed", "", "sources").p)
    # By the normal distribution every seventh. By the definition 4 of 80, with a deviation of 2.
    assert np.mean(np.array(p) < 0.05) < 0.125


def test_degrees_of_freedom_are_those_of_a_test_over_tasks() -> None:
    """The p-value of an effect would not be that of the slopes of the tasks, which are its sample."""
    rng = np.random.default_rng(5)
    rows = [(task, m) for task in range(6) for m in range(1, 9)]
    slope = rng.normal(0.02, 0.02, 6)
    values = np.array([slope[t] * m + rng.normal(0, 1e-4) for t, m in rows])
    found = effects(values, [f"t{t}" for t, _ in rows], [m for _, m in rows])
    fitted = [np.polyfit(range(1, 9), values[8 * t : 8 * t + 8], 1)[0] for t in range(6)]
    expected = ttest_1samp(fitted, 0.0)
    line = one(found, "fixed", "", "sources")
    assert line.p == pytest.approx(expected.pvalue, rel=0.02)
    interval = expected.confidence_interval()
    assert (line.low, line.high) == pytest.approx((interval.low, interval.high), abs=2e-4)
