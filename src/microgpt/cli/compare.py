"""`microgpt compare`"""

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from microgpt.cli.law_options import conditions, fitting, law_options, read_parts
from microgpt.cli.options import JSON
from microgpt.errors import DataError, UsageError
from microgpt.model.settings import counted

if TYPE_CHECKING:
    from microgpt.lab.laws.compare import Key, Paired
    from microgpt.lab.laws.table import RunTable

NEAR: Final = (
    1e-3  # as far beyond the losses of the runs, in shares, one still counts as reached: they are told rounded
)


@click.command("compare")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@law_options
@click.option(
    "--at-loss", type=float, metavar="X", help="Loss at which to compare.  [default: middle of those both reach]"
)
@click.option("--pair", metavar="COLUMN", help="Runs equal in this, size and length form pairs.  [store: seed]")
@JSON
def command(a: str, b: str, at_loss: float | None, as_json: bool, **chosen: Any) -> None:
    """How many times less compute A needs than B for the same loss: decay=cosine decay=linear

    A and B are runs of one store or CSV, each named as COLUMN=VALUE. A law is fitted to each, and the least compute of
    both laws at a loss is compared, with an interval. Where both have runs of one size, length and seed, the difference
    of their losses is shown too; for that alone two runs are enough.
    """
    parts = conditions([a, b], "Each of A and B")
    if parts[0] == parts[1]:
        raise click.UsageError(f"A and B are two conditions, found {a} twice; try decay=cosine decay=linear.")
    if chosen["group"]:
        raise click.UsageError(f"compare takes two groups, found --group; name them: {chosen['group']}=VALUE, twice.")
    if at_loss is not None and not 0 < at_loss < math.inf:
        raise click.UsageError(f"--at-loss takes nats per token above 0, found {at_loss:g}.")
    shape = fitting(chosen).form
    if set(shape.axes) not in ({"params", "tokens"}, {"flop"}):
        raise click.UsageError(f"compare takes a law of size and length, found --form {shape.name}; try full.")
    from microgpt.lab.laws.compare import keys, paired
    from microgpt.lab.laws.table import distinct

    tables = [distinct(table) for table in read_parts(chosen, parts)]
    warnings = _alike(tables)
    labels = [_labels(table, chosen["pair"]) for table in tables]
    named = keys(tables[0].points, tables[1].points, labels)
    pairs = paired([table.points.loss for table in tables], named, chosen["level"])
    told: dict[str, Any] = {
        "a": {"runs": a},
        "b": {"runs": b},
        "ratio": None,
        "interval": None,
        "at_loss": None,
        "draws": None,
    }
    try:
        told |= _ratio(chosen, tables, named, at_loss, warnings)
    except DataError as error:
        if pairs is None:
            raise
        warnings += dict.fromkeys(note for table in tables for note in table.notes)
        warnings.append(f"No ratio of compute: {error}")
    for side, table, runs in zip("ab", tables, (a, b), strict=True):
        told[side] = {"runs": runs, "points": len(table.points)} | told[side]
    told |= {"level": chosen["level"], "form": shape.name, "resample": chosen["resample"]}
    by = chosen["pair"] or ("seed" if tables[0].records else None)
    told["pairs"] = _told(pairs, by)
    told["warnings"] = warnings
    if as_json:
        click.echo(json.dumps(told))
        return
    _tell(told)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def _labels(table: "RunTable", pair: str | None) -> Sequence[str]:
    """By what runs of one size and length are paired: blank where nothing says it."""
    from microgpt.lab.laws.table import value

    if table.records:
        return [str(value(record, pair or "seed")) for record in table.records]
    return table.labels or [""] * len(table.points)


def _alike(tables: "Sequence[RunTable]") -> list[str]:
    """Warnings of what A and B have in common, or not. Raises `DataError` where they are the same runs."""
    rows = [{*zip(*(getattr(t.points, n).tolist() for n in ("params", "tokens", "loss")), strict=True)} for t in tables]
    both, least = len(rows[0] & rows[1]), min(map(len, rows))
    if both == least:
        raise DataError(
            f"A and B must have no run in common, found {counted(both, 'run')} in both, equal to the last digit; name "
            "other values, or separate them with --where. A setting may have no effect."
        )
    found = []
    if both:
        found.append(
            f"A and B share {counted(both, 'run')}, equal to the last digit; --where COLUMN=VALUE separates them."
        )
    if len({record.data_sha256 for table in tables for record in table.records}) > 1:
        found.append("A and B were trained on different texts, so equal losses may not mean equal quality.")
    return found


