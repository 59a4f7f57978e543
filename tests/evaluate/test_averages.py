"""Averages of runs over sources: those of the AGF study come out; spread and its trend are right."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mt_tools.evaluate.averages import (
    Line,
    Scored,
    averages,
    best_of_each,
    rank_correlation,
    singles,
    spreads,
    trends,
    with_and_without,
)

# Table 4 of the AGF study: subset, log loss and F1 of STN, of MTN.
TABLE_4 = """
g 0.8891 0.5963 - -
m 1.1812 0.3581 - -
d 1.0987 0.3967 - -
e 1.2542 0.3437 - -
s 0.9404 0.5218 - -
gs 0.8606 0.6114 0.8578 0.6190
ge 0.8811 0.5953 0.8792 0.5996
gd 0.8845 0.5898 0.8803 0.5955
gm 0.8874 0.5957 0.8813 0.6037
se 0.9124 0.5537 0.9079 0.5502
sd 0.9191 0.5601 0.9146 0.5412
sm 0.9260 0.5581 0.9283 0.5458
ed 1.0557 0.4433 1.0422 0.4399
em 1.1186 0.4244 1.1060 0.4376
dm 1.0583 0.4373 1.0704 0.4280
gse 0.8361 0.6255 0.8335 0.6277
gsd 0.8579 0.6280 0.8519 0.6150
gsm 0.8486 0.6289 0.8541 0.6153
ged 0.8528 0.6051 0.8601 0.6067
gem 0.8645 0.5988 0.8701 0.6056
gdm 0.8773 0.5985 0.8845 0.5941
sed 0.8965 0.5818 0.8867 0.5640
sem 0.9104 0.5834 0.8889 0.5668
sdm 0.9211 0.5629 0.9109 0.5572
edm 1.0359 0.4879 1.0365 0.4675
gsed 0.8211 0.6343 0.8132 0.6328
gsem 0.8264 0.6352 0.8172 0.6284
gsdm 0.8407 0.6379 0.8288 0.6170
gedm 0.8466 0.6053 0.8450 0.6152
sedm 0.8906 0.5856 0.8875 0.5870
gsedm 0.7894 0.6599 0.7727 0.6571
"""
RUNS: dict[str, list[Scored]] = {"log_loss": [], "f1_macro": []}
for line in TABLE_4.split("\n")[1:-1]:
    name, *cells = line.split()
    for place, cell in enumerate(cells):
        if cell != "-":
            metric, strategy = ("log_loss", "f1_macro")[place % 2], ("STN", "MTN")[place // 2]
            RUNS[metric].append(Scored(name, frozenset(name), strategy, float(cell)))


def the(lines: list[Line], kind: str, **about: object) -> Line:
    """Return the one line of these."""
    (line,) = [
        one for one in lines
        if one.kind == kind and all(getattr(one, name) == value for name, value in about.items())
    ]  # fmt: skip
    return line


@pytest.mark.parametrize(
    ("metric", "strategy", "without", "with_"),
    [
        ("log_loss", "STN", 1.0079, 0.8540),
        ("log_loss", "MTN", 0.9618, 0.8486),
        ("f1_macro", "STN", 0.4932, 0.6154),
        ("f1_macro", "MTN", 0.5168, 0.6155),
    ],
)
def test_averages_with_and_without_a_source_are_those_of_the_study(
    metric: str, strategy: str, without: float, with_: float
) -> None:
    """Table 3 of AGF could not be made from its Table 4."""
    lines = averages(RUNS[metric], lower=metric == "log_loss")
    for term, expected in (("with", with_), ("without", without)):
        found = the(lines, "average", strategy=strategy, name="g", term=term, number=None)
        own = [r.value for r in RUNS[metric] if r.strategy == strategy]
        has = [
            ("g" in r.sources) == (term == "with") for r in RUNS[metric] if r.strategy == strategy
        ]
        assert found.value == pytest.approx(np.mean(np.array(own)[has]), abs=1e-12)
        assert found.n == sum(has)
        assert found.value == pytest.approx(expected, abs=6e-5)  # its rounding


def test_the_best_of_each_number_are_those_of_the_study() -> None:
    """Table 5 of AGF would show the worst loss, or another strategy's."""
    expected = {
        ("log_loss", "STN"): [0.8606, 0.8361, 0.8211, 0.7894],
        ("log_loss", "MTN"): [0.8578, 0.8335, 0.8132, 0.7727],
        ("f1_macro", "STN"): [0.6114, 0.6289, 0.6379, 0.6599],
        ("f1_macro", "MTN"): [0.6190, 0.6277, 0.6328, 0.6571],
    }
    for (metric, strategy), values in expected.items():
        lines = averages(RUNS[metric], lower=metric == "log_loss")
        for number, value in enumerate(values, 2):
            found = the(lines, "best", strategy=strategy, number=number)
            assert found.value == value
            assert len(found.name) == number


