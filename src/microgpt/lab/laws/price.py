"""What a run costs, in FLOP or in seconds, as a price of one token that depends on the size."""

from dataclasses import dataclass

import numpy as np

from microgpt.errors import DataError
from microgpt.lab.laws.points import Floats, Points, count_levels, levels


@dataclass(frozen=True, eq=False)
class Price:
    """log(cost of a token) over log N: straight lines between the sizes that were measured, and beyond them."""

    unit: str  # FLOP or seconds
    sizes: Floats  # (knots,) log N, rising
    prices: Floats  # (knots,) log cost of a token

    def token(self, params: Floats) -> Floats:
        """The cost of one token for models of some sizes, of the same shape."""
        at, known = np.log(params), self.sizes
        inner = np.interp(at, known, self.prices)
        first, last = self._slope(0), self._slope(-2)
        found: Floats = np.exp(inner + first * np.minimum(at - known[0], 0) + last * np.maximum(at - known[-1], 0))
        return found

    def _slope(self, k: int) -> float:
        return float((self.prices[k + 1] - self.prices[k]) / (self.sizes[k + 1] - self.sizes[k]))

    def tokens(self, params: Floats, budget: float) -> Floats:
        """How many tokens a budget buys at each size."""
        found: Floats = budget / self.token(params)
        return found


def price(found: Points, cost: Floats | None = None, unit: str = "FLOP") -> Price:
    """The price of a token at each size of a design, from what its runs cost; by default their FLOP. Raises `DataError`
    where costs or sizes are missing."""
    spent = found.flop if cost is None else cost
    known = np.isfinite(spent) & (spent > 0)
    if count_levels(found.params[known]) < 2:
        raise DataError(f"Expected runs of two sizes or more with their {unit}, found fewer; a store has them.")
    level, logs = levels(found.params[known]), np.log(found.params[known])
    beyond = np.log(spent[known] / found.tokens[known]) - logs  # what a token costs, by parameter
    members = [level == k for k in range(int(level.max()) + 1)]
    sizes = np.array([logs[each].mean() for each in members])
    return Price(unit, sizes, sizes + np.array([np.median(beyond[each]) for each in members]))
