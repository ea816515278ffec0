"""How long it takes to analyse a store of 100,000 runs: each question as a person asks it, start of Python and all.

    python bench/large_store.py [--runs 100000] [--json]

The runs are simulated: four sizes, eight lengths, and as many seeds as it takes. Goal: 5 s or less for each question.
"""

import argparse
import json
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


def seconds(question: tuple[str, ...], store: Path) -> float:
    """The wall time of one command."""
    sweep = ("--sweep", "laws") if question[0] == "analyze" else ("--out", str(store.with_suffix(".html")))
    command = [sys.executable, "-m", "microgpt", *question, *sweep, "--store", str(store)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "lab.db"
        fill(store, arguments.runs)
        found = {" ".join(question): round(seconds(question, store), 2) for question in QUESTIONS}
    if arguments.json:
        print(json.dumps({"machine": machine.machine(), "runs": arguments.runs, "seconds": found}, indent=1))
        return
    print(machine.line())
    for question, taken in found.items():
        print(f"{question:20} {taken:6.2f} s with {arguments.runs:,} runs")


if __name__ == "__main__":
    main()
