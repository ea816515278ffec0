"""Whether the interval of `microgpt compare` holds the true ratio of compute, and how wide it is.

    python bench/compare.py [--simulations 100]

B needs twice the tokens of A for every loss, so that the true ratio is 2. A run scatters by 0.0057 nats. Three cases:
both recipes ran one design (5 sizes x 5 lengths x 2 seeds), where half of the variance is what the two runs of a pair
have in common, and draws take the same runs of both; such runs, drawn independently; and two designs of other sizes and
lengths, where nothing is in common.
"""

import numpy as np

import machine
from microgpt.lab.laws.compare import both, keys, ratio
from microgpt.lab.laws.simulate import Simulated
from microgpt.lab.laws.summary import Fitting
from microgpt.lab.laws.table import RunTable

RATIO = 2.0
SCATTER = 0.004
SEEDS = 2
CASES = ("one design, the same draws", "one design, independent", "two designs")


def tables(case: str, number: int) -> tuple[list[RunTable], list[list[str]]]:
    """One simulation: the runs of A and of B, and the labels by which they are paired."""
    stream = np.random.default_rng([CASES.index(case), number])
    law = dict(Simulated().law)
    other = Simulated(5, 5, SEEDS, law=law | {"B": law["B"] * RATIO ** law["beta"]})
    if case == "two designs":
        other = Simulated(6, 4, SEEDS, (2e3, 5e5), (3e5, 2e8), other.law)
    plans = [Simulated(5, 5, SEEDS), other]
    common = stream.normal(0, SCATTER, (2, 50))
    found, labels = [], []
    for side, plan in enumerate(plans):
        design = plan.design
        seed = np.arange(len(design)) % SEEDS
        shift = common[side if case == "two designs" else 0][: len(design)]
        runs = design.with_loss(design.loss + shift + stream.normal(0, SCATTER, len(design)))
        found.append(RunTable(runs, "AB"[side], {"all": runs.params}))
        labels.append(["" if case != CASES[0] else str(each) for each in seed])
    return found, labels


def held(case: str, simulations: int, draws: int = 300) -> tuple[int, float]:
    """How many intervals at 90% held the ratio, and the median of their upper end over the lower."""
    inside, widths = 0, []
    for number in range(simulations):
        found, labels = tables(case, number)
        named = keys(found[0].points, found[1].points, labels)
        laws, together = both(found, named, Fitting(draws=draws, seed=number))
        assert together == (case == CASES[0])
        low, high = ratio(laws[0].ensemble, laws[1].ensemble, 3.0, 0.9)[1]
        inside += low <= RATIO <= high
        widths.append(high / low)
    return inside, float(np.median(widths))


def main() -> None:
    simulations = machine.asked(__doc__, simulations=100).simulations
    print(machine.line())
    for case in CASES:
        inside, width = held(case, simulations)
        print(f"{case}: {inside} of {simulations}, the upper end {width:.3f} times the lower")


if __name__ == "__main__":
    main()
