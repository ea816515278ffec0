"""One fit for several groups of runs that share some parameters, a floor and an exponent say:

    L_g = E + A_g / N^alpha_g + B_g / D^beta

Coefficients are always a group's own, since they depend on what a token is.

Whole runs are drawn for the intervals, as many of each group as it has.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from microgpt.errors import DataError, UsageError
from microgpt.lab.laws.bootstrap import interval
from microgpt.lab.laws.doubts import check_design
from microgpt.lab.laws.fit import SEARCH, THIN, Fit, fit, starts
from microgpt.lab.laws.form import EXPONENTS, LETTERS, Form, Inputs, inputs
from microgpt.lab.laws.points import Floats, Ints, Points, joined
from microgpt.lab.laws.solve import solve


@dataclass(frozen=True)
class Grouped(Form):
    """A form for all groups: theta has each shared parameter once, and of the others one for each group."""

    base: Form | None = None
    shared: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()  # points of each group, which stand one group after the other

    @cached_property
    def columns(self) -> list[Ints]:
        """For each group where its parameters stand in theta, in the order of the base form."""
        assert self.base is not None
        place, found = itertools.count(), [list[int]() for _ in self.sizes]
        for name in self.base.names:
            once = next(place) if name in self.shared else None
            for own in found:
                own.append(next(place) if once is None else once)
        return [np.array(own, dtype=np.intp) for own in found]

    @property
    def size(self) -> int:
        return int(max(column.max() for column in self.columns)) + 1

    def log_loss(self, theta: Floats, given: Inputs) -> tuple[Floats, Floats]:
        """The log of the loss (fits, points) and its gradient (fits, parameters, points)."""
        assert self.base is not None
        value = np.empty((len(theta), len(given.params)))
        gradient = np.zeros((len(theta), self.size, len(given.params)))
        for columns, stop, count in zip(self.columns, np.cumsum(self.sizes), self.sizes, strict=True):
            part = slice(int(stop) - count, int(stop))
            value[:, part], gradient[:, columns, part] = self.base.log_loss(theta[:, columns], _part(given, part))
        return value, gradient


def _part(given: Inputs, part: slice) -> Inputs:
    return replace(
        given,
        params=given.params[part],
        tokens=given.tokens[part],
        fresh=given.fresh[part],
        repeats=given.repeats[part],
        flop=given.flop[part],
    )


def check_shared(form: Form, names: Sequence[str]) -> None:
    """Refuse what can't be shared. Raises `UsageError`."""
    able = [name for name in form.names if name not in {letter for letter, _ in LETTERS.values()}]
    held = [name for name, _ in (*form.fixed, *form.tied)]
    if wrong := [name for name in names if name not in able or name in held]:
        raise UsageError(
            f"--shared takes names such as E,beta of {', '.join(able)} that are fitted; found {wrong[0]!r}."
        )


def fit_shared(
    groups: Mapping[str, Points], form: Form, names: Sequence[str], draws: int, level: float, seed: int, delta: float
) -> dict[str, Any]:
    """The JSON of a fit with shared parameters. A group that carries no law has its `error` instead. Raises `DataError`
    where none does, or one of several alone: there is nothing to share."""
    alone, errors = _alone(groups, form, delta)
    if len(alone) < min(2, len(groups)):
        value, error = next(iter(errors.items()))
        found = f"found {len(alone)} of {len(groups)}" if alone else "found none"
        raise DataError(f"--shared takes groups that each carry a law, {found}; {value}: {error}")
    parts = [groups[value] for value in alone]
    whole = joined(parts)
    given, target = inputs(whole), np.log(whole.loss)[None, :]
    joint = Grouped("full", False, (), base=form, shared=tuple(names), sizes=tuple(map(len, parts)))
    centres = given.centre_params, given.centre_tokens
    own = np.array(
        [form.moved(each.theta, -centres[0], -centres[1]) for each in alone.values()]
    )  # (groups, parameters)
    grid = np.concatenate([own[None], np.repeat(starts(form, whole)[::THIN][:, None], len(parts), axis=1)])
    start = np.zeros((len(grid), joint.size))
    for name, place in zip(form.names, range(form.size), strict=True):
        for g, columns in enumerate(joint.columns):
            start[:, columns[place]] = grid[:, :, place].mean(axis=1) if name in names else grid[:, g, place]
    reached = solve(joint, given, target, start, delta, SEARCH, whole.weights)
    best = int(np.argmin(reached.objective))
    counts = _counts([len(part) for part in parts], draws, np.random.default_rng(seed))
    if whole.weights is not None:
        counts = counts * whole.weights
    drawn = solve(joint, given, target, np.repeat(reached.theta[[best]], draws, axis=0), delta, weights=counts).theta
    freedom = len(whole) - joint.size
    if freedom < 1:
        raise DataError(
            f"{joint.size} parameters; expected {joint.size + 1} runs or more, found {len(whole)}; add runs."
        )
    rows: dict[str, dict[str, Any]] = {value: {"value": value, "error": error} for value, error in errors.items()}
    for value, part, columns in zip(alone, parts, joint.columns, strict=True):
        here, there = (_quantities(form, theta[..., columns], centres) for theta in (reached.theta[best], drawn))
        spans = {name: _span(name, float(here[name]), there[name], freedom, level) for name in here}
        values = {name: float(number) for name, number in here.items()}
        rows[value] = {"value": value, "points": len(part), **values, "intervals": spans}
    return {
        "form": form.name,
        "shared": list(names),
        "groups": [rows[value] for value in groups],
        "level": level,
        "objective": float(reached.objective[best]),
        "objective_alone": sum(each.objective for each in alone.values()),
    }


def _alone(groups: Mapping[str, Points], form: Form, delta: float) -> tuple[dict[str, Fit], dict[str, str]]:
    """The law of each group by itself, and of those that carry none why."""
    fits, errors = dict[str, Fit](), dict[str, str]()
    for value, found in groups.items():
        try:
            check_design(form, found)
            fits[value] = fit(form, found, delta)
        except DataError as error:
            errors[value] = str(error)
    return fits, errors


def _quantities(form: Form, theta: Floats, centres: tuple[float, float]) -> dict[str, Floats]:
    found = form.natural(form.moved(theta, *centres))
    if {"alpha", "beta"} <= {*found}:
        found["size_exponent"] = found["beta"] / (found["alpha"] + found["beta"])
    return found


def _span(name: str, value: float, drawn: Floats, freedom: int, level: float) -> list[float]:
    """The interval of a parameter, in logarithms where it was fitted in these."""
    if name in EXPONENTS or name == "size_exponent":
        return list(interval(value, drawn, freedom, level))
    low, high = interval(float(np.log(value)), np.log(drawn), freedom, level)
    return [float(np.exp(min(bound, 700.0))) for bound in (low, high)]


def _counts(sizes: Sequence[int], draws: int, stream: np.random.Generator) -> Floats:
    """How often each run is drawn: as many of each group as it has. (draws, points)"""
    return np.concatenate([stream.multinomial(n, np.full(n, 1 / n), size=draws) for n in sizes], axis=1).astype(float)
