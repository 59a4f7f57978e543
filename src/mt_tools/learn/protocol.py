"""What is learned together, and how often: the words of `mt-train` made into plans.

Goal: the schemes of the studies as small functions on plain values, which the stage joins.

Source. Sharing: REP study, section 3.2 (MS-CR@k, MS-SR@FC, MSS-CR), and DJ study, section 4.2.3.
Outputs as features: DJ study, "Output-Feature". Two stages: DJ study, section 5 (at least five runs
for the number of epochs, then training for their mean, with a new random split for every run).
The REP study's 50 and the DJ study's 5 to 10 random splits are `--repeats`.

Conventions: run 0 has the seed that was asked for, so that the first of several runs is what a
single one would be; metrics are {part: {task: {metric: {"value", "low", "high"}}}}, a value that is
not defined is None.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mt_tools.errors import UsageError
from mt_tools.metrics import LOWER_IS_BETTER
from mt_tools.nets.body import Share

Metrics = Mapping[str, Mapping[str, Mapping[str, Any]]]


# --- what is learned together --------------------------------------------------------------------


def parse_share(texts: Sequence[str], tasks: Sequence[str]) -> tuple[Share, ...]:
    """Return what `--share` says: `none`, `all` or `block:K`, of all tasks or of some.

    >>> parse_share(["block:2:genre+subgenre"], ["genre", "subgenre", "energy"])
    (Share(blocks=2, tasks=('genre', 'subgenre')),)

    Without a text all layers are shared. Raises `UsageError` for another form and for a task that
    is not learned; whether a network has so many blocks is known when it is built.
    """
    if not texts:
        return (Share(),)
    rules = []
    for text in texts:
        match = re.fullmatch(r"(none|all|block:(\d+))(?::(.+))?", text)
        if match is None:
            raise UsageError(
                f"--share {text}: expected none, all or block:K, and tasks after it where not all "
                "are meant, such as block:2:genre+subgenre"
            )
        blocks = {"none": 0, "all": None}.get(match[1], int(match[2] or 0))
        members = tuple(match[3].split("+")) if match[3] else ()
        for member in members:
            known("--share", text, member, tasks)
        if len(members) == 1:
            raise UsageError(f"--share {text}: one task shares with nobody; name two or more")
        rules.append(Share(blocks, members))
    if sum(not rule.tasks for rule in rules) > 1:
        raise UsageError(f"--share {' '.join(texts)}: all tasks together can be said once only")
    return tuple(rules)


def share_of(rules: Sequence[Share], tasks: Sequence[str]) -> tuple[Share, ...]:
    """Return the rules for some of the tasks: a group of which one is left is no group."""
    kept = []
    for rule in rules:
        members = tuple(task for task in rule.tasks if task in tasks)
        if not rule.tasks or len(members) > 1:
            kept.append(Share(rule.blocks, members))
    return tuple(kept)


def parse_feeds(texts: Sequence[str], tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return which tasks feed the head of each task, from `genre+energy->situation,...`.

    Raises `UsageError` for another form and for a task that is not learned; a circle is found when
    the network is built.
    """
    feeds: dict[str, tuple[str, ...]] = {}
    for text in texts:
        for link in text.split(","):
            sources, arrow, target = link.strip().partition("->")
            if not (sources and arrow and target):
                raise UsageError(
                    f"--output-feature {text!r}: expected 'genre->subgenre', or "
                    "'genre+energy->situation'"
                )
            for name in (*sources.split("+"), target):
                known("--output-feature", text, name, tasks)
            if target in sources.split("+"):
                raise UsageError(f"--output-feature {text!r}: {target} cannot feed itself")
            feeds[target] = tuple(dict.fromkeys((*feeds.get(target, ()), *sources.split("+"))))
    return feeds


def parse_assignments(option: str, texts: Sequence[str], form: str) -> dict[str, str]:
    """Return `NAME=VALUE` pairs as typed; raises `UsageError` for another form or a name twice."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"{option} {text!r}: expected {form}")
        if name in found:
            raise UsageError(f"{option} {text}: {name} is given twice")
        found[name] = value
    return found


def parse_parameters(texts: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of an architecture from `NAME=VALUE`, values in JSON.

    What is not JSON is a list where it has commas, which need no brackets, or else a string.

    >>> parse_parameters(["hidden=128,64", "dropout=0.5", "pool=mean"])
    {'hidden': [128, 64], 'dropout': 0.5, 'pool': 'mean'}
    """
    given = parse_assignments("--param", texts, "NAME=VALUE, such as hidden=128,64 or dropout=0")
    return {name.replace("-", "_"): _value(text) for name, text in given.items()}


def _value(text: str) -> Any:
    for attempt in (text, f"[{text}]"):
        try:
            return json.loads(attempt)
        except ValueError:
            continue
    return [part.strip() for part in text.split(",")] if "," in text else text


