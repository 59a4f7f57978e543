"""mt-fetch join in a real shell."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from support import Shell


def test_join_in_a_pipe(sh: Shell, tmp_path: Path) -> None:
    """Labels would be lost in a pipe, a decision by all rows need a file, or the history lack it."""
    rows = [{"id": f"a/{n:03d}.mp3", "path": f"a/{n:03d}.mp3"} for n in range(300)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    genres = "".join(f"{n},{'rock' if n % 3 else 'jazz'}\n" for n in range(290))
    (tmp_path / "genres.csv").write_text("number,genre\n" + genres)
    (tmp_path / "map.csv").write_text("rock,Rock\njazz,Jazz\n")
    done = sh(
        "cat t.jsonl | mt-fetch join - <(cat genres.csv) --on id=number --key stem --missing drop"
        " | mt-fetch join - --relabel genre=map.csv --of genre --cap 20 -o o.parquet",
        ok=True,
    )
    said = done.stderr.decode()
    assert "290 of 300 rows found in" in said
    assert "genre: 250 rows dropped, beyond 20 tracks a class" in said
    table = pq.read_table(tmp_path / "o.parquet")
    ids = table["id"].to_pylist()
    assert ids == sorted(ids)
    expected = ["Rock" if int(id_[2:5]) % 3 else "Jazz" for id_ in ids]
    assert table["genre"].to_pylist() == expected
    assert expected.count("Rock") == expected.count("Jazz") == 20
    first, second = json.loads(table.schema.metadata[b"mt"])
    assert first["settings"]["key"] == "stem"
    assert second["command"] == "mt-fetch join"
    assert [file["name"] for file in second["inputs"]] == ["map.csv"]


def test_the_history_of_both_tables_is_kept(sh: Shell, tmp_path: Path) -> None:
    """Targets that were fitted on test rows would be clean once they are beside other columns."""
    tags = [["a", "b"][: 1 + n % 2] + ["c"] * (n % 3 == 0) for n in range(12)]
    rows = [{"id": f"t{n}", "split": "test" if n > 8 else "train", "tags": t}
            for n, t in enumerate(tags)]  # fmt: skip
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sh(
        "mt-factor plsa t.jsonl -k 2 --ignore-split --as s -o s.parquet && "
        "mt-fetch join t.jsonl s.parquet --on id --columns s -o o.parquet",
        ok=True,
    )
    done = sh("mt-eval check o.parquet")
    assert done.returncode == 4
    assert b"fitted-on-test" in done.stdout


def test_join_of_features_needs_no_memory(sh: Shell, tmp_path: Path) -> None:
    """A table of features larger than memory could not be given labels, or be capped."""
    size, group = 4_000, 1_000  # row groups of 16 MB
    field = pa.list_(pa.float32(), size)
    values = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(size * group, np.float32)), size)
    schema = pa.schema([("id", pa.string()), ("embedding", field)])
    for groups in (1, 12):
        with pq.ParquetWriter(tmp_path / f"{groups}.parquet", schema) as writer:
            for first in range(0, groups * group, group):
                ids = pa.array([f"t{first + row}" for row in range(group)])
                writer.write_table(pa.table([ids, values], schema=schema))
    genres = "".join(f"t{row},{row % 5}x\n" for row in range(12 * group))
    (tmp_path / "l.csv").write_text("id,g\n" + genres)
    measure = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    peaks = []
    for groups in (1, 12):
        done = sh(
            f"python3 -c '{measure}' mt-fetch join {groups}.parquet l.csv --on id --cap 2000 -q"
            " -o o.parquet",
            ok=True,
        )
        peaks.append(int(done.stdout) * (1 if sys.platform == "darwin" else 1024))
    assert pq.read_metadata(tmp_path / "o.parquet").num_rows == 10_000
    assert peaks[1] - peaks[0] < 64 << 20  # the features are 192 MB


def test_join_that_cannot_be(sh: Shell, tmp_path: Path) -> None:
    """A mistake would leave half a file, or say nothing of what to type."""
    (tmp_path / "t.jsonl").write_text('{"id": "a"}\n')
    (tmp_path / "l.csv").write_text("id,g\na,1\na,2\n")
    for line, said in {
        "t.jsonl l.csv --on id": "--collect g",
        "- - --on id": "not both",
    }.items():
        done = sh(f"mt-fetch join {line} -o o.parquet")
        assert done.returncode == 2, line
        (message,) = done.stderr.decode().splitlines()
        assert said in message
        assert not (tmp_path / "o.parquet").exists()
