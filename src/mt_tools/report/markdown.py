"""A report as Markdown, with its pictures in a folder beside it.

Conventions: tables as GitHub reads them; what Markdown or HTML would take for markup is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mt_tools.report.document import Cell, Number, Picture, Report, Section, Table, Words
from mt_tools.report.terminal import clean


def render(report: Report, folder: str) -> tuple[bytes, dict[str, bytes]]:
    """Return a report as the bytes of an .md file, and its pictures by name.

    `folder` is the path of the pictures as the file names it.
    """
    pictures: dict[str, bytes] = {}
    lines = [f"# {_text(report.title)}", ""]
    for section in report.sections:
        lines += _section(section, 2, folder, pictures)
    lines += ["---", "", _text(report.foot), ""]
    return "\n".join(lines).encode(), pictures


def _text(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|~&$@#])", r"\\\1", clean(text))


def _section(
    section: Section, level: int, folder: str, pictures: dict[str, bytes]
) -> Iterator[str]:  # fmt: skip
    yield from (f"{'#' * level} {_text(section.title)}", "")
    for part in section.parts:
        match part:
            case Words():
                yield (f"> **Warning:** {_text(part.text)}" if part.tone == "warning"
                       else _text(part.text))  # fmt: skip
                yield ""
            case Table():
                yield from _table(part)
            case Picture():
                name = f"{part.name}.svg"
                pictures[name] = part.svg
                yield from (f"![{_text(part.alt)}](<{_link(folder)}/{name}>)", "")
            case Section():
                yield from _section(part, min(level + 1, 6), folder, pictures)


def _link(path: str) -> str:
    return re.sub(r"([<>\\])", r"\\\1", clean(path))


def _table(table: Table) -> Iterator[str]:
    yield from (f"{_text(table.caption)}:", "")
    numeric = [
        bool(table.rows) and all(isinstance(row[column], Number) for row in table.rows)
        for column in range(len(table.heads))
    ]
    yield f"| {' | '.join(map(_text, table.heads))} |"
    yield f"|{'|'.join('---:' if right else '---' for right in numeric)}|"
    for row in table.rows:
        yield f"| {' | '.join(map(_cell, row))} |"
    yield ""


def _cell(cell: Cell) -> str:
    if isinstance(cell, Number):
        interval = f" ({cell.interval})" if cell.interval else ""
        return cell.text + interval
    return _text(cell)
