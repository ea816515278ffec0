"""The flags that the verbs of a law share: where the runs are from, and how the law is fitted."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from microgpt.cli.options import STORE
from microgpt.training.pace import time_of

if TYPE_CHECKING:
    from microgpt.lab.laws.price import Price
    from microgpt.lab.laws.summary import Fitting, Law
    from microgpt.lab.laws.table import RunTable

Command = TypeVar("Command", bound=Callable[..., Any])

FORMS = ("full", "no-floor", "params", "params-no-floor", "tokens", "tokens-no-floor", "compute", "repeated", "joint")
MARKS: Any = {"point": ".", "comma": ",", None: None}
RESAMPLES = ("runs", "residuals")
COUNTINGS = ("all", "no-embedding", "body")

_STORE = (
    STORE,
    click.option("--sweep", metavar="NAME", help="Only the runs of one sweep."),
    click.option("--data", metavar="TEXT", help="Only the runs on one text."),
    click.option("--csv", metavar="FILE", help="Runs of a CSV instead of a store."),
)
_COLUMNS = (
    click.option("--params", default="params", show_default=True, metavar="COLUMN", help="CSV: parameters."),
    click.option("--tokens", metavar="COLUMN", help="CSV: tokens trained on.  [default: tokens, or flop]"),
    click.option("--flop", metavar="COLUMN", help="CSV: FLOP; tokens = flop / 6 params."),
    click.option("--loss", default="loss", show_default=True, metavar="COLUMN", help="CSV: nats per token."),
    click.option("--unique", metavar="COLUMN", help="CSV: number of different tokens, if data repeats."),
    click.option("--decimal", type=click.Choice(["point", "comma"]), help="CSV: decimal mark.  [default: detected]"),
)
_WHERE = click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only the runs that have this value.")
_CHOICE = (
    _WHERE,
    click.option(
        "--best-of", metavar="COLUMN", help="Of each size and length only the run lowest in this: loss, for example."
    ),
    click.option("--group", metavar="COLUMN", help="A law for each value of a column, 50 at most."),
    click.option("--drop-highest", default=0, metavar="K", help="Leave out the K highest losses."),
    click.option("--weights", metavar="COLUMN", help="CSV: how much each run counts in the fit."),
    click.option("--strict", is_flag=True, help="CSV: refuse rows in which a number is missing."),
)
_FIT = (
    click.option("--form", default="full", show_default=True, type=click.Choice(FORMS), help="Shape of the law."),
    click.option("--fix", multiple=True, metavar="NAME=X", help="Don't fit a parameter: alpha=0.34, or alpha=beta."),
    click.option(
        "--delta",
        default=1e-3,
        show_default=True,
        metavar="X",
        help="Threshold of Huber's loss; 10 means squared error.",
    ),
    click.option("--count", default="all", show_default=True, type=click.Choice(COUNTINGS), help="Which parameters."),
    click.option(
        "--bootstrap", default=1000, show_default=True, metavar="N", help="Bootstrap draws for the intervals."
    ),
    click.option(
        "--resample", default="runs", show_default=True, type=click.Choice(RESAMPLES), help="What each draw resamples."
    ),
    click.option("--level", default=0.9, show_default=True, metavar="X", help="Level of the intervals."),
    click.option("--seed", default=0, show_default=True, metavar="N", help="Seed of the draws."),
)


def law_options(command: Command) -> Command:
    """The flags of the runs and of the fit."""
    for option in reversed(_STORE + _COLUMNS + _CHOICE + _FIT):
        command = option(command)
    return command


def column_options(command: Command) -> Command:
    """The flags that tell how a CSV is read."""
    for option in reversed((*_COLUMNS, _WHERE)):
        command = option(command)
    return command


def read_table(chosen: dict[str, Any]) -> "RunTable":
    """The runs that the flags name, as one table."""
    if chosen["group"]:
        raise click.UsageError(f"--group makes several tables; take one with --where {chosen['group']}=VALUE.")
    return read_tables(chosen)[""]


def read_tables(chosen: dict[str, Any]) -> "dict[str, RunTable]":
    """The runs that the flags name, by the value of --group; without it one table, of the name ""."""
    found = _tables(chosen, where_of(chosen["where"]))
    for line in next(iter(found.values())).said:
        click.echo(f"note: {line}", err=True)
    return found


def read_parts(chosen: dict[str, Any], parts: "Sequence[tuple[str, str]]") -> "list[RunTable]":
    """The runs that the flags name, one table for each value of a column that they must have besides."""
    where = where_of(chosen["where"])
    found = [_tables(chosen, (*where, part))[""] for part in parts]
    for line in dict.fromkeys(line for table in found for line in table.said):
        click.echo(f"note: {line}", err=True)
    return found


def _tables(chosen: dict[str, Any], where: tuple[tuple[str, str], ...]) -> "dict[str, RunTable]":
    from microgpt.lab.laws.table import groups, part, table
    from microgpt.lab.store.store import Store

    if chosen["csv"]:
        if chosen["count"] != "all":
            raise click.UsageError("--count is for a store: a CSV counts what its column counts.")
        return _from_csv(chosen, where)
    if idle := next((name for name in ("decimal", "strict", "weights") if chosen[name]), None):
        raise click.UsageError(f"--{idle} is for a CSV, found none.")

    with Store.open(chosen["store"]) as store:
        records = store.records(chosen["sweep"])
    if chosen["data"]:
        records = [record for record in records if record.data == chosen["data"]]
    for name, value in where:
        records = part(records, name, value)
    how = chosen["count"], chosen["drop_highest"], chosen["best_of"]
    if not (by := chosen["group"]):
        return {"": table(records, *how)}
    named = {text: table(runs, *how) for text, runs in groups(records, by).items()}
    return {text: replace(found, source=f"{found.source}, {by} = {text}") for text, found in named.items()}


def sources(chosen: dict[str, Any]) -> list[str]:
    """The files that the flags name."""
    return [chosen["csv"] or chosen["store"]]


def for_each_group(
    chosen: dict[str, Any], as_json: bool, work: "Callable[[RunTable], dict[str, Any]]", one_alone: Sequence[str] = ()
) -> None:
    """What a verb does with a table, for each of --group. `work` prints, unless it is to be JSON, and gives the JSON.
    `one_alone` are the flags that were given and go with one table only. A group that carries no law is told as a
    warning."""
    from microgpt.errors import DataError

    by = chosen["group"]
    if by and one_alone:
        raise click.UsageError(f"{one_alone[0]} goes with one law, found --group; take one with --where {by}=VALUE.")
    tables, rows, failed = read_tables(chosen), list[dict[str, Any]](), list[str]()
    for value, table in tables.items():
        try:
            rows.append({"value": value, **work(table)})
        except DataError as error:
            if len(failed) + 1 == len(tables):
                raise DataError(f"{by} = {value}: {error}" if by else str(error)) from None
            failed.append(value)
            rows.append({"value": value, "error": str(error)})
            click.echo(f"warning: {by} = {value}: {error}", err=True)
    if as_json:
        told = {"group": by, "groups": rows} if by else {name: rows[0][name] for name in rows[0] if name != "value"}
        click.echo(json.dumps(told))


def conditions(given: Sequence[str], flag: str) -> tuple[tuple[str, str], ...]:
    """The columns that a flag names, and what they must have."""
    where = tuple((name.strip(), value.strip()) for name, _, value in (each.rpartition("=") for each in given))
    if wrong := next((each for each in given if not each.rpartition("=")[0].strip()), None):
        raise click.UsageError(f"{flag} takes COLUMN=VALUE such as lr=0.01, found {wrong!r}.")
    return where


def where_of(given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The conditions of --where, which a run must be able to meet at once."""
    where, met = conditions(given, "--where"), dict[str, str]()
    for name, value in where:
        if (other := met.setdefault(name, value)) != value and not _same(value, other):
            raise click.UsageError(
                f"--where takes one value of a column, since a run must match all; found {name}={other} and "
                f"{name}={value}. Leave one out, and use the other in a command of its own."
            )
    return where


