"""Do the runs that `microgpt suggest` names narrow the best size of a budget, and does its interval still hold?

    python bench/suggest.py [--simulations 100] [--json]

A planted law and a sweep of it, crossed, one run in each cell; a run scatters by 0.005 nats. The number is the best
size for ten times the FLOP of the largest run. As much is spent again as the whole sweep has cost: on one more seed of
each cell (uniform), or on the runs suggested, of which there may be 100, or no more than the uniform extension has. All
are drawn from the law, fitted, and the 90% interval of the best size taken. Widths are of log N. The last case has a
law that is off by half a run's scatter in each cell.
"""

import argparse
import json
from typing import Any

import numpy as np

import machine
from microgpt.lab.laws.backtest import backtest
from microgpt.lab.laws.bootstrap import Ensemble, bootstrap
from microgpt.lab.laws.fit import fit
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.optimal import Limits
from microgpt.lab.laws.points import Points, joined
from microgpt.lab.laws.price import price
from microgpt.lab.laws.simulate import Plan
from microgpt.lab.laws.suggest import candidates, suggest
from microgpt.lab.laws.targets import best_size

FULL, LEVEL, DRAWS = FORMS["full"], 0.9, 300
TIMES = 10.0
CASES: dict[str, tuple[tuple[int, int, int], float, bool]] = {  # design, misses of cells, as few runs as uniform
    "4x4x1, 100 runs": ((4, 4, 1), 0.0, False),
    "4x4x1, 16 runs": ((4, 4, 1), 0.0, True),
    "5x5x1, 100 runs": ((5, 5, 1), 0.0, False),
    "5x5x1, 25 runs": ((5, 5, 1), 0.0, True),
    "5x5x1, 100 runs, cells off": ((5, 5, 1), 0.0025, False),
}


class World:
    """Runs as a planted law has them."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan, self.stream, self.misses = plan, np.random.default_rng(seed), dict[tuple[float, float], float]()

    def runs(self, design: Points) -> Points:
        """The design, trained: what the law misses in a cell is the same each time."""
        cells = list(zip(design.params.tolist(), design.tokens.tolist(), strict=True))
        missed = [self.misses.setdefault(cell, self.stream.normal(0, self.plan.misses)) for cell in cells]
        law = FULL.loss(self.plan.theta, design)
        return design.with_loss(law + missed + self.stream.normal(0, self.plan.scatter, len(design)))


def fitted(found: Points, seed: int) -> Ensemble:
    return bootstrap(fit(FULL, found), DRAWS, seed)


def simulated(case: str, number: int) -> dict[str, Any]:
    """One simulation: the widths now, with a uniform extension and with the suggestion, and what held the truth."""
    shape, misses, few = CASES[case]
    plan = Plan(*shape, misses=misses)
    design, world = plan.design, World(plan, number)
    first, budget, cost = world.runs(design), TIMES * float(design.flop.max()), price(design)
    known = fitted(first, number)
    law = plan.law  # its best size: of N * D = C / 6 the lowest, where alpha A / N^alpha = beta B / D^beta
    ratio = law["alpha"] * law["A"] / (law["beta"] * law["B"])
    truth = (np.log(ratio) + law["beta"] * np.log(budget / 6)) / (law["alpha"] + law["beta"])
    limits = Limits(float(design.flop.sum()), **({"runs": len(design)} if few else {}))
    target = best_size(known, cost, budget)
    made = suggest(known, backtest(known.fit), cost, target, limits, candidates(known, cost, limits))
    more = made.cells.at.take(np.repeat(np.arange(len(made.cells.at)), made.seeds))
    spans = [target.span(known.scatter.freedom, LEVEL)]
    for added in (design, more):
        after = fitted(joined([first, world.runs(added)]), number)
        spans.append(best_size(after, cost, budget).span(after.scatter.freedom, LEVEL))
    widths = [high - low for low, high in spans]
    held = [low <= truth <= high for low, high in spans]
    return {"widths": widths, "held": held, "expected": made.narrowed, "runs": made.runs}


def told(case: str, simulations: int) -> dict[str, Any]:
    """All simulations of a case: median ratios of widths, and how many intervals held the truth."""
    found = [simulated(case, number) for number in range(simulations)]
    now, uniform, own = np.array([each["widths"] for each in found]).T
    return {
        "runs": float(np.median([each["runs"] for each in found])),
        "suggested/uniform": float(np.median(own / uniform)),
        "uniform/now": float(np.median(uniform / now)),
        "suggested/now": float(np.median(own / now)),
        "expected": float(np.median([each["expected"] for each in found])),
        "held": np.sum([each["held"] for each in found], axis=0).tolist(),  # now, uniform, suggested
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = dict[str, Any]()
    for case in CASES:
        rows[case] = told(case, arguments.simulations)
        if not arguments.json:
            numbers = ", ".join(f"{name} {x:.3g}" for name, x in rows[case].items() if name != "held")
            print(f"{case}: {numbers}; held {rows[case]['held']} of {arguments.simulations}", flush=True)
    print(json.dumps({"machine": machine.machine(), "cases": rows}) if arguments.json else machine.line())


if __name__ == "__main__":
    main()
