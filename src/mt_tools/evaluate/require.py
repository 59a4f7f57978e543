"""Requirements on results: `--require 'accuracy>=0.5'` makes a run fail in CI when it should.

A requirement is a metric's name, one of `>= > <= < ==` and a number. The name may be qualified by
its task (`style.accuracy`); unqualified, it holds for every task that has the metric. `.low`,
`.high` and `.sd` after it are the ends of its interval and its deviation, and `[jazz]` before them
is one label: `tags.roc_auc[jazz].low>=0.7`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mt_tools.errors import UsageError

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_PATTERN = re.compile(r"\s*([^<>=\s](?:[^<>=]*[^<>=\s])?)\s*(>=|<=|==|>|<)\s*([^<>=\s]+)\s*")

_DETAIL = re.compile(r"\]|\.(low|high|sd)$")


@dataclass(frozen=True)
class Requirement:
    """A bound on a metric, such as `style.accuracy>=0.5`."""

    metric: str
    operator: str
    bound: float

    def __str__(self) -> str:
        return f"{self.metric}{self.operator}{self.bound:g}"


def parse(text: str) -> Requirement:
    """Parse one requirement; raises `UsageError` for what is not `NAME OPERATOR NUMBER`."""
    match = _PATTERN.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        bound = float(match[3])
        if bound != bound:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"got the requirement {text!r}, expected a metric, one of {' '.join(OPERATORS)} and a "
            "number, such as 'accuracy>=0.5'"
        ) from None
    return Requirement(match[1], match[2], bound)


def unmet(requirements: Iterable[Requirement], results: Mapping[str, float]) -> list[str]:
    """Return a line for each requirement that does not hold; an undefined value never holds.

    `results`: flat, from `metric` or `task.metric` to its value. Raises `UsageError` for a metric
    that is not there, naming those that are.
    """
    lines = []
    for requirement in requirements:
        names = _matching(requirement.metric, results)
        if not names:
            known = [name for name in sorted(results) if not _DETAIL.search(name)]
            raise UsageError(
                f"no metric {requirement.metric!r} to require, expected one of: "
                f"{', '.join(known) or 'none was computed'}; .low, .high and .sd may follow, and "
                "[label] for one label"
            )
        for name in names:
            value = results[name]
            if value != value:
                lines.append(f"{requirement} does not hold: {name} is undefined")
            elif not OPERATORS[requirement.operator](value, requirement.bound):
                lines.append(f"{requirement} does not hold: {name} is {value:.6g}")
    return lines


def _matching(metric: str, results: Mapping[str, float]) -> list[str]:
    if metric in results:
        return [metric]
    return [name for name in results if name.endswith(f".{metric}")]
