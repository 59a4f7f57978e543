"""A report as one HTML file, which needs nothing beside it: no script, no network, no other file.

Conventions: all text is escaped, and the page forbids scripts and addresses by its own content
security policy, should something slip through. Pictures are .svg images inside the file: what is in
an image cannot run. Light or dark as the reader's system is; printed on white. Headings, captions,
heads of columns and alternative texts are there for those who listen to the page.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from mt_tools.report.document import Cell, Number, Picture, Report, Section, Table, Words
from mt_tools.report.terminal import clean

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1b1b1b; --faint: #5a5a5a; --line: #d6d6d6;
  --bar: #9cc4e0; --mark: #00517f; --warn-back: #fff3e6; --warn: #8a3b00; --link: #00517f; }
@media (prefers-color-scheme: dark) { :root { --back: #16181b; --text: #e8e8e8; --faint: #ababab;
  --line: #3c4045; --bar: #2f5b78; --mark: #9fd3f5; --warn-back: #3a2611; --warn: #ffc48a;
  --link: #8fc8ef; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem; background: var(--back);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.8rem; margin: 0 0 1rem; } h2 { font-size: 1.35rem; margin: 2.5rem 0 .5rem;
  padding-top: .75rem; border-top: 1px solid var(--line); } h3 { font-size: 1.1rem;
  margin: 1.75rem 0 .25rem; } h4 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
a { color: var(--link); } p { margin: .5rem 0; max-width: 46rem; }
.note, footer { color: var(--faint); font-size: .9rem; }
.warning { background: var(--warn-back); color: var(--warn); border-left: .3rem solid;
  padding: .6rem .9rem; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--faint); padding-bottom: .25rem; }
th, td { text-align: left; vertical-align: top; padding: .2rem .9rem .2rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: normal; }
thead th { color: var(--faint); font-weight: 600; }
tbody th { font-weight: 400; max-width: 24rem; overflow-wrap: break-word; }
td.number, thead th.number { text-align: right; } td.number, td.wide { white-space: nowrap; }
.stacked .range { display: block; padding: 0; font-size: .8rem; }
.value { display: inline-block; min-width: 3.2rem; text-align: right; }
.range { display: inline-block; min-width: 7.2rem; color: var(--faint); padding-left: .6rem;
  text-align: left; }
.bar { display: inline-block; position: relative; width: 6rem; height: .8rem; margin-left: .6rem;
  border: 1px solid var(--line); vertical-align: -.1rem; }
.bar i, .bar b { position: absolute; top: 0; bottom: 0; }
.bar i { background: var(--bar); } .bar b { width: 2px; margin-left: -1px;
  background: var(--mark); }
.figures { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 1rem; margin: 1rem 0; }
figure { margin: 0; } figure img { max-width: 100%; height: auto; background: #fff; }
nav ol { margin: .25rem 0; padding-left: 1.5rem; }
@media print { :root { --back: #fff; --text: #000; --faint: #444; --line: #bbb; --bar: #ccc;
  --mark: #000; --warn-back: #fff; --warn: #000; --link: #000; } body { max-width: none;
  padding: 0; font-size: 10pt; } nav { display: none; } figure, tr, .warning {
  break-inside: avoid; } h2, h3, h4 { break-after: avoid; } .scroll { overflow: visible; } }
"""


def render(report: Report) -> bytes:
    """Return a report as the bytes of an .html file."""
    title = _text(report.title)
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>",
        "</head>",
        "<body>",
        f"<header><h1>{title}</h1></header>",
        '<nav aria-label="Contents">',
        *_contents(report.sections, ""),
        "</nav>",
        "<main>",
    ]
    for place, section in enumerate(report.sections, 1):
        lines += _section(section, 2, f"{place}")
    lines += ["</main>", f"<footer><p>{_text(report.foot)}</p></footer>", "</body>", "</html>", ""]
    return "\n".join(lines).encode()


def _text(text: str) -> str:
    return escape(clean(text))


