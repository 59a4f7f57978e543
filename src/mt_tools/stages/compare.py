"""Runs side by side: a row a comparison of two runs.

Two runs are compared by what is known of both: the values of the same splits (`mt-eval probe
--each`), predictions of the same rows, else the interval of each alone. All p-values of tasks are
one family, corrected together after Holm; those over tasks are another.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mt_tools.errors import UsageError
from mt_tools.evaluate.compare import (
    Chances,
    Difference,
    Ranking,
    decision,
    holm,
    paired,
    ranking,
    resampled_t,
    signed_ranks,
    unpaired,
)
from mt_tools.evaluate.measure import HEADLINES
from mt_tools.evaluate.settings import CompareSettings
from mt_tools.metrics import LOWER_IS_BETTER
from mt_tools.stages.judging import Given, splits_of
from mt_tools.stages.runs import (
    Entry,
    Key,
    Model,
    Run,
    chosen,
    has_metrics,
    judged,
    metric_runs,
    models_of,
    run_names,
)
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

COLUMNS = [
    Column("id", "string", "reserved"),
    Column("task", "string"),  # null: over all tasks
    Column("metric", "string"),
    Column("label", "string"),
    Column("a", "string"),
    Column("b", "string"),
    Column("value_a", "number"),
    Column("value_b", "number"),
    Column("difference", "number"),  # b less a
    Column("low", "number"),
    Column("high", "number"),
    Column("p", "number"),
    Column("p_holm", "number"),
    Column("family", "integer"),  # comparisons that p_holm corrects for
    Column("chance_worse", "number"),  # of b, by more than the rope
    Column("chance_equal", "number"),
    Column("chance_better", "number"),
    Column("decision", "string"),  # of b
    Column("test", "string"),
    Column("n", "integer"),  # splits, rows or tasks
    Column("protocol", "string"),
    Column("leak", "string"),
    Column("note", "string"),
]
MIXED = "main metric"
_WIDER = "unpaired: wider than need be if the rows are the same"


@dataclass(frozen=True)
class Compared:
    """The comparisons, what to say beside them, and a line for each run that got worse."""

    table: Batch
    notes: list[str]
    regressions: list[str]
    ranking: Ranking | None = None


def compared(
    tables: Sequence[Given], settings: CompareSettings, baseline: Given | None = None
) -> Compared:
    """Compare runs: all with each other, or with the baseline where there is one.

    Raises `UsageError` where there are no two runs, where tables are not of one kind, and where
    runs cannot be paired.
    """
    every = [*tables, *([baseline] if baseline else [])]
    of_metrics = [has_metrics(given) for given in every]
    if len(set(of_metrics)) > 1:
        stranger = every[of_metrics.index(False)]
        raise UsageError(
            f"{stranger.path} has predictions and {every[of_metrics.index(True)].path} metrics: "
            f"score it first: mt-eval score {stranger.path} -o {stranger.name}.json"
        )
    if of_metrics[0]:
        runs, notes = metric_runs(every), list[str]()
    else:
        parts = splits_of(settings.splits)
        models, notes = models_of(every, settings.task, parts, settings.allow_leak)
        runs = [Run(model.table, model.alias) for model in models]
    names = run_names(runs, len(every))
    pairs = _pairs(runs, names, baseline.name if baseline else None)
    if of_metrics[0]:
        rows, values = _by_metrics(runs, names, pairs, settings, notes)
    else:
        rows, values = _by_predictions(models, names, pairs, settings, notes)
    if not rows:
        raise UsageError(
            f"the runs {', '.join(names)} have no task and metric in common: nothing to compare"
        )
    _decide(rows, settings.rope)
    regressions = [_line(row) for row in rows if row["decision"] == "worse"] if baseline else []
    over = list(_over_tasks(names, pairs, values, settings))
    _decide(over, settings.rope)
    for row in rows:
        if np.isnan(row["p"]):
            notes.append(f"{_title(row)}: not tested: {row['note']}")
    ranks, said = _ranking(names, values, settings)
    family = rows[0]["family"]
    if family:
        notes.append(f"p_holm is corrected for {family} comparison{'s' * (family != 1)} of tasks")
    table = _batch([*rows, *over])
    return Compared(table, list(dict.fromkeys([*notes, *said])), regressions, ranks)


def _pairs(
    runs: Sequence[Run], names: Sequence[str], baseline: str | None
) -> list[tuple[int, int]]:
    """Return which runs are compared, as (first, second) places."""
    if len(runs) < 2:
        raise UsageError(
            f"got one run, {', '.join(names)}: a comparison needs two; name another table, or one "
            "with several embeddings or models"
        )
    if baseline is None:
        return list(itertools.combinations(range(len(runs)), 2))
    bases = {run.part: place for place, run in enumerate(runs) if run.table == baseline}
    others = [place for place, run in enumerate(runs) if run.table != baseline]
    if not others:
        raise UsageError("--against names the only table: name those to compare with it as well")
    pairs = []
    for place in others:
        part = runs[place].part
        if len(bases) > 1 and part not in bases:
            raise UsageError(
                f"--against: {baseline} has the runs {', '.join(bases)} and none like "
                f"{names[place]}: give a table of one run, or of the same ones"
            )
        base = next(iter(bases.values())) if len(bases) == 1 else bases[part]
        pairs.append((base, place))
    return pairs


def _by_metrics(
    runs: Sequence[Run],
    names: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    settings: CompareSettings,
    notes: list[str],
) -> tuple[list[dict[str, Any]], dict[tuple[str, str], dict[int, float]]]:
    """Compare metric rows; return rows, and by (task, metric) the value of each run."""
    keys = chosen([key for run in runs for key in run.entries], settings.task, settings.metric)
    rows = []
    for key, (a, b) in itertools.product(keys, pairs):
        first, second = runs[a].entries.get(key), runs[b].entries.get(key)
        if first is None or second is None:
            lacking = names[a] if first is None else names[b]
            notes.append(f"{_said(*key)}: not in {lacking}, so not compared")
            continue
        found, test, n, note = _difference(first, second, names[a], names[b], key, settings)
        if note:
            notes.append(f"{names[b]} against {names[a]}: {note}; probe both with --each")
        rows.append(
            _row(key, names[a], names[b], found)
            | {"value_a": first.value, "value_b": second.value, "test": test, "n": n}
            | {"note": "; ".join(part for part in (note, found.reason) if part) or None}
            | {"protocol": _both(first.protocol, second.protocol)}
            | {"leak": _both(first.leak, second.leak)}
        )
    values = {
        (key.task, key.metric): {
            place: run.entries[key].value for place, run in enumerate(runs) if key in run.entries
        }
        for key in keys
        if key.label is None
    }
    return rows, values


def _difference(
    first: Entry, second: Entry, a: str, b: str, key: Key, settings: CompareSettings
) -> tuple[Difference, str, int | None, str]:
    """Return the difference of two entries, the test, how many pairs it has, and what to note."""
    if min(len(first.each), len(second.each)) < 2 or settings.unpaired:
        ends = (first.value, first.interval), (second.value, second.interval)
        return unpaired(*ends, settings.rope), "normal, from the intervals", None, _WIDER
    if first.splits != second.splits or first.each.keys() != second.each.keys():
        raise UsageError(
            f"{key.task}: {a} and {b} were not tested on the same splits ({first.splits}; "
            f"{second.splits}): probe both with the same rows, seed and number of splits, or say "
            "--unpaired"
        )
    share = first.test_share or second.test_share
    if share is None or not 0 < share < 1:
        raise UsageError(
            f"{key.task}: how large a share {a} and {b} tested is not known: give whole tables of "
            "mt-eval probe --each, or say --unpaired"
        )
    repeats = sorted(first.each)
    differences = np.array([second.each[r] - first.each[r] for r in repeats])
    found = resampled_t(differences, share, settings.rope)
    return found, "corrected resampled t", int(np.isfinite(differences).sum()), ""


def _by_predictions(
    models: Sequence[Model],
    names: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    settings: CompareSettings,
    notes: list[str],
) -> tuple[list[dict[str, Any]], dict[tuple[str, str], dict[int, float]]]:
    """Compare predictions of the same rows; return rows, and by (task, metric) each run's value."""
    rows: list[dict[str, Any]] = []
    values: dict[tuple[str, str], dict[int, float]] = {}
    there: dict[str, None] = {}
    for task in dict.fromkeys(task for model in models for task in model.tasks):
        having = [place for place, model in enumerate(models) if task in model.tasks]
        if len(having) < 2:
            notes.append(f"{task}: predicted by {names[having[0]]} alone, so not compared")
            continue
        mine = [models[place] for place in having]
        judges, clusters, left_out = judged(task, mine, [names[p] for p in having])
        if left_out:
            notes.append(
                f"{task}: {left_out} rows without label or prediction in every run are left out"
            )
        overall, each = judges[0].measure(np.flatnonzero(judges[0].kept))
        there |= dict.fromkeys([*overall, *each])
        main = _main_metric(mine[0].tasks[task].kind, list(overall))
        metrics = [name for name in settings.metric or [main] if name in {*overall, *each}]
        local = [(having.index(a), having.index(b)) for a, b in pairs if {a, b} <= {*having}]
        if not local:
            notes.append(f"{task}: not predicted by the baseline, so not compared")
            continue
        found, n, how = paired(judges, local, metrics, clusters, settings.rope, settings.seed)
        protocol = f"{n} rows in {len(np.unique(clusters))} clusters, {how}"
        for (a, b), of_pair in zip(local, found, strict=True):
            both = mine[a], mine[b]
            leaks = [model.leaks[model.tasks[task].name] for model in both]
            for (metric, label), one in of_pair.items():
                key = Key(task, metric, label)
                rows.append(
                    _row(key, names[having[a]], names[having[b]], one.difference)
                    | {"value_a": one.first, "value_b": one.second, "n": n, "test": how}
                    | {"protocol": protocol, "leak": _both(*leaks)}
                    | {"note": one.difference.reason or None}
                )
                if label is None:
                    of_metric = values.setdefault((task, metric), {})
                    of_metric |= {having[a]: one.first, having[b]: one.second}
    wrong = [metric for metric in settings.metric if metric not in there]
    if wrong and there:
        raise UsageError(f"--metric {wrong[0]}: no such metric; there are {', '.join(there)}")
    return rows, values


