"""What a law is worth beyond its runs: fit the smaller runs, predict the larger, and see by how much it missed.

Parameter uncertainty and seeds explain a part of the misses; what is left is misfit, a variance in log loss, by the
moment estimator of DerSimonian and Laird (1986): each cell counts by how well the law could have known it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from microgpt.lab.laws.fit import Fit, fit_part
from microgpt.lab.laws.form import inputs
from microgpt.lab.laws.points import Floats, Points, count_levels
from microgpt.lab.laws.scatter import scatter_of
from microgpt.lab.statistics.intervals import scipy_part

FOLDS: Final = 4
REACH: Final = 10.0  # how many times the compute of what was fitted a backtest predicts
LEAST_LEVELS: Final = 3
LEAST_SHARE: Final = 1 / 3  # of the cells, to fit in the smallest fold


@dataclass(frozen=True, eq=False)
class Backtest:
    """The predicted cells of all folds, in log loss: by how much the law missed, what was expected, and how far away
    each cell was (log of the compute beyond the largest run fitted)."""

    misses: Floats  # (cells,)
    variances: Floats  # (cells,)
    distances: Floats  # (cells,)
    folds: int
    surplus: float = 0.0  # squared misses over what the scatter of all runs explains, on average

    @property
    def misfit(self) -> float:
        """Variance of what nothing else explains, in log loss."""
        if not len(self.misses):
            return 0.0
        worth = 1 / self.variances
        return float(max(0.0, (np.sum(self.misses**2 * worth) - len(worth)) / np.sum(worth)))

    @property
    def error(self) -> float:
        """Root mean square of the misses, in log loss."""
        return float(np.sqrt(np.mean(self.misses**2))) if len(self.misses) else float("nan")

    @property
    def distance(self) -> float:
        """The middle distance of the cells."""
        return float(np.median(self.distances)) if len(self.distances) else 0.0


def backtest(found: Fit, split: Iterable[tuple[Points, Points]] | None = None) -> Backtest:
    """Fit again and again to the runs below a compute, and predict those above; `split` has other pairs to try."""
    pairs = folds(found) if split is None else split
    whole, parts = scatter_of(found), []
    for known, hidden in pairs:
        part = fit_part(found, known)
        least = max(1.0, whole.scale / scatter_of(part).scale) ** 2
        parts.append((*_misses(part, hidden), least))
    if not parts:
        return Backtest(np.zeros(0), np.zeros(0), np.zeros(0), 0)
    misses, variances, distances = (np.concatenate(column) for column in list(zip(*parts, strict=True))[:3])
    surplus = np.concatenate([part[0] ** 2 / (part[1] * part[3]) for part in parts])
    return Backtest(misses, variances, distances, len(parts), float(surplus.mean()))


def bend(found: Fit) -> tuple[float, float]:
    """Whether residuals follow squares and products of log N and log D, which the law should have left nothing of
    (an F test in the manner of Ramsey 1969): the chance of that, and the root mean square of the bend in log loss."""
    given = found.inputs
    axes = [getattr(given, axis) for axis in found.form.axes]
    squares = np.stack([one * other for k, one in enumerate(axes) for other in axes[k:]], axis=1)
    slopes = found.form.log_loss(found.centred[None, :], given)[1][0].T
    slopes = slopes[:, np.any(slopes != 0, axis=0)]  # of those that are fitted
    rest = len(found.points) - slopes.shape[1] - squares.shape[1]
    if rest < 1:
        return 1.0, 0.0
    basis = np.linalg.svd(slopes, full_matrices=False)[0]
    left, squares = (column - basis @ (basis.T @ column) for column in (found.residuals, squares))
    bent = squares @ np.linalg.lstsq(squares, left, rcond=1e-9)[0]
    explained, other = float(bent @ bent), float(np.sum((left - bent) ** 2))
    ratio = explained / squares.shape[1] / max(other / rest, 1e-30)
    chance = float(scipy_part("special").fdtrc(squares.shape[1], rest, ratio))
    return chance, float(np.sqrt(explained / len(left)))


def folds(found: Fit) -> Iterator[tuple[Points, Points]]:
    """Up to FOLDS pairs of the runs below a compute and those up to REACH times above it."""
    points = found.points
    work = points.params * points.tokens
    border = [limit for limit in np.unique(work)[:-1] if _enough(found, work <= limit * (1 + 1e-9))]
    chosen = sorted({border[i] for i in np.linspace(0, len(border) - 1, FOLDS).round().astype(int)}) if border else []
    for limit in chosen:
        below = work <= limit * (1 + 1e-9)
        above = ~below & (work <= limit * REACH)
        if above.any():
            yield points.take(below), points.take(above)


def _enough(found: Fit, chosen: Floats) -> bool:
    points = found.points.take(chosen)
    cells = len(np.unique(points.cells))
    wide = all(count_levels(getattr(points, axis)) >= LEAST_LEVELS for axis in found.form.axes)
    least = max(found.form.size + 2, LEAST_SHARE * len(np.unique(found.points.cells)))
    return wide and cells >= least


def _misses(known: Fit, hidden: Points) -> tuple[Floats, Floats, Floats]:
    """Misses, variances and distances of the hidden cells, each (cells,)."""
    cells, count = hidden.cells, np.bincount(hidden.cells)
    given = inputs(hidden, (known.inputs.centre_params, known.inputs.centre_tokens))
    value, gradient = known.form.log_loss(known.centred[None, :], given)
    misses = np.bincount(cells, np.log(hidden.loss) - value[0]) / count
    slopes = np.stack([np.bincount(cells, row) / count for row in gradient[0]])  # (parameters, cells)
    scatter, law = scatter_of(known), np.exp(np.bincount(cells, value[0]) / count)
    run = (scatter.nats(law) / law) ** 2
    variance = np.einsum("pc,pq,qc->c", slopes, covariance(known), slopes) + run * (1 / count + scatter.miss**2)
    reach = np.bincount(cells, np.log(hidden.params * hidden.tokens)) / count
    return misses, variance, reach - float(np.log(known.points.params * known.points.tokens).max())


def covariance(known: Fit) -> Floats:
    """Of the centred parameters, as least squares would have it. (parameters, parameters)"""
    gradient = known.form.log_loss(known.centred[None, :], known.inputs)[1][0]
    law = np.exp(np.log(known.points.loss) - known.residuals)
    scatter = scatter_of(known)
    spread = (scatter.nats(law) / law) ** 2 * (1 + scatter.miss**2 * float(np.mean(np.bincount(known.points.cells))))
    inverse = np.linalg.pinv(gradient @ gradient.T, rcond=1e-12, hermitian=True)
    found: Floats = inverse @ (gradient * spread) @ gradient.T @ inverse
    return found
