"""What the intervals of the laws hold, each figure with a fixed seed: `python bench/law_intervals.py [--only floor …]`.

- halves: the 240 points of Besiroglu et al. 2024 are split at random 400 times; the interval of one half, times √2 for
  the scatter of the other, must hold the other half's estimate in 86 to 94 % at a nominal 90 %.
- noise: simulations of three designs with scatter that is even, uneven (a fifth of the runs, the shortest for their
  size or those of the most compute, scatter three times as much), heavy-tailed (Student's t of 3 degrees of freedom),
  and about a law that is off by half a run's scatter in each cell. 86 to 95 % of the intervals must hold the truth.
- floor: a planted floor of 1.40 with alpha 0.138, 81 runs: of the fits whose floor ran to zero, 85 % or more must hold
  it all the same.

`--resample residuals` draws residuals instead of runs, `--short` does 10 simulations: does it work at all? Set
OMP_NUM_THREADS=1 for one core.
"""

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

import machine
from microgpt.lab.laws.bootstrap import Resample, bootstrap, gone, intervals, quantities
from microgpt.lab.laws.csv_file import Columns, read_csv
from microgpt.lab.laws.fit import fit
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.simulate import Simulated, summary, trial_of

FULL, LEVEL, SEED = FORMS["full"], 0.9, 0
JUDGED = ("E", "alpha", "beta", "size_exponent")
POINTS = Path(__file__).parent.parent / "tests" / "fixtures" / "chinchilla_points.csv"
DESIGNS = {"6x5x3": (6, 5, 3), "3x3x3": (3, 3, 3), "4x4x1": (4, 4, 1)}
NOISES: dict[str, dict[str, Any]] = {
    "even": {},
    "uneven, short runs": {"uneven": "short"},
    "uneven, large runs": {"uneven": "large"},
    "heavy tails": {"tails": 3},
    "cells off": {"misses": 0.0025},
}
ZERO = Simulated(9, 9, 1, (1e6, 1e8), (1e8, 1e10), {"E": 1.4, "A": 12.0, "B": 800.0, "alpha": 0.138, "beta": 0.35}, 0.1)


def halves(count: int, draws: int, resample: Resample) -> dict[str, Any]:
    """How many halves hold the other's estimate: two of each split are counted."""
    points = read_csv(POINTS, Columns(flop="flop"), 5).points
    held = dict.fromkeys(JUDGED, 0)
    for k in range(count):
        order = np.random.default_rng([SEED, k]).permutation(len(points))
        laws = [bootstrap(fit(FULL, points.take(part)), draws, k, resample) for part in np.array_split(order, 2)]
        values = [quantities(law.fit, law.fit.theta) for law in laws]
        for law, own, other in zip(laws, values, reversed(values), strict=True):
            for name, (low, high) in intervals(law, LEVEL).items():
                if name in held:
                    move = float(other[name] - own[name]) / 2**0.5
                    held[name] += low - own[name] <= move <= high - own[name]
    shares = {name: number / (2 * count) for name, number in held.items()}
    return {"check": "halves", "ok": all(0.86 <= share <= 0.94 for share in shares.values()), "shares": shares}


def noise(count: int, draws: int, resample: Resample) -> Iterator[dict[str, Any]]:
    """A row for each design and noise."""
    for design, sizes in DESIGNS.items():
        for name, kind in NOISES.items():
            plan = Simulated(*sizes, **kind)
            rows = summary([trial_of(plan, k, draws, LEVEL, SEED, resample) for k in range(count)], plan, LEVEL)["rows"]
            shares = {row["quantity"]: row["covered"] / count for row in rows}
            ok = all(0.86 <= shares[quantity] <= 0.95 for quantity in JUDGED)
            yield {"check": f"{design}, {name}", "ok": ok, "shares": shares}


def floor(count: int, draws: int, resample: Resample) -> dict[str, Any]:
    """Of the fits whose floor ran to zero, how many hold it, alpha and the size exponent."""
    truth, held, zero = quantities(fit(FULL, ZERO.design), ZERO.theta), dict.fromkeys(JUDGED, 0), 0
    for k in range(count):
        stream, design = np.random.default_rng([SEED, k]), ZERO.design
        found = fit(FULL, design.with_loss(design.loss + stream.normal(0, ZERO.scatter, len(design))))
        if not gone(found, found.centred):
            continue
        zero += 1
        spans = intervals(bootstrap(found, draws, k, resample), LEVEL)
        for name in held:
            held[name] += spans[name][0] <= truth[name] <= spans[name][1]
    shares = {name: number / max(zero, 1) for name, number in held.items()}
    ok = zero > 0 and min(shares["E"], shares["alpha"]) >= 0.85
    return {"check": f"floor: {zero} of {count} ran to zero", "ok": ok, "shares": shares}


def main() -> int:
    checks = ["halves", "floor", "noise"]
    chosen = machine.asked(__doc__, simulations=200, draws=200, resample="runs", only=checks, short=False)
    count, draws, resample = 10 if chosen.short else chosen.simulations, chosen.draws, chosen.resample
    made = {
        "halves": lambda: [halves(2 * count, draws, resample)],
        "floor": lambda: [floor(count, draws, resample)],
        "noise": lambda: noise(count, draws, resample),
    }
    print(machine.line())
    missed = 0
    for row in chain.from_iterable(made[name]() for name in chosen.only):
        said = ", ".join(f"{quantity} {share:.3f}" for quantity, share in row["shares"].items())
        print(f"{row['check']:32} {'reached' if row['ok'] else 'MISSED '} {said}", flush=True)
        missed += not row["ok"]
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
