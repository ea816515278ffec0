"""What the scaling laws claim, each figure with a fixed seed: `python bench/laws.py [--short] [--only recovery …]`.

- coverage: 200 simulations of each of three designs from a planted law. On 6×5×3 the truth of alpha, beta, E,
  size_exponent and a new run of four times the compute must lie inside 166 to 194 of the 90 % intervals, and the
  exponents within 2 % in 190 or more. On 3×3×3 and 4×4×1 coverage is 170 or more (85 %), and the width is published.
- speed: a fit and 1,000 bootstraps of 240 points, on one core; of the published ones, and of losses whose floor ran to
  zero, where all draws are searched from several floors.
- published: the points of Besiroglu et al. 2024, the optimum of their objective, and L-BFGS as a second witness.

With --progress FILE each simulation is noted as it ends, and the same command goes on where it was stopped. `--short`
does 10 simulations with few draws: does it work at all? Set OMP_NUM_THREADS=1 for one core.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import machine
from microgpt.lab.laws.bootstrap import bootstrap, gone
from microgpt.lab.laws.csv_file import Columns, read_csv
from microgpt.lab.laws.fit import fit
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.lbfgs import fit_lbfgs
from microgpt.lab.laws.points import Points
from microgpt.lab.laws.simulate import Simulated, Trial, summary, trial_of
from microgpt.lab.laws.solve import huber

DESIGNS = {"6x5x3": (6, 5, 3), "3x3x3": (3, 3, 3), "4x4x1": (4, 4, 1)}
JUDGED = ("alpha", "beta", "E", "size_exponent", "new_run")
LEVEL, SEED, SECONDS, GOAL = 0.9, 0, 2.0, 200
POINTS = Path(__file__).parent.parent / "tests" / "fixtures" / "chinchilla_points.csv"
PUBLISHED = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}


def coverage(name: str, count: int, draws: int, progress: Path) -> dict[str, Any]:
    """Simulations of one design, those noted in `progress` not done again."""
    plan = Simulated(*DESIGNS[name])
    noted = dict(_noted(progress, name, draws))
    found = []
    for k in range(count):
        if k not in noted:
            noted[k] = trial_of(plan, k, draws, LEVEL, SEED)
            with progress.open("a") as file:
                file.write(json.dumps({"design": name, "draws": draws, "k": k, **noted[k].__dict__}) + "\n")
        found.append(noted[k])
    told = summary(found, plan, LEVEL)
    rows = {row["quantity"]: row for row in told["rows"]}
    low, high = _bounds(name, count)
    ok = all(low <= rows[quantity]["covered"] <= high for quantity in JUDGED)
    if name == "6x5x3":
        ok &= all(rows[exponent]["within_2_percent"] >= 0.95 * count for exponent in ("alpha", "beta"))
    return {"check": f"coverage {name}", "ok": ok, **told}


def _bounds(name: str, count: int) -> tuple[float, float]:
    """How many intervals may hold the truth: the goals for 200 simulations; for fewer, four standard deviations."""
    if count < GOAL:
        return LEVEL * count - 4 * (count * LEVEL * (1 - LEVEL)) ** 0.5, count
    return (0.83 * count, 0.97 * count) if name == "6x5x3" else (0.85 * count, count)


def _noted(progress: Path, name: str, draws: int) -> Iterator[tuple[int, Trial]]:
    for line in progress.read_text().splitlines() if progress.exists() else ():
        row = json.loads(line)
        if (row["design"], row["draws"]) == (name, draws):
            yield row["k"], Trial(row["errors"], row["widths"], row["covered"])


def without_floor() -> Points:
    """The sizes and lengths of the published points, with the first losses of a planted law whose fit has no floor."""
    design = read_csv(POINTS, Columns(flop="flop"), 5).points
    law = 1.4 + 12 / design.params**0.138 + 800 / design.tokens**0.35
    for seed in itertools.count():
        found = fit(FORMS["full"], design.with_loss(law + np.random.default_rng(seed).normal(0, 0.1, len(law))))
        if gone(found, found.centred):
            break
    return found.points


def speed(name: str, points: Points, repeats: int) -> dict[str, Any]:
    """Seconds of one core for a fit with all its starts and 1,000 draws."""
    taken = []
    for seed in range(repeats):
        start = time.process_time()
        bootstrap(fit(FORMS["full"], points), 1000, seed)
        taken.append(time.process_time() - start)
    middle = float(np.median(taken))
    told = {"points": len(points), "seconds": middle, "slowest": max(taken), "repeats": repeats}
    return {"check": name, "ok": max(taken) <= SECONDS, **told}


def published(every: int) -> dict[str, Any]:
    """Ours, L-BFGS's from every `every`-th start, and theirs, each with its objective."""
    points = read_csv(POINTS, Columns(flop="flop"), 5).points
    form = FORMS["full"]
    ours, witness = fit(form, points), fit_lbfgs(form, points, every=every)
    logs = [np.log(PUBLISHED[name]) for name in ("E", "A", "B")]
    theirs = np.array([*logs, PUBLISHED["alpha"], PUBLISHED["beta"]])
    objective = float(huber(np.log(points.loss) - np.log(form.loss(theirs, points)), ours.delta).sum())
    same = all(abs(witness.values[name] / value - 1) < 1e-5 for name, value in ours.values.items())
    near = abs(ours.values["E"] - PUBLISHED["E"]) < 1e-3 and objective / ours.objective - 1 < 0.01
    near &= all(abs(ours.values[name] - PUBLISHED[name]) < 2e-3 for name in ("alpha", "beta"))
    told = {"ours": ours.values, "lbfgs": witness.values, "published": PUBLISHED}
    objectives = {"ours": ours.objective, "lbfgs": witness.objective, "published": objective}
    return {"check": "published", "ok": same and near, **told, "objectives": objectives}


def tell(row: dict[str, Any]) -> None:
    """One check in words."""
    print(f"{row['check']}: {'reached' if row['ok'] else 'MISSED'}")
    for one in row.get("rows", ()):
        print(
            f"  {one['quantity']:14} covered {one['covered']:4} of {row['simulations']}, median width "
            f"{one['median_width']:.4g}, median error {one['median_error']:.3%}, within 2 %: {one['within_2_percent']}"
        )
    if "seconds" in row:
        print(f"  {row['points']} points: median {row['seconds']:.2f} s, slowest {row['slowest']:.2f} s")
    for name, value in row.get("objectives", {}).items():
        law = ", ".join(f"{key} {number:.6g}" for key, number in row[name].items())
        print(f"  {name:10} {law}; objective {value:.8g}")


def main() -> int:
    checks = ["published", "speed", "coverage"]
    chosen = machine.asked(__doc__, simulations=200, draws=1000, only=checks, short=False, progress="")
    count, draws = (10, 200) if chosen.short else (chosen.simulations, chosen.draws)
    rows = []
    if "published" in chosen.only:
        rows.append(published(24 if chosen.short else 4))
    if "speed" in chosen.only:
        repeats = 1 if chosen.short else 5
        rows.append(speed("speed", read_csv(POINTS, Columns(flop="flop"), 5).points, repeats))
        rows.append(speed("speed without a floor", without_floor(), repeats))
    if "coverage" in chosen.only:
        rows += [coverage(name, count, draws, Path(chosen.progress or os.devnull)) for name in DESIGNS]
    print(machine.line())
    for row in rows:
        tell(row)
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
