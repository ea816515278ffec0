"""Which run a verb means."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from microgpt.library import Run


def load(run: str | None, out: str, data: tuple[str, ...] = ()) -> "Run":
    """The run of a RUN argument; without one the newest finished, which is named on standard error. `data` is the new
    place of its text."""
    from microgpt.library import load
    from microgpt.training.find import find

    path = find(run, out)
    if run is None:
        click.echo(f"run {path}", err=True)
    return load(path, data=data or None)
