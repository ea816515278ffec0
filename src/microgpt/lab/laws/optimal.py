"""Optimal design by the draws of a law: which cells, sizes with lengths, tell most of a number within a cost.

A law at theta says what a run tells: J J' / s², with J the slopes of its log loss by theta and s the scatter of a run.
Summed over all runs that is M, and a number with slopes g has the variance g' M⁻¹ g (c-optimality: Chaloner and
Verdinelli 1995, section 2.3). The law itself is known from the runs alone, so a design is judged by the mean over the
law's draws of the logarithm of that variance (Chaloner & Larntz 1989). Cells are taken one after another by what they
gain for their share of the cost and of the runs; then each is exchanged for any other as long as that helps (Fedorov
1972).

What the law misses in a cell, as the backtests have shown it, all runs of that cell share: to repeat one for ever tells
little.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from microgpt.errors import DataError
from microgpt.lab.laws.backtest import Backtest
from microgpt.lab.laws.bootstrap import Ensemble
from microgpt.lab.laws.points import Floats, Ints, Points
from microgpt.lab.laws.predict import misfit_at
from microgpt.lab.laws.targets import Target, judged, log_loss

REACH: Final = 4.0  # times the largest size and the largest length of the runs
RUNS: Final = 100
ROUNDS: Final = 20  # of exchanges
LEAST: Final = 1e-4  # of the logarithm of a variance: what gains less is not added
RIDGE: Final = 1e-10  # of the information: laws whose floor ran to zero have directions without any
KNOWN: Final = 0.5  # of the draws must have the number


@dataclass(frozen=True)
class Limits:
    """What a suggestion may take: a cost in the price's unit, runs, seeds of a cell (None: what is best), and how many
    times the largest size and length of the runs."""

    cost: float
    runs: int = RUNS
    seeds: int | None = None
    reach: float = REACH


@dataclass(frozen=True, eq=False)
class Cells:
    """Sizes and lengths that may be added, what one run of each costs, and how many runs of it there are."""

    at: Points
    costs: Floats
    there: Floats

    def take(self, chosen: Ints) -> "Cells":
        return Cells(self.at.take(chosen), self.costs[chosen], self.there[chosen])


class Judge:
    """What cells tell of a target, over the laws in which it has slopes."""

    def __init__(self, found: Ensemble, tested: Backtest, target: Target, cells: Cells) -> None:
        form, self.found, self.tested = found.fit.form, found, tested
        held = {name for name, _ in (*form.fixed, *form.tied)}
        self.free = [k for k, name in enumerate(form.names) if name not in held]
        usable = np.asarray(np.isfinite(target.slopes).all(axis=1))
        if not usable[0] or usable.mean() < KNOWN:
            raise DataError(
                f"Too few draws of the law have {target.name}: these runs say nothing about it yet; add larger and "
                "longer runs, or take --target size_exponent."
            )
        self.theta, self.target = judged(found)[usable], target.slopes[usable][:, self.free]
        known = found.fit.points
        self.runs = np.bincount(known.cells).astype(float)[known.cells]
        self.known, self.known_noise = self._of(known)
        self.slopes, self.noise = self._of(cells.at)
        self.cells = cells

    def _of(self, at: Points) -> tuple[Floats, tuple[Floats, Floats]]:
        """Slopes (laws, parameters, points), and the variances in log loss of a run and of what its cell has in
        common."""
        law, scatter = self.found.fit.form.loss(self.found.fit.theta, at), self.found.scatter
        run = (scatter.nats(law) / law) ** 2
        common = run * scatter.miss**2 + misfit_at(self.found.fit.points, self.tested, at)
        return log_loss(self.found, self.theta, at)[1][:, self.free], (run, common)

    def inverse(self, more: float = 0.0) -> Floats:
        """The covariance of the parameters from the runs there are, and from so many more of each. (laws, parameters,
        parameters)"""
        run, common = self.known_noise
        worth = (1 + more) / (run + self.runs * (1 + more) * common)
        information = np.einsum("kpc,c,kqc->kpq", self.known, worth, self.known)
        place = np.arange(len(self.free))
        information[:, place, place] *= 1 + RIDGE
        found: Floats = np.linalg.inv(information)
        return found

    def value(self, inverse: Floats) -> float:
        """The mean logarithm of the variance of the target."""
        return float(np.log(np.einsum("kp,kpq,kq->k", self.target, inverse, self.target)).mean())

    def worth(self, seeds: int) -> Floats:
        """What so many more runs add to the precision of each cell's mean. (cells,)"""
        run, common = self.noise
        there = self.cells.there
        found: Floats = (there + seeds) / (run + (there + seeds) * common) - there / (run + there * common)
        return found

    def gains(self, inverse: Floats, worth: Floats) -> Floats:
        """By how much each cell lowers the value, all below zero. (cells,)"""
        pulled = np.einsum("kpq,kq->kp", inverse, self.target)
        variance = np.einsum("kp,kp->k", pulled, self.target)[:, None]
        across = np.einsum("kp,kpc->kc", pulled, self.slopes)
        own = np.einsum("kpc,kpc->kc", np.einsum("kpq,kqc->kpc", inverse, self.slopes), self.slopes)
        share = np.minimum(worth * across**2 / (1 + worth * own) / variance, 1 - 1e-12)
        found: Floats = np.log1p(-share).mean(axis=0)
        return found

    def with_cell(self, inverse: Floats, cell: int, worth: float) -> Floats:
        """The covariance with a cell of so much worth, without it where that is below zero (Sherman and
        Morrison 1950)."""
        slopes = self.slopes[:, :, cell]
        pulled = np.einsum("kpq,kq->kp", inverse, slopes)
        scale = worth / (1 + worth * np.einsum("kp,kp->k", pulled, slopes))
        found: Floats = inverse - scale[:, None, None] * pulled[:, :, None] * pulled[:, None, :]
        return found


def best_cells(judge: Judge, limits: Limits, seeds: int) -> tuple[float, list[int]]:
    """The value of the best cells with so many seeds each, and which they are."""
    worth, costs = judge.worth(seeds), judge.cells.costs * seeds
    inverse, chosen = judge.inverse(), list[int]()
    while (len(chosen) + 1) * seeds <= limits.runs:
        gains = judge.gains(inverse, worth)
        gains[[*chosen, *np.flatnonzero(costs > limits.cost - costs[chosen].sum())]] = 0
        best = int(np.argmin(gains / (costs / limits.cost + seeds / limits.runs)))
        if gains[best] > -LEAST:
            break
        chosen.append(best)
        inverse = judge.with_cell(inverse, best, worth[best])
    return _exchanged(judge, limits, worth, costs, inverse, chosen)


def _exchanged(
    judge: Judge, limits: Limits, worth: Floats, costs: Floats, inverse: Floats, chosen: list[int]
) -> tuple[float, list[int]]:
    """The same with each cell exchanged for the best that the cost allows, until that gains nothing."""
    value = judge.value(inverse)
    for _ in range(ROUNDS):
        before = value
        for place, old in enumerate(chosen):
            others = chosen[:place] + chosen[place + 1 :]
            without = judge.with_cell(inverse, old, -worth[old])
            gains = judge.gains(without, worth)
            gains[[*others, *np.flatnonzero(costs > limits.cost - costs[others].sum())]] = 0
            new = int(np.argmin(gains))
            tried = judge.with_cell(without, new, worth[new])
            if new != old and (lower := judge.value(tried)) < value - LEAST:
                chosen[place], inverse, value = new, tried, lower
        if value > before - LEAST:
            break
    return value, chosen
