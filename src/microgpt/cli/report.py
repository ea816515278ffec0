"""`microgpt report`"""

import click

from microgpt.cli.options import FORCE, STORE
from microgpt.collector import gc_disabled


@click.command("report")
@STORE
@click.option("--out", default="report.html", show_default=True, metavar="FILE", help="The page to write.")
@FORCE
@gc_disabled()
def command(store: str, out: str, force: bool) -> None:
    """Write one HTML page about a store: tables, plots, samples, settings and the audit.

    It needs no network and no other file, so it can be sent or kept as it is.
    """
    from microgpt import outputs
    from microgpt.lab.report.contents import report
    from microgpt.lab.report.law_section import section
    from microgpt.lab.report.page import page
    from microgpt.lab.report.summary import mark_of
    from microgpt.lab.store.store import Store

    place = outputs.destination(out, (".html",), flag="--out", reads=[store], force=force)
    with Store.open(store) as opened:
        records = opened.records()
        made = report(records, store, opened.curves(), section(records, store), mark_of(records))
    outputs.write(place, page(made).encode())
    click.echo(out)
