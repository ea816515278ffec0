"""The tables: loss against steps, loss against size, return on investment, and one row a run. Pure.

Two kinds of chance move a loss, and each row separates them. `se` and the interval are of the seeds: another draw of
weights and order. `holdout_se` is of the held-out set: another draw of its documents, which would shift all runs of a
sweep together and so leaves comparisons within it alone.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final

from microgpt.lab.statistics.intervals import Estimate, mean
from microgpt.lab.statistics.render import MISSING, Column, Table, number, span
from microgpt.lab.statistics.returns import Return, Slope, drop, explained, multiplicity, returns_of, verdict
from microgpt.lab.statistics.series import Axis, Level, Series
from microgpt.lab.store.record import RunRecord
from microgpt.lab.store.schema import COLUMN_OF

SHOWN_SAMPLES: Final = 4  # first samples in a row
KEPT: Final = tuple(each.name for each in fields(RunRecord) if each.name not in ("settings", "samples", "seconds"))
NOTE: Final = (
    "Held-out loss in nats per character: the mean over seeds, with its 90% interval. ± held-out: the standard error "
    "that all rows share, since they are measured on the same documents."
)
LAW: Final = (
    "The law's slope is that of the law fitted to the crossed runs of this store, in the middle between the two levels."
)

_kept = attrgetter(*KEPT)


@dataclass(frozen=True)
class LevelRow:
    """What every row over seeds tells. `spread` is the standard deviation of one run."""

    series: str
    seeds: int
    loss: float
    se: float | None
    low: float | None
    high: float | None
    spread: float | None
    holdout_se: float | None

    def to_dict(self) -> dict[str, Any]:
        """What was varied first, then what was measured."""
        measured = [declared.name for declared in fields(LevelRow)]
        varied = [declared.name for declared in fields(self) if declared.name not in measured]
        return {name: getattr(self, name) for name in ("series", *varied, *measured[1:])}


@dataclass(frozen=True)
class StepsRow(LevelRow):
    """Loss after so many steps, with the first samples of the first seed."""

    steps: int
    tokens: int
    epochs: float
    lr: float
    params: int
    flop: float
    samples: tuple[str, ...]


@dataclass(frozen=True)
class SizeRow(LevelRow):
    """Loss of one size. `lr` is the learning rate that was tuned for it, or that all sizes share."""

    emb: int
    head: int
    layer: int
    params: int
    params_embedding: int
    params_head: int
    params_body: int
    steps: int
    tokens: int
    lr: float
    flop: float
    samples: tuple[str, ...]


@dataclass(frozen=True)
class SettingRow(LevelRow):
    """Loss at one value of a setting. `drop` is how much lower it is than at the setting's default or, where that was
    not run, at the first value."""

    value: Any
    params: int
    steps: int
    lr: float
    drop: float | None
    drop_low: float | None
    drop_high: float | None
    verdict: str


@dataclass(frozen=True)
class RunRow:
    """One run with everything that was recorded of it, for other people's tools."""

    run: RunRecord
    names: tuple[str, ...]  # of the settings of all rows, so that each row has the same columns

    def to_dict(self) -> dict[str, Any]:
        run, names = self.run, (*KEPT, *(COLUMN_OF.get(name, name) for name in self.names), "seconds")
        values = *_kept(run), *map(run.settings.get, self.names), run.seconds.get("total")
        return dict(zip(names, values, strict=True))


def steps_table(lines: Iterable[Series]) -> Table:
    """Loss against steps, of series along STEPS."""
    rows = [_steps_row(found, level) for found in lines for level in found.levels]
    columns = [
        *_series_column(rows),
        Column("steps", lambda row: f"{row.steps:,}"),
        Column("tokens", lambda row: f"{row.tokens:,}", spare=True),
        Column("epochs", lambda row: number(row.epochs, 2), spare=True),
        *LOSS_COLUMNS,
        Column("first samples", lambda row: ", ".join(row.samples) or MISSING, number=False),
    ]
    return Table("Loss against steps", StepsRow, rows, columns, NOTE)


