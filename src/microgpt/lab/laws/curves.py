"""The measured curves of a design, read off at equal cost: the law plays no part here.

Each size has a curve of log loss over log cost. At a cost between its runs a curve is read off by a parabola through
three of them, or a straight line where a third is too near. Reading off is linear in the log losses, so it is a matrix
that serves the runs and all draws of a bootstrap alike.
"""

from typing import Final

import numpy as np

from microgpt.lab.laws.points import Floats, Ints, Points, levels
from microgpt.lab.laws.price import Price

COSTS: Final = 9  # at which parabolas are fitted
STEPS: Final = 60  # at which curves are compared for the envelope
WINDOW: Final = float(np.log(17))  # how far from the best size a parabola reaches: two fourfold steps
APART_SIZES: Final = float(np.log(1.5))  # curves of sizes nearer than this cross by chance
APART: Final = 0.5  # a third run on a curve is of use when it is so far off, measured by the gap that is read off

Reading = tuple[float, Floats, Floats]  # log cost, (sizes,) log N that reach it, (sizes, points) weights


def readings(points: Points, price: Price, count: int) -> list[Reading]:
    """The design at so many even log costs."""
    size = levels(points.params)
    spent = np.log(points.tokens * price.token(points.params))
    curves = [np.flatnonzero(size == k) for k in range(int(size.max()) + 1)]
    found = []
    for cost in np.linspace(spent.min(), spent.max(), count):
        rows = [(curve, row) for curve in curves if (row := _weights(points, spent, curve, cost)) is not None]
        if rows:
            sizes = np.array([np.log(points.params[curve]).mean() for curve, _ in rows])
            found.append((float(cost), sizes, np.stack([row for _, row in rows])))
    return found


def _weights(points: Points, spent: Floats, curve: Ints, cost: float) -> Floats | None:
    """What each run counts towards one size's log loss at a cost (points,); None where the curve does not reach."""
    length = levels(points.tokens[curve])
    cells = [curve[length == j] for j in range(int(length.max()) + 1)]
    costs = np.array([spent[cell].mean() for cell in cells])
    if len(costs) < 2 or not costs[0] <= cost <= costs[-1]:
        return None
    low = min(int(np.searchsorted(costs, cost, side="right")) - 1, len(costs) - 2)
    chosen = _chosen(costs, low)
    row = np.zeros(len(points))
    for k in chosen:
        share = np.prod([(cost - costs[j]) / (costs[k] - costs[j]) for j in chosen if j != k])  # Lagrange
        row[cells[k]] = share / len(cells[k])
    return row


def _chosen(costs: Floats, low: int) -> list[int]:
    """The two runs about a cost, and the nearer third if it is far enough from both."""
    gap = costs[low + 1] - costs[low]
    third = [k for k in (low - 1, low + 2) if 0 <= k < len(costs)]
    third = [k for k in third if min(abs(costs[k] - costs[low]), abs(costs[k] - costs[low + 1])) >= APART * gap]
    return [low, low + 1, *sorted(third, key=lambda k: abs(costs[k] - costs[low]))[:1]]


def by_parabolas(points: Points, price: Price, losses: Floats, budget: float) -> Floats:
    """Log N of the best size for a budget (draws,), for losses (draws, points) of which the first are the runs' own. At
    each cost a parabola goes through log loss over log N; its bottoms are followed to the budget."""
    logs, bottoms = np.log(losses), []
    for cost, sizes, weights in readings(points, price, COSTS + 2)[1:-1]:
        heights = logs @ weights.T  # (draws, sizes)
        near = np.abs(sizes - sizes[heights[0].argmin()]) <= WINDOW
        if near.sum() < 3:
            continue
        middle = sizes[near].mean()
        bend, slope, _ = np.linalg.pinv(np.vander(sizes[near] - middle, 3)) @ heights[:, near].T  # (draws,) each
        bottom = middle - slope / np.where(bend > 0, 2 * bend, np.nan)
        inside = (bottom >= sizes[near][0]) & (bottom <= sizes[near][-1])
        bottoms.append((np.full(len(logs), cost), np.where(inside, bottom, np.nan)))
    return _followed(bottoms, len(logs), budget)


def by_envelope(points: Points, price: Price, losses: Floats, budget: float) -> Floats:
    """The same by the lowest curve at each cost. Where the curve of a size gives way to that of the next, the best size
    lies between the two; these crossings are followed to the budget."""
    logs, found = np.log(losses), readings(points, price, STEPS)
    every = _spaced(np.unique(np.concatenate([sizes for _, sizes, _ in found])))
    heights = np.full((len(every), len(found), len(logs)), np.nan)  # (sizes, costs, draws)
    for j, (_, sizes, weights) in enumerate(found):
        for k in np.flatnonzero(np.isin(every, sizes)):
            heights[k, j] = logs @ weights[np.flatnonzero(sizes == every[k])[0]]
    costs = np.array([cost for cost, _, _ in found])
    crossings = [
        (crossing(costs, heights[k] - heights[k + 1]), np.full(len(logs), every[k : k + 2].mean()))
        for k in range(len(every) - 1)
    ]
    return _followed(crossings, len(logs), budget)


def _spaced(sizes: Floats) -> Floats:
    """Those of some rising sizes that are far enough from the one taken before."""
    taken = [sizes[0]]
    for size in sizes[1:]:
        if size - taken[-1] >= APART_SIZES:
            taken.append(size)
    return np.array(taken)


def crossing(costs: Floats, lead: Floats) -> Floats:
    """The cost (draws,) at which a lead (costs, draws) first turns from negative to positive, or NaN."""
    turns = (lead[:-1] < 0) & (lead[1:] >= 0)
    k, rows = turns.argmax(axis=0), np.arange(lead.shape[1])
    before, after = lead[k, rows], lead[k + 1, rows]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = before / (before - after)
    return np.where(turns.any(axis=0), costs[k] + share * (costs[k + 1] - costs[k]), np.nan)


def _followed(pairs: list[tuple[Floats, Floats]], draws: int, budget: float) -> Floats:
    """log N at the log of a budget, on the line through pairs of log cost and log N, for each draw (draws,); NaN where
    there are fewer than three pairs."""
    if not pairs:
        return np.full(draws, np.nan)
    costs, sizes = (np.stack(column) for column in zip(*pairs, strict=True))  # (pairs, draws)
    known = np.isfinite(costs) & np.isfinite(sizes)
    count = np.maximum(known.sum(axis=0), 1)
    costs, sizes = np.where(known, costs, 0), np.where(known, sizes, 0)
    middle, height = costs.sum(axis=0) / count, sizes.sum(axis=0) / count
    apart = np.where(known, costs - middle, 0)
    spread = (apart**2).sum(axis=0)
    slope = (apart * sizes).sum(axis=0) / np.where(spread > 0, spread, np.nan)
    return np.where(known.sum(axis=0) >= 3, height + slope * (np.log(budget) - middle), np.nan)
