"""`microgpt runs`"""

import json
from typing import TYPE_CHECKING

import click

from microgpt.cli.options import JSON, OUT

if TYPE_CHECKING:
    from microgpt.training.find import RunSummary


@click.command("runs")
@OUT
@JSON
def command(out: str, as_json: bool) -> None:
    """List the saved runs, newest first: name, date, text, size, steps, held-out loss, and the mark to beat.

    That is the loss of the best table of counts of the training text."""
    from microgpt.training.find import listing

    found = listing(out)
    if as_json:
        click.echo(json.dumps({"runs": [_values(run) for run in found]}))
        return
    if not found:
        click.echo(f"There are no runs in {out} yet; `microgpt train` makes one.", err=True)
        return
    width = max(len(run.name) for run in found)
    click.echo(f"{'name':{width}}  {'date':19}  {'text':12} {'params':>11} {'steps':>13}  held-out loss  counts  mixed")
    for run in found:
        click.echo(line(run, width))


def line(run: "RunSummary", width: int) -> str:
    """A run in a line of plain text: what a file says of itself can't move the cursor of a terminal."""
    from microgpt.lab.statistics.render import plain

    return plain(_cells(run, width))


def _cells(run: "RunSummary", width: int) -> str:
    if run.fault:
        return f"{run.name:{width}}  {run.date:19}  {run.fault}"
    steps = f"{run.step}" if run.step == run.steps else f"{run.step}/{run.steps}"
    losses = "" if run.holdout is None else f"{run.holdout:<13.4f}"
    losses += "" if run.counts is None else f"  {run.counts:.4f}"
    losses += "" if run.mixed is None else f"  {run.mixed:.4f}"
    sizes = f"{_grouped(run.params):>11} {steps:>13}"
    return f"{run.name:{width}}  {run.date:19}  {run.data or '':12} {sizes}  {losses}".rstrip()


def _grouped(params: int | None) -> str:
    return f"{params:,}" if params else ""


def _values(run: "RunSummary") -> dict[str, object]:
    return vars(run) | {"path": str(run.path)}
