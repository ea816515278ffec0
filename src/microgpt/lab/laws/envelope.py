"""The best size by the envelope of the measured curves, each a size's loss over its cost (Hoffmann et al. 2022, section
3.1)."""

from typing import Final

import numpy as np

from microgpt.lab.laws.bootstrap import Ensemble
from microgpt.lab.laws.curves import read_off
from microgpt.lab.laws.isoflop import HALF, Bottoms, joined, logs_of, shape
from microgpt.lab.laws.points import Floats
from microgpt.lab.laws.price import Price

STEPS: Final = 60  # costs at which curves are compared
APART: Final = float(np.log(1.5))  # curves of sizes nearer than this cross by chance


def by_envelope(found: Ensemble, price: Price) -> Bottoms:
    """The best sizes by the lowest curve at each cost. Where the curve of a size gives way to that of the next, both
    have one loss: so a / b of the curve at that cost is known (see isoflop.py), and the best size between the two."""
    logs, skew, read = logs_of(found), shape(found), read_off(found.fit, price, STEPS)
    every = _spaced(np.unique(np.concatenate([np.empty(0), *(one.sizes for one in read)])))
    heights = np.full((len(every), len(read), len(logs)), np.nan)  # (sizes, costs, draws)
    for j, one in enumerate(read):
        told = one.heights(logs)
        for k in np.flatnonzero(np.isin(every, one.sizes)):
            heights[k, j] = told[:, np.flatnonzero(one.sizes == every[k])[0]]
    costs = np.array([one.cost for one in read])
    rows = []
    for low, high, lead in zip(every[:-1], every[1:], heights[:-1] - heights[1:], strict=True):
        slope = float(np.diff(np.log(price.token(np.exp([low, high]))))[0] / (high - low))
        half, steep = (high - low) / 2, slope * skew.rising
        ratio = np.sinh(steep * half) / np.sinh(skew.falling * half)
        rows.append((crossing(costs, lead), (low + high) / 2 + skew.best(ratio, slope)))
    known = [row for row in rows if np.isfinite(row[0][0]) and np.isfinite(row[0]).mean() >= HALF]
    return joined(known, len(logs))


def _spaced(sizes: Floats) -> Floats:
    """Those of some rising sizes that are far enough from the one taken before."""
    taken: list[float] = []
    for size in sizes.tolist():
        if not taken or size - taken[-1] >= APART:
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