def _contents(sections: Sequence[Section], before: str) -> Iterator[str]:
    yield "<ol>"
    for place, section in enumerate(sections, 1):
        number = f"{before}{place}"
        yield f'<li><a href="#s{number}">{_text(section.title)}</a>'
        inner = [part for part in section.parts if isinstance(part, Section)]
        if inner and not before:  # two levels are enough to find things
            yield from _contents(inner, f"{number}.")
        yield "</li>"
    yield "</ol>"


def _section(section: Section, level: int, number: str) -> Iterator[str]:
    yield f'<section aria-labelledby="s{number}">'
    yield f'<h{level} id="s{number}">{_text(section.title)}</h{level}>'
    place = 0
    for shown, parts in groupby(section.parts, lambda part: isinstance(part, Picture)):
        if shown:
            yield '<div class="figures">'
        for part in parts:
            match part:
                case Words():
                    tone = "" if part.tone == "plain" else f' class="{part.tone}"'
                    role = ' role="note"' if part.tone == "warning" else ""
                    yield f"<p{tone}{role}>{_text(part.text)}</p>"
                case Table():
                    yield from _table(part)
                case Picture():
                    yield _picture(part)
                case Section():
                    place += 1
                    yield from _section(part, min(level + 1, 6), f"{number}.{place}")
        if shown:
            yield "</div>"
    yield "</section>"


def _table(table: Table) -> Iterator[str]:
    columns = [[row[place] for row in table.rows] for place in range(len(table.heads))]
    numeric = [bool(cells) and all(isinstance(c, Number) for c in cells) for cells in columns]
    # What one number of a column has, all make room for, so that they stand below each other.
    ranges, bars = (
        [any(isinstance(cell, Number) and has(cell) for cell in cells) for cells in columns]
        for has in (lambda number: bool(number.interval), lambda number: number.bar)
    )
    yield '<div class="scroll" tabindex="0">'
    # Beside each other, more intervals than three would not fit on a page.
    yield f"<table{' class=stacked' * (sum(ranges) > 3)}><caption>{_text(table.caption)}</caption>"
    heads = [
        f'<th scope="col"{" class=number" * (right and not wide)}>{_text(head)}</th>'
        for head, right, wide in zip(table.heads, numeric, ranges, strict=True)
    ]
    yield f"<thead><tr>{''.join(heads)}</tr></thead>"
    yield "<tbody>"
    for row in table.rows:
        cells = [_cell(cell, wide, bar) for cell, wide, bar in zip(row, ranges, bars, strict=True)]
        yield f'<tr><th scope="row">{_plain(row[0])}</th>{"".join(cells[1:])}</tr>'
    yield "</tbody></table></div>"


def _plain(cell: Cell) -> str:
    return _text(cell.text if isinstance(cell, Number) else cell)


def _cell(cell: Cell, wide: bool, bar: bool) -> str:
    """Return a cell of a column that has intervals (`wide`) and bars."""
    if not isinstance(cell, Number):
        return f"<td>{_text(cell)}</td>"
    parts = [f'<span class="value">{_text(cell.text)}</span>' if wide else _text(cell.text)]
    if wide:
        parts.append(f'<span class="range">{_text(cell.interval)}</span>')
    if bar and cell.bar and cell.value is not None:
        low = cell.value if cell.low is None else cell.low
        high = cell.value if cell.high is None else cell.high
        ends = f"left:{low:.1%};width:{max(0.0, high - low):.1%}"
        parts.append(
            f'<span class="bar" aria-hidden="true"><i style="{ends}"></i>'
            f'<b style="left:{cell.value:.1%}"></b></span>'
        )
    return f'<td class="{"wide" if wide else "number"}">{"".join(parts)}</td>'


def _picture(picture: Picture) -> str:
    # In points, as matplotlib writes it; a page counts in pixels, 96 an inch.
    sides = [re.search(rb' %s="([\d.]+)pt"' % side, picture.svg) for side in (b"width", b"height")]
    shape = "".join(
        f' {name}="{round(float(side[1]) * 96 / 72)}"'
        for name, side in zip(("width", "height"), sides, strict=True)
        if side
    )
    data = base64.b64encode(picture.svg).decode()
    return (
        f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{_text(picture.alt)}"{shape}>'
        "</figure>"
    )
