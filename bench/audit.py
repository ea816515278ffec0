"""Whether the audit stays silent on clean sweeps, and finds every planted fault.

    python bench/audit.py [--sweeps 100]

Clean sweeps are drawn from planted laws, with noise that is alike at all levels and noise that is greater in short
runs. Then each fault is planted in each sweep, one at a time. Goals: 5 or fewer false alarms in 100, all faults found.
Last come sweeps of one seed, where the curves alone tell how noisy a run is: how often a loss that falls, or does not
move, is said to rise, and how often a level that is a fifth of a nat too high is found.
"""

from dataclasses import dataclass

import machine
from microgpt.lab.audit import audit
from microgpt.lab.statistics.planted import FAULTS
from microgpt.lab.statistics.simulate import SIZES, Design, Law, Noise, simulate
from microgpt.lab.store.record import RunRecord

NAMES = Law(E=2.05, A=1.5, B=8.0, alpha=0.3, beta=0.4)  # close to what the built-in names give
DESIGNS = (
    Design(),
    Design(seeds=8),
    Design(sizes=SIZES, steps=(5000,), sweep="params", tuned=True),
    Design(sizes=SIZES, steps=(1000, 3000, 5000, 10000), sweep="laws", tuned=True),
)
SINGLE = tuple(Design(sizes=SIZES, steps=steps, seeds=1, sweep="laws") for steps in (
    (1000, 3000, 5000, 10000), (1000, 2000, 4000, 8000, 16000, 32000),
))  # fmt: skip
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


def without_seeds(sweeps: int) -> dict[str, int]:
    """Sweeps of one seed in which a rise is found: where losses fall, where they do not move, where one is planted."""
    told = dict.fromkeys(("falling", "flat", "planted"), 0)
    for number in range(sweeps):
        for name in told:
            law = Law(E=2.0, A=0.0, B=0.0) if name == "flat" else NAMES
            records = simulate(law, SINGLE[number % len(SINGLE)], Noise(), seed=number)
            plant = FAULTS["rising loss"](records) if name == "planted" else records
            told[name] += "rising loss" in {finding.kind for finding in audit(plant)}
    return told


def main() -> None:
    sweeps = machine.asked(__doc__, sweeps=100).sweeps
    outcome = measure(sweeps)
    print(machine.line())
    print(f"false alarms: {outcome.alarms} of {outcome.sweeps} clean sweeps {outcome.kinds or ''}")
    for kind in FAULTS:
        print(f"{kind:28} found {outcome.found[kind]:4} of {outcome.planted[kind]:4}")
    print(f"one seed, sweeps of {sweeps} in which the loss is said to rise: {without_seeds(sweeps)}")


if __name__ == "__main__":
    main()
