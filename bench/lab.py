"""The lab's figures: the original's two sweeps, what a run costs besides its work, two jobs against one, a large store.

    python bench/lab.py [--only large_store …] [--seeds 8] [--jobs 2] [--store-runs 100000] [--repeats 3]

The sweeps are those of `microgpt sweep steps` and `microgpt sweep params` at 8 seeds: 88 runs, and those that tune the
learning rate of each size. Kernels are in the cache (a first start compiles each size, a second or so). Overhead is
what a run of the default recipe takes beyond drawing weights, training and evaluation, in a worker that keeps its data.
The large store has simulated runs of four sizes and eight lengths; goal: 5 s or less for each question.
Its times are medians of the repeats, of the clock and, after "cpu", of the processor, which other work disturbs less.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import machine
from microgpt.lab.statistics.simulate import SIZES, STEPS, Design, Law, Noise, simulate
from microgpt.lab.store.record import Trained
from microgpt.lab.store.store import Store
from microgpt.lab.sweep.coordinator import SweepFinished, sweep
from microgpt.lab.sweep.design import Design as Asked
from microgpt.lab.sweep.executors import LocalProcesses
from microgpt.lab.sweep.plan import BUILT_IN, plan
from microgpt.lab.sweep.run import Workshop
from microgpt.lab.sweep.texts import Texts
from microgpt.model.state import draw_weights
from microgpt.recipes import resolve

NAMES = Law(E=2.05, A=1.5, B=8.0, alpha=0.3, beta=0.4)  # close to what the built-in names give
QUESTIONS = (*(f"analyze {what} --sweep laws" for what in ("steps", "params", "returns", "runs --csv")), "report")


def carry_out(design: Asked, store: Path, jobs: int) -> SweepFinished:
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
    designs = [replace(BUILT_IN[name], seeds=tuple(range(seeds))) for name in ("steps", "params")]
    ends: list[SweepFinished] = []
    clock, processor = both_times(lambda: ends.extend(carry_out(one, folder / "two.db", jobs) for one in designs))
    return {"runs": sum(end.done for end in ends), "seconds": clock, "worker_processor_seconds": processor}


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
        design = Asked("scaling", base={"steps": 5000}, seeds=tuple(range(runs)), tuned=False)
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


def large_store(folder: Path, runs: int, repeats: int) -> dict[str, float]:
    """Seconds to fill and to load a store of so many simulated runs, its size, and seconds of each question as a person
    asks it, start of Python and all."""
    path, seeds = folder / "large.db", -(-runs // (len(SIZES) * len(STEPS)))
    records = simulate(NAMES, Design(sizes=SIZES, steps=STEPS, seeds=seeds, sweep="laws"), Noise(), seed=0)[:runs]
    trained = [Trained(replace(record, samples=record.samples[:2])) for record in records]

    def fill() -> None:
        with Store.open(path, create=True) as store:
            store.begin("laws", {"name": "laws"})
            store.enroll("laws", [(record.identity, record.role) for record in records])
            for one in trained:
                store.add(one)

    def load() -> None:
        with Store.open(path) as store:
            assert len(store.records("laws")) == runs

    def ask(question: str) -> None:
        command = [sys.executable, "-m", "microgpt", *question.split(), "--store", str(path)]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)

    taken = {"runs": runs, "fill": timed(fill), "load": timed(load), "megabytes": path.stat().st_size / 1e6}
    for question in QUESTIONS:
        clock, processor = zip(*(both_times(lambda: ask(question)) for _ in range(repeats)), strict=True)  # noqa: B023
        taken |= {question: statistics.median(clock), f"cpu {question}": statistics.median(processor)}
    return taken


def both_times(action: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of the clock, and of the processor in the processes that it begins."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = timed(action)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def timed(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    figures = ["overhead", "scaling", "two_sweeps", "large_store"]
    arguments = machine.asked(__doc__, only=figures, seeds=8, jobs=2, store_runs=100_000, repeats=3)
    print(f"{machine.line()}; {machine.load()} before")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measures: dict[str, Callable[[], dict[str, float]]] = {
            "overhead": overhead,
            "scaling": lambda: scaling(folder),
            "two_sweeps": lambda: two_sweeps(folder, arguments.seeds, arguments.jobs),
            "large_store": lambda: large_store(folder, arguments.store_runs, arguments.repeats),
        }
        for what in arguments.only:
            print(f"{what:12} " + "  ".join(f"{name} {value:,.2f}" for name, value in measures[what]().items()))


if __name__ == "__main__":
    main()