def fitting_parameters(
    given: Mapping[str, Any], defaults: Mapping[str, Any], arch: str
) -> dict[str, Any]:
    """Return parameters in the form of an architecture's own: one number where it has a list.

    `defaults` are its parameters with their values. Raises `UsageError` for an unknown name, and
    for a value of another kind than the default.
    """
    found = {}
    for name, value in given.items():
        if name not in defaults:
            near = difflib.get_close_matches(name, list(defaults), n=2)
            raise UsageError(
                f"--param {name}: {arch} has no such parameter; "
                + (f"did you mean {' or '.join(near)}? " if near else "")
                + f"it has {', '.join(defaults) or 'none'}"
            )
        default = defaults[name]
        if isinstance(default, list | tuple) and not isinstance(value, list):
            value = [value]
        if not _alike(value, default):
            example = list(default) if isinstance(default, tuple) else default
            raise UsageError(
                f"--param {name}={json.dumps(given[name])}: {arch} takes the like of "
                f"{name}={json.dumps(example)}"
            )
        found[name] = value
    return found


def _alike(value: Any, default: Any) -> bool:
    """Whether a value is of a default's kind; a whole number is a number, a truth value is none."""
    if isinstance(default, list | tuple):
        return isinstance(value, list) and all(_alike(v, default[0]) for v in value if default)
    if isinstance(default, bool) or isinstance(value, bool):
        return (default is None or isinstance(default, bool)) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    return default is None or isinstance(value, type(default))


def known(option: str, text: str, name: str, names: Iterable[str]) -> None:
    """Raise `UsageError` unless `name` is one of `names`; it is answered with the nearest."""
    names = list(names)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"the tasks are {', '.join(names)}"
        raise UsageError(f"{option} {text}: no task {name!r}; {hint}")


# --- how often -----------------------------------------------------------------------------------


def run_seed(seed: int, run: int) -> int:
    """Return the seed of a run: the first one's is `seed` itself, the others' are hashes."""
    if run == 0:
        return seed
    digest = hashlib.sha256(f"{seed}/repeat/{run}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def mean_epochs(best: Sequence[int]) -> int:
    """Return the mean of the best epochs of several runs, to the nearest whole one, halves up."""
    return max(1, math.floor(statistics.fmean(best) + 0.5))


def spreads(runs: Sequence[Metrics]) -> dict[str, Any]:
    """Return mean, standard deviation (n - 1) and the values of every metric over several runs.

    The result is {part: {task: {metric: {"mean", "sd", "n", "values"}}}}. A value that is not
    defined counts nowhere and stays None among the values; the deviation of fewer than two is None.
    """
    found: dict[str, Any] = {}
    parts = dict.fromkeys(part for run in runs for part in run)
    for part in parts:
        tasks = dict.fromkeys(task for run in runs for task in run.get(part, {}))
        found[part] = {}
        for task in tasks:
            measured = [run.get(part, {}).get(task, {}) for run in runs]
            names = dict.fromkeys(m for one in measured for m in values_of(one))
            found[part][task] = {name: _spread([values_of(m).get(name) for m in measured])
                                 for name in names}  # fmt: skip
    return found


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    there = [value for value in values if value is not None]
    return {
        "mean": round(statistics.fmean(there), 6) if there else None,
        "sd": round(statistics.stdev(there), 6) if len(there) > 1 else None,
        "n": len(there),
        "values": list(values),
    }


def values_of(measured: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the metrics of one task, {metric: value}, from what was measured of it."""
    return {
        name: entry["value"]
        for name, entry in measured.items()
        if isinstance(entry, Mapping) and "value" in entry
    }


def gains(together: Metrics, alone: Metrics) -> dict[str, Any]:
    """Return what each task gains by company: {part: {task: {metric: {...}}}}.

    Each metric has its value `together` with the other tasks and `alone`, their `difference` and
    the `gain`: the same number, turned round where less is better, so that above 0 is a gain.
    """
    found: dict[str, Any] = {}
    for part, tasks in together.items():
        for task, measured in tasks.items():
            single = values_of(alone.get(part, {}).get(task, {}))
            for metric, value in values_of(measured).items():
                other = single.get(metric)
                if value is None or other is None:
                    continue
                difference = round(value - other, 6)
                found.setdefault(part, {}).setdefault(task, {})[metric] = {
                    "together": value,
                    "alone": other,
                    "difference": difference,
                    "gain": -difference if metric in LOWER_IS_BETTER else difference,
                }
    return found


def mean_gains(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the means of `gains` over several runs, and the deviation `sd` of the gain."""
    if len(runs) == 1:
        return dict(runs[0])
    found: dict[str, Any] = {}
    for part in dict.fromkeys(part for run in runs for part in run):
        for task in dict.fromkeys(task for run in runs for task in run.get(part, {})):
            rows = [run[part][task] for run in runs if task in run.get(part, {})]
            for metric in dict.fromkeys(metric for row in rows for metric in row):
                entries = [row[metric] for row in rows if metric in row]
                mean: dict[str, Any] = {
                    key: round(statistics.fmean(entry[key] for entry in entries), 6)
                    for key in ("together", "alone", "difference", "gain")
                }
                several = len(entries) > 1
                sd = statistics.stdev(entry["gain"] for entry in entries) if several else None
                mean |= {"sd": None if sd is None else round(sd, 6), "n": len(entries)}
                found.setdefault(part, {}).setdefault(task, {})[metric] = mean
    return found
