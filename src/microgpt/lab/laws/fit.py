"""The fit of a law: the best of many starts, and how many of them agree.

The objective is the sum, not the mean, of Huber losses on log losses (Hoffmann et al. 2022, section 3.3). With a mean,
the default tolerances of an optimiser stop it early and give wrong exponents (Besiroglu et al. 2024, appendix A). Here
all starts go down at once by solve.py; lbfgs.py is the customary optimiser, and tests hold both to the same bottom.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from microgpt.errors import DataError
from microgpt.lab.laws.form import Form, Inputs, inputs
from microgpt.lab.laws.points import Floats, Points
from microgpt.lab.laws.solve import DELTA, Solution, solve

AGREE: Final = 1e-3  # starts agree whose objectives are within this share of the best
FEW: Final = 0.2  # a smaller share of starts that agree is a warning
MOVED: Final = 1e-6  # an optimum nearer than this to its start was not searched for
EXPONENTS: Final = (0.1, 0.3, 0.6, 1.2)
FLOORS: Final = (0.2, 0.5, 0.8, 0.95)  # of the lowest loss
SPLITS: Final = (0.25, 0.5, 0.75)  # how what is above the floor is shared between N and D in the middle of the design
REPEATS: Final = (3.0, 15.0)
GAMMAS: Final = (1.0, 0.4)
SEARCH: Final = 200  # rounds for each start; most need 20, and what is still on its way then lies in a bad place
GLANCE: Final = 80  # rounds for each start on a part of the points
SMOOTH: Final = 30  # rounds where the valley is smooth
WIDE: Final = 3.0  # times the middle size of a residual
EXACT: Final = 1e-18  # an objective that rounding alone has left
THIN: Final = 7  # every so many starts of the grid serve a part of the points


@dataclass(frozen=True, eq=False)
class Fit:
    """A law fitted to points. `theta` is in the form's own parameters, about zero."""

    form: Form
    points: Points
    theta: Floats  # (parameters,)
    objective: float
    starts: int
    agreeing: int
    delta: float = DELTA

    @cached_property
    def inputs(self) -> Inputs:
        return inputs(self.points)

    @property
    def centred(self) -> Floats:
        """theta about the centre of the design. (parameters,)"""
        return self.form.moved(self.theta, -self.inputs.centre_params, -self.inputs.centre_tokens)

    @cached_property
    def residuals(self) -> Floats:
        """Log loss minus the law's. (points,)"""
        return np.log(self.points.loss) - np.log(self.form.loss(self.theta, self.points))

    @property
    def freedom(self) -> int:
        """Points beyond the parameters."""
        return len(self.points) - self.form.free

    @property
    def values(self) -> dict[str, float]:
        """E, A, B, alpha, beta: those that the form has."""
        return {name: float(value) for name, value in self.form.natural(self.theta).items()}


def fit(form: Form, found: Points, delta: float = DELTA) -> Fit:
    """The law of a form that fits points best. Raises `DataError` where no search took place."""
    if len(found) <= form.free:
        need = form.free + 1
        raise DataError(
            f"The law has {form.free} parameters; expected {need} runs or more, found {len(found)}; add runs."
        )
    if np.ptp(found.loss) == 0:
        raise DataError(
            f"All {len(found)} losses are {found.loss[0]:g}; expected losses that differ; check the column."
        )
    given, grid = inputs(found), starts(form, found)
    return _best(form, found, given, grid, delta, searched=True)


def _best(form: Form, found: Points, given: Inputs, grid: Floats, delta: float, searched: bool = False) -> Fit:
    """The lowest bottom from a grid of starts (starts, parameters)."""
    target = np.log(found.loss)[None, :]
    reached = solve(form, given, target, grid, delta, SEARCH if searched else GLANCE, found.weights)
    best = int(np.argmin(reached.objective))
    last = solve(form, given, target, reached.theta[[best]], delta, weights=found.weights)
    lowest = float(last.objective[0])
    agreeing = int((reached.objective <= lowest * (1 + AGREE) + EXACT).sum())
    if searched and agreeing < 2:
        check_moved(grid[best], last.theta[0])
    theta = form.moved(last.theta[0], given.centre_params, given.centre_tokens)
    return Fit(form, found, theta, lowest, len(grid), agreeing, delta)


