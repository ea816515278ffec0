"""Carry out the faults and fill the table of docs/RELIABILITY.md.

    python -m trials                     every fault in its full form, one after another
    python -m trials kills hostile       some, by name or number
    python -m trials --share 0.02        each with a fiftieth of its trials: for a look; the table stays
    python -m trials --list              what there is

Each fault is tried in a process of its own, so that one which ends badly ends alone.
"""

import argparse
import importlib
import json
import pkgutil
import subprocess
import sys
import time
from functools import cache

import trials as package
from bench.machine import line
from trials import table
from trials.fault import Fault, Outcome


@cache
def collected() -> list[Fault]:
    """The faults of all modules beside this one, by number; without those whose packages are not installed here."""
    found: list[Fault] = []
    for module in pkgutil.iter_modules(package.__path__):
        if module.name in ("__main__", "serving"):
            continue
        try:
            found += getattr(importlib.import_module(f"{package.__name__}.{module.name}"), "FAULTS", ())
        except ModuleNotFoundError as missing:
            if str(missing.name).startswith(("microgpt", package.__name__)):
                raise
    names = [fault.name for fault in found]
    assert len(set(names)) == len(names), "two faults have one name"
    return sorted(found, key=lambda fault: (fault.number, fault.name))


def carry_out(fault: Fault, trials: int, seed: int) -> Outcome:
    """The trials in a process of their own; one that dies counts as a trial lost."""
    command = [sys.executable, "-m", "trials", "--inside", fault.name, "--trials", str(trials)]
    done = subprocess.run([*command, "--seed", str(seed)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return Outcome(1, 0, f"the trials themselves ended with {done.returncode}")
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    arguments = _arguments()
    faults = collected()
    if arguments.inside:
        fault = next(fault for fault in faults if fault.name == arguments.inside)
        print(json.dumps(vars(fault.try_it(arguments.trials, arguments.seed))))
        return
    where = line()  # before the first result makes the tree another than the commit's
    asked = [fault for fault in faults if not arguments.faults or _is_asked(fault, arguments.faults)]
    for fault in asked:
        trials = max(1, round(fault.trials * arguments.share))
        if arguments.list:
            print(f"{fault.number:3}  {fault.name:24} {fault.trials:8,}  {fault.title}")
            continue
        print(f"{fault.number:3}  {fault.name:24} {trials:8,} trials ", end="", flush=True)
        if reason := fault.lacking():
            print(f"can't be tried here: {reason}")
            continue
        began = time.perf_counter()
        outcome = carry_out(fault, trials, arguments.seed)
        seconds = time.perf_counter() - began
        print(f"{outcome.survived:8,} survived {outcome.lost:6,} lost  {seconds:7.1f} s  {outcome.figures}", flush=True)
        if arguments.share >= 1:
            table.keep(fault, outcome, seconds, where)
    if arguments.share >= 1 and not arguments.list:
        table.write(faults)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", help="names or numbers; all when none is given")
    parser.add_argument("--share", type=float, default=1.0, help="of the trials of the full form")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--trials", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args()


def _is_asked(fault: Fault, asked: list[str]) -> bool:
    return fault.name in asked or str(fault.number) in asked


if __name__ == "__main__":
    main()
