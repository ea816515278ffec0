"""Checks of what came out: runs that failed or can't be compared, axes that do nothing, losses that rise."""

import itertools
import math
from collections.abc import Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final

from microgpt.lab.audit.finding import Finding
from microgpt.lab.audit.gather import by_axis, once
from microgpt.lab.audit.trend import fall, rises
from microgpt.lab.statistics.intervals import f_above, t_above
from microgpt.lab.statistics.returns import drop
from microgpt.lab.statistics.series import (
    COUNTED,
    RUN_AXES,
    Level,
    Series,
    along,
    cells,
    reader,
    run_name,
    setting_axis,
)
from microgpt.lab.store.record import RunRecord

FAMILY_ERROR: Final = 0.01  # the chance that a sweep whose loss never rises is said to rise somewhere
FLAT: Final = 0.05  # a difference that chance alone would make more often than this is none that was seen
EQUAL: Final = 1e-9  # relative; the same training gives the same loss to the last digit, or nearly so
NEAR: Final = 0.97  # of the logarithm of the vocabulary
AROUND: Final = ("data_sha256", "engine", "precision", "version", "commit")  # facts and settings that may be mixed
SPLIT: Final = ("holdout", "split_seed", "decay")
MOST_VALUES: Final = 4  # that a sentence names


def not_held_out(records: Iterable[RunRecord]) -> list[Finding]:
    """Finished runs without a held-out loss."""
    done = [run for run in records if run.role == "study" and run.status == "done"]
    without = [run for run in done if run.loss is None]
    return [Finding("not held out", "serious", (), {"runs": len(without), "of": len(done)})] if without else []


def failed(records: Iterable[RunRecord]) -> list[Finding]:
    """Runs that diverged or died, and those whose loss is no number."""
    study = [run for run in records if run.role == "study"]
    bad = [run for run in study if run.status == "failed" or (run.loss is not None and not math.isfinite(run.loss))]
    if not bad:
        return []
    rows = dict.fromkeys(map(run_name, bad))
    error = (bad[0].error or "a loss that is not finite").rstrip(".") + "."
    return [Finding("failed runs", "serious", tuple(rows), {"failed": len(bad), "of": len(study), "error": error})]


def mixed(runs: Iterable[RunRecord]) -> list[Finding]:
    """Usable runs that should not stand in one table."""
    around, settings = attrgetter(*AROUND), reader(SPLIT)
    kinds = {(around(run), settings(run)): run for run in runs}.values()  # one of each: a large store is read once
    texts = {run.data_sha256: f"{run.data} {run.data_sha256[:8]}" for run in kinds}
    engines = {(run.engine, run.precision): f"{run.engine} {run.precision}" for run in kinds}
    versions = {(run.version, run.commit): f"{run.version} {run.commit[:8]}".strip() for run in kinds}
    decays = {run.settings.get("decay"): f"decay {run.settings.get('decay')}" for run in kinds}
    found = [_mixture("mixed data", texts), _mixture("mixed engines", engines), _mixture("mixed versions", versions)]
    return [each for each in (*found, _mixture("mixed schedules", decays), _held_out_sets(kinds)) if each]


def learned_nothing(runs: Iterable[RunRecord]) -> list[Finding]:
    """Usable runs that do worse than the frequencies of characters alone."""
    bad = [run for run in runs if run.loss is not None and run.loss > run.unigram]
    if not bad:
        return []
    rows = dict.fromkeys(f"{run_name(run)}, lr {run.settings['lr']:g}" for run in bad)
    return [Finding("learned nothing", "serious", tuple(rows), {"runs": len(bad), "unigram": bad[0].unigram})]


