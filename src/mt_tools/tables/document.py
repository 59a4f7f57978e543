"""The model file: one JSON document and its named tensors in one `.safetensors` file.

Goal: a file that holds everything about a model, that no pickle is needed for, and that has the
same bytes whenever it has the same content.

Source: the safetensors format (github.com/huggingface/safetensors).

Conventions: the document is the value of the one metadata key `mt`, since several keys are stored
in a new order each time. It is JSON with sorted keys, in which a number that is not finite is null.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from mt_tools.errors import BrokenTable, RunError, UsageError
from mt_tools.tables.atomic import atomic
from mt_tools.tables.provenance import file_digest

KEY = "mt"
LIMIT = 10_000_000
"""Bytes of JSON that a document may have; anything larger belongs into a tensor."""


def write_document(
    path: str | os.PathLike[str],
    document: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
) -> None:
    """Write a model file, whole or not at all; equal content gives equal bytes.

    Raises `RunError` for a document above `LIMIT` and where the file cannot be written.
    """
    arrays = {name: np.require(tensors[name], requirements="C") for name in sorted(tensors)}
    content = safetensors.numpy.save(arrays, metadata={KEY: dumps(document)})
    try:
        with atomic(path) as file:
            file.write(content)
    except OSError as error:
        raise RunError(
            f"cannot write {os.fspath(path)}: {error.strerror}; choose another place with -o"
        ) from error


def read_document(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a model file: its document and its tensors by name.

    Raises `UsageError` where there is no such file and `BrokenTable` where it is cut short or is
    not a model file of this package.
    """
    name = os.fspath(path)
    try:
        with safetensors.safe_open(name, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise UsageError(f"{name}: no such model file; check the path") from error
    except safetensors.SafetensorError as error:
        raise BrokenTable(
            f"{name} is not a whole .safetensors file ({error}): it was cut short or is something "
            "else; copy it again, or train or fetch it again"
        ) from error
    except OSError as error:
        raise RunError(f"cannot read {name}: {error.strerror or error}") from error
    try:
        document = json.loads(metadata[KEY])
    except (KeyError, ValueError) as error:
        raise BrokenTable(
            f"{name} is a .safetensors file but not a model of mt-tools: got the metadata keys "
            f"{sorted(metadata)}, expected {KEY!r} with JSON; name a file that mt-train wrote"
        ) from error
    if not isinstance(document, dict):
        raise BrokenTable(f"{name}: its metadata {KEY!r} is not a JSON object; train it again")
    return document, tensors


def digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a model file, hexadecimal."""
    return file_digest(path)


def dumps(document: Mapping[str, Any]) -> str:
    """Return the document as sorted JSON; numbers that are not finite become null.

    Raises `RunError` when it is longer than `LIMIT` bytes.
    """
    text = json.dumps(_plain(document), sort_keys=True, ensure_ascii=False, allow_nan=False)
    size = len(text.encode())
    if size > LIMIT:
        raise RunError(
            f"the model's document is {size:,} bytes of JSON, expected at most {LIMIT:,}: "
            "store what is large as a tensor"
        )
    return text


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: numpy's scalars and arrays become numbers and lists."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
