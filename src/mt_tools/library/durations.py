"""Spans of time as people type them: `90m`, `8h`, `1h30m`, `3600`."""

from __future__ import annotations

import re

from mt_tools.errors import UsageError

_PARTS = re.compile(
    r"(?:(?P<d>\d+(?:\.\d+)?)d)?(?:(?P<h>\d+(?:\.\d+)?)h)?"
    r"(?:(?P<m>\d+(?:\.\d+)?)m(?:in)?)?(?:(?P<s>\d+(?:\.\d+)?)s)?"
)
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def seconds(text: str, option: str) -> float:
    """Return a span of time in seconds: days, hours, minutes, seconds, in this order, any left out.

    A number alone is seconds; after other parts it needs its unit. Raises `UsageError`, which names
    the `option`, for anything else and for no time at all.
    """
    typed = "".join(text.lower().split())
    match = _PARTS.fullmatch(typed) or _PARTS.fullmatch(f"{typed}s" if typed.isdigit() else "")
    parts = match.groupdict() if match else {}
    total = sum(float(value) * _SECONDS[unit] for unit, value in parts.items() if value)
    if not total:
        raise UsageError(f"{option} {text!r}: expected a time such as 90m, 8h, 1h30m or 3600")
    return total


def spelled(span: float) -> str:
    """Return seconds for reading: `4 s`, `12 min`, `3 h 05 min`."""
    whole = round(span)
    if whole < 60:
        return f"{span:.1f} s" if span < 10 else f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
