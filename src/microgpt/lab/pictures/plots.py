"""Pictures of a study: few lines, labels where the eye already is, every point with its interval."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from microgpt.lab.pictures.canvas import HUES, PAPER, QUIET, Plot, drawing, titled
from microgpt.lab.statistics.ideas import IdeaRow
from microgpt.lab.statistics.render import plain
from microgpt.lab.statistics.returns import Return
from microgpt.lab.statistics.series import STEPS, Series
from microgpt.lab.statistics.tables import holdout_se, level_estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from microgpt.lab.store.record import Curve

OF_VERDICT: Final = {
    "learning efficiently": (HUES[0], "o"),
    "diminishing returns": (QUIET, "D"),
    "degradation or instability": (HUES[1], "s"),
    "not measured": (QUIET, "x"),
}
OF_IDEA: Final = {
    "better": OF_VERDICT["learning efficiently"],
    "no difference seen": OF_VERDICT["diminishing returns"],
    "worse": OF_VERDICT["degradation or instability"],
}
SEEN: Final = {"o": "●", "D": "◆", "s": "■", "x": "×"}  # the marks as characters
MOST_LINES: Final = 12  # beyond it nobody can follow them
MOST_CURVES: Final = 4
MOST_POINTS: Final = 500
BESIDE: Final = 1.03
NEAR: Final = 1.3
LINE: Final = 0.055  # height of a line of text in that of the axes


def loss_plot(lines: Sequence[Series]) -> Plot:
    """Held-out loss against steps or parameters, both logarithmic; each seed a point, each mean with its interval."""
    shown = [line for line in lines if line.levels][:MOST_LINES]
    axis = shown[0].axis if shown else STEPS
    with drawing() as (figure, axes):
        _scales(axes, [loss for line in shown for level in line.levels for loss in level.losses.values()])
        ends = []
        for number, line in enumerate(shown):
            hue = HUES[number % len(HUES)]
            _seeds(axes, line, hue)
            ends.append((*_means(axes, line, hue), line.label, hue))
        _label_ends(axes, ends)
        _round_ticks(axes, [level.value for line in shown for level in line.levels])
        titled(axes, "Held-out loss, nats per character")
        axes.set_xlabel(f"{axis.unit}, logarithmic scale")
    return Plot(figure, _sources(shown))


def returns_plot(rows: Sequence[Return]) -> Plot:
    """What each step along the axis brings, with its interval and verdict, against zero."""
    several = len({row.axis for row in rows}) > 1
    return _drops(rows, [_row_name(row, several) for row in rows], OF_VERDICT, "nats per token")


def ideas_plot(rows: Sequence[IdeaRow]) -> Plot:
    """What each idea brings, with its interval and verdict, against the base at zero."""
    names = [" ".join(filter(None, [plain(row.series), row.equal and f"equal {row.equal}", row.idea])) for row in rows]
    same = len({(row.series, row.equal) for row in rows}) == 1
    return _drops(rows, [row.idea for row in rows] if same else names, OF_IDEA, "nats per character")


def _drops(rows: Sequence[Any], names: Sequence[str], of_verdict: Mapping[str, tuple[str, str]], unit: str) -> Plot:
    """A dot and an interval for each row, with a mark that says its verdict; where nothing is known, only its name."""
    rows, marks = list(rows)[: 4 * MOST_LINES], {}
    with drawing(max(1.5, 1.0 + 0.26 * len(rows))) as (figure, axes):
        axes.axvline(0, color=QUIET, linewidth=0.9)
        for place, row in enumerate(rows):
            hue, marks[row.verdict] = of_verdict.get(row.verdict, OF_VERDICT["not measured"])
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [place, place], color=hue, linewidth=2, solid_capstyle="round")
            if row.drop is not None:
                axes.plot([row.drop], [place], marks[row.verdict], color=hue, markersize=5)
        axes.set_yticks(range(len(rows)), list(names[: len(rows)]))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        titled(axes, f"Drop of the held-out loss, {unit}")
    return Plot(figure, "; ".join([*(f"{SEEN[mark]} {each}" for each, mark in marks.items()), "bars: 90% intervals"]))


def curves_plot(curves: Mapping[str, "Curve"]) -> Plot:
    """Training losses over the steps, each under its name; both axes logarithmic. Of many curves, some."""
    names = list(curves)
    kept = {round(place * (len(names) - 1) / (MOST_CURVES - 1)) for place in range(MOST_CURVES)}
    shown = {name: curves[name] for place, name in enumerate(names) if place in kept}
    with drawing() as (figure, axes):
        _scales(axes, [loss for curve in shown.values() for loss in curve.losses])
        ends = []
        for number, (name, curve) in enumerate(shown.items()):
            hue, steps = HUES[number % len(HUES)], [step + 1 for step in curve.steps]
            smooth = _smooth(steps, curve.losses)
            axes.plot(steps, smooth, color=hue, linewidth=1.2, alpha=0.9)
            ends.append((float(steps[-1]), smooth[-1], name, hue))
        _label_ends(axes, ends)
        _round_ticks(axes, [step for curve in shown.values() for step in curve.steps])
        titled(axes, "Training loss, nats per character")
        axes.set_xlabel("steps, logarithmic scale")
    return Plot(figure, "One seed each, running means. Training loss is not to be compared with held-out loss.")


def _scales(axes: "Axes", losses: Sequence[float]) -> None:
    """Both logarithmic; but a loss can be 0, where a text has nothing to learn."""
    axes.set_xscale("log")
    if losses and min(losses) > 0:
        axes.set_yscale("log")


def _seeds(axes: "Axes", line: Series, hue: str) -> None:
    """Each run, a little beside the interval, where there are not too many."""
    points = [(level.value * BESIDE, loss) for level in line.levels for loss in level.losses.values()]
    if len(points) <= MOST_POINTS:
        axes.plot(*zip(*points, strict=True), "o", color=hue, markersize=3, markeredgewidth=0, alpha=0.35)


def _means(axes: "Axes", line: Series, hue: str) -> tuple[float, float]:
    """Means with their intervals; where the last one stands."""
    means = [(level.value, level_estimate(level)) for level in line.levels]
    values, losses = [value for value, _ in means], [each.mean for _, each in means]
    axes.plot(values, losses, color=hue, linewidth=1.1, alpha=0.75)
    axes.plot(values, losses, "o", color=hue, markersize=4.5, markeredgewidth=0.8, markeredgecolor=PAPER)
    for value, each in means:
        if each.low is not None and each.high is not None and each.low > 0:
            axes.plot([value, value], [each.low, each.high], color=hue, linewidth=2, solid_capstyle="butt")
    return values[-1], losses[-1]


def _label_ends(axes: "Axes", ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Each line's name right of its end, moved apart where two would touch."""
    ends = [(x, y, plain(name), hue) for x, y, name, hue in ends if name]
    if not ends:
        return
    low, high = axes.get_ylim()
    apart = (high / low) ** LINE if low > 0 else LINE * (high - low)
    before, right = -math.inf, max(x for x, _, _, _ in ends)
    for _, y, name, hue in sorted(ends, key=lambda end: end[1]):
        before = max(y, before * apart if low > 0 else before + apart)
        axes.annotate(name, (right, before), (6, 0), textcoords="offset points", color=hue, va="center", fontsize=8)


