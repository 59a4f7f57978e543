"""What a method of mt-factor fitted, as one file: arrays, their words, and where they come from.

Goal: factors, mixtures and dictionaries can be applied to tables that come later, explained in
words, and checked for having seen test rows. Whatever the method, the file is NPZ: its arrays by
name, `vocabulary` (the words that columns of counts stand for, where there are words), and
`__meta__`, one JSON object: `method`, `settings` (the options of the fit), `of` (what it was fitted
to: the column, its settings), and on which tracks (`tables.fitted`). No pickle; equal fits are
equal bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_tools.errors import BrokenTable
from mt_tools.tables.fitted import KEY, FittedOn

_META, _WORDS = "__meta__", "vocabulary"
_DIGITS = 12


@dataclass(frozen=True)
class Fitted:
    """A fitted method: `arrays` by name, and what they are.

    `vocabulary` names the terms where there are terms, `settings` are the options of the fit, `of`
    says what it was fitted to, `fitted_on` on which tracks (None where that is not known).
    """

    method: str
    arrays: Mapping[str, NDArray[Any]]
    vocabulary: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    of: Mapping[str, Any] = field(default_factory=dict)
    fitted_on: FittedOn | None = None

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits by which columns made with it know it again."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:_DIGITS]

    def recorded(self) -> dict[str, Any]:
        """Return what the provenance says of the rows that it was fitted on."""
        return {KEY: self.fitted_on.to_json()} if self.fitted_on else {}

    def to_bytes(self) -> bytes:
        """Return it as NPZ."""
        meta = {"method": self.method, "settings": dict(self.settings), "of": dict(self.of)}
        text = json.dumps(meta | self.recorded(), sort_keys=True, ensure_ascii=False)
        arrays = dict(self.arrays) | {_META: np.array(text)}
        if len(self.vocabulary):
            arrays[_WORDS] = np.array(list(self.vocabulary), dtype=np.str_)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> Fitted:
        """Read what `to_bytes` returned; raises `BrokenTable` that names it for anything else."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                meta = json.loads(str(file[_META]))
                known = {key: file[key] for key in file.files if key not in (_META, _WORDS)}
                words = [str(word) for word in file[_WORDS]] if _WORDS in file.files else []
            return cls(
                str(meta["method"]),
                known,
                words,
                dict(meta["settings"]),
                dict(meta["of"]),
                FittedOn.from_json(meta.get(KEY)),
            )
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise BrokenTable(
                f"{name}: not fitted by mt-factor ({error}); fit it again with --fitted"
            ) from error
