"""How sure a law is: the same design run again many times, with the scatter that the runs have shown.

The run is the unit. With a few seeds in a design cell, drawing again from the cell's own runs understates the scatter
by (seeds − 1)/seeds, and with one seed it sees none; so residuals are drawn instead, and the small sample is paid for:
each residual is divided by √(1 − leverage); all are scaled to the degrees of freedom that the parameters leave; the
share of the variance that the parameters took comes back as normal noise, because a robust fit goes through some runs
almost exactly and so leaves too many residuals near zero; and what the draws give is stretched from the normal to
Student's t. Signs are drawn too, since a Huber fit leaves residuals whose mean is not zero. Losses scatter by `scale` ·
loss^`power` nats; the power is fitted, held near zero (the same nats everywhere) as far as the runs do not say
otherwise.

Where replicates show that the law misses the cells' means by more than their seeds explain (an F test), the misses are
drawn for whole cells, and the degrees of freedom are those of the cells.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from microgpt.lab.laws.fit import Fit, refit
from microgpt.lab.laws.lbfgs import scipy_part
from microgpt.lab.laws.points import Floats

DRAWS: Final = 1000
LEVEL: Final = 0.9
PRIOR: Final = 8.0  # the weight that holds the power near zero, in units of one run's squared log loss
POWERS: Final = (-0.5, 1.5)
SMALLEST: Final = 0.05  # of the root mean square: residuals below count as that when the power is fitted
LACKS: Final = 0.05  # significance at which the law is said to miss the means of the cells
LOWEST: Final = 0.05  # of the law's loss: no drawn loss is lower


@dataclass(frozen=True, eq=False)
class Scatter:
    """How runs scatter about a law: nats at the middle loss and how they grow with it, and by how much the law misses
    the mean of a design cell beyond that (zero where seeds explain it all)."""

    scale: float
    power: float
    middle: float  # log loss at which the scale holds
    miss: float  # in units of the scale
    freedom: int
    pool: Floats  # (points,) residuals to draw runs from, in units of the scale
    cells: Floats  # (cells,) to draw the misses of cells from, in units of the scale

    def nats(self, loss: Floats) -> Floats:
        """Standard deviation of a run whose law says `loss`, of the same shape."""
        found: Floats = self.scale * np.exp(self.power * (np.log(loss) - self.middle))
        return found


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A fit, and what it would have been in other draws of the same design."""

    fit: Fit
    scatter: Scatter
    theta: Floats  # (draws, parameters), about zero
    losses: Floats  # (draws, points) what each was fitted to


def scatter_of(fit: Fit) -> Scatter:
    """The scatter of the runs about their law."""
    value, gradient = fit.form.log_loss(fit.centred[None, :], fit.inputs)
    log_law, slopes = value[0], gradient[0]
    residuals = fit.residuals * np.exp(log_law)  # nats
    swing = log_law - log_law.mean()
    free = residuals / np.sqrt(1 - leverage(slopes))
    power = fitted_power(swing, free)
    unit = np.exp(power * swing)
    scale = float(np.sqrt(np.sum((residuals / unit) ** 2) / fit.freedom))
    pool = free / unit
    pool = pool / np.sqrt(np.mean(pool**2))
    plain = Scatter(scale, power, float(log_law.mean()), 0.0, fit.freedom, pool, np.zeros(1))
    return with_misses(plain, fit, residuals / unit)


def leverage(slopes: Floats) -> Floats:
    """How far each point pulls the fit to itself: the diagonal of the hat matrix, for (parameters, points)."""
    basis = np.linalg.svd(slopes[np.any(slopes != 0, axis=1)], full_matrices=False)[2]
    pull: Floats = np.minimum(np.sum(basis**2, axis=0), 0.99)
    return pull


def fitted_power(swing: Floats, residuals: Floats) -> float:
    """How the size of residuals grows with the loss, in logarithms, held near zero by PRIOR."""
    least = SMALLEST * np.sqrt(np.mean(residuals**2)) + 1e-300
    size = np.log(np.maximum(np.abs(residuals), least))
    return float(np.clip(swing @ size / (swing @ swing + PRIOR), *POWERS))


