"""The best size at each of several costs, from the losses at equal cost, and the line of them over the cost.

A parabola through log loss over log N is the custom (Hoffmann et al. 2022, section 3.2). But the curve is skewed, since
alpha and beta differ and the floor is no zero, so that its bottom is displaced by what grows with the width of the
grid and with how far from the middle it lies (Czech 2026, arXiv 2603.22339). Here the curve has the law's own skew,

    L = e + a / N^alpha + b / D^beta        (with `joint`, of (L − E)^(1 / gamma) and the exponents divided by gamma)

with the exponents of each draw, and e, a and b free at each cost: three numbers, as a parabola has. So the skew alone
is the law's; where the bottom lies and how deep it is, the runs at that cost tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from microgpt.lab.laws.bootstrap import Ensemble
from microgpt.lab.laws.curves import Slice, slices
from microgpt.lab.laws.points import Floats, Ints
from microgpt.lab.laws.price import Price

WINDOW: Final = float(np.log(8))  # how far from its bottom a curve reaches, if it has CENTRED sizes there
CENTRED: Final = 5
LEAST: Final = 3  # sizes of a curve, bottoms of a line
ROUNDS: Final = 5  # in which a window is centred
HALF: Final = 0.5  # of the draws must have a bottom
EXPONENTS: Final = (0.02, 5.0)  # flatter or steeper than this no skew is told from none
FURTHEST: Final = 300.0  # log N: what lies beyond is no number any more
SPARE: Final = 0.25  # of the middle variance is added to each bottom's, so that no single one holds the line


@dataclass(frozen=True, eq=False)
class Bottoms:
    """Log costs and the log N that is best there, each (draws, bottoms); the first draw is the runs' own, NaN where a
    draw has none."""

    costs: Floats
    sizes: Floats

    def line(self, costs: Floats) -> Floats:
        """Log N (draws, costs) at some log costs, on the line through the bottoms of each draw, those that are better
        known counting for more; NaN where there are too few."""
        if self.costs.shape[1] < LEAST:
            return np.full((len(self.costs), len(costs)), np.nan)
        known = np.isfinite(self.costs) & np.isfinite(self.sizes)
        spreads = (np.diff(np.nanquantile(each, (0.16, 0.84), axis=0), axis=0)[0] for each in (self.costs, self.sizes))
        variance = sum((each**2 for each in spreads), np.zeros(self.costs.shape[1]))
        worth = np.where(known, 1 / (variance + SPARE * np.median(variance) + 1e-12), 0)
        x, y = np.where(known, self.costs, 0), np.where(known, self.sizes, 0)
        total = np.maximum(worth.sum(axis=1), 1e-300)
        middle, height = (worth * x).sum(axis=1) / total, (worth * y).sum(axis=1) / total
        apart = np.where(known, x - middle[:, None], 0)
        spread = (worth * apart**2).sum(axis=1)
        slope = (worth * apart * y).sum(axis=1) / np.where(spread > 0, spread, np.nan)
        found = height[:, None] + slope[:, None] * (costs - middle[:, None])
        return np.where(known.sum(axis=1)[:, None] >= LEAST, np.clip(found, -FURTHEST, FURTHEST), np.nan)


@dataclass(frozen=True, eq=False)
class Shape:
    """The skew of the curves, of the runs' own law and of each draw's: what log (L − E)^(1 / gamma) falls and rises by
    far from the bottom. Each (1 + draws,)."""

    falling: Floats
    rising: Floats  # for tokens that cost the same at every size
    floor: Floats
    gamma: Floats

    def best(self, ratio: Floats, slope: float) -> Floats:
        """The log N at which a curve of some a / b is lowest, where the price of a token grows as N to `slope`."""
        steep = slope * self.rising
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = np.log(self.falling * np.where(ratio > 0, ratio, np.nan) / steep) / (self.falling + steep)
        return found


def shape(found: Ensemble) -> Shape:
    """The skew that the law and its draws have."""
    theta = np.concatenate([found.fit.theta[None, :], found.theta])
    natural = found.fit.form.natural(theta)
    none = np.zeros(len(theta))
    gamma = np.clip(natural.get("gamma", none + 1), 0.1, 1.0)
    alpha, beta = (np.clip(natural[name] / gamma, *EXPONENTS) for name in ("alpha", "beta"))
    return Shape(alpha, beta, natural["E"] if found.fit.form.joint else none, gamma)


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves through the losses at one cost, of the runs and of each draw: e + a exp(−falling x) + b exp(slope rising
    x) for x = log N − middle, where the price of a token grows as N to `slope`. Each number is (1 + draws,)."""

    skew: Shape
    middle: float
    slope: float
    e: Floats
    a: Floats
    b: Floats

    @property
    def bottoms(self) -> Floats:
        """Log N where each is lowest, NaN where it has no bottom. (1 + draws,)"""
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where((self.a > 0) & (self.b > 0), self.a / self.b, np.nan)
        return self.middle + self.skew.best(ratio, self.slope)

    def own(self, sizes: Floats) -> Floats:
        """Nats of the curve of the runs themselves at some log N, of the same shape."""
        x, skew = sizes - self.middle, self.skew
        falling, rising = np.exp(-skew.falling[0] * x), np.exp(self.slope * skew.rising[0] * x)
        raised = self.e[0] + self.a[0] * falling + self.b[0] * rising
        found: Floats = skew.floor[0] + np.maximum(raised, 0) ** skew.gamma[0]
        return found


