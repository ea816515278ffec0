"""Checks of how a sweep was laid out: levels, range, seeds, epochs, learning rates. Exact, so without false alarms."""

import math
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Final

from microgpt.lab.audit.finding import Finding, Severity
from microgpt.lab.audit.gather import by_axis, once
from microgpt.lab.statistics.series import (
    CIRCUMSTANCES,
    COUNTED,
    FOLLOWERS,
    Series,
    grouped,
    reader,
    run_name,
    settings_of,
    size_name,
    usable,
)
from microgpt.lab.store.record import RunRecord
from microgpt.model.settings import counted

ENOUGH_LEVELS: Final = 4
ENOUGH_RANGE: Final = 10.0
ENOUGH_SEEDS: Final = 3
MOST_EPOCHS: Final = 4.0  # up to it repeated text is nearly as good as new (Muennighoff et al. 2023)
SHARED: Final = ("seed", "steps", *FOLLOWERS)  # settings in which runs that share a learning rate differ
ENOUGH_RATES: Final = 3  # with fewer, the best is at the edge whatever the losses are


def levels(lines: Iterable[Series]) -> list[Finding]:
    """Too few levels to see a curve: one finding for all series of an axis."""
    found = []
    for axis, few in by_axis(_short(lines, lambda line: len(line.levels) < ENOUGH_LEVELS)).items():
        rows = tuple(line.name(level) for line in few for level in line.levels)
        least = min(len(line.levels) for line in few)
        found.append(Finding("few levels", "warning", rows, {"axis": axis, "levels": least, "series": len(few)}))
    return found


def narrow(lines: Iterable[Series]) -> list[Finding]:
    """A range too small to say anything beyond it: one finding for all series of an axis."""
    found = []
    several = [line for line in lines if len(line.levels) > 1]
    for axis, few in by_axis(_short(several, lambda line: _range(line) < ENOUGH_RANGE)).items():
        rows = tuple(line.name(level) for line in few for level in (line.levels[0], line.levels[-1]))
        numbers = {"axis": axis, "factor": min(map(_range, few)), "series": len(few)}
        found.append(Finding("narrow range", "warning", rows, numbers))
    return found


def _short(lines: Iterable[Series], wanting: Callable[[Series], bool]) -> list[Series]:
    """The series that want something. Of runs from elsewhere, which need not lie on a grid, one that does not will do
    for all of its axis."""
    found = list(lines)
    enough = {line.axis.name for line in found if line.axis in COUNTED and not wanting(line)}
    return [line for line in found if wanting(line) and line.axis.name not in enough]


def few_seeds(lines: Sequence[Series]) -> list[Finding]:
    """Levels with fewer seeds than an interval needs; one that lies on several series is told once."""
    few = {name: len(level.losses) for name, level in once(lines) if len(level.losses) < ENOUGH_SEEDS}
    if not few:
        return []
    least = min(few.values())
    ours = any("steps" in level.first.settings for _, level in once(lines))  # others can seldom run theirs again
    severity: Severity = "serious" if least < 2 and ours else "warning"
    return [Finding("few seeds", severity, tuple(few), {"levels": len(few), "least": least})]


def epochs(runs: Iterable[RunRecord]) -> list[Finding]:
    """Usable runs that saw the same documents too often."""
    over = [run for run in runs if run.epochs > MOST_EPOCHS]
    if not over:
        return []
    rows = dict.fromkeys(_length_name(run) for run in over)
    return [Finding("epochs", "warning", tuple(rows), {"runs": len(over), "epochs": max(run.epochs for run in over)})]


def learning_rates(records: Sequence[RunRecord]) -> list[Finding]:
    """Sizes whose learning rate was not tuned, or whose best one lies at the edge of those tried.

    The tuning runs decide; a study in which the rate is an axis has tuned itself. Rates are compared only among runs
    that can share one: a batch of 16 wants another than a batch of one.
    """
    known = [run for run in records if "lr" in run.settings]  # one from elsewhere may not tell its rate
    tried = [(runs, _rates(runs)) for runs in _alike(known) if any(map(usable, runs))]
    sizes = {size_name(runs[0]) for runs, _ in tried}
    untuned = tuple(dict.fromkeys(size_name(runs[0]) for runs, rates in tried if len(rates) < 2))
    edge = [(runs[0], _edge(rates)) for runs, rates in tried if len(rates) > 1]
    told = _telling([runs[0] for runs, _ in tried])
    rows = tuple(f"{_group_name(run, told)}: {rate:g}" for run, rate in edge if rate is not None)
    found = [Finding("learning rate not tuned", "warning", untuned)] if untuned and len(sizes) > 1 else []
    return found + ([Finding("learning rate at the edge", "warning", rows)] if rows else [])


def _alike(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Runs that can share a learning rate: all is equal but seed, rate, steps and warmup, as in lab/sweep/tuning.py."""
    around, settings = attrgetter(*CIRCUMSTANCES), reader(sorted(settings_of(records) - _shared(records)))
    return list(grouped(sorted(records, key=attrgetter("params")), lambda run: (around(run), settings(run))).values())


def _telling(firsts: Sequence[RunRecord]) -> list[str]:
    """The settings, besides those of a size's name, that tell groups apart."""
    names = sorted(settings_of(firsts) - {"emb", "head", "layer", "params"} - _shared(firsts))
    return [name for name in names if len({run.settings.get(name) for run in firsts}) > 1]


def _group_name(run: RunRecord, told: Sequence[str]) -> str:
    return ", ".join([size_name(run), *(f"{name} {run.settings.get(name)}" for name in told)])


def _rates(runs: Sequence[RunRecord]) -> dict[float, float]:
    """Mean loss of each learning rate that was tried; a failed run makes it infinite."""
    tuning = [run for run in runs if run.role == "tuning"]
    losses: dict[float, list[float]] = {}
    for run in tuning or _most_rates(runs):
        bad = run.status == "failed" or run.loss is None or not math.isfinite(run.loss)
        losses.setdefault(float(run.settings["lr"]), []).append(math.inf if bad or run.loss is None else run.loss)
    tuned = tuning or len(losses) >= ENOUGH_RATES
    return {rate: sum(found) / len(found) for rate, found in losses.items()} if tuned else {}


def _shared(runs: Sequence[RunRecord]) -> set[str]:
    """SHARED and, of runs from elsewhere, their length, which is their tokens; of others that is what a token is."""
    return {*SHARED} if "steps" in settings_of(runs) else {*SHARED, "tokens"}


def _most_rates(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs of the length at which most rates were tried, the longest of several: a rate each is no comparison."""
    lengths: dict[int, list[RunRecord]] = {}
    for run in runs:
        lengths.setdefault(run.settings.get("steps", run.settings.get("tokens")), []).append(run)
    return max(lengths.items(), key=lambda item: (len({run.settings["lr"] for run in item[1]}), item[0]))[1]


def _edge(rates: dict[float, float]) -> float | None:
    """The best rate, where it is the lowest or the highest that was tried."""
    best = min(rates, key=rates.__getitem__)
    return best if best in (min(rates), max(rates)) else None


def _length_name(run: RunRecord) -> str:
    if "steps" not in run.settings:
        return run_name(run)
    return f"{counted(run.steps, 'step')} with batch {run.settings.get('batch', 1)}"


def _range(line: Series) -> float:
    """How many times the first level the last one is."""
    low, high = line.levels[0].value, line.levels[-1].value
    return high / low if low else math.inf
