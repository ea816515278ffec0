"""`microgpt sample`"""

import json
import secrets

import click

from microgpt.cli.options import JSON, OUT, RUN
from microgpt.cli.telling import separated


@click.command("sample")
@RUN
@click.option("--prompt", default="", metavar="TEXT", help="What every sample begins with.")
@click.option("--count", default=5, show_default=True, help="How many samples.")
@click.option("--temperature", default=0.5, show_default=True, help="Above 1 samples are wilder, below 1 tamer.")
@click.option("--top-k", default=0, metavar="N", help="Draw from the N most probable characters alone.")
@click.option("--length", default=256, show_default=True, help="Characters of a sample of running text.")
@click.option("--new", is_flag=True, help="Reject what stands in the training text.")
@click.option("--seed", type=int, default=None, metavar="N", help="The same seed writes the same.  [default: fresh]")
@OUT
@JSON
def command(
    run: str | None,
    prompt: str,
    count: int,
    temperature: float,
    top_k: int,
    length: int,
    new: bool,
    seed: int | None,
    out: str,
    as_json: bool,
) -> None:
    """Write text with a trained model.

    RUN is a name, a folder or a weights file; without it, the newest finished run.
    """
    import time

    from microgpt.cli.finding import load
    from microgpt.training.sample import Sampling

    model = load(run, out)
    chosen = secrets.randbits(31) if seed is None else seed
    if seed is None:
        click.echo(f"seed {chosen}", err=True)
    start = time.perf_counter()
    samples = model.write(Sampling(count, temperature, top_k, prompt, length), seed=chosen, new=new)
    speed = samples.tokens / (time.perf_counter() - start)
    if as_json:
        told = {"samples": samples.texts, "samples_copied": samples.copied, "seed": chosen, "tokens_per_second": speed}
        click.echo(json.dumps(told))
        return
    if samples.texts:
        click.echo(separated(samples.texts))
    if samples.copied is not None:
        _tell_copies(len(samples.texts), samples.copied, samples.rejected, count)


def _tell_copies(written: int, copied: int, rejected: int, asked: int) -> None:
    """Whether the model invents or remembers."""
    told = f"{written - copied} of {written} are new, {copied} stand in the training text"
    if rejected:
        told += f"; {rejected} copies were rejected"
    if written < asked:
        told += f"; gave up on {asked - written}: a higher --temperature invents more"
    click.echo(told, err=True)
