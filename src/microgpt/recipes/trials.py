"""How long, and at which size, to train on a text that is read through many times before the time is up.

Nobody can say beforehand how often a small text may be read before it is learned by heart: trials tell. Each is a
training like the one to come: the next larger size is tried, else a smaller one, then twice the steps, else half of
them, each as long as the held-out loss falls and there is time to carry the best out again.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

SIZES: Final = (  # emb, layer
    *((16, 1), (24, 1), (32, 2), (40, 2), (48, 3), (64, 3), (80, 3), (96, 4), (128, 4), (192, 4), (256, 4)),
)
TELLING: Final = 0.005  # nats: a smaller difference of held-out losses is chance
FALLING: Final = 0.03  # nats that twice the steps must have brought, for steps beyond what was tried to be worth a try


@dataclass(frozen=True)
class TrialPlan:
    """What a trial varies: the settings of the model with its learning rate, and the steps."""

    sizes: Mapping[str, Any]
    steps: int

    @property
    def work(self) -> float:
        """About in what proportion two plans take time."""
        return float(self.steps * self.sizes["emb"] ** 2 * self.sizes["layer"])


@dataclass(frozen=True)
class Trial:
    """The held-out loss of a plan, and the seconds it took."""

    plan: TrialPlan
    loss: float
    seconds: float


Run = Callable[[TrialPlan, float], Trial | None]  # a plan and the seconds it may take; None where they were not enough
Move = Callable[[TrialPlan], TrialPlan | None]


def longer(plan: TrialPlan) -> TrialPlan | None:
    return replace(plan, steps=2 * plan.steps)


def shorter(plan: TrialPlan) -> TrialPlan | None:
    return replace(plan, steps=plan.steps // 2) if plan.steps > 64 else None


def larger(plan: TrialPlan) -> TrialPlan | None:
    return _sized(plan, next((size for size in SIZES if size[0] > plan.sizes["emb"]), None))


def smaller(plan: TrialPlan) -> TrialPlan | None:
    return _sized(plan, next((size for size in reversed(SIZES) if size[0] < plan.sizes["emb"]), None))


def _sized(plan: TrialPlan, size: tuple[int, int] | None) -> TrialPlan | None:
    """The plan at another size, with the learning rate in inverse proportion to the width."""
    if size is None:
        return None
    lr = float(f"{plan.sizes['lr'] * plan.sizes['emb'] / size[0]:.2g}")
    return replace(plan, sizes={**plan.sizes, "emb": size[0], "layer": size[1], "lr": lr})


def largest(plan: TrialPlan, work: float) -> TrialPlan | None:
    """The plan at the largest size beyond its own that so much work allows, if there is one: more passes than usual
    gain less than a larger model."""
    found = None
    while (plan := larger(plan) or plan).work <= work and plan != found:
        found = plan
    return found


def search(
    first: TrialPlan, seconds: float, run: Run, left: Callable[[], float], sizes: bool
) -> tuple[Trial | None, bool]:
    """The best trial, and whether its loss still fell with its steps when there was no time for a longer one.

    `seconds` is what the first may take, `left` the time until all must be done. Other `sizes` are tried or not.
    """

    def climb(best: Trial, move: Move) -> tuple[Trial, float, bool]:
        """The best in one direction, what the last move gained, and whether time ended the search: then, before the
        first move, nobody knows what it gains."""
        gain = 0.0
        while plan := move(best.plan):
            cost = best.seconds * plan.work / best.plan.work
            if cost + max(cost, best.seconds) > left():
                return best, gain or math.inf, True
            trial = run(plan, left() - best.seconds)
            if trial is None or trial.loss > best.loss - TELLING:
                break
            gain, best = best.loss - trial.loss, trial
        return best, gain, False

    best = run(first, seconds)
    if best is None:
        return None, False
    if sizes:
        best, gain, _ = climb(best, larger)
        if not gain:
            best, _, _ = climb(best, smaller)
    best, gain, over = climb(best, longer)
    if over:
        return best, gain > FALLING
    return (best if gain else climb(best, shorter)[0]), False
