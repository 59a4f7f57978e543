"""How the learning rate goes over the updates of a run.

Source: cosine annealing without restarts of Loshchilov and Hutter 2017 (arXiv:1608.03983, eq. 5,
with a minimum of 0); linear warm-up of Goyal et al. 2017 (arXiv:1706.02677, section 2.2); steps
with a floor of the SEQ study (section 4.3), whose lengths belong to the parameter groups
(`learn.groups`).

Conventions: a schedule maps the number of updates made before to a factor of the learning rate, 0
to 1. The first update has number 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from mt_tools.learn.settings import FitSettings

Schedule = Callable[[int], float]


def schedule(settings: FitSettings, updates: int) -> Schedule:
    """Return the schedule of a run of so many updates: warm-up, then constant or cosine.

    `step` is constant here. With a warm-up of w updates, update u has the factor (u + 1) / w until
    it is 1. The cosine takes the remaining updates from 1 towards 0, which it would reach at the
    update after the last.
    """
    warmup, cosine = settings.warmup, settings.schedule == "cosine"
    falling = max(updates - warmup, 1)

    def factor(update: int) -> float:
        if update < warmup:
            return (update + 1) / warmup
        if cosine:
            return (1 + math.cos(math.pi * min((update - warmup) / falling, 1.0))) / 2
        return 1.0

    return factor