def _main_metric(kind: str, names: Sequence[str]) -> str:
    """Return the metric that stands for a task among those that it has."""
    return HEADLINES[kind] if HEADLINES[kind] in names else names[0]


def _row(key: Key, a: str, b: str, found: Difference) -> dict[str, Any]:
    return key._asdict() | {
        "a": a, "b": b, "difference": found.value, "low": found.low, "high": found.high,
        "p": found.p, "chances": found.chances,
    }  # fmt: skip


def _decide(rows: list[dict[str, Any]], rope: float) -> None:
    """Correct the p-values of rows together, and say of each what it shows."""
    adjusted = holm([row["p"] for row in rows])
    family = sum(np.isfinite(adjusted))
    for row, p in zip(rows, adjusted, strict=True):
        sign = _sign(row["metric"])
        chances: Chances = row.pop("chances")
        turned = Chances(*chances[::sign])
        row |= {
            "p_holm": p, "family": int(family),
            "chance_worse": turned.below, "chance_equal": turned.within,
            "chance_better": turned.above,
            "decision": decision(sign * row["difference"], p, turned, rope),
        }  # fmt: skip


def _over_tasks(
    names: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    values: Mapping[tuple[str, str], Mapping[int, float]],
    settings: CompareSettings,
) -> Iterator[dict[str, Any]]:
    """Compare over all tasks, by each of the metrics asked for or by the main ones together.

    Different main metrics are turned so that more is better.
    """
    rng = np.random.default_rng(settings.seed)
    for metric, keys in _groups(values, settings).items():
        for a, b in pairs:
            ours = [
                (_sign(key[1]) if metric == MIXED else 1, values[key][a], values[key][b])
                for key in keys
                if {a, b} <= values[key].keys()
            ]
            ours = [one for one in ours if np.isfinite(one).all()]
            if len(ours) < 2:
                continue
            differences = np.array([sign * (second - first) for sign, first, second in ours])
            found = signed_ranks(differences, settings.rope, rng)
            row = _row(Key("", metric), names[a], names[b], found)
            row |= {"task": None, "n": len(ours), "note": found.reason or None}
            row |= {"test": "Wilcoxon and Bayesian signed-rank over tasks"}
            if metric != MIXED:
                means = np.mean(ours, axis=0).tolist()
                row |= {"value_a": means[1], "value_b": means[2]}
            yield row


