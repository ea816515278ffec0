"""The flags that the verbs of a law share: where the runs are from, and how the law is fitted."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from microgpt.lab.laws.summary import Law
    from microgpt.lab.laws.table import Table

Command = TypeVar("Command", bound=Callable[..., Any])

FORMS = ("full", "no-floor", "params", "params-no-floor", "tokens", "tokens-no-floor", "repeated", "joint")
RESAMPLES = ("runs", "residuals")
COUNTINGS = ("all", "no-embedding", "body")

_SOURCE = (
    click.option("--store", default="lab.db", show_default=True, metavar="FILE", help="The store of runs."),
    click.option("--sweep", metavar="NAME", help="The runs of one sweep alone."),
    click.option("--data", metavar="TEXT", help="The runs on one text alone."),
    click.option("--csv", metavar="FILE", help="Runs of a CSV instead of a store."),
    click.option("--params", default="params", show_default=True, metavar="COLUMN", help="CSV: parameters."),
    click.option("--tokens", metavar="COLUMN", help="CSV: tokens trained on.  [default: tokens, or flop]"),
    click.option("--flop", metavar="COLUMN", help="CSV: FLOP; tokens = flop / 6 params."),
    click.option("--loss", default="loss", show_default=True, metavar="COLUMN", help="CSV: nats per token."),
    click.option("--unique", metavar="COLUMN", help="CSV: different tokens there were, where data repeats."),
    click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="CSV: the rows alone that have this value."),
    click.option("--decimal", type=click.Choice(["point", "comma"]), help="CSV: decimal mark.  [default: found]"),
    click.option("--strict", is_flag=True, help="CSV: refuse rows without a loss, instead of leaving them out."),
    click.option("--drop-highest", default=0, metavar="K", help="Leave out the K highest losses."),
)
_FIT = (
    click.option("--form", default="full", show_default=True, type=click.Choice(FORMS), help="Shape of the law."),
    click.option("--count", default="all", show_default=True, type=click.Choice(COUNTINGS), help="Which parameters."),
    click.option("--bootstrap", default=1000, show_default=True, metavar="N", help="Draws for the intervals."),
    click.option("--resample", default="runs", show_default=True, type=click.Choice(RESAMPLES), help="What is drawn."),
    click.option("--level", default=0.9, show_default=True, metavar="X", help="Level of the intervals."),
    click.option("--seed", default=0, show_default=True, metavar="N", help="Seed of the draws."),
)


def law_options(command: Command) -> Command:
    """The flags of the runs and of the fit."""
    for option in reversed(_SOURCE + _FIT):
        command = option(command)
    return command


def read_table(chosen: dict[str, Any]) -> "Table":
    """The runs that the flags name."""
    from microgpt.lab.laws.table import table
    from microgpt.lab.store import Store

    if chosen["csv"]:
        if chosen["count"] != "all":
            raise click.UsageError("--count is for a store: a CSV counts what its column counts.")
        return _from_csv(chosen)
    if idle := next((name for name in ("where", "decimal", "strict") if chosen[name]), None):
        raise click.UsageError(f"--{idle} is for a CSV, found none; of a store --sweep and --data take a part.")

    with Store.open(chosen["store"]) as store:
        records = store.records(chosen["sweep"])
    if chosen["data"]:
        records = [record for record in records if record.data == chosen["data"]]
    return table(records, chosen["count"], chosen["drop_highest"])


def sources(chosen: dict[str, Any]) -> list[str]:
    """The files that the flags name."""
    return [chosen["csv"] or chosen["store"]]


def _from_csv(chosen: dict[str, Any]) -> "Table":
    """The runs of a CSV; how it was read is a note on standard error."""
    from microgpt.lab.laws.csv_file import Columns, Reading, read_csv

    where = tuple(
        (name.strip(), value.strip()) for name, _, value in (each.rpartition("=") for each in chosen["where"])
    )
    if wrong := next((each for each in chosen["where"] if not each.rpartition("=")[0].strip()), None):
        raise click.UsageError(f"--where takes COLUMN=VALUE such as lr=0.01, found {wrong!r}.")
    columns = Columns(*(chosen[name] for name in ("params", "tokens", "flop", "loss", "unique")))
    mark: Any = {"point": ".", "comma": ","}.get(chosen["decimal"])
    found = read_csv(Path(chosen["csv"]), columns, chosen["drop_highest"], Reading(mark, where, chosen["strict"]))
    for line in found.said:
        click.echo(f"note: {line}", err=True)
    return found


def fit_law(chosen: dict[str, Any], table: "Table | None" = None) -> "Law":
    """The law that the flags ask for."""
    from microgpt.lab.laws.form import form
    from microgpt.lab.laws.summary import law

    check_draws(chosen["bootstrap"], chosen["level"], chosen["seed"])
    found = read_table(chosen) if table is None else table
    drawn = chosen["bootstrap"], chosen["level"], chosen["seed"]
    return law(found, form(chosen["form"]), *drawn, chosen["count"], chosen["resample"])


def check_draws(draws: int, level: float, seed: int) -> None:
    """Refuse what gives no interval, and what seeds no stream."""
    if seed < 0:
        raise click.UsageError(f"--seed takes a whole number of 0 or more, found {seed}.")
    if not 100 <= draws <= 1_000_000:
        raise click.UsageError(f"--bootstrap takes 100 to 1,000,000 draws, found {draws}.")
    if not 0.5 <= level <= 0.99:
        raise click.UsageError(f"--level takes 0.5 to 0.99, found {level}.")
