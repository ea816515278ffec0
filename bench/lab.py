"""The lab's figures: the original's two sweeps, what a run costs besides its work, two jobs against one, a large store.

    python bench/lab.py [--seeds 8] [--jobs 2] [--store-runs 100000] [--json]

The sweeps are those of `microgpt sweep steps` and `microgpt sweep params` at 8 seeds: 88 runs, and those that tune the
learning rate of each size. Kernels are in the cache (a first start compiles each size, a second or so). Overhead is
what a run of the default recipe takes beyond drawing weights, training and evaluation, in a worker that keeps its data.
The large store has runs that are copies of one under other names.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import machine
from microgpt.lab.design import Design
from microgpt.lab.executors import LocalProcesses
from microgpt.lab.plan import BUILT_IN, plan
from microgpt.lab.run import Workshop
from microgpt.lab.store import Store
from microgpt.lab.sweep import SweepFinished, sweep
from microgpt.lab.texts import Texts
from microgpt.model.state import draw_weights
from microgpt.recipes import resolve


def carry_out(design: Design, store: Path, jobs: int) -> SweepFinished:
    """A sweep as the command line does it, from plan to finished store."""
    texts = Texts()
    planned = plan(design, texts)
    with Store.open(store, create=True) as opened:
        executor = LocalProcesses(jobs)
        try:
            *_, end = sweep(planned, opened, executor, texts)
        finally:
            executor.close()
    assert isinstance(end, SweepFinished)
    return end


def two_sweeps(folder: Path, seeds: int, jobs: int) -> dict[str, float]:
    """The original's two sweeps: seconds, and seconds of processors (the workers' own)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    ends = [
        carry_out(replace(BUILT_IN[name], seeds=tuple(range(seeds))), folder / "two.db", jobs)
        for name in ("steps", "params")
    ]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "runs": sum(end.done for end in ends),
        "seconds": time.perf_counter() - start,
        "worker_processor_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


def overhead(repeats: int = 40) -> dict[str, float]:
    """Milliseconds of a default run, and those that are neither drawing, nor training, nor evaluation: medians."""
    texts, workshop = Texts(), Workshop()
    spec = texts.spec(resolve("default"))
    workshop.carry_out(spec)
    wholes, rests = [], []
    for seed in range(repeats):
        asked = spec.with_settings(seed=100 + seed)
        model = asked.settings.model(workshop.texts.shared(asked).split.corpus.tokenizer.vocabulary)
        drawing = timed(lambda: draw_weights(asked.settings, model))  # noqa: B023 - called at once
        start = time.perf_counter()
        seconds = workshop.carry_out(asked).record.seconds
        whole = time.perf_counter() - start
        wholes.append(whole * 1e3)
        rests.append((whole - drawing - seconds["train"] - seconds["evaluate"]) * 1e3)
    return {"run_ms": statistics.median(wholes), "overhead_ms": statistics.median(rests)}


def scaling(folder: Path, runs: int = 96) -> dict[str, float]:
    """Seconds of equal runs with one worker and with two, each warmed up by a few others."""
    seconds = {}
    for jobs in (1, 2):
        store = folder / f"jobs{jobs}.db"
        design = Design("scaling", base={"steps": 5000}, seeds=tuple(range(runs)), tuned=False)
        texts = Texts()
        with Store.open(store, create=True) as opened:
            executor = LocalProcesses(jobs)
            try:
                warm = replace(design, name="warm", seeds=tuple(range(10_000, 10_000 + 4 * jobs)))
                list(sweep(plan(warm, texts), opened, executor, texts))
                planned = plan(design, texts)
                seconds[jobs] = timed(lambda: list(sweep(planned, opened, executor, texts)))  # noqa: B023
            finally:
                executor.close()
    return {"one": seconds[1], "two": seconds[2], "times": seconds[1] / seconds[2]}


def large_store(folder: Path, runs: int) -> dict[str, float]:
    """Seconds to fill, to open and to load a store of so many runs, and its size."""
    path, texts = folder / "large.db", Texts()
    trained = Workshop(texts).carry_out(texts.spec(resolve("default", {"steps": 100})))
    settings = trained.record.settings
    copies = [
        replace(trained, record=replace(trained.record, identity=f"{n:064x}", settings={**settings, "seed": n}))
        for n in range(runs)
    ]
    start = time.perf_counter()
    with Store.open(path, create=True) as store:
        for copy in copies:
            store.add(copy)
        store.enroll("large", [(copy.record.identity, "study") for copy in copies])
    filled = time.perf_counter() - start
    del copies

    def load() -> None:
        with Store.open(path) as store:
            assert len(store.records("large")) == runs

    return {"runs": runs, "fill": filled, "load": timed(load), "megabytes": path.stat().st_size / 1e6}


def timed(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--store-runs", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {
            "overhead": overhead(),
            "scaling": scaling(folder),
            "two_sweeps": two_sweeps(folder, arguments.seeds, arguments.jobs),
            "large_store": large_store(folder, arguments.store_runs),
        }
    if arguments.json:
        print(json.dumps({"machine": machine.machine(), "load_before": load, **found}, indent=1))
        return
    print(f"{machine.line()}; load before {load:.1f}", file=sys.stdout)
    for what, figures in found.items():
        print(f"{what:12} " + "  ".join(f"{name} {value:,.2f}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
