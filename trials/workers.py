"""Workers of a sweep that die: by SIGKILL at random moments, and for want of memory."""

import os
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from microgpt.lab.sweep.coordinator import Done, Retried, Status
from microgpt.lab.sweep.executors import LocalProcesses
from trials import few
from trials.fault import Fault, Outcome, no_linux

JOBS: Final = 2
RUNS_A_KILL: Final = 2
STEPS: Final = 600  # some tenths of a second
LONGEST: Final = 1.0  # seconds between two kills
ROOM: Final = 900 << 20  # bytes of address space of a worker; NumPy alone takes a third
HUGE: Final = {"emb": 640, "head": 2, "layer": 6, "steps": 5}  # 30 million parameters: a gigabyte and more


def kills(trials: int, seed: int) -> Outcome:
    """Kill workers at random moments of a sweep, so often; then compare its store with that of a calm one."""
    stream, killed, due = random.Random(seed), 0, time.monotonic()

    def kill(executor: LocalProcesses, status: Status) -> None:
        nonlocal killed, due
        busy = [worker for worker, spec in zip(executor.workers, status.working, strict=True) if spec]
        if killed < trials and time.monotonic() >= due and busy:
            pid = stream.choice(busy).process.pid
            assert pid
            os.kill(pid, signal.SIGKILL)
            killed += 1
            due = time.monotonic() + stream.uniform(0, LONGEST)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wild, calm = place / "wild.db", place / "calm.db"
        asked = few.planned(place, axes={"steps": (STEPS,)}, seeds=tuple(range(4 + RUNS_A_KILL * trials)))
        records = few.carry_out(asked, wild, JOBS, disturb=kill)
        marked = sum(isinstance(record, Done) and record.record.status == "failed" for record in records)
        again = few.carry_out(asked, wild, JOBS) if marked else []
        few.carry_out(asked, calm, JOBS)
        same = few.table(wild) == few.table(calm)
    retried = sum(isinstance(record, Retried) for record in records)
    done = sum(isinstance(record, Done) for record in [*records, *again])
    figures = f"{killed} kills, {retried} runs tried again, {marked} marked after three, {done} runs in all"
    return Outcome(killed, killed if same else 0, figures if same else "another table than that of a calm sweep")


def memory(trials: int, seed: int) -> Outcome:
    """Sweeps in which one run needs more memory than its worker may have: it is marked, and the others are done."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, before[1]))  # which workers inherit
    survived, reasons = 0, set[str]()
    try:
        for number in range(trials):
            engine = ("array", "fused")[(seed + number) % 2]
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder)
                axes: dict[str, Any] = {"emb": (4, HUGE["emb"])}
                base = {name: size for name, size in HUGE.items() if name != "emb"} | {"engine": engine}
                asked = few.planned(place, axes=axes, base=base, seeds=(seed, seed + 1))
                records = few.carry_out(asked, place / "lab.db", JOBS)
            done = [record.record for record in records if isinstance(record, Done)]
            small = [run.status for run in done if run.settings["emb"] == few.TINY["emb"]]
            large = [run for run in done if run.settings["emb"] == HUGE["emb"]]
            reasons |= {run.error for run in large}
            fine = small == ["done"] * 2 and [run.status for run in large] == ["failed"] * 2
            survived += fine
            if not fine:
                print([(run.settings["emb"], run.status, run.error) for run in done], file=sys.stderr)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    return Outcome(trials, survived, f"said: {'; '.join(sorted(reasons))}"[:200])


FAULTS = (
    Fault(
        26,
        "killed-workers",
        "a worker of a sweep is killed",
        "at a random moment; its run is tried again, at most twice, and the store ends equal to a calm one",
        60,
        kills,
    ),
    Fault(
        26,
        "workers-without-memory",
        "a run needs more memory than its worker may have",
        "a sweep of four runs, two of them too large for the limit; those are marked, the others done",
        4,
        memory,
        no_linux,
    ),
)
