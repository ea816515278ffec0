"""How much of a return is noise, when it is read off one training loss of one name, as the Rust original does.

    python bench/noise.py [--seeds 64]

The runs of `microgpt sweep steps --original` are trained anew, over seeds. A return between two lengths is then the
difference of two single runs with seeds of their own, since the original has none; each pair of seeds is one try. A
loss is taken in three ways: the training loss of the last name, the mean of the last 100, and the held-out loss. A sign
is wrong where it is not that of the difference of the held-out means over all seeds. About 25 s on one core.
"""

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

import machine
from microgpt.data.corpus import Corpus
from microgpt.data.reading import read
from microgpt.data.split import Split
from microgpt.lab.sweep.plan import STEPS
from microgpt.recipes import resolve
from microgpt.training.loop import train
from microgpt.training.records import Finished, Progress

WAYS = ("last", "last 100", "held out")
SEEDS = 64

Losses = Mapping[int, NDArray[np.float64]]  # by steps: shape (seeds,)


def measure(seeds: int) -> list[Losses]:
    """For each way of WAYS the losses of all runs."""
    request = resolve("default")
    split = Split.of(Corpus.of(read(request.data)), request.holdout, request.split_seed)
    runs = {steps: np.array([_losses(split, steps, seed) for seed in range(seeds)]) for steps in STEPS}
    return [{steps: found[:, way] for steps, found in runs.items()} for way in range(len(WAYS))]


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


def pairs(ways: list[Losses]) -> Iterator[str]:
    """For each pair of neighbours the true drop, one try, and the share of tries with the wrong sign in each way.

    One try is what one table of the original's kind would show: each length's last name, from the run with a seed of
    its own (0 for the first length, 1 for the second, …).
    """
    last = ways[0]
    for place, (a, b) in enumerate(_pairs()):
        one_try = float(last[a][place % len(last[a])] - last[b][(place + 1) % len(last[b])])
        wrong = "  ".join(f"{_wrong(ways, way, a, b):5.1%}" for way in ways)
        yield f"{a:6,} to {b:6,} {_drop(ways, a, b):10.4f} {one_try:+9.4f}   {wrong}"


def summary(name: str, ways: list[Losses], way: Losses) -> str:
    """What a way gives over all pairs: the standard deviation of one run, the share of wrong signs, the share of noise
    in the mean square of a return ((mean square - true drop squared) / mean square), the share of tables of one run a
    length in which each sign is right, and the runs of each length that leave zero out of the 90% interval of the last
    pair's drop in four of five tries."""
    spread = math.sqrt(statistics.fmean(float(losses.var(ddof=1)) for losses in way.values()))
    square = statistics.fmean(float((_tries(way, a, b) ** 2).mean()) for a, b in _pairs())
    true = statistics.fmean(_drop(ways, a, b) ** 2 for a, b in _pairs())
    wrong = statistics.fmean(_wrong(ways, way, a, b) for a, b in _pairs())
    shares = f"{wrong:10.1%} {1 - true / square:18.2%} {_all_right(ways, way):14.1%}"
    return f"{name:10} {spread:12.4f} {shares} {_runs(spread, _drop(ways, *_pairs()[-1])):29,}"


def main() -> None:
    seeds = machine.asked(__doc__, seeds=SEEDS).seeds
    ways = measure(seeds)
    print(f"{machine.line()}\n{seeds} seeds of each length\n")
    print(f"{'steps':16} {'drop':>10} {'one try':>9}   wrong sign: {', '.join(WAYS)}")
    print(*pairs(ways), sep="\n")
    print("\nloss taken  sd of a run  wrong sign  noise in a return  no sign wrong  runs to settle the last pair")
    for name, way in zip(WAYS, ways, strict=True):
        print(summary(name, ways, way))


if __name__ == "__main__":
    main()
