"""`microgpt studio`"""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from microgpt.cli.options import OUT
from microgpt.errors import STOPS, EnvironmentFault, UsageError

if TYPE_CHECKING:
    from microgpt.studio.studio import Studio


@click.command("studio")
@click.argument("runs", nargs=-1)
@OUT
@click.option("--store", metavar="FILE", help="The store of a sweep, for the page Scaling.  [default: lab.db]")
@click.option("--port", type=int, metavar="N", help="The port to listen on.  [default: 8613, or the next free one]")
@click.option("--no-browser", is_flag=True, help="Print the address and open nothing.")
@click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="Accept this host name too, of a tunnel or proxy; the token is still needed.",
)
def command(
    runs: tuple[str, ...], out: str, store: str | None, port: int | None, no_browser: bool, allow_host: tuple[str, ...]
) -> int:
    """Open the local web page: train, look inside, compare.

    RUNS are names, folders or weights files to show besides those in --out. It listens on 127.0.0.1 alone, asks for
    the token that it prints, and sends nothing anywhere. Ctrl-C ends it, and saves what is being trained.
    """
    for name in allow_host:
        if not re.fullmatch(r"[\w.-]+", name):
            raise UsageError(f"--allow-host takes a plain name such as class.example, found {name[:80]!r}.")
    try:
        from microgpt.studio.server import Place, serve
    except ImportError as error:
        raise EnvironmentFault(
            f"expected the packages of the studio, found no {error.name}; pip install 'microgpt-symmetry[studio]' "
            "installs them."
        ) from None

    def ready(address: str, page: Callable[[], str]) -> None:
        click.echo(f"The studio is at {address}")
        click.echo("Ctrl-C ends it; what is being trained is saved.", err=True)
        if not no_browser:
            _open(page)

    place = Place(allowed=allow_host) if port is None else Place(port, given=True, allowed=allow_host)
    ended_by = serve(_studio(runs, out, store), place, ready)
    return STOPS.get(ended_by, 0)


def _studio(runs: tuple[str, ...], out: str, store: str | None) -> "Studio":
    """What to serve. Raises `CheckpointError` for a run that is not there."""
    from microgpt.studio.studio import Studio

    named: dict[str, Path] = {}
    if runs:
        from microgpt.training.find import find

        for run in runs:
            path = find(run, out).resolve()
            name = path.name if path.is_dir() else path.stem
            named[name if named.get(name, path) == path else f"{name} ({len(named)})"] = path
    return Studio(Path(out), Path(store or "lab.db"), named)


def _open(page: Callable[[], str]) -> None:
    """Ask the system for a browser, which may take seconds to start."""
    import threading
    import webbrowser

    with contextlib.suppress(OSError, RuntimeError):  # without a page there is the address that was printed
        threading.Thread(target=webbrowser.open, args=(page(),), daemon=True).start()
