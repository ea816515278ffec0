"""The law's local slopes beside the return tables: a return per 1,000 units hangs on the spacing of the levels, the
slope of a law does not."""

from collections.abc import Sequence

import numpy as np

from microgpt.errors import DataError
from microgpt.lab.laws.crossed import around, crossed_sweeps
from microgpt.lab.laws.fit import Fit, fit
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.points import points
from microgpt.lab.laws.predict import in_range
from microgpt.lab.statistics.returns import UNIT, Slope
from microgpt.lab.statistics.series import STEPS, Axis, Level
from microgpt.lab.store.record import RunRecord


def law_slopes(records: Sequence[RunRecord]) -> Slope | None:
    """The slopes of the full law, from the crossed sweeps of a store; None where there are none."""
    fits = []
    for found in crossed_sweeps(records)[0].values():
        try:
            fits.append((around(found.records[0]), fit(FORMS["full"], found.points)))
        except DataError:  # losses that are all the same, or too few
            continue
    return (lambda axis, before, after: _slope(fits, axis, before, after)) if fits else None


def _slope(fits: Sequence[tuple[dict[str, object], Fit]], axis: Axis, before: Level, after: Level) -> float | None:
    """Of the law whose runs are like these: how steeply it falls in the middle between two levels. None where no law
    is, or the middle lies outside of what it was fitted to."""
    law = next((law for like, law in fits if like == around(before.first)), None)
    if law is None or before.value == after.value:
        return None
    size, tokens = (_middle(before, after, name) for name in ("params", "tokens"))
    at = points([size], [tokens], [1.0], [float(law.points.unique.max())])
    if not in_range(law.points, at)[0]:
        return None
    slopes = law.form.slopes(law.theta, at)
    if axis is not STEPS:
        return -UNIT * float(slopes["params"][0])
    each = (_mean(after, "tokens") - _mean(before, "tokens")) / (after.value - before.value)  # tokens of a step
    return -UNIT * float(slopes["tokens"][0]) * each


def _middle(before: Level, after: Level, name: str) -> float:
    """The geometric mean of two levels."""
    return float(np.sqrt(_mean(before, name) * _mean(after, name)))


def _mean(level: Level, name: str) -> float:
    return float(np.mean([getattr(run, name) for run in level.runs]))
