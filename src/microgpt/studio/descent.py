"""Steps of plain gradient descent: each leaf moves by -rate × its gradient, and the graph is computed anew."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from microgpt.errors import DivergedError, UsageError
from microgpt.studio.graph import Graph, Numbers

MOST_STEPS: Final = 50  # each is a whole graph
MOST_WORK: Final = 2_000_000  # atoms of all graphs on the way: some ten seconds
Compute = Callable[[Numbers | None], Graph]  # the graph whose leaves have these values; None: their own


@dataclass(frozen=True, eq=False)
class Descent:
    """A graph after some steps, the results before the first and after each, and how far the last should have changed
    the result: -rate × |gradient|², which is true of a step so small that no slope changes on the way."""

    graph: Graph
    rate: float
    results: tuple[float, ...]
    predicted: float = math.nan

    @property
    def most(self) -> int:
        """How many steps can be taken in all."""
        return min(MOST_STEPS, MOST_WORK // self.graph.size)

    def told(self) -> dict[str, Any]:
        return {
            "rate": self.rate,
            "taken": len(self.results) - 1,
            "most": self.most,
            "results": self.results,
            "predicted": self.predicted,
            "leaves": self.graph.leaves,
        }


def checked(steps: int) -> int:
    """The same number. Raises `UsageError` for fewer than none, or too many."""
    if 0 <= steps <= MOST_STEPS:
        return steps
    raise UsageError(f"expected 0 to {MOST_STEPS} steps, found {steps:,}; undo them.")


def begun(compute: Compute, rate: float) -> Descent:
    """No step yet. Raises `UsageError` for a rate that is not above 0."""
    if not rate > 0:
        raise UsageError(f"learning rate: expected a number above 0, found {rate:g}; try 0.1.")
    graph = compute(None)
    return Descent(graph, rate, (float(graph.value[graph.result]),))


def stepped(before: Descent, compute: Compute, wanted: int) -> Descent:
    """One step on, of so many in all. Raises `UsageError` where those are too many for a graph of this size, or where
    it leads to what is no finite number."""
    if wanted > before.most:
        atoms = f"a graph of {before.graph.size:,} atoms"
        raise UsageError(f"expected at most {before.most} steps of {atoms}, found {wanted}; shorten the text.")
    gradient = before.graph.gradient[: before.graph.leaves]
    with np.errstate(over="ignore", invalid="ignore"):  # which the graph refuses in a sentence
        moved = before.graph.value[: before.graph.leaves] - before.rate * gradient
        predicted = float(-before.rate * (gradient @ gradient))
    try:
        if np.isfinite(moved).all():
            graph = compute(moved)
            return Descent(graph, before.rate, (*before.results, float(graph.value[graph.result])), predicted)
    except (UsageError, DivergedError):
        pass
    raise UsageError(
        f"expected finite numbers after step {len(before.results)}, found others; choose a smaller learning rate."
    )
