"""Whether curves fall, where nothing repeats: then only the curves themselves tell how noisy a run is.

Two looks. A curve that rises on the whole: the pairs of levels that rise and those that fall are counted (Mann 1945,
Kendall), over all curves of an axis together, which takes no scatter at all. A rise between two neighbours: it is held
against how far levels lie off the straight line through their neighbours, taken over all curves of the axis. A smooth
curve bends, so that this is too much rather than too little; the median of it is not moved by the rise itself.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Final

from microgpt.lab.statistics.intervals import t_above
from microgpt.lab.statistics.series import Level, Series

Test = tuple[float, float, Level, Level, Series]  # chance, rise, two levels, and their series

LEAST: Final = 4  # levels off their neighbours' line that tell a scatter
NORMAL: Final = 1.4826  # from the median of absolute deviations to a standard deviation
ENDLESS: Final = 1e6  # freedom at which Student's t is the normal
MINIMUM: Final = 0.05  # a count that can't reach this chance tells nothing


def rises(lines: Sequence[Series]) -> list[Test]:
    """Tests for a rise in series of one axis whose levels are a run each."""
    tests = list[Test]()
    whole = _chance(sum(_sign(line) for line in lines), lines)
    if whole is not None and lines:
        worst = max(lines, key=lambda line: _loss(line.levels[-1]) - _loss(line.levels[0]))
        first, last = worst.levels[0], worst.levels[-1]
        tests.append((whole, _loss(last) - _loss(first), first, last, worst))
    bends = [bend for line in lines for bend in _bends(line)]
    if len(bends) < LEAST:
        return tests
    middle = statistics.median(bends)
    spread = NORMAL * statistics.median(abs(bend - middle) for bend in bends)
    for line in lines:
        for before, after in line.pairs:
            rise = _loss(after) - _loss(before)
            score = rise / (spread * math.sqrt(2)) if spread else math.copysign(math.inf, rise)
            tests.append((t_above(score, max(1, len(bends) // 2)), rise, before, after, line))
    return tests


def fall(lines: Sequence[Series]) -> float | None:
    """The chance that curves which do not move fall as these do; None where too few levels could tell."""
    alone = [line for line in lines if all(len(level.runs) == 1 for level in line.levels)]
    best = _chance(sum(len(line.levels) * (len(line.levels) - 1) // 2 for line in alone), alone)
    return None if best is None or best > MINIMUM else _chance(-sum(_sign(line) for line in alone), alone)


def _chance(count: int, lines: Sequence[Series]) -> float | None:
    """How often rises less falls are so many or more by chance."""
    sizes = [len(line.levels) for line in lines]
    variance = sum(n * (n - 1) * (2 * n + 5) / 18 for n in sizes)
    return t_above((count - 1) / math.sqrt(variance), ENDLESS) if variance else None


def _sign(line: Series) -> int:
    """Pairs of levels that rise less pairs that fall."""
    losses = [_loss(level) for level in line.levels]
    return sum((b > a) - (b < a) for place, a in enumerate(losses) for b in losses[place + 1 :])


def _bends(line: Series) -> Iterator[float]:
    """How far each inner level lies off the line through its neighbours, against the logarithm, as for one run."""
    for before, level, after in zip(line.levels, line.levels[1:], line.levels[2:], strict=False):
        if not before.value < level.value < after.value:
            continue
        share = math.log(level.value / before.value) / math.log(after.value / before.value)
        off = _loss(level) - (1 - share) * _loss(before) - share * _loss(after)
        yield off / math.sqrt(1 + share**2 + (1 - share) ** 2)


def _loss(level: Level) -> float:
    return next(iter(level.losses.values()))
