"""Embedding maps: every track a point, coloured by any column.

Source: the REP study, Fig. 14, draws t-SNE with the strongest terms of each part of the map.

Conventions: `style` says how figures look. Classes differ in colour and marker; beyond seven the
markers are hollow, and beyond fourteen the rarer classes are one, in grey. Numbers are shades of
cividis, which grows evenly darker for the colour-blind and in print. A row of tags is drawn as its
first, or as having a chosen one or not. Axes have no scale, since a map has none. What up to three
sources say of a region stands in the map; of more, the map has the region's number, and what they
say stands below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import UsageError
from mt_tools.features.maps import Region
from mt_tools.report.layout import settle
from mt_tools.report.style import (
    COLOURS,
    GREY,
    MARKERS,
    check_ending,
    conventions,
    label,
    new_figure,
    save,
)
from mt_tools.tasks.labels import class_name, content, labelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

SHADES = "cividis"
UNKNOWN = "unlabelled"
_AREA = 9000.0  # square points of ink for all points together
_SMALLEST, _LARGEST = 5.0, 36.0
_WIDE = 4.8  # inches that the points have beside a legend
_GAP = 3.0  # points between two texts
_LINE = 44  # characters of a line of terms
_ROOM = 1.4  # a map with such lines is so many times as large
_BESIDE = 3  # sources that have room in the map; the lines of more stand below it
_COLUMNS = 3  # of these lines
_LEADING = 9.0  # points from one of these lines to the next
_CLOSE = 1e-3
_ROUNDS = 200


def draw_map(points: Array, path: str, **options: Any) -> None:
    """Draw a map into a .png, .svg or .pdf file: see `map_figure`; raises for another ending."""
    check_ending(path)
    save(map_figure(points, **options), path)


def map_figure(
    points: Array,
    *,
    values: Array | None = None,
    name: str = "",
    tag: str = "",
    regions: Sequence[Region] = (),
    title: str = "",
) -> Figure:
    """Return a figure of points in the plane.

    `points`: [n, 2], NaN = not drawn; `values`: [n] a column to colour by, as `tasks.labels`
    describes it: strings, lists of strings or numbers; `name`: its name; `tag`: of lists, the tag
    to show; `regions`: what to write into the map (`features.maps.regions`), of several sources
    those of one place in one box. Raises `UsageError` when there is no point, for a tag that no row
    has, and for a column of anything else.
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise UsageError(f"got points of shape {points.shape}, expected [rows, 2]")
    drawn = np.asarray(np.isfinite(points).all(axis=1))
    if not drawn.any():
        raise UsageError(f"none of the {len(points)} rows has a place on the map")
    points = points[drawn]
    held = None
    if values is not None:
        values = np.asarray(values)
        if len(values) != len(drawn):
            raise UsageError(f"got {len(values)} values of {name!r} for {len(drawn)} points")
        held, values = content(name, values), values[drawn]
    if held == "vectors":
        raise UsageError(
            f"column {name!r} holds vectors: colour by classes, tags or numbers instead"
        )
    if tag and held != "lists of strings":
        raise UsageError(f"got the tag {tag!r} of {name!r}, which has no tags: leave it out")

    with conventions():
        width, height = np.ptp(points, axis=0)
        tall = 0.4 + float(np.clip(_WIDE * height / max(width, 1e-9), 3.4, 6.4))
        room = _ROOM if any(region.source for region in regions) else 1.0
        boxes = _said(regions)
        below: Axes | None = None
        if boxes and len({region.source for region in regions}) > _BESIDE:
            key = _height(boxes)
            figure = new_figure(6.4 * room, tall * room + key)
            axes, below = figure.subplots(2, height_ratios=(tall * room, key))
        else:
            figure = new_figure(6.4 * room, tall * room)
            axes = figure.subplots()
        size = float(np.clip(_AREA / len(points), _SMALLEST, _LARGEST))
        if held is None or values is None:
            _scatter(axes, points, size, COLOURS[0], MARKERS[0])
        elif held == "numbers":
            _shaded(figure, axes, points, values, size, name)
        else:
            _classes(figure, axes, points, _names(values, name, tag), size, tag or name)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.04)
        for spine in axes.spines.values():
            spine.set_color(GREY)
        if title:
            axes.set_title(label(title, 60))
        if below is not None:
            below.set_axis_off()
        settle(figure)
        if below is not None:
            _list(below, boxes)
            boxes = {place: [str(number)] for number, place in enumerate(boxes, start=1)}
        _write(axes, boxes, facets=room > 1 and below is None)
    return figure


