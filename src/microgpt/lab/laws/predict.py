"""The law's loss for a run that is not there yet, with all that makes it uncertain.

Three parts: the parameters (the draws of the bootstrap), the seed of one run, and misfit, as rolling backtests have
shown it. The first alone was seen to cover 35 to 76 % where 90 is claimed.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from microgpt.lab.laws.backtest import Backtest
from microgpt.lab.laws.bootstrap import LEVEL, Ensemble, stretch
from microgpt.lab.laws.points import Floats, Points

NEAR: Final = 0.05  # in logarithms: as far beyond the runs a point still counts as inside


@dataclass(frozen=True)
class Prediction:
    """Nats per token for one run of some size and length. `widening` is how many times wider misfit made the interval,
    `in_range` whether runs of no smaller and no larger size, length and cost were fitted."""

    params: float
    tokens: float
    loss: float
    low: float
    high: float
    level: float
    widening: float
    in_range: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def predict(found: Ensemble, tested: Backtest, at: Points, level: float = LEVEL, seed: int = 0) -> list[Prediction]:
    """A prediction for each point of `at`, whose losses are not looked at."""
    fit, scatter, draws = found.fit, found.scatter, len(found.theta)
    stream = np.random.default_rng(seed)
    law = fit.form.loss(fit.theta, at)  # (points,)
    swing = np.log(fit.form.loss(found.theta, at)) - np.log(law)  # (draws, points)
    swing = swing * stretch(scatter.freedom, level)
    seeds = stream.standard_t(scatter.freedom, (draws, len(law))) * (scatter.nats(law) / law)
    cells = stream.standard_normal((draws, len(law))) * scatter.miss * (scatter.nats(law) / law)
    misfit = stream.standard_normal((draws, len(law))) * np.sqrt(misfit_at(fit.points, tested, at))
    tails = [(1 - level) / 2, (1 + level) / 2]
    without = np.quantile(law * np.exp(swing + seeds + cells), tails, axis=0)
    low, high = np.quantile(law * np.exp(swing + seeds + cells + misfit), tails, axis=0)
    widening = np.maximum(1.0, (high - low) / (without[1] - without[0]))
    inside = in_range(fit.points, at)
    return [
        Prediction(
            float(at.params[k]),
            float(at.tokens[k]),
            float(law[k]),
            float(low[k]),
            float(high[k]),
            level,
            float(widening[k]),
            bool(inside[k]),
        )
        for k in range(len(at))
    ]


def misfit_at(known: Points, tested: Backtest, at: Points) -> Any:
    """Variance of the misfit in log loss at each point: the standard deviation grows with how far beyond the largest
    run it lies, from that of the backtests on. (points,)"""
    beyond = np.log(at.params * at.tokens) - float(np.log(known.params * known.tokens).max())
    ratio = np.maximum(1.0, beyond / tested.distance) if tested.distance > 0 else np.ones(len(at))
    return tested.misfit * ratio**2


def in_range(known: Points, at: Points) -> Any:
    """Whether each point lies within the sizes, the lengths and the cost, size times length, that were fitted: the far
    corner of a design whose runs cost the same is beyond them all. (points,)"""
    inside = np.ones(len(at), dtype=bool)
    for fitted, here in zip(_sides(known), _sides(at), strict=True):
        inside &= (here >= fitted.min() - NEAR) & (here <= fitted.max() + NEAR)
    return inside


def _sides(at: Points) -> tuple[Floats, Floats, Floats]:
    return np.log(at.params), np.log(at.tokens), np.log(at.params * at.tokens)
