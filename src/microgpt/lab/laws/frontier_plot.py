"""Pictures of a frontier, as papers have them (Hoffmann et al. 2022, figures 2 and 3): the curves at equal cost with
their bottoms, and the best size and length over the cost with the line of each method."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from microgpt.lab.canvas import HUES, INK, PAPER, Plot, drawing
from microgpt.lab.laws.bootstrap import Ensemble, stretch
from microgpt.lab.laws.curves import slices, spent
from microgpt.lab.laws.frontier import METHODS, MOST_DRAWS, Optimum, law_best
from microgpt.lab.laws.isoflop import curves_of, logs_of, shape
from microgpt.lab.laws.plot import log_axis, short
from microgpt.lab.laws.points import Floats
from microgpt.lab.laws.price import Price

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT: Final = 10.0  # inches, for three panels
GRID: Final = 40  # points of a line
MOST: Final = 9  # curves that can be followed
STYLES: Final[dict[str, Any]] = {
    "law": {"color": INK, "linestyle": "-"},
    "isoflop": {"color": HUES[0], "linestyle": "--", "marker": "o"},
    "envelope": {"color": HUES[1], "linestyle": ":", "marker": "D"},
}


def frontier_plot(found: Ensemble, price: Price, budget: float, rows: Sequence[Optimum], level: float) -> Plot:
    """Three panels: loss over size at equal cost; the best size and the best length over the cost, up to the budget."""
    found = replace(found, theta=found.theta[:MOST_DRAWS], losses=found.losses[:MOST_DRAWS])
    with drawing(HEIGHT) as (figure, first):
        first.remove()
        panels = figure.subplots(3, 1, height_ratios=(1.2, 1, 1))
        for axes in panels:
            axes.grid(visible=True)
            axes.set_axisbelow(True)
        told = _curves(panels[0], found, price)
        for axes, axis in zip(panels[1:], ("size", "length"), strict=True):
            _best(axes, axis, found, price, budget, rows, level)
    said = f"Bars and band: {level:.0%} intervals. Circled: the budget, {short(budget)} {price.unit}."
    return Plot(figure, f"{told} {said}")


def _curves(axes: "Axes", found: Ensemble, price: Price) -> str:
    """Loss over size at costs whose curve has a bottom, or at any where none has; what is shown, in words."""
    logs, skew = logs_of(found), shape(found)
    every = [(one, curves_of(one, logs, skew, price)) for one in slices(found.fit, price)]
    pairs = [pair for pair in every if pair[1]] or every
    chosen = [pairs[k] for k in np.unique(np.linspace(0, len(pairs) - 1, MOST).round().astype(int))] if pairs else []
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
    _titled(axes, f"Held-out loss at equal {price.unit}, nats per token", "parameters, logarithmic scale")
    axes.margins(x=0.1)
    without = sum(curves is None for _, curves in every)
    return f"{len(chosen)} costs of {len(every)}, of which {without} have no bottom among their sizes."


def _best(
    axes: "Axes", axis: str, found: Ensemble, price: Price, budget: float, rows: Sequence[Optimum], level: float
) -> None:
    """The best sizes, or the lengths that a cost leaves them, over the cost: a line for each method."""
    costs = spent(found.fit.points, price)
    x = np.linspace(min(costs.min(), np.log(budget)), max(costs.max(), np.log(budget)), GRID)

    def drawn(sizes: Floats, at: Floats) -> Floats:
        return sizes if axis == "size" else at - np.log(price.token(np.exp(sizes)))

    law = drawn(law_best(found, price, np.exp(x)), x)  # (1 + draws, GRID)
    swing = (law[1:] - law[0]) * stretch(found.scatter.freedom, level)
    low, high = np.quantile(swing, _tails(level), axis=0)
    axes.fill_between(np.exp(x), np.exp(law[0] + low), np.exp(law[0] + high), color=INK, alpha=0.12, linewidth=0)
    for row in rows:
        style = dict(STYLES[row.method])
        mark = style.pop("marker", "")
        bottoms = METHODS[row.method](found, price) if row.method in METHODS else None
        line = law[0] if bottoms is None else drawn(bottoms.line(x)[:1], x)[0]
        best = row.params if axis == "size" else row.tokens
        if best is not None and np.isfinite(line).all():
            axes.plot(np.exp(x), np.exp(line), label=_label(row, axis, price), linewidth=1.3, **style)
            axes.plot(budget, best, "o", color=style["color"], markersize=8, fillstyle="none")
        if bottoms is not None and bottoms.costs.size:
            _bars(axes, bottoms.costs, drawn(bottoms.sizes, bottoms.costs), style["color"], mark, level)
    log_axis(axes, "y")
    names = {"size": "Best size, parameters", "length": "Best length, tokens"}
    _titled(axes, names[axis], f"{price.unit} of the training, logarithmic scale")
    axes.legend(frameon=False, fontsize=7.5, loc="lower right")


def _bars(axes: "Axes", costs: Floats, sizes: Floats, hue: str, mark: str, level: float) -> None:
    """Bottoms, log costs and log sizes (draws, bottoms) each, with the intervals of their draws."""
    own, lows, highs = [], [], []
    for each in (costs, sizes):
        swing = each[1:] - np.nanmedian(each[1:], axis=0)
        low, high = np.exp(each[0] + np.nanquantile(swing, _tails(level), axis=0))
        own.append(np.exp(each[0]))
        lows.append(low)
        highs.append(high)
    axes.hlines(own[1], lows[0], highs[0], color=hue, linewidth=1, alpha=0.6)
    axes.vlines(own[0], lows[1], highs[1], color=hue, linewidth=1, alpha=0.6)
    axes.plot(*own, mark, color=hue, markersize=4, markeredgewidth=0)


def _label(row: Optimum, axis: str, price: Price) -> str:
    """`law: FLOP^0.51 (0.50 to 0.53)`"""
    size = axis == "size"
    value = row.size_exponent if size else row.length_exponent
    span = row.size_exponent_interval if size else row.length_exponent_interval
    told = f" ({span[0]:.2f} to {span[1]:.2f})" if span else ""
    return f"{row.method}: {price.unit}^{value:.2f}{told}"


def _tails(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]


def _between(share: float) -> str:
    """From light to dark, as the cost rises."""
    light, dark = ([int(hue[k : k + 2], 16) for k in (1, 3, 5)] for hue in (HUES[4], INK))
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(light, dark, strict=True))


def _titled(axes: "Axes", title: str, below: str) -> None:
    log_axis(axes)
    axes.set_title(title, loc="left", fontsize=9.5)
    axes.set_xlabel(below)
