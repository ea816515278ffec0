"""What a run of a sweep costs besides its work: on Ray, beside this machine's own processes.

    pip install 'microgpt-symmetry[ray]'
    python bench/on_ray.py [--runs 200] [--jobs 2]

The runs are those of a tiny model, 20 steps on the built-in names, on the engine array. Both executors are warmed up by
a few others, so that starting Ray, which is told too, and reading the text are not counted. Overhead of a run is the
time of the sweep, in all jobs, less what the runs themselves took by their own clocks, divided by the runs.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine
from microgpt.lab.cluster.asked import Asked
from microgpt.lab.cluster.executor import RayCluster
from microgpt.lab.store.store import Store
from microgpt.lab.sweep.coordinator import SweepFinished, sweep
from microgpt.lab.sweep.design import Design
from microgpt.lab.sweep.executors import Executor, LocalProcesses
from microgpt.lab.sweep.plan import plan
from microgpt.lab.sweep.texts import Texts

TINY = {"steps": 20, "emb": 4, "head": 2, "ctx": 8, "engine": "array"}
WARM = 10_000  # the first of the seeds that only warm up


def measured(begin: Callable[[], Executor], store: Path, runs: int) -> dict[str, float]:
    """Seconds to start, milliseconds of a run in the sweep, and those of it that are not the run's own."""
    start = time.perf_counter()
    executor = begin()
    started = time.perf_counter() - start
    try:
        jobs = executor.jobs
        carry_out(executor, store, "warm", tuple(range(WARM, WARM + 8 * jobs)))
        seconds, own = carry_out(executor, store, "measured", tuple(range(runs)))
    finally:
        executor.close()
    each = {"run_ms": own / runs * 1e3, "overhead_ms": (seconds * jobs - own) / runs * 1e3}
    return {"start_s": started, "sweep_s": seconds, **each}


def carry_out(executor: Executor, store: Path, name: str, seeds: tuple[int, ...]) -> tuple[float, float]:
    """Seconds of a sweep, and the seconds that its runs took by their own clocks."""
    texts = Texts()
    planned = plan(Design(name, base=TINY, seeds=seeds, tuned=False), texts)
    with Store.open(store, create=True) as opened:
        start = time.perf_counter()
        *_, end = sweep(planned, opened, executor, texts)
        seconds = time.perf_counter() - start
        assert isinstance(end, SweepFinished)
        assert end.done == len(seeds)
        return seconds, sum(run.seconds["total"] for run in opened.records(name))


def main() -> None:
    arguments = machine.asked(__doc__, runs=200, jobs=2)
    print(f"{machine.line()}; {machine.load()} before")
    executors: dict[str, Callable[[], Executor]] = {
        "local": lambda: LocalProcesses(arguments.jobs),
        "ray": lambda: RayCluster(Asked(jobs=arguments.jobs)),
    }
    with tempfile.TemporaryDirectory() as name:
        for kind, begin in executors.items():
            figures = measured(begin, Path(name) / f"{kind}.db", arguments.runs)
            print(f"{kind:6} " + "  ".join(f"{figure} {value:,.2f}" for figure, value in figures.items()))


if __name__ == "__main__":
    main()
