"""How sure a law is: it is fitted again and again to other draws of its own runs.

The run is the unit. By default whole runs are drawn with replacement (the pairs bootstrap, Efron & Tibshirani 1993,
section 9.5), which holds also where some runs scatter more than others and have the most say in an exponent. With
`residuals` the design stays as it is and its losses are drawn (see scatter.py): right where the scatter is even, about
half as wide as it should be where it is not. Where the law misses the means of its design cells by more than seeds
explain, whole cells are drawn. What the draws give is stretched from the normal to Student's t.

A draw that lost what tells a parameter, a size or a length say, can't be fitted and is drawn again: one whose least
known direction has less than LEAST of the information that all the runs have on it.

A floor near zero has no slope, so that a draw that starts there stays there, whatever its runs say. So draws are
searched from other floors too: a few of them at first, and all where one of these found a lower bottom. Zero is also
the edge of what a floor can be, where drawing runs is not consistent (Andrews 2000): runs whose fit has no floor have
none in nearly all draws. There every second draw is of residuals.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from microgpt.lab.laws.fit import Fit, refit
from microgpt.lab.laws.form import Form
from microgpt.lab.laws.points import Floats
from microgpt.lab.laws.scatter import Scatter, draw_losses, scatter_of
from microgpt.lab.statistics.intervals import scipy_part

Resample = Literal["runs", "residuals"]

DRAWS: Final = 1000
LEVEL: Final = 0.9
LEAST: Final = 0.02  # of the information of all runs, in its least known direction: a draw with less is drawn again
ATTEMPTS: Final = 50
FLOORS: Final = (0.5, 0.9)  # of the lowest loss, from which draws are searched too
GONE: Final = 1e-3  # of the lowest loss: a lower floor ran to zero
PROBED: Final = 0.1  # of the draws are searched from all floors at first
LOWER: Final = 1e-4  # a bottom is another one that is lower by this share
FAR: Final = 1e3  # a bound that is so many times above or below the value is none
POSITIVE: Final = {"A", "B", "K", "R", "gamma"}


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A fit, and what it would have been in other draws of the same design. `losses` are of the whole design, with the
    scatter of its runs: what each theta was fitted to where residuals are drawn. Drawn runs leave cells empty, where
    measured curves need a loss in each; so the curve methods of the frontier take these in both ways."""

    fit: Fit
    scatter: Scatter
    theta: Floats  # (draws, parameters), about zero
    losses: Floats  # (draws, points), nats
    resample: Resample = "runs"


def bootstrap(
    fit: Fit, draws: int = DRAWS, seed: int = 0, resample: Resample = "runs", given: Floats | None = None
) -> Ensemble:
    """Fit the law to so many draws of its own design. `given` says how often each run is in each draw of runs, where
    this was drawn elsewhere (see `draw_runs`)."""
    scatter, stream = scatter_of(fit), np.random.default_rng(seed)
    losses = draw_losses(fit, scatter, draws, stream)
    log_loss = np.log(losses)
    counts = np.ones_like(log_loss)
    if resample == "runs":
        drawn = slice(0, None, 2 if gone(fit, fit.centred) else 1)
        log_loss[drawn] = np.log(fit.points.loss)
        often = draw_runs(fit, draws, stream, cells=scatter.miss > 0) if given is None else given
        counts[drawn] = often[drawn]
    theta = searched(fit, log_loss, counts)
    moved = fit.form.moved(theta, fit.inputs.centre_params, fit.inputs.centre_tokens)
    return Ensemble(fit, scatter, moved, losses, resample)


