"""Whether the return tables mean what they say: how often the true drop lies inside its 90% interval.

    python bench/returns.py [--simulations 200]

Sweeps are drawn from a planted law whose drops are known, with seeds paired and unpaired, and with noise that is alike
at all levels or greater in short runs. Goal: every row of every table covers the truth in 166 to 194 of 200.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import machine
from microgpt.lab.statistics.returns import returns
from microgpt.lab.statistics.series import PARAMS, STEPS
from microgpt.lab.statistics.simulate import SIZES, Design, Law, Noise, simulate

NAMES = Law(E=2.05, A=1.5, B=8.0, alpha=0.3, beta=0.4)  # close to what the built-in names give
FLAT = Law(E=2.05, A=0.0, B=0.0)  # no drop at all
SIMULATIONS = 200


@dataclass(frozen=True)
class Case:
    """A design with its noise and law."""

    name: str
    design: Design
    noise: Noise
    law: Law = NAMES


STUDY = Design(sizes=SIZES, steps=(5000,), sweep="params")
CASES = (
    Case("steps, 3 seeds", Design(), Noise()),
    Case("steps, 8 seeds", Design(seeds=8), Noise()),
    Case("steps, 3 seeds, no drop", Design(), Noise(), FLAT),
    Case("steps, 3 seeds, short runs noisier", Design(), Noise(growth=3.0)),
    Case("steps, 3 seeds, unpaired", Design(own_seeds=True), Noise()),
    Case("steps, 5 seeds, unpaired, short runs noisier", Design(seeds=5, own_seeds=True), Noise(growth=3.0)),
    Case("sizes, 3 seeds", STUDY, Noise()),
)


def coverage(case: Case, simulations: int = SIMULATIONS) -> tuple[int, ...]:
    """Draw the case so often, with fixed seeds, and count how often each row's interval held the truth, from the first
    pair of levels to the last."""
    tables = [list(_inside(case, number)) for number in range(simulations)]
    return tuple(map(sum, zip(*tables, strict=True)))


def _inside(case: Case, number: int) -> Iterator[bool]:
    """For each row of one simulated table, whether its interval holds the true drop."""
    records = simulate(case.law, case.design, case.noise, seed=number)
    axis = STEPS if len(case.design.sizes) == 1 else PARAMS
    truth = {axis.value(run): case.law.loss(run.params, run.tokens) for run in records}
    for row in returns(records, axis):
        assert row.low is not None
        assert row.high is not None
        yield row.low <= truth[row.from_level] - truth[row.to_level] <= row.high


def main() -> None:
    simulations = machine.asked(__doc__, simulations=SIMULATIONS).simulations
    print(machine.line())
    for case in CASES:
        counts = " ".join(f"{count:4}" for count in coverage(case, simulations))
        print(f"{case.name:46} {counts}  of {simulations}")


if __name__ == "__main__":
    main()
