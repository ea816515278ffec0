"""What a law can't carry: designs that are refused, and warnings in plain words."""

from typing import Final

import numpy as np

from microgpt.errors import DataError
from microgpt.lab.laws.backtest import Backtest, bend
from microgpt.lab.laws.bootstrap import GONE, Ensemble
from microgpt.lab.laws.fit import FEW, Fit, fit, fit_part
from microgpt.lab.laws.form import Form
from microgpt.lab.laws.missing import crossing, more_levels
from microgpt.lab.laws.points import Points, count_levels, levels
from microgpt.lab.laws.table import RunTable
from microgpt.model.settings import counted

LEAST_LEVELS, ENOUGH_LEVELS = 3, 4
MOST_RUNS: Final = 10_000
LEAST_RANGE: Final = 10.0
CHANCE: Final = 1e-3  # a bend that scatter alone would show less often is one
SURPLUS: Final = 3.0  # times the squared misses that scatter explains
MOST_EPOCHS: Final = 4.0  # beyond that repeated tokens are worth less (Muennighoff et al. 2023)
MOST_MOVE: Final = 0.05  # of an exponent when parameters are counted another way
INFLUENCE: Final = 3.0  # over the root of the runs: what one run may move an exponent, as a share of its interval
SUSPECTS: Final = 3  # how many of the largest residuals are left out in turn
WORDS: Final = {"params": "sizes", "tokens": "lengths", "flop": "costs"}


def check_design(form: Form, found: Points) -> None:
    """Refuse a design that can't carry a form. Raises `DataError`, with what to add."""
    if len(found) > MOST_RUNS:
        raise DataError(f"A law takes at most {MOST_RUNS:,} runs, found {len(found):,}; fit a part of them.")
    floor = np.exp(dict(form.fixed).get("E", -np.inf))
    if floor >= (lowest := found.loss.min()):
        raise DataError(f"--fix E={floor:g}: expected a floor below the lowest loss, {lowest:.6g}; give a lower one.")
    for axis in form.axes:
        count = count_levels(getattr(found, axis))
        if count < LEAST_LEVELS:
            raise DataError(
                f"A law needs {LEAST_LEVELS} {WORDS[axis]} or more ({axis} that differ), found {count}; "
                f"{more_levels(found, axis, LEAST_LEVELS - count)}, or take `microgpt sweep laws`, which crosses 5 "
                "sizes with 5 lengths."
            )
    if len(form.axes) == 2 and not crossed(found):
        raise DataError(
            "The design is L-shaped: sizes vary at one length and lengths at one size, so that no run shows whether "
            f"the two add up; {crossing(found)}, or take `microgpt sweep laws`, which crosses them."
        )
    if form.repeated and found.epochs.max() <= 1.5:
        raise DataError(
            f"--form repeated needs runs that see their documents more than once, found at most "
            f"{found.epochs.max():.2g} epochs; take --form full."
        )


def crossed(found: Points) -> bool:
    """Whether enough cells lie off the two lines that hold most of them: two sizes by two lengths at the least."""
    pairs = np.unique(np.stack([levels(found.params), levels(found.tokens)], axis=1), axis=0)
    size, length = (int(np.bincount(pairs[:, k]).argmax()) for k in (0, 1))
    off = pairs[(pairs[:, 0] != size) & (pairs[:, 1] != length)]
    return len(off) >= 2


def doubts(
    table: RunTable, found: Ensemble, spans: dict[str, tuple[float, float]], tested: Backtest, counting: str = "all"
) -> list[str]:
    """Every warning about a fitted law, as sentences."""
    law = found.fit
    return [
        *table.notes,
        *_of_design(law.form, law.points),
        *_of_search(law),
        *of_form(found, tested),
        *_of_spans(law, spans),
        *_of_outliers(law, spans),
        *_of_counting(table, law, counting),
    ]


def of_length(law: Fit, tokens: float) -> list[str]:
    """A warning where a run of so many tokens would read its text too often for the law."""
    epochs = tokens / float(law.points.unique.max())
    if epochs <= MOST_EPOCHS or law.form.repeated:
        return []
    return [
        f"{tokens:,.0f} tokens read the text {epochs:.1f} times; beyond {MOST_EPOCHS:.0f} times repeated tokens are "
        "worth less than this law says: --form repeated, or a longer text."
    ]


def _of_design(form: Form, found: Points) -> list[str]:
    said = []
    for axis in form.axes:
        column = getattr(found, axis)
        if (count := count_levels(column)) < ENOUGH_LEVELS:
            said.append(f"Only {count} {WORDS[axis]}: {ENOUGH_LEVELS} or more separate a law from a chance curve.")
        if (span := column.max() / column.min()) < LEAST_RANGE:
            said.append(
                f"The {WORDS[axis]} span only {span:.1f} times; {LEAST_RANGE:.0f} times or more fix an exponent."
            )
    many = int((found.epochs > MOST_EPOCHS).sum())
    if many and not form.repeated:
        said.append(
            f"{counted(many, 'run')} saw the documents more than {MOST_EPOCHS:.0f} times (up to "
            f"{found.epochs.max():.1f}), where repeated tokens are worth less: --form repeated fits that."
        )
    return said


