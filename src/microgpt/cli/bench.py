"""`microgpt bench`"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from microgpt.cli.options import JSON

if TYPE_CHECKING:
    from microgpt.engines.measure import Peak, Row


@click.command("bench")
@click.option("--engine", default="all", show_default=True, help="The engine to measure, or all.")
@click.option(
    "--precision",
    default="32",
    show_default=True,
    type=click.Choice(("32", "64", "bf16")),
    help="Bits of each number, if the engine has a choice.",
)
@click.option("--threads", default=1, show_default=True, help="Threads, if the engine has a choice.")
@JSON
def command(engine: str, precision: str, threads: int, as_json: bool) -> None:
    """Measure the speed of the engines on this machine, beside the machine's own peak.

    One document a step or 16, of the built-in names; medians of five. GFLOP/s counts only useful work.
    """
    from microgpt.engines import available, choose
    from microgpt.engines.contract import EngineConfig
    from microgpt.engines.measure import measure, peak

    names = [found.name for found in available() if found.usable] if engine == "all" else [choose(engine)]
    config = EngineConfig(precision, threads)  # type: ignore[arg-type]  # the engine refuses what it can't do
    rows = []
    highest = peak(config.precision)
    if not as_json:
        _head(highest)
    vocabulary, batches = _documents()
    for row in measure(names, config, vocabulary, batches):
        rows.append(row)
        if not as_json:
            _tell(row)
    if as_json:
        click.echo(json.dumps(_report(highest, rows)))


def _documents() -> tuple[int, Any]:
    """The vocabulary of the built-in names, and their sequences for so many steps of a batch."""
    from microgpt.data.dataset import prepare
    from microgpt.data.reading import read

    dataset = prepare(read(["names"]), ctx=16)
    return dataset.vocabulary, lambda steps, batch: dataset.sequences_of(0, steps, batch)


def _head(highest: "Peak") -> None:
    click.echo(f"peak of this machine: {highest.gflops:,.0f} GFLOP/s ({highest.method})")
    click.echo(f"{'engine':8} bits  emb head layer  ctx batch  {'µs/step':>10} {'µs/document':>12} GFLOP/s  of peak")


def _tell(row: "Row") -> None:
    sizes = f"{row.emb:4} {row.head:4} {row.layer:5} {row.ctx:4} {row.batch:5}"
    click.echo(
        f"{row.engine:8} {row.precision:>4} {sizes}  {row.us_per_step:10,.0f} {row.us_per_document:12,.1f} "
        f"{row.gflops:7.2f}  {row.fraction_of_peak:6.1%}"
    )


def _report(highest: "Peak", rows: Sequence["Row"]) -> dict[str, Any]:
    import dataclasses
    import os
    import platform

    machine = {"system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}
    found = [dataclasses.asdict(row) for row in rows]
    return {"machine": machine, "peak_gflops": highest.gflops, "peak_method": highest.method, "rows": found}
