"""The law of a sweep as curves, numbers and warnings, and the best size for each budget. It takes seconds."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from microgpt.data.choices import BUILTINS
from microgpt.data.counts import mark
from microgpt.errors import DataError, MicrogptError
from microgpt.lab.laws.crossed import around, crossed_sweeps
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.frontier import Optimum, frontier
from microgpt.lab.laws.points import Points, count_levels, points
from microgpt.lab.laws.price import price
from microgpt.lab.laws.summary import MEANINGS, Fitting, Law, in_words, law
from microgpt.lab.laws.table import RunTable, table
from microgpt.lab.report.study import part, varied
from microgpt.lab.statistics.render import MISSING
from microgpt.lab.statistics.series import STEPS, Axis, Series, usable
from microgpt.lab.store.record import RunRecord
from microgpt.lab.sweep.texts import Texts
from microgpt.recipes import resolve

LINES: Final = 12  # of an axis that get a curve
PLACES: Final = 40  # of a curve
BUDGETS: Final = 4  # at even ratios over the costs of the runs
COLUMNS: Final = ("FLOP", "best parameters", "90% interval", "tokens", "loss", "by isoFLOP curves", "by envelope")
NOTE: Final = (
    "The last row is ten times beyond the longest run. The last two columns read the best size off the runs "
    "themselves and take only its skew from the law."
)
OF_THE_TEXT: Final = ("ctx", "documents", "encoding", "normalize", "tokens", "holdout", "split_seed")  # settings
BEYOND: Final = 10.0  # and one so many times above the highest
UNCROSSED: Final = "The best size for a budget takes a law of size and length: the sweep “laws” crosses them."


def law_of(sweep: str, records: Sequence[RunRecord]) -> dict[str, Any]:
    """{"curves", "numbers", "sentence", "warnings", "frontier", "reason"}: what can be said, and why not the rest."""
    try:
        found = _fitted(records)
    except DataError as error:
        return {"reason": f"No law was fitted. {str(error).rstrip('.')}."}
    crossed = len(found.fit.form.axes) == 2
    return {
        "curves": _curves(sweep, records, found),
        "numbers": _numbers(found),
        "sentence": _sentence(sweep, found),
        "warnings": [each for each in found.warnings if each not in found.table.notes],  # the audit tells those
        "frontier": _frontier(found) if crossed else None,
        "reason": "" if crossed else UNCROSSED,
    }


def mark_of(records: Sequence[RunRecord]) -> float | None:
    """What the best table of counts scores on the text that all runs share, where it is a built-in one: the store has
    no text."""
    runs = [run for run in records if usable(run)]
    told = {tuple(run.settings.get(name) for name in OF_THE_TEXT) for run in runs}
    if len(told) != 1 or len({run.data_sha256 for run in runs}) != 1 or runs[0].data not in BUILTINS:
        return None
    known = {name: value for name, value in runs[0].settings.items() if name in OF_THE_TEXT}
    texts = Texts()
    try:
        request = resolve("default", {**known, "data": (runs[0].data,)})
        shared = texts.shared(texts.spec(request))
    except MicrogptError:  # settings of a store that a stranger made
        return None
    found = mark(shared.split, shared.held_out, request.settings.ctx)
    return found.loss if found else None


def _fitted(records: Sequence[RunRecord]) -> Law:
    """The full law where sizes and lengths are crossed, else that of the one axis that varies. Raises `DataError`."""
    crossed, reason = crossed_sweeps(records)
    for found in crossed.values():
        return law(found, Fitting())
    found, form = _along_one(records, reason)
    return law(found, Fitting(form))


def _along_one(records: Sequence[RunRecord], reason: str) -> tuple[RunTable, Any]:
    """A table with the form of its only axis. Raises `DataError`."""
    found = table(records)
    sizes, lengths = count_levels(found.points.params), count_levels(found.points.tokens)
    alike = all(around(run) == around(found.records[0]) for run in found.records)
    if not alike or min(sizes, lengths) > 1 or sizes == lengths:
        raise DataError(reason)
    return found, FORMS["tokens" if sizes == 1 else "params"]


def _curves(sweep: str, records: Sequence[RunRecord], found: Law) -> list[dict[str, Any]]:
    like, curves = around(found.table.records[0]), list[dict[str, Any]]()
    for axis, lines in part(sweep, records, varied(sweep)).lines:
        if (axis.name if axis is not STEPS else "tokens") not in found.fit.form.axes:
            continue
        for line in [line for line in lines[:LINES] if around(line.levels[0].first) == like and line.pairs]:
            curves.append({"axis": axis.name, "label": line.label, "points": _curve(axis, line, found)})
    return curves


def _curve(axis: Axis, line: Series, found: Law) -> list[tuple[float, float]]:
    """The law between the ends of a line: (place on the axis, loss) each."""
    places = np.geomspace(line.levels[0].value, line.levels[-1].value, PLACES)  # (PLACES,)
    at = _along(axis, line, places, float(found.fit.points.unique.max()))
    losses = found.fit.form.loss(found.fit.theta, at)  # (PLACES,)
    return list(zip(places.tolist(), losses.tolist(), strict=True))


def _along(axis: Axis, line: Series, places: Any, unique: float) -> Points:
    runs = [run for level in line.levels for run in level.runs]
    same = np.ones(len(places))
    if axis is STEPS:
        each = float(np.median([run.tokens / run.steps for run in runs]))
        return points(same * runs[0].params, places * each, same, same * unique)
    return points(places, same * float(np.median([run.tokens for run in runs])), same, same * unique)


def _numbers(found: Law) -> dict[str, Any]:
    values = found.to_dict()
    rows = [[name, f"{values[name]:.4g}", in_words(span), MEANINGS[name]] for name, span in found.spans.items()]
    columns = ["number", "value", f"{found.level:.0%} interval", "meaning"]
    return {"title": "The law", "columns": columns, "numbers": [False, True, True, False], "rows": rows, "note": ""}


def _sentence(sweep: str, found: Law) -> str:
    terms = {"params": "A / N^alpha", "tokens": "B / D^beta"}
    form = " + ".join(["E", *(terms[axis] for axis in found.fit.form.axes)])
    error = found.to_dict()["backtest_error"]
    tested = "there were no larger runs to test it on"
    if error is not None:
        tested = f"fitted to the smaller runs, it misses the larger ones by {error:.2%} of their loss"
    runs = f"{len(found.fit.points):,} runs of {sweep or 'the store'}"
    return (
        f"loss = {form}, for N parameters and D tokens, fitted to {runs}; {tested}. "
        f"A run scatters by {found.ensemble.scatter.scale:.2g} nats."
    )


def _frontier(found: Law) -> dict[str, Any]:
    """A row for each budget: the best size by each of the three methods, and what it would reach."""
    known = found.fit.points
    cost = price(known)
    low, high = float(known.flop.min()), float(known.flop.max())
    budgets = [*np.geomspace(low, high, BUDGETS + 2)[1:-1].tolist(), high, high * BEYOND]
    rows = [_best(budget, frontier(found.ensemble, cost, budget, found.level)) for budget in map(_round, budgets)]
    return {
        "title": "The best size for a budget",
        "columns": COLUMNS,
        "numbers": [True] * len(COLUMNS),
        "rows": rows,
        "note": NOTE,
    }


def _best(budget: float, optima: Sequence[Optimum]) -> list[str]:
    best = optima[0]
    span = MISSING if best.low is None or best.high is None else f"{_short(best.low)} to {_short(best.high)}"
    loss = MISSING if best.loss is None else f"{best.loss:.3f}"
    return [
        f"{budget:.1e}",
        _short(best.params),
        span,
        _short(best.tokens),
        loss,
        *(_short(each.params) for each in optima[1:]),
    ]


def _short(count: float | None) -> str:
    """A count with three digits that count."""
    if count is None:
        return MISSING
    return f"{round(count, -max(0, math.floor(math.log10(max(count, 1))) - 2)):,.0f}"


def _round(budget: float) -> float:
    return float(f"{budget:.1e}")
