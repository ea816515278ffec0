"""Return on investment: what the next steps, or the next parameters, bring, and whether that can be told from noise.

Seeds that two neighbouring levels share are paired: they share first weights or the order of documents, and all runs
share one held-out set, so that much of what moves one loss moves the other and leaves their difference alone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from microgpt.lab.statistics.intervals import Estimate, difference, mean, seeds_to_settle
from microgpt.lab.statistics.series import Axis, Level, Series, series
from microgpt.lab.store.record import RunRecord

UNIT: Final = 1000  # a return is nats for so many steps or parameters
Slope = Callable[[Axis, Level, Level], float | None]  # how steeply a law falls between two levels, in nats for UNIT
Verdict = Literal["learning efficiently", "diminishing returns", "degradation or instability", "not measured"]
MEANINGS: Final[dict[Verdict, str]] = {
    "learning efficiently": "the loss falls, and the interval leaves out zero",
    "diminishing returns": "what it brings can't be told from zero with these seeds",
    "degradation or instability": "the loss rises, and the interval leaves out zero",
    "not measured": "an interval needs two seeds or more at both levels",
}
TO_ADD: Final = (
    "Seeds to add: so many more at each level leave zero out of the interval in four of five tries, if the true drop "
    "is the one measured."
)
MULTIPLICITY: Final = (
    "Each interval misses the truth one time in ten, on average {wrong} of these {rows}; a surprising row is a "
    "reason to add seeds, not yet a finding."
)


@dataclass(frozen=True)
class Return:
    """What lies between two neighbouring levels. Drops are nats per character and positive where the loss falls."""

    series: str
    axis: str
    from_level: int
    to_level: int
    seeds: int  # pairs, or seeds of the level that has fewer
    paired: bool
    drop: float
    se: float | None
    low: float | None
    high: float | None
    per_1000: float | None  # None between levels of equal value
    per_1000_low: float | None
    per_1000_high: float | None
    verdict: Verdict
    more_seeds: int | None  # for each level, to settle the row; 0 where it is settled, None where out of reach
    law_per_1000: float | None = None  # the slope of a fitted law in the middle between them; None where none is known


def returns(records: Iterable[RunRecord], axis: Axis) -> list[Return]:
    """The return between all neighbouring levels of an axis."""
    return [row for found in series(records, axis) for row in returns_of(found)]


def returns_of(found: Series, slope: Slope | None = None) -> list[Return]:
    """The return between the neighbouring levels of one series, and beside it the slope of a law."""
    return [_row(found, before, after, slope) for before, after in found.pairs]


def drop(before: Level, after: Level) -> tuple[Estimate, bool]:
    """How far the loss falls from one level to the next, and whether seeds were paired.

    Paired where at least two seeds, and half of those of the smaller level, are shared. Then the others are left out,
    since they would bring back what pairing took away; else Welch's difference of all.
    """
    first, second = before.losses, after.losses
    shared = [seed for seed in first if seed in second]
    if len(shared) >= 2 and 2 * len(shared) >= min(len(first), len(second)):
        return mean([first[seed] - second[seed] for seed in shared]), True
    return difference(list(first.values()), list(second.values())), False


def verdict(estimate: Estimate) -> Verdict:
    """What an interval says of a drop."""
    if estimate.low is None or estimate.high is None:
        return "not measured"
    if estimate.low > 0:
        return "learning efficiently"
    return "degradation or instability" if estimate.high < 0 else "diminishing returns"


def explained(rows: Sequence[Return]) -> str:
    """What the verdicts that occur mean, and what a number of seeds to add promises."""
    told = "; ".join(f"{each}: {MEANINGS[each]}" for each in dict.fromkeys(row.verdict for row in rows))
    to_add = f" {TO_ADD}" if any(row.verdict == "diminishing returns" for row in rows) else ""
    return f"{told[0].upper()}{told[1:]}.{to_add}" if told else ""


def multiplicity(rows: Sequence[object]) -> str:
    """What a reader of many rows must bear in mind; empty for a single one."""
    return MULTIPLICITY.format(rows=len(rows), wrong=f"{len(rows) / 10:.2g}") if len(rows) > 1 else ""


def _row(found: Series, before: Level, after: Level, slope: Slope | None) -> Return:
    estimate, paired = drop(before, after)
    apart = after.value - before.value

    def scaled(nats: float | None) -> float | None:
        return None if nats is None or apart == 0 else nats * UNIT / apart

    return Return(
        series=found.label,
        axis=found.axis.name,
        from_level=before.value,
        to_level=after.value,
        seeds=estimate.count,
        paired=paired,
        drop=estimate.mean,
        se=estimate.se,
        low=estimate.low,
        high=estimate.high,
        per_1000=scaled(estimate.mean),
        per_1000_low=scaled(estimate.low),
        per_1000_high=scaled(estimate.high),
        verdict=verdict(estimate),
        more_seeds=_more_seeds(estimate, paired),
        law_per_1000=slope(found.axis, before, after) if slope else None,
    )


def _more_seeds(estimate: Estimate, paired: bool) -> int | None:
    if estimate.spread is None:
        return 1 if estimate.count == 1 else None
    if verdict(estimate) != "diminishing returns":
        return 0
    needed = seeds_to_settle(estimate.mean, estimate.spread, 1 if paired else 2)
    return None if needed is None else max(1, needed - estimate.count)
