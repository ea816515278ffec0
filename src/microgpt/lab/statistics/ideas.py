"""What each idea of an ablation brings against the base, paired by seeds. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from microgpt.lab.statistics.intervals import Estimate
from microgpt.lab.statistics.render import MISSING, Column, Table, number, span
from microgpt.lab.statistics.returns import drop, multiplicity
from microgpt.lab.statistics.series import FOLLOWERS, Axis, Level, Series, along, cells, usable
from microgpt.lab.statistics.tables import compared
from microgpt.lab.store.record import RunRecord
from microgpt.lab.sweep.ideas import CHANGED, IDEAS, SWEEPS, named

IDEA: Final = Axis("ideas", "ideas", CHANGED, lambda run: named(run.settings), lambda _: 0, (*FOLLOWERS, "steps"))
NOTE: Final = (
    "Step: the time of one, in times the base's, {known}. Loss drop: held-out loss of the base minus that of the idea, "
    "in nats per character, paired by seed, with its 90% interval."
)
MEANINGS: Final = {
    "better": "the loss is lower, and the interval leaves out zero",
    "worse": "the loss is higher, and the interval leaves out zero",
    "no difference seen": "these seeds can't tell it from zero",
    "not measured": "an interval needs two seeds or more",
}


@dataclass(frozen=True)
class IdeaRow:
    """An idea against the base. `drop` is positive where it is better. `step` is the time of one, in times the base's:
    at equal time what its steps were chosen by, else that of the fastest run. None is what nobody knows: with one seed
    the interval, of runs that all failed the losses too."""

    series: str
    equal: str  # time or steps; empty for a sweep that promises neither
    idea: str
    steps: int
    lr: float
    params: int
    step: float | None
    seeds: int
    failed: int
    base_loss: float | None
    loss: float | None
    drop: float | None
    low: float | None
    high: float | None
    verdict: str


def ideas_table(records: Iterable[RunRecord], sweep: str = "") -> Table:
    """A row for each idea that the runs of a sweep have beside their base. The name of the sweep says what is equal."""
    equal: str = next((equal for equal, name in SWEEPS.items() if name == sweep), "")
    rows = [row for found in along(cells(records, _told), IDEA) for row in _rows(found, equal)]
    columns = [
        *([Column("series", lambda row: row.series, number=False)] if any(row.series for row in rows) else []),
        Column("idea", lambda row: row.idea, number=False),
        Column("steps", lambda row: f"{row.steps:,}"),
        Column("lr", lambda row: f"{row.lr:g}", spare=True),
        Column("step", lambda row: _times(row.step)),
        Column("seeds", lambda row: str(row.seeds)),
        Column("base loss", lambda row: number(row.base_loss)),
        Column("loss drop", lambda row: number(row.drop, 4, sign=True)),
        Column("90% interval", lambda row: span(row.low, row.high, 4, sign=True)),
        Column("verdict", lambda row: row.verdict, number=False),
    ]
    verdicts = [f"{each}: {MEANINGS[each]}" for each in dict.fromkeys(row.verdict for row in rows) if each in MEANINGS]
    told = f"{'; '.join(verdicts).capitalize()}." if verdicts else ""
    title = f"Ideas at equal {equal}" if equal else "Ideas"
    note = NOTE.format(known="as measured before the sweep" if equal == "time" else "by the fastest run of each")
    return Table(title, IdeaRow, rows, columns, " ".join(filter(None, [note, told, multiplicity(rows)])))


def _told(run: RunRecord) -> bool:
    """Whether a run has its place in the table: one that failed has, too."""
    return usable(run) or (run.role == "study" and run.status == "failed")


def _rows(found: Series, equal: str) -> list[IdeaRow]:
    """In the order of the ideas; none where the base was not run."""
    levels = {IDEA.key(level.first): level for level in found.levels}
    base = levels.pop("", None)
    order = [*(name for name in IDEAS if name in levels), *(name for name in levels if name not in IDEAS)]
    return [_row(found.label, equal, name, base, levels[name]) for name in order] if base else []


def _row(series: str, equal: str, name: str, base: Level, idea: Level) -> IdeaRow:
    losses = [list(level.losses.values()) for level in (base, idea)]
    estimate = drop(base, idea)[0] if all(losses) else None
    return IdeaRow(
        series=series,
        equal=equal,
        idea=name,
        steps=idea.first.steps,
        lr=float(idea.first.settings["lr"]),
        params=idea.first.params,
        step=base.first.steps / max(1, idea.first.steps) if equal == "time" else _fastest(idea, base),
        seeds=estimate.count if estimate else 0,
        failed=_failed(idea),
        base_loss=fmean(losses[0]) if losses[0] else None,
        loss=fmean(losses[1]) if losses[1] else None,
        drop=estimate.mean if estimate else None,
        low=estimate.low if estimate else None,
        high=estimate.high if estimate else None,
        verdict=_verdict(estimate, base, idea),
    )


def _verdict(estimate: Estimate | None, base: Level, idea: Level) -> str:
    """In plain words; where runs failed, that: what is left of them is no fair sample."""
    if failed := _failed(idea):
        return f"{failed} of {len(idea.runs)} runs failed"
    if failed := _failed(base):
        return f"{failed} of {len(base.runs)} runs of the base failed"
    return compared(estimate) if estimate else "not measured"


def _failed(level: Level) -> int:
    return sum(run.status == "failed" for run in level.runs)


def _fastest(idea: Level, base: Level) -> float | None:
    """How many times the base's time of a step the idea's is, by the fastest runs, since whatever else a machine is at
    only slows; None where either is not known."""
    spent = [[run.seconds.get("train", 0.0) / max(1, run.steps) for run in level.runs] for level in (idea, base)]
    known = [[each for each in seconds if each > 0] for seconds in spent]
    return min(known[0]) / min(known[1]) if all(known) else None


def _times(ratio: float | None) -> str:
    return MISSING if ratio is None else f"× {ratio:.2f}"
