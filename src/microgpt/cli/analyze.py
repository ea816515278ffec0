"""`microgpt analyze`"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microgpt.cli.law_options import MARKS, column_options, where_of
from microgpt.cli.options import FORCE, JSON, STORE
from microgpt.cli.streams import console
from microgpt.collector import gc_disabled

if TYPE_CHECKING:
    from microgpt.lab.audit import Finding
    from microgpt.lab.statistics.render import Table

WHAT = ("steps", "params", "returns", "ideas", "runs")
OF_CSV = ("tokens", "flop", "unique", "where", "decimal", "lr", "seed", "vocabulary")
PIPED = 160  # characters of a line where there is no terminal to fit


def _known(context: click.Context, parameter: click.Parameter, what: str | None) -> str | None:
    """The question, if there is such a one."""
    from microgpt.cli.app import suggestion

    if what is not None and what not in WHAT:
        from microgpt.lab.report.study import SETTINGS

        if what not in SETTINGS:
            raise click.UsageError(f"There is no table of {what!r}. {suggestion(what, (*WHAT, *SETTINGS))}", context)
    return what


@click.command("analyze")
@click.argument("what", metavar="|".join((*WHAT, "SETTING")), callback=_known, required=False)
@STORE
@click.option("--sweep", metavar="NAME", help="The sweep to look at.  [default: the one named like the table]")
@click.option(
    "--csv", is_flag=False, flag_value="", metavar="[FILE]",
    help="Print comma-separated values, in full precision; with a FILE look at its runs instead of a store's.",
)  # fmt: skip
@click.option("--markdown", "form", flag_value="markdown", help="Print Markdown.")
@JSON
@click.option("--plot", metavar="FILE", help="Draw it as well, to a file that ends in .svg or .png.")
@FORCE
@column_options
@click.option("--lr", metavar="COLUMN", help="CSV: learning rate.  [default: found by its name]")
@click.option("--seed", metavar="COLUMN", help="CSV: seed.  [default: found by its name]")
@click.option(
    "--vocabulary", type=int, metavar="N", help="CSV: size of the vocabulary, to find runs that learned nothing."
)
@gc_disabled()
def command(
    what: Any,
    store: str,
    sweep: str | None,
    csv: str | None,
    form: str | None,
    as_json: bool,
    plot: str | None,
    force: bool,
    **chosen: Any,
) -> None:
    """Tables of a store: loss against steps or size, return on investment, what each of `sweep ideas` brings, loss by a
    SETTING that a sweep varied (such as `lr` or `decay`), or a row for each run.

    Every figure is a held-out loss over seeds, with a 90% interval. Warnings of the audit go to standard error. With
    --csv FILE the runs of any CSV are audited, and `returns` gives its tables.
    """
    from microgpt import outputs
    from microgpt.lab.pictures import canvas
    from microgpt.lab.report import study
    from microgpt.lab.store.store import Store

    if what is None and csv in WHAT:  # as in `analyze --csv steps`
        what, csv = csv, ""
    if csv:
        _elsewhere(csv, what, "json" if as_json else form, sweep or plot, chosen)
        return
    if what is None:
        raise click.UsageError(f"Expected one of {', '.join(WHAT)}, or --csv FILE; found neither.")
    if idle := next((name for name in OF_CSV if chosen[name]), None):
        raise click.UsageError(f"--{idle} is for the runs of a CSV, found no --csv FILE.")
    place = plot and outputs.destination(plot, canvas.PICTURES, flag="--plot", reads=[store], force=force)
    with Store.open(store) as opened:
        answer = study.answer(opened, what, sweep)
    if place:
        canvas.save(study.plot(answer), place)
    _print(answer.tables, answer.findings, "json" if as_json else "csv" if csv == "" else form)


def _elsewhere(csv: str, what: str | None, form: str | None, idle: str | None, chosen: dict[str, Any]) -> None:
    """The audit of a CSV, and its tables where they are asked for."""
    from microgpt.lab.laws.csv_file import Columns, Reading
    from microgpt.lab.laws.csv_runs import Named, look
    from microgpt.lab.statistics.series import COUNTED
    from microgpt.lab.statistics.tables import returns_table

    if idle or what not in (None, "returns"):
        raise click.UsageError(
            "With --csv, analyze prints the audit and the tables of `returns`; --sweep and --plot need a store."
        )
    if chosen["vocabulary"] is not None and chosen["vocabulary"] < 2:
        raise click.UsageError(f"--vocabulary takes a number of tokens from 2, found {chosen['vocabulary']}.")
    columns = Columns(*(chosen[name] for name in ("params", "tokens", "flop", "loss", "unique")))
    reading = Reading(MARKS[chosen["decimal"]], where_of(chosen["where"]))
    found = look(Path(csv), columns, reading, Named(chosen["lr"], chosen["seed"], chosen["vocabulary"]))
    lines = [(axis, [line for line in found.lines if line.axis is axis and len(line.levels) > 1]) for axis in COUNTED]
    tables = [returns_table(part, axis) for axis, part in lines if part] if what else []
    if form != "json":
        click.echo(found.sentence, err=bool(form))
    _print(tables, found.findings, form)
    if form != "json" and not found.findings:
        click.echo("the audit found no problems", err=bool(form))


def _print(tables: "Sequence[Table]", findings: "Sequence[Finding]", form: str | None) -> None:
    from microgpt.lab.audit import sentence
    from microgpt.lab.statistics.render import plain, to_csv, to_json, to_markdown, to_rich

    sentences = [sentence(finding) for finding in findings]
    if form == "json":
        click.echo(to_json(tables, warnings=sentences, findings=[each.to_dict() for each in findings]))
        return
    if form == "csv":
        click.echo("\n".join(map(to_csv, tables)), nl=False)
    elif form == "markdown":
        click.echo("\n".join(map(to_markdown, tables)), nl=False)
    else:
        out = console(highlight=False, width=None if sys.stdout.isatty() else PIPED)
        for table in tables:
            out.print(to_rich(table, out.width))
    for finding, text in zip(findings, sentences, strict=True):
        click.echo(f"{finding.severity}: {plain(text)}", err=True)