def _round_ticks(axes: "Axes", values: Sequence[int]) -> None:
    """Ticks at the levels themselves where they are few and apart, else at powers; numbers as people write them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    apart: list[int] = []
    for value in sorted(set(values)):
        if not apart or value > 1.3 * apart[-1]:
            apart.append(value)
    if len(apart) <= 9 and len(set(values)) <= 40:
        axes.set_xticks(apart)
    else:
        axes.xaxis.set_major_locator(LogLocator(10))
    _format(axes.xaxis, FuncFormatter(lambda value, _: _short(value)), NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    _format(axes.yaxis, FuncFormatter(lambda value, _: f"{value:.10g}"), NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _format(axis: Any, formatter: Any, minor: Any) -> None:
    axis.set_major_formatter(formatter)
    axis.set_minor_locator(minor)


def _sources(lines: Sequence[Series]) -> str:
    """What the bars are, and what moves all points together."""
    shared = [se for line in lines for level in line.levels if (se := holdout_se(level)) is not None]
    together = f" Shared by all: the held-out set, ± {max(shared):.4f} (standard error)." if shared else ""
    return f"Small: each seed; large: means with 90% intervals over seeds.{together}"


def _row_name(row: Return, several: bool) -> str:
    """`1,000 to 2,000`, with the series before it and, where there are several axes, the axis after it."""
    span = f"{_short(row.from_level)} to {_short(row.to_level)}"
    return " ".join([*([f"{plain(row.series)} "] if row.series else []), span, *([row.axis] if several else [])])


def _short(value: float) -> str:
    """`21,000`, `201k`, `1.5M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e5, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):.3g}{letter}"
    return f"{value:,.0f}"


def _smooth(steps: Sequence[int], losses: Sequence[float]) -> list[float]:
    """Means over the neighbours within a factor of 1.3 in steps, since the axis is logarithmic."""
    found = []
    for step in steps:
        first, last = bisect_left(steps, step / NEAR), bisect_right(steps, step * NEAR)
        found.append(sum(losses[first:last]) / (last - first))
    return found
