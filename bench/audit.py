"""Whether the audit stays silent on clean sweeps, and finds every planted fault.

    python bench/audit.py [--sweeps 100] [--json]

Clean sweeps are drawn from planted laws, with noise that is alike at all levels and noise that is greater in short
runs. Then each fault is planted in each sweep, one at a time. Goals: 5 or fewer false alarms in 100, all faults found.
"""

import argparse
import json
from dataclasses import dataclass

import machine
from microgpt.lab.audit import audit
from microgpt.lab.planted import FAULTS
from microgpt.lab.record import RunRecord
from microgpt.lab.simulate import SIZES, Design, Law, Noise, simulate

NAMES = Law(E=2.05, A=1.5, B=8.0, alpha=0.3, beta=0.4)  # close to what the built-in names give
DESIGNS = (
    Design(),
    Design(seeds=8),
    Design(sizes=SIZES, steps=(5000,), sweep="params", tuned=True),
    Design(sizes=SIZES, steps=(1000, 3000, 5000, 10000), sweep="laws", tuned=True),
)
NOISES = (Noise(), Noise(growth=3.0))
WANTS_SIZES = {"learning rate not tuned", "learning rate at the edge"}


@dataclass(frozen=True)
class Outcome:
    """Alarms on clean sweeps, and for each fault in how many sweeps it was planted and found."""

    sweeps: int
    alarms: int
    kinds: dict[str, int]
    planted: dict[str, int]
    found: dict[str, int]


def clean(number: int) -> list[RunRecord]:
    """One clean sweep; designs and noises take turns."""
    design = DESIGNS[number % len(DESIGNS)]
    return simulate(NAMES, design, NOISES[number // len(DESIGNS) % len(NOISES)], seed=number)


def measure(sweeps: int) -> Outcome:
    """The audit of so many clean sweeps, and of the same ones with each fault planted."""
    kinds: dict[str, int] = {}
    planted, found = dict.fromkeys(FAULTS, 0), dict.fromkeys(FAULTS, 0)
    alarms = 0
    for number in range(sweeps):
        records = clean(number)
        false = {finding.kind for finding in audit(records)}
        alarms += bool(false)
        for kind in false:
            kinds[kind] = kinds.get(kind, 0) + 1
        for kind, plant in FAULTS.items():
            if kind in WANTS_SIZES and not any(run.role == "tuning" for run in records):
                continue
            planted[kind] += 1
            found[kind] += kind in {finding.kind for finding in audit(plant(records))}
    return Outcome(sweeps, alarms, kinds, planted, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    outcome = measure(arguments.sweeps)
    if arguments.json:
        print(json.dumps({"machine": machine.machine(), **vars(outcome)}, indent=1))
        return
    print(machine.line())
    print(f"false alarms: {outcome.alarms} of {outcome.sweeps} clean sweeps {outcome.kinds or ''}")
    for kind in FAULTS:
        print(f"{kind:28} found {outcome.found[kind]:4} of {outcome.planted[kind]:4}")


if __name__ == "__main__":
    main()