def size_table(lines: Iterable[Series]) -> Table:
    """Loss against size, of series along PARAMS."""
    rows = [_size_row(found, level) for found in lines for level in found.levels]
    columns = [
        *_series_column(rows),
        *(Column(name, lambda row, name=name: str(getattr(row, name))) for name in ("emb", "head", "layer")),  # type: ignore[misc]
        Column("params", lambda row: f"{row.params:,}"),
        Column(
            "embedding / head / body",
            lambda row: f"{row.params_embedding:,} / {row.params_head:,} / {row.params_body:,}",
            spare=True,
        ),
        Column("lr", lambda row: f"{row.lr:g}"),
        *LOSS_COLUMNS,
    ]
    return Table("Loss against size", SizeRow, rows, columns, NOTE)


def setting_table(lines: Iterable[Series], axis: Axis, default: str) -> Table:
    """Loss at each value of a setting, of series along it, and the difference to its default, paired by seeds."""
    rows = [row for found in lines for row in _setting_rows(found, default)]
    columns = [
        *_series_column(rows),
        Column(axis.name, lambda row: str(row.value), number=False),
        Column("params", lambda row: f"{row.params:,}", spare=True),
        *LOSS_COLUMNS,
        Column("loss drop", lambda row: number(row.drop, 4, sign=True)),
        Column("90% interval", lambda row: span(row.drop_low, row.drop_high, 4, sign=True)),
        Column("verdict", lambda row: row.verdict, number=False),
    ]
    note = f"Loss drop: by how much a value is better than {axis.name} {default}, or than the first row of its series."
    return Table(f"Loss by {axis.name}", SettingRow, rows, columns, f"{NOTE} {note}")


def returns_table(lines: Iterable[Series], axis: Axis, slope: Slope | None = None) -> Table:
    """Return on investment, of series along one axis; beside it the slope of a law, where one is known."""
    rows = [row for found in lines for row in returns_of(found, slope)]
    fitted = any(row.law_per_1000 is not None for row in rows)
    columns = [
        *_series_column(rows),
        Column(f"{axis.name} from", lambda row: f"{row.from_level:,}"),
        Column("to", lambda row: f"{row.to_level:,}"),
        Column("seeds", lambda row: f"{row.seeds}{'' if row.paired else ' unpaired'}", spare=True),
        Column("loss drop", lambda row: number(row.drop, 4, sign=True)),
        Column("90% interval", lambda row: span(row.low, row.high, 4, sign=True)),
        Column(f"per 1,000 {axis.unit}", lambda row: significant(row.per_1000)),
        *([Column("law's slope per 1,000", lambda row: significant(row.law_per_1000))] if fitted else []),
        Column("verdict", lambda row: row.verdict, number=False),
        Column("seeds to add", _seeds_to_add),
    ]
    title = f"Return on investment: the next {axis.unit}"
    notes = [explained(rows), multiplicity(rows), LAW if fitted else ""]
    return Table(title, Return, rows, columns, " ".join(filter(None, notes)))


def runs_table(records: Sequence[RunRecord]) -> Table:
    """One row a run."""
    names = tuple(dict.fromkeys(name for run in records for name in run.settings))
    columns = [
        Column("run", lambda row: row.run.identity[:8], number=False),
        Column("sweeps", lambda row: " ".join(row.run.sweeps), number=False),
        Column("role", lambda row: row.run.role, number=False),
        Column("data", lambda row: row.run.data, number=False),
        Column("params", lambda row: f"{row.run.params:,}"),
        Column("steps", lambda row: f"{row.run.steps:,}"),
        Column("lr", lambda row: f"{row.run.settings.get('lr', math.nan):g}"),
        Column("seed", lambda row: str(row.run.seed)),
        Column("held-out loss", lambda row: number(row.run.loss) if row.run.status == "done" else "failed"),
        Column("finished", lambda row: row.run.finished, number=False),
    ]
    return Table("Runs", RunRow, [RunRow(run, names) for run in records], columns)


