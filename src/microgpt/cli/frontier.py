"""`microgpt frontier`"""

from typing import TYPE_CHECKING, Any

import click

from microgpt.cli.law_options import fit_law, for_each_group, law_options, law_price, sources, spending
from microgpt.cli.options import FORCE, JSON

if TYPE_CHECKING:
    from microgpt.lab.laws.frontier import Optimum
    from microgpt.lab.laws.recipe import Recipe
    from microgpt.lab.laws.summary import Law
    from microgpt.lab.laws.table import RunTable


@click.command("frontier")
@click.argument("budget")
@law_options
@click.option("--train", is_flag=True, help="Train the recipe, and compare its loss with the prediction.")
@click.option("--plot", metavar="FILE", help="Draw the methods, to a file that ends in .svg or .png.")
@FORCE
@JSON
def command(budget: str, train: bool, plot: str | None, force: bool, as_json: bool, **chosen: Any) -> None:
    """The best size and length for a budget, in FLOP (1e12) or in time on this machine (90s, 5m, 2h).

    Three methods are compared, each with the powers of the cost by which the best size and length grow: the fitted
    law, curves at equal cost (isoFLOP), and the envelope of the measured curves. A warning says where they disagree.
    Runs of a store also give a recipe that is ready to train.
    """
    from microgpt import outputs
    from microgpt.lab.laws.doubts import of_length
    from microgpt.lab.laws.frontier import apart, frontier
    from microgpt.lab.pictures.canvas import PICTURES, save

    amount, unit = spending(budget, "BUDGET")
    if chosen["count"] != "all":
        raise click.UsageError("frontier counts all parameters; --count is for laws and predict.")
    place = plot and outputs.destination(plot, PICTURES, flag="--plot", reads=sources(chosen), force=force)

    def best(table: "RunTable") -> dict[str, Any]:
        law = fit_law(chosen, table)
        if set(law.fit.form.axes) != {"params", "tokens"}:
            raise click.UsageError(
                f"a frontier needs a law of size and length, found --form {chosen['form']}; try full."
            )
        paid = law_price(law, unit)
        rows = frontier(law.ensemble, paid, amount, law.level)
        warnings = [*apart(rows), *of_length(law.fit, rows[0].tokens or 0.0), *law.warnings]
        if place:
            from microgpt.lab.laws.frontier_plot import frontier_plot

            save(frontier_plot(law.ensemble, paid, amount, rows, law.level), place)
        ready = _recipe(law, rows[0])
        trained = _train(law, ready) if train else None
        if as_json:
            return _told(amount, unit, rows, ready, warnings) | ({"trained": trained} if trained else {})
        if chosen["group"]:
            click.echo(table.source)
        _tell(rows, law)
        _tell_exponents(rows, unit)
        if ready:
            click.echo(f"ready to train, {ready.params:,} parameters on {ready.tokens:,.0f} tokens:\n  {ready.command}")
        if trained:
            click.echo(
                f"predicted {trained['loss']:.4f} ({trained['low']:.4f} to {trained['high']:.4f}), found "
                f"{trained['found']:.4f}: {'inside' if trained['inside'] else 'outside'} the interval"
            )
        for warning in warnings:
            click.echo(f"warning: {warning}", err=True)
        return {}

    for_each_group(chosen, as_json, best, [*["--train"] * train, *["--plot"] * bool(plot)])


def _recipe(law: "Law", best: "Optimum") -> "Recipe | None":
    """Settings for the law's best, where the runs have settings."""
    from microgpt.lab.laws.recipe import recipe

    if not law.table.records or best.params is None or best.tokens is None:
        return None
    return recipe(law.table.records, best.params, best.tokens)


def _train(law: "Law", ready: "Recipe | None") -> dict[str, Any]:
    """Predict, train, compare."""
    from microgpt import library
    from microgpt.errors import DataError
    from microgpt.lab.laws.points import points
    from microgpt.lab.laws.predict import predict

    if ready is None:
        raise DataError("--train needs the runs of a store, found a CSV; `microgpt sweep laws` makes a store.")
    at = points([ready.params], [ready.tokens], [1.0], [float(law.fit.points.unique.max())])
    said = predict(law.ensemble, law.backtest, at, law.level)[0]
    run = library.train(ready.data, samples=0, **ready.settings)
    found = run.result.loss.holdout_per_character if run.result else None
    if found is None:
        raise DataError("The run held nothing out, so nothing can be compared; sweep with --holdout above 0.")
    return {**said.to_dict(), "found": found, "inside": said.low <= found <= said.high}


def _told(
    amount: float, unit: str, rows: "list[Optimum]", ready: "Recipe | None", warnings: list[str]
) -> dict[str, Any]:
    made = None
    if ready:
        made = {"command": ready.command, "params": ready.params, "tokens": ready.tokens, "settings": ready.settings}
    methods = [row.to_dict() for row in rows]
    return {"budget": amount, "unit": unit, "methods": methods, "recipe": made, "warnings": warnings}


def _tell(rows: "list[Optimum]", law: "Law") -> None:
    click.echo(f"{'method':10} {'params':>12} {law.level:>9.0%} interval {'':11} {'tokens':>14} {'loss':>8}")
    for row in rows:
        if row.params is None or row.tokens is None or row.loss is None:
            click.echo(
                f"{row.method:10} can't be read from these runs: too few costs have sizes on both sides of the best"
            )
            continue
        span = "no interval" if row.low is None else f"{row.low:,.0f} to {row.high:,.0f}"
        flag = "" if row.agrees else "  disagrees with the law"
        click.echo(f"{row.method:10} {row.params:>12,.0f} {span:>30} {row.tokens:>14,.0f} {row.loss:>8.4f}{flag}")


def _tell_exponents(rows: "list[Optimum]", unit: str) -> None:
    click.echo(f"over the runs, the best params grow as {unit}^a and the best tokens as {unit}^b:")
    for row in rows:
        if row.size_exponent is None or row.length_exponent is None:
            continue
        told = [("a", row.size_exponent, row.size_exponent_interval)]
        told += [("b", row.length_exponent, row.length_exponent_interval)]
        spans = (f"{name} {value:.3f} {_span(span):18}" for name, value, span in told)
        click.echo(f"{row.method:10} {'   '.join(spans)}".rstrip())


def _span(span: "tuple[float, float] | None") -> str:
    return f"({span[0]:.3f} to {span[1]:.3f})" if span else "(no interval)"