def _groups(
    values: Mapping[tuple[str, str], Mapping[int, float]], settings: CompareSettings
) -> dict[str, list[tuple[str, str]]]:
    """Return the keys that are compared over tasks, by the name that they share."""
    if settings.metric:
        return {name: [key for key in values if key[1] == name] for name in settings.metric}
    kinds = {metric for _, metric in values}
    return {kinds.pop() if len(kinds) == 1 else MIXED: list(values)}


def _ranking(
    names: Sequence[str],
    values: Mapping[tuple[str, str], Mapping[int, float]],
    settings: CompareSettings,
) -> tuple[Ranking | None, list[str]]:
    """Rank the runs over the tasks that all of them have, by the first metric that is asked for."""
    keys = next(iter(_groups(values, settings).values()))
    usable = [
        key for key in keys
        if len(values[key]) == len(names) and np.isfinite(list(values[key].values())).all()
    ]  # fmt: skip
    if len(names) < 3 or len(usable) < 2:
        if settings.plot:
            raise UsageError(
                f"--plot ranks three runs or more on two tasks or more that all of them have: got "
                f"{len(names)} runs and {len(usable)} such tasks"
            )
        return None, []
    numbers = [[_sign(k[1]) * values[k][place] for place in range(len(names))] for k in usable]
    found = ranking(names, np.array(numbers))
    shown = ", ".join(f"{n} {r:.2f}" for n, r in zip(found.runs, found.ranks, strict=True))
    notes = [
        f"mean ranks over {found.tasks} tasks: {shown}; Friedman p = {found.p:.3g}; critical "
        f"difference {found.distance:.2f} (Nemenyi, 0.05)"
    ]
    if len(usable) < len(keys):
        notes.append(f"{len(keys) - len(usable)} tasks that not every run has are not ranked")
    return found, notes


