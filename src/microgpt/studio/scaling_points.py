"""The runs of a sweep as points and lines: what the lab's series, tables and audit say, for a chart. Pure.

A point is what all runs of the same settings gave: {"id", "levels": {setting: value}, "params", "tokens", "mean",
"low", "high", "seeds", "runs": [[seed, loss], …], "samples"}. Losses are nats per character; `low` and `high` bound the
mean with 90% confidence and are None for one seed. A line is a series along an axis: places, each with its point.
"""

from collections.abc import Sequence
from typing import Any, Final

from microgpt.lab.audit import sentence
from microgpt.lab.report.study import part, slopes, varied
from microgpt.lab.statistics.ideas import IDEA, ideas_table
from microgpt.lab.statistics.render import Table
from microgpt.lab.statistics.returns import Slope
from microgpt.lab.statistics.series import RUN_AXES, Axis, Level, Series, usable
from microgpt.lab.statistics.tables import level_estimate, returns_table
from microgpt.lab.store.record import RunRecord
from microgpt.lab.sweep.plan import UNTUNED

RUNS: Final = 12  # of a point that are told one by one
SHOWN_SAMPLES: Final = 6  # of its first run
ROWS: Final = 100  # of a table; the command line has all


def shown(sweep: str, records: Sequence[RunRecord]) -> dict[str, Any]:
    """Points, lines along each axis that varies, tables of returns and warnings. Ideas are no numbers: they stand at
    their sizes and lengths, with a table of their own. Raises `EnvironmentFault` without SciPy."""
    found = part(sweep, records, varied(sweep))
    warnings, ideas = found.findings, IDEA in varied(sweep)
    if ideas:
        found = part(sweep, records, RUN_AXES)
    points = _Points(records)
    lines = [_line(axis, line, points) for axis, series in found.lines for line in series]
    slope = slopes(records) if any(len(line["at"]) > 1 for line in lines) else None
    tables = [ideas_table(records, sweep.removesuffix(UNTUNED))] if ideas else _returns(found.lines, slope)
    return {
        "points": points.made,
        "lines": lines,
        "tables": [told(table) for table in tables if table.rows],
        "warnings": [{"severity": each.severity, "text": sentence(each)} for each in warnings],
        **_known(records),
    }


def told(table: Table) -> dict[str, Any]:
    """A table as the page draws it."""
    cells, more = table.cells, len(table.rows) - ROWS
    rest = f" {more:,} rows more are in the store." if more > 0 else ""
    return {
        "title": table.title,
        "columns": [column.title for column in table.columns],
        "numbers": [column.number for column in table.columns],
        "rows": cells[:ROWS],
        "note": table.note + rest,
    }


class _Points:
    """Points by their runs, each made once though it may stand on a line of every axis."""

    def __init__(self, records: Sequence[RunRecord]) -> None:
        self.made: list[dict[str, Any]] = []
        self._places: dict[tuple[str, ...], int] = {}
        self._varying = _varying([run for run in records if usable(run)])

    def place(self, level: Level) -> int:
        key = tuple(run.identity for run in level.runs)
        if key not in self._places:
            self._places[key] = len(self.made)
            self.made.append(self._point(level))
        return self._places[key]

    def _point(self, level: Level) -> dict[str, Any]:
        estimate, first = level_estimate(level), level.first
        return {
            "id": first.identity[:10],
            "levels": {name: first.settings.get(name) for name in self._varying},
            "params": first.params,
            "tokens": round(sum(run.tokens for run in level.runs) / len(level.runs)),
            "mean": estimate.mean,
            "low": estimate.low,
            "high": estimate.high,
            "seeds": estimate.count,
            "runs": list(level.losses.items())[:RUNS],
            "samples": first.samples[:SHOWN_SAMPLES],
        }


def _line(axis: Axis, line: Series, points: _Points) -> dict[str, Any]:
    at = [(level.value, points.place(level)) for level in line.levels]
    return {"axis": axis.name, "unit": axis.unit, "label": line.label, "at": at}


def _returns(lines: Sequence[tuple[Axis, Sequence[Series]]], slope: Slope | None) -> list[Table]:
    return [returns_table([line for line in found if line.pairs], axis, slope) for axis, found in lines]


def _varying(runs: Sequence[RunRecord]) -> list[str]:
    """The settings that tell points apart."""
    names = runs[0].settings if runs else ()
    return [name for name in names if name != "seed" and len({str(run.settings.get(name)) for run in runs}) > 1]


def _known(records: Sequence[RunRecord]) -> dict[str, Any]:
    """What gives a loss its meaning, where all runs share a text."""
    runs = [run for run in records if usable(run)]
    if len({run.data_sha256 for run in runs}) != 1:
        return {}
    return {"data": runs[0].data, "uniform": runs[0].uniform, "unigram": runs[0].unigram}
