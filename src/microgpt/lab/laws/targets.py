"""What runs are to tell: the best size of a budget, the loss of a run, or a number of the law; with its slopes.

A best size has no formula where the price of a token is no power of the size, but its slopes have one: at the bottom of
f(n, theta) = log L over n = log N, dn / dtheta = − (d²f / dn dtheta) / (d²f / dn²), by the implicit function theorem.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from microgpt.errors import DataError, UsageError
from microgpt.lab.laws.bootstrap import GONE, POSITIVE, Ensemble, interval, quantities
from microgpt.lab.laws.form import inputs
from microgpt.lab.laws.frontier import FAR, law_best, run_at
from microgpt.lab.laws.points import Floats, Points
from microgpt.lab.laws.price import Price

JUDGED: Final = 50  # draws over which a design is judged
APART: Final = 0.1  # of log sizes, for slopes at a best size
STEP: Final = 1e-5  # of a parameter, for slopes of anything else
EDGE: Final = 0.1  # of a log size: a best size nearer to the end of the search is none


@dataclass(frozen=True, eq=False)
class Target:
    """A number that follows from a law, in logarithms where `logarithm` says so: `values` of the fit and of its draws
    (1 + draws,), and `slopes` of the laws that are `judged` (laws, parameters), not finite where one has none."""

    name: str
    values: Floats
    slopes: Floats
    logarithm: bool = True

    def span(self, freedom: int, level: float) -> tuple[float, float]:
        """Its interval."""
        return interval(float(self.values[0]), self.values[1:][np.isfinite(self.values[1:])], freedom, level)

    def natural(self, value: float) -> float:
        """A value as people write it."""
        return float(np.exp(min(value, 700.0))) if self.logarithm else value


def judged(found: Ensemble) -> Floats:
    """The laws over which a design is judged, the fit first: centred parameters (laws, parameters). A floor that ran to
    zero is held a little above, where it still has slopes."""
    fit = found.fit
    theta = np.concatenate([fit.theta[None, :], found.theta[:JUDGED]])
    theta = fit.form.moved(theta, -fit.inputs.centre_params, -fit.inputs.centre_tokens)
    if fit.form.floor:
        theta[:, 0] = np.maximum(theta[:, 0], np.log(GONE * fit.points.loss.min()))
    return theta


def log_loss(found: Ensemble, theta: Floats, at: Points) -> tuple[Floats, Floats]:
    """The log of the loss of centred laws at some points (laws, points), and its slopes (laws, parameters, points)."""
    return found.fit.form.log_loss(theta, inputs(at, (found.fit.inputs.centre_params, found.fit.inputs.centre_tokens)))


def best_size(found: Ensemble, price: Price, budget: float) -> Target:
    """The size at which the law is lowest for a budget in the price's unit. Raises `DataError` where it is nowhere."""
    known = found.fit.points.params
    values = law_best(found, price, np.array([budget]))[:, 0]
    low, high = np.log(known.min()) - FAR + EDGE, np.log(known.max()) + FAR - EDGE
    inside = (values > low) & (values < high)
    if not inside[0]:
        raise DataError(
            f"The law has no best size for {budget:g} {price.unit} within 10,000 times the sizes of the runs; take a "
            "--budget nearer to their cost, --target size_exponent, or another --form."
        )
    theta = judged(found)
    logs = values[: len(theta)]
    sizes = np.exp(np.concatenate([logs - APART, logs, logs + APART]))
    heights, by_theta = log_loss(found, theta, run_at(found, price, budget, sizes))
    own = np.arange(len(theta))  # each law at its own sizes
    left, middle, right = (own + k * len(own) for k in range(3))
    bend = (heights[own, left] - 2 * heights[own, middle] + heights[own, right]) / APART**2
    tilt = (by_theta[own, :, right] - by_theta[own, :, left]) / (2 * APART)
    with np.errstate(all="ignore"):
        slopes = -tilt / np.where(inside[: len(theta)] & (bend > 0), bend, np.nan)[:, None]
    return Target(f"the best size for {budget:.4g} {price.unit}", values, slopes)


def loss_at(found: Ensemble, at: Points) -> Target:
    """The loss of one run."""
    form, theta = found.fit.form, np.concatenate([found.fit.theta[None, :], found.theta])
    name = f"the loss at N = {at.params[0]:,.0f}, D = {at.tokens[0]:,.0f}"
    return Target(name, np.log(form.loss(theta, at))[:, 0], log_loss(found, judged(found), at)[1][:, :, 0])


def number(found: Ensemble, name: str) -> Target:
    """A number of the law by its name, alpha say. Raises `UsageError` for one that the form lacks or is given."""
    fit = found.fit
    held = {each for each, _ in fit.form.fixed}
    able = [each for each in quantities(fit, fit.theta) if each not in held]
    if name not in able:
        raise UsageError(f"--target takes {', '.join(able)} with these flags; found {name!r}.")

    def value(theta: Floats) -> Floats:
        there = quantities(fit, theta)[name]
        return np.log(np.maximum(there, 1e-300)) if name in POSITIVE else there

    def centred(theta: Floats) -> Floats:
        return value(fit.form.moved(theta, fit.inputs.centre_params, fit.inputs.centre_tokens))

    values = value(np.concatenate([fit.theta[None, :], found.theta]))
    return Target(name, values, _differences(centred, judged(found)), name in POSITIVE)


def _differences(value: Callable[[Floats], Floats], theta: Floats) -> Floats:
    """The slopes of a smooth function of theta. (laws, parameters)"""
    steps = STEP * np.eye(theta.shape[1])
    return np.stack([(value(theta + step) - value(theta - step)) / (2 * STEP) for step in steps], axis=1)
