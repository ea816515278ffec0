"""`microgpt suggest`"""

import math
import shlex
from typing import TYPE_CHECKING, Any

import click

from microgpt.cli.law_options import fit_law, for_each_group, law_options, law_price, sources, spending
from microgpt.cli.options import FORCE, JSON
from microgpt.model.settings import counted

if TYPE_CHECKING:
    from pathlib import Path

    from microgpt.lab.laws.optimal import Limits
    from microgpt.lab.laws.price import Price
    from microgpt.lab.laws.suggest import Suggestion
    from microgpt.lab.laws.summary import Law
    from microgpt.lab.laws.table import RunTable
    from microgpt.lab.laws.targets import Target

LARGER = 10  # times the dearest run: the budget whose best size is asked for by default


@click.command("suggest")
@click.argument("cost")
@law_options
@click.option(
    "--budget", metavar="BUDGET", help="Goal: the best size for this cost.  [default: 10 times the dearest run]"
)
@click.option("--predict", "at", nargs=2, type=float, metavar="PARAMS TOKENS", help="Goal: the loss of such a run.")
@click.option("--target", metavar="NAME", help="Goal: a number of the law, such as E, alpha or size_exponent.")
@click.option(
    "--runs", default=100, show_default=True, type=click.IntRange(1, 1000), metavar="N", help="Add at most N runs."
)
@click.option(
    "--seeds", type=click.IntRange(1, 100), metavar="N", help="Seeds of each new size and length.  [default: chosen]"
)
@click.option(
    "--reach", default=4.0, show_default=True, metavar="X", help="Go up to X times beyond the largest size and length."
)
@click.option("--write", metavar="FILE", help="Write the runs as a sweep, to a file that ends in .toml.")
@FORCE
@JSON
def command(
    cost: str,
    budget: str | None,
    at: tuple[float, float] | None,
    target: str | None,
    runs: int,
    seeds: int | None,
    reach: float,
    write: str | None,
    force: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """The next runs, within a COST in FLOP (1e12) or time (90s, 5m, 2h), that narrow one interval most.

    By default that is the interval of the best size for a larger budget. The output says how wide it should be with
    these runs, and with the same cost spent on more seeds. --write saves the runs as a sweep, ready for microgpt sweep
    FILE --store STORE.
    """
    from microgpt import outputs
    from microgpt.lab.laws.optimal import Limits

    if not 1 <= reach <= 100:
        raise click.UsageError(f"--reach takes 1 to 100, found {reach:g}.")
    amount, unit = spending(cost, "COST")
    limits = Limits(amount, runs, seeds, reach)
    _check(budget, at, target, unit, chosen)
    place = (
        None
        if write is None
        else outputs.destination(write, (".toml",), flag="--write", reads=sources(chosen), force=force)
    )

    def suggested(table: "RunTable") -> dict[str, Any]:
        told = _suggested(table, chosen, limits, unit, (budget, at, target), place)
        if as_json:
            return told
        if chosen["group"]:
            click.echo(table.source)
        _tell(told)
        if place:
            click.echo(
                f"ready to run:\n  microgpt sweep {shlex.quote(str(write))} --store {shlex.quote(chosen['store'])}"
            )
        for warning in told["warnings"]:
            click.echo(f"warning: {warning}", err=True)
        return {}

    for_each_group(chosen, as_json, suggested, ["--write"] * bool(write))


def _suggested(
    table: "RunTable",
    chosen: dict[str, Any],
    limits: "Limits",
    unit: str,
    goal: tuple[str | None, tuple[float, float] | None, str | None],
    place: "Path | None",
) -> dict[str, Any]:
    """The JSON of what is suggested, with its sweep written where it has a place."""
    from dataclasses import replace

    from microgpt import outputs
    from microgpt.errors import DataError
    from microgpt.lab.laws.next_sweep import sweep_file, trainable
    from microgpt.lab.laws.suggest import candidates, grid, suggest
    from microgpt.lab.sweep.design_file import parsed

    if place and not table.records:
        raise DataError("--write needs the runs of a store, found a CSV; without settings there is no sweep.")
    law = fit_law(chosen, replace(table, counts={}))  # which counts all parameters, and needs no other
    paid = law_price(law, unit)
    wanted = _target(law, paid, *goal)
    records, known = law.table.records, law.fit.points
    sizes = trainable(records, grid(known.params, limits.reach)) if records else None
    made = suggest(law.ensemble, law.backtest, paid, wanted, limits, candidates(law.ensemble, paid, limits, sizes))
    if place:
        content = sweep_file(records, made).encode()
        parsed(place, content)  # refuses what no sweep can be of, as a setting of a newer version is
        outputs.write(place, content)
    return _told(law, wanted, made, unit)


def _check(
    budget: str | None, at: tuple[float, float] | None, target: str | None, unit: str, chosen: dict[str, Any]
) -> None:
    """Refuse flags that don't go together."""
    asked = [
        flag for flag, value in (("--budget", budget), ("--predict", at), ("--target", target)) if value is not None
    ]
    if len(asked) > 1:
        raise click.UsageError(f"suggest takes one of --budget, --predict and --target, found {' and '.join(asked)}.")
    if budget is not None and spending(budget, "--budget")[1] != unit:
        raise click.UsageError(f"--budget is in the unit of COST, found {budget} beside {unit}.")
    if at is not None and not all(0 < number < math.inf for number in at):
        raise click.UsageError(f"--predict takes PARAMS and TOKENS above 0, found {at[0]:g} {at[1]:g}.")
    if chosen["count"] != "all":
        raise click.UsageError("suggest counts all parameters; --count is for laws and predict.")


def _target(
    law: "Law", paid: "Price", budget: str | None, at: tuple[float, float] | None, name: str | None
) -> "Target":
    """What is to be known."""
    from microgpt.lab.laws.points import points
    from microgpt.lab.laws.targets import best_size, loss_at, number

    known = law.fit.points
    if name is not None:
        return number(law.ensemble, name)
    if at:
        return loss_at(law.ensemble, points([at[0]], [at[1]], [1.0], [float(known.unique.max())]))
    if {*law.fit.form.axes} != {"params", "tokens"}:
        raise click.UsageError(
            f"a best size needs a law of size and length, found --form {law.fit.form.name}; try full."
        )
    dearest = float((known.tokens * paid.token(known.params)).max())
    return best_size(law.ensemble, paid, spending(budget, "--budget")[0] if budget is not None else LARGER * dearest)


def _told(law: "Law", target: "Target", made: "Suggestion", unit: str) -> dict[str, Any]:
    """The JSON of a suggestion."""
    from microgpt.lab.laws.doubts import of_form

    value, span = float(target.values[0]), target.span(law.ensemble.scatter.freedom, law.level)

    def narrowed(times: float) -> list[float]:
        return [target.natural(value + times * (bound - value)) for bound in span]

    at = made.cells.at
    rows = zip(
        at.params.tolist(), at.tokens.tolist(), made.cells.costs.tolist(), made.cells.there.tolist(), strict=True
    )
    return {
        "target": target.name,
        "estimate": target.natural(value),
        "level": law.level,
        "interval": narrowed(1.0),
        "expected": {"times": made.narrowed, "interval": narrowed(made.narrowed)},
        "uniform": {"times": made.uniform, "interval": narrowed(made.uniform), "seeds": made.share},
        "unit": unit,
        "cost": made.cost,
        "runs": made.runs,
        "seeds": made.seeds,
        "cells": [dict(zip(("params", "tokens", "cost", "there"), row, strict=True)) for row in rows],
        "warnings": [*made.doubts(of_form(law.ensemble, law.backtest)), *law.warnings],
    }


def _tell(told: dict[str, Any]) -> None:
    click.echo(f"{'params':>16} {'tokens':>18} {told['unit'] + ' a run':>14} {'there are':>10} {'add':>5}")
    for cell in told["cells"]:
        numbers = f"{cell['params']:>16,.0f} {cell['tokens']:>18,.0f} {cell['cost']:>14.3g} {cell['there']:>10.0f}"
        click.echo(f"{numbers} {told['seeds']:>5}")
    click.echo(f"{counted(told['runs'], 'run')} of {told['cost']:.4g} {told['unit']} in all")
    click.echo(f"{told['target']}: {_number(told['estimate'])}, with an interval of {told['level']:.0%}")
    seeds = f"as much for {told['uniform']['seeds']:.2g} more of each run"
    for name, span, times in (
        ("now", told["interval"], 1.0),
        ("with these runs", told["expected"]["interval"], told["expected"]["times"]),
        (seeds, told["uniform"]["interval"], told["uniform"]["times"]),
    ):
        wide = f", {times:.2f} times as wide" if name != "now" else ""
        click.echo(f"  {name:38} {' to '.join(map(_number, span))}{wide}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= value < 1e15 else f"{value:.4g}"
