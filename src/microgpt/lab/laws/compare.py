"""Two recipes by their laws: how many times less compute the one needs for the same loss; and run against run, where
both have runs of one size, length and seed.

The least compute of a law at a loss is the lowest cost among all sizes, each with the length that brings it there.
Where the designs of the two are the same, run for run, each draw takes the same runs of both: what a seed does to both
is then no difference between them. Otherwise their draws are independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from microgpt.errors import DataError
from microgpt.lab.laws.bootstrap import FAR as FAR_TIMES
from microgpt.lab.laws.bootstrap import Ensemble, draw_runs, interval
from microgpt.lab.laws.doubts import check_design
from microgpt.lab.laws.fit import Fit, fit
from microgpt.lab.laws.form import LARGEST_LOG, Form
from microgpt.lab.laws.frontier import FAR, GRID, SHARE, lowest
from microgpt.lab.laws.points import Floats, Ints, Points, levels, points
from microgpt.lab.laws.predict import in_range
from microgpt.lab.laws.price import price
from microgpt.lab.laws.rows import NOTHING
from microgpt.lab.laws.scatter import scatter_of
from microgpt.lab.laws.summary import Fitting, Law, law
from microgpt.lab.laws.table import RunTable, taken
from microgpt.lab.statistics.intervals import mean, t_quantile

Span = tuple[float, float]
Key = tuple[int, int, str]  # levels of size and length, and a label

SIDES: Final = ("A", "B")
SURE: Final = 500.0  # stands for the logarithm of a ratio whose one side never reaches the loss


@dataclass(frozen=True)
class Paired:
    """The loss of B minus that of A in nats per token, over `count` pairs of equal size, length and label, with
    Student's t interval; None with one pair."""

    count: int
    difference: float
    interval: Span | None


def least_cost(found: Fit, theta: Floats, loss: float) -> tuple[Floats, Floats | None]:
    """The logarithm of the least FLOP at which laws (fits, parameters) about zero have a loss, infinite where none has
    it, and the logarithm of the size there, None for a law in FLOP alone; (fits,) each. The price of a token is that of
    the runs: 6 N, where a CSV has no FLOP."""
    form, runs = found.form, found.points
    bound = form.bound(theta)
    at = {name: bound[:, k, None] for k, name in enumerate(form.names)}
    with np.errstate(all="ignore"):  # a loss below a floor has no logarithm, and costs infinitely much
        room = np.log(loss - (np.exp(np.minimum(at["E"], LARGEST_LOG)) if form.floor else np.zeros((len(theta), 1))))
        if form.axes == ("flop",):
            return _costs((at["K"] - room) / at["alpha_C"], at["alpha_C"])[:, 0], None
        sizes = np.linspace(np.log(runs.params.min()) - FAR, np.log(runs.params.max()) + FAR, GRID)
        gamma = np.exp(at["gamma"]) if form.joint else np.ones((len(theta), 1))
        taken = np.exp((at["A"] - at["alpha"] * sizes - room) / gamma)  # of the room, by the size's term
        tokens = (at["B"] - room - gamma * np.log(1 - taken)) / at["beta"]  # log D, (fits, GRID)
        if form.repeated:
            unique, scale = np.log(runs.unique.max()), np.exp(at["R"])
            passes = -scale * np.log(1 - np.expm1(tokens - unique) / scale)
            tokens = np.where(tokens > unique, unique + np.log1p(passes), tokens)
        costs = _costs(np.log(price(runs).token(np.exp(sizes))) + tokens, at["beta"])
        size, cost = lowest(sizes, costs)
    return cost, size


def _costs(costs: Floats, exponent: Floats) -> Floats:
    """Costs, infinite where there are none: where more of it does not lower the loss, too."""
    return np.where(np.isfinite(costs) & (exponent > 0), costs, np.inf)


def best(found: Fit, loss: float) -> dict[str, Any]:
    """The run of least cost that a law expects to have a loss: FLOP, infinite where none has, size, length, and whether
    it lies within the runs that were fitted."""
    costs, sizes = least_cost(found, found.theta[None, :], loss)
    flop, runs = float(np.exp(costs[0])), found.points
    if sizes is None or not np.isfinite(flop):
        inside = bool(runs.flop.min() <= flop <= runs.flop.max())
        return {"flop": flop, "params": None, "tokens": None, "in_range": inside}
    params = float(np.exp(sizes[0]))
    tokens = float(price(runs).tokens(np.array([params]), flop)[0])
    inside = bool(in_range(runs, points([params], [tokens], [loss]))[0])
    return {"flop": flop, "params": params, "tokens": tokens, "in_range": inside}


