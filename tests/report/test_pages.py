"""Reports as HTML and Markdown: everything arrives, nothing runs, nothing is fetched."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mt_tools.errors import RunError, UsageError
from mt_tools.report import html, markdown
from mt_tools.report.document import Number, Picture, Report, Section, Table, Words, digits
from mt_tools.report.pages import write_page

HOSTILE = (
    "<script>alert(1)</script> & \"quoted\" 'too' | pipe_under*star* `code` [x](http://evil/)\x1b"
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="36pt"></svg>'

REPORT = Report(
    HOSTILE,
    [
        Section(
            HOSTILE,
            [
                Words(HOSTILE, "warning"),
                Table(HOSTILE, ["name", HOSTILE, "n"], [
                    [HOSTILE, Number(0.5, 0.25, 0.75, True), Number(1234)],
                    ["plain", Number(None), Number(7)],
                ]),
                Picture("one", SVG, HOSTILE),
                Section("inner", [Words("deep"), Picture("two", SVG, "second")]),
            ],
        ),
        Section("last"),
    ],
    HOSTILE,
)  # fmt: skip


class _Page(HTMLParser):
    """Collects the tags and attributes of a page; fails on tags that are not closed in order."""

    VOID = ("meta", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the beginning of an element."""
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Take its end."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Take text."""
        self.words += data


@pytest.fixture
def page() -> _Page:
    """The report as HTML, parsed."""
    parsed = _Page()
    parsed.feed(html.render(REPORT).decode())
    assert not parsed._open
    return parsed


def test_names_cannot_run(page: _Page) -> None:
    """A track called `<script>` would run in the browser of whoever reads the report."""
    assert {tag for tag, _ in page.tags} <= {
        "html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section",
        "footer", "h1", "h2", "h3", "ol", "li", "a", "p", "div", "table", "caption", "thead",
        "tbody", "tr", "th", "td", "span", "i", "b", "figure", "img",
    }  # fmt: skip
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.words.count("<script>alert(1)</script>") >= 6  # as text it is all there
    assert "\x1b" not in page.words


def test_nothing_is_fetched(page: _Page) -> None:
    """The page would be empty on a train, or tell a server who reads it."""
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/svg+xml;base64,"))
    policies = [a["content"] for _, a in page.tags
                if a.get("http-equiv") == "Content-Security-Policy"]  # fmt: skip
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert "url(" not in html.render(REPORT).decode()
    assert "@import" not in html.render(REPORT).decode()


def test_pictures_are_inside_and_described(page: _Page) -> None:
    """Who sends the file alone would send it without its figures; who listens would miss them."""
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 2
    for image in images:
        data = (image["src"] or "").partition(",")[2]
        assert base64.b64decode(data) == SVG
        assert image["alt"]
        assert (image["width"], image["height"]) == ("96", "48")  # points to pixels


def test_contents_lead_to_headings(page: _Page) -> None:
    """A link of the contents would lead nowhere."""
    links = {a["href"] for tag, a in page.tags if tag == "a"}
    ids = {f"#{a['id']}" for tag, a in page.tags if tag in ("h2", "h3") and "id" in a}
    assert links == ids
    assert len(links) == 3


def test_tables_can_be_listened_to(page: _Page) -> None:
    """A screen reader would read numbers without what they are of."""
    scopes = [a.get("scope") for tag, a in page.tags if tag == "th"]
    assert scopes.count("col") == 3
    assert scopes.count("row") == 2
    assert "0.250 to 0.750" in page.words
    assert "1,234" in page.words


def test_markdown_is_text_and_tables() -> None:
    """A pipe or an underscore in a name would break the table or the words."""
    text, pictures = markdown.render(REPORT, "r.files")
    lines = text.decode().splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) == 4
    for line in tables:
        assert len(re.findall(r"(?<!\\)\|", line)) == 4
    assert "<script>" not in text.decode()
    assert "\\<script\\>" in text.decode()
    assert "0.500 (0.250 to 0.750)" in text.decode()
    assert pictures == {"one.svg": SVG, "two.svg": SVG}
    assert any(line.endswith("(<r.files/one.svg>)") for line in lines)
    assert any(line.startswith("> **Warning:**") for line in lines)


def test_pages_are_written_whole(tmp_path: Path) -> None:
    """A report would lack its pictures, or be found half written."""
    write_page(REPORT, str(tmp_path / "r.html"))
    assert (tmp_path / "r.html").read_bytes() == html.render(REPORT)
    write_page(REPORT, str(tmp_path / "r.md"))
    named = re.findall(r"\(<(r\.files/[^>]+)>\)", (tmp_path / "r.md").read_text())
    assert named == ["r.files/one.svg", "r.files/two.svg"]
    assert all((tmp_path / name).read_bytes() == SVG for name in named)
    assert not list(tmp_path.glob("**/.mt-*"))
    with pytest.raises(UsageError, match=r"expected one of \.html \.md"):
        write_page(REPORT, str(tmp_path / "r.docx"))
    (tmp_path / "s.files").write_text("a file in the way")
    with pytest.raises(RunError, match=r"cannot make the folder .*s\.files"):
        write_page(REPORT, str(tmp_path / "s.md"))


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.5, "0.500"), (12, "12"), (12345, "12,345"), (None, "–"), (float("nan"), "–"),
     (0.001234, "0.0012"), (123.456, "123.5"), (0.0, "0.000")],
)  # fmt: skip
def test_digits(value: float | None, said: str) -> None:
    """Counts are whole, metrics have equal digits, and what is undefined is no zero."""
    assert digits(value) == said
