"""`microgpt analyze`"""

import sys
from typing import TYPE_CHECKING, Any

import click

from microgpt.cli.options import FORCE, JSON
from microgpt.cli.streams import console
from microgpt.collector import uncollected

if TYPE_CHECKING:
    from microgpt.lab.study import Answer

WHAT = ("steps", "params", "returns", "runs")
PIPED = 160  # characters of a line where there is no terminal to fit
STORE = click.option("--store", default="lab.db", show_default=True, metavar="FILE", help="The store of runs.")


def _known(context: click.Context, parameter: click.Parameter, what: str) -> str:
    """The question, if there is such a one."""
    from microgpt.cli.app import suggestion

    if what not in WHAT:
        raise click.UsageError(f"There is no table of {what!r}. {suggestion(what, WHAT)}", context)
    return what


@click.command("analyze")
@click.argument("what", metavar="|".join(WHAT), callback=_known)
@STORE
@click.option("--sweep", metavar="NAME", help="The sweep to look at.  [default: the one named like the table]")
@click.option("--csv", "form", flag_value="csv", help="Print comma-separated values, in full precision.")
@click.option("--markdown", "form", flag_value="markdown", help="Print Markdown.")
@JSON
@click.option("--plot", metavar="FILE", help="Draw it as well, to a file that ends in .svg or .png.")
@FORCE
@uncollected()
def command(
    what: Any, store: str, sweep: str | None, form: str | None, as_json: bool, plot: str | None, force: bool
) -> None:
    """Tables of a store: loss against steps, loss against size, return on investment, or a row for each run.

    Every figure is a held-out loss over seeds, with a 90% interval. What to beware of is told on standard error.
    """
    from microgpt import outputs
    from microgpt.lab import canvas, study
    from microgpt.lab.store import Store

    place = plot and outputs.destination(plot, canvas.PICTURES, flag="--plot", reads=[store], force=force)
    with Store.open(store) as opened:
        answer = study.answer(opened, what, sweep)
    if place:
        canvas.save(study.plot(answer), place)
    _print(answer, "json" if as_json else form)


def _print(answer: "Answer", form: str | None) -> None:
    from microgpt.lab.audit import sentence
    from microgpt.lab.render import plain, to_csv, to_json, to_markdown, to_rich

    sentences = [sentence(finding) for finding in answer.findings]
    if form == "json":
        click.echo(to_json(answer.tables, warnings=sentences, findings=[each.to_dict() for each in answer.findings]))
        return
    if form == "csv":
        click.echo("\n".join(map(to_csv, answer.tables)), nl=False)
    elif form == "markdown":
        click.echo("\n".join(map(to_markdown, answer.tables)), nl=False)
    else:
        out = console(highlight=False, width=None if sys.stdout.isatty() else PIPED)
        for table in answer.tables:
            out.print(to_rich(table, out.width))
    for finding, text in zip(answer.findings, sentences, strict=True):
        click.echo(f"{finding.severity}: {plain(text)}", err=True)
