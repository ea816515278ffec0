"""Whether the intervals of a fit with shared parameters hold the truth.

    python bench/shared_law.py [--simulations 100] [--json]

Three groups of 5 sizes x 5 lengths, one run each, which scatters by 0.005 nats, from planted laws with one floor and
one beta. Counts how often each 90% interval holds the planted value.
"""

import argparse
import json
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    told = held(arguments.simulations)
    if arguments.json:
        print(json.dumps({"machine": machine.machine(), "simulations": arguments.simulations, "held": told}))
        return
    print(machine.line())
    print(f"of {arguments.simulations}: " + ", ".join(f"{name} {count}" for name, count in told.items()))


if __name__ == "__main__":
    main()
