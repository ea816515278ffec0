"""How often the intervals of `microgpt frontier` hold the truth: `python bench/isoflop.py [--simulations 100]`.

Designs are drawn from planted laws, as slices of equal cost and crossed; grids are centred on the best size or not,
and narrow or wide. For each design and method: how many intervals at 90 % held the true best size at each cost of the
design ("bottoms", as a share of all), at ten times the largest cost ("far"), and the true exponent; with the median
error of the last two, to see a bias. Parabolas and cubics through the same log losses stand beside it. A row is drawn
with fixed seeds, whatever the others are. Set OMP_NUM_THREADS=1 for one core.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from microgpt.lab.laws.bootstrap import Ensemble, bootstrap, interval
from microgpt.lab.laws.curves import slices, spent
from microgpt.lab.laws.envelope import by_envelope
from microgpt.lab.laws.fit import fit
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.frontier import SHARE, law_best
from microgpt.lab.laws.isoflop import HALF, Bottoms, by_isoflop, joined, logs_of, window
from microgpt.lab.laws.points import Floats, Points, points
from microgpt.lab.laws.price import Price, price
from microgpt.lab.laws.simulate import Simulated

LEVEL: Final = 0.9
DRAWS: Final = 300
FAR: Final = 10.0  # times the largest cost
BUDGETS: Final = tuple(np.geomspace(1e10, 1e13, 6))


@dataclass(frozen=True)
class Case:
    """A design and its truth. Sizes of a slice are `ratio` apart, about the best size times `off`, which grows by
    `drift` from slice to slice; without `sizes` the design is crossed. `gamma` below 1 makes the full law wrong."""

    name: str
    scatter: float  # nats
    sizes: int = 7
    ratio: float = 2.0
    off: float = 1.0
    drift: float = 1.0
    gamma: float = 1.0
    crossed: tuple[int, int, int] | None = None

    def best(self, costs: Floats) -> Floats:
        """Log N of the true best size at some log costs, for 6 N D FLOP: Hoffmann et al. 2022, equation 4."""
        law = Simulated().law
        both = law["alpha"] + law["beta"]
        ratio = self.gamma * np.log(law["alpha"] / law["beta"]) + np.log(law["A"] / law["B"])
        found: Floats = (ratio + law["beta"] * (costs - np.log(6))) / both
        return found

    @property
    def design(self) -> Points:
        """The runs, with the losses of the law itself."""
        if self.crossed:
            return Simulated(*self.crossed).design
        steps = (np.arange(self.sizes) - (self.sizes - 1) / 2) * np.log(self.ratio)
        middle = (len(BUDGETS) - 1) / 2
        offs = [np.log(self.off) + np.log(self.drift) * (k - middle) for k in range(len(BUDGETS))]
        pairs = [(np.exp(self.best(np.log(c)) + off + steps), c) for c, off in zip(BUDGETS, offs, strict=True)]
        params = np.concatenate([sizes for sizes, _ in pairs])
        tokens = np.concatenate([cost / 6 / sizes for sizes, cost in pairs])
        found = points(params, tokens, np.ones(len(params)))
        theta = np.append(Simulated().theta, np.log(self.gamma))
        return found.with_loss(FORMS["joint"].loss(theta, found))


CASES: Final = (
    Case("centred", 0.001),
    Case("centred", 0.004),
    Case("off-centre", 0.001, off=3),
    Case("wide", 0.001, sizes=9, ratio=3),
    Case("wide, drifting", 0.001, ratio=3, off=2, drift=1.2),
    Case("wide, drifting", 0.004, ratio=3, off=2, drift=1.2),
    Case("law a little wrong", 0.004, gamma=0.9),
    Case("crossed 7x7x3", 0.004, crossed=(7, 7, 3)),
    Case("crossed 6x5x3", 0.004, crossed=(6, 5, 3)),
    Case("crossed 5x5x1", 0.004, crossed=(5, 5, 1)),
)


def polynomial(degree: int) -> Callable[[Ensemble, Price], Bottoms]:
    """The bottoms of parabolas or cubics through the same log losses, in windows of the same width."""

    def bottoms(found: Ensemble, price: Price) -> Bottoms:
        logs, rows = logs_of(found), []
        for one in slices(found.fit, price):
            heights = one.heights(logs)
            near = window(one.sizes, float(one.sizes[heights[0].argmin()]))
            if len(near) <= degree:
                continue
            sizes = one.sizes[near]
            terms = np.linalg.pinv(np.vander(sizes - sizes.mean(), degree + 1)) @ heights[:, near].T
            bend, tilt = terms[-3], terms[-2]
            skew = terms[0] if degree == 3 else 0 * bend
            with np.errstate(invalid="ignore", divide="ignore"):
                low = sizes.mean() - tilt / (bend + np.sqrt(bend**2 - 3 * skew * tilt))
            low = np.where((low >= sizes[0]) & (low <= sizes[-1]), low, np.nan)
            if np.isfinite(low[0]) and np.isfinite(low).mean() >= HALF:
                rows.append((np.full(len(logs), one.cost), low))
        return joined(rows, len(logs))

    return bottoms


METHODS: Final[dict[str, Callable[[Ensemble, Price], Bottoms] | None]] = {
    "law": None, "isoflop": by_isoflop, "envelope": by_envelope, "parabola": polynomial(2), "cubic": polynomial(3),
}  # fmt: skip


def trial(case: Case, k: int, seed: int = 0) -> dict[str, dict[str, list[tuple[float, float, float, float]]]]:
    """Simulation number k: for each method and quantity (value, low, high, truth), of bottoms several."""
    stream = np.random.default_rng([seed, k])
    design = case.design
    drawn = design.with_loss(design.loss + stream.normal(0, case.scatter, len(design)))
    found, cost = bootstrap(fit(FORMS["full"], drawn), DRAWS, k), price(drawn)
    costs = spent(drawn, cost)
    asked = np.array([costs.max() + np.log(FAR), costs.min(), costs.max()])
    truth, freedom = case.best(asked), found.scatter.freedom

    def span(values: Floats, true: float, law: bool = False) -> list[tuple[float, float, float, float]]:
        known = values[1:][np.isfinite(values[1:])]
        if not np.isfinite(values[0]) or len(known) < SHARE * DRAWS:
            return []
        value = float(values[0])
        return [(value, *interval(value, known if law else known - np.median(known) + value, freedom, LEVEL), true)]

    answers = {}
    for name, method in METHODS.items():
        bottoms = method(found, cost) if method else None
        logs = bottoms.line(asked) if bottoms else law_best(found, cost, np.exp(asked))
        reach = asked[2] - asked[1]
        answers[name] = {
            "far": span(logs[:, 0], truth[0], bottoms is None),
            "exponent": span((logs[:, 2] - logs[:, 1]) / reach, (truth[2] - truth[1]) / reach, bottoms is None),
            "bottoms": [],
        }
        for at, size in zip(bottoms.costs.T, bottoms.sizes.T, strict=True) if bottoms else ():
            answers[name]["bottoms"] += span(size - case.best(at) + case.best(at[:1]), case.best(at[:1])[0])
    return answers


def told(case: Case, count: int) -> Iterator[str]:
    """Coverage, median width and median error of each method and quantity, over so many simulations."""
    trials = [trial(case, k) for k in range(count)]
    yield f"{case.name}, {case.scatter:g} nats, {count} simulations"
    for name in METHODS:
        cells = [f"  {name:9}"]
        for quantity in ("bottoms", "exponent", "far"):
            found = np.array([each for one in trials for each in one[name][quantity]]).reshape(-1, 4)
            if len(found):
                value, low, high, truth = found.T
                share = f"{np.mean((low <= truth) & (truth <= high)):.0%} of {len(found)}"
                width, error = np.median(high - low), np.median(value - truth)
                cells.append(f"{quantity} {share}, width {width:.2g}, error {error:+.2g}")
        yield "; ".join(cells)


def main() -> None:
    import machine

    chosen = machine.asked(__doc__, simulations=100, only="")  # the designs whose name has this
    print(machine.line())
    for case in CASES:
        if chosen.only in case.name:
            print(*told(case, chosen.simulations), sep="\n", flush=True)


if __name__ == "__main__":
    main()