def refit(fitted: Fit, log_loss: Floats, counts: Floats, floors: Sequence[float] = ()) -> Solution:
    """Fits to other losses of the same design, with each run counted so often, both (fits, points), from the bottom of
    this one; theta is centred. With floors, shares of the lowest loss, they begin with each of these and a threshold of
    Huber that takes in most residuals: its valley is smooth, and leads near the lowest bottom in few rounds."""
    start, given = np.tile(fitted.centred, (len(log_loss), 1)), (fitted.form, fitted.inputs, log_loss)
    counts = counts if fitted.points.weights is None else counts * fitted.points.weights
    wide, lowest = max(fitted.delta, WIDE * float(np.median(np.abs(fitted.residuals)))), np.full(len(start), np.inf)
    for share in floors:
        near = solve(*given, np.tile(with_floor(fitted, share), (len(log_loss), 1)), wide, SMOOTH, counts)
        lower = near.objective < lowest
        start[lower], lowest[lower] = near.theta[lower], near.objective[lower]
    return solve(*given, start, fitted.delta, GLANCE, counts)


def with_floor(fitted: Fit, share: float) -> Floats:
    """Centred parameters of a law with the floor at a share of the lowest loss, which has the same value and slopes as
    a fitted one in the middle of its design. (parameters,)"""
    form, theta = fitted.form, fitted.centred
    middle = float(np.exp(form.log_loss(theta[None, :], fitted.inputs)[0].mean()))
    floor, terms = share * float(fitted.points.loss.min()), 1 + len(form.axes)
    ratio = (middle - floor) / max(middle - np.exp(theta[0]), 1e-9 * middle)
    theta[0] = np.log(floor)
    theta[1:terms] += np.log(ratio)
    theta[terms : terms + len(form.axes)] /= ratio
    return theta


def fit_part(whole: Fit, part: Points) -> Fit:
    """The law of some of the points: searched from the bottom of the whole and from a part of the grid."""
    given = inputs(part)
    near = whole.form.moved(whole.theta, -given.centre_params, -given.centre_tokens)
    grid = np.concatenate([near[None, :], starts(whole.form, part)[::THIN]])
    return _best(whole.form, part, given, grid, whole.delta)


def check_moved(start: Floats, end: Floats) -> None:
    """Refuse an optimum that is its own start and that no other start has reached. Raises `DataError`."""
    if np.abs(end - start).max() < MOVED:
        raise DataError(
            "The optimiser returned its start; expected it to move; check that the losses vary with N and D."
        )


def starts(form: Form, found: Points) -> Floats:
    """A grid of starts about the centre of the design. (starts, parameters)"""
    lowest, middle = float(found.loss.min()), float(np.exp(np.log(found.loss).mean()))
    floors = FLOORS if form.floor else (0.0,)
    splits = SPLITS if len(form.axes) == 2 else (1.0,)
    last = REPEATS if form.repeated else GAMMAS if form.joint else ()
    tails = [[np.log(value)] for value in last] or [[]]
    grid = []
    for share, split in itertools.product(floors, splits):
        above = max(middle - share * lowest, 0.01 * middle)
        parts = (split, 1 - split) if len(form.axes) == 2 else (1.0,)
        coefficients = ([np.log(share * lowest)] if form.floor else []) + [np.log(part * above) for part in parts]
        for exponents in itertools.product(EXPONENTS, repeat=len(form.axes)):
            grid += [[*coefficients, *exponents, *tail] for tail in tails]
    return form.bound(np.array(grid))
