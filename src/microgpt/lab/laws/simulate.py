"""Proof on demand: losses drawn from a planted law, fitted as if they were real, and how often the truth was found."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from microgpt.lab.laws.backtest import backtest
from microgpt.lab.laws.bootstrap import LEVEL, Resample, bootstrap, intervals, quantities
from microgpt.lab.laws.fit import fit
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.points import Floats, Points, points
from microgpt.lab.laws.predict import predict

FIFTH: Final = 0.2  # of the runs scatter more where the scatter is uneven
TIMES: Final = 3.0  # so many times more
BEYOND: Final = 2.0  # the new run has so many times the largest size and length: four times the compute


@dataclass(frozen=True)
class Simulated:
    """A design and a truth: sizes and lengths on even log grids, crossed, so many seeds each. A run scatters by
    `scatter` · (loss / E)^`growth` nats, and by what all runs of one seed have in common, `shared` nats. `uneven`
    runs, the fifth of the fewest tokens a parameter or of the most compute, scatter three times as much; with `tails`
    runs follow Student's t of so many degrees of freedom, scaled to `scatter`; and the law is off by `misses` nats in
    each design cell, drawn anew for each simulation."""

    sizes: int = 6
    lengths: int = 5
    seeds: int = 3
    params: tuple[float, float] = (1e3, 1e6)
    tokens: tuple[float, float] = (1e5, 1e8)
    law: dict[str, float] = field(
        default_factory=lambda: {"E": 1.95, "A": 50.0, "B": 200.0, "alpha": 0.35, "beta": 0.40}
    )
    scatter: float = 0.005
    growth: float = 0.0
    shared: float = 0.0
    uneven: Literal["", "short", "large"] = ""
    tails: int = 0
    misses: float = 0.0

    @property
    def theta(self) -> Floats:
        """The truth in the form's own parameters. (parameters,)"""
        law = self.law
        return np.array([np.log(law["E"]), np.log(law["A"]), np.log(law["B"]), law["alpha"], law["beta"]])

    @property
    def design(self) -> Points:
        """The runs of the plan with the losses of the law itself."""
        sizes, lengths = np.geomspace(*self.params, self.sizes), np.geomspace(*self.tokens, self.lengths)
        pairs = np.repeat(np.array([(n, d) for n in sizes for d in lengths]), self.seeds, axis=0)
        found = points(pairs[:, 0], pairs[:, 1], np.ones(len(pairs)))
        return found.with_loss(FORMS["full"].loss(self.theta, found))


@dataclass(frozen=True)
class Trial:
    """One simulation: for each quantity its relative error, its width, and whether the truth was inside."""

    errors: dict[str, float]
    widths: dict[str, float]
    covered: dict[str, bool]


def trials(
    plan: Simulated, count: int, draws: int, level: float = LEVEL, seed: int = 0, resample: Resample = "runs"
) -> Iterator[Trial]:
    """So many simulations, one after the other."""
    return (trial_of(plan, k, draws, level, seed, resample) for k in range(count))


def trial_of(
    plan: Simulated, k: int, draws: int, level: float = LEVEL, seed: int = 0, resample: Resample = "runs"
) -> Trial:
    """Simulation number k, with its own random stream: the same whatever others there are. It is fitted, and held
    against the truth and against a new run of four times the compute."""
    form, stream, design = FORMS["full"], np.random.default_rng([seed, k]), plan.design
    drawn = design.with_loss(_scattered(design, plan, stream))
    found = bootstrap(fit(form, drawn), draws, int(stream.integers(1 << 32)), resample)
    truth = {name: float(value) for name, value in quantities(found.fit, plan.theta).items()}
    best = {name: float(value) for name, value in quantities(found.fit, found.fit.theta).items()}
    spans = intervals(found, level)
    new = points([plan.params[1] * BEYOND], [plan.tokens[1] * BEYOND], [1.0])
    said = predict(found, backtest(found.fit), new, level, int(stream.integers(1 << 32)))[0]
    truth["new_run"] = float(_scattered(new.with_loss(form.loss(plan.theta, new)), plan, stream)[0])
    best["new_run"], spans["new_run"] = said.loss, (said.low, said.high)
    return Trial(
        {name: best[name] / truth[name] - 1 for name in truth},
        {name: spans[name][1] - spans[name][0] for name in truth},
        {name: spans[name][0] <= truth[name] <= spans[name][1] for name in truth},
    )


def summary(found: list[Trial], plan: Simulated, level: float) -> dict[str, Any]:
    """Recovery and coverage: for each quantity the median error, how many were within 2 %, coverage, median width."""
    rows = []
    for name in found[0].errors:
        errors = np.abs([trial.errors[name] for trial in found])
        rows.append(
            {
                "quantity": name,
                "median_error": float(np.median(errors)),
                "within_2_percent": int(np.sum(errors <= 0.02)),
                "covered": int(sum(trial.covered[name] for trial in found)),
                "median_width": float(np.median([trial.widths[name] for trial in found])),
            }
        )
    design = {"sizes": plan.sizes, "lengths": plan.lengths, "seeds": plan.seeds, "scatter": plan.scatter}
    return {"simulations": len(found), "level": level, **design, "law": plan.law, "rows": rows}


def _scattered(design: Points, plan: Simulated, stream: np.random.Generator) -> Floats:
    loss = design.loss
    own = stream.standard_t(plan.tails, loss.shape) * (1 - 2 / plan.tails) ** 0.5 if plan.tails else None
    own = stream.normal(0, 1, loss.shape) if own is None else own
    own = own * plan.scatter * (loss / plan.law["E"]) ** plan.growth * np.where(_more(design, plan), TIMES, 1.0)
    seeds = stream.normal(0, plan.shared, plan.seeds) if plan.shared else np.zeros(plan.seeds)
    drawn: Floats = loss + own + np.resize(seeds, loss.shape)  # seeds follow one another in each cell
    if plan.misses:
        drawn = drawn + stream.normal(0, plan.misses, int(design.cells.max()) + 1)[design.cells]
    return drawn


def _more(design: Points, plan: Simulated) -> Any:
    """Which runs scatter more (points,): a fifth of the design, and what lies beyond it."""
    if not plan.uneven:
        return np.zeros(len(design), dtype=bool)
    whole, sign = plan.design, {"short": -1.0, "large": 1.0}[plan.uneven]
    known, own = (np.log(each.tokens) + sign * np.log(each.params) for each in (whole, design))
    # of the fewest tokens a parameter, or of the largest compute
    return own <= np.quantile(known, FIFTH) if plan.uneven == "short" else own >= np.quantile(known, 1 - FIFTH)