def ratio(one: Ensemble, other: Ensemble, loss: float, level: float) -> tuple[float, Span]:
    """The compute of the other over that of the one at a loss that both reach, and its interval; a bound that is not
    determined is infinite. Draws of one number belong together."""
    best = [float(least_cost(each.fit, each.fit.theta[None, :], loss)[0][0]) for each in (one, other)]
    value = best[1] - best[0]
    drawn = [least_cost(each.fit, each.theta, loss)[0] for each in (one, other)]
    with np.errstate(invalid="ignore"):
        apart = np.clip(drawn[1] - drawn[0], -SURE, SURE)
    known = apart[np.isfinite(apart)]
    if len(known) < SHARE * len(apart):
        return float(np.exp(value)), (-np.inf, np.inf)
    low, high = interval(value, known, min(one.scatter.freedom, other.scatter.freedom), level)
    far = np.log(FAR_TIMES)
    bounds = (
        float(np.exp(low)) if low > value - far else -np.inf,
        float(np.exp(high)) if high < value + far else np.inf,
    )
    return float(np.exp(value)), bounds


def keys(one: Points, other: Points, labels: Sequence[Sequence[str]]) -> list[list[Key]]:
    """For each run of both its size and its length, as levels that both share, and its label."""
    sizes, lengths = (
        levels(np.concatenate([getattr(one, name), getattr(other, name)])) for name in ("params", "tokens")
    )
    every = list(zip(sizes.tolist(), lengths.tolist(), [*labels[0], *labels[1]], strict=True))
    return [every[: len(one)], every[len(one) :]]


def same_design(named: Sequence[Sequence[Key]]) -> tuple[Ints, Ints] | None:
    """The orders in which two tables have the same runs, or None where they have not."""
    one, other = named
    unlike = {*one} != {*other} or len({*one}) < len(one) or len(one) != len(other)
    if unlike or not one or any(label.lower() in NOTHING for *_, label in one):
        return None
    orders = [np.array(sorted(range(len(each)), key=each.__getitem__), dtype=np.intp) for each in named]
    return orders[0], orders[1]


def check_designs(tables: Sequence[RunTable], form: Form) -> None:
    """Refuse tables that carry no law. Raises `DataError`, which names the side."""
    for side, table in zip(SIDES, tables, strict=True):
        try:
            check_design(form, table.points)
        except DataError as error:
            raise DataError(f"{side}: {error}") from None


def both(tables: Sequence[RunTable], named: Sequence[Sequence[Key]], how: Fitting) -> tuple[list[Law], bool]:
    """The laws of two tables, each run of which is there once, and whether each draw takes the same runs of both: whole
    cells, where one of the laws misses these. `named` are the `keys` of the runs. Raises `DataError`."""
    check_designs(tables, how.form)
    orders = same_design(named) if how.resample == "runs" else None
    if orders is None:
        return [law(table, replace(how, seed=how.seed + place)) for place, table in enumerate(tables)], False
    same = [taken(table, order) for table, order in zip(tables, orders, strict=True)]
    fits = [fit(how.form, table.points, how.delta) for table in same]
    cells = any(scatter_of(each).miss > 0 for each in fits)
    given = draw_runs(fits[0], how.draws, np.random.default_rng(how.seed), cells=cells)
    return [law(table, how, given) for table in same], True


def paired(losses: Sequence[Floats], named: Sequence[Sequence[Key]], level: float) -> Paired | None:
    """Run against run; several of one size, length and label count as their mean. None without a pair."""
    means: list[dict[Key, float]] = []
    for found, names in zip(losses, named, strict=True):
        of: dict[Key, list[float]] = {}
        for loss, name in zip(found.tolist(), names, strict=True):
            if name[2].lower() not in NOTHING:
                of.setdefault(name, []).append(loss)
        means.append({name: sum(each) / len(each) for name, each in of.items()})
    apart = [means[1][name] - loss for name, loss in means[0].items() if name in means[1]]
    if not apart:
        return None
    told = mean(apart)
    if told.se is None:
        return Paired(1, told.mean, None)
    half = t_quantile((1 + level) / 2, told.count - 1) * told.se
    return Paired(told.count, told.mean, (told.mean - half, told.mean + half))