def near_uniform(runs: Iterable[RunRecord]) -> list[Finding]:
    """Usable runs that do next to nothing better than a guess among all tokens, where no more is known of the text."""
    bad = [run for run in runs if run.loss is not None and math.isinf(run.unigram) and run.loss > NEAR * run.uniform]
    if not bad:
        return []
    numbers = {"runs": len(bad), "uniform": bad[0].uniform, "vocabulary": round(math.exp(bad[0].uniform))}
    return [Finding("near uniform", "serious", tuple(map(run_name, bad)), numbers)]


def dead_axes(runs: Sequence[RunRecord], every: Sequence[Series], lines: Sequence[Series]) -> list[Finding]:
    """Axes along which losses are equal, or can't be told apart from end to end. Any setting that varies is one.

    `every` series shows which settings vary; `lines` are those with several levels.
    """
    own = {name for axis in (*RUN_AXES, *COUNTED) for name in axis.fields} | {"seed"}
    settings = [level.first.settings for line in every for level in line.levels]
    others = {name for each in settings for name, value in each.items() if settings[0].get(name) != value} - own
    found = cells(runs) if others else []
    more = [line for name in sorted(others) for line in along(found, setting_axis(name)) if len(line.levels) > 1]
    told: list[Finding] = []
    for axis, alike in by_axis((*lines, *more)).items():
        dead = [line for line in alike if _dead_levels(line)]
        pairs = [_equal(*pair) for line in alike for pair in line.pairs]
        if not dead or (_elsewhere(alike) and 2 * sum(pairs) < len(pairs)):
            continue
        rows = dict.fromkeys(line.name(level) for line in dead for level in _dead_levels(line))
        told.append(Finding("dead axis", "serious", tuple(rows), {"axis": axis, "series": len(dead)}))
    return told + _flat_axes(lines)


def _elsewhere(lines: Sequence[Series]) -> bool:
    """Whether the losses are from elsewhere: they may have been rounded, or read off a picture, so that some are equal
    though nothing is wrong."""
    return "steps" not in lines[0].levels[0].first.settings


def _dead_levels(line: Series) -> list[Level]:
    """Levels whose losses are those of a neighbour."""
    return [level for pair in line.pairs if _equal(*pair) for level in pair]


def dead_seed(lines: Sequence[Series]) -> list[Finding]:
    """Levels whose seeds all have one loss; one that lies on several series is told once."""
    bad = [name for name, level in once(lines) if _one_loss(level)]
    several = sum(len(level.losses) > 1 for _, level in once(lines))
    if not bad or (_elsewhere(lines) and 2 * len(bad) < several):
        return []
    return [Finding("dead seed", "serious", tuple(bad))]


def rising(lines: Sequence[Series]) -> list[Finding]:
    """Neighbours between which the loss rises, beyond noise: one finding for all of an axis, the surest rise first.

    One-sided t-tests of all neighbours in all series, with Holm's correction (1979) for their number. A row's spread
    is its own or that of its series pooled, whichever is larger: with three seeds a row's own is small by chance so
    often that no correction would help, and the pooled one alone would trust a noisy row too much. Where nothing
    repeats, see trend.py.
    """
    known = [(*test, line) for line in lines for test in _tests(line)]
    alone = [line for line in lines if all(len(level.runs) == 1 for level in line.levels)]
    tests = sorted([*known, *(test for found in by_axis(alone).values() for test in rises(found))], key=itemgetter(0))
    beyond = itertools.takewhile(lambda held: held[1][0] <= FAMILY_ERROR / (len(tests) - held[0]), enumerate(tests))
    of_axis: dict[str, list[tuple[float, float, Level, Level, Series]]] = {}
    for _, test in beyond:
        of_axis.setdefault(test[-1].axis.name, []).append(test)
    return [_rise(axis, found) for axis, found in of_axis.items()]


def _rise(axis: str, found: Sequence[tuple[float, float, Level, Level, Series]]) -> Finding:
    """The finding of an axis from its tests: chance, rise, the two levels and their series, the surest first."""
    rows = tuple(f"{line.name(before)} to {line.name(after)}" for _, _, before, after, line in found)
    chances, rises, _, _, lines = zip(*found, strict=True)
    numbers = {"rise": max(rises), "chance": chances[0], "axis": axis, "series": len({line.label for line in lines})}
    return Finding("rising loss", "warning", rows, numbers)


