"""Where pictures are drawn: one style for all, and how a drawing becomes a file or a part of a page.

Matplotlib draws without pyplot, so nothing global is touched for longer than a call. The same drawing gives the same
bytes. Colours are those of Okabe & Ito (2008), which people with any colour vision tell apart.
"""

import importlib
import io
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from microgpt import outputs
from microgpt.errors import EnvironmentFault
from microgpt.outputs import PRODUCER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, GRID, PAPER = "#24292f", "#6a737d", "#dfe3e8", "#fffffe"
HUES: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b38600")
DARK: Final = {INK: "ink", QUIET: "quiet", GRID: "line", PAPER: "paper"} | {
    hue: f"hue{number}" for number, hue in enumerate(HUES)
}  # what a page may paint anew, by the name of its variable
FONT: Final = "ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"
STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": QUIET,
    "axes.facecolor": PAPER,
    "axes.labelcolor": QUIET,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}
WIDTH, HEIGHT = 4.8, 3.3  # inches, small enough to be read on a telephone
PICTURES: Final = (".svg", ".png")
NOTE_WIDTH: Final = 80  # characters


@dataclass(frozen=True)
class Plot:
    """A drawing and what a reader must know of its marks: a page says that under it, a file has it inside."""

    figure: "Figure"
    note: str


def titled(axes: "Axes", title: str) -> None:
    """A title at the left edge of the whole drawing."""
    axes.get_figure(root=True).suptitle(title, x=0.01, ha="left", fontsize=10, color=INK)  # type: ignore[union-attr]


def write_svg(figure: "Figure", name: str) -> str:
    """SVG with its text as text. `name` keeps the marks of several pictures in one page apart."""
    with _style(name):
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": PRODUCER}, facecolor=PAPER)
    svg = out.getvalue().replace("'DejaVu Sans'", FONT.replace('"', "'"))
    return svg[svg.index("<svg") :]


def embed(svg: str) -> str:
    """The same for a page: it takes its colours and width from there, and its parts have no names that could clash."""
    for hue, name in DARK.items():
        svg = svg.replace(hue, f"var(--{name}, {hue})")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[A-Za-z0-9.]+_[0-9]+"', "", svg)  # nothing refers to these
    return re.sub(r' (?:width|height)="[0-9.]+pt"', "", svg, count=2)


def save(plot: Plot, path: Path) -> None:
    """Write a picture, as .svg or else as .png, to a place that `outputs.destination` gave."""
    if path.suffix.lower() == ".svg":
        outputs.write(path, write_svg(_noted(plot), path.stem).encode())
        return
    with _style(path.stem):
        out = io.BytesIO()
        _noted(plot).savefig(out, format="png", dpi=200, metadata={"Software": PRODUCER}, facecolor=PAPER)
    outputs.write(path, out.getvalue())


def _matplotlib() -> Any:
    """Matplotlib, also where MPLBACKEND names nothing that it knows: no window is ever opened here."""
    given = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
    try:
        with _away_from_the_working_folder():
            found = importlib.import_module("matplotlib")
    except ImportError:
        message = "expected matplotlib for the plots, found none; install it with: pip install 'microgpt-symmetry[lab]'"
        raise EnvironmentFault(message) from None
    finally:
        if given is not None:
            os.environ["MPLBACKEND"] = given
    if given:
        with suppress(ValueError):
            found.rcParams["backend"] = given  # as the import would have done, for whoever opens windows later
    return found


@contextmanager
def _away_from_the_working_folder() -> Iterator[None]:
    """Matplotlib reads a `matplotlibrc` there first while it is imported, and before 3.11 some of it was evaluated."""
    if "matplotlib" in sys.modules:
        yield
    else:
        with chdir(os.sep):
            yield


@contextmanager
def _style(salt: str) -> Iterator[None]:
    """The style of all pictures, whatever a person's own matplotlibrc has."""
    matplotlib = _matplotlib()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # all but the backend
        matplotlib.rcParams.update(STYLE | {"svg.hashsalt": salt})
        yield


@contextmanager
def drawing(height: float = HEIGHT) -> Iterator[tuple["Figure", "Axes"]]:
    """A figure and its axes, laid out when done."""
    with _style(""):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        axes.grid(visible=True)
        axes.set_axisbelow(True)
        yield figure, axes


def _noted(plot: Plot) -> "Figure":
    """The drawing with its note inside."""
    plot.figure.supxlabel(textwrap.fill(plot.note, NOTE_WIDTH), fontsize=7.5, color=QUIET, x=0.01, ha="left")
    return plot.figure
