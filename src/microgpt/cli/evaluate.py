"""`microgpt eval`"""

import json

import click

from microgpt.cli.options import JSON, OUT, RUN
from microgpt.model.settings import counted


@click.command("eval")
@RUN
@click.option("--data", multiple=True, metavar="TEXT", help="Another text.  [default: what the run held out]")
@OUT
@JSON
def command(run: str | None, data: tuple[str, ...], out: str, as_json: bool) -> None:
    """Measure the held-out loss of a run, or its loss on another text.

    Nats per token, with the standard error over documents. RUN is a name, a folder or a weights file; without it, the
    newest finished run.
    """
    from microgpt.cli.finding import load

    model = load(run, out)
    found = model.evaluate(data or None)
    if as_json:
        click.echo(json.dumps(found.to_dict()))
        return
    error = "" if found.se is None else f" ± {found.se:.4f}"
    click.echo(
        f"{found.loss:.4f}{error} nats per token ({found.bits_per_character:.3f} bits per character) on "
        f"{counted(found.tokens, 'token')} of {counted(found.documents, 'document')}; "
        f"knowing nothing scores {model.uniform:.3f}"
    )
