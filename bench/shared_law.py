"""Whether the intervals of a fit with shared parameters hold the truth.

    python bench/shared_law.py [--simulations 100]

Three groups of 5 sizes x 5 lengths, one run each, which scatters by 0.005 nats, from planted laws with one floor and
one beta. Counts how often each 90% interval holds the planted value.
"""

from collections import Counter

import numpy as np

import machine
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.points import points
from microgpt.lab.laws.shared import fit_shared

SHARED = ("E", "beta")
NAMES = ("E", "A", "B", "alpha", "beta")
TRUTH = {"a": (1.7, 50, 200, 0.30, 0.35), "b": (1.7, 80, 300, 0.40, 0.35), "c": (1.7, 30, 100, 0.25, 0.35)}


def held(simulations: int, draws: int = 300) -> dict[str, int]:
    """How many of the simulations held the truth, by parameter and group."""
    sizes, lengths = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e3, 1e6, 5), np.geomspace(1e5, 1e8, 5)))
    found = Counter[str]()
    for number in range(simulations):
        stream = np.random.default_rng(number)
        groups = {}
        for name, (E, A, B, alpha, beta) in TRUTH.items():
            loss = E + A / sizes**alpha + B / lengths**beta
            groups[name] = points(sizes, lengths, loss + stream.normal(0, 0.005, len(loss)))
        told = fit_shared(groups, FORMS["full"], SHARED, draws, 0.9, number, 1e-3)
        for place, row in enumerate(told["groups"]):
            for name, value in zip(NAMES, TRUTH[row["value"]], strict=True):
                low, high = row["intervals"][name]
                if name not in SHARED or place == 0:
                    found[name if name in SHARED else f"{name} of {row['value']}"] += low <= value <= high
    return dict(found)


def main() -> None:
    simulations = machine.asked(__doc__, simulations=100).simulations
    print(machine.line())
    print(f"of {simulations}: " + ", ".join(f"{name} {count}" for name, count in held(simulations).items()))


if __name__ == "__main__":
    main()
