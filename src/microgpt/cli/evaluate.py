"""`microgpt eval`"""

import itertools
import json

import click

from microgpt.cli.options import JSON, OUT, RUN, TextCommand
from microgpt.cli.telling import beside_counts
from microgpt.model.settings import counted


@click.command("eval", cls=TextCommand)
@RUN
@click.option(
    "--data",
    multiple=True,
    metavar="TEXT",
    help="Another text, or the run's own in a new place.  [default: its held-out documents]",
)
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of that other text.")
@click.option(
    "--stride",
    type=int,
    metavar="N",
    help="Of running text: windows N tokens apart, so that each prediction sees ctx - N tokens or more.",
)
@OUT
@JSON
def command(run: str | None, data: tuple[str, ...], encoding: str, stride: int | None, out: str, as_json: bool) -> None:
    """Measure the held-out loss of a run, or its loss on another text, beside the best table of counts.

    Nats per character, with the standard error over documents. RUN is a name, a folder or a weights file; without it,
    the newest finished run.
    """
    from microgpt.cli.finding import load
    from microgpt.data.sources import of_that_name
    from microgpt.training.prepare import is_own

    model = load(run, out)
    for note in itertools.chain.from_iterable(map(of_that_name, data)):
        click.echo(note, err=True)
    training = model.checkpoint.training
    if data and training and training.request.holdout and is_own(model.checkpoint, data):
        click.echo("this is the run's own text: only its held-out documents are measured", err=True)
    if stride is not None and model.checkpoint.kind != "windows":
        click.echo("the model sees each document from its beginning, so --stride changes nothing", err=True)
    found = model.evaluate(data or None, encoding=encoding, stride=stride, counts=True)
    if as_json:
        click.echo(json.dumps(found.to_dict()))
        return
    error = "" if found.per_character_se is None else f" ± {found.per_character_se:.4f}"
    click.echo(
        f"{found.per_character:.4f}{error} nats per character ({found.bits_per_character:.3f} bits per character) on "
        f"{counted(found.tokens, 'token')} of {counted(found.documents, 'document')}; guessing every token alike "
        f"scores {model.uniform * found.tokens / found.characters:.3f}"
    )
    if found.mark:
        kind = model.checkpoint.kind if stride is None else ""
        mixed = (model.mix, found.mixed.per_character) if found.mixed else None
        click.echo(beside_counts(found.per_character, found.mark.loss, kind, mixed=mixed))
        if found.mark.note:
            click.echo(found.mark.note, err=True)
