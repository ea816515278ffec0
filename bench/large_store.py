"""How long it takes to analyse a store of 100,000 runs: each question as a person asks it, start of Python and all.

    python bench/large_store.py [--runs 100000] [--repeats 5] [--only report] [--json]

The runs are simulated: four sizes, eight lengths, and as many seeds as it takes. Goal: 5 s or less for each question.
Told are the medians of the wall time and of the processor's time, which other work on the machine disturbs less.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import machine
from microgpt.lab.run import Trained
from microgpt.lab.simulate import SIZES, STEPS, Design, Law, Noise, simulate
from microgpt.lab.store import Store

NAMES = Law(E=2.05, A=1.5, B=8.0, alpha=0.3, beta=0.4)
QUESTIONS = (
    ("analyze", "steps"),
    ("analyze", "params"),
    ("analyze", "returns"),
    ("analyze", "runs", "--csv"),
    ("report",),
)


def fill(path: Path, runs: int) -> None:
    """A store of so many simulated runs in one sweep."""
    seeds = -(-runs // (len(SIZES) * len(STEPS)))
    records = simulate(NAMES, Design(sizes=SIZES, steps=STEPS, seeds=seeds, sweep="laws"), Noise(), seed=0)[:runs]
    with Store.open(path, create=True) as store:
        store.begin("laws", {"name": "laws"})
        store.enroll("laws", [(record.identity, record.role) for record in records])
        for record in records:
            store.add(Trained(replace(record, samples=record.samples[:2])))


def seconds(question: tuple[str, ...], store: Path) -> tuple[float, float]:
    """The wall time of one command, and the time that a processor was at it."""
    sweep = ("--sweep", "laws") if question[0] == "analyze" else ("--out", str(store.with_suffix(".html")))
    command = [sys.executable, "-m", "microgpt", *question, *sweep, "--store", str(store)]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(question: tuple[str, ...], store: Path, repeats: int) -> tuple[float, ...]:
    """Of several repeats, in the order of `seconds`."""
    taken = [seconds(question, store) for _ in range(repeats)]
    return tuple(round(statistics.median(column), 2) for column in zip(*taken, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only", default="", help="the questions that begin so")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "lab.db"
        fill(store, arguments.runs)
        asked = [question for question in QUESTIONS if " ".join(question).startswith(arguments.only)]
        found = {" ".join(question): medians(question, store, arguments.repeats) for question in asked}
    if arguments.json:
        print(json.dumps({"machine": machine.machine(), "runs": arguments.runs, "seconds": found}, indent=1))
        return
    print(machine.line())
    for question, (wall, worked) in found.items():
        print(f"{question:20} {wall:6.2f} s, {worked:6.2f} s of a processor, with {arguments.runs:,} runs")


if __name__ == "__main__":
    main()
