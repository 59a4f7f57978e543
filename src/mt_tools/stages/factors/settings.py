"""The options of `mt-factor`, a class a method. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from mt_tools.settings import setting


@dataclass(frozen=True)
class FittedSettings:
    """What every method that is fitted can be told."""

    fitted: str = setting(
        "", "Write what was fitted to this .npz file.", metavar="FILE", result=False
    )
    apply: str = setting(
        "", "Apply what was fitted before, to new tracks; nothing is fitted.", metavar="FILE"
    )
    ignore_split: bool = setting(False, "Fit on all rows, the test rows too.")