def _same(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one.lower() == other.lower()


def _from_csv(chosen: dict[str, Any], where: tuple[tuple[str, str], ...]) -> "dict[str, RunTable]":
    """The runs of a CSV."""
    from microgpt.lab.laws.csv_file import Columns, Reading, read_csv, read_groups

    columns = Columns(*(chosen[name] for name in ("params", "tokens", "flop", "loss", "unique", "weights")))
    mark = MARKS[chosen["decimal"]]
    how = (
        Path(chosen["csv"]),
        columns,
        chosen["drop_highest"],
        Reading(mark, where, chosen["strict"], chosen["best_of"], chosen.get("pair")),
    )
    return read_groups(*how, chosen["group"]) if chosen["group"] else {"": read_csv(*how)}


def fit_law(chosen: dict[str, Any], table: "RunTable") -> "Law":
    """The law that the flags ask for."""
    from microgpt.lab.laws.summary import law

    return law(table, fitting(chosen))


def fitting(chosen: dict[str, Any]) -> "Fitting":
    """How the flags ask for it to be fitted, when they are checked."""
    from microgpt.lab.laws.asked import form
    from microgpt.lab.laws.summary import Fitting

    check_draws(chosen["bootstrap"], chosen["level"], chosen["seed"])
    if not 1e-9 <= chosen["delta"] <= 1e9:
        raise click.UsageError(f"--delta takes 1e-9 to 1e9, found {chosen['delta']:g}.")
    how = (chosen[name] for name in ("bootstrap", "level", "seed", "count", "resample", "delta"))
    return Fitting(form(chosen["form"], chosen["fix"]), *how)


def spending(text: str, name: str) -> tuple[float, str]:
    """A cost and its unit, from what a flag or argument was given."""
    try:
        amount, unit = time_of(text)
    except ValueError:
        amount, unit = math.nan, None
    amount *= unit or 1
    if not (math.isfinite(amount) and amount > 0):
        raise click.UsageError(f"{name} takes FLOP such as 1e12 or a time such as 90s, 5m, 2h; found {text!r}.")
    return amount, "seconds" if unit else "FLOP"


def law_price(law: "Law", unit: str) -> "Price":
    """What a token costs in the runs of a law. Raises `DataError` where they don't tell."""
    from microgpt.errors import DataError
    from microgpt.lab.laws.price import price

    seconds = law.table.seconds
    if unit == "seconds" and seconds is None:
        raise DataError("A budget in time needs the seconds of the runs, found a CSV; give FLOP, or take a store.")
    return price(law.fit.points, seconds if unit == "seconds" else None, unit)


def check_draws(draws: int, level: float, seed: int) -> None:
    """Refuse what gives no interval, and what seeds no stream."""
    if seed < 0:
        raise click.UsageError(f"--seed takes a whole number of 0 or more, found {seed}.")
    if not 100 <= draws <= 1_000_000:
        raise click.UsageError(f"--bootstrap takes 100 to 1,000,000 draws, found {draws}.")
    if not 0.5 <= level <= 0.99:
        raise click.UsageError(f"--level takes 0.5 to 0.99, found {level}.")