def _names(values: Array, name: str, tag: str) -> list[str | None]:
    """Return the class by which each row is drawn; None where it is unlabelled."""
    lists = [v if isinstance(v, list | tuple | np.ndarray) else None for v in values]
    if tag:
        known = {str(t) for tags in lists if tags is not None for t in tags}
        if tag not in known:
            raise UsageError(
                f"no row has the tag {tag!r} of {name!r}: there are {', '.join(sorted(known)[:9])}"
            )
        return [None if t is None else tag if tag in t else f"not {tag}" for t in lists]
    if any(tags is not None for tags in lists):
        return [None if t is None else str(t[0]) if len(t) else "(none)" for t in lists]
    known_rows = labelled(values)
    return [class_name(v) if k else None for v, k in zip(values, known_rows, strict=True)]


def _classes(
    figure: Figure, axes: Axes, points: Array, names: list[str | None], size: float, title: str
) -> None:
    """Draw classes with their legend, the most frequent first."""
    counts = Counter(name for name in names if name is not None)
    order = sorted(counts, key=lambda name: (-counts[name], name))
    room = 2 * len(COLOURS)
    shown, rest = order[:room], set(order[room:])
    column = np.array([None if n is None else n for n in names], object)
    unknown = np.array([n is None for n in names])
    others = np.array([n in rest for n in names])
    handles = []
    # What matters less lies below.
    if unknown.any():
        marks = _scatter(axes, points[unknown], size, GREY, "+")
        handles.append((marks, f"{UNKNOWN} ({unknown.sum()})"))
    if others.any():
        marks = _scatter(axes, points[others], size / 3, GREY, ".")
        handles.append((marks, f"{len(rest)} others ({others.sum()})"))
    named = []
    for place, name in enumerate(shown):
        rows = column == name
        marks = _scatter(
            axes,
            points[rows],
            size,
            COLOURS[place % len(COLOURS)],
            MARKERS[place % len(MARKERS)],
            hollow=place >= len(COLOURS),
        )
        named.append((marks, f"{label(name)} ({counts[name]})"))
    handles = named + handles[::-1]
    legend = figure.legend(
        [marks for marks, _ in handles],
        [text for _, text in handles],
        loc="outside right upper",
        title=label(title),
        frameon=False,
        scatterpoints=1,
    )
    for marks in legend.legend_handles:
        marks.set_sizes([_LARGEST])  # type: ignore[union-attr]


def _scatter(
    axes: Axes, points: Array, size: float, colour: str, marker: str, hollow: bool = False
) -> Any:
    """Draw points of one kind; a hollow one is an outline."""
    x, y = points.T
    if marker in "+.":
        return axes.scatter(x, y, s=size, c=colour, marker=marker, linewidths=0.8)
    return axes.scatter(
        x,
        y,
        s=size,
        marker=marker,
        facecolors="white" if hollow else colour,
        edgecolors=colour if hollow else "white",
        linewidths=1.0 if hollow else 0.3,
    )


def _shaded(
    figure: Figure, axes: Axes, points: Array, values: Array, size: float, name: str
) -> None:
    """Draw numbers as shades, with their scale; those not known as crosses."""
    values = values.astype(np.float64)
    known = np.isfinite(values)
    if not known.all():
        _scatter(axes, points[~known], size, GREY, "+")
    x, y = points[known].T
    marks = axes.scatter(
        x, y, s=size, c=values[known], cmap=SHADES, linewidths=0.2, edgecolors="white"
    )
    bar = figure.colorbar(marks, ax=axes, shrink=0.8, label=label(name))
    bar.outline.set_visible(False)
    if not known.all():
        bar.ax.set_xlabel(f"+ {UNKNOWN}\n({(~known).sum()})", fontsize=8)


