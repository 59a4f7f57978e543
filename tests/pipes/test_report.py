"""mt-eval report and plot as typed, and the report in a real browser without a network."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from support import Shell

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--window-size=1100,3000",
)  # fmt: skip
HOSTILE = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Predictions whose labels try to run in a browser, as JSON lines."""
    rng = np.random.default_rng(0)
    names = ["jazz", HOSTILE, "日本"]
    rows = []
    for place in range(45):
        truth = names[place % 3]
        scores = rng.random(3) + 1.2 * (np.arange(3) == place % 3)
        scores /= scores.sum()
        rows.append({
            "id": f"t{place}", "group": f"g{place // 3}", "style": truth,
            "style_pred": names[int(scores.argmax())],
            "energy": float(place), "energy_pred": place + rng.normal(),
            "style_score": dict(zip(names, scores.tolist(), strict=True)),
        })  # fmt: skip
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def browser(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Open a page in a headless browser with a profile of its own; skips where there is none."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: install Debian's chromium (looked for {', '.join(BROWSERS)})")

    def opened(page: Path, *flags: str) -> subprocess.CompletedProcess[bytes]:
        profile = tmp_path / f"profile-{len(list(tmp_path.glob('profile-*')))}"
        line = [program, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
        return subprocess.run(line, capture_output=True, timeout=120, check=True)

    return opened


def test_the_report_in_a_browser(
    sh: Shell,
    table: Path,
    tmp_path: Path,
    browser: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:
    """Pictures would be broken, a label would run, or the page would ask the network."""
    sh("mt-eval report p.jsonl --borders 15,30 --title 'A night' -o report.html", ok=True)
    page = tmp_path / "report.html"
    text = page.read_text()

    # A copy reports on itself: its own policy forbids scripts, so the copy goes without it.
    looking = (
        "<script>window.onload = () => { const out = {title: document.title, "
        "images: [...document.images].map(i => [i.complete, i.naturalWidth, i.naturalHeight, "
        "i.getBoundingClientRect().width, i.alt]), fetched: performance.getEntriesByType("
        "'resource').map(e => e.name).filter(n => !n.startsWith('data:')), wide: "
        "document.documentElement.scrollWidth}; const p = document.createElement('pre'); "
        "p.id = 'found'; p.textContent = JSON.stringify(out); document.body.append(p); };</script>"
    )
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    copy = tmp_path / "copy.html"
    copy.write_text(bare.replace("</head>", f"{looking}</head>"))
    dom = browser(copy, "--dump-dom", "--virtual-time-budget=5000").stdout.decode()
    found = json.loads(_unescaped(re.findall(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)[0]))
    assert found["title"] == "A night"  # also without the policy nothing has run
    assert len(found["images"]) == 6
    for complete, width, height, shown, alt in found["images"]:
        assert complete
        assert width > 200
        assert height > 100
        assert 200 < shown <= 1100
        assert alt
    assert found["fetched"] == []
    assert found["wide"] <= 1100  # no sideways scrolling but inside tables

    for scheme, back in (("1", 255), ("0", 60)):  # light and dark
        shot = tmp_path / f"{scheme}.png"
        browser(page, f"--screenshot={shot}", f"--blink-settings=preferredColorScheme={scheme}")
        pixels = (imread(shot)[..., :3] * 255).astype(int)
        corner = pixels[5, 5]
        assert (corner == 255).all() if back == 255 else (corner < back).all()
        assert _coloured(pixels, (0, 114, 178)) > 100  # the blue of the curves is there


def _unescaped(text: str) -> str:
    return (
        text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
    )


def _coloured(pixels: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Count the pixels of nearly this colour."""
    return int((np.abs(pixels - np.array(colour)).max(axis=-1) < 12).sum())


def test_no_address_is_asked_for(
    sh: Shell,
    table: Path,
    tmp_path: Path,
    browser: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:
    """A report that is opened would tell a server so: here the server is the only proxy."""
    sh("mt-eval report p.jsonl -o report.html", ok=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked: list[bytes] = []
        server.settimeout(0.2)
        stop = threading.Event()

        def listen() -> None:
            while not stop.is_set():
                try:
                    caller, _ = server.accept()
                except TimeoutError:
                    continue
                with caller:
                    caller.settimeout(2)
                    asked.append(caller.recv(500))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            proxy = f"--proxy-server=127.0.0.1:{server.getsockname()[1]}"
            shot = tmp_path / "shot.png"
            own = tmp_path / "own.html"  # which does ask: the proxy would be seen to be asked
            own.write_text("<img src='http://example.org/x.png'>")
            browser(own, proxy, f"--screenshot={shot}")
            control = [request for request in asked if b"example.org" in request]
            asked.clear()
            browser(tmp_path / "report.html", proxy, f"--screenshot={shot}")
        finally:
            stop.set()
            thread.join()
    assert control
    hosts = {line.split()[1].split(b":")[0] for line in asked if len(line.split()) > 1}
    # What the browser asks for itself is not the page's doing.
    assert not [host for host in hosts if not host.endswith((b"google.com", b"googleapis.com",
                                                             b"gvt1.com", b"http"))], asked  # fmt: skip


def test_plot_and_report_as_typed(sh: Shell, table: Path, tmp_path: Path) -> None:
    """The commands of the help: from a pipe too, whole files, one line where they cannot."""
    sh("mt-eval plot p.jsonl --kind roc --task style -o roc.svg", ok=True)
    assert "AUC" in (tmp_path / "roc.svg").read_text()
    sh("cat p.jsonl | mt-eval plot -t energy --borders 15,30 -o e.png", ok=True)
    assert (tmp_path / "e.png").read_bytes().startswith(b"\x89PNG")
    sh("mt-eval score p.jsonl -o s.json && mt-eval report s.json -o r.md", ok=True)
    named = re.findall(r"\(<(r\.files/[^>]+)>\)", (tmp_path / "r.md").read_text())
    assert named
    assert all((tmp_path / name).is_file() for name in named)
    for line, said in (
        ("mt-eval plot p.jsonl", "-o (missing): name the picture, such as -o curves.svg"),
        ("mt-eval report p.jsonl -o r.doc", "expected one of .html .md"),
    ):
        done = sh(line)
        (message,) = done.stderr.decode().splitlines()
        assert done.returncode == 2
        assert said in message
    assert not (tmp_path / "r.doc").exists()
