"""A picture of a law: loss against one axis with the law and its band, and what the runs differ from it by."""

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from microgpt.lab.laws.bootstrap import stretch
from microgpt.lab.laws.doubts import WORDS
from microgpt.lab.laws.form import Axis
from microgpt.lab.laws.points import Floats, Points, levels
from microgpt.lab.laws.summary import Law
from microgpt.lab.pictures.canvas import HUES, QUIET, Plot, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES: Final = 6
GRID: Final = 60
HEIGHT: Final = 8.5  # inches, for three panels
FIFTHS: Final = 5
BEYOND: Final = 4.0  # how far past the runs the law is drawn
OTHER: Final[dict[str, Axis]] = {"params": "tokens", "tokens": "params"}
TITLES: Final = {"params": "parameters", "tokens": "tokens"}


def law_plot(law: Law) -> Plot:
    """Loss against size and against length, each level of the other axis a line with its band, and the residuals."""
    both: tuple[Axis, Axis] = ("params", "tokens")
    with drawing(HEIGHT) as (figure, first):
        first.remove()
        panels = figure.subplots(3, 1, height_ratios=(1, 1, 0.7))
        for axes, axis in zip(panels, both, strict=False):
            _losses(axes, law, axis)
        _residuals(panels[2], law, law.fit.points.flop, "FLOP of the training, logarithmic scale")
    best = law.fit.values
    said = ", ".join(f"{name} {value:.4g}" for name, value in best.items())
    return Plot(
        figure, f"{law.table.source}, {len(law.fit.points)} runs: {said}. Bands: {law.level:.0%} of the law itself."
    )


def residual_plot(law: Law) -> Plot:
    """What the runs differ from the law by, against size, length and tokens per parameter. A law that fits shows no
    trend; the band is the root mean square of each fifth of the runs, and where it widens the scatter is uneven."""
    points = law.fit.points
    columns = {
        "parameters": points.params,
        "tokens": points.tokens,
        "tokens per parameter": points.tokens / points.params,
    }
    with drawing(HEIGHT) as (figure, first):
        first.remove()
        for axes, (name, column) in zip(figure.subplots(len(columns), 1, sharey=True), columns.items(), strict=True):
            _fifths(axes, column, 1000 * law.fit.residuals)
            _residuals(axes, law, column, f"{name}, logarithmic scale", title=axes.get_subplotspec().is_first_row())
    note = "Band: root mean square of each fifth of the runs. A law that fits shows no trend."
    return Plot(figure, f"{law.table.source}, {len(points)} runs, form {law.fit.form.name}. {note}")


def _fifths(axes: "Axes", column: Floats, residuals: Floats) -> None:
    """The size of the residuals in each fifth of the runs along a column, as a band about zero."""
    for part in np.array_split(np.argsort(column, kind="stable"), min(FIFTHS, len(column))):
        width = float(np.sqrt(np.mean(residuals[part] ** 2)))
        span = [column[part].min(), column[part].max()]
        axes.fill_between(span, [-width] * 2, [width] * 2, color=HUES[4], alpha=0.3, linewidth=0)


def _losses(axes: "Axes", law: Law, axis: Axis) -> None:
    points, other = law.fit.points, OTHER[axis]
    level = levels(getattr(points, other))
    count = int(level.max()) + 1
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_LINES)).round().astype(int))
    for number, k in enumerate(chosen):
        hue, members = HUES[number % len(HUES)], level == k
        value = float(np.median(getattr(points, other)[members]))
        _line(axes, law, axis, value, hue)
        axes.plot(
            getattr(points, axis)[members], points.loss[members], "o", color=hue, markersize=3, label=short(value)
        )
    log_axis(axes)
    drawn, all_runs = int(np.isin(level, chosen).sum()), len(points)
    some = f": {drawn} of {all_runs} runs, at {len(chosen)} of {count} {WORDS[other]}" if drawn < all_runs else ""
    axes.set_title(f"Held-out loss, nats{some}")
    axes.set_xlabel(f"{TITLES[axis]}, logarithmic scale")
    axes.legend(title=TITLES[other], frameon=False, fontsize=7, title_fontsize=7, ncols=2)


def _line(axes: "Axes", law: Law, axis: Axis, other: float, hue: str) -> None:
    """The law and its band along an axis, at one level of the other."""
    found, points = law.ensemble, law.fit.points
    span = getattr(points, axis)
    x = np.geomspace(span.min(), span.max() * BEYOND, GRID)
    columns: dict[str, Any] = {axis: x, OTHER[axis]: np.full(GRID, other)}
    same = np.ones(GRID)
    at = Points(
        columns["params"],
        columns["tokens"],
        same,
        same * points.unique.max(),
        6 * columns["params"] * columns["tokens"],
    )
    middle: Floats = law.fit.form.loss(law.fit.theta, at)
    swing = (law.fit.form.loss(found.theta, at) - middle) * stretch(found.scatter.freedom, law.level)
    low, high = np.quantile(swing, [(1 - law.level) / 2, (1 + law.level) / 2], axis=0)
    axes.plot(x, middle, color=hue, linewidth=1)
    axes.fill_between(x, middle + low, middle + high, color=hue, alpha=0.2, linewidth=0)


def _residuals(axes: "Axes", law: Law, column: Floats, name: str, title: bool = True) -> None:
    axes.axhline(0, color=QUIET, linewidth=0.9)
    axes.plot(column, 1000 * law.fit.residuals, "o", color=HUES[0], markersize=3)
    log_axis(axes)
    if title:
        axes.set_title("Runs minus the law, thousandths of the loss")
    axes.set_xlabel(name)


def log_axis(axes: "Axes", name: Literal["x", "y"] = "x") -> None:
    """Powers of ten, written as a person types them."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    axes.set(**{f"{name}scale": "log"})
    axis.set_major_formatter(lambda value, _: f"{value:.0e}".replace("e+0", "e").replace("e+", "e"))
    axis.set_minor_formatter(lambda value, _: "")


def short(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.2g}".replace("e+0", "e").replace("e+", "e")
