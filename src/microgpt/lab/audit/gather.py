"""Series brought together, so that what is so in eight of them is found once and not eight times."""

from collections.abc import Iterable, Iterator

from microgpt.lab.statistics.series import Level, Series


def by_axis(lines: Iterable[Series]) -> dict[str, list[Series]]:
    """The series of each axis, by its name."""
    found: dict[str, list[Series]] = {}
    for line in lines:
        found.setdefault(line.axis.name, []).append(line)
    return found


def once(lines: Iterable[Series]) -> Iterator[tuple[str, Level]]:
    """Every level with its name; one that lies on several series, a cross of axes, only the first time."""
    met: set[tuple[str, ...]] = set()
    for line in lines:
        for level in line.levels:
            runs = tuple(run.identity for run in level.runs)
            if runs not in met:
                met.add(runs)
                yield line.name(level), level
