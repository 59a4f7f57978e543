"""Bad input met by the real commands in a real shell: a clear line, the right code, no loss."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

Done = subprocess.CompletedProcess
Shell = Callable[..., Done[bytes]]

RATE = 22050
BAD = {  # what stands in --errors as the kind of each bad file
    "empty.wav": "empty",
    "zero-length.wav": "empty",
    "truncated.wav": "truncated",
    "truncated.ogg": "truncated",
    "text.mp3": "not-audio",
    "broken link.wav": "missing",
    "loop.wav": "missing",
    "pipe.wav": "unreadable",
    "bad\nname.wav": "empty",
}
LATIN = "file:latin%20%E9.wav"  # how a name that is not UTF-8 stands in a table


def noise(folder: Path, name: str | bytes, rate: int = RATE, channels: int = 1) -> None:
    """Write a second and a half of noise, the same for the same shape."""
    raw = name if isinstance(name, bytes) else name.encode()
    wave = np.random.default_rng(0).normal(size=(rate * 3 // 2, channels)) * 0.1
    soundfile.write(os.path.join(os.fsencode(folder), raw), wave, rate)


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are unusual and all right."""
    folder = tmp_path_factory.mktemp("good")
    noise(folder, "mono.wav")
    noise(folder, "stereo.flac", 44100, 2)
    noise(folder, "eight channels.wav", 48000, 8)
    noise(folder, "8k.wav", 8000)
    noise(folder, "192k.wav", 192000, 2)
    noise(folder, 'it\'s "quoted" $HOME.wav')
    noise(folder, "new\nline.wav")
    noise(folder, b"latin \xe9.wav")
    return folder


