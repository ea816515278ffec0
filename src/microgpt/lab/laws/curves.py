"""The runs of a design at equal cost: slices that were measured so, or each size's curve read off between its runs.

What a reading needs beside the runs, the law gives: from a run's own cost to that of its slice the loss is moved as the
law says, and between two runs of a size what they miss the law by is drawn as a straight line. So a reading is linear
in the log losses, a matrix and a shift that serve the runs and all draws of a bootstrap alike; and where the law is
right, it has no error of its own.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from microgpt.lab.laws.fit import Fit
from microgpt.lab.laws.points import Floats, Ints, Points, count_levels, levels
from microgpt.lab.laws.price import Price

COSTS: Final = 9  # at which curves are read off where no slices were measured
NEAR: Final = 0.08  # runs whose log cost is so near to that of a slice belong to it
LEAST_SIZES: Final = 5  # of a measured slice
LEAST_SLICES: Final = 3


@dataclass(frozen=True, eq=False)
class Slice:
    """Sizes at one cost. Their log losses are weights @ (log losses of the runs) + shift."""

    cost: float  # log
    sizes: Floats  # (sizes,) log N, rising
    weights: Floats  # (sizes, points)
    shift: Floats  # (sizes,)

    def heights(self, logs: Floats) -> Floats:
        """Log losses of its sizes (draws, sizes), from those of the runs (draws, points)."""
        found: Floats = logs @ self.weights.T + self.shift
        return found


def slices(fit: Fit, price: Price) -> list[Slice]:
    """The design at equal costs, rising: its own slices if most of its runs lie on some, else its curves read off."""
    measured = _measured(fit, price)
    held = sum(np.count_nonzero(one.weights.sum(axis=0)) for one in measured)
    if len(measured) >= LEAST_SLICES and 2 * held >= len(fit.points):
        return measured
    return read_off(fit, price, COSTS + 2)[1:-1]


def spent(points: Points, price: Price) -> Floats:
    """The log cost of each run. (points,)"""
    found: Floats = np.log(points.tokens * price.token(points.params))
    return found


def _measured(fit: Fit, price: Price) -> list[Slice]:
    """Runs of about the same cost, the cost of most sizes first, until no cost has enough sizes."""
    costs, found = spent(fit.points, price), list[Slice]()
    free = np.ones(len(costs), dtype=bool)
    while free.any():
        groups = [(cost, np.flatnonzero(free & (np.abs(costs - cost) <= NEAR))) for cost in np.unique(costs[free])]
        cost, members = max(groups, key=lambda group: count_levels(fit.points.params[group[1]]))
        if count_levels(fit.points.params[members]) < LEAST_SIZES:
            break
        free &= np.abs(costs - cost) > 2 * NEAR
        level = levels(fit.points.params[members])
        weights = np.zeros((int(level.max()) + 1, len(costs)))
        weights[level, members] = 1 / np.bincount(level)[level]
        sizes = weights @ np.log(fit.points.params)
        found.append(_slice(fit, price, float(costs[members].mean()), sizes, weights))
    return sorted(found, key=lambda one: one.cost)


def read_off(fit: Fit, price: Price, count: int) -> list[Slice]:
    """The curves of the sizes at so many even log costs."""
    size, costs = levels(fit.points.params), spent(fit.points, price)
    curves = [np.flatnonzero(size == k) for k in range(int(size.max()) + 1)]
    middles, found = np.array([np.log(fit.points.params[curve]).mean() for curve in curves]), []
    for cost in np.linspace(costs.min(), costs.max(), count):
        rows = [_weights(fit.points, costs, curve, cost) for curve in curves]
        there = [k for k, row in enumerate(rows) if row is not None]
        if there:
            weights = np.stack([row for row in rows if row is not None])
            found.append(_slice(fit, price, float(cost), middles[there], weights))
    return found


def _weights(points: Points, costs: Floats, curve: Ints, cost: float) -> Floats | None:
    """What each run counts towards one size's log loss at a cost (points,); None where the curve does not reach."""
    length = levels(points.tokens[curve])
    cells = [curve[length == j] for j in range(int(length.max()) + 1)]
    middles = np.array([costs[cell].mean() for cell in cells])
    if len(cells) < 2 or not middles[0] <= cost <= middles[-1]:
        return None
    low = min(int(np.searchsorted(middles, cost, side="right")) - 1, len(cells) - 2)
    share = (cost - middles[low]) / (middles[low + 1] - middles[low])
    row = np.zeros(len(points))
    row[cells[low]], row[cells[low + 1]] = (1 - share) / len(cells[low]), share / len(cells[low + 1])
    return row


def _slice(fit: Fit, price: Price, cost: float, sizes: Floats, weights: Floats) -> Slice:
    """Runs with what they count, and the law's difference between their own places and the slice's."""
    params, same = np.exp(sizes), np.ones(len(sizes))
    at = Points(params, price.tokens(params, float(np.exp(cost))), same, same * fit.points.unique.max(), same)
    shift = np.log(fit.form.loss(fit.theta, at)) - weights @ np.log(fit.form.loss(fit.theta, fit.points))
    return Slice(cost, sizes, weights, shift)