def with_misses(plain: Scatter, fit: Fit, residuals: Floats) -> Scatter:
    """The scatter split into runs and cells where an F test of the cells' means asks for it. Residuals are in nats
    divided by how they grow with the loss."""
    cells, count = fit.points.cells, np.bincount(fit.points.cells)
    inner, outer = len(fit.points) - len(count), len(count) - fit.form.free
    if inner < 1 or outer < 1:
        return plain
    means = np.bincount(cells, residuals) / count
    within = residuals - means[cells]
    square = float(np.sum(within**2)) / inner
    between = float(np.sum(count * means**2)) / outer
    if square <= 0 or scipy_part("special").fdtrc(outer, inner, between / square) > LACKS:
        return plain
    scale = float(np.sqrt(square))
    miss = float(np.sqrt((between - square) / np.mean(count))) / scale
    pool = within * np.sqrt(count / np.maximum(count - 1, 1))[cells]
    pool = pool[count[cells] > 1]
    pool, drawn = pool / np.sqrt(np.mean(pool**2)), means / np.sqrt(np.mean(means**2))
    return Scatter(scale, plain.power, plain.middle, miss, outer, pool, drawn)


def draw_losses(fit: Fit, scatter: Scatter, draws: int, stream: np.random.Generator) -> Floats:
    """The design run again so often. (draws, points), nats"""
    law = fit.form.loss(fit.theta, fit.points)
    share = fit.form.free / len(law)
    unit = np.sqrt(1 - share) * _draw(scatter.pool, (draws, len(law)), stream)
    unit += np.sqrt(share) * stream.standard_normal(unit.shape)
    if scatter.miss:
        cells = _draw(scatter.cells, (draws, int(fit.points.cells.max()) + 1), stream)
        unit = unit + scatter.miss * cells[:, fit.points.cells]
    losses: Floats = np.maximum(law + unit * scatter.nats(law), LOWEST * law)
    return losses


def _draw(pool: Floats, shape: tuple[int, int], stream: np.random.Generator) -> Floats:
    drawn: Floats = pool[stream.integers(0, len(pool), shape)] * stream.choice([-1.0, 1.0], shape)
    return drawn


def bootstrap(fit: Fit, draws: int = DRAWS, seed: int = 0) -> Ensemble:
    """Fit the law to so many draws of its own design."""
    scatter = scatter_of(fit)
    losses = draw_losses(fit, scatter, draws, np.random.default_rng(seed))
    theta = refit(fit, np.log(losses)).theta
    moved = fit.form.moved(theta, fit.inputs.centre_params, fit.inputs.centre_tokens)
    return Ensemble(fit, scatter, moved, losses)


def stretch(freedom: int, level: float) -> float:
    """By how much Student's t is wider than the normal at a level."""
    special = scipy_part("special")
    tail = (1 + level) / 2
    return float(special.stdtrit(freedom, tail) / special.ndtri(tail))


def interval(value: float, drawn: Floats, freedom: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a quantity at a level, from its value and its draws (draws,)."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(drawn - value, tails) * stretch(freedom, level)
    return value + float(low), value + float(high)


def intervals(found: Ensemble, level: float = LEVEL) -> dict[str, tuple[float, float]]:
    """The interval of every parameter, and of what follows from them (see `quantities`)."""
    best, drawn = quantities(found.fit, found.fit.theta), quantities(found.fit, found.theta)
    found_intervals = {}
    for name, value in best.items():
        if name in POSITIVE:  # in logarithms, where they were fitted: the interval stays positive
            low, high = interval(float(np.log(value)), np.log(drawn[name]), found.scatter.freedom, level)
            low, high = float(np.exp(min(low, 700))), float(np.exp(min(high, 700)))
        else:
            low, high = interval(float(value), drawn[name], found.scatter.freedom, level)
        found_intervals[name] = (low, high)
    return found_intervals


POSITIVE: Final = {"E", "A", "B", "K", "R", "gamma"}


def quantities(fit: Fit, theta: Floats) -> dict[str, Floats]:
    """The parameters and `size_exponent` = beta / (alpha + beta): at the optimum, N grows as FLOP to that power
    (Hoffmann et al. 2022, equation 4)."""
    found: dict[str, Floats] = {name: np.asarray(value) for name, value in fit.form.natural(theta).items()}
    if {"alpha", "beta"} <= set(found):
        found["size_exponent"] = found["beta"] / (found["alpha"] + found["beta"])
    return found
