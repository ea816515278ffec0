"""The laws of a store as a section of its report: a law for each crossed sweep, or why there is none."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from microgpt.errors import DataError
from microgpt.lab.laws.crossed import crossed_sweeps
from microgpt.lab.laws.plot import law_plot
from microgpt.lab.laws.summary import MEANINGS, Fitting, Law, in_words, law
from microgpt.lab.pictures.canvas import embed, write_svg
from microgpt.lab.report.contents import Picture, Section
from microgpt.lab.statistics.render import Column, Table
from microgpt.lab.store.record import RunRecord
from microgpt.model.settings import counted

TITLE: Final = "Scaling law"
MOST_SWEEPS: Final = 3  # sweeps that are fitted


@dataclass(frozen=True)
class Parameter:
    """One number of a law, with its interval."""

    parameter: str
    value: float
    span: tuple[float, float]
    meaning: str


def section(records: Sequence[RunRecord], store: str) -> Section:
    """Sentences, tables and pictures of the laws in a store. `store` is how its file is called in the commands."""
    sweeps, reason = crossed_sweeps(records)
    laws: dict[str, Law] = {}
    for name, found in list(sweeps.items())[:MOST_SWEEPS]:
        try:
            laws[name] = law(found, Fitting())
        except DataError as error:
            reason = reason or f"{name}: {error}"
    if not laws:
        return Section(TITLE, [f"No law was fitted: {reason.rstrip('.')}."])
    paragraphs = [line for name, found in laws.items() for line in sentences(name, found)]
    pictures = [_picture(name, found, store) for name, found in laws.items()]
    return Section(
        TITLE,
        paragraphs,
        (),
        pictures,
        [_table(*pair) for pair in laws.items()],
        commands=[_command(name, store) for name in laws],
    )


def sentences(name: str, found: Law) -> list[str]:
    """A law in words, and what to beware of in it."""
    told = found.to_dict()
    tested = "There were no larger runs to test it on."
    if told["backtest_error"] is not None:
        tested = f"Fitted to the smaller runs, it misses the larger ones by {told['backtest_error']:.2%} of their loss."
    law_itself = (
        f"L(N, D) = {told['E']:.4g} + {told['A']:.4g} / N^{told['alpha']:.3f} + {told['B']:.4g} / D^{told['beta']:.3f}"
    )
    return [
        f"The {counted(told['points'], 'run')} of {name} on {found.table.source}: {law_itself}, for N parameters and "
        f"D tokens. A run scatters by {told['run_spread']:.2g} nats. {tested}",
        *(f"Beware: {warning}" for warning in found.warnings),
    ]


def _table(name: str, found: Law) -> Table:
    told = found.to_dict()
    rows = [Parameter(key, told[key], found.spans[key], MEANINGS[key]) for key in found.spans]
    columns = [
        Column("parameter", lambda row: row.parameter, number=False),
        Column("value", lambda row: f"{row.value:.4g}"),
        Column(f"{found.level:.0%} interval", lambda row: in_words(row.span)),
        Column("meaning", lambda row: row.meaning, number=False),
    ]
    return Table(f"The law of {name}", Parameter, rows, columns)


def _picture(name: str, found: Law, store: str) -> Picture:
    plot = law_plot(found)
    caption = f"Held-out loss, and the law of {name}"
    svg = embed(write_svg(plot.figure, f"{name}-law"))
    return Picture(svg, caption, plot.note, f"{_command(name, store)} --plot law.svg")


def _command(name: str, store: str) -> str:
    return f"microgpt laws --sweep {shlex.quote(name)} --store {shlex.quote(store)}"
