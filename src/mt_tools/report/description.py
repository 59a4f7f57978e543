"""What a table holds, for people: counts of parts as lines, a description as text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from mt_tools.report.style import label
from mt_tools.report.terminal import ToStdout, bar, clean, number
from mt_tools.tables.batch import Batch

_LINES = 12
"""Labels of which all are listed; of more only those that are farthest off."""
_LABELS = 10
"""Labels of a column that a description shows where nothing is said."""
_PAIRS = 10
_GAP = 2
_BAR = 20
_NAME = 28
"""Columns of the terminal that a name takes at most."""
_SPARKS = " ▁▂▃▄▅▆▇█"


def padded(text: str, width: int) -> str:
    """Return text as wide as `width` columns of a terminal, where some letters take two."""
    return text + " " * (width - cell_len(text))


def count_lines(
    title: str, counts: Mapping[str, Mapping[str, int]], shares: Sequence[float | None]
) -> Iterator[str]:
    """Yield lines that compare the counts of labels in several parts with the parts' shares.

    `counts`: part -> label -> rows, every part with every label; `shares`: what each part should
    hold of a label, None where nothing was asked. Of many labels those are listed whose counts are
    farthest off, in units of what chance would do: the root of the count.
    """
    parts = list(counts)
    totals = {name: sum(counts[part][name] for part in parts) for name in counts[parts[0]]}

    def off(name: str) -> float:
        gaps = [
            abs(counts[part][name] - share * totals[name])
            for part, share in zip(parts, shares, strict=True)
            if share is not None
        ]
        return max(gaps, default=0.0) / max(1, totals[name]) ** 0.5

    names = sorted(totals, key=lambda name: (-off(name), name))[:_LINES]
    many = len(totals) > len(names)
    if not many:
        names.sort()
    head = f"{title}, {len(names)} of {len(totals)} labels, farthest off first" if many else title
    shown = {name: f"  {label(name)}" for name in names}
    width = max(cell_len(text) for text in [head, *shown.values()])
    digits = max(6, *map(len, parts), len(str(max(totals.values(), default=0))))
    yield padded(head, width) + "".join(f"  {part:>{digits}}" for part in parts)
    for name in names:
        yield padded(shown[name], width) + "".join(
            f"  {counts[part][name]:>{digits}}" for part in parts
        )


def sparks(counts: Sequence[float]) -> str:
    """Return counts as a line of bars, one character each; what is not zero can be seen."""
    most = max(counts, default=0)
    return "".join(_SPARKS[math.ceil(8 * count / most)] if count else " " for count in counts)


@dataclass
class _About:
    """The rows of a description that are about one column, or about the table."""

    text: dict[str, str] = field(default_factory=dict)
    value: dict[str, float] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)  # statistic -> label
    counts: dict[str, float] = field(default_factory=dict)
    splits: dict[str, dict[str, float]] = field(default_factory=dict)  # split -> statistic
    parted: dict[str, dict[str, float]] = field(default_factory=dict)  # split -> label -> count
    bins: list[float] = field(default_factory=list)
    pairs: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)

    def take(self, row: Mapping[str, Any]) -> None:
        """Take one row."""
        statistic, value, name, split = row["statistic"], row["value"], row["label"], row["split"]
        value = math.nan if value is None else value
        if row["text"] is not None:
            self.text[statistic] = row["text"]
        elif statistic == "bin":
            self.bins.append(value)
        elif row["other"] is not None:
            self.pairs.setdefault((name or row["column"], row["other"]), {})[statistic] = value
        elif statistic == "count":
            counts = self.counts if split is None else self.parted.setdefault(split, {})
            counts[name] = value
        elif split is not None:
            self.splits.setdefault(split, {})[statistic] = value
        else:
            self.value[statistic] = value
            if name is not None:
                self.named[statistic] = name


class DescriptionView:
    """Shows a description: the table as a whole, then labels, numbers, and what else there is.

    `top` is how many labels of a column are shown, 0 = ten.
    """

    def __init__(self, top: int = 0) -> None:
        self._console = ToStdout()
        self._labels = top or _LABELS
        self._about: dict[str | None, _About] = {}

    def write(self, batch: Batch) -> None:
        """Take rows."""
        for row in batch.rows():
            self._about.setdefault(row["column"], _About()).take(row)

    def finish(self, rows: int, failed: int) -> None:
        """Print everything."""
        columns = {name: one for name, one in self._about.items() if name is not None}
        whole = self._about.get(None)
        if whole is not None:
            self._whole(whole)
        numbers = {name: one for name, one in columns.items() if "mean" in one.value}
        labels = {name: one for name, one in columns.items() if "labels" in one.value}
        for name, one in labels.items():
            self._of_labels(name, one)
        if numbers:
            self._numbers(numbers)
        pairs = {
            pair: found
            for one in numbers.values()
            for pair, found in one.pairs.items()
            if found.get("pairs")
        }
        if pairs:
            self._correlations(list(dict.fromkeys(n for pair in pairs for n in pair)), pairs)
        others = {n: one for n, one in columns.items() if n not in numbers and n not in labels}
        if others:
            self._others(others)

    def abort(self) -> None:
        """Print nothing: the error says what happened."""

    def _head(self, title: str, about: str = "") -> None:
        self._console.print()
        self._console.print(Text(clean(title), style="bold") + Text(about, style="not bold dim"))

    def _whole(self, one: _About) -> None:
        value = one.value
        said = [_several(value["rows"], "row"), _several(value["tracks"], "track")]
        if "groups" in value:
            said.append(_several(value["groups"], "group"))
        if "hours" in value:
            said.append(f"{value['hours']:,.1f} hours")
        self._console.print(Text(", ".join(said), style="bold"))
        notes = []
        if value["copies"]:
            notes.append(f"rows of a track that has one already: {value['copies']:,.0f}")
        if value["repeated_ids"]:
            notes.append(f"rows whose id stands before: {value['repeated_ids']:,.0f}")
        if value.get("hours_unknown"):
            notes.append(f"rows of unknown length: {value['hours_unknown']:,.0f}")
        if value.get("ungrouped"):
            notes.append(f"rows without a group: {value['ungrouped']:,.0f}")
        if "largest_group" in one.named:
            share = value["largest_group"] / value["rows"]
            name = label(one.named["largest_group"])
            notes.append(f"the largest group, {name}, has {_share(share)} of the rows")
        for note in notes:
            self._console.print(Text(note, style="dim"))
        if one.splits:
            self._splits(one)

    def _splits(self, one: _About) -> None:
        names = [name for name in ("rows", "tracks", "groups", "hours") if name in one.value]
        self._console.print()
        table = _table("split", "rows", "share", *names[1:])
        for split, found in one.splits.items():
            counted = [_count(found[name], name) for name in names]
            share = _share(found["rows"] / one.value["rows"])
            table.add_row(Text(label(split)), counted[0], share, *counted[1:])
        if one.value.get("no_split"):
            left = one.value["no_split"]
            table.add_row("(none)", f"{left:,.0f}", _share(left / one.value["rows"]))
        self._console.print(table)

    def _of_labels(self, name: str, one: _About) -> None:
        value = one.value
        listed = {label_: count for label_, count in one.counts.items() if count}
        self._head(name, f"  {', '.join(_about_labels(one))}")
        if not listed or (max(listed.values()) == 1 and len(listed) > 1 and not value["missing"]):
            return  # every row has its own: there is nothing to count
        first = list(listed)[: self._labels]
        splits = list(one.parted)
        rows = [
            [label(each), f"{listed[each]:,.0f}", _share(listed[each] / value["n"])]
            + [f"{one.parted[split].get(each, 0):,.0f}" for split in splits]
            for each in first
        ]
        heads = ["label", "rows", "share", *map(label, splits)]
        room = self._console.width - _width([heads, *rows])
        while room < 0 and len(heads) > 3:  # splits that do not fit are in the rows of a pipe
            heads.pop()
            rows = [row[:-1] for row in rows]
            room = self._console.width - _width([heads, *rows])
        wide = min(_BAR, room - _GAP)
        table = _table(*heads)
        most = listed[first[0]]
        if wide >= 6:
            table.add_column("")
            rows = [
                [*row, bar(listed[each] / most, wide)]
                for each, row in zip(first, rows, strict=True)
            ]
        for row in rows:
            table.add_row(*map(Text, row))
        self._console.print(table)
        left = value["labels"] - len(first)
        if left > 0:
            self._console.print(Text(f"… and {_several(left, 'label')} more", style="dim"))
        together = {pair: found for pair, found in one.pairs.items() if "together" in found}
        if together:
            self._together(together)

    def _together(self, pairs: Mapping[tuple[str, str], Mapping[str, float]]) -> None:
        shown = list(pairs.items())[: self._labels]
        self._console.print(Text("most often together", style="dim"))
        table = _table("labels", "rows", "of those with either")
        for (one, other), found in shown:
            both = f"{label(one)} + {label(other)}"
            table.add_row(Text(both), f"{found['together']:,.0f}", _share(found["jaccard"]))
        self._console.print(table)

    def _numbers(self, columns: Mapping[str, _About]) -> None:
        """Print a line a column, with as many statistics as fit, the most telling first."""
        order = ["n", "missing", "mean", "sd", "variance", "min", "q25", "median", "q75", "max",
                 "skew"]  # fmt: skip
        first = ["mean", "sd", "min", "median", "max", "q25", "q75", "", "missing", "skew", "n",
                 "variance"]  # fmt: skip
        heads = {"q25": "25 %", "q75": "75 %"}
        cells = {key: [number(one.value[key]) for one in columns.values()] for key in order}
        cells = {
            key: column for key, column in cells.items()
            if key != "missing" or any(one.value["missing"] for one in columns.values())
        }  # fmt: skip
        cells[""] = [sparks(_narrow(one.bins)) for one in columns.values()]
        names = [label(name, _NAME) for name in columns]
        left = self._console.width - max(map(cell_len, [*names, "numbers"]))
        taken = set()
        for key in first:
            if key not in cells:
                continue
            need = max(map(len, [*cells[key], heads.get(key, key)])) + _GAP
            if need <= left:
                taken.add(key)
                left -= need
        self._console.print()
        table = _table("numbers", *(heads.get(key, key) for key in order if key in taken))
        if "" in taken:
            table.add_column("")
        for place, name in enumerate(names):
            line = [cells[key][place] for key in (*order, "") if key in taken]
            table.add_row(Text(name), *line)
        self._console.print(table)
        for name, one in columns.items():
            if one.value["infinite"]:
                many = _several(one.value["infinite"], "infinite number")
                self._console.print(Text(f"{label(name)}: {many} left out", style="dim"))

    def _correlations(
        self, names: Sequence[str], pairs: Mapping[tuple[str, str], Mapping[str, float]]
    ) -> None:
        """Print a matrix where one fits, else the strongest pairs."""
        shown = [label(name, _NAME) for name in names]
        width = max(map(cell_len, shown)) + 4
        if width + 6 * len(names) > self._console.width or len(names) == 2:
            self._strongest(pairs)
            return
        self._head("correlation", "  Pearson below, Spearman above the diagonal")
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, _GAP, 0, 0))
        table.add_column(no_wrap=True)
        for _ in names:
            table.add_column(justify="right", width=4)
        table.add_row("", *(Text(str(place), style="dim") for place in range(1, len(names) + 1)))
        for row, one in enumerate(names):
            line = []
            for column, other in enumerate(names):
                pair = (other, one) if (other, one) in pairs else (one, other)
                found = pairs.get(pair, {})
                line.append("·" if row == column else coefficient(
                    found.get("pearson" if column < row else "spearman", math.nan)))  # fmt: skip
            table.add_row(Text(f"{row + 1:>2} {shown[row]}"), *line)
        self._console.print(table)

    def _strongest(self, pairs: Mapping[tuple[str, str], Mapping[str, float]]) -> None:
        def strength(pair: tuple[str, str]) -> float:
            value = abs(pairs[pair]["spearman"])
            return -1.0 if math.isnan(value) else value

        ordered = sorted(pairs, key=lambda pair: (-strength(pair), pair))
        about = f"  the strongest of {len(pairs)} pairs" if len(pairs) > _PAIRS else ""
        self._head("correlation", about)
        table = _table("pair", "Pearson", "Spearman", "rows")
        for pair in ordered[:_PAIRS]:
            both = " and ".join(label(name) for name in pair)
            found = pairs[pair]
            coefficients = [coefficient(found[name]) for name in ("pearson", "spearman")]
            table.add_row(Text(both), *coefficients, f"{found['pairs']:,.0f}")
        self._console.print(table)

    def _others(self, columns: Mapping[str, _About]) -> None:
        self._console.print()
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
        for name in ("column", "kind", "missing"):
            table.add_column(name, justify="right" if name == "missing" else "left", no_wrap=True)
        table.add_column("what it is", overflow="fold")
        for name, one in columns.items():
            said = [one.text[key] for key in ("shape", "stored", "settings") if key in one.text]
            table.add_row(
                Text(label(name)), one.text.get("kind", ""), f"{one.value['missing']:,.0f}",
                Text(clean(" ".join(said))),
            )  # fmt: skip
        self._console.print(table)


def _about_labels(one: _About) -> Iterator[str]:
    """Yield what is said of a column of labels in its heading."""
    value = one.value
    tags = "cardinality" in value
    noun = "tag" if tags else "class"
    yield f"{_several(value['labels'], noun)} in {_several(value['n'], 'row')}"
    if value["missing"]:
        yield f"{value['missing']:,.0f} missing"
    if tags:
        yield f"{number(value['cardinality'])} a row, at most {value['most']:.0f}"
        if value["untagged"]:
            yield f"{_several(value['untagged'], 'row')} with none"
    elif value["labels"] == value["n"] and value["n"] > 1:
        yield "all different"
    elif value["labels"] > 1:
        yield f"entropy {number(value['entropy'])} bits, {_share(value['evenness'])} of even"
    if value["labels"] > 1 and value["imbalance"] > 1:
        yield f"largest to smallest {number(value['imbalance'])}"


def _table(first: str, *numeric: str) -> Table:
    """Return an empty table of one column of names and several of numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
    table.add_column(first, overflow="ellipsis", no_wrap=True)
    for name in numeric:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _width(lines: Sequence[Sequence[str]]) -> int:
    """Return how wide a table of these cells is."""
    return sum(max(map(cell_len, column)) + _GAP for column in zip(*lines, strict=True)) - _GAP


def _narrow(bins: Sequence[float], width: int = 16) -> list[float]:
    """Return a histogram of at most `width` bins: the mean count of neighbours."""
    step = math.ceil(len(bins) / width) or 1
    parts = [bins[at : at + step] for at in range(0, len(bins), step)]
    return [sum(part) / len(part) for part in parts]


def _several(count: float, noun: str) -> str:
    plural = f"{noun}{'es' if noun.endswith('s') else 's'}"
    return f"{count:,.0f} {noun if count == 1 else plural}"


def _count(value: float, name: str) -> str:
    return f"{value:,.1f}" if name == "hours" else f"{value:,.0f}"


def _share(value: float) -> str:
    return "–" if value != value else f"{value:.1%}".replace("%", " %")


def coefficient(value: float) -> str:
    """Return a correlation with two decimals and no zero before them."""
    if value != value:
        return "–"
    return f"{value:.2f}".replace("-0.00", "0.00").replace("0.", ".", 1)
