"""What is wrong with a table, and between it and a model; a row a finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from mt_tools.evaluate.leaks import Finding, check
from mt_tools.stages.judging import table_of
from mt_tools.tables.batch import Batch
from mt_tools.tables.columns import Column

if TYPE_CHECKING:  # it loads torch, which checking without a model does not need
    from mt_tools.nets.model import Model

FINDING_COLUMNS = [
    Column("id", "string", "reserved"),
    Column("kind", "string"),
    Column("count", "integer"),
    Column("message", "string"),
    Column("offenders", "strings"),
]


def checked(
    batches: Iterable[Batch], columns: dict[str, Column], model: Model | None
) -> list[Finding]:
    """Return what is wrong with a table, and between it and a model."""
    vectors = [c.name for c in columns.values() if c.kind == "vector" and c.role == "embedding"]
    labels = [
        c.name for c in columns.values() if c.role == "label" and c.kind in ("string", "strings")
    ]
    table = table_of(
        batches, ["id", "origin", "group", "split", "fold", "recipe", *vectors, *labels]
    )
    parts = {name: table[name] for name in ("split", "fold") if name in table}
    parts = {n: v for n, v in parts.items() if any(x is not None and x == x for x in v)}
    findings = check(
        ids=table.ids,
        origins=table.origins,
        groups=table.get("group"),
        parts=parts,
        features={name: table[name] for name in vectors},
    )
    if model is not None:
        findings += list(_misfits(columns, table, model))
    return findings


def _tags(value: str | list[str] | None) -> list[str]:
    """Return a row's label or labels as a list; none where it is unlabelled."""
    return [] if value is None else [value] if isinstance(value, str) else value


def _misfits(columns: dict[str, Column], table: Batch, model: Model) -> Iterator[Finding]:
    """Find vocabularies and settings that disagree between a table and a model."""
    for task in model.tasks:
        name = task["name"]
        if name not in table or not task["vocabulary"]:
            continue
        known = {value for row in table[name] for value in _tags(row)}
        strangers = sorted(known - set(task["vocabulary"]))
        if strangers:
            yield Finding(
                "vocabulary",
                f"{len(strangers)} labels of {name} that {model.name} does not know",
                tuple(strangers[:5]),
                len(strangers),
            )
    source = model.document["input"]
    for column in columns.values():
        if column.role == source["kind"] and column.settings:
            keys = ("digest", "pooling") if column.role == "embedding" else tuple(column.settings)
            differ = [
                f"{key}: got {column.settings.get(key)!r}, expected {source['settings'].get(key)!r}"
                for key in keys
                if key not in ("excerpt", "frames")
                and column.settings.get(key) != source["settings"].get(key)
            ]
            if differ:
                yield Finding(
                    "settings",
                    f"{column.name} does not fit {model.name}",
                    tuple(differ[:5]),
                    len(differ),
                )


def finding_rows(findings: Sequence[Finding]) -> Batch:
    """Return findings as a table."""
    return Batch.build(
        FINDING_COLUMNS,
        {
            "id": [f"{number}.{f.kind}" for number, f in enumerate(findings, 1)],
            "kind": [f.kind for f in findings],
            "count": [float(f.count) for f in findings],
            "message": [f.message for f in findings],
            "offenders": [list(f.offenders) for f in findings],
        },
    )
