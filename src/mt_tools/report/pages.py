"""Writing a report where it was asked for: one .html file, or .md with its pictures beside it."""

from __future__ import annotations

import os

from mt_tools.errors import RunError
from mt_tools.report import html, markdown
from mt_tools.report.document import Report
from mt_tools.report.style import check_ending
from mt_tools.tables.atomic import atomic

ENDINGS = (".html", ".md")


def check_page(path: str) -> str:
    """Return the ending of a report, which says what it is; raises `UsageError` for another."""
    return check_ending(path, ENDINGS)


def write_page(report: Report, path: str) -> None:
    """Write a report; the pictures of `report.md` go to the folder `report.files` beside it.

    Raises `UsageError` for another ending and `RunError` where it cannot be written.
    """
    if check_page(path) == ".html":
        with atomic(path) as file:
            file.write(html.render(report))
        return
    folder = os.path.splitext(path)[0] + ".files"
    text, pictures = markdown.render(report, os.path.basename(folder))
    if pictures:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the folder {folder}: {error.strerror}") from error
    for name, picture in pictures.items():
        with atomic(os.path.join(folder, name)) as file:
            file.write(picture)
    with atomic(path) as file:  # last: what it names is there
        file.write(text)
