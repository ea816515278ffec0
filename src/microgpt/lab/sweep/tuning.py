"""The learning rate of each size, chosen on seeds of its own before the runs that are reported.

All levels of a plan that differ in their steps alone form a group and share one rate: what is compared along an axis of
steps is then the number of steps. A group is tuned at the length nearest to the geometric middle of its own, in full: a
shorter trial would choose a higher rate than the run can use. Rates are a factor of two apart, and a best one at the
edge of the grid asks for one more beyond it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from microgpt.lab.sweep.spec import Spec

RATES: Final = (0.00125, 0.0025, 0.005, 0.01, 0.02)
SEEDS: Final = (1000, 1001)  # none of those that are reported
FACTOR: Final = 2.0  # between a rate at the edge and the one tried beyond it
MOST_RATES: Final = 12  # tried, before the edge is taken for the best there is

Losses = Mapping[str, float]  # held-out losses by identity; infinite where the run failed


@dataclass(frozen=True)
class Tuning:
    """How rates are chosen."""

    rates: tuple[float, ...] = RATES
    seeds: tuple[int, ...] = SEEDS


@dataclass(frozen=True)
class Choice:
    """The rate of a group and its mean held-out loss; `at_edge` where no higher or no lower one was tried."""

    rate: float
    loss: float
    at_edge: bool


@dataclass(frozen=True)
class Group:
    """Levels that differ in their steps alone; each still with the seed and the rate of the plan's base. `name` tells
    the group from the others of its plan."""

    levels: tuple[Spec, ...]
    name: str

    @property
    def trial(self) -> Spec:
        """The level at which the group is tuned."""
        lengths = [level.settings.steps for level in self.levels]
        return self.levels[lengths.index(middle(lengths))]


def trials(group: Group, tuning: Tuning, losses: Losses) -> list[Spec]:
    """Every run that the choice of the group's rate asks for, as far as the losses there are can tell; done or not."""
    return [_trial(group, rate, seed) for rate in _rates(group, tuning, losses) for seed in tuning.seeds]


def choice(group: Group, tuning: Tuning, losses: Losses) -> Choice | None:
    """The rate of the lowest mean loss, or None while a trial is not done."""
    means = {rate: _mean(group, tuning, losses, rate) for rate in _rates(group, tuning, losses)}
    known = {rate: mean for rate, mean in means.items() if mean is not None}
    if len(known) < len(means):
        return None
    best = min(known, key=lambda rate: (known[rate], rate))
    return Choice(best, known[best], at_edge=best in (min(known), max(known)))


def middle(values: Sequence[int]) -> int:
    """The value nearest to the geometric mean; of two as near the smaller one."""
    mean = math.fsum(map(math.log, values)) / len(values)
    return min(values, key=lambda value: (round(abs(math.log(value) - mean), 9), value))


def _rates(group: Group, tuning: Tuning, losses: Losses) -> list[float]:
    """The grid, and beyond it one rate after another while the best one known is the outermost."""
    rates = sorted(tuning.rates)
    means = {rate: _mean(group, tuning, losses, rate) for rate in rates}
    while len(rates) < max(MOST_RATES, len(tuning.rates)):
        beyond = _beyond(means)
        if beyond is None:
            break
        rates.append(beyond)
        means[beyond] = _mean(group, tuning, losses, beyond)
    return sorted(rates)


def _beyond(means: Mapping[float, float | None]) -> float | None:
    """The rate to try beyond the edge where the best one stands; None where it is inside, or a mean is not known."""
    known = {rate: mean for rate, mean in means.items() if mean is not None}
    if len(known) < len(means) or len(known) < 2:
        return None
    best = min(known, key=lambda rate: (known[rate], rate))
    if best == min(known):  # also where all failed: all were too high
        return float(f"{best / FACTOR:.6g}")
    return float(f"{best * FACTOR:.6g}") if best == max(known) else None


def _mean(group: Group, tuning: Tuning, losses: Losses, rate: float) -> float | None:
    found = [losses.get(_trial(group, rate, seed).identity) for seed in tuning.seeds]
    known = [loss for loss in found if loss is not None]
    return fmean(known) if len(known) == len(found) else None


def _trial(group: Group, rate: float, seed: int) -> Spec:
    return group.trial.with_settings(lr=rate, seed=seed)
