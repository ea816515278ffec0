"""The best size and length for a budget, by three methods that should agree (Hoffmann et al. 2022, section 3).

- law: where the fitted law is lowest among all sizes that spend the budget;
- parabolas: the bottoms of parabolas through the measured losses at equal cost, followed to the budget;
- envelope: the size whose measured curve is lowest at each cost, followed in the same way.

The last two use the law only for the loss they report. Intervals come from the draws of the bootstrap.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from microgpt.lab.laws.bootstrap import LEVEL, Ensemble, interval
from microgpt.lab.laws.curves import by_envelope, by_parabolas
from microgpt.lab.laws.points import Floats, Points
from microgpt.lab.laws.price import Price

GRID: Final = 400  # sizes among which the law's best is looked for
FAR: Final = float(np.log(1e4))  # how far beyond the design a best size is looked for
MOST_DRAWS: Final = 300
SHARE: Final = 0.9  # of the draws must have an answer, else there is no interval

Method = Callable[[Points, Price, Floats, float], Floats]
METHODS: Final[dict[str, Method]] = {"parabolas": by_parabolas, "envelope": by_envelope}


@dataclass(frozen=True)
class Optimum:
    """One method's answer; `low` and `high` bound the size. What a method can't say is None; `agrees` is false where
    its interval does not meet that of the law."""

    method: str
    params: float | None = None
    low: float | None = None
    high: float | None = None
    tokens: float | None = None
    loss: float | None = None
    agrees: bool = True

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def frontier(found: Ensemble, price: Price, budget: float, level: float = LEVEL) -> list[Optimum]:
    """The best size and length for a budget in the price's unit, by each method."""
    points = found.fit.points
    theta = np.concatenate([found.fit.theta[None, :], found.theta[:MOST_DRAWS]])
    losses = np.concatenate([points.loss[None, :], found.losses[:MOST_DRAWS]])
    rows = [_optimum("law", law_best(found, theta, price, budget), found, price, budget, level)]
    for name, method in METHODS.items():
        row = _optimum(name, method(points, price, losses, budget), found, price, budget, level)
        rows.append(replace(row, agrees=_meet(rows[0], row)))
    return rows


def law_best(found: Ensemble, theta: Floats, price: Price, budget: float) -> Floats:
    """Log N of the law's best for each theta (fits,), by a grid and a parabola through its lowest three."""
    points = found.fit.points
    sizes = np.linspace(np.log(points.params.min()) - FAR, np.log(points.params.max()) + FAR, GRID)
    losses = np.log(found.fit.form.loss(theta, _at(found, price, budget, np.exp(sizes))))  # (fits, GRID)
    k = np.clip(losses.argmin(axis=1), 1, GRID - 2)
    left, middle, right = (losses[np.arange(len(theta)), k + shift] for shift in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = np.where(bend > 0, 0.5 * (left - right) / np.where(bend > 0, bend, 1), 0.0)
    best: Floats = sizes[k] + np.clip(shift, -1, 1) * (sizes[1] - sizes[0])
    return best


def _at(found: Ensemble, price: Price, budget: float, params: Floats) -> Points:
    """Runs of some sizes that spend the budget on the text of the design; their losses are not known."""
    same = np.ones(len(params))
    return Points(params, price.tokens(params, budget), same, same * found.fit.points.unique.max(), same * budget)


def _optimum(method: str, logs: Floats, found: Ensemble, price: Price, budget: float, level: float) -> Optimum:
    """An answer from log sizes (1 + draws,), of which the first is that of the runs themselves."""
    if not np.isfinite(logs[0]):
        return Optimum(method)
    best = _at(found, price, budget, np.exp(logs[:1]))
    params, tokens = float(best.params[0]), float(best.tokens[0])
    loss = float(found.fit.form.loss(found.fit.theta, best)[0])
    known = logs[1:][np.isfinite(logs[1:])]
    if len(known) < SHARE * (len(logs) - 1):
        return Optimum(method, params, None, None, tokens, loss)
    low, high = interval(float(logs[0]), known, found.scatter.freedom, level)
    low, high = min(low, float(logs[0])), max(high, float(logs[0]))  # where draws lean to one side
    return Optimum(method, params, float(np.exp(low)), float(np.exp(high)), tokens, loss)


def _meet(one: Optimum, other: Optimum) -> bool:
    """Whether two intervals have a size in common; where one is missing nothing can be said."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return True
    return one.low <= other.high and other.low <= one.high
