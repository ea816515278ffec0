"""`microgpt export`"""

from pathlib import Path

import click

from microgpt.cli.options import FORCE, OUT
from microgpt.errors import UsageError


@click.command("export")
@click.argument("run")
@click.argument("file", required=False)
@OUT
@FORCE
def command(run: str, file: str | None, out: str, force: bool) -> None:
    """Export a run's weights, configuration and vocabulary, to share.

    FILE ends in .html (a page that writes in any browser, offline), .py (a program that writes on Python's standard
    library alone), .onnx, .safetensors (for this program), or in / for a folder that Hugging Face's transformers
    loads. With FILE only, the newest finished run is exported.
    """
    from microgpt.cli.finding import load
    from microgpt.export import WARNING, export

    target, chosen = (run, None) if file is None else (file, run)
    if file is None and not Path(run).suffix and not run.endswith("/"):
        raise UsageError(
            f"expected a file to write too, found only the run {run}; microgpt export {run} page.html would do."
        )
    model = load(chosen, out)
    training = model.checkpoint.training
    reads = [model.path or "", *(training.provenance.sources if training else ())]
    export(model.checkpoint, target, reads=filter(None, reads), force=force)
    click.echo(target)
    click.echo(f"note: {WARNING}", err=True)
    if training and training.request.mix:
        click.echo(
            "note: the table of counts that this run is mixed with is not in it: it is the model alone.", err=True
        )