def _ratio(
    chosen: dict[str, Any],
    tables: "Sequence[RunTable]",
    named: "Sequence[Sequence[Key]]",
    at_loss: float | None,
    warnings: list[str],
) -> dict[str, Any]:
    """What is said of the two laws; warnings go to their list. Raises `DataError` where there is no law."""
    from microgpt.lab.laws.compare import SIDES, best, both, check_designs, ratio
    from microgpt.lab.laws.summary import finite

    how = fitting(chosen)
    check_designs(tables, how.form)
    loss = _loss(tables, at_loss, warnings)
    laws, together = both(tables, named, how)
    told: dict[str, Any] = {"at_loss": loss, "draws": "the same runs of both" if together else "independent"}
    for side, law in zip(SIDES, laws, strict=True):
        told[side.lower()] = found = best(law.fit, loss)
        if not math.isfinite(found["flop"]):
            lowest = (
                f"its floor is {law.fit.values['E']:.4g}" if law.fit.form.floor else "no size and length have this loss"
            )
            raise (UsageError if at_loss else DataError)(
                f"--at-loss {loss:.6g} is a loss that the law of {side} never reaches: {lowest}; give a higher one, "
                f"such as {law.fit.points.loss.max():.4g}."
            )
        if not found["in_range"]:
            warnings.append(
                f"{side} reaches {loss:.4g} most cheaply with a size, length or cost beyond those of its runs."
            )
        warnings += [f"{side}: {warning}" for warning in law.warnings]
    value, span = ratio(laws[0].ensemble, laws[1].ensemble, loss, chosen["level"])
    return told | {"ratio": value, "interval": [finite(bound) for bound in span]}


def _loss(tables: "Sequence[RunTable]", asked: float | None, warnings: list[str]) -> float:
    """The loss at which compute is compared: by default the middle, in logarithms, of those that both have
    reached."""
    from microgpt.lab.laws.compare import SIDES

    spans = [(float(table.points.loss.min()), float(table.points.loss.max())) for table in tables]
    words = " and ".join(f"{side} {low:.4g} to {high:.4g}" for side, (low, high) in zip(SIDES, spans, strict=True))
    low, high = max(spans[0][0], spans[1][0]), min(spans[0][1], spans[1][1])
    if asked is None:
        if low > high:
            raise DataError(f"Expected losses that both have reached, found {words}; give one with --at-loss.")
        return math.sqrt(low * high)
    outside = [
        side
        for side, (least, most) in zip(SIDES, spans, strict=True)
        if not (1 - NEAR) * least <= asked <= (1 + NEAR) * most
    ]
    if len(outside) == 2:
        raise UsageError(f"--at-loss takes a loss that runs have, found {asked:g}; runs have {words}.")
    if outside:
        warnings.append(f"No run of {outside[0]} is near {asked:.4g}: {words}; its law is extrapolated.")
    return asked


def _told(pairs: "Paired | None", by: str | None) -> dict[str, Any] | None:
    if pairs is None:
        return None
    return {"by": by, "count": pairs.count, "difference": pairs.difference, "interval": pairs.interval}


def _tell(told: dict[str, Any]) -> None:
    from microgpt.lab.laws.summary import in_words

    level = f"{told['level']:.0%} interval"
    for side in "ab":
        row = told[side]
        click.echo(f"{side.upper()}: {row['runs']}, {counted(row['points'], 'run')}", nl=told["ratio"] is None)
        if told["ratio"] is not None:
            size = "" if row["params"] is None else f", at {row['params']:,.0f} params and {row['tokens']:,.0f} tokens"
            click.echo(f"; loss {told['at_loss']:.4f} for {row['flop']:.4g} FLOP{size}")
    if told["ratio"] is not None:
        span = in_words((told["interval"][0] or -math.inf, told["interval"][1] or math.inf), 4)
        less = (
            f"A needs {told['ratio']:.4g} times less compute than B"
            if told["ratio"] >= 1
            else (f"A needs {1 / told['ratio']:.4g} times more compute than B")
        )
        click.echo(f"{less}: B / A = {told['ratio']:.4g}, {level} {span}; draws: {told['draws']}")
        low, high = told["interval"]
        if (low is None or low <= 1) and (high is None or high >= 1):
            click.echo("the interval contains 1: neither is shown to need less")
    if told["pairs"] is None:
        click.echo("no pairs: no run of A has the size, length and seed of one of B (--pair names a column of a CSV)")
        return
    row = told["pairs"]
    span = (
        "one pair gives no interval"
        if row["interval"] is None
        else f"{level} {row['interval'][0]:.4f} to {row['interval'][1]:.4f}"
    )
    over = f"{counted(row['count'], 'pair')} of equal size, length and {row['by']}"
    click.echo(f"loss of B - A over {over}: {row['difference']:.4f}, {span}")
