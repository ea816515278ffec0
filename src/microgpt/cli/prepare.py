"""`microgpt prepare`"""

import json
import time
from typing import TYPE_CHECKING

import click

from microgpt.cli.options import JSON
from microgpt.cli.telling import EVERY
from microgpt.data.choices import NORMALIZATIONS
from microgpt.training.request import TOKENS

if TYPE_CHECKING:
    from microgpt.data.token_folder import Header


@click.command("prepare")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--out", required=True, metavar="FOLDER", help="The new folder of token files.")
@click.option("--tokens", default="characters", show_default=True, help=TOKENS)
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of the text.")
@click.option(
    "--normalize", default="nfc", show_default=True, type=click.Choice(NORMALIZATIONS), help="Unicode normalisation."
)
@JSON
def command(files: tuple[str, ...], out: str, tokens: str, encoding: str, normalize: str, as_json: bool) -> None:
    """Write a long text as token files, to train on it without loading it.

    FILE is what --data takes: files, folders, a built-in text, or - for standard input. Memory stays bounded for texts
    of any length; microgpt --data FOLDER trains on windows of it.
    """
    from pathlib import Path

    from microgpt.data.token_writing import write_folder

    header, notes = write_folder(
        files,
        Path(out),
        tokens=tokens,
        encoding=encoding,
        normalize=normalize,  # type: ignore[arg-type]  # one of NORMALIZATIONS
        listener=_Listener(),
    )
    for note in notes:
        click.echo(note, err=True)
    click.echo(json.dumps(_told(header, out)) if as_json else _line(header, out))


class _Listener:
    """Tells how much was read, every few seconds."""

    def __init__(self) -> None:
        self._read, self._next = 0, time.monotonic() + EVERY

    def __call__(self, size: int) -> None:
        self._read += size
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY
            click.echo(f"{self._read / 1e6:,.0f} MB read", err=True)


def _told(header: "Header", out: str) -> dict[str, object]:
    return {
        "folder": out,
        "unit": header.kind_of_tokens,
        "tokens": header.tokens,
        "vocabulary": len(header.counts) + 1,
        "bits": 8 * header.dtype.itemsize,
        "sha256": header.sha256,
    }


def _line(header: "Header", out: str) -> str:
    size = header.tokens * header.dtype.itemsize / 1e6
    unit = f"tokens of byte pairs ({header.kind_of_tokens})" if header.merges else header.unit
    return (
        f"{out}: {header.tokens:,} {unit}, a vocabulary of {len(header.counts) + 1:,}, {size:,.1f} MB; "
        f"train on it with: microgpt --data {out}"
    )
