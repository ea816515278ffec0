"""The audit: what stands between the numbers of a store and what may soundly be said of them. Pure.

Most checks are of the design and of exact facts; those can't raise a false alarm. Two are statistical. Whether a loss
rises: its tests, along all axes, are taken together and held to a family-wise error of 1% (Holm 1979), however many
levels there are. Whether an axis is flat: there the alarm is that nothing is seen, so a sweep with an effect well above
its noise raises none.
"""

from collections.abc import Sequence
from typing import Final

from microgpt.lab.audit import design, results
from microgpt.lab.audit.finding import Finding, Severity, sentence
from microgpt.lab.statistics.series import RUN_AXES, Series, series, usable
from microgpt.lab.store.record import RunRecord

__all__ = ["Finding", "Severity", "audit", "sentence"]

ORDER: Final = {"serious": 0, "warning": 1, "note": 2}


def audit(records: Sequence[RunRecord], found: Sequence[Series] | None = None) -> list[Finding]:
    """What to beware of in these runs, the gravest first.

    `found` are the series that are reported; without, those of the runs along each axis on which they vary.
    """
    every = [line for axis in RUN_AXES for line in series(records, axis)] if found is None else found
    runs = [run for run in records if usable(run)]
    lines = [line for line in every if len(line.levels) > 1]
    shown = lines or every  # a row for each level; of a paired sweep, each is a series of its own
    findings = [
        *results.not_held_out(records),
        *results.failed(records),
        *results.mixed(runs),
        *results.learned_nothing(runs),
        *results.near_uniform(runs),
        *results.dead_axes(runs, every, lines),
        *results.dead_seed(shown),
        *results.rising(lines),
        *design.levels(lines or _never_varied(runs, found or ())),
        *design.narrow(lines),
        *design.few_seeds(shown),
        *design.epochs(runs),
        *design.learning_rates(records),
    ]
    return sorted(findings, key=lambda finding: ORDER[finding.severity])


def _never_varied(runs: Sequence[RunRecord], found: Sequence[Series]) -> Sequence[Series]:
    """A series that is reported along an axis on which all runs are alike. Where they differ but each is a series of
    its own, as in a paired sweep, there is no curve that could have too few levels."""
    return [line for line in found[:1] if len({line.axis.key(run) for run in runs}) == 1]
