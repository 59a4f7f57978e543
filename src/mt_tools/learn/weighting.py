r"""How much each task's loss counts in what is minimised.

Goal: no task drowns because its loss is of another size, as the 23-way loss of the DJ study did to
the others.

With L_t the mean loss of task t over the labelled rows of a batch and a_t the weight that the user
gave it, an update lowers

- `fixed`: the sum of a_t L_t;
- `equal`: the sum of L_t;
- `prior`: the sum of a_t L_t / C_t, where C_t is the loss of the constant predictor on the training
  rows (`tasks.kinds.constant_loss`): each task starts near 1;
- `uncertainty`: the sum of a_t (exp(-s_t) L_t + s_t / 2), for regression a_t (exp(-s_t) L_t / 2 +
  s_t / 2), where s_t = log sigma_t^2 is learned with the network from 0 on (Kendall, Gal, Cipolla
  2018, arXiv:1705.07115, eqs. 7 and 10);
- `dwa`: the sum of a_t l_t L_t with l_t = K exp(w_t / 2) / sum_k exp(w_k / 2) over the K tasks,
  where w_t is the epoch's mean training loss before over that of the one before it, and 1 in the
  first two epochs (Liu, Johns, Davison 2019, arXiv:1803.10704, eq. 7, temperature 2).

Conventions: a task that has no labelled row in a batch takes no part in it, so that its s_t rests
too. Totals in the learning curves, and the valid loss that training stops by, must mean the same in
every epoch: they are sums by the `totals`, which never change. These are the weights themselves in
`fixed`, `equal` and `prior`, and those of `prior` in `uncertainty` and `dwa`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mt_tools.tasks.kinds import Task

TEMPERATURE = 2.0
"""Of `dwa`: as its authors set it (section 4.1.4)."""


class Weighting:
    """The weights of the tasks' losses, and what they have learned so far.

    `constant` gives the loss of each task's constant predictor on the training rows.
    """

    def __init__(self, how: str, tasks: Sequence[Task], constant: Mapping[str, float]) -> None:
        self.how = how
        self.given = {t["name"]: 1.0 if how == "equal" else float(t["weight"]) for t in tasks}
        relative = how in ("prior", "uncertainty", "dwa")
        self.totals = {
            name: weight / constant[name] if relative else weight
            for name, weight in self.given.items()
        }
        self._halves = {t["name"]: 0.5 if t["kind"] == "regression" else 1.0 for t in tasks}
        self._moving = dict.fromkeys(self.given, 1.0)
        self._losses: list[dict[str, float]] = []
        self._device = torch.device("cpu")
        self._made: dict[tuple[str, ...], Tensor] = {}
        self.log_variances: dict[str, nn.Parameter] = {}
        if how == "uncertainty":
            self.log_variances = {name: nn.Parameter(torch.zeros(())) for name in self.given}

    def to(self, device: torch.device) -> None:
        """Move what is learned to the network's device."""
        self._device, self._made = device, {}
        for parameter in self.log_variances.values():
            parameter.data = parameter.data.to(device)

    def parameters(self) -> list[nn.Parameter]:
        """Return what the optimizer moves beside the network."""
        return list(self.log_variances.values())

    def weights(self, tasks: Sequence[str]) -> Tensor:
        """Return the factors [tasks] of the mean losses of some tasks, now."""
        if self.how == "uncertainty":
            factors = self._constants("halves", tasks)
            return factors * torch.exp(-torch.stack([self.log_variances[t] for t in tasks]))
        return self._constants(self.how, tasks)

    def _constants(self, which: str, tasks: Sequence[str]) -> Tensor:
        """Return factors that nothing is learned about, made once an epoch at most."""
        key = (which, *tasks)
        if key not in self._made:
            if which == "halves":
                values = [self.given[t] * self._halves[t] for t in tasks]
            elif which == "dwa":
                values = [self.given[t] * self._moving[t] for t in tasks]
            else:
                values = [self.totals[t] for t in tasks]
            self._made[key] = torch.tensor(values, dtype=torch.float32, device=self._device)
        return self._made[key]

    def penalty(self, tasks: Sequence[str]) -> Tensor | None:
        """Return what keeps learned weights from 0, of the tasks in a batch; None without any."""
        if self.how != "uncertainty":
            return None
        return torch.stack([self.given[t] * self.log_variances[t] / 2 for t in tasks]).sum()

    def total(self, losses: Mapping[str, float]) -> float:
        """Return the sum of mean losses by the weights that never change."""
        return float(
            sum(self.totals[name] * losses[name] for name in self.totals if name in losses)
        )

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """Take the mean training losses of an epoch into account (`dwa`)."""
        if self.how != "dwa":
            return
        self._losses = [*self._losses[-1:], dict(losses)]
        if len(self._losses) < 2:
            return
        before, last = self._losses
        powers = {
            name: math.exp(
                (last[name] / before[name] if before.get(name) and name in last else 1.0)
                / TEMPERATURE
            )
            for name in self.given
        }
        whole = sum(powers.values())
        self._moving = {name: len(powers) * power / whole for name, power in powers.items()}
        self._made = {}

    def now(self) -> dict[str, float]:
        """Return the factors that change during the run by task; empty where none does."""
        if self.how not in ("uncertainty", "dwa"):
            return {}
        names = list(self.given)
        return dict(zip(names, self.weights(names).tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """Return what was learned, as JSON values."""
        return {
            # A float32 is a float64 exactly, and JSON keeps those.
            "log_variances": {name: float(p.detach()) for name, p in self.log_variances.items()},
            "moving": self._moving,
            "losses": self._losses,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        with torch.no_grad():
            for name, value in state["log_variances"].items():
                self.log_variances[name].fill_(value)
        self._moving = {name: float(value) for name, value in state["moving"].items()}
        self._made = {}
        self._losses = [
            {name: float(value) for name, value in losses.items()} for losses in state["losses"]
        ]
