"""The best size and length for a budget, by three methods that should agree (Hoffmann et al. 2022, section 3).

- law: where the fitted law is lowest among all sizes that spend the budget;
- isoflop: the bottoms of curves through the measured losses at equal cost, on a line followed to the budget;
- envelope: where the measured curve of one size gives way to that of the next, followed in the same way.

The best size and the best length grow as powers of the cost; each method has its own exponents, over the costs of the
design. Intervals come from the draws of the bootstrap.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Final

import numpy as np

from microgpt.lab.laws.bootstrap import LEVEL, Ensemble, interval
from microgpt.lab.laws.curves import spent
from microgpt.lab.laws.envelope import by_envelope
from microgpt.lab.laws.isoflop import Bottoms, by_isoflop
from microgpt.lab.laws.points import Floats, Points
from microgpt.lab.laws.price import Price

GRID: Final = 200  # sizes among which the law's best is looked for
FAR: Final = float(np.log(1e4))  # how far beyond the design a best size is looked for
MOST_DRAWS: Final = 300  # for what reads the runs themselves
SHARE: Final = 0.9  # of the draws must have an answer, else there is no interval
FACTOR: Final = 2.0  # sizes further apart are worth a word, whatever their intervals
UNLIKE: Final = 0.1  # exponents further apart part where one has no interval
ALIKE: Final = (
    0.01,
    0.005,
)  # log sizes and exponents nearer than this never part, be the intervals as narrow as they may

METHODS: Final[dict[str, Callable[[Ensemble, Price], Bottoms]]] = {"isoflop": by_isoflop, "envelope": by_envelope}
Span = tuple[float, float]


@dataclass(frozen=True)
class Optimum:
    """One method's answer; `low` and `high` bound the size. What a method can't say is None; `agrees` is false where
    it parts from the law (see `apart`). N grows as cost to `size_exponent`, D to `length_exponent`."""

    method: str
    params: float | None = None
    low: float | None = None
    high: float | None = None
    tokens: float | None = None
    loss: float | None = None
    size_exponent: float | None = None
    size_exponent_interval: Span | None = None
    length_exponent: float | None = None
    length_exponent_interval: Span | None = None
    agrees: bool = True

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def frontier(found: Ensemble, price: Price, budget: float, level: float = LEVEL) -> list[Optimum]:
    """The best size and length for a budget in the price's unit, by each method."""
    costs = spent(found.fit.points, price)
    asked = np.array([np.log(budget), costs.min(), costs.max()])
    rows = [_optimum("law", law_best(found, price, np.exp(asked)), found, price, asked, level)]
    few = replace(found, theta=found.theta[:MOST_DRAWS], losses=found.losses[:MOST_DRAWS])
    for name, method in METHODS.items():
        row = _optimum(name, method(few, price).line(asked), found, price, asked, level)
        rows.append(replace(row, agrees=not _part(rows[0], row)))
    return rows


def law_best(found: Ensemble, price: Price, budgets: Floats) -> Floats:
    """Log N of the law's best at some budgets, for the runs and for each draw (1 + draws, budgets): by a grid and a
    parabola through its lowest three."""
    points, theta = found.fit.points, np.concatenate([found.fit.theta[None, :], found.theta])
    sizes = np.linspace(np.log(points.params.min()) - FAR, np.log(points.params.max()) + FAR, GRID)
    best = np.empty((len(theta), len(budgets)))
    for column, budget in enumerate(budgets):
        losses = np.log(found.fit.form.loss(theta, run_at(found, price, budget, np.exp(sizes))))  # (fits, GRID)
        best[:, column] = lowest(sizes, losses)[0]
    return best


def lowest(sizes: Floats, heights: Floats) -> tuple[Floats, Floats]:
    """Where curves (fits, sizes) over an even grid are lowest, and how low, by a parabola through the lowest three;
    (fits,) each."""
    k = np.clip(heights.argmin(axis=1), 1, len(sizes) - 2)
    left, middle, right = (heights[np.arange(len(heights)), k + shift] for shift in (-1, 0, 1))
    bend = left - 2 * middle + right
    bent = np.isfinite(bend) & (bend > 0)
    tilt = np.where(bent, left - right, 0.0)
    shift = np.clip(0.5 * tilt / np.where(bent, bend, 1), -1, 1)
    return sizes[k] + shift * (sizes[1] - sizes[0]), middle - 0.25 * tilt * shift