def _sign(metric: str) -> int:
    """Return 1 for a metric of which more is better, else -1; `accuracy@5` is an accuracy."""
    return -1 if metric.partition("@")[0] in LOWER_IS_BETTER else 1


def _both(first: str, second: str) -> str | None:
    if first == second:
        return first or None
    return f"a: {first or 'not known'}; b: {second or 'not known'}"


def _said(task: str, metric: str, label: str | None = None) -> str:
    return f"{task}.{metric}" + ("" if label is None else f"[{label}]")


def _title(row: Mapping[str, Any]) -> str:
    said = _said(row["task"] or "all tasks", row["metric"], row["label"])
    return f"{said}: {row['b']} against {row['a']}"


def _line(row: Mapping[str, Any]) -> str:
    return (
        f"{_said(row['task'], row['metric'], row['label'])}: "
        f"{row['b']} is worse than {row['a']}: "
        f"{row['value_b']:.4g} after {row['value_a']:.4g}, difference {row['difference']:+.4f} "
        f"[{row['low']:+.4f}, {row['high']:+.4f}], p = {row['p_holm']:.2g} after Holm"
    )


def _batch(rows: list[dict[str, Any]]) -> Batch:
    for row in rows:
        row["id"] = _title(row)
    return Batch.build(COLUMNS, {c.name: [row.get(c.name) for row in rows] for c in COLUMNS})
