"""Checks of how a sweep was laid out: levels, range, seeds, epochs, learning rates. Exact, so without false alarms."""

import math
from collections.abc import Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import Final

from microgpt.lab.audit.finding import Finding, Severity
from microgpt.lab.record import RunRecord
from microgpt.lab.series import SIZE_FIELDS, Series, size_name, usable

ENOUGH_LEVELS: Final = 4
ENOUGH_RANGE: Final = 10.0
ENOUGH_SEEDS: Final = 3
MOST_EPOCHS: Final = 4.0  # up to it repeated text is nearly as good as new (Muennighoff et al. 2023)
ENOUGH_RATES: Final = 3  # with fewer, the best is at the edge whatever the losses are


def levels(lines: Iterable[Series]) -> list[Finding]:
    """Too few levels to see a curve."""
    return [
        Finding("few levels", "warning", _names(line), {"axis": line.axis.name, "levels": len(line.levels)})
        for line in lines
        if len(line.levels) < ENOUGH_LEVELS
    ]


def narrow(lines: Iterable[Series]) -> list[Finding]:
    """A range too small to say anything beyond it."""
    found = []
    for line in lines:
        low, high = line.levels[0], line.levels[-1]
        factor = high.value / low.value if low.value else math.inf
        if len(line.levels) > 1 and factor < ENOUGH_RANGE:
            rows = line.name(low), line.name(high)
            found.append(Finding("narrow range", "warning", rows, {"axis": line.axis.name, "factor": factor}))
    return found


def few_seeds(lines: Iterable[Series]) -> list[Finding]:
    """Levels with fewer seeds than an interval needs."""
    few = {line.name(level): len(level.losses) for line in lines for level in line.levels}
    few = {name: seeds for name, seeds in few.items() if seeds < ENOUGH_SEEDS}
    if not few:
        return []
    least = min(few.values())
    severity: Severity = "serious" if least < 2 else "warning"
    return [Finding("few seeds", severity, tuple(few), {"levels": len(few), "least": least})]


def epochs(runs: Iterable[RunRecord]) -> list[Finding]:
    """Usable runs that saw the same documents too often."""
    over = [run for run in runs if run.epochs > MOST_EPOCHS]
    if not over:
        return []
    rows = dict.fromkeys(f"{run.steps:,} steps with batch {run.settings.get('batch', 1)}" for run in over)
    return [Finding("epochs", "warning", tuple(rows), {"runs": len(over), "epochs": max(run.epochs for run in over)})]


def learning_rates(records: Sequence[RunRecord]) -> list[Finding]:
    """Sizes whose learning rate was not tuned, or whose best one lies at the edge of those tried.

    The tuning runs decide; a study in which the rate is an axis has tuned itself.
    """
    of_size: dict[tuple[int, ...], list[RunRecord]] = {}
    size = itemgetter(*SIZE_FIELDS)
    for run in sorted(records, key=attrgetter("params")):
        of_size.setdefault(size(run.settings), []).append(run)
    of_size = {size: runs for size, runs in of_size.items() if any(map(usable, runs))}
    sizes = {size: size_name(runs[0]) for size, runs in of_size.items()}
    tried = {size: _rates(runs) for size, runs in of_size.items()}
    untuned = tuple(sizes[size] for size, rates in tried.items() if len(rates) < 2)
    edge = {size: _edge(rates) for size, rates in tried.items() if len(rates) > 1}
    rows = tuple(f"{sizes[size]}: {rate:g}" for size, rate in edge.items() if rate is not None)
    found = [Finding("learning rate not tuned", "warning", untuned)] if untuned and len(sizes) > 1 else []
    return found + ([Finding("learning rate at the edge", "warning", rows)] if rows else [])


def _rates(runs: Sequence[RunRecord]) -> dict[float, float]:
    """Mean loss of each learning rate that was tried for a size; a failed run makes it infinite."""
    tuning = [run for run in runs if run.role == "tuning"] or list(runs)
    losses: dict[float, list[float]] = {}
    for run in tuning:
        bad = run.status == "failed" or run.loss is None or not math.isfinite(run.loss)
        losses.setdefault(float(run.settings["lr"]), []).append(math.inf if bad or run.loss is None else run.loss)
    tuned = any(run.role == "tuning" for run in runs) or len(losses) >= ENOUGH_RATES
    return {rate: sum(found) / len(found) for rate, found in losses.items()} if tuned else {}


def _edge(rates: dict[float, float]) -> float | None:
    """The best rate, where it is the lowest or the highest that was tried."""
    best = min(rates, key=rates.__getitem__)
    return best if best in (min(rates), max(rates)) else None


def _names(line: Series) -> tuple[str, ...]:
    return tuple(line.name(level) for level in line.levels)
