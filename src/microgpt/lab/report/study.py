"""What can be asked of a store, and the answer: tables, findings and a picture. Between the rooms and the commands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from microgpt.errors import DataError, StoreError, UsageError
from microgpt.lab.audit import Finding, audit
from microgpt.lab.statistics.ideas import IDEA, ideas_table
from microgpt.lab.statistics.render import Table, plain
from microgpt.lab.statistics.returns import Slope
from microgpt.lab.statistics.series import PARAMS, RUN_AXES, STEPS, Axis, Series, along, cells, setting_axis
from microgpt.lab.statistics.tables import returns_table, runs_table, setting_table, size_table, steps_table
from microgpt.lab.store.record import Role, RunRecord
from microgpt.lab.sweep import ideas
from microgpt.lab.sweep.plan import UNTUNED
from microgpt.training.request import DECLARED, SCIENTIFIC, SWEEP_AXES

if TYPE_CHECKING:
    from microgpt.lab.pictures.canvas import Plot

SETTINGS: Final = tuple(name for name in SCIENTIFIC if name in SWEEP_AXES and name not in ("steps", "seed"))
SWEEPS: Final[dict[str, tuple[str | None, ...]]] = {  # where the answer is looked for when no sweep is named
    "steps": ("steps",),
    "params": ("params",),
    "returns": ("steps", "params"),
    "runs": (),
    "ideas": tuple(ideas.SWEEPS.values()),
}
BUILT_IN: Final = ("steps", "params", "laws", "ideas")  # sweeps that need no file
ASKED: Final[dict[str, tuple[Axis, ...]]] = {
    "steps": (STEPS,),
    "params": (PARAMS,),
    "returns": RUN_AXES,
    "runs": (),
    "ideas": (IDEA,),
}


class Source(Protocol):
    """A store, as far as it is read here."""

    def records(self, sweep: str | None = None, role: Role | None = None) -> list[RunRecord]:
        """The runs of a sweep, or all."""

    def sweeps(self) -> dict[str, dict[str, Any]]:
        """The plan of every sweep by its name."""

    def outcomes(self) -> dict[str, tuple[float | None, str]]:
        """The held-out loss and the error of every run by identity."""


@dataclass(frozen=True)
class Part:
    """The runs of one sweep, in their series along the axes that were asked for."""

    sweep: str
    records: Sequence[RunRecord]
    lines: Sequence[tuple[Axis, Sequence[Series]]]
    findings: Sequence[Finding]


@dataclass(frozen=True)
class Answer:
    """Tables and findings of all parts."""

    question: str  # of SWEEPS, or a setting
    parts: Sequence[Part]
    tables: Sequence[Table]

    @property
    def findings(self) -> list[Finding]:
        """Each once."""
        every = [finding for part in self.parts for finding in part.findings]
        return [finding for place, finding in enumerate(every) if finding not in every[:place]]


def answer(store: Source, question: str, sweep: str | None = None) -> Answer:
    """Look a question up in a store. Raises `StoreError` where the runs for it are not there, with what makes them."""
    if question == "runs":
        records = _some(store, [sweep] if sweep else [None], question)[0][1]
        return Answer(question, [Part(sweep or "", records, [], [])], [runs_table(records)])
    found = _some(store, [sweep] if sweep else SWEEPS.get(question, (None,)), question)
    parts = [part(name or "", records, _axes(name or "", question)) for name, records in found]
    lines = [line for each in parts for _, found in each.lines for line in found]
    if question in SETTINGS and not any(len(line.levels) > 1 for line in lines):
        raise DataError(
            f"expected runs that differ in {question} alone, found none; a sweep with {question} among its axes makes "
            "some: docs/SCALING.md tells how."
        )
    if question == "ideas" and not any(ideas_table(records).rows for _, records in found):
        raise DataError(
            "expected runs of a base and of ideas, found none of both; `microgpt sweep ideas` makes them, or goes on."
        )
    slope = slopes(_every(store, found)) if question == "returns" else None
    tables = [table for each in parts for table in _tables(each, question, slope)]
    return Answer(question, parts, [table for table in tables if table.rows] or tables[:1])


def part(sweep: str, records: Sequence[RunRecord], axes: Sequence[Axis]) -> Part:
    """The series of a sweep along those axes on which it varies (the first, where it varies on none), audited."""
    alike = cells(records)
    found = [(axis, along(alike, axis)) for axis in axes]
    varied = [(axis, lines) for axis, lines in found if any(len(line.levels) > 1 for line in lines)] or found[:1]
    varied = [(axis, [line for line in lines if len(line.levels) > 1] or lines) for axis, lines in varied]
    counted = [line for axis, lines in varied if axis in RUN_AXES for line in lines]  # a setting's values need no order
    return Part(sweep, records, varied, audit(records, counted))


def plot(asked: Answer) -> "Plot":
    """The picture of an answer. Raises `UsageError` where it has none."""
    from microgpt.lab.pictures.plots import ideas_plot, loss_plot, returns_plot

    lines = [line for each in asked.parts for _, found in each.lines for line in found]
    if asked.question in ("runs", *SETTINGS) or not lines:
        raise UsageError("--plot needs losses along steps or sizes, found none; ask for steps, params or returns.")
    rows = [row for table in asked.tables for row in table.rows]
    if asked.question in ("returns", "ideas"):
        return returns_plot(rows) if asked.question == "returns" else ideas_plot(rows)
    return loss_plot(lines)


def varied(sweep: str) -> Sequence[Axis]:
    """The axes that a sweep may vary: the built-in ones vary one thing each, of others all is looked at."""
    built_in = {"steps": (STEPS,), "params": (PARAMS,)} | dict.fromkeys(ideas.SWEEPS.values(), (IDEA,))
    return built_in.get(sweep.removesuffix(UNTUNED), RUN_AXES)


def _axes(sweep: str, question: str) -> Sequence[Axis]:
    if question in SETTINGS:
        return (setting_axis(question),)
    return varied(sweep) if question == "returns" else ASKED[question]


def slopes(records: Sequence[RunRecord]) -> Slope | None:
    """The slopes of the law that the crossed runs of a store carry; None where there are no such runs."""
    from microgpt.lab.laws.slopes import law_slopes

    return law_slopes(records)


def _tables(found: Part, question: str, slope: Slope | None) -> list[Table]:
    if question == "returns":
        return [returns_table(lines, axis, slope) for axis, lines in found.lines]
    if question == "ideas":
        return [ideas_table(found.records, found.sweep.removesuffix(UNTUNED))]
    if question in SETTINGS:
        default = str(DECLARED[question].default)
        return [setting_table(lines, axis, default) for axis, lines in found.lines]
    return [steps_table(lines) if axis is STEPS else size_table(lines) for axis, lines in found.lines]


def _every(store: Source, found: Sequence[tuple[str | None, list[RunRecord]]]) -> list[RunRecord]:
    """All runs of a store: not read a second time where one sweep is all of it."""
    whole = len(found) == len(store.sweeps()) == 1 and len(found[0][1]) == len(store.outcomes())
    return found[0][1] if whole else store.records()


def _some(store: Source, names: Sequence[str | None], question: str) -> list[tuple[str | None, list[RunRecord]]]:
    """The runs of those sweeps that are there, at least one. An untuned sweep stands in where no tuned one is there."""
    for choice in (names, [f"{name}{UNTUNED}" for name in names if name]):
        found = [(name, records) for name in choice if (records := store.records(name))]
        if found:
            return found
    there = sorted(store.sweeps())
    wanted = " or ".join(name for name in names if name) or "any sweep"
    known = [name for name in names if name in BUILT_IN]
    make = " or ".join(f"`microgpt sweep {name}`" for name in known or SWEEPS.get(question) or BUILT_IN[:1])
    if not there:
        raise StoreError(f"expected runs of {wanted}, found an empty store; {make} makes some.")
    named, first = plain(", ".join(there)), plain(there[0])
    made = f"{make} makes them, or " if known else ""
    raise StoreError(f"expected runs of {wanted}, found those of {named}; {made}name --sweep {first}.")
