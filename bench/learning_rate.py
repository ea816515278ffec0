"""Which learning rate suits a size: the sweep behind the default recipe's rule, and the rule's fit.

    microgpt sweep sweeps/learning-rate.toml --jobs 1 --engine fused --store rates.db
    python bench/learning_rate.py [--store rates.db] [--json]

Without a store the rows of bench/learning_rate.csv are taken. A row of the table is a size and a length with the mean
held-out loss at each rate. The best rate is the vertex of a parabola through the lowest mean and its neighbours, in the
logarithm of the rate; a best one at an edge of the sweep is left out of the fit, which is by least squares:
log lr = log c + a log(emb / 16) + b log(layer) + d log(steps / 1000).
"""

import argparse
import csv
import json
import sqlite3
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import numpy as np

import machine
from microgpt.model.settings import usual_rate

ROWS = Path(__file__).with_suffix(".csv")
Level = tuple[int, int, int]  # emb, layer, steps


def means(store: str | None) -> dict[Level, dict[float, float]]:
    """The mean held-out loss over seeds, by level and rate."""
    if store:
        found = sqlite3.connect(store).execute("SELECT emb, layer, steps, lr, loss FROM runs WHERE status = 'done'")
        rows = [tuple(map(float, row)) for row in found]
    else:
        with ROWS.open(newline="") as file:
            rows = [
                tuple(float(row[name]) for name in ("emb", "layer", "steps", "lr", "loss"))
                for row in csv.DictReader(file)
            ]
    losses: dict[Level, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for emb, layer, steps, lr, loss in rows:
        losses[int(emb), int(layer), int(steps)][lr].append(loss)
    return {level: {lr: fmean(each) for lr, each in sorted(of.items())} for level, of in sorted(losses.items())}


def vertex(by_rate: dict[float, float]) -> float | None:
    """The rate of the lowest loss between the rates that were tried; None where that is at an edge."""
    rates, losses = np.log(list(by_rate)), np.array(list(by_rate.values()))
    place = int(losses.argmin())
    if not 0 < place < len(rates) - 1:
        return None
    square, slope, _ = np.polyfit(rates[place - 1 : place + 2], losses[place - 1 : place + 2], 2)
    return float(np.exp(-slope / (2 * square)))


def fit(best: dict[Level, float]) -> list[float]:
    """c, a, b and d of the rule."""
    columns = [[1.0, np.log(emb / 16), np.log(layer), np.log(steps / 1000)] for emb, layer, steps in best]
    found = np.linalg.lstsq(np.array(columns), np.log(list(best.values())), rcond=None)[0]
    return [float(np.exp(found[0])), *map(float, found[1:])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    table = means(arguments.store)
    vertices = {level: vertex(by_rate) for level, by_rate in table.items()}
    rule = fit({level: rate for level, rate in vertices.items() if rate})
    if arguments.json:
        told = [
            {"level": level, "losses": list(by_rate.items()), "best": vertices[level]}
            for level, by_rate in table.items()
        ]
        print(json.dumps({"machine": machine.machine(), "rows": told, "fit": rule}, indent=1))
        return
    print(machine.line())
    print(f"{'emb':>4} {'layer':>5} {'steps':>5}  {'best lr':>8}  {'the rule':>8}  {'costs':>6}  lr: held-out loss")
    for (emb, layer, steps), by_rate in table.items():
        best, used = vertices[emb, layer, steps], usual_rate(emb)
        costs = by_rate[used] - min(by_rate.values())
        losses = "  ".join(f"{lr:g}: {loss:.3f}" for lr, loss in by_rate.items())
        print(
            f"{emb:4} {layer:5} {steps:5}  {f'{best:.2g}' if best else 'at edge':>8}  {used:8.3g}  {costs:6.3f}  "
            + losses
        )
    print(
        "\nlr = {:.4f} (emb / 16)^{:.2f} layer^{:.2f} (steps / 1000)^{:.2f}; the rule: 0.01 (emb / 16)^-1".format(*rule)
    )


if __name__ == "__main__":
    main()
