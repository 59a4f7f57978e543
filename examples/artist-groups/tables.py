"""Tables 4 and 5 of the AGF study, from what mt-eval score says of each run.

    python3 tables.py SCORE.csv ... --design runs.csv --counts split.csv -o agf.csv
    python3 tables.py agf.csv --best -o best.csv

The first has a row a run (Table 4). A score is called after its run; what the design lacks is a
control, wSTN_N. The last row is the constant predictor: the shares of the genres in train, which
split.csv (mt-fetch split --report) counts, and the genre that is most frequent there.

The second (Table 5) has the best of each number of targets beside the control of as many weights.
The best is chosen among several on the values that are reported, so it looks better than it is; the
control is one network.
"""

import argparse
import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

METRICS = {"log_loss": min, "f1_macro": max}
SHOWN = [name + end for name in METRICS for end in ("", "_low", "_high")]


def read(path: str) -> list[Row]:
    """Return the rows of a CSV file."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write a table that appears whole or not at all."""
    with open(f"{path}.part", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    os.replace(f"{path}.part", path)


def scores(path: str) -> Row:
    """Return the two metrics of a run, their intervals, and what is said of leaks."""
    found = {row["metric"]: row for row in read(path) if not row["label"]}
    row = {"n": found["log_loss"]["n"], "leak": found["log_loss"]["leak"]}
    for metric in METRICS:
        for column, cell in (("", "value"), ("_low", "low"), ("_high", "high")):
            row[metric + column] = found[metric][cell]
    return row


def constant(path: str) -> Row:
    """Return the metrics, on the test rows, of a predictor that has seen labels alone.

    Its loss is infinite where a genre of the test rows is in no train row.
    """
    rows = [row for row in read(path) if row["column"] == "g"]
    train, test = (
        {row["label"]: int(row["rows"]) for row in rows if row["split"] == part}
        for part in ("train", "test")
    )
    n, seen = sum(test.values()), sum(train.values())
    shares = {label: train.get(label, 0) / seen for label, count in test.items() if count}
    told = [test[label] * (math.log(p) if p else -math.inf) for label, p in shares.items()]
    hits = test.get(max(train, key=train.get), 0)
    there = sum(1 for count in test.values() if count)
    return {"log_loss": -sum(told) / n, "f1_macro": 2 * hits / (n + hits) / there, "n": n}


def runs(design: str, counts: str, paths: Sequence[str]) -> tuple[list[str], list[Row]]:
    """Return the columns and rows of Table 4."""
    known = {row["run"]: row for row in read(design)}
    rows = []
    for path in paths:
        run = Path(path).stem
        if run in known:
            targets = known[run]["sources"].split("|")
            made = {"strategy": known[run]["strategy"], "number": len(targets)}
        else:
            targets = ["g"]
            made = {"strategy": "wSTN", "number": int(run.removeprefix("wSTN_"))}
        rows.append({"run": run, "targets": "+".join(targets), **made, **scores(path)})
    rows.append({"run": "constant", **constant(counts)})
    return ["run", "targets", "strategy", "number", *SHOWN, "n", "leak"], rows


def best(table: str) -> tuple[list[str], list[Row]]:
    """Return the columns and rows of Table 5."""
    rows = [row for row in read(table) if row["strategy"]]
    lines = []
    for number in sorted({row["number"] for row in rows if row["strategy"] == "wSTN"}):
        for metric, better in METRICS.items():
            line = {"number": number, "metric": metric}
            for strategy in ("wSTN", "STN", "MTN"):
                own = [r for r in rows if (r["number"], r["strategy"]) == (number, strategy)]
                chosen = better(own, key=lambda row: float(row[metric]))
                line |= {strategy: chosen[metric], f"{strategy}_run": chosen["run"]}
            lines.append(line)
    return ["number", "metric", "wSTN", "STN", "MTN", "STN_run", "MTN_run", "wSTN_run"], lines


def main() -> None:
    """Write one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--design")
    parser.add_argument("--counts")
    parser.add_argument("--best", action="store_true")
    parser.add_argument("-o", dest="output", required=True)
    asked = parser.parse_args()
    if asked.best:
        columns, rows = best(*asked.tables)
    else:
        columns, rows = runs(asked.design, asked.counts, asked.tables)
    write(asked.output, columns, rows)


if __name__ == "__main__":
    main()
