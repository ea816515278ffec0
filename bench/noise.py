"""How much of a return is noise, when it is read off one training loss of one name, as the Rust original does.

    python bench/noise.py [--seeds 64] [--json]

The runs of `microgpt sweep steps --original` are trained anew, over seeds. A return between two lengths is then the
difference of two single runs with seeds of their own, since the original has none; each pair of seeds is one try. A
loss is taken in three ways: the training loss of the last name, the mean of the last 100, and the held-out loss. A sign
is wrong where it is not that of the difference of the held-out means over all seeds. About 25 s on one core.
"""

import argparse
import itertools
import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import machine
from microgpt.data.corpus import Corpus
from microgpt.data.reading import read
from microgpt.data.split import Split
from microgpt.lab.plan import STEPS
from microgpt.recipes import resolve
from microgpt.training.loop import train
from microgpt.training.records import Finished, Progress

WAYS = ("last", "last 100", "held out")
SEEDS = 64

Losses = Mapping[int, NDArray[np.float64]]  # by steps: shape (seeds,)


@dataclass(frozen=True)
class Row:
    """One pair of neighbours: the true drop, and for each way of WAYS the share of tries with the wrong sign.

    `one_try` is what one table of the original's kind would show: each length's last name, from the run with a seed of
    its own (0 for the first length, 1 for the second, …).
    """

    from_steps: int
    to_steps: int
    drop: float
    one_try: float
    wrong: tuple[float, ...]


@dataclass(frozen=True)
class Way:
    """One way to take a loss: the standard deviation of one run, and what it does to the returns of all pairs.

    `noise` is the share of noise in the mean square of a return: (mean square - true drop squared) / mean square.
    `all_right` is the share of tables of one run a length in which each sign is right. `runs` of each length leave zero
    out of the 90% interval of the last pair's drop in four of five tries.
    """

    name: str
    spread: float
    wrong: float
    noise: float
    all_right: float
    runs: int


def measure(seeds: int) -> list[Losses]:
    """For each way of WAYS the losses of all runs."""
    request = resolve("default")
    split = Split.of(Corpus.of(read(request.data)), request.holdout, request.split_seed)
    runs = {steps: np.array([_losses(split, steps, seed) for seed in range(seeds)]) for steps in STEPS}
    return [{steps: found[:, way] for steps, found in runs.items()} for way in range(len(WAYS))]


def rows(ways: list[Losses]) -> list[Row]:
    """What each pair of neighbours gives."""
    last = ways[0]
    found = []
    for place, (a, b) in enumerate(_pairs()):
        one_try = float(last[a][place % len(last[a])] - last[b][(place + 1) % len(last[b])])
        found.append(Row(a, b, _drop(ways, a, b), one_try, tuple(_wrong(ways, way, a, b) for way in ways)))
    return found


def summary(ways: list[Losses]) -> list[Way]:
    """What each way gives over all pairs."""
    return [_summed(name, ways, way) for name, way in zip(WAYS, ways, strict=True)]


def _losses(split: Split, steps: int, seed: int) -> tuple[float, ...]:
    """The losses of one training of the default recipe, in the order of WAYS."""
    last: NDArray[np.float64] = np.zeros(0)
    for record in train(resolve("default", {"steps": steps, "seed": seed, "out": "", "samples": 0}), split=split):
        if isinstance(record, Progress):
            last = np.concatenate([last, record.losses])[-100:]
        elif isinstance(record, Finished):
            assert record.result.loss.holdout is not None
            return float(last[-1]), float(last.mean()), record.result.loss.holdout
    raise RuntimeError("the training did not finish")


def _pairs() -> list[tuple[int, int]]:
    return list(itertools.pairwise(STEPS))


def _drop(ways: list[Losses], before: int, after: int) -> float:
    """The true drop, as well as these seeds tell: that of the held-out means."""
    return float(ways[-1][before].mean() - ways[-1][after].mean())


def _tries(way: Losses, before: int, after: int) -> NDArray[np.float64]:
    """The drop between any two runs that share no seed, shape (seeds · (seeds - 1),)."""
    drops = way[before][:, None] - way[after][None, :]
    return drops[~np.eye(len(drops), dtype=bool)]


def _wrong(ways: list[Losses], way: Losses, before: int, after: int) -> float:
    truth = _drop(ways, before, after)
    return float((_tries(way, before, after) * truth <= 0).mean())


def _summed(name: str, ways: list[Losses], way: Losses) -> Way:
    spread = math.sqrt(statistics.fmean(float(losses.var(ddof=1)) for losses in way.values()))
    square = statistics.fmean(float((_tries(way, a, b) ** 2).mean()) for a, b in _pairs())
    true = statistics.fmean(_drop(ways, a, b) ** 2 for a, b in _pairs())
    wrong = statistics.fmean(_wrong(ways, way, a, b) for a, b in _pairs())
    return Way(name, spread, wrong, 1 - true / square, _all_right(ways, way), _runs(spread, _drop(ways, *_pairs()[-1])))


def _all_right(ways: list[Losses], way: Losses, tables: int = 10_000) -> float:
    """The share of tables, of one run a length with a seed drawn for each, in which no sign is wrong."""
    stream = np.random.default_rng(0)
    drawn = np.stack([stream.choice(losses, tables) for losses in way.values()])  # (lengths, tables)
    truth = np.array([_drop(ways, a, b) for a, b in _pairs()])[:, None]
    return float((-np.diff(drawn, axis=0) * truth > 0).all(axis=0).mean())


def _runs(spread: float, drop: float) -> int:
    """The sample size of a comparison of two means, by the normal distribution: a 90% interval, a power of 80%."""
    normal = statistics.NormalDist()
    return math.ceil(2 * ((normal.inv_cdf(0.95) + normal.inv_cdf(0.8)) * spread / drop) ** 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    ways = measure(arguments.seeds)
    if arguments.json:
        told = {"pairs": [vars(row) for row in rows(ways)], "ways": [vars(way) for way in summary(ways)]}
        print(json.dumps({"machine": machine.machine(), "seeds": arguments.seeds} | told, indent=1))
        return
    print(machine.line())
    print(f"{arguments.seeds} seeds of each length\n")
    print(f"{'steps':16} {'drop':>10} {'one try':>9}   wrong sign: {', '.join(WAYS)}")
    for row in rows(ways):
        wrong = "  ".join(f"{share:5.1%}" for share in row.wrong)
        print(f"{row.from_steps:6,} to {row.to_steps:6,} {row.drop:10.4f} {row.one_try:+9.4f}   {wrong}")
    print("\nloss taken  sd of a run  wrong sign  noise in a return  no sign wrong  runs to settle the last pair")
    for way in summary(ways):
        shares = f"{way.wrong:10.1%} {way.noise:18.2%} {way.all_right:14.1%}"
        print(f"{way.name:10} {way.spread:12.4f} {shares} {way.runs:29,}")


if __name__ == "__main__":
    main()
