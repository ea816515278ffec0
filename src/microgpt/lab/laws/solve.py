"""Many robust fits at once: a damped Newton method on sums of Huber losses, over all fits in one pass of arrays.

The objective of one fit is the sum over points of Huber(log L − log L̂) with threshold δ: quadratic within δ, linear
beyond. Weights say how often each point counts: a draw of whole runs is a fit with whole numbers for weights. Its
curvature is that of the points within δ; the reweighted curvature min(1, δ/|r|) bounds it from above and makes a step
that can't go uphill by much. Between the two lies one number for each fit, which falls when a step did good and rises
when it did not: few large steps far away, Newton's speed near the bottom.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from microgpt.lab.laws.form import Form, Inputs
from microgpt.lab.laws.points import Floats

DELTA: Final = 1e-3  # of Huber, in log loss: Hoffmann et al. 2022
ROUNDS: Final = 300
STILL: Final = 1e-9  # a step below this is no step any more
LONGEST_STEP: Final = 2.0  # in any parameter
RIDGE: Final = 1e-11  # of the largest curvature, so that a parameter without effect stays where it is
NUMBERS: Final = 200_000  # of a gradient that is held at once: a cache has room for the arrays of a pass
TINY: Final = 1e-300


@dataclass(frozen=True, eq=False)
class Solution:
    theta: Floats  # (fits, parameters), about the centre of the inputs
    objective: Floats  # (fits,)
    step: Floats  # (fits,) the last step that was thought of; below STILL where the bottom was reached


def huber(residuals: Floats, delta: float) -> Floats:
    """r²/2 within δ, δ(|r| − δ/2) beyond."""
    size = np.abs(residuals)
    inner = np.minimum(size, delta)
    loss: Floats = inner * (size - inner / 2)
    return loss


def solve(
    form: Form,
    given: Inputs,
    log_loss: Floats,  # (fits or 1, points)
    start: Floats,  # (fits, parameters)
    delta: float = DELTA,
    rounds: int = ROUNDS,
    weights: Floats | None = None,  # (fits or 1, points) how often each point counts; once without
) -> Solution:
    """Minimise every fit from its start, as many at a time as memory is set aside for."""
    shape = len(start), log_loss.shape[1]
    target, counts = np.broadcast_to(log_loss, shape), np.broadcast_to(1.0 if weights is None else weights, shape)
    block = max(1, NUMBERS // (form.size * log_loss.shape[1]))
    parts = [
        _solve(form, given, target[k : k + block], counts[k : k + block], start[k : k + block], delta, rounds)
        for k in range(0, len(start), block)
    ]
    if len(parts) == 1:
        return parts[0]
    columns = ((part.theta, part.objective, part.step) for part in parts)
    return Solution(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _solve(
    form: Form, given: Inputs, target: Floats, counts: Floats, start: Floats, delta: float, rounds: int
) -> Solution:
    fits = len(start)
    theta, step = start.copy(), np.zeros_like(start)
    damping, objective = np.full(fits, 1.0), np.full(fits, np.inf)
    active = np.arange(fits)
    for _ in range(rounds):
        tried = theta[active] + step[active]
        value, gradient = form.log_loss(tried, given)
        residuals = target[active] - value
        reached = (counts[active] * huber(residuals, delta)).sum(axis=1)
        good = reached < objective[active]
        damping[active] = np.clip(damping[active] * np.where(good, 0.2, 5.0), 1e-6, 1e9)
        better = active[good]
        theta[better], objective[better] = tried[good], reached[good]
        step[better] = _step(gradient[good], residuals[good], counts[better], damping[better], delta)
        step[active[~good]] *= 0.3  # tried again, shorter along the same line, until it is no step any more
        active = active[np.abs(step[active]).max(axis=1) > STILL]
        if not len(active):
            break
    return Solution(theta, objective, np.abs(step).max(axis=1))


def _step(gradient: Floats, residuals: Floats, counts: Floats, damping: Floats, delta: float) -> Floats:
    """The step of each fit (fits, parameters)."""
    size = np.abs(residuals)
    curvature = (size <= delta) + damping[:, None] * np.minimum(1.0, delta / np.maximum(size, delta))
    curvature = counts * curvature
    matrix = (gradient * curvature[:, None, :]) @ gradient.transpose(0, 2, 1)  # (fits, parameters, parameters)
    towards = gradient @ (counts * np.clip(residuals, -delta, delta))[:, :, None]  # (fits, parameters, 1)
    diagonal = np.einsum("fpp->fp", matrix)  # a view
    diagonal += RIDGE * diagonal.max(axis=1, keepdims=True) + TINY
    step = np.linalg.solve(matrix, towards)[:, :, 0].astype(np.float64)
    longest = np.maximum(np.abs(step).max(axis=1, keepdims=True), TINY)
    return np.asarray(step * np.minimum(1.0, LONGEST_STEP / longest))