def test_the_best_source_alone_is_told_apart() -> None:
    """REP's Figure 12 would tell runs apart by another source: the worst, by its loss."""
    lines = averages(RUNS["log_loss"], lower=True)
    assert the(lines, "single", name="g").value == 0.8891
    apart = [one for one in lines if one.kind == "average" and one.name and one.number is not None]
    assert {one.name for one in apart} == {"g"}
    of_two = the(lines, "average", name="g", term="without", number=2)
    pairs = [r.value for r in RUNS["log_loss"] if len(r.sources) == 2 and "g" not in r.sources]
    assert of_two.value == pytest.approx(np.mean(pairs))
    assert of_two.n == 12  # six pairs, by two strategies


def test_equally_good_runs_are_chosen_by_name() -> None:
    """The same results in another order would name another best run."""
    runs = [Scored(name, frozenset("a"), None, 0.5) for name in "yxz"]
    assert [line.name for line in best_of_each(runs)] == ["x"]
    assert [line.name for line in best_of_each(runs[::-1], lower=True)] == ["x"]


def test_rank_correlation() -> None:
    """REP's Figure 13: a loss would turn it around, a source without a component break it."""
    single = {"a": (0.9, 1), "b": (0.7, 1), "c": (0.5, 1), "d": (0.1, 1)}
    assert rank_correlation(single, {"a": 3.0, "b": 2.0, "c": 1.0}) == (pytest.approx(1.0), 3)
    value, n = rank_correlation(single, {"a": 3.0, "b": 2.0, "c": 1.0, "e": 9.0}, lower=True)
    assert (value, n) == (pytest.approx(-1.0), 3)
    # By hand: ranks 4 3 2 1 and, with two that are equal, 4 1.5 3 1.5.
    tied = {"a": 3.0, "b": 0.0, "c": 1.0, "d": 0.0}
    assert rank_correlation(single, tied)[0] == pytest.approx(3.0 / np.sqrt(5 * 4.5))
    for unknown in ({"a": 1.0, "b": 2.0}, dict.fromkeys("abcd", 0.0), {"a": np.nan, "b": 1.0}, {}):
        assert np.isnan(rank_correlation(single, unknown)[0])
    assert np.isnan(rank_correlation({}, {"a": 1.0})[0])


# --- spread --------------------------------------------------------------------------------------


def every(k: int) -> list[frozenset[str]]:
    """Return all sets of k sources."""
    names = "abcdefgh"[:k]
    return [frozenset(s) for m in range(1, k + 1) for s in itertools.combinations(names, m)]


def scored(sets: list[frozenset[str]], values: object, strategy: str | None = None) -> list[Scored]:
    """Return runs of sets with these values."""
    found = zip(sets, np.asarray(values, float), strict=True)
    return [Scored("+".join(sorted(s)), s, strategy, float(value)) for s, value in found]


def test_spread_is_the_standard_deviation_within_strategies() -> None:
    """A strategy that is better than the others would look like unreliable sources."""
    rng = np.random.default_rng(0)
    sets = every(5)
    values = rng.normal(size=len(sets))
    runs = scored(sets, values, "one")
    for line in spreads(runs):
        own = values[[len(s) == line.number for s in sets]]
        assert line.value == pytest.approx(own.std(ddof=1))
        assert line.n == len(own)
        assert line.low < line.value < line.high or line.n < 5
    both = spreads(runs + scored(sets, values + 10.0, "two"))
    assert [line.value for line in both] == pytest.approx([line.value for line in spreads(runs)])
    assert [line.number for line in both] == [1, 2, 3, 4]  # of five there is one run a strategy


