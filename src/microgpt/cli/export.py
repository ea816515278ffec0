"""`microgpt export`"""

from pathlib import Path

import click

from microgpt.cli.options import OUT


@click.command("export")
@click.argument("run")
@click.argument("file", required=False)
@OUT
def command(run: str, file: str | None, out: str) -> None:
    """Write a run's weights, configuration and vocabulary alone, to share.

    FILE ends in .safetensors (for this program) or in .py: one file that writes text on Python's standard library
    alone. With FILE only, the newest finished run is exported.
    """
    from microgpt.cli.finding import load
    from microgpt.export import WARNING, export

    target, chosen = (run, None) if file is None else (file, run)
    model = load(chosen, out)
    export(model.checkpoint, Path(target))
    click.echo(target)
    click.echo(f"note: {WARNING}", err=True)