def significant(value: float | None) -> str:
    """A signed number with three digits that count: returns span several powers of ten."""
    if value is None:
        return MISSING
    digits = 4 if value == 0 else min(9, max(0, 2 - math.floor(math.log10(abs(value)))))
    return f"{value:+.{digits}f}"


def level_estimate(level: Level) -> Estimate:
    """The mean held-out loss of a level over its seeds."""
    return mean(list(level.losses.values()))


def holdout_se(level: Level) -> float | None:
    """The sampling error of the held-out set: the root mean square of the runs' own, since they share the documents."""
    known = [run.loss_se for run in level.runs if run.loss_se is not None]
    return math.sqrt(sum(se * se for se in known) / len(known)) if known else None


LOSS_COLUMNS: Final = (
    Column("seeds", lambda row: str(row.seeds)),
    Column("held-out loss", lambda row: number(row.loss)),
    Column("90% interval", lambda row: span(row.low, row.high)),
    Column("sd of a run", lambda row: number(row.spread), spare=True),
    Column("± held-out", lambda row: number(row.holdout_se)),
)


def _common(found: Series, level: Level) -> dict[str, Any]:
    """The fields that all rows over seeds share, and those of a run that are alike at one level."""
    estimate, first = level_estimate(level), level.first
    return {
        "series": found.label,
        "seeds": estimate.count,
        "loss": estimate.mean,
        "se": estimate.se,
        "low": estimate.low,
        "high": estimate.high,
        "spread": estimate.spread,
        "holdout_se": holdout_se(level),
        "steps": first.steps,
        "params": first.params,
        "lr": float(first.settings["lr"]),
        "tokens": round(sum(run.tokens for run in level.runs) / len(level.runs)),
        "flop": sum(run.flop for run in level.runs) / len(level.runs),
        "samples": tuple(first.samples[:SHOWN_SAMPLES]),
    }


def _steps_row(found: Series, level: Level) -> StepsRow:
    return StepsRow(**_common(found, level), epochs=sum(run.epochs for run in level.runs) / len(level.runs))


def _size_row(found: Series, level: Level) -> SizeRow:
    first = level.first
    emb, head, layer = first.size[:3]
    return SizeRow(
        **_common(found, level),
        emb=emb,
        head=head,
        layer=layer,
        params_embedding=first.params_embedding,
        params_head=first.params_head,
        params_body=first.params_body,
    )


def _setting_rows(found: Series, default: str) -> list[SettingRow]:
    first = next((level for level in found.levels if found.axis.key(level.first) == default), found.levels[0])
    rows = []
    for level in found.levels:
        common = _common(found, level)
        fields = {name: common[name] for name in common if name in SettingRow.__dataclass_fields__}
        estimate = drop(first, level)[0] if level is not first else None
        apart = (estimate.mean, estimate.low, estimate.high) if estimate else (None, None, None)
        rows.append(
            SettingRow(
                **fields,
                value=level.first.settings.get(found.axis.name),
                drop=apart[0],
                drop_low=apart[1],
                drop_high=apart[2],
                verdict=compared(estimate) if estimate else "compared with",
            )
        )
    return rows


def compared(estimate: Estimate) -> str:
    """What an interval says of a difference."""
    words = {"learning efficiently": "better", "degradation or instability": "worse"}
    return words.get(said := verdict(estimate), "no difference seen" if said == "diminishing returns" else said)


def _series_column(rows: Sequence[Any]) -> list[Column]:
    """The column that tells several series apart; none where there is one."""
    return [Column("series", lambda row: row.series, number=False)] if any(row.series for row in rows) else []


def _seeds_to_add(row: Return) -> str:
    if row.more_seeds == 0:
        return "settled"
    return "out of reach" if row.more_seeds is None else f"{row.more_seeds:,}"