def _tests(line: Series) -> list[tuple[float, float, Level, Level]]:
    """For each pair of neighbours the one-sided p-value of a rise, and the rise."""
    drops = [(drop(before, after)[0], before, after) for before, after in line.pairs]
    known = [(each, before, after) for each, before, after in drops if each.spread is not None]
    freedom = sum(each.count - 1 for each, _, _ in known)
    if not freedom:
        return []
    pooled = math.sqrt(sum((each.count - 1) * (each.spread or 0) ** 2 for each, _, _ in known) / freedom)
    tests = []
    for each, before, after in known:
        se = max(each.spread or 0, pooled) / math.sqrt(each.count)
        score = -each.mean / se if se else math.copysign(math.inf, -each.mean)
        tests.append((t_above(score, freedom), -each.mean, before, after))
    return tests


def _equal(before: Level, after: Level) -> bool:
    """Whether two levels have the same loss for every seed that they share."""
    first, second = before.losses, after.losses
    shared = (seed for seed in first if seed in second)
    return not second.keys().isdisjoint(first) and all(
        math.isclose(first[seed], second[seed], rel_tol=EQUAL) for seed in shared
    )


def _one_loss(level: Level) -> bool:
    losses = list(level.losses.values())
    return len(losses) > 1 and all(math.isclose(loss, losses[0], rel_tol=EQUAL) for loss in losses)


def _flat_axes(lines: Sequence[Series]) -> list[Finding]:
    """Axes along which no series moves beyond noise; one that does shows that the axis works."""
    found = []
    for axis, alike in by_axis(lines).items():
        tests = [(chance, line) for line in alike if (chance := _flatness(line)) is not None]
        if not tests and not any(_dead_levels(line) for line in alike) and (chance := fall(alike)) is not None:
            tests = [(chance, alike[0])]
        if tests and all(chance > FLAT for chance, _ in tests):
            _, line = tests[0]
            rows = line.name(line.levels[0]), line.name(line.levels[-1])
            found.append(Finding("flat axis", "warning", rows, {"axis": axis}))
    return found


def _flatness(line: Series) -> float | None:
    """The chance that means of equal levels differ as much as these: Fisher's F of one way. None where it has none."""
    groups = [list(level.losses.values()) for level in line.levels]
    runs, count = sum(map(len, groups)), len(groups)
    if count < 2 or runs <= count or any(_equal(*pair) for pair in line.pairs):
        return None
    overall = math.fsum(loss for group in groups for loss in group) / runs
    means = [math.fsum(group) / len(group) for group in groups]
    between = sum(len(group) * (own - overall) ** 2 for group, own in zip(groups, means, strict=True)) / (count - 1)
    within = sum((loss - own) ** 2 for group, own in zip(groups, means, strict=True) for loss in group) / (runs - count)
    return f_above(between / within, count - 1, runs - count) if within else None


def _mixture(kind: str, values: dict[Any, str]) -> Finding | None:
    if len(values) < 2:
        return None
    told = ", ".join(sorted(values.values())[:MOST_VALUES]) + (", …" if len(values) > MOST_VALUES else "")
    return Finding(kind, "note" if kind == "mixed versions" else "warning", (), {"count": len(values), "values": told})


def _held_out_sets(runs: Iterable[RunRecord]) -> Finding | None:
    """Several held-out sets of one text."""
    sets: dict[str, dict[Any, str]] = {}
    for run in runs:
        share, seed = run.settings.get("holdout"), run.settings.get("split_seed")
        sets.setdefault(run.data_sha256, {})[share, seed] = f"holdout {share}, split seed {seed}"
    most = max(sets.values(), key=len, default={})
    return _mixture("mixed held-out sets", most)
