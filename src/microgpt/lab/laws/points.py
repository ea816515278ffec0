"""What a law is fitted to: one number of parameters, of tokens and of nats per token for each run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

SAME: Final = 0.05  # sizes or lengths that differ by less are one level: the tokens of names vary with the seed


@dataclass(frozen=True, eq=False)
class Points:
    """Runs as arrays of one length. `params` and `tokens` are counts, `loss` is nats per token, `unique` is how many
    different tokens there were to train on (infinite for data that never repeats), `flop` is the work of the training,
    `weights` is how much each run counts in a fit (all the same without).
    """

    params: Floats  # (points,)
    tokens: Floats  # (points,)
    loss: Floats  # (points,)
    unique: Floats  # (points,)
    flop: Floats  # (points,)
    weights: Floats | None = None  # (points,)

    def __len__(self) -> int:
        return len(self.loss)

    def take(self, chosen: Any) -> "Points":
        """The points at some indices, or where a mask is true."""
        return Points(
            self.params[chosen],
            self.tokens[chosen],
            self.loss[chosen],
            self.unique[chosen],
            self.flop[chosen],
            None if self.weights is None else self.weights[chosen],
        )

    def with_loss(self, loss: Floats) -> "Points":
        """The same design with other losses."""
        return replace(self, loss=loss)

    @cached_property
    def cells(self) -> Ints:
        """For each point the number of its design cell: points of one cell differ by their seed alone. (points,)"""
        pairs = np.stack([levels(self.params), levels(self.tokens)], axis=1)
        return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1).astype(np.intp)

    @property
    def epochs(self) -> Floats:
        """How often each run has seen its documents. (points,)"""
        return self.tokens / self.unique


def points(params: Any, tokens: Any, loss: Any, unique: Any = None, flop: Any = None, weights: Any = None) -> Points:
    """Points of a design, checked. Without `unique` nothing repeats; without `flop` it is 6 params tokens (Kaplan et
    al. 2020, section 2.1). Weights are brought to a mean of 1. Raises `DataError` for what is not positive and finite.
    """
    n, d, measured = (np.array(column, dtype=np.float64) for column in (params, tokens, loss))
    for name, column in (("params", n), ("tokens", d), ("loss", measured)):
        bad = np.flatnonzero(~(np.isfinite(column) & (column > 0)))
        if len(bad):
            found = f"{column[bad[0]]} at point {bad[0] + 1}"
            raise DataError(f"{name}: expected positive finite numbers, found {found}; leave that run out.")
    seen = np.full(len(n), np.inf) if unique is None else np.array(unique, dtype=np.float64)
    work = 6 * n * d if flop is None else np.array(flop, dtype=np.float64)
    counts = None if weights is None else np.array(weights, dtype=np.float64)
    return Points(n, d, measured, seen, work, None if counts is None else counts / counts.mean())


def joined(parts: Sequence[Points]) -> Points:
    """The points of several designs, one after the other; with weights where the first has some."""

    def column(name: str) -> Floats:
        return np.concatenate([getattr(part, name) for part in parts])

    weights = column("weights") if parts[0].weights is not None else None
    return Points(column("params"), column("tokens"), column("loss"), column("unique"), column("flop"), weights)


def levels(column: Floats) -> Ints:
    """The level of each value, counted from the lowest. A level holds what is within SAME of its lowest value."""
    order = np.argsort(column, kind="stable")
    ordered = column[order]
    found = np.empty(len(column), dtype=np.intp)
    start, level = 0, 0
    while start < len(column):
        end = int(np.searchsorted(ordered, ordered[start] * (1 + SAME), side="right"))
        found[order[start:end]] = level
        start, level = end, level + 1
    return found


def count_levels(column: Floats) -> int:
    """How many levels there are."""
    return int(levels(column).max()) + 1 if len(column) else 0
