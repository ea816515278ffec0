"""`microgpt predict`"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microgpt.cli.law_options import fit_law, for_each_group, law_options, read_table, sources
from microgpt.cli.options import JSON
from microgpt.model.settings import counted

if TYPE_CHECKING:
    from microgpt.lab.laws.predict import Prediction
    from microgpt.lab.laws.register import Score
    from microgpt.lab.laws.table import RunTable


@click.command("predict")
@click.argument("at", nargs=-1, type=float, metavar="[PARAMS TOKENS]...")
@law_options
@click.option("--register", metavar="FILE", help="Save the prediction, with the time and a hash of the data.")
@click.option("--score", metavar="FILE", help="Compare a saved prediction with the runs that came after.")
@JSON
def command(at: tuple[float, ...], register: str | None, score: str | None, as_json: bool, **chosen: Any) -> None:
    """The law's loss for a run of so many parameters and tokens, with an interval for that one run.

    The interval includes the uncertainty of the parameters, the spread of seeds, and how far the law missed larger runs
    when it was fitted to smaller ones. Several runs are several pairs: microgpt predict 2e5 1e7 8e5 1e7
    """
    if score:
        if at:
            raise click.UsageError("--score takes its runs from the store or CSV, found PARAMS TOKENS; leave them out.")
        _score(Path(score), read_table(chosen), as_json)
        return
    if not at or len(at) % 2:
        raise click.UsageError(f"Expected pairs of PARAMS TOKENS, found {counted(len(at), 'number')}; try 2e5 1e7.")
    if wrong := [number for number in at if not 0 < number < math.inf]:
        raise click.UsageError(f"PARAMS and TOKENS are numbers above 0, found {wrong[0]:g}; try 2e5 1e7.")
    from microgpt.lab.laws.doubts import of_length
    from microgpt.lab.laws.points import points
    from microgpt.lab.laws.predict import predict

    place = None
    if register:
        from microgpt import outputs
        from microgpt.lab.laws.register import registered

        place = outputs.destination(register, (".json",), flag="--register", reads=sources(chosen), force=True)
        _ = place.exists() and registered(place)

    def predicted(table: "RunTable") -> dict[str, Any]:
        law = fit_law(chosen, table)
        unique = [float(law.fit.points.unique.max())] * (len(at) // 2)
        runs = points(at[::2], at[1::2], [1.0] * (len(at) // 2), unique)
        said = predict(law.ensemble, law.backtest, runs, law.level, chosen["seed"])
        if place:
            from datetime import UTC, datetime

            from microgpt.lab.laws.register import register as write

            write(place, said, law.table.sha256, datetime.now(UTC))
        if not as_json:
            if chosen["group"]:
                click.echo(table.source)
            _tell(said)
        for warning in [*(line for tokens in at[1::2] for line in of_length(law.fit, tokens)), *law.warnings]:
            click.echo(f"warning: {warning}", err=True)
        told = [prediction.to_dict() for prediction in said]
        return told[0] if len(told) == 1 else {"predictions": told}

    for_each_group(chosen, as_json, predicted, ["--register"] * bool(register))


def _tell(said: "list[Prediction]") -> None:
    for one in said:
        where = "" if one.in_range else "; beyond the sizes, lengths or cost of the runs"
        click.echo(
            f"N = {one.params:,.0f}, D = {one.tokens:,.0f}: loss {one.loss:.4f}, {one.level:.0%} of runs from "
            f"{one.low:.4f} to {one.high:.4f} ({one.widening:.1f} times wider by misfit{where})"
        )


def _score(path: Path, table: "RunTable", as_json: bool) -> None:
    from microgpt.lab.laws.register import check_any, check_new, registered, score
    from microgpt.lab.laws.table import distinct

    entries = registered(path)
    if not table.records:  # of the runs of a store the times are known
        check_new(entries, distinct(table).sha256, table.source)
    finished = [record.finished for record in table.records] or [""] * len(table.points)
    scores = score(entries, table.points, finished)
    check_any(scores, table.source)
    for note in table.notes:
        click.echo(f"warning: {note}", err=True)
    if as_json:
        click.echo(json.dumps(_told(scores)))
        return
    for one in scores:
        said = f"N = {one.params:,.0f}, D = {one.tokens:,.0f}: said {one.loss:.4f} ({one.low:.4f} to {one.high:.4f})"
        found = (
            "no run yet"
            if one.found is None
            else f"found {one.found:.4f}, {one.inside} of {counted(one.runs, 'run')} inside"
        )
        click.echo(f"{said}, {found}")
    told = _told(scores)
    click.echo(
        f"{told['inside']} of {counted(told['runs'], 'run')} of {counted(told['scored'], 'prediction')} "
        "inside their intervals"
    )


def _told(scores: "list[Score]") -> dict[str, Any]:
    done = [one for one in scores if one.found is not None]
    return {
        "predictions": [one.to_dict() for one in scores],
        "scored": len(done),
        "runs": sum(one.runs for one in done),
        "inside": sum(one.inside for one in done),
    }
