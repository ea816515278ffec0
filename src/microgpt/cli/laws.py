"""`microgpt laws`"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from microgpt.cli.law_options import check_draws, fit_law, for_each_group, law_options, read_tables, sources
from microgpt.cli.options import FORCE, JSON
from microgpt.model.settings import counted

if TYPE_CHECKING:
    from microgpt.lab.laws.summary import Law
    from microgpt.lab.laws.table import RunTable

MOST_SCATTER: Final = 0.3  # nats, the planted law's losses being near 2: beyond, draws may fall below zero


@click.command("laws")
@law_options
@click.option("--plot", metavar="FILE", help="Draw the law, to a file that ends in .svg or .png.")
@click.option("--residuals", metavar="FILE", help="Draw how far each run is from the law, to .svg or .png.")
@click.option("--draws", metavar="FILE", help="Write the draws behind the intervals, to a file that ends in .csv.")
@click.option("--shared", metavar="NAMES", help="With --group: one fit whose groups share these, such as E,beta.")
@click.option("--compare", is_flag=True, help="Compare other forms by how well they predict the larger runs.")
@click.option(
    "--simulate", metavar="N", type=int, help="Instead fit N simulated designs of a known law: how often is it found?"
)
@click.option(
    "--design", default="6x5x3", show_default=True, metavar="SxLxR", help="Sizes x lengths x seeds to simulate."
)
@click.option("--scatter", default=0.005, show_default=True, metavar="X", help="Spread of a simulated run in nats.")
@FORCE
@JSON
def command(
    plot: str | None,
    residuals: str | None,
    draws: str | None,
    shared: str | None,
    compare: bool,
    simulate: int | None,
    force: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Fit L(N, D) = E + A/N^alpha + B/D^beta to a store or to any CSV.

    Every number has a bootstrap interval: whole runs are drawn again. Warnings say what the runs can't support. With
    --simulate the tool tests itself, and shows how many sizes, lengths and seeds an interval takes.
    """
    if simulate is not None:
        _simulate(simulate, as_json, chosen)
        return
    from microgpt import outputs
    from microgpt.lab.pictures.canvas import PICTURES

    asked = {"--plot": plot, "--residuals": residuals, "--draws": draws}
    places = {
        flag: outputs.destination(
            named,
            (".csv",) if flag == "--draws" else PICTURES,
            flag=flag,
            reads=sources(chosen),
            force=force,
            heads=_heads(flag),
        )
        for flag, named in asked.items()
        if named
    }
    if len({*places.values()}) < len(places):
        raise click.UsageError(f"{' and '.join(places)} name one file; give each its own.")

    if compare and chosen["fix"]:
        raise click.UsageError("--compare fits whole forms, found --fix; leave one of the two out.")
    if shared is not None:
        if compare or places or not chosen["group"]:
            raise click.UsageError("--shared goes with --group, and without --compare, --plot, --residuals, --draws.")
        _tell_shared(shared, chosen, as_json)
        return

    def fitted(table: "RunTable") -> dict[str, Any]:
        found = fit_law(chosen, table)
        rows = _compared(found) if compare else None
        for flag, place in places.items():
            _write(found, flag, place)
        if not as_json:
            _tell(found, rows or [])
        return found.to_dict() | ({"forms": rows} if rows else {})

    for_each_group(chosen, as_json, fitted, list(places))


def _heads(flag: str) -> list[bytes]:
    """By which an output is known as this command's, besides its mark."""
    if flag != "--draws":
        return []
    from microgpt.lab.laws.summary import draws_heads

    return draws_heads()


def _write(found: "Law", flag: str, place: Path) -> None:
    """A file that was asked for."""
    from microgpt import outputs
    from microgpt.lab.laws.plot import law_plot, residual_plot
    from microgpt.lab.laws.summary import draws_csv
    from microgpt.lab.pictures.canvas import save

    if flag == "--draws":
        outputs.write(place, draws_csv(found).encode())
    else:
        save((law_plot if flag == "--plot" else residual_plot)(found), place)


def _tell(found: "Law", rows: list[dict[str, Any]]) -> None:
    from microgpt.lab.laws.summary import MEANINGS, in_words

    told, law = found.to_dict(), found.fit
    click.echo(
        f"{found.table.source}: {counted(told['points'], 'run')}, form {told['form']}, {found.level:.0%} intervals"
    )
    for name, bounds in found.spans.items():
        span = f"{in_words(bounds, 5):^26}"
        if name in told["held"]:
            said = "as given" if name in dict(law.form.fixed) else f"as {told['held'][name]}"
            span = f"{said:^26}"
        click.echo(f"  {name:14} {told[name]:>11.5g}   {span}  {MEANINGS[name]}")
    tested = "no larger runs to test it on"
    if told["backtest_error"] is not None:
        tested = f"fitted to the smaller runs, it misses the larger by {told['backtest_error']:.2%} of their loss"
    click.echo(
        f"  a run scatters by {told['run_spread']:.2g} nats; {tested}; "
        f"{law.agreeing} of {law.starts} starts agree on the best fit"
    )
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    for row in rows:
        error = "not tested" if row["backtest_error"] is None else f"{row['backtest_error']:.2%}"
        click.echo(f"{row['form']:16} objective {row['objective']:.4g}, error on larger runs {error}")