def draw_runs(fit: Fit, draws: int, stream: np.random.Generator, cells: bool = False) -> Floats:
    """How often each run is in each draw (draws, points): as many are drawn as there are, runs or whole cells."""
    unit = fit.points.cells if cells else np.arange(len(fit.points))
    units = int(unit.max()) + 1
    slopes = fit.form.log_loss(fit.centred[None, :], fit.inputs)[1][0]
    slopes = slopes[np.any(slopes != 0, axis=1)]  # of those that are fitted
    basis = np.linalg.svd(slopes, full_matrices=False)[2]  # (parameters, points), of which all runs know 1 each
    known = np.einsum("pn,qn->npq", basis, basis).reshape(len(unit), -1)  # (points, parameters²)
    counts, wanting = np.zeros((draws, len(unit))), np.arange(draws)
    for _ in range(ATTEMPTS):
        drawn = stream.integers(0, units, (len(wanting), units)) + units * np.arange(len(wanting))[:, None]
        often = np.bincount(drawn.reshape(-1), minlength=units * len(wanting)).reshape(-1, units)
        counts[wanting] = often[:, unit]
        information = (counts[wanting] @ known).reshape(-1, len(basis), len(basis))
        wanting = wanting[np.linalg.eigvalsh(information)[:, 0] < LEAST]
        if not len(wanting):
            break
    return counts


def gone(fit: Fit, theta: Floats) -> Any:
    """Whether the floor ran to zero, for centred parameters: a flag for each fit."""
    return theta[..., 0] < np.log(GONE * fit.points.loss.min()) if fit.form.floor else np.zeros(theta.shape[:-1], bool)


def searched(fit: Fit, log_loss: Floats, counts: Floats) -> Floats:
    """The lowest bottom of each draw (draws, parameters), centred, from the fit and from other floors. Both arrays are
    (draws, points)."""
    found = refit(fit, log_loss, counts)
    if not fit.form.floor:
        return found.theta
    theta, objective, every = found.theta, found.objective, np.arange(len(counts))
    lost = gone(fit, theta)
    probed = every % round(1 / PROBED) == 0
    first = lost | probed
    for chosen in (every[first], every[~first]):
        if not len(chosen):
            break
        other = refit(fit, log_loss[chosen], counts[chosen], FLOORS)
        lower = other.objective < objective[chosen] * (1 - LOWER)
        theta[chosen[lower]] = other.theta[lower]
        if not (lower & ~lost[chosen]).any():
            break
    return theta


def stretch(freedom: int, level: float) -> float:
    """By how much Student's t is wider than the normal at a level."""
    special = scipy_part("special")
    tail = (1 + level) / 2
    return float(special.stdtrit(freedom, tail) / special.ndtri(tail))


def interval(value: float, drawn: Floats, freedom: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a quantity at a level, from its value, which it holds, and its draws (draws,)."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(drawn - value, tails) * stretch(freedom, level)
    return value + min(float(low), 0.0), value + max(float(high), 0.0)


def intervals(found: Ensemble, level: float = LEVEL) -> dict[str, tuple[float, float]]:
    """The interval of every parameter, and of what follows from them (see `quantities`). A bound that is not determined
    is infinite."""
    best, drawn = quantities(found.fit, found.fit.theta), quantities(found.fit, found.theta)
    spans, freedom, far = {}, found.scatter.freedom, np.log(FAR)
    for name, value in best.items():
        if name in POSITIVE:  # in logarithms, where they were fitted: the interval stays positive
            low, high = interval(middle := float(np.log(value)), np.log(drawn[name]), freedom, level)
            low = float(np.exp(low)) if low > middle - far else -np.inf
            high = float(np.exp(high)) if high < middle + far else np.inf
        else:
            low, high = interval(float(value), drawn[name], freedom, level)
        if name == "E" and low < GONE * found.fit.points.loss.min():
            low = 0.0
        spans[name] = low, high
    return spans


def quantity_names(form: Form) -> tuple[str, ...]:
    """What `quantities` gives of a form, in order."""
    return (*form.names, *["size_exponent"] * ({"alpha", "beta"} <= {*form.names}))


def quantities(fit: Fit, theta: Floats) -> dict[str, Floats]:
    """The parameters and `size_exponent` = beta / (alpha + beta): at the optimum, N grows as FLOP to that power
    (Hoffmann et al. 2022, equation 4)."""
    found: dict[str, Floats] = {name: np.asarray(value) for name, value in fit.form.natural(theta).items()}
    if "size_exponent" in quantity_names(fit.form):
        found["size_exponent"] = found["beta"] / (found["alpha"] + found["beta"])
    return found
