"""What label columns hold, whatever is made of them: content, gaps and the names of classes.

Conventions: a column is a numpy array, one entry a row, as `tables.columns` describes it: an object
array of `str | bool | None`, an object array of `list[str] | None`, floats with NaN where
unlabelled, or float vectors [n, d] with NaN throughout where unlabelled. Classes have names: a
string is its own, booleans are `false` and `true`, and the number 3.0 is `3`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError

Values = NDArray[Any]

SUM_TOLERANCE = 1e-3
"""How far the sum of a distribution may be from 1: float16 and rounding in text files."""


def labelled(values: Values) -> NDArray[np.bool_]:
    """Return the mask [n] of rows that carry a label: neither null nor NaN."""
    values = np.asarray(values)
    if values.dtype.kind == "f":
        gaps = np.isnan(values)
        return np.logical_not(gaps if gaps.ndim == 1 else np.all(gaps, axis=1))
    if values.dtype.kind == "O":
        return np.array([not _is_null(value) for value in values], dtype=bool)
    return np.ones(len(values), dtype=bool)


def content(name: str, values: Values) -> str | None:
    """Say what the column `name` holds; None when nothing is labelled.

    One of "strings" (booleans too), "lists of strings", "numbers" and "vectors". Raises
    `UsageError` for anything else, and for a mixture.
    """
    values = np.asarray(values)
    if values.ndim == 2 and values.dtype.kind == "f":
        return "vectors" if labelled(values).any() else None
    if values.ndim == 1:
        present = values[labelled(values)]
        if len(present) == 0:
            return None
        if values.dtype.kind in "iuf":
            return "numbers"
        if values.dtype.kind in "bUO":
            if all(isinstance(value, str | bool | np.bool_) for value in present):
                return "strings"
            if all(_is_tag_list(value) for value in present):
                return "lists of strings"
    raise UsageError(
        f"task {name!r}: column {name!r} is no label (shape {values.shape}, type {values.dtype}); "
        "expected strings, booleans, lists of strings, numbers or vectors of one length, one a "
        "row and of one type"
    )


def class_name(value: Any) -> str:
    """Return the name of a class; `value` is a string, boolean or number.

    >>> class_name(True), class_name(3.0), class_name(0.5)
    ('true', '3', '0.5')
    """
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | float | np.number):
        number = float(value)
        return str(int(number)) if number.is_integer() else repr(number)
    return str(value)


def rows_of_names(values: Values) -> Iterator[set[str] | None]:
    """Yield each row as its set of tags, one for a class; None where unlabelled."""
    for value in values:
        if _is_null(value):
            yield None
        elif isinstance(value, list | tuple | np.ndarray):
            yield {str(tag) for tag in value if tag is not None}
        else:
            yield {class_name(value)}


def counts(values: Values) -> Counter[str]:
    """Count the labelled rows that have each class or tag."""
    return Counter(name for names in rows_of_names(values) for name in names or ())


def is_distribution(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether rows [n, d] have no gap, nothing below 0, and sum to 1."""
    sums = values.sum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return (values >= 0).all(axis=1) & (np.abs(sums - 1.0) <= SUM_TOLERANCE)


def _is_null(value: Any) -> bool:
    """Whether one entry of an object array is unlabelled; pandas writes NaN for a missing str."""
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def _is_tag_list(value: Any) -> bool:
    """Whether one entry is a list of strings, among which nulls are ignored."""
    return isinstance(value, list | tuple | np.ndarray) and all(
        tag is None or isinstance(tag, str) for tag in value
    )
