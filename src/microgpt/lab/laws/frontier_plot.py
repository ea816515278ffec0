"""Pictures of a frontier, as papers have them (Hoffmann et al. 2022, figures 2 and 3): the curves at equal cost with
their bottoms, and the best size and length over the cost with the line of each method."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from microgpt.lab.laws.bootstrap import Ensemble, stretch
from microgpt.lab.laws.curves import slices, spent
from microgpt.lab.laws.frontier import METHODS, MOST_DRAWS, Optimum, law_best
from microgpt.lab.laws.isoflop import Bottoms, curves_of, logs_of, shape
from microgpt.lab.laws.plot import log_axis, short
from microgpt.lab.laws.points import Floats
from microgpt.lab.laws.price import Price
from microgpt.lab.pictures.canvas import HUES, INK, PAPER, Plot, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT: Final = 10.0  # inches, for three panels
GRID, PLACES = 40, 12  # points of a curve, and of a line
MOST_CURVES: Final = 9  # curves that can be followed
TITLES: Final = {"size": "Best size, parameters", "length": "Best length, tokens"}
STYLES: Final[dict[str, Any]] = {
    "law": {"color": INK, "linestyle": "-"},
    "isoflop": {"color": HUES[0], "linestyle": "--", "marker": "o"},
    "envelope": {"color": HUES[1], "linestyle": ":", "marker": "D"},
}


@dataclass(frozen=True, eq=False)
class Line:
    """What a method says at every cost: its line (draws, costs), and the bottoms or crossings that it follows."""

    row: Optimum
    sizes: Floats
    bottoms: Bottoms | None = None


def frontier_plot(found: Ensemble, price: Price, budget: float, rows: Sequence[Optimum], level: float) -> Plot:
    """Three panels: loss over size at equal cost; the best size and the best length over the cost, up to the budget."""
    found = replace(found, theta=found.theta[:MOST_DRAWS], losses=found.losses[:MOST_DRAWS])
    costs = np.append(spent(found.fit.points, price), np.log(budget))
    x = np.linspace(costs.min(), costs.max(), PLACES)
    lines = [Line(rows[0], law_best(found, price, np.exp(x)))]
    for row in rows[1:]:
        bottoms = METHODS[row.method](found, price)
        lines.append(Line(row, bottoms.line(x)[:1], bottoms))
    wider = stretch(found.scatter.freedom, level)
    with drawing(HEIGHT) as (figure, first):
        first.remove()
        panels = figure.subplots(3, 1, height_ratios=(1.2, 1, 1))
        for axes in panels:
            axes.grid(visible=True)
            axes.set_axisbelow(True)
        told = _curves(panels[0], found, price)
        for axes, axis in zip(panels[1:], TITLES, strict=True):
            _best(axes, axis, lines, x, price, (level, wider))
            best = [(row.params if axis == "size" else row.tokens, STYLES[row.method]["color"]) for row in rows]
            for at, hue in best:
                axes.plot([budget] * (at is not None), [at] * (at is not None), "o", color=hue, ms=8, fillstyle="none")
    said = f"Bars and band: {level:.0%} intervals. Circled: the budget, {short(budget)} {price.unit}."
    return Plot(figure, f"{told} {said}")


def _curves(axes: "Axes", found: Ensemble, price: Price) -> str:
    """Loss over size at costs whose curve has a bottom, or at any where none has; what is shown, in words."""
    logs, skew = logs_of(found), shape(found)
    every = [(one, curves_of(one, logs, skew, price)) for one in slices(found.fit, price)]
    pairs = [pair for pair in every if pair[1]] or every
    chosen = (
        [pairs[k] for k in np.unique(np.linspace(0, len(pairs) - 1, MOST_CURVES).round().astype(int))] if pairs else []
    )
    for number, (one, drawn) in enumerate(chosen):
        hue, place = _between(number / max(len(chosen) - 1, 1)), np.exp(one.sizes)
        heights = np.exp(one.heights(logs[:1])[0])
        axes.plot(place, heights, "o", color=hue, markersize=3, markeredgewidth=0, alpha=0.8)
        name = short(float(np.exp(one.cost)))
        axes.annotate(name, (place[-1], heights[-1]), (4, 1), textcoords="offset points", color=hue, fontsize=7.5)
        if drawn:
            near, curves = drawn
            x, bottom = np.linspace(one.sizes[near[0]], one.sizes[near[-1]], GRID), curves.bottoms[:1]
            axes.plot(np.exp(x), curves.own(x), color=hue, linewidth=1.2)
            axes.plot(np.exp(bottom), curves.own(bottom), "o", color=hue, markersize=7, markeredgecolor=PAPER)
    _titled(axes, f"Held-out loss at equal {price.unit}, nats", "parameters, logarithmic scale")
    axes.margins(x=0.1)
    without = sum(not curves for _, curves in every)
    return f"{len(chosen)} costs of {len(every)}" + (f"; {without} have no bottom of their own." if without else ".")


def _best(axes: "Axes", axis: str, lines: Sequence[Line], x: Floats, price: Price, level: tuple[float, float]) -> None:
    """The best sizes, or the lengths that a cost leaves them, over the log costs x: a line for each method. `level` has
    that of the intervals and how much wider than the draws they are."""

    def drawn(sizes: Floats, costs: Floats) -> Floats:
        return sizes if axis == "size" else costs - np.log(price.token(np.exp(sizes)))

    law = drawn(lines[0].sizes, x)
    axes.fill_between(np.exp(x), *_interval(law, law[0], level), color=INK, alpha=0.12, linewidth=0)
    for line in lines:
        style = {**STYLES[line.row.method]}
        mark, at = style.pop("marker", ""), drawn(line.sizes[0], x)
        if np.isfinite(at).all():
            axes.plot(np.exp(x), np.exp(at), label=_label(line.row, axis, price), linewidth=1.3, **style)
        if line.bottoms is not None and line.bottoms.costs.size:
            costs, found = line.bottoms.costs, drawn(line.bottoms.sizes, line.bottoms.costs)
            both = [
                (np.exp(each[0]), *_interval(each, np.nanmedian(each[1:], axis=0), level)) for each in (costs, found)
            ]
            axes.hlines(both[1][0], *both[0][1:], color=style["color"], linewidth=1, alpha=0.6)
            axes.vlines(both[0][0], *both[1][1:], color=style["color"], linewidth=1, alpha=0.6)
            axes.plot(both[0][0], both[1][0], mark, color=style["color"], markersize=4, markeredgewidth=0)
    log_axis(axes, "y")
    _titled(axes, TITLES[axis], f"{price.unit} of the training, logarithmic scale")
    axes.legend(frameon=False, fontsize=7.5, loc="lower right")


def _interval(logs: Floats, middle: Floats, level: tuple[float, float]) -> Floats:
    """The bounds (2, columns) of what has logs (1 + draws, columns), whose draws lie about a middle."""
    tails = [(1 - level[0]) / 2, (1 + level[0]) / 2]
    found: Floats = np.exp(logs[0] + level[1] * np.nanquantile(logs[1:] - middle, tails, axis=0))
    return found


def _label(row: Optimum, axis: str, price: Price) -> str:
    """`law: FLOP^0.514 (0.500 to 0.528)`"""
    size = axis == "size"
    value = row.size_exponent if size else row.length_exponent
    span = row.size_exponent_interval if size else row.length_exponent_interval
    told = f" ({span[0]:.3f} to {span[1]:.3f})" if span else ""
    return f"{row.method}: {price.unit}^{value:.3f}{told}"


def _between(share: float) -> str:
    """From light to dark, as the cost rises."""
    light, dark = ([int(hue[k : k + 2], 16) for k in (1, 3, 5)] for hue in (HUES[4], INK))
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(light, dark, strict=True))


def _titled(axes: "Axes", title: str, below: str) -> None:
    log_axis(axes)
    axes.set_title(title, loc="left", fontsize=9.5)
    axes.set_xlabel(below)
