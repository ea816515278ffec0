"""Which runs to add so that a number is known best, within a cost: from what is tried to what is said of it.

No cell lies far beyond the runs, nor is more lopsided than they are: a law may not hold there.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from microgpt.errors import UsageError
from microgpt.lab.laws.backtest import Backtest
from microgpt.lab.laws.bootstrap import LEVEL, Ensemble, stretch
from microgpt.lab.laws.doubts import MOST_EPOCHS
from microgpt.lab.laws.optimal import Cells, Judge, Limits, best_cells
from microgpt.lab.laws.points import Floats, Points, count_levels, levels, points
from microgpt.lab.laws.predict import NEAR
from microgpt.lab.laws.price import Price, price
from microgpt.lab.laws.targets import Target

STEP: Final = 2.0  # about so many times a size, or a length, is the one before
MOST_LEVELS: Final = 24  # of sizes, and of lengths
PARTS: Final = (1, 2, 4, 8)  # fewer runs are tried too, for they may be dearer
SEEDS: Final = (1, 2, 3, 4, 6, 8)  # tried where their number is left open


@dataclass(frozen=True, eq=False)
class Suggestion:
    """Cells to add, in the order of their size and length, with so many seeds each. `narrowed` is how many times as
    wide the interval of the number is expected to be with them, `uniform` with the same cost spent on more runs of each
    cell there is; `share` is how many more of each that is, one for each run being 1."""

    cells: Cells
    seeds: int
    narrowed: float
    uniform: float
    share: float

    @property
    def cost(self) -> float:
        return float(self.cells.costs.sum()) * self.seeds

    @property
    def runs(self) -> int:
        return len(self.cells.costs) * self.seeds

    def doubts(self, of_form: Sequence[str] = ()) -> list[str]:
        """Warnings where the form of the law is doubted, by what is said of it, or all lies on one line of the design:
        such runs narrow the interval about a value that may be wrong."""
        sides = {"size": self.cells.at.params, "length": self.cells.at.tokens}
        alone = [name for name, column in sides.items() if count_levels(column) == 1 and len(column) > 1]
        doubted = ["These runs are the best only if this form is right, which is doubted below: answer that first."]
        return doubted * bool(of_form) + [
            f"All of these runs have one {name}, which is best only if the law is right; read its warnings first."
            for name in alone
        ]


def grid(column: Floats, reach: float) -> Floats:
    """The levels of a column, with more between and beyond them, each about STEP times the one before."""
    level = levels(column)
    there = np.array([np.median(column[level == k]) for k in range(int(level.max()) + 1)])
    step = max(float(np.log(STEP)), float(np.log(there[-1] * reach / there[0])) / (MOST_LEVELS - 1))
    if len(there) > MOST_LEVELS // 2:
        return np.geomspace(there[0], there[-1] * reach, round(np.log(there[-1] * reach / there[0]) / step) + 1)
    ends = [*there, *([there[-1] * reach] if reach > 1 else [])]
    parts = [
        np.geomspace(low, high, max(1, round(np.log(high / low) / step)) + 1)[:-1]
        for low, high in itertools.pairwise(ends)
    ]
    return np.concatenate([*parts, ends[-1:]])


def candidates(found: Ensemble, cost: Price, limits: Limits, sizes: Sequence[float] | None = None) -> Cells:
    """The cells among which is chosen: no dearer than the cost, no more lopsided, and no more often over the text, than
    the runs or than a law holds. `sizes` are those that can be trained, where not all can. Raises `UsageError`."""
    known = found.fit.points
    params = grid(known.params, limits.reach) if sizes is None else np.array(sorted(sizes), dtype=float)
    pairs = np.array([(size, length) for size in params for length in grid(known.tokens, limits.reach)])
    at = points(pairs[:, 0], pairs[:, 1], np.ones(len(pairs)), np.full(len(pairs), known.unique.max()))
    at = replace(at, flop=at.tokens * price(known).token(at.params))
    costs = at.tokens * cost.token(at.params)
    length, ratio = np.log(known.tokens / known.params), np.log(at.tokens / at.params)
    sound = (ratio >= length.min() - NEAR) & (ratio <= length.max() + NEAR)
    if not found.fit.form.repeated:
        sound &= at.epochs <= max(MOST_EPOCHS, known.epochs.max()) * (1 + NEAR)
    if not (sound & (costs <= limits.cost)).any():
        least = float(costs[sound].min(initial=np.inf))
        raise UsageError(
            f"COST is at least that of one run: {least:.3g} {cost.unit} is the cheapest that would be tried, found "
            f"{limits.cost:.3g}."
        )
    return Cells(at, costs, _there(known, at)).take(np.flatnonzero(sound & (costs <= limits.cost)))


def _there(known: Points, at: Points) -> Floats:
    """How many runs there are of each size and length. (points,)"""
    sides = [levels(np.concatenate([getattr(known, name), getattr(at, name)])) for name in ("params", "tokens")]
    pair = sides[0] * (int(sides[1].max()) + 1) + sides[1]
    found: Floats = np.bincount(pair[: len(known)], minlength=int(pair.max()) + 1)[pair[len(known) :]].astype(float)
    return found


def suggest(found: Ensemble, tested: Backtest, cost: Price, target: Target, limits: Limits, cells: Cells) -> Suggestion:
    """The cells that narrow a target most. Raises `DataError` where the runs say nothing of the target, `UsageError`
    where a limit leaves no run."""
    judge = Judge(found, tested, target, cells)
    if limits.seeds and limits.seeds > limits.runs:
        raise UsageError(f"--seeds is at most --runs, found {limits.seeds} of {limits.runs}.")
    made = [
        (*best_cells(judge, replace(limits, runs=runs), seeds), seeds)
        for seeds in ([limits.seeds] if limits.seeds else SEEDS)
        for runs in sorted({limits.runs // part for part in PARTS}, reverse=True)
        if seeds <= runs
    ]
    value, chosen, seeds = min(made, key=lambda each: each[0])
    if not chosen:
        raise UsageError(f"COST buys no {seeds} runs of one cell that inform {target.name}; give more, or fewer seeds.")
    order = sorted(chosen, key=lambda k: (cells.at.params[k], cells.at.tokens[k]))
    taken = cells.take(np.array(order, dtype=np.intp))
    spent = float((found.fit.points.tokens * cost.token(found.fit.points.params)).sum())
    now, share = judge.value(judge.inverse()), float(taken.costs.sum()) * seeds / spent
    even = judge.value(judge.inverse(share)), share * len(found.fit.points)
    ratios = [
        float(np.exp((after - now) / 2)) * _freer(found.scatter.freedom, more)
        for after, more in ((value, len(taken.costs) * seeds), even)
    ]
    return Suggestion(taken, seeds, ratios[0], ratios[1], share)


def _freer(freedom: int, more: float) -> float:
    """By how much Student's t narrows an interval with so many more runs."""
    return stretch(freedom + int(more), LEVEL) / stretch(freedom, LEVEL)