def _of_search(law: Fit) -> list[str]:
    said = []
    if law.agreeing < FEW * law.starts:
        said.append(
            f"Only {law.agreeing} of {law.starts} starts agree with the best fit: the law is poorly determined."
        )
    if law.form.floor and (lowest := float(law.points.loss.min())) < law.values["E"]:
        said.append(f"A loss of {lowest:.4g} is below the fitted floor E = {law.values['E']:.4g}: the floor is wrong.")
    return said


def of_form(found: Ensemble, tested: Backtest) -> list[str]:
    """What tells that a form is wrong."""
    return _of_scatter(found) or _of_misfit(found, tested)


def _of_scatter(found: Ensemble) -> list[str]:
    scatter = found.scatter
    if not scatter.miss:
        return []
    return [
        f"The law misses the mean of a design cell by {scatter.miss * scatter.scale:.2g} nats beyond what seeds "
        f"explain ({scatter.scale:.2g}), so the intervals count cells, not runs; --compare tries other forms."
    ]


def _of_misfit(found: Ensemble, tested: Backtest) -> list[str]:
    """What tells a wrong form where nothing repeats: residuals that bend, and larger runs missed by too much."""
    chance, size = bend(found.fit)
    error = f"fitted to the smaller runs, it misses the larger by {tested.error:.2%}" if len(tested.misses) else ""
    if chance < CHANCE:
        what = f"The runs bend away from this law, by {size:.2%} of their loss in the middle{error and '; ' + error}"
    elif tested.surplus > SURPLUS:
        what = f"Scatter does not explain how this law misses larger runs: {error}"
    else:
        return []
    return [f"{what}. The intervals hold what comes of scatter, not of a wrong form; --compare tries others."]


def _of_spans(law: Fit, spans: dict[str, tuple[float, float]]) -> list[str]:
    said = []
    for axis, name in (("params", "alpha"), ("tokens", "beta"), ("flop", "alpha_C")):
        if name in spans and spans[name][1] < 0:
            said.append(f"{name} is below zero: in these runs the loss rises with {axis}.")
        elif name in spans and spans[name][0] <= 0:
            said.append(f"{name} can't be told from zero: these runs do not show that the loss falls with {axis}.")
    low, high = spans.get("E", (1.0, 1.0))
    given = "E" in dict(law.form.fixed)
    if "E" in spans and not given and law.values["E"] < GONE * law.points.loss.min():
        said.append(
            f"The floor E fell to zero: the best fit to these runs has no floor, but floors up to {high:.3g} are not "
            "ruled out; larger and longer runs would show it."
        )
    elif high > 3 * low:
        said.append(
            f"The floor E is hardly determined ({low:.2g} to {high:.2g}): larger and longer runs would show it."
        )
    return said


def _of_outliers(law: Fit, spans: dict[str, tuple[float, float]]) -> list[str]:
    """Runs that move an exponent far towards a bound of its interval, which has room for what one run can do: as much
    as DFBETAS of Belsley, Kuh & Welsch (1980, section 2.1) allow for the number of runs, and a third at the least."""
    said, allowed = [], float(np.clip(INFLUENCE / len(law.points) ** 0.5, 1 / 3, 1))
    for i in np.argsort(-np.abs(law.residuals))[:SUSPECTS]:
        others = np.arange(len(law.points)) != i
        if others.sum() <= law.form.size:
            break
        without = fit_part(law, law.points.take(others)).values
        for name in {"alpha", "beta"} & set(spans):
            before, after = law.values[name], without[name]
            room = spans[name][int(after > before)] - before
            if room and abs(after - before) > allowed * abs(room):  # losses exactly on a law leave no interval
                run = f"N = {law.points.params[i]:,.0f}, D = {law.points.tokens[i]:,.0f}, loss {law.points.loss[i]:.4g}"
                move = f"{abs((after - before) / room):.0%} of the way to the end of its interval"
                said.append(f"One run moves {name} from {before:.3f} to {after:.3f}, {move}: {run}.")
    return said


def _of_counting(table: RunTable, law: Fit, counting: str) -> list[str]:
    said = []
    for name in table.counts:
        if name == counting or "params" not in law.form.axes or (table.counts[name] <= 0).any():
            continue
        other = fit(law.form, table.counted(name), law.delta).values["alpha"]
        if abs(other - law.values["alpha"]) > MOST_MOVE:
            said.append(
                f"alpha is {law.values['alpha']:.3f} with parameters counted as {counting!r} and {other:.3f} as "
                f"{name!r}: choose one with --count."
            )
    return said
