"""Do the runs that `microgpt suggest` names narrow the best size of a budget, and does its interval still hold?

    python bench/suggest.py [--simulations 100] [--only CASE ...] [--json]

A planted law and a crossed sweep of it, one run in each cell; a run scatters by 0.005 nats. The number is the best size
for ten times the FLOP of the largest run. The cost of the whole sweep is spent again: on one more seed of each cell
(uniform), on cells at random, as many runs as suggested (random), or on the runs suggested: 100 at most, or no more
than uniform has. All are drawn from the law, fitted, and the 90% interval of the best size taken; widths are of log N.
In the last cases the law is off: by half a run's scatter in each cell, and in its form, where size and length share
with gamma 0.9; there `--form joint` is right. `warned` counts the fits that told of a wrong form.
"""

from typing import Any

import numpy as np

import machine
from microgpt.lab.laws.backtest import backtest
from microgpt.lab.laws.bootstrap import Ensemble, bootstrap
from microgpt.lab.laws.doubts import of_form
from microgpt.lab.laws.fit import fit
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.optimal import Limits
from microgpt.lab.laws.points import Points, joined
from microgpt.lab.laws.price import price
from microgpt.lab.laws.simulate import Simulated
from microgpt.lab.laws.suggest import candidates, suggest
from microgpt.lab.laws.targets import best_size

LEVEL, DRAWS, TIMES = 0.9, 300, 10.0
KINDS = ("now", "uniform", "random", "suggested")
CASES: dict[str, tuple[int, int, float, float, str]] = {  # sizes, lengths; runs at most; misses; gamma; fitted form
    "4x4x1, 100 runs": (4, 100, 0.0, 1.0, "full"),
    "4x4x1, 16 runs": (4, 16, 0.0, 1.0, "full"),
    "5x5x1, 100 runs": (5, 100, 0.0, 1.0, "full"),
    "5x5x1, 25 runs": (5, 25, 0.0, 1.0, "full"),
    "5x5x1, 100 runs, cells off": (5, 100, 0.0025, 1.0, "full"),
    "5x5x1, 100 runs, form off": (5, 100, 0.0, 0.9, "full"),
    "5x5x1, 100 runs, --form joint": (5, 100, 0.0, 0.9, "joint"),
}


class World:
    """Runs as a planted law has them."""

    def __init__(self, plan: Simulated, gamma: float, seed: int) -> None:
        self.plan, self.theta = plan, np.append(plan.theta, np.log(gamma))
        self.stream, self.misses = np.random.default_rng(seed), dict[tuple[float, float], float]()

    def runs(self, design: Points) -> Points:
        """The design, trained: what the law misses in a cell is the same each time."""
        cells = zip(design.params.tolist(), design.tokens.tolist(), strict=True)
        missed = [self.misses.setdefault(cell, self.stream.normal(0, self.plan.misses)) for cell in cells]
        law = FORMS["joint"].loss(self.theta, design)
        return design.with_loss(law + missed + self.stream.normal(0, self.plan.scatter, len(design)))


def simulated(case: str, number: int) -> dict[str, Any]:
    """One simulation: of each kind the width, whether it held the truth, and whether a wrong form was told."""
    side, most, misses, gamma, form = CASES[case]
    plan = Simulated(side, side, 1, misses=misses)
    design, world, law = plan.design, World(plan, gamma, number), plan.law
    first, budget, cost = world.runs(design), TIMES * float(design.flop.max()), price(design)
    # the best size: of N D = C / 6 where (A / N^alpha)^(1/gamma) alpha = (B / D^beta)^(1/gamma) beta
    ratio = gamma * np.log(law["alpha"] / law["beta"]) + np.log(law["A"] / law["B"])
    truth = (ratio + law["beta"] * np.log(budget / 6)) / (law["alpha"] + law["beta"])

    def fitted(*parts: Points) -> Ensemble:
        return bootstrap(fit(FORMS[form], joined(parts)), DRAWS, number)

    known, limits = fitted(first), Limits(float(design.flop.sum()), most)
    cells = candidates(known, cost, limits)
    made = suggest(known, backtest(known.fit), cost, best_size(known, cost, budget), limits, cells)
    suggested = made.cells.at.take(np.repeat(np.arange(len(made.cells.at)), made.seeds))
    order = world.stream.permutation(len(cells.at))[: made.runs]
    some = cells.at.take(order[np.cumsum(cells.costs[order]) <= limits.cost])
    laws = [known, *(fitted(first, world.runs(added)) for added in (design, some, suggested))]
    spans = [best_size(each, cost, budget).span(each.scatter.freedom, LEVEL) for each in laws]
    return {
        "widths": [high - low for low, high in spans],
        "held": [low <= truth <= high for low, high in spans],
        "warned": [bool(of_form(each, backtest(each.fit))) for each in laws],
        "made": [made.narrowed, made.runs, made.seeds],
    }


def told(case: str, simulations: int) -> dict[str, Any]:
    """All simulations of a case: median ratios of widths, and of each kind how many held the truth and how many
    warned."""
    found = [simulated(case, number) for number in range(simulations)]
    widths = dict(zip(KINDS, np.array([each["widths"] for each in found]).T, strict=True))
    made = np.median([each["made"] for each in found], axis=0).tolist()
    row = {f"suggested/{name}": float(np.median(widths["suggested"] / widths[name])) for name in KINDS[:-1]}
    row |= dict(zip(("expected", "runs", "seeds"), made, strict=True))
    counts = {name: np.sum([each[name] for each in found], axis=0).tolist() for name in ("held", "warned")}
    return row | {name: dict(zip(KINDS, count, strict=True)) for name, count in counts.items()}


def main() -> None:
    arguments = machine.asked(__doc__, simulations=100, only=[*CASES])
    for case in arguments.only:
        row = told(case, arguments.simulations)
        numbers = (f"{name} {x:.3g}" if isinstance(x, float) else f"{name} {x}" for name, x in row.items())
        print(f"{case}: {', '.join(numbers)}; of {arguments.simulations}", flush=True)
    print(machine.line())


if __name__ == "__main__":
    main()