Boxes = dict[tuple[float, float], list[str]]


def _said(regions: Sequence[Region]) -> Boxes:
    """Return the lines that are written of each place.

    Of one source they are its terms; of several, each source has a line that begins with its name.
    """
    boxes: Boxes = {}
    for region in regions:
        lines = boxes.setdefault((region.x, region.y), [])
        if region.terms and region.source:
            lines.append(_line(region.source, region.terms))
        else:
            lines += [label(term) for term in region.terms]
    return {place: lines for place, lines in boxes.items() if lines}


def _height(boxes: Boxes) -> float:
    """Return how many inches the lines of regions take in columns below the map."""
    tallest = max(map(len, boxes.values()), default=0) + 1
    return -(-len(boxes) // _COLUMNS) * tallest * _LEADING / 72


def _list(axes: Axes, boxes: Boxes) -> None:
    """Write the lines of each region into columns, row by row, each after its number."""
    rows = max(1, -(-len(boxes) // _COLUMNS))
    for number, lines in enumerate(boxes.values()):
        row, column = divmod(number, _COLUMNS)
        for text, weight, right in ((str(number + 1), "bold", 0), ("\n".join(lines), "normal", 14)):
            axes.annotate(
                text,
                (column / _COLUMNS, 1 - row / rows),
                xycoords="axes fraction",
                xytext=(right, 0),
                textcoords="offset points",
                va="top",
                fontsize=7,
                fontweight=weight,
            )


def _write(axes: Axes, boxes: Boxes, facets: bool) -> None:
    """Write the lines of each region into its middle, or near it where two would meet.

    `facets`: they are of several sources, one a line.
    """
    box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": GREY, "linewidth": 0.5}
    texts = [
        axes.annotate(
            "\n".join(lines),
            place,
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            multialignment="left" if facets else "center",
            fontsize=7 if facets else 8,
            bbox=box | {"alpha": 0.85},
        )
        for place, lines in boxes.items()
    ]
    if not texts:
        return
    extents = [text.get_window_extent() for text in texts]
    centres = np.array([(e.x0 + e.x1, e.y0 + e.y1) for e in extents]) / 2
    points = 72 / axes.figure.dpi
    sizes = np.array([(e.width, e.height) for e in extents]) + 2 * _GAP / points
    frame, half = axes.get_window_extent(), sizes / 2
    # A box at the edge would be cut there.
    inside = np.maximum(np.minimum(centres, frame.max - half), frame.min + half)
    moved = (apart(inside, sizes) - centres) * points
    for text, offset in zip(texts, moved, strict=True):
        text.set_position((float(offset[0]), float(offset[1])))


def _line(source: str, terms: Sequence[str]) -> str:
    """Return as many terms of a source as a line has room for, the strongest first."""
    line = f"{label(source, _LINE // 3)}: {label(terms[0])}"
    for term in terms[1:]:
        longer = f"{line}, {label(term)}"
        if len(longer) > _LINE:
            break
        line = longer
    return line


def apart(centres: Array, sizes: Array) -> Array:
    """Return the centres [n, 2] of boxes moved up and down until no two overlap.

    `sizes`: [n, 2] widths and heights. Each pair that overlaps parts by half of what it overlaps;
    a box that is squeezed between others may end in an overlap still.
    """
    centres = np.array(centres, np.float64)
    for _ in range(_ROUNDS):
        met = False
        for i in range(len(centres)):
            for j in range(i):
                width, height = (sizes[i] + sizes[j]) / 2 - np.abs(centres[i] - centres[j])
                if width > 0 and height > _CLOSE:
                    up = 1.0 if centres[i, 1] >= centres[j, 1] else -1.0
                    centres[i, 1] += up * height / 2
                    centres[j, 1] -= up * height / 2
                    met = True
        if not met:
            break
    return centres
