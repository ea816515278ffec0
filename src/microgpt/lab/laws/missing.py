"""Which runs to add where a design has too few for a law."""

from typing import Final

import numpy as np

from microgpt.lab.laws.form import Axis
from microgpt.lab.laws.points import Floats, Points, levels

LEAST_STEP: Final = 4.0  # between a level and the next
OTHERS: Final = {"params": "tokens", "tokens": "params", "flop": ""}


def more_levels(found: Points, axis: Axis, count: int) -> str:
    """`add runs of about 4e+06 and 1.6e+07 params, each with the tokens of those there are (1e+08 to 1e+09)`."""
    there = _lowest(getattr(found, axis))
    step = max(LEAST_STEP, float(there[-1] / there[-2])) if len(there) > 1 else LEAST_STEP
    named = " and ".join(f"{there[-1] * step**k:.2g}" for k in range(1, count + 1))
    if not (other := OTHERS[axis]):
        return f"add runs of about {named} {axis}"
    column = getattr(found, other)
    span = f"{column.min():.2g} to {column.max():.2g}" if np.ptp(column) else f"{column[0]:.2g}"
    return f"add runs of about {named} {axis}, each with the {other} of those there are ({span})"


def crossing(found: Points) -> str:
    """The two runs that make an L-shaped design a crossed one at the least, as far from its lines as it reaches."""
    sizes, lengths = levels(found.params), levels(found.tokens)
    size, length = (int(np.bincount(column).argmax()) for column in (sizes, lengths))
    params = _lowest(found.params[sizes != size])
    tokens = _lowest(found.tokens[lengths != length])
    far = [f"N = {params[k]:.4g} with D = {tokens[k]:.4g}" for k in (0, -1)]
    return f"add {' and '.join(dict.fromkeys(far))} at the least"


def _lowest(column: Floats) -> Floats:
    """The lowest value of each level, from the lowest."""
    level = levels(column)
    return np.array([column[level == k].min() for k in range(int(level.max()) + 1)])