def _tell_shared(shared: str, chosen: dict[str, Any], as_json: bool) -> None:
    """One fit for all groups."""
    from microgpt.lab.laws.asked import form
    from microgpt.lab.laws.shared import check_shared, fit_shared
    from microgpt.lab.laws.summary import MEANINGS

    check_draws(chosen["bootstrap"], chosen["level"], chosen["seed"])
    asked, names = form(chosen["form"], chosen["fix"]), [name.strip() for name in shared.split(",")]
    check_shared(asked, names)
    tables = read_tables(chosen)
    groups = {value: table.points for value, table in tables.items()}
    how = chosen["bootstrap"], chosen["level"], chosen["seed"], chosen["delta"]
    told = {"group": chosen["group"], **fit_shared(groups, asked, names, *how)}
    for row in told["groups"]:
        if "error" in row:
            click.echo(f"warning: {chosen['group']} = {row['value']} is left out: {row['error']}", err=True)
    if as_json:
        click.echo(json.dumps(told))
        return
    fitted = [row for row in told["groups"] if "error" not in row]
    click.echo(
        f"form {told['form']} with {', '.join(names)} shared by {len(fitted)} groups, {told['level']:.0%} intervals"
    )
    for place, row in enumerate(fitted):
        if place == 0:
            _rows(row, names, MEANINGS)
        click.echo(f"{chosen['group']} = {row['value']}: {counted(row['points'], 'run')}")
        _rows(row, [name for name in row["intervals"] if name not in names], MEANINGS)
    click.echo(f"objective {told['objective']:.4g}; of laws of their own {told['objective_alone']:.4g}")
    for warning in dict.fromkeys(note for table in tables.values() for note in table.notes):
        click.echo(f"warning: {warning}", err=True)


def _rows(row: dict[str, Any], names: list[str], meanings: Mapping[str, str]) -> None:
    for name in names:
        low, high = row["intervals"][name]
        click.echo(f"  {name:14} {row[name]:>11.5g}   {low:>11.5g} to {high:<11.5g}  {meanings[name]}")


def _compared(found: "Law") -> list[dict[str, Any]]:
    from microgpt.lab.laws.summary import compare

    return compare(found.table, found.fit.delta)


def _simulate(count: int, as_json: bool, chosen: dict[str, Any]) -> None:
    from microgpt.lab.laws.simulate import Simulated, summary, trials

    check_draws(chosen["bootstrap"], chosen["level"], chosen["seed"])
    if not 0 <= chosen["scatter"] <= MOST_SCATTER:
        raise click.UsageError(f"--scatter takes 0 to {MOST_SCATTER:g} nats, found {chosen['scatter']}.")
    if not 1 <= count <= 100_000:
        raise click.UsageError(f"--simulate takes 1 to 100,000 draws of a design, found {count}.")
    plan = Simulated(*_design(chosen["design"]), scatter=chosen["scatter"])
    drawn = chosen["bootstrap"], chosen["level"], chosen["seed"], chosen["resample"]
    told = summary(list(trials(plan, count, *drawn)), plan, chosen["level"])
    if as_json:
        click.echo(json.dumps(told))
        return
    click.echo(
        f"{counted(count, 'simulation')} of {chosen['design']} runs; "
        f"the truth was inside the {chosen['level']:.0%} interval:"
    )
    for row in told["rows"]:
        click.echo(
            f"  {row['quantity']:14} {row['covered']:>5} of {count}; median width {row['median_width']:.4g}, "
            f"median error {row['median_error']:.2%}, within 2%: {row['within_2_percent']}"
        )


def _design(text: str) -> tuple[int, int, int]:
    """`6x5x3` as three numbers."""
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and 0 < int(part) <= 100 for part in parts):
        raise click.UsageError(f"--design takes sizes, lengths and seeds such as 6x5x3, found {text!r}.")
    sizes, lengths, seeds = map(int, parts)
    if sizes < 3 or lengths < 3:
        raise click.UsageError(f"--design takes 3 sizes and 3 lengths or more, found {text!r}; 4x4x2 would do.")
    return sizes, lengths, seeds
