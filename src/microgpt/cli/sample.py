"""`microgpt sample`"""

import json
import secrets
from typing import TYPE_CHECKING, Final

import click

from microgpt import untrusted
from microgpt.cli.options import JSON, OUT, RUN, TextCommand
from microgpt.cli.telling import copies
from microgpt.data.choices import STANDARD_INPUT
from microgpt.errors import CheckpointError, DataError, UsageError
from microgpt.training.request import MIX, TEMPERATURE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microgpt.library import Run
    from microgpt.training.sample import Sampling

PROMPT_LIMIT: Final = 1 << 20  # bytes of a prompt file


@click.command("sample", cls=TextCommand)
@RUN
@click.option("--prompt", default=None, metavar="TEXT", help="What every sample begins with.")
@click.option("--prompt-file", default=None, metavar="FILE", help="A file that holds the prompt; - is standard input.")
@click.option("--count", default=5, show_default=True, help="How many samples.")
@click.option("--temperature", type=float, default=None, help=TEMPERATURE)
@click.option("--top-k", default=0, metavar="N", help="Draw only from the N most probable characters.")
@click.option("--mix", type=float, metavar="SHARE", help=f"{MIX}  [default: as the run was trained]")
@click.option(
    "--top-p",
    default=1.0,
    metavar="P",
    help="Draw only from the fewest likeliest that sum to P.",
)
@click.option(
    "--min-p", default=0.0, metavar="P", help="Draw only from those of P times the likeliest's chance or more."
)
@click.option("--length", default=256, show_default=True, help="Length of a sample of running text, in characters.")
@click.option("--stop", multiple=True, metavar="TEXT", help="End a sample before this text; give it again for others.")
@click.option("--new", is_flag=True, help="Reject copies from the training text.")
@click.option("--stream", is_flag=True, help="Write each character as soon as it is drawn.")
@click.option("--data", multiple=True, metavar="TEXT", help="The training text, if it was moved.")
@click.option(
    "--seed",
    type=int,
    default=None,
    metavar="N",
    help="Seed of the draws: the same seed writes the same.  [default: random]",
)
@OUT
@JSON
def command(
    run: str | None,
    prompt: str | None,
    prompt_file: str | None,
    count: int,
    temperature: float | None,
    top_k: int,
    mix: float | None,
    top_p: float,
    min_p: float,
    length: int,
    stop: tuple[str, ...],
    new: bool,
    stream: bool,
    data: tuple[str, ...],
    seed: int | None,
    out: str,
    as_json: bool,
) -> None:
    """Write text with a trained model.

    RUN is a name, a folder or a weights file; without it, the newest finished run.
    """
    from microgpt.cli.finding import load
    from microgpt.training.sample import Sampling

    if stream and (as_json or new):
        raise UsageError("--stream writes unfinished samples, which --json and --new can't use; leave one out.")
    if prompt_file is not None:
        if prompt is not None:
            raise UsageError("--prompt and --prompt-file both say how samples begin; give one of them.")
        prompt = read_prompt(prompt_file)
    sampling = Sampling(count, temperature, top_k, prompt or "", length, top_p, min_p, stop)
    model = load(run, out, data)
    model.mix = model.mix if mix is None else mix
    chosen = secrets.randbits(31) if seed is None else seed
    remarks = list(model.writer.remarks(sampling))  # or an error, which needs no seed
    if seed is None:
        click.echo(f"seed {chosen}", err=True)
    for remark in remarks:
        click.echo(remark, err=True)
    if stream:
        _stream(model, sampling, chosen)
    else:
        _write(model, sampling, chosen, new, as_json)


def _write(model: "Run", sampling: "Sampling", seed: int, new: bool, as_json: bool) -> None:
    """Samples as they are drawn; as JSON all at once."""
    between, first = _between(model), True

    def tell(texts: "Sequence[str]") -> None:
        nonlocal first
        if not as_json:
            click.echo(("" if first else between[1:]) + between.join(texts))
            first = False

    from microgpt.training.sample import blank

    samples = model.write(sampling, seed=seed, new=new, tell=tell, keep=as_json)
    for remark in blank(samples):
        click.echo(remark, err=True)
    if as_json:
        speed = samples.tokens / max(samples.seconds, 1e-9)
        told = {"samples": samples.texts, "samples_copied": samples.copied, "seed": seed, "tokens_per_second": speed}
        click.echo(json.dumps(told))
        return
    if samples.copied is not None:
        _tell_copies(samples.written, samples.copied, samples.rejected, sampling.count)


def _stream(model: "Run", sampling: "Sampling", seed: int) -> None:
    """Each piece as it is drawn, and a line break at the end, also where Ctrl-C or an error is the end."""
    import itertools
    import random

    between = _between(model)
    written: list[list[str]] = []
    try:
        for pieces in itertools.islice(model.writer.samples(sampling, random.Random(seed)), sampling.count):
            click.echo(between if written else "", nl=False)
            written.append([])
            for piece in pieces:
                click.echo(piece, nl=False)
                written[-1].append(piece)
    finally:
        if written:
            click.echo()
    copied = model.copies(["".join(pieces) for pieces in written])
    if copied is not None:
        _tell_copies(len(written), copied, 0, sampling.count)


def _between(model: "Run") -> str:
    """What stands between two samples: whether one has several lines is seen only at its end, so the kind decides."""
    return "\n" if model.checkpoint.kind == "lines" else "\n\n"


def read_prompt(file: str) -> str:
    """The text of a file or, for `-`, of standard input: UTF-8 of at most PROMPT_LIMIT bytes, with LF as line breaks,
    without a byte-order mark and without one line break at its end.

    Raises `DataError`, or `EnvironmentFault` where reading it is not permitted.
    """
    from collections import Counter
    from pathlib import Path

    from microgpt.data.decoding import with_line_feeds, without_mark

    if file == STANDARD_INPUT:
        name, data = "standard input", _standard_input()
    else:
        try:
            name, data = file, untrusted.read(Path(file), PROMPT_LIMIT)
        except CheckpointError as error:  # a prompt is none
            raise DataError(str(error)) from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"0x{data[error.start]:02x} at byte {error.start}"
        raise DataError(f"{name}: expected a prompt in UTF-8, found {found}; save it as UTF-8.") from None
    changes: Counter[str] = Counter()
    return "".join(with_line_feeds(without_mark([text], changes), changes)).removesuffix("\n")


def _standard_input() -> bytes:
    from microgpt.data.sources import Source, chunks

    data = b""
    for chunk in chunks(Source("standard input", None)):
        data += chunk
        if len(data) > PROMPT_LIMIT:
            raise DataError(f"standard input: expected a prompt of at most {PROMPT_LIMIT:,} bytes, found more; cut it.")
    return data


def _tell_copies(written: int, copied: int, rejected: int, asked: int) -> None:
    """Whether the model invents or remembers."""
    told = copies(copied, written)
    if rejected:
        told += f"; {rejected} copies were rejected"
    if written < asked:
        told += f"; gave up on {asked - written}: a higher --temperature invents more"
    click.echo(told, err=True)
