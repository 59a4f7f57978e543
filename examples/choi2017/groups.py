"""Put artists into a table of GTZAN: python groups.py TABLE.parquet INDEX OUT.parquet.

INDEX has a line a file, `blues.00000.wav ::: artist ::: title`, as Bob L. Sturm's index of GTZAN
has, or a comma instead of `:::`. Files without an artist are their own group. Without an index (an
empty word) the group is what mt-tools declares of GTZAN: repetitions of one recording.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mt_tools.datasets.registry import dataset


def artists(index: str) -> dict[str, str]:
    """Return the artist of each file, by the file's name without its ending."""
    found = {}
    for line in Path(index).read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, rest = line.partition(" ::: " if ":::" in line else ",")
        artist = rest.partition(":::" if ":::" in line else ",")[0].strip()
        if artist:
            found[name.strip().rpartition(".")[0]] = artist
    return found


def repetitions() -> dict[str, str]:
    """Return the name of the first file of each set of repeated ones, by file."""
    faults = dataset("gtzan").faults
    known = [f for f in faults if f.kind in ("repetition", "contradiction")]
    return {file: files[0] for fault in known for files in fault.files for file in files}


def main() -> None:
    """Write the table with its groups."""
    source, index, target = sys.argv[1:]
    table = pq.read_table(source)
    group = artists(index) if index else repetitions()
    column = pa.array([group.get(id_) for id_ in table["id"].to_pylist()], pa.string())
    pq.write_table(table.append_column("group", column), target)
    print(f"{table.num_rows} rows, {len(set(group.values()))} groups", file=sys.stderr)


if __name__ == "__main__":
    main()