def apart(rows: Sequence[Optimum]) -> list[str]:
    """Warnings where methods part: beyond their intervals, or by FACTOR whatever these say."""
    told = []
    for one, other in combinations(rows, 2):
        if one.params is None or other.params is None:
            continue
        ratio = max(one.params / other.params, other.params / one.params)
        pair = f"{one.params:,.0f} by {one.method} and {other.params:,.0f} by {other.method}, a factor of {ratio:.2g}"
        if _part(one, other):
            powers = f"{one.size_exponent or math.nan:.2f} and {other.size_exponent or math.nan:.2f}"
            told.append(
                f"Two methods disagree: the best params are {pair}, and grow with the powers {powers} of the cost; the "
                "form, the design or single runs mislead one of them, and --plot shows where."
            )
        elif ratio > FACTOR:
            told.append(f"The best params are {pair}, which their wide intervals allow.")
    return told


def run_at(found: Ensemble, price: Price, budget: float, params: Floats) -> Points:
    """Runs of some sizes that spend the budget on the text of the design; their losses are not known."""
    same = np.ones(len(params))
    return Points(params, price.tokens(params, budget), same, same * found.fit.points.unique.max(), same * budget)


def _optimum(method: str, logs: Floats, found: Ensemble, price: Price, asked: Floats, level: float) -> Optimum:
    """An answer from log sizes (1 + draws, 3) at the log costs asked for: the budget, and the ends of the design. The
    first row is that of the runs themselves."""
    if not np.isfinite(logs[0]).all():
        return Optimum(method)
    best = run_at(found, price, float(np.exp(asked[0])), np.exp(logs[0, :1]))
    params, tokens = float(best.params[0]), float(best.tokens[0])
    loss = float(found.fit.form.loss(found.fit.theta, best)[0])
    sizes = (logs[:, 2] - logs[:, 1]) / (asked[2] - asked[1])
    paid = np.log(price.token(np.exp(logs[:, 1:])))
    lengths = 1 - (paid[:, 1] - paid[:, 0]) / (asked[2] - asked[1])
    law = method == "law"
    span, *others = (_span(each, law, found.scatter.freedom, level) for each in (logs[:, 0], sizes, lengths))
    low, high = (None, None) if span is None else np.exp(span).tolist()
    return Optimum(method, params, low, high, tokens, loss, float(sizes[0]), others[0], float(lengths[0]), others[1])


def _span(drawn: Floats, law: bool, freedom: int, level: float) -> Span | None:
    """The interval of a quantity from that of the runs and those of the draws (1 + draws,); None where too few draws
    have an answer. Draws come from the law: what reads the runs themselves scatters about what it reads off the law."""
    value, known = float(drawn[0]), drawn[1:][np.isfinite(drawn[1:])]
    if len(known) < SHARE * (len(drawn) - 1):
        return None
    low, high = interval(value, known if law else known - np.median(known) + value, freedom, level)
    return min(low, value), max(high, value)  # where draws lean to one side


def _part(one: Optimum, other: Optimum) -> bool:
    """Whether two methods part: their intervals, of the size or of its exponent, have nothing in common; where one has
    none, whether the sizes lie more than FACTOR apart or the exponents more than UNLIKE."""
    if one.params is None or other.params is None:
        return False
    sizes, size = [_ends(row.low, row.high) for row in (one, other)], float(np.log(one.params / other.params))
    powers = [row.size_exponent_interval for row in (one, other)]
    power = (one.size_exponent or 0.0) - (other.size_exponent or 0.0)
    return _beyond(sizes, size, (ALIKE[0], float(np.log(FACTOR)))) or _beyond(powers, power, (ALIKE[1], UNLIKE))


def _ends(low: float | None, high: float | None) -> Span | None:
    return None if low is None or high is None else (low, high)


def _beyond(spans: Sequence[Span | None], apart: float, bounds: Span) -> bool:
    """Whether two intervals have nothing in common and the values are further apart than the lower bound or, where one
    interval is missing, further than the upper."""
    one, other = spans
    if one is None or other is None:
        return abs(apart) > bounds[1]
    return abs(apart) > bounds[0] and (one[0] > other[1] or other[0] > one[1])