@pytest.fixture(scope="session")
def torture(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The good files among bad ones of every sort."""
    folder = tmp_path_factory.mktemp("torture")
    for name in os.listdir(os.fsencode(good)):
        os.link(os.path.join(os.fsencode(good), name), os.path.join(os.fsencode(folder), name))
    (folder / "empty.wav").write_bytes(b"")
    (folder / "bad\nname.wav").write_bytes(b"")
    soundfile.write(folder / "zero-length.wav", np.zeros((0, 1)), RATE)
    (folder / "truncated.wav").write_bytes((good / "mono.wav").read_bytes()[:20000])
    noise(folder, "whole.ogg")
    (folder / "truncated.ogg").write_bytes((folder / "whole.ogg").read_bytes()[:-2000])
    (folder / "whole.ogg").unlink()
    (folder / "text.mp3").write_text("not audio\n" * 100)
    (folder / "broken link.wav").symlink_to("nowhere")
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "loop of folders").symlink_to(".")
    os.mkfifo(folder / "pipe.wav")
    return folder


@pytest.fixture(scope="session")
def model(corpus: Path, tmp_path_factory: pytest.TempPathFactory, bin_folder: Path) -> Path:
    """A small trained model that tags sound."""
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    line = (
        f"mt-embed {corpus}/tracks.parquet --model mfcc-stats -j 0 | "
        f"mt-train --task style --task instruments --epochs 5 -o {path}"
    )
    environment = os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-o", "pipefail", "-c", line], check=True, env=environment)
    return path


def errors(path: Path) -> dict[str, tuple[str, str]]:
    """Return the table of failed rows as id -> (kind, message)."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: (row["kind"], row["message"]) for row in rows}


def told(done: Done[bytes]) -> list[str]:
    """Return the lines on stderr; a traceback is no line for people."""
    text = done.stderr.decode()
    assert "Traceback" not in text, text
    assert "this is a defect" not in text, text
    return text.splitlines()


def one_line(done: Done[bytes], code: int, *words: str) -> str:
    """Check that a run ended with a code and one line that has these words; return the line."""
    lines = told(done)
    assert done.returncode == code, (done.returncode, lines)
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


COMMANDS = {
    "folder": "mt-fetch folder {}",
    "spec": "mt-spec {} --first 1 --bands 24",
    "embed": "mt-embed {} --model mfcc-stats",
    "tag": "mt-tag {} --model {model}",
    "augment": "mt-augment {} --pitch 1 --no-originals --render copies",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_bad_files_cost_a_line_each_and_good_ones_nothing(
    sh: Shell, tmp_path: Path, torture: Path, good: Path, model: Path, command: str
) -> None:
    """Nine bad files: nine lines, nine error rows, exit 3, and every good row as without them."""
    line = COMMANDS[command].format("{}", model=model)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    done = sh(f"{line.format(torture)} -j 1 -o t.parquet --errors e.csv", cwd=tmp_path / "a")
    lines = told(done)
    assert done.returncode == 3
    failed = errors(tmp_path / "a" / "e.csv")
    suffix = "#pitch=+1" if command == "augment" else ""
    assert {id_: kind for id_, (kind, _) in failed.items()} == {
        f"{name}{suffix}": kind for name, kind in BAD.items()
    }
    name = "mt-fetch folder" if command == "folder" else f"mt-{command}"
    assert lines[-1] == f"{name}: 9 of 17 rows failed"
    for id_, (_, message) in failed.items():
        shown = id_.replace("\n", "\\n")
        assert f"{name}: {shown}: {message}" in lines
    assert len(lines) == 10

    alone = sh(f"{line.format(good)} -j 0 -o t.parquet", ok=True, cwd=tmp_path / "b")
    assert not told(alone)
    tables = [pq.read_table(tmp_path / n / "t.parquet").drop_columns(["path"]) for n in "ab"]
    if command == "folder":  # without tags the folder is the group
        tables = [table.drop_columns(["group"]) for table in tables]
    assert len(tables[0]) == 8
    assert tables[0].to_pylist() == tables[1].to_pylist()
    if command == "augment":
        copies = [sorted(os.listdir(tmp_path / n / "copies")) for n in "ab"]
        assert copies[0] == copies[1]
        assert len(copies[0]) == 8
    elif command == "folder":
        assert {"mono.wav", LATIN, "new\nline.wav"} < {*tables[0]["id"].to_pylist()}


def test_a_list_of_names_survives_the_shell(sh: Shell, good: Path, tmp_path: Path) -> None:
    """find -print0 hands over every name: quotes, newlines, bytes that are not UTF-8."""
    sh(f"find {good} -type f -print0 | mt-fetch folder -0 - -j 0 -o t.parquet", ok=True)
    paths = pq.read_table(tmp_path / "t.parquet")["path"].to_pylist()
    assert sorted(paths) == sorted(
        f"file://{good}/latin%20%E9.wav" if name.startswith(b"latin") else f"{good}/{name.decode()}"
        for name in os.listdir(os.fsencode(good))
    )
    sh("mt-spec t.parquet --first 1 -j 0 -o m.parquet", ok=True)
    assert len(pq.read_table(tmp_path / "m.parquet")) == 8


def test_an_unreadable_file_is_one_row(sh: Shell, tmp_path: Path) -> None:
    """A file that may not be read fails alone; so does a folder that may not be entered."""
    if os.geteuid() == 0:
        pytest.skip("root may read every file; `pipe.wav` above is a file that cannot be read")
    noise(tmp_path, "open.wav")
    noise(tmp_path, "closed.wav")
    (tmp_path / "closed.wav").chmod(0)
    (tmp_path / "locked").mkdir(mode=0)
    done = sh("mt-fetch folder . -o t.parquet --errors e.csv")
    assert done.returncode == 3
    assert {kind for kind, _ in errors(tmp_path / "e.csv").values()} == {"unreadable"}
    assert pq.read_table(tmp_path / "t.parquet")["id"].to_pylist() == ["open.wav"]


def test_tolerance_and_strictness(sh: Shell, torture: Path, tmp_path: Path) -> None:
    """--max-errors makes nine of seventeen a success that is still told; --strict keeps nothing."""
    fetch = f"mt-fetch folder {torture} -j 1 -o t.parquet"
    done = sh(f"{fetch} --max-errors 9")
    assert done.returncode == 0
    assert len(told(done)) == 10
    assert sh(f"{fetch} --max-errors 50%").returncode == 3
    before = (tmp_path / "t.parquet").read_bytes()
    done = sh(f"{fetch} --strict")
    assert done.returncode == 1
    assert "stopped at the first failed row" in told(done)[-1]
    assert (tmp_path / "t.parquet").read_bytes() == before


def test_failed_rows_are_known_to_the_end_of_the_pipe(
    sh: Shell, torture: Path, model: Path, tmp_path: Path
) -> None:
    """Rows that fail in the first command make the last one exit 3 too."""
    done = sh(f"mt-fetch folder {torture} -q -j 1 | mt-tag --model {model} -j 0 -o t.jsonl")
    assert done.returncode == 3
    assert len((tmp_path / "t.jsonl").read_text().splitlines()) == 8


def test_folders_without_audio_and_empty_lists(sh: Shell, tmp_path: Path) -> None:
    """Nothing to do is exit 5 with a line, from a folder, an empty pipe or an empty table."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "readme.txt").write_text("hello")
    one_line(sh("mt-fetch folder docs"), 5, "no audio below docs")
    one_line(sh("mt-fetch folder -0 - </dev/null"), 5, "stdin was empty")
    pq.write_table(pa.table({"id": pa.array([], pa.string()), "path": pa.array([], pa.string())}),
                   tmp_path / "empty.parquet")  # fmt: skip
    for line in (
        "mt-embed empty.parquet -m mfcc-stats -j 0 -o o.parquet", "mt-fetch split empty.parquet",
    ):  # fmt: skip
        one_line(sh(f"{line} >/dev/null"), 5, "no rows")
    assert not (tmp_path / "o.parquet").exists()


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """A table of embeddings with labels good and bad, in the working folder."""
    rng = np.random.default_rng(0)
    flat = pa.array(rng.normal(size=240).astype(np.float32))
    columns: dict[str, Any] = {
        "id": [f"t{i}" for i in range(60)],
        "group": [f"a{i // 4}" for i in range(60)],
        "embedding": pa.FixedSizeListArray.from_arrays(flat, 4),
        "style": ["a", "b", "c"] * 20,
        "same": ["a"] * 60,
        "nothing": pa.array([None] * 60, pa.string()),
        "level": list(range(60)),
        "tags": [["x"], []] * 30,
    }
    path = tmp_path / "v.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mt-spec v.parquet -j 0 -o o.parquet", ["no column 'path'", "id, group, embedding"]),
        ("mt-train v.parquet --task same -o o.safetensors", ["one class", "'a'"]),
        ("mt-train v.parquet --task style", ["-o (missing)", "mine.safetensors"]),
        ("mt-train v.parquet --task style -o no/such/o.safetensors", ["folder does not exist"]),
        ("mt-eval probe v.parquet --task genre", ["no such column"]),
        ("mt-eval score v.parquet", ["nothing to score"]),
        ("mt-tag v.parquet --model crnn-mds", ["did you mean crnn-msd"]),
        ("mt-embed v.parquet -m mfcc-stats -j 0 -o o.parquet", ["'embedding'", "--as NAME"]),
        ("mt-spec nowhere.parquet", ["no such file or folder"]),
        ("mt-spec v.parquet --hop 0", ["--hop"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_exit_2_and_one_line(
    sh: Shell, vectors: Path, line: str, words: list[str]
) -> None:
    """A mistake is one line that names it, exit 2, and an output of the same name survives."""
    for name in ("o.parquet", "o.safetensors"):
        (vectors.parent / name).write_text("precious")
    one_line(sh(f"{line} | cat; exit ${{PIPESTATUS[0]}}"), 2, *words)
    for name in ("o.parquet", "o.safetensors"):
        assert (vectors.parent / name).read_text() == "precious"


def test_features_that_do_not_fit_are_spelled_out(sh: Shell, corpus: Path, tmp_path: Path) -> None:
    """Features of other settings are refused before a network sees them, each difference named."""
    sh(f"mt-spec {corpus}/data --kind mfcc --hop 256 --first 1 -j 0 -o m.parquet", ok=True)
    (tmp_path / "e.parquet").write_text("precious")
    done = sh("mt-embed m.parquet --model random -o e.parquet")
    one_line(done, 2, "does not fit random", "kind: got 'mfcc', expected 'mel'", "n_fft: got 2048")
    assert (tmp_path / "e.parquet").read_text() == "precious"


def test_files_cut_short_are_told_as_such(
    sh: Shell, corpus: Path, model: Path, tmp_path: Path
) -> None:
    """Half a model, Parquet, Arrow file or NPZ: exit 1, one line, nothing written."""
    split = f"mt-fetch split {corpus}/tracks.parquet -q -o"
    sh(f"{split} e.parquet && {split} e.arrow && {split} e.npz", ok=True)
    for name in ("e.parquet", "e.arrow", "e.npz", model):
        raw = (tmp_path / name).read_bytes()
        cut = tmp_path / f"cut{Path(name).suffix}"
        (tmp_path / "o.parquet").write_text("precious")
        cut.write_bytes(raw[: len(raw) // 2])
        if cut.suffix == ".safetensors":
            done = sh(f"mt-tag {corpus}/data -m {cut} -o o.parquet")
        else:
            done = sh(f"mt-fetch split {cut} --replace -q -o o.parquet")
        one_line(done, 1, cut.name)
        assert (tmp_path / "o.parquet").read_text() == "precious"
    one_line(sh("mt-fetch split --replace -q -o o.parquet < cut.arrow"), 1, "stdin")
    assert (tmp_path / "o.parquet").read_text() == "precious"


def test_a_reader_that_leaves_early_is_no_error(sh: Shell, corpus: Path, model: Path) -> None:
    """`| head -1` ends a run at once, by SIGPIPE and without a word."""
    line = f"mt-tag {corpus}/data -m {model} -j 0 --batch-size 2 | head -1"
    done = sh(f"{line}; echo ${{PIPESTATUS[0]}}")
    first, code = done.stdout.decode().splitlines()
    assert json.loads(first)["id"] == "synth-0001.flac"
    assert code == "141"
    assert not done.stderr


def test_a_full_disk_loses_nothing(
    sh: Shell, corpus: Path, small_disk: Path, model: Path, tmp_path: Path
) -> None:
    """No space left: exit 1, one line, the old file still there, no temporary file beside it."""
    spec = f"mt-spec {corpus}/data --first 3 --bands 128 --hop 64 -j 0"
    for name in ("o.parquet", "o.npz"):
        (small_disk / name).write_text("precious")
        done = sh(f"{spec} -o {small_disk}/{name}")
        one_line(done, 1, "No space left on device")
        assert (small_disk / name).read_text() == "precious"
        assert [p.name for p in small_disk.iterdir()] == [name]
        (small_disk / name).unlink()
    one_line(sh(f"{spec} > {small_disk}/s.parquet"), 1, "No space left on device")
    (small_disk / "s.parquet").unlink()
    synth = "mt-fetch synth --tracks 12 --seconds 4 --audio-format wav"
    done = sh(f"{synth} --out {small_disk}/d -j 1")
    one_line(done, 1, "cannot write", "No space left on device")
    assert not [p for p in (small_disk / "d").iterdir() if p.name.startswith(".")]


def test_a_full_disk_while_rendering_and_training(
    sh: Shell, corpus: Path, small_disk: Path, vectors: Path
) -> None:
    """A model or a rendered copy that does not fit is one line, and no half file."""
    augment = f"mt-augment {corpus}/data --pitch 1,2,3"
    done = sh(f"{augment} --render {small_disk}/c -j 1 -o {vectors.parent}/x.csv")
    one_line(done, 1, "cannot write", "No space left on device")
    for path in (small_disk / "c").iterdir():
        path.unlink()
    (small_disk / "m.safetensors").write_text("precious")
    big = "mt-train v.parquet --task style --param hidden=900,900 --epochs 1 -q"
    done = sh(f"{big} -o {small_disk}/m.safetensors")
    one_line(done, 1, "No space left on device")
    assert (small_disk / "m.safetensors").read_text() == "precious"
    assert [p.name for p in small_disk.iterdir() if p.is_file()] == ["m.safetensors"]
