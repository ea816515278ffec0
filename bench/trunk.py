"""Lengths from one trunk (`sweep laws --schedule trunk`): what they cost, and whether they come to the same losses.

    python bench/trunk.py price [--repeats 3] [--sizes 3] [--seeds 2] [--jobs 2]
    python bench/trunk.py agreement [--seeds 8] [--batch 1] [--jobs 2] [--store FILE]

`price` carries out sizes of the built-in `laws` without tuning, by single runs and from trunks, with the same schedule
and so the same runs. Medians over repeats of the seconds by the clock and of the workers' processors, and how many
times less; `steps_times` is that in steps, which is arithmetic. The lengths are the five built-in ones, at equal
ratios, and five and ten at equal distances.

`agreement` sweeps two sizes of `laws` twice, each with its own learning rates, tuned as the command tunes them: with
the recipe's schedule, linear to zero, and from trunks. Told are the differences of held-out losses between runs of one
size, length and seed, trunk minus linear, in nats: the mean over seeds with its 90% interval (Student). `neighbours` is
how far the seeds' deviations at one length and the next are correlated. A larger --batch takes so many times fewer
steps: the same documents. With a store it goes on where it was stopped.
"""

import itertools
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

import machine
from microgpt.lab.statistics.intervals import mean
from microgpt.lab.store.record import RunRecord
from microgpt.lab.store.store import Store
from microgpt.lab.sweep.coordinator import sweep
from microgpt.lab.sweep.design import Design
from microgpt.lab.sweep.executors import LocalProcesses
from microgpt.lab.sweep.groups import InGroups
from microgpt.lab.sweep.plan import LAW_SIZES, LAW_STEPS, branched, plan
from microgpt.lab.sweep.texts import Texts
from microgpt.lab.sweep.trunk import shares

LENGTHS: Final = {
    "built-in": LAW_STEPS,
    "five at equal distances": tuple(range(12_800, 64_001, 12_800)),
    "ten at equal distances": tuple(range(6_400, 64_001, 6_400)),
}
COMPARED: Final = (LAW_SIZES[1], LAW_SIZES[3])  # 4,192 and 60,400 parameters


def carry_out(design: Design, store: Path, jobs: int, grouped: bool) -> tuple[float, float]:
    """A sweep from plan to finished store: seconds by the clock, and of the workers' processors."""
    texts = Texts()
    planned = plan(design, texts)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with Store.open(store, create=True) as opened:
        executor = InGroups(jobs) if grouped else LocalProcesses(jobs)
        try:
            list(sweep(planned, opened, executor, texts))
        finally:
            executor.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def price(repeats: int, sizes: int, seeds: int, jobs: int) -> list[dict[str, Any]]:
    """For each choice of lengths, what single runs and trunks take."""
    found = []
    for name, lengths in LENGTHS.items():
        asked = Design(name, levels=LAW_SIZES[:sizes], axes={"steps": lengths}, seeds=tuple(range(seeds)), tuned=False)
        design = branched(asked)
        taken: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for repeat, grouped in itertools.product(range(repeats), (False, True)):
            with tempfile.TemporaryDirectory() as folder:
                taken[grouped].append(carry_out(design, Path(folder) / f"{repeat}.db", jobs, grouped))
        levels = plan(design, Texts()).levels
        own = sum(share * level.settings.steps for share, level in zip(shares(levels), levels, strict=True))
        clock, processor = (
            [statistics.median(each[which] for each in taken[grouped]) for grouped in (False, True)] for which in (0, 1)
        )
        steps = sum(level.settings.steps for level in levels) / own
        row: dict[str, Any] = {"clock": clock, "clock_times": clock[0] / clock[1]}
        row |= {"processor": processor, "processor_times": processor[0] / processor[1], "steps_times": steps}
        found.append({"name": name} | row)
    return found


def agreement(store: Path, seeds: int, batch: int, jobs: int) -> list[dict[str, Any]]:
    """For each size and length, what trunks differ in from runs of their own."""
    lengths, base = tuple(steps // batch for steps in LAW_STEPS), {"batch": batch}
    linear = Design("laws", base=base, levels=COMPARED, axes={"steps": lengths}, seeds=tuple(range(seeds)))
    for design in (linear, branched(linear)):
        carry_out(design, store, jobs, grouped=True)
    names = (linear.name, branched(linear).name)
    with Store.open(store) as opened:
        by_sweep = [{(run.params, run.steps, run.seed): run for run in opened.records(name, "study")} for name in names]
    found: list[dict[str, Any]] = []
    for params, steps in sorted({key[:2] for key in by_sweep[0]}):
        first, second = ([runs[params, steps, seed] for seed in range(seeds)] for runs in by_sweep)
        losses = [np.array([float(run.loss or 0) for run in runs]) for runs in (first, second)]
        told = mean((losses[1] - losses[0]).tolist())
        rates = {"lr_linear": first[0].settings["lr"], "lr_trunk": second[0].settings["lr"]}
        row = {"params": params, "steps": steps, **rates, "linear": float(losses[0].mean())}
        row |= {"trunk": float(losses[1].mean()), "difference": told.mean, "low": told.low, "high": told.high}
        found.append(row)
    for name, runs in zip(names, by_sweep, strict=True):
        found.append({"sweep": name, "neighbours": neighbours(runs, seeds)})
    return found


def neighbours(runs: dict[tuple[int, int, int], RunRecord], seeds: int) -> float:
    """The correlation of what the seeds deviate by at one length and at the next, over sizes."""
    lengths = sorted({key[1] for key in runs})
    table = np.array(
        [
            [[float(runs[params, steps, seed].loss or 0) for seed in range(seeds)] for steps in lengths]
            for params in sorted({key[0] for key in runs})
        ]
    )  # (sizes, lengths, seeds)
    apart = table - table.mean(axis=2, keepdims=True)
    one = apart / apart.std(axis=2, keepdims=True)
    return float((one[:, 1:] * one[:, :-1]).mean())


def main() -> None:
    asked = machine.asked(__doc__, ["price", "agreement"], repeats=3, sizes=3, seeds=0, batch=1, jobs=2, store="")
    with tempfile.TemporaryDirectory() as folder:
        if asked.what == "price":
            rows = price(asked.repeats, asked.sizes, asked.seeds or 2, asked.jobs)
        else:
            rows = agreement(Path(asked.store or f"{folder}/lab.db"), asked.seeds or 8, asked.batch, asked.jobs)
    print(machine.line())
    for row in rows:
        print("  ".join(f"{name} {_short(value)}" for name, value in row.items()))


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