def through(sizes: Floats, heights: Floats, skew: Shape, price: Price) -> Curves:
    """The curves with the law's skew through log losses (1 + draws, sizes)."""
    x = (sizes - sizes.mean())[None, :]
    slope = float(np.polyfit(sizes, np.log(price.token(np.exp(sizes))), 1)[0])
    terms = [np.exp(-skew.falling[:, None] * x), np.exp(slope * skew.rising[:, None] * x)]
    basis = np.stack([np.ones(heights.shape), *terms], axis=2)  # (1 + draws, sizes, 3)
    with np.errstate(invalid="ignore"):
        raised = (np.exp(heights) - skew.floor[:, None]) ** (1 / skew.gamma[:, None])
    e, a, b = np.moveaxis((np.linalg.pinv(basis) @ raised[:, :, None])[:, :, 0], 1, 0)
    return Curves(skew, float(sizes.mean()), slope, e, a, b)


def curves_of(one: Slice, logs: Floats, skew: Shape, price: Price) -> tuple[Ints, Curves] | None:
    """The sizes of a slice about its bottom and the curves through them, the runs' own first; None where the bottom
    does not lie among them, or many draws have none."""
    heights = one.heights(logs)  # (1 + draws, sizes)
    near = window(one.sizes, float(one.sizes[heights[0].argmin()]))
    for _ in range(ROUNDS):
        if len(near) < LEAST:
            return None
        found = through(one.sizes[near], heights[:, near], skew, price)
        before, bottom = near, float(found.bottoms[0])
        if not np.isfinite(bottom) or np.array_equal(before, near := window(one.sizes, bottom)):
            break
    if not one.sizes[before[0]] <= bottom <= one.sizes[before[-1]] or np.isfinite(found.bottoms).mean() < HALF:
        return None
    return before, found


def window(sizes: Floats, middle: float) -> Ints:
    """Which of some rising sizes are near enough to a middle, and always the CENTRED nearest."""
    away = np.abs(sizes - middle)
    return np.flatnonzero(away <= max(WINDOW, *np.sort(away)[:CENTRED]))


def by_isoflop(found: Ensemble, price: Price) -> Bottoms:
    """The bottoms of the curves at equal cost."""
    logs, skew = logs_of(found), shape(found)
    every = [(one.cost, curves_of(one, logs, skew, price)) for one in slices(found.fit, price)]
    return joined([(np.full(len(logs), cost), curves[1].bottoms) for cost, curves in every if curves], len(logs))


def joined(pairs: Sequence[tuple[Floats, Floats]], draws: int) -> Bottoms:
    """Bottoms of log costs and log sizes, each (draws,)."""
    costs, sizes = ([column[k] for column in pairs] for k in (0, 1))
    empty = np.empty((draws, 0))
    return Bottoms(*(np.stack(column, axis=1) if column else empty for column in (costs, sizes)))


def logs_of(found: Ensemble) -> Floats:
    """Log losses of the runs and of the draws. (1 + draws, points)"""
    logs: Floats = np.log(np.concatenate([found.fit.points.loss[None, :], found.losses]))
    return logs
