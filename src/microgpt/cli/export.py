"""`microgpt export`"""

from pathlib import Path

import click

from microgpt.cli.options import FORCE, OUT
from microgpt.errors import UsageError


@click.command("export")
@click.argument("run")
@click.argument("file", required=False)
@click.option(
    "--try", "to_try", is_flag=True, help="Write a page that needs no run: it learns names when it is opened."
)
@OUT
@FORCE
def command(run: str, file: str | None, to_try: bool, out: str, force: bool) -> None:
    """Export a run's weights, configuration and vocabulary, to share.

    FILE ends in .html (a page that writes and learns in any browser, offline), .py (a program that writes on
    Python's standard library alone), .onnx, .safetensors (for this program), or in / for a folder that Hugging Face's
    transformers loads. With FILE only, the newest finished run is exported; with --try none is.
    """
    from microgpt.cli.finding import load
    from microgpt.export import WARNING, export

    if to_try:
        _to_try(run, file, force)
        return
    target, chosen = (run, None) if file is None else (file, run)
    if file is None and not Path(run).suffix and not run.endswith("/"):
        raise UsageError(
            f"expected a file to write too, found only the run {run}; microgpt export {run} page.html would do."
        )
    model = load(chosen, out)
    training = model.checkpoint.training
    reads = [model.path or "", *(training.provenance.sources if training else ())]
    export(model.checkpoint, target, reads=filter(None, reads), force=force, result=model.result)
    click.echo(target)
    click.echo(f"note: {WARNING}", err=True)
    if training and training.request.mix:
        click.echo(
            "note: the table of counts that this run is mixed with is not in it: it is the model alone.", err=True
        )


def _to_try(target: str, more: str | None, force: bool) -> None:
    from microgpt import outputs
    from microgpt.export.page import page_to_try

    if more is not None:
        raise UsageError(f"--try takes a file alone, found {target} {more}; microgpt export --try try.html would do.")
    place = outputs.destination(target, (".html",), force=force)
    outputs.write(place, page_to_try())
    click.echo(target)
