"""Means and differences over seeds, each with the interval that few seeds allow. Nats per token go in and come out.

With three seeds a normal interval is far too narrow (1.6 standard errors where 2.9 are due), so all are Student's.
"""

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.errors import EnvironmentFault

LEVEL: Final = 0.9  # of every interval in the tables
POWER: Final = 0.8  # the chance to settle a row that `seeds_to_settle` plans for
MOST_SEEDS: Final = 1000  # beyond it a row is called out of reach


NEEDED: Final = "Laws need SciPy, which is not installed here; pip install 'microgpt-symmetry[lab]' brings it."


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error and its interval. With one value there is no error, and they are None."""

    mean: float
    se: float | None
    low: float | None
    high: float | None
    spread: float | None  # standard deviation of one value: over seeds, or over pairs of equal seed
    count: int


def t_quantile(probability: float, freedom: float) -> float:
    """Student's t, that so much probability lies below. Raises `EnvironmentFault` without SciPy."""
    return float(_student(freedom, probability))


def t_above(value: float, freedom: float) -> float:
    """The probability that Student's t exceeds a value."""
    return float(_special().stdtr(freedom, -value))


def f_above(value: float, freedom: int, freedom_within: int) -> float:
    """The probability that Fisher's F exceeds a value."""
    return float(_special().fdtrc(freedom, freedom_within, value))


def mean(values: Sequence[float]) -> Estimate:
    """The mean of independent values with its t-interval (Student 1908)."""
    count = len(values)
    middle = math.fsum(values) / count
    if count < 2:
        return Estimate(middle, None, None, None, None, count)
    spread = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (count - 1))
    return _estimate(middle, spread / math.sqrt(count), count - 1, spread, count)


def difference(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """`before - after` of two independent samples, the spreads of which may differ (Welch 1947).

    `spread` is that of the difference of two single values. One sample of a single value leaves no interval.
    """
    first, second = mean(before), mean(after)
    middle, count = first.mean - second.mean, min(first.count, second.count)
    if first.se is None or second.se is None or first.spread is None or second.spread is None:
        return Estimate(middle, None, None, None, None, count)
    variances = first.se**2, second.se**2
    below = variances[0] ** 2 / (first.count - 1) + variances[1] ** 2 / (second.count - 1)
    freedom = sum(variances) ** 2 / below if below > 0 else first.count + second.count - 2
    return _estimate(middle, math.sqrt(sum(variances)), freedom, math.hypot(first.spread, second.spread), count)


def seeds_to_settle(drop: float, spread: float, freedom_each: int = 1) -> int | None:
    """The seeds a level needs so that the interval of this drop leaves out zero with a chance of `POWER`.

    The smallest n with (t(0.95, v) + t(0.8, v)) · spread / √n <= |drop|, where v is n − 1 for pairs of equal seed
    (`freedom_each` 1) and 2 (n − 1) for two independent samples (2): the sample size of Snedecor & Cochran,
    Statistical Methods, iterated with t in place of the normal. It takes the drop and the spread that were measured for
    the true ones. None beyond `MOST_SEEDS`.
    """
    widths = _widths(freedom_each)
    if drop == 0 or not math.isfinite(drop):
        return None
    enough = np.nonzero(widths * spread <= abs(drop))[0]
    return int(enough[0]) + 2 if len(enough) else None


@cache
def _widths(freedom_each: int) -> NDArray[np.float64]:
    """What the spread is multiplied by, for 2, 3, … `MOST_SEEDS` seeds."""
    seeds = np.arange(2, MOST_SEEDS + 1)
    freedom = freedom_each * (seeds - 1)
    total = _student(freedom, (1 + LEVEL) / 2) + _student(freedom, POWER)
    return np.asarray(total / np.sqrt(seeds))


def _estimate(middle: float, se: float, freedom: float, spread: float, count: int) -> Estimate:
    half = _two_sided(freedom) * se
    return Estimate(middle, se, middle - half, middle + half, spread, count)


@cache
def _two_sided(freedom: float) -> float:
    return t_quantile((1 + LEVEL) / 2, freedom)


def _student(freedom: Any, probability: float) -> Any:
    return _special().stdtrit(freedom, probability)


def _special() -> Any:
    message = "expected SciPy for the intervals, found none; install it with: pip install 'microgpt-symmetry[lab]'"
    return scipy_part("special", message)


def scipy_part(name: str, missing: str = NEEDED) -> Any:
    """A module of SciPy, imported when it is needed. Raises `EnvironmentFault`, which says what is `missing`."""
    try:
        return importlib.import_module(f"scipy.{name}")
    except ImportError:
        raise EnvironmentFault(missing) from None
