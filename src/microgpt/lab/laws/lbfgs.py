"""The customary optimiser of scaling laws, as a second witness: L-BFGS with tight tolerances, one start at a time."""

from typing import Any

import numpy as np

from microgpt.lab.laws.fit import AGREE, Fit, check_moved, starts
from microgpt.lab.laws.form import Form, inputs
from microgpt.lab.laws.points import Floats, Points
from microgpt.lab.laws.solve import DELTA, huber
from microgpt.lab.statistics.intervals import scipy_part

TIGHT = {"ftol": 1e-16, "gtol": 1e-12, "maxiter": 20_000, "maxfun": 40_000, "maxcor": 30}
SCALE = 1e6  # the sum is of the order of δ² a point, below what L-BFGS-B takes for zero


def fit_lbfgs(form: Form, found: Points, delta: float = DELTA, every: int = 1) -> Fit:
    """What `fit` returns, found by SciPy's L-BFGS-B from every `every`-th start. Raises `DataError`."""
    optimize, given, target = scipy_part("optimize"), inputs(found), np.log(found.loss)
    grid = starts(form, found)[::every]
    ends = [
        optimize.minimize(objective, start, (form, given, target, delta), "L-BFGS-B", True, options=TIGHT)
        for start in grid
    ]
    reached = np.array([end.fun for end in ends]) / SCALE
    best = int(np.argmin(reached))
    agreeing = int((reached <= reached[best] * (1 + AGREE)).sum())
    if agreeing < 2:
        check_moved(grid[best], ends[best].x)
    theta = form.moved(ends[best].x, given.centre_params, given.centre_tokens)
    return Fit(form, found, theta, float(reached[best]), len(grid), agreeing, delta)


def objective(theta: Floats, form: Form, given: Any, target: Floats, delta: float) -> tuple[float, Floats]:
    """The scaled sum of Huber losses and its gradient (parameters,)."""
    value, gradient = form.log_loss(theta[None, :], given)
    residuals = target - value[0]
    return float(SCALE * huber(residuals, delta).sum()), -SCALE * gradient[0] @ np.clip(residuals, -delta, delta)