def test_the_interval_of_a_spread_holds_the_truth_mostly() -> None:
    """An interval that is far too narrow would make chance look like a fall."""
    rng = np.random.default_rng(0)
    sets = [s for s in every(6) if len(s) == 3]  # 20 of them
    lines = [spreads(scored(sets, rng.normal(size=20)))[0] for _ in range(30)]
    # 27 of 30 is nine in ten, which is what a bootstrap of 20 gives; less than 22 has p = 0.003.
    assert sum(line.low < 1.0 < line.high for line in lines) >= 22


def test_the_slope_is_that_of_a_gamma_model() -> None:
    """The factor a source would be that of another model than the help says."""
    glm = pytest.importorskip("statsmodels.genmod.generalized_linear_model")
    families = pytest.importorskip("statsmodels.genmod.families")
    rng = np.random.default_rng(0)
    sets = every(5)
    runs = scored(sets, rng.normal(size=31), "x") + scored(sets, rng.normal(size=31), "y")
    variances, numbers, freedom = [], [], []
    for strategy, number in itertools.product("xy", range(1, 5)):
        own = [r.value for r in runs if (r.strategy, len(r.sources)) == (strategy, number)]
        variances.append(np.var(own, ddof=1))
        numbers.append(number)
        freedom.append(len(own) - 1)
    fit = glm.GLM(
        variances, np.column_stack([np.ones(8), numbers]), var_weights=freedom,
        family=families.Gamma(families.links.Log()),
    ).fit(tol=1e-12, maxiter=500)  # fmt: skip
    line = the(trends([runs]), "trend", term="these sources")
    assert line.value == pytest.approx(np.exp(fit.params[1] / 2), rel=1e-6)


def test_what_overlap_alone_brings_is_no_fall_beyond_it() -> None:
    """That sets of all sources are alike would be sold as reliability.

    Of all sets of m the variance of a sum over the square root of m is, by sampling without
    replacement, that of the sources times (k - m) / (k - 1): it falls, and for that reason alone.
    """
    own = dict(zip("abcdefg", np.random.default_rng(0).normal(size=7), strict=True))
    sets = every(7)
    sums = [sum(own[name] for name in s) / len(s) ** 0.5 for s in sets]
    # The variance of a finite population, from all of it, has no degree of freedom to lose.
    exact = [
        Scored(run.run, run.sources, None, run.value * ((n - 1) / n) ** 0.5 if n > 1 else run.value)
        for run in scored(sets, sums)
        for n in [sum(len(s) == len(run.sources) for s in sets)]
    ]
    lines = trends([exact])
    assert the(lines, "trend", term="these sources").value < 0.9
    assert the(lines, "trend", term="beyond overlap").value == pytest.approx(1.0, abs=1e-6)
    means = [sum(own[name] for name in s) / len(s) for s in sets]
    beyond = the(trends([scored(sets, means)]), "trend", term="beyond overlap")
    assert beyond.high < 1.0  # a mean of more sources is surer, however many there are


def test_noise_has_no_trend_and_a_fall_is_found() -> None:
    """The test would find reliability in chance, or none where it was planted."""
    rng = np.random.default_rng(0)
    sets = every(5)
    numbers = np.array([len(s) for s in sets])
    p, fell = [], []
    for _ in range(40):
        noise = scored(sets, rng.normal(size=31))
        p.append(the(trends([noise]), "trend", term="these sources").p)
        falling = scored(sets, rng.normal(size=31) * 0.5**numbers)
        found = the(trends([falling]), "trend", term="these sources")
        fell.append(found.p < 0.05 and found.value < 1)
    assert np.sum(np.array(p) < 0.05) < 8  # of 40: that has p = 0.001 where it is 5 in 100
    assert np.mean(fell) > 0.8


def test_sources_that_are_in_all_runs_do_not_break_the_trend() -> None:
    """A design with a source that every run has would end in a traceback."""
    rng = np.random.default_rng(0)
    sets = [s | {"always"} for s in every(4)]
    lines = trends([scored(sets, rng.normal(size=15))])
    assert np.isfinite(the(lines, "trend", term="these sources").p)
    assert np.isnan(the(lines, "trend", term="other sources").p)
    assert trends([scored([frozenset("a")] * 2, [1.0, 2.0])]) == []
    assert spreads(scored([frozenset("a")], [1.0])) == []
    assert singles(scored(sets, range(15))) == {}
    assert with_and_without([]) == []
