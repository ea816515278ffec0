"""How runs scatter about their law, as their residuals show it, and the design run again with such a scatter.

With a few seeds in a design cell, drawing again from the cell's own runs understates the scatter by (seeds − 1)/seeds,
and with one seed it sees none; so residuals of all cells are one pool, and the small sample is paid for: each residual
is divided by √(1 − leverage); all are scaled to the degrees of freedom that the parameters leave; the share of the
variance that the parameters took comes back as normal noise, because a robust fit goes through some runs almost exactly
and so leaves too many residuals near zero. Signs are drawn too, since a Huber fit leaves residuals whose mean is not
zero. Losses scatter by `scale` · loss^`power` nats; the power is fitted, held near zero (the same nats everywhere) as
far as the runs do not say otherwise.

Where replicates show that the law misses the cells' means by more than their seeds explain (an F test), the misses are
drawn for whole cells, and the degrees of freedom are those of the cells. That asks for a design which repeats its runs:
a few cells that hold two runs by accident are no measure of a seed.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from microgpt.lab.laws.fit import Fit
from microgpt.lab.laws.points import Floats
from microgpt.lab.statistics.intervals import scipy_part

PRIOR: Final = 8.0  # the weight that holds the power near zero, in units of one run's squared log loss
POWERS: Final = (-0.5, 1.5)
SMALLEST: Final = 0.05  # of the root mean square: residuals below count as that when the power is fitted
LACKS: Final = 0.05  # significance at which the law is said to miss the means of the cells
REPEATED: Final = 0.5  # of the cells hold two runs or more where a design repeats its runs
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
    if inner < 1 or outer < 1 or np.mean(count > 1) < REPEATED:
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
